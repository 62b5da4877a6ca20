//! Random values that look like WeChat's. Nothing here remembers what it made.

use rand::RngExt;

use crate::clock::UnixMillis;

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

/// The changing trace at the end of every `errmsg`, such as `rid: 61250a39-612fed42-36740516`.
pub(super) fn rid(now: UnixMillis) -> String {
    let mut rng = rand::rng();
    format!("rid: {:08x}-{:08x}-{:08x}", now.seconds().0, rng.random::<u32>(), rng.random::<u32>())
}

fn opaque(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}
