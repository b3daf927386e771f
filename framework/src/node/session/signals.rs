//! The messages that a session receives.

use std::sync::Arc;

use actix::{Message, Recipient};

use crate::delivery::{Content, Failure, Receipt, TransferId};
use crate::node::link::NewLink;
use crate::node::pace::Pace;
use crate::node::reading::Seat;
use crate::node::rooms::Room;
use crate::node::transfer::Unsettled;
use crate::pipeline::{
    Balanced, Chunk, Committed, Compression, Piece, Priority, Source, Stop, Summary, Transfer,
};
use crate::wire::{PeerId, RefuseReason, SecretBytes, Word, WordKind};

/// A link is up, dialled or accepted.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LinkUp(pub(crate) Box<NewLink>);

/// A lane could not be dialled.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LaneFailed {
    pub(crate) epoch: u64,
    pub(crate) lane: u16,
    pub(crate) why: String,
}

/// Where the peer can be dialled, and the token to come in with.
#[derive(Debug, Default, Message)]
#[rtype(result = "()")]
pub(crate) struct Know {
    pub(crate) addresses: Vec<String>,
    pub(crate) token: Option<SecretBytes>,
}

/// Send this.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Start {
    pub(crate) source: Box<dyn Source>,
    pub(crate) content: Content,
    pub(crate) inbox: String,
    pub(crate) options: SendOptions,
    /// The number of its first attempt.
    pub(crate) attempt: u32,
    /// In seconds since the Unix epoch.
    pub(crate) created: u64,
    /// How long it is worth delivering.
    pub(crate) life: std::time::Duration,
    pub(crate) state: Unsettled,
    /// Its part in a content that others may send at the same time.
    pub(crate) seat: Option<Seat>,
}

/// The options of one transfer. An option that is `None` is as the node's configuration says.
#[derive(Clone, Debug, Default)]
pub struct SendOptions {
    /// Bytes per chunk, a power of two from 1 KiB to 4 MiB.
    pub chunk_size: Option<u32>,
    /// The codec for chunks. A receiver that does not have it refuses the delivery.
    pub compression: Option<Compression>,
    /// Names of registered coders that every chunk passes, in this order. The receiver must know
    /// them, too.
    pub stages: Vec<String>,
    /// A relay that keeps it until the receiver comes: a peer that is trusted here and there. It
    /// can neither read nor change it. Needs a spool that has a folder, which keeps the
    /// package, and so a copy of the content.
    pub via: Option<PeerId>,
    /// The time for which it is worth delivering, from 1 s to 30 days.
    pub expiry: Option<std::time::Duration>,
    /// Does not keep it in the spool, even if the node has one: it is lost with the process, and
    /// fails when the receiver can't be reached.
    pub transient: bool,
    /// Keeps a copy of the content in the spool instead of a reference to where it lies, so that
    /// it may change or go once [`Node::send`](crate::Node::send) has returned. It is sealed
    /// for this node alone, and sent while it is made. Needs a spool that has a folder.
    pub copy: bool,
    /// The id of the transfer, where its sender has noted it beforehand: a program that dies while
    /// it sends finds out later, by [`Node::outbox_entry`](crate::Node::outbox_entry), whether
    /// it was stored. It must be [random](TransferId::random), and never that of other content:
    /// an id that the outbox has is refused, one that it has forgotten is not, nor is that of a
    /// delivery that is not stored. Default: a random one.
    pub id: Option<TransferId>,
    /// The rate that it keeps to, together with others of its group; also after a restart. Default:
    /// as fast as it goes.
    pub pace: Option<Pace>,
    /// The priority: who goes first where this node's room, its tries and places among its stages
    /// are scarce; also after a restart. Default: [`Priority::Normal`].
    pub priority: Priority,
}

/// There is room for an outgoing transfer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Admitted {
    pub(crate) stream: u64,
    pub(crate) room: Room,
}

/// The stages of an outgoing transfer are wired.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Wired {
    pub(crate) stream: u64,
    pub(crate) outcome: Result<(Balanced, Recipient<Piece>), String>,
}

/// There is no room for an incoming transfer yet.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct NoRoom {
    pub(crate) stream: u64,
}

/// There is room for an incoming transfer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct HasRoom {
    pub(crate) transfer: Arc<Transfer>,
    pub(crate) room: Room,
}

/// An incoming transfer has a sink and an assembler, or is refused.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Opened {
    pub(crate) transfer: Arc<Transfer>,
    pub(crate) outcome: Result<OpenedSink, Failure>,
}

pub(crate) enum OpenedSink {
    /// It takes chunks.
    Running {
        abort: tokio::sync::oneshot::Sender<Stop>,
        /// It goes after `abort`, which says why.
        assembler: Recipient<Chunk>,
        room: Option<Room>,
    },
    /// It was committed by an earlier process.
    Committed { summary: Summary, committed: Committed },
    /// An earlier delivery has brought the same.
    AlreadyThere { summary: Summary, committed: Committed },
    /// It was being remembered while it was opened.
    Remembered,
    /// It was given up meanwhile, and there was nothing to throw away.
    Nothing,
}

/// A committed delivery is remembered, or could not be.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Kept {
    pub(crate) stream: u64,
    pub(crate) attempt: u32,
    /// What is said; and of a package that was opened what was in it.
    pub(crate) outcome: std::io::Result<(Receipt, Option<Inside>)>,
}

/// The delivery that was in a package.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Who packed it.
    pub(crate) sender: PeerId,
    /// As its sender calls it.
    pub(crate) transfer: TransferId,
    /// The word about it.
    pub(crate) receipt: Receipt,
}

/// Tell the peer that the application is done with this delivery.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SayProcessed {
    pub(crate) transfer: TransferId,
    pub(crate) mac: [u8; 32],
}

/// Tell the peer what has become of its package.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SayPassed {
    pub(crate) transfer: TransferId,
    pub(crate) word: Word,
}

/// Keep a link with the peer up, whether or not there is something to do.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StayConnected;

/// A word of the peer is durable here.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Noted {
    pub(crate) transfer: TransferId,
    pub(crate) what: WordKind,
}

/// Do this with a transfer, if it is this session's.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Command {
    pub(crate) transfer: TransferId,
    pub(crate) what: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Cancel,
    Pause,
    Resume,
}

/// No new transfers; answered when none is left.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// The session is idle and nobody knows it any more: it ends.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Retire;

/// Ends the session: transfers fail, the peer is told.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Close {
    pub(crate) reason: String,
    pub(crate) refuse: Option<RefuseReason>,
}
