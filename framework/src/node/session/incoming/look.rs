//! A view of a delivery to here.

use super::super::look::kind;
use super::{IncomingTransfer, Session};
use crate::node::codecs::codec_of;
use crate::node::events::Direction;
use crate::node::snapshot::{TransferPhase, TransferSnapshot};
use crate::wire::printable;

impl Session {
    pub(in crate::node::session) fn incoming_seen(
        &self,
        stream: u64,
        known: &IncomingTransfer,
    ) -> Option<TransferSnapshot> {
        let opening = &self.receiving.offer(stream)?.rest;
        let phase = if self.receiving.is_committed(stream) {
            TransferPhase::Finishing
        } else if self.receiving.is_paused(stream) {
            TransferPhase::Paused
        } else if self.link.is_none() {
            TransferPhase::Interrupted
        } else if self.receiving.is_admitted(stream) {
            TransferPhase::Running
        } else if known.room.is_none() {
            TransferPhase::WaitsForRoom
        } else {
            TransferPhase::Starting
        };
        Some(TransferSnapshot {
            id: known.id().to_string(),
            direction: Direction::Incoming,
            peer: self.peer.to_string(),
            peer_name: printable(&self.name).to_string(),
            name: opening.content.name.to_string(),
            kind: kind(&opening.content.kind),
            inbox: printable(&opening.inbox).to_string(),
            phase,
            since: self.shared.happenings.at(known.began),
            bytes: known.transfer.done_bytes(),
            total: opening.content.length,
            attempt: known.transfer.scope.attempt,
            suite: opening.suite.to_string(),
            codec: codec_of(&opening.stages),
        })
    }
}
