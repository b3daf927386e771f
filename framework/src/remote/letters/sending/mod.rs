//! The sender's side: what is under way, as much of it as credit allows, and what has become of it.

mod kept;
pub(super) mod offers;
pub(super) mod windows;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

#[cfg(test)]
pub(super) use self::kept::LEFT_OUT;
pub(super) use self::kept::load;
use self::offers::{Next, Offers};
use self::windows::Sum;
use super::super::error::{RemoteError, RemoteErrorKind};
use super::super::exchange::{Exchange, Target, cost};
use super::super::letter_id::LogId;
use super::delivery::stopped;
use super::keyed::{self, Keys, LetterKey, Posted};
use super::receiving::{GONE, HANDLED, Incoming, STORED};
use super::record::{self, LETTERS, LOGS, Letter, Log};
use super::{Delivery, LETTER_LIMIT, LetterId, LetterState, Letters, State};
use crate::store::clock::{Clock, Moment};
use crate::store::random32;
use crate::wire::{Along, PeerId};

/// The most dead letters that are kept for one peer; the oldest go.
pub(super) const DEAD_MOST: usize = 10_000;

/// A name may have so many times as much under way as is free: one that waits for ever leaves a
/// tenth of all.
const SHARE: u64 = 9;
/// One whose turn comes when a tenth or less is free may have this part of what is free, so that a
/// name that nobody has slows down no other one much;
const LATER: u64 = 20;
/// and this part of all in any case: it takes 54 names that wait for ever to fill that tenth.
const LAST: u64 = 1000;

/// The letters to one peer.
pub(super) struct Outgoing {
    exchange: Arc<Exchange>,
    clock: Arc<Clock>,
    log: LogId,
    offers: Offers<Open>,
    /// The last number that was ever said, as far as is known: an earlier life may have said all it
    /// gave.
    said: u64,
    /// Those that were handled, until that is durable.
    handled: BTreeMap<u64, watch::Sender<LetterState>>,
    /// Without their bodies.
    dead: BTreeMap<u64, (Letter, watch::Sender<LetterState>)>,
}

struct Open {
    letter: Letter,
    target: Arc<Target>,
    state: watch::Sender<LetterState>,
}

impl Open {
    fn new(letter: Letter, target: Arc<Target>) -> Self {
        Self { letter, target, state: watch::channel(LetterState::Stored).0 }
    }
}

/// A letter that is to be stored.
pub(in crate::remote) struct Posting {
    pub(in crate::remote) exchange: Arc<Exchange>,
    pub(in crate::remote) target: Arc<Target>,
    pub(in crate::remote) body: Vec<u8>,
    pub(in crate::remote) along: Option<Arc<Along>>,
    pub(in crate::remote) key: Option<LetterKey>,
}

impl Outgoing {
    fn new(exchange: Arc<Exchange>, clock: &Arc<Clock>, Log { id, last }: Log) -> Self {
        let (offers, handled, dead) = (Offers::new(last), BTreeMap::new(), BTreeMap::new());
        let clock = Arc::clone(clock);
        Self { exchange, clock, log: id, offers, said: last, handled, dead }
    }

    /// A new log, for whoever has a link with its peer now, and for whoever will have one.
    fn begun(exchange: &Arc<Exchange>, clock: &Arc<Clock>, incoming: Option<&Incoming>) -> Self {
        let mut out = Self::new(Arc::clone(exchange), clock, new_log());
        if let Some(incoming) = incoming
            && let Some(epoch) = incoming.logs.epoch()
        {
            out.offers.up(epoch, incoming.by_name);
        }
        out
    }

    /// Those that are not over, those that are given up, and what the former cost.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let Sum { letters, bytes } = self.offers.sum();
        (letters, self.dead.len() as u64, bytes)
    }

    pub(super) fn peer_name(&self) -> &str {
        self.exchange.peer_name()
    }

    /// Those that are stored, and not over.
    pub(super) fn durable(&self) -> Vec<u64> {
        self.offers.durable().map(|(number, _)| number).collect()
    }

    /// Those that are stored and not over: which may have been said on a link, and which never were.
    pub(super) fn said_and_not(&self) -> (Vec<u64>, Vec<u64>) {
        self.durable().into_iter().partition(|&number| number <= self.said)
    }

    /// A link is up: says again what is not over.
    pub(super) fn up(&mut self, epoch: u64, by_name: bool) {
        self.offers.up(epoch, by_name);
        self.send();
    }

    pub(super) fn down(&mut self) {
        self.offers.down();
        if !self.offers.is_empty() {
            self.exchange.seek_link();
        }
    }

    /// Says as many letters as may be under way.
    fn send(&mut self) {
        while let Some(Next { epoch, number, before, letter: open, is_asked }) = self.offers.next()
        {
            let said = (self.log, number, before);
            let along = open.letter.along().filter(|_| !is_asked);
            // Durations travel: the clocks of two nodes need not agree.
            let left = open.letter.expires.saturating_sub(self.clock.now().passed).max(1);
            let what = (!is_asked).then_some((left, &open.letter.body[..]));
            if !self.exchange.say_letter(epoch, &open.target, said, what, along.as_ref()) {
                return;
            }
            self.offers.said(number);
            self.said = self.said.max(number);
        }
    }
}

