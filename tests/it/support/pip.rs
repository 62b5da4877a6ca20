//! Python packages, downloaded once by pip into a folder below `target/`: other people's programs
//! to compare with.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::programs;

/// Python with a folder of installed packages.
pub(crate) struct Python {
    program: PathBuf,
    packages: PathBuf,
}

impl Python {
    /// Installs pinned `packages` into a folder called `name` and checks that `import` works;
    /// `None` with a notice if that fails.
    pub(crate) fn with(name: &str, packages: &[&str], import: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let this = Self {
            program: programs::require("python3")?,
            packages: folder,
        };
        // An earlier installation is reused unless it is incomplete or for another Python.
        if this.works(import) {
            return Some(this);
        }
        fs::remove_dir_all(&this.packages).ok();
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--timeout",
            "20",
            "--target",
        ];
        let pip = Command::new(&this.program)
            .args(pip)
            .arg(&this.packages)
            .args(packages)
            .output()
            .unwrap();
        if this.works(import) {
            return Some(this);
        }
        programs::leave_out(name, &String::from_utf8_lossy(&pip.stderr));
        None
    }

    fn works(&self, import: &str) -> bool {
        self.packages.is_dir() && self.run(&["-c", import]).output().unwrap().status.success()
    }

    /// A command that runs Python with `arguments`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("PYTHONPATH", &self.packages)
            .env("PYTHONIOENCODING", "utf-8");
        command
    }

    /// Runs `script` once for all `questions` and returns its answers. Both are JSON lists of the
    /// same length.
    pub(crate) fn answers(&self, script: &str, questions: &[Value]) -> Vec<Value> {
        let script = format!("{}/tests/it/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut child = self
            .run(&[&script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(json!(questions).to_string().as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answers.len(), questions.len());
        answers
    }
}
