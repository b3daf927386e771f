//! The receiver of batches, and the actors that handle what is in them.

use std::collections::{BTreeSet, VecDeque};

use crate::remote::exchange::cost;
use crate::remote::inbound::{Owed, Tells};
use crate::wire::message::{Item, Items};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Receiver {
    /// By their numbers on the link.
    targets: Vec<Target>,
    /// An item that comes in parts, and how long it is.
    partial: Option<(usize, Vec<u8>)>,
    pub(super) served: BTreeSet<u64>,
    pub(super) said: VecDeque<Said>,
    pub(super) fault: Option<&'static str>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Target {
    name: u32,
    unconfirmed: Tells,
    owed: Owed,
    /// The messages that wait for its actor.
    waiting: VecDeque<Waiting>,
    /// The message that comes next.
    next: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Waiting {
    Tell,
    /// All before it were handled: so many, which cost so much.
    Mark(u64, u64),
}

/// A word on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    Consumed { number: u32, tells: u64, cost: u64 },
    Reply(u64),
}

impl Receiver {
    pub(super) fn is_idle(&self) -> bool {
        self.targets.iter().all(|target| target.waiting.is_empty())
            && self.served.is_empty()
            && self.said.is_empty()
    }

    /// Returns `true` if the actor of that name has something to handle.
    pub(super) fn has(&self, name: u32) -> bool {
        self.targets.iter().any(|target| target.name == name && !target.waiting.is_empty())
    }

    /// Takes all items of a batch; credit of its tells is given back when the last one is handled.
    pub(super) fn read(&mut self, batch: &[u8], last_alone: bool) {
        self.items(batch);
        for target in &mut self.targets {
            if target.unconfirmed.count == 0 {
                continue;
            }
            let Tells { count, mut cost, .. } = target.unconfirmed.settle(&mut target.owed);
            if last_alone {
                cost /= count;
            }
            target.waiting.push_back(Waiting::Mark(count, cost));
        }
    }

    fn items(&mut self, batch: &[u8]) {
        let mut items = Items::new(batch);
        loop {
            match items.next_item() {
                Ok(Some((item, _))) => self.item(&item),
                Ok(None) => return,
                Err(_) => return self.fault = Some("a batch can't be read"),
            }
        }
    }

    fn item(&mut self, item: &Item<'_>) {
        match *item {
            Item::Bind { target, name, .. } => {
                if target as usize != self.targets.len() {
                    self.fault = Some("a target is named out of turn");
                }
                let name = name.parse().unwrap_or(u32::MAX);
                self.targets.push(Target { name, ..Target::default() });
            }
            Item::Tell { target, body } => {
                if let Some(target) = self.comes(target, body) {
                    target.unconfirmed.add(1, cost(body.len()), true);
                    target.waiting.push_back(Waiting::Tell);
                }
            }
            Item::Call { call, target, body, .. } => {
                self.comes(target, body);
                if !self.served.insert(call) {
                    self.fault = Some("a call comes twice");
                }
            }
            Item::Begin { total } => self.partial = Some((total as usize, Vec::new())),
            Item::Part { bytes } => {
                let Some((total, mut so_far)) = self.partial.take() else {
                    return self.fault = Some("a part of nothing comes");
                };
                so_far.extend_from_slice(bytes);
                if so_far.len() < total {
                    self.partial = Some((total, so_far));
                } else {
                    self.items(&so_far);
                }
            }
            _ => self.fault = Some("something comes that nobody has sent"),
        }
    }

    /// A message to a target comes; it must be the one that was sent after the one before.
    fn comes(&mut self, number: u32, body: &[u8]) -> Option<&mut Target> {
        let Some(target) = self.targets.get_mut(number as usize) else {
            self.fault = Some("a target is sent to before it is named");
            return None;
        };
        if body.first() != Some(&target.next) {
            self.fault = Some("a message comes twice, or out of its turn");
        }
        target.next += 1;
        Some(target)
    }

    /// The actor of that name handles what waits first.
    pub(super) fn handle(&mut self, name: u32) {
        let Some(number) = self.targets.iter().position(|target| target.name == name) else {
            return;
        };
        self.targets[number].waiting.pop_front();
        while let Some(&Waiting::Mark(tells, cost)) = self.targets[number].waiting.front() {
            self.targets[number].waiting.pop_front();
            self.settled(number, tells, cost);
        }
    }

    /// The actor of that name dies with all that waits.
    pub(super) fn die(&mut self, name: u32, nothing_settled: bool) {
        let Some(number) = self.targets.iter().position(|target| target.name == name) else {
            return;
        };
        for waiting in std::mem::take(&mut self.targets[number].waiting) {
            if let (Waiting::Mark(tells, cost), false) = (waiting, nothing_settled) {
                self.settled(number, tells, cost);
            }
        }
    }

    fn settled(&mut self, number: usize, tells: u64, cost: u64) {
        if let Some((tells, cost)) = self.targets[number].owed.settled(tells, cost) {
            self.said.push_back(Said::Consumed { number: number as u32, tells, cost });
        }
    }

    pub(super) fn answer(&mut self, call: u64) {
        self.served.remove(&call);
        self.said.push_back(Said::Reply(call));
    }
}
