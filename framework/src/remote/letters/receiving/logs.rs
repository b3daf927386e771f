//! The state of what one sender's letters have come to here: how far each of its logs was taken,
//! what is stored, what was refused, and what is said of it.
//!
//! It decides, and does nothing: records that are to become durable come out as [`Note`]s, and what
//! follows is put in again when they are. `letters/model_tests` goes through every order of what may
//! befall it, so that letters are a type parameter.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::error::RemoteError;
use super::super::super::letter_id::LogId;
use super::super::record::Taken;
use super::super::trying::Suspects;
use super::super::{WINDOW, WINDOW_BYTES};

/// The most logs that are remembered of one sender: it has a new one when it has lost its spool.
pub(in crate::remote::letters) const LOGS: usize = 4;
/// The most letters of a log that wait for their actors: twice a window, since clocks differ and a
/// sender may give up earlier.
pub(in crate::remote::letters) const HELD: usize = 2 * WINDOW as usize;
/// The most that they may cost.
const HELD_BYTES: u64 = 2 * WINDOW_BYTES;

/// All that came from one sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) struct Logs<L> {
    logs: BTreeMap<LogId, InLog<L>>,
    link: Option<Link>,
    /// Letters that came and are not durable yet.
    coming: u64,
    /// Somebody hands over what waits.
    is_handed_over: bool,
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
}

/// A log, and how far it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) struct InLog<L> {
    order: u64,
    highest: u64,
    /// So far, that is durable.
    durable: u64,
    /// With what each costs.
    held: BTreeMap<u64, (L, u64)>,
    bytes: u64,
    /// Handled or refused, and not durably yet.
    closing: BTreeSet<u64>,
    refused: BTreeMap<u64, RemoteError>,
    suspects: Suspects,
}

/// A record that is to become durable, together with those beside it or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) enum Note<L> {
    /// The point up to which a log was taken.
    Log(LogId, Taken),
    NoLog(LogId),
    Mail(LogId, u64, L),
    NoMail(LogId, u64),
    Refused(LogId, u64, RemoteError),
    NoRefused(LogId, u64),
    /// Nothing is counted against it any more.
    NoTried(LogId, u64),
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
pub(in crate::remote::letters) enum Arrival<L> {
    /// Of a link that is over.
    OfNoLink,
    /// Taken before: it is said again what has become of it.
    Before,
    /// Of one log too many.
    NoRoom,
    /// To be [taken](Logs::take), with these records beside.
    New { notes: Vec<Note<L>>, is_full: bool },
}

impl<L> Default for Logs<L> {
    fn default() -> Self {
        Self { logs: BTreeMap::new(), link: None, coming: 0, is_handed_over: false }
    }
}

impl<L: Clone> Logs<L> {
    pub(in crate::remote::letters) fn up(&mut self, epoch: u64) {
        self.link = Some(Link { epoch, log: None, seen: 0, shut: false });
    }

    pub(in crate::remote::letters) fn down(&mut self) {
        self.link = None;
    }

    /// The link there is.
    pub(in crate::remote::letters) fn epoch(&self) -> Option<u64> {
        self.link.as_ref().map(|link| link.epoch)
    }

    /// Letters that are held.
    pub(in crate::remote::letters) fn count(&self) -> u64 {
        self.logs.values().map(|log| log.held.len() as u64).sum()
    }