impl Letters {
    /// Stores a letter. The answer comes when that is durable, or has failed.
    pub(in crate::remote) fn post(&self, posting: Posting) -> Result<Posted, RemoteError> {
        let Posting { exchange, target, body, along, key } = posting;
        if body.len() > LETTER_LIMIT {
            let text = format!(
                "a {} of {} bytes is no letter: {LETTER_LIMIT} are allowed; send larger things as \
                 content",
                target.message,
                body.len()
            );
            return Err(RemoteError::new(RemoteErrorKind::Unencodable, text));
        }
        let mut state = self.state();
        if state.closed || state.stopping {
            return Err(stopped());
        }
        let peer = exchange.peer();
        let State { outgoing, incoming, keys, .. } = &mut *state;
        let what = (&*target.name, &*target.message, target.version);
        let key = key.map(|key| (key, keyed::digest(what, &body)));
        if let Some((key, digest)) = &key
            && keys.has(key, peer, digest)?
        {
            return Ok(self.again(*key));
        }
        let begun = || Outgoing::begun(&exchange, &self.clock, incoming.get(&peer));
        let out = outgoing.entry(peer).or_insert_with(begun);
        self.has_room(out, &exchange, &target.name, body.len())?;
        let (Moment { certain, passed: created }, life) =
            (self.clock.now(), self.limits.expiry.as_secs().max(1));
        let letter = Letter {
            name: target.name.to_string(),
            message: target.message.to_string(),
            version: target.version,
            created,
            expires: created.saturating_add(life),
            dead: None,
            body,
            trace: None,
            on_behalf: None,
        }
        .with(along.as_deref());
        let number = out.offers.last() + 1;
        let mut changes = vec![
            record::put(LETTERS, record::key(peer, out.log, number), &letter),
            record::put(LOGS, peer.as_bytes().to_vec(), &Log { id: out.log, last: number }),
        ];
        let (cost, expires) = (cost(letter.body.len()), letter.expires);
        let name = Arc::clone(&target.name);
        let number = out.offers.post(Open::new(letter, target), name, cost, expires);
        let id = LetterId::new(out.log, number);
        let remember = |(key, digest)| keys.remember(key, peer, id, digest, (certain, life));
        changes.extend(key.map(remember));
        let key = key.map(|(key, _)| key);
        let (answer, answered) = oneshot::channel();
        self.try_write(changes, move |letters, stored| {
            // Whoever posted it may be gone; it is on its way all the same.
            let _ = answer.send(letters.posted(peer, number, key, stored));
        });
        Ok(answered)
    }

    fn has_room(
        &self,
        out: &Outgoing,
        exchange: &Exchange,
        name: &str,
        length: usize,
    ) -> Result<(), RemoteError> {
        let (letters, bytes) = (self.limits.letters as u64, self.limits.bytes);
        let (all, of_name) = out.offers.sums(name);
        let fits = all.bytes == 0 || all.bytes + cost(length) <= bytes;
        if all.letters < letters && fits {
            let most = share(letters, letters - all.letters).max(1);
            let most_bytes = share(bytes, bytes.saturating_sub(all.bytes));
            if of_name.letters < most && (of_name.bytes == 0 || of_name.bytes < most_bytes) {
                return Ok(());
            }
        }
        let text = format!(
            "{} letters ({} bytes) are under way to {} already, {} of them ({} bytes) to {name:?}; at \
             most {letters} and {bytes} may be, to one name {SHARE} times as many as are free, and \
             when a tenth or less is free, a {LATER}th of that, or a {LAST}th of all if that is more: \
             nothing was stored; try again when some were handled",
            all.letters,
            all.bytes,
            exchange.peer_name(),
            of_name.letters,
            of_name.bytes
        );
        Err(RemoteError::new(RemoteErrorKind::Full, text))
    }

    fn posted(
        &self,
        peer: PeerId,
        number: u64,
        key: Option<LetterKey>,
        stored: Result<(), &io::Error>,
    ) -> Result<Delivery, RemoteError> {
        let mut state = self.state();
        let State { outgoing, keys, .. } = &mut *state;
        let out = outgoing.get_mut(&peer).ok_or_else(stopped)?;
        if let Err(error) = stored {
            out.offers.not_stored(number);
            key.iter().for_each(|key| keys.forget(key));
            let text = format!("the letter could not be stored, so it was not sent: {error}");
            return Err(RemoteError::new(RemoteErrorKind::Storage, text));
        }
        let open = out.offers.stored(number).ok_or_else(stopped)?;
        let delivery =
            Delivery { id: LetterId::new(out.log, number), state: open.state.subscribe() };
        out.send();
        if !out.offers.has_link() && !self.limits.dormant {
            out.exchange.seek_link();
        }
        Ok(delivery)
    }

