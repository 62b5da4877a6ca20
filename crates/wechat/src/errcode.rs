//! WeChat's error codes and their consequences. Only the code counts, not the message or the HTTP
//! status. Source: 全局返回码, and the behaviour of widely used SDKs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A non-zero `errcode`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Errcode(pub i64);

impl fmt::Display for Errcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The refused call; the meaning of a code depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Call {
    /// `/cgi-bin/token` or `/cgi-bin/stable_token`.
    Token,
    /// `/cgi-bin/ticket/getticket`, or any other call with an access_token.
    WithToken,
    /// `/sns/…`: a visitor's code, or the user-level token from its exchange.
    Visitor,
}

/// How to handle a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Retry soon: WeChat is busy, unreachable or rate-limits us.
    Temporary,
    /// The access_token is invalid: renew it and retry once.
    StaleToken,
    /// Retrying does not help until an operator acts or the day ends: wrong secret, unlisted IP
    /// address, quota exhausted.
    Permanent,
    /// Only one visitor's code or refresh_token is affected, not the account.
    Visitor,
}

impl Errcode {
    /// Returns how to handle `self` as the answer to `call`.
    pub fn kind(self, call: Call) -> Kind {
        match (self.0, call) {
            // On the token endpoints 40001 refers to the secret, elsewhere to the token.
            (40001, Call::Token) => Kind::Permanent,
            (40001 | 40014 | 42001, Call::WithToken) => Kind::StaleToken,
            (40003 | 40029 | 40030 | 40163 | 41003 | 41008 | 42002 | 42003 | 42007, _) => {
                Kind::Visitor
            }
            // A user-level token belongs to one visitor; its failure does not affect the account's
            // token.
            (40001 | 40014 | 42001, Call::Visitor) => Kind::Visitor,
            // -1 means busy; 45011 is the per-minute limit.
            (-1 | 45011, _) => Kind::Temporary,
            (
                40002 | 40013 | 40014 | 40066 | 40097 | 40125 | 40164 | 40243 | 41001 | 41002
                | 41004 | 42001 | 43002 | 43003 | 44002 | 45009 | 47001 | 48001 | 48004 | 48006
                | 50002 | 50004 | 50007 | 60020 | 61004 | 61024 | 89501 | 89503 | 89506 | 89507,
                _,
            ) => Kind::Permanent,
            // Undocumented code: assume that immediate retries do not help, but that it may pass.
            _ => Kind::Temporary,
        }
    }

    /// Advice for the operator, if the code is documented well enough.
    pub fn advice(self, call: Call) -> Option<&'static str> {
        Some(match (self.0, call) {
            (40001, Call::Token) | (40125, _) => {
                "the AppSecret is wrong or belongs to another account: compare it with the console"
            }
            (40013, _) => "the appid is wrong: look for a typo or a letter of the wrong case",
            (40164 | 61004, _) => {
                "add this server's outgoing address to the account's IP whitelist in the console"
            }
            (60020, _) => {
                "add this server's outgoing address to the application's trusted IPs (企业可信IP) in WeCom's console"
            }
            (40243, _) => {
                "the AppSecret is frozen: unfreeze it in the console and wait ten minutes"
            }
            (45009, _) => {
                "the account's quota for the day is spent: wait for the next day or clear it in the console"
            }
            (45011, _) => "too many calls in this minute: wait a minute",
            (40003, _) => {
                "the openid is not one of this account's: look for a typo, or for an openid of another account"
            }
            (48001, _) => "this type of account may not use the call, or it is not verified",
            (50002 | 50007, _) => "WeChat has limited or frozen this account",
            (89501 | 89503, _) => {
                "the account's administrator must confirm this server's address in WeChat"
            }
            (89506 | 89507, _) => {
                "the administrator refused this server's address: wait out the ban, then ask again"
            }
            _ => return None,
        })
    }

    /// The same advice in Chinese.
    pub fn advice_zh(self, call: Call) -> Option<&'static str> {
        Some(match (self.0, call) {
            (40001, Call::Token) | (40125, _) => {
                "AppSecret 不对，或属于别的公众号：请和公众平台里的比对"
            }
            (40013, _) => "appid 不对：请检查有没有写错字母或大小写",
            (40164 | 61004, _) => "请把本服务器的出口 IP 加进公众平台的 IP 白名单",
            (60020, _) => "请把本服务器的出口 IP 加进企业微信后台的企业可信 IP",
            (40243, _) => "AppSecret 已冻结：请在公众平台解冻，并等十分钟",
            (45009, _) => "今天的调用额度已用完：请等到明天，或在公众平台清零",
            (45011, _) => "这一分钟调用太多：请等一分钟",
            (40003, _) => "openid 不属于这个公众号：请检查有没有写错，或用了别的公众号的 openid",
            (48001, _) => "这类公众号不能用这个接口，或公众号没有认证",
            (50002 | 50007, _) => "微信限制或冻结了这个公众号",
            (89501 | 89503, _) => "公众号的管理员需要在微信里确认本服务器的 IP",
            (89506 | 89507, _) => "管理员拒绝了本服务器的 IP：请等限制结束后再申请",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_advice_is_there_in_both_languages() {
        for code in (-1..100_000).map(Errcode) {
            for call in [Call::Token, Call::WithToken, Call::Visitor] {
                let both = (code.advice(call), code.advice_zh(call));
                assert_eq!(both.0.is_some(), both.1.is_some(), "{code}");
            }
        }
    }

    #[test]
    fn a_code_means_a_wrong_secret_or_a_stale_token_by_call() {
        assert_eq!(Errcode(40001).kind(Call::Token), Kind::Permanent);
        assert_eq!(Errcode(40001).kind(Call::WithToken), Kind::StaleToken);
    }

    #[test]
    fn a_visitors_errcode_does_not_concern_the_account() {
        for code in [40029, 40163, 42003, 42007] {
            assert_eq!(Errcode(code).kind(Call::WithToken), Kind::Visitor, "{code}");
        }
        for code in [40001, 40014, 42001] {
            assert_eq!(
                Errcode(code).kind(Call::Visitor),
                Kind::Visitor,
                "{code}: a user-level token"
            );
        }
    }

    #[test]
    fn faults_of_configuration_are_permanent_and_busy_is_not() {
        for code in [40013, 40125, 40164, 60020, 61004, 45009, 48001] {
            assert_eq!(Errcode(code).kind(Call::Token), Kind::Permanent, "{code}");
        }
        for code in [-1, 45011, 123_456] {
            assert_eq!(Errcode(code).kind(Call::Token), Kind::Temporary, "{code}");
        }
    }
}
