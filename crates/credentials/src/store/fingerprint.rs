//! Fingerprints of stored values, which reveal nothing of them.

use std::fmt;

use sha2::{Digest, Sha256};

/// Eight bytes of a value's SHA-256. They cannot be reversed, because tokens and tickets are long
/// and random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of `value`.
    pub(crate) fn of(value: &str) -> Self {
        Self(
            Sha256::digest(value.as_bytes())
                .iter()
                .take(8)
                .fold(0, |print, byte| print << 8 | u64::from(*byte)),
        )
    }

    /// The fingerprint that `text` shows.
    pub(super) fn read(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_beginning_of_a_sha_256() {
        // SHA-256 of "abc", from FIPS 180-4.
        let print = Fingerprint::of("abc");
        assert_eq!(print.to_string(), "ba7816bf8f01cfea");
        assert_eq!(Fingerprint::read("ba7816bf8f01cfea"), Some(print));
    }
}
