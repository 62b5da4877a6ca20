//! The client through which calls are forwarded. It has its own connections, so that renewals never
//! wait behind forwarded calls. It follows no redirect, decompresses nothing, and sends path and
//! query byte for byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::mpsc;
use url::Url;

/// The body of a call.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A connection that was idle for longer is not used again.
const IDLE: Duration = Duration::from_secs(30);

/// What one connection reads or writes ahead. It is also the longest head of an answer.
const BUFFER: usize = 16 * 1024;

/// How long one host may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(4);

/// Why no answer came.
#[derive(Debug)]
pub(super) enum SendError {
    /// No connection: nothing was sent.
    NotSent(String),
    /// The call may have arrived.
    NoAnswer(String),
}

/// The hosts of one service, tried in order on a connection failure.
#[derive(Debug)]
pub(super) struct Hosts {
    bases: Vec<Base>,
    /// The host that accepted a connection last.
    preferred: AtomicUsize,
}

#[derive(Debug)]
struct Base {
    scheme: Scheme,
    authority: Authority,
    /// The path in front of WeChat's own, without a slash at its end.
    path: String,
}

impl Hosts {
    /// The hosts at `urls`, which are http or https.
    pub(super) fn new<'u>(urls: impl IntoIterator<Item = &'u Url>) -> Self {
        let base = |url: &Url| {
            let authority = url[url::Position::BeforeHost..url::Position::AfterPort]
                .parse()
                .ok()?;
            let scheme = if url.scheme() == "http" {
                Scheme::HTTP
            } else {
                Scheme::HTTPS
            };
            Some(Base {
                scheme,
                authority,
                path: url.path().trim_end_matches('/').to_owned(),
            })
        };
        Self {
            bases: urls.into_iter().filter_map(base).collect(),
            preferred: AtomicUsize::new(0),
        }
    }
}

impl Hosts {
    /// The host that accepted a connection last.
    pub(super) fn name(&self) -> &str {
        let index = self.preferred.load(Relaxed) % self.bases.len().max(1);
        self.bases
            .get(index)
            .map_or("-", |base| base.authority.as_str())
    }
}

/// A body that is still arriving.
pub(super) struct Arriving {
    pub(super) chunks: mpsc::Receiver<std::io::Result<Bytes>>,
    /// How many of its bytes were sent.
    pub(super) count: Arc<AtomicU64>,
}

/// One call, without its body.
pub(super) struct Head<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
}

/// The client; clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Upstream(Client<HttpsConnector<HttpConnector>, Body>);

impl Upstream {
    /// `Err` if the system's trusted roots cannot be used.
    pub(super) fn new() -> std::io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())
            .map_err(std::io::Error::other)?;
        let connector = https.https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(BUFFER)
            // Only a call of which no byte was written is sent again, on another connection.
            .retry_canceled_requests(true)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a call whose body is at hand; the next host is tried when one cannot be reached.
    pub(super) async fn send(
        &self,
        hosts: &Hosts,
        head: &Head<'_>,
        body: Bytes,
    ) -> Result<Response<Incoming>, SendError> {
        let mut last = SendError::NotSent("no host is configured".to_owned());
        let first = hosts.preferred.load(Relaxed);
        for turn in 0..hosts.bases.len() {
            let host = (first + turn) % hosts.bases.len();
            match self
                .send_once(&hosts.bases[host], head, full(body.clone()))
                .await
            {
                Err(SendError::NotSent(why)) => last = SendError::NotSent(why),
                settled => {
                    hosts.preferred.store(host, Relaxed);
                    return settled;
                }
            }
        }
        Err(last)
    }

    /// Sends a call whose body is still arriving, to the host that accepted a connection last.
    pub(super) async fn send_stream(
        &self,
        hosts: &Hosts,
        head: &Head<'_>,
        body: Arriving,
    ) -> Result<Response<Incoming>, SendError> {
        let base = hosts
            .bases
            .get(hosts.preferred.load(Relaxed) % hosts.bases.len().max(1));
        let base = base.ok_or_else(|| SendError::NotSent("no host is configured".to_owned()))?;
        let frames = futures_util::stream::unfold(body, async |mut body| {
            let chunk = body.chunks.recv().await?;
            body.count
                .fetch_add(chunk.as_ref().map_or(0, Bytes::len) as u64, Relaxed);
            Some((chunk.map(Frame::data), body))
        });
        let sent = self
            .send_once(base, head, StreamBody::new(Box::pin(frames)).boxed_unsync())
            .await;
        if matches!(sent, Err(SendError::NotSent(_))) {
            hosts.preferred.fetch_add(1, Relaxed);
        }
        sent
    }

    async fn send_once(
        &self,
        base: &Base,
        head: &Head<'_>,
        body: Body,
    ) -> Result<Response<Incoming>, SendError> {
        let target = match head.query {
            "" => format!("{}{}", base.path, head.path),
            query => format!("{}{}?{query}", base.path, head.path),
        };
        let refused = |error: hyper::http::Error| SendError::NotSent(error.to_string());
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target))
            .map_err(|error| refused(error.into()))?;
        let uri = Uri::builder()
            .scheme(base.scheme.clone())
            .authority(base.authority.clone())
            .path_and_query(target);
        let mut request = Request::builder()
            .method(head.method.clone())
            .uri(uri.build().map_err(refused)?)
            .body(body)
            .map_err(refused)?;
        *request.headers_mut() = head.headers.clone();
        self.0
            .request(request)
            .await
            .map_err(|error| match error.is_connect() {
                true => SendError::NotSent(wechat::chain(&error)),
                false => SendError::NoAnswer(wechat::chain(&error)),
            })
    }
}

fn full(body: Bytes) -> Body {
    Full::new(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}
