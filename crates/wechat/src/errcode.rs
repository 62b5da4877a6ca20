//! WeChat's error codes and what each means for us. The code decides, never the message and never the HTTP status.
//! Source: 全局返回码, and what the SDKs in wide use do with each code.

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

/// Which call WeChat refused: one code can mean two things.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Call {
    /// `/cgi-bin/token` or `/cgi-bin/stable_token`.
    Token,
    /// `/cgi-bin/ticket/getticket`, or any other call that is made with an access_token.
    WithToken,
    /// `/sns/…`: a visitor's code, or the user-level token that it was exchanged for.
    Visitor,
}

/// What to do about a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Try again soon: WeChat is busy, unreachable or asks us to slow down.
    Temporary,
    /// The access_token in the call is dead: renew it once, then call once more.
    StaleToken,
    /// Nothing changes until a human acts or the day ends: wrong secret, address not listed, quota spent.
    Permanent,
    /// It concerns one visitor's code or refresh_token and says nothing of the account.
    Visitor,
}

impl Errcode {
    /// What `self` means as the answer to `call`.
    pub fn kind(self, call: Call) -> Kind {
        match (self.0, call) {
            // On the token endpoints 40001 speaks of the secret, everywhere else of the token.
            (40001, Call::Token) => Kind::Permanent,
            (40001 | 40014 | 42001, Call::WithToken) => Kind::StaleToken,
            (40003 | 40029 | 40030 | 40163 | 41003 | 41008 | 42002 | 42003 | 42007, _) => Kind::Visitor,
            // A user-level token acts for one visitor; that it died says nothing of the account's own.
            (40001 | 40014 | 42001, Call::Visitor) => Kind::Visitor,
            // -1 is "busy", 45011 the limit of one minute.
            (-1 | 45011, _) => Kind::Temporary,
            (
                40002 | 40013 | 40014 | 40066 | 40097 | 40125 | 40164 | 40243 | 41001 | 41002 | 41004 | 42001 | 43002 | 43003
                | 44002 | 45009 | 47001 | 48001 | 48004 | 48006 | 50002 | 50004 | 50007 | 60020 | 61004 | 61024 | 89501 | 89503
                | 89506 | 89507,
                _,
            ) => Kind::Permanent,
            // A code nobody has described: the cautious reading is that trying harder will not help, but it may pass.
            _ => Kind::Temporary,
        }
    }

    /// Advice for the operator, where the code is known well enough to give any.
    pub fn advice(self, call: Call) -> Option<&'static str> {
        Some(match (self.0, call) {
            (40001, Call::Token) | (40125, _) => {
                "the AppSecret is wrong or belongs to another account: compare it with the console"
            }
            (40013, _) => "the appid is wrong: look for a typo or a letter of the wrong case",
            (40164 | 61004, _) => "add this server's outgoing address to the account's IP whitelist in the console",
            (60020, _) => "add this server's outgoing address to the application's trusted IPs (企业可信IP) in WeCom's console",
            (40243, _) => "the AppSecret is frozen: unfreeze it in the console and wait ten minutes",
            (45009, _) => "the account's quota for the day is spent: wait for the next day or clear it in the console",
            (45011, _) => "too many calls in this minute: it passes by itself",
            (40003, _) => "the openid is not one of this account's: look for a typo, or for an openid of another account",
            (48001, _) => "this type of account may not use the call, or it is not verified",
            (50002 | 50007, _) => "WeChat has limited or frozen this account",
            (89501 | 89503, _) => "the account's administrator must confirm this server's address in WeChat",
            (89506 | 89507, _) => "the administrator refused this server's address: wait out the ban, then ask again",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_secret_and_a_dead_token_share_a_code_but_not_a_meaning() {
        assert_eq!(Errcode(40001).kind(Call::Token), Kind::Permanent);
        assert_eq!(Errcode(40001).kind(Call::WithToken), Kind::StaleToken);
    }

    #[test]
    fn a_visitors_code_says_nothing_of_the_account() {
        for code in [40029, 40163, 42003, 42007] {
            assert_eq!(Errcode(code).kind(Call::WithToken), Kind::Visitor, "{code}");
        }
        for code in [40001, 40014, 42001] {
            assert_eq!(Errcode(code).kind(Call::Visitor), Kind::Visitor, "{code}: a user-level token");
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
