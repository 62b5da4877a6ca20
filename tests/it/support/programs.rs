//! Finds the programs that tests run, and prints a notice for each test that is skipped.

use std::io::Write;
use std::path::PathBuf;

/// Returns the path of `name`; `None` with a notice if it is not installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let found = lookup(name);
    if found.is_none() {
        say_left_out(name);
    }
    found
}

/// Like [`find`], but fails if `CI` is set, as `scripts/check` does after installing the required
/// programs.
#[track_caller]
pub(crate) fn require(name: &str) -> Option<PathBuf> {
    let found = find(name);
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "`{name}` is required here"
    );
    found
}

/// Prints a notice that a test is skipped because `name` could not be installed; fails if `CI` is
/// set.
#[track_caller]
pub(crate) fn leave_out(name: &str, why: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "`{name}` is required here: {why}"
    );
    say_left_out(name);
}

fn say_left_out(name: &str) {
    // Written directly to the terminal, because the test harness hides the output of passing tests.
    let _ = writeln!(
        std::io::stderr(),
        "LEFT OUT: a test that needs `{name}`, which is not installed here"
    );
}

fn lookup(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian installs servers in sbin, which is not in every user's PATH.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
