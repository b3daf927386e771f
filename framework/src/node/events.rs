//! The events of a node, for those who watch it.

use tokio::sync::{broadcast, watch};

use crate::delivery::{Content, Failure, Receipt, TransferId};
use crate::pipeline::{Skipped, SourceReport};
use crate::remote::{LetterId, RemoteError};
use crate::wire::{PeerId, Suite, printable};

/// Something happened on a node. Events are for watching: a slow subscriber misses some, and loses
/// nothing else.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NodeEvent {
    /// A link to a peer is up.
    LinkUp {
        /// The peer.
        peer: PeerId,
        /// The name that the peer gives itself.
        name: String,
    },
    /// A link to a peer is gone.
    LinkDown {
        /// The peer.
        peer: PeerId,
        /// The reason.
        reason: String,
    },
    /// A connection attempt was refused.
    Refused {
        /// The peer, or its address where the peer is not known.
        who: String,
        /// The reason.
        reason: String,
    },
    /// Two programs run with one key, most likely copied from one machine to another, and take the
    /// link from each other: one of them has to stop, or to get a key of its own.
    KeyShared {
        /// The key in question: a peer's, or this node's own.
        key: PeerId,
        /// The other end of the link.
        link: PeerId,
    },
    /// A letter that was stored here is refused for good: its actor won't handle it. Its sender
    /// hears why.
    LetterRefused {
        /// The peer that has sent it.
        peer: PeerId,
        /// The id of the letter, as its sender knows it.
        id: LetterId,
        /// The name of the actor.
        name: String,
        /// The name of its type.
        message: String,
        /// The reason.
        why: RemoteError,
    },
    /// An actor that this node hosts is given up: nobody is there any more under its name, and
    /// whoever sends to it is told `Died`. Host another one under that name after
    /// [`Directory::unregister`](crate::remote::Directory::unregister), or do without.
    ActorGivenUp {
        /// Its name.
        name: String,
        /// The number of times it has died.
        deaths: u64,
        /// The cause of its last death.
        why: String,
    },
    /// Something happened to a transfer.
    Transfer(TransferEvent),
}

impl NodeEvent {
    /// A delivery to `peer` has failed.
    pub(crate) fn failed(transfer: TransferId, peer: PeerId, failure: Failure) -> Self {
        Self::Transfer(TransferEvent {
            transfer,
            peer,
            direction: Direction::Outgoing,
            news: TransferNews::Failed { failure },
        })
    }
}

/// Something happened to a transfer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransferEvent {
    /// The transfer.
    pub transfer: TransferId,
    /// The other node.
    pub peer: PeerId,
    /// The direction of the transfer.
    pub direction: Direction,
    /// The news about the transfer.
    pub news: TransferNews,
}

impl TransferEvent {
    /// Tells the log of what whoever runs the node wants to find there later: what began, and how
    /// it ended.
    pub(crate) fn log(&self) {
        let (transfer, peer, direction) = (self.transfer, self.peer.short(), self.direction);
        match &self.news {
            TransferNews::Started { content, inbox, suite, codec } => {
                let (name, length) = (&content.name, content.length);
                tracing::info!(
                    %transfer, peer, ?direction, inbox, %name, length, %suite, codec,
                    "a delivery begins"
                );
            }
            TransferNews::AlreadyThere { content, inbox } => {
                tracing::info!(
                    %transfer, peer, ?direction, inbox, name = %content.name,
                    "what is offered is there already"
                );
            }
            TransferNews::Delivered { receipt } => {
                let (length, files, place) =
                    (receipt.length, receipt.files, printable(&receipt.place));
                tracing::info!(%transfer, peer, ?direction, length, files, %place, "delivered");
            }
            TransferNews::Relayed { relay } => {
                tracing::info!(
                    %transfer, peer, ?direction, relay = relay.short(),
                    "a relay keeps a delivery"
                );
            }
            TransferNews::Failed { failure } => {
                tracing::info!(%transfer, peer, ?direction, %failure, "a delivery has failed")
            }
            _ => {}
        }
    }
}

