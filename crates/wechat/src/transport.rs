//! The transport for WeChat calls: HTTP over one of several hosts. It does not interpret requests
//! or answers, so a test can replace it without a network.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use reqwest::{Client, RequestBuilder};
use url::Url;

use super::observe::{self, CallOutcome, CallReport, Watch};
use super::{Call, ClientError, WechatError, reply};
use clock::{SteadyMillis, UnixSeconds};

/// Maximum length of an answer; a longer one is truncated and counts as unreadable.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// One call.
pub struct Request<'a> {
    /// The path, the same on every host: `/cgi-bin/token`.
    pub path: &'a str,
    /// The decoded query. Contains secrets.
    pub query: &'a [(&'a str, &'a str)],
    /// The JSON body of a `POST`; `None` makes it a `GET`.
    pub json: Option<String>,
}

/// Prints the path only: everything else may be secret.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Sends calls. The caller enforces the timeout by dropping the future.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends `request` and returns the answer's HTTP status and body. Does not retry a call that
    /// may have arrived, because it may have issued a token.
    fn send<'a>(
        &'a self,
        request: Request<'a>,
    ) -> BoxFuture<'a, Result<(u16, Vec<u8>), WechatError>>;
}

/// HTTP to WeChat's hosts.
#[derive(Debug)]
pub(super) struct HttpTransport {
    http: Client,
    hosts: Vec<Url>,
    timeout: Duration,
    /// The host that answered last, so that an unreachable first host is not tried on every call.
    preferred: AtomicUsize,
    calls: AtomicUsize,
    watch: Option<Watch>,
}

/// After this many calls the first host is tried again.
const RETRY_FIRST_HOST_EVERY: usize = 64;

impl HttpTransport {
    /// Creates a client that tries `hosts` in order on connection failures. `timeout` covers all of
    /// them together.
    pub(super) fn new(hosts: Vec<Url>, timeout: Duration) -> Result<Self, ClientError> {
        let shares = u32::try_from(hosts.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let mut http = Client::builder()
            .user_agent(concat!("jsdkd/", env!("CARGO_PKG_VERSION")))
            // A redirect would send a secret to a host that is not configured.
            .redirect(reqwest::redirect::Policy::none())
            // Each host gets a share of the timeout, so that one that drops packets does not use it
            // all.
            .connect_timeout(timeout / shares)
            .pool_idle_timeout(Duration::from_secs(30));
        if hosts.iter().all(is_loopback) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| ClientError::of(&error))?;
        Ok(Self {
            http,
            hosts,
            timeout,
            preferred: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            watch: None,
        })
    }

    /// The same with an observer.
    pub(super) fn watched(self, watch: Watch) -> Self {
        Self {
            watch: Some(watch),
            ..self
        }
    }

    async fn send_to_hosts(&self, request: Request<'_>) -> Result<(u16, Vec<u8>), WechatError> {
        let mut last = WechatError::Unreachable {
            cause: "no host is configured".to_owned(),
        };
        let first = self.first_host();
        for turn in 0..self.hosts.len() {
            let host = (first + turn) % self.hosts.len();
            match self.exchange_with(&self.hosts[host], &request).await {
                Ok(answer) => {
                    self.preferred.store(host, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) if error.is_connect() => {
                    last = WechatError::Unreachable {
                        cause: chain(&error.without_url()),
                    }
                }
                Err(error) if error.is_timeout() => {
                    return Err(WechatError::TimedOut {
                        after: self.timeout,
                    });
                }
                Err(error) => {
                    return Err(WechatError::Broken {
                        cause: chain(&error.without_url()),
                    });
                }
            }
        }
        Err(last)
    }

    /// One exchange with one host, reported to the observer.
    async fn exchange_with(
        &self,
        host: &Url,
        request: &Request<'_>,
    ) -> Result<(u16, Vec<u8>), reqwest::Error> {
        let begun = self.watch.as_ref().map(|watch| Pending {
            watch,
            host,
            call: observe::name_of(request.path),
            begun: watch.clock.steady(),
            is_reported: false,
        });
        let answer = exchange_dated(self.request(host, request)).await;
        if let Some(pending) = begun {
            match &answer {
                Ok((status, body, date)) => pending.report(outcome_of(*status, body), *date),
                Err(error) if error.is_connect() => pending.report(CallOutcome::Unreachable, None),
                Err(_) => pending.report(CallOutcome::NoAnswer, None),
            }
        }
        answer.map(|(status, body, _)| (status, body))
    }

    fn first_host(&self) -> usize {
        if self
            .calls
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(RETRY_FIRST_HOST_EVERY)
        {
            self.preferred.store(0, Ordering::Relaxed);
        }
        self.preferred.load(Ordering::Relaxed)
    }

    fn request(&self, host: &Url, request: &Request<'_>) -> RequestBuilder {
        let mut url = host.clone();
        url.set_path(&format!(
            "{}{}",
            host.path().trim_end_matches('/'),
            request.path
        ));
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        match &request.json {
            None => self.http.get(url),
            Some(body) => self
                .http
                .post(url)
                .header("content-type", "application/json")
                .body(body.clone()),
        }
    }
}

impl Transport for HttpTransport {
    fn send<'a>(
        &'a self,
        request: Request<'a>,
    ) -> BoxFuture<'a, Result<(u16, Vec<u8>), WechatError>> {
        self.send_to_hosts(request).boxed()
    }
}

/// A call whose end is to be reported. The caller enforces the timeout by dropping the future, so a
/// call that is dropped had no answer.
struct Pending<'a> {
    watch: &'a Watch,
    host: &'a Url,
    call: &'static str,
    begun: SteadyMillis,
    is_reported: bool,
}

impl Pending<'_> {
    fn report(mut self, outcome: CallOutcome, date: Option<UnixSeconds>) {
        self.is_reported = true;
        self.tell(outcome, date);
    }

    fn tell(&self, outcome: CallOutcome, date: Option<UnixSeconds>) {
        let host = &self.host[url::Position::BeforeHost..url::Position::AfterPort];
        let took = self.begun.until(self.watch.clock.steady());
        self.watch.observer.call_ended(&CallReport {
            host,
            call: self.call,
            outcome,
            took,
            date,
        });
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.is_reported {
            self.tell(CallOutcome::NoAnswer, None);
        }
    }
}

/// What an answer says; whether a credential is in it does not matter here.
fn outcome_of(status: u16, body: &[u8]) -> CallOutcome {
    match reply::success(Call::WithToken, status, body, &[]) {
        Ok(_) => CallOutcome::Ok,
        Err(WechatError::Refused { .. }) => CallOutcome::Refused,
        Err(_) => CallOutcome::Unreadable,
    }
}

/// Performs one exchange; truncates a body over the maximum length.
pub async fn exchange(request: RequestBuilder) -> Result<(u16, Vec<u8>), reqwest::Error> {
    let (status, body, _) = exchange_dated(request).await?;
    Ok((status, body))
}

async fn exchange_dated(
    request: RequestBuilder,
) -> Result<(u16, Vec<u8>, Option<UnixSeconds>), reqwest::Error> {
    let mut response = request.send().await?;
    let status = response.status().as_u16();
    let date = observe::date_of(response.headers());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_BODY_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            break;
        }
    }
    Ok((status, body, date))
}

/// True if `host` is this machine, which must be called without a proxy.
pub fn is_loopback(host: &Url) -> bool {
    match host.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Formats an error and its causes on one line; the last cause is usually the useful one.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
