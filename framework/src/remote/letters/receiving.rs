//! The receiver's side: what comes is put into the [`Logs`] of its sender, and what these say is
//! written, and told.

pub(super) mod in_log;
pub(super) mod logs;
mod names;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use self::in_log::{About, InLog, Note};
pub(super) use self::logs::LOGS;
use self::logs::{Arrival, Logs, Word, out_of_turn};
#[cfg(test)]
pub(super) use self::logs::{HELD, HELD_OF_ALL, REFUSALS};
use super::super::error::{RemoteError, RemoteErrorKind};
use super::super::exchange::{Exchange, cost};
use super::super::letter_id::LogId;
use super::kept::{Kept, unreadable};
use super::record::{self, Letter, MAIL, MAIL_LOGS, REFUSED, Refusal, TRIED, Tried};
use super::trying::Place;
use super::{LETTER_LIMIT, LetterId, Letters};
use crate::delivery::EXPIRY_MOST;
use crate::store::clock::Moment;
use crate::store::{Change, Store};
use crate::wire::message::Item;
use crate::wire::{Along, PeerId};

/// The codes that refuse nothing.
pub(super) const STORED: u8 = 0;
pub(super) const HANDLED: u8 = 1;
/// The code for what was asked for, and is not here: to those alone who ask.
pub(super) const GONE: u8 = u8::MAX;

/// The letters that came from one peer.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) logs: Logs<Kept>,
    /// The exchange by which their ends are told, while there is a link.
    exchange: Option<Arc<Exchange>>,
    /// The link's peer hands over by name.
    pub(super) by_name: bool,
}

/// A letter as it came.
pub(crate) struct Coming<'a> {
    pub(crate) log: LogId,
    pub(crate) number: u64,
    /// The one before it on this link.
    pub(crate) before: u64,
    /// In how many seconds it is no longer worth handing over. 0, which no letter has: it is only
    /// asked what has become of it.
    pub(crate) expires: u64,
    pub(crate) name: &'a str,
    pub(crate) message: &'a str,
    pub(crate) version: u32,
    pub(crate) body: &'a [u8],
    pub(crate) along: Option<Along>,
}

impl Incoming {
    pub(super) fn up(&mut self, epoch: u64, by_name: bool, exchange: &Arc<Exchange>) {
        self.logs.up(epoch);
        self.by_name = by_name;
        self.exchange = Some(Arc::clone(exchange));
    }

    pub(super) fn down(&mut self) {
        self.logs.down();
        self.exchange = None;
    }

    /// Says what has become of a letter, if it came on this link.
    fn tell(&self, log: LogId, number: u64) {
        let Some(exchange) = &self.exchange else { return };
        let Some((epoch, word)) = self.logs.word(log, number) else { return };
        let (code, text) = match word {
            Word::Stored => (STORED, ""),
            Word::Handled => (HANDLED, ""),
            // No refusal has the code of another word.
            Word::Refused(why) if why.kind.code() <= HANDLED => {
                (RemoteErrorKind::Other.code(), why.message.as_str())
            }
            Word::Refused(why) => (why.kind.code(), why.message.as_str()),
        };
        exchange.say(epoch, &Item::Taken { log, number, code, text }, text.len());
    }
}

/// A note, as a change of the spool; `letter` is what was taken.
fn change(peer: PeerId, letter: Option<&Letter>, note: Note) -> Option<Change> {
    let key = |log, number| record::key(peer, log, number);
    Some(match note {
        Note::Log(log, taken) => record::put(MAIL_LOGS, record::log_key(peer, log), &taken),
        Note::NoLog(log) => record::remove(MAIL_LOGS, record::log_key(peer, log)),
        Note::Mail(log, number) => record::put(MAIL, key(log, number), letter?),
        Note::NoMail(log, number) => record::remove(MAIL, key(log, number)),
        Note::Refused(log, number, why) => record::put(REFUSED, key(log, number), &why),
        Note::NoRefused(log, number) => record::remove(REFUSED, key(log, number)),
        Note::NoTried(log, number) => record::remove(TRIED, key(log, number)),
    })
}

