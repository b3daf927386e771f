//! Packages that have stopped coming in, and the room in the spool's folder that all packages of a
//! peer have.
//!
//! Invariant: a file of a package that no attempt works on stands in [`Stopped`], with the room it
//! takes; so it goes when its time is over, when its sender needs the room for another one, when
//! its sender is revoked, or when an attempt goes on with it.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::config::{RelayQuota, SPOOL_FREE};
use super::ledger::{Account, Charge, Full, Kind, Ledger};
use super::memory::delivery_key;
use crate::delivery::TransferId;
use crate::pipeline::Journal;
use crate::store::{Store, sync_folder};
use crate::wire::PeerId;

/// The ending of the file name of a package that comes in.
pub(crate) const COMING: &str = ".coming";

/// The room of one package.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: Charge,
    files: Charge,
}

impl Room {
    /// Room for a package of so many bytes, if its sender may have so much here.
    pub(crate) fn take(account: &Account, quota: RelayQuota, bytes: u64) -> Result<Self, Full> {
        let files = account.charge_within(Kind::Packages, 1, quota.packages as u64)?;
        Ok(Self { bytes: account.charge_within(Kind::PackageBytes, bytes, quota.bytes)?, files })
    }

    /// The room of what is there already.
    pub(crate) fn of(account: &Account, bytes: u64, files: u64) -> Self {
        Self {
            bytes: account.charge_anyway(Kind::PackageBytes, bytes),
            files: account.charge_anyway(Kind::Packages, files),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.amount()
    }

    /// Makes it large enough for so many bytes.
    pub(crate) fn grow_to(&mut self, bytes: u64, quota: RelayQuota) -> Result<(), Full> {
        self.bytes.grow_within(bytes.saturating_sub(self.bytes.amount()), quota.bytes)
    }

    /// Makes it just so large.
    pub(crate) fn set(&mut self, bytes: u64, files: u64) {
        self.bytes.set(bytes);
        self.files.set(files);
    }
}

/// The files of packages that stopped coming.
#[derive(Debug, Default)]
pub(crate) struct Stopped(Mutex<HashMap<(PeerId, TransferId), Left>>);

/// The file of one of them.
#[derive(Debug)]
pub(crate) struct Left {
    path: PathBuf,
    pub(crate) room: Room,
    since: Instant,
    /// Its file's stamp when it stopped: as long as it is that, nobody has to read it again.
    pub(crate) stamp: Option<Stamp>,
}

/// A mark of a file that changes with it, taken without reading it. Times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: (u64, u64),
    size: u64,
    times: [i64; 4],
}

