//! Programs of this machine that tests run: found, or left out aloud.

use std::io::Write;
use std::path::PathBuf;

/// Where `name` is; `None`, said aloud, when this machine lacks it.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let found = lookup(name);
    if found.is_none() {
        say_left_out(name);
    }
    found
}

/// As [`find`], but a lack is a failure where `CI` is set, as `scripts/check` does once it has
/// installed what is required.
#[track_caller]
pub(crate) fn require(name: &str) -> Option<PathBuf> {
    let found = find(name);
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "`{name}` is required here"
    );
    found
}

/// Says aloud that a test is left out because `name` could not be installed for it; a failure where
/// `CI` is set.
#[track_caller]
pub(crate) fn leave_out(name: &str, why: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "`{name}` is required here: {why}"
    );
    say_left_out(name);
}

fn say_left_out(name: &str) {
    // Written past the test harness, which would swallow the line of a test that passes.
    let _ = writeln!(
        std::io::stderr(),
        "LEFT OUT: a test that needs `{name}`, which is not installed here"
    );
}

fn lookup(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers in sbin, which is not in everybody's PATH.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
