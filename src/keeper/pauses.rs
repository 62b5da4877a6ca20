//! A pause that all instances keep: each backing off by itself would ask a WeChat in trouble the oftener the more of them there are. Only
//! what passes by itself is shared; what a human must mend may be mended in one instance's settings and not yet in another's.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::holding::Holding;
use super::{Keeper, KeeperError};
use crate::credential::CredentialKind;
use crate::renewal::{Failure, LONGEST_BACKOFF};
use crate::store::Record;
use crate::wechat::{Call, Errcode, Kind, WechatError};

/// A failure as the store holds it.
#[derive(Serialize, Deserialize)]
struct Written {
    attempts: u32,
    cause: Cause,
}

/// What [`WechatError`] says, without what it was that was asked: each credential has its own pause.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cause {
    Unreachable { cause: String },
    Broken { cause: String },
    TimedOut { ms: u64 },
    Unreadable { status: u16, cause: String },
    Refused { code: i64, message: String },
}

impl Keeper {
    /// Has the other instances keep the pause after the failure that is remembered here, if it is one that passes by itself. To be called
    /// before the right to renew is given back.
    pub(super) async fn share_pause(&self, holding: &Holding, kind: CredentialKind) {
        let failure = holding.slot(kind).failure().filter(|failure| failure.cause.kind() == Kind::Temporary);
        let Some(failure) = failure.filter(|_| self.0.store.is_shared()) else { return };
        let written = Written { attempts: failure.attempts, cause: Cause::of(failure.cause) };
        let Ok(text) = serde_json::to_string(&written) else { return };
        let left = self.0.clock.steady().until(failure.until);
        let record = Record { value: SecretString::from(text), expires_at: self.0.clock.wall().plus(left) };
        if let Err(error) = self.0.store.put(&name(holding, kind), &record).await {
            self.0.outage.failed(&error, self.0.clock.steady());
        }
    }

    /// Whether another instance has met with a failure just now; then it is remembered as our own.
    pub(super) async fn keep_pause(&self, holding: &Holding, kind: CredentialKind) -> Result<(), KeeperError> {
        if !self.0.store.is_shared() {
            return Ok(());
        }
        // Without a word of others' failures one more call is made; no reason to refuse a renewal.
        let Ok(Some(record)) = self.0.store.get(&name(holding, kind)).await else { return Ok(()) };
        let left = self.0.clock.wall().until(record.expires_at).min(LONGEST_BACKOFF);
        let Ok(written) = serde_json::from_str::<Written>(record.value.expose_secret()) else { return Ok(()) };
        let call = if kind == CredentialKind::AccessToken { Call::Token } else { Call::WithToken };
        let until = self.0.clock.steady().plus(left);
        holding.slot(kind).set_failure(Some(Failure { cause: written.cause.into_error(call), attempts: written.attempts, until }));
        self.unless_cooling(holding, kind)
    }
}

fn name(holding: &Holding, kind: CredentialKind) -> String {
    format!("{}.pause", holding.key(kind))
}

impl Cause {
    fn of(error: WechatError) -> Self {
        match error {
            WechatError::Unreachable { cause } => Self::Unreachable { cause },
            WechatError::Broken { cause } => Self::Broken { cause },
            WechatError::TimedOut { after } => Self::TimedOut { ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX) },
            WechatError::Unreadable { status, cause } => Self::Unreadable { status, cause },
            WechatError::Refused { code, message, .. } => Self::Refused { code: code.0, message },
        }
    }

    fn into_error(self, call: Call) -> WechatError {
        match self {
            Self::Unreachable { cause } => WechatError::Unreachable { cause },
            Self::Broken { cause } => WechatError::Broken { cause },
            Self::TimedOut { ms } => WechatError::TimedOut { after: Duration::from_millis(ms) },
            Self::Unreadable { status, cause } => WechatError::Unreadable { status, cause },
            Self::Refused { code, message } => WechatError::Refused { call, code: Errcode(code), message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_said_again() {
        let refused = WechatError::Refused { call: Call::Token, code: Errcode(-1), message: "system error".to_owned() };
        for error in [refused, WechatError::TimedOut { after: Duration::from_secs(5) }] {
            let text = serde_json::to_string(&Cause::of(error.clone())).expect("it can be written");
            let again = serde_json::from_str::<Cause>(&text).expect("it can be read").into_error(Call::Token);
            assert_eq!(again.to_string(), error.to_string());
        }
    }
}
