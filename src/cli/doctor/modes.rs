//! Checks who may read and change the files that hold secrets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::report::Report;

/// Where container platforms put secrets, readable by all in the container.
const MOUNTED: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

/// A file that holds secrets; one that is not there is left to others.
pub(super) fn check(section: &'static str, file: &Path, report: &mut Report) {
    let Ok(found) = file.metadata() else {
        return;
    };
    let (mode, name) = (found.permissions().mode(), file.display());
    let cure = || format!("chmod 600 {name}");
    if mode & 0o002 != 0 {
        report.fail(
            section,
            format!("{name} can be changed by everybody"),
            cure(),
        );
    } else if mode & 0o077 == 0 || MOUNTED.iter().any(|folder| file.starts_with(folder)) {
        report.ok(section, format!("{name} is its owner's alone"));
    } else {
        report.warn(
            section,
            format!("{name} can be read by others, and may hold secrets"),
            cure(),
        );
    }
}
