//! The commands as a person or a script runs them: their output and exit codes.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use sandbox::{RunningSandbox, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::app::{APP, APP_SECRET, REALM, REALM_SECRET, signed_v2};
use crate::support::process::{Ended, Process, folder, run, settings, write_settings};
use crate::support::programs;

async fn wechat() -> (Sandbox, RunningSandbox) {
    let accounts = vec![(APP.to_owned(), APP_SECRET.to_owned())];
    Sandbox::start(
        ([127, 0, 0, 1], 0).into(),
        SandboxOptions {
            accounts,
            ..SandboxOptions::default()
        },
    )
    .await
    .expect("a free port")
}

/// A port that is in use as long as the listener exists.
fn taken() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    (listener, port)
}

const FAULTY: &str = r#"{
  apps: [{ key: "wx0123456789abcdef", secret: "" }],
  realms: [{ key: "R123", secrte: "s" }],
  reserve: "soon",
}"#;

const ALL_FAULTS: [&str; 3] = ["apps[0].secret", "realms[0].secret", "reserve"];

#[track_caller]
fn tells_all_faults(ended: &Ended) {
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for path in ALL_FAULTS {
        assert!(
            ended
                .err
                .lines()
                .any(|line| line.starts_with("jsdkd.json:") && line.contains(path)),
            "{path}: {ended:?}"
        );
    }
    assert!(!ended.out.contains("listening"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_good_settings_and_exits_0() {
    let folder = folder();
    write_settings(folder.path(), &settings("http://127.0.0.1:1", json!({})));
    for args in [
        &["check"][..],
        &["check", "jsdkd.json"],
        &["check", "--strict", "jsdkd.json"],
    ] {
        let ended = run(folder.path(), args, &[]).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        for part in ["jsdkd.json", "1 app", "1 realm", "\nR123 may query "] {
            assert!(ended.out.contains(part), "{part:?}: {ended:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_every_fault_and_exits_78() {
    let folder = folder();
    std::fs::write(folder.path().join("jsdkd.json"), FAULTY).expect("our own folder");
    let ended = run(folder.path(), &["check"], &[]).await;
    tells_all_faults(&ended);
    assert_eq!(ended.out, "");
    let absent = run(folder.path(), &["check", "absent.json"], &[]).await;
    assert_eq!(absent.code, Some(78));
    assert!(absent.err.contains("absent.json"), "{absent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_setting_is_a_warning_and_a_fault_under_strict() {
    let folder = folder();
    write_settings(
        folder.path(),
        &settings("http://127.0.0.1:1", json!({ "sever": {} })),
    );
    let lenient = run(folder.path(), &["check"], &[]).await;
    assert_eq!(lenient.code, Some(0));
    assert!(
        lenient.out.contains("warning: ")
            && lenient.out.contains("sever")
            && lenient.out.contains("server"),
        "{lenient:?}"
    );
    let strict = run(folder.path(), &["check", "--strict"], &[]).await;
    assert_eq!(strict.code, Some(78));
    assert!(strict.err.contains("sever"), "{strict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_with_faulty_settings_starts_nothing_and_exits_78() {
    let folder = folder();
    std::fs::write(folder.path().join("jsdkd.json"), FAULTY).expect("our own folder");
    for args in [
        &[][..],
        &["serve"],
        &["--config", "jsdkd.json"],
        &["serve", "-c", "jsdkd.json"],
    ] {
        let ended = run(folder.path(), args, &[("JSDKD__CACHE__FILE", "cache.json")]).await;
        tells_all_faults(&ended);
        assert!(ended.err.contains("nothing was started"), "{ended:?}");
    }
    let files: Vec<_> = std::fs::read_dir(folder.path())
        .expect("our folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(files, ["jsdkd.json"], "not even the cache was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_and_variables_it_says_what_is_missing() {
    let folder = folder();
    let ended = run(folder.path(), &[], &[]).await;
    assert_eq!(ended.code, Some(78));
    assert!(
        ended.err.contains("nothing to serve") && ended.err.contains("apps: ["),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbours_variables_alone_suffice_and_keep_its_port() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    let url = sandbox.url();
    // A separate address of the loopback network, so that a fixed port is free.
    let bind = format!(
        "127.{}.{}.{}",
        rand::random_range(1..255),
        rand::random_range(0..255),
        rand::random_range(2..255)
    );
    let bound = ("JSDKD__SERVER__BIND", bind.as_str());
    let hub = [
        ("APPID", APP),
        ("APPSECRET", APP_SECRET),
        ("WECHAT_API_ROOT", url.as_str()),
        bound,
    ];
    let login = [
        ("WECHAT_APP_ID", APP),
        ("WECHAT_APP_SECRET", APP_SECRET),
        ("JSDKD__WECHAT__API", url.as_str()),
        bound,
    ];
    for (variables, port) in [(hub, ":8567"), (login, ":8080")] {
        let server = Process::start(folder.path(), &[], &variables)
            .listening()
            .await;
        assert!(server.url.ends_with(port), "{}", server.url);
        let config = server
            .get(&format!("/jsapi/{APP}/config?url=https://example.com/"))
            .await
            .json();
        assert_eq!(config["appId"], APP);
    }
    let chosen = [hub.as_slice(), &[("PORT", "0")]].concat();
    let server = Process::start(folder.path(), &[], &chosen)
        .listening()
        .await;
    assert!(!server.url.ends_with(":8567"), "{}", server.url);
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_win_over_the_file() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    let (_listener, port) = taken();
    let written = settings(&sandbox.url(), json!({ "server": { "port": port } }));
    std::fs::write(folder.path().join("elsewhere.json"), written.to_string())
        .expect("our own folder");
    // The file's port is in use, so that listening at all proves that the variable won.
    for name in ["SERVER_PORT", "PORT", "JSDKD__SERVER__PORT"] {
        let variables = [
            ("APP_CONFIG", "elsewhere.json"),
            (name, "0"),
            ("JSDKD__SERVER__ACCESS_LOG", "true"),
        ];
        let server = Process::start(folder.path(), &[], &variables)
            .listening()
            .await;
        assert_eq!(
            server.logged("listening").await["settings"],
            "elsewhere.json"
        );
        assert_eq!(server.get("/ping").await.status, StatusCode::OK);
        server.logged("request").await;
    }
    // --config wins over $APP_CONFIG.
    let ended = run(
        folder.path(),
        &["--config", "elsewhere.json"],
        &[("APP_CONFIG", "absent.json")],
    )
    .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_an_error_with_advice() {
    let folder = folder();
    let (_listener, port) = taken();
    write_settings(
        folder.path(),
        &settings("http://127.0.0.1:1", json!({ "server": { "port": port } })),
    );
    let ended = run(folder.path(), &[], &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in [
        &format!("cannot listen on 127.0.0.1:{port}"),
        "choose another server.port",
    ] {
        assert!(ended.err.contains(part), "{part}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_prints_wechats_own_example() {
    let ticket =
        "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg";
    let url = "http://mp.weixin.qq.com?params=value";
    let fragment = format!("{url}#top");
    for url in [url, &fragment] {
        let args = [
            "sign",
            "--ticket",
            ticket,
            "--url",
            url,
            "--nonce",
            "Wm3WZYTPz0wzccnW",
            "--timestamp",
            "1414587457",
        ];
        let ended = run(folder().path(), &args, &[]).await;
        assert_eq!(ended.code, Some(0));
        assert!(
            ended
                .out
                .contains("0f9de62fce790f9a083d5c99e95740ceb90c27ed"),
            "{ended:?}"
        );
        let string1 = format!(
            "jsapi_ticket={ticket}&noncestr=Wm3WZYTPz0wzccnW&timestamp=1414587457&url=http://mp.weixin.qq.com?params=value"
        );
        assert!(
            ended.out.lines().any(|line| line.ends_with(&string1)),
            "{ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn query_prints_only_the_credential_or_the_refusal() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    let server = Process::serve(folder.path(), &settings(&sandbox.url(), json!({}))).await;
    let usual = [
        "query",
        &server.url,
        "--app",
        APP,
        "--realm",
        REALM,
        "--secret",
        REALM_SECRET,
    ];
    let v2 = run(folder.path(), &usual, &[]).await;
    assert_eq!(
        (v2.code, v2.out.as_str(), v2.err.as_str()),
        (
            Some(0),
            sandbox.current_token(APP).expect("a token").as_str(),
            ""
        )
    );
    let v1 = run(
        folder.path(),
        &[&usual[..], &["--v1", "--key", "ticket"]].concat(),
        &[],
    )
    .await;
    assert_eq!(
        (v1.code, v1.out),
        (Some(0), sandbox.current_ticket(APP).expect("a ticket"))
    );
    let rotated = run(
        folder.path(),
        &[&usual[..], &["--rotate", &v2.out]].concat(),
        &[],
    )
    .await;
    assert_eq!(
        (rotated.code, &rotated.out),
        (Some(0), &sandbox.current_token(APP).expect("a token"))
    );
    assert_ne!(rotated.out, v2.out);
    let from_variable = run(
        folder.path(),
        &usual[..6],
        &[("JSDKD_SECRET", REALM_SECRET)],
    )
    .await;
    assert_eq!(
        (from_variable.code, from_variable.out),
        (Some(0), rotated.out)
    );

    let no_secret = run(folder.path(), &usual[..6], &[]).await;
    let wrong_secret = run(
        folder.path(),
        &[&usual[..7], &["wrong-marker"]].concat(),
        &[],
    )
    .await;
    let wrong_app = [
        "query",
        &server.url,
        "--app",
        "wx_other",
        "--realm",
        REALM,
        "--secret",
        REALM_SECRET,
    ];
    let wrong_app = run(folder.path(), &wrong_app, &[]).await;
    let (listener, port) = taken();
    drop(listener);
    let nowhere = format!("http://127.0.0.1:{port}");
    let nobody = run(
        folder.path(),
        &[&["query", &nowhere], &usual[2..]].concat(),
        &[],
    )
    .await;
    for (ended, part) in [
        (no_secret, "--secret or in JSDKD_SECRET"),
        (wrong_secret, "unauthorized: "),
        (wrong_app, "unknown_app: "),
        (nobody, "the server does not answer"),
    ] {
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
        assert!(
            ended.err.starts_with("jsdkd: ") && ended.err.contains(part),
            "{part}: {ended:?}"
        );
        for secret in ["sign=", REALM_SECRET, "wrong-marker"] {
            assert!(!ended.err.contains(secret), "{secret}: {ended:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_exits_with_the_result_quickly() {
    let ((sandbox, _running), folder) = (wechat().await, folder());
    let server = Process::serve(folder.path(), &settings(&sandbox.url(), json!({}))).await;
    let begun = Instant::now();
    let well = run(folder.path(), &["healthcheck", "--url", &server.url], &[]).await;
    assert_eq!((well.code, well.err.as_str()), (Some(0), ""));
    // The port in the settings.
    let port = server.url.rsplit(':').next().expect("a port");
    let by_settings = run(folder.path(), &["healthcheck"], &[("SERVER_PORT", port)]).await;
    assert_eq!(by_settings.code, Some(0), "{by_settings:?}");
    let another = run(
        folder.path(),
        &["healthcheck", "--url", &sandbox.url()],
        &[],
    )
    .await;
    assert_eq!(
        another.code,
        Some(1),
        "something answers, but no jsdkd: {another:?}"
    );
    let url = server.url.clone();
    server.signal("TERM");
    let _ = server.ended().await;
    let ill = run(folder.path(), &["healthcheck", "--url", &url], &[]).await;
    assert_eq!(ill.code, Some(1));
    assert!(ill.err.contains("does not answer"), "{ill:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_does_not_wait_for_a_frozen_server() {
    let (_listener, port) = taken();
    let begun = Instant::now();
    let ended = run(
        folder().path(),
        &["healthcheck", "--url", &format!("http://127.0.0.1:{port}")],
        &[],
    )
    .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_know_every_command() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(folder.path(), &["completions", shell], &[]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for command in [
            "serve",
            "check",
            "demo",
            "sandbox",
            "query",
            "sign",
            "healthcheck",
            "completions",
        ] {
            assert!(ended.out.contains(command), "{shell}: {command}");
        }
        if let Some(program) = programs::find(shell) {
            let script = folder.path().join(shell);
            std::fs::write(&script, &ended.out).expect("our own folder");
            let read = std::process::Command::new(program)
                .arg("-n")
                .arg(&script)
                .output()
                .expect("a shell");
            assert!(read.status.success(), "{shell}: {read:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_has_examples_and_version_works() {
    let help = run(folder().path(), &["--help"], &[]).await;
    assert_eq!(help.code, Some(0));
    for part in [
        "Examples:",
        "jsdkd demo",
        "jsdkd check jsdkd.json",
        "JSDKD__SERVER__PORT",
        "Exit codes:",
        "78",
    ] {
        assert!(help.out.contains(part), "{part}: {}", help.out);
    }
    let version = run(folder().path(), &["--version"], &[]).await;
    assert_eq!(
        (version.code, version.out),
        (Some(0), format!("jsdkd {}", env!("CARGO_PKG_VERSION")))
    );
    let wrong = run(folder().path(), &["--prot", "1"], &[]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

/// Runs a line in a shell, as a person who pastes it does.
async fn paste(line: &str) -> Option<String> {
    let (bash, _curl) = (programs::find("bash")?, programs::find("curl")?);
    let command = line.to_owned();
    let shell = move || {
        std::process::Command::new(bash)
            .arg("-c")
            .arg(command)
            .env("no_proxy", "*")
            .output()
    };
    let output = tokio::task::spawn_blocking(shell)
        .await
        .expect("our own task")
        .expect("a shell");
    assert!(output.status.success(), "{line}: {output:?}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

/// The part of a line from `curl` on.
fn curl_line(line: &str) -> Option<String> {
    line.find("curl ").map(|at| line[at..].to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_prints_a_working_gateway_call() {
    let folder = folder();
    let demo = Process::start(folder.path(), &["demo", "--port", "0"], &[]);
    demo.said("Ctrl-C").await;
    let out = demo.out();
    let printed: Vec<String> = out
        .lines()
        .filter_map(curl_line)
        .filter(|line| line.contains("/cgi-bin/"))
        .collect();
    let answer = out
        .lines()
        .find_map(|line| line.split_once("answers "))
        .expect("the answer is printed")
        .1;
    assert_eq!(printed.len(), 2, "{printed:?}");
    for (line, part) in printed.iter().zip(["jv1_", answer]) {
        if let Some(answer) = paste(line).await {
            assert!(answer.contains(part), "{line}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_shows_its_page_and_every_line_it_prints_works() {
    let folder = folder();
    let mut demo = Process::start(folder.path(), &["demo", "--port", "0"], &[]);
    let open = demo.said("/demo.html").await;
    demo.url = open
        .trim_start_matches("Open")
        .trim()
        .trim_end_matches("/demo.html")
        .to_owned();
    assert!(
        !demo.url.ends_with(":0") && !demo.url.ends_with(":3030"),
        "a free port of its own: {open}"
    );
    demo.said("Ctrl-C").await;

    let home = demo.get("/").await;
    assert_eq!(
        (home.status, home.header("location")),
        (StatusCode::FOUND, "/demo.html")
    );
    for (path, kind, part) in [
        ("/demo.html", "text/html", "<html"),
        ("/demo.js", "text/javascript", "sha1"),
        ("/demo-login.js", "text/javascript", "jsdkd.login"),
        ("/demo.css", "text/css", "{"),
    ] {
        let asset = demo.get(path).await;
        assert_eq!(asset.status, StatusCode::OK, "{path}");
        assert!(
            asset.header("content-type").starts_with(kind)
                && asset.body.to_lowercase().contains(part),
            "{path}"
        );
    }
    let ticket = demo.get("/demo/ticket").await;
    assert_eq!(ticket.header("cache-control"), "no-store");
    let ticket = ticket.json();
    let members: Vec<&String> = ticket.as_object().expect("an object").keys().collect();
    assert_eq!(members.len(), 6, "{members:?}");
    assert!(
        ticket["ticket"]
            .as_str()
            .is_some_and(|ticket| !ticket.is_empty())
            && ticket["appid"] == "wxdemo0000000001"
    );
    assert!(
        ticket["sandbox"]
            .as_str()
            .is_some_and(|sandbox| sandbox.starts_with("http://127.0.0.1:"))
    );

    let printed: Vec<String> = demo
        .out()
        .lines()
        .filter_map(curl_line)
        .filter(|line| !line.contains("/cgi-bin/"))
        .collect();
    assert_eq!(printed.len(), 6, "{printed:?}");
    let shown = ticket["curl"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| line.as_str().expect("a line").to_owned());
    let expected = [
        "\"signature\":",
        "\"key\":\"token\"",
        "dBGMo51NUVEVlQo5",
        "{\"pong\":",
        "{\"ok\":true}",
        "{\"ok\":true}",
    ];
    for (line, part) in shown.zip(expected).chain(printed.into_iter().zip(expected)) {
        if let Some(answer) = paste(&line).await {
            assert!(answer.contains(part), "{line}: {answer}");
        }
    }
    demo.signal("INT");
    assert_eq!(demo.ended().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sandbox_serves_wechat_and_can_be_controlled() {
    let folder = folder();
    let mut sandbox = Process::start(
        folder.path(),
        &[
            "sandbox", "--port", "0", "--app", "wxa:s1", "--app", "wxb:s2",
        ],
        &[],
    );
    let line = sandbox.said("plays https://api.weixin.qq.com").await;
    sandbox.url = line
        .split_whitespace()
        .find(|word| word.starts_with("http://"))
        .expect("an address")
        .to_owned();
    let token = |app: &str, secret: &str| {
        format!("/cgi-bin/token?grant_type=client_credential&appid={app}&secret={secret}")
    };
    for (app, secret) in [("wxa", "s1"), ("wxb", "s2")] {
        assert!(sandbox.get(&token(app, secret)).await.json()["access_token"].is_string());
    }
    let fault = sandbox
        .request(reqwest::Method::POST, "/sandbox/faults")
        .body(r#"{"fault":{"errcode":-1}}"#)
        .send()
        .await;
    assert_eq!(fault.expect("an answer").status(), StatusCode::OK);
    assert_eq!(sandbox.get(&token("wxa", "s1")).await.json()["errcode"], -1);
    assert!(sandbox.get("/sandbox/state").await.json().is_object());
    sandbox.signal("TERM");
    assert_eq!(sandbox.ended().await.code, Some(0));
}

/// The log of a server that has answered one good query, one bad one and a ping.
async fn log_of_three_requests(folder: &Path, server: Value) -> (Vec<Value>, String) {
    let (sandbox, _running) = wechat().await;
    let server = Process::serve(
        folder,
        &settings(&sandbox.url(), json!({ "server": server })),
    )
    .await;
    let token = server
        .get(&signed_v2("GET", APP, &[("key", "token")]))
        .await
        .json()["value"]
        .clone();
    let forged = signed_v2("GET", APP, &[("key", "token")]).replace("sign=", "sign=0");
    server.get(&forged).await.problem(401, "unauthorized");
    assert_eq!(
        server
            .request(reqwest::Method::GET, "/ping?x=query-marker")
            .header("x-request-id", "id-7")
            .send()
            .await
            .expect("an answer")
            .status(),
        200
    );
    server.logged("refused").await;
    server.signal("TERM");
    let ended = server.ended().await;
    let log = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    for secret in [
        APP_SECRET,
        REALM_SECRET,
        "sign=",
        "nonce=",
        "query-marker",
        token.as_str().expect("a token"),
    ] {
        assert!(!ended.out.contains(secret), "{secret}: {}", ended.out);
    }
    assert_eq!(ended.err, "");
    (log, ended.out)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_json_with_stable_fields_and_no_secrets() {
    let (log, text) = log_of_three_requests(folder().path(), json!({})).await;
    for line in &log {
        assert!(
            ["timestamp", "level", "message", "target"]
                .iter()
                .all(|field| line[field].is_string()),
            "{line}"
        );
    }
    let of = |message: &str| {
        log.iter()
            .find(|line| line["message"] == message)
            .unwrap_or_else(|| panic!("{message}: {text}"))
    };
    assert!(
        of("listening")["address"].is_string()
            && of("listening")["accounts"] == 1
            && of("listening")["version"].is_string()
    );
    let renewed = of("renewed");
    assert_eq!(
        (
            &renewed["account.id"],
            &renewed["credential.kind"],
            &renewed["why"]
        ),
        (&json!(APP), &json!("token"), &json!("missing"))
    );
    assert!(
        renewed["expires_in"].is_u64() && renewed["duration_ms"].is_u64(),
        "{renewed}"
    );
    let refused = of("refused");
    assert_eq!(
        (&refused["status"], &refused["code"], &refused["method"]),
        (&json!(401), &json!("unauthorized"), &json!("GET"))
    );
    assert_eq!(
        (&refused["path"], &refused["caller"]),
        (&json!(format!("/jsapi/{APP}/query")), &json!("127.0.0.1"))
    );
    assert!(
        log.iter().all(|line| line["message"] != "request"),
        "the access log is off: {text}"
    );
    assert_eq!(
        log.last().expect("a line")["message"],
        "stopped",
        "the last line is written too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_has_a_line_per_request() {
    let (log, text) = log_of_three_requests(folder().path(), json!({ "accessLog": true })).await;
    let requests: Vec<&Value> = log
        .iter()
        .filter(|line| line["message"] == "request")
        .collect();
    assert_eq!(requests.len(), 2, "{text}");
    assert_eq!(
        (&requests[0]["route"], &requests[1]["route"]),
        (&json!("/jsapi/{appid}/query"), &json!("/ping"))
    );
    for line in &requests {
        assert_eq!(
            (&line["method"], &line["status"], &line["caller"]),
            (&json!("GET"), &json!(200), &json!("127.0.0.1"))
        );
        assert!(
            line["duration_ms"].is_u64()
                && line["request_id"].as_str().is_some_and(|id| !id.is_empty()),
            "{line}"
        );
    }
    assert_eq!(
        requests[1]["request_id"], "id-7",
        "the caller's own id is kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_log_is_written_for_people() {
    let Some(script) = programs::find("script") else {
        return;
    };
    let folder = folder();
    let (_listener, port) = taken();
    // It reports the damaged file and then exits, because its port is in use.
    std::fs::write(folder.path().join("cache.json"), "torn").expect("our own folder");
    let over = json!({ "server": { "port": port }, "cache": { "file": "cache.json" } });
    write_settings(folder.path(), &settings("http://127.0.0.1:1", over));
    let run = std::process::Command::new(script)
        .args(["-qec", env!("CARGO_BIN_EXE_jsdkd"), "/dev/null"])
        .current_dir(folder.path())
        .stdin(std::process::Stdio::null())
        .output();
    let output = run.expect("a terminal");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .find(|line| line.contains("the cache file"))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(
        line.contains("ERROR") && serde_json::from_str::<Value>(line).is_err(),
        "{line}"
    );
    assert!(text.contains("cannot listen on"), "{text}");
}
