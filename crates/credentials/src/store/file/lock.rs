//! The lock that gives the cache file to one process. It lies on a file beside it, because the file
//! itself is replaced at every write.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::disk::sibling;
use crate::files;
use crate::store::OpenError;

/// Goes with the process, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    beside: PathBuf,
    held: Mutex<File>,
}

impl Lock {
    /// Locks the cache file at `path` against a second process.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        let beside = sibling(path, ".lock");
        match try_take(&beside) {
            Ok(held) => Ok(Self {
                beside,
                held: Mutex::new(held),
            }),
            Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(format!(
                "another process uses the cache file {}: stop it, give this one a file of its own, or share a Redis instead",
                path.display()
            ))),
            Err(fs::TryLockError::Error(error)) => Err(OpenError::Misconfigured(format!(
                "{} cannot be written ({error}); the cache file's directory must be writable",
                beside.display()
            ))),
        }
    }

    /// Called before each write, because a removed lock file locks nobody out. It is created again,
    /// unless another process has done so; then the cache file belongs to that one.
    pub(super) fn keep(&self) -> io::Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = || {
            io::Error::other(format!(
                "{} was removed, and another process has begun to use the cache file; stop one of the two, and start this one again",
                self.beside.display()
            ))
        };
        match fs::metadata(&self.beside) {
            Ok(there) => {
                let ours = held.metadata()?;
                if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) {
                    Ok(())
                } else {
                    Err(lost())
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *held = try_take(&self.beside).map_err(|error| match error {
                    fs::TryLockError::WouldBlock => lost(),
                    fs::TryLockError::Error(error) => error,
                })?;
                tracing::warn!(file = %self.beside.display(), "the lock file was removed; it was created again");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Closing the file is not enough: a child process that is being started has a copy of it until its
/// program runs.
impl Drop for Lock {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = held.unlock() {
            tracing::debug!(file = %self.beside.display(), %error, "the lock ends with the process");
        }
    }
}

fn try_take(beside: &Path) -> Result<File, fs::TryLockError> {
    // A FIFO of that name would be waited for.
    let mut options = File::options();
    options
        .create(true)
        .truncate(false)
        .write(true)
        .custom_flags(files::non_blocking());
    let file = options.open(beside).map_err(fs::TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}
