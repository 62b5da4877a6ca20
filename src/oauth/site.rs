//! One entry of `oauth.redirects`, and the addresses that it matches.

use url::{Host, Url};

use super::parse;

/// Maximum length of an `oauth.redirects` entry in bytes.
const MAX_SITE_LEN: usize = 2048;

/// An allowed site: scheme, host, port and leading path segments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    scheme: String,
    host: SiteHost,
    port: u16,
    /// See [`spelled`].
    segments: Vec<String>,
    /// `/shop/` matches everything below it; `/shop` also matches itself.
    below_only: bool,
}

/// The hosts of a site.
#[derive(Clone, PartialEq, Eq, Debug)]
enum SiteHost {
    This(Host<String>),
    /// Any single label before this name.
    OneLabelBefore(String),
}

impl Site {
    /// Returns the listed address, or `None` for a wildcard host.
    pub(super) fn address(&self) -> Option<Url> {
        let SiteHost::This(host) = &self.host else {
            return None;
        };
        let mut path = self.segments.join("/");
        if self.below_only && !path.is_empty() {
            path.push('/');
        }
        format!("{}://{}:{}/{path}", self.scheme, host, self.port)
            .parse()
            .ok()
    }

    /// Parses one entry of `oauth.redirects`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_SITE_LEN {
            return Err("is longer than 2048 bytes");
        }
        let url = parse(text)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("has a query or a fragment, which are not compared");
        }
        let (host, port) = (
            url.host().ok_or("has no host")?.to_owned(),
            url.port_or_known_default().ok_or("has no port")?,
        );
        let mut segments: Vec<String> = url
            .path_segments()
            .into_iter()
            .flatten()
            .map(spelled)
            .collect();
        // `/shop/*` is a common spelling of `/shop/`.
        if matches!(segments.last().map(String::as_str), Some("*" | "**")) {
            segments.pop();
            segments.push(String::new());
        }
        if segments.iter().any(|segment| segment.contains('*')) {
            return Err("has a * in its path: write the path up to there, with a slash at its end");
        }
        // The empty segment after the last slash.
        let below_only = segments.pop_if(|last| last.is_empty()).is_some();
        Ok(Self {
            scheme: url.scheme().to_owned(),
            host: SiteHost::of(host)?,
            port,
            segments,
            below_only,
        })
    }

    pub(super) fn covers(&self, url: &Url) -> bool {
        if url.scheme() != self.scheme
            || !url.host().is_some_and(|host| self.host.covers(&host))
            || url.port_or_known_default() != Some(self.port)
        {
            return false;
        }
        let segments: Vec<String> = url
            .path_segments()
            .into_iter()
            .flatten()
            .map(spelled)
            .collect();
        segments.starts_with(&self.segments)
            && (segments.len() > self.segments.len() || !self.below_only)
    }
}

/// Returns the segment with escapes in upper case, so that `%e5` equals `%E5`.
fn spelled(segment: &str) -> String {
    let mut digits = 0;
    let capital = |c: char| {
        let capital = if digits > 0 {
            c.to_ascii_uppercase()
        } else {
            c
        };
        digits = if c == '%' {
            2_u8
        } else {
            digits.saturating_sub(1)
        };
        capital
    };
    segment.chars().map(capital).collect()
}

impl SiteHost {
    fn of(host: Host<String>) -> Result<Self, &'static str> {
        let Host::Domain(name) = &host else {
            return Ok(Self::This(host));
        };
        if name.ends_with('.') {
            return Err("has a dot behind its host: leave it out");
        }
        if !name.contains('*') {
            return Ok(Self::This(host));
        }
        match name.strip_prefix("*.") {
            Some(rest) if rest.contains('*') => {
                Err("has more than one * in its host: each stands for one label, so list the sites")
            }
            Some(rest) if is_shared(rest) => {
                Err("has a * before a name under which strangers have sites: list the sites")
            }
            Some(rest) => Ok(Self::OneLabelBefore(rest.to_owned())),
            None => Err(
                "has a * that is not the whole first label, as in https://*.example.com/: list the sites",
            ),
        }
    }

    fn covers(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::This(ours), host) => host.to_owned() == *ours,
            (Self::OneLabelBefore(rest), Host::Domain(name)) => name
                .split_once('.')
                .is_some_and(|(label, behind)| behind == rest && is_label(label)),
            (Self::OneLabelBefore(_), _) => false,
        }
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Second-level labels of registrars in many countries: anybody can register a name below `com.cn`.
const SECOND_LEVELS: [&str; 14] = [
    "com", "co", "net", "ne", "org", "or", "gov", "go", "edu", "ac", "mil", "idv", "biz", "info",
];

/// True if anybody can register a name directly below this one: a top-level domain or a registrar's
/// second level.
fn is_shared(name: &str) -> bool {
    match name.rsplit_once('.') {
        None => true,
        Some((second, top)) => top.len() == 2 && SECOND_LEVELS.contains(&second),
    }
}
