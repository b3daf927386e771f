//! The folder a spool lies in.
//!
//! ```text
//! DIR/FORMAT                    "estafette spool 1\n"
//! DIR/lock                      locked by the process that has the spool; its number, for people
//! DIR/state.redb                the records
//! DIR/state.redb.new            a database that is being made
//! DIR/state.redb.damaged-N      databases that were set aside
//! DIR/bulk/                     bulk files
//! ```
//!
//! Invariant: `FORMAT` is written when the first database is complete, and a database takes its
//! name when it is complete; so a folder with `FORMAT` has records, and `state.redb.new` is one
//! that has not got its name yet exactly if there is no `state.redb`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;

use super::database::{Opened, unreadable};
use super::medium::Medium;
use crate::new_file::sync_folder;

/// A spool's folder, locked.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    bulk: PathBuf,
    /// Closing it frees the lock, whatever becomes of the process.
    lock: File,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A process that this one has just begun to start has what is open here until its own
        // program begins, and the lock with it: closing alone would not free it.
        let _ = self.lock.unlock();
    }
}

impl Folder {
    /// Locks the spool in `path`, or makes it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        look(path)?;
        make_private(path)?;
        let folder = Self::lock(path)?;
        make_private(&folder.bulk)?;
        if !check_version(path)? {
            folder.create()?;
        }
        folder.complete()?;
        Ok(folder)
    }

    /// Locks the spool in `path`, which must be there.
    pub(super) fn existing(path: &Path) -> io::Result<Self> {
        if !check_version(path)? {
            let text = format!("{} is no spool: there is no file FORMAT in it", path.display());
            return Err(io::Error::new(ErrorKind::NotFound, text));
        }
        Self::lock(path)
    }

    fn lock(path: &Path) -> io::Result<Self> {
        let lock = path.join("lock");
        let mut file = private(&lock, OpenOptions::new().read(true).truncate(false))
            .map_err(|error| unwritable(path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, file)),
            Err(TryLockError::Error(error)) => {
                let text = format!(
                    "{} can't be locked ({error}), and without locks two nodes could write to one \
                     spool: name a folder on another file system",
                    lock.display()
                );
                return Err(io::Error::new(error.kind(), text));
            }
        }
        file.set_len(0)
            .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()))
            .map_err(|error| named(&lock, &error))?;
        Ok(Self { path: path.to_owned(), bulk: path.join("bulk"), lock: file })
    }

    pub(super) fn bulk(&self) -> &Path {
        &self.bulk
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("state.redb")
    }

    pub(super) fn new_database(&self) -> PathBuf {
        self.path.join("state.redb.new")
    }

    /// The database, which may have not got its name yet.
    pub(super) fn medium(&self) -> Medium {
        let named = self.database().exists() || !self.new_database().exists();
        medium(if named { self.database() } else { self.new_database() })
    }

    fn create(&self) -> io::Result<()> {
        if self.database().exists() {
            let text = format!(
                "{} is there, but not the file FORMAT that says what version it has; put it back, \
                 or move the database away to begin anew",
                self.database().display()
            );
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        self.begin_database()?;
        let (new, place) = (self.path.join("FORMAT.new"), self.path.join("FORMAT"));
        let written = private(&new, OpenOptions::new().truncate(true)).and_then(|mut file| {
            file.write_all(format!("{FORMAT}{VERSION}\n").as_bytes())?;
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&new, &place)).map_err(|error| named(&place, &error))?;
        self.sync()
    }

    /// Makes an empty database under the name of a new one.
    pub(super) fn begin_database(&self) -> io::Result<()> {
        let new = self.new_database();
        private(&new, OpenOptions::new().truncate(true)).map_err(|error| named(&new, &error))?;
        let medium = file_medium(new, true);
        let (opened, _) = Opened::open(&medium).map_err(|trial| unreadable(&medium, &trial))?;
        opened.database.close().map_err(io::Error::other)?;
        self.sync()
    }

    /// Gives a new database its name if nothing has it; removes one that is not complete.
    pub(super) fn complete(&self) -> io::Result<()> {
        let (new, place) = (self.new_database(), self.database());
        match (new.exists(), place.exists()) {
            (true, false) => fs::rename(&new, &place).map_err(|error| named(&place, &error))?,
            (true, true) => fs::remove_file(&new).map_err(|error| named(&new, &error))?,
            (false, _) => return Ok(()),
        }
        self.sync()
    }

    /// Moves the database aside, and returns where to.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let names = (1..).map(|number: u64| self.path.join(format!("state.redb.damaged-{number}")));
        let aside = names.into_iter().find(|name| !name.exists()).expect("numbers do not end");
        fs::rename(self.database(), &aside).map_err(|error| named(&aside, &error))?;
        self.sync()?;
        Ok(aside)
    }

    /// Makes the names in the folder durable.
    fn sync(&self) -> io::Result<()> {
        sync_folder(&self.path).map_err(|error| named(&self.path, &error))
    }
}

