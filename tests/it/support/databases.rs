//! Real MariaDB and PostgreSQL servers. Tests that only need a database share one server of each
//! kind; a test that kills its server starts its own. Their time zone differs from ours. A shell
//! beside each server stops it and removes its data on drop, or when this process exits for any
//! reason.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::programs;
use super::redis::{free_port, make_certificates};

/// The password of the user `jsdkd`, who has all privileges.
pub(crate) const PASSWORD: &str = "sql-password-marker-77b0";

/// Runs the server. When standard input closes, it kills the server and its children as `kill -9`
/// does, and removes the data unless the server was stopped on purpose.
const KEEPER: &str = r#"set -m
"$@" </dev/null >server.log 2>&1 &
echo $! >server.pid
cat >/dev/null
kill -9 $(</proc/$!/task/$!/children) $!
wait
[[ -e stopped ]] || rm -rf "$PWD""#;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    MariaDb,
    Postgres,
}

/// One server.
pub(crate) struct DatabaseServer {
    kind: Kind,
    programs: PathBuf,
    dir: TempDir,
    port: u16,
    more: Vec<String>,
    process: Option<Child>,
}

/// A database on a server.
pub(crate) struct Database<'s> {
    server: &'s DatabaseServer,
    name: String,
}

/// A new database on the shared MariaDB; `None` with a notice if it is not installed.
pub(crate) fn mariadb() -> Option<Database<'static>> {
    static SHARED: OnceLock<Option<DatabaseServer>> = OnceLock::new();
    Some(
        SHARED
            .get_or_init(DatabaseServer::mariadb)
            .as_ref()?
            .database(),
    )
}

/// A new database on the shared PostgreSQL; `None` with a notice if it is not installed.
pub(crate) fn postgres() -> Option<Database<'static>> {
    static SHARED: OnceLock<Option<DatabaseServer>> = OnceLock::new();
    Some(
        SHARED
            .get_or_init(DatabaseServer::postgres)
            .as_ref()?
            .database(),
    )
}

impl DatabaseServer {
    /// Starts a separate MariaDB.
    pub(crate) fn mariadb() -> Option<Self> {
        Self::mariadb_with(|_| Vec::new())
    }

    /// Starts a MariaDB with TLS. Its certificate is for `localhost` and `127.0.0.1`, signed by
    /// [`DatabaseServer::ca`].
    pub(crate) fn mariadb_with_tls() -> Option<Self> {
        Self::mariadb_with(|dir| {
            make_certificates(dir);
            let file = |name: &str| dir.join(name).display().to_string();
            vec![
                format!("--ssl-cert={}", file("redis.crt")),
                format!("--ssl-key={}", file("redis.key")),
            ]
        })
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    fn mariadb_with(more: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let program = programs::require("mariadbd")?;
        let mut server = Self::prepare(
            Kind::MariaDb,
            program.parent().expect("a folder").to_owned(),
        );
        server.more = more(server.dir.path());
        finish(
            Command::new("cp")
                .arg("-r")
                .arg(empty_data()?)
                .arg(server.data()),
        );
        server.restart();
        let grant = format!(
            "CREATE USER jsdkd@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO jsdkd@'%'"
        );
        finish(server.client("mysql").arg(grant));
        Some(server)
    }

    /// Starts a separate PostgreSQL.
    pub(crate) fn postgres() -> Option<Self> {
        let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .map(|version| version.path())
            .collect();
        versions.sort();
        let folder = versions
            .into_iter()
            .rev()
            .map(|version| version.join("bin"))
            .find(|bin| bin.join("postgres").is_file());
        let folder =
            folder.or_else(|| Some(programs::require("postgres")?.parent()?.to_owned()))?;
        let mut server = Self::prepare(Kind::Postgres, folder);
        std::fs::write(server.dir.path().join("password"), PASSWORD).unwrap();
        server.give_away();
        let data = server.data().display().to_string();
        let password = format!("--pwfile={}", server.dir.path().join("password").display());
        let mut install = server.command("initdb");
        install.args([
            "--no-sync",
            "-D",
            &data,
            "-U",
            "jsdkd",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            &password,
        ]);
        finish(&mut install);
        server.restart();
        Some(server)
    }

    fn prepare(kind: Kind, programs: PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            kind,
            programs,
            dir,
            port: free_port(),
            more: Vec::new(),
            process: None,
        }
    }

