//! What is held for one account: its settings, and for each kind of credential the near copy, who asked, and what failed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use secrecy::{ExposeSecret, SecretString};

use super::error::KeeperError;
use crate::account::{Account, AppId};
use crate::clock::{Clock, SteadyMillis, UnixMillis};
use crate::credential::{Credential, CredentialKey, CredentialKind, Freshness, freshness};
use crate::renewal::Flight;
use crate::store::{Record, StoreError};
use crate::wechat::WechatError;

/// Two ends this close together are one: stores keep whole seconds, and WeChat's rest of a life is rounded too.
const SAME_END: Duration = Duration::from_secs(3);

/// What a store may cut off an end.
const WHOLE_SECOND: Duration = Duration::from_secs(1);

/// All accounts by appid; replaced whole on a reload.
pub(super) type Directory = HashMap<AppId, Arc<Holding>>;

/// All of them in the order of their appids, where the map's own would be chance.
pub(super) fn in_order(directory: &Directory) -> Vec<&Arc<Holding>> {
    let mut holdings: Vec<_> = directory.values().collect();
    holdings.sort_unstable_by_key(|holding| &holding.account.app_id);
    holdings
}

/// One account and what is held for it. A reload makes a new one around the same slots, so no cached credential is lost.
#[derive(Debug)]
pub struct Holding {
    /// The account as it is configured now.
    pub account: Account,
    pub(super) slots: Arc<[Slot; 3]>,
}

impl Holding {
    pub(super) fn new(account: Account, slots: Arc<[Slot; 3]>) -> Self {
        Self { account, slots }
    }

    pub(super) fn slot(&self, kind: CredentialKind) -> &Slot {
        &self.slots[kind.index()]
    }

    pub(super) fn key(&self, kind: CredentialKind) -> CredentialKey {
        CredentialKey { app_id: self.account.app_id.clone(), kind }
    }
}

/// The place of one credential in this process. It fills one cache line: with ten thousand accounts each line that a request touches
/// has to come from far away.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Slot {
    /// What was last read from or written to the store.
    pub(super) near: ArcSwapOption<NearCopy>,
    /// When somebody last asked, plus one; zero = never. `keep: active` renews only what is asked for.
    asked: AtomicU64,
    /// Whether the refresher has this slot on its list.
    pub(super) scheduled: AtomicBool,
    /// What failed last, until a renewal succeeds.
    failure: Mutex<Option<Box<Failure>>>,
    /// The whole lifetime of what WeChat granted here last, in ms; zero = none yet. The store keeps only the end.
    lifetime: AtomicU64,
    pub(super) renewal: Flight<Result<Arc<NearCopy>, KeeperError>>,
    pub(super) look: Flight<Result<Option<Arc<NearCopy>>, StoreError>>,
}

/// A failed renewal and the pause after it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) cause: WechatError,
    pub(super) attempts: u32,
    pub(super) until: SteadyMillis,
}

impl Slot {
    pub(super) fn note_asked(&self, now: SteadyMillis) {
        self.asked.store(now.0 + 1, Ordering::Relaxed);
    }

