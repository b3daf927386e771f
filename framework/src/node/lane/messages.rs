//! The messages of a lane.

use actix::Message;

use super::super::transport::Connection;
use crate::pipeline::Sealed;
use crate::wire::{ControlOpener, ControlSealer, Ranges};

/// A connection for this lane, its handshake done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Attach {
    pub(crate) epoch: u64,
    pub(crate) connection: Box<dyn Connection>,
    pub(crate) sealer: ControlSealer,
    pub(crate) opener: ControlOpener,
    pub(crate) max_frame: u32,
}

/// Closes the connection, if it is still this one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Detach;

/// The connection's tasks ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Ended {
    pub(super) serial: u64,
    pub(super) epoch: u64,
    pub(super) why: String,
    pub(super) violation: bool,
}

/// A stream is over: its frames and its admission are dropped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Forget {
    pub(crate) stream: u64,
}

/// The receiver has these.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Acknowledged {
    pub(crate) stream: u64,
    pub(crate) indices: Ranges,
}

/// The receiver has this one already: say so again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct AcknowledgeAgain {
    pub(super) stream: u64,
    pub(super) index: u64,
}

/// A copy came of a chunk that is on its way through the stages.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct AcknowledgeCopy {
    pub(super) stream: u64,
    pub(super) index: u64,
    pub(super) trailer: bool,
}

/// The receiver lost this one: send its frame again, if it is kept here.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Resend {
    pub(crate) stream: u64,
    pub(crate) index: u64,
}

/// The receiver does not have the trailer, which it may have acknowledged: send it again, if it is
/// kept here.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct TrailerAgain {
    pub(crate) stream: u64,
}

/// Frames of a lane that is down, to be sent by this one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct TakeOver(pub(crate) Vec<Sealed>);

/// Gives its frames away: its connection is gone and others are up.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Sealed>")]
pub(crate) struct Surrender;

#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Flush;

/// News of a lane for its session.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum LaneNews {
    /// Its connection is gone.
    Down { lane: u16, epoch: u64, why: String, violation: bool },
    /// It has acknowledgements, and no connection to say them on.
    Acknowledged(Vec<(u64, Ranges)>),
    /// It has a frame to send and no connection, or is up and could send those of others.
    Stranded,
}

/// The session ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StopLane;
