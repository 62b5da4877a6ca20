//! One forwarded call: the real token or secret goes in, the answer comes out, and a dead token is healed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use clock::SteadyMillis;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Response, header};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::accounts::{Account, RealToken};
use super::answer::{READ_WHOLE, Verdict, scrubbed};
use super::audit::Audit;
use super::heal::Probe;
use super::limits::{Place, Reservation};
use super::query;
use super::refusal::Refusal;
use super::upstream::{Head, Hosts, SendError};
use super::{Gateway, Inner, Plan};

/// A repetition begins no later, because SDKs hang up after 5 s.
const REPEAT_WITHIN: Duration = Duration::from_millis(4500);

/// A side that sends or takes nothing for this long is cut off.
const STALL: Duration = Duration::from_secs(30);

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The path that probes a token: it changes nothing and every account may call it, WeCom's too.
const PROBE_PATH: &str = "/cgi-bin/getcallbackip";

/// A request's body.
pub enum RequestBody {
    /// At hand, so that the call can be repeated once. The memory is reserved as long as the call runs.
    Whole(Bytes, Option<Kept>),
    /// Still arriving.
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

/// Memory that is reserved for a body.
pub struct Kept(#[allow(dead_code, reason = "it is held, not read")] pub(super) Reservation);

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
    /// It arrives piece by piece; an error means that it was cut off. The length is known if WeChat told it.
    Stream(mpsc::Receiver<io::Result<Bytes>>, Option<u64>),
}

/// What goes in beside the path and the query.
pub(super) enum Identity {
    /// The real token of an account, put last in the query.
    Token(Account),
    /// Nothing: the query has the real secret already, or needs none. The secret must not come back.
    None(Option<secrecy::SecretString>),
}

/// A call that was admitted.
pub struct Admitted {
    pub(super) plan: Box<Plan>,
    pub(super) audit: Box<Audit>,
    pub(super) began: SteadyMillis,
}

impl Admitted {
    /// The same for a call that is refused before it is forwarded.
    pub fn refused(self, refusal: Refusal) -> (Refusal, Box<Audit>) {
        (refusal.clone(), self.audit.refused(&refusal))
    }
}

impl Gateway {
    /// Forwards the call. The refusal is ours; WeChat's own are answers. The second part writes the audit line when it is dropped.
    pub async fn forward(&self, admitted: Admitted, body: RequestBody) -> Result<Answer, (Refusal, Box<Audit>)> {
        let Admitted { plan, mut audit, began } = admitted;
        let Plan { method, path, query, headers, hosts, identity, place, secret_in_body } = *plan;
        let inner = &self.0;
        let refused = |refusal: Refusal, mut audit: Box<Audit>| {
            audit.took = began.until(inner.clock.steady());
            (refusal.clone(), audit.refused(&refusal))
        };
        let (whole, mut stream, _kept) = match body {
            RequestBody::Whole(bytes, kept) => (Some(with_secret(bytes, secret_in_body.as_ref())), None, kept),
            RequestBody::Stream(chunks) => (None, Some(chunks), None),
        };
        audit.bytes_in = whole.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let mut token = match &identity {
            Identity::Token(account) => match account.current().await {
                Ok(token) => Some(token),
                Err(why) => return Err(refused(Refusal::NothingSent(why), audit)),
            },
            Identity::None(_) => None,
        };
        loop {
            let full_query = match &token {
                Some(token) => query::appended(&query, "access_token", token.token.expose_secret()),
                None => query.clone(),
            };
            let sent_head = Head { method: method.clone(), path: &path, query: &full_query, headers: &headers };
            let exchange = async {
                let sent = match (&whole, stream.take()) {
                    (Some(bytes), _) => inner.upstream.send(&hosts, &sent_head, bytes.clone()).await,
                    (None, Some(chunks)) => inner.upstream.send_stream(&hosts, &sent_head, chunks).await,
                    (None, None) => Err(SendError::NotSent("its body is gone".to_owned())),
                };
                read(sent?).await
            };
            let received = match timeout(inner.options.timeout, exchange).await {
                Ok(Ok(received)) => received,
                Ok(Err(SendError::NotSent(why))) => {
                    return Err(refused(Refusal::NothingSent(why), audit));
                }
                Ok(Err(SendError::NoAnswer(why))) => {
                    tracing::warn!(request_id = audit.request_id, path, why, "no answer to a forwarded call");
                    return Err(refused(Refusal::NoAnswer, audit));
                }
                Err(_) => return Err(refused(Refusal::NoAnswer, audit)),
            };
            let verdict = match &received.body {
                Received::Whole(bytes) if !received.is_encoded() => Verdict::read(bytes),
                _ => Verdict::default(),
            };
            if let (Identity::Token(account), Some(used)) = (&identity, &token)
                && verdict.is_stale_token()
                && !audit.is_healed
            {
                let in_time = began.until(inner.clock.steady()) < REPEAT_WITHIN;
                let can_repeat = whole.is_some() && in_time;
                if can_repeat {
                    if let Some(next) = inner.heal(account, &hosts, &path, used).await
                        && began.until(inner.clock.steady()) < REPEAT_WITHIN
                    {
                        audit.is_healed = true;
                        token = Some(next);
                        continue;
                    }
                } else {
                    // A streamed body cannot be sent again: the SDK's own repetition finds the renewed token.
                    let (inner, account, hosts, path, used) =
                        (Arc::clone(inner), account.clone(), Arc::clone(&hosts), path.clone(), used.clone());
                    tokio::spawn(async move { inner.heal(&account, &hosts, &path, &used).await });
                }
            }
            if verdict.is_address_refused() {
                tracing::error!(
                    appid = audit.account,
                    errcode = verdict.errcode,
                    "WeChat refuses the address of this server: add it to the account's IP list (公众平台 → IP白名单; 企业可信IP)"
                );
            }
            audit.status = Some(received.status);
            audit.errcode = verdict.errcode;
            audit.rid = verdict.rid;
            let secret = match &identity {
                Identity::Token(account) => account.secret().cloned(),
                Identity::None(secret) => secret.clone(),
            };
            let secrets: Vec<&str> = [token.as_ref().map(|token| &token.token), secret.as_ref()]
                .into_iter()
                .flatten()
                .map(ExposeSecret::expose_secret)
                .collect();
            return Ok(received.passed_on(&secrets, audit, place, Arc::clone(inner), began));
        }
    }
}

/// The body with the real secret in the place of the virtual one.
fn with_secret(body: Bytes, exchange: Option<&(String, secrecy::SecretString)>) -> Bytes {
    let Some((virtual_secret, real)) = exchange else { return body };
    let Some(at) = memchr::memmem::find(&body, virtual_secret.as_bytes()) else { return body };
    let mut exchanged = BytesMut::with_capacity(body.len());
    exchanged.extend_from_slice(&body[..at]);
    exchanged.extend_from_slice(real.expose_secret().as_bytes());
    exchanged.extend_from_slice(&body[at + virtual_secret.len()..]);
    exchanged.freeze()
}

impl Inner {
    /// The token to send again with, if the rules allow it.
    async fn heal(self: &Arc<Self>, account: &Account, hosts: &Arc<Hosts>, path: &str, used: &RealToken) -> Option<RealToken> {
        if let Ok(current) = account.current().await
            && !current.is(used)
        {
            return Some(current);
        }
        if self.healer.is_refusing(&account.name, path) {
            return None;
        }
        let (inner, probed, at) = (Arc::clone(self), used.clone(), Arc::clone(hosts));
        let probe = move || async move { inner.probe(&at, &probed).await }.boxed();
        match self.healer.examine(&account.name, path, &used.token, probe).await {
            Some(Probe::Dead) => account.renew(used).await.ok().filter(|renewed| !renewed.is(used)),
            _ => None,
        }
    }

