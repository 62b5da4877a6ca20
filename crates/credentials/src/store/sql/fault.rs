//! What a fault of a database means, in words that say what to do. The words never quote what the
//! database said, since it quotes the values it was given, and never hold a password or an
//! address's query.

use sqlx::Error;
use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

/// What the codes of the three databases have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    NoTable,
    NoColumn,
    TooLong,
    Characters,
    Identity,
    NotAllowed,
    NoDatabase,
    NoFile,
    Crowded,
    ReadOnly,
    Full,
    Starting,
    Locked,
    Damaged,
    Other,
}

/// `place` is the server's address in words.
pub(super) fn words(error: &Error, place: &str) -> String {
    match error {
        Error::Database(error) => match trouble(error.as_ref()) {
            Trouble::Other => {
                let code = error.code().unwrap_or_default();
                format!(
                    "{place} refused the statement with the code {code}; its own log has the words"
                )
            }
            trouble => told(trouble, place),
        },
        Error::Io(error) => format!("{place} cannot be reached: {error}"),
        Error::Tls(error) => format!("no TLS with {place}: {error}"),
        // Once the address is read, the driver has one such complaint: a password of that kind is
        // sent only through TLS.
        Error::Configuration(_) => {
            format!("{place} takes this user's password only through TLS: add ssl-mode=required")
        }
        Error::PoolClosed => "the store is closed".to_owned(),
        Error::WorkerCrashed => format!("{place} was given up by its driver"),
        _ => format!("{place} gave an answer that is not understood"),
    }
}

/// The words for a call that took too long.
pub(super) fn silence(place: &str, timeout: std::time::Duration) -> String {
    format!(
        "{place} did not answer within {}",
        humantime::format_duration(timeout)
    )
}

/// Whether somebody else wrote a row of that key a moment before.
pub(super) fn is_duplicate(error: &Error) -> bool {
    error
        .as_database_error()
        .is_some_and(DatabaseError::is_unique_violation)
}

/// Whether two statements stood in each other's way and the database undid this one: it may simply
/// be said again.
pub(super) fn is_collision(error: &Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    // A deadlock or a serialization failure; the last is SQLite's, for a snapshot that has grown
    // old.
    code.is_some_and(|code| matches!(code.as_ref(), "40001" | "40P01" | "517"))
}

fn told(trouble: Trouble, place: &str) -> String {
    match trouble {
        Trouble::NoTable => format!("{place} lacks a table: run `jsdkd install`"),
        Trouble::NoColumn => {
            format!("a table at {place} lacks a column: run `jsdkd install`, which says which one")
        }
        Trouble::TooLong => format!(
            "a column at {place} is too short for the value: run `jsdkd install`, which widens it"
        ),
        Trouble::Characters => format!(
            "a column at {place} cannot hold the value's characters: change its character set"
        ),
        Trouble::Identity => format!("{place} refused the user or the password"),
        Trouble::NotAllowed => {
            format!(
                "the user may not do this at {place}: grant SELECT, INSERT, UPDATE and DELETE; for `jsdkd install` CREATE and ALTER too"
            )
        }
        Trouble::NoDatabase => {
            format!("there is no database of that name at {place}: create it first")
        }
        Trouble::NoFile => {
            format!(
                "{place} cannot be opened: run `jsdkd install`, which makes the file; its folder must be writable"
            )
        }
        Trouble::Crowded => format!("{place} has too many connections already"),
        Trouble::ReadOnly => format!(
            "{place} is read-only: name the primary, or make the file and its folder writable"
        ),
        Trouble::Full => format!("{place} has no space left"),
        Trouble::Starting => format!("{place} is starting or stopping"),
        Trouble::Locked => format!("{place} is locked by another process"),
        Trouble::Damaged => format!("{place} is damaged or not a database"),
        Trouble::Other => format!("{place} refused the statement"),
    }
}

fn trouble(error: &dyn DatabaseError) -> Trouble {
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return mysql(error.number());
    }
    let code = error.code().unwrap_or_default();
    if error
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some()
    {
        sqlite(&code, error.message())
    } else {
        postgres(&code)
    }
}

fn mysql(number: u16) -> Trouble {
    match number {
        1146 => Trouble::NoTable,
        1054 => Trouble::NoColumn,
        1406 => Trouble::TooLong,
        1366 => Trouble::Characters,
        1045 | 1698 => Trouble::Identity,
        1044 | 1142 | 1143 | 1227 => Trouble::NotAllowed,
        1049 => Trouble::NoDatabase,
        1040 | 1203 | 1226 => Trouble::Crowded,
        1290 | 1792 | 1836 => Trouble::ReadOnly,
        1021 | 1114 => Trouble::Full,
        1053 | 1927 => Trouble::Starting,
        1205 => Trouble::Locked,
        _ => Trouble::Other,
    }
}

/// By SQLSTATE.
fn postgres(code: &str) -> Trouble {
    match code {
        "42P01" => Trouble::NoTable,
        "42703" => Trouble::NoColumn,
        "22001" => Trouble::TooLong,
        "22021" | "22P05" => Trouble::Characters,
        "28P01" | "28000" => Trouble::Identity,
        "42501" => Trouble::NotAllowed,
        "3D000" => Trouble::NoDatabase,
        "53300" => Trouble::Crowded,
        "25006" => Trouble::ReadOnly,
        "53100" => Trouble::Full,
        "57P01" | "57P02" | "57P03" => Trouble::Starting,
        "55P03" => Trouble::Locked,
        _ => Trouble::Other,
    }
}

/// Classifies by the result code, whose lowest byte is the primary code; a missing table has no
/// code.
fn sqlite(code: &str, message: &str) -> Trouble {
    match code.parse::<u32>().unwrap_or_default() & 0xff {
        1 if message.starts_with("no such table") => Trouble::NoTable,
        1 if message.contains("no column named") || message.starts_with("no such column") => {
            Trouble::NoColumn
        }
        5 | 6 => Trouble::Locked,
        8 => Trouble::ReadOnly,
        11 | 26 => Trouble::Damaged,
        13 => Trouble::Full,
        14 => Trouble::NoFile,
        _ => Trouble::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_the_installer_fixes_name_it() {
        for trouble in [
            mysql(1146),
            mysql(1406),
            mysql(1054),
            postgres("42P01"),
            postgres("22001"),
            sqlite("1", "no such table: x"),
        ] {
            assert!(
                told(trouble, "here").contains("run `jsdkd install`"),
                "{trouble:?}"
            );
        }
    }

    #[test]
    fn extended_sqlite_codes_map_to_their_primary_code() {
        assert_eq!(
            (sqlite("1032", ""), sqlite("14", ""), sqlite("1", "")),
            (Trouble::ReadOnly, Trouble::NoFile, Trouble::Other)
        );
    }
}
