//! Letters from and to a peer that was revoked: none of them waits any longer.
//!
//! Invariant: what is taken out here is refused, and never said to be handled; that a letter to the
//! peer was not handled is only said where it was never sent; how far its log was
//! taken stays known, so that a peer that is trusted again has no letter handled twice.

use super::super::error::{RemoteError, RemoteErrorKind};
use super::receiving::forbidden;
use super::{Letters, State};
use crate::wire::PeerId;

impl Letters {
    /// A peer was revoked: its letters that wait here are refused, except one that its actor has;
    /// those to it are dead. How many of each.
    pub(crate) fn cut_off(&self, peer: PeerId) -> (usize, usize) {
        if self.limits.dormant {
            return (0, 0);
        }
        // Those that nobody has a name for wait, too.
        self.unpark(peer);
        let waiting =
            self.state().incoming.get(&peer).map(|from| from.logs.waiting()).unwrap_or_default();
        for (log, number, letter) in &waiting {
            // Whoever waits for it to be durable is not here.
            drop(self.over((peer, *log, *number), Some(forbidden(&letter.name))));
        }
        let mut state = self.state();
        let State { outgoing, keys, .. } = &mut *state;
        let Some(out) = outgoing.get_mut(&peer) else { return (waiting.len(), 0) };
        let (said, never) = out.said_and_not();
        let count = said.len() + never.len();
        let revoked = format!("this node has revoked its trust in {} before", out.peer_name());
        for (numbers, kind, before) in [
            (
                said,
                RemoteErrorKind::Cancelled,
                "that said that the letter was handled; whether it was is not known",
            ),
            (never, RemoteErrorKind::Forbidden, "the letter was sent there: it was not handled"),
        ] {
            let why = RemoteError::new(kind, format!("{revoked} {before}"));
            self.finish(peer, (out, keys), numbers, Some(why));
        }
        (waiting.len(), count)
    }

    /// Whose letters wait here, and to whom.
    pub(crate) fn peers(&self) -> Vec<PeerId> {
        let state = self.state();
        let from = state
            .incoming
            .iter()
            .filter(|(_, incoming)| !incoming.logs.waiting().is_empty())
            .map(|(&peer, _)| peer);
        let to = state
            .outgoing
            .iter()
            .filter(|(_, out)| !out.durable().is_empty())
            .map(|(&peer, _)| peer);
        from.chain(to).collect()
    }
}
