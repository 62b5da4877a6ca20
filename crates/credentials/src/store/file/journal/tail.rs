//! The end of the journal on disk: where lines are appended, and when the whole file is rewritten.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::store::file::disk;

/// A journal is not replaced before this much has been appended to it.
const LEAST: u64 = 1024 * 1024;

/// The file that is appended to.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    /// `None`: nothing can be appended until the file was written whole.
    file: Option<File>,
    length: u64,
    /// The length at which the file is written whole again.
    most: u64,
}

/// What became of an append.
pub(super) enum Appended {
    Yes,
    /// The file at the path is not the one that we write to.
    FileIsGone,
}

impl Tail {
    /// A tail that writes the file at `path` whole before it appends anything.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            length: 0,
            most: 0,
        }
    }

    /// Whether `more` bytes can be appended, or the file is to be written whole.
    pub(super) fn takes(&self, more: usize) -> bool {
        self.file.is_some() && self.length + more as u64 <= self.most
    }

    /// Rewrites the file. Amortised over the appends before it, this at most doubles their cost.
    pub(super) fn replace(&mut self, text: &[u8]) -> io::Result<()> {
        self.file = None;
        self.file = Some(disk::replace(&self.path, text)?);
        self.length = text.len() as u64;
        self.most = 2 * self.length + LEAST;
        Ok(())
    }

    /// Appends `lines`. After a failure it is unknown how much of them is there, so that the file
    /// is to be written whole.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<Appended> {
        let Some(mut file) = self.file.take() else {
            return Ok(Appended::FileIsGone);
        };
        let (ours, there) = (file.metadata()?, fs::metadata(&self.path));
        if !there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(Appended::FileIsGone);
        }
        file.write_all(lines)?;
        self.length += lines.len() as u64;
        self.file = Some(file);
        Ok(Appended::Yes)
    }
}
