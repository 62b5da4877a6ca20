//! Whether the store answers: told to the log once when it stops and once when it is back, and counted, so that a near copy knows
//! whether the store may have lost it. It decides nothing.

use std::sync::atomic::Ordering;

use super::Keeper;
use crate::store::StoreError;

impl Keeper {
    /// The store did what it was asked.
    pub(super) fn store_answered(&self) {
        if self.0.store_is_down.load(Ordering::Relaxed) && self.0.store_is_down.swap(false, Ordering::Relaxed) {
            tracing::info!("the store answers again");
        }
    }

    /// The store did not do what it was asked.
    pub(super) fn store_failed(&self, error: &StoreError) {
        self.0.store_faults.fetch_add(1, Ordering::Relaxed);
        if !self.0.store_is_down.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the store fails; what this process holds fresh goes on being served");
        }
    }
}
