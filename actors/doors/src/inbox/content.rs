//! The content of an arrival: found, compared with its digest, and read in pieces.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use estafette::node::{Arrival, blocking};
use rustix::fs::{CWD, Mode, OFlags, openat};

/// Content is read in pieces of so many bytes.
pub(crate) const PIECE: usize = 64 << 10;
/// Files of which it is remembered what is in them.
const KNOWN_MOST: usize = 4_096;
/// A file whose times are young is looked at again so often before it is said to be changing.
const LOOKS: u32 = 8;

/// The reason why content can't be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentError {
    /// It was never a file of its own here.
    #[error("it is no plain file here: folders, and what programs took, are not given")]
    NoFile,
    /// It is not there any more.
    #[error("the file is not where it arrived any more")]
    Gone,
    /// The file there is not what arrived.
    #[error(
        "what lies where it arrived is not what arrived, byte for byte: it was changed since, or \
         on its way into the inbox, by a filter"
    )]
    Changed,
    /// It can't be read.
    #[error("the file can't be read: {0}")]
    Unreadable(String),
    /// As many are being compared as may be.
    #[error("as many contents are compared as may be")]
    Busy,
}

/// The data of the file system on a file, which is another as soon as it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Digests of files, by their versions.
#[derive(Debug, Default)]
pub(crate) struct Contents(Mutex<Known>);

/// The knowledge of one version.
#[derive(Debug, Default)]
struct Digest {
    known: OnceLock<[u8; 32]>,
    /// Held by who compares it.
    comparing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    digests: HashMap<Version, Arc<Digest>>,
    /// In the order in which they came.
    order: VecDeque<Version>,
}

impl Version {
    /// The time until a further change of the file would be told by its times, which have a grain:
    /// that of the kernel's clock, or of a file system that keeps whole seconds.
    fn unsettled(&self) -> Duration {
        let (seconds, nanos) = self.changed;
        let grain = Duration::from_millis(if nanos == 0 { 2_000 } else { 20 });
        let since = Duration::new(seconds.try_into().unwrap_or(0), nanos.try_into().unwrap_or(0));
        // A clock that was set back since says another time for any change.
        let age = SystemTime::now().duration_since(UNIX_EPOCH + since).unwrap_or(grain);
        grain.saturating_sub(age)
    }
}

/// A file that is what arrived.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    file: Arc<File>,
    version: Version,
}

