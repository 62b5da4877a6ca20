//! Runs the lines of README.md and docs/ that a reader would paste; only the ports differ.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::programs;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PROGRAM: &str = env!("CARGO_BIN_EXE_jsdkd");

/// A running `jsdkd` command on its own port.
struct Running {
    child: Child,
    port: u16,
}

impl Running {
    /// Starts the command that `command` builds for a free port.
    fn start(command: impl Fn(u16) -> Command) -> Self {
        // Another process may take the port before ours does.
        (0..5)
            .find_map(|_| Self::try_start(&command))
            .expect("it starts in one of five attempts")
    }

    fn try_start(command: &impl Fn(u16) -> Command) -> Option<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut child = command(port)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        // Read completely, or the program would block on a full pipe.
        std::thread::spawn(move || BufReader::new(output).lines().count());
        for _ in 0..400 {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { child, port });
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        let _ = child.kill().and_then(|()| child.wait());
        None
    }

    /// `text` with this program's port.
    fn at(&self, port: u16, text: &str) -> String {
        text.replace(
            &format!("127.0.0.1:{port}"),
            &format!("127.0.0.1:{}", self.port),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// A server with these settings.
fn serving(settings: &Path) -> Running {
    Running::start(|port| {
        let mut command = jsdkd(&["--config", settings.to_str().unwrap()]);
        command.env("SERVER_PORT", port.to_string());
        command
    })
}

fn jsdkd(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    command
}

fn read(name: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{name}")).unwrap()
}

/// The part of a page below a heading.
fn section(name: &str, heading: &str) -> String {
    let page = read(name);
    let section = page
        .split("\n## ")
        .find_map(|part| part.strip_prefix(heading.trim_start_matches("## ")));
    section
        .unwrap_or_else(|| panic!("{name} has no {heading}"))
        .to_owned()
}

/// The page's code blocks in this language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    page.split(&format!("```{language}\n"))
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

/// The shell blocks that call a server; those that build and start it are excluded.
fn asking(page: &str) -> Vec<&str> {
    let mut asking = blocks(page, "sh");
    asking.retain(|block| {
        ["curl ", "clients/", "--push "]
            .iter()
            .any(|word| block.contains(word))
            && !block.contains("docker ")
    });
    asking
}

/// bash, if all programs that the pages call are installed.
fn bash() -> Option<std::path::PathBuf> {
    let bash = programs::require("bash")?;
    ["curl", "openssl", "python3"]
        .iter()
        .all(|program| programs::require(program).is_some())
        .then_some(bash)
}

fn run(bash: &Path, script: &str) -> Output {
    Command::new(bash)
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(ROOT)
        .output()
        .unwrap()
}

fn told(script: &str, ran: &Output) -> String {
    format!(
        "{script}{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    )
}

#[test]
fn the_readme_and_routes_pages_run() {
    let Some(bash) = bash() else { return };
    let demo = Running::start(|port| jsdkd(&["demo", "--port", &port.to_string()]));
    let pages = [
        "README.md",
        "docs/routes.md",
        "docs/errors.md",
        "docs/signing.md",
    ]
    .map(read)
    .concat();
    let blocks = asking(&pages);
    assert!(blocks.len() > 12, "{blocks:?}");
    for block in blocks {
        // The page about errors shows one; everywhere else an error is a mistake of the page.
        let shows_an_error = block.contains("/jsapi/wxunknown/");
        let script = demo
            .at(3030, block)
            .replace("target/release/jsdkd", PROGRAM)
            .replace(
                "curl ",
                if shows_an_error {
                    "curl -sS "
                } else {
                    "curl -sS --fail-with-body "
                },
            );
        let ran = run(&bash, &script);
        let told = told(block, &ran);
        assert!(ran.status.success(), "{told}");
        assert_eq!(
            shows_an_error,
            told.contains(r#""code":"unknown_app""#),
            "{told}"
        );
    }
}

#[test]
fn the_oauth_page_runs() {
    let Some(bash) = bash() else { return };
    let page = read("docs/oauth.md");
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("try.json");
    let sandbox = Running::start(|port| jsdkd(&["sandbox", "--port", &port.to_string()]));
    let text = *blocks(&page, "js")
        .iter()
        .find(|block| block.contains("demo-app-secret"))
        .expect("the settings to try");
    fs::write(&settings, sandbox.at(3031, text)).unwrap();
    let server = serving(&settings);
    // One shell for all: later lines use results of earlier ones.
    let lines = asking(&page)
        .concat()
        .replace("curl ", "curl -S --fail-with-body ");
    let script = server.at(3030, &sandbox.at(3031, &lines));
    let ran = run(&bash, &script);
    assert!(ran.status.success(), "{}", told(&script, &ran));
    let answers = String::from_utf8_lossy(&ran.stdout);
    for part in [
        "http://127.0.0.1:8000/in?ticket=",
        "&state=s1",
        r#""nickname":"Alice""#,
        r#""subscribe":1"#,
        r#""nickname":"小明""#,
    ] {
        assert!(answers.contains(part), "{part} in {answers}");
    }
}

#[test]
fn the_tokenboy_page_runs() {
    let Some(answers) = answers_of("docs/tokenboy.md") else {
        return;
    };
    let (token, ticket) = (&answers[0], &answers[1]);
    assert!(
        token["access_token"].is_string() && token["expires_in"].as_u64() > Some(7000),
        "{token}"
    );
    assert!(
        ticket["ticket"].is_string()
            && ticket["errcode"] == 0
            && ticket["expires_in"].as_u64() > Some(7000),
        "{ticket}"
    );
}

#[test]
fn the_wecom_page_runs() {
    let Some(answers) = answers_of("docs/wecom.md") else {
        return;
    };
    let (config, agent) = (&answers[0], &answers[1]);
    assert!(
        config["appId"] == "wxdemo0000000001" && config["signature"].is_string(),
        "{config}"
    );
    assert!(
        agent["corpid"] == "wxdemo0000000001"
            && agent["agentid"] == "1000002"
            && agent["signature"].is_string(),
        "{agent}"
    );
}

/// The answers to the lines of a page, with its settings served against the sandbox.
fn answers_of(page: &str) -> Option<Vec<serde_json::Value>> {
    let bash = bash()?;
    let page = read(page);
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("try.json");
    let sandbox = Running::start(|port| jsdkd(&["sandbox", "--port", &port.to_string()]));
    let text = *blocks(&page, "js")
        .iter()
        .find(|block| block.contains("demo-app-secret"))
        .expect("the settings to try");
    fs::write(&settings, sandbox.at(3031, text)).unwrap();
    let server = Running::start(|port| {
        let mut command = jsdkd(&["--config", settings.to_str().unwrap()]);
        command.env("SERVER_PORT", port.to_string());
        command
    });
    let script = server.at(
        3030,
        &asking(&page)
            .concat()
            .replace("curl ", "curl -sS --fail-with-body "),
    );
    let ran = run(&bash, &script);
    assert!(ran.status.success(), "{}", told(&script, &ran));
    Some(
        serde_json::Deserializer::from_slice(&ran.stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .expect("JSON objects"),
    )
}

#[test]
fn the_messages_page_runs() {
    let Some(bash) = bash() else { return };
    let page = read("docs/messages.md");
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("try.json");
    fs::write(
        &settings,
        blocks(&page, "js")
            .into_iter()
            .find(|block| block.contains("demo-app-secret"))
            .unwrap(),
    )
    .unwrap();
    let server = serving(&settings);
    let lines = asking(&page)
        .concat()
        .replace("curl ", "curl -S --fail-with-body ");
    let script = server
        .at(3030, &lines)
        .replace("target/release/jsdkd", PROGRAM);
    let ran = run(&bash, &script);
    let told = told(&script, &ran);
    assert!(ran.status.success(), "{told}");
    let answers = String::from_utf8_lossy(&ran.stdout);
    for part in [
        "4375120948345356249",
        "<Content><![CDATA[Order 42 is on its way.]]></Content>",
        r#""Content":"Order 42 is on its way.""#,
        r#""Content":"Welcome! qrscene_table7""#,
        r#""Content":"You have scanned 42.""#,
        "WeChat takes it and says nothing to the user.",
        r#""Content":"You said 'hi'""#,
        r#""Content":"Thank you for sending a voice message""#,
    ] {
        assert!(answers.contains(part), "{part} in {answers}");
    }
}

#[test]
fn the_hub_section_runs() {
    let Some(bash) = bash() else { return };
    let page = section("docs/neighbours.md", "## waynecraig/wechat-token-hub");
    let sandbox = Running::start(|port| jsdkd(&["sandbox", "--port", &port.to_string()]));
    // The page's own line, so that its variables must suffice.
    let line = page
        .lines()
        .find(|line| line.starts_with("WECHAT_API_ROOT=") && line.ends_with('&'))
        .expect("the line that starts it");
    let line = sandbox
        .at(3031, line)
        .replace("target/release/jsdkd &", &format!("exec {PROGRAM}"));
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(|port| {
        let mut command = Command::new(&bash);
        command
            .args(["-c", &line])
            .current_dir(&folder)
            .env("PORT", port.to_string());
        command
    });
    let script = server.at(
        8567,
        &asking(&page)
            .concat()
            .replace("curl ", "curl -S --fail-with-body -w '\\n' "),
    );
    let ran = run(&bash, &script);
    assert!(ran.status.success(), "{}", told(&script, &ran));
    let answers = String::from_utf8_lossy(&ran.stdout);
    let values: Vec<&str> = answers.lines().collect();
    assert!(
        values.len() == 3 && values.iter().all(|value| value.len() > 20),
        "{answers}"
    );
    assert_eq!(
        values[1], values[2],
        "what was rotated is the token from then on"
    );
}

#[test]
fn the_wetoken_section_runs() {
    let Some(bash) = bash() else { return };
    let page = section("docs/neighbours.md", "## micro-plat/wetoken");
    let sandbox = Running::start(|port| jsdkd(&["sandbox", "--port", &port.to_string()]));
    let line = page
        .lines()
        .find(|line| line.starts_with("JSDKD__") && line.ends_with('&'))
        .expect("the line that starts it");
    let line = sandbox
        .at(3031, line)
        .replace("target/release/jsdkd &", &format!("exec {PROGRAM}"));
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(|port| {
        let mut command = Command::new(&bash);
        command
            .args(["-c", &line])
            .current_dir(&folder)
            .env("PORT", port.to_string());
        command
    });
    let script = server.at(
        3030,
        &asking(&page)
            .concat()
            .replace("curl ", "curl -sS --fail-with-body "),
    );
    let ran = run(&bash, &script);
    assert!(ran.status.success(), "{}", told(&script, &ran));
    let answers: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&ran.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("JSON objects");
    assert!(
        answers.len() == 4 && answers.iter().all(|answer| answer["errcode"] == 0),
        "{answers:?}"
    );
    assert!(
        answers[1]["access_token"].is_string() && answers[2]["ticket"].is_string(),
        "{answers:?}"
    );
    assert_eq!(answers[1]["access_token"], answers[3]["access_token"]);
}

#[test]
fn a_code_is_exchanged_by_the_lines_of_the_page_about_wechat_server() {
    let Some(bash) = bash() else { return };
    let page = section("docs/neighbours.md", "## songquanpeng/wechat-server");
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("try.json");
    let sandbox = Running::start(|port| jsdkd(&["sandbox", "--port", &port.to_string()]));
    let text = *blocks(&page, "js")
        .iter()
        .find(|block| block.contains("demo-app-secret"))
        .expect("the settings to try");
    fs::write(&settings, sandbox.at(3031, text)).unwrap();
    let server = serving(&settings);
    let lines = asking(&page)
        .concat()
        .replace("curl ", "curl -sS --fail-with-body ");
    let script = server
        .at(3030, &lines)
        .replace("target/release/jsdkd", PROGRAM);
    let ran = run(&bash, &script);
    let told = told(&script, &ran);
    assert!(ran.status.success(), "{told}");
    let answers: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&ran.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("JSON objects");
    assert!(
        answers.len() == 2 && answers.iter().all(|answer| answer["success"] == true),
        "{told}"
    );
    assert!(
        answers[0]["data"].is_string() && answers[1]["access_token"].is_string(),
        "{told}"
    );
}

#[test]
fn the_sandbox_page_is_a_script_that_runs() {
    let Some(bash) = bash() else { return };
    let page = read("docs/sandbox.md");
    let port = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let lines = blocks(&page, "sh")
        .concat()
        .replace("127.0.0.1:3031", &format!("127.0.0.1:{port}"));
    let script = lines.replace(
        "target/release/jsdkd sandbox &",
        &format!("{PROGRAM} sandbox --port {port} &"),
    );
    let ran = run(&bash, &script);
    let told = told(&script, &ran);
    assert!(ran.status.success(), "{told}");
    let answers = String::from_utf8_lossy(&ran.stdout);
    for part in [
        r#""ticket":""#,
        r#"{"errcode":40125"#,
        r#"{"errcode":40164"#,
        r#"{"errcode":42001"#,
        r#"{"errcode":40001"#,
        r#""subscribe":1"#,
        r#""scope":"snsapi_userinfo""#,
        r#""content":"Hello""#,
        r#""daily_quota":5"#,
    ] {
        assert!(answers.contains(part), "{part} in {told}");
    }
    assert!(!answers.contains(r#""error":"#), "{told}");
}

#[test]
fn the_settings_on_the_pages_load() {
    for page in [
        "README.md",
        "docs/messages.md",
        "docs/neighbours.md",
        "docs/oauth.md",
        "docs/routes.md",
        "docs/sandbox.md",
        "docs/settings.md",
        "docs/tokenboy.md",
        "docs/wecom.md",
    ] {
        for block in blocks(&read(page), "js") {
            let folder = tempfile::tempdir().unwrap();
            let settings = folder.path().join("jsdkd.json");
            let secret = folder.path().join("wx");
            fs::write(&secret, "the AppSecret").unwrap();
            fs::write(
                &settings,
                whole(block).replace("/run/secrets/wx", secret.to_str().unwrap()),
            )
            .unwrap();
            let mut check = jsdkd(&["check", "--strict", settings.to_str().unwrap()]);
            let key = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
            let keys = [
                ("SHOP_SECRET", "s"),
                ("WX_TOKEN", "t"),
                ("WX_AES_KEY", key),
                ("SHOP_KEY", "s"),
                ("CLUB_KEY", "s"),
            ];
            let keys = keys.into_iter().chain(
                [
                    "CORP_SECRET",
                    "CRM_SECRET",
                    "OTHER_KEY",
                    "R123_SECRET",
                    "WX_SECRET",
                ]
                .map(|name| (name, "s")),
            );
            let ran = check.envs(keys).output().unwrap();
            assert!(ran.status.success(), "{}", told(block, &ran));
        }
    }
}

/// The settings in `block`, completed if it only shows an app's members.
fn whole(block: &str) -> String {
    if block.starts_with('{') {
        block.to_owned()
    } else {
        format!("{{ apps: [{{ key: 'wx1', secret: 's', token: 't', {block} }}] }}")
    }
}