    pub(super) fn asked_within(&self, span: Duration, now: SteadyMillis) -> bool {
        match self.asked.load(Ordering::Relaxed) {
            0 => false,
            at => SteadyMillis(at - 1).plus(span) >= now,
        }
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).as_deref().cloned()
    }

    /// Remembers `failure` instead of what was remembered before.
    pub(super) fn set_failure(&self, failure: Option<Failure>) -> Option<Failure> {
        let mut remembered = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *remembered, failure.map(Box::new)).map(|before| *before)
    }

    /// Whether `held` is still the near copy.
    pub(super) fn holds(&self, held: &Option<Arc<NearCopy>>) -> bool {
        self.near.load().as_ref().map(Arc::as_ptr) == held.as_ref().map(Arc::as_ptr)
    }

    /// Puts `new` where `held` is, unless something else has come there meanwhile.
    pub(super) fn replace(&self, held: &Option<Arc<NearCopy>>, new: Option<Arc<NearCopy>>) -> bool {
        let before = self.near.compare_and_swap(held, new);
        before.as_ref().map(Arc::as_ptr) == held.as_ref().map(Arc::as_ptr)
    }

    /// The whole lifetime of what this slot holds, as far as it is known.
    pub(super) fn lifetime(&self) -> Duration {
        match self.lifetime.load(Ordering::Relaxed) {
            0 => crate::credential::FULL_LIFETIME,
            millis => Duration::from_millis(millis),
        }
    }

    pub(super) fn learn_lifetime(&self, lifetime: Duration) {
        self.lifetime.store(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A credential as this process last saw it. It is what lets a request skip the network, and what answers while the store is down.
#[derive(Debug)]
pub struct NearCopy {
    credential: Credential,
    /// The end by the steady clock: a wall clock set back must not lengthen a token's life.
    ends: AtomicU64,
    /// How long before the end it is renewed.
    window: Duration,
    /// When the store last confirmed it.
    confirmed: AtomicU64,
    /// How many faults the store had had by then.
    pub(super) faults_seen: AtomicU64,
    /// Whether the store does not have it yet.
    pub(super) unsaved: AtomicBool,
    /// Whether WeChat may have granted another one since, which is lost: then this one ends before its time.
    pub(super) doubtful: AtomicBool,
    /// Whether a caller said that WeChat refused it, and it could not be renewed then.
    pub(super) refused: AtomicBool,
    /// The value after which we fetched this one. Should the store show that again, it has lost a write.
    superseded: Option<SecretString>,
}

impl NearCopy {
    pub(super) fn new(
        credential: Credential,
        window: Duration,
        clock: &Clock,
        at_most: Duration,
        faults_seen: u64,
        unsaved: bool,
    ) -> Self {
        let (now, left) = (clock.steady(), clock.wall().until(credential.expires_at).min(at_most));
        Self {
            ends: AtomicU64::new(now.plus(left).0),
            credential,
            window,
            confirmed: AtomicU64::new(now.0),
            faults_seen: AtomicU64::new(faults_seen),
            unsaved: AtomicBool::new(unsaved),
            doubtful: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            superseded: None,
        }
    }

    /// Whether it may be void although it has not ended.
    pub(super) fn is_suspect(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed) || self.refused.load(Ordering::Relaxed)
    }

    /// When it ends, by the steady clock.
    fn ends(&self) -> SteadyMillis {
        SteadyMillis(self.ends.load(Ordering::Relaxed))
    }

    /// Ends with `record`, if that ends earlier: who wrote it may have found that its write took long.
    pub(super) fn shorten(&self, record: &Record, clock: &Clock) {
        let ends = clock.steady().plus(clock.wall().until(record.expires_at));
        self.ends.fetch_min(ends.0, Ordering::Relaxed);
    }

    /// Remembers the value before.
    pub(super) fn after(mut self, before: Option<&SecretString>) -> Self {
        self.superseded = before.filter(|before| before.expose_secret() != self.value().expose_secret()).cloned();
        self
    }

    /// Remembers what was known of the copy `before`, if that is of the same value with another end.
    pub(super) fn inheriting(mut self, before: Option<&Arc<Self>>) -> Self {
        if let Some(before) = before.filter(|before| before.value().expose_secret() == self.value().expose_secret()) {
            *self.doubtful.get_mut() = before.doubtful.load(Ordering::Relaxed);
            *self.refused.get_mut() = before.refused.load(Ordering::Relaxed);
            self.superseded.clone_from(&before.superseded);
        }
        self
    }

    /// Whether `record` is what was there before.
    pub(super) fn superseded(&self, record: &Record) -> bool {
        self.superseded.as_ref().is_some_and(|before| before.expose_secret() == record.value.expose_secret())
    }

    /// What a store should hold of it. Its end is told anew by the steady clock: the wall clock may have been moved since it was granted.
    pub(super) fn record(&self, clock: &Clock) -> Record {
        let left = clock.steady().until(self.ends());
        Record { value: self.value().clone(), expires_at: clock.wall().plus(left) }
    }

    /// Whether `record`, just read, lives at least as long, as far as a store that keeps whole seconds can tell: who fetched the later of two
    /// has seen the earlier one, so that in doubt the store's stays.
    pub(super) fn is_outlived_by(&self, record: &Record, clock: &Clock) -> bool {
        clock.wall().until(record.expires_at) + WHOLE_SECOND >= clock.steady().until(self.ends())
    }

    /// The token or ticket.
    pub fn value(&self) -> &SecretString {
        &self.credential.value
    }

    /// When it ends, by the wall clock.
    pub fn expires_at(&self) -> UnixMillis {
        self.credential.expires_at
    }

    /// How long it still lives, by whichever clock says less.
    pub fn left(&self, clock: &Clock) -> Duration {
        self.left_at(clock.steady(), clock.wall())
    }

    fn left_at(&self, steady: SteadyMillis, wall: UnixMillis) -> Duration {
        steady.until(self.ends()).min(wall.until(self.credential.expires_at))
    }

    pub(super) fn freshness_at(&self, steady: SteadyMillis, wall: UnixMillis) -> Freshness {
        freshness(self.left_at(steady, wall), self.window)
    }

    pub(super) fn freshness(&self, clock: &Clock) -> Freshness {
        self.freshness_at(clock.steady(), clock.wall())
    }

    /// When its renewal is due: inside the window by up to a tenth of it, told by `seed` in 0..1, so that accounts that were
    /// fetched together are not renewed together.
    pub(super) fn renewal_due(&self, seed: f64) -> SteadyMillis {
        let early = self.window.mul_f64(1.0 - 0.1 * seed.clamp(0.0, 1.0));
        SteadyMillis(self.ends().0.saturating_sub(u64::try_from(early.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Whether `record` is this value with this end, as far as a store that keeps whole seconds can tell.
    pub(super) fn is(&self, record: &Record) -> bool {
        self.credential.value.expose_secret() == record.value.expose_secret()
            && self.credential.expires_at.0.abs_diff(record.expires_at.0) <= SAME_END.as_millis() as u64
    }

    pub(super) fn age(&self, now: SteadyMillis) -> Duration {
        SteadyMillis(self.confirmed.load(Ordering::Relaxed)).until(now)
    }

    pub(super) fn confirm(&self, now: SteadyMillis) {
        self.confirmed.store(now.0, Ordering::Relaxed);
    }

    pub(super) fn window(&self) -> Duration {
        self.window
    }
}

// A field that makes a slot spill into a second line must be worth it.
const _: () = assert!(size_of::<Slot>() == 64);
