//! `jsdkd install`: creates missing tables, checks existing ones, and widens columns that are too
//! short. It can be repeated and never removes anything.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::Error;
use tokio::time::timeout;

use super::dialect::Dialect;
use super::driver::Arg::Text;
use super::fault;
use super::schema::{TABLES, Table};
use super::session::{Database, Session};
use super::url::{Server, SqlConfig};
use crate::store::StoreError;
use clock::Clock;

/// The bound on one change of a table, which may have to wait for those who use it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Creates and mends the tables; `tell` is called with a message for each step.
pub async fn install(
    config: &SqlConfig,
    clock: &Clock,
    mut tell: impl FnMut(String),
) -> Result<(), StoreError> {
    let (database, place) = (Database::new(config, clock), config.place());
    let failed = |cause: String| StoreError {
        backend: database.dialect().name(),
        operation: "install",
        cause,
    };
    if let Server::Sqlite(path) = &config.server
        && make_file(path).map_err(|error| failed(format!("{place} cannot be written: {error}")))?
    {
        tell(format!("made the file {}", path.display()));
    }
    let session = timeout(config.timeout, database.session())
        .await
        .unwrap_or_else(|_| Err(timed_out(config.timeout)));
    let mut session = session.map_err(|error| failed(explained(&error, &place)))?;
    let mut faults = Vec::new();
    for table in &TABLES {
        let found = columns(&mut session, table)
            .await
            .map_err(|error| failed(explained(&error, &place)))?;
        let work = async {
            if found.is_empty() {
                create(&mut session, table).await?;
                tell(format!("created the table {}", table.name));
                return Ok(());
            }
            mend(&mut session, table, &found, &mut tell, &mut faults).await
        };
        let done = timeout(PATIENCE, work)
            .await
            .unwrap_or_else(|_| Err(timed_out(PATIENCE)));
        done.map_err(|error| failed(format!("{}: {}", table.name, explained(&error, &place))))?;
    }
    session.keep();
    timeout(config.timeout, database.close()).await.ok();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(failed(faults.join("; ")))
    }
}

/// Only its owner may read what will hold secrets. `true`: it was not there.
fn make_file(path: &Path) -> std::io::Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map(|_| true)
}

async fn create(session: &mut Session, table: &Table) -> Result<(), Error> {
    for statement in table.creation(session.dialect()) {
        session.execute_said(statement, &[]).await?;
    }
    Ok(())
}

/// The columns of a table that is there, in lower case, each with the characters that it takes;
/// `None`: without a bound.
async fn columns(
    session: &mut Session,
    table: &Table,
) -> Result<HashMap<String, Option<i64>>, Error> {
    let question = columns_of(session.dialect());
    let rows = session.rows(question, &[Text(table.name)]).await?;
    let named = rows
        .into_iter()
        .filter_map(|row| <[_; 2]>::try_from(row).ok());
    Ok(named
        .filter_map(|[name, length]| Some((name.text()?, length.number())))
        .collect())
}

/// The question for the columns of the table `?`, in lower case, each with the characters that it
/// takes.
pub(super) fn columns_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => {
            "SELECT LOWER(column_name), CAST(character_maximum_length AS SIGNED) FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = ?"
        }
        Dialect::Postgres => {
            "SELECT CAST(column_name AS TEXT), CAST(character_maximum_length AS BIGINT) FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = ?"
        }
        // SQLite stores a length and does not enforce it.
        Dialect::Sqlite => "SELECT LOWER(name), NULL FROM pragma_table_info(?)",
    }
}

/// Looks at a table that is there.
async fn mend(
    session: &mut Session,
    table: &Table,
    found: &HashMap<String, Option<i64>>,
    tell: &mut impl FnMut(String),
    faults: &mut Vec<String>,
) -> Result<(), Error> {
    let mut is_good = true;
    for column in table.columns {
        let place = format!("{}.{}", table.name, column.name);
        let length = match (found.get(column.name), column.kind.length()) {
            (Some(has), Some(wanted)) => has
                .filter(|has| *has < i64::from(wanted))
                .map(|has| (has, wanted)),
            (None, _) if column.kind.is_read() => {
                is_good = false;
                faults.push(format!(
                    "{place} is missing: this table is not wetoken's or jsdkd's"
                ));
                None
            }
            _ => None,
        };
        let Some((has, wanted)) = length else {
            continue;
        };
        is_good = false;
        if widen(session, table.name, column.name, wanted).await? {
            tell(format!("widened {place} from {has} to {wanted} characters"));
        } else {
            faults.push(format!(
                "{place} takes {has} characters and must take {wanted}: change it by hand"
            ));
        }
    }
    if is_good {
        tell(format!("found the table {}, and it is good", table.name));
    }
    Ok(())
}

/// Makes the column accept `length` characters. Returns `false` if its type has no length.
async fn widen(
    session: &mut Session,
    table: &str,
    column: &str,
    length: u32,
) -> Result<bool, Error> {
    let change = match session.dialect() {
        Dialect::MySql => {
            let row = session
                .row(&format!("SHOW CREATE TABLE {table}"), &[])
                .await?;
            let written = row.and_then(|[_, text]| text.text()).unwrap_or_default();
            let Some(definition) = widened(&written, column, length) else {
                return Ok(false);
            };
            format!("ALTER TABLE {table} MODIFY COLUMN {definition}")
        }
        Dialect::Postgres => {
            format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE VARCHAR({length})")
        }
        Dialect::Sqlite => return Ok(true),
    };
    session.execute_said(change, &[]).await?;
    Ok(true)
}

/// The column as the table's own text defines it, with another length: MySQL forgets the comment,
/// the character set and the default of a column that is modified without repeating them.
fn widened(table: &str, column: &str, length: u32) -> Option<String> {
    let start = format!("`{column}` varchar(");
    let line = table
        .lines()
        .map(str::trim_start)
        .find(|line| line.to_ascii_lowercase().starts_with(&start))?;
    let (_, rest) = line[start.len()..].split_once(')')?;
    Some(format!(
        "`{column}` varchar({length}){}",
        rest.trim_end().trim_end_matches(',')
    ))
}

fn timed_out(bound: Duration) -> Error {
    Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("no answer within {}", humantime::format_duration(bound)),
    ))
}

/// No statement here contains a value, so the database's own message may be shown.
fn explained(error: &Error, place: &str) -> String {
    let words = fault::words(error, place);
    error.as_database_error().map_or_else(
        || words.clone(),
        |said| format!("{words} ({})", said.message()),
    )
}

#[cfg(test)]
mod tests {
    use super::widened;

    #[test]
    fn a_widened_column_keeps_its_attributes() {
        let table = "CREATE TABLE `t` (\n  `appid` varchar(64) NOT NULL,\n  `secret` varchar(32) CHARACTER SET utf8 NOT NULL \
                     DEFAULT '' COMMENT 'a, (b)',\n  PRIMARY KEY (`appid`)\n) ENGINE=InnoDB";
        let secret =
            "`secret` varchar(128) CHARACTER SET utf8 NOT NULL DEFAULT '' COMMENT 'a, (b)'";
        assert_eq!(widened(table, "secret", 128).as_deref(), Some(secret));
        assert_eq!(widened(table, "absent", 128), None);
    }
}
