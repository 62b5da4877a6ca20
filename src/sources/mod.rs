//! Any expiring credential of any service, kept as the keeper keeps WeChat's own: one renewal at a time, also across instances, ahead
//! of its end, with pauses after failures. A source may read what other sources answered. All I/O runs on the runtime that [`Sources`]
//! was made on. It knows nothing of accounts, of settings files or of HTTP routes.
//!
//! Reading order: `source` (what is configured) and `template`, this file (what is promised to a request), `slot` (what is held),
//! `reading` (what the store says), `renew` (one renewal), `wire` and `reply` (one call), `refresher` (what is done ahead of time). How
//! renewing goes as such, whatever is renewed, is in the room below: `renewal`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::account::Keep;
use crate::clock::Clock;
use crate::credential::Freshness;
use crate::renewal::{Agenda, NEAR_AGE, Outage, PATIENCE};
use crate::store::Store;
use crate::wechat::ClientError;

mod error;
mod object;
mod reading;
mod refresher;
mod renew;
mod reply;
mod slot;
mod source;
mod template;
mod wire;

pub use error::{SourceError, UpstreamError};
pub use reqwest::Method;
pub use reqwest::header::HeaderName;
pub use source::{Expires, JsonTemplate, Payload, Source, SourceSet, Success, Tangle};
pub use template::{Template, TemplateError};

use slot::{Directory, Held, Near, Why};
use wire::Wire;

/// A cheap handle on all sources.
#[derive(Clone)]
pub struct Sources(Arc<Inner>);

struct Inner {
    directory: ArcSwap<Directory>,
    store: Arc<dyn Store>,
    wire: Wire,
    clock: Clock,
    keep: Keep,
    /// Tells our claims from those of other instances.
    owner: String,
    agenda: Agenda<String>,
    outage: Outage,
    /// How many renewals are under way, so that a stopping process can wait for them.
    flying: watch::Sender<usize>,
    runtime: Handle,
}

impl Sources {
    /// The sources of `set`, each call bounded by `timeout`. Must be called on the runtime that is to do the work; [`Sources::run`] must
    /// be run for anything to be renewed ahead.
    pub fn new(set: SourceSet, store: Arc<dyn Store>, clock: Clock, keep: Keep, timeout: Duration) -> Result<Self, ClientError> {
        let sources = Self(Arc::new(Inner {
            directory: ArcSwap::default(),
            store,
            wire: Wire::new(timeout)?,
            clock,
            keep,
            owner: format!("{:032x}", rand::random::<u128>()),
            agenda: Agenda::default(),
            outage: Outage::of(" for the sources"),
            flying: watch::Sender::new(0),
            runtime: Handle::current(),
        }));
        sources.set(set);
        Ok(sources)
    }

    /// Replaces the sources, as a reload of the settings does. What is held for names that stay is kept; past failures are forgotten,
    /// because a reload is how an operator says "I have mended it".
    pub fn set(&self, set: SourceSet) {
        let before = self.0.directory.load();
        let held = set.into_iter().map(|(name, source)| {
            let slot = before.get(&name).map_or_else(Arc::default, |held| Arc::clone(&held.slot));
            (name, Arc::new(Held::new(source, slot)))
        });
        let directory: Arc<Directory> = Arc::new(held.collect());
        self.0.directory.store(Arc::clone(&directory));
        for held in directory.values() {
            let (failed, is_listed) = (held.slot.set_failure(None).is_some(), held.slot.scheduled.load(Ordering::Relaxed));
            if is_listed && failed || !is_listed && self.0.keep == Keep::Always {
                self.attend_no_later(held, self.0.clock.steady());
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.directory.load().is_empty()
    }

    /// The JSON object of the source called `name`, as its service sent it but with its time left counted down; `None` when no
    /// source is called so. Ends within the bound on calls; a renewal that takes longer goes on without its caller.
    pub async fn object(&self, name: &str) -> Option<Result<SecretString, SourceError>> {
        let held = self.0.directory.load().get(name).cloned()?;
        let near = match self.at_hand(&held) {
            Some(near) => Ok(near),
            None => self.patiently(&held, self.read_or_fetch(&held)).await,
        };
        Some(near.map(|near| held.tell(near, &self.0.clock)))
    }

    /// The object if it can be handed out without waiting for anything.
    fn at_hand(&self, held: &Held) -> Option<Arc<Near>> {
        let now = self.0.clock.steady();
        held.slot.note_asked(now);
        let near = held.slot.near.load_full()?;
        if self.0.store.is_shared() && near.life.age(now) >= NEAR_AGE {
            return None;
        }
        match near.life.freshness(&self.0.clock) {
            Freshness::Expired => return None,
            Freshness::Due => self.0.agenda.ring(),
            Freshness::Fresh => {}
        }
        self.schedule(held, &near);
        Some(near)
    }

    /// The object of another source that one needs, as in a request but as long as it takes.
    async fn needed(&self, held: &Arc<Held>) -> Result<Arc<Near>, SourceError> {
        match self.at_hand(held) {
            Some(near) => Ok(near),
            None => self.read_or_fetch(held).await,
        }
    }

    async fn read_or_fetch(&self, held: &Arc<Held>) -> Result<Arc<Near>, SourceError> {
        match self.look(held).await {
            Ok(Some(near)) => {
                self.schedule(held, &near);
                Ok(near)
            }
            Ok(None) => self.renew(held, Why::Missing).await.map(|(near, _)| near),
            // A store that is down is no reason to refuse what we still hold; to fetch could void what another instance holds.
            Err(error) => held.slot.near.load_full().filter(|near| !near.life.is_over(&self.0.clock)).ok_or(error.into()),
        }
    }

    async fn patiently<T>(&self, held: &Held, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let after = self.0.wire.timeout();
        let late = || SourceError::TooSlow { name: held.source.name.clone(), after };
        tokio::time::timeout(after + PATIENCE, work).await.unwrap_or_else(|_| Err(late()))
    }
}
