//! The examples of docs/messages.md: each is loaded as written, and its follower sees what its
//! table says.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use wechat::message::Message;

use crate::messages::with;
use crate::support::app::TestApp;
use crate::support::backend::Backend;
use crate::support::deliveries::{event, message, push, said, text};

fn page(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The example with this number.
fn example(page: &str, number: usize) -> &str {
    let from = page
        .split(&format!("\n### {number}. "))
        .nth(1)
        .unwrap_or_else(|| panic!("there is no example {number}"));
    from.split("\n## ")
        .next()
        .unwrap()
        .split("\n### ")
        .next()
        .unwrap()
}

/// A server with the rules of an example.
async fn app(example: &str) -> TestApp {
    let block = example
        .split("```js\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    TestApp::with(with(
        json5::from_str::<Value>(&format!("{{{block}}}")).unwrap(),
    ))
    .await
}

/// The texts that the tables say a follower sees.
fn seen(text: &str) -> BTreeSet<&str> {
    let last_cells = text.lines().filter_map(|line| {
        line.strip_prefix("| ")?
            .strip_suffix(" |")?
            .rsplit(" | ")
            .next()
    });
    last_cells
        .filter_map(|cell| {
            cell.strip_prefix('`')?
                .strip_suffix('`')
                .filter(|seen| !seen.contains('`'))
        })
        .collect()
}

fn kind(kind: &str, more: &str) -> String {
    message(&format!("<MsgType>{kind}</MsgType>{more}<MsgId>1</MsgId>"))
}

/// An example's number, what the follower does, and what they see.
fn texts() -> Vec<(usize, String, &'static str)> {
    let voice = |words: &str| {
        kind(
            "voice",
            &format!("<MediaId>M</MediaId><Recognition>{words}</Recognition>"),
        )
    };
    let scanned = "<MsgType>event</MsgType><Event>scancode_waitmsg</Event><EventKey>k</EventKey>\
                   <ScanCodeInfo><ScanType>qrcode</ScanType><ScanResult>42</ScanResult></ScanCodeInfo>";
    vec![
        (1, text("Order #42 please", 1), "Order 42 is on its way."),
        (1, text("订单7", 2), "Order 7 is on its way."),
        (1, text("hello", 3), "Write for example: order 42"),
        (
            2,
            event("subscribe", "qrscene_table7"),
            "Welcome! You sit at table 7.",
        ),
        (
            2,
            event("SCAN", "table7"),
            "Good to see you again, at table 7.",
        ),
        (2, event("subscribe", ""), "Welcome!"),
        (3, event("CLICK", "hours"), "We are open from 9 to 18."),
        (3, message(scanned), "You have scanned 42."),
        (6, voice("请开灯"), "The light is on."),
        (6, voice("good morning"), "You said: good morning"),
        (
            6,
            kind("voice", "<MediaId>M</MediaId>"),
            "I could not hear you.",
        ),
        (13, text("hi", 1), "You said 'hi'"),
        (
            13,
            kind("image", "<PicUrl>http://mmbiz.qpic.cn/a</PicUrl>"),
            "Image uploaded to http://mmbiz.qpic.cn/a",
        ),
        (13, voice(""), "Thank you for sending a voice message"),
        (
            13,
            kind("shortvideo", ""),
            "Thank you for sending a video message",
        ),
        (13, kind("link", ""), "Thank you for sending a link message"),
        (13, event("subscribe", ""), "Welcome!"),
    ]
}

#[tokio::test]
async fn followers_see_the_texts_of_both_pages() {
    let pages = [page("docs/messages.md"), page("docs/messages.zh-CN.md")];
    for number in 1..=13 {
        let cases: Vec<_> = texts()
            .into_iter()
            .filter(|case| case.0 == number)
            .collect();
        let app = app(example(&pages[0], number)).await;
        for (_, xml, sees) in &cases {
            assert_eq!(said(&push(&app, xml).await), *sees, "example {number}");
        }
        for page in &pages {
            assert_eq!(
                seen(example(page, number)),
                cases.iter().map(|case| case.2).collect(),
                "example {number}"
            );
        }
    }
}

#[tokio::test]
async fn followers_see_the_other_replies_of_the_page() {
    let page = page("docs/messages.md");
    for (number, xml, part) in [
        (
            4,
            text("a human, please", 1),
            "<MsgType><![CDATA[transfer_customer_service]]></MsgType></xml>",
        ),
        (
            4,
            text("退款", 1),
            "<KfAccount><![CDATA[refunds@gh_0123456789ab]]></KfAccount>",
        ),
        (
            5,
            kind("image", "<MediaId>M1</MediaId>"),
            "<Image><MediaId><![CDATA[M1]]></MediaId></Image>",
        ),
        (7, event("CLICK", "news"), "<ArticleCount>2</ArticleCount>"),
        (7, event("CLICK", "news"), "orders?openid=oUser]]>"),
        (
            8,
            text("tour", 1),
            "<Video><MediaId><![CDATA[MEDIA_ID]]></MediaId>",
        ),
        (
            8,
            text("Song", 1),
            "<MusicUrl><![CDATA[https://shop.example.com/song.mp3]]></MusicUrl>",
        ),
    ] {
        let answer = push(&app(example(&page, number)).await, &xml).await;
        assert!(
            answer.status == 200 && answer.body.contains(part),
            "example {number}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn every_documented_reply_works() {
    let page = page("docs/messages.md");
    let table = page
        .split("| reply | in the settings |")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let (ours, theirs): (Vec<&str>, Vec<&str>) = table
        .split('`')
        .skip(1)
        .step_by(2)
        .partition(|cell| cell.starts_with("{ "));
    assert!(ours.len() == 8 && theirs.len() == 8, "{table}");
    let backend = Backend::answering("");
    let forwarding = TestApp::with(with(
        json!({ "messages": [{ "on": "*", "forward": backend.url }] }),
    ))
    .await;
    for (number, (here, there)) in ours.iter().zip(theirs).enumerate() {
        let reply: Value = json5::from_str(here).unwrap();
        let replying =
            TestApp::with(with(json!({ "messages": [{ "on": "*", "reply": reply }] }))).await;
        let xml = event("CLICK", &number.to_string());
        backend.order(|orders| orders.body = there.to_owned());
        let answer = push(&forwarding, &xml).await.body;
        assert!(answer.starts_with("<xml>"), "{there}: {answer}");
        assert_eq!(push(&replying, &xml).await.body, answer, "{here} {there}");
    }
}

#[tokio::test]
async fn a_back_end_gets_the_documented_request() {
    let page = page("docs/messages.md");
    let shown = page
        .split("```json\n")
        .nth(1)
        .unwrap()
        .split("\n```")
        .next()
        .unwrap();
    let elements = "<MsgType>event</MsgType><Event>scancode_waitmsg</Event><EventKey>scan</EventKey>\
                    <ScanCodeInfo><ScanType>qrcode</ScanType><ScanResult>42</ScanResult></ScanCodeInfo>";
    assert_eq!(
        Message::parse(message(elements).as_bytes())
            .unwrap()
            .fields
            .to_json(),
        shown
    );
    let signature = wechat::signature::push("demo-token", "1589203758", "486452656").text();
    let line = format!(
        "POST /hook?shop=1&signature={signature}&timestamp=1589203758&nonce=486452656&openid=oUser\n"
    );
    assert!(page.contains(&line), "{line}");
}
