//! Versions of mirrors that were given up: the present one is sent again, as the reason may be over.

use estafette::delivery::FailureKind;
use estafette::node::OutboxState;

use super::memory::{Note, now};
use super::revive::is_revived;
use super::route::Route;
use crate::model::{Schedule, SourceSpec};

/// The least time between two tries of one process, in seconds.
const AGAIN: u64 = 5 * 60;

impl Route {
    /// Returns `true` if what was sent last of a mirror was given up, and it is time for another
    /// try. Of other routes it is never: what is sent once, or by schedule, may be of no use later.
    pub(super) async fn goes_again(&self, last: &Note) -> bool {
        let is_mirror = self.spec.schedule == Schedule::Change
            && matches!(self.spec.source, SourceSpec::Kind(_));
        if !is_mirror || !is_time(last, now()) {
            return false;
        }
        // One that is noted as delivered is not looked for each time.
        let receipt = self.spec.receipt;
        if self.memory.is_delivered(&self.node, &mut last.clone(), receipt).await.unwrap_or(true) {
            return false;
        }
        self.node.outbox().entry(last.id).await.is_ok_and(|entry| match &entry.state {
            // What somebody took back stays so, and what may have been delivered is not sent twice.
            OutboxState::Dead { failure, .. } => {
                let is_final = [FailureKind::Cancelled, FailureKind::Unknown];
                !is_final.contains(&failure.kind) && !is_revived(&entry, failure)
            }
            _ => false,
        })
    }

    /// Lets the outbox forget a letter in whose place another one is.
    pub(super) async fn forget_dead(&self, last: &Note) {
        if let Err(error) = self.node.outbox().forget(last.id).await {
            tracing::debug!(%error, transfer = %last.id, "a dead letter stays beside its successor");
        }
    }
}

/// Returns `true` if another process sent it, or this one a while ago.
fn is_time(last: &Note, now: u64) -> bool {
    !last.is_new || last.at + AGAIN <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tries_at_once_and_then_every_five_minutes() {
        let mut note = Note::new("key".into(), "mark", String::new());
        assert!(note.is_new && !is_time(&note, note.at + 299));
        assert!(is_time(&note, note.at + 300));
        note.is_new = false;
        assert!(is_time(&note, note.at));
    }
}
