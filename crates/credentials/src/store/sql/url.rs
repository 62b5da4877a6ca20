//! What an address of a database means: `mysql://`, `postgres://` or `sqlite://`, with the choices
//! that its query holds. It opens no connection. A fault never quotes the address, which may hold a
//! password.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::files::{self, FileError};

const EXPECTED: &str = "expected mysql://USER:PASSWORD@host/DATABASE, postgres://USER:PASSWORD@host/DATABASE or sqlite:///path/of/a/file.db";

/// What a query may hold, beside `timeout`; the drivers' other choices are ours or would be taken
/// in silence.
const MYSQL: [&str; 10] = [
    "ssl-mode",
    "sslmode",
    "ssl-ca",
    "sslca",
    "ssl-cert",
    "sslcert",
    "ssl-key",
    "sslkey",
    "socket",
    "statement-cache-capacity",
];
const POSTGRES: [&str; 12] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "options",
    "statement-cache-capacity",
];

/// How to reach a database.
#[derive(Clone)]
pub struct SqlConfig {
    pub(super) server: Server,
    /// Bound on every call, connecting included.
    pub timeout: Duration,
}

/// One of the three kinds.
#[derive(Clone)]
pub(super) enum Server {
    MySql(MySqlConnectOptions),
    Postgres(PgConnectOptions),
    Sqlite(PathBuf),
}

impl SqlConfig {
    /// With that password instead of the address's.
    pub fn with_password(self, password: &SecretString) -> Self {
        let server = match self.server {
            Server::MySql(options) => Server::MySql(options.password(password.expose_secret())),
            Server::Postgres(options) => {
                Server::Postgres(options.password(password.expose_secret()))
            }
            file @ Server::Sqlite(_) => file,
        };
        Self { server, ..self }
    }

    /// The server's address in words, without user or password.
    pub(super) fn place(&self) -> String {
        match &self.server {
            Server::MySql(options) => match options.get_socket() {
                Some(path) => format!("mysql at {}", path.display()),
                None => format!("mysql at {}:{}", options.get_host(), options.get_port()),
            },
            Server::Postgres(options) => match options.get_socket() {
                Some(path) => format!("postgres at {}", path.display()),
                None => format!("postgres at {}:{}", options.get_host(), options.get_port()),
            },
            Server::Sqlite(path) => format!("sqlite at {}", path.display()),
        }
    }
}

/// The drivers' options would show the password.
impl fmt::Debug for SqlConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlConfig")
            .field("place", &self.place())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Reads an address.
pub fn from_url(text: &str) -> Result<SqlConfig, String> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("sqlite:") {
        return file(rest.strip_prefix("//").unwrap_or(rest));
    }
    let mut url: Url = text
        .parse()
        .map_err(|_| format!("{EXPECTED}; other characters in a password are percent-encoded"))?;
    let is_mysql = match url.scheme() {
        "mysql" | "mariadb" => true,
        "postgres" | "postgresql" => false,
        _ => return Err(EXPECTED.to_owned()),
    };
    if url.fragment().is_some() {
        return Err("a # in a user or password must be percent-encoded (%23)".to_owned());
    }
    if url.path().trim_matches('/').is_empty() {
        return Err("expected the name of a database after the host".to_owned());
    }
    let timeout = take_timeout(&mut url)?;
    check_query(&url, if is_mysql { &MYSQL } else { &POSTGRES })?;
    check_files(&url)?;
    if !url
        .query_pairs()
        .any(|(key, _)| key == "socket" || key == "host")
        && url.host_str().is_none_or(str::is_empty)
    {
        return Err("expected a host before the name of the database".to_owned());
    }
    let wrong = |_| {
        "an option after the question mark, or the percent-encoding, is not understood".to_owned()
    };
    let server = if is_mysql {
        Server::MySql(MySqlConnectOptions::from_url(&url).map_err(wrong)?)
    } else {
        Server::Postgres(PgConnectOptions::from_url(&url).map_err(wrong)?)
    };
    Ok(SqlConfig { server, timeout })
}

/// The drivers would wait for a FIFO and read a device without end. They report missing files
/// themselves.
fn check_files(url: &Url) -> Result<(), String> {
    const FILES: [&str; 8] = [
        "ssl-ca",
        "sslca",
        "ssl-cert",
        "sslcert",
        "ssl-key",
        "sslkey",
        "sslrootcert",
        "ssl-root-cert",
    ];
    for (key, value) in url
        .query_pairs()
        .filter(|(key, _)| FILES.contains(&key.as_ref()))
    {
        match files::read(Path::new(value.as_ref()), files::SMALL) {
            Ok(_) | Err(FileError::Io(_)) => {}
            Err(error) => return Err(format!("the file of `{key}` {error}")),
        }
    }
    Ok(())
}

/// What may bound a call.
pub const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// The bound, as an address has it.
fn timeout(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text)
        .ok()
        .filter(|span| TIMEOUTS.contains(span));
    span.ok_or_else(|| "timeout: expected a time from 100ms to 1m, such as \"5s\"".to_owned())
}

