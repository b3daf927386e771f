//! The letters that are kept: taken up at the start, listed, found, and forgotten.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::super::super::error::{RemoteError, RemoteErrorKind};
use super::super::super::exchange::{Exchange, cost};
use super::super::record::{self, KEYS, LETTERS, LOGS, Letter, Log};
use super::super::{Delivery, LetterId, LetterInfo, LetterState, Letters, State};
use super::{Open, Outgoing};
use crate::store::clock::{Clock, Moment};
use crate::store::{Store, now};
use crate::wire::PeerId;

/// The time that a dead letter is kept for somebody to look at, in seconds.
const DEAD_KEPT: u64 = 30 * 24 * 3600;
/// So many numbers are left out at each start: should a spool have forgotten its last writes, no
/// number is given a second time, for a receiver would take that letter for one it has handled.
pub(in crate::remote::letters) const LEFT_OUT: u64 = 1 << 20;

/// The number behind which a life gives its own, of a log whose last one known is this: beyond all
/// of a life that began in an earlier second, too, should the spool be a copy that was put back and
/// know nothing of it. No life gives so many a second.
fn begun(last: u64, now: u64) -> u64 {
    last.saturating_add(LEFT_OUT).max(now.saturating_mul(LEFT_OUT))
}

impl Letters {
    /// All letters that are kept here, the oldest of each peer first.
    pub(crate) fn list(&self) -> Vec<LetterInfo> {
        let state = self.state();
        let mut list: Vec<_> =
            state.outgoing.iter().flat_map(|(&peer, out)| out.list(peer)).collect();
        list.sort_by_key(|info| (info.peer, info.id.number));
        list
    }

    /// A letter that is kept here.
    pub(crate) fn find(&self, id: LetterId) -> Option<Delivery> {
        let state = self.state();
        let out = state.outgoing.values().find(|out| out.log == id.log)?;
        Some(Delivery { id, state: out.state_of(id)?? })
    }

    /// Forgets a dead letter, durably when the answer comes; `None` if there is no dead one of that
    /// id.
    pub(crate) fn forget(
        &self,
        id: LetterId,
    ) -> Option<oneshot::Receiver<Result<(), RemoteError>>> {
        let mut state = self.state();
        let State { outgoing, keys, .. } = &mut *state;
        let (&peer, out) = outgoing.iter_mut().find(|(_, out)| out.log == id.log)?;
        let kept = out.dead.remove(&id.number)?;
        let (answer, answered) = oneshot::channel();
        let key = keys.without(id);
        let letter = record::remove(LETTERS, record::key(peer, id.log, id.number));
        let its_key = key.map(|(key, _)| record::remove(KEYS, key.to_vec()));
        self.try_write(its_key.into_iter().chain([letter]).collect(), move |letters, forgotten| {
            if forgotten.is_err() {
                let State { outgoing, keys, .. } = &mut *letters.state();
                if let Some(out) = outgoing.get_mut(&peer) {
                    out.dead.insert(id.number, kept);
                    key.into_iter().for_each(|(key, keyed)| keys.put(key, keyed));
                }
            }
            let told = |error: &io::Error| {
                let text = format!("the letter {id} was not forgotten: {error}");
                RemoteError::new(RemoteErrorKind::Storage, text)
            };
            // Whoever asked may be gone.
            let _ = answer.send(forgotten.map_err(told));
        });
        Some(answered)
    }
}

impl Outgoing {
    /// The state of a letter that is under way or dead; `Some(None)` while it is being stored. One
    /// that was handled is under way until that is durable.
    pub(in crate::remote::letters) fn state_of(
        &self,
        id: LetterId,
    ) -> Option<Option<watch::Receiver<LetterState>>> {
        if self.log != id.log {
            return None;
        }
        if self.offers.get(id.number).is_some() {
            return Some(self.offers.find(id.number).map(|open| open.state.subscribe()));
        }
        let handled = self.handled.get(&id.number);
        let over = handled.or_else(|| self.dead.get(&id.number).map(|(_, state)| state));
        over.map(|state| Some(state.subscribe()))
    }

