//! A caller's proof as a JSON Web Token: who may have signed it, for whom, and when it holds. Pure: keys and time are arguments.
//!
//! Only what RFC 7515 and RFC 7519 say of a compact token with `HS256` is here; the signature itself is the hmac crate's. A crate
//! for all kinds of tokens would bring RSA, with its open advisory RUSTSEC-2023-0071, or a library in C along to serve this one, and
//! cost 2.9 µs where this costs 0.8.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::header::{self, HeaderMap};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use super::known::Known;
use crate::clock::UnixMillis;
use crate::signature;

/// Whom a token must be for.
const AUDIENCE: &str = "wechat-token-hub";

/// Stands in for a key that does not exist, so that the answer takes as long. No signature under it is ever accepted.
const NO_KEY: &str = "no kid has this key";

/// The token of a request: there must be one header, and one scheme in it.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()?.strip_prefix("Bearer ")
}

/// Whether one of the holders of a key made `token`, for us, and it holds at `now`. The signature is judged before anything that it
/// covers but the header, and once: `known` are the tokens that these very keys have proven.
pub(super) fn holds<'k>(
    token: &str,
    key_of: impl FnOnce(&str) -> Option<&'k SecretString>,
    known: &Known<Claims>,
    now: UnixMillis,
) -> bool {
    if let Some(claims) = known.recall(token) {
        return claims.hold(now);
    }
    let holds = signed_claims(token, key_of).filter(|claims| claims.hold(now));
    if let Some(claims) = holds {
        known.note(token, claims);
    }
    holds.is_some()
}

fn signed_claims<'k>(token: &str, key_of: impl FnOnce(&str) -> Option<&'k SecretString>) -> Option<Claims> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header = object(header)?;
    let header: Header<'_> = serde_json::from_slice(&header).ok()?;
    // An extension that the signer calls critical must be understood, and we know none. Source: RFC 7515, 4.1.11.
    if header.alg != "HS256" || header.crit.is_some() {
        return None;
    }
    let key = key_of(&header.kid);
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    let secret = key.map_or(NO_KEY, |key| key.expose_secret());
    if !signature::hs256_matches(secret, signed.as_bytes(), &signature) || key.is_none() {
        return None;
    }
    serde_json::from_slice(&object(claims)?).ok()
}

/// The JSON object in one part of a token. Said here because serde would fill a struct from a list, too.
fn object(part: &str) -> Option<Vec<u8>> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    json.trim_ascii_start().starts_with(b"{").then_some(json)
}

/// A member that is there twice is an error of serde's.
#[derive(serde::Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Cow<'a, str>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
}

/// Times are seconds since 1970, with a fraction if the caller likes (RFC 7519, NumericDate). What else a caller writes into its
/// token is its own affair.
#[derive(Clone, Copy, serde::Deserialize)]
pub(in crate::http) struct Claims {
    aud: Audience,
    #[serde(default, deserialize_with = "present")]
    exp: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<f64>,
}

impl Claims {
    /// From the first millisecond of `nbf` until the last one before `exp`, with no leeway. Source: RFC 7519, 4.1.4 and 4.1.5.
    fn hold(&self, now: UnixMillis) -> bool {
        // Milliseconds since 1970 have 41 bits, of the 53 that are exact.
        let now = now.0 as f64;
        let begun = self.nbf.is_none_or(|nbf| nbf * 1000.0 <= now);
        let ended = self.exp.is_some_and(|exp| exp * 1000.0 <= now);
        self.aud.is_ours && begun && !ended
    }
}

/// A `null` is there, and is no time.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// `aud`: one name or a list of names, among which ours must be.
#[derive(Clone, Copy)]
struct Audience {
    is_ours: bool,
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Audience;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or a list of names")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Audience, E> {
        Ok(Audience { is_ours: name == AUDIENCE })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Audience, A::Error> {
        let mut is_ours = false;
        while let Some(name) = names.next_element::<Cow<'de, str>>()? {
            is_ours |= name == AUDIENCE;
        }
        Ok(Audience { is_ours })
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::{Sha256, Sha384};

    use super::*;

    const KEY: &str = "a key of more than thirty-two bytes";
    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT","kid":"k1"}"#;
    const CLAIMS: &str = r#"{"aud":"wechat-token-hub"}"#;
    const NOW: UnixMillis = UnixMillis(1_700_000_000_123);

