//! Checks the promises after every step. Keeps the first breach and its time.

use std::collections::HashMap;

use super::host::{APPS, ROTATIONS, TIMEOUT};
use super::storage::{Process, Storage};
use super::transport::Question;
use super::wechat::{Calls, WeChat};
use super::world::{MINUTE, SECOND};

/// A value that was reported as dead is handed out nowhere after this long, if WeChat and the store
/// can be reached: the 30 s between two forced renewals, a lease, the second of the cached copies,
/// and the calls themselves. After an outage it may take as long as recovery: a back-off may still
/// last.
const GONE_AFTER: u64 = 45 * SECOND;

/// Everybody is served within this time after the last fault: the longest back-off, a lease, and
/// the calls themselves.
pub(crate) const SERVED_AFTER: u64 = 90 * SECOND;

/// The longest wait of a caller: the upstream timeout and an instance's slack.
const ANSWERED_WITHIN: u64 = 5_300;

/// Rounding: WeChat and stores use whole seconds.
const ROUNDING: u64 = SECOND;

/// The most calls for one account in a day, whatever its callers do and whatever fails. WeChat
/// grants 20 forced renewals. The rest were refused: hosts with wrong wall clocks count them for
/// another day, and requests arrive twice.
pub(crate) const A_DAY: Calls = Calls {
    tokens: 1960,
    forced: 3 * 20 + 5,
    tickets: 2000,
};

#[derive(Default)]
pub(crate) struct InvariantChecker {
    /// The first breach.
    pub(crate) breach: Option<String>,
    /// The renewals for which each lease was used.
    leases: HashMap<u64, u32>,
    reported: HashMap<u64, u64>,
    is_calm: bool,
    /// When the last fault ended.
    calm_since: u64,
    failed_over_at: Option<u64>,
    /// When the store last failed, was slow, or lost something.
    pub(crate) store_failed_at: u64,
    /// How many foreign refreshes of each account were found.
    found: HashMap<String, u64>,
    pub(crate) tally: Tally,
}

/// How often each check ran, so that a run without cases does not count as a proof.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) handed_out: u64,
    pub(crate) refused: u64,
    pub(crate) dead: u64,
    pub(crate) sent: u64,
    pub(crate) calm: u64,
    pub(crate) found: u64,
}

impl InvariantChecker {
    fn breach(&mut self, now: u64, what: impl FnOnce() -> String) {
        if self.breach.is_none() {
            self.breach = Some(format!("at {now} ms: {}", what()));
        }
    }

    /// Something goes wrong that has effects until `until`.
    pub(crate) fn disturbed_until(&mut self, until: u64) {
        self.calm_since = self.calm_since.max(until);
    }

    /// The store has lost its last moments, including leases.
    pub(crate) fn on_failover(&mut self, now: u64) {
        self.failed_over_at = Some(now);
        self.store_failed_at = now;
        self.disturbed_until(now);
    }

    /// Whether WeChat, the store and all hosts work now.
    pub(crate) fn set_calm(&mut self, is_calm: bool) {
        self.is_calm = is_calm;
    }

    /// How long WeChat, the store and all hosts have worked.
    pub(crate) fn calm_for(&self, now: u64) -> u64 {
        if self.is_calm {
            now.saturating_sub(self.calm_since)
        } else {
            0
        }
    }

    /// `process` asks WeChat for a renewal.
    pub(crate) fn sends(
        &mut self,
        question: &Question,
        process: Process,
        storage: &Storage,
        wechat: &WeChat,
        now: u64,
    ) {
        self.tally.sent += 1;
        let (app, kind) = match question {
            Question::Basic(app) | Question::Stable(app, _) => (app.clone(), "token"),
            Question::Ticket(token) => match wechat.owner(*token) {
                Some(app) => (app.to_owned(), "ticket"),
                None => return,
            },
        };
        // On stable a plain fetch is harmless, so it is allowed without a store.
        let needs_lease = app == APPS[0] || matches!(question, Question::Stable(_, true));
        if !needs_lease || self.failed_over_at.is_some_and(|at| at + 10 * SECOND > now) {
            return;
        }
        let key = format!("{app}.{kind}");
        let lease = storage
            .holder(&key, now)
            .filter(|claim| claim.process == process);
        let Some(lease) = lease else {
            return self.breach(now, || {
                format!("host {} renews {key} without a lease", process.host)
            });
        };
        if lease.ends < now + TIMEOUT.as_millis() as u64 {
            return self.breach(now, || {
                format!(
                    "host {}'s lease of {key} ends before the call may",
                    process.host
                )
            });
        }
        let used = self.leases.entry(lease.number).or_default();
        *used += 1;
        if *used > 1 {
            self.breach(now, || {
                format!("host {} renews {key} twice in one lease", process.host)
            });
        }
    }

