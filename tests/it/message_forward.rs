//! Back ends behind the message server: what they receive, once each, and what happens to their
//! answers.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sandbox::Fault;
use serde_json::{Value, json};
use wechat::signature;

use crate::messages::with;
use crate::support::app::{APP, TestApp, lay};
use crate::support::backend::Backend;
use crate::support::deliveries::{
    AES_KEY, TOKEN, content, deliver, event, message, opened, plain_query, push, said, sealed, text,
};
use crate::support::keepers::eventually;
use crate::support::redis::RedisServer;
use crate::support::visitor::parameter;

/// The answer of a back end written for WeChat.
fn reply(content: &str) -> String {
    format!(
        "<xml><ToUserName><![CDATA[oUser]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName><CreateTime>12345678</CreateTime>\
         <MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{content}]]></Content></xml>"
    )
}

async fn forwarding(rule: Value) -> TestApp {
    TestApp::with(with(json!({ "messages": [rule] }))).await
}

#[tokio::test]
async fn a_back_end_for_wechat_works_unchanged() {
    let backend = Backend::answering(&reply("from the back end"));
    let app = forwarding(json!({ "on": "*", "forward": backend.url })).await;
    let sent = text("hi <&> 你好", 7);
    let answer = push(&app, &sent).await;
    assert_eq!(
        (said(&answer).as_str(), answer.body.as_str()),
        ("from the back end", reply("from the back end").as_str())
    );
    let received = &backend.received()[0];
    assert_eq!(
        (received.body.as_str(), received.content_type.as_str()),
        (sent.as_str(), "text/xml; charset=utf-8")
    );
    let of = |name| parameter(&format!("http://x/?{}", received.query), name).unwrap_or_default();
    assert!(
        signature::push(TOKEN, &of("timestamp"), &of("nonce")).matches(&of("signature")),
        "{}",
        received.query
    );
    assert_eq!(
        (
            of("openid").as_str(),
            of("own").as_str(),
            of("encrypt_type").as_str()
        ),
        ("oUser", "1", "")
    );
}

#[tokio::test]
async fn a_back_end_needs_no_encryption() {
    let backend = Backend::answering(&reply("clear"));
    let app = TestApp::with(with(
        json!({ "aesKey": AES_KEY, "messages": [{ "on": "*", "forward": backend.url }] }),
    ))
    .await;
    let (query, body) = sealed(&text("secret", 7), APP, "n-1");
    assert_eq!(
        content(&opened(&deliver(&app, "/wechat", &query, &body).await, APP)),
        "clear"
    );
    assert_eq!(backend.received()[0].body, text("secret", 7));
}

#[tokio::test]
async fn a_back_end_may_use_json() {
    let backend = Backend::answering(r#"{"text":"from json"}"#);
    let app = forwarding(json!({ "on": "event", "forward": backend.url, "as": "json" })).await;
    assert_eq!(said(&push(&app, &event("CLICK", "k1")).await), "from json");
    let received = &backend.received()[0];
    let object: Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(
        (object["FromUserName"].as_str(), object["EventKey"].as_str()),
        (Some("oUser"), Some("k1"))
    );
    assert_eq!(received.content_type, "application/json");
}

#[tokio::test]
async fn an_unknown_kind_of_message_is_forwarded_unchanged() {
    let backend = Backend::answering("success");
    let app = forwarding(json!({ "on": "*", "forward": backend.url })).await;
    let strange = message(
        "<MsgType>brand_new</MsgType><Thing><Part>1</Part><Part>2</Part></Thing><MsgId>1</MsgId>",
    );
    assert_eq!(push(&app, &strange).await.body, "success");
    assert_eq!(backend.received()[0].body, strange);
}

#[tokio::test]
async fn an_invalid_answer_becomes_success() {
    let backend = Backend::answering("");
    let app = forwarding(json!({ "on": "*", "forward": backend.url })).await;
    for (number, (status, body)) in [
        (200, ""),
        (200, "success"),
        (200, "ok"),
        (200, "<html>oops</html>"),
        (500, &reply("x")),
        (302, ""),
        (200, "{}"),
    ]
    .into_iter()
    .enumerate()
    {
        backend.order(|orders| (orders.status, orders.body) = (status, body.to_owned()));
        assert_eq!(
            push(&app, &text("hi", number as u64)).await.body,
            "success",
            "{status} {body}"
        );
    }
    let dead = forwarding(json!({ "on": "*", "forward": "http://127.0.0.1:1/" })).await;
    assert_eq!(push(&dead, &text("hi", 1)).await.body, "success");
}

#[tokio::test]
async fn a_slow_back_end_does_not_make_wechat_wait() {
    let backend = Backend::answering(&reply("late"));
    backend.order(|orders| orders.after = Duration::from_secs(20));
    let app = forwarding(json!({ "on": "*", "forward": backend.url })).await;
    let begun = Instant::now();
    assert_eq!(push(&app, &text("hi", 1)).await.body, "success");
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(4) && took < Duration::from_millis(4900),
        "{took:?}"
    );
    assert_eq!(push(&app, &text("hi", 1)).await.body, "success");
    assert_eq!(backend.received().len(), 1);
}

