//! What is held for one source: its settings, and its slot with its object as last seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::{SourceError, UpstreamError};
use super::object;
use super::source::Source;
use crate::clock::{Clock, UnixMillis};
use crate::credential::renewal_window;
use crate::renewal::{self, Life};
use crate::store::Record;

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
        let left = near.life.left(clock).as_secs();
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

/// Why a source is renewed, and because of which object, which a service called dead.
pub(super) type Why = renewal::Why<Arc<Near>>;

/// What a renewal brought, and what it was begun for.
pub(super) type Renewed = (Arc<Near>, Why);

/// The place of one source's object in this process.
pub(super) type Slot = renewal::Slot<Near, Result<Renewed, SourceError>, UpstreamError>;

/// A source's object as this process last saw it. It is what lets a request skip the network, and what answers while the store is down.
pub(super) struct Near {
    object: SecretString,
    fetched_at: UnixMillis,
    pub(super) life: Life,
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
        let life = Life::new(fetched_at.plus(lifetime), renewal_window(reserve, lifetime), clock, lifetime);
        Self { object, fetched_at, life }
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
        Some(Record { value: text.into(), expires_at: self.life.expires_at })
    }

    pub(super) fn object(&self) -> &SecretString {
        &self.object
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.fetched_at.until(self.life.expires_at)
    }

    /// Whether both grant the same, whatever the field at `expires` says of the time left.
    pub(super) fn grants_what(&self, other: &Self, expires: Option<&[&str]>) -> bool {
        let bare = |near: &Self| match expires {
            Some(path) => object::with_number(near.object.expose_secret(), path, 0),
            None => near.object.expose_secret().to_owned(),
        };
        bare(self) == bare(other)
    }
}
