//! What goes to WeChat for one request.

use std::sync::Arc;

use hyper::{HeaderMap, Method};
use secrecy::SecretString;

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

/// What goes in beside the path and the query.
pub(super) enum Identity {
    /// The real token of an account, put last in the query.
    Token(Account),
    /// Nothing: the query has the real secret already, or needs none. The secret must not come
    /// back.
    None(Option<SecretString>),
}
