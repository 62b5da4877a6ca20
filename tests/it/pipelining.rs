//! Many requests over one connection: each is answered in order, and one that is too long or too
//! slow is refused.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{APP, TestApp};
use crate::support::raw;

/// Writes `bytes` in pieces of `piece`, and reads until the server closes.
async fn exchange(server: SocketAddr, bytes: &[u8], piece: usize) -> String {
    let (mut read, mut write) = TcpStream::connect(server)
        .await
        .expect("the server listens")
        .into_split();
    let mut answer = Vec::new();
    let writing = async {
        for piece in bytes.chunks(piece) {
            // A refusal may arrive before all bytes are sent.
            if write.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        write
    };
    let reading = async { drop(read.read_to_end(&mut answer).await) };
    let talk = async { tokio::join!(writing, reading) };
    tokio::time::timeout(Duration::from_secs(25), talk)
        .await
        .expect("the server answers and closes");
    String::from_utf8(answer).expect("our answers are text")
}

/// The answers to requests for a check file.
fn check_files(answer: &str) -> Vec<usize> {
    answer
        .lines()
        .filter_map(|line| {
            line.strip_prefix("code")?
                .split("HTTP/")
                .next()?
                .parse()
                .ok()
        })
        .collect()
}

fn get(number: usize, last: bool) -> String {
    let connection = if last { "connection: close\r\n" } else { "" };
    format!("GET /MP_verify_code{number}.txt HTTP/1.1\r\nhost: test\r\n{connection}\r\n")
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let app = TestApp::start().await;
    for (count, piece) in [
        (16, 1),
        (16, 7),
        (16, 1 << 20),
        (2000, 1 << 20),
        (300, 1000),
    ] {
        let requests: String = (0..count)
            .map(|number| get(number, number + 1 == count))
            .collect();
        let answer = exchange(app.address(), requests.as_bytes(), piece).await;
        assert_eq!(
            check_files(&answer),
            (0..count).collect::<Vec<_>>(),
            "{count} in pieces of {piece}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn a_pipelined_answer_does_not_wait_for_a_confirmation() {
    let app = TestApp::start().await;
    let mut connection = TcpStream::connect(app.address())
        .await
        .expect("the server listens");
    let (two, mut answer) = ([get(1, false), get(2, false)].concat(), vec![0; 4096]);
    let begun = Instant::now();
    for _ in 0..100 {
        connection
            .write_all(two.as_bytes())
            .await
            .expect("it is open");
        let (mut length, ends) = (0, |answer: &[u8]| answer.ends_with(b"code2"));
        while !ends(&answer[..length]) {
            length += connection
                .read(&mut answer[length..])
                .await
                .expect("an answer");
        }
    }
    // An acknowledgement is delayed by 40 ms.
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    app.stop().await;
}

#[tokio::test]
async fn pipelined_bodies_are_separated() {
    let app = TestApp::start().await;
    let config = |body: &str| {
        let length = body.len();
        format!(
            "POST /jsapi/{APP}/config HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let chunked = |chunks: &[&str]| {
        let chunks: String = chunks
            .iter()
            .map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()))
            .collect();
        let headers =
            "host: test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n";
        format!(
            "POST /jsapi/{APP}/config HTTP/1.1\r\n{headers}\r\n{chunks}0\r\nx-trailer: 1\r\n\r\n"
        )
    };
    let inner = get(99, false).replace('\r', "\\r").replace('\n', "\\n");
    let blank = format!(
        "{{\n\n\"url\":\"https://a.b/\",{}\n\n\"x\":\"{inner}\"}}",
        "\n\r\n".repeat(5000)
    );
    let requests = [
        get(0, false),
        config("{\"url\":\"https://a.b/\"}"),
        get(1, false),
        config(&blank),
        get(2, false),
        chunked(&["{", "\"url\":\"https://a.b/\"", "\n\n\r\n\r\n", "}"]),
        get(3, false),
        chunked(&blank.split_inclusive(',').collect::<Vec<_>>()),
        "\r\n\r\n".to_owned() + &get(4, false),
        config("{}").replace("content-length", "expect: 100-continue\r\ncontent-length"),
        get(5, true),
    ];
    let requests = requests.concat();
    for piece in [1, 13, 1 << 20] {
        let answer = exchange(app.address(), requests.as_bytes(), piece).await;
        assert_eq!(check_files(&answer), [0, 1, 2, 3, 4, 5], "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 11, "{answer}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_large_body_streams_through() {
    let app = TestApp::with(json!({ "server": { "bodyLimit": "8MB" } })).await;
    for line in ["", "\n", "\n\n"] {
        let body = format!(
            "{{\"url\":\"https://a.b/\",{}\"x\":1}}",
            format!(" {line}").repeat(7_000_000 / (1 + line.len()))
        );
        let begun = Instant::now();
        let headers = format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        let answer = raw::send(
            app.address(),
            &format!("POST /jsapi/{APP}/config"),
            &headers,
            body.as_bytes(),
        )
        .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
    }
    app.stop().await;
}

/// A head with this many bytes.
fn head(length: usize) -> String {
    let head = "GET /ping HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx: ";
    format!("{head}{}\r\n\r\n", "y".repeat(length - head.len() - 4))
}

#[tokio::test]
async fn a_head_of_more_than_16_kib_is_refused_and_closed() {
    let app = TestApp::start().await;
    let chunked = "POST /nowhere HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    let config = format!(
        "POST /jsapi/{APP}/config HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
    );
    let config_in_chunks =
        format!("{config}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    let config = format!("{config}content-length: 2\r\n\r\n{{}}");
    for before in [String::new(), get(1, false), config, config_in_chunks] {
        for (length, status) in [
            (16 * 1024, "HTTP/1.1 200"),
            (16 * 1024 + 1, "HTTP/1.1 431"),
            (120_000, "HTTP/1.1 431"),
        ] {
            let mut bytes = before.clone() + &head(length);
            if length == 120_000 {
                // It is refused before it is complete.
                bytes.truncate(bytes.len() - 4);
            }
            let answer = exchange(app.address(), bytes.as_bytes(), 4000).await;
            assert!(
                answer.contains(status),
                "{length} after {before:?}: {answer}"
            );
            let earlier = usize::from(!before.is_empty());
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1 + earlier, "{answer}");
        }
    }
    let answer = exchange(
        app.address(),
        format!("{chunked}{}", "1\r\n \r\n".repeat(50_000)).as_bytes(),
        4000,
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.matches("HTTP/1.1 ").count() == 1,
        "{answer}"
    );
    app.stop().await;
}

#[tokio::test]
async fn every_head_has_the_same_timeout() {
    let app = TestApp::start().await;
    let begun = Instant::now();
    let half = format!("{}GET /ping HTTP/1.1\r\nhost: te", get(1, false));
    let answer = exchange(app.address(), half.as_bytes(), 1 << 20).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("HTTP/1.1 408"),
        "{answer}"
    );
    assert!(
        begun.elapsed() > Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    app.stop().await;
}
