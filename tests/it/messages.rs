//! The message server: WeChat's server check, deliveries in every mode, and what rules answer.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::deliveries::{
    AES_KEY, TOKEN, content, deliver, event, message, opened, plain_query, push, said, sealed, text,
};

/// Settings of one app with a message server and `more`.
pub(crate) fn with(more: Value) -> Value {
    let mut app = json!({ "key": APP, "secret": APP_SECRET, "token": TOKEN });
    for (name, value) in more.as_object().expect("an object") {
        app[name] = value.clone();
    }
    json!({ "apps": [app, { "key": "wxsecond", "secret": "s", "token": "other-token" }] })
}

#[tokio::test]
async fn the_server_check_works_at_three_addresses() {
    let app = TestApp::with(with(json!({}))).await;
    let query = format!(
        "{}&echostr=4375120948345356249",
        plain_query(100_000, "486452656")
    );
    for path in [
        format!("/wechat/{APP}"),
        "/wechat".to_owned(),
        "/wechat/".to_owned(),
        "/WeChat".to_owned(),
    ] {
        let echo = app.get(&format!("{path}?{query}")).await;
        assert_eq!(
            (echo.status.as_u16(), echo.body.as_str()),
            (200, "4375120948345356249"),
            "{path}"
        );
        assert_eq!(
            (echo.header("content-type"), echo.header("cache-control")),
            ("text/plain; charset=utf-8", "no-store")
        );
    }
    let behind_proxy = app
        .request(Method::GET, &format!("/?{query}"))
        .header("x-wechat-appid", APP);
    assert_eq!(app.send(behind_proxy).await.body, "4375120948345356249");
    app.get(&format!(
        "/wechat/{APP}?{}",
        query.replace("signature=", "signature=0")
    ))
    .await
    .problem(401, "bad_push_signature");
    app.get(&format!("/wechat/wxsecond?{query}"))
        .await
        .problem(401, "bad_push_signature");
    app.get(&format!("/wechat/wxunknown?{query}"))
        .await
        .problem(404, "unknown_app");
    assert_eq!(app.get("/wechat").await.body, "Hello World");
}

#[tokio::test]
async fn deliveries_work_at_three_addresses() {
    let app = TestApp::with(with(json!({ "messages": "echo" }))).await;
    let query = plain_query(0, "n-1");
    for path in [
        format!("/wechat/{APP}"),
        "/wechat".to_owned(),
        "/wechat/".to_owned(),
    ] {
        assert_eq!(
            said(&deliver(&app, &path, &query, &text("hi", 1)).await),
            "You said 'hi'",
            "{path}"
        );
    }
    let behind_proxy = app
        .request(Method::POST, &format!("/?{query}"))
        .header("x-wechat-appid", APP)
        .body(text("hi", 1));
    assert_eq!(said(&app.send(behind_proxy).await), "You said 'hi'");
    let nobody = app
        .request(Method::POST, &format!("/?{query}"))
        .body(text("hi", 1));
    app.send(nobody).await.problem(405, "method_not_allowed");
    deliver(&app, "/wechat/wxsecond", &query, &text("hi", 1))
        .await
        .problem(401, "bad_push_signature");
}

#[tokio::test]
async fn without_rules_every_answer_is_success() {
    let app = TestApp::with(with(json!({}))).await;
    for xml in [
        text("hi", 1),
        event("subscribe", ""),
        message("<MsgType>brand_new</MsgType><Thing>1</Thing>"),
    ] {
        let answer = push(&app, &xml).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (200, "success")
        );
        assert_eq!(
            (
                answer.header("content-type"),
                answer.header("cache-control")
            ),
            ("text/plain; charset=utf-8", "no-store")
        );
    }
}