    fn made(header: &str, claims: &str, key: &str) -> String {
        let signed = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
        let mac = <Hmac<Sha256>>::new_from_slice(key.as_bytes()).unwrap().chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac))
    }

    fn holds_at(token: &str, now: UnixMillis) -> bool {
        let key = SecretString::from(KEY);
        let (known, key_of) = (Known::default(), |kid: &str| (kid == "k1").then_some(&key));
        let holds_now = holds(token, key_of, &known, now);
        assert_eq!(holds(token, key_of, &known, now), holds_now, "the second time as the first");
        assert!(!holds_now || known.recall(token).is_some());
        holds_now
    }

    fn claims(claims: &str) -> bool {
        holds_at(&made(HEADER, claims, KEY), NOW)
    }

    #[test]
    fn a_token_needs_no_more_than_our_name_and_may_say_more() {
        assert!(claims(CLAIMS));
        assert!(claims(r#"{"aud":["a","wechat-token-hub"],"iat":"any","exp":1700000001,"nbf":0,"sub":{"x":[1.5]}}"#));
        assert!(claims(" {\"aud\":\"wechat\\u002dtoken-hub\"}\n"));
    }

    #[test]
    fn it_must_be_for_us() {
        for aud in [r#""other""#, r#""Wechat-Token-Hub""#, r#"["a"]"#, "[]", r#"["wechat-token-hub",1]"#, "null", "{}", "1"] {
            assert!(!claims(&format!(r#"{{"aud":{aud}}}"#)), "{aud}");
        }
        for whole in ["{}", "[\"wechat-token-hub\"]", "null", "", "{", r#"{"aud":"wechat-token-hub","aud":"wechat-token-hub"}"#] {
            assert!(!claims(whole), "{whole}");
        }
    }

    #[test]
    fn it_begins_with_the_first_and_ends_before_the_last_millisecond() {
        let at = |ms: u64| UnixMillis(1_700_000_000_000 + ms);
        let exp = made(HEADER, r#"{"aud":"wechat-token-hub","exp":1700000001}"#, KEY);
        assert_eq!((holds_at(&exp, at(999)), holds_at(&exp, at(1000))), (true, false));
        let nbf = made(HEADER, r#"{"aud":"wechat-token-hub","nbf":1700000001}"#, KEY);
        assert_eq!((holds_at(&nbf, at(999)), holds_at(&nbf, at(1000))), (false, true));
    }

    #[test]
    fn a_known_token_ends_when_it_says() {
        let (known, key) = (Known::default(), SecretString::from(KEY));
        let token = made(HEADER, r#"{"aud":"wechat-token-hub","exp":1700000001}"#, KEY);
        let at = |ms: u64| holds(&token, |_| Some(&key), &known, UnixMillis(1_700_000_000_000 + ms));
        assert_eq!((at(0), at(999), at(1000), at(5)), (true, true, false, true));
    }

    #[test]
    fn a_time_is_a_number_of_seconds_and_may_have_a_fraction() {
        let at = |ms: u64| UnixMillis(1_700_000_000_000 + ms);
        let exp = made(HEADER, r#"{"aud":"wechat-token-hub","exp":1700000000.25}"#, KEY);
        assert_eq!((holds_at(&exp, at(249)), holds_at(&exp, at(250))), (true, false));
        assert!(claims(r#"{"aud":"wechat-token-hub","exp":18e8,"nbf":-1}"#));
        for time in ["\"1800000000\"", "null", "true", "[1800000000]", "1e400"] {
            assert!(!claims(&format!(r#"{{"aud":"wechat-token-hub","exp":{time}}}"#)), "exp {time}");
            assert!(!claims(&format!(r#"{{"aud":"wechat-token-hub","nbf":{time}}}"#)), "nbf {time}");
        }
        assert!(claims(r#"{"aud":"wechat-token-hub","exp":18446744073709551615}"#));
        assert!(!claims(r#"{"aud":"wechat-token-hub","nbf":18446744073709551615}"#));
        for past in ["0", "-1", "1699999999.999"] {
            assert!(!claims(&format!(r#"{{"aud":"wechat-token-hub","exp":{past}}}"#)), "{past}");
        }
    }

    #[test]
    fn only_hs256_under_a_known_kid_counts() {
        for header in [
            r#"{"alg":"hs256","kid":"k1"}"#,
            r#"{"alg":"none","kid":"k1"}"#,
            r#"{"alg":"HS384","kid":"k1"}"#,
            r#"{"alg":"RS256","kid":"k1"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"HS256","kid":"k2"}"#,
            r#"{"alg":"HS256","kid":""}"#,
            r#"{"alg":"HS256","kid":"k1.k1"}"#,
            r#"{"alg":"HS256","kid":1}"#,
            r#"{"alg":"HS256","kid":["k1"]}"#,
            r#"{"alg":"HS256","kid":"k1","kid":"k1"}"#,
            r#"{"alg":"HS256","kid":"k1","crit":["b64"],"b64":false}"#,
            r#"{"alg":"HS256","kid":"k1","crit":null}"#,
            r#"{"kid":"k1"}"#,
            r#"["HS256","k1",null]"#,
            "",
        ] {
            assert!(!holds_at(&made(header, CLAIMS, KEY), NOW), "{header}");
        }
        assert!(!holds_at(&made(r#"{"alg":"HS256","kid":"k2"}"#, CLAIMS, NO_KEY), NOW));
        assert!(holds_at(&made(r#"{"kid":"k1","alg":"HS256","jku":"https://x/","jwk":{}}"#, CLAIMS, KEY), NOW));
    }

    #[test]
    fn the_signature_is_the_whole_one_under_the_right_key() {
        let token = made(HEADER, CLAIMS, KEY);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let longer = <Hmac<Sha384>>::new_from_slice(KEY.as_bytes()).unwrap().chain_update(signed).finalize().into_bytes();
        for bad in [
            made(HEADER, CLAIMS, "another key"),
            signed.to_owned(),
            format!("{signed}."),
            format!("{signed}.{}", &signature[..40]),
            format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(longer)),
            format!("{token}="),
            format!("{token}."),
            format!("{token}.{signature}"),
            format!(" {token}"),
            token.replacen('.', "", 1),
            ".".to_owned(),
            "..".to_owned(),
            String::new(),
        ] {
            assert!(!holds_at(&bad, NOW), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_byte_of_a_token_can_be_another(at: prop::sample::Index, to in "[A-Za-z0-9_.=+/-]") {
            let token = made(HEADER, CLAIMS, KEY);
            let at = at.index(token.len());
            let mut forged = token.clone();
            forged.replace_range(at..=at, &to);
            prop_assert_eq!(holds_at(&forged, NOW), forged == token);
        }

        #[test]
        fn any_text_is_judged(header in ".{0,40}", claims in ".{0,40}", token in ".{0,80}") {
            prop_assert!(!holds_at(&token, NOW));
            prop_assert!(!holds_at(&made(&header, &claims, KEY), NOW));
        }
    }
}
