//! The memory that one connection can use, whatever it sends and however little it reads.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::app::APP;
use crate::support::process::{Process, folder, settings, until};

const CONNECTIONS: usize = 100;

/// The maximum average memory of a connection in KiB: about 64 KiB of answers, buffers and the
/// current request.
const EACH: u64 = 90;

/// The rest of the process may grow by this much, in KiB.
const OTHERWISE: u64 = 4 * 1024;

/// Sends `bytes` on a connection until the server accepts no more, and reads nothing.
async fn flood(server: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(server)
        .await
        .expect("the server listens");
    // The server may refuse the rest, or accept only what the system's buffers hold.
    drop(tokio::time::timeout(Duration::from_secs(2), connection.write_all(bytes)).await);
    connection
}

async fn server(folder: &std::path::Path) -> Process {
    let server = Process::serve(folder, &settings("http://127.0.0.1:9", json!({}))).await;
    join_all((0..20).map(|_| server.get("/jsdkd.js"))).await;
    server
}

/// Sends `bytes` over [`CONNECTIONS`] connections and returns the growth of the server's memory.
async fn growth(server: &Process, bytes: &[u8]) -> u64 {
    let before = server.memory();
    let floods = join_all((0..CONNECTIONS).map(|_| flood(server.address(), bytes))).await;
    assert_eq!(server.get("/ping").await.status, 200);
    let growth = server.memory().saturating_sub(before);
    drop(floods);
    growth
}

fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: test\r\n{headers}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_pipelined_answers_use_little_memory() {
    let folder = folder();
    let config = format!("POST /jsapi/{APP}/config");
    let many_headers: String = (0..90).map(|n| format!("a{n}:\r\n")).collect();
    let chunks: String = "{\"url\":\"https://a.b/\"}"
        .chars()
        .map(|c| format!("1\r\n{c}\r\n"))
        .collect();
    let chunked = request(
        &config,
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n",
    );
    let json =
        |length: usize| format!("content-type: application/json\r\ncontent-length: {length}\r\n");
    let requests = [
        request("GET /jsdkd.js", ""),
        request("GET /", ""),
        request("GET /nowhere/at/all", ""),
        request("GET /MP_verify_x.txt", ""),
        request("GET /qrcode/text", ""),
        request(&format!("GET /oauth/{APP}/callback?code=c&state=s"), ""),
        request("HEAD /jsdkd.js", ""),
        request("OPTIONS /ping", ""),
        request("GET /jsdkd.js", &many_headers),
        request("GET /jsdkd.js", "expect: 100-continue\r\n"),
        "A /jsdkd.js HTTP/1.1\nhost:\n\n".to_owned(),
        "GET /jsdkd.js HTTP/1.0\r\nconnection: keep-alive\r\n\r\n".to_owned(),
        request(&config, &json(2)) + "{}",
        request(&config, &json(2002)) + &format!("{{{}}}", " ".repeat(2000)),
        format!("{chunked}{chunks}0\r\n\r\n"),
        format!("{chunked}2\r\n{{}}\r\n0\r\nx-trailer: 1\r\n\r\n"),
        request("POST /nowhere", "content-length: 2\r\n") + "{}",
    ];
    for request in &requests {
        // A separate process, so that nothing is measured twice.
        let server = server(folder.path()).await;
        let growth = growth(
            &server,
            request
                .repeat(3600.min(2_000_000 / request.len()))
                .as_bytes(),
        )
        .await;
        assert!(
            growth < EACH * CONNECTIONS as u64 + OTHERWISE,
            "{growth} KiB: {}",
            &request[..request.len().min(200)]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_requests_use_little_memory() {
    let folder = folder();
    let head = "GET /ping HTTP/1.1\r\nhost: test\r\n";
    let chunked = request(
        &format!("POST /jsapi/{APP}/config"),
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n",
    );
    let floods = [
        format!("{head}x: {}", "y".repeat(120_000)),
        format!("{head}{}", "x: y\r\n".repeat(20_000)),
        format!("{head}\r\n{head}x: {}", "y".repeat(120_000)),
        format!("{head}\r\n{head}x: {}", "y".repeat(15_000)),
        format!(
            "{chunked}2\r\n{{}}\r\n0\r\n\r\n{head}x: {}",
            "y".repeat(120_000)
        ),
        "\r\n".repeat(60_000),
        format!("GET /{}", "a".repeat(120_000)),
        format!("{chunked}{}", "1\r\n \r\n".repeat(40_000)),
        format!("{chunked}1;{}", "x".repeat(120_000)),
        format!("{chunked}2\r\n{{}}\r\n0\r\n{}", "x: y\r\n".repeat(20_000)),
        request("GET /ping", "connection: upgrade\r\nupgrade: websocket\r\n")
            + &"y".repeat(300_000),
        request("CONNECT a:1", "") + &"y".repeat(300_000),
        "\0".repeat(120_000),
    ];
    for flood in &floods {
        let server = server(folder.path()).await;
        let growth = growth(&server, flood.as_bytes()).await;
        assert!(
            growth < EACH * CONNECTIONS as u64 + OTHERWISE,
            "{growth} KiB: {}",
            &flood[..200]
        );
    }
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_freed_with_the_connections() {
    let folder = folder();
    let server = server(folder.path()).await;
    let (before, begun) = (server.memory(), Instant::now());
    let (mut peak, requests) = (0, request("GET /jsdkd.js", "").repeat(3600));
    for _ in 0..3 {
        let floods =
            join_all((0..CONNECTIONS).map(|_| flood(server.address(), requests.as_bytes())));
        drop(floods.await);
        peak = peak.max(server.memory());
    }
    let is_back = || (server.memory() < before + OTHERWISE / 2).then_some(());
    until(is_back).await.unwrap_or_else(|| {
        panic!(
            "{before} before, {peak} at most, {} after {:?}",
            server.memory(),
            begun.elapsed()
        )
    });
}
