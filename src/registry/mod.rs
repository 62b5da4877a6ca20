//! The accounts: those of the settings, and the apps in the store. The registry gives the keeper
//! the merged list, watches for apps that other instances create, and creates apps itself. It does
//! not depend on the settings' format or on routes.
//!
//! Reading order: `list` (the merged list), this file (keeps it up to date), `create` (creates an
//! app), `lookup` (finds an app that another instance has just created), `code` (sends a code in an
//! app's name).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::message::{MessagePolicies, MessagePolicy};
use credentials::keeper::Keeper;
use credentials::store::{Store, StoreError, StoredApp};

mod code;
mod create;
mod list;
mod lookup;

pub use code::{Code, CodeError};
pub use create::{CreateError, NewApp};
pub use list::Configured;
pub use lookup::Miss;

pub use credentials::store::Payment;

use list::List;
use lookup::Lookups;

/// How often a shared store is read for new apps, so that all instances serve them within a second.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How long a start waits for the store's first answer. A store that is down must not prevent it.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// A cheap handle on the one list of accounts.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    keeper: Keeper,
    store: Arc<dyn Store>,
    /// Our name as the owner of leases.
    owner: String,
    state: Mutex<State>,
    messages: ArcSwap<MessagePolicies>,
    /// Notified when the settings have changed.
    settings_changed: Notify,
    /// Appids that were not known here when somebody asked.
    lookups: Lookups,
    /// The apps that are being created here, in lower case.
    making: watch::Sender<BTreeSet<String>>,
    runtime: Handle,
}

#[derive(Default)]
struct State {
    list: List,
    /// Counts changes here, so that an older answer of the store is ignored.
    version: u64,
    /// Whether the last read succeeded; `None` = not read since the settings changed.
    seen: Option<bool>,
}

impl Registry {
    /// The accounts of `keeper`, which begins with those of the settings. Must be called on the
    /// runtime that is to do the work;
    /// [`Registry::run`] must be run for what others make to be seen.
    pub fn new(keeper: Keeper, store: Arc<dyn Store>, configured: Configured) -> Self {
        let registry = Self(Arc::new(Inner {
            keeper,
            store,
            owner: format!("{:032x}", rand::random::<u128>()),
            state: Mutex::default(),
            messages: ArcSwap::default(),
            settings_changed: Notify::new(),
            lookups: Lookups::default(),
            making: watch::Sender::default(),
            runtime: Handle::current(),
        }));
        registry.set(configured);
        registry
    }

    /// Replaces what the settings say, as a reload does. The apps of the store that are known stay.
    pub fn set(&self, configured: Configured) {
        let mut state = self.state();
        state.list.set(configured);
        state.seen = None;
        state.version += 1;
        self.publish(&mut state);
        self.0.keeper.forget_failures();
        self.0.settings_changed.notify_one();
    }

    /// What the account does with its messages.
    pub fn messages_of(&self, app_id: &str) -> Arc<MessagePolicy> {
        self.0.messages.load().of(app_id)
    }

    /// Reads the store for the first time, so that a server that listens serves its apps. Bounded
    /// by a second.
    pub async fn begin(&self) {
        if self.state().list.holds_stored() {
            tokio::time::timeout(FIRST_TIMEOUT, self.look()).await.ok();
        }
    }

    /// Reads a shared store regularly, and any other one until it has answered once; until `stop`
    /// changes.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            let turn = async {
                match self.pause() {
                    Some(pause) => {
                        drop(tokio::time::timeout(pause, self.0.settings_changed.notified()).await)
                    }
                    None => self.0.settings_changed.notified().await,
                }
                if self.pause().is_some() {
                    self.look().await;
                }
            };
            tokio::select! {
                () = turn => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// Waits for the apps that are being created, at most `grace`.
    pub async fn close(&self, grace: Duration) {
        let mut making = self.0.making.subscribe();
        if tokio::time::timeout(grace, making.wait_for(BTreeSet::is_empty))
            .await
            .is_err()
        {
            tracing::warn!("stopped before every new app was written");
        }
    }

    /// How long until the next read; `None` = there is nothing to read.
    fn pause(&self) -> Option<Duration> {
        let state = self.state();
        match state.seen {
            _ if !state.list.holds_stored() => None,
            None => Some(Duration::ZERO),
            Some(true) if !self.0.store.is_shared() => None,
            Some(_) => Some(POLL_INTERVAL),
        }
    }

    async fn look(&self) {
        let version = self.state().version;
        match self.0.store.apps().await {
            Ok(apps) => self.adopt(version, apps),
            Err(error) => self.missed(&error),
        }
    }

    /// Applies what the store returned, unless something changed here meanwhile; then the store is
    /// read again.
    fn adopt(&self, version: u64, found: Vec<StoredApp>) {
        let mut state = self.state();
        if state.version != version {
            return;
        }
        if state.seen == Some(false) {
            tracing::info!("the apps in the store can be read again");
        }
        state.seen = Some(true);
        // A new list makes the keeper forget past failures, so an equal one is not published.
        if state.list.adopt(found) {
            self.publish(&mut state);
        }
    }

    fn missed(&self, error: &StoreError) {
        let mut state = self.state();
        if state.seen != Some(false) {
            tracing::warn!(%error, "the apps in the store cannot be read; those read before are still served");
        }
        state.seen = Some(false);
    }

    /// Gives the keeper the list as it is now.
    fn publish(&self, state: &mut State) {
        let (accounts, messages) = state.list.merged();
        self.0.messages.store(Arc::new(messages));
        self.0.keeper.set_accounts(accounts);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
