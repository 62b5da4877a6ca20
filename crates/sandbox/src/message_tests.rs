//! What an account sends to people, over a real socket: what WeChat takes, what it refuses, and
//! where a test finds it again.

use super::*;

const CUSTOM: &str = "/cgi-bin/message/custom/send";
const TEMPLATE: &str = "/cgi-bin/message/template/send";

/// The openid of somebody whom no sandbox has met.
const ANYBODY: &str = "oABCDEFGHIJKLMNOPQRSTUVWXYZ1";

impl Bench {
    /// `POST path` with a good token: the answer.
    async fn send(&self, path: &str, message: &Value) -> Value {
        let token = self.stable(false).await;
        let path = format!("{path}?access_token={}", text(&token, "access_token"));
        let (status, answer) = self.post(&path, message.to_string()).await;
        assert_eq!(status, 200);
        answer
    }
}

fn hello(openid: &str) -> Value {
    json!({"touser": openid, "msgtype": "text", "text": {"content": "Hello"}})
}

fn template(openid: &str) -> Value {
    json!({"touser": openid, "template_id": "T", "data": {"thing1": {"value": "v", "color": "#173177"}, "number2": {"value": 2}}})
}

#[tokio::test]
async fn sent_messages_are_kept_and_counted() {
    let bench = bench().await;
    let ok = json!({"errcode": 0, "errmsg": "ok"});
    let media = |kind: &str| json!({"touser": ANYBODY, "msgtype": kind, kind: {"media_id": "M"}});
    let of = |kind: &str, inside: Value| json!({"touser": ANYBODY, "msgtype": kind, kind: inside});
    let messages = [
        hello(ANYBODY),
        media("image"),
        media("voice"),
        media("video"),
        media("mpnews"),
        of(
            "music",
            json!({"thumb_media_id": "M", "musicurl": "U", "hqmusicurl": "U"}),
        ),
        of(
            "news",
            json!({"articles": [{"title": "T", "description": "D", "url": "U", "picurl": "P"}]}),
        ),
        of(
            "msgmenu",
            json!({"head_content": "H", "list": [{"id": "1", "content": "C"}], "tail_content": "T"}),
        ),
    ];
    for message in &messages {
        assert_eq!(bench.send(CUSTOM, message).await, ok, "{message}");
    }
    let answer = bench.send(TEMPLATE, &template(ANYBODY)).await;
    assert!(
        answer["errcode"] == 0 && answer["msgid"].is_u64(),
        "{answer}"
    );
    let all: Vec<Value> = messages.into_iter().chain([template(ANYBODY)]).collect();
    assert_eq!(bench.sandbox.sent(APP), all);
    assert_eq!(
        bench.get(&format!("/sandbox/messages?appid={APP}")).await,
        json!({"messages": all})
    );
    let state = bench.get("/sandbox/state").await;
    assert_eq!(
        state["accounts"][APP]["sent"],
        json!({"custom": 8, "template": 1})
    );
    assert_eq!(
        (
            bench.sandbox.calls_of(APP, CUSTOM),
            bench.sandbox.calls_of(APP, TEMPLATE)
        ),
        (8, 1)
    );
    for _ in 0..100 {
        bench.send(CUSTOM, &hello(ANYBODY)).await;
    }
    assert_eq!(
        bench.sandbox.sent(APP),
        vec![hello(ANYBODY); 100],
        "only the last hundred are kept"
    );
    bench.sandbox.reset();
    assert!(bench.sandbox.sent(APP).is_empty());
}

