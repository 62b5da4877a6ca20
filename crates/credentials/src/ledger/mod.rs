//! What all instances count together about one credential: the calls of a day, and the signs that
//! another program fetches it. It counts and notes, and locks nothing: when the store fails, a
//! renewal goes on without it. This file is pure; `shared.rs` reads and writes it.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use clock::UnixMillis;

mod shared;

pub(crate) use shared::SharedLedger;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// How far the clocks of China are ahead of UTC.
const CHINA: Duration = Duration::from_secs(8 * 3600);

/// The most foreign refreshes that are kept, the most recent ones.
const MOST_FOREIGN: usize = 10;

/// The number of the day by which WeChat counts: that of China, where no clock is ever changed.
pub(crate) fn day_of(now: UnixMillis) -> u64 {
    now.plus(CHINA).seconds().0 / DAY.as_secs()
}

/// The shared account of one credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// The day of [`Ledger::used`], counted since 1970 in China.
    day: u64,
    /// Calls of that day.
    used: u32,
    /// The generation of the last call that may have voided the value. A stored value with a lower
    /// one may have been voided by that call.
    pub(crate) called: u64,
    /// How often another program was found to have fetched the credential.
    pub foreign_total: u64,
    /// The last of these, the most recent one last.
    pub foreign: Vec<ForeignRefresh>,
}

/// Another program fetched the credential between these two times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignRefresh {
    /// When our value was granted, in Unix seconds.
    pub after: u64,
    /// When it was found to be void, in Unix seconds.
    pub before: u64,
    /// The generation of that value, which is counted once.
    generation: u64,
}

impl Ledger {
    /// The ledger that `text` holds. Without one it is empty; so it is if the text is no ledger,
    /// which the next change replaces.
    fn read(text: Option<&SecretString>) -> Self {
        text.and_then(|text| serde_json::from_str(text.expose_secret()).ok())
            .unwrap_or_default()
    }

    /// Its text, by which a change compares it.
    fn text(&self) -> Option<SecretString> {
        Some(serde_json::to_string(self).ok()?.into())
    }

    /// Calls on the day of `now`.
    pub fn used(&self, now: UnixMillis) -> u32 {
        if self.day == day_of(now) {
            self.used
        } else {
            0
        }
    }

    pub(crate) fn count(&mut self, now: UnixMillis) {
        self.used = self.used(now).saturating_add(1);
        self.day = day_of(now);
    }

    /// Notes a foreign refresh; `false`: it is known already.
    pub(crate) fn add_foreign(
        &mut self,
        generation: u64,
        after: UnixMillis,
        before: UnixMillis,
    ) -> bool {
        if self
            .foreign
            .last()
            .is_some_and(|last| last.generation >= generation)
        {
            return false;
        }
        self.foreign_total += 1;
        if self.foreign.len() >= MOST_FOREIGN {
            self.foreign.remove(0);
        }
        self.foreign.push(ForeignRefresh {
            after: after.seconds().0,
            before: before.seconds().0,
            generation,
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_the_day_of_china() {
        // 2026-11-27 in China begins at 2026-11-26 16:00 UTC.
        let midnight = UnixMillis(1_795_708_800_000);
        let before = UnixMillis(midnight.0 - 1);
        let mut ledger = Ledger::default();
        ledger.count(before);
        ledger.count(before);
        assert_eq!([ledger.used(before), ledger.used(midnight)], [2, 0]);
        ledger.count(midnight);
        assert_eq!([ledger.used(before), ledger.used(midnight)], [0, 1]);
    }

    #[test]
    fn a_value_is_found_void_once_and_ten_findings_are_kept() {
        let mut ledger = Ledger::default();
        for generation in 1..=12 {
            let at = UnixMillis(generation * 1000);
            assert!(ledger.add_foreign(generation, at, at));
            assert!(!ledger.add_foreign(generation, at, at));
        }
        assert_eq!((ledger.foreign_total, ledger.foreign.len()), (12, 10));
        assert_eq!(ledger.foreign[0].after, 3);
    }
}
