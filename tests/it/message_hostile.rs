//! Deliveries that are not WeChat's get the same refusal, whatever is wrong with them, and crash
//! nothing.

use serde_json::json;

use crate::messages::with;
use crate::support::app::{APP, Response, TestApp};
use crate::support::deliveries::{
    AES_KEY, deliver, message, plain_query, push, said, sealed, text,
};

/// The refusal without the parts that differ between any two answers.
fn refusal(answer: &Response) -> (u16, String, String) {
    (
        answer.status.as_u16(),
        answer.header("content-type").to_owned(),
        answer.body.clone(),
    )
}

#[tokio::test]
async fn every_hostile_plain_delivery_gets_the_same_answer() {
    let app = TestApp::with(with(json!({ "messages": "echo" }))).await;
    let query = plain_query(0, "n-1");
    let bomb = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE xml [<!ENTITY a \"{}\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\">]>{}",
        "x".repeat(1000),
        text("&c;", 1)
    );
    let file = format!(
        "<!DOCTYPE xml [<!ENTITY f SYSTEM \"file:///etc/passwd\">]>{}",
        text("&f;", 1)
    );
    let deep = format!(
        "<xml>{}{}</xml>",
        "<a>".repeat(20_000),
        "</a>".repeat(20_000)
    );
    let wide = message(&format!("<MsgType>text</MsgType>{}", "<a/>".repeat(10_000)));
    let wrong = refusal(
        &deliver(
            &app,
            "/wechat",
            &query.replace("signature=", "signature=0"),
            &text("hi", 1),
        )
        .await,
    );
    assert_eq!(wrong.0, 401);
    for body in [
        String::new(),
        "<xml>".to_owned(),
        "{}".to_owned(),
        "not xml".to_owned(),
        "<html/>".to_owned(),
        bomb,
        file,
        deep,
        wide,
        text("hi", 1).replace("</xml>", ""),
        message("<MsgType>text</MsgType><MsgType>event</MsgType>"),
        "x".repeat(10 * 1024 * 1024),
    ] {
        let answer = deliver(&app, "/wechat", &query, &body).await;
        assert_eq!(refusal(&answer), wrong, "{}", &body[..body.len().min(80)]);
    }
    for query in [
        String::new(),
        "signature=&timestamp=&nonce=".to_owned(),
        query.replace("nonce=n-1", "nonce=n-2"),
        query.replace("timestamp=", "timestamp=1"),
        query.replace("timestamp=", "timestamp=-"),
        format!("{query}&{query}"),
        format!("{query}&encrypt_type=aes"),
        query.split_once('&').unwrap().1.to_owned(),
    ] {
        assert_eq!(
            refusal(&deliver(&app, "/wechat", &query, &text("hi", 1)).await),
            wrong,
            "{query}"
        );
    }
    let tokenless = TestApp::start().await;
    assert_eq!(refusal(&push(&tokenless, &text("hi", 1)).await), wrong);
    assert_eq!(
        said(&push(&app, &text("hi", 1)).await),
        "You said 'hi'",
        "and it goes on"
    );
}

/// `base64` with another character at `at`.
fn altered(base64: &str, at: usize) -> String {
    let other = if base64[at..].starts_with('B') {
        "C"
    } else {
        "B"
    };
    format!("{}{other}{}", &base64[..at], &base64[at + 1..])
}

#[tokio::test]
async fn every_hostile_envelope_gets_the_same_answer() {
    let app = TestApp::with(with(json!({ "aesKey": AES_KEY, "messages": "echo" }))).await;
    let (query, body) = sealed(&text("hi", 1), APP, "n-1");
    let wrong = refusal(
        &deliver(
            &app,
            "/wechat",
            &query.replace("msg_signature=", "msg_signature=0"),
            &body,
        )
        .await,
    );
    assert_eq!(wrong.0, 401);
    let encrypt = body
        .split("<![CDATA[")
        .nth(1)
        .unwrap()
        .split("]]>")
        .next()
        .unwrap()
        .to_owned();
    // Signed correctly by somebody who knows the token, so that only the envelope itself can be
    // refused.
    let signed = |encrypt: &str| {
        let timestamp = query
            .split("timestamp=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap();
        let signature =
            wechat::crypt::signature(crate::support::deliveries::TOKEN, timestamp, "n-1", encrypt)
                .text();
        let rest = query.split("msg_signature=").next().unwrap();
        (
            format!("{rest}msg_signature={signature}"),
            format!("<xml><Encrypt>{encrypt}</Encrypt></xml>"),
        )
    };
    for encrypt in [
        "",
        "====",
        "AAAA",
        &encrypt[..encrypt.len() - 4],
        &encrypt[..encrypt.len() - 24],
        &format!("{encrypt}AAAA"),
        // The first block affects the length in the second one, the last but one the padding.
        &altered(&encrypt, 0),
        &altered(&encrypt, encrypt.len() - 30),
        &"A".repeat(64 * 1024),
    ] {
        let (query, body) = signed(encrypt);
        assert_eq!(
            refusal(&deliver(&app, "/wechat", &query, &body).await),
            wrong,
            "{encrypt}"
        );
    }
    for (query, body) in [
        sealed(&text("hi", 1), "wxsecond", "n-1"),
        sealed("not xml", APP, "n-1"),
        sealed("", APP, "n-1"),
        (query.clone(), text("hi", 1)),
        (
            query.clone(),
            body.replace("<Encrypt>", "<Encrypt><Encrypt>"),
        ),
        (query.replace("&encrypt_type=aes", ""), body.clone()),
        (
            query.split("&msg_signature").next().unwrap().to_owned(),
            body.clone(),
        ),
    ] {
        assert_eq!(
            refusal(&deliver(&app, "/wechat", &query, &body).await),
            wrong,
            "{query}"
        );
    }
    assert_eq!(
        deliver(&app, "/wechat", &query, &body).await.status,
        200,
        "and it goes on"
    );
}