impl Letters {
    /// A letter has come. `Err`: the peer broke the protocol.
    pub(in crate::remote) fn take(
        self: &Arc<Self>,
        peer: PeerId,
        epoch: u64,
        coming: &Coming<'_>,
    ) -> Result<(), String> {
        let &Coming { log, number, before, .. } = coming;
        let mut state = self.state();
        let Some(incoming) = state.incoming.get_mut(&peer) else { return Ok(()) };
        let Some(exchange) =
            incoming.exchange.clone().filter(|_| incoming.logs.epoch() == Some(epoch))
        else {
            return Ok(());
        };
        if coming.body.len() > LETTER_LIMIT {
            return Err(out_of_turn(number));
        }
        let cost = cost(coming.body.len());
        if exchange.is_swamped() {
            return Err("it sends letters and takes no answers".into());
        }
        let is_asked = incoming.by_name && coming.expires == 0;
        let arrival = incoming.logs.arrive(epoch, (log, number, before), is_asked, cost)?;
        let (notes, is_full) = match arrival {
            Arrival::OfNoLink => return Ok(()),
            Arrival::Before => {
                incoming.tell(log, number);
                return Ok(());
            }
            Arrival::Gone => {
                let text = "it is not here any more";
                exchange.say(epoch, &Item::Taken { log, number, code: GONE, text }, text.len());
                return Ok(());
            }
            Arrival::NoRoom => {
                let text = format!(
                    "letters of {LOGS} earlier spools of this node still wait there: try again \
                     when they were handled"
                );
                let code = RemoteErrorKind::Full.code();
                exchange.say(epoch, &Item::Taken { log, number, code, text: &text }, text.len());
                return Ok(());
            }
            Arrival::New { notes, is_full } => (notes, is_full),
        };
        let refusal = self.refusal(peer, is_full, coming);
        let now = self.clock.now().passed;
        let letter = refusal.is_none().then(|| Arc::new(coming.letter(now)));
        let in_memory = incoming.logs.is_among_few(log, cost);
        let kept = letter.as_ref().map(|letter| Kept::new(letter, in_memory));
        let expires = letter.as_ref().map_or(0, |letter| letter.expires);
        let about = About { name: coming.name, cost, expires };
        let kept = refusal.map_or_else(|| kept.ok_or_else(unreadable), Err);
        let notes = incoming.logs.take((log, number), about, kept, notes);
        let change = |note| change(peer, letter.as_deref(), note);
        let name = coming.name.to_owned();
        self.write(notes.into_iter().filter_map(change).collect(), move |letters| {
            letters.stored((peer, log, number), &name, cost);
        });
        Ok(())
    }

    /// Returns the reason that a letter is not even stored.
    fn refusal(&self, peer: PeerId, is_full: bool, coming: &Coming<'_>) -> Option<RemoteError> {
        // While nobody knows it is stored: it is decided when it is handed over.
        if (self.admits)(&peer, coming.name) == Some(false) {
            return Some(forbidden(coming.name));
        }
        is_full.then(|| {
            RemoteError::new(
                RemoteErrorKind::Full,
                "as many letters of this node wait there as may: try again later",
            )
        })
    }

    fn stored(self: &Arc<Self>, (peer, log, number): Place, name: &str, cost: u64) {
        let mut state = self.state();
        let Some(incoming) = state.incoming.get_mut(&peer) else { return };
        incoming.logs.stored((log, number), cost);
        incoming.tell(log, number);
        drop(state);
        self.hand_over(peer, name);
    }

    /// A letter was handled, or is refused; heard of when that is durable.
    pub(super) fn over(
        &self,
        (peer, log, number): Place,
        refusal: Option<RemoteError>,
    ) -> oneshot::Receiver<()> {
        let (durable, is_durable) = oneshot::channel();
        let mut state = self.state();
        state.tried.remove(&(peer, log, number));
        let ended = state
            .incoming
            .get_mut(&peer)
            .and_then(|incoming| incoming.logs.end((log, number), refusal.as_ref()));
        let Some((Kept { name, message, .. }, notes)) = ended else { return is_durable };
        if let Some(why) = &refusal {
            let id = LetterId::new(log, number);
            tracing::warn!(
                peer = %peer.short(), %name, %message, %id, %why,
                "a letter is refused"
            );
            (self.refused)(peer, id, (&name, &message), why);
        }
        let changes = notes.into_iter().filter_map(|note| change(peer, None, note)).collect();
        self.write(changes, move |letters| {
            let mut state = letters.state();
            let Some(incoming) = state.incoming.get_mut(&peer) else { return };
            incoming.logs.ended((log, number), &name);
            incoming.tell(log, number);
            drop(state);
            letters.hand_over(peer, &name);
            // Whoever waited may be gone.
            let _ = durable.send(());
        });
        is_durable
    }
}

