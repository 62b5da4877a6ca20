//! One call to a source's service: sent within a bound, the answer read. It keeps nothing; when to
//! call is for the engine to say.

use std::time::Duration;

use reqwest::Client;

use super::error::UpstreamError;
use super::reply;
use super::request::{Request, Results};
use super::source::Source;
use crate::engine::Granted;
use wechat::{ClientError, chain, exchange, is_loopback};

/// A client of all services.
pub(super) struct SourceClient {
    outside: Client,
    /// For this machine, which no proxy leads to.
    inside: Client,
    timeout: Duration,
}

impl SourceClient {
    pub(super) fn new(timeout: Duration) -> Result<Self, ClientError> {
        let builder = || {
            let named = Client::builder().user_agent(concat!("jsdkd/", env!("CARGO_PKG_VERSION")));
            // A redirect would send a secret to a host that is not configured.
            named
                .redirect(reqwest::redirect::Policy::none())
                .pool_idle_timeout(Duration::from_secs(30))
        };
        let outside = builder().build().map_err(|error| ClientError::of(&error))?;
        let inside = builder()
            .no_proxy()
            .build()
            .map_err(|error| ClientError::of(&error))?;
        Ok(Self {
            outside,
            inside,
            timeout,
        })
    }

    /// Asks `source`'s service. A call that may have arrived is not repeated: it may have voided
    /// what was granted before.
    pub(super) async fn fetch(
        &self,
        source: &Source,
        results: &Results,
    ) -> Result<Granted, UpstreamError> {
        let Request {
            url,
            headers,
            body,
            sent,
        } = Request::of(source, results)?;
        let client = if is_loopback(&url) {
            &self.inside
        } else {
            &self.outside
        };
        let mut request = client.request(source.method.clone(), url).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let exchange = async {
            match exchange(request).await {
                Ok((status, body)) => reply::read(source, status, &body, &sent),
                Err(error) if error.is_timeout() => Err(UpstreamError::TimedOut {
                    after: self.timeout,
                }),
                Err(error) if error.is_builder() => Err(UpstreamError::Unsendable {
                    cause: chain(&error.without_url()),
                }),
                Err(error) => Err(UpstreamError::Unreachable {
                    cause: chain(&error.without_url()),
                }),
            }
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .unwrap_or(Err(UpstreamError::TimedOut {
                after: self.timeout,
            }))
    }
}
