//! Sinks, which take content: the traits that users implement for a sink of their own.
//!
//! A sink has a thread of its own while its transfer runs, so it may block. Nothing reaches it that
//! was not authenticated.

use std::fmt::{Debug, Display};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::journal::Journal;
use crate::delivery::{Content, DigestFold, Receipt, TransferId};
use crate::wire::{FailureKind, PeerId};

/// A named place that takes deliveries: decides about each one, and gives it a sink.
pub trait Inbox: Debug + Send + Sync + 'static {
    /// Decides about a delivery before its first byte; the reason of a refusal travels to the
    /// sender.
    ///
    /// A refusal says that the delivery is not here: where an earlier attempt of it may have been
    /// committed, its sender is told by it that it was not delivered. So before it refuses one for
    /// good, an inbox looks at its [`journal`](Offer::journal), or wherever else it notes what it
    /// has committed: what it finds there it answers with [`Resumed::Committed`], whatever else
    /// speaks against the delivery. What it can't look up it refuses [for
    /// now](Refusal::for_now).
    ///
    /// May block: it runs on the transfer's own thread.
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal>;

    /// Removes what an attempt left here by this note, which no later one will go on with, and then
    /// the note. What is not of this inbox it leaves, with the note. Returns whether an attempt
    /// still works on it: then it has to be asked again. May block. Default: nothing is left by
    /// notes.
    fn discard(&self, _journal: &Journal) -> bool {
        false
    }
}

impl<I: Inbox + ?Sized> Inbox for Box<I> {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        (**self).open(offer)
    }

    fn discard(&self, journal: &Journal) -> bool {
        (**self).discard(journal)
    }
}

/// A delivery that a sender offers.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The sender, authenticated.
    pub peer: PeerId,
    /// The transfer's id, chosen by the sender: unique only together with `peer`.
    pub transfer: TransferId,
    /// The content, as the sender describes it.
    pub content: Content,
    /// Bytes per chunk.
    pub chunk_size: u32,
    /// The version of the content, as the sender states it
    /// ([`Source::version`](super::Source::version)). It is the BLAKE3 of the content where the
    /// sender knows that before it sends, and only then may the answer be
    /// [`Resumed::AlreadyThere`].
    pub version: Option<[u8; 32]>,
    /// The [memo](Committed::memo) of the last delivery that this peer made under this name to
    /// this inbox, if it is remembered.
    pub memo: Option<Vec<u8>>,
    /// The journal, in which a sink keeps what it needs to go on, and not to commit twice, after
    /// its process died. `None` where the node has no spool.
    pub journal: Option<Journal>,
}

impl Offer {
    /// An offer whose sink keeps no journal.
    pub fn new(peer: PeerId, transfer: TransferId, content: Content) -> Self {
        Self {
            peer,
            transfer,
            content,
            chunk_size: 256 << 10,
            version: None,
            memo: None,
            journal: None,
        }
    }
}

/// In what order a sink wants its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// From front to back: the assembler holds back what comes early.
    InOrder,
    /// As they come: each write names its offset.
    Anywhere,
}

/// Takes the content of one delivery.
pub trait Sink: Debug + Send + 'static {
    /// The order it wants its bytes in.
    fn placement(&self) -> Placement;

    /// Takes `bytes`, which begin at `offset` of the content. May block. One that waits is dropped
    /// when the delivery is given up.
    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>>;

    /// All bytes have arrived and the digest agrees: make them visible and durable, all or nothing.
    fn commit<'a>(
        &'a mut self,
        summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>>;

    /// The delivery failed or was cancelled: leave nothing behind. Not called after a successful
    /// commit.
    fn abort(&mut self, reason: &str);

    /// Returns what it holds from an earlier attempt, by its journal. Called once, before the first
    /// write.
    fn resumed(&self) -> Resumed {
        Resumed::Nothing
    }

    /// Makes durable what was written, and notes in the journal that the chunks before
    /// `progress.chunks` are. Called now and then where the offer had a journal.
    fn checkpoint<'a>(
        &'a mut self,
        _progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The delivery stops here and may go on in a later attempt: keep what the journal tells of,
    /// and nothing else.
    fn suspend(&mut self, reason: &str) {
        self.abort(reason);
    }
}

