//! The sandbox pushes to a message server, in process and by `jsdkd sandbox --push`: what arrives
//! there, and how each answer is checked.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse, Route};
use clock::UnixSeconds;
use sandbox::{MessageBuilder, Push, PushError, PushMode, ReplyFault, UNAVAILABLE, push};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wechat::account::AppId;
use wechat::crypt::{self, EnvelopeKey};
use wechat::message::{Body, Envelope, Form, Message, MessageError, Reply, sealed_reply_as};
use wechat::signature;

use crate::support::fake_server;
use crate::support::process::{Ended, folder, run};

const APP: &str = "wx5823bf96d3bd56c7";
const TOKEN: &str = "marker-push-token";
const KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
const NOW: UnixSeconds = UnixSeconds(1_409_659_814);

fn key() -> EnvelopeKey {
    EnvelopeKey::parse(&SecretString::from(KEY)).unwrap()
}

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

/// A message server that verifies signatures and answers as the path says.
fn message_server() -> Route {
    web::to(answer)
}

async fn answer(request: HttpRequest, body: Bytes) -> HttpResponse {
    let query =
        web::Query::<std::collections::HashMap<String, String>>::from_query(request.query_string())
            .unwrap();
    let of = |name: &str| query.get(name).map_or("", String::as_str);
    let (timestamp, nonce, is_sealed) = (of("timestamp"), of("nonce"), of("encrypt_type") == "aes");
    let mut genuine = request.method() == "POST"
        && signature::push(TOKEN, timestamp, nonce).matches(of("signature"));
    let mut clear = body.to_vec();
    if is_sealed {
        let envelope = Envelope::parse(&body).unwrap();
        genuine &= crypt::signature(TOKEN, timestamp, nonce, &envelope.encrypt)
            .matches(of("msg_signature"));
        clear = key().decrypt(&app(), &envelope.encrypt).unwrap();
    }
    if !genuine {
        return HttpResponse::Forbidden().finish();
    }
    let message = Message::parse(&clear).unwrap();
    assert_eq!(of("openid"), message.from);
    let said = match &message.body {
        Body::Text { content, .. } => content.clone(),
        other => format!("{other:?}"),
    };
    let reply = Reply::Text {
        content: format!("You said {said}"),
    }
    .write(&message, NOW)
    .unwrap();
    let sealed = |token: &str, app: &str| {
        let app = AppId::parse(app).unwrap();
        sealed_reply_as(
            message.form,
            token,
            &key().encrypt(&app, reply.as_bytes(), rand::random()),
            NOW,
            nonce,
        )
    };
    let ok = |body: String| {
        HttpResponse::Ok()
            .content_type("application/xml")
            .body(body)
    };
    match request.path() {
        "/success" => ok("success".to_owned()),
        "/nothing" => ok(String::new()),
        "/echo" if is_sealed => ok(sealed(TOKEN, APP)),
        "/echo" | "/clear" => ok(reply),
        "/wrong-token" => ok(sealed("another-token", APP)),
        "/wrong-app" => ok(sealed(TOKEN, "wx5823bf96d3bd56c8")),
        "/html" => HttpResponse::Ok()
            .content_type("text/html")
            .body("<html><p>\u{1b}[2JWelcome!</p></html>"),
        "/json" => HttpResponse::Ok().json("success"),
        "/error" => HttpResponse::build(StatusCode::BAD_GATEWAY).body("success"),
        "/moved" => HttpResponse::Found()
            .insert_header(("location", "/success"))
            .finish(),
        "/long" => ok("x".repeat(70_000)),
        "/late" => pending().await,
        other => panic!("no {other}"),
    }
}

/// A push of `message` to `path` there.
fn to(server: SocketAddr, path: &str, mode: PushMode, message: MessageBuilder) -> Push {
    let url = format!("http://{server}{path}").parse().unwrap();
    let plain = Push::new(url, TOKEN.into(), app(), message);
    Push {
        mode,
        aes_key: (mode != PushMode::Plain).then(|| KEY.into()),
        ..plain
    }
}

