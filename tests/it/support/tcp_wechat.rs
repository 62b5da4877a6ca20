//! WeChat's API as a bare TCP server: it records every byte of a request and answers with the
//! test's bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The real token that it issues.
pub(crate) const REAL_TOKEN: &str = "90_REALtokenREALtokenREALtokenREALtokenREALtokenREALtokenREALtokenREALtokenREALtokenREALtokenREALtokenREALtoken";

/// One received request.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    /// The request line, byte for byte.
    pub(crate) line: Vec<u8>,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// True if the body was complete.
    pub(crate) whole: bool,
}

impl ReceivedRequest {
    /// The target in the request line.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).expect("a request line")
    }

    /// A header's value; `None` if it is missing.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

type Answer = dyn Fn(&ReceivedRequest) -> Vec<u8> + Send + Sync;

/// A running server.
pub(crate) struct TcpWechat {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<ReceivedRequest>>>,
    serving: JoinHandle<()>,
}

impl Drop for TcpWechat {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl TcpWechat {
    /// Answers every call except token requests with the result of `answer`, and closes.
    pub(crate) async fn answering(
        answer: impl Fn(&ReceivedRequest) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (seen, answer): (Arc<Mutex<Vec<ReceivedRequest>>>, Arc<Answer>) =
            (Arc::default(), Arc::new(answer));
        let kept = Arc::clone(&seen);
        let serving = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else {
                    continue;
                };
                tokio::spawn(talk(socket, Arc::clone(&kept), Arc::clone(&answer)));
            }
        });
        Self {
            address,
            seen,
            serving,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests except those for tokens.
    pub(crate) fn seen(&self) -> Vec<ReceivedRequest> {
        let seen = self.seen.lock().expect("no test panics here").clone();
        seen.into_iter()
            .filter(|seen| !is_for_token(seen))
            .collect()
    }
}

fn is_for_token(seen: &ReceivedRequest) -> bool {
    seen.target().contains("/cgi-bin/token?") || seen.target().ends_with("/cgi-bin/stable_token")
}

async fn talk(mut socket: TcpStream, kept: Arc<Mutex<Vec<ReceivedRequest>>>, answer: Arc<Answer>) {
    let Some(seen) = read(&mut socket).await else {
        return;
    };
    kept.lock().expect("no test panics here").push(seen.clone());
    let bytes = match is_for_token(&seen) {
        true => json(&format!(
            r#"{{"access_token":"{REAL_TOKEN}","expires_in":7200}}"#
        )),
        false => answer(&seen),
    };
    socket.write_all(&bytes).await.ok();
    socket.shutdown().await.ok();
    // Reads what the client still sends, so that the connection is not reset.
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.ok();
}

async fn read(socket: &mut TcpStream) -> Option<ReceivedRequest> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let line = bytes.split(|byte| *byte == b'\r').next();
    let mut seen = ReceivedRequest {
        line: line.unwrap_or_default().to_vec(),
        head,
        body: bytes.split_off(end),
        whole: false,
    };
    let length = seen
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0_usize);
    let is_chunked = seen.header("transfer-encoding").is_some();
    loop {
        seen.whole = match is_chunked {
            true => seen.body.ends_with(b"0\r\n\r\n"),
            false => seen.body.len() >= length,
        };
        if seen.whole || !matches!(socket.read_buf(&mut seen.body).await, Ok(1..)) {
            return Some(seen);
        }
    }
}

/// A successful answer with this body.
pub(crate) fn json(body: &str) -> Vec<u8> {
    answer(
        "200 OK",
        "Content-Type: application/json; encoding=utf-8\r\n",
        body.as_bytes(),
    )
}

/// An answer with a `Content-Length`.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
