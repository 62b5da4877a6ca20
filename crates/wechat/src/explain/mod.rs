//! Explains a JS-SDK signature that WeChat refuses: tries the usual mistakes and names the one that
//! produces this signature. Pure and bounded: no ticket is fetched here, and at most
//! [`MOST_DIGESTS`] digests are computed.

use sha1::{Digest, Sha1};

mod address;
mod encoding;
mod finding;
mod variants;

use variants::Variants;

pub use finding::{Code, Lingo};

/// The most digests that one search computes.
pub const MOST_DIGESTS: usize = 6000;

/// The most tickets of other accounts that are tried.
pub const MOST_OTHERS: usize = 1500;

/// A larger timestamp is in milliseconds.
const FIRST_MS: u64 = 100_000_000_000;

/// The most bytes that one search hashes.
const MOST_BYTES: usize = 2 << 20;

/// The longest address, in bytes, that is looked at.
pub const LONGEST_URL: usize = 4096;

/// The longest nonce, in bytes. WeChat's own examples have 16.
pub const LONGEST_NONCE: usize = 128;

/// A signature of 20 bytes, parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature {
    digest: [u8; 20],
    has_capitals: bool,
}

impl Signature {
    /// Reads 40 hex digits of either case; `None` if `text` is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut digest = [0; 20];
        if pairs.len() != digest.len() || !rest.is_empty() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(pairs) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            *byte = u8::try_from(high? << 4 | low?).ok()?;
        }
        let has_capitals = text.bytes().any(|byte| byte.is_ascii_uppercase());
        Some(Self {
            digest,
            has_capitals,
        })
    }
}

/// What the page gave to `wx.config`, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The address that the page means to have signed.
    pub url: &'a str,
    /// The address that the browser shows, if it is known.
    pub page_url: Option<&'a str>,
    /// `nonceStr`.
    pub nonce: &'a str,
    /// `timestamp`.
    pub timestamp: u64,
    /// `signature`.
    pub signature: Signature,
}

/// What may have been put in the ticket's place.
#[derive(Clone, Debug, Default)]
pub struct Candidates<'a> {
    /// The ticket that is right now.
    pub ticket: &'a str,
    /// The ticket before it.
    pub previous: Option<&'a str>,
    /// The account's ticket for cards.
    pub card: Option<&'a str>,
    /// The account's access_token.
    pub token: Option<&'a str>,
    /// The tickets of other accounts.
    pub others: Vec<&'a str>,
}

/// The result of the search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What produces the signature.
    pub code: Code,
    /// A second mistake that was made as well.
    pub also: Option<Code>,
    /// The address that was signed; `None` if it is unknown.
    pub signed_url: Option<String>,
    /// For [`Code::Correct`] if the page is at another address: how the two differ. `Some(None)` =
    /// in no usual way.
    pub difference: Option<Option<Code>>,
}

impl Finding {
    /// Whether WeChat would accept the signature for `url`.
    pub fn is_match(&self) -> bool {
        self.code == Code::Correct
    }
}

/// Names what produces the signature.
pub fn explain(signed: &Signed<'_>, candidates: &Candidates<'_>) -> Finding {
    let mut search = Search {
        signed,
        left: MOST_DIGESTS,
        bytes_left: MOST_BYTES,
    };
    let found = search.run(candidates);
    let Some((code, also, signed_url)) = found else {
        return Finding {
            code: Code::UnknownTicket,
            also: None,
            signed_url: None,
            difference: None,
        };
    };
    let url = address::without_fragment(signed.url);
    let difference = signed
        .page_url
        .map(address::without_fragment)
        .filter(|page| code == Code::Correct && *page != url)
        .map(|page| variants::difference(url, page));
    Finding {
        code,
        also,
        signed_url: Some(signed_url),
        difference,
    }
}

/// The text that WeChat hashes, with the ticket masked.
pub fn masked_string1(url: &str, nonce: &str, timestamp: u64) -> String {
    crate::signature::jsapi_string1("***", nonce, timestamp, address::without_fragment(url))
}

/// The mistake, a second one if there are two, and the address that was signed.
type Found = (Code, Option<Code>, String);

struct Search<'a> {
    signed: &'a Signed<'a>,
    left: usize,
    bytes_left: usize,
}