/// The direction of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From this node.
    Outgoing,
    /// To this node.
    Incoming,
}

/// A piece of news about a transfer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TransferNews {
    /// It begins when there is room for it, here or at the receiver: so many deliveries of this
    /// node to that one take some.
    Waiting {
        /// The number of these deliveries.
        running: u32,
    },
    /// It runs: the receiver has accepted it.
    Started {
        /// The content that is sent.
        content: Content,
        /// The receiver's inbox; empty where only the receiver knows it.
        inbox: String,
        /// The cipher suite that seals its chunks on this way.
        suite: Suite,
        /// The codec that compresses them, where that makes them smaller; `None` where they go raw.
        /// A receiver does not know whether its sender has switched snappy off.
        codec: Option<String>,
    },
    /// The receiver has it from an earlier delivery, unchanged: nothing of it is sent, and
    /// [`TransferNews::Delivered`] comes next.
    AlreadyThere {
        /// The content that would be sent.
        content: Content,
        /// The receiver's inbox.
        inbox: String,
    },
    /// So much is done.
    Progress {
        /// Bytes of content that have arrived.
        bytes: u64,
        /// Bytes there are, where that is known.
        total: Option<u64>,
    },
    /// One of the two sides has paused it.
    Paused,
    /// It goes on.
    Resumed,
    /// The link broke; it goes on where it was when the link is back.
    Interrupted {
        /// The reason.
        reason: String,
    },
    /// It begins anew.
    Restarted {
        /// The number of the attempt, from 0.
        attempt: u32,
        /// The reason, for a person: what of the source changed and how, or that the receiver has
        /// lost what it had.
        why: String,
    },
    /// It is not to be delivered any more, and nobody has had any of it: this node has
    /// [recalled](crate::OutboxHandle::recall) it.
    Recalled,
    /// Entries of a tree were left out, since they could not be read.
    Skipped {
        /// The first of them.
        entries: Vec<Skipped>,
        /// The number of entries that were left out.
        total: u64,
    },
    /// The source of an outgoing transfer was read to its end, and not all of it was sent as it is:
    /// what was skipped, and attributes. Told before [`TransferNews::Delivered`]; never of content
    /// that is read from a copy in the spool after its first try.
    LeftBehind {
        /// The report of the source.
        report: SourceReport,
    },
    /// Remarks on what is not as it was sent, since the receiver could not, or would not, keep it.
    /// For an incoming transfer, they also tell what its sender says it left behind. Told before
    /// [`TransferNews::Delivered`].
    Remarks {
        /// For a person: printable, at most 32 lines.
        lines: Vec<String>,
    },
    /// It is in the outbox, durably.
    Stored,
    /// A try at a stored delivery failed: there will be another one.
    Deferred {
        /// The failure of this try.
        failure: Failure,
    },
    /// A relay holds it durably: of an incoming one, this node.
    Relayed {
        /// The relay.
        relay: PeerId,
    },
    /// The receiver has verified and committed it.
    Delivered {
        /// The receiver's word.
        receipt: Receipt,
    },
    /// It failed at both ends.
    Failed {
        /// The cause.
        failure: Failure,
    },
}

/// A subscription to events. One that is read too slowly misses the oldest.
#[derive(Debug)]
pub struct EventStream {
    pub(super) events: broadcast::Receiver<NodeEvent>,
    /// The node's handles keep the channel open after the node has stopped.
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) only: Option<TransferId>,
}

impl EventStream {
    /// The next event; `None` when the node has stopped.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.recv() => event,
                _ = self.stopped.wait_for(|stopped| *stopped) => return None,
            };
            match event {
                Ok(event) if self.is_for_us(&event) => return Some(event),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event of a transfer; `None` when the node has stopped.
    pub async fn next_news(&mut self) -> Option<TransferNews> {
        loop {
            if let NodeEvent::Transfer(event) = self.next().await? {
                return Some(event.news);
            }
        }
    }

    fn is_for_us(&self, event: &NodeEvent) -> bool {
        self.only
            .is_none_or(|id| matches!(event, NodeEvent::Transfer(event) if event.transfer == id))
    }
}
