//! The database and a connection to it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Error};

use super::super::change_feed::{notice, own_name};
use super::change_feed::{CHANNEL, is_announced};
use super::dialect::Dialect;
use super::driver::Arg::Text;
use super::driver::{Arg, Cell, Driver};
use super::pool::{Loan, Pool};
use super::url::{Server, SqlConfig};
use clock::Clock;

/// The most connections of one process.
const CONNECTIONS: usize = 10;

/// A value that does not fit must be an error: without a strict mode MySQL cuts it short and says
/// nothing. The other modes are left out, so that no server's own choice changes what our
/// statements mean.
const STRICT: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'";

/// A database of one of the three kinds.
pub(super) enum Database {
    MySql(Arc<Pool<MySqlConnectOptions>>),
    /// With the name that identifies this process in its notices.
    Postgres(Arc<Pool<PgConnectOptions>>, Arc<str>),
    Sqlite(Arc<Pool<SqliteConnectOptions>>),
}

impl Database {
    /// Opens no connection yet.
    pub(super) fn new(config: &SqlConfig, clock: &Clock) -> Self {
        match &config.server {
            // The session keeps the server's own time zone, in which wetoken's rows are written.
            Server::MySql(options) => {
                let options = options
                    .clone()
                    .timezone(None)
                    .pipes_as_concat(false)
                    .no_engine_substitution(false);
                Self::MySql(Pool::new(
                    options.disable_statement_logging(),
                    Some(STRICT),
                    CONNECTIONS,
                    clock,
                ))
            }
            Server::Postgres(options) => {
                let options = options
                    .clone()
                    .application_name("jsdkd")
                    .disable_statement_logging();
                Self::Postgres(
                    Pool::new(options, None, CONNECTIONS, clock),
                    own_name().into(),
                )
            }
            // A file has one writer at a time, and one connection queues better than many that try
            // again.
            Server::Sqlite(path) => Self::Sqlite(Pool::new(
                sqlite(config.timeout).filename(path),
                None,
                1,
                clock,
            )),
        }
    }

    /// A connection that answers; the caller bounds the wait.
    pub(super) async fn session(&self) -> Result<Session, Error> {
        Ok(match self {
            Self::MySql(pool) => Session::MySql(pool.lend().await?),
            Self::Postgres(pool, own) => Session::Postgres(pool.lend().await?, Arc::clone(own)),
            Self::Sqlite(pool) => Session::Sqlite(pool.lend().await?),
        })
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::MySql(_) => Dialect::MySql,
            Self::Postgres(..) => Dialect::Postgres,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// The name that identifies this process in its notices, if the database has notices.
    pub(super) fn own(&self) -> Option<&Arc<str>> {
        if let Self::Postgres(_, own) = self {
            Some(own)
        } else {
            None
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::MySql(pool) => pool.close().await,
            Self::Postgres(pool, _) => pool.close().await,
            Self::Sqlite(pool) => pool.close().await,
        }
    }
}

/// What was written is on the disk when a write returns, and another process's write is waited for.
fn sqlite(timeout: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(timeout)
        .disable_statement_logging()
}

/// A connection in use. Dropped without [`Session::keep`] it is closed.
pub(super) enum Session {
    MySql(Loan<MySqlConnectOptions>),
    Postgres(Loan<PgConnectOptions>, Arc<str>),
    Sqlite(Loan<SqliteConnectOptions>),
}

impl Session {
    /// Executes a statement in neutral syntax; returns the number of matched rows.
    pub(super) async fn execute(&mut self, neutral: &str, args: &[Arg<'_>]) -> Result<u64, Error> {
        self.execute_said(self.dialect().say(neutral), args).await
    }

    /// Like [`Session::execute`], for changes of the record under `key` or its lease. Other
    /// processes are notified after the statement, so that they find the change.
    pub(super) async fn execute_telling(
        &mut self,
        key: &str,
        neutral: &str,
        args: &[Arg<'_>],
    ) -> Result<u64, Error> {
        let Self::Postgres(loan, own) = self else {
            return self.execute(neutral, args).await;
        };
        if !is_announced(key) {
            return self.execute(neutral, args).await;
        }
        let notice = notice(own, key);
        let telling =
            format!("WITH written AS ({neutral} RETURNING 1) SELECT pg_notify(?, ?) FROM written");
        let args = [args, &[Text(CHANNEL), Text(&notice)]].concat();
        loan.connection
            .execute(Dialect::Postgres.say(&telling), &args)
            .await
    }

    /// Runs a statement that is in the dialect already.
    pub(super) async fn execute_said(
        &mut self,
        statement: String,
        args: &[Arg<'_>],
    ) -> Result<u64, Error> {
        match self {
            Self::MySql(loan) => loan.connection.execute(statement, args).await,
            Self::Postgres(loan, _) => loan.connection.execute(statement, args).await,
            Self::Sqlite(loan) => loan.connection.execute(statement, args).await,
        }
    }

    /// Runs a question written neutrally and returns the rows.
    pub(super) async fn rows(
        &mut self,
        neutral: &str,
        args: &[Arg<'_>],
    ) -> Result<Vec<Vec<Cell>>, Error> {
        let statement = self.dialect().say(neutral);
        match self {
            Self::MySql(loan) => loan.connection.rows(statement, args).await,
            Self::Postgres(loan, _) => loan.connection.rows(statement, args).await,
            Self::Sqlite(loan) => loan.connection.rows(statement, args).await,
        }
    }

    /// As [`Session::rows`] for at most one row of `N` columns.
    pub(super) async fn row<const N: usize>(
        &mut self,
        neutral: &str,
        args: &[Arg<'_>],
    ) -> Result<Option<[Cell; N]>, Error> {
        let first = self.rows(neutral, args).await?.into_iter().next();
        Ok(first.and_then(|cells| <[Cell; N]>::try_from(cells).ok()))
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::MySql(_) => Dialect::MySql,
            Self::Postgres(..) => Dialect::Postgres,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Gives the connection back, sound.
    pub(super) fn keep(self) {
        match self {
            Self::MySql(loan) => loan.keep(),
            Self::Postgres(loan, _) => loan.keep(),
            Self::Sqlite(loan) => loan.keep(),
        }
    }
}
