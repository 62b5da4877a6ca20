//! One log line for each call, on the target `jsdkd::audit`. Never a query, a body, an openid or a
//! token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::refusal::Refusal;
use crate::counters::{Counters, EventKind, GatewayCall, GatewayOutcome};
use crate::realm::presets;

/// What the line says. It is written, and the call is counted, when this is dropped, so also for a
/// call that was cut off.
#[derive(Debug)]
pub struct Audit {
    /// The id in our log and in our refusals.
    pub request_id: String,
    /// The realm that called, once it is known.
    pub realm: Option<String>,
    /// The account that is called for, once it is known.
    pub account: Option<String>,
    /// The caller's address.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// The HTTP status of our answer; `None` if there was none.
    pub status: Option<u16>,
    /// WeChat's errcode or ours, unless it is zero.
    pub errcode: Option<i64>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// How long it took.
    pub took: Duration,
    /// Whether the call was sent again with another token.
    pub is_healed: bool,
    /// WeChat's id of the call.
    pub rid: Option<String>,
    /// What became of a call that we refused.
    refusal: Option<GatewayOutcome>,
    counters: Arc<Counters>,
}

impl Audit {
    /// Of a request that has just come.
    pub(super) fn new(
        request_id: &str,
        client: Option<IpAddr>,
        method: &str,
        path: &str,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            request_id: request_id.to_owned(),
            realm: None,
            account: None,
            client,
            method: method.to_owned(),
            path: path.to_owned(),
            status: None,
            errcode: None,
            bytes_in: 0,
            bytes_out: 0,
            took: Duration::ZERO,
            is_healed: false,
            rid: None,
            refusal: None,
            counters,
        }
    }

    /// The same for a call that was refused.
    pub fn refused(mut self: Box<Self>, refusal: &Refusal) -> Box<Self> {
        (self.status, self.errcode) = (Some(refusal.status()), Some(refusal.errcode()));
        self.refusal = Some(refusal.outcome());
        self
    }

    fn outcome(&self) -> GatewayOutcome {
        match (self.refusal, self.status, self.errcode) {
            (Some(refusal), ..) => refusal,
            (None, None, _) => GatewayOutcome::CutOff,
            (None, Some(_), Some(_)) => GatewayOutcome::Refused,
            (None, Some(_), None) if self.is_healed => GatewayOutcome::Healed,
            (None, Some(_), None) => GatewayOutcome::Ok,
        }
    }

    fn count(&self) {
        let call = GatewayCall {
            realm: self.realm.as_deref(),
            account: self.account.as_deref(),
            area: presets::area(&self.path),
            outcome: self.outcome(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
        };
        self.counters.count_gateway(&call);
        if self.is_healed {
            let account = self.account.as_deref();
            self.counters.note(EventKind::Healed, account, None);
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.count();
        tracing::info!(
            target: "jsdkd::audit",
            request_id = self.request_id,
            realm = self.realm,
            appid = self.account,
            client = self.client.map(tracing::field::display),
            method = self.method,
            path = self.path,
            status = self.status,
            errcode = self.errcode,
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            duration_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            healed = self.is_healed,
            rid = self.rid,
            "gateway call"
        );
    }
}
