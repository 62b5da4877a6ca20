//! The answer to a forwarded call: short ones are read whole, longer ones are passed on piece by
//! piece.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use clock::{SteadyMillis, UnixSeconds};
use hyper::{HeaderMap, Method, Response, header};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Inner;
use super::answer::{READ_WHOLE, Verdict, scrubbed};
use super::audit::Audit;
use super::connection::Arriving;
use super::limits::Place;
use super::upstream::SendError;

/// WeChat's answer, to be passed on.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that go on.
    pub headers: HeaderMap,
    /// The body.
    pub body: AnswerBody,
}

/// The body of an answer.
pub enum AnswerBody {
    /// All of it.
    Whole(Bytes),
    /// It arrives piece by piece; an error means that it was cut off. The length is known if WeChat
    /// told it.
    Stream(mpsc::Receiver<io::Result<Bytes>>, Option<u64>),
}

/// A side that sends or takes nothing for this long is cut off.
const STALL: Duration = Duration::from_secs(30);

/// An answer whose beginning was read.
pub(super) struct Reply {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Received,
}

pub(super) enum Received {
    Whole(Bytes),
    Longer {
        first: Bytes,
        rest: Arriving,
    },
    /// The answer to `HEAD`: headers alone.
    HeadersOnly,
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The headers of an answer that go on, beside `Wechatmp-*`.
const PASSED_ON: [header::HeaderName; 9] = [
    header::CONTENT_TYPE,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LOCATION,
];

impl Reply {
    /// Reads a short answer whole, and of a longer one the beginning.
    pub(super) async fn read(
        response: Response<Arriving>,
        method: &Method,
    ) -> Result<Self, SendError> {
        let (parts, mut body) = response.into_parts();
        let (status, headers) = (parts.status.as_u16(), parts.headers);
        if status < 200 {
            return Err(SendError::NoAnswer(format!("HTTP {status} is no answer")));
        }
        if *method == Method::HEAD {
            return Ok(Self {
                status,
                headers,
                body: Received::HeadersOnly,
            });
        }
        if content_length(&headers).is_some_and(|length| length > READ_WHOLE as u64) {
            return Ok(Self {
                status,
                headers,
                body: Received::Longer {
                    first: Bytes::new(),
                    rest: body,
                },
            });
        }
        let mut first = BytesMut::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| SendError::NoAnswer(wechat::chain(&error)))?;
            if content_length(&headers) == Some(piece.len() as u64) {
                // A copy, because a piece would keep the connection's whole buffer.
                let whole = Bytes::copy_from_slice(&piece);
                return Ok(Self {
                    status,
                    headers,
                    body: Received::Whole(whole),
                });
            }
            first.extend_from_slice(&piece);
            if first.len() > READ_WHOLE {
                return Ok(Self {
                    status,
                    headers,
                    body: Received::Longer {
                        first: first.freeze(),
                        rest: body,
                    },
                });
            }
        }
        Ok(Self {
            status,
            headers,
            body: Received::Whole(first.freeze()),
        })
    }

    /// What the answer says of itself, as far as it was read.
    pub(super) fn verdict(&self) -> Verdict {
        match &self.body {
            Received::Whole(bytes) if !self.is_encoded() => Verdict::read(bytes),
            _ => Verdict::default(),
        }
    }

    /// WeChat's clock, as the answer shows it.
    pub(super) fn date(&self) -> Option<UnixSeconds> {
        wechat::date(self.headers.get(header::DATE)?.to_str().ok()?)
    }

    fn is_encoded(&self) -> bool {
        self.headers.contains_key(header::CONTENT_ENCODING)
    }

    /// The answer for the caller, without `secrets`.
    pub(super) fn passed_on(
        self,
        secrets: &[&str],
        mut audit: Box<Audit>,
        place: Place,
        inner: Arc<Inner>,
        began: SteadyMillis,
    ) -> Answer {
        let is_encoded = self.is_encoded();
        let length = content_length(&self.headers);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            if !PASSED_ON.contains(name) && !name.as_str().starts_with("wechatmp-") {
                continue;
            }
            match scrubbed(value.as_bytes(), secrets) {
                None => drop(headers.append(name.clone(), value.clone())),
                Some(clean) => drop(
                    clean
                        .as_slice()
                        .try_into()
                        .map(|clean| headers.append(name.clone(), clean)),
                ),
            }
        }
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(header::HeaderValue::from_static("no-store"));
        let body = match self.body {
            Received::Whole(bytes) => {
                let clean = if is_encoded {
                    None
                } else {
                    scrubbed(&bytes, secrets).map(Bytes::from)
                };
                let bytes = clean.unwrap_or(bytes);
                audit.bytes_out = bytes.len() as u64;
                audit.took = began.until(inner.clock.steady());
                drop((audit, place));
                AnswerBody::Whole(bytes)
            }
            // The length is that of the body which `GET` would have.
            Received::HeadersOnly => AnswerBody::Stream(mpsc::channel(1).1, length),
            Received::Longer { first, rest } => {
                let (sender, receiver) = mpsc::channel(1);
                tokio::spawn(pump(first, rest, sender, audit, place, inner, began));
                AnswerBody::Stream(receiver, length)
            }
        };
        Answer {
            status: self.status,
            headers,
            body,
        }
    }
}

/// The next piece of an answer, or an error as soon as nobody takes it any more.
async fn next_piece(
    rest: &mut Arriving,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> Option<io::Result<Bytes>> {
    let next = async {
        tokio::select! {
            piece = rest.next() => piece.map(|piece| piece.map_err(io::Error::other)),
            () = sender.closed() => Some(Err(io::ErrorKind::BrokenPipe.into())),
        }
    };
    let stalled = || Some(Err(io::ErrorKind::TimedOut.into()));
    timeout(STALL, next).await.unwrap_or_else(|_| stalled())
}

/// Passes an answer on, piece by piece, until either side ends or stalls. A piece is only read when
/// there is room for it.
async fn pump(
    first: Bytes,
    mut rest: Arriving,
    sender: mpsc::Sender<io::Result<Bytes>>,
    mut audit: Box<Audit>,
    _place: Place,
    inner: Arc<Inner>,
    began: SteadyMillis,
) {
    let mut next = (!first.is_empty()).then_some(Ok(first));
    loop {
        let Ok(Ok(room)) = timeout(STALL, sender.reserve()).await else {
            audit.status = None;
            break;
        };
        let piece = match next.take() {
            Some(piece) => Some(piece),
            None => next_piece(&mut rest, &sender).await,
        };
        let Some(piece) = piece else {
            break;
        };
        let (is_error, length) = (piece.is_err(), piece.as_ref().map_or(0, Bytes::len));
        room.send(piece);
        if is_error {
            audit.status = None;
            break;
        }
        audit.bytes_out += length as u64;
    }
    audit.took = began.until(inner.clock.steady());
}
