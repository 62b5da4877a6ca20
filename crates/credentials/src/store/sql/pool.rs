//! A few connections. One that failed or was abandoned during a statement is closed and never
//! reused. Connection errors return immediately; the next caller reconnects.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::mutex::locked;
use super::driver::Driver;
use clock::{Clock, SteadyMillis};

/// What rests longer is closed: firewalls forget such connections without a word.
const MAX_IDLE: Duration = Duration::from_secs(5 * 60);

/// Hands out connections made by one set of options.
pub(super) struct Pool<O: ConnectOptions<Connection: Driver + Sized>> {
    options: O,
    /// The first statement on a new connection.
    greeting: Option<&'static str>,
    seats: Arc<Semaphore>,
    resting: Mutex<Vec<(O::Connection, SteadyMillis)>>,
    clock: Clock,
}

impl<O: ConnectOptions<Connection: Driver + Sized>> Pool<O> {
    /// At most `size` connections, each made when it is first needed.
    pub(super) fn new(
        options: O,
        greeting: Option<&'static str>,
        size: usize,
        clock: &Clock,
    ) -> Arc<Self> {
        let seats = Arc::new(Semaphore::new(size));
        Arc::new(Self {
            options,
            greeting,
            seats,
            resting: Mutex::default(),
            clock: clock.clone(),
        })
    }

    /// A connection that answers; the caller bounds the wait.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<Loan<O>, Error> {
        let seat = Arc::clone(&self.seats)
            .acquire_owned()
            .await
            .map_err(|_| Error::PoolClosed)?;
        let connection = self.connection().await?;
        Ok(Loan {
            connection,
            pool: Arc::clone(self),
            _seat: seat,
        })
    }

    async fn connection(&self) -> Result<O::Connection, Error> {
        while let Some((mut connection, since)) = self.rested() {
            // The server may have restarted meanwhile; check before a request fails.
            if since.until(self.clock.steady()) < MAX_IDLE && connection.ping().await.is_ok() {
                return Ok(connection);
            }
        }
        let mut connection = self.options.connect().await?;
        if let Some(greeting) = self.greeting {
            connection.execute(greeting.to_owned(), &[]).await?;
        }
        Ok(connection)
    }

    /// The last to rest is the first to work, so that those which are not needed grow old and go.
    fn rested(&self) -> Option<(O::Connection, SteadyMillis)> {
        locked(&self.resting).pop()
    }

    /// Ends what rests, and has later callers fail.
    pub(super) async fn close(&self) {
        self.seats.close();
        let resting = std::mem::take(&mut *locked(&self.resting));
        for (connection, _) in resting {
            connection.close().await.ok();
        }
    }
}

/// A connection in use. Dropped without [`Loan::keep`] it is closed: an answer may still be on its
/// way to it.
pub(super) struct Loan<O: ConnectOptions<Connection: Driver + Sized>> {
    pub(super) connection: O::Connection,
    pool: Arc<Pool<O>>,
    _seat: OwnedSemaphorePermit,
}

impl<O: ConnectOptions<Connection: Driver + Sized>> Loan<O> {
    /// Gives it back, sound.
    pub(super) fn keep(self) {
        if !self.pool.seats.is_closed() {
            let now = self.pool.clock.steady();
            locked(&self.pool.resting).push((self.connection, now));
        }
    }
}
