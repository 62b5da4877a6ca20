//! What tells one stored value from another without showing either.

use std::fmt;

use sha2::{Digest, Sha256};

/// Eight bytes of a value's SHA-256. Whoever sees them cannot use them: tokens and tickets are long and random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of `value`.
    pub fn of(value: &str) -> Self {
        Self(Sha256::digest(value.as_bytes()).iter().take(8).fold(0, |print, byte| print << 8 | u64::from(*byte)))
    }

    /// The one that `text` writes, as `Display` does.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| is_ours).map(Self)
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
    fn what_is_written_is_read_and_nothing_else() {
        // The beginning of SHA-256 of "abc", from FIPS 180-4.
        assert_eq!(Fingerprint::of("abc").to_string(), "ba7816bf8f01cfea");
        assert_eq!(Fingerprint::parse("ba7816bf8f01cfea"), Some(Fingerprint::of("abc")));
        for text in ["", "ba7816bf8f01cfe", "+a7816bf8f01cfea", "ba7816bf8f01cfeaa"] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
