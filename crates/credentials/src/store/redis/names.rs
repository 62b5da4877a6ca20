//! Keys in Redis. In a cluster everything that belongs to a record is stored at the record's node,
//! so that a dead node affects only its own records: there the part in braces selects the node.
//! Records keep the original's keys.

use wechat::account::AppId;
use wechat::credential::CredentialKind;

/// The channel for notices: the writer's name, a space, and the key.
const CHANNEL: &str = "jsdkd:changed";

/// A hash of apps by appid, each as JSON.
const APPS: &str = "jsdkd:apps";

/// The names under one prefix.
pub(super) struct Names {
    prefix: String,
    is_cluster: bool,
}

impl Names {
    pub(super) fn new(prefix: &str, is_cluster: bool) -> Self {
        Self {
            prefix: prefix.to_owned(),
            is_cluster,
        }
    }

    /// The key of a record.
    pub(super) fn record(&self, key: &str) -> String {
        match split(key) {
            (_, more) if self.is_cluster && !more.is_empty() => self.ours("", key),
            _ => format!("{}{key}", self.prefix),
        }
    }

    /// The lease for the record of `key`.
    pub(super) fn lease(&self, key: &str) -> String {
        self.ours("lease:", key)
    }

    /// The lock that a conditional write of `key` holds on a server without scripts.
    pub(super) fn lock(&self, key: &str) -> String {
        self.ours("lock:", key)
    }

    /// The permits named `key`.
    pub(super) fn permits(&self, key: &str) -> String {
        self.ours("spent:", key)
    }

    pub(super) fn channel(&self) -> String {
        format!("{}{CHANNEL}", self.prefix)
    }

    pub(super) fn apps(&self) -> String {
        format!("{}{APPS}", self.prefix)
    }

    fn ours(&self, what: &str, key: &str) -> String {
        let prefix = &self.prefix;
        match split(key) {
            (record, more) if self.is_cluster => {
                format!("{prefix}jsdkd:{what}{{{prefix}{record}}}{more}")
            }
            _ => format!("{prefix}jsdkd:{what}{key}"),
        }
    }
}

/// Splits off the record that `key` belongs to: `APPID.token` and `.version`. Any other key is its
/// own record.
fn split(key: &str) -> (&str, &str) {
    let mut words = key.splitn(3, '.');
    let (Some(whose), Some(which), Some(more)) = (words.next(), words.next(), words.next()) else {
        return (key, "");
    };
    // No appid is a word that another kind of key begins with, as `oauth.ticket.APPID.ID` does.
    let is_credential = CredentialKind::from_name(which).is_some() && AppId::parse(whose).is_ok();
    if is_credential || whose == "source" {
        key.split_at(key.len() - more.len() - 1)
    } else {
        (key, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_record_share_its_slot() {
        let names = Names::new("site:", true);
        assert_eq!(names.record("wx1.token"), "site:wx1.token");
        assert_eq!(
            names.record("wx1.token.version"),
            "site:jsdkd:{site:wx1.token}.version"
        );
        assert_eq!(
            names.lease("wx1.token"),
            "site:jsdkd:lease:{site:wx1.token}"
        );
        assert_eq!(names.lock("wx1.token"), "site:jsdkd:lock:{site:wx1.token}");
        assert_eq!(
            names.permits("wx1.card_ticket.rotations.20000"),
            "site:jsdkd:spent:{site:wx1.card_ticket}.rotations.20000"
        );
        assert_eq!(
            names.permits("source.work.forced"),
            "site:jsdkd:spent:{site:source.work}.forced"
        );
    }

    #[test]
    fn other_keys_have_their_own_slot() {
        let names = Names::new("", true);
        for key in [
            "login.scan.1",
            "login.code.ticket",
            "oauth.ticket.wx1.1",
            "message.wx1.a.b",
            "source.work",
            "wx1",
            "",
        ] {
            assert_eq!(
                (names.record(key), names.permits(key)),
                (key.to_owned(), format!("jsdkd:spent:{{{key}}}"))
            );
        }
    }

    #[test]
    fn hash_tags_are_only_used_in_a_cluster() {
        let names = Names::new("", false);
        assert_eq!(
            [
                names.record("wx1.token.version"),
                names.permits("wx1.token.rotation"),
                names.lease("wx1.token")
            ],
            [
                "wx1.token.version",
                "jsdkd:spent:wx1.token.rotation",
                "jsdkd:lease:wx1.token"
            ]
        );
    }
}
