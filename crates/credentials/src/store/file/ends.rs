//! The expiries of a file's records in order, so that expired ones are found without reading the
//! others, which are kept as text.

use std::collections::BTreeSet;

use crate::store::memory::FORGET_AFTER;
use clock::UnixMillis;

/// Expiries in order.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeSet<(UnixMillis, String)>);

impl Ends {
    /// `key` ends at `end` unless it is written again.
    pub(super) fn note(&mut self, key: &str, end: UnixMillis) {
        self.0.insert((end, key.to_owned()));
    }

    /// Removes and returns the keys that expired [`FORGET_AFTER`] ago. A key that was written again
    /// since has another expiry, so the caller compares.
    pub(super) fn passed(&mut self, now: UnixMillis) -> Vec<(UnixMillis, String)> {
        let mut passed = Vec::new();
        while self
            .0
            .first()
            .is_some_and(|(end, _)| end.plus(FORGET_AFTER) <= now)
        {
            passed.extend(self.0.pop_first());
        }
        passed
    }
}
