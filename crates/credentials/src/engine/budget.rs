//! The day's quota of calls. What is left of it is kept for the renewals of what ends: the closer
//! the end, the more proof a forced renewal needs.

use std::sync::Arc;
use std::time::Duration;

use super::cached::Cached;
use super::credential::Credential;
use super::lease::Right;
use super::reason::{Evidence, Reason};
use super::subject::{Probe, Subject};
use crate::ledger::Ledger;
use crate::store::StoreError;

/// From this share of the quota on, in percent, a value is renewed by force only if the service
/// itself calls it void.
const SCARCE: u64 = 80;

/// From this share on, in percent, only what ends is renewed.
const ALMOST_SPENT: u64 = 95;

/// How long the service may take to say whether a value is void. The caller waits meanwhile, and
/// the renewal comes after it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

impl<S: Subject> Credential<S> {
    /// The ledger as this process last saw it; empty if nothing was counted yet.
    pub fn last_ledger(&self) -> Ledger {
        self.ledger.last()
    }

    /// Reads the ledger that all instances share. `None`: the store fails.
    pub async fn read_ledger(&self) -> Option<Ledger> {
        let key = self.subject.load().store_key();
        self.unless_failed(self.ledger.read(&*self.engine.store, &key).await)
    }

    /// Changes the ledger; `change` returns whether there is something to write. `None`: the store
    /// fails, or other instances were always faster.
    pub(super) async fn change_ledger(
        &self,
        change: impl Fn(&mut Ledger) -> bool + Send,
    ) -> Option<Ledger> {
        let (engine, key) = (&self.engine, self.subject.load().store_key());
        let now = engine.clock.wall();
        let changed = self.ledger.change(&*engine.store, &key, now, change).await;
        self.unless_failed(changed)?
    }

    fn unless_failed<T>(&self, result: Result<T, StoreError>) -> Option<T> {
        let noted = result.inspect_err(|error| self.engine.store_failed(error));
        noted.ok()
    }

    /// Whether `current`, which somebody calls void, is renewed by force. Asks the service about it
    /// if the quota is scarce, or if nothing that we did explains why it should be void.
    pub(super) async fn may_force(
        self: &Arc<Self>,
        reason: &Reason,
        current: &Arc<Cached>,
        right: &Right,
    ) -> bool {
        let subject = self.subject.load_full();
        let Some(quota) = subject.calls_per_day() else {
            return true;
        };
        // Without the store nothing is known, and a forced renewal needed the store anyway.
        let Some(ledger) = self.read_ledger().await else {
            return true;
        };
        let share = self.used_share(&ledger, quota);
        if share >= ALMOST_SPENT {
            tracing::warn!(credential = %self.key(), percent = share, "the day's quota is almost spent, so only what ends is renewed");
            return false;
        }
        let is_scarce = share >= SCARCE;
        let is_unexplained =
            matches!(reason, Reason::Refused(..)) && self.is_unexplained(current, &ledger, right);
        if !is_scarce && !is_unexplained {
            return true;
        }
        let probe = match reason {
            Reason::Refused(_, Evidence::Probe) => Probe::Dead,
            _ => {
                let probe = subject.probe(current.value());
                let probe = tokio::time::timeout(PROBE_TIMEOUT, probe).await;
                probe.unwrap_or(Probe::Unclear)
            }
        };
        if is_unexplained && probe == Probe::Dead {
            self.note_foreign(current).await;
        }
        let is_allowed = !is_scarce || probe == Probe::Dead;
        if !is_allowed {
            tracing::warn!(credential = %self.key(), percent = share, "the day's quota is scarce and the service does not call the value void, so it stays");
        }
        is_allowed
    }

    /// Counts a call that is being made.
    pub(super) async fn count_call(&self, force: bool, right: &Right) {
        let subject = self.subject.load_full();
        let (Some(_), Some(lease)) = (subject.calls_per_day(), &right.lease) else {
            return;
        };
        let may_void = force || !subject.can_ask_freely();
        let now = self.engine.clock.wall();
        self.change_ledger(|ledger| {
            ledger.count(now);
            if may_void {
                ledger.called = ledger.called.max(lease.generation);
            }
            true
        })
        .await;
    }

    /// How much of the quota is used, in percent.
    fn used_share(&self, ledger: &Ledger, quota: u32) -> u64 {
        let used = u64::from(ledger.used(self.engine.clock.wall()));
        used * 100 / u64::from(quota.max(1))
    }
}
