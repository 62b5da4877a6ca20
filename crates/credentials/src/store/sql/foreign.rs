//! Reads other programs' tables, to move from them. Nothing is written, not even a journal beside a
//! SQLite file.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::time::timeout;

use super::driver::{Cell, Driver};
use super::fault;
use super::url::{Server, SqlConfig};
use crate::store::StoreError;

/// The rows that `question` finds, every value as text. `question` is in the database's own dialect
/// and must not contain anything from outside.
pub async fn rows_of(
    config: &SqlConfig,
    question: &'static str,
) -> Result<Vec<Vec<Option<String>>>, StoreError> {
    ask_any(config, question).await
}

/// As [`rows_of`], for a question that was put together.
pub(super) async fn ask_any(
    config: &SqlConfig,
    question: &str,
) -> Result<Vec<Vec<Option<String>>>, StoreError> {
    let (place, backend) = (config.place(), backend(config));
    let failed = |cause| StoreError {
        backend,
        operation: "read",
        cause,
    };
    let work = async {
        match &config.server {
            Server::MySql(options) => ask(options.clone(), question).await,
            Server::Postgres(options) => ask(options.clone(), question).await,
            Server::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).read_only(true);
                ask(options, question).await
            }
        }
    };
    match timeout(config.timeout, work).await {
        Ok(Ok(rows)) => Ok(rows.into_iter().map(texts).collect()),
        Ok(Err(error)) => Err(failed(fault::words(&error, &place))),
        Err(_) => Err(failed(fault::silence(&place, config.timeout))),
    }
}

async fn ask<O>(options: O, question: &str) -> sqlx::Result<Vec<Vec<Cell>>>
where
    O: ConnectOptions<Connection: Driver + Sized>,
{
    let mut connection = options.disable_statement_logging().connect().await?;
    let rows = connection.rows(question.to_owned(), &[]).await?;
    connection.close().await.ok();
    Ok(rows)
}

fn texts(row: Vec<Cell>) -> Vec<Option<String>> {
    let text = |cell| match cell {
        Cell::Text(text) => Some(text),
        Cell::Number(number) => Some(number.to_string()),
        Cell::Nothing => None,
    };
    row.into_iter().map(text).collect()
}

fn backend(config: &SqlConfig) -> &'static str {
    match config.server {
        Server::MySql(_) => "mysql",
        Server::Postgres(_) => "postgres",
        Server::Sqlite(_) => "sqlite",
    }
}
