//! The actors that a node runs: what is seen of each, and which hear of the death of which.

mod seen;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

pub(super) use self::seen::ActorSeen;
use super::snapshot::ActorSnapshot;

/// The actors that a node runs, in the order of their starts, and how each is told of the others.
#[derive(Debug, Default)]
pub(crate) struct HostedActors(Mutex<Vec<Wired>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Wired {
    pub(super) name: Arc<str>,
    pub(super) seen: Arc<ActorSeen>,
    pub(super) after: Vec<Arc<str>>,
    pub(super) tell: mpsc::UnboundedSender<Word>,
}

/// News for an actor of one that it is wired to.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// It has died: this one ends, too, until that one is back.
    Down(Arc<str>),
    Up(Arc<str>),
    GivenUp(Arc<str>),
}

impl HostedActors {
    pub(super) fn each(&self, work: impl FnOnce(&mut Vec<Wired>)) {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns what is shown of the first `most`, and how many others there are; `at` tells times.
    pub(super) fn seen(
        &self,
        most: usize,
        at: impl Fn(std::time::Instant) -> u64,
    ) -> (Vec<ActorSnapshot>, u64) {
        let (mut seen, mut more) = (Vec::new(), 0);
        self.each(|all| {
            seen.extend(all.iter().take(most).map(|wired| wired.seen.look(&wired.name, &at)));
            more = all.len().saturating_sub(most) as u64;
        });
        (seen, more)
    }

    /// Tells those that are wired to `of`.
    pub(super) fn tell(&self, of: &Arc<str>, word: impl Fn(Arc<str>) -> Word) {
        self.each(|all| tell(all, of, word));
    }

    /// Takes one out that has ended, does `then`, and tells those that are wired to it: all before
    /// anybody else, who may be hosted under its name since `then`, is there to be told of it.
    /// One that never got its name, since another one has it, is nobody whom they could be wired to.
    pub(super) fn end(
        &self,
        of: &Arc<str>,
        ended: &mpsc::UnboundedSender<Word>,
        has_name: bool,
        then: impl FnOnce(),
    ) {
        self.each(|all| {
            all.retain(|wired| !wired.tell.same_channel(ended));
            then();
            if has_name || !all.iter().any(|wired| wired.name == *of) {
                tell(all, of, Word::GivenUp);
            }
        });
    }

    /// The first name among these that nobody has.
    pub(super) fn missing<'a>(&self, names: &'a [Arc<str>]) -> Option<&'a Arc<str>> {
        let mut missing = None;
        self.each(|all| {
            missing = names.iter().find(|name| !all.iter().any(|wired| wired.name == **name))
        });
        missing
    }
}

fn tell(all: &[Wired], of: &Arc<str>, word: impl Fn(Arc<str>) -> Word) {
    for wired in all.iter().filter(|wired| wired.after.contains(of)) {
        // One that has ended has no ears.
        let _ = wired.tell.send(word(Arc::clone(of)));
    }
}