    /// A caller reports `value` of `app` as refused by WeChat. It counts if it is true and was
    /// received: a caller that gets an error knows that it was not.
    pub(crate) fn on_answer(&mut self, app: &str, value: u64, wechat: &WeChat, now: u64) {
        if self.calm_for(now) > 0
            && wechat.owner(value) == Some(app)
            && wechat.dead_since(value, now).is_some()
        {
            self.reported.entry(value).or_insert(now);
        }
    }

    /// A caller that asked at `since` received `value`, which is dead if `dead_since` says so.
    pub(crate) fn on_granted(
        &mut self,
        value: u64,
        since: u64,
        now: u64,
        wechat: &WeChat,
        storage: &Storage,
    ) {
        self.tally.handed_out += 1;
        self.on_duration(since, now);
        let Some(dead_since) = wechat.dead_since(value, since) else {
            return;
        };
        self.tally.dead += 1;
        if wechat.end(value) + ROUNDING < since {
            return self.breach(now, || {
                format!(
                    "v{value} was handed out {} ms after its end",
                    since - wechat.end(value)
                )
            });
        }
        let app = wechat
            .owner(value)
            .and_then(|owner| APPS.iter().position(|app| *app == owner));
        let Some(app) = app else {
            return self.breach(now, || format!("v{value} was never minted"));
        };
        let budget_is_spent =
            storage.spent(&format!("{}.token.rotations.", APPS[app]), now) >= ROTATIONS[app];
        let reported = *self.reported.get(&value).unwrap_or(&now);
        let (known_for, calm) = (since.saturating_sub(reported), self.calm_for(since));
        if known_for > GONE_AFTER && calm > SERVED_AFTER && !budget_is_spent {
            self.breach(now, || format!("v{value}, dead since {dead_since}, is handed out {known_for} ms after it was reported"));
        }
    }

    /// The ledger of `app` has `found` foreign refreshes, and `value` is what the store holds.
    pub(crate) fn on_foreign_refresh(
        &mut self,
        app: &str,
        found: u64,
        value: u64,
        wechat: &WeChat,
        now: u64,
    ) {
        let known = self.found.entry(app.to_owned()).or_default();
        // A store that was set back has an older ledger.
        let is_new = found > std::mem::replace(known, found);
        if !is_new {
            return;
        }
        self.tally.found += 1;
        // A store in trouble loses the traces of our own renewals.
        let has_traces = self.store_failed_at < wechat.granted_at(value);
        if has_traces && !wechat.is_cut_by_stranger(value) {
            self.breach(now, || {
                format!("{app}: a foreign refresh was found, but v{value} was voided by none")
            });
        }
    }

    /// A caller that asked at `since` received nothing.
    pub(crate) fn on_refused(&mut self, why: &str, since: u64, now: u64) {
        self.tally.refused += 1;
        self.on_duration(since, now);
        let calm = self.calm_for(since);
        if calm > SERVED_AFTER {
            self.breach(now, || {
                format!("refused {calm} ms after the last trouble: {why}")
            });
        }
    }

    fn on_duration(&mut self, since: u64, now: u64) {
        let calm = self.calm_for(now);
        self.tally.calm += u64::from(calm > SERVED_AFTER);
        if now - since > ANSWERED_WITHIN && calm > now - since {
            self.breach(now, || format!("a caller waited {} ms", now - since));
        }
    }

    /// Checks the number of calls that WeChat counted in a day.
    pub(crate) fn check_calls(&mut self, wechat: &WeChat, now: u64) {
        for (app, books) in &wechat.books {
            let Calls {
                tokens,
                forced,
                tickets,
            } = books.most;
            if tokens > A_DAY.tokens || forced > A_DAY.forced || tickets > A_DAY.tickets {
                self.breach(now, || format!("{app}: {:?} in one day", books.most));
            }
        }
        self.reported.retain(|_, at| *at + 300 * MINUTE > now);
    }
}
