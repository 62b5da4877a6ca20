//! Signatures of WeChat and of our realms: pure functions and a constant-time comparison.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The JS-SDK signature of `wx.config`: lower-case hex sha1 of
/// `jsapi_ticket=…&noncestr=…&timestamp=…&url=…`, all values raw, `timestamp` in seconds, `url`
/// without its `#…`. Source: WeChat, JS-SDK 使用权限签名算法.
pub fn jsapi(ticket: &str, nonce: &str, timestamp: u64, url: &str) -> Hex<20> {
    let mut sha1 = Sha1::new();
    for part in ["jsapi_ticket=", ticket, "&noncestr=", nonce, "&timestamp="] {
        sha1.update(part);
    }
    sha1.update(itoa::Buffer::new().format(timestamp));
    sha1.update("&url=");
    sha1.update(url);
    Hex(sha1.finalize().into())
}

/// Returns the text that [`jsapi`] hashes, for comparison with WeChat's debugging page.
pub fn jsapi_string1(ticket: &str, nonce: &str, timestamp: u64, url: &str) -> String {
    format!("jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url={url}")
}

/// Version 1 of a realm's signature: md5 of `realm=R&nonce=N&ts=T.SECRET` over the decoded values.
/// It covers neither appid nor key, so it is valid for `/jsapi/{appid}/query` only.
pub fn realm_v1(realm: &str, nonce: &str, ts: &str, secret: &str) -> Hex<16> {
    let mut md5 = Md5::new();
    for part in ["realm=", realm, "&nonce=", nonce, "&ts=", ts, ".", secret] {
        md5.update(part);
    }
    Hex(md5.finalize().into())
}

/// Version 2 of a realm's signature: HMAC-SHA256 under `secret` over
/// `METHOD\nPATH\nQUERY\nhex(sha256(body))`, with `query` in [`canonical_query`] form.
pub fn realm_v2(secret: &str, method: &str, path: &str, query: &str, body: &[u8]) -> Hex<32> {
    let mut mac = keyed(secret.as_bytes());
    let body = Hex::<32>(Sha256::digest(body).into());
    for part in [method, "\n", path, "\n", query, "\n", body.text().as_str()] {
        mac.update(part.as_bytes());
    }
    Hex(mac.finalize().into_bytes().into())
}

/// True if `claimed` is the `HS256` signature of `message`: HMAC-SHA256 under `secret`, compared in
/// constant time. Source: RFC 7518, 3.2.
pub fn hs256_matches(secret: &[u8], message: &[u8], claimed: &[u8]) -> bool {
    keyed(secret)
        .chain_update(message)
        .verify_slice(claimed)
        .is_ok()
}

fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    // HMAC accepts keys of any length, so this cannot fail.
    <Hmac<Sha256>>::new_from_slice(secret).expect("an HMAC takes a key of any length")
}

/// The decoded pairs of a query as version 2 signs them: `sign` left out, names and values encoded
/// again with only `A-Za-z0-9-._~` bare, sorted as encoded by name then value, `k=v` joined by `&`.
/// No value can be cut into two.
pub fn canonical_query(
    pairs: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
) -> String {
    let mut encoded: Vec<(String, String)> = pairs
        .into_iter()
        .filter(|(name, _)| name.as_ref() != "sign")
        .map(|(name, value)| (encode(name.as_ref()), encode(value.as_ref())))
        .collect();
    encoded.sort();
    let joined: Vec<String> = encoded
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    joined.join("&")
}

/// The signature of WeChat's server check: sha1 of token, timestamp and nonce, sorted as byte
/// strings and joined. Source: WeChat, 接入指南 (验证消息的确来自微信服务器).
pub fn push(token: &str, timestamp: &str, nonce: &str) -> Hex<20> {
    sorted([token, timestamp, nonce])
}

/// Sha1 of `parts`, sorted as byte strings and concatenated; WeChat signs its pushes this way.
pub(crate) fn sorted<const N: usize>(mut parts: [&str; N]) -> Hex<20> {
    parts.sort_unstable();
    let mut sha1 = Sha1::new();
    for part in parts {
        sha1.update(part);
    }
    Hex(sha1.finalize().into())
}

/// Returns the sha256 of a secret, to store instead of the secret.
pub fn fingerprint(secret: &str) -> Hex<32> {
    Hex(Sha256::digest(secret).into())
}

/// Returns an unguessable id: 128 random bits as 32 hex digits.
pub fn random_id() -> String {
    // One number, because an array of bytes takes four times as many random bits.
    Hex(rand::random::<u128>().to_ne_bytes()).text()
}

