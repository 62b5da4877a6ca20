//! What is read of an upstream answer before it goes on: its errcode and WeChat's `rid`, and
//! whether it shows one of our secrets.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;
use wechat::{Call, Errcode, Kind};

/// Answers up to this many bytes are read whole: an error is never longer.
pub(super) const READ_WHOLE: usize = 64 * 1024;

/// The errcodes with which WeChat and WeCom refuse an address that is not in the account's list.
const REFUSED_ADDRESS: [i64; 2] = [40164, 60020];

/// What an answer says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Verdict {
    /// The errcode at the top level of a JSON answer, unless it is zero.
    pub(super) errcode: Option<i64>,
    /// WeChat's own id of the call, from `errmsg`.
    pub(super) rid: Option<String>,
    /// The address in a refusal of our address.
    pub(super) address: Option<IpAddr>,
}

impl Verdict {
    /// Reads `body`; anything but a JSON object says nothing.
    pub(super) fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(default)]
            errcode: Option<i64>,
            #[serde(default, borrow)]
            errmsg: Option<Cow<'a, str>>,
        }
        let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let Some(answer) = is_object
            .then(|| serde_json::from_slice::<Answer<'_>>(body).ok())
            .flatten()
        else {
            return Self::default();
        };
        let rid = answer
            .errmsg
            .as_deref()
            .and_then(|text| text.rsplit_once("rid: "))
            .map(|(_, rid)| rid);
        // It goes into a log line, so it is short and plain or not there at all.
        let is_plain = |rid: &&str| {
            rid.len() <= 64
                && rid
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let errcode = answer.errcode.filter(|code| *code != 0);
        let words = || {
            answer
                .errmsg
                .as_deref()
                .unwrap_or_default()
                .split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'))
        };
        let address = errcode
            .filter(|code| REFUSED_ADDRESS.contains(code))
            .and_then(|_| words().find_map(|word| word.parse().ok()));
        Self {
            errcode,
            rid: rid.map(str::trim).filter(is_plain).map(str::to_owned),
            address,
        }
    }

    /// Whether WeChat calls the token in the call dead.
    pub(super) fn is_stale_token(&self) -> bool {
        self.errcode
            .is_some_and(|code| Errcode(code).kind(Call::WithToken) == Kind::StaleToken)
    }

    /// Whether WeChat or WeCom refuses this server's address.
    pub(super) fn is_address_refused(&self) -> bool {
        self.errcode
            .is_some_and(|code| REFUSED_ADDRESS.contains(&code))
    }
}

/// `body` with every one of `secrets` replaced by `***`; `None` if it shows none of them.
pub(super) fn scrubbed(body: &[u8], secrets: &[&str]) -> Option<Vec<u8>> {
    let mut cleaned: Option<Vec<u8>> = None;
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        let text = cleaned.as_deref().unwrap_or(body);
        // Most answers show no secret, and a search for one place is prepared faster.
        let Some(first) = memchr::memmem::find(text, secret.as_bytes()) else {
            continue;
        };
        let mut without = Vec::with_capacity(text.len());
        let mut from = 0;
        let rest = memchr::memmem::find_iter(&text[first..], secret.as_bytes());
        for at in rest.map(|at| first + at) {
            without.extend_from_slice(&text[from..at]);
            without.extend_from_slice(b"***");
            from = at + secret.len();
        }
        without.extend_from_slice(&text[from..]);
        cleaned = Some(without);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_top_level_of_an_object_counts() {
        let code = |body: &str| Verdict::read(body.as_bytes()).errcode;
        assert_eq!(code(r#"{"errcode":40001,"errmsg":"x"}"#), Some(40001));
        assert_eq!(code("\n {\"errcode\":42001}"), Some(42001));
        for nothing in [
            r#"{"errcode":0}"#,
            r#"{"a":{"errcode":40001}}"#,
            r#"[{"errcode":40001}]"#,
            "errcode 40001",
            "",
            "{",
        ] {
            assert_eq!(code(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_refused_address_is_found() {
        let read = |body: &str| Verdict::read(body.as_bytes()).address;
        let wechat = r#"{"errcode":40164,"errmsg":"invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 6-1"}"#;
        assert_eq!(read(wechat), "203.0.113.9".parse().ok());
        let wecom = r#"{"errcode":60020,"errmsg":"not allow to access from your ip, from ip: 203.0.113.9, more info at x"}"#;
        assert_eq!(read(wecom), "203.0.113.9".parse().ok());
        assert_eq!(
            read(r#"{"errcode":40001,"errmsg":"from ip: 203.0.113.9"}"#),
            None
        );
    }

    #[test]
    fn the_rid_of_wechat_is_found() {
        let rid = |message: &str| {
            Verdict::read(format!(r#"{{"errcode":1,"errmsg":"{message}"}}"#).as_bytes()).rid
        };
        assert_eq!(
            rid("invalid credential rid: 61f2a-1b").as_deref(),
            Some("61f2a-1b")
        );
        assert_eq!((rid("no id"), rid("rid: <script>")), (None, None));
    }

    #[test]
    fn secrets_are_replaced_wherever_they_stand() {
        assert_eq!(
            scrubbed(b"a TOKEN b SECRET c TOKEN", &["TOKEN", "SECRET"]).as_deref(),
            Some(&b"a *** b *** c ***"[..])
        );
        assert_eq!(scrubbed(b"nothing", &["TOKEN", ""]), None);
    }
}
