//! The messages that a session receives.

use std::sync::Arc;

use actix::{Addr, Message, Recipient};
use tokio::sync::oneshot;

use super::Session;
use crate::delivery::receiving::NoSink;
use crate::delivery::{Receipt, TransferId};
use crate::node::link::NewLink;
use crate::node::outbox::{Outbox, PeerWord};
use crate::node::rooms::Room;
use crate::pipeline::{Balanced, Chunk, Committed, Piece, Stop, Summary, Transfer};
use crate::wire::{PeerId, RefuseReason};

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
    pub(crate) outcome: Result<OpenedSink, NoSink>,
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
pub(crate) struct DeliveryRecorded {
    pub(crate) stream: u64,
    pub(crate) attempt: u32,
    /// The word about it; and, of a package that was opened, what was in it.
    pub(crate) outcome: std::io::Result<(Receipt, Option<Inside>)>,
}

/// The delivery that was in a package.
#[derive(Debug)]
pub(crate) struct Inside {
    /// The node that packed it.
    pub(crate) sender: PeerId,
    /// As its sender calls it.
    pub(crate) transfer: TransferId,
    /// The word about it.
    pub(crate) receipt: Receipt,
}

/// A session has stopped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SessionEnded {
    pub(crate) peer: PeerId,
    pub(crate) session: Addr<Session>,
}

/// A session has nothing to do and may go, unless there is something for it on the way.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SessionIdle {
    pub(crate) peer: PeerId,
    pub(crate) session: Addr<Session>,
    pub(crate) heard: u64,
}

/// Hears what a session tells, and what its peer says about deliveries in the outbox.
pub(crate) struct Owner {
    pub(crate) ended: Recipient<SessionEnded>,
    pub(crate) idle: Recipient<SessionIdle>,
    pub(crate) words: Recipient<PeerWord>,
    /// The outbox, where there is a spool.
    pub(crate) outbox: Option<Addr<Outbox>>,
}

/// Keep a link with the peer up, whether or not there is something to do.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StayConnected;

/// Dial the peer, unless there is a link, or it is being dialled: something of it is waited for.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct DialOnce;

/// No new transfers. What it is answered with comes when none is left, or with the session's end.
#[derive(Debug, Message)]
#[rtype(result = "oneshot::Receiver<()>")]
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
