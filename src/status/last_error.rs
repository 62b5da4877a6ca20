//! The last failure of a credential, with what an operator should do.

use std::fmt::Debug;

use super::accounts::Service;
use clock::UnixMillis;
use credentials::keeper::{FailureState, explain};
use credentials::sources::UpstreamError;
use wechat::{Call, Errcode, WechatError};

/// The longest code of a service that is shown.
const LONGEST_CODE: usize = 40;

/// A failed renewal.
#[derive(Clone, Debug)]
pub struct LastError {
    /// The stable code, as in our answers.
    pub code: &'static str,
    /// The service's code, if it refused: a number, or a word of a source that has words.
    pub errcode: Option<String>,
    /// What an operator should do.
    pub advice: &'static str,
    /// The same in Chinese.
    pub advice_zh: &'static str,
    /// When the next attempt is allowed.
    pub retry_at: UnixMillis,
    /// Who refused.
    pub service: Service,
}

/// Advice in English and in Chinese.
type Advice = (&'static str, &'static str);

const UNKNOWN_ERRCODE: Advice = (
    "look this errcode up in WeChat's list (全局返回码)",
    "请在微信的全局返回码里查这个错误码",
);

const NO_WAY: Advice = (
    "check this server's way to WeChat: name resolution, firewall, proxy",
    "请检查这台服务器到微信的网络：域名解析、防火墙、代理",
);

const UNKNOWN_WECOM_ERRCODE: Advice = (
    "look this errcode up in WeCom's list (全局错误码)",
    "请在企业微信的全局错误码里查这个错误码",
);

const NO_WAY_TO_WECOM: Advice = (
    "check this server's way to WeCom: name resolution, firewall, proxy",
    "请检查这台服务器到企业微信的网络：域名解析、防火墙、代理",
);

const SOURCE_REFUSES: Advice = (
    "compare this source's secret and address in the settings with its service's console",
    "请把设置里这个来源的密钥和地址与它的后台比对",
);

const NO_WAY_TO_SOURCE: Advice = (
    "check this server's way to the source's service: address, name resolution, firewall, proxy",
    "请检查这台服务器到这个来源的网络：地址、域名解析、防火墙、代理",
);

const UNREADABLE_SOURCE: Advice = (
    "compare the source's ok and expires in the settings with what its service answers",
    "请把设置里这个来源的 ok、expires 与它实际的应答比对",
);

const UNSENDABLE_SOURCE: Advice = (
    "correct the templates of this source in the settings",
    "请改正设置里这个来源的模板",
);

impl LastError {
    pub(super) fn of_wechat(failure: &FailureState<WechatError>) -> Self {
        let cause = &failure.cause;
        let refusal = match cause {
            WechatError::Refused { code, call, .. } => Some((*code, *call)),
            _ => None,
        };
        let usual = if refusal.is_some() {
            UNKNOWN_ERRCODE
        } else {
            NO_WAY
        };
        let advice_zh = refusal.and_then(|(code, call)| code.advice_zh(call));
        Self {
            code: explain::cause_code(cause),
            errcode: refusal.map(|(Errcode(code), _)| code.to_string()),
            advice: cause.advice().unwrap_or(usual.0),
            advice_zh: advice_zh.unwrap_or(usual.1),
            retry_at: failure.retry_at,
            service: Service::Wechat,
        }
    }

