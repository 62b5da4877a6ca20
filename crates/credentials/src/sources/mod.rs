//! Any expiring credential of any service, by its settings: where it is fetched and how the answer
//! is read. A source may use the answers of other sources. The renewal engine keeps them. Accounts,
//! settings files and HTTP routes are elsewhere.
//!
//! Reading order: `source` (the settings) and `template`, this file (the result of a request),
//! `subject` (the interface to the engine), `request`, `client` and `reply` (one call), `object` (the
//! JSON).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

use crate::engine::{Cached, Credential, Engine, Parts};
use clock::Clock;
use wechat::ClientError;
use wechat::account::Keep;

mod client;
mod error;
mod object;
mod reply;
mod request;
mod source;
mod subject;
mod template;

pub use error::{SourceError, UpstreamError};
pub use reqwest::Method;
pub use reqwest::header::HeaderName;
pub use source::{DependencyError, Expires, JsonTemplate, Payload, Source, SourceSet, Success};
pub use template::{Template, TemplateError};

use client::SourceClient;
pub use subject::SourceSubject;

/// The handle on a source's credential.
pub type SourceCredential = Credential<SourceSubject>;

/// A cheap handle on all sources.
#[derive(Clone)]
pub struct Sources(Arc<Inner>);

struct Inner {
    directory: ArcSwap<BTreeMap<String, Arc<Kept>>>,
    engine: Arc<Engine<SourceSubject>>,
    client: Arc<SourceClient>,
}

/// One source and its credential.
struct Kept {
    source: Arc<Source>,
    credential: Arc<Credential<SourceSubject>>,
    answer: ArcSwapOption<Answer>,
}

/// The last answer to callers: within a second all get the same.
struct Answer {
    cached: Arc<Cached>,
    left: u64,
    object: SecretString,
}

impl Sources {
    /// The sources of `set`, each call bounded by `timeout`. Must be called on the runtime that is
    /// to do the work; [`Sources::run`] must run for anything to be renewed ahead.
    pub fn new(set: SourceSet, timeout: Duration, parts: Parts) -> Result<Self, ClientError> {
        let sources = Self(Arc::new(Inner {
            directory: ArcSwap::default(),
            client: Arc::new(SourceClient::new(timeout)?),
            engine: Engine::new(parts, timeout),
        }));
        sources.set(set);
        Ok(sources)
    }

    /// Replaces the sources, as a reload of the settings does. What is cached for names that stay
    /// is kept; past failures are forgotten, because an operator who reloads has corrected
    /// something.
    pub fn set(&self, set: SourceSet) {
        let sources: Vec<_> = set
            .into_iter()
            .map(|(_, source)| Arc::new(source))
            .collect();
        let subject = |source: &Arc<Source>| SourceSubject {
            source: Arc::clone(source),
            client: Arc::clone(&self.0.client),
        };
        let credentials = self.0.engine.set(sources.iter().map(subject));
        let directory = sources
            .into_iter()
            .zip(credentials)
            .map(|(source, credential)| {
                let name = source.name.clone();
                let kept = Kept {
                    source,
                    credential,
                    answer: ArcSwapOption::empty(),
                };
                (name, Arc::new(kept))
            });
        self.0.directory.store(Arc::new(directory.collect()));
        self.0.engine.forget_failures();
    }

    /// True if there are no sources.
    pub fn is_empty(&self) -> bool {
        self.0.directory.load().is_empty()
    }

    /// The JSON object of the source called `name`, as its service sent it but with its time left
    /// counted down; `None` when no source is called so. Returns within the bound on calls; a
    /// renewal that takes longer continues without its caller.
    pub async fn object(&self, name: &str) -> Option<Result<SecretString, SourceError>> {
        let kept = self.0.directory.load().get(name).cloned()?;
        Some(
            kept.credential
                .get()
                .await
                .map(|cached| kept.answer(cached, &self.0.engine.clock)),
        )
    }

    /// The credential of the source called `name`: its value is the whole answer of its service.
    pub fn credential(&self, name: &str) -> Option<Arc<SourceCredential>> {
        Some(Arc::clone(&self.0.directory.load().get(name)?.credential))
    }

    /// Each source's name and credential, by name.
    pub fn all(&self) -> Vec<(String, Arc<SourceCredential>)> {
        let directory = self.0.directory.load();
        let all = directory
            .iter()
            .map(|(name, kept)| (name.clone(), Arc::clone(&kept.credential)));
        all.collect()
    }

    /// Which credentials are renewed ahead.
    pub fn keep(&self) -> Keep {
        self.0.engine.keep
    }

    /// Renews ahead until `stop` changes or is dropped.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        Arc::clone(&self.0.engine).run(stop).await;
    }

    /// Waits for running renewals, at most `grace`, and writes what the store lacks. The store is
    /// closed by its owner.
    pub async fn close(&self, grace: Duration) {
        self.0.engine.close(grace).await;
    }
}

impl Kept {
    /// The object with its time left counted down.
    fn answer(&self, cached: Arc<Cached>, clock: &Clock) -> SecretString {
        let left = cached.left(clock).as_secs();
        let last = self.answer.load();
        if let Some(last) = last
            .as_ref()
            .filter(|last| last.left == left && Arc::ptr_eq(&last.cached, &cached))
        {
            return last.object.clone();
        }
        let object = match self.source.expires_field() {
            Some(path) => object::with_number(cached.value().expose_secret(), &path, left).into(),
            None => cached.value().clone(),
        };
        self.answer.store(Some(Arc::new(Answer {
            cached,
            left,
            object: object.clone(),
        })));
        object
    }
}
