//! Where an import reads from: a file, a database, or variables. It knows no neighbour.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};

use crate::settings::Environment;
use credentials::files;

/// The first bytes of every SQLite file.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// What was named on the command line.
pub(super) enum Input {
    /// Nothing: the variables of the process.
    Variables(Environment),
    /// The contents of a text file.
    Text(String),
    /// A database's address.
    Database(String),
}

impl Input {
    /// Reads what `path` names, or the variables if it names nothing.
    pub(super) fn read(path: Option<&str>, env: Environment) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Variables(env));
        };
        if path == "-" {
            let mut text = String::new();
            let read = std::io::stdin()
                .take(files::SMALL)
                .read_to_string(&mut text);
            read.context("the standard input cannot be read")?;
            return Ok(Self::Text(text));
        }
        if path.contains("://") || path.starts_with("sqlite:") {
            return Ok(Self::Database(path.to_owned()));
        }
        let file = Path::new(path);
        if is_sqlite(file)? {
            return Ok(Self::Database(address_of(file)));
        }
        Ok(Self::Text(text_of(file)?))
    }

    /// The variables: those of the process, or those in a file of `NAME=VALUE` lines.
    pub(super) fn variables(&self) -> Option<Environment> {
        match self {
            Self::Variables(env) => Some(env.clone()),
            Self::Text(text) => Some(variables_in(text)),
            Self::Database(_) => None,
        }
    }
}

/// Reads a file of settings.
pub(super) fn text_of(file: &Path) -> anyhow::Result<String> {
    files::read_text(file, files::SMALL).map_err(|fault| anyhow!("{} {fault}", file.display()))
}

/// The address of a SQLite file.
pub(super) fn address_of(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}

fn is_sqlite(file: &Path) -> anyhow::Result<bool> {
    let mut opened = files::open(file).map_err(|fault| anyhow!("{} {fault}", file.display()))?;
    let mut first = [0; SQLITE.len()];
    let read = opened
        .read(&mut first)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(&first[..read] == SQLITE)
}

/// The variables of a file as `docker run --env-file` and shells read it. Other lines are left out,
/// as a value with line breaks has some.
fn variables_in(text: &str) -> Environment {
    let pair = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let (name, value) = line.split_once('=')?;
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        is_name.then(|| (name.to_owned(), unquoted(value.trim()).to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    value
}

/// The rows that `question` finds at `address`.
#[cfg(feature = "sql")]
pub(super) fn rows(
    address: &str,
    question: &'static str,
) -> anyhow::Result<Vec<Vec<Option<String>>>> {
    use credentials::store::sql;

    let config = sql::from_url(address).map_err(|fault| anyhow!("the database: {fault}"))?;
    Ok(crate::cli::runtime()?.block_on(sql::rows_of(&config, question))?)
}

/// Without the drivers no database can be read.
#[cfg(not(feature = "sql"))]
pub(super) fn rows(_: &str, _: &'static str) -> anyhow::Result<Vec<Vec<Option<String>>>> {
    bail!("this jsdkd was built without SQL, so it cannot read a database")
}

/// An error for an input that is none of the neighbour's.
pub(super) fn unreadable<T>(whose: &str, expected: &str) -> anyhow::Result<T> {
    bail!("this is nothing of {whose}; expected {expected}")
}
