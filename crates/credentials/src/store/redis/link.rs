//! The one connection to Redis: made when first needed, dropped when it fails, made again with a
//! pause (`reconnect.rs`). Every request ends within the configured timeout, connecting included;
//! while Redis is down the remembered cause is returned at once. Nothing here depends on keys and
//! values.

use std::sync::{Arc, Mutex};

use redis::RedisResult;
use tokio::time::timeout;

use super::super::mutex::locked;
use super::connection::Connection;
use super::dial::Dialer;
use super::fault::{Verdict, judge, judge_in_cluster, silence};
use super::reconnect::{Core, Phase};

/// Sends requests over the current connection. Dropping it cancels a connection attempt.
pub(super) struct Link {
    core: Arc<Core>,
}

impl Link {
    pub(super) fn new(dialer: Arc<Dialer>) -> Self {
        let (place, timeout) = (dialer.place(), dialer.timeout());
        Self {
            core: Arc::new(Core {
                dialer,
                place,
                timeout,
                state: Mutex::default(),
            }),
        }
    }

    /// Runs `request`. Repeats it once on a new connection if it reached the wrong server, or if
    /// the connection was lost and the request is `repeatable`, so that a server's restart or idle
    /// timeout costs the caller nothing. The error is the cause in words.
    pub(super) async fn run<T, F>(
        &self,
        repeatable: bool,
        request: impl Fn(Connection) -> F,
    ) -> Result<T, String>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let core = &self.core;
        let mut in_use = None;
        let work = async {
            let mut first = true;
            loop {
                let (number, connection) = core.connection().await?;
                in_use = Some(number);
                let judge = if connection.is_cluster() {
                    judge_in_cluster
                } else {
                    judge
                };
                let error = match request(connection).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                let fault = judge(&error, &core.place);
                let again = match fault.connection {
                    Verdict::Sound => return Err(fault.words),
                    Verdict::Lost => repeatable,
                    Verdict::Astray => true,
                };
                // A cluster's connection has already retried.
                let again = again && !core.replace(number, &fault.words, true);
                if !(first && again) {
                    return Err(fault.words);
                }
                first = false;
            }
        };
        let ended = timeout(core.timeout, work).await;
        ended.unwrap_or_else(|_| {
            let cause = silence(&core.place, core.timeout);
            match in_use {
                // A vanished peer looks the same, so the connection is replaced.
                Some(number) => {
                    core.replace(number, &cause, false);
                }
                None => core.stop_waiting(&cause),
            }
            Err(cause)
        })
    }

    /// The current connection, if there is one. Does not connect.
    pub(super) fn current(&self) -> Option<Connection> {
        match &locked(&self.core.state).phase {
            Phase::Up(_, connection) => Some(connection.clone()),
            _ => None,
        }
    }

    /// Drops the connection; later requests fail.
    pub(super) fn close(&self) {
        let mut state = locked(&self.core.state);
        state.phase = Phase::Closed;
        if let Some(dialling) = state.task.take() {
            dialling.abort();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}
