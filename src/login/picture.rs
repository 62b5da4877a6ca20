//! The two ids of a login by scan. Whoever sees the QR code, or photographs it, has the one; only whoever began the login has the other.

use wechat::signature::fingerprint;

/// What stands before the id of a login's picture in the name of its record.
pub(super) const SCAN_KEYS: &str = "login.scan.";

/// A login that has begun: two ids, neither of which can be guessed from the other, since the one is a hash of the other's random bits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// What the login is asked for by. It is for whoever began the login alone.
    pub uuid: String,
    /// What the QR code shows to everybody who sees it. It opens nothing but the way to log in.
    pub picture: String,
}

/// Whose QR code a person scans.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Beginner {
    /// A page, by its origin.
    Page(String),
    /// A back end; what the site is called then.
    BackEnd(String),
}

/// What the QR code of a login shows. The login's record is found by it, so that the store does not hold the uuid either.
pub(super) fn picture_of(uuid: &str) -> String {
    let mut id = fingerprint(&format!("the picture of {uuid}")).text();
    id.truncate(uuid.len());
    id
}

pub(super) fn scan_key(id: &str) -> String {
    format!("{SCAN_KEYS}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wechat::signature::{is_id, random_id};

    #[test]
    fn a_picture_is_an_id_of_its_own_and_always_the_same() {
        let (uuid, other) = (random_id(), random_id());
        let picture = picture_of(&uuid);
        assert!(is_id(&picture) && picture != uuid && picture == picture_of(&uuid));
        assert_ne!(picture, picture_of(&other));
        assert_ne!(picture_of(&picture), uuid);
    }
}
