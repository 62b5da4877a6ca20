//! Allowed browser origins: the `cors` list, compiled once and checked per request. Pure; no HTTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use regex::{Regex, RegexBuilder};
use url::Url;

/// The allowed text before a pattern's match: part of the scheme, or everything up to the start of
/// the host or one of its labels. So `example\.com` does not match inside `notexample.com`.
const BEFORE: &str = r"^(?-u:[a-z0-9+.-]*(?::/{0,2}|://(?:[a-z0-9_-]+\.)+)?)";

/// The allowed text after a pattern's match: only a port that the pattern left open.
const BEHIND: &str = r"(?-u::[0-9]+)?$";

/// Unregistered origins. A pattern that matches one allows any site, or any under a top-level
/// domain.
const NOBODYS: [&str; 8] = [
    "https://nobody.invalid",
    "http://nobody.invalid",
    "https://a.nobody.invalid:8443",
    "http://nobody.invalid:8080",
    "https://www.nobody-has-this-name.com",
    "https://www.nobody-has-this-name.cn",
    "https://www.nobody-has-this-name.org",
    "https://www.nobody-has-this-name.net",
];

/// The `cors` list. Private and reserved hosts and `localhost` are always allowed.
#[derive(Clone, Debug)]
pub struct OriginPolicy {
    /// `None` allows any origin.
    pattern: Option<Regex>,
    /// The entries that do not match every origin; `None` if there are none.
    named: Option<Regex>,
}

impl OriginPolicy {
    /// Compiles the list. An empty list or an entry `*` allows any origin. Returns each invalid
    /// entry's index and error.
    pub fn new(patterns: &[String]) -> Result<Self, Vec<(usize, String)>> {
        let faults: Vec<(usize, String)> = patterns
            .iter()
            .enumerate()
            .filter(|(_, pattern)| *pattern != "*")
            .filter_map(|(index, pattern)| Some((index, fault_of(pattern)?)))
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let listed: Vec<&str> = patterns
            .iter()
            .map(String::as_str)
            .filter(|pattern| *pattern != "*")
            .collect();
        let named: Vec<&str> = listed
            .iter()
            .copied()
            .filter(|pattern| !matches_any(pattern))
            .collect();
        let is_any = patterns.is_empty() || listed.len() < patterns.len();
        let pattern = if is_any { None } else { together(&listed)? };
        let named = if pattern.is_some() && named.len() == listed.len() {
            pattern.clone()
        } else {
            together(&named)?
        };
        Ok(Self { pattern, named })
    }

    /// True if `origin` is valid and matches an entry; private hosts get no exception.
    pub fn matches(&self, origin: &str) -> bool {
        self.pattern
            .as_ref()
            .is_some_and(|pattern| host_of(origin).is_some() && pattern.is_match(origin))
    }

    /// Returns the full expression for `pattern`.
    pub fn expression(pattern: &str) -> String {
        anchored(pattern)
    }

    /// Allows every origin.
    pub fn any() -> Self {
        Self {
            pattern: None,
            named: None,
        }
    }

    /// True if an entry that does not match every origin matches `origin`, or its host is private
    /// or `localhost`.
    pub fn names(&self, origin: &str) -> bool {
        host_of(origin).is_some_and(|host| {
            is_local(host)
                || self
                    .named
                    .as_ref()
                    .is_some_and(|named| named.is_match(origin))
        })
    }

    /// True if every origin is allowed, so that responses need no `Vary: Origin`.
    pub fn allows_any(&self) -> bool {
        self.pattern.is_none()
    }

    /// True if a request with the `Origin` header `origin` is allowed.
    pub fn allows(&self, origin: &str) -> bool {
        let Some(pattern) = &self.pattern else {
            return true;
        };
        host_of(origin).is_some_and(|host| is_local(host) || pattern.is_match(origin))
    }
}

