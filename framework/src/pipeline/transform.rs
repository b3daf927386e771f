//! A pure step of the data path: one out for each in.

use super::parcel::Parcel;
use crate::wire::FailureKind;

/// A step that [`super::Stage`] hosts as an actor: mailbox, credit, metrics, tracing and panics are
/// the stage's business.
///
/// One out for each in, of the same custody:
/// [`Chunk::new`](super::Chunk::new)`(input.custody().clone(), …)`, or [`Parcel::from_parts`] where
/// it makes something else. A transform may panic: the chunk is tried once more on a fresh one.
pub trait Transform: Unpin + 'static {
    /// The parcel that it takes.
    type In: Parcel;
    /// The parcel that it makes of it.
    type Out: Parcel;

    /// True if it sees the trailer, too, and chunks that have only to be sealed. Otherwise, which
    /// is the default, the stage passes both on as they are.
    const SEES_TRAILER: bool = false;

    /// Makes one out of one in.
    fn apply(&mut self, input: &Self::In) -> Result<Self::Out, TransformError>;
}

/// An error of a transform at its work on a chunk. The transfer fails with it at both ends, and the
/// stage is named. A [`TransformError::damaged`] asks for the chunk once more instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TransformError {
    /// The kind of failure.
    pub kind: FailureKind,
    /// For a person.
    pub message: String,
}

impl TransformError {
    /// The step could not be done.
    pub fn new(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Stage, message: message.into() }
    }

    /// The chunk is not what was sent: worth asking for it once more.
    pub fn damaged(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Integrity, message: message.into() }
    }
}
