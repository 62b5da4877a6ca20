//! The life of a near copy: when it ends, when it is due, and whether the store has it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, SteadyMillis, UnixMillis};
use crate::credential::{Freshness, freshness};

/// Two ends this close together are one: stores keep whole seconds, and the rest of a life that a service tells is rounded too.
const SAME_END: Duration = Duration::from_secs(3);

/// What the way from a store may add to an end or take from it.
const READING: Duration = Duration::from_millis(100);

/// The shortest pause after the same value was handed back.
const NOT_YET: Duration = Duration::from_millis(200);

/// When a near copy ends, by both clocks, and what is known of it in the store.
#[derive(Debug)]
pub(crate) struct Life {
    /// The end by the wall clock.
    pub(crate) expires_at: UnixMillis,
    /// The end by the steady clock: a wall clock set back must not lengthen a token's life.
    ends: AtomicU64,
    /// The latest end that it may have in truth: what a store shows counts from the asking, as if it had answered at once.
    latest: SteadyMillis,
    /// How long before the end it is renewed.
    window: Duration,
    /// When the store last confirmed it.
    confirmed: AtomicU64,
    /// How many faults the store had had by then.
    faults_seen: AtomicU64,
    /// Whether the store does not have it yet.
    unsaved: AtomicBool,
}

impl Life {
    /// A life until `expires_at`, of `at_most` so long whatever the wall clock says: it may have been set back meanwhile.
    pub(crate) fn new(expires_at: UnixMillis, window: Duration, clock: &Clock, at_most: Duration) -> Self {
        let (now, left) = (clock.steady(), clock.wall().until(expires_at).min(at_most));
        Self {
            expires_at,
            ends: AtomicU64::new(now.plus(left).0),
            latest: now.plus(left),
            window,
            confirmed: AtomicU64::new(now.0),
            faults_seen: AtomicU64::new(0),
            unsaved: AtomicBool::new(false),
        }
    }

    /// A life until `ends`.
    pub(crate) fn until(ends: SteadyMillis, window: Duration, clock: &Clock) -> Self {
        let left = clock.steady().until(ends);
        Self::new(clock.wall().plus(left), window, clock, left)
    }

    /// When it ends, by the steady clock.
    pub(crate) fn ends(&self) -> SteadyMillis {
        SteadyMillis(self.ends.load(Ordering::Relaxed))
    }

    /// Ends with a life that ends at `other`, if that is earlier.
    pub(crate) fn shorten(&self, other: UnixMillis, clock: &Clock) {
        self.ends.fetch_min(clock.steady().plus(clock.wall().until(other)).0, Ordering::Relaxed);
    }

    /// It was read from a store, which took so long that it may end later by so much.
    pub(crate) fn read_in(&mut self, took: Duration) {
        self.latest = self.latest.plus(took);
    }

    /// Ends when `other` does, if that is earlier.
    pub(crate) fn end_with(&mut self, other: &Self) {
        self.ends.fetch_min(other.ends().0, Ordering::Relaxed);
        self.latest = self.latest.min(other.latest);
    }

    /// Whether it ends earlier than `other` for certain: everybody who reads both must come to the same, or they would write one over the other
    /// in turn.
    pub(crate) fn ends_before(&self, other: &Self) -> bool {
        self.latest.plus(READING) < other.ends()
    }

    /// Whether it ends at the same time as a life that ends at `other`, as far as a store can tell.
    pub(crate) fn ends_with(&self, other: UnixMillis) -> bool {
        self.expires_at.0.abs_diff(other.0) <= SAME_END.as_millis() as u64
    }

    /// Whether a life that ends at `other` lasts longer than this one, by more than a store's rounding. By what is left, so that a wall clock
    /// that was moved is no difference.
    pub(crate) fn is_outlasted_by(&self, other: UnixMillis, clock: &Clock) -> bool {
        clock.steady().until(self.ends()) + SAME_END < clock.wall().until(other)
    }

    /// How long it still lasts, by whichever clock says less.
    pub(crate) fn left(&self, clock: &Clock) -> Duration {
        self.left_at(clock.steady(), clock.wall())
    }

    fn left_at(&self, steady: SteadyMillis, wall: UnixMillis) -> Duration {
        steady.until(self.ends()).min(wall.until(self.expires_at))
    }

    pub(crate) fn freshness(&self, clock: &Clock) -> Freshness {
        self.freshness_at(clock.steady(), clock.wall())
    }

    pub(crate) fn freshness_at(&self, steady: SteadyMillis, wall: UnixMillis) -> Freshness {
        freshness(self.left_at(steady, wall), self.window)
    }

    pub(crate) fn is_over(&self, clock: &Clock) -> bool {
        self.freshness(clock) == Freshness::Expired
    }

    /// When the renewal is due: inside the window by up to a tenth of it, told by `seed` in 0..1, so that what was fetched together is
    /// not renewed together.
    pub(crate) fn renewal_due(&self, seed: f64) -> SteadyMillis {
        let early = self.window.mul_f64(1.0 - 0.1 * seed.clamp(0.0, 1.0));
        SteadyMillis(self.ends().0.saturating_sub(u64::try_from(early.as_millis()).unwrap_or(u64::MAX)))
    }

    /// When to come up again after a renewal. What is fresh does by its own window; what is still due is "not yet" and is asked for
    /// again soon, the sooner the less of its life is left.
    pub(crate) fn after_renewal(&self, clock: &Clock, seed: f64) -> SteadyMillis {
        if self.freshness(clock) == Freshness::Fresh {
            return self.renewal_due(seed);
        }
        let pause = (self.left(clock) / 4).min(self.window / 8).max(NOT_YET);
        clock.steady().plus(pause.mul_f64(1.0 - 0.2 * seed))
    }

    /// How long ago the store confirmed it.
    pub(crate) fn age(&self, now: SteadyMillis) -> Duration {
        SteadyMillis(self.confirmed.load(Ordering::Relaxed)).until(now)
    }

    /// Lets it count as young, whether or not the store has it.
    pub(crate) fn confirm(&self, now: SteadyMillis) {
        self.confirmed.store(now.0, Ordering::Relaxed);
    }

    /// The store has it, after so many `faults`.
    pub(crate) fn saved(&self, faults: u64) {
        self.faults_seen.store(faults, Ordering::Relaxed);
        self.unsaved.store(false, Ordering::Relaxed);
    }

    /// The store does not have it, though it should. Here it counts as young until it is written back.
    pub(crate) fn missed(&self, now: SteadyMillis) {
        self.confirm(now);
        self.unsaved.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved.load(Ordering::Relaxed)
    }

    /// Whether a store that had so many `faults` and shows nothing lacks it by its own fault.
    pub(crate) fn is_missed(&self, faults: u64) -> bool {
        self.faults_seen.load(Ordering::Relaxed) < faults || self.is_unsaved()
    }
}