const TIMEOUT: Duration = Duration::from_secs(5);

/// A path, relative or from the root, and at most a `timeout`.
fn file(rest: &str) -> Result<SqlConfig, String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| "the percent-encoding is not UTF-8".to_owned())?;
    if path.is_empty() || path.ends_with('/') {
        return Err("expected a file, as in sqlite:///var/lib/jsdkd/jsdkd.db".to_owned());
    }
    if path.contains(":memory:") {
        return Err("a database in memory ends with its connection: use memo instead".to_owned());
    }
    let mut bound = TIMEOUT;
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match (key.as_ref(), value.as_ref()) {
            ("timeout", text) => bound = timeout(text)?,
            // Other programs write it so; here `jsdkd install` makes the file.
            ("mode", "rw" | "rwc") => {}
            _ => {
                return Err(
                    "an option after the question mark is unknown; known is timeout".to_owned(),
                );
            }
        }
    }
    Ok(SqlConfig {
        server: Server::Sqlite(PathBuf::from(path.as_ref())),
        timeout: bound,
    })
}

fn take_timeout(url: &mut Url) -> Result<Duration, String> {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let Some((_, text)) = pairs.iter().find(|(key, _)| key == "timeout") else {
        return Ok(TIMEOUT);
    };
    let bound = timeout(text)?;
    url.query_pairs_mut()
        .clear()
        .extend_pairs(pairs.iter().filter(|(key, _)| key != "timeout"));
    Ok(bound)
}

/// An unknown key might be a piece of a password that was not encoded, so it is not repeated.
fn check_query(url: &Url, known: &[&str]) -> Result<(), String> {
    let is_known = |key: &str| known.contains(&key);
    if url.query_pairs().all(|(key, _)| is_known(&key)) {
        return Ok(());
    }
    Err(format!(
        "an option after the question mark is unknown; known are timeout, {}",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(url: &str) -> String {
        from_url(url).map_or_else(|fault| fault, |config| config.place())
    }

    #[test]
    fn each_kind_of_url_is_parsed() {
        assert_eq!(
            place("mysql://u:p@db.example.com/wetoken"),
            "mysql at db.example.com:3306"
        );
        assert_eq!(
            place("mariadb://u:p@[::1]:3307/wetoken?ssl-mode=VERIFY_IDENTITY"),
            "mysql at [::1]:3307"
        );
        assert_eq!(
            place("mysql://u@localhost/wetoken?socket=/run/mysqld.sock"),
            "mysql at /run/mysqld.sock"
        );
        assert_eq!(
            place("postgresql://u:p%40ss@10.0.0.1/wx?sslmode=verify-full"),
            "postgres at 10.0.0.1:5432"
        );
        assert_eq!(
            place("sqlite:///var/lib/jsdkd.db"),
            "sqlite at /var/lib/jsdkd.db"
        );
        assert_eq!(place("sqlite:a%20b.db?mode=rwc"), "sqlite at a b.db");
    }

    #[test]
    fn the_timeout_can_be_set() {
        let bound = |url| from_url(url).map(|config| config.timeout);
        assert_eq!(bound("mysql://u@h/d"), Ok(Duration::from_secs(5)));
        assert_eq!(
            bound("mysql://u@h/d?timeout=800ms&ssl-mode=DISABLED"),
            Ok(Duration::from_millis(800))
        );
        assert_eq!(bound("sqlite:a.db?timeout=2s"), Ok(Duration::from_secs(2)));
        assert!(
            bound("postgres://u@h/d?timeout=2h").is_err()
                && bound("sqlite:a.db?timeout=2").is_err()
        );
    }

    #[test]
    fn invalid_urls_are_faults() {
        for bad in [
            "",
            "mysql://u:p@h",
            "mysql://u:p@h/",
            "mysql:///d",
            "mysql://u:p#q@h/d",
            "oracle://u:p@h/d",
            "root:pw@tcp(127.0.0.1:3306)/wetoken",
            "mysql://u@h/d?time-zone=%2B00:00",
            "mysql://u@h/d?ssl-mode=MARKER",
            "postgres://u@h/d?MARKER=1",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:///folder/",
            "sqlite:a.db?MARKER=1",
        ] {
            let fault = from_url(bad).expect_err(bad);
            assert!(
                !fault.contains("MARKER") && fault.len() > 10,
                "{bad}: {fault}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_password_is_never_shown(secret in "[A-Z]{12}", junk in "\\PC{0,8}") {
            for url in [format!("mysql://u:{secret}@h{junk}/d"), format!("postgres://u:{junk}{secret}@h/d"), format!("mysql://u@h/d?{secret}={junk}")] {
                let shown = format!("{:?}", from_url(&url));
                prop_assert!(!shown.contains(&secret), "{}", shown);
            }
        }
    }
}
