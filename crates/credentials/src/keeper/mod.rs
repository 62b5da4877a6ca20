//! WeChat's credentials: a token and tickets for each account, renewed by the engine in
//! `credentials/`. Here are the accounts, what WeChat's endpoints do (`subject`), and calls that
//! need a token (`calls`). The engine decides when something is fetched.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::engine::{Credential, Engine, RenewalError};
use crate::store::Store;
use clock::Clock;
use wechat::account::{Account, AppId, Keep};
use wechat::credential::{CredentialKey, CredentialKind};
use wechat::{WechatClient, WechatError};

mod calls;
pub mod explain;
mod subject;

pub use crate::engine::{Cached, CredentialState, FailureState, Parts};
pub use subject::WechatSubject;

/// An error of WeChat's credentials.
pub type KeeperError = RenewalError<CredentialKey, WechatError>;

/// The handle on one of an account's credentials.
pub type WechatCredential = Credential<WechatSubject>;

/// All accounts by appid; replaced whole on a reload.
type Directory = HashMap<AppId, Arc<AccountCredentials>>;

/// A cheap handle on all accounts.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    directory: ArcSwap<Directory>,
    engine: Arc<Engine<WechatSubject>>,
    store: Arc<dyn Store>,
    wechat: WechatClient,
}

/// One account and the handles on its credentials.
#[derive(Debug)]
pub struct AccountCredentials {
    /// The account as it is configured now.
    pub account: Arc<Account>,
    credentials: [Arc<WechatCredential>; 3],
}

impl AccountCredentials {
    /// The handle on the credential of that kind.
    pub fn credential(&self, kind: CredentialKind) -> &Arc<WechatCredential> {
        &self.credentials[kind.index()]
    }
}

impl Keeper {
    /// A keeper of `accounts`. Must be called on the runtime that is to do its work;
    /// [`Keeper::run`] must run for anything to be renewed ahead.
    pub fn new(accounts: Vec<Account>, wechat: WechatClient, parts: Parts) -> Self {
        let keeper = Self(Arc::new(Inner {
            directory: ArcSwap::default(),
            store: Arc::clone(&parts.store),
            engine: Engine::new(parts, wechat.timeout()),
            wechat,
        }));
        keeper.set_accounts(accounts);
        keeper
    }

    /// Replaces the accounts. What is cached for those that stay is kept.
    pub fn set_accounts(&self, accounts: Vec<Account>) {
        let accounts: Vec<_> = accounts.into_iter().map(Arc::new).collect();
        let subjects = accounts
            .iter()
            .flat_map(|account| WechatSubject::all_of(account, &self.0.wechat));
        let credentials = self.0.engine.set(subjects);
        let (of_accounts, _) = credentials.as_chunks();
        let directory = accounts
            .iter()
            .zip(of_accounts)
            .map(|(account, credentials)| {
                let held = AccountCredentials {
                    account: Arc::clone(account),
                    credentials: credentials.clone(),
                };
                (account.app_id.clone(), Arc::new(held))
            });
        self.0.directory.store(Arc::new(directory.collect()));
    }

    /// The account of that appid and its credentials: one hash.
    pub fn credentials(&self, app_id: &str) -> Option<Arc<AccountCredentials>> {
        self.0.directory.load().get(app_id).cloned()
    }

    /// All appids, in no particular order.
    pub fn app_ids(&self) -> Vec<AppId> {
        self.0.directory.load().keys().cloned().collect()
    }

    /// All accounts and their credentials, by appid.
    pub fn all(&self) -> Vec<Arc<AccountCredentials>> {
        let mut all: Vec<_> = self.0.directory.load().values().cloned().collect();
        all.sort_unstable_by(|one, other| one.account.app_id.cmp(&other.account.app_id));
        all
    }

    /// Which credentials are renewed ahead.
    pub fn keep(&self) -> Keep {
        self.0.engine.keep
    }

    /// The keeper's clock.
    pub fn clock(&self) -> &Clock {
        &self.0.engine.clock
    }

    /// Renews ahead until `stop` changes or is dropped.
    pub fn run(&self, stop: watch::Receiver<bool>) -> impl Future<Output = ()> + Send + use<> {
        let keeper = self.clone();
        async move { Arc::clone(&keeper.0.engine).run(stop).await }
    }

    /// Forgets every failure, because an operator who reloads the settings has corrected something.
    pub fn forget_failures(&self) {
        self.0.engine.forget_failures();
    }

    /// Waits for the renewals in flight, at most `grace`, writes what the store lacks, and closes
    /// the store.
    pub async fn close(&self, grace: Duration) {
        self.0.engine.close(grace).await;
        if let Err(error) = self.0.store.close().await {
            tracing::error!(%error, "the store could not be closed cleanly");
        }
    }
}