impl Coming<'_> {
    /// The letter, which comes now, on the scale of what has passed.
    fn letter(&self, now: u64) -> Letter {
        Letter {
            name: self.name.to_owned(),
            message: self.message.to_owned(),
            version: self.version,
            created: now,
            expires: now.saturating_add(self.expires.min(EXPIRY_MOST.as_secs())),
            dead: None,
            body: self.body.to_vec(),
            trace: None,
            on_behalf: None,
        }
        .with(self.along.as_ref())
    }
}

pub(super) fn forbidden(name: &str) -> RemoteError {
    let text = format!(
        "this node may not send to {name:?}: ask whoever runs it to add that name to what it may"
    );
    RemoteError::new(RemoteErrorKind::Forbidden, text)
}

/// Reads a spool's letters to here.
pub(super) fn load(spool: &dyn Store, now: Moment) -> io::Result<HashMap<PeerId, Incoming>> {
    let mut all: HashMap<PeerId, Incoming> = HashMap::new();
    for (key, value) in spool.load(MAIL_LOGS)? {
        if let Some(((peer, log), taken)) =
            record::read(MAIL_LOGS, &key, &value, record::read_log_key(&key))
        {
            all.entry(peer).or_default().logs.restore(log, taken);
        }
    }
    let mut unreadable = Vec::new();
    for (key, value) in spool.load(REFUSED)? {
        let refusal = read::<Refusal>(REFUSED, key, &value, &mut all, &mut unreadable);
        if let Some(((peer, log, number), refusal)) = refusal
            && let Some(log) = known(&mut all, (peer, log, number))
        {
            log.restore_refusal(number, refusal);
        }
    }
    // One by one: there may be more of them than are to be in memory.
    spool.each(MAIL, &mut |key, value| {
        let letter = read::<Letter>(MAIL, key.to_vec(), value, &mut all, &mut unreadable);
        if let Some(((peer, log, number), letter)) = letter
            && let Some(incoming) = all.get_mut(&peer)
        {
            let (cost, letter) = (cost(letter.body.len()), Arc::new(letter.bounded(now)));
            let kept = Kept::new(&letter, incoming.logs.is_among_few(log, cost));
            let about = About { name: &letter.name, cost, expires: letter.expires };
            incoming.logs.restore_letter((log, number), about, kept);
        }
    })?;
    for (key, value) in spool.load(TRIED)? {
        if let Some((whose, Tried { weight })) =
            record::read(TRIED, &key, &value, record::read_key(&key))
            && let Some(log) = known(&mut all, whose)
        {
            log.restore_weight(whose.2, weight);
        }
    }
    refuse_unreadable(spool, &mut all, unreadable)?;
    all.values_mut().for_each(|incoming| incoming.logs.begin_life());
    Ok(all)
}

type Record = (Vec<u8>, (PeerId, LogId, u64));

/// Returns whose a record of a known log is, and its content; one that can't be read any more is
/// noted.
fn read<T: DeserializeOwned>(
    table: &'static str,
    key: Vec<u8>,
    value: &[u8],
    all: &mut HashMap<PeerId, Incoming>,
    unreadable: &mut Vec<Record>,
) -> Option<(Place, T)> {
    let whose = record::read_key(&key);
    match record::read(table, &key, value, whose) {
        Some((whose, value)) => known(all, whose).map(|_| (whose, value)),
        None => {
            unreadable.extend(whose.map(|whose| (key, whose)));
            None
        }
    }
}

/// Refuses what rotted here: what is neither held nor refused is said to be handled.
fn refuse_unreadable(
    spool: &dyn Store,
    all: &mut HashMap<PeerId, Incoming>,
    unreadable: Vec<Record>,
) -> io::Result<()> {
    let why = super::kept::unreadable();
    let mut changes = Vec::new();
    for (key, whose) in unreadable {
        if let Some(log) = known(all, whose) {
            // One that was refused before is written anew, too: its record can't be read.
            let refusal = log.refuse_unreadable(whose.2, &why);
            changes.push(record::put(REFUSED, key, &refusal));
        }
    }
    if changes.is_empty() { Ok(()) } else { spool.write(changes) }
}

fn known(
    all: &mut HashMap<PeerId, Incoming>,
    (peer, log, number): (PeerId, LogId, u64),
) -> Option<&mut InLog<Kept>> {
    let found = all.get_mut(&peer).and_then(|incoming| incoming.logs.known(log, number));
    if found.is_none() {
        tracing::error!(
            peer = %peer.short(), number,
            "a letter is in the spool without its log: it is not handed over"
        );
    }
    found
}
