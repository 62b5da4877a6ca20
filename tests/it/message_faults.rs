//! What the log says about a refused push: the fault and the cure. The answer is always the same.

use reqwest::Method;
use serde_json::{Value, json};
use wechat::crypt;

use crate::support::app::Response;
use crate::support::deliveries::{
    AES_KEY, TOKEN, plain_query, sealed, sealed_json, text, timestamp,
};
use crate::support::process::{Process, folder, settings, until};

const PLAIN: &str = "wxplain";
const SAFE: &str = "wxsafe";
const BARE: &str = "wxbare";

async fn server(folder: &std::path::Path) -> Process {
    let apps = json!([
        { "key": PLAIN, "secret": "s", "token": TOKEN },
        { "key": SAFE, "secret": "s", "token": TOKEN, "aesKey": AES_KEY },
        { "key": BARE, "secret": "s" },
    ]);
    let server = json!({ "server": { "bodyLimit": "20kb" }, "apps": apps });
    Process::serve(folder, &settings("http://127.0.0.1:1", server)).await
}

async fn post(server: &Process, app: &str, query: &str, body: String) -> (u16, String) {
    let response = server
        .request(Method::POST, &format!("/wechat/{app}?{query}"))
        .body(body)
        .send()
        .await
        .expect("an answer");
    let answer = Response::of(response).await;
    (answer.status.as_u16(), answer.body)
}

