//! Errors of beginning a delivery.

use crate::node::ConfigError;
use crate::node::outbox::OutboxError;
use crate::node::trust::NoSuchPeer;
use crate::wire::PeerId;

/// An error of beginning a delivery.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The name does not say where.
    #[error(
        "{given:?} is no destination: \"peer/inbox\" is wanted, with the name or the id of a \
         trusted peer"
    )]
    Unknown {
        /// The text that was given.
        given: String,
    },
    /// Nobody, or not one alone, is meant by it.
    #[error(transparent)]
    Peer(#[from] NoSuchPeer),
    /// The receiver, or the relay, would be the sender itself: the same key is the same node, on
    /// whichever machine.
    #[error("that is this node itself ({}), which has the same key: a node does not deliver to itself", .0.short())]
    ThisNode(PeerId),
    /// An option can't work.
    #[error(transparent)]
    Options(#[from] ConfigError),
    /// A stage is not registered here.
    #[error(transparent)]
    Stages(#[from] crate::node::RegistryError),
    /// The source panicked when it was asked what it is.
    #[error("the source panicked when it was asked what it is; see the log")]
    SourcePanicked,
    /// The operating system gave no thread.
    #[error("no thread could be started to look at the source: {0}")]
    Thread(std::io::Error),
    /// A relay carries packages, and this node makes none.
    #[error(
        "only a node with a spool that has a folder can send through a relay, and not what is \
         transient: give it one with `.spool(…)`"
    )]
    NoPackages,
    /// Nothing keeps a copy.
    #[error(
        "only a node with a spool that has a folder can keep a copy of what it sends, and not of \
         what is transient"
    )]
    NoCopies,
    /// The copy in parts that is to be sent is not there, or not whole.
    #[error("{0}")]
    Parts(String),
    /// It could not be stored.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The node has stopped.
    #[error("the node has been shut down")]
    Stopped,
}
