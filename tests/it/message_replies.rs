//! Back ends' answers that WeChat could not show, and unusual ones that it could.

use std::time::Duration;

use serde_json::{Value, json};

use crate::messages::with;
use crate::support::app::TestApp;
use crate::support::backend::Backend;
use crate::support::deliveries::{TOKEN, event, json_reply, plain_query, push, said, text};
use crate::support::keepers::eventually;
use crate::support::process::{Process, folder, settings, until};

/// A reply with `inside` after the common elements.
fn reply(inside: &str) -> String {
    format!(
        "<xml><ToUserName><![CDATA[oUser]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName>\
         <CreateTime>1409659814</CreateTime>{inside}</xml>"
    )
}

const TEXT: &str = "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[shown]]></Content>";

/// Answers that make WeChat report the account as out of order.
fn not_shown() -> Vec<String> {
    let xml = [
        "<MsgType>text</MsgType><Content></Content>",
        "<MsgType>text</MsgType><Content><![CDATA[]]></Content>",
        "<MsgType>text</MsgType><Content> \n </Content>",
        "<MsgType>text</MsgType>",
        "<MsgType>image</MsgType>",
        "<MsgType>image</MsgType><Image></Image>",
        "<MsgType>image</MsgType><MediaId>M</MediaId>",
        "<MsgType>voice</MsgType><Voice><MediaId/></Voice>",
        "<MsgType>video</MsgType><Video><Title>T</Title></Video>",
        "<MsgType>music</MsgType><Music><Title>T</Title></Music>",
        "<MsgType>news</MsgType><ArticleCount>0</ArticleCount><Articles></Articles>",
        "<MsgType>news</MsgType><ArticleCount>1</ArticleCount>",
        "<MsgType>news</MsgType><ArticleCount>1</ArticleCount><Articles><item></item></Articles>",
        "<MsgType>news</MsgType><ArticleCount>2</ArticleCount><Articles><item><Title>T</Title></item></Articles>",
        "<MsgType>link</MsgType><Url>u</Url>",
        "<MsgType></MsgType>",
        "<Content>x</Content>",
    ];
    let long = format!(
        "<MsgType>text</MsgType><Content>{}</Content>",
        "字".repeat(700)
    );
    let swapped = reply(TEXT)
        .replace("[oUser]", "[x]")
        .replace("[gh_1]", "[oUser]")
        .replace("[x]", "[gh_1]");
    let mut answers: Vec<String> = xml.into_iter().chain([long.as_str()]).map(reply).collect();
    answers.extend([
        swapped,
        reply(TEXT).replace("[oUser]", "[oOther]"),
        reply(TEXT).replace("<ToUserName><![CDATA[oUser]]></ToUserName>", ""),
        "<xml><Encrypt>x</Encrypt></xml>".to_owned(),
        "<html>502</html>".to_owned(),
        "x".repeat(70_000),
        r#"{"text":""}"#.to_owned(),
        r#"{"image":""}"#.to_owned(),
        r#"{"news":[]}"#.to_owned(),
        r#"{"news":[{}]}"#.to_owned(),
        r#"{"music":{"title":"T"}}"#.to_owned(),
        r#"{"errcode":0}"#.to_owned(),
        json!({ "text": "x".repeat(2049) }).to_string(),
        r#"{"ToUserName":"oUser","FromUserName":"gh_1","CreateTime":1,"MsgType":"text","Content":""}"#.to_owned(),
    ]);
    answers
}

async fn behind(backend: &Backend) -> TestApp {
    TestApp::with(with(
        json!({ "messages": [{ "on": "*", "forward": backend.url }] }),
    ))
    .await
}

#[tokio::test]
async fn an_invalid_reply_becomes_success() {
    let backend = Backend::answering("");
    let app = behind(&backend).await;
    for (number, answer) in not_shown().into_iter().enumerate() {
        backend.order(|orders| orders.body = answer.clone());
        let to_xml = push(&app, &text("hi", number as u64)).await;
        assert_eq!(
            (to_xml.status.as_u16(), to_xml.body.as_str()),
            (200, "success"),
            "{answer}"
        );
        let json = format!(
            r#"{{"ToUserName":"gh_1","FromUserName":"oUser","MsgType":"text","Content":"hi","MsgId":{number}}}"#
        );
        assert_eq!(push(&app, &json).await.body, "success", "{answer}");
    }
}