    /// A letter has come, and the one before it on its link. `Err`: the peer broke the protocol.
    pub(in crate::remote::letters) fn arrive(
        &mut self,
        epoch: u64,
        (log, number, before): (LogId, u64, u64),
        cost: u64,
    ) -> Result<Arrival<L>, String> {
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
        if self.coming >= WINDOW {
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
        known.prune(log, number, &mut notes);
        known.highest = number;
        notes.push(Note::Log(log, Taken { highest: number, order: known.order }));
        let is_full = known.held.len() >= HELD || known.bytes + cost > HELD_BYTES;
        Ok(Arrival::New { notes, is_full })
    }

    /// Takes a new letter, or refuses it; [`stored`](Self::stored) follows when all notes are
    /// durable.
    pub(in crate::remote::letters) fn take(
        &mut self,
        (log, number): (LogId, u64),
        cost: u64,
        letter: Result<L, RemoteError>,
        mut notes: Vec<Note<L>>,
    ) -> Vec<Note<L>> {
        let Some(known) = self.logs.get_mut(&log) else { return notes };
        match letter {
            Ok(letter) => {
                notes.push(Note::Mail(log, number, letter.clone()));
                known.hold(number, letter, cost);
            }
            Err(why) => {
                known.closing.insert(number);
                notes.push(Note::Refused(log, number, why));
            }
        }
        self.coming += 1;
        notes
    }

    /// Notes that what was taken, or refused, is durable.
    pub(in crate::remote::letters) fn stored(
        &mut self,
        (log, number): (LogId, u64),
        refusal: Option<RemoteError>,
    ) {
        self.coming = self.coming.saturating_sub(1);
        if let Some(known) = self.logs.get_mut(&log) {
            known.durable = number;
            if refusal.is_some() {
                known.close(number, refusal);
            }
        }
    }

    /// A letter that is held was handled, or is refused; [`ended`](Self::ended) follows when the
    /// notes are durable. `None`: it is not held.
    pub(in crate::remote::letters) fn end(
        &mut self,
        (log, number): (LogId, u64),
        refusal: Option<&RemoteError>,
    ) -> Option<(L, Vec<Note<L>>)> {
        let known = self.logs.get_mut(&log)?;
        let (letter, cost) = known.held.remove(&number)?;
        known.bytes -= cost;
        known.closing.insert(number);
        let mut notes = vec![Note::NoMail(log, number)];
        if known.suspects.forget(number) {
            notes.push(Note::NoTried(log, number));
        }
        notes.extend(refusal.map(|why| Note::Refused(log, number, why.clone())));
        Some((letter, notes))
    }

    /// The end of a letter is durable.
    pub(in crate::remote::letters) fn ended(
        &mut self,
        (log, number): (LogId, u64),
        refusal: Option<RemoteError>,
    ) {
        if let Some(known) = self.logs.get_mut(&log) {
            known.close(number, refusal);
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
            _ if known.held.contains_key(&number) || known.closing.contains(&number) => {
                if number > known.durable {
                    return None;
                }
                Word::Stored
            }
            Some(why) => Word::Refused(why),
            None => Word::Handled,
        };
        Some((link.epoch, word))
    }

    /// Returns `true` if the one who asks is to hand over what waits, for nobody does.
    pub(in crate::remote::letters) fn begin_handing(&mut self) -> bool {
        let begins = !self.is_handed_over && self.next().is_some();
        self.is_handed_over |= begins;
        begins
    }

    /// The letter whose turn it is, for whoever hands over; `None` ends that.
    pub(in crate::remote::letters) fn turn(&mut self, stopping: bool) -> Option<(LogId, u64, L)> {
        let next = self.next().filter(|_| !stopping).map(|(log, number, letter)| {
            let letter = letter.clone();
            (log, number, letter)
        });
        self.is_handed_over = next.is_some();
        next
    }

    fn next(&self) -> Option<(LogId, u64, &L)> {
        let (&id, log) = self
            .logs
            .iter()
            .filter(|(_, log)| !log.held.is_empty())
            .min_by_key(|(_, log)| log.order)?;
        let (&number, (letter, _)) =
            log.held.first_key_value().filter(|(number, _)| **number <= log.durable)?;
        Some((id, number, letter))
    }

    /// The letters that wait, but for one that may be with its actor.
    pub(in crate::remote::letters) fn waiting(&self) -> Vec<(LogId, u64, L)> {
        let with_actor =
            self.next().filter(|_| self.is_handed_over).map(|(log, number, _)| (log, number));
        let held = self.logs.iter().flat_map(|(&id, log)| {
            let durable = log.held.range(..=log.durable);
            durable.map(move |(&number, (letter, _))| (id, number, letter.clone()))
        });
        held.filter(|(log, number, _)| with_actor != Some((*log, *number))).collect()
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

    /// A log that was not known; `None` when too many have letters that wait.
    fn begin(&mut self, log: LogId, notes: &mut Vec<Note<L>>) -> Option<&mut InLog<L>> {
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

impl<L> InLog<L> {
    fn new(Taken { highest, order }: Taken) -> Self {
        let (held, closing, refused) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self {
            order,
            highest,
            durable: highest,
            held,
            bytes: 0,
            closing,
            refused,
            suspects: Suspects::default(),
        }
    }

    fn hold(&mut self, number: u64, letter: L, cost: u64) {
        self.bytes += cost;
        self.held.insert(number, (letter, cost));
    }

    fn close(&mut self, number: u64, refusal: Option<RemoteError>) {
        self.closing.remove(&number);
        if let Some(why) = refusal {
            self.refused.insert(number, why);
        }
    }

    /// A letter that an earlier life held.
    pub(in crate::remote::letters) fn restore(&mut self, number: u64, letter: L, cost: u64) {
        self.hold(number, letter, cost);
        self.suspects.begin(number);
    }

    /// A refusal that an earlier life noted.
    pub(in crate::remote::letters) fn restore_refusal(&mut self, number: u64, why: RemoteError) {
        self.refused.insert(number, why);
    }

    /// Refuses what can't be read any more, unless it was refused before.
    pub(in crate::remote::letters) fn refuse_unreadable(&mut self, number: u64, why: &RemoteError) {
        self.refused.entry(number).or_insert_with(|| why.clone());
    }

    /// Restores what an earlier life has counted against a letter.
    pub(in crate::remote::letters) fn restore_weight(&mut self, number: u64, weight: u32) {
        self.suspects.weigh(number, weight);
    }

    /// Forgets refusals that the sender, as it has sent this number, has noted.
    fn prune(&mut self, log: LogId, number: u64, notes: &mut Vec<Note<L>>) {
        while let Some(entry) =
            self.refused.first_entry().filter(|entry| entry.key().saturating_add(WINDOW) <= number)
        {
            notes.push(Note::NoRefused(log, *entry.key()));
            entry.remove();
        }
    }
}
