//! What goes through the gateway unchanged, what does not, and what is put in or taken out: looked
//! at byte for byte on both sides.

use serde_json::json;

use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::gateway::{VIRTUAL, settings, token};
use crate::support::raw;
use crate::support::tcp_wechat::{REAL_TOKEN, ReceivedRequest, TcpWechat, answer, json};

async fn start(wechat: &TcpWechat, over: serde_json::Value) -> TestApp {
    let mut settings = settings(
        json!({}),
        json!({ "wechat": { "api": [wechat.url()], "mp": wechat.url(), "tokenApi": "basic" } }),
    );
    crate::support::app::lay(&mut settings, over);
    TestApp::with(settings).await
}

async fn echo() -> TcpWechat {
    TcpWechat::answering(|_| json(r#"{"errcode":0,"errmsg":"ok"}"#)).await
}

/// What arrived of `line` with `headers` and `body`.
async fn arrived(
    app: &TestApp,
    wechat: &TcpWechat,
    line: &str,
    headers: &str,
    body: &[u8],
) -> ReceivedRequest {
    let before = wechat.seen().len();
    let answer = raw::send(app.address(), line, headers, body).await;
    let seen = wechat.seen();
    assert_eq!(
        (answer.status, seen.len()),
        (200, before + 1),
        "{line} {answer:?}"
    );
    seen.last().expect("just counted").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_arrives_byte_for_byte() {
    let wechat = echo().await;
    let app = start(&wechat, json!({})).await;
    let virtual_token = token(&app).await;
    for odd in [
        "a=中文&b=é",
        "a='{}&b=\\x|y^z`",
        "a=1+2&b=%20%zz%e4%B8%AD",
        "a=&&b&c==&=d",
        "a=%2526&b=%00&c=[]();,~!*@:/?$",
        "a=\"x\"&b=<c>&d=~&e=中<\"",
        "a={\"b\":[\"<中>\"]}",
        "openid=o1&lang=zh_CN",
    ] {
        for query in [
            format!("access_token={virtual_token}&{odd}"),
            format!("{odd}&access_token={virtual_token}"),
            format!("x=1&access_token={virtual_token}&{odd}"),
            format!("{odd}&access%5Ftoken={virtual_token}&"),
        ] {
            let seen = arrived(
                &app,
                &wechat,
                &format!("GET /cgi-bin/user/info?{query}"),
                "",
                b"",
            )
            .await;
            let front = if query.starts_with("x=1") { "x=1&" } else { "" };
            assert_eq!(
                seen.target(),
                format!("/cgi-bin/user/info?{front}{odd}&access_token={REAL_TOKEN}"),
                "{query}"
            );
        }
    }
    let alone = arrived(
        &app,
        &wechat,
        &format!("GET /cgi-bin/getcallbackip?access_token={virtual_token}"),
        "",
        b"",
    )
    .await;
    assert_eq!(
        alone.target(),
        format!("/cgi-bin/getcallbackip?access_token={REAL_TOKEN}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_other_encodings_arrive_as_they_were_sent() {
    let wire = echo().await;
    let app = start(&wire, json!({})).await;
    let token = token(&app).await;
    // "中文" in GBK, a lone continuation byte, percent-encoded bytes that are no UTF-8.
    for odd in [
        &b"a=\xd6\xd0\xce\xc4"[..],
        b"a=\x80&b=\xff\"<>|",
        b"a=%ff%D6%d0",
    ] {
        for (before, after) in [(odd, &b""[..]), (b"x=1", odd)] {
            let pair = format!("&access_token={token}").into_bytes();
            let mut line = [b"/cgi-bin/user/info?", before, &pair].concat();
            let mut arrived = [b"GET /cgi-bin/user/info?", before].concat();
            if !after.is_empty() {
                line = [&line[..], b"&", after].concat();
                arrived = [&arrived[..], b"&", after].concat();
            }
            let end = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            let answer = raw::exchange(app.address(), &[b"GET ", &line[..], end].concat()).await;
            assert_eq!(answer.status, 200, "{odd:?} {answer:?}");
            let real = format!("&access_token={REAL_TOKEN} HTTP/1.1").into_bytes();
            let seen = wire.seen().last().expect("it arrived").clone();
            assert_eq!(seen.line, [&arrived[..], &real].concat(), "{odd:?}");
        }
    }
    // The secret is exchanged between such bytes, too.
    let line = format!("POST /sns/jscode2session?appid={APP}&secret={VIRTUAL}&js_code=\"<");
    let seen = arrived(&app, &wire, &line, "Content-Length: 3\r\n", b"a\nb").await;
    let real = APP_SECRET.replace('-', "%2D");
    assert_eq!(
        seen.target(),
        format!("/sns/jscode2session?appid={APP}&secret={real}&js_code=\"<")
    );
    assert_eq!((&seen.body[..], seen.whole), (&b"a\nb"[..], true));
    // What HTTP cannot carry is refused, and elsewhere nothing of it is taken.
    for line in [
        &b"GET /cgi-bin/user/info?a=\x7f"[..],
        b"GET /cgi-bin/user/info?a=\x01",
        b"GET /cgi-bin/user/info?a=b c",
        b"GET /ping?a=\"",
        b"GET /ping?a=<>",
        b"GET /ping?a=\xff",
    ] {
        let end = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = raw::exchange(app.address(), &[line, end].concat()).await;
        assert_eq!(answer.status, 400, "{line:?} {answer:?}");
    }
    let answer = raw::send(app.address(), "GET /cgi-bin/user/<info>?a=1", "", b"").await;
    assert!(answer.body.contains("48001"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_keeps_its_case_and_the_host_is_ours() {
    let wechat = echo().await;
    let app = start(&wechat, json!({ "gateway": { "prefix": "/wx" } })).await;
    let path = format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={VIRTUAL}");
    let token = app.get(&format!("/wx{path}")).await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    for (line, target) in [
        (
            "/wx/wxa/business/getUserPhoneNumber",
            "/wxa/business/getUserPhoneNumber",
        ),
        ("/wx//cgi-bin///user//info", "/cgi-bin/user/info"),
        (
            "http://evil.example/wx/cgi-bin/user/info",
            "/cgi-bin/user/info",
        ),
    ] {
        let seen = arrived(
            &app,
            &wechat,
            &format!("POST {line}?access_token={token}"),
            "X-Forwarded-Host: evil.example\r\n",
            b"",
        )
        .await;
        assert_eq!(
            seen.target(),
            format!("{target}?access_token={REAL_TOKEN}"),
            "{line}"
        );
        assert_eq!(
            seen.header("host"),
            Some(wechat.address.to_string().as_str()),
            "{line}"
        );
    }
    app.get(&format!("/cgi-bin/user/info?access_token={token}"))
        .await
        .problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_headers_that_matter_go_on() {
    let wechat = echo().await;
    let app = start(&wechat, json!({})).await;
    let line = format!(
        "POST /cgi-bin/message/custom/send?access_token={}",
        token(&app).await
    );
    let body = "{\"content\":\"中 & '\"}".as_bytes();
    let headers = format!(
        "Content-Length: {}\r\nContent-Type: text/weird; x=\"1\"\r\nRange: bytes=0-9\r\nIf-Range: \"e\"\r\nAccept: a/b\r\n\
         Wechatmp-Appid: wx1\r\nWECHATMP-Signature: s+/=\r\nCookie: c=1\r\nAuthorization: Bearer x\r\nX-Forwarded-For: 1.2.3.4\r\n\
         X-Forwarded-Host: e\r\nForwarded: for=1\r\nAccept-Encoding: gzip\r\nX-Real-IP: 1.2.3.4\r\nReferer: r\r\nUser-Agent: u\r\n\
         X-WX-Source: w\r\nTE: trailers\r\nUpgrade-Insecure-Requests: 1\r\n",
        body.len()
    );
    let seen = arrived(&app, &wechat, &line, &headers, body).await;
    assert_eq!((seen.body.as_slice(), seen.whole), (body, true));
    for (name, value) in [
        ("content-type", "text/weird; x=\"1\""),
        ("range", "bytes=0-9"),
        ("if-range", "\"e\""),
        ("accept", "a/b"),
        ("wechatmp-appid", "wx1"),
        ("wechatmp-signature", "s+/="),
    ] {
        assert_eq!(seen.header(name), Some(value), "{}", seen.head);
    }
    let names: Vec<String> = seen
        .head
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase()))
        .collect();
    for name in &names {
        let is_known = [
            "host",
            "content-length",
            "content-type",
            "range",
            "if-range",
            "accept",
        ]
        .contains(&name.as_str());
        assert!(
            is_known || name.starts_with("wechatmp-"),
            "{name}: {}",
            seen.head
        );
    }
    let plain = arrived(&app, &wechat, &line, "Content-Length: 2\r\n", b"{}").await;
    assert_eq!(
        (plain.header("content-type"), plain.header("accept")),
        (None, None),
        "{}",
        plain.head
    );
}

/// The bytes of our answer when WeChat answers `bytes`.
async fn answered(bytes: Vec<u8>, line: &str) -> (String, Vec<u8>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let wechat = TcpWechat::answering(move |_| bytes.clone()).await;
    let app = start(&wechat, json!({})).await;
    let line = line.replace("TOKEN", &token(&app).await);
    let mut socket = tokio::net::TcpStream::connect(app.address()).await.unwrap();
    socket
        .write_all(format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let end = memchr::memmem::find(&answer, b"\r\n\r\n").expect("a head") + 4;
    (
        String::from_utf8(answer[..end].to_vec())
            .unwrap()
            .to_ascii_lowercase(),
        answer[end..].to_vec(),
    )
}

const GET: &str = "GET /cgi-bin/media/get?media_id=1&access_token=TOKEN";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_back_unchanged() {
    let headers = "Content-Type: image/jpeg\r\nContent-Disposition: attachment; filename=\"a.jpg\"\r\nContent-Range: bytes 0-3/9\r\n\
                   Wechatmp-Serial: 7\r\nSet-Cookie: a=b\r\nServer: nginx\r\nX-Other: 1\r\nCache-Control: max-age=60\r\n";
    for status in ["206 Partial Content", "404 Not Found", "500 Oops", "200 OK"] {
        let (head, body) = answered(answer(status, headers, b"\x00\xff\r\n"), GET).await;
        assert!(
            head.starts_with(&format!("http/1.1 {}", &status[..3])),
            "{head}"
        );
        assert_eq!(body, b"\x00\xff\r\n", "{head}");
        for wanted in [
            "content-type: image/jpeg\r\n",
            "content-disposition: attachment; filename=\"a.jpg\"\r\n",
            "content-range: bytes 0-3/9\r\n",
            "wechatmp-serial: 7\r\n",
            "cache-control: max-age=60\r\n",
            "content-length: 4\r\n",
        ] {
            assert!(head.contains(wanted), "{wanted} {head}");
        }
        for dropped in ["set-cookie", "server:", "x-other", "no-store"] {
            assert!(!head.contains(dropped), "{dropped} {head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_keeps_the_length_of_the_answer() {
    let (head, body) = answered(
        answer("200 OK", "Content-Type: image/png\r\n", b"12345"),
        &GET.replace("GET ", "HEAD "),
    )
    .await;
    assert!(
        head.contains("content-length: 5\r\n") && body.is_empty(),
        "{head} {body:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_passed_on_without_the_token() {
    let location = format!("Location: http://127.0.0.1:9/x?access_token={REAL_TOKEN}&a=1\r\n");
    let (head, _) = answered(answer("302 Found", &location, b""), GET).await;
    assert!(
        head.starts_with("http/1.1 302")
            && head.contains("location: http://127.0.0.1:9/x?access_token=***&a=1\r\n"),
        "{head}"
    );
    assert!(head.contains("cache-control: no-store"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_short_answer_is_replaced() {
    let said = format!(
        r#"{{"errcode":0,"request_url":"https://x/?access_token={REAL_TOKEN}&secret={APP_SECRET}"}}"#
    );
    for body in [json(&said), {
        let head = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{said}\r\n",
            said.len()
        );
        [head.as_bytes(), b"0\r\n\r\n"].concat()
    }] {
        let (head, body) = answered(body, GET).await;
        let body = String::from_utf8(body).unwrap();
        assert!(
            body.contains("access_token=***&secret=***"),
            "{head} {body}"
        );
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{head} {body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_answer_is_not_touched() {
    let zipped = b"\x1f\x8b\x08\x00 not really gzip \x00\x01";
    let (head, body) = answered(
        answer(
            "200 OK",
            "Content-Encoding: gzip\r\nContent-Type: text/plain\r\n",
            zipped,
        ),
        GET,
    )
    .await;
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    assert_eq!(body, zipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_in_chunks_comes_whole() {
    let piece = vec![b'x'; 100_000];
    let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_vec();
    for _ in 0..3 {
        bytes.extend_from_slice(
            &[format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat(),
        );
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    let (head, body) = answered(bytes, GET).await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(body.iter().filter(|byte| **byte == b'x').count(), 300_000);
    assert!(body.ends_with(b"0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_secret_takes_the_place_of_the_virtual_one() {
    let wechat = echo().await;
    let app = start(
        &wechat,
        json!({ "realms": [{ "key": "shop", "secret": VIRTUAL, "apps": [APP], "gateway": ["login", "/cgi-bin/clear_quota/v2"] }] }),
    )
    .await;
    for (line, target) in [
        (
            "/sns/jscode2session?appid=APP&secret=VIRTUAL&js_code=1+'2&access_token=x",
            "/sns/jscode2session?appid=APP&secret=REAL&js_code=1+'2",
        ),
        (
            "/sns/oauth2/access_token?secret=VIRTUAL&appid=APP&code=中",
            "/sns/oauth2/access_token?secret=REAL&appid=APP&code=中",
        ),
        (
            "/cgi-bin/clear_quota/v2?appid=APP&appsecret=VIRTUAL",
            "/cgi-bin/clear_quota/v2?appid=APP&appsecret=REAL",
        ),
    ] {
        let filled = |text: &str| text.replace("APP", APP).replace("VIRTUAL", VIRTUAL);
        let seen = arrived(&app, &wechat, &format!("POST {}", filled(line)), "", b"").await;
        let real = APP_SECRET.replace('-', "%2D");
        assert_eq!(seen.target(), filled(target).replace("REAL", &real));
    }
}