    /// PostgreSQL refuses to run as root.
    fn give_away(&self) {
        if is_root() {
            let id = |flag: &str| {
                let output = Command::new("id")
                    .args([flag, "postgres"])
                    .output()
                    .unwrap();
                String::from_utf8(output.stdout)
                    .unwrap()
                    .trim()
                    .parse()
                    .expect("Debian's package made the user postgres")
            };
            let (user, group) = (id("-u"), id("-g"));
            chown(self.dir.path(), Some(user), Some(group)).unwrap();
            chown(self.dir.path().join("password"), Some(user), Some(group)).unwrap();
        }
    }

    /// One of PostgreSQL's programs, run as a user that may.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = Command::new(if is_root() {
            Path::new("setpriv")
        } else {
            &program
        });
        if is_root() {
            command
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
                .arg(program);
        }
        command.current_dir(self.dir.path());
        command
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts it again with the same port and data, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let (data, here, port) = (
            self.data().display().to_string(),
            self.dir.path().display().to_string(),
            self.port.to_string(),
        );
        let server = match self.kind {
            Kind::MariaDb => {
                let mut server = Command::new(self.programs.join("mariadbd"));
                server.args([
                    "--no-defaults",
                    "--skip-log-bin",
                    "--bind-address=127.0.0.1",
                    "--default-time-zone=+08:00",
                ]);
                server.args([
                    "--innodb-buffer-pool-size=24M",
                    "--innodb-log-file-size=8M",
                    "--innodb-flush-log-at-trx-commit=2",
                ]);
                server.args([
                    format!("--datadir={data}"),
                    format!("--tmpdir={here}"),
                    format!("--socket={here}/socket"),
                    format!("--port={port}"),
                ]);
                server.args(&self.more);
                if is_root() {
                    server.arg("--user=root");
                }
                server
            }
            Kind::Postgres => {
                let mut server = self.command("postgres");
                server.args([
                    "-D",
                    &data,
                    "-p",
                    &port,
                    "-k",
                    &here,
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    "fsync=off",
                ]);
                server.args(["-c", "timezone=Asia/Shanghai"]);
                // Left by a killed server; another process may have its number by now.
                std::fs::remove_file(self.data().join("postmaster.pid")).ok();
                server
            }
        };
        let mut keeper = Command::new("bash");
        std::fs::remove_file(self.dir.path().join("stopped")).ok();
        keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(server.get_program())
            .args(server.get_args())
            .current_dir(self.dir.path());
        self.process = Some(
            keeper
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("a shell"),
        );
        let end = Instant::now() + Duration::from_secs(30);
        while !self
            .client("")
            .arg("SELECT 1")
            .output()
            .expect("the client is installed")
            .status
            .success()
        {
            let log =
                || std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default();
            assert!(
                Instant::now() < end,
                "the server does not answer: {}",
                log()
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            std::fs::write(self.dir.path().join("stopped"), "").unwrap();
            drop(process.stdin.take());
            process.wait().unwrap();
        }
    }

    /// Makes it hang: the system accepts connections, and nothing answers. Only for MariaDB, which
    /// is one process.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Ends [`DatabaseServer::pause`].
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let id = std::fs::read_to_string(self.dir.path().join("server.pid")).expect("it runs");
        assert!(
            Command::new("bash")
                .arg("-c")
                .arg(format!("kill -s {signal} {id}"))
                .status()
                .unwrap()
                .success()
        );
    }

    /// A client that runs the statement in its last argument.
    fn client(&self, database: &str) -> Command {
        match self.kind {
            Kind::MariaDb => {
                let mut client = Command::new("mariadb");
                client.args([
                    "--no-defaults",
                    "-N",
                    "-B",
                    "-r",
                    "-u",
                    "root",
                    "--default-character-set=utf8mb4",
                    "-S",
                ]);
                client
                    .arg(self.dir.path().join("socket"))
                    .arg(format!("--database={database}"))
                    .arg("-e");
                client
            }
            Kind::Postgres => {
                let mut client = Command::new("psql");
                let database = if database.is_empty() {
                    "postgres"
                } else {
                    database
                };
                client.env("PGPASSWORD", PASSWORD).args([
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "jsdkd",
                    "-At",
                    "-v",
                    "ON_ERROR_STOP=1",
                ]);
                client.args(["-p", &self.port.to_string(), "-d", database, "-c"]);
                client
            }
        }
    }

    /// Creates a database.
    pub(crate) fn database(&self) -> Database<'_> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        finish(self.client("").arg(format!("CREATE DATABASE {name}")));
        Database { server: self, name }
    }
}