impl Search<'_> {
    fn run(&mut self, candidates: &Candidates<'_>) -> Option<Found> {
        let (signed, ticket) = (self.signed, candidates.ticket);
        let variants = Variants::of(signed.url, signed.page_url);
        // One mistake in the address.
        for (code, url) in variants.all() {
            if self.is(ticket, url) {
                return Some(self.by_address(*code, url));
            }
        }
        // Another value in the ticket's place.
        let own = [
            (Code::PreviousTicket, candidates.previous),
            (Code::CardTicket, candidates.card),
            (Code::TokenAsTicket, candidates.token),
        ];
        let own = own
            .into_iter()
            .filter_map(|(code, value)| Some((code, value?)));
        for (code, value) in own {
            for (second, url) in variants.likely() {
                if self.is(value, url) {
                    return Some((code, second.other_than(Code::Correct), url.clone()));
                }
            }
        }
        let plain = |(code, _): &&(Code, String)| *code != Code::FragmentSigned;
        for (second, url) in variants.likely().iter().filter(plain) {
            for other in candidates.others.iter().take(MOST_OTHERS) {
                if self.is(other, url) {
                    let second = second.other_than(Code::Correct);
                    return Some((Code::OtherAccountTicket, second, url.clone()));
                }
            }
        }
        self.by_fields(ticket, &variants)
            .or_else(|| self.by_two(ticket, &variants))
            .or_else(|| self.by_time(ticket, &variants))
    }

    /// Upper-case digits, and a timestamp in milliseconds that was signed as it is, are mistakes of
    /// their own.
    fn by_address(&self, code: Code, url: &str) -> Found {
        let url = url.to_owned();
        let is_in_ms = self.signed.timestamp >= FIRST_MS;
        let beside = match (self.signed.signature.has_capitals, is_in_ms) {
            (true, _) => Some(Code::Uppercase),
            (false, true) => Some(Code::TimestampInMs),
            (false, false) => None,
        };
        match (beside, code) {
            (Some(beside), Code::Correct) => (beside, None, url),
            (beside, code) => (code, beside, url),
        }
    }

    /// The timestamp in milliseconds. A page that divides by 1000 after it has signed loses up to
    /// 999 of them.
    fn by_time(&mut self, ticket: &str, variants: &Variants) -> Option<Found> {
        let Signed {
            nonce, timestamp, ..
        } = *self.signed;
        let is_ms = timestamp >= FIRST_MS;
        let start = timestamp.checked_mul(1000)?;
        let (first, count) = if is_ms {
            (timestamp / 1000, 1)
        } else {
            (start, 1000)
        };
        for (code, url) in variants.likely() {
            if *code == Code::FragmentSigned {
                continue;
            }
            for other in first..first + count {
                let other = other.to_string();
                let string1 = [
                    "jsapi_ticket=",
                    ticket,
                    "&noncestr=",
                    nonce,
                    "&timestamp=",
                    &other,
                    "&url=",
                    url,
                ];
                if self.is_digest_of(&string1) {
                    let second = code.other_than(Code::Correct);
                    return Some((Code::TimestampInMs, second, url.clone()));
                }
            }
        }
        None
    }

    /// Other names or another order of the fields.
    fn by_fields(&mut self, ticket: &str, variants: &Variants) -> Option<Found> {
        let Signed {
            nonce, timestamp, ..
        } = *self.signed;
        let timestamp = timestamp.to_string();
        for (code, url) in variants.likely() {
            if *code == Code::FragmentSigned {
                continue;
            }
            for names in field_names() {
                let [for_ticket, for_nonce, for_time, for_url] = names;
                let fields = [
                    [for_ticket, "=", ticket],
                    [for_nonce, "=", nonce],
                    [for_time, "=", &timestamp],
                    [for_url, "=", url],
                ];
                for order in ORDERS {
                    let string1: Vec<&str> = order
                        .iter()
                        .enumerate()
                        .flat_map(|(at, field)| {
                            let join = if at == 0 { "" } else { "&" };
                            [join].into_iter().chain(fields[*field])
                        })
                        .collect();
                    if self.is_digest_of(&string1) {
                        let second = code.other_than(Code::Correct);
                        return Some((Code::FieldName, second, url.clone()));
                    }
                }
            }
        }
        None
    }

    /// Two mistakes in the address at once, as a proxy makes with scheme and port.
    fn by_two(&mut self, ticket: &str, variants: &Variants) -> Option<Found> {
        for (first, url) in variants.firsts() {
            for (second, url) in Variants::of(url, None).all() {
                if self.is(ticket, url) {
                    return Some((*first, second.other_than(*first), url.clone()));
                }
            }
        }
        None
    }

    fn is(&mut self, ticket: &str, url: &str) -> bool {
        let (nonce, timestamp) = (self.signed.nonce, self.signed.timestamp.to_string());
        let string1 = [
            "jsapi_ticket=",
            ticket,
            "&noncestr=",
            nonce,
            "&timestamp=",
            &timestamp,
            "&url=",
            url,
        ];
        self.is_digest_of(&string1)
    }

    fn is_digest_of(&mut self, string1: &[&str]) -> bool {
        let length = string1.iter().map(|part| part.len()).sum();
        if self.left == 0 || self.bytes_left < length {
            return false;
        }
        self.left -= 1;
        self.bytes_left -= length;
        let mut sha1 = Sha1::new();
        for part in string1 {
            sha1.update(part);
        }
        let digest: [u8; 20] = sha1.finalize().into();
        digest == self.signed.signature.digest
    }
}

/// The order that WeChat wants, and orders that people write. The numbers are those of the fields
/// ticket, nonce, timestamp, url.
const ORDERS: [[usize; 4]; 4] = [[0, 1, 2, 3], [0, 2, 1, 3], [1, 0, 2, 3], [3, 2, 1, 0]];

/// The names that people write for the four fields.
fn field_names() -> impl Iterator<Item = [&'static str; 4]> {
    const TICKETS: [&str; 4] = ["jsapi_ticket", "jsapiTicket", "ticket", "access_token"];
    const NONCES: [&str; 4] = ["noncestr", "nonceStr", "nonce_str", "nonce"];
    const TIMES: [&str; 3] = ["timestamp", "timeStamp", "ts"];
    TICKETS.into_iter().flat_map(|ticket| {
        NONCES.into_iter().flat_map(move |nonce| {
            TIMES
                .into_iter()
                .map(move |time| [ticket, nonce, time, "url"])
        })
    })
}

#[cfg(test)]
mod tests;
