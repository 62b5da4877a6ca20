//! Connections to WeChat's hosts: straight, or through the proxy that the environment names for all
//! of jsdkd's calls (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{error, io};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper::http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::ClientConfig;
use tokio::time::timeout;
use tower_service::Service;

/// How long one host may take to accept a TCP connection.
const CONNECT: Duration = Duration::from_secs(4);

/// How long a whole connection may take, its proxy's and TLS's handshakes included.
const HANDSHAKES: Duration = Duration::from_secs(8);

type BoxError = Box<dyn error::Error + Send + Sync>;

/// Opens connections.
pub(super) struct Connector {
    tcp: HttpConnector,
    tls: Arc<ClientConfig>,
    proxies: Matcher,
}

/// A connection on which HTTP can be spoken.
pub(super) type Stream = MaybeHttpsStream<Tcp>;

impl Connector {
    /// `Err` if the system's trusted roots cannot be used.
    pub(super) fn new() -> io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(ConfigBuilderExt::try_with_platform_verifier)
            .map_err(io::Error::other)?
            .with_no_client_auth();
        Ok(Self {
            tcp,
            tls: Arc::new(tls),
            proxies: Matcher::from_env(),
        })
    }

    /// The proxy that leads to `to`, if one does.
    pub(super) fn proxy(&self, to: &Uri) -> Option<Intercept> {
        self.proxies.intercept(to)
    }

    /// A connection to `to`, through `proxy` if there is one.
    pub(super) async fn connect(
        &self,
        to: &Uri,
        proxy: Option<&Intercept>,
    ) -> Result<Stream, String> {
        let road = Road {
            tcp: self.tcp.clone(),
            tls: Arc::clone(&self.tls),
            proxy: proxy.cloned(),
        };
        let mut https = HttpsConnector::from((road, Arc::clone(&self.tls)));
        let connecting = https.call(to.clone());
        match timeout(HANDSHAKES, connecting).await {
            Ok(connected) => connected.map_err(|error| wechat::chain(&*error)),
            Err(_) => Err("the connection took too long".to_owned()),
        }
    }
}

/// Whether calls to `to` through `proxy` are sent to the proxy itself, which then needs the whole
/// address and its own authorization.
pub(super) fn is_forwarded_by(proxy: &Intercept, to: &Uri) -> bool {
    to.scheme() != Some(&Scheme::HTTPS)
        && !proxy
            .uri()
            .scheme_str()
            .is_some_and(|scheme| scheme.starts_with("socks"))
}

/// The way to a host, up to where TLS begins.
#[derive(Clone)]
struct Road {
    tcp: HttpConnector,
    tls: Arc<ClientConfig>,
    proxy: Option<Intercept>,
}

impl Service<Uri> for Road {
    type Response = Tcp;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Tcp, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        self.clone().open(to).boxed()
    }
}

impl Road {
    async fn open(mut self, to: Uri) -> Result<Tcp, BoxError> {
        let Some(proxy) = self.proxy else {
            return Ok(Tcp::new(self.tcp.call(to).await?));
        };
        let at = proxy.uri().clone();
        let scheme = at.scheme_str().unwrap_or_default().to_owned();
        if let Some(version) = scheme.strip_prefix("socks") {
            let to = with_port(&to, matches!(version, "4" | "5")).await?;
            if version.starts_with('4') {
                return Ok(Tcp::new(SocksV4::new(at, self.tcp).call(to).await?));
            }
            let mut socks = SocksV5::new(at, self.tcp);
            if let Some((user, password)) = proxy.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            return Ok(Tcp::new(socks.call(to).await?));
        }
        let mut to_proxy = HttpsConnector::from((self.tcp, self.tls));
        if is_forwarded_by(&proxy, &to) {
            return Ok(Tcp::new(to_proxy.call(at).await?));
        }
        let mut tunnel = Tunnel::new(at, to_proxy);
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        Ok(Tcp::new(tunnel.call(to).await?))
    }
}

/// `to` with its port, which hyper-util takes for 443 if it is not written. For proxies that are not
/// asked to look names up, an address is put in the name's place.
async fn with_port(to: &Uri, is_resolved: bool) -> Result<Uri, BoxError> {
    let host = to.host().ok_or("the address has no host")?;
    let usual = match to.scheme() == Some(&Scheme::HTTPS) {
        true => 443,
        false => 80,
    };
    let port = to.port_u16().unwrap_or(usual);
    let scheme = to.scheme_str().unwrap_or("http");
    if !is_resolved {
        return Ok(format!("{scheme}://{host}:{port}").parse()?);
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut found = tokio::net::lookup_host((bare, port)).await?;
    let address = found.next().ok_or("the host has no address")?;
    Ok(format!("{scheme}://{address}").parse()?)
}

/// The stream below TLS.
pub(super) struct Tcp(Box<dyn ReadAndWrite>);

trait ReadAndWrite: Read + Write + Unpin + Send {}

impl<T: Read + Write + Unpin + Send> ReadAndWrite for T {}

impl Tcp {
    fn new(stream: impl Read + Write + Unpin + Send + 'static) -> Self {
        Self(Box::new(stream))
    }
}

impl Connection for Tcp {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }
}
