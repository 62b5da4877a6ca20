//! An account's web OAuth policy: allowed return sites and default scope. Addresses are compared as
//! parsed URLs, as browsers read them, never as text. Pure: no HTTP, store or WeChat calls.

use std::collections::HashMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

use wechat::account::AppId;

mod site;

pub use site::Site;

/// Maximum length in bytes of a return address, percent-encoded and with our parameters. The
/// response headers must fit into nginx's default 4 KiB (`proxy_buffer_size`).
pub const MAX_RETURN_LEN: usize = 3600;

/// Maximum number of decoding passes; more would have no practical effect.
const DECODINGS: usize = 3;

/// The OAuth scope. Source: 网页授权, scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// Without consent; returns the openid only.
    #[default]
    Base,
    /// With the user's consent; returns nickname and picture too.
    UserInfo,
}

impl Scope {
    /// Both scopes by their wire names.
    pub const NAMES: [(&'static str, Self); 2] = [
        ("snsapi_base", Self::Base),
        ("snsapi_userinfo", Self::UserInfo),
    ];

    /// The wire name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// Returns the scope of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, scope)| *scope)
    }
}

/// The policy of each account. An unlisted account allows no site.
#[derive(Clone, Debug, Default)]
pub struct OauthPolicies(HashMap<AppId, OauthPolicy>);

impl OauthPolicies {
    /// Returns the policy of that account.
    pub fn of(&self, app_id: &str) -> OauthPolicy {
        self.0.get(app_id).cloned().unwrap_or_default()
    }

    /// Sets the policy of an account.
    pub fn insert(&mut self, app_id: AppId, policy: OauthPolicy) {
        self.0.insert(app_id, policy);
    }
}

/// The policy of one account.
#[derive(Clone, Debug, Default)]
pub struct OauthPolicy {
    /// The allowed return sites.
    pub sites: Vec<Site>,
    /// The default scope.
    pub scope: Scope,
}

/// An address that a policy has admitted. It is sent in its parsed form, so that browsers read it
/// as we did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redirect(Url);

/// Why a return address is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RedirectError {
    /// The address is malformed or ambiguous.
    #[error(
        "redirect {0}; send a plain absolute address such as https://shop.example.com/welcome, percent-encoded once"
    )]
    Malformed(&'static str),
    /// The address is longer than proxies and browsers accept.
    #[error(
        "redirect and state come to {0} bytes when visitors are sent back, percent-encoded and with our own parameters; at most {MAX_RETURN_LEN} work everywhere, so shorten them"
    )]
    TooLong(usize),
    /// The account lists no site.
    #[error(
        "this app lists no site to return to; add oauth: {{ redirects: [\"{0}\"] }} to it in the settings"
    )]
    NothingListed(String),
    /// The account lists other sites only.
    #[error(
        "this app's oauth.redirects do not cover the redirect; add \"{0}\" to them in the settings if that site is yours"
    )]
    NotListed(String),
}

impl OauthPolicy {
    /// Returns the address `text` if it is well-formed and matches a listed site. Does not check
    /// the length, which depends on the parameters added later.
    pub fn admit(&self, text: &str) -> Result<Redirect, RedirectError> {
        let url = parse(text).map_err(RedirectError::Malformed)?;
        if self.sites.iter().any(|site| site.covers(&url)) {
            return Ok(Redirect(url));
        }
        let origin = format!("{}/", url.origin().ascii_serialization());
        Err(if self.sites.is_empty() {
            RedirectError::NothingListed(origin)
        } else {
            RedirectError::NotListed(origin)
        })
    }

    /// Returns the first listed address if all are on one site; otherwise the default is ambiguous.
    pub fn only_site(&self) -> Option<Url> {
        let first = self.sites.first()?.address()?;
        let is_only = self.sites.iter().all(|site| {
            site.address()
                .is_some_and(|url| url.origin() == first.origin())
        });
        is_only.then_some(first)
    }
}