/// The database in a file that is there and is one.
pub(super) fn medium(path: PathBuf) -> Medium {
    file_medium(path, false)
}

fn file_medium(path: PathBuf, fresh: bool) -> Medium {
    let name = path.display().to_string();
    Medium::new(name, move || {
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|error| {
            match error.kind() {
                ErrorKind::NotFound => {
                    io::Error::new(error.kind(), format!("it is not there, and should be; {ANEW}"))
                }
                _ => error,
            }
        })?;
        // redb would begin anew by itself, and nobody would hear of it.
        if !fresh && file.metadata()?.len() == 0 {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("it is empty, and should not be; {ANEW}"),
            ));
        }
        FileBackend::new(file).map_err(io::Error::other)
    })
}

/// Returns `true` if a spool is in `path`; an error if it is one that this release must not touch.
fn check_version(path: &Path) -> io::Result<bool> {
    let place = path.join("FORMAT");
    let mut text = String::new();
    match File::open(&place).and_then(|file| file.take(FORMAT_LIMIT).read_to_string(&mut text)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(no_folder(path)),
        Err(error) if error.kind() != ErrorKind::InvalidData => return Err(named(&place, &error)),
        _ => {}
    }
    let version = text
        .strip_prefix(FORMAT)
        .and_then(|rest| rest.strip_suffix('\n'))
        .and_then(|digits| digits.parse::<u32>().ok());
    match version {
        Some(VERSION) => Ok(true),
        Some(version) => {
            let text = format!(
                "the spool {} has format version {version}, and this release knows version \
                 {VERSION} only; start a release that knows {version}, nothing was changed",
                path.display()
            );
            Err(io::Error::new(ErrorKind::Unsupported, text))
        }
        None => {
            let text = format!(
                "{} does not say which version the spool has; if this release wrote it, put the \
                 line \"{FORMAT}{VERSION}\" in it",
                place.display()
            );
            Err(io::Error::new(ErrorKind::InvalidData, text))
        }
    }
}

/// Looks at what `open` needs, and makes nothing.
pub(super) fn look(path: &Path) -> io::Result<()> {
    if check_version(path)? || path.is_dir() {
        return Ok(());
    }
    if path.symlink_metadata().is_ok() {
        return Err(no_folder(path));
    }
    let around = path.parent().filter(|around| !around.as_os_str().is_empty());
    if around.is_some_and(|around| !around.exists()) {
        return Err(no_folder_around(path));
    }
    Ok(())
}

fn no_folder(path: &Path) -> io::Error {
    let text = format!("{} is no folder, and a spool is one", path.display());
    io::Error::new(ErrorKind::NotADirectory, text)
}

fn no_folder_around(path: &Path) -> io::Error {
    let text = format!(
        "no spool can be made in {}: the folder that is to hold it is not there; make that one \
         first",
        path.display()
    );
    io::Error::new(ErrorKind::NotFound, text)
}

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Ok(()) => Ok(()),
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(no_folder(folder)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(no_folder_around(folder)),
        Err(error) => Err(unwritable(folder, &error)),
    }
}

pub(super) fn private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

fn in_use(path: &Path, mut lock: File) -> io::Error {
    let mut holder = String::new();
    let _ = (&mut lock).take(FORMAT_LIMIT).read_to_string(&mut holder);
    let who = if holder.parse::<u32>().is_ok() {
        format!("process {holder}")
    } else {
        "another process".to_owned()
    };
    let text = format!(
        "the spool {} is in use by {who}, and has one at a time: stop that one, or give this one \
         a folder of its own",
        path.display()
    );
    io::Error::new(ErrorKind::ResourceBusy, text)
}

fn unwritable(path: &Path, error: &io::Error) -> io::Error {
    let text = format!(
        "the spool's folder {} can't be written ({error}); let this user write there, or choose \
         another folder",
        path.display()
    );
    io::Error::new(error.kind(), text)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

const ANEW: &str = "put it back if you have it, or let `estafette doctor` begin a new one";
const FORMAT: &str = "estafette spool ";
const VERSION: u32 = 1;
const FORMAT_LIMIT: u64 = 64;
