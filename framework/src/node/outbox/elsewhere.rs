//! Those that may have a delivery besides whoever it goes to next: a relay whose ways have changed
//! has tried it another way before, and nobody there has said how that ended.
//!
//! Invariant: the word of one of them ends the doubt about that one, and about nobody else.

use serde::{Deserialize, Serialize};

use crate::wire::PeerId;

/// The most of them that are told apart. More are one doubt, which nobody's "no" ends.
const MOST: usize = 8;

/// Others that may have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Hash))]
pub(crate) struct Elsewhere {
    peers: Vec<PeerId>,
    /// There are more than these; or one of them had it twice, and can speak of the last time only.
    more: bool,
}

impl Elsewhere {
    /// Notes that this one may have it.
    pub(super) fn suspect(&mut self, peer: PeerId) {
        match self.has(&peer) {
            true => {}
            false if self.peers.len() < MOST => self.peers.push(peer),
            false => self.more = true,
        }
    }

    /// Notes that somebody may have it who can't say so any more.
    pub(super) fn suspect_for_good(&mut self) {
        self.more = true;
    }

    /// This one does not have it. Returns `true` if it might have had it.
    pub(super) fn clear(&mut self, peer: PeerId) -> bool {
        let before = self.peers.len();
        self.peers.retain(|known| *known != peer);
        self.peers.len() < before
    }

    /// Returns `true` if this one may have it.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.peers.contains(peer)
    }

    /// Returns `true` if there is nobody.
    pub(super) fn is_empty(&self) -> bool {
        self.peers.is_empty() && !self.more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_clears_the_doubt_about_itself_and_beyond_a_bound_nobody_does() {
        let peer = |number: u8| PeerId::from_bytes([number; 32]);
        let mut elsewhere = Elsewhere::default();
        (1..=3).chain(1..=3).for_each(|number| elsewhere.suspect(peer(number)));
        assert!(elsewhere.clear(peer(2)) && !elsewhere.clear(peer(2)));
        assert!(elsewhere.has(&peer(1)) && !elsewhere.has(&peer(2)));
        assert!(elsewhere.clear(peer(1)) && elsewhere.clear(peer(3)));
        assert!(elsewhere.is_empty());
        (0..=MOST).for_each(|number| elsewhere.suspect(peer(number as u8)));
        assert_eq!(elsewhere.peers.len(), MOST);
        (0..=MOST).for_each(|number| _ = elsewhere.clear(peer(number as u8)));
        assert_eq!(elsewhere, Elsewhere { peers: vec![], more: true });
        assert!(!elsewhere.is_empty());
    }
}