/// Combines all `patterns` into one expression; `None` if there are none.
fn together(patterns: &[&str]) -> Result<Option<Regex>, Vec<(usize, String)>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let branches: Vec<String> = patterns
        .iter()
        .map(|pattern| format!("(?:{pattern})"))
        .collect();
    let pattern = compile(&anchored(&branches.join("|")));
    pattern
        .map(Some)
        .map_err(|fault| vec![(0, format!("together with the others: {}", in_words(&fault)))])
}

fn matches_any(pattern: &str) -> bool {
    let pattern = compile(&anchored(&format!("(?:{pattern})")));
    pattern.is_ok_and(|pattern| NOBODYS.iter().any(|origin| pattern.is_match(origin)))
}

/// Anchors the pattern to a label's start and the host's end inside the expression, so that an
/// invalid first match cannot hide a valid later one.
fn anchored(pattern: &str) -> String {
    format!("{BEFORE}(?:{pattern}){BEHIND}")
}

fn fault_of(pattern: &str) -> Option<String> {
    if pattern.is_empty() {
        return Some(
            "an empty pattern is not allowed; write \"*\" to allow every origin".to_owned(),
        );
    }
    // Compile each pattern separately: `a)|(b` or a comment could break out of our group.
    match compile(pattern) {
        Err(fault) => Some(in_words(&fault)),
        Ok(_) if pattern.contains('#') => {
            Some("no origin contains a '#'; remove it and what follows it".to_owned())
        }
        Ok(_) => None,
    }
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).case_insensitive(true).build()
}

