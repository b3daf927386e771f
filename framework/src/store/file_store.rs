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

    /// Where a test lets the process die.
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
        private(&new)?.write_all(&version)?;
        fs::rename(new, place)
    }

    fn write_record(&self, place: &Path, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        let table_folder = self.folder.join(table);
        make_private(&table_folder)?;
        self.saw(table);
        let new = place.with_extension("new");
        self.step()?;
        let mut file = private(&new)?;
        file.write_all(&[MAGIC, value, &checksum(table, key, value)].concat())?;
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
        let folder = self.folder.join(table);
        let mut records = Vec::new();
        let entries = match fs::read_dir(&folder) {
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && !self.has_been(table)
                    && self.folder.is_dir() =>
            {
                return Ok(journal::overlaid(records, pending, table));
            }
            entries => entries.map_err(|error| named(&folder, &error))?,
        };
        self.saw(table);
        for entry in entries {
            let path = entry?.path();
            // What is no record has another kind of name.
            let Some(key) =
                path.file_name().and_then(|name| HEX.decode(name.as_encoded_bytes()).ok())
            else {
                continue;
            };
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
                Err(TryLockError::Error(error)) => return Err(named(&path, &error)),
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

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| named(folder, &error))
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| named(path, &error))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

const MAGIC: &[u8] = b"estafette record 1\n";
const RECORD_LIMIT: u64 = (MAGIC.len() + FileStore::VALUE_LIMIT + 32) as u64;
/// A change takes milliseconds: who holds the lock for longer is stuck.
const HELD_MOST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, FileStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path().join("deep/store")).unwrap();
        (folder, store)
    }

    #[test]
    fn records_outlive_the_store() {
        let (_folder, store) = store();
        store.put("peers", b"a", b"1").unwrap();
        store.put("peers", b"a", b"2").unwrap();
        store.put("peers", b"b", b"").unwrap();
        store.put("tickets", b"a", b"3").unwrap();
        store.remove("peers", b"b").unwrap();
        store.remove("peers", b"never there").unwrap();
        let again = FileStore::open(store.folder()).unwrap();
        assert_eq!(again.load("peers").unwrap(), [(b"a".to_vec(), b"2".to_vec())]);
        assert_eq!(again.load("tickets").unwrap(), [(b"a".to_vec(), b"3".to_vec())]);
        assert_eq!(again.load("empty").unwrap(), []);
        assert_eq!(again.find("peers", b"a").unwrap(), Some(b"2".to_vec()));
        assert_eq!(again.find("peers", b"b").unwrap(), None);
        fs::write(again.folder().join("tickets").join(HEX.encode(b"a")), "garbage").unwrap();
        assert_eq!(again.find("tickets", b"a").unwrap(), None, "it is set aside");
    }

    #[test]
    fn a_change_is_noticed_by_another_process() {
        let (_folder, store) = store();
        let other = FileStore::open(store.folder()).unwrap();
        let mut seen = vec![other.version().unwrap()];
        store.put("peers", b"a", b"1").unwrap();
        seen.push(other.version().unwrap());
        store.remove("peers", b"a").unwrap();
        seen.push(other.version().unwrap());
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn a_damaged_record_is_set_aside_and_the_others_stay() {
        let (_folder, store) = store();
        for key in [b"a", b"b", b"c"] {
            store.put("peers", key, key).unwrap();
        }
        let place = |key: &[u8]| store.folder().join("peers").join(HEX.encode(key));
        fs::write(place(b"a"), "garbage").unwrap();
        // A record in the place of another one is no record.
        fs::copy(place(b"c"), place(b"b")).unwrap();
        assert_eq!(store.load("peers").unwrap(), [(b"c".to_vec(), b"c".to_vec())]);
        assert!(
            place(b"a").with_extension("damaged").exists()
                && place(b"b").with_extension("damaged").exists()
        );
        assert_eq!(store.load("peers").unwrap().len(), 1);
    }

    #[test]
    fn a_table_that_vanished_is_not_empty() {
        let (_folder, store) = store();
        assert_eq!(store.load("peers").unwrap(), []);
        store.put("peers", b"a", b"1").unwrap();
        fs::rename(store.folder().join("peers"), store.folder().join("aside")).unwrap();
        assert!(store.load("peers").is_err());
        fs::remove_dir_all(store.folder()).unwrap();
        assert!(store.load("never").is_err(), "nor is a store");
    }

    #[test]
    fn what_is_damaged_again_is_set_aside_beside_the_first() {
        let (_folder, store) = store();
        for content in ["one", "two"] {
            store.put("peers", b"a", b"1").unwrap();
            fs::write(store.folder().join("peers").join(HEX.encode(b"a")), content).unwrap();
            assert_eq!(store.load("peers").unwrap(), []);
        }
        let place = store.folder().join("peers").join(HEX.encode(b"a"));
        assert_eq!(fs::read(place.with_extension("damaged")).unwrap(), b"one");
        assert_eq!(fs::read(place.with_extension("2.damaged")).unwrap(), b"two");
    }

    #[test]
    fn the_lock_is_free_again_when_it_is_dropped() {
        let (_folder, store) = store();
        let held = store.hold().unwrap();
        assert!(matches!(
            File::open(store.folder().join("lock")).unwrap().try_lock(),
            Err(TryLockError::WouldBlock)
        ));
        drop(held);
        drop(store.hold().unwrap());
    }

    #[test]
    fn strange_tables_and_keys_are_refused() {
        let (_folder, store) = store();
        for (table, key) in
            [("../peers", &b"a"[..]), ("", b"a"), ("peers", b""), ("peers", &[0; 65])]
        {
            assert_eq!(store.put(table, key, b"").unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(
            store.put("peers", b"a", &vec![0; FileStore::VALUE_LIMIT + 1]).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, store) = store();
        store.put("peers", b"a", b"1").unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.folder().to_path_buf()), 0o700);
        assert_eq!(mode(store.folder().join("peers").join(HEX.encode(b"a"))), 0o600);
    }
}