/// True if `text` has the format of [`random_id`].
pub fn is_id(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A digest of `N` bytes, displayed as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// Returns the digest as text.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(2 * N);
        self.push_to(&mut text);
        text
    }

    /// Appends the digest as text to `text`.
    pub fn push_to(&self, text: &mut String) {
        let digits = self.digits();
        text.push_str(std::str::from_utf8(digits.as_flattened()).expect("hex digits are ASCII"));
    }

    /// True if `claimed` is this digest in hex, in either case. Compares in constant time.
    pub fn matches(&self, claimed: &str) -> bool {
        let (claimed, rest) = claimed.as_bytes().as_chunks::<2>();
        let Ok(claimed) = <&[[u8; 2]; N]>::try_from(claimed) else {
            return false;
        };
        let ours = self.digits();
        let digits = ours.as_flattened().iter().zip(claimed.as_flattened());
        // Collected first, because `subtle` puts a barrier behind each comparison: one for each
        // digit would cost as much as the hash.
        let differences = digits.fold(0, |all, (ours, theirs)| {
            all | (ours ^ theirs.to_ascii_lowercase())
        });
        rest.is_empty() && bool::from(differences.ct_eq(&0))
    }

    /// The digest in lower-case hex.
    fn digits(&self) -> [[u8; 2]; N] {
        let mut digits = [[0; 2]; N];
        for (pair, byte) in digits.iter_mut().zip(&self.0) {
            *pair = [hex_digit(byte >> 4), hex_digit(byte & 15)];
        }
        digits
    }
}

/// One digit in lower-case hex.
fn hex_digit(digit: u8) -> u8 {
    digit + if digit < 10 { b'0' } else { b'a' - 10 }
}

impl<const N: usize> From<[u8; N]> for Hex<N> {
    fn from(bytes: [u8; N]) -> Self {
        Self(bytes)
    }
}

fn encode(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const BARE: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, BARE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TICKET: &str =
        "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg";
    const NONCE: &str = "Wm3WZYTPz0wzccnW";

    #[test]
    fn wechats_js_sdk_examples_are_reproduced() {
        let now = jsapi(
            TICKET,
            NONCE,
            1_414_587_457,
            "http://mp.weixin.qq.com?params=value",
        );
        assert_eq!(now.text(), "0f9de62fce790f9a083d5c99e95740ceb90c27ed");
        let older = jsapi(TICKET, NONCE, 1_414_587_457, "http://mp.weixin.qq.com");
        assert_eq!(older.text(), "f4d90daf4b3bca3078ab155816175ba34c443a7b");
    }

    #[test]
    fn the_originals_realm_example_is_reproduced() {
        let sign = realm_v1("R123", "caa3c9d793b", "1589203758", "realm_secret");
        assert_eq!(sign.text(), "782ab722a4efaecade8d3bba953f9c5d");
        assert!(sign.matches("782AB722A4EFAECADE8D3BBA953F9C5D"));
        assert!(!sign.matches("782ab722a4efaecade8d3bba953f9c5e"));
        assert!(!sign.matches(""));
    }

    #[test]
    fn wechats_server_check_example_is_reproduced() {
        assert_eq!(
            push("AAAAA", "1714112445", "415670741").text(),
            "6c5c811b55cc85e0e1b54100749188c20beb3f5d"
        );
    }

    #[test]
    fn the_canonical_query_is_sorted_and_lacks_sign() {
        let pairs = [
            ("ts", "1"),
            ("sign", "x"),
            ("nonce", "a&b=c"),
            ("realm", "R 1"),
            ("nonce", "A"),
        ];
        assert_eq!(
            canonical_query(pairs),
            "nonce=A&nonce=a%26b%3Dc&realm=R%201&ts=1"
        );
    }

    proptest! {
        #[test]
        fn string1_is_what_is_signed(ticket in ".*", nonce in ".*", timestamp: u64, url in ".*") {
            let whole = Hex::<20>(Sha1::digest(jsapi_string1(&ticket, &nonce, timestamp, &url)).into());
            prop_assert_eq!(jsapi(&ticket, &nonce, timestamp, &url), whole);
        }

        #[test]
        fn the_order_of_a_push_signatures_parts_never_matters(a in ".*", b in ".*", c in ".*") {
            prop_assert_eq!(push(&a, &b, &c), push(&c, &a, &b));
        }

        #[test]
        fn any_other_text_fails_verification(secret in ".+", at in 0usize..64, to in "[g-z]") {
            let sign = realm_v2(&secret, "GET", "/", "", b"");
            let mut forged = sign.text();
            prop_assert!(sign.matches(&forged));
            forged.replace_range(at..=at, &to);
            prop_assert!(!sign.matches(&forged));
        }

        #[test]
        fn two_queries_with_one_canonical_form_have_the_same_pairs(a in "[&=%a]{0,4}", b in "[&=%a]{0,4}", c in "[&=%a]{0,4}") {
            let one = canonical_query([("k", a.as_str()), ("l", b.as_str())]);
            let two = canonical_query([("k", a.as_str()), ("l", c.as_str())]);
            prop_assert_eq!(one == two, b == c);
        }
    }
}
