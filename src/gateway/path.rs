//! Paths at the gateway. WeChat's host is never chosen by a path, and no path may be read there as
//! another one than the one that was checked here.

use std::borrow::Cow;

use crate::realm::presets::FIRST_SEGMENTS;
use crate::realm::scope::is_segment;

/// A path that may be forwarded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Path<'a> {
    /// Made of `[A-Za-z0-9_.-]` segments, double slashes joined. Its case is kept.
    Plain(Cow<'a, str>),
    /// One of WeChat's, but with dot segments, `%`, backslashes or other characters.
    Malformed,
    /// It does not begin with one of WeChat's segments.
    Foreign,
}

impl<'a> Path<'a> {
    /// Reads `path`, which begins with `/`.
    pub fn read(path: &'a str) -> Self {
        let joined = joined(path);
        let mut segments = joined.split('/').skip(1);
        let Some(first) = segments.next().filter(|first| is_wechats(first)) else {
            return Self::Foreign;
        };
        // One slash at the end is a spelling that some SDKs have.
        let rest = joined[1 + first.len()..].trim_end_matches('/');
        let is_plain = FIRST_SEGMENTS.contains(&first)
            && (rest.is_empty() || rest[1..].split('/').all(is_segment));
        if is_plain {
            Self::Plain(joined)
        } else {
            Self::Malformed
        }
    }
}

/// Whether `segment` is one of WeChat's first segments, in any spelling of its letters.
fn is_wechats(segment: &str) -> bool {
    FIRST_SEGMENTS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(segment))
}

fn joined(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut joined = String::with_capacity(path.len());
    for c in path.chars() {
        if !(c == '/' && joined.ends_with('/')) {
            joined.push(c);
        }
    }
    Cow::Owned(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_keep_their_bytes() {
        for path in [
            "/cgi-bin/getcallbackip",
            "/wxa/business/getUserPhoneNumber",
            "/cgi-bin/a.b_c-d",
            "/sns/auth",
            "/cgi-bin/x/",
        ] {
            assert_eq!(Path::read(path), Path::Plain(path.into()), "{path}");
        }
        assert_eq!(
            Path::read("//cgi-bin///user//info"),
            Path::Plain("/cgi-bin/user/info".into())
        );
    }

    #[test]
    fn tricks_are_malformed() {
        for path in [
            "/cgi-bin/../sns/auth",
            "/cgi-bin/./token",
            "/cgi-bin/%2e%2e/x",
            "/cgi-bin/a%2fb",
            "/cgi-bin/a\\b",
            "/cgi-bin/a;b",
            "/cgi-bin/a@b",
            "/cgi-bin/a:80",
            "/cgi-bin/中",
            "/CGI-BIN/token",
        ] {
            assert_eq!(Path::read(path), Path::Malformed, "{path}");
        }
    }

    #[test]
    fn other_paths_are_not_the_gateways() {
        for path in [
            "/",
            "/jsapi/wx1/query",
            "/ping",
            "/cgi",
            "/%63gi-bin/token",
            "",
            "/..",
            "/cgi-bin@evil/x",
        ] {
            assert_eq!(Path::read(path), Path::Foreign, "{path}");
        }
    }
}
