//! Notices of other processes over PostgreSQL's `LISTEN`, on a separate connection. MySQL and
//! SQLite have no equivalent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Executor};
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::super::mutex::locked;
use super::url::{Server, SqlConfig};
use crate::store::Changed;
use crate::store::change_feed::{ChangeFeed, QUIET, Subscriber};
use wechat::credential::CredentialKind;

/// The channel for notices.
pub(super) const CHANNEL: &str = "jsdkd_changed";

/// Whether a change of `key` is announced: only changes of credentials, which are rare. `NOTIFY`
/// serializes all writers of a server, and anybody who can connect receives it, while the name of a
/// login gives access to it.
pub(super) fn is_announced(key: &str) -> bool {
    key.split_once('.')
        .is_some_and(|(_, kind)| CredentialKind::from_name(kind).is_some())
}

/// Notices of a PostgreSQL database.
pub(super) struct PostgresFeed {
    options: PgConnectOptions,
    timeout: Duration,
    place: Arc<str>,
    own: Arc<str>,
    /// Started by the first subscriber.
    feed: Mutex<Option<ChangeFeed>>,
}

impl PostgresFeed {
    /// `own` is the name in our own notices. `None` for a database without notices.
    pub(super) fn of(config: &SqlConfig, own: &Arc<str>) -> Option<Self> {
        let Server::Postgres(options) = &config.server else {
            return None;
        };
        let options = options
            .clone()
            .application_name("jsdkd")
            .disable_statement_logging();
        let (timeout, place) = (config.timeout, config.place().into());
        Some(Self {
            options,
            timeout,
            place,
            own: Arc::clone(own),
            feed: Mutex::default(),
        })
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Changed> {
        locked(&self.feed)
            .get_or_insert_with(|| self.listen())
            .subscribe()
    }

    pub(super) fn close(&self) {
        locked(&self.feed).take();
    }

    fn listen(&self) -> ChangeFeed {
        let (options, bound, place) = (self.options.clone(), self.timeout, Arc::clone(&self.place));
        ChangeFeed::start(&self.own, move |subscriber| {
            listen_once(options.clone(), bound, Arc::clone(&place), subscriber)
        })
    }
}

async fn listen_once(
    options: PgConnectOptions,
    bound: Duration,
    place: Arc<str>,
    subscriber: Subscriber,
) -> bool {
    let Ok(Ok(listener)) = timeout(bound, connect(options, bound)).await else {
        return false;
    };
    tracing::debug!(
        store.place = &*place,
        "subscribed to the notices of other instances"
    );
    forward_all(listener, bound, &subscriber).await;
    true
}

async fn connect(options: PgConnectOptions, bound: Duration) -> sqlx::Result<PgListener> {
    // The driver listens only on a pool's connection; this pool has one, which ends with the
    // listener.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(bound)
        .idle_timeout(None)
        .max_lifetime(None);
    let mut listener = PgListener::connect_with(&pool.connect_lazy_with(options)).await?;
    // Missed notices must be reported before the next one, so each connection has a new listener.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Forwards notices until the connection ends.
async fn forward_all(mut listener: PgListener, bound: Duration, subscriber: &Subscriber) {
    loop {
        match timeout(QUIET, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => subscriber.forward(notification.payload()),
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
    fn credentials_are_notified_and_logins_are_not() {
        assert!(
            ["wx1.token", "wx1.ticket", "wx1.card_ticket"]
                .iter()
                .all(|key| is_announced(key))
        );
        let others = [
            "login.scan.1",
            "oauth.ticket.wx1.1",
            "wx1.token.pause",
            "message.wx1.token",
            "source.a",
            "token",
        ];
        assert!(!others.iter().any(|key| is_announced(key)));
    }
}
