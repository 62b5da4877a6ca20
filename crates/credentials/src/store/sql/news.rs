//! What other processes have written, over PostgreSQL's `LISTEN`, on a connection of its own. MySQL and SQLite cannot tell.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Executor};
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::super::memory::locked;
use super::url::{Server, SqlConfig};
use crate::store::Changed;
use crate::store::news::{Ear, News, QUIET};
use wechat::credential::CredentialKind;

/// The channel on which what was written is told.
pub(super) const CHANNEL: &str = "jsdkd_changed";

/// Whether a change of `key` is told: that of a credential, which is rare. Telling makes the writers of a whole server queue, and anybody
/// who may connect hears it, while the name of a login opens it.
pub(super) fn is_told(key: &str) -> bool {
    key.split_once('.').is_some_and(|(_, kind)| CredentialKind::from_name(kind).is_some())
}

/// A database that tells.
pub(super) struct Bulletin {
    options: PgConnectOptions,
    timeout: Duration,
    place: Arc<str>,
    own: Arc<str>,
    /// Begun when somebody wants to hear.
    news: Mutex<Option<News>>,
}

impl Bulletin {
    /// `own` is the name by which our own sessions tell; `None` for a database that cannot.
    pub(super) fn of(config: &SqlConfig, own: &Arc<str>) -> Option<Self> {
        let Server::Postgres(options) = &config.server else { return None };
        let options = options.clone().application_name("jsdkd").disable_statement_logging();
        let (timeout, place) = (config.timeout, config.place().into());
        Some(Self { options, timeout, place, own: Arc::clone(own), news: Mutex::default() })
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Changed> {
        locked(&self.news).get_or_insert_with(|| self.listen()).subscribe()
    }

    pub(super) fn close(&self) {
        locked(&self.news).take();
    }

    fn listen(&self) -> News {
        let (options, bound, place) = (self.options.clone(), self.timeout, Arc::clone(&self.place));
        News::keep(&self.own, move |ear| listen_once(options.clone(), bound, Arc::clone(&place), ear))
    }
}

async fn listen_once(options: PgConnectOptions, bound: Duration, place: Arc<str>, ear: Ear) -> bool {
    let Ok(Ok(listener)) = timeout(bound, connect(options, bound)).await else { return false };
    tracing::debug!(store.place = &*place, "listening for what others write");
    hear(listener, bound, &ear).await;
    true
}

async fn connect(options: PgConnectOptions, bound: Duration) -> sqlx::Result<PgListener> {
    // The driver listens on a pool's connection only; that of this pool is the listener's, and gone with it.
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(bound).idle_timeout(None).max_lifetime(None);
    let mut listener = PgListener::connect_with(&pool.connect_lazy_with(options)).await?;
    // What was missed must be told before anything is heard again, so each connection has a listener of its own.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Passes on what is heard until the connection ends.
async fn hear(mut listener: PgListener, bound: Duration, ear: &Ear) {
    loop {
        match timeout(QUIET, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => ear.heard(notification.payload()),
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => match timeout(bound, listener.execute("SELECT 1")).await {
                Ok(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_and_logins_are_not() {
        assert!(["wx1.token", "wx1.ticket", "wx1.card_ticket"].iter().all(|key| is_told(key)));
        let others = ["login.scan.1", "oauth.ticket.wx1.1", "wx1.token.pause", "message.wx1.token", "source.a", "token"];
        assert!(!others.iter().any(|key| is_told(key)));
    }
}