/// Only the last line of a syntax error states the cause; the lines before it draw the pattern.
fn in_words(fault: &regex::Error) -> String {
    match fault {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

/// Returns the host of `scheme://host[:port]`, or `None` for anything else (`null`, a path, a user,
/// a space, an empty label).
fn host_of(origin: &str) -> Option<&str> {
    let (scheme, rest) = origin.split_once("://")?;
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-'));
    let host_ends = match rest.strip_prefix('[') {
        Some(inner) => inner.find(']')? + 2,
        None => rest.find(':').unwrap_or(rest.len()),
    };
    let (host, port) = rest.split_at(host_ends);
    let port_fits = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    (scheme_fits && port_fits && host_fits(host)).then_some(host)
}

fn host_fits(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner
            .strip_suffix(']')
            .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
    }
    let label_fits = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host.split('.').all(label_fits)
}

fn is_local(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
    {
        Ok(IpAddr::V4(ip)) => v4_is_local(ip),
        Ok(IpAddr::V6(ip)) => v6_is_local(ip),
        Err(_) => false,
    }
}

/// Private and reserved ranges. Source: IANA IPv4 Special-Purpose Address Registry (RFC 6890).
fn v4_is_local(ip: Ipv4Addr) -> bool {
    match ip.octets() {
        [0 | 10 | 127 | 224..=255, ..] => true,
        [100, second, ..] => second & 0b1100_0000 == 64,
        [169, 254, ..] | [192, 168, ..] => true,
        [172, second, ..] => second & 0b1111_0000 == 16,
        [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        _ => false,
    }
}

/// Private and reserved ranges. An IPv4-mapped address is checked as IPv4. Source: IANA IPv6
/// Special-Purpose Address Registry.
fn v6_is_local(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return v4_is_local(v4);
    }
    let [first, second, ..] = ip.segments();
    let documentation = (first, second) == (0x2001, 0x0db8);
    ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || ip.is_unique_local()
        || ip.is_unicast_link_local()
        || documentation
}

/// Origins listed one by one, such as `https://shop.example.com`, as browsers write them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OriginList(Vec<String>);

impl OriginList {
    /// Creates a list from results of [`OriginList::read`].
    pub fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    /// Returns `text` as a browser writes it, without a trailing slash. The error completes the
    /// sentence "it …".
    pub fn read(text: &str) -> Result<String, &'static str> {
        let scheme = ["https://", "http://"]
            .into_iter()
            .find(|scheme| starts_with(text, scheme));
        let scheme = scheme.ok_or("does not begin with https:// or http://")?;
        let rest = &text[scheme.len()..];
        let host = rest.strip_suffix('/').unwrap_or(rest);
        if host.contains('*') {
            return Err("has a wildcard, which is not supported here; list each origin");
        }
        if host.contains('@') {
            return Err("has a user before its host");
        }
        if host.contains(['/', '?', '#', '\\']) {
            return Err("has more than the host and the port; remove the rest");
        }
        let url = Url::parse(&format!("{scheme}{host}"))
            .ok()
            .filter(|_| !host.contains('%'))
            .ok_or("has no valid host")?;
        Ok(url.origin().ascii_serialization())
    }

    /// Whether a page of `origin` is listed.
    pub fn contains(&self, origin: &str) -> bool {
        !self.0.is_empty() && Self::read(origin).is_ok_and(|origin| self.0.contains(&origin))
    }
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(patterns: &[&str]) -> OriginPolicy {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        OriginPolicy::new(&patterns).expect("the patterns are good")
    }

    #[track_caller]
    fn check(pattern: &str, allowed: &[&str], refused: &[&str]) {
        let policy = policy(&[pattern]);
        for origin in allowed {
            assert!(policy.allows(origin), "{pattern} should let {origin} in");
        }
        for origin in refused {
            assert!(!policy.allows(origin), "{pattern} should refuse {origin}");
        }
    }

    #[test]
    fn a_pattern_matches_whole_labels_at_the_hosts_end() {
        check(
            r"Example\.com",
            &[
                "http://example.com",
                "https://www.example.com:8443",
                "https://a.b.example.com",
                "HTTPS://EXAMPLE.COM",
            ],
            &[
                "https://example.com.evil.org",
                "https://notexample.com",
                "https://example.community",
                "https://evil.org:80",
            ],
        );
        check(
            "example",
            &["http://example"],
            &["https://example.com", "https://example.evil.org"],
        );
        check(
            "^example.com",
            &[],
            &["http://example.com", "https://example.com"],
        );
        check(r"\.com", &[], &["http://example.com"]);
    }

    #[test]
    fn a_full_pattern_matches_exactly_one_origin() {
        let others = [
            "http://shop.example.com",
            "https://shop.example.com:8443",
            "https://www.shop.example.com",
        ];
        check(
            r"^https://shop\.example\.com$",
            &["https://shop.example.com"],
            &others,
        );
        check(
            r"//shop\.example\.com$",
            &["http://shop.example.com"],
            &["http://a.shop.example.com"],
        );
    }

    #[test]
    fn a_port_may_be_part_of_the_pattern() {
        let others = [
            "https://example.com",
            "https://example.com:84430",
            "https://example.com:844",
        ];
        check(r"example\.com:8443", &["https://example.com:8443"], &others);
        check(
            r"example\.com:8443$",
            &["https://www.example.com:8443"],
            &others,
        );
        check(
            r"example\.com$",
            &["https://example.com"],
            &["https://example.com:8443"],
        );
        check(":8443$", &[], &["https://evil.org:8443"]);
    }

    #[test]
    fn every_branch_of_an_alternation_is_anchored() {
        let evil = [
            "http://a.com.evil.org",
            "http://xa.com",
            "http://evil.org",
            "http://b.com.evil.org",
            "http://xb.com",
        ];
        check(
            r"a\.com|b\.com",
            &["http://a.com", "http://www.b.com:1"],
            &evil,
        );
        check(
            r"^https://a\.com|b\.com$",
            &["https://a.com", "http://b.com"],
            &["https://a.com.evil.org", "http://a.com"],
        );
    }

    #[test]
    fn a_wrong_match_does_not_hide_a_right_one() {
        check(
            r"example\.com",
            &[
                "https://example.com.example.com",
                "https://notexample.com.example.com",
            ],
            &[],
        );
        check(
            r"[a-z.]*example\.com",
            &["https://notexample.com"],
            &["https://example.com.evil.org"],
        );
    }

    #[test]
    fn private_addresses_are_parsed_and_not_guessed() {
        let local = "http://localhost http://LOCALHOST:3000 http://127.0.0.1 http://10.1.2.3:80 http://172.31.0.1 http://100.64.0.1 \
                     http://192.168.0.1 http://0.0.0.0 http://255.255.255.255 http://198.19.0.1 http://203.0.113.9 http://[::1]:80 \
                     http://[fd00::1] http://[fe80::1] http://[::ffff:10.0.0.1] http://[2001:db8::1] http://[ff02::1] http://[::]";
        let foreign = "http://10.evil.org http://127.0.0.1.evil.org http://172.32.0.1 http://100.128.0.1 http://8.8.8.8 http://[2606::1] \
                       http://[::ffff:8.8.8.8] http://localhost.evil.org http://a.localhost http://10.0.0.1@evil.org http://192.0.1.1";
        let split = |text: &'static str| text.split_whitespace().collect::<Vec<_>>();
        check("nobody", &split(local), &split(foreign));
    }

    #[test]
    fn an_invalid_origin_is_refused_unless_all_are_allowed() {
        let odd = [
            "null",
            "",
            "example.com",
            "http://",
            "http://example.com/",
            "http://u@example.com",
            "http://example.com:",
            "http:// example.com",
            "http://example.com:99999",
            "http://example.com:+1",
            "://example.com",
            "http://example.com.",
            "http://[::1",
            "http://[::1]x",
            "http://a..example.com",
            "http://localhost/",
            "http://[127.0.0.1]",
        ];
        check(
            ".*",
            &["http://example.com", "chrome-extension://abcdef"],
            &odd,
        );
        for anyone in [policy(&[]), policy(&["*"]), policy(&[r"example\.com", "*"])] {
            assert!(anyone.allows_any() && odd.iter().all(|origin| anyone.allows(origin)));
        }
    }

    #[test]
    fn a_list_names_origins_unless_it_matches_all() {
        for any in [
            &[][..],
            &["*"],
            &[".*"],
            &[".+"],
            &["^https?://.*$"],
            &["[^/]+"],
            &["https://.*", "http:.*"],
            &["(.*)", "*"],
            &[r".*\.com"],
            &[r"https://.*\.[a-z]{2,3}"],
        ] {
            let policy = policy(any);
            for origin in [
                "https://shop.example.com",
                "http://example.com:8080",
                "null",
                "",
            ] {
                assert!(!policy.names(origin), "{any:?} {origin}");
            }
            assert!(
                policy.allows("https://shop.example.com")
                    && policy.names("http://localhost:3000")
                    && policy.names("http://10.1.2.3")
            );
        }
        for named in [
            &[r"shop\.example\.com"][..],
            &[r"shop\.example\.com", "*"],
            &[".*", r"example\.com"],
            &[r"^https://.*\.example\.com$"],
        ] {
            let policy = policy(named);
            assert!(policy.names("https://shop.example.com"), "{named:?}");
            assert!(
                !policy.names("https://evil.org") && !policy.names("null"),
                "{named:?}"
            );
        }
    }

    #[test]
    fn origins_are_parsed_as_browsers_write_them() {
        for (text, origin) in [
            ("https://shop.example.com", "https://shop.example.com"),
            ("HTTPS://Shop.Example.com:443/", "https://shop.example.com"),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
            ("https://商店.example", "https://xn--czrs0t.example"),
            ("http://[0:0::1]:81", "http://[::1]:81"),
        ] {
            assert_eq!(OriginList::read(text).as_deref(), Ok(origin));
            assert!(OriginList::new(vec![origin.to_owned()]).contains(text));
        }
        for (text, why) in [
            ("shop.example.com", "does not begin"),
            ("*", "does not begin"),
            ("null", "does not begin"),
            ("", "does not begin"),
            ("ftp://a.example", "does not begin"),
            ("https://*.example.com", "wildcard"),
            ("https://u@a.example", "user"),
            ("https://a.example/shop", "more than"),
            ("https://a.example//", "more than"),
            ("https://a.example?x", "more than"),
            ("https://a.example/#x", "more than"),
            ("https:///a.example", "more than"),
            ("https://a\\b", "more than"),
            ("https://", "no valid host"),
            ("https://a b", "no valid host"),
            ("https://a:99999", "no valid host"),
            ("https://a%2eb", "no valid host"),
        ] {
            assert!(
                OriginList::read(text).is_err_and(|told| told.contains(why)),
                "{text}: {:?}",
                OriginList::read(text)
            );
        }
        assert!(!OriginList::default().contains("https://shop.example.com"));
    }

    #[test]
    fn a_faulty_pattern_is_named_by_position() {
        let patterns = [
            r"example\.com",
            "a(b",
            "",
            "(?!evil).*",
            "a)|(b",
            "(?x)a # b",
            "*",
        ]
        .map(str::to_owned);
        let faults = OriginPolicy::new(&patterns).expect_err("five are faulty");
        assert_eq!(
            faults.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5]
        );
        assert_eq!(faults[0].1, "unclosed group");
        assert_eq!(
            faults[2].1,
            "look-around, including look-ahead and look-behind, is not supported"
        );
    }

    #[test]
    fn many_patterns_match_like_each_alone() {
        let patterns: Vec<String> = (0..300)
            .map(|n| format!(r"site{n}\.example\.com|alias{n}\.example\.org$"))
            .collect();
        let policy = OriginPolicy::new(&patterns).expect("the patterns are good");
        for origin in [
            "https://site299.example.com:1",
            "https://www.site7.example.com",
            "http://alias0.example.org",
        ] {
            assert!(policy.allows(origin), "{origin}");
        }
        for origin in [
            "https://site300.example.com",
            "https://mysite7.example.com",
            "http://alias0.example.org:1",
            "http://evil.org",
        ] {
            assert!(!policy.allows(origin), "{origin}");
        }
        let names = [r"(?<host>a)\.com", r"(?<host>b)\.com"].map(str::to_owned);
        assert!(
            OriginPolicy::new(&names)
                .is_err_and(|faults| faults[0].1.contains("duplicate capture group name"))
        );
    }

    proptest! {
        #[test]
        fn no_suffix_ever_passes(suffix in r"[.a-z0-9:@/%#?-]{1,20}") {
            let host = format!("https://example.com{suffix}");
            let only_a_port = suffix.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
            let again = suffix.split(':').next().is_some_and(|host| host.ends_with(".example.com"));
            prop_assume!(!only_a_port && !again);
            prop_assert!(!policy(&[r"example\.com"]).allows(&host), "{}", host);
        }

        #[test]
        fn no_prefix_of_a_label_ever_passes(prefix in r"[a-z0-9_-]{1,20}") {
            let origin = format!("https://{prefix}example.com");
            prop_assert!(!policy(&[r"example\.com"]).allows(&origin), "{}", origin);
        }

        #[test]
        fn neither_case_nor_port_ever_matters(upper: [bool; 23], port: u16) {
            let mixed: String = "https://www.example.com".chars().zip(upper)
                .map(|(c, upper)| if upper { c.to_ascii_uppercase() } else { c }).collect();
            let policy = policy(&[r"eXample\.com"]);
            prop_assert!(policy.allows(&mixed));
            let with_port = format!("{mixed}:{port}");
            prop_assert!(policy.allows(&with_port));
        }

        #[test]
        fn no_origin_and_no_pattern_panics(origin in r"(https?://)?\PC*", pattern in r"\PC*") {
            if let Ok(policy) = OriginPolicy::new(&[pattern]) {
                policy.allows(&origin);
            }
        }
    }
}
