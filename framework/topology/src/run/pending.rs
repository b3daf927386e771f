//! The work that is left to a node of what its routes say.

use std::path::Path;

use estafette::node::{OutboxError, OutboxState, Processed};

use super::RunningNode;
use super::each::{Seen, entries};
use super::failure::RouteError;
use super::memory::{Note, now as now_in_seconds};
use super::revive::is_revived;
use super::route::{Route, on_a_thread};
use crate::model::{Deliver, EachSpec, Kind, ReceiptWanted, Schedule, SourceSpec, Then};

/// The work that a node still has to do, for a program that waits until all is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Deliveries of its routes that their receivers do not have, or have not passed on, and what
    /// is to go on from here or to be removed. Of what is sent by schedule or when it changes, what
    /// is due or has changed now, and the first that this process sends.
    pub open: u64,
    /// Deliveries of its routes that are dead letters. Those that the other node does not know of
    /// yet are tried again, and count as open.
    pub dead: u64,
    /// Routes whose source has become empty all at once, of which nothing is sent for that. They do
    /// not count as open.
    pub held: u64,
    /// A number that grows with each delivery that begins or arrives here: two looks at all nodes
    /// that find nothing open, and these numbers unchanged, mean that nothing is left.
    pub activity: u64,
}

impl RunningNode {
    /// Looks at what is still to be done.
    pub async fn pending(&self) -> Result<Pending, OutboxError> {
        let outbox = self.node.outbox().list().await?;
        let mut open = outbox.iter().filter(|(_, entry)| entry.is_open()).count() as u64;
        let (mut passed_on, mut held) = (0, 0);
        for route in &self.routes {
            if route.mirror.is_held() {
                held += 1;
                continue;
            }
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
        Ok(Pending { open, dead, held, activity })
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
        match &self.spec.source {
            SourceSpec::Kind(kind) => self.unstored("", &Now::Kind(kind)).await,
            SourceSpec::Each(each) => self.unsent_of_each(each).await,
            SourceSpec::Inbox(_) => Ok(0),
        }
    }

    async fn unsent_of_each(&self, each: &EachSpec) -> Result<u64, RouteError> {
        let folder = self.places.at(&each.folder);
        let listed = on_a_thread({
            let folder = folder.clone();
            move || entries(&folder)
        });
        let mut unsent = 0;
        for (name, seen) in listed.await?.map_err(RouteError::Memory)? {
            unsent += match seen {
                // One that is still there is still to be removed.
                Seen::File(_) | Seen::Young if each.then == Then::Remove => 1,
                seen => self.unstored(&name, &Now::Entry(&folder.join(&name), seen)).await?,
            };
        }
        Ok(unsent)
    }

    /// Returns to how many targets an entry is still to be sent, as it is now.
    async fn unstored(&self, entry: &str, now: &Now<'_>) -> Result<u64, RouteError> {
        if self.spec.deliver == Deliver::One {
            let note = self.memory.look(&self.node, &self.key_of_one(entry)).await?;
            return Ok(u64::from(!self.is_of_now(note.as_ref(), now).await?));
        }
        let mut unsent = 0;
        for ((target, _), goes_on) in self.targets.iter().zip(&*self.goes_on) {
            let note = self.memory.look(&self.node, &self.key(target, entry)).await?;
            if !self.is_of_now(note.as_ref(), now).await? {
                unsent += 1;
                continue;
            }
            let Some(note) = note else { continue };
            let held = self.node.outbox().entry(note.id).await;
            let waits = held.is_ok_and(|held| {
                let goes_on = *goes_on || self.spec.receipt == ReceiptWanted::Processed;
                matches!(held.state, OutboxState::Delivered { .. }) && goes_on
            });
            unsent += u64::from(waits);
        }
        Ok(unsent)
    }

    /// Returns `true` if what was sent last is what is to be sent now. What this process has sent
    /// itself is enough, or a source that changes all the time would never be done.
    async fn is_of_now(&self, note: Option<&Note>, now: &Now<'_>) -> Result<bool, RouteError> {
        let Some(note) = note else { return Ok(false) };
        if note.is_new {
            return Ok(true);
        }
        let mark = match now {
            Now::Entry(_, Seen::File(mark)) => Some(mark.clone()),
            // What has just been written is sent when it is settled.
            Now::Entry(_, Seen::Young) => None,
            Now::Entry(path, Seen::Tree) => match path.to_str().map(Kind::path) {
                Some(kind) => self.version_of_tree(&kind).await,
                None => return Ok(true),
            },
            Now::Kind(kind) => match self.spec.schedule {
                Schedule::Once => Some(self.mark_of_once(kind)),
                // The route sends it in a moment.
                Schedule::Change if self.goes_again(note).await => None,
                // Of one that is written to without end, what is quiet is all that is sent.
                Schedule::Change => self.version(kind).await?.or_else(|| self.mirror.quiet()),
                Schedule::Every(every) => return Ok(note.due(every) > now_in_seconds()),
            },
        };
        Ok(mark.is_some_and(|mark| mark == note.mark))
    }
}

/// The content of a source, or of one of its entries, as it is at this moment.
enum Now<'a> {
    Kind(&'a Kind),
    Entry(&'a Path, Seen),
}