impl Redirect {
    /// Returns the address with `pairs` in its query, after removing all `names`, so that a link's
    /// author cannot forge our parameters.
    pub fn with(&self, names: &[&str], pairs: &[(&str, &str)]) -> String {
        let ours = |pair: &&str| {
            let (name, _) = url::form_urlencoded::parse(pair.as_bytes())
                .next()
                .unwrap_or_default();
            pair.is_empty() || names.contains(&name.as_ref())
        };
        let mut kept: Vec<String> = self
            .0
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !ours(pair))
            .map(str::to_owned)
            .collect();
        let mut added = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in pairs {
            added.append_pair(name, value);
        }
        kept.extend(Some(added.finish()).filter(|added| !added.is_empty()));
        let mut url = self.0.clone();
        url.set_query(
            Some(kept.join("&"))
                .filter(|query| !query.is_empty())
                .as_deref(),
        );
        url.into()
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses `text` and rejects anything that two parsers could read differently.
fn parse(text: &str) -> Result<Url, &'static str> {
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("holds a blank, a line break or a control character");
    }
    if text.contains('\\') {
        return Err("holds a backslash");
    }
    let scheme = ["https://", "http://"].iter().find(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(scheme))
    });
    let rest = scheme
        .map(|scheme| &text[scheme.len()..])
        .ok_or("does not begin with https:// or http://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.is_empty() {
        return Err("has no host");
    }
    if authority.contains('@') {
        return Err("has a user before its host");
    }
    if authority.contains('%') {
        return Err("has an encoded host");
    }
    check_path(&path[..path.find(['?', '#']).unwrap_or(path.len())])?;
    let url = Url::parse(text).map_err(|_| "cannot be read")?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && matches!(url.scheme(), "http" | "https");
    if plain {
        Ok(url)
    } else {
        Err("cannot be read")
    }
}

