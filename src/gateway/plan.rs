//! What goes to WeChat for one request.

use std::sync::Arc;

use hyper::{HeaderMap, Method};

use super::accounts::Account;
use super::limits::Place;
use super::upstream::Hosts;

/// What goes to WeChat.
pub(super) struct Plan {
    pub(super) method: Method,
    pub(super) path: String,
    /// Without the virtual token.
    pub(super) query: Vec<u8>,
    pub(super) headers: HeaderMap,
    pub(super) hosts: Arc<Hosts>,
    pub(super) identity: Identity,
    pub(super) place: Place,
}

/// On whose behalf a call is made.
pub(super) enum Identity {
    /// An account's, whose real token is put last in the query.
    Token(Account),
    /// An account's, whose real secret is in the query or the body already.
    Secret(Account),
    /// Nobody's.
    Anonymous,
}
