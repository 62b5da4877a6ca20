//! One HTTP connection to a host of WeChat's, and the connections that wait for their next call.
//! hyper-util's own pool costs a task for each call, and a connection that one worker opened serves
//! the calls of another there, with a thread change for each piece.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};

use super::body::Body;
use super::first_line::FirstLine;

/// What one connection reads or writes ahead. It is also the longest head of an answer.
const BUFFER: usize = 16 * 1024;

/// A connection that was idle for twice as long is closed.
const SWEEP: Duration = Duration::from_secs(15);

/// The most idle connections of one worker to one host.
const MOST_IDLE: usize = 256;

/// An open connection. Its I/O is a task, which ends when this and what it has sent are dropped.
pub(super) struct Connection(SendRequest<Body>);

impl Connection {
    /// Speaks HTTP on `stream`.
    pub(super) async fn new(stream: FirstLine) -> Result<Self, hyper::Error> {
        let (sender, io) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(stream)
            .await?;
        // Whoever sends on it is told what went wrong.
        tokio::spawn(async move { drop(io.await) });
        Ok(Self(sender))
    }

    /// Sends a call and reads the head of its answer. An error has the call in it if not a byte of
    /// it was sent.
    pub(super) fn send(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>> + use<> {
        self.0.try_send_request(request)
    }
}

/// The body of an answer, which arrives over its connection.
pub(super) struct Arriving {
    body: Incoming,
    connection: Option<Connection>,
    pool: Option<Arc<Pool>>,
}

impl Arriving {
    /// The body of an answer that came over `connection`, which returns to `pool` after it.
    pub(super) fn new(body: Incoming, connection: Connection, pool: Option<Arc<Pool>>) -> Self {
        let mut arriving = Self {
            body,
            connection: Some(connection),
            pool,
        };
        arriving.give_back_at_end();
        arriving
    }

    /// The next piece; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await;
            let Some(frame) = frame else {
                self.give_back();
                return None;
            };
            // Anything else than data is a trailer.
            match frame.map(Frame::into_data) {
                Ok(Ok(piece)) => {
                    self.give_back_at_end();
                    return Some(Ok(piece));
                }
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn give_back_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if let (Some(connection), Some(pool)) = (self.connection.take(), &self.pool) {
            pool.put(connection);
        }
    }
}

/// The idle connections to one host. A connection is used again by the worker that opened it, whose
/// runtime does its I/O.
#[derive(Default)]
pub(super) struct Pool(Mutex<State>);

#[derive(Default)]
struct State {
    idle: HashMap<ThreadId, Vec<Idle>>,
    is_swept: bool,
}

struct Idle {
    connection: Connection,
    /// Whether it was idle at the last sweep already.
    is_old: bool,
}

impl Pool {
    /// The connection that was used last of those that wait. Closed ones are dropped.
    pub(super) fn take(&self) -> Option<Connection> {
        let worker = std::thread::current().id();
        let mut state = self.locked();
        let idle = state.idle.get_mut(&worker)?;
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let sender = &idle[at].connection.0;
            // The end of an answer may not have been seen by the connection's task yet.
            if sender.is_ready() || sender.is_closed() {
                let Idle { connection, .. } = idle.remove(at);
                if connection.0.is_ready() {
                    return Some(connection);
                }
            }
        }
        None
    }

    fn put(self: &Arc<Self>, connection: Connection) {
        let worker = std::thread::current().id();
        let mut state = self.locked();
        let idle = state.idle.entry(worker).or_default();
        if idle.len() < MOST_IDLE {
            idle.push(Idle {
                connection,
                is_old: false,
            });
        }
        if !std::mem::replace(&mut state.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what was idle before the last sweep; `false` if nothing is left.
    fn sweep(&self) -> bool {
        let mut state = self.locked();
        for idle in state.idle.values_mut() {
            idle.retain_mut(|idle| !std::mem::replace(&mut idle.is_old, true));
        }
        state.idle.retain(|_, idle| !idle.is_empty());
        state.is_swept = !state.idle.is_empty();
        state.is_swept
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes idle connections until there are none, or the pool is gone.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if !pool.upgrade().is_some_and(|pool| pool.sweep()) {
            return;
        }
    }
}