/// Rejects dot segments and encoded slashes, at any level of encoding; servers resolve them at
/// different stages.
fn check_path(path: &str) -> Result<(), &'static str> {
    let mut path = path.to_owned();
    for decoding in 0..=DECODINGS {
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("has a dot segment in its path");
        }
        if path.chars().any(|c| c.is_control()) {
            return Err("has a control character in its path");
        }
        let decoded = percent_decode_str(&path)
            .decode_utf8()
            .map_err(|_| "has a path that is not UTF-8")?
            .into_owned();
        if decoded.contains('\\') || decoded.matches('/').count() > path.matches('/').count() {
            return Err("has an encoded slash or backslash in its path");
        }
        if decoded == path {
            return Ok(());
        }
        if decoding == DECODINGS {
            break;
        }
        path = decoded;
    }
    Err("has a path that is encoded again and again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(sites: &[&str]) -> OauthPolicy {
        let sites = sites
            .iter()
            .map(|site| Site::parse(site).expect("a site"))
            .collect();
        OauthPolicy {
            sites,
            scope: Scope::Base,
        }
    }

    #[track_caller]
    fn check(site: &str, admitted: &[&str], refused: &[&str]) {
        let policy = policy(&[site]);
        for address in admitted {
            assert!(
                policy.admit(address).is_ok(),
                "{site} should admit {address}: {:?}",
                policy.admit(address)
            );
        }
        for address in refused {
            assert!(
                policy.admit(address).is_err(),
                "{site} should refuse {address}"
            );
        }
    }

    #[test]
    fn a_whole_site_is_its_scheme_host_and_port() {
        check(
            "https://shop.example.com/",
            &[
                "https://shop.example.com",
                "https://shop.example.com/",
                "HTTPS://SHOP.example.COM/a/b?c=/../d&e=%2F#f",
                "https://shop.example.com:443/",
                "https://shop.example.com/a//b",
                "https://shop.example.com/100%25",
                "https://shop.example.com/%E5%95%86/商",
                "https://shop.example.com?x=1",
            ],
            &[
                "http://shop.example.com/",
                "https://shop.example.com.evil.org/",
                "https://shop.example.com@evil.org/",
                "https://shop.example.com:443@evil.org/",
                "https://evil.org/https://shop.example.com/",
                "https://evil.org?https://shop.example.com/",
                "https://evil.org#https://shop.example.com/",
                "https://evilshop.example.com/",
                "https://example.com/",
                "https://a.shop.example.com/",
                "https://shop.example.com:8443/",
                "https://shop.example.com:80/",
                "https://shop.example.com./",
                "//shop.example.com/",
                "/",
                "",
                "shop.example.com",
                "javascript://shop.example.com/%0aalert(1)",
                "data:text/html,https://shop.example.com/",
                "ftp://shop.example.com/",
                "https:shop.example.com/",
                "https:/shop.example.com/",
                "https:///shop.example.com/",
                "https://user@shop.example.com/",
                "https://user:pass@shop.example.com/",
                "https://@shop.example.com/",
            ],
        );
    }

    #[test]
    fn malicious_urls_are_always_refused() {
        for (address, why) in [
            ("https://evil.org\\@shop.example.com/", "backslash"),
            ("https://shop.example.com\\.evil.org/", "backslash"),
            ("https://shop.example.com/\\evil.org", "backslash"),
            ("https://shop.example.com/a\nb", "line break"),
            ("https://shop.example.com/\r\nSet-Cookie:a=b", "line break"),
            ("https://shop.example.com\t.evil.org/", "control"),
            (" https://shop.example.com/", "blank"),
            ("https://shop.example.com/\u{0}", "control"),
            ("https://shop.example.com/\u{2028}", "blank"),
            ("https://shop.example.com/a/../b", "dot segment"),
            ("https://shop.example.com/..", "dot segment"),
            ("https://shop.example.com/./b", "dot segment"),
            ("https://shop.example.com/a/%2e%2E/b", "dot segment"),
            ("https://shop.example.com/a/.%2e/b", "dot segment"),
            ("https://shop.example.com/a/%252e%252e/b", "dot segment"),
            ("https://shop.example.com/a%2fb", "encoded slash"),
            ("https://shop.example.com/a%252Fb", "encoded slash"),
            ("https://shop.example.com/a%5cb", "encoded slash"),
            (
                "https://shop.example.com/%2525252525252f",
                "again and again",
            ),
            ("https://shop.example.com/%0d%0aa", "control"),
            ("https://shop.example.com/%00", "control"),
            ("https://shop.example.com/%ff", "UTF-8"),
            ("https://shop%2eexample.com/", "encoded host"),
            ("https://shop.example.com%2f@evil.org/", "user"),
            ("https://[::1/", "cannot be read"),
        ] {
            match policy(&["https://shop.example.com/"]).admit(address) {
                Err(RedirectError::Malformed(told)) => {
                    assert!(told.contains(why), "{address}: {told}")
                }
                other => panic!("{address}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_path_is_compared_by_whole_segments() {
        check(
            "https://example.com/shop/",
            &[
                "https://example.com/shop/",
                "https://example.com/shop/a",
                "https://example.com/shop//a",
            ],
            &[
                "https://example.com/shop",
                "https://example.com/shopping",
                "https://example.com/SHOP/",
                "https://example.com/",
                "https://example.com//shop/",
            ],
        );
        check(
            "https://example.com/shop",
            &[
                "https://example.com/shop",
                "https://example.com/shop/",
                "https://example.com/shop?x=1",
                "https://example.com/shop/a/b",
            ],
            &[
                "https://example.com/shopping",
                "https://example.com/sho",
                "https://example.com/a/shop",
                "https://example.com/sh%6fp",
            ],
        );
    }

    #[test]
    fn hosts_are_compared_in_canonical_form() {
        check(
            "https://商店.example/",
            &["https://xn--czrs0t.example/"],
            &["https://商占.example/"],
        );
        // A Cyrillic a.
        check(
            "https://paypal.example/",
            &["https://PAYPAL.example/"],
            &[
                "https://p\u{430}ypal.example/",
                "https://paypal.example\u{3002}evil.org/",
            ],
        );
        check(
            "http://127.0.0.1:8080/",
            &["http://127.1:8080/", "http://0x7f.0.0.1:8080/"],
            &["http://127.0.0.1/", "http://localhost:8080/"],
        );
        check(
            "http://[::1]:8080",
            &["http://[0:0::1]:8080/x"],
            &["http://[::2]:8080/"],
        );
    }

    #[test]
    fn an_admitted_url_is_admitted_again() {
        let policy = policy(&["https://shop.example.com/"]);
        for address in [
            "https://shop.example.com/商/%E5%95%86?名=值#片",
            "https://SHOP.example.com:443/a b"
                .replace(' ', "%20")
                .as_str(),
        ] {
            let sent = policy.admit(address).expect("listed").to_string();
            assert_eq!(policy.admit(&sent).map(|again| again.to_string()), Ok(sent));
        }
        let long = format!("https://shop.example.com/?q={}", "商".repeat(3000));
        assert!(
            policy
                .admit(
                    &policy
                        .admit(&long)
                        .expect("no length is checked here")
                        .to_string()
                )
                .is_ok()
        );
    }

    #[test]
    fn the_only_site_is_the_first_entry() {
        let only = |sites: &[&str]| policy(sites).only_site().map(String::from);
        assert_eq!(
            only(&["https://shop.example.com/in"]).as_deref(),
            Some("https://shop.example.com/in")
        );
        assert_eq!(
            only(&[
                "https://shop.example.com:8443/a/b/",
                "https://shop.example.com:8443/"
            ])
            .as_deref(),
            Some("https://shop.example.com:8443/a/b/")
        );
        assert_eq!(only(&["http://[::1]"]).as_deref(), Some("http://[::1]/"));
        assert_eq!(
            (
                only(&[]),
                only(&["https://a.example/", "https://b.example/"]),
                only(&["https://a.example/", "http://a.example/"])
            ),
            (None, None, None)
        );
        assert_eq!(
            (
                only(&["https://*.example.com/"]),
                only(&["https://a.example.com/", "https://*.example.com/"])
            ),
            (None, None)
        );
    }

    #[test]
    fn a_site_is_a_plain_address() {
        for bad in [
            "shop.example.com",
            "https://a/?b",
            "https://a/#b",
            "https://u@a/",
            "ftp://a/",
            "https://a/../b",
            "*",
            "https://*.a b/",
        ] {
            assert!(Site::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let https = [
            "https://a.example.com/",
            "https://A.EXAMPLE.com:443/x",
            "https://xn--fiqs8s.example.com/",
        ];
        let others = [
            "https://example.com/",
            "https://a.b.example.com/",
            "http://a.example.com/",
            "https://a.example.com:8443/",
            "https://a.example.com.evil.org/",
            "https://evil.org/.example.com/",
            "https://evilexample.com/",
            "https://.example.com/",
            "https://*.example.com/",
            "https://a.example.com./",
            "https://evil.org#.example.com/",
        ];
        check("https://*.example.com/", &https, &others);
        check("https://*.example.com", &https, &others);
        check(
            "https://*.Shop.example.com:8443/in/*",
            &["https://a.shop.example.com:8443/in/x"],
            &["https://a.shop.example.com:8443/out"],
        );
        for bad in [
            "https://*/",
            "https://*.com/",
            "https://*.com.cn/",
            "https://*.co.uk/",
            "https://shop-*.example.com/",
            "https://*shop.example.com/",
            "https://a.*.example.com/",
            "https://*.*.example.com/",
            "https://*.10.0.0.1/",
            "*://shop.example.com/",
            "http*://shop.example.com/",
            "https://shop.example.com:*/",
            "https://shop.example.com/*/in",
            "https://shop.example.com./",
        ] {
            assert!(Site::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_path_in_two_spellings_is_one() {
        check(
            "https://shop.example.com/%e5%95%86",
            &[
                "https://shop.example.com/商",
                "https://shop.example.com/%E5%95%86/x",
            ],
            &[],
        );
        check(
            "https://shop.example.com/商",
            &["https://shop.example.com/%e5%95%86"],
            &["https://shop.example.com/%e5"],
        );
        check(
            "https://商店.example/",
            &["https://xn--czrs0t.example/"],
            &[],
        );
        check(
            "https://shop.example.com/*",
            &["https://shop.example.com/", "https://shop.example.com/a/b"],
            &["https://a.shop.example.com/"],
        );
    }

    #[test]
    fn the_message_names_what_to_add() {
        let told = |policy: &OauthPolicy| {
            policy
                .admit("https://new.example.com/deep/page?x=1")
                .expect_err("not listed")
                .to_string()
        };
        assert!(
            told(&policy(&[])).contains("oauth: { redirects: [\"https://new.example.com/\"] }"),
            "{}",
            told(&policy(&[]))
        );
        let listed = policy(&["https://shop.example.com/"]);
        assert!(
            told(&listed).contains("add \"https://new.example.com/\""),
            "{}",
            told(&listed)
        );
    }

    #[test]
    fn only_our_parameters_are_replaced() {
        let with = |address: &str, pairs: &[(&str, &str)]| {
            let redirect = policy(&["https://a.example/"])
                .admit(address)
                .expect("listed");
            redirect.with(&["ticket", "state", "error"], pairs)
        };
        assert_eq!(
            with(
                "https://a.example/p",
                &[("ticket", "T"), ("state", "a b&c=d")]
            ),
            "https://a.example/p?ticket=T&state=a+b%26c%3Dd"
        );
        assert_eq!(
            with("https://a.example/?x=%20+1&y#/r?z", &[("ticket", "T")]),
            "https://a.example/?x=%20+1&y&ticket=T#/r?z"
        );
        assert_eq!(
            with(
                "https://a.example/?ticket=evil&st%61te=evil&error&tickets=1&x=1",
                &[("ticket", "T")]
            ),
            "https://a.example/?tickets=1&x=1&ticket=T"
        );
        assert_eq!(
            with("https://a.example/?state=old", &[]),
            "https://a.example/"
        );
    }

    proptest! {
        #[test]
        fn admitted_urls_lead_to_the_listed_host(before in r"[a-z0-9.@:/\\%?#-]{0,12}", between in r"[a-z0-9.@:/\\%?#-]{0,12}") {
            let policy = policy(&["https://shop.example.com/"]);
            for address in [format!("https://{before}shop.example.com{between}"), format!("{before}https://shop.example.com{between}/")] {
                if let Ok(redirect) = policy.admit(&address) {
                    let url = Url::parse(&redirect.with(&[], &[("a", "b")])).expect("an address");
                    prop_assert_eq!((url.scheme(), url.host_str(), url.port()), ("https", Some("shop.example.com"), None), "{}", address);
                    prop_assert_eq!((url.username(), url.password()), ("", None));
                }
            }
        }

        #[test]
        fn nothing_panics(text in r"(https?://)?\PC*") {
            let _ = policy(&["https://a.example/"]).admit(&text);
            let _ = Site::parse(&text);
        }
    }
}
