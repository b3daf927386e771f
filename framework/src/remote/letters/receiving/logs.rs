//! The state of what one sender's letters have come to here: how far each of its logs was taken,
//! what is stored, what was refused, and what is said of it.
//!
//! It decides, and does nothing: records that are to become durable come out as [`Note`]s, and what
//! follows is put in again when they are. `letters/model_tests` goes through every order of what may
//! befall it, so that letters are a type parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::super::error::RemoteError;
use super::super::super::letter_id::LogId;
use super::super::record::Taken;
use super::super::trying::Suspects;
use super::super::{FAR, FAR_BYTES, LETTER_LIMIT, WINDOW, WINDOW_BYTES};
use super::in_log::{About, Held, InLog, Note};
use super::names::Names;

/// The most logs that are remembered of one sender: it has a new one when it has lost its spool.
pub(in crate::remote::letters) const LOGS: usize = 4;
/// The letters of a log that may wait for their actors, whatever others there are; so many of them
/// are in memory.
pub(in crate::remote::letters) const HELD: usize = 2 * WINDOW as usize;
/// The most that they may cost.
const HELD_BYTES: u64 = 2 * WINDOW_BYTES;
/// The most letters of all logs that wait: twice what may be under way, since clocks differ and a
/// sender may give up earlier.
pub(in crate::remote::letters) const HELD_OF_ALL: usize = 2 * FAR as usize;
/// The most that they may cost.
const HELD_BYTES_OF_ALL: u64 = 2 * FAR_BYTES;
/// The most refusals of a log that are remembered: words about letters, and what becomes durable of
/// them, are in order at both ends, so a refusal that its sender has not noted is no older. What its
/// sender has given up, and is held here, may be refused after it, too.
pub(in crate::remote::letters) const REFUSALS: usize = HELD_OF_ALL + FAR as usize;
/// The most letters that came and are not durable yet: twice what a sender has on the road, for one
/// that gives letters up has room there before they are stored here.
const COMING: u64 = 2 * WINDOW;
/// The most that they may cost.
const COMING_BYTES: u64 = 2 * WINDOW_BYTES + LETTER_LIMIT as u64;

/// All that came from one sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) struct Logs<L> {
    logs: BTreeMap<LogId, InLog<L>>,
    names: Names,
    /// Those that are held durably, by when they expire; one that had expired while it was with its
    /// actor is that one's matter.
    due: BTreeSet<(u64, LogId, u64)>,
    link: Option<Link>,
    /// Letters that came and are not durable yet, and what they cost.
    coming: u64,
    coming_bytes: u64,
    /// Letters that are held, and what they cost.
    held: usize,
    bytes: u64,
    refusals: usize,
}

/// The link there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Link {
    epoch: u64,
    /// The log that letters on it belong to.
    log: Option<LogId>,
    /// The last number that came on it: nothing is said of later ones, which will be asked for.
    seen: u64,
    /// There was no room for its log: all that comes on it is refused, for room that came in the
    /// middle would have later letters taken and these passed over, should the words that
    /// refuse them be lost.
    shut: bool,
    /// A letter that was asked for is not here, and may come again: none behind it is taken.
    gone: bool,
}

/// A word about a letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) enum Word<'a> {
    Stored,
    Handled,
    Refused(&'a RemoteError),
}

/// The kind of a letter that has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) enum Arrival {
    /// Of a link that is over.
    OfNoLink,
    /// Taken before: it is said again what has become of it.
    Before,
    /// Of one log too many.
    NoRoom,
    /// It is asked for, and not here; or behind one that is not.
    Gone,
    /// To be [taken](Logs::take), with these records beside.
    New { notes: Vec<Note>, is_full: bool },
}

impl<L> Default for Logs<L> {
    fn default() -> Self {
        Self {
            logs: BTreeMap::new(),
            names: Names::default(),
            due: BTreeSet::new(),
            link: None,
            coming: 0,
            coming_bytes: 0,
            held: 0,
            bytes: 0,
            refusals: REFUSALS,
        }
    }
}

impl<L: Clone> Logs<L> {
    pub(in crate::remote::letters) fn up(&mut self, epoch: u64) {
        self.link = Some(Link { epoch, log: None, seen: 0, shut: false, gone: false });
    }

