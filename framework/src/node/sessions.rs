//! The sessions of a node, as a host and the outbox reach them: by way of the hub.

use actix::{Actor, Addr, Context, Handler, Message, Recipient};

use super::reading::Seat;
use super::send_options::SendOptions;
use super::transfer::Unsettled;
use crate::delivery::{Content, TransferId};
use crate::pipeline::Source;
use crate::wire::{PeerId, SecretBytes, Word, WordKind};

/// The way of the outbox to sessions.
#[derive(Clone)]
pub(crate) struct Sessions {
    send: Recipient<SendTo>,
    command: Recipient<Command>,
    noted: Recipient<ToSession<Noted>>,
    passed: Recipient<ToSession<SayPassed>>,
    dial: Recipient<Dial>,
}

impl Sessions {
    pub(crate) fn by<H>(hub: &Addr<H>) -> Self
    where
        H: Actor<Context = Context<H>>
            + Handler<SendTo>
            + Handler<Command>
            + Handler<ToSession<Noted>>
            + Handler<ToSession<SayPassed>>
            + Handler<Dial>,
    {
        Self {
            send: hub.clone().recipient(),
            command: hub.clone().recipient(),
            noted: hub.clone().recipient(),
            passed: hub.clone().recipient(),
            dial: hub.clone().recipient(),
        }
    }

    /// Has something sent. Dropped with a hub that is gone, it says that it failed.
    pub(crate) fn send(&self, send: SendTo) {
        self.send.do_send(send);
    }

    /// Does something with a transfer, whosever it is.
    pub(crate) fn command(&self, command: Command) {
        self.command.do_send(command);
    }

    /// Has a peer dialled with which there is no link.
    pub(crate) fn dial(&self, dial: Dial) {
        self.dial.do_send(dial);
    }

    /// Tells a peer that its word is durable here, if there is a session with it.
    pub(crate) fn noted(&self, peer: PeerId, noted: Noted) {
        self.noted.do_send(ToSession(peer, noted));
    }

    /// Tells a peer what has become of its package, if there is a session with it.
    pub(crate) fn say(&self, peer: PeerId, passed: SayPassed) {
        self.passed.do_send(ToSession(peer, passed));
    }
}

/// Send this to that peer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SendTo {
    pub(crate) peer: PeerId,
    pub(crate) hints: DialHints,
    pub(crate) start: StartTransfer,
}

/// Dial that peer, if there is no link with it. No link is kept up for this.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Dial {
    pub(crate) peer: PeerId,
    pub(crate) hints: DialHints,
}

/// Give this to the session with that peer, if there is one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ToSession<M: Message<Result = ()> + Send>(pub(crate) PeerId, pub(crate) M);

/// The addresses at which the peer can be dialled, and the token to come in with.
#[derive(Debug, Default, Message)]
#[rtype(result = "()")]
pub(crate) struct DialHints {
    pub(crate) addresses: Vec<String>,
    pub(crate) token: Option<SecretBytes>,
}

/// Send this.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StartTransfer {
    pub(crate) source: Box<dyn Source>,
    pub(crate) content: Content,
    pub(crate) inbox: String,
    pub(crate) options: SendOptions,
    /// The number of its first attempt.
    pub(crate) attempt: u32,
    /// In seconds since the Unix epoch.
    pub(crate) created: u64,
    /// The time for which it is worth delivering.
    pub(crate) life: std::time::Duration,
    pub(crate) state: Unsettled,
    /// Its part in a content that others may send at the same time.
    pub(crate) seat: Option<Seat>,
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