impl Stamp {
    pub(crate) fn of(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok()?;
        let times =
            [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
        Some(Self { file: (metadata.dev(), metadata.ino()), size: metadata.size(), times })
    }
}

impl Stopped {
    /// Takes up what an earlier process has left in the spool's folder, and removes what nobody can
    /// go on with.
    pub(crate) fn take_up(&self, spool: &dyn Store, ledger: &Ledger, now: u64) -> io::Result<()> {
        let Some(folder) = spool.folder() else { return Ok(()) };
        let live = |(key, note): (Vec<u8>, Vec<u8>)| (Journal::expires(&note) > now).then_some(key);
        let noted: HashSet<_> = spool.load(Journal::TABLE)?.into_iter().filter_map(live).collect();
        let (mut removed, since) = (false, Instant::now());
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(stem) = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_suffix(COMING))
            else {
                continue;
            };
            match parse(stem)
                .filter(|&(peer, transfer)| noted.contains(&delivery_key(peer, transfer)))
            {
                Some((peer, transfer)) => {
                    // An earlier node of this process may be letting go of it just now.
                    let Some(there) = if_there(std::fs::metadata(&path))? else { continue };
                    let room = Room::of(&ledger.account(peer), there.len(), 1);
                    self.table().insert((peer, transfer), Left { path, room, since, stamp: None });
                }
                None => {
                    tracing::info!(
                        file = %path.display(),
                        "removing what has come of a package that nobody can go on with"
                    );
                    removed |= if_there(std::fs::remove_file(&path))?.is_some();
                }
            }
        }
        if removed { sync_folder(folder) } else { Ok(()) }
    }

    /// A package has stopped coming, and its sender may come back with it.
    pub(crate) fn put(
        &self,
        (peer, transfer): (PeerId, TransferId),
        path: PathBuf,
        file: &File,
        mut room: Room,
    ) {
        room.set(file.metadata().map_or(room.bytes(), |metadata| metadata.len()), 1);
        let left = Left { path, room, since: Instant::now(), stamp: Stamp::of(file) };
        self.table().insert((peer, transfer), left);
    }

    /// Takes a package out whose file is held.
    pub(crate) fn take(&self, peer: PeerId, transfer: TransferId) -> Option<Left> {
        self.table().remove(&(peer, transfer))
    }

    /// The keys of the notes about them.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        self.table().keys().map(|&(peer, transfer)| delivery_key(peer, transfer)).collect()
    }

    /// Whose there are.
    pub(crate) fn peers(&self) -> HashSet<PeerId> {
        self.table().keys().map(|(peer, _)| *peer).collect()
    }

    /// Removes the oldest of a peer; whether there was one. Blocks.
    pub(crate) fn drop_oldest(&self, peer: PeerId, spool: &dyn Store) -> bool {
        let oldest = |table: &HashMap<(PeerId, TransferId), Left>| {
            let theirs = table.iter().filter(|((known, _), _)| *known == peer);
            theirs.min_by_key(|(_, left)| left.since).map(|(&key, _)| key)
        };
        let key = oldest(&self.table());
        key.is_some_and(|key| {
            self.remove(vec![key], spool, "its sender needs the room for another one").0 > 0
        })
    }

    /// Removes what was left too long ago. Blocks.
    pub(crate) fn drop_old(&self, patience: Duration, spool: &dyn Store) {
        let old: Vec<_> = self
            .table()
            .iter()
            .filter(|(_, left)| left.since.elapsed() >= patience)
            .map(|(&key, _)| key)
            .collect();
        self.remove(old, spool, "its sender has not come back with it");
    }

    /// Removes all of a peer; how many, and how many bytes. Blocks.
    pub(crate) fn forget(&self, peer: PeerId, spool: &dyn Store) -> (usize, u64) {
        let theirs = self.table().keys().filter(|(known, _)| *known == peer).copied().collect();
        self.remove(theirs, spool, "its sender was revoked")
    }

    fn remove(
        &self,
        keys: Vec<(PeerId, TransferId)>,
        spool: &dyn Store,
        why: &str,
    ) -> (usize, u64) {
        let (mut count, mut bytes) = (0, 0);
        for key in keys {
            let Some(left) = self.take_unused(key) else { continue };
            tracing::info!(
                transfer = %key.1, peer = %key.0.short(), bytes = left.room.bytes(), why,
                "removing what has come of a package"
            );
            (count, bytes) = (count + 1, bytes + left.room.bytes());
            // The note after the file, and the file for good: it must not come back as one that
            // nobody knows of.
            let removed = left
                .path
                .parent()
                .map_or(Ok(()), sync_folder)
                .and_then(|()| spool.remove(Journal::TABLE, &delivery_key(key.0, key.1)));
            if let Err(error) = removed {
                tracing::warn!(
                    file = %left.path.display(), %error,
                    "the note about a package stays until it expires"
                );
            }
        }
        (count, bytes)
    }

    /// Takes one out whose file nobody has opened, and removes that.
    fn take_unused(&self, key: (PeerId, TransferId)) -> Option<Left> {
        let mut table = self.table();
        let path = &table.get(&key)?.path;
        match OpenOptions::new().read(true).write(true).open(path) {
            // An attempt has just begun to go on with it.
            Ok(file) if file.try_lock().is_err() => return None,
            Ok(_file) => {
                if let Err(error) = std::fs::remove_file(path) {
                    tracing::warn!(
                        file = %path.display(), %error,
                        "what has come of a package could not be removed"
                    );
                    return None;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(
                    file = %path.display(), %error,
                    "what has come of a package can't be opened, so it stays"
                );
                return None;
            }
        }
        table.remove(&key)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<(PeerId, TransferId), Left>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest wait until an earlier attempt lets go.
const LET_GO: std::time::Duration = std::time::Duration::from_secs(10);

/// Opens a package's file for this attempt alone; `None` if another one doesn't let go of it.
///
/// Who finishes removes or moves the file while holding it, so what was waited for may by then have
/// no name any more: what counts is the file that bears the name once it is held.
pub(crate) fn hold(path: &Path) -> io::Result<Option<File>> {
    let start = std::time::Instant::now();
    while start.elapsed() <= LET_GO {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {
                let (held, named) = (file.metadata()?, std::fs::metadata(path));
                if named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
                    return Ok(Some(file));
                }
            }
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(std::time::Duration::from_millis(10))
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// `None` of a file that is not there.
fn if_there<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Returns the file name of a package that comes in.
pub(crate) fn coming_name(transfer: TransferId, peer: PeerId) -> String {
    format!("{transfer}-{peer}{COMING}")
}

fn parse(stem: &str) -> Option<(PeerId, TransferId)> {
    let (transfer, peer) = stem.split_once('-')?;
    let transfer: [u8; 24] =
        data_encoding::HEXLOWER.decode(transfer.as_bytes()).ok()?.try_into().ok()?;
    Some((peer.parse().ok()?, TransferId::from_bytes(transfer)))
}

/// Bytes that packages may still take of the disk that `folder` is on.
pub(crate) fn available(folder: &Path) -> io::Result<Available> {
    let figures = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(figures.f_frsize);
    Ok(Available { bytes: bytes(figures.f_bavail), of: bytes(figures.f_blocks) })
}

/// Bytes of a file system that are left.
pub(crate) struct Available {
    pub(crate) bytes: u64,
    /// Bytes of all of it.
    of: u64,
}

impl Available {
    /// Returns the bytes that stay free where so many were configured. The default is too much for
    /// small disks: of these it is a twentieth, as in a folder for deliveries.
    pub(crate) fn kept_free(&self, configured: u64) -> u64 {
        if configured == SPOOL_FREE { configured.min(self.of / 20) } else { configured }
    }
}

#[cfg(test)]
mod tests;
