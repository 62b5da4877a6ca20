//! Virtual tokens: what a caller gets in place of an access_token. Stateless: realm, account, issue
//! time and an HMAC keyed from the realm's secret, so that every instance with the same settings
//! accepts it, and taking the secret or the realm out of the settings ends it.
//!
//! Layout: `jv1_` and base64url of `realm length (1 byte) · realm · account · issued (6 bytes, Unix
//! seconds) · HMAC-SHA256 (16 bytes)`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clock::UnixSeconds;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::account::AccountName;
use crate::realm::{Realm, Realms};

/// What every virtual token begins with, so that a leak can be searched for.
pub const PREFIX: &str = "jv1_";

/// The seconds that a caller is told.
pub const LIFETIME: u64 = 7200;

/// How many seconds longer a token is accepted, as WeChat's own are.
const OVERLAP: u64 = 300;

/// How far, in seconds, another instance's clock may be ahead of ours.
const CLOCK_SKEW: u64 = 300;

/// No token is longer.
pub const MAX_LEN: usize = 200;

const MAC_LEN: usize = 16;
const TIME_LEN: usize = 6;

/// Separates this use of a realm's secret from signatures that are made with it.
const LABEL: &[u8] = b"jsdkd virtual access_token 1";

/// Why a token is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenError {
    /// Unreadable, forged, or of a realm or a secret that the settings no longer have.
    Invalid,
    /// Right, but too old.
    Expired,
}

/// A token for `realm` and `account`. `None`: the names are too long for [`MAX_LEN`], or the realm
/// has no secret.
pub fn issue(realm: &Realm, account: &AccountName, now: UnixSeconds) -> Option<String> {
    let mut content = vec![u8::try_from(realm.key.len()).ok()?];
    content.extend_from_slice(realm.key.as_bytes());
    content.extend_from_slice(account.to_string().as_bytes());
    content.extend_from_slice(&now.0.to_be_bytes()[8 - TIME_LEN..]);
    let mac = mac(realm.secrets.first()?, &content);
    content.extend_from_slice(&mac);
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(content));
    (token.len() <= MAX_LEN).then_some(token)
}

/// The realm and the account that `token` was issued for. Whether the realm may still use the
/// account is for the caller to check.
pub fn verify<'r>(
    realms: &'r Realms,
    token: &str,
    now: UnixSeconds,
) -> Result<(&'r Realm, AccountName), TokenError> {
    let content = token
        .strip_prefix(PREFIX)
        .filter(|_| token.len() <= MAX_LEN)
        .ok_or(TokenError::Invalid)?;
    let content = URL_SAFE_NO_PAD
        .decode(content)
        .map_err(|_| TokenError::Invalid)?;
    let (realm, account, issued) = read(realms, &content).ok_or(TokenError::Invalid)?;
    if issued > now.0 + CLOCK_SKEW {
        return Err(TokenError::Invalid);
    }
    if now.0 >= issued + LIFETIME + OVERLAP {
        Err(TokenError::Expired)
    } else {
        Ok((realm, account))
    }
}

fn read<'r>(realms: &'r Realms, content: &[u8]) -> Option<(&'r Realm, AccountName, u64)> {
    let (signed, mac) = content.split_at_checked(content.len().checked_sub(MAC_LEN)?)?;
    let (length, rest) = signed.split_first()?;
    let (key, rest) = rest.split_at_checked(usize::from(*length))?;
    let (account, issued) = rest.split_at_checked(rest.len().checked_sub(TIME_LEN)?)?;
    let realm = realms.get(std::str::from_utf8(key).ok()?)?;
    let is_right = realm.secrets.iter().fold(false, |found, secret| {
        found | bool::from(self::mac(secret, signed).ct_eq(mac))
    });
    let issued = issued
        .iter()
        .fold(0, |seconds, byte| seconds << 8 | u64::from(*byte));
    is_right.then(|| {
        Some((
            realm,
            AccountName::parse(std::str::from_utf8(account).ok()?)?,
            issued,
        ))
    })?
}