    /// Asks WeChat whether `token` is alive.
    async fn probe(&self, hosts: &Hosts, token: &RealToken) -> Probe {
        let query = query::appended("", "access_token", token.token.expose_secret());
        let head = Head { method: Method::GET, path: PROBE_PATH, query: &query, headers: &HeaderMap::new() };
        let exchange = async { read(self.upstream.send(hosts, &head, Bytes::new()).await?).await };
        let Ok(Ok(Reply { status: 200, body: Received::Whole(body), .. })) = timeout(PROBE_TIMEOUT, exchange).await else {
            return Probe::Unclear;
        };
        match Verdict::read(&body) {
            verdict if verdict.is_stale_token() => Probe::Dead,
            Verdict { errcode: None, .. } if body.trim_ascii_start().starts_with(b"{") => Probe::Alive,
            _ => Probe::Unclear,
        }
    }
}

/// An answer whose beginning was read.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Received,
}

enum Received {
    Whole(Bytes),
    Longer { first: Bytes, rest: Incoming },
}

/// Reads a short answer whole, and of a longer one the beginning.
async fn read(response: Response<Incoming>) -> Result<Reply, SendError> {
    let (parts, mut body) = response.into_parts();
    let (status, headers) = (parts.status.as_u16(), parts.headers);
    if content_length(&headers).is_some_and(|length| length > READ_WHOLE as u64) {
        return Ok(Reply { status, headers, body: Received::Longer { first: Bytes::new(), rest: body } });
    }
    let mut first = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| SendError::NoAnswer(wechat::chain(&error)))?;
        first.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if first.len() > READ_WHOLE {
            return Ok(Reply { status, headers, body: Received::Longer { first: first.freeze(), rest: body } });
        }
    }
    Ok(Reply { status, headers, body: Received::Whole(first.freeze()) })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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
    fn is_encoded(&self) -> bool {
        self.headers.contains_key(header::CONTENT_ENCODING)
    }

    fn passed_on(
        self,
        secrets: &[&str],
        mut audit: Box<Audit>,
        place: Option<Place>,
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
                Some(clean) => drop(clean.as_slice().try_into().map(|clean| headers.append(name.clone(), clean))),
            }
        }
        headers.entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-store"));
        let body = match self.body {
            Received::Whole(bytes) => {
                let clean = if is_encoded { None } else { scrubbed(&bytes, secrets).map(Bytes::from) };
                let bytes = clean.unwrap_or(bytes);
                audit.bytes_out = bytes.len() as u64;
                audit.took = began.until(inner.clock.steady());
                drop((audit, place));
                AnswerBody::Whole(bytes)
            }
            Received::Longer { first, rest } => {
                let (sender, receiver) = mpsc::channel(1);
                tokio::spawn(pump(first, rest, sender, audit, place, inner, began));
                AnswerBody::Stream(receiver, length)
            }
        };
        Answer { status: self.status, headers, body }
    }
}

/// Passes an answer on, piece by piece, until either side ends or stalls.
async fn pump(
    first: Bytes,
    mut rest: Incoming,
    sender: mpsc::Sender<io::Result<Bytes>>,
    mut audit: Box<Audit>,
    _place: Option<Place>,
    inner: Arc<Inner>,
    began: SteadyMillis,
) {
    let mut next = (!first.is_empty()).then_some(Ok(first));
    loop {
        let piece = match next.take() {
            Some(piece) => piece,
            None => match timeout(STALL, rest.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(data),
                    Err(_) => continue,
                },
                Ok(Some(Err(error))) => Err(io::Error::other(error)),
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            },
        };
        let (is_error, length) = (piece.is_err(), piece.as_ref().map_or(0, Bytes::len));
        let was_taken = matches!(timeout(STALL, sender.send(piece)).await, Ok(Ok(())));
        if is_error || !was_taken {
            audit.status = None;
            break;
        }
        audit.bytes_out += length as u64;
    }
    audit.took = began.until(inner.clock.steady());
}
