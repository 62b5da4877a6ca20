//! One statement on one connection, in the same way for all three databases.

use secrecy::SecretString;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, MySql, Postgres, Row, Sqlite};

/// The value for a question mark.
#[derive(Clone, Copy)]
pub(super) enum Arg<'a> {
    Text(&'a str),
    Number(i64),
    Nothing,
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Nothing, Self::Text)
    }
}

/// One value of a row.
pub(super) enum Cell {
    Text(String),
    Number(i64),
    Nothing,
}

impl Cell {
    pub(super) fn number(self) -> Option<i64> {
        if let Self::Number(number) = self {
            Some(number)
        } else {
            None
        }
    }

    pub(super) fn text(self) -> Option<String> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    pub(super) fn secret(self) -> Option<SecretString> {
        self.text().map(SecretString::from)
    }
}

/// A connection that runs statements.
pub(super) trait Driver: Connection + 'static {
    /// Executes the statement and returns how many rows matched, including rows that did not
    /// change.
    fn execute(
        &mut self,
        statement: String,
        args: &[Arg<'_>],
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Runs it and returns the rows.
    fn rows(
        &mut self,
        statement: String,
        args: &[Arg<'_>],
    ) -> impl Future<Output = sqlx::Result<Vec<Vec<Cell>>>> + Send;
}

/// The statement's text is ours; whatever comes from outside is an argument.
macro_rules! query {
    ($database:ty, $statement:expr, $args:expr) => {
        $args.iter().fold(
            sqlx::query::<$database>(AssertSqlSafe($statement)),
            |query, arg| match arg {
                Arg::Text(text) => query.bind((*text).to_owned()),
                Arg::Number(number) => query.bind(*number),
                Arg::Nothing => query.bind(None::<String>),
            },
        )
    };
}
macro_rules! driver {
    ($connection:ty, $database:ty, $row:ty) => {
        impl Driver for $connection {
            async fn execute(&mut self, statement: String, args: &[Arg<'_>]) -> sqlx::Result<u64> {
                Ok(query!($database, statement, args)
                    .execute(self)
                    .await?
                    .rows_affected())
            }

            async fn rows(
                &mut self,
                statement: String,
                args: &[Arg<'_>],
            ) -> sqlx::Result<Vec<Vec<Cell>>> {
                let rows: Vec<$row> = query!($database, statement, args).fetch_all(self).await?;
                let cell = |row: &$row, index: usize| match row.try_get::<Option<i64>, _>(index) {
                    Ok(number) => Ok(number.map_or(Cell::Nothing, Cell::Number)),
                    Err(_) => Ok(row
                        .try_get::<Option<String>, _>(index)?
                        .map_or(Cell::Nothing, Cell::Text)),
                };
                rows.iter()
                    .map(|row| (0..row.len()).map(|index| cell(row, index)).collect())
                    .collect()
            }
        }
    };
}

driver!(MySqlConnection, MySql, MySqlRow);
driver!(PgConnection, Postgres, PgRow);
driver!(SqliteConnection, Sqlite, SqliteRow);