/// An open session of MariaDB's client.
pub(crate) struct OpenSession(Child);

impl Drop for OpenSession {
    fn drop(&mut self) {
        // The server rolls back what the session has not committed, and releases its locks.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Database<'_> {
    /// The URL for `cache.sql`.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.server.kind == Kind::MariaDb {
            "mysql"
        } else {
            "postgres"
        };
        format!(
            "{scheme}://jsdkd:{PASSWORD}@127.0.0.1:{}/{}",
            self.server.port, self.name
        )
    }

    /// Runs statements in a separate session and returns their output.
    #[track_caller]
    pub(crate) fn sql(&self, statements: &str) -> String {
        finish(self.server.client(&self.name).arg(statements))
            .trim_end()
            .to_owned()
    }

    /// Runs statements, one of which must print a line, and holds their locks until the session is
    /// dropped. Only with MariaDB's client.
    pub(crate) fn session(&self, statements: &str) -> OpenSession {
        let mut client = Command::new("mariadb");
        client
            .args([
                "--no-defaults",
                "-N",
                "-B",
                "-u",
                "root",
                "--unbuffered",
                "-S",
            ])
            .arg(self.server.dir.path().join("socket"));
        let mut client = client
            .arg(&self.name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client is installed");
        let mut input = client.stdin.as_ref().expect("a pipe");
        writeln!(input, "{statements}").expect("the client reads");
        let mut line = String::new();
        BufReader::new(client.stdout.as_mut().expect("a pipe"))
            .read_line(&mut line)
            .expect("the client prints");
        assert!(!line.is_empty(), "it locked nothing: {statements}");
        OpenSession(client)
    }
}

/// The data of a new MariaDB, created once and copied for each, because creating it takes seconds.
fn empty_data() -> Option<PathBuf> {
    static EMPTY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let installer = programs::require("mariadb-install-db")?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mariadb");
        let unfinished = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        if folder.exists() {
            return Some(folder);
        }
        let option = |name: &str, folder: &Path| format!("--{name}={}", folder.display());
        let mut install = Command::new(installer);
        install.args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=8M",
        ]);
        install.args([
            option("datadir", &unfinished.path().join("data")),
            option("tmpdir", unfinished.path()),
        ]);
        if is_root() {
            install.arg("--user=root");
        }
        finish(&mut install);
        // Another test run may have been faster.
        let renamed = std::fs::rename(unfinished.path().join("data"), &folder);
        assert!(renamed.is_ok() || folder.exists(), "{renamed:?}");
        Some(folder)
    };
    EMPTY.get_or_init(make).clone()
}

fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| {
        Command::new("id")
            .arg("-u")
            .output()
            .is_ok_and(|output| output.stdout == b"0\n")
    })
}

#[track_caller]
fn finish(command: &mut Command) -> String {
    let output = command.output().expect("the program is installed");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
