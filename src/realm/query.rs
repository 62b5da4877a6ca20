//! The query of a signed request: its pairs, decoded, and what is known of it once a signature was
//! right.

use std::borrow::Cow;

use url::form_urlencoded;

use super::RealmError;

/// Names that may stand in a signed query only once: a second value would leave it open which of
/// the two was meant.
pub(super) const ONCE: [&str; 6] = ["realm", "nonce", "ts", "sign", "key", "rotate"];

/// A query string that claims to be signed: its pairs, decoded like a form's, each special name at
/// most once.
#[derive(Clone, Debug)]
pub struct SignedQuery<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Where in `pairs` each name of [`ONCE`] stands.
    special: [Option<usize>; ONCE.len()],
}

impl<'a> SignedQuery<'a> {
    /// Decodes what followed the `?`. A pair that needs no decoding is borrowed.
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

    /// The value of the first pair of that name.
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

/// Where a pair ends and its value begins, found in one walk: this is on the path of every query.
struct Pair {
    end: usize,
    equals: Option<usize>,
    /// Nothing in it is encoded.
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

/// Which of [`ONCE`] a name is.
fn special(name: &str) -> Option<usize> {
    ONCE.iter().position(|special| *special == name)
}

/// A query whose signature was right; only [`Realms::verify`](super::Realms::verify) makes one.
/// Version 1 covers `realm`, `nonce` and `ts` alone: the other values are then only as trustworthy
/// as the way they came.
#[derive(Clone, Debug)]
pub struct VerifiedQuery<'a>(pub(super) SignedQuery<'a>);

impl VerifiedQuery<'_> {
    /// The key of the realm that signed.
    pub fn realm(&self) -> &str {
        self.get("realm")
            .expect("a query without a realm is never verified")
    }

    /// Which credential is asked for, as written.
    pub fn key(&self) -> Option<&str> {
        self.get("key")
    }

    /// The value that WeChat refused, if the caller says so.
    pub fn rotate(&self) -> Option<&str> {
        self.get("rotate")
    }

    /// Any other parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    /// The same, no longer tied to the request it came in.
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

/// One name or value as a form decodes it.
fn decoded(text: &str) -> Cow<'_, str> {
    // Without a bare `&` or `=` in it, the whole text is one name.
    let text = text.replace('=', "%3D");
    form_urlencoded::parse(text.as_bytes())
        .next()
        .map_or(Cow::Borrowed(""), |(name, _)| Cow::Owned(name.into_owned()))
}
