//! Sends requests byte for byte that no client library would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer as received.
#[must_use = "an answer that nobody looks at proves nothing"]
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Raw {
    /// A header's value; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }

    /// The `code` of a problem; empty if the answer is not one.
    pub(crate) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends `METHOD TARGET` with `headers` and `body` unchanged; the connection is closed afterwards.
pub(crate) async fn send(server: SocketAddr, line: &str, headers: &str, body: &[u8]) -> Raw {
    let head = format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
    exchange(server, &[head.as_bytes(), body].concat()).await
}

/// Writes `bytes` and reads until the server closes.
pub(crate) async fn exchange(server: SocketAddr, bytes: &[u8]) -> Raw {
    let talk = async {
        let (mut read, mut write) = TcpStream::connect(server)
            .await
            .expect("the server listens")
            .into_split();
        let mut answer = Vec::new();
        // In parallel: a refusal may arrive before all bytes are sent, and then the rest cannot be
        // written.
        let (_, reading) = tokio::join!(write.write_all(bytes), read.read_to_end(&mut answer));
        reading.expect("the answer arrives whole");
        answer
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), talk)
        .await
        .expect("the server answers and closes");
    let answer = String::from_utf8(answer).expect("our answers are text");
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no whole answer: {answer:?}"));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    Raw {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
