//! Sources, which give content: the trait that users implement for a source of their own.
//!
//! A source has a thread of its own while its transfer runs, so it may block.

use std::fmt::Debug;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::delivery::Content;
use crate::wire::PeerId;

/// Content that can be read once from front to back, and perhaps again for a new attempt.
pub trait Source: Debug + Send + 'static {
    /// Describes the content. Called once, before the first read.
    fn content(&self) -> Content;

    /// Puts the next bytes at the front of `buffer` and tells how many; 0 only at the end.
    ///
    /// `buffer` is never empty. A short read is no end. It may block: it runs on the transfer's own
    /// thread. One that waits is dropped when its attempt is over: the next one begins with
    /// [`Source::rewind`].
    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>>;

    /// Called once after the end was read: the last check, and what had to be left out. After
    /// [`SourceError::Doubtful`], the next [`Source::rewind`] is to the start of what was read, if
    /// that is still there.
    fn finish(&mut self) -> Result<SourceReport, SourceError>;

    /// Returns a value that tells this content from any other that the same source could give.
    /// While it stays the same, an interrupted delivery may go on where it stood. `None`, the
    /// default, where that can't be told. Called after [`Source::content`], and again after each
    /// [`Source::rewind`].
    fn version(&self) -> Option<[u8; 32]> {
        None
    }

    /// Returns what is known of the content before it is sent, if it has been read before. Then its
    /// digest is its [version](Source::version), too, and a receiver that has it from an earlier
    /// delivery is not sent it again. `None`, the default, where nothing is known.
    fn known(&self) -> Option<Known> {
        None
    }

    /// Returns a reference by which another process finds the same content again. `None`, the
    /// default, where there is none: a delivery that has to outlive its process is copied then.
    fn reference(&self) -> Option<SourceReference> {
        None
    }

    /// Goes back to the start, for a new attempt; `false` where that can't be done.
    fn rewind(&mut self) -> Result<bool, SourceError> {
        Ok(false)
    }

    /// Returns the facts by which whoever sends each version of it tells what became of the last
    /// one. Called after [`Source::content`]. The default knows none.
    fn state(&self) -> SourceState {
        SourceState::default()
    }

    /// Reads it in this way from now on, for a receiver who removes what is not in it; `false`, the
    /// default, where it has no such way. Before the first read.
    fn mirror(&mut self, how: Mirroring) -> bool {
        let _ = how;
        false
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn content(&self) -> Content {
        (**self).content()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        (**self).read(buffer)
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        (**self).finish()
    }

    fn version(&self) -> Option<[u8; 32]> {
        (**self).version()
    }

    fn known(&self) -> Option<Known> {
        (**self).known()
    }

    fn reference(&self) -> Option<SourceReference> {
        (**self).reference()
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        (**self).rewind()
    }

    fn state(&self) -> SourceState {
        (**self).state()
    }

    fn mirror(&mut self, how: Mirroring) -> bool {
        (**self).mirror(how)
    }
}

/// The state of a source at one moment, besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// The folders that it reads, in their order; a bounded number.
    pub grounds: Vec<Ground>,
    /// The value that tells what is quiet in it now, and would be read with
    /// [`Mirroring::settled`], from any other.
    pub quiet: Option<[u8; 32]>,
    /// The reason, for a person, why it has no [version](Source::version) now: the first thing in
    /// it that has been written a moment ago, or that there is too much of it.
    pub unsettled: Option<String>,
}

/// A folder that a source reads, with all that is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// The name that it has in the content; empty for the one that is the content.
    pub name: String,
    /// The file system on which it is.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Set if a file or a link is in it, however deep.
    pub holds: bool,
}

/// A way of reading what is kept the same elsewhere, where what it lacks is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mirroring {
    /// A folder that holds something now has to hold something when it is read:
    /// [`SourceError::Emptied`], where it does not.
    pub filled: bool,
    /// Leaves out, as one that could not be read, each file that is being written.
    pub settled: bool,
}

/// The digest and report of content that was read before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// BLAKE3 of it.
    pub digest: [u8; 32],
    /// The source's report of that reading. It stands for the report of the delivery, if nothing
    /// need be sent.
    pub report: SourceReport,
}

/// A reference by which another process finds content. It is given back to
/// [`StageRegistry::reopener`](crate::node::StageRegistry::reopener).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReference {
    /// The name of the reopener that understands it.
    pub kind: String,
    /// The data that the reopener needs, at most 256 KiB.
    pub data: Vec<u8>,
}

/// A source's report when all was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// Files read: 1 for a file, any number for a tree, 0 for plain bytes.
    pub files: u64,
    /// The entries that could not be read and were left out, at most
    /// [`SourceReport::SKIPPED_LIMIT`] of them.
    pub skipped: Vec<Skipped>,
    /// The number of entries that were left out in all.
    pub skipped_total: u64,
    /// The number of these that were left out on request.
    pub skipped_by_choice: u64,
    /// Remarks on what was left behind, attributes of what was sent included: lines for a person,
    /// one for each kind, a bounded number.
    pub remarks: Vec<String>,
    /// The number of the first of these that tell of what could not be read. The others tell of
    /// what was left behind on request, or as it always is.
    pub failures: usize,
}

impl SourceReport {
    /// The most skipped entries that are named; further ones are only counted.
    pub const SKIPPED_LIMIT: usize = 1000;
}

/// An entry of a tree that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its path, printable.
    pub path: String,
    /// The reason, for a person.
    pub reason: String,
}

/// An error that stops a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Reading failed.
    #[error("could not read {what}: {error}")]
    Read {
        /// Path or name of what was read.
        what: String,
        /// The cause.
        error: std::io::Error,
    },
    /// The file is not what it was when reading began, so that what was sent is a mixture.
    #[error("{what} changed while it was sent ({how})")]
    Changed {
        /// Path of the file.
        what: String,
        /// The difference, for a person.
        how: String,
    },
    /// The file may have changed while it was read, though all that can be told of its content is
    /// as before: it got another name and lost it again, or its content was written and its time
    /// put back. From [`Source::finish`] alone; who reads it compares what it has read with the
    /// file, after a [`Source::rewind`], or takes it for [`SourceError::Changed`].
    #[error("{what} changed while it was sent ({how})")]
    Doubtful {
        /// Path of the file.
        what: String,
        /// The difference, for a person.
        how: String,
    },
    /// The content that was stored to be sent was damaged on the disk.
    #[error(
        "{what} is damaged at byte {offset}: {how}; what it holds can't be sent any more: set it \
         aside, and look at the disk"
    )]
    Damaged {
        /// Path of the file.
        what: String,
        /// The offset of the damage in the file, in bytes.
        offset: u64,
        /// The mismatch, for a person.
        how: String,
    },
    /// Stored content does not open with the key of this node. It may be sent when that runs under
    /// the key by which it was stored.
    #[error(
        "{what} does not open with the key of this node, {us}: it was stored under another key, or \
         its beginning was damaged; nothing of it is removed: run the node with the key that \
         belongs to its spool"
    )]
    OtherKey {
        /// Path of the file.
        what: String,
        /// The node that tried to open it.
        us: PeerId,
    },
    /// A folder that is to hold something holds nothing any more.
    #[error(
        "{what} held something and is empty now, and is not sent like that: whoever keeps the same \
         would remove all of it; see whether its disk is mounted"
    )]
    Emptied {
        /// Path of the folder.
        what: String,
    },
    /// The content can't be described or sent.
    #[error("{what} can't be sent: {why}")]
    Unsuitable {
        /// Path or name of what was read.
        what: String,
        /// The cause.
        why: String,
    },
}
