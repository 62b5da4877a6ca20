//! A process's own wall clock, which can be set while it runs: Debian's libfaketime, preloaded. Its
//! steady clock is left alone, as an operator or NTP would leave it.

use std::path::{Path, PathBuf};

/// The library that stands between a process and the kernel's clock.
fn library() -> PathBuf {
    let places = std::fs::read_dir("/usr/lib").expect("a Linux").flatten();
    let found = places
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists());
    found.expect("libfaketime is installed; scripts/check does it (Debian: faketime)")
}

pub(crate) struct WallClock {
    file: PathBuf,
    library: String,
    path: String,
}

impl WallClock {
    /// A clock that tells the true time until it is set. It is kept in a file of that folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let file = folder.join("wall-clock");
        let (library, path) = (library().display().to_string(), file.display().to_string());
        let clock = Self {
            file,
            library,
            path,
        };
        clock.set(0);
        clock
    }

    /// What a process needs in its environment to go by this clock.
    pub(crate) fn variables(&self) -> Vec<(&str, &str)> {
        vec![
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", &self.path),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }

    /// So many seconds from the true time, from now on.
    pub(crate) fn set(&self, seconds: i64) {
        let aside = self.file.with_extension("new");
        std::fs::write(&aside, format!("{seconds:+}s\n")).expect("a folder of our own");
        // It is read whenever the time is asked for, and must never be half there.
        std::fs::rename(aside, &self.file).expect("a folder of our own");
    }
}