#[tokio::test]
async fn a_late_answer_is_sent_as_a_customer_service_message() {
    let backend = Backend::answering(&reply("late but here"));
    backend.order(|orders| orders.after = Duration::from_millis(5200));
    let app = forwarding(json!({ "on": "*", "forward": backend.url, "late": "push" })).await;
    assert_eq!(push(&app, &text("hi", 1)).await.body, "success");
    eventually("the late answer is sent", async || {
        app.sandbox.calls("/cgi-bin/message/custom/send") == 1
    })
    .await;
    backend.order(|orders| orders.after = Duration::ZERO);
    assert_eq!(
        said(&push(&app, &text("hi", 2)).await),
        "late but here",
        "in time it is an answer"
    );
    assert_eq!(app.sandbox.calls("/cgi-bin/message/custom/send"), 1);
}

#[tokio::test]
async fn repeated_deliveries_are_forwarded_once() {
    let backend = Backend::answering(&reply("once"));
    backend.order(|orders| orders.after = Duration::from_millis(300));
    let app = forwarding(json!({ "on": "*", "forward": backend.url })).await;
    for xml in [text("hi", 1), event("CLICK", "k")] {
        let before = backend.received().len();
        let queries: Vec<String> = (0..5)
            .map(|number| plain_query(number, &number.to_string()))
            .collect();
        let answers = join_all(
            queries
                .iter()
                .map(|query| deliver(&app, "/wechat", query, &xml)),
        )
        .await;
        let later = deliver(&app, "/wechat", &plain_query(0, "later"), &xml).await;
        for answer in answers.iter().chain([&later]) {
            assert_eq!(answer.body, reply("once"));
        }
        assert_eq!(backend.received().len(), before + 1);
    }
    assert_eq!(said(&push(&app, &text("hi", 2)).await), "once");
    assert_eq!(
        backend.received().len(),
        3,
        "another message is another one"
    );
}

#[tokio::test]
async fn instances_forward_a_message_once() {
    let redis = RedisServer::start();
    let backend = Backend::answering(&reply("shared"));
    backend.order(|orders| orders.after = Duration::from_millis(200));
    let mut settings = with(json!({ "messages": [{ "on": "*", "forward": backend.url }] }));
    lay(&mut settings, json!({ "cache": { "redis": redis.url() } }));
    let (first, second) = (
        TestApp::with(settings.clone()).await,
        TestApp::with(settings).await,
    );
    for id in 0..5 {
        let xml = text("hi", id);
        let (one, other) = tokio::join!(push(&first, &xml), push(&second, &xml));
        assert_eq!(
            (said(&one), said(&other)),
            ("shared".to_owned(), "shared".to_owned())
        );
    }
    assert_eq!(backend.received().len(), 5);
}

#[tokio::test]
async fn only_the_answering_back_end_is_awaited() {
    let (answering, slow) = (
        Backend::answering(&reply("mine")),
        Backend::answering(&reply("not mine")),
    );
    slow.order(|orders| orders.after = Duration::from_secs(20));
    let targets = json!([slow.url, { "url": answering.url, "answers": true }, { "url": slow.url, "as": "json" }]);
    let app = forwarding(json!({ "on": "*", "forward": targets })).await;
    let begun = Instant::now();
    assert_eq!(said(&push(&app, &text("hi", 1)).await), "mine");
    assert!(begun.elapsed() < Duration::from_secs(3));
    eventually("both others have it", async || slow.received().len() == 2).await;

    let quiet = forwarding(json!({ "on": "*", "forward": [slow.url, answering.url] })).await;
    assert_eq!(
        push(&quiet, &text("hi", 2)).await.body,
        "success",
        "nobody is to answer"
    );
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_store_that_is_down_loses_no_message() {
    let mut redis = RedisServer::start();
    let backend = Backend::answering(&reply("still here"));
    let mut settings = with(json!({ "messages": [{ "on": "*", "forward": backend.url }] }));
    lay(&mut settings, json!({ "cache": { "redis": redis.url() } }));
    let app = TestApp::with(settings).await;
    redis.kill();
    assert_eq!(said(&push(&app, &text("hi", 1)).await), "still here");
}

#[tokio::test]
async fn a_late_answer_that_cannot_be_sent_is_logged() {
    let backend = Backend::answering(&reply("late"));
    backend.order(|orders| orders.after = Duration::from_millis(4800));
    let app = forwarding(json!({ "on": "*", "forward": backend.url, "late": "push" })).await;
    app.sandbox.fault(
        Fault::errcode(45015, "response out of time limit").on("/cgi-bin/message/custom/send"),
    );
    assert_eq!(push(&app, &text("hi", 1)).await.body, "success");
    eventually("it is tried", async || {
        app.sandbox.calls("/cgi-bin/message/custom/send") == 1
    })
    .await;
    assert_eq!(app.query("token").await.status, 200, "and starts no pause");
}
