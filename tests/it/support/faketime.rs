//! A settable wall clock for a process: Debian's libfaketime, preloaded. Its steady clock is not
//! changed, as when an operator or NTP sets the time.

use std::path::{Path, PathBuf};

/// The path of libfaketime.
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
    /// A clock with the true time until it is set. Its offset is stored in a file in `folder`.
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

    /// The environment variables that make a process use this clock.
    pub(crate) fn variables(&self) -> Vec<(&str, &str)> {
        vec![
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", &self.path),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }

    /// Sets the clock to this many seconds from the true time.
    pub(crate) fn set(&self, seconds: i64) {
        let aside = self.file.with_extension("new");
        std::fs::write(&aside, format!("{seconds:+}s\n")).expect("a folder of our own");
        // The file is read whenever a process reads the time, so it must always be complete.
        std::fs::rename(aside, &self.file).expect("a folder of our own");
    }
}
