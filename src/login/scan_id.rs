//! The two ids of a login by scan: a public one in the QR code, and a secret one for whoever
//! started the login.

use wechat::signature::fingerprint;

/// The prefix of picture ids in record keys.
pub(super) const SCAN_KEYS: &str = "login.scan.";

/// The two ids of a new login. Neither reveals the other: one is a hash of the other's random bits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewScan {
    /// The secret id for polling the login. Only for whoever started it.
    pub uuid: String,
    /// The public id in the QR code. It only allows logging in.
    pub picture: String,
}

/// The site whose QR code is scanned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Requester {
    /// A page, identified by its origin.
    Page(String),
    /// A back end, with the site's display name.
    BackEnd(String),
}

/// The id in the QR code. It is also the record's key, so that the store does not hold the uuid.
pub(super) fn scan_id(uuid: &str) -> String {
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
    fn a_scan_id_is_stable_and_differs_from_the_uuid() {
        let (uuid, other) = (random_id(), random_id());
        let picture = scan_id(&uuid);
        assert!(is_id(&picture) && picture != uuid && picture == scan_id(&uuid));
        assert_ne!(picture, scan_id(&other));
        assert_ne!(scan_id(&picture), uuid);
    }
}
