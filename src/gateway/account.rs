//! The name of an account at the gateway: an appid, or a WeCom application as `corpid/agentid`.

use std::borrow::Cow;
use std::fmt;

use wechat::account::AppId;

/// An official account's or mini-program's appid, or a WeCom application.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum AccountName {
    /// An account of `apps`.
    App(AppId),
    /// An application of `wecom`: the corpid and the agentid.
    Agent(AppId, String),
}

impl AccountName {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            None => AppId::parse(text).ok().map(Self::App),
            Some((corp, agent)) => {
                let is_number =
                    !agent.is_empty() && agent.bytes().all(|byte| byte.is_ascii_digit());
                is_number.then(|| Some(Self::Agent(AppId::parse(corp).ok()?, agent.to_owned())))?
            }
        }
    }

    /// The appid or the corpid.
    pub fn id(&self) -> &AppId {
        match self {
            Self::App(id) | Self::Agent(id, _) => id,
        }
    }

    /// What [`fmt::Display`] writes.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::App(id) => Cow::Borrowed(id.as_str()),
            Self::Agent(..) => Cow::Owned(self.to_string()),
        }
    }

    /// Whether it is a WeCom application, whose calls go to WeCom's host.
    pub fn is_wecom(&self) -> bool {
        matches!(self, Self::Agent(..))
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(id) => id.fmt(f),
            Self::Agent(corp, agent) => write!(f, "{corp}/{agent}"),
        }
    }
}