    pub(in crate::remote::letters) fn down(&mut self) {
        self.link = None;
    }

    /// The link there is.
    pub(in crate::remote::letters) fn epoch(&self) -> Option<u64> {
        self.link.as_ref().map(|link| link.epoch)
    }

    /// The same, where fewer refusals are remembered.
    #[cfg(test)]
    pub(in crate::remote::letters) fn remembering(self, refusals: usize) -> Self {
        Self { refusals, ..self }
    }

    /// Letters that are held.
    pub(in crate::remote::letters) fn count(&self) -> u64 {
        self.held as u64
    }

    /// A letter has come, and the one before it on its link, or only the question what has become
    /// of it. `Err`: the peer broke the protocol.
    pub(in crate::remote::letters) fn arrive(
        &mut self,
        epoch: u64,
        (log, number, before): (LogId, u64, u64),
        is_asked: bool,
        cost: u64,
    ) -> Result<Arrival, String> {
        let Some(link) = self.link.as_mut().filter(|link| link.epoch == epoch) else {
            return Ok(Arrival::OfNoLink);
        };
        if number <= link.seen || *link.log.get_or_insert(log) != log {
            return Err(out_of_turn(number));
        }
        if before != link.seen {
            return Err(format!(
                "letter {number} follows letter {before}, and the last one that came was {}: one \
                 was lost",
                link.seen
            ));
        }
        link.seen = number;
        if self.logs.get(&log).is_some_and(|known| number <= known.highest) {
            return Ok(Arrival::Before);
        }
        link.gone |= is_asked;
        if link.gone {
            return Ok(Arrival::Gone);
        }
        if self.coming >= COMING || self.coming_bytes + cost > COMING_BYTES {
            return Err("more letters than it has credit for".into());
        }
        let is_shut = link.shut;
        let mut notes = Vec::new();
        let begun = if is_shut { None } else { self.begin(log, &mut notes) };
        let Some(known) = begun else {
            if let Some(link) = &mut self.link {
                link.shut = true;
            }
            return Ok(Arrival::NoRoom);
        };
        known.prune(log, (before, number), &mut notes);
        known.highest = number;
        notes.push(Note::Log(log, Taken { highest: number, order: known.order }));
        let of_all = self.held >= HELD_OF_ALL || self.bytes + cost > HELD_BYTES_OF_ALL;
        let is_full = of_all && !self.is_among_few(log, cost);
        Ok(Arrival::New { notes, is_full })
    }

    /// Returns `true` if a letter of a log would be among those that may be in memory.
    pub(in crate::remote::letters) fn is_among_few(&self, log: LogId, cost: u64) -> bool {
        let is_among = |log: &InLog<L>| log.held.len() < HELD && log.bytes + cost <= HELD_BYTES;
        self.logs.get(&log).is_none_or(is_among)
    }

    /// Takes a new letter, or refuses it; [`stored`](Self::stored) follows when all notes are
    /// durable.
    pub(in crate::remote::letters) fn take(
        &mut self,
        (log, number): (LogId, u64),
        about: About<'_>,
        letter: Result<L, RemoteError>,
        mut notes: Vec<Note>,
    ) -> Vec<Note> {
        match letter {
            Ok(letter) => {
                notes.push(Note::Mail(log, number));
                self.hold((log, number), about, letter);
            }
            Err(why) => {
                let Some(known) = self.logs.get_mut(&log) else { return notes };
                known.refuse((log, number), why, self.refusals, &mut notes);
            }
        }
        self.coming += 1;
        self.coming_bytes += about.cost;
        notes
    }

    fn hold(&mut self, (log, number): (LogId, u64), about: About<'_>, letter: L) {
        let About { name, cost, expires } = about;
        let Some(known) = self.logs.get_mut(&log) else { return };
        let name = self.names.put(name, (known.order, log, number));
        known.bytes += cost;
        known.held.insert(number, Held { letter, name, cost, expires });
        self.held += 1;
        self.bytes += cost;
    }

    /// Notes that what was taken, or refused, is durable; it came at that cost.
    pub(in crate::remote::letters) fn stored(&mut self, (log, number): (LogId, u64), cost: u64) {
        self.coming = self.coming.saturating_sub(1);
        self.coming_bytes = self.coming_bytes.saturating_sub(cost);
        if let Some(known) = self.logs.get_mut(&log) {
            known.durable = number;
            known.close(number);
            let held = known.held.get(&number);
            self.due.extend(held.map(|held| (held.expires, log, number)));
        }
    }

