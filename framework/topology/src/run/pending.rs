//! The work that is left to a node of what its routes say.

use estafette::node::{OutboxError, OutboxState, Processed};

use super::RunningNode;
use super::each::{Seen, entries};
use super::revive::is_revived;
use super::route::{Route, RouteError, on_a_thread};
use crate::model::{Deliver, ReceiptWanted, SourceSpec, Then};

/// The work that a node still has to do, for a program that waits until all is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Deliveries of its routes that their receivers do not have, or have not passed on, and what
    /// is to go on from here or to be removed. Of what is sent by schedule or when it changes, the
    /// first.
    pub open: u64,
    /// Deliveries of its routes that are dead letters. Those that the other node does not know of
    /// yet are tried again, and count as open.
    pub dead: u64,
    /// A number that grows with each delivery that begins or arrives here: two looks at all nodes
    /// that find nothing open, and these numbers unchanged, mean that nothing is left.
    pub activity: u64,
}

impl RunningNode {
    /// Looks at what is still to be done.
    pub async fn pending(&self) -> Result<Pending, OutboxError> {
        let outbox = self.node.outbox().list().await?;
        let mut open = outbox.iter().filter(|(_, entry)| entry.is_open()).count() as u64;
        let mut passed_on = 0;
        for route in &self.routes {
            open += match route.unsent().await {
                Ok(unsent) => unsent,
                // What can't be looked at is not done.
                Err(error) => {
                    tracing::debug!(%error, route = &*route.name, "it can't be told what is sent");
                    1
                }
            };
        }
        let inboxes: Vec<_> = self.routes.iter().filter_map(|route| route.inbox()).collect();
        let arrivals = self.node.arrivals();
        for (_, _, arrival) in &arrivals {
            let waits = arrival.processed == Processed::No;
            if inboxes.contains(&arrival.inbox.as_str()) {
                open += u64::from(waits);
                passed_on += u64::from(!waits);
            }
        }
        let activity = outbox.len() as u64 + arrivals.len() as u64 + passed_on;
        let (ids, mut dead) = (self.memory.ids(), 0);
        for (_, entry) in outbox.iter().filter(|(id, _)| ids.contains(id)) {
            match &entry.state {
                OutboxState::Dead { failure, .. } if is_revived(entry, failure) => open += 1,
                OutboxState::Dead { .. } => dead += 1,
                _ => {}
            }
        }
        Ok(Pending { open, dead, activity })
    }
}

impl Route {
    fn inbox(&self) -> Option<&str> {
        match &self.spec.source {
            SourceSpec::Inbox(inbox) => Some(inbox),
            _ => None,
        }
    }

    /// Returns how many of its deliveries are not stored yet, or have not gone on at their
    /// receiver. Those that are stored are counted where they lie.
    async fn unsent(&self) -> Result<u64, RouteError> {
        let entries = match &self.spec.source {
            SourceSpec::Kind(_) => vec![String::new()],
            SourceSpec::Each(each) => {
                let folder = self.places.at(&each.folder);
                let listed = on_a_thread(move || entries(&folder)).await?;
                let listed = listed.map_err(RouteError::Memory)?;
                if each.then == Then::Remove {
                    let files = listed.values().filter(|seen| **seen != Seen::Tree).count();
                    let trees = listed.into_iter().filter(|(_, seen)| *seen == Seen::Tree);
                    let trees = self.unstored(trees.map(|(name, _)| name).collect()).await?;
                    return Ok(files as u64 + trees);
                }
                listed.into_keys().collect()
            }
            SourceSpec::Inbox(_) => Vec::new(),
        };
        self.unstored(entries).await
    }

    /// Of these entries.
    async fn unstored(&self, entries: Vec<String>) -> Result<u64, RouteError> {
        let mut unsent = 0;
        if self.spec.deliver == Deliver::One {
            for entry in entries {
                let note = self.memory.look(&self.node, &self.key_of_one(&entry)).await?;
                unsent += u64::from(note.is_none());
            }
            return Ok(unsent);
        }
        for entry in entries {
            for ((target, _), goes_on) in self.targets.iter().zip(&*self.goes_on) {
                let note = self.memory.look(&self.node, &self.key(target, &entry)).await?;
                let Some(note) = note else {
                    unsent += 1;
                    continue;
                };
                let held = self.node.outbox().entry(note.id).await;
                let waits = held.is_ok_and(|held| {
                    let goes_on = *goes_on || self.spec.receipt == ReceiptWanted::Processed;
                    matches!(held.state, OutboxState::Delivered { .. }) && goes_on
                });
                unsent += u64::from(waits);
            }
        }
        Ok(unsent)
    }
}
