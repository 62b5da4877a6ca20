//! The fuzz targets, each for two seconds over valid inputs with random changes. A failure prints
//! its seed and its input.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[allow(
    unreachable_pub,
    reason = "cargo-fuzz includes the same file in programs of its own"
)]
mod targets;

const LASTING: Duration = Duration::from_secs(2);

/// Words that are significant for one of the parsers.
const WORDS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\u0000",
    "\\ud800",
    "null",
    "1e999",
    "-0",
    "//",
    "/*",
    "\u{feff}",
    "微信",
    "&",
    "=",
    "%26",
    "sign=",
    "realm=R123",
    "\"url\":",
    "\"appId\":1",
    "http://",
    "<xml>",
    "</xml>",
    "<List>",
    "</",
    "/>",
    "<![CDATA[",
    "]]>",
    "<!--",
    "<!DOCTYPE a [<!ENTITY b \"c\">]>",
    "&#x1;",
    "&lt;",
    "\r\n",
    "&nbsp;",
    "\u{8}",
    "<MsgType>",
    "\"MsgType\":",
];

/// Runs `target` with mutated copies of `good` until the time is over.
fn run(target: fn(&[u8]), good: &[&str]) {
    let seed = rand::random::<u64>();
    let mut rng = StdRng::seed_from_u64(seed);
    let end = Instant::now() + LASTING;
    good.iter().for_each(|good| target(good.as_bytes()));
    while Instant::now() < end {
        let mut input = good[rng.random_range(0..good.len())].as_bytes().to_vec();
        for _ in 0..rng.random_range(1..8) {
            spoil(&mut input, &mut rng);
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            eprintln!("seed {seed}, input {:?}", String::from_utf8_lossy(&input));
            resume_unwind(panic);
        }
    }
}

/// Changes, removes, repeats or inserts something at one position.
fn spoil(input: &mut Vec<u8>, rng: &mut StdRng) {
    let from = rng.random_range(0..=input.len());
    let to = (from + rng.random_range(0..6)).min(input.len());
    match rng.random_range(0..5) {
        0 => drop(input.drain(from..to)),
        1 => {
            let part = input[from..to].to_vec();
            drop(input.splice(from..from, part));
        }
        2 => drop(input.splice(from..to, WORDS[rng.random_range(0..WORDS.len())].bytes())),
        3 => input[from..to]
            .iter_mut()
            .for_each(|byte| *byte = rng.random_range(b' '..0x7f)),
        _ => drop(input.splice(from..from, [rng.random::<u8>()])),
    }
}

#[test]
fn only_signed_queries_pass() {
    let good = [
        "realm=R123&nonce=caa3c9d793b&ts=1589203758&sign=782ab722a4efaecade8d3bba953f9c5e",
        "key=ticket&rotate=a%20b%2Bc+d",
        "",
        "%E5%BE%AE=%E4%BF%A1&a&=b&&c==d",
    ];
    run(targets::query, &good);
}

#[test]
fn any_body_is_echoed_as_json_without_our_fields() {
    let good = [
        r##"{"debug":false,"jsApiList":["a","b"],"url":"https://example.com/?a=b#c","n":1.50e3,"o":{"x":[null,true]}}"##,
        r#"{"appId":"x","sign\u0061ture":"y","timestamp":1,"nonceStr":"z","url":"https%3A%2F%2Fexample.com%2F"}"#,
        "",
        "[]",
    ];
    run(targets::body, &good);
}

#[test]
fn any_settings_load_or_have_faults() {
    let good = [
        include_str!("../../jsdkd.example.json"),
        "{ apps: [{ key: 'wx1', secret: 's' }], cache: { redis: 'redis://127.0.0.1' }, cors: ['a\\.com'], reserve: '5m' }",
        "{ apps: [{ key: 'wx1', secret: { env: 'S' } }], realms: [{ key: 'R', secret: 'x' }] } // end",
    ];
    run(targets::settings, &good);
}

#[test]
fn any_push_is_a_message_or_an_error() {
    let good = [
        "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[o1]]></FromUserName><CreateTime>1348831860</CreateTime>\
         <MsgType><![CDATA[text]]></MsgType><Content><![CDATA[marker]]]]><![CDATA[>]]></Content><MsgId>1</MsgId></xml>",
        "<xml>\n<ToUserName>marker</ToUserName><FromUserName>marker</FromUserName><CreateTime>1</CreateTime><MsgType>event</MsgType>\
         <Event>VIEW</Event><EventKey>http://a/?marker&amp;b&#x4f60;</EventKey></xml>",
        "<xml><ToUserName>a</ToUserName><FromUserName>b</FromUserName><CreateTime>1</CreateTime><MsgType>event</MsgType>\
         <Event>subscribe_msg_popup_event</Event><SubscribeMsgPopupEvent><List><TemplateId>marker</TemplateId></List><List><A/></List>\
         </SubscribeMsgPopupEvent></xml>",
        r#"{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":1348831860,"MsgType":"text","Content":"marker\ud83d\ude00","MsgId":6838218298347397121}"#,
        r#"{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":"1","MsgType":"event","Event":"wxa_media_check","trace_id":"marker",
            "detail":[{"strategy":"content_model","label":100,"prob":90.5},{"x":[[null],[true]]}],"result":{"suggest":"risky"}}"#,
        r#"{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":1.5,"MsgType":"news","ArticleCount":1,"Articles":{"item":[{"Title":"marker"}]}}"#,
        "<xml><AppId>marker</AppId><InfoType>component_verify_ticket</InfoType></xml>",
    ];
    run(targets::message, &good);
}

#[test]
fn envelopes_round_trip() {
    let good = [
        // Valid except for the app.
        "sKqRbbiSUnDhFHOvPjtUMbWS28WQJEcq+Mzda1Jz7/48f8S/Ty+bA9T4kUGo9xXppbi6Xb5CJDNdGLzlBP6xcQ==",
        "<xml><ToUserName>gh_1</ToUserName><Encrypt><![CDATA[sKqRbbiSUnDhFHOvPjtUMa6lXyQJNE6q+rJldFYD4NTmV2XifN5mn/po9s2E7e9uLndP0dX\
         +Z1pg2X9Ztp0SYg==]]></Encrypt></xml>",
        r#"{"ToUserName":"gh_1","Encrypt":"sKqRbbiSUnDhFHOvPjtUMbWS28WQJEcq+Mzda1Jz7/48f8S/Ty+bA9T4kUGo9xXppbi6Xb5CJDNdGLzlBP6xcQ=="}"#,
        "1372623149",
        "",
    ];
    run(targets::envelope, &good);
}
