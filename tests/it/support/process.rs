//! The real program as a separate process, in its own folder and with only the given environment
//! variables. Its output is collected; it is killed on drop.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::app::{APP, APP_SECRET, REALM, REALM_SECRET, Response, lay};

/// Timeout for anything that a test waits for, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running jsdkd.
pub(crate) struct Process {
    child: Child,
    out: Lines,
    err: Lines,
    client: reqwest::Client,
    /// Its base URL; empty until [`Process::listening`].
    pub(crate) url: String,
}

/// A process's exit code and output.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ended {
    /// `None` if a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Process {
    /// Starts `jsdkd args` in `folder`, with only `variables` in its environment.
    pub(crate) fn start(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn(
            Command::new(env!("CARGO_BIN_EXE_jsdkd")).args(args),
            folder,
            variables,
        )
    }

    /// Serves in `folder` through `wrapper`, a command that executes its arguments: `prlimit`,
    /// `unshare`, a shell's `exec`.
    pub(crate) fn start_within(
        wrapper: &[&str],
        folder: &Path,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::spawn(
            Command::new(wrapper[0])
                .args(&wrapper[1..])
                .arg(env!("CARGO_BIN_EXE_jsdkd")),
            folder,
            variables,
        )
    }

    /// Serves in `folder` with a limit of `files` open files.
    pub(crate) fn start_with_files(folder: &Path, files: u32) -> Self {
        let shell = format!("ulimit -n {files} && exec \"$0\"");
        Self::spawn(
            Command::new("/bin/sh").args(["-c", &shell, env!("CARGO_BIN_EXE_jsdkd")]),
            folder,
            &[],
        )
    }

    fn spawn(command: &mut Command, folder: &Path, variables: &[(&str, &str)]) -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let mut child = command
            .current_dir(folder)
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let out = Lines::follow(child.stdout.take().expect("a pipe"));
        let err = Lines::follow(child.stderr.take().expect("a pipe"));
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy();
        let client = client
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Self {
            child,
            out,
            err,
            client,
            url: String::new(),
        }
    }

    /// Writes `settings` to `jsdkd.json` in `folder` and serves with them.
    pub(crate) async fn serve(folder: &Path, settings: &Value) -> Self {
        write_settings(folder, settings);
        Self::start(folder, &[], &[]).listening().await
    }

    /// Waits until it listens.
    pub(crate) async fn listening(mut self) -> Self {
        let line = self.logged("listening").await;
        self.url = format!("http://{}", line["address"].as_str().expect("an address"));
        self
    }

    /// Waits for the first log line with this message.
    pub(crate) async fn logged(&self, message: &str) -> Value {
        self.logged_if(message, |said| said == message).await
    }

    /// Waits for the first log line whose message has `word` in it.
    pub(crate) async fn logged_about(&self, word: &str) -> Value {
        self.logged_if(word, |said| said.contains(word)).await
    }

    async fn logged_if(&self, wanted: &str, fits: impl Fn(&str) -> bool) -> Value {
        let found = until(|| {
            self.log()
                .into_iter()
                .find(|line| line["message"].as_str().is_some_and(&fits))
        })
        .await;
        found.unwrap_or_else(|| {
            panic!(
                "no log line {wanted:?}: {:?} {:?}",
                self.out.text(),
                self.err.text()
            )
        })
    }

    /// Every log line so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.out
            .all()
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Everything on standard output so far.
    pub(crate) fn out(&self) -> String {
        self.out.text()
    }

    /// Waits for a line of standard output that contains `part`.
    pub(crate) async fn said(&self, part: &str) -> String {
        let found = until(|| self.out.all().into_iter().find(|line| line.contains(part))).await;
        found.unwrap_or_else(|| {
            panic!(
                "no line with {part:?}: {:?} {:?}",
                self.out.text(),
                self.err.text()
            )
        })
    }

    /// Sends a signal, named without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("kill -s {name} {}", self.child.id()))
            .status();
        assert!(
            sent.expect("a shell").success(),
            "there is no process to signal"
        );
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// True if it handles any of the signals that we send, according to Linux.
    #[cfg(target_os = "linux")]
    pub(crate) fn catches_signals(&self) -> bool {
        const HUP_INT_TERM: u64 = 1 | 1 << 1 | 1 << 14;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or_default();
        caught & HUP_INT_TERM != 0
    }

    /// Processor time used so far, in hundredths of a second.
    #[cfg(target_os = "linux")]
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .expect("our own child");
        stat.split(' ')
            .skip(13)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum()
    }

    /// Resident memory in KiB.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("our own child");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a running process");
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }

    /// The bound address.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.url
            .trim_start_matches("http://")
            .parse()
            .expect("an address")
    }

    /// Kills it, as a power failure does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Waits until it exits.
    pub(crate) async fn ended(mut self) -> Ended {
        let status: Option<ExitStatus> =
            until(|| self.child.try_wait().expect("our own child")).await;
        let status = status.unwrap_or_else(|| {
            panic!(
                "it does not end: {:?} {:?}",
                self.out.text(),
                self.err.text()
            )
        });
        until(|| (self.out.is_whole() && self.err.is_whole()).then_some(()))
            .await
            .expect("its pipes end with it");
        Ended {
            code: status.code(),
            out: self.out.text(),
            err: self.err.text(),
        }
    }

    /// `GET path`.
    pub(crate) async fn get(&self, path: &str) -> Response {
        Response::of(
            self.request(Method::GET, path)
                .send()
                .await
                .expect("the server answers"),
        )
        .await
    }

    /// Starts a request to it.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has exited already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs `jsdkd args` until it exits.
pub(crate) async fn run(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    Process::start(folder, args, variables).ended().await
}

/// The default settings of a process with `over` merged over them; `null` removes a setting.
pub(crate) fn settings(wechat: &str, over: Value) -> Value {
    let mut settings = json!({
        "apps": [{ "key": APP, "secret": APP_SECRET }],
        "realms": [{ "key": REALM, "secret": REALM_SECRET }],
        "server": { "bind": "127.0.0.1", "port": 0, "workers": 1, "shutdownGrace": "5s" },
        "wechat": { "api": [wechat], "timeout": "5s" },
    });
    lay(&mut settings, over);
    settings
}

/// Writes `settings` to `jsdkd.json` in `folder`.
pub(crate) fn write_settings(folder: &Path, settings: &Value) {
    std::fs::write(folder.join("jsdkd.json"), settings.to_string()).expect("a folder of our own");
}

/// An empty folder.
pub(crate) fn folder() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

/// Calls `look` until it returns a value; `None` after the timeout.
pub(crate) async fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        match look() {
            Some(seen) => return Some(seen),
            None if begun.elapsed() > PATIENCE => return None,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// The lines of a pipe, read by a thread that ends with the pipe.
#[derive(Clone)]
struct Lines(Arc<Mutex<(Vec<String>, bool)>>);

impl Lines {
    fn follow(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                kept.locked().0.push(line);
            }
            kept.locked().1 = true;
        });
        lines
    }

    fn locked(&self) -> MutexGuard<'_, (Vec<String>, bool)> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn all(&self) -> Vec<String> {
        self.locked().0.clone()
    }

    fn text(&self) -> String {
        self.all().join("\n")
    }

    fn is_whole(&self) -> bool {
        self.locked().1
    }
}