    /// A letter that is held was handled, or is refused; [`ended`](Self::ended) follows when the
    /// notes are durable. `None`: it is not held.
    pub(in crate::remote::letters) fn end(
        &mut self,
        (log, number): (LogId, u64),
        refusal: Option<&RemoteError>,
    ) -> Option<(L, Vec<Note>)> {
        let known = self.logs.get_mut(&log)?;
        let Held { letter, name, cost, expires } = known.held.remove(&number)?;
        known.bytes -= cost;
        self.held -= 1;
        self.bytes -= cost;
        self.due.remove(&(expires, log, number));
        self.names.end(&name, (known.order, log, number));
        let mut notes = vec![Note::NoMail(log, number)];
        if known.suspects.forget(number) {
            notes.push(Note::NoTried(log, number));
        }
        match refusal {
            Some(why) => known.refuse((log, number), why.clone(), self.refusals, &mut notes),
            None => _ = known.closing.insert(number, None),
        }
        Some((letter, notes))
    }

    /// The end of a letter for a name is durable.
    pub(in crate::remote::letters) fn ended(&mut self, (log, number): (LogId, u64), name: &str) {
        self.names.ended(name);
        if let Some(known) = self.logs.get_mut(&log) {
            known.close(number);
        }
    }

    /// Returns the word about a letter, and its link; `None` if nothing is to be said now.
    pub(in crate::remote::letters) fn word(
        &self,
        log: LogId,
        number: u64,
    ) -> Option<(u64, Word<'_>)> {
        let link =
            self.link.as_ref().filter(|link| link.log == Some(log) && link.seen >= number)?;
        let known = self.logs.get(&log)?;
        let word = match known.refused.get(&number) {
            // What is not durable yet is told when it is.
            _ if known.held.contains_key(&number) || known.closing.contains_key(&number) => {
                if number > known.durable {
                    return None;
                }
                Word::Stored
            }
            Some(refusal) => Word::Refused(&refusal.why),
            None => Word::Handled,
        };
        Some((link.epoch, word))
    }

    /// Returns the first letter for a name if the one who asks is to hand over what waits for it,
    /// for nobody does.
    pub(in crate::remote::letters) fn begin_handing(&mut self, name: &str) -> Option<L> {
        if self.names.is_handed_over(name) {
            return None;
        }
        let (_, _, first) = self.next(name)?;
        let first = first.clone();
        self.names.set(name, true);
        Some(first)
    }

    /// Nobody hands over for a name any more.
    pub(in crate::remote::letters) fn end_handing(&mut self, name: &str) {
        self.names.set(name, false);
    }

    /// The letter whose turn it is, for whoever hands over for a name; `None` ends that.
    pub(in crate::remote::letters) fn turn(
        &mut self,
        name: &str,
        stopping: bool,
    ) -> Option<(LogId, u64, L)> {
        let next = self.next(name).filter(|_| !stopping).map(|(log, number, letter)| {
            let letter = letter.clone();
            (log, number, letter)
        });
        self.names.set(name, next.is_some());
        next
    }

    fn next(&self, name: &str) -> Option<(LogId, u64, &L)> {
        let (_, id, number) = self.names.next(name)?;
        let log = self.logs.get(&id).filter(|log| number <= log.durable)?;
        Some((id, number, &log.held.get(&number)?.letter))
    }

    /// The names that letters wait for.
    pub(in crate::remote::letters) fn names(&self) -> Vec<Arc<str>> {
        self.names.all()
    }

    /// The letters that wait, but for those that may be with their actors.
    pub(in crate::remote::letters) fn waiting(&self) -> Vec<(LogId, u64, L)> {
        let is_with_actor = |spot: (u64, LogId, u64), name: &str| {
            self.names.is_handed_over(name) && self.names.first(name) == Some(spot)
        };
        let waiting = self.logs.iter().flat_map(|(&id, log)| {
            let durable = log.held.range(..=log.durable);
            durable
                .filter(move |&(&number, held)| !is_with_actor((log.order, id, number), &held.name))
                .map(move |(&number, held)| (id, number, held.letter.clone()))
        });
        waiting.collect()
    }