    pub(super) fn of_source(failure: &FailureState<UpstreamError>, service: Service) -> Self {
        let is_wecom = service == Service::Wecom;
        let (code, (advice, advice_zh)) = match &failure.cause {
            UpstreamError::Refused { code, .. } if is_wecom => {
                let code = code.parse().map(Errcode);
                let known = code.ok().and_then(|code| {
                    let advice = code.advice(Call::Token)?;
                    Some((advice, code.advice_zh(Call::Token)?))
                });
                ("upstream_refused", known.unwrap_or(UNKNOWN_WECOM_ERRCODE))
            }
            UpstreamError::Refused { .. } => ("upstream_refused", SOURCE_REFUSES),
            UpstreamError::TimedOut { .. } if is_wecom => ("upstream_timeout", NO_WAY_TO_WECOM),
            UpstreamError::TimedOut { .. } => ("upstream_timeout", NO_WAY_TO_SOURCE),
            UpstreamError::Unreachable { .. } if is_wecom => {
                ("upstream_unreachable", NO_WAY_TO_WECOM)
            }
            UpstreamError::Unreachable { .. } => ("upstream_unreachable", NO_WAY_TO_SOURCE),
            UpstreamError::Unreadable { .. } if is_wecom => {
                ("upstream_unreadable", NO_WAY_TO_WECOM)
            }
            UpstreamError::Unreadable { .. } => ("upstream_unreadable", UNREADABLE_SOURCE),
            UpstreamError::Unfilled { .. } | UpstreamError::Unsendable { .. } => {
                ("upstream_unreadable", UNSENDABLE_SOURCE)
            }
        };
        let errcode = match &failure.cause {
            UpstreamError::Refused { code, .. } => Some(plain(code)),
            _ => None,
        };
        Self {
            code,
            errcode,
            advice,
            advice_zh,
            retry_at: failure.retry_at,
            service,
        }
    }

    /// What the service said and what to do.
    pub fn sentence(&self, zh: bool) -> String {
        let who = match (self.service, zh) {
            (Service::Wechat, true) => "微信",
            (Service::Wecom, true) => "企业微信",
            (Service::Source, true) => "它的服务",
            (Service::Wechat, false) => "WeChat",
            (Service::Wecom, false) => "WeCom",
            (Service::Source, false) => "its service",
        };
        let advice = capital(self.advice);
        match (&self.errcode, zh) {
            (Some(code), true) => format!("{who}拒绝：{code}。{}。", self.advice_zh),
            (Some(code), false) => format!("{} refuses: {code}. {advice}.", capital(who)),
            (None, true) => format!("{who}没有应答（{}）。{}。", self.code, self.advice_zh),
            (None, false) => format!("No answer of {who} ({}). {advice}.", self.code),
        }
    }
}

/// A service's code as a word: what is shown cannot be long and is no message.
fn plain(code: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if code.len() <= LONGEST_CODE && !code.is_empty() && code.chars().all(fits) {
        code.to_owned()
    } else {
        "other".to_owned()
    }
}

/// `text` with a capital letter.
pub(super) fn capital(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wechat::Kind;

    fn refused(code: &str, service: Service) -> LastError {
        let failure = FailureState {
            cause: UpstreamError::Refused {
                code: code.to_owned(),
                message: "secret words".to_owned(),
                kind: Kind::Permanent,
            },
            attempts: 1,
            retry_at: UnixMillis(0),
        };
        LastError::of_source(&failure, service)
    }

    #[test]
    fn a_code_of_a_source_is_a_word() {
        let code = |code: &str| refused(code, Service::Source).errcode;
        for word in ["401", "-1", "invalid_client", "isv.invalid:x"] {
            assert_eq!(code(word).as_deref(), Some(word));
        }
        for other in ["", "a b", "a\"b", "拒绝", &"x".repeat(41)] {
            assert_eq!(code(other).as_deref(), Some("other"), "{other}");
        }
    }

    #[test]
    fn wecom_has_advice_and_a_name() {
        let error = refused("60020", Service::Wecom);
        assert!(
            error
                .sentence(false)
                .starts_with("WeCom refuses: 60020. Add")
        );
        assert!(error.sentence(true).starts_with("企业微信拒绝：60020。"));
        let error = refused("12", Service::Source);
        assert!(
            error
                .sentence(false)
                .starts_with("Its service refuses: 12. ")
        );
        assert!(!error.sentence(false).contains("secret words"));
    }
}
