//! A route each of whose deliveries goes to one of its targets: workers, one of which may die.

use std::collections::BTreeMap;

use estafette::node::{Destination, OutboxError, OutboxState};

use super::RouteNews;
use super::failure::RouteError;
use super::memory::Note;
use super::route::Route;
use crate::model::{Kind, Target};

/// Deliveries that one target has at once; more wait for whoever is done first.
const AHEAD: u64 = 2;

/// The place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// All targets have enough.
    Waits,
    /// One of them has just been given it.
    New,
    /// One of them is to have it.
    Open,
    /// One of them has it.
    Done,
    /// None has it, nor will.
    Withdrawn,
}

/// The number of deliveries that each target has under way.
pub(super) type Load = BTreeMap<Target, u64>;

impl Route {
    /// The deliveries under way, before entries are looked at.
    pub(super) async fn load(&self, notes: &[Note]) -> Load {
        let mut load: Load = self.targets.iter().map(|(target, _)| (target.clone(), 0)).collect();
        for note in notes.iter().filter(|note| !note.delivered) {
            let target = load.iter_mut().find(|(target, _)| note.to == target.to_string());
            let Some((_, count)) = target else { continue };
            let held = self.node.outbox().entry(note.id).await;
            *count += u64::from(held.is_ok_and(|held| held.is_open()));
        }
        load
    }

    /// Gives an entry to the target that has least to do; one whose target can't be reached goes to
    /// another one.
    pub(super) async fn give_to_one(
        &self,
        entry: &str,
        mark: &str,
        kind: &Kind,
        load: &mut Load,
    ) -> Result<Given, RouteError> {
        let key = self.key_of_one(entry);
        let before = self.memory.last(&self.node, &key).await?;
        let last = before.clone().filter(|last| last.mark == mark);
        let mut not_to = None;
        if let Some(mut last) = last {
            if self.memory.is_delivered(&self.node, &mut last, self.spec.receipt).await? {
                return Ok(Given::Done);
            }
            match self.node.outbox().entry(last.id).await {
                // Somebody took it out of the outbox: it is neither sent again nor done.
                Err(OutboxError::Unknown(_)) => return Ok(Given::Withdrawn),
                Err(_) => return Ok(Given::Open),
                Ok(held) => match held.state {
                    OutboxState::Stored if held.last_failure.is_some() && load.len() > 1 => {
                        // Forgotten before it is withdrawn: a process that dies in between gives it
                        // once more. The other way round it would be taken for withdrawn by hand.
                        self.memory.forget(&key).await?;
                        if self.node.outbox().withdraw(last.id).await.is_err() {
                            // It was delivered in this very moment: looked at again.
                            self.memory.put(&last).await?;
                            return Ok(Given::Open);
                        }
                        let count = load.iter_mut().find(|(to, _)| to.to_string() == last.to);
                        if let Some((_, count)) = count {
                            *count = count.saturating_sub(1);
                        }
                        let why = held.last_failure.map(|failure| failure.message);
                        let (entry, from) = (entry.to_owned(), last.to.clone());
                        let why = why.unwrap_or_default();
                        self.tell(RouteNews::Moved { entry, from, why });
                        not_to = Some(last.to);
                    }
                    // A dead letter is told by its node, and stays for somebody to look at.
                    _ => return Ok(Given::Open),
                },
            }
        }
        // Before it is looked for room, of which it may take some.
        if let Some(other) = before.filter(|before| before.mark != mark) {
            let source = self.content(kind).await?;
            if !self.may_follow(Some(&other), &*source).await {
                return Ok(Given::Waits);
            }
        }
        let free = load.iter_mut().filter(|(target, count)| {
            **count < AHEAD && not_to.as_ref().is_none_or(|not| *not != target.to_string())
        });
        let Some((target, count)) = free.min_by_key(|(_, count)| **count) else {
            return Ok(Given::Waits);
        };
        *count += 1;
        let target = target.clone();
        self.send_to(&key, mark, kind, &target).await?;
        Ok(Given::New)
    }

    async fn send_to(
        &self,
        key: &str,
        mark: &str,
        kind: &Kind,
        target: &Target,
    ) -> Result<(), RouteError> {
        let Some((_, peer)) = self.targets.iter().find(|(known, _)| known == target) else {
            return Ok(());
        };
        let source = self.content(kind).await?;
        let to = target.to_string();
        let mut note = Note::new(key.to_owned(), mark, to.clone());
        self.memory.put(&note).await?;
        let name = source.content().name.to_string();
        let sent = Destination::Peer(*peer, target.inbox.clone());
        let sent = self.node.send_with(sent, source, self.options(note.id)).await?;
        note.stored = true;
        self.memory.put(&note).await?;
        self.tell(RouteNews::Sent { id: sent.id(), name, to });
        Ok(())
    }

    pub(super) fn key_of_one(&self, entry: &str) -> String {
        format!("{}\n*\n{entry}", self.name)
    }
}
