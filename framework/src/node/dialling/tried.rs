//! Words of the ways to a peer, of a dial that may still be under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{DialFailed, Hope};
use crate::node::link_failure::LinkFailure;
use crate::node::race::Way;
use crate::wire::{PeerId, RefuseReason};

/// The ways of one dial, each with what it said. Who has waited long enough asks for it while the
/// dial goes on: no way hides what another one has said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tried(Arc<Mutex<Ways>>);

#[derive(Debug, Default)]
struct Ways {
    under_way: Vec<(Way, Instant)>,
    said: Vec<(Way, String)>,
    refused: Option<RefuseReason>,
    /// Of the best way: where nobody answers now, the peer may be tomorrow, whoever sits at the
    /// others.
    hope: Option<Hope>,
}

impl Tried {
    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was begun, and has not answered.
    pub(super) fn begun(&self, way: Way) {
        self.ways().under_way.push((way, Instant::now()));
    }

    /// It was looked up: what was found is tried next.
    pub(super) fn looked_up(&self, way: &Way) {
        self.ways().under_way.retain(|(other, _)| other != way);
    }

    pub(super) fn failed(&self, way: Way, failure: LinkFailure) {
        let hope = match &failure {
            LinkFailure::Protocol(_) => Hope::None,
            LinkFailure::Unanswered(_) => Hope::Little,
            _ => Hope::Some,
        };
        let mut ways = self.ways();
        ways.under_way.retain(|(other, _)| *other != way);
        ways.hope = Some(ways.hope.map_or(hope, |other| other.min(hope)));
        ways.said.push((way, failure.to_string()));
        if let LinkFailure::Refused(reason) = failure {
            ways.refused = Some(reason);
        }
    }

    /// Returns `true` if the peer itself has spoken, and says the same by any other way.
    pub(super) fn is_decided(&self) -> bool {
        use RefuseReason::{Busy, Other, ShuttingDown, TooManyLinks};
        self.ways()
            .refused
            .as_ref()
            .is_some_and(|reason| !matches!(reason, Busy | ShuttingDown | TooManyLinks | Other(_)))
    }

    /// The end of a dial that came to nothing.
    pub(super) fn told(self, peer: PeerId) -> DialFailed {
        let mut ways = self.ways();
        let message = words(peer, std::mem::take(&mut ways.said));
        let hope = ways.hope.unwrap_or(Hope::Some);
        DialFailed { message, refused: ways.refused.take(), hope }
    }

    /// Returns what is known so far, silence too; `None` before anything was begun.
    pub(crate) fn so_far(&self, peer: PeerId) -> Option<String> {
        let ways = self.ways();
        let silent = ways.under_way.iter().map(|(way, since)| {
            // In the words of one whose time was over.
            let whole = Duration::from_secs(since.elapsed().as_secs_f64().round() as u64);
            (way.clone(), LinkFailure::Timeout(whole.max(Duration::from_secs(1))).to_string())
        });
        let said: Vec<_> = ways.said.iter().cloned().chain(silent).collect();
        (!said.is_empty()).then(|| words(peer, said))
    }
}

fn words(peer: PeerId, mut said: Vec<(Way, String)>) -> String {
    said.sort_by_key(|(way, _)| way.order());
    let said: Vec<_> = said.iter().map(|(way, said)| format!("{way}: {said}")).collect();
    format!("{} could not be reached ({})", peer.short(), said.join("; "))
}
