//! Recognition of content that was delivered before and is still there: the answer to an offer of
//! the same.
//!
//! Invariant: what is said to be there was delivered by the same peer under the same name, has the
//! digest that the sender asks for, and was not touched since, or, of a file, was read again and
//! found to be the same.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use estafette::delivery::ContentKind;
use estafette::pipeline::{Committed, Offer, Placement, Resumed, Sink, SinkError, Summary};
use estafette::wire::codec;
use futures_util::future::BoxFuture;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use serde::{Deserialize, Serialize};

use super::errors::closed;
use super::home::Home;

/// The words that a folder wants to be told when the same name is offered again. A change of the
/// format is a new variant.
#[derive(Debug, Serialize, Deserialize)]
enum Memo {
    V1(Delivered),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Delivered {
    /// The name that it got.
    name: Vec<u8>,
    is_tree: bool,
    files: u64,
    length: u64,
    digest: [u8; 32],
    mark: Mark,
}

/// The state of an entry of a folder as long as nobody touches it: any change to it, or another one
/// in its place, has a later time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

/// Adds a memo to what was just made visible under this name as this inode, unless something else
/// is there by now, or it is not whole.
pub(super) fn remember(
    committed: &mut Committed,
    home: &Home,
    name: &[u8],
    inode: u64,
    summary: &Summary,
) {
    let Some(stat) =
        stat(home.dir(), name).filter(|stat| stat.st_ino == inode && committed.skipped == 0)
    else {
        return;
    };
    let (is_tree, files, mark) =
        (kind(&stat) == FileType::Directory, committed.files, Mark::of(&stat));
    let Summary { length, digest } = *summary;
    committed.memo =
        Delivered { name: name.to_vec(), is_tree, files, length, digest, mark }.encode();
}

/// The sink of an offer that need not be sent, if what it offers is there already.
pub(super) fn find(home: &Home, offer: &Offer) -> Option<There> {
    let (wanted, memo) = (offer.version?, offer.memo.as_deref()?);
    let Ok(Memo::V1(delivered)) = codec::decode(memo) else { return None };
    if delivered.digest != wanted || delivered.is_tree != (offer.content.kind == ContentKind::Tree)
    {
        return None;
    }
    let mark = delivered.look(home, offer)?;
    let summary = Summary { length: delivered.length, digest: delivered.digest };
    let (there, files) = (home.committed(&delivered.name), delivered.files);
    let memo = Delivered { mark, ..delivered }.encode();
    Some(There { summary, committed: Committed { files, memo, ..there } })
}

impl Delivered {
    fn encode(self) -> Option<Vec<u8>> {
        codec::encode(&Memo::V1(self)).ok()
    }

    /// Returns its mark of now, if it is what it was.
    fn look(&self, home: &Home, offer: &Offer) -> Option<Mark> {
        let stat = stat(home.dir(), &self.name)?;
        let mark = Mark::of(&stat);
        match kind(&stat) {
            FileType::Directory if self.is_tree => {
                (mark == self.mark && mark.tells() && is_untouched(home, &self.name, &stat))
                    .then_some(mark)
            }
            FileType::RegularFile if !self.is_tree && mark == self.mark && mark.tells() => {
                Some(mark)
            }
            // Given another name or other permissions, or put there anew: only its bytes tell. A
            // sender does not make us read without end.
            FileType::RegularFile
                if !self.is_tree && u64::try_from(stat.st_size) == Ok(self.length) =>
            {
                let may_read =
                    offer.journal.as_ref().is_some_and(|journal| journal.may_verify(self.length));
                (may_read && self.is_digest_of(home)?).then_some(mark)
            }
            _ => None,
        }
    }

    fn is_digest_of(&self, home: &Home) -> Option<bool> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file =
            File::from(rustix::fs::openat(home.dir(), &*self.name, flags, Mode::empty()).ok()?);
        let before = rustix::fs::fstat(&file).ok()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&file).ok()?;
        let is_still = Mark::of(&rustix::fs::fstat(&file).ok()?) == Mark::of(&before);
        Some(is_still && *hasher.finalize().as_bytes() == self.digest)
    }
}

impl Mark {
    fn of(stat: &Stat) -> Self {
        Self { inode: stat.st_ino, size: stat.st_size, changed: changed(stat) }
    }

    /// Returns `true` if its time is of a file system that has such times: those of FAT are of
    /// modifications, by the second or its hundredths.
    fn tells(&self) -> bool {
        self.changed.1 % 10_000_000 != 0
    }
}

/// Returns `true` if nothing below this folder was touched later than the folder itself, when it
/// was made visible; nor lies on another file system, which would be mounted there since.
fn is_untouched(home: &Home, name: &[u8], top: &Stat) -> bool {
    let mut folders = Vec::new();
    let Some(folder) = open_folder(home.dir(), name) else { return false };
    folders.push(folder);
    while let Some(folder) = folders.last_mut() {
        let entry = match folder.read() {
            Some(Ok(entry)) if [&b"."[..], b".."].contains(&entry.file_name().to_bytes()) => {
                continue;
            }
            Some(Ok(entry)) => entry,
            Some(Err(_)) => return false,
            None => {
                folders.pop();
                continue;
            }
        };
        let name = entry.file_name().to_bytes();
        let Ok(parent) = folder.fd() else { return false };
        let Some(there) = stat(parent, name)
            .filter(|there| there.st_dev == top.st_dev && changed(there) <= changed(top))
        else {
            return false;
        };
        if kind(&there) == FileType::Directory {
            // Deeper than anything that is delivered.
            let Some(inner) = open_folder(parent, name).filter(|_| folders.len() < DEPTH) else {
                return false;
            };
            folders.push(inner);
        }
    }
    true
}

/// Deeper than this, folders were not delivered: what was is at most 128 deep.
const DEPTH: usize = 130;

fn open_folder(parent: impl AsFd, name: &[u8]) -> Option<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder: OwnedFd = rustix::fs::openat(parent, name, flags, Mode::empty()).ok()?;
    Dir::new(folder).ok()
}

fn stat(parent: impl AsFd, name: &[u8]) -> Option<Stat> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn changed(stat: &Stat) -> (i64, i64) {
    // Their types differ from system to system.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    (stat.st_ctime as i64, stat.st_ctime_nsec as i64)
}

/// Takes nothing, since all is there.
#[derive(Debug)]
pub(super) struct There {
    summary: Summary,
    committed: Committed,
}

impl Sink for There {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(
        &'a mut self,
        _offset: u64,
        _bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(Err(closed())))
    }

    fn commit<'a>(
        &'a mut self,
        _summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(std::future::ready(Err(closed())))
    }

    fn abort(&mut self, _reason: &str) {}

    fn resumed(&self) -> Resumed {
        Resumed::AlreadyThere(self.summary, self.committed.clone())
    }
}