/// The log lines about refused pushes.
fn lines(server: &Process) -> Vec<Value> {
    server
        .log()
        .into_iter()
        .filter(|line| line["message"] == "push refused")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_a_pushs_fault_and_the_cure() {
    let folder = folder();
    let server = server(folder.path()).await;
    let (ours, hi) = (plain_query(0, "n"), || text("hi", 1));
    let (safe_query, safe_body) = sealed(&hi(), SAFE, "n");
    let foreign = sealed(&hi(), "wxforeign", "n");
    let not_ours = {
        let encrypt = "A".repeat(64);
        let signature = crypt::signature(TOKEN, &timestamp(0), "n", &encrypt).text();
        let query = format!(
            "{}&encrypt_type=aes&msg_signature={signature}",
            plain_query(0, "n")
        );
        (
            query,
            json!({ "ToUserName": "gh_1", "Encrypt": encrypt }).to_string(),
        )
    };
    let unreadable = sealed_json("{\"MsgType\":", SAFE, "n");
    let cases = [
        (
            PLAIN,
            ours.replace("signature=", "signature=0"),
            hi(),
            "wrong_token",
            "made with the app's token",
            "Token (令牌)",
        ),
        (
            PLAIN,
            plain_query(7200, "n"),
            hi(),
            "wrong_clock",
            " s behind this machine's clock",
            "NTP",
        ),
        (
            PLAIN,
            ours.replace("nonce=n", "nonce="),
            hi(),
            "missing_parameter",
            "no nonce",
            "query string",
        ),
        (
            PLAIN,
            format!("{ours}&{ours}"),
            hi(),
            "repeated_parameter",
            "more than once",
            "query string",
        ),
        (
            PLAIN,
            ours.clone(),
            "{\"MsgType\":\"text\"".to_owned(),
            "unreadable_json",
            "not well-formed JSON",
            "数据格式",
        ),
        (
            PLAIN,
            ours.clone(),
            "<xml><a>".to_owned(),
            "unreadable_xml",
            "not well-formed XML",
            "数据格式",
        ),
        (
            PLAIN,
            ours.clone(),
            " ".to_owned(),
            "no_body",
            "empty",
            "URL in WeChat's console",
        ),
        (
            PLAIN,
            ours.clone(),
            "x".repeat(30_000),
            "too_large",
            "20480 bytes",
            "server.bodyLimit",
        ),
        (
            PLAIN,
            safe_query.clone(),
            safe_body.clone(),
            "no_key",
            "no aesKey",
            "EncodingAESKey",
        ),
        (
            SAFE,
            ours.clone(),
            hi(),
            "clear",
            "not encrypted",
            "安全模式",
        ),
        (
            SAFE,
            plain_query(-4000, "n"),
            hi(),
            "wrong_clock",
            "s ahead of this machine's clock",
            "NTP",
        ),
        (
            SAFE,
            safe_query.replace("msg_signature=", "msg_signature=0"),
            safe_body.clone(),
            "altered_envelope",
            "msg_signature",
            "body",
        ),
        (
            SAFE,
            foreign.0,
            foreign.1,
            "wrong_app",
            "wxforeign",
            "/wechat/",
        ),
        (
            SAFE,
            not_ours.0,
            not_ours.1,
            "wrong_key",
            "cannot be decrypted",
            "aesKey: [NEW, OLD]",
        ),
        (
            SAFE,
            unreadable.0,
            unreadable.1,
            "unreadable_json",
            "not well-formed JSON",
            "数据格式",
        ),
        (
            SAFE,
            safe_query
                .split("&msg_signature")
                .next()
                .unwrap()
                .to_owned(),
            safe_body,
            "missing_parameter",
            "no msg_signature",
            "proxy",
        ),
        (
            BARE,
            ours.clone(),
            hi(),
            "no_token",
            "has no token",
            "`token`",
        ),
    ];
    let mut answers = Vec::new();
    for (app, query, body, ..) in &cases {
        answers.push(post(&server, app, query, body.clone()).await);
    }
    answers.dedup();
    assert_eq!(
        (answers.len(), answers[0].0),
        (1, 401),
        "the answer is one and the same: {answers:?}"
    );
    until(|| (lines(&server).len() == cases.len()).then_some(())).await;
    let lines = lines(&server);
    assert_eq!(lines.len(), cases.len(), "{lines:#?}");
    for (line, (app, _, _, kind, fault, cure)) in lines.iter().zip(&cases) {
        let of = |name: &str| {
            line[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name}: {line}"))
        };
        assert_eq!(
            (of("level"), of("account.id"), of("kind"), of("caller")),
            ("WARN", *app, *kind, "127.0.0.1"),
            "{line}"
        );
        assert!(
            of("fault").contains(fault) && of("cure").contains(cure),
            "{line}"
        );
    }
    let off = lines[1]["fault"]
        .as_str()
        .and_then(|fault| fault.split(' ').nth(3)?.parse::<u64>().ok());
    assert!(
        off.is_some_and(|off| (7200..7260).contains(&off)),
        "{}",
        lines[1]
    );
    for secret in [TOKEN, AES_KEY, "nonce=", "signature="] {
        assert!(!server.out().contains(secret), "{secret}");
    }
    assert!(
        !server.out().contains("\"refused\""),
        "one line is enough: {}",
        server.out()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_logged_once_a_minute() {
    let folder = folder();
    let server = server(folder.path()).await;
    let wrong = plain_query(0, "n").replace("signature=", "signature=0");
    for number in 0..300 {
        let app = [PLAIN, SAFE, "wxunknown1", "wxunknown2"][number % 4];
        post(&server, app, &wrong, text("hi", 1)).await;
    }
    let check = format!("/wechat/{BARE}?{wrong}&echostr=1");
    server.get(&check).await.problem(401, "bad_push_signature");
    until(|| {
        lines(&server)
            .iter()
            .any(|line| line["account.id"] == BARE)
            .then_some(())
    })
    .await;
    let told: Vec<_> = lines(&server)
        .iter()
        .map(|line| (line["account.id"].clone(), line["kind"].clone()))
        .collect();
    let unknown = (Value::Null, json!("unknown_app"));
    let wrong = |app: &str| (json!(app), json!("wrong_token"));
    assert_eq!(
        told,
        [
            wrong(PLAIN),
            wrong(SAFE),
            unknown,
            (json!(BARE), json!("no_token"))
        ],
        "one for all unknown apps"
    );
}
