//! The sender's handle and view of a letter.

use tokio::sync::watch;

use super::super::error::{RemoteError, RemoteErrorKind};
use super::super::letter_id::LetterId;
use crate::wire::PeerId;

/// The state of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LetterState {
    /// This node has it.
    Stored,
    /// The receiver has it, durably.
    Delivered,
    /// Its actor has handled it. It is forgotten here.
    Processed,
    /// It is over, and nobody said that it was handled: it has expired, was refused, or its peer was
    /// revoked. [`RemoteErrorKind::handled`] tells whether it surely was not.
    Dead(RemoteError),
}

/// A letter that is kept here: under way, or dead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LetterInfo {
    /// The id of the letter.
    pub id: LetterId,
    /// To which node.
    pub peer: PeerId,
    /// To which actor.
    pub name: String,
    /// The name of the type of message.
    pub message: String,
    /// The time at which it was stored, in seconds since the Unix epoch.
    pub created: u64,
    /// The time at which it expires, in seconds since the Unix epoch.
    pub expires: u64,
    /// The state of the letter.
    pub state: LetterState,
}

/// A letter that is on its way. Dropping this changes nothing for the letter.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(super) id: LetterId,
    pub(super) state: watch::Receiver<LetterState>,
}

impl Delivery {
    /// Returns the id of the letter: [`LettersHandle::find`](crate::LettersHandle::find) finds it again, in
    /// another life of this node, too.
    pub fn id(&self) -> LetterId {
        self.id
    }

    /// Returns its state so far.
    pub fn state(&self) -> LetterState {
        self.state.borrow().clone()
    }

    /// Waits until its receiver has it, durably: it will be handled even if this node is never
    /// started again.
    ///
    /// # Errors
    /// The letter is dead, or this node has stopped: then the letter goes on when it is started
    /// again.
    pub async fn delivered(&self) -> Result<(), RemoteError> {
        self.reaches(|state| matches!(state, LetterState::Delivered | LetterState::Processed)).await
    }

    /// Waits until its actor has handled it.
    ///
    /// # Errors
    /// As for [`delivered`](Self::delivered).
    pub async fn processed(&self) -> Result<(), RemoteError> {
        self.reaches(|state| matches!(state, LetterState::Processed)).await
    }

    async fn reaches(&self, far_enough: impl Fn(&LetterState) -> bool) -> Result<(), RemoteError> {
        let mut state = self.state.clone();
        let reached = state
            .wait_for(|state| far_enough(state) || matches!(state, LetterState::Dead(_)))
            .await;
        match reached.as_deref() {
            Ok(LetterState::Dead(why)) => Err(why.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(stopped()),
        }
    }
}

pub(in crate::remote) fn stopped() -> RemoteError {
    let text = "this node has stopped; what it has stored goes on its way when it is started again";
    RemoteError::new(RemoteErrorKind::ShuttingDown, text)
}
