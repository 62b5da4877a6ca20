//! A realm: a program that may query credentials and call the gateway, and what it may have. How
//! its signature is checked is in `realm/verify.rs`. Knows no HTTP and no store.

mod error;
pub mod presets;
mod query;
pub mod scope;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use secrecy::SecretString;

use crate::counters::RealmUse;
use crate::ip_allowlist::TrustedProxies;
use clock::UnixSeconds;
use scope::GatewayScope;
use wechat::account::AppId;
use wechat::credential::CredentialKind;

pub use self::error::RealmError;
pub use self::query::{SignedQuery, VerifiedQuery};
pub use self::verify::{Accept, Realms, SignedRequest};

/// A program that may query credentials and call WeChat through the gateway.
#[derive(Clone, Debug)]
pub struct Realm {
    /// Its name, sent as `realm`.
    pub key: String,
    /// The secrets for signing queries, and its virtual AppSecrets at the gateway: one, or two
    /// during a change, the newest first.
    pub secrets: Vec<SecretString>,
    /// The apps it may query; `None` means all.
    pub apps: Option<BTreeSet<AppId>>,
    /// The WeCom applications it may query: agentids by corpid.
    pub agents: BTreeMap<AppId, BTreeSet<String>>,
    /// Which signatures it accepts.
    pub algorithm: Algorithm,
    /// What it may call through the gateway; `None` means nothing.
    pub gateway: Option<GatewayScope>,
    /// The credentials that a query may return; `None` means all.
    pub keys: Option<BTreeSet<CredentialKind>>,
    /// Maximum calls per minute through the gateway of one instance.
    pub per_minute: Option<u32>,
    /// The networks it may call from; `None` means any.
    pub networks: Option<TrustedProxies>,
    /// When its access ends: midnight UTC after its last day.
    pub until: Option<UnixSeconds>,
    /// Counts its queries. A reload of the settings keeps it.
    pub queries: Arc<RealmUse>,
}

impl Realm {
    /// Creates a realm without restrictions and without access to the gateway.
    pub fn new(key: impl Into<String>, secret: SecretString) -> Self {
        Self {
            key: key.into(),
            secrets: vec![secret],
            apps: None,
            agents: BTreeMap::new(),
            algorithm: Algorithm::Any,
            gateway: None,
            keys: None,
            per_minute: None,
            networks: None,
            until: None,
            queries: Arc::default(),
        }
    }

    /// True if it may query `app`.
    pub fn may_ask(&self, app: &str) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(app))
    }

    /// True if it may query the WeCom application `agent` of `corp`.
    pub fn may_ask_agent(&self, corp: &str, agent: &str) -> bool {
        self.agents
            .get(corp)
            .is_some_and(|agents| agents.contains(agent))
    }

    /// True if a query may return this kind of credential.
    pub fn may_have(&self, kind: CredentialKind) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(&kind))
    }

    /// True if its access has ended.
    pub fn is_over(&self, now: UnixSeconds) -> bool {
        self.until.is_some_and(|end| now >= end)
    }

    /// True if it may call from `address`; `None` is an unknown address.
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        self.networks
            .as_ref()
            .is_none_or(|networks| address.is_some_and(|address| networks.contains(address)))
    }
}

/// The signature versions that a realm accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// Version 1 (md5) and version 2.
    #[default]
    Any,
    /// Version 2 only.
    HmacSha256,
}

#[cfg(test)]
mod tests;
