//! New settings for a running server (`SIGHUP`): what changes without a restart.

use actix_web::web;

use super::openings;
use crate::counters::EventKind;
use crate::http::{self, AppState};
use crate::registry::Configured;
use crate::settings::Config;

/// Applies new settings to a running server: apps, realms, sources, WeCom's applications, the hub's
/// keys, cors and login. No request and no credential is lost.
#[derive(Clone)]
pub struct Reloader(web::Data<AppState>);

impl Reloader {
    pub(super) fn new(state: web::Data<AppState>) -> Self {
        Self(state)
    }

    /// Applies the settings that may change at runtime.
    pub fn apply(&self, config: Config) {
        let access = http::access(&config);
        let (configured, config) = configured(config);
        let before = http::openings(&self.0);
        self.0.registry.set(configured);
        self.0.sources.set(config.sources);
        self.0.wecom.set(config.wecom.sources);
        self.0.set_access(access);
        openings::log(&before, &http::openings(&self.0));
        self.note(EventKind::Reloaded);
    }

    /// Notes that new settings have faults and change nothing.
    pub fn refused(&self) {
        self.note(EventKind::ReloadFailed);
    }

    fn note(&self, kind: EventKind) {
        let counters = self.0.options.status.counters();
        counters.note(kind, None, None);
    }

    /// The number of accounts.
    pub fn accounts(&self) -> usize {
        self.0.keeper.app_ids().len()
    }
}

/// Splits off what the registry needs from the settings.
pub(super) fn configured(mut config: Config) -> (Configured, Config) {
    let (accounts, messages) = (
        std::mem::take(&mut config.accounts),
        std::mem::take(&mut config.messages),
    );
    (
        Configured {
            accounts,
            messages,
            reserve: config.reserve,
            stored: config.serves_stored_apps,
        },
        config,
    )
}
