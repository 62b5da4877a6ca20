//! The query of a signed request: its decoded pairs, and the type for a verified one.

use std::borrow::Cow;

use url::form_urlencoded;

use super::error::RealmError;

/// Names that must be unique in a signed query: a second value would be ambiguous.
pub(super) const ONCE: [&str; 6] = ["realm", "nonce", "ts", "sign", "key", "rotate"];

/// A query string that claims to be signed. Its pairs are decoded as a form's.
#[derive(Clone, Debug)]
pub struct SignedQuery<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The index in `pairs` of each name of [`ONCE`].
    special: [Option<usize>; ONCE.len()],
}

impl<'a> SignedQuery<'a> {
    /// Decodes the query after `?`. Pairs that need no decoding are borrowed.
    pub fn parse(raw: &'a str) -> Result<Self, RealmError> {
        let mut query = Self {
            pairs: Vec::with_capacity(8),
            special: [None; ONCE.len()],
        };
        let mut rest = raw;
        while !rest.is_empty() {
            let pair = Pair::first_of(rest);
            query.push(&rest[..pair.end], &pair)?;
            rest = rest.get(pair.end + 1..).unwrap_or_default();
        }
        Ok(query)
    }

    fn push(&mut self, text: &'a str, pair: &Pair) -> Result<(), RealmError> {
        if text.is_empty() {
            return Ok(());
        }
        let decode = |text: &'a str| {
            if pair.is_plain {
                Cow::Borrowed(text)
            } else {
                decoded(text)
            }
        };
        let name = decode(&text[..pair.equals.unwrap_or(text.len())]);
        let value = decode(pair.equals.map_or("", |at| &text[at + 1..]));
        if let Some(special) = special(&name)
            && self.special[special].replace(self.pairs.len()).is_some()
        {
            return Err(RealmError::Repeated(ONCE[special]));
        }
        self.pairs.push((name, value));
        Ok(())
    }

    /// Returns the value of the first pair called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        match special(name) {
            Some(special) => self.special[special].map(|at| self.pairs[at].1.as_ref()),
            None => self
                .pairs()
                .find_map(|(pair, value)| (pair == name).then_some(value)),
        }
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// The end of a pair and the start of its value, found in one pass, because every query takes this
/// path.
struct Pair {
    end: usize,
    equals: Option<usize>,
    /// True if nothing in it is encoded.
    is_plain: bool,
}

impl Pair {
    fn first_of(text: &str) -> Self {
        let mut pair = Self {
            end: text.len(),
            equals: None,
            is_plain: true,
        };
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'&' => {
                    pair.end = at;
                    break;
                }
                b'=' if pair.equals.is_none() => pair.equals = Some(at),
                b'%' | b'+' => pair.is_plain = false,
                _ => {}
            }
        }
        pair
    }
}

/// Returns the index of `name` in [`ONCE`].
fn special(name: &str) -> Option<usize> {
    ONCE.iter().position(|special| *special == name)
}

/// A query whose signature was valid; only [`Realms::verify`](super::Realms::verify) creates one.
/// Version 1 covers only `realm`, `nonce` and `ts`, so its other values are as trustworthy as the
/// transport.
#[derive(Clone, Debug)]
pub struct VerifiedQuery<'a>(pub(super) SignedQuery<'a>);

impl VerifiedQuery<'_> {
    /// The key of the realm that signed.
    pub fn realm(&self) -> &str {
        self.get("realm")
            .expect("a query without a realm is never verified")
    }

    /// The requested credential, as written.
    pub fn key(&self) -> Option<&str> {
        self.get("key")
    }

    /// The value that WeChat refused, if given.
    pub fn rotate(&self) -> Option<&str> {
        self.get("rotate")
    }

    /// Returns another parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    /// Returns a copy that does not borrow from the request.
    pub fn into_owned(self) -> VerifiedQuery<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let SignedQuery { pairs, special } = self.0;
        VerifiedQuery(SignedQuery {
            pairs: pairs
                .into_iter()
                .map(|(name, value)| (own(name), own(value)))
                .collect(),
            special,
        })
    }
}

/// Decodes one name or value of a form.
fn decoded(text: &str) -> Cow<'_, str> {
    // Without a bare `&` or `=`, the whole text is one name.
    let text = text.replace('=', "%3D");
    form_urlencoded::parse(text.as_bytes())
        .next()
        .map_or(Cow::Borrowed(""), |(name, _)| Cow::Owned(name.into_owned()))
}
