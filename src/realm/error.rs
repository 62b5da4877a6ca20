//! Why a signed request is refused, and the change to the settings that would allow it.

use clock::UnixMillis;
use wechat::credential::CredentialKind;

/// Why a signed request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RealmError {
    /// Unknown realm, missing field or wrong signature. One error for all, so that callers cannot
    /// probe for realms.
    #[error("unknown realm or wrong signature")]
    Unauthorized,
    /// The signature is valid, but `ts` is more than five minutes from our clock.
    #[error("ts is more than five minutes away from the server's clock, which shows {now}")]
    Expired {
        /// The server's time.
        now: UnixMillis,
    },
    /// Signed by a known realm, but this app is not in its list.
    #[error("this realm may not query this app")]
    NotItsApp,
    /// Signed by a known realm, but this credential is not in its `keys`.
    #[error("this realm may not query the {}", .0.name())]
    NotItsKey(CredentialKind),
    /// Signed by a known realm, but the caller's address is not in its `networks`.
    #[error("this realm may not call from this address")]
    NotFromThere,
    /// Signed by a known realm whose access has ended.
    #[error("this realm has expired")]
    Over,
    /// A parameter that must be unique occurs twice.
    #[error("the parameter {0:?} is given more than once")]
    Repeated(&'static str),
}

impl RealmError {
    /// True if the realm was authenticated but lacks the permission.
    pub fn is_forbidden(self) -> bool {
        matches!(
            self,
            Self::NotItsApp | Self::NotItsKey(_) | Self::NotFromThere
        )
    }

    /// The change to the settings that grants the permission.
    pub fn cure(self) -> &'static str {
        match self {
            Self::NotItsKey(_) => "add the name of this credential to the realm's keys",
            Self::NotFromThere => "add the caller's address to the realm's networks",
            _ => "add the app to the realm's list of apps",
        }
    }
}
