//! The query of a signed request: its decoded pairs, and the type for a verified one.

use std::borrow::Cow;

use url::form_urlencoded;

use super::error::RealmError;

/// A query string that claims to be signed. Its pairs are decoded as a form's.
///
/// The fields are the values of those names that must be unique, because a second value would be
/// ambiguous.
#[derive(Clone, Debug, Default)]
pub struct SignedQuery<'a> {
    raw: Cow<'a, str>,
    pub(super) realm: Option<Cow<'a, str>>,
    pub(super) nonce: Option<Cow<'a, str>>,
    pub(super) ts: Option<Cow<'a, str>>,
    pub(super) sign: Option<Cow<'a, str>>,
    key: Option<Cow<'a, str>>,
    rotate: Option<Cow<'a, str>>,
}

impl<'a> SignedQuery<'a> {
    /// Decodes the query after `?`. Values that need no decoding are borrowed.
    pub fn parse(raw: &'a str) -> Result<Self, RealmError> {
        let mut query = Self {
            raw: Cow::Borrowed(raw),
            ..Self::default()
        };
        for (name, value) in pairs(raw) {
            let (name, field) = match name.as_ref() {
                "realm" => ("realm", &mut query.realm),
                "nonce" => ("nonce", &mut query.nonce),
                "ts" => ("ts", &mut query.ts),
                "sign" => ("sign", &mut query.sign),
                "key" => ("key", &mut query.key),
                "rotate" => ("rotate", &mut query.rotate),
                _ => continue,
            };
            if field.replace(value).is_some() {
                return Err(RealmError::Repeated(name));
            }
        }
        Ok(query)
    }

    /// All pairs in the order of the query.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        pairs(&self.raw)
    }
}

/// A query whose signature was valid; only [`Realms::verify`](super::Realms::verify) creates one.
/// Version 1 covers only `realm`, `nonce` and `ts`, so its other values are as trustworthy as the
/// transport.
#[derive(Clone, Debug)]
pub struct VerifiedQuery<'a>(pub(super) SignedQuery<'a>);

impl VerifiedQuery<'_> {
    /// The key of the realm that signed.
    pub fn realm(&self) -> &str {
        self.0
            .realm
            .as_deref()
            .expect("a query without a realm is never verified")
    }

    /// The requested credential, as written.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// The value that WeChat refused, if given.
    pub fn rotate(&self) -> Option<&str> {
        self.0.rotate.as_deref()
    }

    /// Returns the value of the first pair called `name`.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0
            .pairs()
            .find_map(|(pair, value)| (pair == name).then_some(value))
    }

    /// Returns a copy that does not borrow from the request.
    pub fn into_owned(self) -> VerifiedQuery<'static> {
        fn own(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        let query = self.0;
        VerifiedQuery(SignedQuery {
            raw: own(query.raw),
            realm: query.realm.map(own),
            nonce: query.nonce.map(own),
            ts: query.ts.map(own),
            sign: query.sign.map(own),
            key: query.key.map(own),
            rotate: query.rotate.map(own),
        })
    }
}

/// The decoded pairs of a query.
fn pairs(raw: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    // Most queries have nothing to decode, which one look tells.
    let is_plain = is_plain(raw);
    let decode = move |text| match is_plain {
        true => Cow::Borrowed(text),
        false => decoded(text),
    };
    let mut rest = raw;
    // Not `str::split`, which takes twice as long for pieces as short as these.
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = memchr::memchr(b'&', rest.as_bytes()).unwrap_or(rest.len());
            let pair = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if !pair.is_empty() {
                let equals = pair.bytes().position(|byte| byte == b'=');
                let (name, value) = match equals {
                    Some(at) => (&pair[..at], &pair[at + 1..]),
                    None => (pair, ""),
                };
                return Some((decode(name), decode(value)));
            }
        }
        None
    })
}

/// True if nothing in `text` is encoded.
fn is_plain(text: &str) -> bool {
    memchr::memchr2(b'%', b'+', text.as_bytes()).is_none()
}

/// Decodes one name or value of a form.
fn decoded(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    // Without a bare `&` or `=`, the whole text is one name.
    let text = text.replace('=', "%3D");
    form_urlencoded::parse(text.as_bytes())
        .next()
        .map_or(Cow::Borrowed(""), |(name, _)| Cow::Owned(name.into_owned()))
}
