//! A store in a folder: one small file per record.
//!
//! ```text
//! DIR/lock                 held while records are changed, so that two processes do not undo each other's changes
//! DIR/version              16 random bytes, new after every change: how another process notices
//! DIR/TABLE/KEY            KEY in hexadecimal:  ├ "estafette record 1\n" ┼ value … ┼ BLAKE3 of table, key and value, 32 ┤
//! DIR/TABLE/KEY.new        a record that is being written
//! DIR/TABLE/KEY.damaged    a record that could not be read, set aside; KEY.2.damaged, and so on, when it happens again
//! DIR/changes              changes that belong together, until all records have them:  ├ "estafette changes 1\n" ┼ changes … ┼ BLAKE3, 32 ┤
//! ```
//!
//! Invariant: a record is written beside its place, synced and renamed, so that after a crash it is
//! the old one or the new one. Changes that belong together are made from the moment on when
//! `DIR/changes` is there: whoever reads finds them in it, whoever writes next ends them.

mod journal;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use rustix::io::Errno;

use super::{Change, Hold, Store};

/// A durable [`Store`] for up to some thousands of records, which several processes may share.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    /// One writer at a time in this process: the name of a new record is always the same.
    writing: Mutex<()>,
    /// Tables that have been there: one that is missing later is not empty.
    tables: Mutex<BTreeSet<String>>,
    /// Steps that succeed before all others fail, as if the process died.
    #[cfg(test)]
    pub(crate) steps: std::sync::atomic::AtomicUsize,
}

impl FileStore {
    /// The longest key, in bytes.
    pub const KEY_LIMIT: usize = 64;
    /// The longest value, in bytes.
    pub const VALUE_LIMIT: usize = 1 << 20;

    /// Opens the store in `folder`, or makes it, for its owner only.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        make_private(&folder)?;
        Ok(Self {
            folder,
            writing: Mutex::default(),
            tables: Mutex::default(),
            #[cfg(test)]
            steps: usize::MAX.into(),
        })
    }

    /// Takes a step, at which a test may let the process die.
    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        use std::sync::atomic::Ordering::Relaxed;
        match self.steps.fetch_update(Relaxed, Relaxed, |steps| steps.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("the process is dead")),
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "it is there for tests")]
    const fn step(&self) -> io::Result<()> {
        Ok(())
    }

    /// Returns the folder of the store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the bytes that this process may still take of the disk that the store is on.
    pub fn free(&self) -> io::Result<u64> {
        let figures = rustix::fs::statvfs(&self.folder)?;
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }

    /// Returns the keys of a table, in their order, and reads no value. Those of damaged records
    /// are among them.
    pub fn keys(&self, table: &str) -> io::Result<Vec<Vec<u8>>> {
        let pending = self.pending()?;
        let records = self.places(table)?.into_iter().map(|(key, _)| (key, Vec::new()));
        let known = journal::overlaid(records.collect(), pending, table);
        let mut keys: Vec<_> = known.into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// The keys of a table, and the files of their records.
    fn places(&self, table: &str) -> io::Result<Vec<(Vec<u8>, PathBuf)>> {
        let folder = self.folder.join(table);
        let entries = match fs::read_dir(&folder) {
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && !self.has_been(table)
                    && self.folder.is_dir() =>
            {
                return Ok(Vec::new());
            }
            entries => entries.map_err(|error| named(&folder, &error))?,
        };
        self.saw(table);
        let mut places = Vec::new();
        for entry in entries {
            let path = entry?.path();
            // What is no record has another kind of name.
            let name = path.file_name().map(std::ffi::OsStr::as_encoded_bytes);
            if let Some(key) = name.and_then(|name| HEX.decode(name).ok()) {
                places.push((key, path));
            }
        }
        Ok(places)
    }

    fn place(&self, table: &str, key: &[u8]) -> io::Result<PathBuf> {
        if table.is_empty() || !table.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                format!("{table:?} is no table: lower-case letters are wanted"),
            ));
        }
        if key.is_empty() || key.len() > Self::KEY_LIMIT {
            let text = format!("a key has 1 to {} bytes, not {}", Self::KEY_LIMIT, key.len());
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(self.folder.join(table).join(HEX.encode(key)))
    }

    /// Tells other processes that something changes; they read it once this one lets go of the
    /// store, or is dead.
    fn changing(&self) -> io::Result<()> {
        let (new, place) = (self.folder.join("version.new"), self.folder.join("version"));
        let mut version = [0; 16];
        self.step()?;
        getrandom::fill(&mut version).map_err(io::Error::other)?;
        match private(&new).and_then(|mut file| written(&mut file, &new, &version)) {
            // What is removed makes room: the bytes that are there are written over, and whoever
            // reads one half of each reads another version all the same.
            Err(error)
                if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                match OpenOptions::new().write(true).open(&place) {
                    // There has been no change yet, so there is nothing to write over.
                    Err(none) if none.kind() == ErrorKind::NotFound => Err(error),
                    Err(error) => Err(named(&place, &error)),
                    Ok(mut file) => written(&mut file, &place, &version),
                }
            }
            made => made.and_then(|()| fs::rename(new, place)),
        }
    }

    fn write_record(&self, place: &Path, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        let table_folder = self.folder.join(table);
        make_private(&table_folder)?;
        self.saw(table);
        let new = place.with_extension("new");
        self.step()?;
        let mut file = private(&new)?;
        written(&mut file, &new, &[MAGIC, value, &checksum(table, key, value)].concat())?;
        file.sync_all()?;
        self.step()?;
        fs::rename(&new, place)?;
        self.step()?;
        sync_folder(&table_folder)
    }

    fn remove_record(&self, place: &Path) -> io::Result<()> {
        self.step()?;
        match fs::remove_file(place) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(|error| named(place, &error))?,
        }
        self.step()?;
        place.parent().map_or(Ok(()), sync_folder)
    }

    fn saw(&self, table: &str) {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).insert(table.to_owned());
    }

    fn has_been(&self, table: &str) -> bool {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).contains(table)
    }

    fn check_value(value: &[u8]) -> io::Result<()> {
        if value.len() > Self::VALUE_LIMIT {
            let text =
                format!("a record has at most {} bytes, not {}", Self::VALUE_LIMIT, value.len());
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(())
    }
}

