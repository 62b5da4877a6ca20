//! What to do after WeChat refused a token (40001 and the like): probe whether it is really dead,
//! and renew it if so. `heal` says how often.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::SteadyMillis;
use futures_util::FutureExt;
use hyper::{HeaderMap, Method};
use tokio::time::timeout;
use wechat::{CallOutcome, CallReport};

use super::Inner;
use super::accounts::{Account, RealToken};
use super::answer::Verdict;
use super::heal::Probe;
use super::reply::{Received, Reply};
use super::upstream::{Head, Hosts, SendError};

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The path that probes a token: it changes nothing and every account may call it, WeCom's too.
const PROBE_PATH: &str = "/cgi-bin/getcallbackip";

impl Inner {
    /// The token to send again with, if the rules allow it.
    pub(super) async fn heal(
        self: &Arc<Self>,
        account: &Account,
        hosts: &Arc<Hosts>,
        path: &str,
        used: &RealToken,
    ) -> Option<RealToken> {
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
        match self
            .healer
            .examine(&account.name, path, used.token(), probe)
            .await
        {
            Some(Probe::Dead) => account
                .renew(used)
                .await
                .ok()
                .filter(|renewed| !renewed.is(used)),
            _ => None,
        }
    }

    /// Counts one exchange with WeChat.
    pub(super) fn count_call(
        &self,
        call: &'static str,
        hosts: &Hosts,
        begun: SteadyMillis,
        outcome: CallOutcome,
        reply: Option<&Reply>,
    ) {
        self.counters.count_call(&CallReport {
            host: hosts.name(),
            call,
            outcome,
            took: begun.until(self.clock.steady()),
            date: reply.and_then(Reply::date),
        });
    }

    /// Asks WeChat whether `token` is alive.
    async fn probe(&self, hosts: &Hosts, token: &RealToken) -> Probe {
        let head = Head {
            method: &Method::GET,
            path: PROBE_PATH,
            query: b"",
            token: Some(token.token()),
            headers: &HeaderMap::new(),
        };
        let exchange = async {
            Reply::read(
                self.upstream.send(hosts, &head, Bytes::new()).await?,
                &Method::GET,
            )
            .await
        };
        let begun = self.clock.steady();
        let exchanged = timeout(PROBE_TIMEOUT, exchange).await;
        let (outcome, reply) = match &exchanged {
            Ok(Ok(reply)) => (outcome_of(&reply.verdict()), Some(reply)),
            Ok(Err(SendError::NotSent(_))) => (CallOutcome::Unreachable, None),
            Ok(Err(SendError::NoAnswer(_))) | Err(_) => (CallOutcome::NoAnswer, None),
        };
        self.count_call("probe", hosts, begun, outcome, reply);
        let Ok(Ok(Reply {
            status: 200,
            body: Received::Whole(body),
            ..
        })) = exchanged
        else {
            return Probe::Unclear;
        };
        match Verdict::read(&body) {
            verdict if verdict.is_stale_token() => Probe::Dead,
            Verdict { errcode: None, .. } if body.trim_ascii_start().starts_with(b"{") => {
                Probe::Alive
            }
            _ => Probe::Unclear,
        }
    }
}

/// The outcome of a call that WeChat answered.
pub(super) fn outcome_of(verdict: &Verdict) -> CallOutcome {
    match verdict.errcode {
        Some(_) => CallOutcome::Refused,
        None => CallOutcome::Ok,
    }
}
