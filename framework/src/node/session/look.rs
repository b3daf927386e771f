//! A view of a session: its link, and the transfers under way.

use std::sync::Arc;
use std::time::Duration;

use actix::{Context, Handler, MessageResult};

use super::Session;
use crate::delivery::ContentKind;
use crate::node::link::LinkSeat;
use crate::node::snapshot::{LinkSnapshot, LinkState, ObserveSession, SessionSeen, TransferKind};
use crate::wire::printable;

impl Session {
    /// Returns why nobody is there, each address with what it has said so far.
    pub(super) fn unreachable_for(&mut self, patience: Duration) -> String {
        if self.addresses.is_empty() {
            format!("no address of {} is known, and it has not connected", self.name)
        } else {
            let why = self
                .unreached
                .take()
                .or_else(|| self.tried.so_far(self.peer))
                .unwrap_or_else(|| format!("{} could not be reached", self.name));
            format!("{why} for {patience:?}; is it running, and is the address right?")
        }
    }

    /// Whose link the next one is.
    pub(super) fn link_seat(&self) -> LinkSeat {
        LinkSeat {
            epoch: self.epoch,
            control: self.address.clone().recipient(),
            lost: self.address.clone().recipient(),
            traffic: Arc::clone(&self.traffic),
        }
    }

    fn link_seen(&self) -> LinkSnapshot {
        let link = self.link.as_ref();
        let state = match link {
            Some(_) => LinkState::Up,
            None if self.is_unwanted() => LinkState::Idle,
            None if self.addresses.is_empty() => LinkState::Awaited,
            None => LinkState::Dialing,
        };
        let lanes = self.lanes.iter().filter(|lane| lane.is_up()).count();
        let (sent_bytes, received_bytes) = self.traffic.bytes();
        let since = link.map_or(self.down_since, |link| link.since);
        let why = self.unreached.as_deref().filter(|_| link.is_none() && !self.is_unwanted());
        LinkSnapshot {
            peer: self.peer.to_string(),
            name: printable(&self.name).to_string(),
            state,
            since: Some(self.shared.happenings.at(since)),
            address: link.map(|link| printable(&link.address).to_string()),
            dialed: link.is_some_and(|link| link.dialed),
            suite: link.map(|link| link.suite.to_string()),
            rtt_us: self.traffic.round_trip(),
            lanes: lanes as u64,
            sent_bytes,
            received_bytes,
            transfers: (self.outgoing.len() + self.incoming.len()) as u64,
            why: why.map(|why| printable(why).to_string()),
        }
    }

    fn is_unwanted(&self) -> bool {
        self.is_idle() && !self.stays
    }
}

/// Returns the kind of a content, for a snapshot.
pub(super) fn kind(kind: &ContentKind) -> TransferKind {
    match kind {
        ContentKind::Bytes => TransferKind::Bytes,
        ContentKind::File { .. } => TransferKind::File,
        ContentKind::Tree => TransferKind::Tree,
        ContentKind::Package => TransferKind::Package,
    }
}

impl Handler<ObserveSession> for Session {
    type Result = MessageResult<ObserveSession>;

    fn handle(
        &mut self,
        ObserveSession { most }: ObserveSession,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let outgoing = self.outgoing.iter().map(|(&stream, out)| self.outgoing_seen(stream, out));
        let incoming =
            self.incoming.iter().filter_map(|(&stream, known)| self.incoming_seen(stream, known));
        let mut transfers: Vec<_> = outgoing.chain(incoming).collect();
        transfers.sort_by_key(|transfer| (transfer.phase, transfer.since));
        transfers.truncate(most);
        MessageResult(SessionSeen { link: self.link_seen(), transfers })
    }
}
