//! Logs refused pushes and server checks for the operator: which fault, and what to change. The
//! sender learns neither.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clock::{Clock, SteadyMillis};
use wechat::account::AppId;

/// An account's faults of one kind are logged at most once in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The most pairs of account and kind that are remembered. Further pairs are not logged until old
/// ones expire.
const MAX_ENTRIES: usize = 4096;

/// Which faults were logged recently, by account and kind. All unknown accounts share one entry.
pub(super) struct PushFaultLog {
    clock: Clock,
    logged: Mutex<HashMap<(Option<AppId>, &'static str), Last>>,
}

struct Last {
    at: SteadyMillis,
    unlogged: u64,
}

impl PushFaultLog {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            logged: Mutex::default(),
        }
    }

    /// Returns `Some` if a fault of this kind is to be logged now, with the number left out since
    /// the last line. Calls `has_room` only if a line is due.
    pub(super) fn admit(
        &self,
        app_id: Option<&AppId>,
        kind: &'static str,
        has_room: impl FnOnce() -> bool,
    ) -> Option<u64> {
        let now = self.clock.steady();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (app_id.cloned(), kind);
        if let Some(last) = logged.get_mut(&key) {
            if last.at.until(now) < LOG_INTERVAL || !has_room() {
                last.unlogged += 1;
                return None;
            }
            last.at = now;
            return Some(std::mem::take(&mut last.unlogged));
        }
        if logged.len() >= MAX_ENTRIES {
            logged.retain(|_, last| last.at.until(now) < LOG_INTERVAL);
        }
        if logged.len() >= MAX_ENTRIES || !has_room() {
            return None;
        }
        logged.insert(
            key,
            Last {
                at: now,
                unlogged: 0,
            },
        );
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixMillis;

    fn app(number: usize) -> AppId {
        AppId::parse(&format!("wx{number}")).expect("an appid")
    }

    #[test]
    fn each_kind_of_fault_is_logged_once_a_minute() {
        let clock = Clock::manual(UnixMillis(0));
        let faults = PushFaultLog::new(clock.clone());
        let logged = |app_id: usize, kind| faults.admit(Some(&app(app_id)), kind, || true);
        assert_eq!(
            [1, 1, 1, 2].map(|app_id| logged(app_id, "wrong_token")),
            [Some(0), None, None, Some(0)]
        );
        assert_eq!(logged(1, "wrong_clock"), Some(0));
        clock.advance(LOG_INTERVAL);
        assert_eq!(
            (logged(1, "wrong_token"), logged(1, "wrong_token")),
            (Some(2), None)
        );
        assert_eq!(logged(1, "wrong_clock"), Some(0));
    }

    #[test]
    fn memory_is_bounded_and_entries_expire() {
        let clock = Clock::manual(UnixMillis(0));
        let faults = PushFaultLog::new(clock.clone());
        let logged = (0..MAX_ENTRIES + 100)
            .filter(|number| {
                faults
                    .admit(Some(&app(*number)), "clear", || true)
                    .is_some()
            })
            .count();
        assert_eq!(logged, MAX_ENTRIES);
        clock.advance(LOG_INTERVAL);
        assert_eq!(
            faults.admit(Some(&app(MAX_ENTRIES + 100)), "clear", || true),
            Some(0)
        );
        assert_eq!(faults.logged.lock().expect("nobody panics").len(), 1);
    }

    #[test]
    fn a_fault_without_room_is_logged_when_there_is_room() {
        let faults = PushFaultLog::new(Clock::manual(UnixMillis(0)));
        assert_eq!(faults.admit(Some(&app(1)), "clear", || false), None);
        assert_eq!(faults.admit(Some(&app(1)), "clear", || true), Some(0));
    }
}
