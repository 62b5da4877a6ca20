//! The gateway's connections to WeChat: kept, used again, and never trusted to be still open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::app::TestApp;
use crate::support::gateway::{settings, token};
use crate::support::tcp_wechat::REAL_TOKEN;

const CALL: &str = "/cgi-bin/get_api_domain_ip";

/// WeChat on kept connections, which it closes on demand while they are idle.
struct Keeping {
    url: String,
    connections: Arc<AtomicUsize>,
    open: watch::Sender<usize>,
    close: watch::Sender<u32>,
    serving: JoinHandle<()>,
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Keeping {
    /// Answers every call but those for tokens with `answer`.
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (connections, open) = (Arc::<AtomicUsize>::default(), watch::Sender::new(0));
        let close = watch::Sender::new(0);
        let (count, opened, closing) = (Arc::clone(&connections), open.clone(), close.clone());
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (count, opened) = (Arc::clone(&count), opened.clone());
                let mut closed = closing.subscribe();
                tokio::spawn(async move {
                    opened.send_modify(|open| *open += 1);
                    tokio::select! {
                        () = serve(socket, answer, &count) => {}
                        _ = closed.changed() => {}
                    }
                    opened.send_modify(|open| *open -= 1);
                });
            }
        });
        Self {
            url,
            connections,
            open,
            close,
            serving,
        }
    }

    /// How many connections have carried a call that was not for a token.
    fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    async fn close_all(&self) {
        self.close.send_modify(|closes| *closes += 1);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open == 0).await.unwrap();
    }
}

async fn serve(mut socket: TcpStream, answer: &str, count: &AtomicUsize) {
    let mut is_counted = false;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split_once("\r\n")?.0.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        socket.read_exact(&mut body).await.unwrap();
        if head.contains("/cgi-bin/token?") {
            let body = format!(r#"{{"access_token":"{REAL_TOKEN}","expires_in":7200}}"#);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            socket.write_all((head + &body).as_bytes()).await.unwrap();
            continue;
        }
        if !std::mem::replace(&mut is_counted, true) {
            count.fetch_add(1, Relaxed);
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
    }
}

async fn start(url: &str) -> (TestApp, String) {
    let over = json!({ "wechat": { "api": [url] } });
    let app = TestApp::with(settings(json!({}), over)).await;
    let token = token(&app).await;
    (app, token)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\": 1 }";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_carries_one_call_after_another() {
    for answer in [
        OK,
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"a\": 1 }\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n6\r\n\": 1 }\r\n0\r\nX: t\r\n\r\n",
    ] {
        let wechat = Keeping::start(answer).await;
        let (app, token) = start(&wechat.url).await;
        for turn in 0..20 {
            let method = [Method::GET, Method::POST][turn % 2].clone();
            let body = "b".repeat(turn * 700);
            let path = format!("{CALL}?access_token={token}");
            let got = app.send(app.request(method, &path).body(body)).await;
            assert!(got.status.is_success(), "{answer}: {got:?}");
        }
        assert_eq!(wechat.connections(), 1, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_wechat_closed_is_not_used_again() {
    let wechat = Keeping::start(OK).await;
    let (app, token) = start(&wechat.url).await;
    let path = format!("{CALL}?access_token={token}");
    for turn in 1..10 {
        let body = [Vec::new(), vec![b'b'; 3000], vec![b'b'; 2_000_000]][turn % 3].clone();
        let got = app.send(app.request(Method::POST, &path).body(body)).await;
        assert_eq!(got.body, "{\"a\": 1 }", "{turn}: {got:?}");
        assert_eq!(wechat.connections(), turn);
        wechat.close_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_more_than_its_length_spoils_no_other() {
    let wechat = Keeping::start(concat!(
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\": 1 }",
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"b\":2}"
    ))
    .await;
    let (app, token) = start(&wechat.url).await;
    for _ in 0..5 {
        let got = app.get(&format!("{CALL}?access_token={token}")).await;
        assert_eq!(got.body, "{\"a\": 1 }");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_need_no_more_connections_than_calls() {
    let wechat = Keeping::start(OK).await;
    let (app, token) = start(&wechat.url).await;
    let path = format!("{CALL}?access_token={token}");
    for _ in 0..5 {
        let calls = (0..20).map(|_| app.get(&path));
        for got in futures_util::future::join_all(calls).await {
            assert_eq!(got.body, "{\"a\": 1 }");
        }
    }
    assert!(wechat.connections() <= 20, "{}", wechat.connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_speaks_no_http_or_a_switch_of_protocols_is_no_answer() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ] {
        let wechat = Keeping::start(answer).await;
        let (app, token) = start(&wechat.url).await;
        let path = format!("{CALL}?access_token={token}");
        let got = app.get(&path);
        let got = timeout(Duration::from_secs(20), got)
            .await
            .expect("an answer");
        assert_eq!(got.status, 504, "{answer}: {got:?}");
    }
}
