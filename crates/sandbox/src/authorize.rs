//! The authorize link: its required form, its parameters, and where its visitor is sent.

use std::fmt;

use serde::Deserialize;
use url::Url;

pub(super) const PATH: &str = "/connect/oauth2/authorize";

/// WeChat compares the link with a pattern: these parameters, in this order. The last three are
/// optional.
const ORDER: [&str; 8] = [
    "appid",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "forcePopup",
    "forceSnapShot",
    "connect_redirect",
];

/// A visitor's answer on the authorize page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Yes: the callback brings a code.
    Agree,
    /// No: the callback has a state and no code.
    Refuse,
    /// No answer: WeChat shows a snapshot of the page (快照页), and the callback brings the code of a
    /// virtual visitor.
    Snapshot,
}

/// A valid authorize link.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) app_id: String,
    pub(super) redirect: Url,
    pub(super) scope: String,
    pub(super) state: String,
    /// True if the link asks for snapshot mode.
    pub(super) snapshot: bool,
}

/// The text of WeChat's error page in both languages, with a number where WeChat documents one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wrong {
    pub(super) code: Option<i32>,
    pub(super) chinese: String,
    pub(super) english: String,
}

impl Asked {
    /// Parses the query of a link.
    pub(super) fn parse(query: &str) -> Result<Self, Wrong> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let value = |wanted: &str| {
            pairs
                .iter()
                .find(|(name, _)| name == wanted)
                .map_or("", |(_, value)| value.as_str())
        };
        for (name, code) in [
            ("appid", 10012),
            ("redirect_uri", 10011),
            ("scope", 10010),
            ("state", 10013),
        ] {
            if value(name).is_empty() {
                return Err(Wrong::numbered(
                    code,
                    &format!("{name} 不能为空"),
                    &format!("{name} is empty"),
                ));
            }
        }
        let mut rest = ORDER.iter();
        if value("response_type") != "code"
            || !pairs
                .iter()
                .all(|(name, _)| rest.any(|known| known == name))
        {
            return Err(Wrong::order());
        }
        if !value("scope")
            .split(',')
            .all(|scope| ["snsapi_base", "snsapi_userinfo"].contains(&scope))
        {
            return Err(Wrong::numbered(
                10005,
                "该公众号没有这个 scope 的权限",
                "the account does not have this scope",
            ));
        }
        let state = value("state");
        if state.len() > 128 || !state.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Wrong::state());
        }
        Ok(Self {
            app_id: value("appid").to_owned(),
            redirect: redirect(value("redirect_uri")).ok_or_else(Wrong::domain)?,
            scope: value("scope").to_owned(),
            state: state.to_owned(),
            snapshot: value("forceSnapShot") == "true",
        })
    }

    /// True if WeChat would redirect without a consent page.
    pub(super) fn is_silent(&self) -> bool {
        self.scope == "snsapi_base"
    }

    /// Returns the address that the visitor is sent to: with a code, or without one after a
    /// refusal. An existing query is kept in front.
    pub(super) fn callback(&self, code: Option<&str>) -> String {
        let mut url = self.redirect.clone();
        let mut query = url
            .query()
            .unwrap_or_default()
            .trim_end_matches('&')
            .to_owned();
        for (name, value) in code
            .map(|code| ("code", code))
            .into_iter()
            .chain([("state", self.state.as_str())])
        {
            let between = if query.is_empty() { "" } else { "&" };
            query.push_str(&format!("{between}{name}={value}"));
        }
        url.set_query(Some(&query));
        url.into()
    }
}

impl Wrong {
    /// The account does not exist.
    pub(super) fn app_id() -> Self {
        Self::numbered(40013, "appid 无效", "invalid appid")
    }

    /// The host is not the account's OAuth domain.
    pub(super) fn domain() -> Self {
        Self::numbered(
            10003,
            "redirect_uri 的域名与后台配置的网页授权域名不一致",
            "the host of redirect_uri is not the account's OAuth domain, or redirect_uri is not a URL percent-encoded once",
        )
    }

    /// An error that WeChat documents with a number.
    pub(super) fn numbered(code: i32, chinese: &str, english: &str) -> Self {
        Self {
            code: Some(code),
            chinese: chinese.to_owned(),
            english: english.to_owned(),
        }
    }

