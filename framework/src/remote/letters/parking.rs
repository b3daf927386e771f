//! Names that letters wait for, and that nobody has here: they cost no task until somebody has.
//!
//! Invariant: who is parked is handed over by nobody, and is looked at each [`TICK`]. Its first letter
//! is ended when it has expired (see [`expiring`](super::expiring)).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::super::directory::Directory;
use super::{Letters, TICK};
use crate::wire::PeerId;

/// The time after which it is told that letters wait for a name.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// The least time between two looks: each goes through all that wait, whoever they are of.
const GAP: Duration = Duration::from_millis(50);

/// The most names of which it is asked, each [`TICK`], whether they may still be sent to.
const ASKED: usize = 1024;

/// Those who wait.
pub(super) type Parked = BTreeMap<Who, Wait>;

/// A sender, and the name that its letters wait for.
pub(super) type Who = (PeerId, Arc<str>);

/// The wait for a name.
#[derive(Debug)]
pub(super) struct Wait {
    since: Instant,
    /// It was told that it is long.
    is_told: bool,
}

/// Looks at those who wait, whenever a name has changed, as long as there are letters.
pub(super) async fn run(letters: Weak<Letters>, directory: Directory) {
    loop {
        let changed = directory.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let Some(letters) = letters.upgrade() else { return };
        letters.look_at_parked();
        drop(letters);
        // What changes meanwhile is seen after it.
        tokio::time::sleep(GAP).await;
        // Whatever comes first.
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

impl Letters {
    /// Nobody has this name now; whoever handed over for it does so no more.
    pub(super) fn park(&self, peer: PeerId, name: &Arc<str>) {
        let wait = Wait { since: Instant::now(), is_told: false };
        let mut state = self.state();
        if let Some(from) = state.incoming.get_mut(&peer) {
            from.logs.watch(name);
        }
        state.parked.insert((peer, Arc::clone(name)), wait);
    }

    /// Goes on with those whose name somebody has.
    fn look_at_parked(self: &Arc<Self>) {
        let mut state = self.state();
        if state.stopping {
            return;
        }
        let mut ready = Vec::new();
        state.parked.retain(|who, _| {
            let is_there = self.directory.has(&who.1);
            ready.extend(is_there.then(|| who.clone()));
            !is_there
        });
        let mut long = state
            .parked
            .iter_mut()
            .filter(|(_, wait)| !wait.is_told && wait.since.elapsed() >= LONG)
            .map(|((peer, name), wait)| {
                wait.is_told = true;
                (*peer, Arc::clone(name))
            });
        // One line for all of them: there may be many.
        if let Some((peer, name)) = long.next() {
            let others = long.count();
            tracing::warn!(
                peer = %peer.short(), %name, others,
                "letters wait for {name:?}, which nobody has here, and for {others} other names: \
                 start what has that name, or wait until they expire"
            );
        }
        drop(state);
        ready.into_iter().for_each(|(peer, name)| self.go_on(peer, name));
    }

    /// Goes on with those who may not send to their names any more, for so many as are asked of:
    /// those behind the last one of the time before. Returns the last one.
    pub(super) fn look_at_trust(self: &Arc<Self>, last: Option<&Who>) -> Option<Who> {
        let asked = those_behind(&self.state().parked, last, ASKED);
        for (peer, name) in &asked {
            // Not while the state is locked: it may be long.
            if (self.admits)(peer, name) == Some(false)
                && self.state().parked.remove(&(*peer, Arc::clone(name))).is_some()
            {
                self.go_on(*peer, Arc::clone(name));
            }
        }
        asked.into_iter().next_back()
    }

    /// Nobody waits any more for names for a peer's letters; the names.
    pub(super) fn unpark(&self, peer: PeerId) {
        let mut state = self.state();
        let of_peer: Vec<_> =
            state.parked.keys().filter(|(whose, _)| *whose == peer).cloned().collect();
        for who in of_peer {
            state.parked.remove(&who);
            if let Some(from) = state.incoming.get_mut(&peer) {
                from.logs.end_handing(&who.1);
            }
        }
    }
}

/// Those behind one of them, and then from the first one on; so many at most, and none twice.
fn those_behind(parked: &Parked, last: Option<&Who>, most: usize) -> Vec<Who> {
    let Some(last) = last else { return parked.keys().take(most).cloned().collect() };
    let behind = parked.range((Bound::Excluded(last), Bound::Unbounded));
    let before = parked.range(..=last);
    behind.chain(before).take(most).map(|(who, _)| who.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_names_it_is_asked_in_turn_whoever_they_are_of() {
        let who = |peer, name: usize| (PeerId::from_bytes([peer; 32]), name.to_string().into());
        let wait = || Wait { since: Instant::now(), is_told: false };
        let mut parked: Parked = (0..5).map(|name| (who(1, name), wait())).collect();
        parked.insert(who(2, 0), wait());
        let (mut last, mut asked) = (None, Vec::new());
        for _ in 0..3 {
            let some = those_behind(&parked, last.as_ref(), 4);
            assert_eq!(some.len(), 4);
            last = some.last().cloned();
            asked.extend(some);
        }
        asked.sort();
        let twice: Vec<Who> = parked.keys().flat_map(|who| [who.clone(), who.clone()]).collect();
        assert_eq!(asked, twice);
        // The last one may be gone.
        parked.remove(&last.clone().unwrap());
        assert_eq!(those_behind(&parked, last.as_ref(), 100).len(), 5);
        assert!(those_behind(&Parked::new(), last.as_ref(), 100).is_empty());
    }
}
