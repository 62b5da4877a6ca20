//! A source as a subject of the engine.

use std::sync::Arc;
use std::time::Duration;

use super::client::SourceClient;
use super::error::UpstreamError;
use super::object;
use super::source::Source;
use crate::engine::{Effect, Granted, Needed, Refusal, Subject};
use crate::observer::LogNames;
use wechat::Kind;

/// Put before a source's name to get its key in the store.
const PREFIX: &str = "source.";

/// One source and the way to its service.
pub struct SourceSubject {
    pub(super) source: Arc<Source>,
    pub(super) client: Arc<SourceClient>,
}

impl Subject for SourceSubject {
    type Key = String;
    type Refusal = UpstreamError;

    const WHOSE: &'static str = " of the sources";
    const WAKES_WHEN_DUE: bool = true;

    fn key(&self) -> String {
        self.source.name.clone()
    }

    fn store_key(&self) -> String {
        format!("{PREFIX}{}", self.source.name)
    }

    fn key_of(store_key: &str) -> Option<String> {
        store_key.strip_prefix(PREFIX).map(str::to_owned)
    }

    fn log_names(&self) -> LogNames<'_> {
        LogNames {
            source: Some(&self.source.name),
            ..LogNames::default()
        }
    }

    fn reserve(&self) -> Duration {
        self.source.reserve
    }

    fn usual_lifetime(&self) -> Option<Duration> {
        None
    }

    fn needs(&self) -> Vec<String> {
        self.source.needs().into_iter().map(str::to_owned).collect()
    }

    async fn fetch(&self, needed: &Needed<Self>, _force: bool) -> Result<Granted, UpstreamError> {
        self.client.fetch(&self.source, needed).await
    }

    fn effect(&self) -> Effect {
        // What a service does to the previous value is unknown, so the worse is assumed.
        Effect::Supersedes
    }

    fn repeats_lifetime(&self) -> bool {
        // WeCom, for one, names the whole lifetime every time.
        true
    }

    fn is_same(&self, one: &str, other: &str) -> bool {
        let bare = |text: &str| match self.source.expires_field() {
            Some(path) => object::with_number(text, &path, 0),
            None => text.to_owned(),
        };
        one == other || bare(one) == bare(other)
    }

    fn accepts(&self, stored: &str) -> bool {
        object::text(stored.as_bytes()).is_some()
    }
}

impl Refusal for UpstreamError {
    fn kind(&self) -> Kind {
        self.kind()
    }

    fn may_have_been_granted(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Unreadable { .. })
    }

    fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } => code.parse().ok(),
            _ => None,
        }
    }

    fn is_answer(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}
