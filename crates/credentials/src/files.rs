//! Files that others wrote: settings, secrets, certificates, check files. Opening one never waits,
//! and only regular files are read: a FIFO or a device may never end.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The most bytes of a file of settings or of a secret.
pub const SMALL: u64 = 1024 * 1024;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is something else than a file.
    #[error("is {0}, expected a regular file")]
    NotRegular(&'static str),
    /// It is larger than allowed.
    #[error("is larger than {0} KiB, which is the limit")]
    TooLarge(u64),
    /// The system's words.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Opens a regular file for reading.
pub fn open(path: &Path) -> Result<File, FileError> {
    // Looked at first, because opening a device can have an effect.
    is_regular(std::fs::metadata(path)?.file_type())?;
    // Without O_NONBLOCK, opening a FIFO that has come in the meantime would wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(non_blocking())
        .open(path)?;
    is_regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        Err(FileError::TooLarge(limit / 1024))
    } else {
        Ok(bytes)
    }
}

/// Reads a regular file of at most `limit` bytes as text.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    let text = String::from_utf8(read(path, limit)?);
    text.map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidData, "found a text that is not UTF-8").into()
    })
}

/// The flag with which opening never waits.
pub fn non_blocking() -> i32 {
    OFlags::NONBLOCK.bits().cast_signed()
}

fn is_regular(file: FileType) -> Result<(), FileError> {
    let found = if file.is_file() {
        return Ok(());
    } else if file.is_dir() {
        "a directory"
    } else if file.is_fifo() {
        "a FIFO"
    } else if file.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(FileError::NotRegular(found))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_regular_files_are_read_without_blocking() {
        let folder = tempfile::tempdir().expect("a folder");
        let (fifo, socket) = (folder.path().join("fifo"), folder.path().join("socket"));
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .expect("mkfifo")
                .success()
        );
        let _listener = UnixListener::bind(&socket).expect("a socket");
        for (path, found) in [
            (fifo.as_path(), "a FIFO"),
            (&socket, "a socket"),
            (folder.path(), "a directory"),
            (Path::new("/dev/zero"), "a device"),
            (Path::new("/dev/null"), "a device"),
        ] {
            let error = read(path, SMALL).expect_err("it is no file").to_string();
            assert_eq!(error, format!("is {found}, expected a regular file"));
        }
    }

    #[test]
    fn a_file_has_a_limit() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), vec![b'x'; 2048]).expect("written");
        assert_eq!(read(file.path(), 2048).expect("it fits").len(), 2048);
        let error = read(file.path(), 2047)
            .expect_err("a byte too many")
            .to_string();
        assert_eq!(error, "is larger than 1 KiB, which is the limit");
        let link = file.path().with_extension("link");
        std::os::unix::fs::symlink(file.path(), &link).expect("a link");
        assert_eq!(
            read_text(&link, 2048).expect("links are followed").len(),
            2048
        );
        std::fs::remove_file(link).expect("it is there");
    }
}
