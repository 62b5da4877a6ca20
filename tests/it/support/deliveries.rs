//! WeChat's side of a delivery: signed, optionally encrypted, and sent to a test's server.

use clock::Clock;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use wechat::account::AppId;
use wechat::crypt::{self, EnvelopeKey};
use wechat::message::{Envelope, Message};
use wechat::signature;

use super::app::{APP, Response, TestApp};

pub(crate) const TOKEN: &str = "push-token-1";
pub(crate) const AES_KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";

/// A message from one follower; `inside` follows the common elements.
pub(crate) fn message(inside: &str) -> String {
    format!(
        "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oUser]]></FromUserName>\
         <CreateTime>1409659813</CreateTime>{inside}</xml>"
    )
}

/// A text with its own id.
pub(crate) fn text(content: &str, id: u64) -> String {
    message(&format!(
        "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{content}]]></Content><MsgId>{id}</MsgId>"
    ))
}

pub(crate) fn event(name: &str, key: &str) -> String {
    message(&format!(
        "<MsgType>event</MsgType><Event>{name}</Event><EventKey>{key}</EventKey>"
    ))
}

/// The query of an unencrypted delivery sent `ago` seconds ago.
pub(crate) fn plain_query(ago: i64, nonce: &str) -> String {
    let timestamp = timestamp(ago);
    let signature = signature::push(TOKEN, &timestamp, nonce).text();
    format!("signature={signature}&timestamp={timestamp}&nonce={nonce}&openid=oUser")
}

pub(crate) fn timestamp(ago: i64) -> String {
    let now = i64::try_from(Clock::system().wall().seconds().0).expect("a year before 292 billion");
    (now - ago).to_string()
}

pub(crate) fn key() -> EnvelopeKey {
    EnvelopeKey::parse(&SecretString::from(AES_KEY)).expect("a key")
}

pub(crate) fn app_id(text: &str) -> AppId {
    AppId::parse(text).expect("an appid")
}

/// An encrypted delivery of `xml`: its query and its body.
pub(crate) fn sealed(xml: &str, app: &str, nonce: &str) -> (String, String) {
    let (query, encrypt) = encrypted(xml, app, nonce);
    (
        query,
        format!("<xml><ToUserName>gh_1</ToUserName><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"),
    )
}

/// Like [`sealed`], in JSON.
pub(crate) fn sealed_json(json: &str, app: &str, nonce: &str) -> (String, String) {
    let (query, encrypt) = encrypted(json, app, nonce);
    (
        query,
        json!({ "ToUserName": "gh_1", "Encrypt": encrypt }).to_string(),
    )
}

fn encrypted(text: &str, app: &str, nonce: &str) -> (String, String) {
    let encrypt = key().encrypt(&app_id(app), text.as_bytes(), rand::random());
    let timestamp = timestamp(0);
    let signature = signature::push(TOKEN, &timestamp, nonce).text();
    let msg_signature = crypt::signature(TOKEN, &timestamp, nonce, &encrypt).text();
    let query = format!(
        "signature={signature}&timestamp={timestamp}&nonce={nonce}&encrypt_type=aes&msg_signature={msg_signature}"
    );
    (query, encrypt)
}

/// Sends a delivery to `path`.
pub(crate) async fn deliver(app: &TestApp, path: &str, query: &str, body: &str) -> Response {
    let request = app
        .request(Method::POST, &format!("{path}?{query}"))
        .header("content-type", "text/xml");
    app.send(request.body(body.to_owned())).await
}

/// Sends an unencrypted delivery to the account's address.
pub(crate) async fn push(app: &TestApp, xml: &str) -> Response {
    deliver(app, &format!("/wechat/{APP}"), &plain_query(0, "n-1"), xml).await
}

/// The text of an unencrypted reply.
#[track_caller]
pub(crate) fn said(response: &Response) -> String {
    assert_eq!(
        (response.status.as_u16(), response.header("content-type")),
        (200, "text/xml; charset=utf-8"),
        "{}",
        response.body
    );
    content(&response.body)
}

#[track_caller]
pub(crate) fn content(xml: &str) -> String {
    let reply = Message::parse(xml.as_bytes()).unwrap_or_else(|error| panic!("{error}: {xml}"));
    assert_eq!(
        (reply.to.as_str(), reply.from.as_str()),
        ("oUser", "gh_1"),
        "a reply goes back"
    );
    reply
        .fields
        .text("Content")
        .unwrap_or_else(|| panic!("no text: {xml}"))
        .to_owned()
}

/// The reply inside an encrypted answer. Checks the signature.
#[track_caller]
pub(crate) fn opened(response: &Response, app: &str) -> String {
    assert_eq!(response.status, 200, "{}", response.body);
    let fields = |name: &str| {
        let inner = response
            .body
            .split(&format!("<{name}>"))
            .nth(1)
            .and_then(|rest| rest.split(&format!("</{name}>")).next());
        inner
            .unwrap_or_else(|| panic!("{name} in {}", response.body))
            .replace("<![CDATA[", "")
            .replace("]]>", "")
    };
    let envelope = Envelope::parse(response.body.as_bytes()).expect("an envelope");
    let signature = crypt::signature(
        TOKEN,
        &fields("TimeStamp"),
        &fields("Nonce"),
        &envelope.encrypt,
    );
    assert!(signature.matches(&fields("MsgSignature")));
    String::from_utf8(
        key()
            .decrypt(&app_id(app), &envelope.encrypt)
            .expect("our key opens it"),
    )
    .expect("text")
}

/// The unencrypted reply to a JSON delivery.
#[track_caller]
pub(crate) fn json_reply(response: &Response) -> Value {
    assert_eq!(
        (response.status.as_u16(), response.header("content-type")),
        (200, "application/json"),
        "{}",
        response.body
    );
    serde_json::from_str(&response.body)
        .unwrap_or_else(|error| panic!("{error}: {}", response.body))
}

/// The reply inside an encrypted JSON answer. Checks the signature.
#[track_caller]
pub(crate) fn opened_json(response: &Response, app: &str) -> Value {
    let envelope = json_reply(response);
    let of = |name: &str| {
        envelope[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name}: {envelope}"))
    };
    let timestamp = envelope["TimeStamp"]
        .as_u64()
        .expect("a number")
        .to_string();
    assert!(
        crypt::signature(TOKEN, &timestamp, of("Nonce"), of("Encrypt")).matches(of("MsgSignature")),
        "{envelope}"
    );
    let clear = key()
        .decrypt(&app_id(app), of("Encrypt"))
        .expect("our key opens it");
    serde_json::from_slice(&clear).expect("JSON inside")
}
