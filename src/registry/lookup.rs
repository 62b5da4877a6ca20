//! Looks up an unknown appid once in the store, because another instance may have created the app a
//! moment ago. A miss is cached for a second. Lookups and their cache are bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::Registry;
use clock::SteadyMillis;
use credentials::keeper::AccountCredentials;
use credentials::store::StoredApp;
use wechat::account::AppId;

/// How long a miss is remembered. All apps are read twice in that time, so that nothing is missed
/// for longer.
const MISS_TTL: Duration = Duration::from_secs(1);

/// How long a caller waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The most appids that are looked up or remembered at once, and so the most lookups in a second.
/// Beyond it an unknown appid is refused without a lookup.
const CAPACITY: usize = 256;

/// The most lookups that the store works on at once, so that they leave its connections to
/// renewals.
const CONCURRENCY: usize = 2;

/// The lookups of the last second.
pub(super) struct Lookups {
    by_app: Mutex<HashMap<AppId, Lookup>>,
    permits: Semaphore,
}

impl Default for Lookups {
    fn default() -> Self {
        Self {
            by_app: Mutex::default(),
            permits: Semaphore::new(CONCURRENCY),
        }
    }
}

enum Lookup {
    /// Closed when the lookup ends; nothing is ever sent.
    Running(watch::Receiver<()>),
    Missed(SteadyMillis, Miss),
}

/// Why no account was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    /// The store does not hold the app, or apps in the store are not served.
    Unknown,
    /// The store failed or was too slow, or too many appids are being looked up.
    Undecided,
}

impl Lookup {
    fn is_over(&self, now: SteadyMillis) -> bool {
        match self {
            Self::Running(ended) => ended.has_changed().is_err(),
            Self::Missed(at, _) => at.until(now) >= MISS_TTL,
        }
    }
}

impl Registry {
    /// The account of an appid that the keeper does not know, if the store has it. Callers who ask
    /// for the same appid share one lookup. What a store that fails holds is served as soon as it
    /// can be read again.
    pub async fn look_up(&self, app_id: &str) -> Result<Arc<AccountCredentials>, Miss> {
        if !self.state().list.holds_stored() {
            return Err(Miss::Unknown);
        }
        if !self.0.store.is_shared() {
            // Such a store is read until it has answered once.
            let is_read = self.state().seen == Some(true);
            return Err(if is_read {
                Miss::Unknown
            } else {
                Miss::Undecided
            });
        }
        let app_id = AppId::parse(app_id).map_err(|_| Miss::Unknown)?;
        let mut lookup = self.begin_lookup(&app_id)?;
        timeout(TIMEOUT, lookup.changed()).await.ok();
        self.0
            .keeper
            .credentials(app_id.as_str())
            .ok_or_else(|| self.last_miss(&app_id))
    }

    /// How the last lookup of `app_id` ended; one that is still running is undecided.
    fn last_miss(&self, app_id: &AppId) -> Miss {
        match self.lookups().get(app_id) {
            Some(Lookup::Missed(_, miss)) => *miss,
            _ => Miss::Undecided,
        }
    }

    fn lookups(&self) -> MutexGuard<'_, HashMap<AppId, Lookup>> {
        self.0
            .lookups
            .by_app
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the lookup of `app_id` or begins it; the miss if it has just been missed, or if there
    /// are too many.
    fn begin_lookup(&self, app_id: &AppId) -> Result<watch::Receiver<()>, Miss> {
        let now = self.0.keeper.clock().steady();
        let mut lookups = self.lookups();
        match lookups.get(app_id) {
            Some(lookup) if lookup.is_over(now) => {}
            Some(Lookup::Running(ended)) => return Ok(ended.clone()),
            Some(Lookup::Missed(_, miss)) => return Err(*miss),
            None => {
                if lookups.len() >= CAPACITY {
                    lookups.retain(|_, lookup| !lookup.is_over(now));
                }
                if lookups.len() >= CAPACITY {
                    return Err(Miss::Undecided);
                }
            }
        }
        let (running, ended) = watch::channel(());
        lookups.insert(app_id.clone(), Lookup::Running(ended.clone()));
        let (registry, app_id) = (self.clone(), app_id.clone());
        self.0.runtime.spawn(async move {
            registry.run_lookup(app_id).await;
            drop(running);
        });
        Ok(ended)
    }

    async fn run_lookup(&self, app_id: AppId) {
        // By then all callers have given up.
        let found = match timeout(TIMEOUT, self.0.lookups.permits.acquire()).await {
            Ok(Ok(_permit)) => self.0.store.find_app(app_id.as_str()).await.ok(),
            _ => None,
        };
        let miss = match found {
            Some(Some(app)) => {
                self.add(app_id.clone(), app);
                None
            }
            Some(None) => Some(Miss::Unknown),
            None => Some(Miss::Undecided),
        };
        let now = self.0.keeper.clock().steady();
        let mut lookups = self.lookups();
        match miss {
            None => drop(lookups.remove(&app_id)),
            Some(miss) => drop(lookups.insert(app_id, Lookup::Missed(now, miss))),
        }
    }

    /// Serves an app that the store holds.
    fn add(&self, app_id: AppId, app: StoredApp) {
        let mut state = self.state();
        // A reload may have ended this meanwhile.
        if !state.list.holds_stored() {
            return;
        }
        state.version += 1;
        if state.list.add(app_id, app) {
            self.publish(&mut state);
        }
    }
}
