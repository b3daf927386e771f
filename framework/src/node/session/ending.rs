//! Endings of deliveries from the peer that do not come from their sinks: by their sender, its
//! processes, time, or this node.

use std::time::Instant;

use super::Session;
use crate::delivery::receiving::Event;
use crate::delivery::{Failure, FailureKind};
use crate::node::events::NodeEvent;

/// The most processes of a peer that are remembered: one that speaks again after another one shows
/// that both run.
const PROCESSES: usize = 8;

impl Session {
    /// The sender gives up a transfer.
    pub(super) fn on_fail(&mut self, stream: u64, failure: Failure) {
        self.receive(Event::Withdrawn(stream, failure));
    }

    /// The sender does not know what was accepted: it has ended there, or a later attempt has taken
    /// its place.
    pub(super) fn on_unknown(&mut self, stream: u64) {
        self.receive(Event::Withdrawn(
            stream,
            Failure::new(FailureKind::Unreachable, "its sender has given it up"),
        ));
    }

    /// The peer tells which of its processes this is: what another one began has ended with it, or
    /// is cut off by it.
    pub(super) fn on_process(&mut self, incarnation: [u8; 16]) {
        let earlier = self.peer_processes.last().copied();
        if earlier == Some(incarnation) {
            return;
        }
        // A process that has ended does not come back: both run.
        if self.peer_processes.contains(&incarnation)
            && !std::mem::replace(&mut self.key_shared, true)
        {
            tracing::warn!(
                peer = %self.name,
                "two programs run with the key of this peer, and take the link from each other"
            );
            self.shared.emit(NodeEvent::KeyShared { key: self.peer, link: self.peer });
        }
        self.peer_processes.retain(|process| *process != incarnation);
        self.peer_processes.push(incarnation);
        let excess = self.peer_processes.len().saturating_sub(PROCESSES);
        self.peer_processes.drain(..excess);
        if earlier.is_some() {
            let text = "the sender's process has ended, and a new one has come";
            self.receive(Event::Orphaned(Failure::new(FailureKind::Unreachable, text)));
        }
    }

    /// Ends for now what its sender does not go on with while others wait: nobody holds the room of
    /// all. What is here is kept.
    pub(super) fn suspend_stalled(&mut self) {
        let (stall, now) = (self.shared.config.stall, Instant::now());
        let others_wait = self.shared.rooms.incoming.waiting() > 0;
        let (receiving, mut stalled) = (&self.receiving, Vec::new());
        for (&stream, known) in
            self.incoming.iter_mut().filter(|(stream, _)| receiving.is_fed(**stream))
        {
            let done = known.transfer.done_bytes();
            let is_theirs = receiving.said_pause(stream) != Some(true)
                && known.transfer.incoming().waits_for_sender();
            if known.moved.0 != done || !is_theirs {
                known.moved = (done, now);
            } else if others_wait && now.duration_since(known.moved.1) >= stall {
                stalled.push(stream);
            }
        }
        for stream in stalled {
            let text = format!(
                "nothing of it came for {stall:?} while other deliveries waited for room at the \
                 receiver; it goes on later"
            );
            self.receive(Event::GiveUp(stream, Failure::new(FailureKind::Busy, text)));
        }
    }

    /// Gives up what the sender came back without: it has lost its memory of it, and would never
    /// end it.
    pub(super) fn drop_orphans(&mut self) {
        if self
            .link
            .as_ref()
            .is_some_and(|link| link.since.elapsed() > self.shared.config.reconnect_for)
        {
            let text = "the sender came back and did not offer it again";
            self.receive(Event::NotOffered(Failure::new(FailureKind::Unreachable, text)));
        }
    }
}
