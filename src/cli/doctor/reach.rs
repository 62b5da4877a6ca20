//! Tries the way to one address step by step: DNS, TCP, TLS, HTTP. What fails is named by its step.

use std::net::IpAddr;
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::HeaderMap;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

use super::cure::Cure;

/// The most bytes that are read of an answer.
const MOST: usize = 4096;

/// Where a connection fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Dns,
    Tcp,
    Tls,
    Http,
}

/// What failed, and what to do.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) step: Step,
    pub(super) what: String,
    pub(super) cure: Cure,
}

/// An answer of any status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Its beginning.
    pub(super) body: Vec<u8>,
}

/// How this machine reaches others.
pub(super) struct Network {
    pub(super) timeout: Duration,
    proxies: Matcher,
}

impl Network {
    /// With the proxies that the environment names.
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            proxies: Matcher::from_env(),
        }
    }

    /// The proxy that leads to `url`, if one does. This machine is reached without.
    pub(super) fn proxy(&self, url: &Url) -> Option<Url> {
        if wechat::is_loopback(url) {
            return None;
        }
        let to: Uri = url.as_str().parse().ok()?;
        let proxy = self.proxies.intercept(&to)?;
        let uri = proxy.uri();
        let (scheme, host) = (uri.scheme_str().unwrap_or("http"), uri.host()?);
        let usual = match scheme {
            "http" => 80,
            "https" => 443,
            _ => 1080,
        };
        let port = uri.port_u16().unwrap_or(usual);
        // Without its user and password.
        format!("{scheme}://{host}:{port}").parse().ok()
    }

    /// Asks for `url` as jsdkd's own calls do; with `direct`, past any proxy.
    pub(super) async fn get(&self, url: &Url, direct: bool) -> Result<Answer, Trouble> {
        let proxy = self.proxy(url).filter(|_| !direct);
        if proxy.is_none() {
            self.connect(url).await?;
        }
        let client = reqwest::Client::builder()
            .timeout(self.timeout)
            .user_agent(concat!("jsdkd/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none());
        let client = match proxy {
            Some(_) => client,
            None => client.no_proxy(),
        };
        let client = client.build().map_err(|error| Trouble {
            step: Step::Tls,
            what: format!("TLS: {}", wechat::chain(&error)),
            cure: ROOTS.into(),
        })?;
        let asked = async {
            let mut answer = client.get(url.clone()).send().await?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                let room = MOST - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if body.len() == MOST {
                    break;
                }
            }
            Ok(Answer {
                status,
                headers,
                body,
            })
        };
        asked.await.map_err(|error: reqwest::Error| {
            let is_connect = error.is_connect();
            let cause = wechat::chain(&error.without_url());
            trouble(url, proxy.as_ref(), is_connect, &cause)
        })
    }

    /// Resolves the name and connects.
    pub(super) async fn connect(&self, url: &Url) -> Result<(), Trouble> {
        let name = host_of(url);
        let port = url.port_or_known_default().unwrap_or(1080);
        let found = timeout(self.timeout, lookup_host((name, port))).await;
        let trouble = |step, what, cure: [&'static str; 2]| Trouble {
            step,
            what,
            cure: cure.into(),
        };
        let addresses: Vec<_> = match found {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => {
                let what = format!("DNS: {name} is not found: {error}");
                return Err(trouble(Step::Dns, what, NO_NAME));
            }
            Err(_) => {
                let what = format!("DNS: no answer about {name} in time");
                return Err(trouble(Step::Dns, what, NO_NAME));
            }
        };
        let connected = timeout(self.timeout, TcpStream::connect(addresses.as_slice())).await;
        let cause = match connected {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        let what = format!("TCP: {name} port {port} cannot be reached: {cause}");
        Err(trouble(Step::Tcp, what, NO_WAY))
    }
}

/// `true` for an address, which needs no DNS.
pub(super) fn is_address(url: &Url) -> bool {
    host_of(url).parse::<IpAddr>().is_ok()
}

fn host_of(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

const NO_NAME: [&str; 2] = [
    "correct the name in the settings, or the name server in /etc/resolv.conf; in a container, its dns option",
    "改正配置里的主机名，或者 /etc/resolv.conf 里的 DNS 服务器；在容器里，改它的 dns 选项",
];

const NO_WAY: [&str; 2] = [
    "let a firewall pass outgoing connections to it, or set HTTPS_PROXY; if it is yours, start it",
    "让防火墙放行到它的连接，或设置 HTTPS_PROXY；如果是自己的服务，启动它",
];

const ROOTS: [&str; 2] = [
    "install ca-certificates; a proxy that breaks TLS open needs its authority among the system's trusted roots; a server of your own must send its whole chain (fullchain.pem)",
    "安装 ca-certificates；会解开 TLS 的代理，要把它的 CA 加进系统信任的根证书；自己的服务器要发送完整的证书链（fullchain.pem）",
];

/// A request that found a way and got no answer.
fn trouble(url: &Url, proxy: Option<&Url>, is_connect: bool, cause: &str) -> Trouble {
    let origin = url.origin().ascii_serialization();
    let is_certificate = cause.contains("certificate");
    if let Some(proxy) = proxy.filter(|_| !is_certificate) {
        return Trouble {
            step: Step::Http,
            what: format!("through the proxy {proxy}, {origin} gives no answer: {cause}"),
            cure: [
                "let that proxy pass connections to it, or name the host in NO_PROXY",
                "让代理放行到它的连接，或把主机名写进 NO_PROXY",
            ]
            .into(),
        };
    }
    // DNS and TCP work.
    if url.scheme() == "https" && (is_connect || is_certificate) {
        return Trouble {
            step: Step::Tls,
            what: format!("TLS: no secure connection to {origin}: {cause}"),
            cure: certificate(cause).into(),
        };
    }
    Trouble {
        step: Step::Http,
        what: format!("HTTP: {origin} gives no answer: {cause}"),
        cure: [
            "look at that server's log; a firewall may cut the connection",
            "查看那台服务器的日志；也可能是防火墙切断了连接",
        ]
        .into(),
    }
}

/// What to do about a certificate, by the library's words.
fn certificate(cause: &str) -> [&'static str; 2] {
    let says = |words: &[&str]| words.iter().any(|word| cause.contains(word));
    if says(&["Expired", "expired"]) {
        [
            "the certificate has expired: renew it (certbot renew) and reload the web server; if it is new, this machine's clock is wrong",
            "证书已过期：续期（certbot renew）并重新加载 Web 服务器；如果证书是新的，就是本机时钟不对",
        ]
    } else if says(&["NotValidYet", "not valid yet", "not valid before"]) {
        [
            "the certificate is not valid yet: set this machine's clock",
            "证书还没有生效：校准本机时钟",
        ]
    } else if says(&["NotValidForName", "not valid for name"]) {
        [
            "the certificate is for another name: add this name to it, or correct the address in the settings",
            "证书不是给这个域名的：把域名加进证书，或改正配置里的地址",
        ]
    } else {
        ROOTS
    }
}
