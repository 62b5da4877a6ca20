//! A credential as this process last saw it. It lets a request skip the network, and it answers
//! while the store is down.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::reconcile::{Held, SAME_END};
use crate::engine::freshness::{Freshness, freshness};
use crate::store::{NewCredential, StoredCredential, Version};
use clock::{Clock, SteadyMillis, UnixMillis};

/// The shortest retry delay when the service returned the same value again.
const NOT_YET: Duration = Duration::from_millis(200);

/// A cached credential. Everything but the flags is fixed: a change makes a new copy.
#[derive(Debug)]
pub struct Cached {
    value: SecretString,
    pub(super) version: Version,
    /// The end by the steady clock, because the wall clock may be set back.
    pub(super) ends: SteadyMillis,
    /// The end by the wall clock, because a suspended machine's steady clock stands still.
    expires_at: UnixMillis,
    pub(super) lifetime: Duration,
    /// How long before the end it is renewed.
    window: Duration,
    /// When the store last confirmed it.
    confirmed_at: AtomicU64,
    /// The store's fault count at that time.
    faults_seen: AtomicU64,
    /// The same when this process first saw the value.
    pub(super) faults_at_first: u64,
    /// The store lacks it.
    unsaved: AtomicBool,
    /// The service may have granted another value since, which was lost.
    doubtful: AtomicBool,
    /// A caller reported that the service refused it, and it could not be renewed then.
    refused: AtomicBool,
    /// We fetched it ourselves.
    is_first_hand: bool,
}

/// What a copy is made of.
pub(super) struct Parts {
    pub(super) value: SecretString,
    pub(super) version: Version,
    pub(super) ends: SteadyMillis,
    pub(super) lifetime: Duration,
    pub(super) window: Duration,
    pub(super) is_first_hand: bool,
}

impl Cached {
    /// A copy that the store has, as of now and after so many `faults`.
    pub(super) fn new(parts: Parts, clock: &Clock, faults: u64) -> Self {
        let now = clock.steady();
        Self {
            value: parts.value,
            version: parts.version,
            ends: parts.ends,
            expires_at: clock.wall().plus(now.until(parts.ends)),
            lifetime: parts.lifetime,
            window: parts.window,
            confirmed_at: AtomicU64::new(now.0),
            faults_seen: AtomicU64::new(faults),
            faults_at_first: faults,
            unsaved: AtomicBool::new(false),
            doubtful: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            is_first_hand: parts.is_first_hand,
        }
    }

    /// The token, ticket or object.
    pub fn value(&self) -> &SecretString {
        &self.value
    }

    /// When it expires, by the wall clock.
    pub fn expires_at(&self) -> UnixMillis {
        self.expires_at
    }

    /// How long it is valid; the lower of both clocks.
    pub fn left(&self, clock: &Clock) -> Duration {
        self.left_at(clock.steady(), clock.wall())
    }

    fn left_at(&self, steady: SteadyMillis, wall: UnixMillis) -> Duration {
        steady.until(self.ends).min(wall.until(self.expires_at))
    }

    pub(super) fn freshness(&self, clock: &Clock) -> Freshness {
        self.freshness_at(clock.steady(), clock.wall())
    }

    pub(super) fn freshness_at(&self, steady: SteadyMillis, wall: UnixMillis) -> Freshness {
        freshness(self.left_at(steady, wall), self.window)
    }

    pub(super) fn is_over(&self, clock: &Clock) -> bool {
        self.freshness(clock) == Freshness::Expired
    }

    pub(super) fn is_value(&self, value: &SecretString) -> bool {
        self.value.expose_secret() == value.expose_secret()
    }