impl Store for FileStore {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let pending = self.pending()?;
        let mut records = Vec::new();
        for (key, path) in self.places(table)? {
            match read_record(&path, table, &key) {
                Ok(value) => records.push((key, value)),
                // Removed since the folder was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::InvalidData => set_aside(&path, &error)?,
                Err(error) => return Err(named(&path, &error)),
            }
        }
        Ok(journal::overlaid(records, pending, table))
    }

    fn find(&self, table: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let (pending, place) = (self.pending()?, self.place(table, key)?);
        let found = match read_record(&place, table, key) {
            Ok(value) => vec![(key.to_vec(), value)],
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                set_aside(&place, &error)?;
                Vec::new()
            }
            Err(error) => return Err(named(&place, &error)),
        };
        let known = journal::overlaid(found, pending, table).into_iter();
        Ok(known.filter(|(known, _)| known == key).map(|(_, value)| value).next())
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        let place = self.place(table, key)?;
        Self::check_value(value)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.end_pending()?;
        self.changing()?;
        self.write_record(&place, table, key, value).map_err(|error| named(&place, &error))
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        let place = self.place(table, key)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.end_pending()?;
        self.changing()?;
        self.remove_record(&place)
    }

    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        self.write_together(changes)
    }

    fn hold(&self) -> io::Result<Hold> {
        let path = self.folder.join("lock");
        let file = private(&path)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                // Closing the file frees the lock, whatever becomes of the process.
                Ok(()) => return Ok(Hold::new(file)),
                Err(TryLockError::Error(error)) => {
                    let text = format!(
                        "{} can't be locked ({error}), and without locks two processes could \
                         change it at once: name a folder on another file system",
                        path.display()
                    );
                    return Err(io::Error::new(error.kind(), text));
                }
                Err(TryLockError::WouldBlock) if start.elapsed() > HELD_MOST => {
                    let text = format!(
                        "another process has held {} for {HELD_MOST:?}; is one of them stopped?",
                        path.display()
                    );
                    return Err(io::Error::new(ErrorKind::TimedOut, text));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn version(&self) -> io::Result<u128> {
        match fs::read(self.folder.join("version")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            // A version of another length is another version all the same.
            version => Ok(version?.try_into().map_or(1, u128::from_le_bytes)),
        }
    }
}

fn read_record(path: &Path, table: &str, key: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(RECORD_LIMIT + 1).read_to_end(&mut bytes)?;
    let value = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_last_chunk::<32>());
    match value {
        Some((value, sum))
            if bytes.len() as u64 <= RECORD_LIMIT && checksum(table, key, value) == *sum =>
        {
            Ok(value.to_vec())
        }
        _ => Err(io::Error::new(ErrorKind::InvalidData, "its checksum does not agree")),
    }
}

/// A damaged record grants nothing: it is kept for people to look at, and the rest goes on.
fn set_aside(path: &Path, error: &io::Error) -> io::Result<()> {
    // What was set aside before stays.
    let asides = std::iter::once("damaged".to_owned())
        .chain((2..).map(|number| format!("{number}.damaged")));
    let aside = asides
        .map(|extension| path.with_extension(extension))
        .find(|aside| !aside.exists())
        .expect("numbers do not end");
    tracing::error!(
        record = %path.display(), %error, kept = %aside.display(),
        "a record is damaged and was set aside; what it said must be said again"
    );
    fs::rename(path, aside)
}

fn checksum(table: &str, key: &[u8], value: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("estafette 2026 file store record");
    for part in [table.as_bytes(), key, value] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    *hasher.finalize().as_bytes()
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn written(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes).map_err(|error| named(path, &error))
}

/// Makes a folder, and those above it, durably.
fn make_private(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let new: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| named(folder, &error))?;
    for made in new {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        sync_folder(above).map_err(|error| named(above, &error))?;
    }
    Ok(())
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| named(path, &error))
}

/// Makes the names in a folder durable, as far as its file system can: some don't sync folders.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match rustix::fs::fsync(File::open(folder)?) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::BADF) => Ok(()),
        synced => Ok(synced?),
    }
}

const MAGIC: &[u8] = b"estafette record 1\n";
const RECORD_LIMIT: u64 = (MAGIC.len() + FileStore::VALUE_LIMIT + 32) as u64;
/// A change takes milliseconds: who holds the lock for longer is stuck.
const HELD_MOST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
