//! A headless Chromium with an empty profile, killed on drop.

use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

const PROGRAM: &str = "/usr/bin/chromium";

/// One browser at a time: on a small machine several in parallel take longer than one after
/// another.
static TURN: Semaphore = Semaphore::const_new(1);

/// A running browser.
pub(crate) struct Chromium {
    child: Child,
    profile: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Chromium {
    /// Opens `url`. Every host name resolves to this machine, so that a page can have any origin.
    /// Without Chromium it prints a notice and returns `None`, or fails if `CI` is set.
    pub(crate) async fn open(url: &str, user_agent: Option<&str>) -> Option<Self> {
        let (turn, profile) = prepare().await?;
        let child = dressed(&mut Command::new(PROGRAM), profile.path())
            .args(user_agent.map(|agent| format!("--user-agent={agent}")))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Some(Self {
            child: child.expect("chromium starts"),
            profile,
            _turn: turn,
        })
    }

    /// Starts a browser that is controlled by its DevTools protocol over two pipes.
    pub(crate) async fn driven() -> Option<(Self, ChildStdin, ChildStdout)> {
        let (turn, profile) = prepare().await?;
        // Chromium expects them as descriptors 3 and 4, which std cannot pass to a child.
        let mut shell = Command::new("/bin/sh");
        shell.args([
            "-c",
            r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#,
            PROGRAM,
        ]);
        let mut child = dressed(&mut shell, profile.path())
            .arg("--remote-debugging-pipe")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromium starts");
        let pipes = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .expect("two pipes");
        Some((
            Self {
                child,
                profile,
                _turn: turn,
            },
            pipes.0,
            pipes.1,
        ))
    }
}

/// Waits for the turn and creates an empty profile; `None` without Chromium.
async fn prepare() -> Option<(SemaphorePermit<'static>, TempDir)> {
    if !Path::new(PROGRAM).exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{PROGRAM} is missing: install Debian's chromium"
        );
        eprintln!("SKIPPED: {PROGRAM} is missing, the browser tests need Debian's chromium");
        return None;
    }
    let turn = TURN.acquire().await.expect("the semaphore is never closed");
    Some((turn, TempDir::new().expect("a temporary directory")))
}

/// Adds the arguments that every browser of the tests gets.
fn dressed<'a>(command: &'a mut Command, profile: &Path) -> &'a mut Command {
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg("--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable")
        .arg("--host-resolver-rules=MAP * 127.0.0.1")
        .arg(format!("--user-data-dir={}", profile.display()))
        .env("TMPDIR", profile)
        .stderr(Stdio::null())
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Both fail only if it has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its child processes exit a moment later and write until then, so one removal may not be
        // enough.
        for _ in 0..40 {
            match std::fs::remove_dir_all(self.profile.path()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    std::thread::sleep(Duration::from_millis(50))
                }
                _ => break,
            }
        }
    }
}