    fn list(&self, peer: PeerId) -> impl Iterator<Item = LetterInfo> {
        let (log, now) = (self.log, self.clock.now());
        let info = move |number, letter: &Letter, state: &watch::Sender<LetterState>| LetterInfo {
            id: LetterId::new(log, number),
            peer,
            name: letter.name.clone(),
            message: letter.message.clone(),
            created: now.on_the_wall(letter.created),
            expires: now.on_the_wall(letter.expires),
            state: state.borrow().clone(),
        };
        let open = self
            .offers
            .durable()
            .map(move |(number, open)| info(number, &open.letter, &open.state));
        open.chain(
            self.dead.iter().map(move |(&number, (letter, state))| info(number, letter, state)),
        )
    }
}

/// Reads a spool's letters from here.
pub(in crate::remote::letters) fn load(
    spool: &dyn Store,
    clock: &Arc<Clock>,
    exchange: impl Fn(PeerId) -> Arc<Exchange>,
) -> io::Result<HashMap<PeerId, Outgoing>> {
    let mut all = HashMap::new();
    for (key, value) in spool.load(LOGS)? {
        let peer = <[u8; 32]>::try_from(&key[..]).ok().map(PeerId::from_bytes);
        if let Some((peer, Log { id, last })) = record::read::<_, Log>(LOGS, &key, &value, peer) {
            let log = Log { id, last: begun(last, now()) };
            all.insert(peer, Outgoing::new(exchange(peer), clock, log));
        }
    }
    let (mut old, moment) = (Vec::new(), clock.now());
    for (key, value) in spool.load(LETTERS)? {
        let Some(((peer, log, number), letter)) =
            record::read::<_, Letter>(LETTERS, &key, &value, record::read_key(&key))
        else {
            continue;
        };
        let is_old = |(since, _): &(u64, _)| since.saturating_add(DEAD_KEPT) <= moment.certain;
        if letter.dead.as_ref().is_some_and(is_old) {
            old.push(record::remove(LETTERS, key));
            continue;
        }
        match all.get_mut(&peer).filter(|out| out.log == log && number <= out.offers.last()) {
            Some(out) => out.take_up(number, letter, moment),
            None => {
                tracing::error!(
                    peer = %peer.short(), number,
                    "a letter is in the spool without its log, and can't be sent any more"
                )
            }
        }
    }
    if !old.is_empty() {
        spool.write(old)?;
    }
    Ok(all)
}

impl Outgoing {
    fn take_up(&mut self, number: u64, letter: Letter, now: Moment) {
        let mut letter = letter.bounded(now);
        if letter.dead.is_none() {
            match self.exchange.target(&letter.name, &letter.message, letter.version) {
                Ok(target) => {
                    let (cost, expires) = (cost(letter.body.len()), letter.expires);
                    let name = Arc::clone(&target.name);
                    let open = Open::new(letter, target);
                    return self.offers.restore(number, open, name, (cost, expires));
                }
                Err(error) => letter.dead = Some((now.certain, error)),
            }
        }
        if let Some((_, why)) = letter.dead.clone() {
            self.dead.insert(number, (letter, watch::channel(LetterState::Dead(why)).0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_gives_no_number_that_an_earlier_one_gave_though_it_knows_nothing_of_it() {
        // A copy that was taken at 7, and put back after a life that gave a million letters.
        let [first, second] = [1_000, 1_001].map(|start| begun(7, start));
        assert!(second >= first + LEFT_OUT);
        assert_eq!(begun(first + 5, 1_000), first + 5 + LEFT_OUT, "twice within a second");
        assert_eq!(begun(7, 0), 7 + LEFT_OUT, "a clock that has begun anew");
    }
}
