//! Presets for `sources`: the requests of well-known services, and the settings that each needs.
//! Plain data.

use std::time::Duration;

use wechat::address;

/// The settings behind `preset: "NAME"`. The source's own settings win.
pub(super) struct Preset {
    pub(super) name: &'static str,
    /// The service's address; `None` = the source must set `url`.
    pub(super) url: Option<&'static str>,
    pub(super) method: &'static str,
    pub(super) place: Place,
    pub(super) fields: &'static [(&'static str, Filled)],
    /// The longest useful reserve.
    pub(super) longest_reserve: Duration,
}

/// Where a preset's fields are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Query,
    Form,
    Json,
}

/// What a field is filled with.
#[derive(Clone, Copy)]
pub(super) enum Filled {
    /// A constant.
    Word(&'static str),
    /// A required setting of the source.
    Setting(&'static str),
    /// An optional setting of the source; without it the field is not sent.
    Optional(&'static str),
    /// The access_token of the source that this setting names.
    TokenOf(&'static str),
}

use Filled::{Optional, Setting, TokenOf, Word};

const HOUR: Duration = Duration::from_secs(3600);

pub(super) static PRESETS: [Preset; 5] = [
    Preset {
        name: "wecom",
        url: Some(address::WECOM_TOKEN),
        method: "GET",
        place: Place::Query,
        fields: &[
            ("corpid", Setting("corpid")),
            ("corpsecret", Setting("corpsecret")),
        ],
        longest_reserve: HOUR,
    },
    Preset {
        name: "wecom_jsapi_ticket",
        url: Some(address::WECOM_JSAPI_TICKET),
        method: "GET",
        place: Place::Query,
        fields: &[("access_token", TokenOf("token"))],
        longest_reserve: HOUR,
    },
    Preset {
        name: "wecom_agent_ticket",
        url: Some(address::WECOM_AGENT_TICKET),
        method: "GET",
        place: Place::Query,
        fields: &[
            ("access_token", TokenOf("token")),
            ("type", Word("agent_config")),
        ],
        longest_reserve: HOUR,
    },
    Preset {
        name: "wechat_stable_token",
        url: Some(address::STABLE_TOKEN),
        method: "POST",
        place: Place::Json,
        fields: &[
            ("grant_type", Word("client_credential")),
            ("appid", Setting("appid")),
            ("secret", Setting("secret")),
        ],
        // WeChat returns the same token until its last five minutes. Source: 获取稳定版接口调用凭据.
        longest_reserve: Duration::from_secs(5 * 60),
    },
    Preset {
        name: "oauth2_client_credentials",
        url: None,
        method: "POST",
        place: Place::Form,
        // Source: RFC 6749, 4.4 and 2.3.1.
        fields: &[
            ("grant_type", Word("client_credentials")),
            ("client_id", Setting("client_id")),
            ("client_secret", Setting("client_secret")),
            ("scope", Optional("scope")),
        ],
        longest_reserve: HOUR,
    },
];

impl Preset {
    /// The settings that it reads in addition to those of every source.
    pub(super) fn settings(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().filter_map(|(_, filled)| match filled {
            Setting(name) | Optional(name) | TokenOf(name) => Some(*name),
            Word(_) => None,
        })
    }
}