impl Contents {
    /// The content of an arrival, if it is there and what arrived. All of it is read, unless that
    /// was done before; whoever waits for that may go away, and finds it done when he comes again.
    /// `place` is asked for first, and kept as long as it takes.
    pub(crate) async fn open<P: Send + 'static>(
        &self,
        arrival: &Arrival,
        place: impl FnOnce() -> Option<P>,
    ) -> Result<Content, ContentError> {
        let (content, digest) =
            self.compared(&path_of(arrival)?, arrival.receipt.length, place).await?;
        if digest == arrival.receipt.digest { Ok(content) } else { Err(ContentError::Changed) }
    }

    /// A file of this length, and the digest of what is in it. Only who compares it holds it
    /// meanwhile: those who wait for that, however many, hold no file.
    async fn compared<P: Send + 'static>(
        &self,
        path: &Path,
        length: u64,
        place: impl FnOnce() -> Option<P>,
    ) -> Result<(Content, [u8; 32]), ContentError> {
        let failed = |error: io::Error| ContentError::Unreadable(error.to_string());
        let mut looks = 0;
        loop {
            let own = path.to_owned();
            let content = blocking(move || open(&own)).await.map_err(failed)??;
            if content.version.length != length {
                return Err(ContentError::Changed);
            }
            let unsettled = content.version.unsettled();
            if !unsettled.is_zero() {
                drop(content);
                looks += 1;
                if looks > LOOKS {
                    return Err(ContentError::Changed);
                }
                tokio::time::sleep(unsettled).await;
                continue;
            }
            let digest = self.known().entry(content.version);
            if let Some(known) = digest.known.get() {
                return Ok((content, *known));
            }
            let Ok(comparing) = Arc::clone(&digest.comparing).try_lock_owned() else {
                drop(content);
                drop(digest.comparing.lock().await);
                continue;
            };
            let place = place().ok_or(ContentError::Busy)?;
            let (own, noted) = (content.clone(), Arc::clone(&digest));
            // It goes on without who asked.
            let compared = blocking(move || {
                let found = own.digest();
                if let Ok(found) = found {
                    // Nobody else holds the lock.
                    let _ = noted.known.set(found);
                }
                drop((own, comparing, place));
                found
            });
            return Ok((content, compared.await.map_err(failed)??));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn entry(&mut self, version: Version) -> Arc<Digest> {
        if let Some(known) = self.digests.get(&version) {
            return Arc::clone(known);
        }
        if self.order.len() >= KNOWN_MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
        self.order.push_back(version);
        Arc::clone(self.digests.entry(version).or_default())
    }
}

impl Content {
    pub(crate) const fn length(&self) -> u64 {
        self.version.length
    }

    /// So many bytes from there, of what is still what was compared.
    pub(crate) async fn piece(&self, at: u64, count: usize) -> io::Result<Bytes> {
        let content = self.clone();
        let read = blocking(move || {
            let mut piece = vec![0; count];
            content.file.read_exact_at(&mut piece, at)?;
            content.is_same()?;
            Ok(piece.into())
        });
        read.await?
    }

    fn is_same(&self) -> io::Result<()> {
        if version(&self.file)? == self.version {
            return Ok(());
        }
        Err(io::Error::other("the file was changed while it was read"))
    }

    /// It blocks.
    fn digest(&self) -> Result<[u8; 32], ContentError> {
        let mut hasher = blake3::Hasher::new();
        let (mut piece, mut at) = (vec![0; PIECE], 0);
        let unreadable = |error: io::Error| ContentError::Unreadable(error.to_string());
        while at < self.version.length {
            let read = self.file.read_at(&mut piece, at).map_err(unreadable)?;
            if read == 0 {
                return Err(ContentError::Changed);
            }
            hasher.update(&piece[..read]);
            at += read as u64;
        }
        self.is_same().map_err(|_| ContentError::Changed)?;
        Ok(*hasher.finalize().as_bytes())
    }
}

/// The path of an arrival's file.
fn path_of(arrival: &Arrival) -> Result<PathBuf, ContentError> {
    let place = &arrival.receipt.place;
    let path = match &arrival.path {
        Some(path) => path.clone(),
        // An earlier build has noted what can be printed of it alone.
        None if place.contains(['\\', char::REPLACEMENT_CHARACTER])
            || place.len() > estafette::wire::SHOWN_LIMIT =>
        {
            return Err(ContentError::NoFile);
        }
        None => PathBuf::from(place),
    };
    let is_plain = path.components().all(|part| !matches!(part, Component::ParentDir));
    if path.is_absolute() && is_plain { Ok(path) } else { Err(ContentError::NoFile) }
}

/// Opens a plain file in its folder; nothing else, and not what a link there leads to. It blocks.
fn open(path: &Path) -> Result<Content, ContentError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ContentError::NoFile);
    };
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = openat(CWD, folder, OFlags::CLOEXEC | OFlags::DIRECTORY, Mode::empty())
        .and_then(|folder: OwnedFd| openat(folder.as_fd(), name, flags, Mode::empty()));
    let file = File::from(opened.map_err(|error| match error {
        rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => ContentError::Gone,
        // A link, a socket.
        rustix::io::Errno::LOOP | rustix::io::Errno::NXIO => ContentError::Changed,
        other => ContentError::Unreadable(io::Error::from(other).to_string()),
    })?);
    let unreadable = |error: io::Error| ContentError::Unreadable(error.to_string());
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(ContentError::NoFile);
    }
    let version = version(&file).map_err(unreadable)?;
    Ok(Content { file: Arc::new(file), version })
}

fn version(file: &File) -> io::Result<Version> {
    let now = file.metadata()?;
    Ok(Version {
        device: now.dev(),
        inode: now.ino(),
        length: now.size(),
        modified: (now.mtime(), now.mtime_nsec()),
        changed: (now.ctime(), now.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    fn open_files_at(path: &Path) -> usize {
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        let is_it = |entry: io::Result<std::fs::DirEntry>| {
            entry.and_then(|entry| std::fs::read_link(entry.path())).is_ok_and(|to| to == path)
        };
        all.map(is_it).filter(|is_it| *is_it).count()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_waits_for_a_comparison_holds_no_file_and_leaves_nothing_when_he_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("content");
        std::fs::write(&path, "0123456789").unwrap();
        let contents = Arc::new(Contents::default());
        let version = open(&path).unwrap().version;
        let digest = contents.known().entry(version);
        let comparing = Arc::clone(&digest.comparing).lock_owned().await;
        let waits = || {
            let (contents, path) = (Arc::clone(&contents), path.clone());
            tokio::spawn(async move { contents.compared(&path, 10, || Some(())).await })
        };
        let waiting: Vec<_> = (0..20).map(|_| waits()).collect();
        // The known one, this one, and those that wait.
        while Arc::strong_count(&digest) < 22 {
            tokio::task::yield_now().await;
        }
        assert_eq!(open_files_at(&path), 0);
        for one in waiting {
            one.abort();
            assert!(one.await.unwrap_err().is_cancelled());
        }
        assert_eq!(Arc::strong_count(&digest), 2);
        let waiting: Vec<_> = (0..20).map(|_| waits()).collect();
        drop(comparing);
        for one in waiting {
            let (_, found) = one.await.unwrap().unwrap();
            assert_eq!(found, *blake3::hash(b"0123456789").as_bytes());
        }
        let busy = contents.compared(&path, 10, || None::<()>).await;
        assert!(busy.is_ok(), "what is known takes no place");
        contents.known().digests.clear();
        let busy = contents.compared(&path, 10, || None::<()>).await.map(drop);
        assert_eq!(busy, Err(ContentError::Busy));
    }
}
