//! What is held for one source: its settings, its object as last seen, who asked, and what failed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::{SourceError, UpstreamError};
use super::object;
use super::source::Source;
use crate::clock::{Clock, SteadyMillis, UnixMillis};
use crate::credential::{FULL_LIFETIME, Freshness, freshness, renewal_window};
use crate::renewal::Flight;
use crate::store::{Record, StoreError};

/// Two ends this close together are one: stores keep whole seconds.
const SAME_END: Duration = Duration::from_secs(3);

/// Stands for "on no list".
const NEVER: u64 = u64::MAX;

/// All sources by name; replaced whole on a reload.
pub(super) type Directory = BTreeMap<String, Arc<Held>>;

/// One source and what is held for it. A reload makes a new one around the same slot, so that no living object is lost.
pub(super) struct Held {
    pub(super) source: Source,
    pub(super) slot: Arc<Slot>,
    told: ArcSwapOption<Told>,
}

/// What callers were last told, of which object and with how many seconds left: within a second all are told the same.
struct Told {
    near: Arc<Near>,
    left: u64,
    object: SecretString,
}

impl Held {
    pub(super) fn new(source: Source, slot: Arc<Slot>) -> Self {
        Self { source, slot, told: ArcSwapOption::empty() }
    }

    /// The object of `near` with its time left counted down.
    pub(super) fn tell(&self, near: Arc<Near>, clock: &Clock) -> SecretString {
        let left = near.left(clock).as_secs();
        if let Some(told) = self.told.load().as_ref().filter(|told| told.left == left && Arc::ptr_eq(&told.near, &near)) {
            return told.object.clone();
        }
        let object = match self.source.expires_field() {
            Some(path) => object::with_number(near.object.expose_secret(), &path, left).into(),
            None => near.object.clone(),
        };
        self.told.store(Some(Arc::new(Told { near, left, object: object.clone() })));
        object
    }

    /// The key in the store.
    pub(super) fn key(&self) -> String {
        format!("source.{}", self.source.name)
    }
}

/// The place of one source's object in this process.
pub(super) struct Slot {
    /// What was last read from or written to the store.
    pub(super) near: ArcSwapOption<Near>,
    /// When somebody last asked, plus one; zero = never.
    asked: AtomicU64,
    /// When the refresher is to look, by the steady clock.
    due: AtomicU64,
    /// Whether the refresher is looking.
    pub(super) visited: AtomicBool,
    failure: Mutex<Option<Failure>>,
    pub(super) renewal: Flight<Result<Arc<Near>, SourceError>>,
    pub(super) look: Flight<Result<Option<Arc<Near>>, StoreError>>,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            near: ArcSwapOption::empty(),
            asked: AtomicU64::new(0),
            due: AtomicU64::new(NEVER),
            visited: AtomicBool::new(false),
            failure: Mutex::default(),
            renewal: Flight::default(),
            look: Flight::default(),
        }
    }
}

/// A failed renewal and the pause after it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) cause: UpstreamError,
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

    /// When the refresher is to look, if it is.
    pub(super) fn due(&self) -> Option<SteadyMillis> {
        Some(self.due.load(Ordering::Relaxed)).filter(|due| *due != NEVER).map(SteadyMillis)
    }

    pub(super) fn set_due(&self, due: Option<SteadyMillis>) {
        self.due.store(due.map_or(NEVER, |due| due.0), Ordering::Relaxed);
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_failure(&self, failure: Option<Failure>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Puts `new` where `held` is, unless something else has come there meanwhile.
    pub(super) fn replace(&self, held: &Option<Arc<Near>>, new: Option<Arc<Near>>) -> bool {
        let before = self.near.compare_and_swap(held, new);
        before.as_ref().map(Arc::as_ptr) == held.as_ref().map(Arc::as_ptr)
    }
}

/// A source's object as this process last saw it. It is what lets a request skip the network, and what answers while the store is down.
pub(super) struct Near {
    object: SecretString,
    fetched_at: UnixMillis,
    expires_at: UnixMillis,
    /// The end by the steady clock: a wall clock set back must not lengthen a token's life.
    ends: SteadyMillis,
    /// How long before the end it is renewed.
    window: Duration,
    /// When the store last confirmed it.
    confirmed: AtomicU64,
    /// How many faults the store had had by then.
    pub(super) faults_seen: AtomicU64,
    /// Whether the store does not have it yet.
    pub(super) unsaved: AtomicBool,
}

/// How an object rests in the store; its end is the record's own.
#[derive(Serialize, Deserialize)]
struct Resting<'t> {
    #[serde(borrow)]
    object: &'t RawValue,
    fetched_at: u64,
}

