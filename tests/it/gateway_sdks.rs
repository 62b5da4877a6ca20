//! Five SDKs of other people's, as npm and pip install them, built as docs/gateway.md shows: six
//! calls each, first at the sandbox itself with the real secret, then through the gateway with a
//! virtual one, with a dead token at WeChat, and to a forbidden path.

use std::process::Command;
use std::sync::OnceLock;

use sandbox::{Arrival, Sandbox};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::npm::Node;
use crate::support::pip::Python;
use crate::wechatpy;

const SDKS: [&str; 5] = [
    "wechatpy",
    "co-wechat-api",
    "wechat-api",
    "node-easywechat",
    "wechat-jssdk",
];

/// The realm `shop`'s virtual AppSecret.
const VIRTUAL: &str = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";

/// What the scripts say, upload, and sign.
const WORDS: &str = "你好 & 再见 <'{}'> +%20";
const PERSON: &str = "oAbcdefghijklmnopqrstuvwxyz0";
const PAGE: &str = "https://shop.example.com/a?b=1";

/// All that installs, by the first test that asks; `None`, said aloud, where it cannot be
/// installed.
fn installed() -> Option<&'static (Node, Python)> {
    static INSTALLED: OnceLock<Option<(Node, Python)>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            Some((
                Node::with("sdks", "gateway/package.json")?,
                wechatpy::installed()?,
            ))
        })
        .as_ref()
}

/// What `sdk` says of `calls` at `base`. The script runs in an empty folder, since some SDKs keep
/// tokens in files.
async fn call(sdk: &'static str, base: &str, secret: &str, calls: &[&str]) -> Value {
    let (node, python) = installed().expect("asked before");
    let folder = tempfile::tempdir().unwrap();
    let mut command = if sdk == "wechatpy" {
        let script = format!("{}/tests/it/gateway/calls.py", env!("CARGO_MANIFEST_DIR"));
        let mut command: Command = python.run(&[&script]);
        command
            .current_dir(folder.path())
            .args([base, APP, secret])
            .args(calls);
        command
    } else {
        let mut command = node.run("gateway/calls.cjs", folder.path());
        command.args([sdk, base, APP, secret]).args(calls);
        command
    };
    let output = tokio::task::spawn_blocking(move || (command.output().unwrap(), folder))
        .await
        .unwrap()
        .0;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{sdk}: {said} {}", String::from_utf8_lossy(&output.stderr)))
}

/// The six calls; the code of the login is used once.
async fn six_calls(sdk: &'static str, base: &str, secret: &str) -> Value {
    let code = format!("session=code-{sdk}-{}", rand::random::<u32>());
    call(
        sdk,
        base,
        secret,
        &["ip", "message", "upload", "download", "ticket", &code],
    )
    .await
}

fn picture() -> Vec<u8> {
    (0..100_000_usize)
        .map(|at| u8::try_from(at * 7 % 251).unwrap())
        .collect()
}

/// Every call that the SDK has went well, and says what WeChat said.
#[track_caller]
fn all_went_well(sdk: &str, answers: &Value, ticket: &str) {
    for (name, answer) in answers.as_object().unwrap() {
        assert!(answer.get("error").is_none(), "{sdk} {name}: {answers}");
    }
    let answer =
        |name: &str| Some(answers[name]["answer"].clone()).filter(|answer| !answer.is_null());
    let ips = answer("ip").map(|answer| answer.get("ip_list").cloned().unwrap_or(answer));
    assert_eq!(
        ips.unwrap_or_else(|| json!(["192.0.2.10", "198.51.100.0/25"])),
        json!(["192.0.2.10", "198.51.100.0/25"]),
        "{sdk}"
    );
    if let Some(message) = answer("message") {
        assert_eq!(message["errcode"], 0, "{sdk} {message}");
    }
    if let Some(hash) = answer("download") {
        assert_eq!(
            hash,
            sha256(&picture()),
            "{sdk}: what comes back is what was sent"
        );
    }
    let signed = answer("ticket").expect("every SDK signs");
    let timestamp = signed["timestamp"]
        .as_str()
        .map_or_else(|| signed["timestamp"].to_string(), str::to_owned);
    let nonce = signed["nonceStr"].as_str().unwrap();
    let string1 =
        format!("jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url={PAGE}");
    let expected: String = Sha1::digest(string1.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        signed["signature"], expected,
        "{sdk}: signed with the real ticket"
    );
    if let Some(session) = answer("session") {
        assert!(
            session["openid"].is_string() && session["session_key"].is_string(),
            "{sdk} {session}"
        );
    }
}

fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What WeChat got has the bytes that the SDK sent.
#[track_caller]
fn arrived_unchanged(sdk: &str, sandbox: &Sandbox) {
    if sdk == "wechat-jssdk" {
        return;
    }
    let message = sandbox
        .arrivals("/cgi-bin/message/custom/send")
        .pop()
        .expect("a message");
    let body: Value = serde_json::from_slice(message.body.as_ref().unwrap()).unwrap();
    assert_eq!(
        body,
        json!({ "touser": PERSON, "msgtype": "text", "text": { "content": WORDS } }),
        "{sdk}"
    );
    let upload = sandbox
        .arrivals("/cgi-bin/media/upload")
        .pop()
        .expect("an upload");
    assert!(
        upload.whole
            && upload.length > 100_000
            && upload
                .header("content-type")
                .starts_with("multipart/form-data"),
        "{upload:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sdk_makes_its_calls_at_the_sandbox() {
    if installed().is_none() {
        return;
    }
    for sdk in SDKS {
        let app = TestApp::start().await;
        let answers = six_calls(sdk, &app.sandbox.url(), APP_SECRET).await;
        all_went_well(sdk, &answers, &app.sandbox.current_ticket(APP).unwrap());
        arrived_unchanged(sdk, &app.sandbox);
    }
}

async fn gateway(over: Value) -> TestApp {
    let mut realm = json!({
        "key": "shop", "secret": VIRTUAL, "apps": [APP], "gateway": ["read", "messages", "media", "tickets", "login"],
    });
    crate::support::app::lay(&mut realm, over);
    TestApp::with(json!({ "realms": [realm] })).await
}

/// Nothing virtual reached WeChat, and the real token once in each call that needs one.
#[track_caller]
fn nothing_virtual_arrived(sdk: &str, arrivals: &[Arrival]) {
    for arrival in arrivals {
        let shown = format!("{arrival:?}");
        assert!(
            !shown.contains(VIRTUAL) && !shown.contains("jv1_"),
            "{sdk}: {shown}"
        );
        assert!(
            arrival.target.matches("access_token=").count() <= 1,
            "{sdk}: {shown}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sdk_makes_its_calls_through_the_gateway() {
    if installed().is_none() {
        return;
    }
    for sdk in SDKS {
        let app = gateway(json!({})).await;
        let answers = six_calls(sdk, &app.url, VIRTUAL).await;
        all_went_well(sdk, &answers, &app.sandbox.current_ticket(APP).unwrap());
        arrived_unchanged(sdk, &app.sandbox);
        nothing_virtual_arrived(sdk, &app.sandbox.arrivals(""));
        let said = answers.to_string();
        let real = app.sandbox.current_token(APP).unwrap();
        assert!(
            !said.contains(&real) && !said.contains(APP_SECRET),
            "{sdk}: {said}"
        );
        assert_eq!(app.sandbox.calls("/cgi-bin/token"), 1, "{sdk}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_at_wechat_is_healed_for_every_sdk() {
    if installed().is_none() {
        return;
    }
    for sdk in SDKS {
        let app = gateway(json!({})).await;
        assert!(call(sdk, &app.url, VIRTUAL, &["ticket"]).await["ticket"]["error"].is_null());
        app.sandbox.void_token(APP);
        let answers = six_calls(sdk, &app.url, VIRTUAL).await;
        all_went_well(sdk, &answers, &app.sandbox.current_ticket(APP).unwrap());
        // The SDK that asks for tickets alone is answered with ours.
        let renewed = if sdk == "wechat-jssdk" { 1 } else { 2 };
        assert_eq!(app.sandbox.calls("/cgi-bin/token"), renewed, "{sdk}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sdk_reads_the_refusal_of_a_forbidden_path() {
    if installed().is_none() {
        return;
    }
    for sdk in SDKS {
        let app = gateway(json!({ "gateway": ["read", "messages"] })).await;
        let answers = call(sdk, &app.url, VIRTUAL, &["ip", "upload", "ticket"]).await;
        let refused = if sdk == "wechat-jssdk" {
            "ticket"
        } else {
            "upload"
        };
        let told = answers[refused].to_string();
        assert!(
            told.contains("48001") || told.contains("unauthorized"),
            "{sdk}: {answers}"
        );
        assert_eq!(app.sandbox.arrivals("/cgi-bin/media/upload"), [], "{sdk}");
        if sdk != "wechat-jssdk" {
            assert!(answers["ip"].get("error").is_none(), "{sdk}: {answers}");
        }
    }
}