#[tokio::test]
async fn an_irregular_reply_is_shown() {
    let backend = Backend::answering("");
    let app = behind(&backend).await;
    let good = reply(TEXT);
    let plain = "<MsgType>text</MsgType><Content>shown</Content>";
    let dressed = [
        good.clone(),
        format!("\u{feff}{good}"),
        format!("\r\n \t{good}\n\n"),
        format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{good}\n"),
        reply(plain),
        good.replace("1409659814", "1700000000.123"),
        good.replace("1409659814", " 1700000000 "),
        good.replace("1409659814", "<![CDATA[1700000000]]>"),
        good.replace("1409659814", "2026-01-02T03:04:05Z"),
        good.replace("1409659814", "1700000000000"),
        good.replace("<CreateTime>1409659814</CreateTime>", ""),
        good.replace("[text]", "[Text]"),
        good.replace("[text]", "[ text ]"),
        good.replace("MsgType", "msgtype").replace("UserName", "username").replace("Content", "content"),
        reply(&plain.replace("shown", "<![CDATA[sho]]><![CDATA[wn]]>")),
        format!("\u{feff}{}", json!({ "text": "shown" })),
        json!({ "ToUserName": "oUser", "FromUserName": "gh_1", "CreateTime": 1.5, "MsgType": "text", "Content": "shown" })
            .to_string(),
        json!({ "tousername": "oUser", "fromusername": "gh_1", "msgtype": "text", "content": "shown" }).to_string(),
    ];
    for (number, answer) in dressed.into_iter().enumerate() {
        backend.order(|orders| orders.body = answer.clone());
        let to_xml = push(&app, &text("hi", number as u64)).await;
        assert_eq!(said(&to_xml), "shown", "{answer}");
        assert!(to_xml.body.starts_with('<'), "{}", to_xml.body);
        let json = format!(
            r#"{{"ToUserName":"gh_1","FromUserName":"oUser","MsgType":"text","Content":"hi","MsgId":{number}}}"#
        );
        assert_eq!(
            json_reply(&push(&app, &json).await)["Content"],
            "shown",
            "{answer}"
        );
    }
    let unclean = reply("<MsgType>text</MsgType><Content>a &nbsp; & b\u{8}</Content>");
    backend.order(|orders| orders.body = unclean);
    assert_eq!(
        said(&push(&app, &text("unclean", 0)).await),
        "a &nbsp; & b\u{fffd}"
    );
}

#[tokio::test]
async fn surplus_articles_of_a_back_end_are_left_out() {
    let backend = Backend::answering("");
    let app = behind(&backend).await;
    let items: String = (1..=9)
        .map(|number| format!("<item><Title>{number}</Title></item>"))
        .collect();
    let news = reply(&format!(
        "<MsgType>news</MsgType><ArticleCount>9</ArticleCount><Articles>{items}</Articles>"
    ));
    backend.order(|orders| orders.body = news);
    for (body, count) in [(text("hi", 1), 1), (event("CLICK", "k"), 8)] {
        let answer = push(&app, &body).await.body;
        assert!(
            answer.contains(&format!("<ArticleCount>{count}</ArticleCount>")),
            "{answer}"
        );
        assert_eq!(answer.matches("<item>").count(), count, "{answer}");
    }
}

#[tokio::test]
async fn an_invalid_reply_of_a_rule_becomes_success() {
    let app =
        TestApp::with(with(json!({ "messages": [{ "on": "text", "reply": { "text": "{absent} {content}{content}" } }] }))).await;
    for content in ["", " ", &"x".repeat(1500)] {
        assert_eq!(
            push(&app, &text(content, 1)).await.body,
            "success",
            "{content}"
        );
    }
    assert_eq!(said(&push(&app, &text("x", 1)).await), " xx");
}

#[tokio::test]
async fn a_late_reply_is_checked_like_any_other() {
    let backend = Backend::answering("");
    backend.order(|orders| orders.after = Duration::from_millis(4700));
    let app = TestApp::with(with(
        json!({ "messages": [{ "on": "*", "forward": backend.url, "late": "push" }] }),
    ))
    .await;
    let sent = async || {
        let messages = app.sandbox.calls("/cgi-bin/message/custom/send");
        (messages, backend.received().len())
    };
    backend.order(|orders| orders.body = reply("<MsgType>image</MsgType>"));
    assert_eq!(push(&app, &text("hi", 1)).await.body, "success");
    backend.order(|orders| {
        orders.body = format!(
            "\u{feff}{}",
            reply(TEXT).replace("1409659814", "1700000000.5")
        )
    });
    assert_eq!(push(&app, &text("hi", 2)).await.body, "success");
    eventually("the good one is sent", async || sent().await == (1, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_back_end_whose_reply_was_dropped() {
    let backend = Backend::answering(&reply("<MsgType>image</MsgType>"));
    let folder = folder();
    let app = json!({ "key": "wx0123456789abcdef", "secret": "s", "token": TOKEN, "messages": [{ "on": "*", "forward": backend.url }] });
    let server = Process::serve(
        folder.path(),
        &settings("http://127.0.0.1:1", json!({ "apps": [app] })),
    )
    .await;
    let request = server
        .request(
            reqwest::Method::POST,
            &format!("/wechat?{}", plain_query(0, "n")),
        )
        .body(text("hi", 1));
    assert_eq!(
        request.send().await.unwrap().text().await.unwrap(),
        "success"
    );
    let line: Option<Value> = until(|| {
        server
            .log()
            .into_iter()
            .find(|line| line["backend"].is_string())
    })
    .await;
    let line = line.unwrap_or_else(|| panic!("no such line: {}", server.out()));
    let authority = backend.url.split('/').nth(2).unwrap();
    assert_eq!(
        (line["level"].as_str(), line["backend"].as_str()),
        (Some("WARN"), Some(authority)),
        "{line}"
    );
    assert!(
        line["error"]
            .as_str()
            .is_some_and(|error| error.contains("no MediaId")),
        "{line}"
    );
}
