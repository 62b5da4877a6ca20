//! The cache file on disk: found, read, replaced.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::entry::Entries;
use crate::files::{self, FileError};
use crate::store::OpenError;
use clock::Clock;

/// Replaces the file at `path` by one with `text`, or leaves it as it was. A temporary file is made
/// with mode 0600. Returns the new file, to be written on at its end.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<File> {
    let directory = directory(path);
    let mut aside = tempfile::Builder::new()
        .prefix(&leftover_prefix(path))
        .suffix(".tmp")
        .tempfile_in(directory)?;
    aside.write_all(text)?;
    aside.as_file().sync_all()?;
    let file = aside.persist(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::ResourceBusy => io::Error::other(format!(
            "{} is a mount point and cannot be replaced: mount its directory instead of the file",
            path.display()
        )),
        _ => error.error,
    })?;
    // The rename itself is stored in the directory.
    File::open(directory)?.sync_all()?;
    Ok(file)
}

/// The actual file: a link is followed, so that the rename replaces its target and not the link.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    let misconfigured =
        |why: String| OpenError::Misconfigured(format!("cache.file {}: {why}", path.display()));
    if let Ok(real) = path.canonicalize() {
        return if real.is_dir() {
            Err(misconfigured(
                "is a directory; name a file in it".to_owned(),
            ))
        } else if !real.is_file() {
            Err(misconfigured(
                "is no regular file; name one, which need not exist".to_owned(),
            ))
        } else {
            Ok(real)
        };
    }
    let name = path
        .file_name()
        .ok_or_else(|| misconfigured("names no file".to_owned()))?;
    let directory = directory(path).canonicalize();
    let directory = directory.map_err(|error| {
        misconfigured(format!(
            "its directory cannot be used ({error}); make it first"
        ))
    })?;
    Ok(directory.join(name))
}

/// What a process killed in the middle of a write left aside. Only the holder of the lock may
/// remove it.
pub(super) fn remove_leftovers(path: &Path) {
    let prefix = leftover_prefix(path);
    for entry in fs::read_dir(directory(path))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".tmp"))
        {
            fs::remove_file(entry.path()).ok();
        }
    }
}

/// Reads the file. An empty one is an empty cache; what cannot be read as a JSON object is moved
/// aside, never overwritten.
pub(super) fn read(path: &Path, clock: &Clock) -> Result<Entries, OpenError> {
    let bytes = contents(path)?;
    if bytes.is_empty() {
        return Ok(Entries::new());
    }
    serde_json::from_slice(&bytes).or_else(|error| {
        let aside = set_aside(path, clock)?;
        // The parser's message has line and column and quotes nothing.
        tracing::error!(file = %path.display(), moved_to = %aside.display(), %error, "the cache file is damaged or not ours; it was moved aside, and the cache starts empty");
        Ok(Entries::new())
    })
}

/// What the file at `path` holds; nothing if it is absent or blank.
pub(super) fn contents(path: &Path) -> Result<Vec<u8>, OpenError> {
    let mut bytes = Vec::new();
    match files::open(path).and_then(|mut file| Ok(file.read_to_end(&mut bytes)?)) {
        Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(OpenError::Misconfigured(format!(
                "{} {error}",
                path.display()
            )));
        }
        Ok(_) if bytes.trim_ascii().is_empty() => bytes.clear(),
        Ok(_) => {}
    }
    Ok(bytes)
}

/// Moves a damaged file to `NAME.corrupt-<time>` and returns where it is now.
pub(super) fn set_aside(path: &Path, clock: &Clock) -> Result<PathBuf, OpenError> {
    let seconds = i64::try_from(clock.wall().seconds().0).unwrap_or(i64::MAX);
    let time = chrono::DateTime::from_timestamp(seconds, 0)
        .unwrap_or_default()
        .format("%Y%m%dT%H%M%SZ");
    let aside = unused(sibling(path, &format!(".corrupt-{time}")));
    let moved = fs::rename(path, &aside);
    moved.map_err(|error| {
        OpenError::Misconfigured(format!(
            "{} is damaged and cannot be moved aside: {error}",
            path.display()
        ))
    })?;
    Ok(aside)
}

/// `path`, or `path-2`, `path-3` …: an earlier damaged file is evidence too.
fn unused(path: PathBuf) -> PathBuf {
    let numbered = (2..).map(|number| sibling(&path, &format!("-{number}")));
    std::iter::once(path.clone())
        .chain(numbered)
        .find(|path| !path.exists())
        .unwrap_or(path)
}

fn directory(path: &Path) -> &Path {
    path.parent()
        .filter(|directory| !directory.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A file beside `path`, named after it.
pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn leftover_prefix(path: &Path) -> String {
    format!(
        ".{}.",
        path.file_name().unwrap_or_default().to_string_lossy()
    )
}
