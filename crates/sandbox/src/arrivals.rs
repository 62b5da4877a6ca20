//! Records the last calls byte for byte, so that a test can compare them with what a client sent.

use std::collections::VecDeque;

use actix_web::HttpRequest;
use actix_web::web::{Bytes, Payload};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

/// How many calls are kept.
const KEPT: usize = 200;

/// A longer body is recorded by its length and hash only.
const LONGEST: usize = 64 * 1024;

/// More than any upload that WeChat accepts.
const MAX_BODY_BYTES: u64 = 64 << 20;

/// One recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query, still encoded.
    pub target: String,
    /// The headers with lower-case names, in their order.
    pub headers: Vec<(String, String)>,
    /// The length of the body in bytes.
    pub length: u64,
    /// The SHA-256 of the body, in hex.
    pub sha256: String,
    /// The body, if it has at most 64 KiB.
    pub body: Option<Bytes>,
    /// False if the body ended early.
    pub whole: bool,
}

impl Arrival {
    /// The value of a header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(written, _)| written == name)
            .map_or("", |(_, value)| value.as_str())
    }
}

/// A request body as received.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    length: u64,
    sha256: String,
    pub(super) whole: bool,
}

impl Received {
    /// No body, or one that is not recorded.
    pub(super) fn nothing() -> Self {
        Self::of(Bytes::new())
    }

    pub(super) fn of(bytes: Bytes) -> Self {
        Self {
            length: bytes.len() as u64,
            sha256: hex(&Sha256::digest(&bytes)),
            bytes,
            whole: true,
        }
    }

    /// Reads the whole body, up to the largest upload that WeChat accepts.
    pub(super) async fn read(mut payload: Payload) -> Self {
        let (mut bytes, mut hash, mut whole) = (Vec::new(), Sha256::new(), true);
        while let Some(chunk) = payload.next().await {
            match chunk {
                Ok(chunk) if bytes.len() as u64 + chunk.len() as u64 <= MAX_BODY_BYTES => {
                    hash.update(&chunk);
                    bytes.extend_from_slice(&chunk);
                }
                _ => {
                    whole = false;
                    break;
                }
            }
        }
        Self {
            length: bytes.len() as u64,
            sha256: hex(&hash.finalize()),
            bytes: bytes.into(),
            whole,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The last calls, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Arrivals(VecDeque<Arrival>);

impl Arrivals {
    pub(super) fn add(&mut self, request: &HttpRequest, received: &Received) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        let headers = request.headers().iter();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.push_back(Arrival {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
                .collect(),
            length: received.length,
            sha256: received.sha256.clone(),
            body: (received.bytes.len() <= LONGEST).then(|| received.bytes.clone()),
            whole: received.whole,
        });
    }

    /// Returns the calls at `path`, the oldest first; all calls for an empty path.
    pub(super) fn at(&self, path: &str) -> Vec<Arrival> {
        let fits =
            |arrival: &&Arrival| path.is_empty() || arrival.target.split('?').next() == Some(path);
        self.0.iter().filter(fits).cloned().collect()
    }
}
