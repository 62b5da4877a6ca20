//! Checks the JSON Web Token of a caller: signature, audience and times. The jsonwebtoken crate
//! parses it; keys and time are arguments.
//!
//! Only `HS256` is supported, by the hmac crate. The providers that jsonwebtoken offers bring RSA,
//! with its open advisory RUSTSEC-2023-0071, or a C library.

use actix_web::http::header::{self, HeaderMap};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::{Map, Value};

use super::jwt_cache::JwtCache;
use clock::UnixMillis;
use wechat::signature;

/// The audience that a token must name.
const AUDIENCE: &str = "wechat-token-hub";

/// Used in place of an unknown key, so that the check takes as long. A signature with it is never
/// accepted.
const NO_KEY: &str = "no kid has this key";

/// The token of a request. There must be exactly one `Authorization` header, with the scheme
/// `Bearer`.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()?.strip_prefix("Bearer ")
}

/// True if `token` is signed with one of the keys, is for this server and is valid at `now`. The
/// signature is checked before any claim, and only once per token: `proven` caches the tokens that
/// these keys have signed. Call [`install`] first.
pub(super) fn is_valid<'k>(
    token: &str,
    key_of: impl FnOnce(&str) -> Option<&'k SecretString>,
    proven: &JwtCache<Claims>,
    now: UnixMillis,
) -> bool {
    if let Some(claims) = proven.get(token) {
        return claims.cover(now);
    }
    let claims = signed_claims(token, key_of)
        .and_then(|claims| Claims::of(&claims))
        .filter(|claims| claims.cover(now));
    if let Some(claims) = claims {
        proven.insert(token, claims);
    }
    claims.is_some()
}

fn signed_claims<'k>(
    token: &str,
    key_of: impl FnOnce(&str) -> Option<&'k SecretString>,
) -> Option<Map<String, Value>> {
    let header = decode_header(token).ok()?;
    // A critical extension must be understood, and none is supported. Source: RFC 7515, 4.1.11.
    if header.crit.is_some() {
        return None;
    }
    let key = key_of(&header.kid?);
    let secret = key.map_or(NO_KEY, |key| key.expose_secret());
    let claims = decode(
        token,
        &DecodingKey::from_secret(secret.as_bytes()),
        &for_us(),
    )
    .ok()?
    .claims;
    key.map(|_| claims)
}

/// The crate checks the algorithm and the audience. We check the times: the crate reads the system
/// clock, in whole seconds.
fn for_us() -> Validation {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["aud"]);
    (rules.validate_exp, rules.validate_nbf) = (false, false);
    rules
}

/// When a token is valid, in seconds since 1970, possibly with a fraction. Both are optional.
/// Source: RFC 7519, 2.
#[derive(Clone, Copy)]
pub(super) struct Claims {
    nbf: Option<f64>,
    exp: Option<f64>,
}

impl Claims {
    /// `None` if one is present and not a number.
    fn of(claims: &Map<String, Value>) -> Option<Self> {
        let time = |name| {
            claims
                .get(name)
                .map_or(Some(None), |time| time.as_f64().map(Some))
        };
        Some(Self {
            nbf: time("nbf")?,
            exp: time("exp")?,
        })
    }

    /// From the first millisecond of `nbf` until the last one before `exp`, with no leeway. Source:
    /// RFC 7519, 4.1.4 and 4.1.5.
    fn cover(&self, now: UnixMillis) -> bool {
        // Milliseconds since 1970 have 41 bits, of the 53 that are exact.
        let has_come = |seconds: f64| seconds * 1000.0 <= now.0 as f64;
        self.nbf.is_none_or(has_come) && !self.exp.is_some_and(has_come)
    }
}

/// Installs our `HS256` for this process. Does nothing if a provider is installed already.
pub(super) fn install() {
    PROVIDER.install_default().ok();
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(verifier(key)?),
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

fn verifier(key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    Ok(Box::new(Hs256(key.try_get_as_bytes()?.to_vec().into())))
}

/// A key that verifies.
struct Hs256(SecretSlice<u8>);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], claimed: &Vec<u8>) -> std::result::Result<(), Error> {
        if signature::hs256_matches(self.0.expose_secret(), message, claimed) {
            Ok(())
        } else {
            Err(Error::new())
        }
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::{Sha256, Sha384};

    use super::*;

    const KEY: &str = "a key of more than thirty-two bytes";
    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT","kid":"k1"}"#;
    const CLAIMS: &str = r#"{"aud":"wechat-token-hub"}"#;
    const NOW: UnixMillis = UnixMillis(1_700_000_000_123);

