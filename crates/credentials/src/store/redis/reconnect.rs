//! The state of the one connection: idle, connecting, connected or closed; when to try again, and
//! what callers get meanwhile.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{FutureExt, Shared};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::connection::Connection;
use super::dial::Dialer;
use super::fault::{judge, silence};
use crate::store::mutex::locked;

/// The shortest time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);

/// How many reconnects may follow without a pause: a proxy may close the connection for each kind
/// of command that it refuses.
const QUICK_RETRIES: u32 = 3;

/// How long a caller waits for an attempt if the previous one failed: long enough for a healthy
/// server, short enough for a user.
const SHORT_TIMEOUT: Duration = Duration::from_millis(250);

pub(super) struct Core {
    pub(super) dialer: Arc<Dialer>,
    pub(super) place: String,
    pub(super) timeout: Duration,
    /// Guards a few fields for a few instructions, never across an await.
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Counts the attempts. A connection has its attempt's number, so that a late fault of an old
    /// one does not end a new one.
    number: u64,
    /// The pause after the last attempt is not over.
    pausing: bool,
    /// How many reconnects followed without a pause.
    quick_retries: u32,
    /// Why Redis counts as down; `None` = it does not.
    down: Option<String>,
    /// Why the last connection ended, or the last attempt failed.
    cause: String,
    pub(super) task: Option<AbortHandle>,
}

#[derive(Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    Dialling(Attempt),
    Up(u64, Connection),
    Closed,
}

/// An attempt runs in its own task, so that it continues when the caller that started it hangs up.
pub(super) type Attempt = Shared<oneshot::Receiver<Result<Connection, String>>>;

impl Core {
    pub(super) async fn connection(self: &Arc<Self>) -> Result<(u64, Connection), String> {
        let (number, attempt, down) = {
            let mut state = locked(&self.state);
            match &state.phase {
                Phase::Up(number, connection) => return Ok((*number, connection.clone())),
                Phase::Closed => return Err("the store is closed".to_owned()),
                Phase::Idle if state.pausing => return Err(state.cause.clone()),
                Phase::Dialling(attempt) => (state.number, attempt.clone(), state.down.clone()),
                Phase::Idle => {
                    let attempt = self.begin(&mut state);
                    state.phase = Phase::Dialling(attempt.clone());
                    (state.number, attempt, state.down.clone())
                }
            }
        };
        let outcome = match down {
            None => attempt.await,
            Some(cause) => timeout(SHORT_TIMEOUT, attempt).await.map_err(|_| cause)?,
        };
        match outcome {
            Ok(outcome) => outcome.map(|connection| (number, connection)),
            Err(_) => {
                // Its task was aborted, with the runtime or by `close`.
                let cause = "the attempt to connect was broken off".to_owned();
                self.settle(number, Err(cause.clone()));
                locked(&self.state).pausing = false;
                Err(cause)
            }
        }
    }

    fn begin(self: &Arc<Self>, state: &mut State) -> Attempt {
        let (tell, result) = oneshot::channel();
        state.number += 1;
        state.pausing = true;
        state.task = Some(tokio::spawn(Arc::clone(self).dial(state.number, tell)).abort_handle());
        result.shared()
    }

    async fn dial(self: Arc<Self>, number: u64, tell: oneshot::Sender<Result<Connection, String>>) {
        let rest = sleep(PAUSE);
        // Each step of dialling is bounded by the timeout; this bounds their sum. A panic must not
        // leave everyone waiting.
        let attempt = timeout(
            self.timeout.saturating_mul(3),
            AssertUnwindSafe(self.dialer.dial()).catch_unwind(),
        );
        let outcome = match attempt.await {
            Ok(Ok(Ok(topology))) => Ok(Connection::new(number, topology)),
            Ok(Ok(Err(error))) => Err(judge(&error, &self.place).words),
            Ok(Err(_)) => Err("connecting failed by a fault of ours".to_owned()),
            Err(_) => Err(silence(&self.place, self.timeout)),
        };
        self.settle(number, outcome.clone());
        // All callers may have gone.
        let _ = tell.send(outcome);
        rest.await;
        let mut state = locked(&self.state);
        if state.number == number {
            (state.pausing, state.quick_retries) = (false, 0);
        }
    }

    fn settle(&self, number: u64, outcome: Result<Connection, String>) {
        let mut state = locked(&self.state);
        if state.number != number || matches!(state.phase, Phase::Closed) {
            return;
        }
        match outcome {
            Ok(connection) => {
                state.phase = Phase::Up(number, connection);
                if state.down.take().is_some() {
                    tracing::info!(store.place = self.place, "redis is back");
                }
            }
            Err(cause) => {
                state.phase = Phase::Idle;
                self.note_down(&mut state, &cause);
            }
        }
    }

    /// Replaces the connection with that number. `is_hopeful`: a new one will probably work, so
    /// callers wait for it with the full timeout. A single server's connection is dropped at once;
    /// a cluster's (`true`) serves the healthy nodes until the new one is ready.
    pub(super) fn replace(self: &Arc<Self>, number: u64, cause: &str, is_hopeful: bool) -> bool {
        let mut state = locked(&self.state);
        let cluster = match &state.phase {
            Phase::Up(current, connection) if *current == number => connection.is_cluster(),
            _ => return false,
        };
        if cluster {
            if !state.pausing {
                // Nobody waits for this attempt; it runs in its own task and settles there.
                drop(self.begin(&mut state));
            }
        } else {
            state.phase = Phase::Idle;
            if is_hopeful {
                state.cause = cause.to_owned();
                if state.quick_retries < QUICK_RETRIES {
                    state.quick_retries += 1;
                    state.pausing = false;
                }
            } else {
                self.note_down(&mut state, cause);
            }
        }
        cluster
    }

    /// An attempt took longer than a caller can wait, so later callers wait a shorter time.
    pub(super) fn stop_waiting(&self, cause: &str) {
        let mut state = locked(&self.state);
        if matches!(state.phase, Phase::Dialling(_)) {
            self.note_down(&mut state, cause);
        }
    }

    /// Logs the start of an outage, not every failed request.
    fn note_down(&self, state: &mut State, cause: &str) {
        if state.down.is_none() {
            tracing::warn!(store.place = self.place, cause, "redis is down");
        }
        state.cause = cause.to_owned();
        state.down = Some(cause.to_owned());
    }
}
