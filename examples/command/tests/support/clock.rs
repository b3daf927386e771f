//! A wall clock for some processes that can be put forward and back while they run. The monotonic
//! clock, and the times of files, stay as they are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The library that tells a process other times than the kernel does.
const LIBRARY: &str = "libfaketimeMT.so.1";

/// A clock that is changed by a file.
pub(crate) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock that goes right so far, told by the file at `path`. `None`, said loudly, where the
    /// library is not installed; a panic where `ESTAFETTE_CLOCKS` says that it must be.
    pub(crate) fn new(path: &Path) -> Option<Self> {
        let folders = fs::read_dir("/usr/lib")
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .chain([PathBuf::from("/usr/lib")]);
        let library = folders
            .map(|folder| folder.join("faketime").join(LIBRARY))
            .find(|library| library.exists());
        if library.is_none() {
            assert!(
                env::var_os("ESTAFETTE_CLOCKS").is_none(),
                "{LIBRARY} is not installed, and ESTAFETTE_CLOCKS says that it must be"
            );
            eprintln!(
                "SKIPPED: clocks that step, since {LIBRARY} is not installed; it comes with \
                 faketime"
            );
        }
        let clock = Self { library: library?, file: path.to_owned() };
        clock.step(0);
        Some(clock)
    }

    /// From now on it is so many days ahead, or behind.
    pub(crate) fn step(&self, days: i64) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{days:+}d\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// Lets a process that is to be started go by it.
    pub(crate) fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        // Looked at once a second; and nothing but the wall clock.
        command.envs([
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ]);
    }
}
