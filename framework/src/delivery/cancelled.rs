//! Deliveries that were cancelled at the receiver, or expired there, so that an offer which crosses
//! that word, or comes because it was lost, does not begin them again. Forgotten with the process.

use std::collections::VecDeque;

use super::sending::ATTEMPTS_PER_TRY;
use super::{Failure, TransferId};
use crate::wire::PeerId;

/// The cancelled deliveries of all peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Cancelled(VecDeque<Entry>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    delivery: (PeerId, TransferId),
    attempt: u32,
    failure: Failure,
    /// Set if there was a link to say it on.
    said: bool,
}

impl Cancelled {
    /// The most that are remembered; the oldest that was said goes first.
    const LIMIT: usize = 1024;

    /// An attempt was cancelled; whether there was a link to say so.
    pub(crate) fn note(
        &mut self,
        delivery: (PeerId, TransferId),
        attempt: u32,
        failure: Failure,
        said: bool,
    ) {
        self.0.retain(|entry| entry.delivery != delivery);
        self.0.push_back(Entry { delivery, attempt, failure, said });
        if self.0.len() > Self::LIMIT {
            // What was said is for an offer that crosses it; nobody's times that are over push out
            // what was not.
            let said = self.0.iter().position(|entry| entry.said);
            self.0.remove(said.unwrap_or(0));
        }
    }

    /// Returns what an offer of this attempt is answered with. An offer of a later try means that
    /// the word was heard, if it could be: the sender wants it all the same.
    pub(crate) fn answer(
        &mut self,
        delivery: (PeerId, TransferId),
        attempt: u32,
    ) -> Option<Failure> {
        let at = self.0.iter().position(|entry| entry.delivery == delivery)?;
        let entry = &mut self.0[at];
        if attempt / ATTEMPTS_PER_TRY == entry.attempt / ATTEMPTS_PER_TRY {
            entry.said = true;
            return Some(entry.failure.clone());
        }
        self.0.remove(at).filter(|entry| !entry.said).map(|entry| entry.failure)
    }
}
