//! Deliveries of accounts whose console says JSON, and of those that name no sender, no recipient
//! or no type.

use reqwest::Method;
use serde_json::{Value, json};
use wechat::message::Message;

use crate::messages::with;
use crate::support::app::{APP, TestApp};
use crate::support::backend::Backend;
use crate::support::deliveries::{
    AES_KEY, content, deliver, event, json_reply, message, opened_json, plain_query, push, said,
    sealed_json, text,
};

/// A text.
fn hi(id: u64) -> String {
    format!(
        r#"{{"ToUserName":"gh_1","FromUserName":"oUser","CreateTime":1409659813,"MsgType":"text","Content":"hi <&> 你好","MsgId":{id}}}"#
    )
}

async fn forwarding(written: &str, backend: &Backend) -> TestApp {
    TestApp::with(with(
        json!({ "messages": [{ "on": "*", "forward": backend.url, "as": written }] }),
    ))
    .await
}

#[tokio::test]
async fn a_message_in_json_is_answered_in_json() {
    let app = TestApp::with(with(json!({ "messages": [
        { "on": "text", "match": "^hi", "reply": { "text": "{content} of {from}, {MsgId}" } },
        { "on": "event:CLICK", "reply": { "image": "{event_key}" } },
        { "on": "event", "reply": { "text": "{List.1.TemplateId} {result.suggest} {detail.0.label}" } },
    ] })))
    .await;
    let expected = json!({
        "ToUserName": "oUser", "FromUserName": "gh_1", "CreateTime": 1_409_659_813, "MsgType": "text",
        "Content": "hi <&> 你好 of oUser, 9007199254740993",
    });
    for body in [
        hi(9_007_199_254_740_993),
        format!("\u{feff}\r\n {}\n", hi(9_007_199_254_740_993)),
    ] {
        for content_type in [
            "application/json",
            "text/xml",
            "text/plain; charset=gbk",
            "",
        ] {
            let request = app
                .request(Method::POST, &format!("/wechat?{}", plain_query(0, "n")))
                .header("content-type", content_type);
            assert_eq!(
                json_reply(&app.send(request.body(body.clone())).await),
                expected,
                "{content_type}"
            );
        }
    }
    let head = r#""ToUserName":"gh_1","FromUserName":"oUser","CreateTime":"1""#;
    let click = push(
        &app,
        &format!(r#"{{{head},"MsgType":"event","Event":"CLICK","EventKey":"42"}}"#),
    )
    .await;
    assert_eq!(json_reply(&click)["Image"], json!({ "MediaId": "42" }));
    let lists = r#""List":[{"TemplateId":"A"},{"TemplateId":"B"}],"detail":[{"label":100}],"result":{"suggest":"risky"}"#;
    let checked = push(
        &app,
        &format!(r#"{{{head},"MsgType":"event","Event":"wxa_media_check",{lists}}}"#),
    )
    .await;
    assert_eq!(json_reply(&checked)["Content"], "B risky 100");
    let image = push(&app, &format!(r#"{{{head},"MsgType":"image","MsgId":1}}"#)).await;
    assert_eq!(
        (image.status.as_u16(), image.body.as_str()),
        (200, "success"),
        "the word is the same"
    );
}

#[tokio::test]
async fn an_encrypted_json_delivery_is_answered_encrypted_in_json() {
    for mode in ["safe", "compatible", "plain"] {
        let settings = json!({ "aesKey": AES_KEY, "mode": mode, "messages": [{ "on": "text", "reply": { "text": "got {content}" } }] });
        let app = TestApp::with(with(settings)).await;
        let (query, body) = sealed_json(&hi(1), APP, "n-1");
        let answer = deliver(&app, "/wechat", &query, &body).await;
        assert_eq!(opened_json(&answer, APP)["Content"], "got hi <&> 你好");
        let beside = hi(2).replace(
            '}',
            &format!(
                r#","Encrypt":{}}}"#,
                serde_json::from_str::<Value>(&body).unwrap()["Encrypt"]
            ),
        );
        assert_eq!(
            opened_json(&deliver(&app, "/wechat", &query, &beside).await, APP)["Content"],
            "got hi <&> 你好"
        );
        let (query, body) = sealed_json(r#"{"MsgType":"event","Event":"x"}"#, APP, "n-1");
        assert_eq!(
            deliver(&app, "/wechat", &query, &body).await.body,
            "success",
            "the word needs no envelope"
        );
    }
}

#[tokio::test]
async fn a_back_end_gets_the_form_that_it_asks_for() {
    let backend = Backend::answering("success");
    let (as_xml, as_json) = (
        forwarding("xml", &backend).await,
        forwarding("json", &backend).await,
    );
    let sent = hi(6_838_218_298_347_397_121);
    for app in [&as_json, &as_xml] {
        assert_eq!(push(app, &sent).await.body, "success");
    }
    let received = backend.received();
    assert_eq!(
        (received[0].body.as_str(), received[0].content_type.as_str()),
        (sent.as_str(), "application/json"),
        "to the letter"
    );
    assert_eq!(received[1].content_type, "text/xml; charset=utf-8");
    assert_eq!(
        received[1].body,
        "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oUser]]></FromUserName>\
         <CreateTime>1409659813</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[hi <&> 你好]]></Content>\
         <MsgId>6838218298347397121</MsgId></xml>"
    );
    let marked = hi(5);
    assert_eq!(
        push(&as_json, &format!("\u{feff}{marked}")).await.body,
        "success"
    );
    assert_eq!(
        backend.received().pop().unwrap().body,
        marked,
        "but for a byte order mark"
    );
    let strange = r#"{"MsgType":"event","a b":{"<x>":[1,{"":[]}]},"1":"\ud800","List":[[1],[2]],"t":true,"f":1.50}"#;
    for app in [&as_xml, &as_json] {
        assert_eq!(push(app, strange).await.body, "success");
    }
    let received = backend.received();
    let xml = Message::parse(received[3].body.as_bytes())
        .unwrap_or_else(|error| panic!("{error}: {}", received[3].body));
    assert_eq!(
        (
            xml.fields.text("_1"),
            xml.fields.text("t"),
            xml.fields.text("f")
        ),
        (Some("\u{fffd}"), Some("true"), Some("1.50"))
    );
    let json: Value = serde_json::from_str(&received[4].body).unwrap();
    assert_eq!(
        (&json["1"], &json["List"]),
        (
            &json!("\u{fffd}"),
            &json!([{ "item": ["1"] }, { "item": ["2"] }])
        )
    );
}

#[tokio::test]
async fn a_back_ends_reply_is_sent_in_the_form_of_the_delivery() {
    let backend = Backend::answering("");
    let app = forwarding("json", &backend).await;
    let xml = "<xml><ToUserName>oUser</ToUserName><FromUserName>gh_1</FromUserName><CreateTime>9</CreateTime>\
               <MsgType>text</MsgType><Content>from xml</Content></xml>";
    let wechats = r#"{"ToUserName":"oUser","FromUserName":"gh_1","CreateTime":9,"MsgType":"text","Content":"from json"}"#;
    for (id, (answer, content)) in [
        (xml, "from xml"),
        (wechats, "from json"),
        (r#"{"text":"short"}"#, "short"),
    ]
    .into_iter()
    .enumerate()
    {
        backend.order(|orders| orders.body = answer.to_owned());
        let reply = json_reply(&push(&app, &hi(id as u64)).await);
        assert_eq!(
            (&reply["ToUserName"], &reply["MsgType"], &reply["Content"]),
            (&json!("oUser"), &json!("text"), &json!(content))
        );
        assert_eq!(
            content,
            self::content(&push(&app, &text("hi", id as u64)).await.body),
            "and to XML in XML"
        );
    }
}

#[tokio::test]
async fn invalid_json_gets_the_same_refusal() {
    let app = TestApp::with(with(json!({ "messages": "echo" }))).await;
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(40_000), "]".repeat(40_000));
    let deep_objects = format!(
        r#"{{"MsgType":"event","a":{}1{}}}"#,
        r#"{"a":"#.repeat(10_000),
        "}".repeat(10_000)
    );
    let wide = format!(r#"{{"a":[{}1]}}"#, "1,".repeat(40_000));
    for body in [
        "{}",
        "[]",
        "{",
        r#"{"MsgType":"text""#,
        r#"[{"MsgType":"text"}]"#,
        r#"{"MsgType":"text"} x"#,
        r#"{"MsgType":"text","MsgType":"event"}"#,
        r#"{"MsgType":["text","event"]}"#,
        r#"{"FromUserName":"a","MsgType":"text","FromUserName":"b"}"#,
        r#"{"ToUserName":"gh_1","Encrypt":"AAAA"}"#,
        &deep,
        &deep_objects,
        &wide,
    ] {
        push(&app, body).await.problem(401, "bad_push_signature");
    }
    assert_eq!(
        json_reply(&push(&app, &hi(1)).await)["Content"],
        "You said 'hi <&> 你好'"
    );
    let many = format!(
        r#"{{"ToUserName":"gh_1","FromUserName":"o","MsgType":"event","Event":"e","List":[{}1]}}"#,
        "1,".repeat(2000)
    );
    assert_eq!(
        push(&app, &many).await.status,
        200,
        "a long list is no attack"
    );
}

/// Pushes without sender, recipient or type, and the name that rules use for them.
fn nameless() -> Vec<(String, Option<&'static str>)> {
    let ticket = "<xml><AppId>wx1</AppId><CreateTime>1413192605</CreateTime><InfoType>component_verify_ticket</InfoType>\
                  <ComponentVerifyTicket>ticket@@@x</ComponentVerifyTicket></xml>";
    vec![
        (ticket.to_owned(), Some("info:component_verify_ticket")),
        (ticket.replace("component_verify_ticket", "unauthorized"), Some("event:UNAUTHORIZED")),
        (r#"{"AppId":"wx1","CreateTime":1,"InfoType":"authorized","AuthorizerAppid":"wx2"}"#.to_owned(), Some("info:Authorized")),
        (r#"{"Event":"xpay_goods_deliver_notify","OutTradeNo":"1"}"#.to_owned(), Some("event:xpay_goods_deliver_notify")),
        (
            "<xml><ToUserName>gh_1</ToUserName><Event>wxa_media_check</Event><trace_id>T</trace_id></xml>".to_owned(),
            Some("event:wxa_media_check"),
        ),
        (r#"{"ToUserName":"gh_1","CreateTime":1,"MsgType":"event","Event":"trade_manage"}"#.to_owned(), Some("event:trade_manage")),
        (r#"{"FromUserName":"oUser","MsgType":"text","Content":"x"}"#.to_owned(), Some("text")),
        (r#"{"AppId":"wx1"}"#.to_owned(), None),
        ("<xml><AppId>wx1</AppId></xml>".to_owned(), None),
        (r#"{"create_time":"2026-01-02","shop_id":7}"#.to_owned(), None),
    ]
}

#[tokio::test]
async fn a_push_without_common_elements_is_forwarded() {
    let backend = Backend::answering(r#"{"text":"nobody will read this"}"#);
    let app = TestApp::with(with(
        json!({ "messages": [{ "on": "*", "forward": backend.url }] }),
    ))
    .await;
    let answers = [
        with(json!({})),
        with(json!({ "messages": "echo" })),
        with(json!({ "messages": [{ "on": "*", "reply": { "text": "x" } }] })),
    ];
    for settings in answers {
        let app = TestApp::with(settings).await;
        for (body, _) in nameless() {
            let answer = push(&app, &body).await;
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_str()),
                (200, "success"),
                "{body}"
            );
        }
    }
    for (number, (body, _)) in nameless().into_iter().enumerate() {
        assert_eq!(push(&app, &body).await.body, "success", "{body}");
        let received = backend.received();
        assert_eq!(received.len(), number + 1, "{body}");
        assert!(
            !received[number].query.contains("openid") || body.contains("FromUserName"),
            "{}",
            received[number].query
        );
    }
    let safe = TestApp::with(with(
        json!({ "aesKey": AES_KEY, "messages": [{ "on": "*", "forward": backend.url }] }),
    ))
    .await;
    let (query, body) = sealed_json(&nameless()[2].0, APP, "n-1");
    assert_eq!(
        deliver(&safe, "/wechat", &query, &body).await.body,
        "success"
    );
    assert!(
        backend
            .received()
            .last()
            .unwrap()
            .body
            .contains("<InfoType><![CDATA[authorized]]></InfoType>")
    );
}

#[tokio::test]
async fn a_push_without_a_type_is_matched_by_its_own_name() {
    for (body, on) in nameless() {
        let Some(on) = on else { continue };
        let (right, wrong) = (Backend::answering(""), Backend::answering(""));
        let rules = json!([
            { "on": "info:other", "forward": wrong.url }, { "on": "event:other", "forward": wrong.url },
            { "on": on, "forward": right.url }, { "on": "*", "forward": wrong.url },
        ]);
        let app = TestApp::with(with(json!({ "messages": rules }))).await;
        assert_eq!(push(&app, &body).await.body, "success", "{on}");
        assert_eq!(
            (right.received().len(), wrong.received().len()),
            (1, 0),
            "{on}"
        );
    }
}

#[tokio::test]
async fn different_deliveries_are_all_forwarded() {
    let event = |name: &str, more: &str| {
        message(&format!(
            "<MsgType>event</MsgType><Event>{name}</Event>{more}"
        ))
    };
    let sent = |id: &str| {
        let list = format!("<List><TemplateId>A</TemplateId><MsgID>{id}</MsgID></List>");
        event(
            "subscribe_msg_sent_event",
            &format!("<SubscribeMsgSentEvent>{list}</SubscribeMsgSentEvent>"),
        )
    };
    let json = |rest: &str| {
        format!(
            r#"{{"ToUserName":"gh_1","FromUserName":"oUser","CreateTime":1,"MsgType":"event",{rest}}}"#
        )
    };
    let pairs = [
        (
            event("wxa_media_check", "<trace_id>T1</trace_id>"),
            event("wxa_media_check", "<trace_id>T2</trace_id>"),
        ),
        (
            event("user_get_card", "<UserCardCode>1</UserCardCode>"),
            event("user_get_card", "<UserCardCode>2</UserCardCode>"),
        ),
        (sent("1"), sent("2")),
        (
            event("order", "<order_info><order_id>1</order_id></order_info>"),
            event("order", "<order_info><order_id>2</order_id></order_info>"),
        ),
        (
            json(r#""Event":"wxa_media_check","trace_id":"T1""#),
            json(r#""Event":"wxa_media_check","trace_id":"T2""#),
        ),
        (
            json(r#""Event":"e","List":[{"MsgID":9007199254740992}]"#),
            json(r#""Event":"e","List":[{"MsgID":9007199254740993}]"#),
        ),
        (
            json(r#""Event":"e","List":[1,2]"#),
            json(r#""Event":"e","List":[2,1]"#),
        ),
        (text("one", 1), text("other", 1)),
    ];
    let backend = Backend::answering("");
    let app = forwarding("xml", &backend).await;
    let safe = TestApp::with(with(
        json!({ "aesKey": AES_KEY, "messages": [{ "on": "*", "forward": backend.url }] }),
    ))
    .await;
    for (one, other) in pairs {
        let before = backend.received().len();
        for body in [&one, &other] {
            for nonce in ["n-1", "n-2", "n-3"] {
                assert_eq!(
                    deliver(&app, "/wechat", &plain_query(0, nonce), body)
                        .await
                        .body,
                    "success"
                );
            }
        }
        assert_eq!(backend.received().len(), before + 2, "{one}");
        for body in [&one, &other]
            .into_iter()
            .filter(|body| body.starts_with('{'))
        {
            for nonce in ["n-1", "n-2"] {
                let (query, sealed) = sealed_json(body, APP, nonce);
                assert_eq!(
                    deliver(&safe, "/wechat", &query, &sealed).await.body,
                    "success"
                );
            }
        }
        let sealed = if one.starts_with('{') { 2 } else { 0 };
        assert_eq!(
            backend.received().len(),
            before + 2 + sealed,
            "each is encrypted anew: {one}"
        );
    }
}

#[tokio::test]
async fn unclean_text_is_read_and_answered() {
    let app = TestApp::with(with(json!({ "messages": "echo" }))).await;
    let post = async |body: Vec<u8>| {
        let request = app.request(Method::POST, &format!("/wechat?{}", plain_query(0, "n-1")));
        app.send(request.body(body)).await
    };
    let spliced = |part: &[u8]| [b"a", part, b"b"].concat();
    for (part, read) in [
        (&b"\xff"[..], "a\u{fffd}b"),
        (b"\xc4\xe3\xba\xc3", "a\u{fffd}\u{fffd}\u{fffd}b"),
        (b"\xe4\xbd", "a\u{fffd}b"),
        (b"\x00", "a\u{fffd}b"),
        (b"\x08\x1b", "a\u{fffd}\u{fffd}b"),
        ("\u{ffff}".as_bytes(), "a\u{fffd}b"),
        (b"\xf0\x9f\x98\x80", "a😀b"),
    ] {
        let (head, tail) = text("MARK", 1)
            .split_once("MARK")
            .map(|(head, tail)| (head.to_owned(), tail.to_owned()))
            .unwrap();
        let xml = [head.as_bytes(), &spliced(part), tail.as_bytes()].concat();
        assert_eq!(
            said(&post(xml).await),
            format!("You said '{read}'"),
            "{part:?}"
        );
        let (head, tail) = (
            br#"{"ToUserName":"gh_1","FromUserName":"o","MsgType":"text","Content":""#,
            br#""}"#,
        );
        let json = [head, &spliced(part)[..], tail].concat();
        assert_eq!(
            json_reply(&post(json).await)["Content"],
            format!("You said '{read}'"),
            "{part:?}"
        );
    }
    for (written, read) in [
        ("a&#0;b", "a\u{fffd}b"),
        ("a&#x1;b", "a\u{fffd}b"),
        ("a&nbsp;b", "a&nbsp;b"),
        ("a & b", "a & b"),
        ("<![CDATA[a]]]]><![CDATA[>b]]>", "a]]>b"),
    ] {
        let body = message(&format!(
            "<MsgType>text</MsgType><Content>{written}</Content><MsgId>1</MsgId>"
        ));
        assert_eq!(
            said(&push(&app, &body).await),
            format!("You said '{read}'"),
            "{written}"
        );
    }
    let nul = text("hi", 1).replace("[oUser]", "[o\u{0}User]");
    let answer = push(&app, &nul).await;
    assert!(
        answer
            .body
            .contains("<ToUserName><![CDATA[o\u{fffd}User]]>"),
        "{}",
        answer.body
    );
    assert_eq!(
        push(&app, &event("unsubscribe", "a\u{8}")).await.status,
        200
    );
}

#[tokio::test]
async fn a_back_end_gets_clean_text() {
    let backend = Backend::answering("");
    let (as_xml, as_json) = (
        forwarding("xml", &backend).await,
        forwarding("json", &backend).await,
    );
    let bodies: [Vec<u8>; 3] = [
        [
            b"<xml><MsgType>text</MsgType><Content>a\xff\x08 &nbsp; & b",
            &b"</Content></xml>"[..],
        ]
        .concat(),
        b"{\"MsgType\":\"text\",\"CreateTime\":7,\"Content\":\"a\xff\x08 &nbsp; & b\"}".to_vec(),
        "\u{feff}{\"MsgType\":\"text\",\"CreateTime\":8,\"Content\":\"a\\ud800\u{8} &nbsp; & b\"}"
            .into(),
    ];
    for body in bodies {
        for (app, is_json) in [(&as_xml, false), (&as_json, true)] {
            let request = app
                .request(Method::POST, &format!("/wechat?{}", plain_query(0, "n-1")))
                .body(body.clone());
            assert_eq!(app.send(request).await.body, "success");
            let received = backend.received().pop().unwrap().body;
            let read = Message::parse(received.as_bytes()).unwrap();
            assert!(
                !received.contains('\u{8}') && received.starts_with('{') == is_json,
                "{received}"
            );
            assert_eq!(
                read.fields.text("Content"),
                Some("a\u{fffd}\u{fffd} &nbsp; & b"),
                "{received}"
            );
        }
    }
}
