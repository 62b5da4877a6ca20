//! Real Redis servers: single, with sentinels, as a cluster. Each has a temporary directory and is
//! killed on drop.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::faketime::WallClock;

/// The folder of a server's persistent data.
const JOURNAL: &str = "appendonlydir";

/// A port that was free a moment ago. It is below the range for outgoing connections and below
/// 55536, so that a cluster's second port (ten thousand higher) is valid too.
pub(crate) fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 11_000 + (std::process::id() as u16 % 180) * 50 + step % 1_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
            && std::net::TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok()
        {
            return port;
        }
    }
}

/// A process of Redis or of a sentinel; its configuration survives a restart.
pub(crate) struct RedisServer {
    dir: TempDir,
    port: u16,
    sentinel: bool,
    args: Vec<String>,
    tool: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// A plain server.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// A server with more arguments; `{dir}` in them is its directory.
    pub(crate) fn with(args: &[&str]) -> Self {
        Self::prepare(args, false).started()
    }

    /// A server with a password, which `redis-cli` uses too.
    pub(crate) fn with_password(password: &str) -> Self {
        let mut server = Self::prepare(&["--requirepass", password], false);
        server.tool = tool_password(password);
        server.started()
    }

    /// A server that also listens at [`RedisServer::socket`].
    pub(crate) fn with_socket() -> Self {
        Self::with(&["--unixsocket", "{dir}/redis.sock"])
    }

    /// A server that only accepts TLS, with a certificate for `localhost` and `127.0.0.1` signed by
    /// [`RedisServer::ca`].
    pub(crate) fn with_tls() -> Self {
        Self::with_tls_for(OUR_NAMES, false)
    }

    /// Like [`RedisServer::with_tls`], with a certificate for other names. `strict` requires a
    /// client certificate.
    pub(crate) fn with_tls_for(names: &str, strict: bool) -> Self {
        let mut server = Self::prepare(&[], false);
        make_certificates_for(server.dir.path(), names);
        let file = |name: &str| server.dir.path().join(name).display().to_string();
        let (port, ca, cert, key) = (
            server.port.to_string(),
            file("ca.crt"),
            file("redis.crt"),
            file("redis.key"),
        );
        let tls = [
            "--port",
            "0",
            "--tls-port",
            &port,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            if strict { "yes" } else { "no" },
        ];
        let more = ["--tls-ca-cert-file", &ca];
        let tool = [
            "--tls",
            "--insecure",
            "--cacert",
            &ca,
            "--cert",
            &cert,
            "--key",
            &key,
        ]
        .map(str::to_owned)
        .to_vec();
        server.args = tls
            .iter()
            .chain(&more)
            .map(|arg| (*arg).to_owned())
            .collect();
        server.tool = tool;
        server.started()
    }

    /// A sentinel that watches the master at `port` as `mymaster`, decides alone and fails over
    /// quickly.
    pub(crate) fn sentinel_of(port: u16) -> Self {
        Self::sentinel_with(port, None, None)
    }

    /// A sentinel whose master has a password, which the sentinel requires as well.
    pub(crate) fn sentinel_with_password(port: u16, password: &str) -> Self {
        Self::sentinel_with(port, Some(password), Some(password))
    }

    /// A sentinel with another password than its master's.
    pub(crate) fn sentinel_with_passwords(port: u16, masters: &str, own: &str) -> Self {
        Self::sentinel_with(port, Some(masters), Some(own))
    }

    fn sentinel_with(port: u16, masters: Option<&str>, own: Option<&str>) -> Self {
        let mut server = Self::prepare(&[], true);
        let mut text = format!(
            "port {}\nsentinel monitor mymaster 127.0.0.1 {port} 1\nsentinel down-after-milliseconds mymaster 500\n\
             sentinel failover-timeout mymaster 2000\n",
            server.port
        );
        if let Some(password) = masters {
            text.push_str(&format!("sentinel auth-pass mymaster {password}\n"));
        }
        if let Some(password) = own {
            text.push_str(&format!("requirepass {password}\n"));
            server.tool = tool_password(password);
        }
        std::fs::write(server.dir.path().join("sentinel.conf"), text).unwrap();
        server.started()
    }

    fn prepare(args: &[&str], sentinel: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let here = dir.path().display().to_string();
        let own = ["--port".to_owned(), port.to_string()];
        let args = own
            .into_iter()
            .chain(args.iter().map(|arg| arg.replace("{dir}", &here)))
            .collect();
        Self {
            dir,
            port,
            sentinel,
            args,
            tool: Vec::new(),
            process: None,
        }
    }

    fn started(mut self) -> Self {
        self.restart();
        self
    }