    /// Returns `true` if some may have expired.
    pub(in crate::remote::letters) fn is_due(&self, now: u64) -> bool {
        self.due.first().is_some_and(|&(expires, ..)| expires <= now)
    }

    /// Those that have expired and that nobody hands over, of so many as are looked at: whoever asks
    /// ends them. `unpark`: nobody waits any more for the name of one, if somebody did.
    pub(in crate::remote::letters) fn expired(
        &mut self,
        now: u64,
        most: usize,
        mut unpark: impl FnMut(&Arc<str>) -> bool,
    ) -> Vec<(LogId, u64, Arc<str>)> {
        let mut expired = Vec::new();
        for _ in 0..most {
            if !self.is_due(now) {
                break;
            }
            let Some((_, log, number)) = self.due.pop_first() else { break };
            let Some(known) = self.logs.get(&log) else { continue };
            let Some(Held { name, .. }) = known.held.get(&number) else { continue };
            let is_first = self.names.first(name) == Some((known.order, log, number));
            if is_first && self.names.is_handed_over(name) {
                if !unpark(name) {
                    // It may be with its actor: who hands it over ends it.
                    continue;
                }
                self.names.set(name, false);
            }
            expired.push((log, number, Arc::clone(name)));
        }
        expired
    }

    /// A name is handed over by nobody for now: its first letter is ended when it has expired.
    pub(in crate::remote::letters) fn watch(&mut self, name: &str) {
        let Some((_, log, number)) = self.names.first(name) else { return };
        let held = self.logs.get(&log).and_then(|known| known.held.get(&number));
        self.due.extend(held.map(|held| (held.expires, log, number)));
    }

    /// Returns what earlier lives have left of a log.
    pub(in crate::remote::letters) fn suspects(&self, log: LogId) -> Option<&Suspects> {
        self.logs.get(&log).map(|log| &log.suspects)
    }

    pub(in crate::remote::letters) fn suspects_mut(&mut self, log: LogId) -> Option<&mut Suspects> {
        self.logs.get_mut(&log).map(|log| &mut log.suspects)
    }

    /// A log, as its record says that it was taken.
    pub(in crate::remote::letters) fn restore(&mut self, log: LogId, taken: Taken) {
        self.logs.insert(log, InLog::new(taken));
    }

    /// The log that a record of that number belongs to.
    pub(in crate::remote::letters) fn known(
        &mut self,
        log: LogId,
        number: u64,
    ) -> Option<&mut InLog<L>> {
        self.logs.get_mut(&log).filter(|log| number <= log.highest)
    }

    /// A letter that an earlier life held; its log is [known](Self::known).
    pub(in crate::remote::letters) fn restore_letter(
        &mut self,
        (log, number): (LogId, u64),
        about: About<'_>,
        letter: L,
    ) {
        self.hold((log, number), about, letter);
        self.due.insert((about.expires, log, number));
    }

    /// All is restored.
    pub(in crate::remote::letters) fn begin_life(&mut self) {
        for (_, log, number) in self.names.suspects() {
            if let Some(known) = self.logs.get_mut(&log) {
                known.suspects.begin(number);
            }
        }
    }

    /// A log that was not known; `None` when too many have letters that wait.
    fn begin(&mut self, log: LogId, notes: &mut Vec<Note>) -> Option<&mut InLog<L>> {
        if !self.logs.contains_key(&log) {
            if self.logs.len() >= LOGS {
                let over = self.logs.iter().filter(|(_, log)| {
                    log.held.is_empty() && log.closing.is_empty() && log.durable == log.highest
                });
                let (&oldest, _) = over.min_by_key(|(_, log)| log.order)?;
                let refused = self.logs.remove(&oldest).map(|log| log.refused).unwrap_or_default();
                notes.push(Note::NoLog(oldest));
                notes.extend(refused.keys().map(|&number| Note::NoRefused(oldest, number)));
            }
            let order = self.logs.values().map(|log| log.order + 1).max().unwrap_or(0);
            self.logs.insert(log, InLog::new(Taken { highest: 0, order }));
        }
        self.logs.get_mut(&log)
    }
}

pub(in crate::remote::letters) fn out_of_turn(number: u64) -> String {
    format!("letter {number} is out of turn, of a second log, or too long")
}
