//! The receiver's side: what comes is put into the [`Logs`] of its sender, and what these say is
//! written, and told.

pub(super) mod logs;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

#[cfg(test)]
pub(super) use self::logs::HELD;
pub(super) use self::logs::LOGS;
use self::logs::{Arrival, InLog, Logs, Note, Word, out_of_turn};
use super::super::error::{RemoteError, RemoteErrorKind};
use super::super::exchange::{Exchange, cost};
use super::super::letter_id::LogId;
use super::record::{self, Letter, MAIL, MAIL_LOGS, REFUSED, TRIED, Tried};
use super::trying::Place;
use super::{LETTER_LIMIT, LetterId, Letters};
use crate::delivery::EXPIRY_MOST;
use crate::store::{Change, Store, now};
use crate::wire::message::Item;
use crate::wire::{PeerId, TraceContext};

/// The codes that refuse nothing.
const STORED: u8 = 0;
const HANDLED: u8 = 1;

/// The letters that came from one peer.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) logs: Logs<Arc<Letter>>,
    /// The exchange by which their ends are told, while there is a link.
    exchange: Option<Arc<Exchange>>,
}

/// A letter as it came.
pub(crate) struct Coming<'a> {
    pub(crate) log: LogId,
    pub(crate) number: u64,
    /// The one before it on this link.
    pub(crate) before: u64,
    /// In how many seconds it is no longer worth handing over.
    pub(crate) expires: u64,
    pub(crate) name: &'a str,
    pub(crate) message: &'a str,
    pub(crate) version: u32,
    pub(crate) body: &'a [u8],
    pub(crate) trace: Option<TraceContext>,
}

impl Incoming {
    pub(super) fn up(&mut self, epoch: u64, exchange: &Arc<Exchange>) {
        self.logs.up(epoch);
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

/// A note, as a change of the spool.
fn change(peer: PeerId, note: Note<Arc<Letter>>) -> Change {
    let key = |log, number| record::key(peer, log, number);
    match note {
        Note::Log(log, taken) => record::put(MAIL_LOGS, record::log_key(peer, log), &taken),
        Note::NoLog(log) => record::remove(MAIL_LOGS, record::log_key(peer, log)),
        Note::Mail(log, number, letter) => record::put(MAIL, key(log, number), &*letter),
        Note::NoMail(log, number) => record::remove(MAIL, key(log, number)),
        Note::Refused(log, number, why) => record::put(REFUSED, key(log, number), &why),
        Note::NoRefused(log, number) => record::remove(REFUSED, key(log, number)),
        Note::NoTried(log, number) => record::remove(TRIED, key(log, number)),
    }
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
        let arrival = incoming.logs.arrive(epoch, (log, number, before), cost)?;
        let (notes, is_full) = match arrival {
            Arrival::OfNoLink => return Ok(()),
            Arrival::Before => {
                incoming.tell(log, number);
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
        let letter = refusal.clone().map_or_else(|| Ok(Arc::new(coming.letter())), Err);
        let notes = incoming.logs.take((log, number), cost, letter, notes);
        let changes = notes.into_iter().map(|note| change(peer, note)).collect();
        self.write(changes, move |letters| letters.stored(peer, log, number, refusal));
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

    fn stored(
        self: &Arc<Self>,
        peer: PeerId,
        log: LogId,
        number: u64,
        refusal: Option<RemoteError>,
    ) {
        let mut state = self.state();
        let Some(incoming) = state.incoming.get_mut(&peer) else { return };
        incoming.logs.stored((log, number), refusal);
        incoming.tell(log, number);
        drop(state);
        self.hand_over(peer);
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
        let Some((letter, notes)) = ended else { return is_durable };
        if let Some(why) = &refusal {
            let id = LetterId::new(log, number);
            tracing::warn!(
                peer = %peer.short(), name = letter.name, message = letter.message, %id, %why,
                "a letter is refused"
            );
            (self.refused)(peer, id, &letter, why);
        }
        let changes = notes.into_iter().map(|note| change(peer, note)).collect();
        self.write(changes, move |letters| {
            let mut state = letters.state();
            let Some(incoming) = state.incoming.get_mut(&peer) else { return };
            incoming.logs.ended((log, number), refusal);
            incoming.tell(log, number);
            // Whoever waited may be gone.
            let _ = durable.send(());
        });
        is_durable
    }
}

impl Coming<'_> {
    fn letter(&self) -> Letter {
        let now = now();
        Letter {
            name: self.name.to_owned(),
            message: self.message.to_owned(),
            version: self.version,
            created: now,
            expires: now.saturating_add(self.expires.min(EXPIRY_MOST.as_secs())),
            dead: None,
            body: self.body.to_vec(),
            trace: self.trace.as_ref().map(record::kept_trace),
        }
    }
}

pub(super) fn forbidden(name: &str) -> RemoteError {
    let text = format!(
        "this node may not send to {name:?}: ask whoever runs it to add that name to what it may"
    );
    RemoteError::new(RemoteErrorKind::Forbidden, text)
}

/// Reads a spool's letters to here.
pub(super) fn load(spool: &dyn Store) -> io::Result<HashMap<PeerId, Incoming>> {
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
        if let Some((log, number, why)) = read(REFUSED, key, &value, &mut all, &mut unreadable) {
            log.restore_refusal(number, why);
        }
    }
    for (key, value) in spool.load(MAIL)? {
        if let Some((log, number, letter)) =
            read::<Letter>(MAIL, key, &value, &mut all, &mut unreadable)
        {
            let cost = cost(letter.body.len());
            log.restore(number, Arc::new(letter), cost);
        }
    }
    for (key, value) in spool.load(TRIED)? {
        if let Some((whose, Tried { weight })) =
            record::read(TRIED, &key, &value, record::read_key(&key))
            && let Some(log) = known(&mut all, whose)
        {
            log.restore_weight(whose.2, weight);
        }
    }
    refuse_unreadable(spool, &mut all, unreadable)?;
    Ok(all)
}

type Record = (Vec<u8>, (PeerId, LogId, u64));

/// Returns the log and the content of a record; one that can't be read any more is noted.
fn read<'a, T: DeserializeOwned>(
    table: &'static str,
    key: Vec<u8>,
    value: &[u8],
    all: &'a mut HashMap<PeerId, Incoming>,
    unreadable: &mut Vec<Record>,
) -> Option<(&'a mut InLog<Arc<Letter>>, u64, T)> {
    let whose = record::read_key(&key);
    match record::read(table, &key, value, whose) {
        Some((whose, value)) => known(all, whose).map(|log| (log, whose.2, value)),
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
    let text = "its record in that node's spool can't be read any more: it is not handed over; \
                whether it was is not known";
    let why = RemoteError::new(RemoteErrorKind::Storage, text);
    let mut changes = Vec::new();
    for (key, whose) in unreadable {
        if let Some(log) = known(all, whose) {
            log.refuse_unreadable(whose.2, &why);
            changes.push(record::put(REFUSED, key, &why));
        }
    }
    if changes.is_empty() { Ok(()) } else { spool.write(changes) }
}

fn known(
    all: &mut HashMap<PeerId, Incoming>,
    (peer, log, number): (PeerId, LogId, u64),
) -> Option<&mut InLog<Arc<Letter>>> {
    let found = all.get_mut(&peer).and_then(|incoming| incoming.logs.known(log, number));
    if found.is_none() {
        tracing::error!(
            peer = %peer.short(), number,
            "a letter is in the spool without its log: it is not handed over"
        );
    }
    found
}
