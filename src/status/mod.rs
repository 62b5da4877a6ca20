//! The state of the server as seen from outside: whether it is ready, what each credential's state
//! is, which instances share the store, and all of it as metrics. It reads snapshots and never asks
//! WeChat; only readiness and the record of the instances ask the store, each within a bound.
//!
//! Reading order: `accounts` (the state of each credential), `last_error`, `finding`, `overview` (everything on the page),
//! `sentence`, `readiness`, `instances`, `metrics` (the names and values for Prometheus), `process` (what the
//! system says of this process). It knows no actix and no HTML.

mod accounts;
mod finding;
mod instances;
mod last_error;
mod metrics;
mod overview;
mod process;
mod readiness;
mod sentence;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::counters::Counters;
use crate::telemetry::LostLines;
use clock::{Clock, UnixMillis};
use credentials::keeper::Keeper;
use credentials::sources::Sources;
use credentials::store::Store;
use wechat::credential::CredentialKind;

pub use self::accounts::{AccountState, Budget, CredentialLine, Service, State};
pub use self::finding::{FOREIGN_REFRESH, Finding};
pub use self::instances::{Instance, instances_in};
pub use self::last_error::LastError;
pub use self::metrics::{Kind, Live, Metric, NAMES};
pub use self::overview::{Overview, RealmLine};
pub use self::readiness::Readiness;
pub use self::sentence::{Sentence, Tone, lasting, local};

use self::instances::Instances;
use self::readiness::StoreProbe;

/// How often the store is asked and this instance is noted there.
const BEAT: Duration = Duration::from_secs(10);

/// How many ledgers are read in one turn.
const LEDGERS_A_TURN: usize = 50;

/// A cheap handle on what metrics and the status page read.
#[derive(Clone)]
pub struct Status(Arc<Inner>);

struct Inner {
    keeper: Keeper,
    sources: [Sources; 2],
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
    lost_lines: LostLines,
    instances: Instances,
    probe: StoreProbe,
    started: UnixMillis,
}

/// What a status is made of.
pub struct Parts {
    /// WeChat's tokens and tickets.
    pub keeper: Keeper,
    /// The sources that `/token` hands out, and WeCom's.
    pub sources: [Sources; 2],
    /// The store, whose operations the counters see.
    pub store: Arc<dyn Store>,
    /// The counters of the process.
    pub counters: Arc<Counters>,
    /// Log lines that were lost.
    pub lost_lines: LostLines,
    /// The name of this instance.
    pub name: String,
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status").finish_non_exhaustive()
    }
}

impl Status {
    /// The status of a server that starts now.
    pub fn new(parts: Parts) -> Self {
        let clock = parts.keeper.clock().clone();
        Self(Arc::new(Inner {
            instances: Instances::new(parts.name),
            probe: StoreProbe::default(),
            started: clock.wall(),
            keeper: parts.keeper,
            sources: parts.sources,
            store: parts.store,
            counters: parts.counters,
            lost_lines: parts.lost_lines,
        }))
    }

    /// Asks the store regularly and notes this instance there, until `stop` changes. `each_time` is
    /// called before each turn.
    pub async fn run(self, mut stop: watch::Receiver<bool>, each_time: impl Fn(&Self) + Send) {
        let mut next_ledger = 0;
        loop {
            each_time(&self);
            let turn = async {
                if self.is_store_answering().await {
                    self.share_instance().await;
                    self.read_ledgers(&mut next_ledger).await;
                }
                tokio::time::sleep(BEAT).await;
            };
            tokio::select! {
                () = turn => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// Reads the ledgers that other instances may have changed, those of some accounts in use each
    /// time.
    async fn read_ledgers(&self, next: &mut usize) {
        if !self.0.store.is_shared() {
            return;
        }
        let all = self.0.keeper.all();
        let tokens = all
            .iter()
            .map(|account| account.credential(CredentialKind::AccessToken))
            .filter(|token| token.state().is_wanted);
        let tokens: Vec<_> = tokens.collect();
        let reading = async {
            for _ in 0..tokens.len().min(LEDGERS_A_TURN) {
                let token = tokens[*next % tokens.len()];
                *next = next.wrapping_add(1);
                if token.read_ledger().await.is_none() {
                    return;
                }
            }
        };
        // The next turn goes on where this one stopped.
        tokio::time::timeout(BEAT, reading).await.ok();
    }

    /// The state of all accounts and sources.
    fn accounts(&self) -> Vec<AccountState> {
        accounts::accounts(&self.0.keeper, &self.0.sources)
    }

    fn clock(&self) -> &Clock {
        self.0.keeper.clock()
    }

    /// The counters of the process.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.0.counters
    }
}
