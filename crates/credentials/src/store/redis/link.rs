//! The one connection to Redis: made when first needed, dropped when it fails, made again at most every [`PAUSE`]. Every request
//! ends within the configured timeout, dialling included, and while Redis is down the remembered cause is handed out at once.
//! It knows nothing of keys and values.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{FutureExt, Shared};
use redis::RedisResult;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::super::memory::locked;
use super::connection::Connection;
use super::dial::Dialer;
use super::fault::{Verdict, judge, judge_in_cluster, silence};

/// The least time from one attempt to connect to the next.
const PAUSE: Duration = Duration::from_millis(200);

/// How many attempts may follow at once on a connection that ended: a proxy may close it for each kind of command that it does not take.
const HASTY: u32 = 3;

/// How long a caller waits for an attempt when the one before failed: long enough for a healthy server, short enough for a user.
const PATIENCE: Duration = Duration::from_millis(250);

/// Hands requests to the current connection. Dropping it ends an attempt that is under way.
pub(super) struct Link {
    core: Arc<Core>,
}

impl Link {
    pub(super) fn new(dialer: Arc<Dialer>) -> Self {
        let (place, timeout) = (dialer.place(), dialer.timeout());
        Self { core: Arc::new(Core { dialer, place, timeout, state: Mutex::default() }) }
    }

    /// Runs `request`, a second time on a new connection when the first went astray, or was lost and the request is `repeatable`
    /// (a server that restarted or closes idle connections costs the caller nothing). The fault is the cause in words.
    pub(super) async fn run<T, F>(&self, repeatable: bool, request: impl Fn(Connection) -> F) -> Result<T, String>
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
                let judge = if connection.is_cluster() { judge_in_cluster } else { judge };
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
                // A cluster's connection has tried again by itself.
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
                // A peer that vanished without a word looks just like this, so the connection is not trusted again.
                Some(number) => {
                    core.replace(number, &cause, false);
                }
                None => core.despair(&cause),
            }
            Err(cause)
        })
    }

    /// The connection in use, if there is one. It does not connect.
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

struct Core {
    dialer: Arc<Dialer>,
    place: String,
    timeout: Duration,
    /// Guards a few fields for a few instructions, never across an await.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Counts the attempts; a connection bears the number of its own, so that a late fault of an old one does not end a new one.
    number: u64,
    /// Too little time has passed since the last attempt began.
    resting: bool,
    /// How many attempts were made all the same, because a connection ended so soon.
    hasty: u32,
    /// Why Redis is thought to be down; `None` as long as there is hope.
    down: Option<String>,
    /// Why the last connection ended, or the last attempt failed.
    cause: String,
    task: Option<AbortHandle>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    Dialling(Attempt),
    Up(u64, Connection),
    Closed,
}

/// An attempt runs in a task of its own, so that the caller who began it may hang up without harm to those who wait with it.
type Attempt = Shared<oneshot::Receiver<Result<Connection, String>>>;

impl Core {
    async fn connection(self: &Arc<Self>) -> Result<(u64, Connection), String> {
        let (number, attempt, down) = {
            let mut state = locked(&self.state);
            match &state.phase {
                Phase::Up(number, connection) => return Ok((*number, connection.clone())),
                Phase::Closed => return Err("the store is closed".to_owned()),
                Phase::Idle if state.resting => return Err(state.cause.clone()),
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
            Some(cause) => timeout(PATIENCE, attempt).await.map_err(|_| cause)?,
        };
        match outcome {
            Ok(outcome) => outcome.map(|connection| (number, connection)),
            Err(_) => {
                // Its task was aborted, with the runtime or by `close`.
                let cause = "the attempt to connect was broken off".to_owned();
                self.settle(number, Err(cause.clone()));
                locked(&self.state).resting = false;
                Err(cause)
            }
        }
    }

    fn begin(self: &Arc<Self>, state: &mut State) -> Attempt {
        let (tell, hear) = oneshot::channel();
        state.number += 1;
        state.resting = true;
        state.task = Some(tokio::spawn(Arc::clone(self).dial(state.number, tell)).abort_handle());
        hear.shared()
    }

    async fn dial(self: Arc<Self>, number: u64, tell: oneshot::Sender<Result<Connection, String>>) {
        let rest = sleep(PAUSE);
        // Each step of dialling is bounded by the timeout; this bounds their sum. A panic must not leave everyone waiting.
        let attempt = timeout(self.timeout.saturating_mul(3), AssertUnwindSafe(self.dialer.dial()).catch_unwind());
        let outcome = match attempt.await {
            Ok(Ok(Ok(wire))) => Ok(Connection::new(number, wire)),
            Ok(Ok(Err(error))) => Err(judge(&error, &self.place).words),
            Ok(Err(_)) => Err("connecting failed by a fault of ours".to_owned()),
            Err(_) => Err(silence(&self.place, self.timeout)),
        };
        self.settle(number, outcome.clone());
        // Nobody may be waiting any more.
        let _ = tell.send(outcome);
        rest.await;
        let mut state = locked(&self.state);
        if state.number == number {
            (state.resting, state.hasty) = (false, 0);
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

    /// Has the connection of that number replaced. `hopeful`: a new one will probably work, so callers wait for it with full
    /// patience. A single server's connection is dropped at once; a cluster's (`true`) goes on serving the healthy nodes until its
    /// successor, which knows the nodes anew, is there.
    fn replace(self: &Arc<Self>, number: u64, cause: &str, hopeful: bool) -> bool {
        let mut state = locked(&self.state);
        let cluster = match &state.phase {
            Phase::Up(current, connection) if *current == number => connection.is_cluster(),
            _ => return false,
        };
        if cluster {
            if !state.resting {
                // Nobody waits for this attempt; it runs in its own task and settles there.
                drop(self.begin(&mut state));
            }
        } else {
            state.phase = Phase::Idle;
            if hopeful {
                state.cause = cause.to_owned();
                if state.hasty < HASTY {
                    state.hasty += 1;
                    state.resting = false;
                }
            } else {
                self.note_down(&mut state, cause);
            }
        }
        cluster
    }

    /// An attempt took longer than a caller could wait; those who come later shall not wait as long.
    fn despair(&self, cause: &str) {
        let mut state = locked(&self.state);
        if matches!(state.phase, Phase::Dialling(_)) {
            self.note_down(&mut state, cause);
        }
    }

    /// Logs the beginning of a trouble, not each request that meets it.
    fn note_down(&self, state: &mut State, cause: &str) {
        if state.down.is_none() {
            tracing::warn!(store.place = self.place, cause, "redis is down");
        }
        state.cause = cause.to_owned();
        state.down = Some(cause.to_owned());
    }
}