impl Near {
    /// An object just fetched, which lives `lifetime` from `fetched_at`.
    pub(super) fn new(object: SecretString, fetched_at: UnixMillis, lifetime: Duration, reserve: Duration, clock: &Clock) -> Self {
        let expires_at = fetched_at.plus(lifetime);
        let (now, left) = (clock.steady(), clock.wall().until(expires_at).min(lifetime));
        Self {
            object,
            fetched_at,
            expires_at,
            ends: now.plus(left),
            window: renewal_window(reserve, lifetime),
            confirmed: AtomicU64::new(now.0),
            faults_seen: AtomicU64::new(0),
            unsaved: AtomicBool::new(false),
        }
    }

    /// What `record` holds; `None` when somebody else wrote it.
    pub(super) fn of(record: &Record, reserve: Duration, clock: &Clock) -> Option<Self> {
        let resting: Resting<'_> = serde_json::from_str(record.value.expose_secret()).ok()?;
        let object = object::text(resting.object.get().as_bytes())?;
        let fetched_at = UnixMillis(resting.fetched_at);
        Some(Self::new(object.into(), fetched_at, fetched_at.until(record.expires_at), reserve, clock))
    }

    pub(super) fn record(&self) -> Option<Record> {
        let object: &RawValue = serde_json::from_str(self.object.expose_secret()).ok()?;
        let text = serde_json::to_string(&Resting { object, fetched_at: self.fetched_at.0 }).ok()?;
        Some(Record { value: text.into(), expires_at: self.expires_at })
    }

    pub(super) fn object(&self) -> &SecretString {
        &self.object
    }

    pub(super) fn expires_at(&self) -> UnixMillis {
        self.expires_at
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.fetched_at.until(self.expires_at)
    }

    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// How long it still lives, by whichever clock says less.
    pub(super) fn left(&self, clock: &Clock) -> Duration {
        clock.steady().until(self.ends).min(clock.wall().until(self.expires_at))
    }

    pub(super) fn freshness(&self, clock: &Clock) -> Freshness {
        freshness(self.left(clock), self.window)
    }

    pub(super) fn is_alive(&self, clock: &Clock) -> bool {
        self.freshness(clock) != Freshness::Expired
    }

    /// When its renewal is due: inside the window by up to a tenth of it, so that sources fetched together are not renewed together.
    pub(super) fn renewal_due(&self, seed: f64) -> SteadyMillis {
        let early = self.window.mul_f64(1.0 - 0.1 * seed.clamp(0.0, 1.0));
        SteadyMillis(self.ends.0.saturating_sub(u64::try_from(early.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Whether both grant the same, whatever the field at `expires` says of the time left.
    pub(super) fn grants_what(&self, other: &Self, expires: Option<&[&str]>) -> bool {
        let bare = |near: &Self| match expires {
            Some(path) => object::with_number(near.object.expose_secret(), path, 0),
            None => near.object.expose_secret().to_owned(),
        };
        bare(self) == bare(other)
    }

    /// Whether both end at the same time, as far as a store can tell.
    pub(super) fn ends_with(&self, other: &Self) -> bool {
        self.expires_at.0.abs_diff(other.expires_at.0) <= SAME_END.as_millis() as u64
    }

    pub(super) fn age(&self, now: SteadyMillis) -> Duration {
        SteadyMillis(self.confirmed.load(Ordering::Relaxed)).until(now)
    }

    pub(super) fn confirm(&self, now: SteadyMillis) {
        self.confirmed.store(now.0, Ordering::Relaxed);
    }
}

/// The lifetime by which interest in what is held here is judged.
pub(super) fn lifetime(near: Option<&Arc<Near>>) -> Duration {
    near.map_or(FULL_LIFETIME, |near| near.lifetime())
}
