//! Everything that the status page and `/status.json` show, read at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Status;
use super::accounts::{AccountState, CredentialLine, Service, State};
use super::finding::Finding;
use super::instances::Instance;
use crate::counters::{Event, RealmUse, Totals};
use clock::UnixMillis;

/// One reading of everything.
#[derive(Clone, Debug)]
pub struct Overview {
    /// When it was read.
    pub now: UnixMillis,
    /// When this process started.
    pub started: UnixMillis,
    /// Whether the latest operations of the store succeeded.
    pub is_store_up: bool,
    /// How far our clock is ahead of WeChat's.
    pub clock_offset_ms: Option<i64>,
    /// Until when everything that is needed is served if WeChat falls silent now. `None` = nothing
    /// is needed, or something is missing.
    pub served_until: Option<UnixMillis>,
    /// All accounts; those in trouble first, then those in use.
    pub accounts: Vec<AccountState>,
    /// The instances that share the store, this one first.
    pub instances: Vec<Instance>,
    /// The realms, by key.
    pub realms: Vec<RealmLine>,
    /// The last events, the most recent first.
    pub events: Vec<Event>,
}

/// One realm.
#[derive(Clone, Debug)]
pub struct RealmLine {
    /// Its key.
    pub key: String,
    /// Its calls at this instance since midnight in Beijing, refused ones included.
    pub calls_today: u64,
    /// Those of them that were refused.
    pub refused_today: u64,
    /// When it called last.
    pub last_seen: Option<UnixMillis>,
}

impl Overview {
    /// The findings, with their accounts; the most recent first.
    pub fn findings(&self) -> Vec<(&str, &Finding)> {
        let found = self.accounts.iter().filter_map(|account| {
            let finding = account.finding.as_ref()?;
            Some((account.app_id.as_str(), finding))
        });
        let mut all: Vec<_> = found.collect();
        all.sort_by_key(|(_, finding)| std::cmp::Reverse(finding.before));
        all
    }

    /// The credentials that are needed, with their accounts.
    pub fn needed(&self) -> impl Iterator<Item = (&AccountState, &CredentialLine)> {
        self.accounts.iter().flat_map(|account| {
            let needed = account.credentials.iter().filter(|line| line.is_needed);
            needed.map(move |line| (account, line))
        })
    }
}

impl Status {
    /// Reads everything. `realms` are those of the settings with their queries.
    pub fn overview(&self, realms: &BTreeMap<String, Arc<RealmUse>>) -> Overview {
        let (inner, now) = (&self.0, self.clock().wall());
        let mut all = self.accounts();
        let served_until = served_until(&all);
        all.sort_by_key(|account| (urgency(account), !account.is_in_use()));
        Overview {
            now,
            started: inner.started,
            is_store_up: inner.counters.is_store_up(),
            clock_offset_ms: inner.counters.clock_offset_ms(),
            served_until,
            accounts: all,
            instances: self.instances(),
            realms: self.realms(realms, now),
            events: inner.counters.events.read(),
        }
    }

    /// Reads each realm, so that its day begins at midnight.
    pub fn realms(
        &self,
        realms: &BTreeMap<String, Arc<RealmUse>>,
        now: UnixMillis,
    ) -> Vec<RealmLine> {
        let gateway = self.0.counters.gateway.realms();
        let line = |(key, queries): (&String, &Arc<RealmUse>)| {
            let called = gateway.get(key).copied().unwrap_or_default();
            let more = Totals {
                calls: called.calls,
                refused: called.refused,
            };
            let today = queries.today(more, now);
            let last_call = Some(called.last_seen).filter(|at| at.0 > 0);
            RealmLine {
                key: key.clone(),
                calls_today: today.calls,
                refused_today: today.refused,
                last_seen: queries.last_seen().max(last_call),
            }
        };
        realms.iter().map(line).collect()
    }

    /// How long everything that is needed is served, in seconds; `None` = nothing is needed.
    pub(super) fn reserve(&self, accounts: &[AccountState]) -> Option<f64> {
        let now = self.clock().wall();
        let left = needed(accounts).map(|line| {
            let left = line.expires_at.map(|at| now.until(at));
            left.unwrap_or(Duration::ZERO)
        });
        left.min().map(|left| left.as_secs_f64())
    }
}

/// What is needed of WeChat. WeCom repeats a token until it expires, so there is no reserve, and a
/// source's may last a minute.
fn needed(accounts: &[AccountState]) -> impl Iterator<Item = &CredentialLine> {
    let accounts = accounts.iter();
    let accounts = accounts.filter(|account| account.service == Service::Wechat);
    let lines = accounts.flat_map(|account| &account.credentials);
    lines.filter(|line| line.is_needed)
}

fn served_until(accounts: &[AccountState]) -> Option<UnixMillis> {
    if needed(accounts).any(|line| line.expires_at.is_none()) {
        return None;
    }
    needed(accounts).filter_map(|line| line.expires_at).min()
}

fn urgency(account: &AccountState) -> State {
    let states = account.credentials.iter().map(|line| line.state);
    // What is not in trouble stays in the order of the appids.
    let worst = states.min().unwrap_or(State::Idle);
    if worst < State::Renewing {
        worst
    } else {
        State::Fresh
    }
}