/// The part of a delivery that a sink holds before its first chunk comes.
#[derive(Clone, Debug)]
pub enum Resumed {
    /// Nothing.
    Nothing,
    /// The first chunks, verified to be what they were when they were written.
    Chunks(Progress),
    /// All of it, and it is committed: only the word of it was lost.
    Committed(Summary, Committed),
    /// The same content, under the same name, from an earlier delivery of the same peer, and
    /// unchanged since: nothing is to be sent. Only where [`Offer::version`] is the digest of
    /// it, so that the sender can tell.
    AlreadyThere(Summary, Committed),
}

/// The part of the content that is written from the start without a gap.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Chunks.
    pub chunks: u64,
    /// Bytes.
    pub length: u64,
    /// The digest of these chunks, as far as it is folded.
    pub digest: DigestFold,
}

/// The verified length and digest of the content that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    /// Length of the content in bytes.
    pub length: u64,
    /// BLAKE3 of the content.
    pub digest: [u8; 32],
}

/// The result of committing a delivery, told by its sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Committed {
    /// The place of the content, printable; empty when it is not in one place.
    pub place: String,
    /// Files written.
    pub files: u64,
    /// Entries of a tree that are missing, since the sender could not read them or the receiver's
    /// file system can't hold them.
    pub skipped: u64,
    /// The delivery inside, if the content was a package that was unpacked.
    pub enclosed: Option<Box<Enclosed>>,
    /// Differences from what was sent, as lines for a person, a bounded number. Either the
    /// receiver's place can't hold something, or the sender left it behind.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// A memo that the inbox gets back in [`Offer::memo`] when the same peer offers content of the
    /// same name to it, so that it can tell whether that is there already. It has at most
    /// [`Committed::MEMO_LIMIT`] bytes, and is kept until newer ones need the room.
    #[serde(skip)]
    pub memo: Option<Vec<u8>>,
    /// The path of the content, if it has one: with the bytes that [`place`](Self::place) shows
    /// escaped. It does not travel.
    #[serde(skip)]
    pub path: Option<PathBuf>,
}

impl Committed {
    /// The longest memo, in bytes; a longer one is not kept.
    pub const MEMO_LIMIT: usize = 512;

    /// The prefix of those [remarks](Self::remarks) that are the sender's own.
    pub const SAID: &str = "the sender says: ";
}

/// A delivery that came in a package.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Enclosed {
    /// The node that made the package.
    pub sender: PeerId,
    /// The word for the sender that it is here.
    pub receipt: Receipt,
    /// The proof, later, that it was processed.
    pub processed_mac: [u8; 32],
    /// The inbox it was for.
    pub inbox: String,
    /// The name the sender gave it, printable.
    pub name: String,
    /// The id its sender gave it: whoever carries it may have another one for it.
    pub transfer: TransferId,
    /// For how many seconds it may come again, as its sender said.
    pub life: u64,
}

/// An inbox's refusal of a delivery. It travels to the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// For a person: what was refused, why, what to do.
    pub reason: String,
    /// True if it is temporary, such as a lack of space or places, so that the same delivery may
    /// be taken later.
    pub passing: bool,
}

impl Refusal {
    /// A refusal for this reason.
    pub fn new(reason: impl Display) -> Self {
        Self { reason: reason.to_string(), passing: false }
    }

    /// A refusal for this reason, which may pass.
    pub fn for_now(reason: impl Display) -> Self {
        Self { reason: reason.to_string(), passing: true }
    }

    /// The kind of failure it is for the sender.
    pub fn kind(&self) -> FailureKind {
        if self.passing { FailureKind::Busy } else { FailureKind::Refused }
    }
}

/// An error that stops a sink. Its text travels to the sender.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Writing failed: a full disk, a folder that vanished.
    #[error("the receiver could not write {what}: {error}")]
    Write {
        /// Path or name of what was written.
        what: String,
        /// The cause.
        error: std::io::Error,
    },
    /// The content is not acceptable: a hostile tree, a limit passed, a target that exists.
    #[error("{0}")]
    Refused(Refusal),
    /// The consumer behind the sink is gone.
    #[error("the receiver of the content has gone away: {0}")]
    Gone(String),
}