    /// When the renewal is due: inside the window by up to a tenth of it, chosen by `jitter` in
    /// 0..1, so that credentials which were fetched together are not renewed together.
    pub(super) fn renewal_due(&self, jitter: f64) -> SteadyMillis {
        let early = self.window.mul_f64(1.0 - 0.1 * jitter.clamp(0.0, 1.0));
        SteadyMillis(
            self.ends
                .0
                .saturating_sub(u64::try_from(early.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// When to renew next. If the service returned a value that is still due, it is retried;
    /// sooner, the less time is left.
    pub(super) fn after_renewal(&self, clock: &Clock, jitter: f64) -> SteadyMillis {
        if self.freshness(clock) == Freshness::Fresh {
            return self.renewal_due(jitter);
        }
        let pause = (self.left(clock) / 4).min(self.window / 8).max(NOT_YET);
        clock.steady().plus(pause.mul_f64(1.0 - 0.2 * jitter))
    }

    /// How long ago the store confirmed it.
    pub(super) fn age(&self, now: SteadyMillis) -> Duration {
        SteadyMillis(self.confirmed_at.load(Relaxed)).until(now)
    }

    /// Counts as young from `now`, whether or not the store has it.
    pub(super) fn touch(&self, now: SteadyMillis) {
        self.confirmed_at.store(now.0, Relaxed);
    }

    /// The store has it, after so many `faults`.
    pub(super) fn set_saved(&self, now: SteadyMillis, faults: u64) {
        self.touch(now);
        self.faults_seen.store(faults, Relaxed);
        self.unsaved.store(false, Relaxed);
    }

    /// The store lacks it. It counts as young until it is written back.
    pub(super) fn set_unsaved(&self, now: SteadyMillis) {
        self.touch(now);
        self.unsaved.store(true, Relaxed);
    }

    pub(super) fn is_unsaved(&self) -> bool {
        self.unsaved.load(Relaxed)
    }

    pub(super) fn set_doubtful(&self, is_doubtful: bool) {
        self.doubtful.store(is_doubtful, Relaxed);
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Relaxed)
    }

    pub(super) fn set_refused(&self) {
        self.refused.store(true, Relaxed);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }

    /// Whether it may be void although it has not expired.
    pub(super) fn is_suspect(&self) -> bool {
        self.is_doubtful() || self.is_refused()
    }

    /// The argument for [`super::reconcile::reconcile`], at this fault count of the store.
    pub(super) fn held(&self, faults: u64) -> Held<'_> {
        Held {
            value: &self.value,
            version: self.version,
            ends: self.ends,
            is_confirmed: !self.is_unsaved() && self.faults_seen.load(Relaxed) >= faults,
            is_unsaved: self.is_unsaved(),
            is_first_hand: self.is_first_hand,
        }
    }

    /// The copy after the same value was read again, or `None` if nothing relevant changed. An
    /// expiry never moves later.
    pub(super) fn merged(
        &self,
        stored: &StoredCredential,
        clock: &Clock,
        faults: u64,
    ) -> Option<Self> {
        let ends = self.ends.min(stored.ends);
        let expires_at = clock.wall().plus(clock.steady().until(ends));
        // The wall clock was moved since.
        let drift = expires_at.0.abs_diff(self.expires_at.0);
        let (ours, theirs) = (self.version, stored.version);
        let is_known_better =
            !theirs.is_foreign && (ours.is_foreign || theirs.generation > ours.generation);
        let is_same = ends.plus(SAME_END) >= self.ends
            && u128::from(drift) <= SAME_END.as_millis()
            && !is_known_better;
        if is_same {
            return None;
        }
        let version = if is_known_better { theirs } else { ours };
        Some(self.with(version, ends, clock, faults))
    }

    /// The same value under another generation or with another end.
    pub(super) fn with(
        &self,
        version: Version,
        ends: SteadyMillis,
        clock: &Clock,
        faults: u64,
    ) -> Self {
        let parts = Parts {
            value: self.value.clone(),
            version,
            ends,
            lifetime: self.lifetime,
            window: self.window,
            is_first_hand: self.is_first_hand,
        };
        Self {
            faults_at_first: self.faults_at_first,
            doubtful: AtomicBool::new(self.is_doubtful()),
            refused: AtomicBool::new(self.is_refused()),
            ..Self::new(parts, clock, faults)
        }
    }

    /// The record to write to the store.
    pub(super) fn to_store(&self, generation: u64) -> NewCredential<'_> {
        NewCredential {
            value: &self.value,
            ends: self.ends,
            generation,
            lifetime: self.lifetime,
        }
    }
}