#[tokio::test]
async fn the_preset_echo_answers_like_wechat_server() {
    let app = TestApp::with(with(json!({ "messages": "echo" }))).await;
    let kind = |kind: &str, more: &str| {
        message(&format!("<MsgType>{kind}</MsgType>{more}<MsgId>1</MsgId>"))
    };
    for (xml, answer) in [
        (text("a 'b' 你好", 1), "You said 'a 'b' 你好'"),
        (
            kind(
                "image",
                "<PicUrl>http://p/1?a=1&amp;b=2</PicUrl><MediaId>M</MediaId>",
            ),
            "Image uploaded to http://p/1?a=1&b=2",
        ),
        (
            kind("voice", "<MediaId>M</MediaId><Format>amr</Format>"),
            "Thank you for sending a voice message",
        ),
        (
            kind("video", "<MediaId>M</MediaId>"),
            "Thank you for sending a video message",
        ),
        (
            kind("shortvideo", "<MediaId>M</MediaId>"),
            "Thank you for sending a video message",
        ),
        (
            kind("link", "<Title>T</Title><Url>http://u</Url>"),
            "Thank you for sending a link message",
        ),
        (event("subscribe", ""), "Welcome!"),
    ] {
        assert_eq!(said(&push(&app, &xml).await), answer);
    }
    for xml in [
        event("unsubscribe", ""),
        event("CLICK", "k"),
        kind("location", "<Label>L</Label>"),
        kind("brand_new", ""),
    ] {
        let answer = push(&app, &xml).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (200, ""),
            "{xml}"
        );
    }
}

#[tokio::test]
async fn the_first_matching_rule_answers_with_its_groups() {
    let app = TestApp::with(with(json!({ "messages": [
        { "on": "text", "match": "^order (\\d+)", "reply": { "text": "order {1} of {from}" } },
        { "on": "text", "match": "^hi", "reply": { "text": "hello {content}" } },
        { "on": "event:subscribe", "reply": { "text": "Welcome! {event_key}" } },
        { "on": "event:CLICK", "match": "^help$", "reply": { "transfer_customer_service": true } },
        { "on": "image", "reply": { "image": "{media_id}" } },
        { "on": "event", "reply": { "news": [{ "title": "T {event}", "url": "https://a.example/?k={event_key}" }, { "title": "second" }] } },
        { "on": "*", "reply": { "text": "{type}?" } },
    ] })))
    .await;
    assert_eq!(
        said(&push(&app, &text("order 42 please", 1)).await),
        "order 42 of oUser"
    );
    assert_eq!(
        said(
            &push(
                &app,
                &text("hi <&> ]]>]]&gt; {from}", 2).replace("]]>]]&gt;", "")
            )
            .await
        ),
        "hello hi <&>  {from}"
    );
    assert_eq!(
        said(&push(&app, &event("subscribe", "qrscene_7")).await),
        "Welcome! qrscene_7"
    );
    assert!(
        push(&app, &event("CLICK", "help"))
            .await
            .body
            .contains("<MsgType><![CDATA[transfer_customer_service]]>")
    );
    let image = push(
        &app,
        &message("<MsgType>image</MsgType><MediaId>M1</MediaId><MsgId>3</MsgId>"),
    )
    .await
    .body;
    assert!(
        image.contains("<Image><MediaId><![CDATA[M1]]></MediaId></Image>"),
        "{image}"
    );
    let news = push(&app, &event("VIEW", "https://b")).await.body;
    assert!(
        news.contains("<ArticleCount>2</ArticleCount>")
            && news.contains("<Title><![CDATA[T VIEW]]></Title>"),
        "{news}"
    );
    assert_eq!(
        said(&push(&app, &message("<MsgType>brand_new</MsgType>")).await),
        "brand_new?"
    );
}

#[tokio::test]
async fn a_repeated_delivery_gets_the_identical_answer() {
    let app = TestApp::with(with(json!({ "messages": "echo" }))).await;
    let first = push(&app, &text("hi", 1)).await;
    let again = deliver(&app, "/wechat", &plain_query(5, "n-2"), &text("hi", 1)).await;
    assert_eq!(first.body, again.body);
}

