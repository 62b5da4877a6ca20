//! Chaos tests: a process whose disk is full or read-only, and one without free file descriptors.
//! The measurements are in docs/failures.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::{RunningSandbox, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::app::{APP_SECRET, signed_v2};
use crate::support::fleet::{AIR, cold, figure};
use crate::support::keepers::eventually;
use crate::support::process::{Process, folder, settings, write_settings};
use crate::support::programs;

async fn wechat() -> (Sandbox, RunningSandbox, Value) {
    let accounts: Vec<_> = (0..8)
        .map(|number| (cold(number), APP_SECRET.to_owned()))
        .collect();
    let apps: Vec<Value> = accounts
        .iter()
        .map(|(key, secret)| json!({ "key": key, "secret": secret }))
        .collect();
    let options = SandboxOptions {
        accounts,
        ..SandboxOptions::default()
    };
    let (sandbox, running) = Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port");
    let apps = json!({ "apps": apps });
    (sandbox, running, apps)
}

async fn token(process: &Process, number: usize) -> String {
    let answer = process
        .get(&signed_v2("GET", &cold(number), &[("key", "token")]))
        .await;
    answer.json()["value"].as_str().expect("a value").to_owned()
}

/// A process with a separate small disk at `disk` in its folder, unmounted on drop.
struct Disk {
    process: Process,
    folder: tempfile::TempDir,
    unshare: &'static str,
}

impl Disk {
    /// `None` with a notice if this machine does not allow mounting.
    async fn of_64k(settings: &Value) -> Option<Self> {
        let unshare = ["-rm", "-m"].into_iter().find(|how| {
            let tried = Command::new("unshare")
                .args([how, "mount", "-t", "tmpfs", "none", "/mnt"])
                .output();
            tried.is_ok_and(|tried| tried.status.success())
        });
        let Some(unshare) = unshare else {
            programs::leave_out("unshare", "nothing may be mounted here");
            return None;
        };
        let folder = folder();
        fs::create_dir(folder.path().join("disk")).expect("our own folder");
        write_settings(folder.path(), settings);
        let script = "mount -t tmpfs -o size=64k none disk && exec \"$@\"";
        let wrapper = ["/usr/bin/unshare", unshare, "/bin/sh", "-c", script, "sh"];
        let process = Process::start_within(&wrapper, folder.path(), &[])
            .listening()
            .await;
        Some(Self {
            process,
            folder,
            unshare,
        })
    }

    /// A file of its disk, seen from outside.
    fn file(&self, name: &str) -> PathBuf {
        let inside = self
            .folder
            .path()
            .canonicalize()
            .expect("our own folder")
            .join("disk")
            .join(name);
        Path::new(&format!("/proc/{}/root", self.process.id()))
            .join(inside.strip_prefix("/").expect("an absolute path"))
    }

    /// Runs a shell command in the process's mount namespace, with the disk's path as `$1`.
    fn run(&self, line: &str) {
        let mut enter = Command::new("nsenter");
        enter.args(["-t", &self.process.id().to_string(), "-m"]);
        if self.unshare == "-rm" {
            enter.args(["-U", "--preserve-credentials"]);
        }
        let path = self
            .folder
            .path()
            .canonicalize()
            .expect("our own folder")
            .join("disk");
        let output = enter
            .args(["/bin/sh", "-c", line, "sh"])
            .arg(path)
            .output()
            .expect("nsenter is installed");
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The value in the cache file; a damaged file fails the test.
    fn cached(&self, number: usize) -> Option<String> {
        let text = fs::read(self.file("cache.json")).expect("a file");
        let all: Value =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("a torn file: {error}"));
        all[format!("{}.token", cold(number))]["value"]
            .as_str()
            .map(str::to_owned)
    }