    /// Starts the process again with the same port and data.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let here = self.dir.path();
        let mut command = Command::new("redis-server");
        if self.sentinel {
            command.arg(here.join("sentinel.conf")).arg("--sentinel");
        } else {
            command.args(&self.args).args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "yes",
                // Otherwise an acknowledged write may only be in memory while the disk is synced,
                // and `kill` loses it.
                "--appendfsync",
                "always",
                "--repl-diskless-sync-delay",
                "0",
            ]);
        }
        command.args(["--dir", &here.display().to_string(), "--daemonize", "no"]);
        self.process = Some(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("redis-server is installed"),
        );
        self.await_answer(&["PING"], "PONG");
    }

    /// A copy of its data on disk.
    pub(crate) fn snapshot(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_files(&self.dir.path().join(JOURNAL), copy.path());
        copy
    }

    /// Kills it and restarts it with the data of a snapshot.
    pub(crate) fn restart_from(&mut self, snapshot: &TempDir) {
        self.kill();
        let journal = self.dir.path().join(JOURNAL);
        std::fs::remove_dir_all(&journal).unwrap();
        std::fs::create_dir(&journal).unwrap();
        copy_files(snapshot.path(), &journal);
        self.restart();
    }

    /// Kills the process as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Makes it hang: the system accepts connections, and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Ends [`RedisServer::pause`].
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("it runs").id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Runs one command with `redis-cli` and returns its output.
    #[track_caller]
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(&self.tool)
            .args(args)
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// The stored keys that match the pattern.
    pub(crate) fn names_like(&self, pattern: &str) -> Vec<String> {
        self.cli(&["--scan", "--pattern", pattern])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Waits until the command's output contains `wanted`.
    #[track_caller]
    pub(crate) fn await_answer(&self, args: &[&str], wanted: &str) {
        let end = Instant::now() + Duration::from_secs(8);
        while !self.cli(args).contains(wanted) {
            assert!(
                Instant::now() < end,
                "{args:?} never answered {wanted}, but {}",
                self.cli(args)
            );
            sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// The certificate and key of a server with TLS.
    pub(crate) fn pair(&self) -> (PathBuf, PathBuf) {
        (
            self.dir.path().join("redis.crt"),
            self.dir.path().join("redis.key"),
        )
    }

    /// The CA certificate of a server with TLS.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }
}

fn copy_files(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn tool_password(password: &str) -> Vec<String> {
    ["-a", password, "--no-auth-warning"]
        .map(str::to_owned)
        .to_vec()
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

const CLUSTERED: [&str; 6] = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "1000",
    "--cluster-require-full-coverage",
    "no",
];

/// A cluster of three masters.
pub(crate) struct RedisCluster {
    pub(crate) nodes: Vec<RedisServer>,
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        let nodes: Vec<RedisServer> = (0..3).map(|_| RedisServer::with(&CLUSTERED)).collect();
        let mut create = Command::new("redis-cli");
        create
            .args(["--cluster", "create"])
            .args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        let output = create.arg("--cluster-yes").output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        for node in &nodes {
            node.await_answer(&["CLUSTER", "INFO"], "cluster_state:ok");
            node.await_answer(&["CLUSTER", "INFO"], "cluster_slots_ok:16384");
        }
        Self { nodes }
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect();
        format!("redis://{}", hosts.join(","))
    }

    /// Adds a replica of a node. The cluster promotes it if the node is silent for a second.
    pub(crate) fn add_replica_of(&self, node: usize) -> RedisServer {
        let replica = RedisServer::with(&CLUSTERED);
        replica.cli(&[
            "CLUSTER",
            "MEET",
            "127.0.0.1",
            &self.nodes[node].port.to_string(),
        ]);
        let id = self.nodes[node].cli(&["CLUSTER", "MYID"]);
        replica.await_answer(&["CLUSTER", "NODES"], &id);
        replica.await_answer(&["CLUSTER", "REPLICATE", &id], "OK");
        replica.await_answer(&["INFO", "replication"], "master_link_status:up");
        let own = replica.cli(&["CLUSTER", "MYID"]);
        for node in &self.nodes {
            node.await_answer(&["CLUSTER", "REPLICAS", &id], &own);
        }
        replica
    }

    /// The node that owns the key.
    pub(crate) fn owner(&self, key: &str) -> usize {
        let owns = |node: &RedisServer| !node.cli(&["GET", key]).contains("MOVED");
        self.nodes.iter().position(owns).expect("some node owns it")
    }

    /// Moves the key's slot to another node; returns the new owner.
    pub(crate) fn move_slot_of(&self, key: &str) -> usize {
        let from = self.owner(key);
        let to = (from + 1) % self.nodes.len();
        let slot = self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]);
        let id = |node: usize| self.nodes[node].cli(&["CLUSTER", "MYID"]);
        self.nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        self.nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
        self.nodes[from].cli(&[
            "MIGRATE",
            "127.0.0.1",
            &self.nodes[to].port.to_string(),
            key,
            "0",
            "1000",
        ]);
        for node in [to, from] {
            assert_eq!(
                self.nodes[node].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(to)]),
                "OK"
            );
        }
        to
    }
}

const OUR_NAMES: &str = "DNS:localhost,IP:127.0.0.1";

/// Creates a CA, and a certificate for this machine signed by it.
pub(crate) fn make_certificates(dir: &Path) {
    make_certificates_for(dir, OUR_NAMES);
}

/// The same with a certificate for `names`.
pub(crate) fn make_certificates_for(dir: &Path, names: &str) {
    make_certificates_at(dir, names, 0);
}

/// The same, made `seconds` from now.
pub(crate) fn make_certificates_at(dir: &Path, names: &str, seconds: i64) {
    let clock = (seconds != 0).then(|| {
        let clock = WallClock::in_folder(dir);
        clock.set(seconds);
        clock
    });
    let variables = clock.as_ref().map(WallClock::variables).unwrap_or_default();
    std::fs::write(dir.join("names"), format!("subjectAltName={names}\n")).unwrap();
    let steps = [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test-authority",
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout redis.key -out redis.csr -subj /CN=localhost",
        "x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out redis.crt -days 2 -extfile names",
    ];
    for step in steps {
        let output = Command::new("openssl")
            .args(step.split(' '))
            .current_dir(dir)
            .envs(variables.iter().copied())
            .output()
            .expect("openssl is installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