fn mac(secret: &SecretString, content: &[u8]) -> [u8; MAC_LEN] {
    let keyed =
        |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    let key = keyed(secret.expose_secret().as_bytes())
        .chain_update(LABEL)
        .finalize()
        .into_bytes();
    let whole = keyed(&key).chain_update(content).finalize().into_bytes();
    std::array::from_fn(|at| whole[at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn realm(key: &str, secrets: &[&str]) -> Realm {
        let mut realm = Realm::new(key, secrets[0].into());
        realm.secrets = secrets.iter().map(|secret| (*secret).into()).collect();
        realm
    }

    fn account() -> AccountName {
        AccountName::parse("wx1234567890abcdef").expect("an account")
    }

    fn token() -> String {
        issue(&realm("shop", &["s3cret"]), &account(), NOW).expect("a token")
    }

    fn accepted(realm: Realm, token: &str, after: u64) -> Result<String, TokenError> {
        let realms: Realms = [realm].into_iter().collect();
        verify(&realms, token, UnixSeconds(NOW.0 + after))
            .map(|(realm, account)| format!("{} {account}", realm.key))
    }

    #[test]
    fn a_token_names_its_realm_and_account() {
        let token = token();
        assert!(
            token.len() <= MAX_LEN && token.starts_with(PREFIX),
            "{token}"
        );
        assert!(
            token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'),
            "{token}"
        );
        assert_eq!(
            accepted(realm("shop", &["s3cret"]), &token, 0).as_deref(),
            Ok("shop wx1234567890abcdef")
        );
        let wecom = AccountName::parse("ww0123456789abcdef/1000002").expect("an application");
        let token = issue(&realm("shop", &["s3cret"]), &wecom, NOW).expect("a token");
        assert_eq!(
            accepted(realm("shop", &["s3cret"]), &token, 0).as_deref(),
            Ok("shop ww0123456789abcdef/1000002")
        );
    }

    #[test]
    fn a_token_ends_five_minutes_after_its_two_hours() {
        let after = |seconds| accepted(realm("shop", &["s3cret"]), &token(), seconds).err();
        assert_eq!(
            [after(7200), after(7499), after(7500)],
            [None, None, Some(TokenError::Expired)]
        );
    }

    #[test]
    fn a_token_ends_with_its_secret_or_its_realm() {
        let token = token();
        assert!(
            accepted(realm("shop", &["newer", "s3cret"]), &token, 0).is_ok(),
            "the older of two secrets"
        );
        assert_eq!(
            accepted(realm("shop", &["newer"]), &token, 0),
            Err(TokenError::Invalid)
        );
        assert_eq!(
            accepted(realm("other", &["s3cret"]), &token, 0),
            Err(TokenError::Invalid)
        );
    }

    #[test]
    fn a_token_from_the_future_is_refused() {
        let early = issue(
            &realm("shop", &["s3cret"]),
            &account(),
            UnixSeconds(NOW.0 + 600),
        )
        .expect("a token");
        assert_eq!(
            accepted(realm("shop", &["s3cret"]), &early, 0),
            Err(TokenError::Invalid)
        );
    }

    #[test]
    fn names_that_do_not_fit_get_no_token() {
        assert!(issue(&realm(&"r".repeat(120), &["s"]), &account(), NOW).is_none());
    }

    proptest! {
        #[test]
        fn no_altered_token_passes(at in 0usize..200, byte in any::<u8>()) {
            let token = token();
            let mut bytes = token.clone().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let altered = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert_eq!(accepted(realm("shop", &["s3cret"]), &altered, 0), Err(TokenError::Invalid));
        }

        #[test]
        fn no_cut_or_lengthened_token_passes(keep in 0usize..200, more in "[A-Za-z0-9_-]{0,8}") {
            let token = token();
            let changed = format!("{}{more}", &token[..keep.min(token.len())]);
            prop_assume!(changed != token);
            prop_assert_eq!(accepted(realm("shop", &["s3cret"]), &changed, 0), Err(TokenError::Invalid));
        }

        #[test]
        fn no_text_panics(text in ".{0,220}") {
            accepted(realm("shop", &["s3cret"]), &text, 0).ok();
            accepted(realm("shop", &["s3cret"]), &format!("{PREFIX}{text}"), 0).ok();
        }
    }
}
