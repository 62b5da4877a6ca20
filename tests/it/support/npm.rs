//! Node packages, downloaded once by npm into a folder below `target/`: other people's programs
//! that call WeChat.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::programs;

static INSTALLING: Mutex<()> = Mutex::new(());

/// Node with a folder of installed packages.
pub(crate) struct Node {
    program: PathBuf,
    packages: PathBuf,
}

impl Node {
    /// Installs the packages of the `package.json` at `description` into a folder called `name`;
    /// `None` with a notice if that fails.
    pub(crate) fn with(name: &str, description: &str) -> Option<Self> {
        let (program, npm) = (programs::find("node")?, programs::find("npm")?);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let wanted = fs::read_to_string(format!(
            "{}/tests/it/{description}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap();
        let (written, done) = (folder.join("package.json"), folder.join("installed"));
        let this = Self {
            program,
            packages: folder.join("node_modules"),
        };
        // Tests run in parallel, and a folder allows one npm at a time.
        let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
        // An earlier installation is reused unless it is incomplete or for another list.
        if done.is_file() && fs::read_to_string(&written).is_ok_and(|text| text == wanted) {
            return Some(this);
        }
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        fs::write(&written, &wanted).unwrap();
        // Installation scripts of packages are disabled.
        let arguments = [
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--loglevel=error",
            "--fetch-timeout=20000",
        ];
        let installed = Command::new(npm)
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        if installed.status.success() {
            fs::write(&done, "").unwrap();
            return Some(this);
        }
        programs::leave_out(name, &String::from_utf8_lossy(&installed.stderr));
        None
    }

    /// A command that runs `script` below `tests/it/` in `folder`.
    pub(crate) fn run(&self, script: &str, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(format!("{}/tests/it/{script}", env!("CARGO_MANIFEST_DIR")))
            .current_dir(folder);
        for proxy in [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "http_proxy",
            "https_proxy",
            "all_proxy",
        ] {
            command.env_remove(proxy);
        }
        command
            .env("NODE_PATH", &self.packages)
            .env("NODE_NO_WARNINGS", "1");
        command
    }
}