    fn order() -> Self {
        Self {
            code: None,
            chinese: "链接的参数必须依次为 appid、redirect_uri、response_type=code、scope、state".to_owned(),
            english: "the parameters must be appid, redirect_uri, response_type=code, scope and state, in this order, and then \
                      nothing but forcePopup and forceSnapShot"
                .to_owned(),
        }
    }

    fn state() -> Self {
        let (chinese, english) = (
            "state 只能是字母和数字，最多 128 字节",
            "state must be letters and digits, at most 128 bytes",
        );
        Self {
            code: None,
            chinese: chinese.to_owned(),
            english: english.to_owned(),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.english)
    }
}

fn redirect(text: &str) -> Option<Url> {
    Url::parse(text)
        .ok()
        .filter(|url| ["http", "https"].contains(&url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(redirect: &str) -> String {
        let redirect: String = url::form_urlencoded::byte_serialize(redirect.as_bytes()).collect();
        format!("appid=wx1&redirect_uri={redirect}&response_type=code&scope=snsapi_base&state=s1")
    }

    #[test]
    fn a_link_must_have_wechats_parameter_order() {
        let link = link("https://a.example/cb");
        let asked = Asked::parse(&link).expect("a good link");
        assert_eq!(
            (
                asked.app_id.as_str(),
                asked.state.as_str(),
                asked.is_silent(),
                asked.snapshot
            ),
            ("wx1", "s1", true, false)
        );
        assert!(
            Asked::parse(&format!("{link}&forcePopup=true&forceSnapShot=true"))
                .expect("a good link")
                .snapshot
        );
        let said = |query: &str| Asked::parse(query).expect_err("an error page").to_string();
        for wrong in [
            link.replace("appid=wx1&", "") + "&appid=wx1",
            link.replace("&response_type=code", ""),
            link.replace("=code", "=token"),
            format!("{link}&forceSnapShot=true&forcePopup=true"),
            format!("{link}&state=s2"),
            format!("{link}&other=1"),
            link.replace("&response_type", "&b=2&response_type"),
        ] {
            assert!(
                said(&wrong).starts_with("the parameters must be appid"),
                "{wrong}"
            );
        }
        let long = "s".repeat(129);
        for (from, to, start) in [
            ("appid=wx1", "appid=", "10012: "),
            ("appid=wx1&", "", "10012: "),
            ("https%3A%2F%2Fa.example%2Fcb", "", "10011: "),
            ("snsapi_base", "", "10010: "),
            ("s1", "", "10013: "),
            ("snsapi_base", "snsapi_login", "10005: "),
            ("snsapi_base", "snsapi_base,", "10005: "),
            ("s1", "s-1", "state must be"),
            ("s1", &long, "state must be"),
            ("https", "javascript", "10003: "),
            ("%3A%2F%2F", "%253A%252F%252F", "10003: "),
        ] {
            let wrong = link.replace(from, to);
            assert!(said(&wrong).starts_with(start), "{wrong}: {}", said(&wrong));
        }
        assert!(Asked::parse(&link.replace("s1", &long[1..])).is_ok());
    }

    #[test]
    fn a_callback_keeps_query_and_fragment() {
        let to = |redirect: &str, code| {
            Asked::parse(&link(redirect))
                .expect("a good link")
                .callback(code)
        };
        for (redirect, callback) in [
            (
                "https://a.example/cb",
                "https://a.example/cb?code=C&state=s1",
            ),
            ("https://a.example", "https://a.example/?code=C&state=s1"),
            (
                "http://a.example:81/cb?x=%2F+1&y",
                "http://a.example:81/cb?x=%2F+1&y&code=C&state=s1",
            ),
            (
                "https://a.example/cb?",
                "https://a.example/cb?code=C&state=s1",
            ),
            (
                "https://a.example/cb?x=1&",
                "https://a.example/cb?x=1&code=C&state=s1",
            ),
            (
                "https://a.example/cb?x=1#top",
                "https://a.example/cb?x=1&code=C&state=s1#top",
            ),
        ] {
            assert_eq!(to(redirect, Some("C")), callback);
        }
        assert_eq!(
            to("https://a.example/cb?x=1", None),
            "https://a.example/cb?x=1&state=s1"
        );
    }
}
