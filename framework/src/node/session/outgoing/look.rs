//! A view of a delivery from here.

use super::super::look::kind;
use super::{OutgoingTransfer, Session};
use crate::delivery::sending::Phase;
use crate::node::events::Direction;
use crate::node::snapshot::{TransferPhase, TransferSnapshot};
use crate::wire::printable;

impl Session {
    pub(in crate::node::session) fn outgoing_seen(
        &self,
        stream: u64,
        out: &OutgoingTransfer,
    ) -> TransferSnapshot {
        let is_linked = self.link.is_some();
        let phase = match self.sending.phase(stream) {
            _ if out.gate.borrow().paused => TransferPhase::Paused,
            Some(Phase::Seeking) => TransferPhase::WaitsForRoom,
            Some(Phase::Waiting) | None => TransferPhase::WaitsForLink,
            Some(_) if !is_linked => TransferPhase::Interrupted,
            Some(Phase::Offered) => TransferPhase::Offered,
            Some(Phase::Rewinding | Phase::Wiring) => TransferPhase::Starting,
            Some(Phase::Running) if out.transfer.is_cut() && self.is_all_there(out) => {
                TransferPhase::Finishing
            }
            Some(Phase::Running) => TransferPhase::Running,
            Some(Phase::Cancelling) => TransferPhase::Finishing,
        };
        let codec = out.transfer.codec.as_ref();
        TransferSnapshot {
            id: out.id().to_string(),
            direction: Direction::Outgoing,
            peer: self.peer.to_string(),
            peer_name: printable(&self.name).to_string(),
            name: out.content.name.to_string(),
            kind: kind(&out.content.kind),
            inbox: printable(&out.opening.inbox).to_string(),
            phase,
            since: self.shared.happenings.at(out.began),
            bytes: out.transfer.done_bytes(),
            total: out.content.length,
            attempt: out.transfer.scope.attempt,
            suite: out.transfer.scope.suite.to_string(),
            codec: codec.map(|codec| codec.name().to_owned()),
        }
    }

    /// Returns `true` if the receiver has acknowledged as much as there is.
    fn is_all_there(&self, out: &OutgoingTransfer) -> bool {
        out.content.length.is_some_and(|length| out.transfer.done_bytes() >= length)
    }
}
