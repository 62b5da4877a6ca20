//! The client through which calls are forwarded. It has its own connections, so that renewals never
//! wait behind forwarded calls. It follows no redirect, decompresses nothing, and sends path and
//! query byte for byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_util::client::proxy::matcher::Intercept;
use secrecy::{ExposeSecret, SecretString};
use url::{Position, Url};

use super::body::Body;
use super::connect::{Connector, is_forwarded_by};
use super::connection::{Arriving, Connection, Pool};
use super::first_line::FirstLine;
use super::query;

/// Why no answer came.
#[derive(Debug)]
pub(super) enum SendError {
    /// No connection: nothing was sent.
    NotSent(String),
    /// The call may have arrived.
    NoAnswer(String),
}

/// The hosts of one service, tried in order on a connection failure.
pub(super) struct Hosts {
    bases: Vec<Base>,
    /// The host that accepted a connection last.
    preferred: AtomicUsize,
}

impl Hosts {
    /// The host that accepted a connection last, with its port if it is not the scheme's own.
    pub(super) fn name(&self) -> &str {
        let index = self.preferred.load(Relaxed) % self.bases.len().max(1);
        self.bases
            .get(index)
            .and_then(|base| base.host.to_str().ok())
            .unwrap_or("-")
    }
}

struct Base {
    /// Scheme, host and port.
    uri: Uri,
    host: HeaderValue,
    /// What stands in front of WeChat's path: the base's own path without a slash at its end, and
    /// for a proxy that forwards plain HTTP the whole address.
    front: String,
    proxy: Option<Intercept>,
    /// Sent with each call to a proxy that forwards plain HTTP.
    proxy_authorization: Option<HeaderValue>,
    pool: Arc<Pool>,
}

/// One call, without its body.
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a [u8],
    /// Put last in the query as `access_token`.
    pub(super) token: Option<&'a SecretString>,
    pub(super) headers: &'a HeaderMap,
}

/// The client.
pub(super) struct Upstream(Connector);

impl Upstream {
    /// `Err` if the system's trusted roots cannot be used.
    pub(super) fn new() -> std::io::Result<Self> {
        Connector::new().map(Self)
    }

    /// The hosts at `urls`, which are http or https.
    pub(super) fn hosts<'u>(&self, urls: impl IntoIterator<Item = &'u Url> + Clone) -> Hosts {
        // No proxy leads to this machine.
        let is_here = urls.clone().into_iter().all(wechat::is_loopback);
        Hosts {
            bases: urls
                .into_iter()
                .filter_map(|url| self.base(url, is_here))
                .collect(),
            preferred: AtomicUsize::new(0),
        }
    }

    fn base(&self, url: &Url, is_here: bool) -> Option<Base> {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let address = format!("{}://{host}", url.scheme());
        let uri: Uri = address.parse().ok()?;
        let proxy = if is_here { None } else { self.0.proxy(&uri) };
        let forwarding = proxy.as_ref().filter(|proxy| is_forwarded_by(proxy, &uri));
        let path = url.path().trim_end_matches('/');
        Some(Base {
            host: host.parse().ok()?,
            front: match forwarding {
                Some(_) => format!("{address}{path}"),
                None => path.to_owned(),
            },
            proxy_authorization: forwarding.and_then(|proxy| proxy.basic_auth().cloned()),
            pool: Arc::default(),
            uri,
            proxy,
        })
    }

    /// Sends a call whose body is at hand; the next host is tried when one cannot be reached.
    pub(super) async fn send(
        &self,
        hosts: &Hosts,
        head: &Head<'_>,
        body: Bytes,
    ) -> Result<Response<Arriving>, SendError> {
        let mut last = SendError::NotSent("no host is configured".to_owned());
        let first = hosts.preferred.load(Relaxed);
        for turn in 0..hosts.bases.len() {
            let host = (first + turn) % hosts.bases.len();
            match self
                .send_once(&hosts.bases[host], head, Body::Whole(body.clone()))
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
        body: Body,
    ) -> Result<Response<Arriving>, SendError> {
        let base = hosts
            .bases
            .get(hosts.preferred.load(Relaxed) % hosts.bases.len().max(1));
        let base = base.ok_or_else(|| SendError::NotSent("no host is configured".to_owned()))?;
        let sent = self.send_once(base, head, body).await;
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
    ) -> Result<Response<Arriving>, SendError> {
        let (uri, line) = target(base, head)?;
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = head.headers.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, base.host.clone());
        if let Some(authorization) = &base.proxy_authorization {
            headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        loop {
            let waiting = match line {
                None => base.pool.take(),
                Some(_) => None,
            };
            let was_waiting = waiting.is_some();
            let mut connection = match waiting {
                Some(connection) => connection,
                None => Box::pin(self.open(base, line.clone())).await?,
            };
            let mut error = match connection.send(request).await {
                Ok(answer) => {
                    let pool = line.is_none().then(|| Arc::clone(&base.pool));
                    return Ok(answer.map(|body| Arriving::new(body, connection, pool)));
                }
                Err(error) => error,
            };
            // A host may close a connection that waits. Only a call of which no byte was written is
            // sent again.
            match error.take_message() {
                Some(unsent) if was_waiting => request = unsent,
                Some(_) => return Err(SendError::NotSent(wechat::chain(error.error()))),
                None => return Err(SendError::NoAnswer(wechat::chain(error.error()))),
            }
        }
    }

    /// A new connection.
    async fn open(&self, base: &Base, line: Option<Bytes>) -> Result<Connection, SendError> {
        let stream = self.0.connect(&base.uri, base.proxy.as_ref()).await;
        let stream = FirstLine::new(stream.map_err(SendError::NotSent)?, line);
        Connection::new(stream)
            .await
            .map_err(|error| SendError::NotSent(wechat::chain(&error)))
    }
}

/// The address of a call. If hyper's type refuses some of its bytes, they have a stand-in there, and
/// the request line with all bytes stands beside it.
fn target(base: &Base, head: &Head<'_>) -> Result<(Uri, Option<Bytes>), SendError> {
    let token = head.token.map_or("", |token| token.expose_secret());
    let length = base.front.len() + head.path.len() + head.query.len() + token.len();
    let mut target = Vec::with_capacity(length + 16);
    target.extend_from_slice(base.front.as_bytes());
    target.extend_from_slice(head.path.as_bytes());
    if !head.query.is_empty() || head.token.is_some() {
        target.push(b'?');
        let query_at = target.len();
        target.extend_from_slice(head.query);
        if head.token.is_some() {
            query::append(&mut target, query_at, "access_token", token);
        }
    }
    let target = Bytes::from(target);
    if let Ok(uri) = Uri::from_maybe_shared(target.clone()) {
        return Ok((uri, None));
    }
    let line = [
        head.method.as_str().as_bytes(),
        b" ",
        &target,
        b" HTTP/1.1\r\n",
    ]
    .concat();
    let plain: Vec<u8> = target
        .iter()
        .map(|byte| match byte {
            b'"' | b'<' | b'>' | 0x80.. => b'~',
            byte => *byte,
        })
        .collect();
    Uri::from_maybe_shared(Bytes::from(plain))
        .map(|uri| (uri, Some(Bytes::from(line))))
        .map_err(|error| SendError::NotSent(error.to_string()))
}