    /// While the disk cannot be written, credentials are fetched and served. After `heal` the
    /// missing ones are written.
    async fn serves_and_catches_up(&self, first: usize, heal: impl FnOnce(&Self), what: &str) {
        let begun = Instant::now();
        let (one, other) = (
            token(&self.process, first).await,
            token(&self.process, first + 1).await,
        );
        figure(&format!("{what}: two cold accounts"), &begun.elapsed());
        assert_eq!(
            token(&self.process, first).await,
            one,
            "it is held, and not fetched again"
        );
        assert_eq!(
            (self.cached(first), self.cached(first + 1)),
            (None, None),
            "the file is whole, and as it was"
        );
        self.process.logged_about("the store fails").await;
        heal(self);
        let healed = Instant::now();
        eventually("what the file lacked", async || {
            self.cached(first).as_ref() == Some(&one)
        })
        .await;
        eventually("what the file lacked", async || {
            self.cached(first + 1).as_ref() == Some(&other)
        })
        .await;
        figure(
            &format!("{what}: until the file has what it lacked"),
            &healed.elapsed(),
        );
        assert!(
            healed.elapsed() < Duration::from_secs(2) + AIR,
            "{:?}",
            healed.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_read_only_disk_costs_no_answer() {
    let (sandbox, _running, apps) = wechat().await;
    let mut over = apps;
    over["cache"] = json!({ "file": "disk/cache.json" });
    let Some(disk) = Disk::of_64k(&settings(&sandbox.url(), over)).await else {
        return;
    };
    let before = token(&disk.process, 0).await;
    assert_eq!(disk.cached(0).as_ref(), Some(&before));

    let ballast = disk.file("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).expect_err("it takes what fits, and then is full");
    disk.serves_and_catches_up(
        1,
        |_| fs::remove_file(&ballast).expect("our own file"),
        "the disk full",
    )
    .await;

    // Another mount over it, because the process keeps its lock file open for writing.
    disk.run("mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"");
    disk.serves_and_catches_up(3, |disk| disk.run("umount \"$1\""), "the disk read-only")
        .await;

    assert_eq!(
        (disk.cached(0), token(&disk.process, 0).await),
        (Some(before.clone()), before)
    );
    assert_eq!(sandbox.calls("/cgi-bin/token"), 5);
    let complaints = disk
        .process
        .log()
        .iter()
        .filter(|line| line["level"] == "WARN")
        .count();
    assert!(
        complaints <= 6,
        "an outage is told once, not by everyone who meets it: {}",
        disk.process.out()
    );
    let names = fs::read_dir(disk.file(""))
        .expect("its disk")
        .flatten()
        .map(|entry| entry.file_name());
    assert_eq!(
        names
            .filter(|name| name.to_string_lossy().ends_with(".tmp"))
            .count(),
        0,
        "nothing half-written is left"
    );
}

/// The limit on open files; the process needs about thirty.
const FILES: usize = 64;

impl Process {
    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id()))
            .expect("it runs")
            .count()
    }

    /// The processor time used so far.
    fn worked(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it runs");
        // The name in brackets may contain spaces; user and system time are the 14th and 15th
        // field, in hundredths of a second.
        let fields: Vec<_> = text
            .rsplit(") ")
            .next()
            .expect("fields")
            .split(' ')
            .collect();
        Duration::from_millis(
            [11, 12]
                .iter()
                .map(|at| fields[*at].parse::<u64>().expect("a number") * 10)
                .sum(),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_file_descriptors_recover() {
    let (sandbox, _running, apps) = wechat().await;
    let folder = folder();
    write_settings(folder.path(), &settings(&sandbox.url(), apps));
    let Some(prlimit) = programs::require("prlimit") else {
        return;
    };
    let (prlimit, limit) = (prlimit.display().to_string(), format!("--nofile={FILES}"));
    let server = Process::start_within(&[&prlimit, &limit], folder.path(), &[])
        .listening()
        .await;
    let held = token(&server, 0).await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut idle = Vec::new();
    for _ in 0..FILES {
        // Connections without a descriptor wait in the system's queue.
        idle.push(
            TcpStream::connect(&address)
                .await
                .expect("the system takes it"),
        );
    }
    eventually("as many as it takes", async || {
        server.open_files() >= FILES / 2
    })
    .await;
    assert!(server.open_files() < FILES, "it leaves some to itself");
    let (begun, worked) = (Instant::now(), server.worked());
    for _ in 0..20 {
        assert_eq!(token(&server, 0).await, held, "who is connected is served");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let work = server.worked() - worked;
    figure(
        "no descriptors left: work and time",
        &(work, begun.elapsed()),
    );
    assert!(
        work < begun.elapsed() / 2,
        "it spins: {work:?} of {:?}",
        begun.elapsed()
    );
    let said = server
        .log()
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .count();
    assert_eq!(said, 0, "nothing has gone wrong: {}", server.out());
    drop(idle);
    let healed = Instant::now();
    let fresh = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let answer = fresh.get(format!("{}/ping", server.url)).send().await;
    let answer = answer
        .unwrap_or_else(|error| panic!("no answer for newcomers: {error:?}: {}", server.out()));
    assert_eq!(answer.status(), 200);
    figure(
        "no descriptors left: until newcomers are answered again",
        &healed.elapsed(),
    );
    assert!(
        healed.elapsed() < Duration::from_secs(1) + AIR,
        "{:?}",
        healed.elapsed()
    );
}
