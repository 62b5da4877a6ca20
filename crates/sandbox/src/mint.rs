//! Generates values that look like WeChat's: random ones, and a person's ids, which are derived
//! from the name.

use rand::RngExt;
use sha2::{Digest, Sha256};

use clock::UnixMillis;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// An access_token: `90_` and 133 to 154 opaque characters.
pub(super) fn access_token() -> String {
    let length = rand::rng().random_range(133..=154);
    format!("90_{}", opaque(length))
}

/// A ticket: 86 opaque characters, as long as the one in WeChat's own example.
pub(super) fn ticket() -> String {
    opaque(86)
}

/// A visitor's code: 32 letters and digits.
pub(super) fn code() -> String {
    let (mut rng, letters) = (rand::rng(), &ALPHABET[..62]);
    (0..32)
        .map(|_| char::from(letters[rng.random_range(0..letters.len())]))
        .collect()
}

/// A user-level access_token or refresh_token: like an account's, but shorter.
pub(super) fn user_token() -> String {
    format!("90_{}", opaque(86))
}

/// A person's openid, which differs per account. Those of one account share a prefix.
pub(super) fn openid(app_id: &str, name: &str) -> String {
    format!("o{}{}", derived(&[app_id], 5), derived(&[app_id, name], 22))
}

/// True if `text` looks like an openid: `o` and 27 opaque characters.
pub(super) fn is_openid(text: &str) -> bool {
    text.len() == 28 && text.starts_with('o') && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// An account's original id, used in messages: `gh_` and twelve hex digits.
pub(super) fn original_id(app_id: &str) -> String {
    let hash = Sha256::digest(app_id.as_bytes());
    hash.iter()
        .take(6)
        .fold("gh_".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// A message's id: 19 digits, like WeChat's, which is more than a JavaScript number can hold.
pub(super) fn msg_id() -> String {
    rand::rng()
        .random_range(6_000_000_000_000_000_000..9_000_000_000_000_000_000_u64)
        .to_string()
}

/// The nonce of a push: up to ten digits.
pub(super) fn nonce() -> String {
    rand::rng().random::<u32>().to_string()
}

/// A person's unionid, the same for all accounts that are bound to one Open Platform account. Here
/// that is every bound account.
pub(super) fn unionid(name: &str) -> String {
    format!("o{}", derived(&["unionid", name], 27))
}

/// The URL of a person's picture at WeChat's size 132. No picture is served there.
pub(super) fn picture(name: &str) -> String {
    format!(
        "https://thirdwx.qlogo.cn/mmopen/vi_32/{}/132",
        derived(&["picture", name], 32)
    )
}

/// The changing trace at the end of every `errmsg`, such as `rid: 61250a39-612fed42-36740516`.
pub(super) fn rid(now: UnixMillis) -> String {
    let mut rng = rand::rng();
    format!(
        "rid: {:08x}-{:08x}-{:08x}",
        now.seconds().0,
        rng.random::<u32>(),
        rng.random::<u32>()
    )
}

/// Returns the same opaque characters for the same words; 32 at most.
fn derived(words: &[&str], length: usize) -> String {
    let hash = Sha256::digest(words.join("\0").as_bytes());
    hash.iter()
        .take(length)
        .map(|byte| char::from(ALPHABET[usize::from(byte % 64)]))
        .collect()
}

fn opaque(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
        .collect()
}
