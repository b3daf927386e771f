//! Counts of letters, for those who look at a node.

use super::Letters;
use super::sending::Outgoing;

/// Counts of letters, of all peers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LettersSeen {
    /// To others, and not over; and what they cost.
    pub(crate) outgoing: u64,
    pub(crate) outgoing_cost: u64,
    /// To others, and given up.
    pub(crate) dead: u64,
    /// From others, and not with their actors yet.
    pub(crate) incoming: u64,
    /// With their actors.
    pub(crate) handed: u64,
}

impl Letters {
    /// Returns how many there are now.
    pub(crate) fn seen(&self) -> LettersSeen {
        let state = self.state();
        let mut seen = LettersSeen { handed: state.handed as u64, ..LettersSeen::default() };
        for (open, dead, cost) in state.outgoing.values().map(Outgoing::counts) {
            seen.outgoing += open;
            seen.dead += dead;
            seen.outgoing_cost += cost;
        }
        seen.incoming = state.incoming.values().map(|from| from.logs.count()).sum();
        seen.incoming = seen.incoming.saturating_sub(seen.handed);
        seen
    }
}
