//! Deliveries that this side cancels, or that expire, when the receiver may have all of them: the
//! receiver has the last word.

use std::time::Instant;

use super::{Action, Phase, Sending};
use crate::delivery::Failure;

impl Sending {
    /// The receiver's word on what is cancelled does not come any more.
    pub(super) fn link_down(&mut self) {
        self.linked = false;
        let over = self.known.iter().filter_map(|(&stream, known)| {
            known.cancelled.clone().map(|failure| (stream, failure))
        });
        let over: Vec<_> = over.collect();
        over.into_iter().for_each(|(stream, failure)| self.end(stream, Err(failure)));
    }

    /// Tells the receiver, and leaves it the last word: it may be committing it.
    pub(super) fn cancel(&mut self, stream: u64, failure: Failure, until: Instant) {
        let linked = self.linked;
        match self.known.get_mut(&stream) {
            Some(known) if known.phase == Phase::Cancelling => {}
            Some(known)
                if linked
                    && matches!(known.phase, Phase::Offered | Phase::Wiring | Phase::Running) =>
            {
                (known.phase, known.deadline) = (Phase::Cancelling, until);
                known.cancelled = Some(failure.clone());
                self.act(Action::SayFailed(stream, failure));
            }
            _ => self.fail(stream, failure),
        }
    }
}
