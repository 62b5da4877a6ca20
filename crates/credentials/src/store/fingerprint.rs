//! Fingerprints of stored values, which reveal nothing of them.

use std::fmt;

use sha2::{Digest, Sha256};

/// Eight bytes of a value's SHA-256. They cannot be reversed, because tokens and tickets are long
/// and random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of `value`.
    pub(super) fn of(value: &str) -> Self {
        Self(
            Sha256::digest(value.as_bytes())
                .iter()
                .take(8)
                .fold(0, |print, byte| print << 8 | u64::from(*byte)),
        )
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
    fn it_is_the_prefix_of_a_sha_256() {
        // SHA-256 of "abc", from FIPS 180-4.
        assert_eq!(Fingerprint::of("abc").to_string(), "ba7816bf8f01cfea");
    }
}
