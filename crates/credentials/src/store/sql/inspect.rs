//! What `jsdkd doctor` reports about a database: its version, its clock, and what its tables lack.
//! Nothing is changed.

use std::collections::HashMap;
use std::fmt;

use super::dialect::Dialect;
use super::foreign;
use super::install::columns_of;
use super::schema::{TABLES, Table};
use super::url::{Server, SqlConfig};
use crate::store::StoreError;
use clock::{Clock, UnixMillis};

/// What a database says about itself.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its version.
    pub version: String,
    /// Its clock, and ours at the same moment.
    pub clock: Option<[UnixMillis; 2]>,
    /// What is wrong with the tables.
    pub faults: Vec<TableFault>,
}

/// What is wrong with a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableFault {
    /// There is no such table.
    NoTable(&'static str),
    /// The table lacks a column.
    NoColumn(&'static str, &'static str),
    /// A column takes fewer characters than needed.
    TooShort {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// How many characters it takes.
        has: i64,
        /// How many it must take.
        needs: u32,
    },
    /// The table cannot be read, for this reason.
    Unreadable(&'static str, String),
}

impl fmt::Display for TableFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable(table) => write!(f, "the table {table} is missing"),
            Self::NoColumn(table, column) => write!(f, "the column {table}.{column} is missing"),
            Self::TooShort {
                table,
                column,
                has,
                needs,
            } => write!(
                f,
                "the column {table}.{column} takes {has} characters and must take {needs}"
            ),
            Self::Unreadable(table, cause) => {
                write!(f, "the table {table} cannot be read: {cause}")
            }
        }
    }
}

/// Asks the database of `config`. An error: it cannot be asked at all.
pub async fn inspect(config: &SqlConfig, ours: &Clock) -> Result<Inspection, StoreError> {
    let dialect = match &config.server {
        Server::MySql(_) => Dialect::MySql,
        Server::Postgres(_) => Dialect::Postgres,
        Server::Sqlite(_) => Dialect::Sqlite,
    };
    let version = match dialect {
        Dialect::MySql => "SELECT VERSION()",
        Dialect::Postgres => "SELECT current_setting('server_version')",
        Dialect::Sqlite => "SELECT sqlite_version()",
    };
    let version = one(foreign::ask_any(config, version).await?);
    let clock = foreign::ask_any(config, &dialect.say("SELECT {now}")).await?;
    let clock = one(clock).and_then(|now| now.parse().ok());
    let clock = clock.map(|theirs| [UnixMillis(theirs), ours.wall()]);
    let mut faults = Vec::new();
    for table in &TABLES {
        faults.extend(faults_of(config, dialect, table).await?);
    }
    Ok(Inspection {
        version: version.unwrap_or_default(),
        clock,
        faults,
    })
}

fn one(rows: Vec<Vec<Option<String>>>) -> Option<String> {
    rows.into_iter().next()?.into_iter().next()?
}

async fn faults_of(
    config: &SqlConfig,
    dialect: Dialect,
    table: &Table,
) -> Result<Vec<TableFault>, StoreError> {
    let question = columns_of(dialect).replace('?', &format!("'{}'", table.name));
    let found: HashMap<String, Option<i64>> = foreign::ask_any(config, &question)
        .await?
        .into_iter()
        .filter_map(|row| {
            let [name, length] = <[_; 2]>::try_from(row).ok()?;
            Some((name?, length.and_then(|length| length.parse().ok())))
        })
        .collect();
    if found.is_empty() {
        return Ok(vec![TableFault::NoTable(table.name)]);
    }
    let used = || table.columns.iter().filter(|column| column.kind.is_read());
    let faults: Vec<TableFault> = used()
        .filter_map(
            |column| match (found.get(column.name), column.kind.length()) {
                (None, _) => Some(TableFault::NoColumn(table.name, column.name)),
                (Some(Some(has)), Some(needs)) if *has < i64::from(needs) => {
                    Some(TableFault::TooShort {
                        table: table.name,
                        column: column.name,
                        has: *has,
                        needs,
                    })
                }
                _ => None,
            },
        )
        .collect();
    if !faults.is_empty() {
        return Ok(faults);
    }
    // An alias, because one of the columns has a reserved word for a name.
    let names: Vec<String> = used().map(|column| format!("t.{}", column.name)).collect();
    let question = format!(
        "SELECT {} FROM {} t WHERE 1 = 0",
        names.join(", "),
        table.name
    );
    let read = foreign::ask_any(config, &question).await;
    Ok(read
        .err()
        .map(|error| TableFault::Unreadable(table.name, error.cause))
        .into_iter()
        .collect())
}