#[tokio::test]
async fn an_encrypted_delivery_is_answered_encrypted() {
    let app =
        TestApp::with(with(json!({ "aesKey": AES_KEY, "messages": [{ "on": "text", "reply": { "text": "got {content}" } }] })))
            .await;
    for length in [0, 1, 15, 16, 17, 31, 32, 33, 500] {
        let words = "字".repeat(length);
        let (query, body) = sealed(&text(&words, 1), APP, "n-1");
        let answer = deliver(&app, "/wechat", &query, &body).await;
        assert_eq!(content(&opened(&answer, APP)), format!("got {words}"));
    }
    let (query, body) = sealed(&event("subscribe", ""), APP, "n-1");
    assert_eq!(
        deliver(&app, "/wechat", &query, &body).await.body,
        "success",
        "the word needs no envelope"
    );
}

#[tokio::test]
async fn compatible_mode_uses_only_the_encrypted_part() {
    let app = TestApp::with(with(
        json!({ "aesKey": AES_KEY, "mode": "compatible", "messages": "echo" }),
    ))
    .await;
    let (query, body) = sealed(&text("true", 1), APP, "n-1");
    let encrypt = body
        .split("<Encrypt>")
        .nth(1)
        .unwrap()
        .split("</Encrypt>")
        .next()
        .unwrap();
    let both = text("forged", 1).replace("</xml>", &format!("<Encrypt>{encrypt}</Encrypt></xml>"));
    assert_eq!(
        content(&opened(&deliver(&app, "/wechat", &query, &both).await, APP)),
        "You said 'true'"
    );
}

#[tokio::test]
async fn unencrypted_messages_need_mode_plain_beside_a_key() {
    let safe = TestApp::with(with(json!({ "aesKey": AES_KEY, "messages": "echo" }))).await;
    push(&safe, &text("hi", 1))
        .await
        .problem(401, "bad_push_signature");
    let plain = TestApp::with(with(
        json!({ "aesKey": AES_KEY, "mode": "plain", "messages": "echo" }),
    ))
    .await;
    assert_eq!(said(&push(&plain, &text("hi", 1)).await), "You said 'hi'");
    let (query, body) = sealed(&text("hi", 1), APP, "n-1");
    assert_eq!(
        content(&opened(
            &deliver(&plain, "/wechat", &query, &body).await,
            APP
        )),
        "You said 'hi'"
    );
    let raw = format!("{}&encrypt_type=raw", plain_query(0, "n"));
    assert_eq!(
        said(&deliver(&plain, "/wechat", &raw, &text("hi", 1)).await),
        "You said 'hi'"
    );
}

#[tokio::test]
async fn the_previous_key_still_works() {
    let new = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
    let app = TestApp::with(with(
        json!({ "aesKey": [new, AES_KEY], "messages": "echo" }),
    ))
    .await;
    let (query, body) = sealed(&text("hi", 1), APP, "n-1");
    assert_eq!(
        content(&opened(&deliver(&app, "/wechat", &query, &body).await, APP)),
        "You said 'hi'"
    );
}

#[tokio::test]
async fn old_deliveries_are_refused_and_new_rules_apply() {
    let app = TestApp::with(with(json!({ "messages": "echo" }))).await;
    for ago in [-290, 0, 290] {
        assert_eq!(
            deliver(&app, "/wechat", &plain_query(ago, "n"), &text("hi", 1))
                .await
                .status,
            200,
            "{ago}"
        );
    }
    for ago in [-310, 310, 100_000] {
        deliver(&app, "/wechat", &plain_query(ago, "n"), &text("hi", 1))
            .await
            .problem(401, "bad_push_signature");
    }
    let rules = with(json!({ "messages": [{ "on": "*", "reply": { "text": "new" } }] }));
    app.reloader
        .apply(crate::support::app::config_of(&app.sandbox, rules));
    assert_eq!(said(&push(&app, &text("hi", 1)).await), "new");
}