    /// The peer says what has become of a letter. It is said of each by itself: where a word is
    /// lost, others say nothing of it. `Err`: it broke the protocol.
    pub(in crate::remote) fn said(
        &self,
        peer: PeerId,
        epoch: u64,
        (log, number): (LogId, u64),
        (code, text): (u8, &str),
    ) -> Result<(), String> {
        let mut state = self.state();
        let State { outgoing, keys, .. } = &mut *state;
        let Some(out) = outgoing.get_mut(&peer) else {
            return Err("a word about letters that were never sent".into());
        };
        match out.offers.hears(epoch, number) {
            Ok(false) => return Ok(()),
            Ok(true) if log == out.log => {}
            _ => {
                let text = "which was not sent on this link";
                return Err(format!("a word about letter {number}, {text}"));
            }
        }
        match code {
            STORED => {
                if let Some(open) = out.offers.is_there(number) {
                    open.state.send_replace(LetterState::Delivered);
                }
            }
            HANDLED => self.finish(peer, (out, keys), vec![number], None),
            GONE if out.offers.may_ask() => {
                out.offers.are_gone();
                return Err(format!("it has letter {number} no more: all come again"));
            }
            _ => {
                let mut why = RemoteError::told(code, text);
                why.message = format!("{} refused it: {}", out.exchange.peer_name(), why.message);
                self.finish(peer, (out, keys), vec![number], Some(why));
            }
        }
        out.send();
        Ok(())
    }

    /// Letters are over: handled, or dead.
    pub(super) fn finish(
        &self,
        peer: PeerId,
        (out, keys): (&mut Outgoing, &mut Keys),
        numbers: Vec<u64>,
        why: Option<RemoteError>,
    ) {
        let (mut changes, mut ended) = (Vec::new(), Vec::new());
        for number in numbers {
            let Some(Open { mut letter, state, .. }) = out.offers.end(number) else { continue };
            let key = record::key(peer, out.log, number);
            match &why {
                None => {
                    changes.push(record::remove(LETTERS, key));
                    changes.extend(keys.processed(LetterId::new(out.log, number)));
                    out.handled.insert(number, state.clone());
                    ended.push((number, state, LetterState::Processed));
                }
                Some(why) => {
                    let id = LetterId::new(out.log, number);
                    tracing::error!(
                        peer = %peer.short(), name = letter.name, %id, %why,
                        "a letter is dead"
                    );
                    (letter.body, letter.dead) =
                        (Vec::new(), Some((self.clock.now().certain, why.clone())));
                    changes.push(record::put(LETTERS, key, &letter));
                    ended.push((number, state.clone(), LetterState::Dead(why.clone())));
                    out.dead.insert(number, (letter, state));
                }
            }
        }
        while out.dead.len() > DEAD_MOST {
            let Some((number, _)) = out.dead.pop_first() else { break };
            changes.push(record::remove(LETTERS, record::key(peer, out.log, number)));
        }
        if changes.is_empty() {
            return;
        }
        self.write(changes, move |letters| {
            if let Some(out) = letters.state().outgoing.get_mut(&peer) {
                for (number, ..) in &ended {
                    out.offers.ended(*number);
                    out.handled.remove(number);
                }
                out.send();
            }
            ended.into_iter().for_each(|(_, state, end)| drop(state.send_replace(end)));
        });
    }

    /// Letters have expired: of what was never said on a link it is known that it was not handled.
    fn finish_expired(&self, peer: PeerId, (out, keys): (&mut Outgoing, &mut Keys), now: u64) {
        let expired = out.offers.expired(now);
        let (said, never): (Vec<_>, Vec<_>) = expired.into_iter().partition(|&n| n <= out.said);
        let name = out.exchange.peer_name().to_owned();
        for (numbers, kind, text) in [
            (
                said,
                RemoteErrorKind::Expired,
                format!(
                    "it expired before {name} said that it was handled; whether it was is not known"
                ),
            ),
            (
                never,
                RemoteErrorKind::Unreachable,
                format!(
                    "it expired before it was ever sent to {name}: it was not handled; see why \
                     there was no link, and deliver it again"
                ),
            ),
        ] {
            self.finish(peer, (out, keys), numbers, Some(RemoteError::new(kind, text)));
        }
    }

    /// Gives up what has expired, and seeks links for what waits.
    pub(super) fn look_around(&self) {
        let Moment { certain, passed: now } = self.clock.now();
        self.end_expired(now);
        let mut state = self.state();
        let over = state.keys.expire(certain);
        if !over.is_empty() {
            self.write(over, |_| {});
        }
        let State { outgoing, keys, .. } = &mut *state;
        for (&peer, out) in outgoing {
            if out.offers.is_due(now) {
                self.finish_expired(peer, (out, keys), now);
                out.offers.look_later();
                out.send();
            }
            if !out.offers.has_link() && !out.offers.is_empty() {
                out.exchange.seek_link();
            }
        }
    }
}

fn new_log() -> Log {
    let random = random32();
    Log { id: std::array::from_fn(|at| random[at]), last: 0 }
}

/// Returns how much of all one name may have when so much is free.
fn share(all: u64, free: u64) -> u64 {
    match free.saturating_mul(SHARE + 1) <= all {
        true => (free / LATER).max(all / LAST),
        false => free.saturating_mul(SHARE),
    }
}