#[tokio::test]
async fn invalid_messages_are_refused_and_not_kept() {
    let bench = bench().await;
    bench.sandbox.add_account("wx2", "s");
    let elsewhere = bench
        .sandbox
        .follow("wx2", "Alice", true)
        .expect("a visitor");
    let stranger = bench
        .sandbox
        .follow(APP, "Alice", false)
        .expect("a visitor");
    let with = |mut message: Value, name: &str, value: Value| {
        message[name] = value;
        message
    };
    let (custom, sent) = (hello(ANYBODY), template(ANYBODY));
    for (path, message, code) in [
        (CUSTOM, json!({}), 40003),
        (CUSTOM, hello("oShort"), 40003),
        (CUSTOM, hello(&ANYBODY.replace('o', "p")), 40003),
        (CUSTOM, hello(&elsewhere), 40003),
        (CUSTOM, hello(&stranger), 45015),
        (
            CUSTOM,
            with(custom.clone(), "msgtype", json!("novel")),
            40008,
        ),
        (CUSTOM, with(custom.clone(), "msgtype", json!(null)), 40008),
        (
            CUSTOM,
            with(custom.clone(), "text", json!({"content": ""})),
            44004,
        ),
        (
            CUSTOM,
            with(custom.clone(), "text", json!({"content": "x".repeat(2049)})),
            45002,
        ),
        (
            CUSTOM,
            with(custom.clone(), "msgtype", json!("image")),
            40007,
        ),
        (
            CUSTOM,
            json!({"touser": ANYBODY, "msgtype": "music", "music": {"musicurl": "U"}}),
            40007,
        ),
        (
            CUSTOM,
            json!({"touser": ANYBODY, "msgtype": "news", "news": {"articles": []}}),
            44003,
        ),
        (
            CUSTOM,
            json!({"touser": ANYBODY, "msgtype": "news", "news": {"articles": [{}, {}]}}),
            45008,
        ),
        (
            CUSTOM,
            json!({"touser": ANYBODY, "msgtype": "wxcard"}),
            47001,
        ),
        (CUSTOM, json!([1]), 47001),
        (TEMPLATE, template("oShort"), 40003),
        (
            TEMPLATE,
            with(sent.clone(), "template_id", json!("")),
            40037,
        ),
        (TEMPLATE, template(&stranger), 43004),
        (TEMPLATE, with(sent.clone(), "data", json!({})), 47003),
        (TEMPLATE, with(sent.clone(), "data", json!(null)), 47003),
    ] {
        assert_eq!(
            bench.send(path, &message).await["errcode"],
            code,
            "{path} {message}"
        );
    }
    let empty = with(
        sent,
        "data",
        json!({"a": {"value": "v"}, "b": {"value": ""}}),
    );
    assert!(
        text(&bench.send(TEMPLATE, &empty).await, "errmsg")
            .starts_with("argument invalid! data.b.value is empty rid: ")
    );
    assert!(bench.sandbox.sent(APP).is_empty());

    bench.sandbox.follow(APP, "Alice", true).expect("a visitor");
    assert_eq!(bench.send(CUSTOM, &hello(&stranger)).await["errcode"], 0);
    assert_eq!(
        bench.send(TEMPLATE, &template(&stranger)).await["errcode"],
        0
    );
}

#[tokio::test]
async fn a_call_needs_a_token_a_body_and_post() {
    let bench = bench().await;
    let good = bench.stable(false).await;
    let good = format!("?access_token={}", text(&good, "access_token"));
    for path in [CUSTOM, TEMPLATE] {
        for (query, body, code) in [
            ("", "{}", 41001),
            ("?access_token=x", "{}", 40014),
            (good.as_str(), "", 44002),
            (&good, "not JSON", 47001),
            (&good, "{\"touser\":\"\u{1}\"}", 47001),
        ] {
            assert_eq!(
                bench.post(&format!("{path}{query}"), body).await.1["errcode"],
                code,
                "{path}{query} {body}"
            );
        }
        assert_eq!(bench.get(&format!("{path}{good}")).await["errcode"], 43002);
        let script = json!({"path": path, "appid": APP, "times": 1, "fault": {"errcode": 45009}});
        assert_eq!(
            bench.post("/sandbox/faults", script.to_string()).await.0,
            200
        );
        assert_eq!(bench.send(path, &hello(ANYBODY)).await["errcode"], 45009);
    }
    assert!(bench.sandbox.sent(APP).is_empty());
    bench.sandbox.void_token(APP);
    assert_eq!(
        bench
            .post(&format!("{CUSTOM}{good}"), hello(ANYBODY).to_string())
            .await
            .1["errcode"],
        40001
    );
}

#[tokio::test]
async fn a_client_msg_id_deduplicates_for_ten_minutes() {
    let bench = bench().await;
    let mut message = template(ANYBODY);
    message["client_msg_id"] = json!("order-1");
    let first = bench.send(TEMPLATE, &message).await["msgid"].clone();
    bench.sandbox.advance(Duration::from_secs(500));
    assert_eq!(bench.send(TEMPLATE, &message).await["msgid"], first);
    message["touser"] = json!(ANYBODY.replace('Z', "z"));
    assert_ne!(
        bench.send(TEMPLATE, &message).await["msgid"],
        first,
        "to somebody else it is another"
    );
    message["touser"] = json!(ANYBODY);
    assert_eq!(bench.sandbox.sent(APP).len(), 2);
    bench.sandbox.advance(Duration::from_secs(100));
    assert_ne!(bench.send(TEMPLATE, &message).await["msgid"], first);
    assert_eq!(bench.sandbox.sent(APP).len(), 3);
}

#[tokio::test]
async fn messages_of_an_unknown_account_are_an_error() {
    let bench = bench().await;
    for query in ["", "?appid=wx0"] {
        let response = bench
            .client
            .get(format!("{}/sandbox/messages{query}", bench.sandbox.url()))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 400);
        assert!(
            response
                .text()
                .await
                .expect("a body")
                .contains("/sandbox/messages?appid=wx...")
        );
    }
}
