//! An address taken apart as text, so that putting it together again changes no byte.

/// The parts of an address without its fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    pub(super) scheme: &'a str,
    pub(super) host: &'a str,
    pub(super) port: Option<&'a str>,
    /// Empty, or from the first slash on.
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

/// `url` up to `#`.
pub(super) fn without_fragment(url: &str) -> &str {
    url.split('#').next().unwrap_or_default()
}

impl<'a> Address<'a> {
    /// `None` if `url` has no scheme.
    pub(super) fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = without_fragment(url).split_once("://")?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let path_at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_at);
        let colon = authority.rfind(':').filter(|colon| {
            authority[colon + 1..]
                .bytes()
                .all(|byte| byte.is_ascii_digit())
        });
        let (host, port) = match colon {
            Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
            None => (authority, None),
        };
        Some(Self {
            scheme,
            host,
            port,
            path,
            query,
        })
    }

    pub(super) fn write(&self) -> String {
        let mut url = format!("{}://{}", self.scheme, self.host);
        if let Some(port) = self.port {
            url.push(':');
            url.push_str(port);
        }
        url.push_str(self.path);
        if let Some(query) = self.query {
            url.push('?');
            url.push_str(query);
        }
        url
    }
}