    fn made(header: &str, claims: &str, key: &str) -> String {
        let signed = [header, claims]
            .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part))
            .join(".");
        let mac = <Hmac<Sha256>>::new_from_slice(key.as_bytes())
            .unwrap()
            .chain_update(&signed)
            .finalize()
            .into_bytes();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac))
    }

    fn valid_at(token: &str, now: UnixMillis) -> bool {
        install();
        let key = SecretString::from(KEY);
        is_valid(
            token,
            |kid| (kid == "k1").then_some(&key),
            &JwtCache::default(),
            now,
        )
    }

    fn claims(claims: &str) -> bool {
        valid_at(&made(HEADER, claims, KEY), NOW)
    }

    #[test]
    fn a_token_needs_only_the_audience_and_may_have_more() {
        assert!(claims(CLAIMS));
        assert!(claims(
            r#"{"aud":["a","wechat-token-hub"],"iat":"any","exp":1700000001,"nbf":0,"sub":"x","own":{"x":[1.5]}}"#
        ));
        assert!(claims(" {\"aud\":\"wechat\\u002dtoken-hub\"}\n"));
    }

    #[test]
    fn the_audience_must_be_this_server() {
        for aud in [
            r#""other""#,
            r#""Wechat-Token-Hub""#,
            r#"["a"]"#,
            "[]",
            r#"["wechat-token-hub",1]"#,
            "null",
            "{}",
            "1",
        ] {
            assert!(!claims(&format!(r#"{{"aud":{aud}}}"#)), "{aud}");
        }
        for whole in [
            "{}",
            "[\"wechat-token-hub\"]",
            "null",
            "",
            "{",
            r#"{"aud":"wechat-token-hub","aud":"wechat-token-hub"}"#,
        ] {
            assert!(!claims(whole), "{whole}");
        }
    }

    #[test]
    fn it_is_valid_from_nbf_until_just_before_exp() {
        let at = |ms: u64| UnixMillis(1_700_000_000_000 + ms);
        let exp = made(
            HEADER,
            r#"{"aud":"wechat-token-hub","exp":1700000001}"#,
            KEY,
        );
        assert_eq!(
            (valid_at(&exp, at(999)), valid_at(&exp, at(1000))),
            (true, false)
        );
        let nbf = made(
            HEADER,
            r#"{"aud":"wechat-token-hub","nbf":1700000001}"#,
            KEY,
        );
        assert_eq!(
            (valid_at(&nbf, at(999)), valid_at(&nbf, at(1000))),
            (false, true)
        );
    }

    #[test]
    fn times_are_seconds_with_an_optional_fraction() {
        let at = |ms: u64| UnixMillis(1_700_000_000_000 + ms);
        let exp = made(
            HEADER,
            r#"{"aud":"wechat-token-hub","exp":1700000000.25}"#,
            KEY,
        );
        assert_eq!(
            (valid_at(&exp, at(249)), valid_at(&exp, at(250))),
            (true, false)
        );
        assert!(claims(r#"{"aud":"wechat-token-hub","exp":18e8,"nbf":-1}"#));
        for time in ["\"1800000000\"", "null", "true", "[1800000000]", "1e400"] {
            assert!(
                !claims(&format!(r#"{{"aud":"wechat-token-hub","exp":{time}}}"#)),
                "exp {time}"
            );
            assert!(
                !claims(&format!(r#"{{"aud":"wechat-token-hub","nbf":{time}}}"#)),
                "nbf {time}"
            );
        }
        assert!(claims(
            r#"{"aud":"wechat-token-hub","exp":18446744073709551615}"#
        ));
        assert!(!claims(
            r#"{"aud":"wechat-token-hub","nbf":18446744073709551615}"#
        ));
        for past in ["0", "-1", "1699999999.999"] {
            assert!(
                !claims(&format!(r#"{{"aud":"wechat-token-hub","exp":{past}}}"#)),
                "{past}"
            );
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
            r#"{"alg":"HS256","kid":"k1","crit":"b64"}"#,
            r#"{"kid":"k1"}"#,
            r#"["HS256","k1",null]"#,
            "",
        ] {
            assert!(!valid_at(&made(header, CLAIMS, KEY), NOW), "{header}");
        }
        assert!(!valid_at(
            &made(r#"{"alg":"HS256","kid":"k2"}"#, CLAIMS, NO_KEY),
            NOW
        ));
        assert!(valid_at(
            &made(
                r#"{"kid":"k1","alg":"HS256","jku":"https://x/","own":{}}"#,
                CLAIMS,
                KEY
            ),
            NOW
        ));
    }

    #[test]
    fn the_signature_must_be_whole_and_by_the_right_key() {
        let token = made(HEADER, CLAIMS, KEY);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let longer = <Hmac<Sha384>>::new_from_slice(KEY.as_bytes())
            .unwrap()
            .chain_update(signed)
            .finalize()
            .into_bytes();
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
            assert!(!valid_at(&bad, NOW), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_byte_of_a_token_can_be_changed(at: prop::sample::Index, to in "[A-Za-z0-9_.=+/-]") {
            let token = made(HEADER, CLAIMS, KEY);
            let at = at.index(token.len());
            let mut forged = token.clone();
            forged.replace_range(at..=at, &to);
            prop_assert_eq!(valid_at(&forged, NOW), forged == token);
        }

        #[test]
        fn any_text_is_refused_without_a_panic(header in ".{0,40}", claims in ".{0,40}", token in ".{0,80}") {
            prop_assert!(!valid_at(&token, NOW));
            prop_assert!(!valid_at(&made(&header, &claims, KEY), NOW));
        }
    }
}
