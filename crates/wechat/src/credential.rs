//! Identifies a credential by account and kind.

use std::fmt;
use std::time::Duration;

use crate::account::AppId;

/// The lifetime of tokens and tickets, unless `expires_in` is lower. Source: 获取接口调用凭据, `expires_in`
/// "at most 7200".
pub const FULL_LIFETIME: Duration = Duration::from_secs(7200);

/// The kinds of expiring credential of a WeChat account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CredentialKind {
    /// The app-level `access_token`.
    AccessToken,
    /// The `jsapi_ticket`, used for `wx.config` signatures.
    JsapiTicket,
    /// The card-coupon ticket (卡券 api_ticket), `type=wx_card`.
    CardTicket,
}

impl CredentialKind {
    /// All kinds, in the order of [`CredentialKind::index`].
    pub const ALL: [Self; 3] = [Self::AccessToken, Self::JsapiTicket, Self::CardTicket];

    /// The name in stored keys and in `key=` of a query: `token`, `ticket`, `card_ticket`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "token",
            Self::JsapiTicket => "ticket",
            Self::CardTicket => "card_ticket",
        }
    }

    /// Returns the kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the kind's index, from 0.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A credential's account and kind; displays as the stored key, `APPID.token`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CredentialKey {
    /// The account.
    pub app_id: AppId,
    /// The kind.
    pub kind: CredentialKind,
}

impl fmt::Display for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.app_id, self.kind.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_displays_as_it_is_stored() {
        let app_id = AppId::parse("wx123456789").expect("a good appid");
        let shown = CredentialKind::ALL.map(|kind| {
            CredentialKey {
                app_id: app_id.clone(),
                kind,
            }
            .to_string()
        });
        assert_eq!(
            shown,
            [
                "wx123456789.token",
                "wx123456789.ticket",
                "wx123456789.card_ticket"
            ]
        );
    }

    #[test]
    fn kinds_are_found_by_the_name_they_are_stored_under() {
        for kind in CredentialKind::ALL {
            assert_eq!(CredentialKind::from_name(kind.name()), Some(kind));
            assert_eq!(CredentialKind::ALL[kind.index()], kind);
        }
        assert_eq!(CredentialKind::from_name("secret"), None);
    }
}