const MODES: [PushMode; 3] = [PushMode::Plain, PushMode::Compatible, PushMode::Safe];

#[tokio::test]
async fn a_message_is_answered_in_every_mode() {
    let (server, _guard) = fake_server::serve(message_server);
    for mode in MODES {
        let answer = push(&to(
            server,
            "/echo?of=theirs",
            mode,
            MessageBuilder::text("你好 ]]> & <b>"),
        ))
        .await
        .unwrap();
        assert!(
            answer.is_success() && answer.user_sees().is_none(),
            "{answer:?}"
        );
        assert_eq!((answer.status, answer.tries), (200, 1));
        assert_eq!(
            answer.body.contains("<Encrypt>"),
            mode != PushMode::Plain,
            "the body is as it came: {answer:?}"
        );
        let reply = answer.reply.expect("a reply");
        assert_eq!(reply.text("Content"), Some("You said 你好 ]]> & <b>"));
        for path in ["/success", "/nothing"] {
            let answer = push(&to(server, path, mode, MessageBuilder::event("subscribe")))
                .await
                .unwrap();
            assert!(
                answer.is_success() && answer.reply.is_none(),
                "{path}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_json_message_is_answered_in_every_mode() {
    let (server, _guard) = fake_server::serve(message_server);
    for mode in MODES {
        let mut hello = to(server, "/echo", mode, MessageBuilder::text("你好 \" & <b>"));
        hello.form = Form::Json;
        assert!(
            hello.clear().starts_with(r#"{"ToUserName":"gh_"#),
            "{}",
            hello.clear()
        );
        let answer = push(&hello).await.unwrap();
        assert!(
            answer.is_success() && answer.body.starts_with('{'),
            "{answer:?}"
        );
        assert_eq!(
            answer.body.contains("\"Encrypt\""),
            mode != PushMode::Plain,
            "the body is as it came: {answer:?}"
        );
        assert_eq!(
            answer.reply.expect("a reply").text("Content"),
            Some("You said 你好 \" & <b>")
        );
    }
    let raw = r#"{"ToUserName":"gh_1","FromUserName":"oRaw","CreateTime":1,"MsgType":"text","Content":"raw"}"#;
    let mut raw = to(server, "/echo", PushMode::Safe, MessageBuilder::json(raw));
    raw.openid = "oRaw".to_owned();
    assert_eq!(
        push(&raw)
            .await
            .unwrap()
            .reply
            .expect("a reply")
            .text("Content"),
        Some("You said raw")
    );
}

#[tokio::test]
async fn sender_time_and_id_can_be_chosen() {
    let (server, _guard) = fake_server::serve(message_server);
    let mut chosen = to(
        server,
        "/echo",
        PushMode::Safe,
        MessageBuilder::event("SCAN").key("7").field("Ticket", "T"),
    );
    (chosen.openid, chosen.to, chosen.created) = (
        "oSomebody".to_owned(),
        "gh_somewhere".to_owned(),
        UnixSeconds(77),
    );
    (chosen.timestamp, chosen.nonce) = (Some(UnixSeconds(78)), Some("n&=?".to_owned()));
    let reply = push(&chosen).await.unwrap().reply.expect("a reply");
    assert_eq!(
        (reply.text("ToUserName"), reply.text("FromUserName")),
        (Some("oSomebody"), Some("gh_somewhere"))
    );
    assert_eq!(
        reply.text("Content"),
        Some(r#"You said Event(Scan { scene: "7", ticket: Some("T") })"#)
    );
    let sent = Message::parse(chosen.clear().as_bytes()).unwrap();
    assert_eq!((sent.created, sent.id), (UnixSeconds(77), None));
}

#[tokio::test]
async fn an_invalid_answer_has_a_fault() {
    let (server, _guard) = fake_server::serve(message_server);
    use PushMode::{Plain, Safe};
    for (path, mode, fault) in [
        ("/clear", Safe, ReplyFault::Clear),
        ("/wrong-token", Safe, ReplyFault::Signature),
        ("/wrong-token", Plain, ReplyFault::Sealed),
        ("/wrong-app", Safe, ReplyFault::Undecipherable),
        ("/html", Plain, ReplyFault::Shape(MessageError::NotAMessage)),
        ("/json", Plain, ReplyFault::Shape(MessageError::Malformed)),
        ("/error", Plain, ReplyFault::Status(502)),
        ("/moved", Plain, ReplyFault::Status(302)),
        ("/long", Plain, ReplyFault::TooLong),
    ] {
        let answer = push(&to(server, path, mode, MessageBuilder::text("a")).repeated())
            .await
            .unwrap();
        assert_eq!(answer.fault.as_ref(), Some(&fault), "{path}: {answer:?}");
        assert_eq!(
            (
                answer.user_sees(),
                answer.is_success(),
                answer.reply.is_some()
            ),
            (Some(UNAVAILABLE), false, false)
        );
        assert_eq!(
            answer.tries, 1,
            "{path}: it is an answer, so nothing is repeated"
        );
    }
    let mut forged = to(server, "/echo", Plain, MessageBuilder::text("a"));
    forged.token = "another-token".into();
    assert_eq!(
        push(&forged).await.unwrap().fault,
        Some(ReplyFault::Status(403))
    );
}

/// Receives one delivery; returns its first line and body.
async fn delivery(listener: &TcpListener) -> (TcpStream, String, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    loop {
        stream.read_buf(&mut received).await.unwrap();
        let text = String::from_utf8(received.clone()).unwrap();
        if let Some((head, body)) = text
            .split_once("\r\n\r\n")
            .filter(|(_, body)| body.ends_with("</xml>"))
        {
            return (stream, head.to_owned(), body.to_owned());
        }
    }
}

#[tokio::test]
async fn an_unanswered_push_is_delivered_three_times() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let repeated = to(
        listener.local_addr().unwrap(),
        "/",
        PushMode::Plain,
        MessageBuilder::text("a"),
    )
    .repeated();
    let server = async {
        let (silent, one, first) = delivery(&listener).await;
        drop(silent);
        let (silent, two, second) = delivery(&listener).await;
        drop(silent);
        let (mut stream, three, third) = delivery(&listener).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsuccess")
            .await
            .unwrap();
        ([one, two, three], [first, second, third])
    };
    let (answer, (heads, bodies)) = tokio::join!(push(&repeated), server);
    let answer = answer.unwrap();
    assert!(answer.is_success() && answer.tries == 3, "{answer:?}");
    assert!(
        bodies.iter().all(|body| *body == repeated.clear()),
        "{bodies:?}"
    );
    let mut nonces = heads.each_ref().map(|head| {
        head.split("nonce=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap()
    });
    nonces.sort_unstable();
    assert!(
        nonces[0] != nonces[1] && nonces[1] != nonces[2],
        "{nonces:?}"
    );
    assert!(
        heads
            .iter()
            .all(|head| head.contains("user-agent: Mozilla/4.0")
                && head.contains("content-type: text/xml")),
        "{heads:?}"
    );
}

#[tokio::test]
async fn no_answer_is_an_error_that_names_no_address() {
    let (server, _guard) = fake_server::serve(message_server);
    let mut late = to(server, "/late", PushMode::Plain, MessageBuilder::text("a"));
    late.deadline = Duration::from_millis(100);
    let error = push(&late).await.expect_err("no answer");
    assert_eq!(
        error,
        PushError::TimedOut {
            after: late.deadline
        }
    );
    assert!(
        error.to_string().contains("100ms") && error.to_string().contains(UNAVAILABLE),
        "{error}"
    );

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = to(
        free.local_addr().unwrap(),
        "/",
        PushMode::Plain,
        MessageBuilder::text("a"),
    );
    drop(free);
    let error = push(&nowhere)
        .await
        .expect_err("nobody listens")
        .to_string();
    assert!(
        error.contains("refused") && !error.contains("signature") && !error.contains("nonce"),
        "{error}"
    );
}

/// Runs `jsdkd sandbox --push KIND --to …` with the token and the key in the environment.
async fn pushed(to: &str, kind: &str, rest: &[&str]) -> Ended {
    let args = [&["sandbox", "--push", kind, "--to", to, "--app", APP], rest].concat();
    run(folder().path(), &args, &[("JSDKD_TOKEN", TOKEN)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_what_was_sent_and_the_answer() {
    let (server, _guard) = fake_server::serve(message_server);
    let echo = format!("http://{server}/echo");
    let key = ["--aes-key", KEY];
    for (kind, rest, sent, said) in [
        (
            "text",
            &["--content", "你好"][..],
            "<Content><![CDATA[你好]]></Content>",
            "You said 你好",
        ),
        (
            "text",
            &["--mode", "compatible", key[0], key[1]],
            "<MsgType><![CDATA[text]]></MsgType>",
            "You said Hello",
        ),
        (
            "image",
            &["--field", "MediaId=M=1", key[0], key[1]],
            "<MediaId><![CDATA[M=1]]></MediaId>",
            r#"media_id: \"M=1\""#,
        ),
        ("voice", &[], "<Format><![CDATA[amr]]></Format>", "Voice {"),
        ("video", &[], "<ThumbMediaId>", "Video {"),
        ("shortvideo", &[], "<ThumbMediaId>", "ShortVideo {"),
        (
            "location",
            &["--field", "Label=here"],
            "<Scale>16</Scale>",
            r#"label: \"here\""#,
        ),
        ("link", &[], "<Url>", "Link {"),
        (
            "event",
            &[
                "--event",
                "SCAN",
                "--event-key",
                "123",
                "--field",
                "Ticket=T",
                "--from",
                "oAbc",
            ],
            "<FromUserName><![CDATA[oAbc]]></FromUserName>",
            r#"Scan { scene: \"123\", ticket: Some(\"T\") }"#,
        ),
    ] {
        let ended = pushed(&echo, kind, rest).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        for part in [sent, said, "HTTP 200", "WeChat takes it"] {
            assert!(ended.out.contains(part), "{part}: {ended:?}");
        }
        assert!(
            !ended.out.contains(TOKEN) && !ended.out.contains(KEY),
            "{ended:?}"
        );
        assert_eq!(
            ended.out.contains("(safe)"),
            rest.contains(&key[0]) && !rest.contains(&"--mode"),
            "{ended:?}"
        );
    }
    let json = pushed(
        &echo,
        "text",
        &["--format", "json", "--content", "你好", key[0], key[1]],
    )
    .await;
    for part in [
        r#""Content":"你好""#,
        r#"{"Encrypt":""#,
        "WeChat takes it",
        "You said 你好",
    ] {
        assert!(
            json.code == Some(0) && json.out.contains(part),
            "{part}: {json:?}"
        );
    }
    let success = pushed(
        &format!("http://{server}/success"),
        "event",
        &["--event", "unsubscribe"],
    )
    .await;
    assert!(
        success.code == Some(0) && success.out.contains("says nothing to the user"),
        "{success:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_sends_a_file_as_it_is() {
    let (server, _guard) = fake_server::serve(message_server);
    let (folder, to) = (folder(), format!("http://{server}/echo"));
    let raw = "<xml><ToUserName>gh_1</ToUserName><FromUserName>oRaw</FromUserName><CreateTime>1</CreateTime>\
               <MsgType>text</MsgType><Content>raw</Content></xml>";
    std::fs::write(folder.path().join("raw.xml"), raw).unwrap();
    let args = [
        "sandbox", "--push", "xml", "--xml", "raw.xml", "--from", "oRaw", "--to", &to, "--app",
        APP, "--token", TOKEN,
    ];
    let ended = run(folder.path(), &args, &[("JSDKD_AES_KEY", KEY)]).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    assert!(
        ended.out.contains(raw)
            && ended.out.contains("You said raw")
            && ended.out.contains("(safe)"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_exits_1_on_an_invalid_or_missing_answer() {
    let (server, _guard) = fake_server::serve(message_server);
    for (path, part) in [
        ("/html", "neither `success`, nor empty"),
        ("/error", "HTTP status 502"),
    ] {
        let ended = pushed(&format!("http://{server}{path}"), "text", &[]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.out.contains(part) && ended.out.contains(UNAVAILABLE),
            "{part}: {ended:?}"
        );
        assert!(
            !ended.out.contains('\u{1b}'),
            "no answer moves the terminal's cursor: {ended:?}"
        );
    }
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("http://{}/", free.local_addr().unwrap());
    drop(free);
    let ended = pushed(&nowhere, "text", &["--repeat"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.out.contains("<Content>")
            && ended.err.contains("no answer")
            && ended.err.contains(UNAVAILABLE),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_names_missing_arguments() {
    let folder = folder();
    let to = ["--to", "http://127.0.0.1:1/"];
    for (rest, code, part) in [
        (&["--push", "text"][..], 2, "--to"),
        (&["--to", "http://127.0.0.1:1/"], 2, "--push"),
        (&["--push", "novel", to[0], to[1]], 2, "shortvideo"),
        (
            &["--push", "text", to[0], to[1], "--port", "1"],
            2,
            "--port",
        ),
        (
            &["--push", "text", to[0], to[1], "--field", "a b=1"],
            2,
            "NAME=VALUE",
        ),
        (
            &["--push", "text", to[0], to[1]],
            1,
            "--token or in JSDKD_TOKEN",
        ),
        (
            &["--push", "event", to[0], to[1], "--token", "t"],
            1,
            "--event",
        ),
        (&["--push", "xml", to[0], to[1], "--token", "t"], 1, "--xml"),
        (
            &[
                "--push",
                "xml",
                to[0],
                to[1],
                "--token",
                "t",
                "--xml",
                "absent.xml",
            ],
            1,
            "absent.xml",
        ),
        (
            &["--push", "json", to[0], to[1], "--token", "t"],
            1,
            "--json",
        ),
        (
            &[
                "--push", "text", to[0], to[1], "--token", "t", "--json", "a.json",
            ],
            1,
            "--json belongs to --push json",
        ),
        (
            &[
                "--push", "xml", to[0], to[1], "--token", "t", "--format", "json", "--xml", "a.xml",
            ],
            1,
            "--format",
        ),
        (
            &["--push", "text", to[0], to[1], "--format", "yaml"],
            2,
            "json",
        ),
        (
            &[
                "--push",
                "image",
                to[0],
                to[1],
                "--token",
                "t",
                "--content",
                "c",
            ],
            1,
            "--content",
        ),
        (
            &[
                "--push", "text", to[0], to[1], "--token", "t", "--mode", "safe",
            ],
            1,
            "EncodingAESKey",
        ),
        (&["--app", "wx_without_secret"], 2, "APPID:SECRET"),
    ] {
        let ended = run(folder.path(), &[&["sandbox"], rest].concat(), &[]).await;
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(code), ""),
            "{rest:?}: {ended:?}"
        );
        assert!(ended.err.contains(part), "{part}: {ended:?}");
    }
    let help = run(folder.path(), &["sandbox", "--help"], &[]).await;
    for part in [
        "--push <KIND>",
        "jsdkd sandbox --push event --event SCAN",
        "JSDKD_AES_KEY",
    ] {
        assert!(help.out.contains(part), "{part}: {}", help.out);
    }
}
