//! Counts of what the outbox holds, for those who look at a node.

use std::time::{Duration, Instant};

use actix::{Context, Handler, MessageResult};

use super::{Outbox, OutboxState};
use crate::node::snapshot::{ObserveOutbox, OutboxSeen};

/// So many are counted whenever somebody asks.
const FEW: usize = 1000;
/// More are not counted again sooner than this: who looks ten times a second must not cost the
/// node's thread a part of its time.
const AGAIN: Duration = Duration::from_secs(1);

impl Handler<ObserveOutbox> for Outbox {
    type Result = MessageResult<ObserveOutbox>;

    fn handle(&mut self, _: ObserveOutbox, _: &mut Context<Self>) -> Self::Result {
        let last = self.seen.filter(|(at, _)| self.entries.len() > FEW && at.elapsed() < AGAIN);
        let seen = last.map_or_else(|| self.count(), |(_, seen)| seen);
        self.seen = last.or_else(|| Some((Instant::now(), seen)));
        MessageResult(seen)
    }
}

impl Outbox {
    fn count(&self) -> OutboxSeen {
        let mut seen = OutboxSeen::default();
        let now = self.shared.clock.now();
        for held in self.entries.values() {
            let entry = held.entry();
            let bytes = entry.length.unwrap_or(0);
            let own = &mut seen.own;
            let amount = match &entry.state {
                _ if entry.relayed_for.is_some() => {
                    if entry.is_open() {
                        seen.relay.kept.count += 1;
                        seen.relay.kept.bytes += entry.bytes();
                    }
                    continue;
                }
                OutboxState::Stored => &mut own.stored,
                OutboxState::Relayed { .. } => &mut own.relayed,
                OutboxState::Delivered { .. } => &mut own.delivered,
                OutboxState::Processed { .. } => &mut own.processed,
                OutboxState::Dead { .. } => &mut own.dead,
            };
            amount.count += 1;
            amount.bytes += bytes;
            if entry.is_open() {
                let created = now.on_the_wall(entry.created).saturating_mul(1000);
                own.oldest = Some(own.oldest.map_or(created, |oldest| oldest.min(created)));
            }
        }
        seen
    }
}
