//! Node.js with packages that npm installs once into a folder below `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs;

/// Node.js, and the folder that holds its packages.
pub(crate) struct Node {
    program: PathBuf,
    packages: PathBuf,
}

impl Node {
    /// Installs `packages` (pinned) into a folder called `name`, unless an earlier run did. They are there once `require` works.
    /// `None`, with a message, where that is not possible.
    pub(crate) fn with(name: &str, packages: &[&str], require: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let this = Self { program: programs::find("node")?, packages: folder };
        let works = || this.run(&["-e", require]).output().is_ok_and(|ran| ran.status.success());
        if works() {
            return Some(this);
        }
        let options = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--prefix"];
        let npm = Command::new(programs::find("npm")?).args(options).arg(&this.packages).args(packages).output().unwrap();
        if works() {
            return Some(this);
        }
        programs::leave_out(name, &String::from_utf8_lossy(&npm.stderr));
        None
    }

    /// Node.js, to be run with `arguments`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("NODE_PATH", self.packages.join("node_modules"));
        command
    }
}
