//! The receiver's side: what was taken of each log, what is stored, what was refused, and what is
//! said of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::super::error::{RemoteError, RemoteErrorKind};
use super::super::exchange::{Exchange, cost};
use super::record::{self, Letter, LogId, MAIL, MAIL_LOGS, REFUSED, TRIED, Taken, Tried};
use super::trying::{Place, Suspects};
use super::{LETTER_LIMIT, LetterId, Letters, WINDOW, WINDOW_BYTES};
use crate::delivery::EXPIRY_MOST;
use crate::store::{Change, Store, now};
use crate::wire::message::Item;
use crate::wire::{PeerId, TraceContext};

/// The most logs that are remembered of one sender: it has a new one when it has lost its spool.
pub(super) const LOGS: usize = 4;
/// The most letters of a log that wait for their actors: twice a window, since clocks differ and a
/// sender may give up earlier.
pub(super) const HELD: usize = 2 * WINDOW as usize;
/// What they may cost.
const HELD_BYTES: u64 = 2 * WINDOW_BYTES;

/// The codes that refuse nothing.
const STORED: u8 = 0;
const HANDLED: u8 = 1;

/// What came from one peer.
#[derive(Default)]
pub(super) struct Incoming {
    logs: HashMap<LogId, InLog>,
    link: Option<Link>,
    /// Letters that came and are not durable yet.
    coming: u64,
    /// Somebody hands over what waits.
    pub(super) is_handed_over: bool,
}

/// The link there is.
struct Link {
    epoch: u64,
    exchange: Arc<Exchange>,
    /// The log that letters on it belong to.
    log: Option<LogId>,
    /// The last number that came on it: nothing is said of later ones, which will be asked for.
    seen: u64,
    /// There was no room for its log: all that comes on it is refused, for room that came in the
    /// middle would have later letters taken and these passed over, should the words that
    /// refuse them be lost.
    shut: bool,
}

/// How far a log was taken.
struct InLog {
    order: u64,
    highest: u64,
    /// So far, that is durable.
    durable: u64,
    held: BTreeMap<u64, Arc<Letter>>,
    bytes: u64,
    /// Handled or refused, and not durably yet.
    closing: BTreeSet<u64>,
    refused: BTreeMap<u64, RemoteError>,
    suspects: Suspects,
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
        self.link =
            Some(Link { epoch, exchange: Arc::clone(exchange), log: None, seen: 0, shut: false });
    }

    /// Letters that are held.
    pub(super) fn count(&self) -> u64 {
        self.logs.values().map(|log| log.held.len() as u64).sum()
    }

    pub(super) fn down(&mut self) {
        self.link = None;
    }

    /// The link there is.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.link.as_ref().map(|link| link.epoch)
    }

    /// The letter whose turn it is.
    pub(super) fn next(&self) -> Option<(LogId, u64, Arc<Letter>)> {
        let (&id, log) = self
            .logs
            .iter()
            .filter(|(_, log)| !log.held.is_empty())
            .min_by_key(|(_, log)| log.order)?;
        let (&number, letter) =
            log.held.first_key_value().filter(|(number, _)| **number <= log.durable)?;
        Some((id, number, Arc::clone(letter)))
    }

    /// The letters that wait, but for one that may be with its actor.
    pub(super) fn waiting(&self) -> Vec<(LogId, u64, Arc<Letter>)> {
        let with_actor =
            self.next().filter(|_| self.is_handed_over).map(|(log, number, _)| (log, number));
        let held = self.logs.iter().flat_map(|(&id, log)| {
            let durable = log.held.range(..=log.durable);
            durable.map(move |(&number, letter)| (id, number, Arc::clone(letter)))
        });
        held.filter(|(log, number, _)| with_actor != Some((*log, *number))).collect()
    }

    /// What earlier lives have left of a log.
    pub(super) fn suspects(&self, log: LogId) -> Option<&Suspects> {
        self.logs.get(&log).map(|log| &log.suspects)
    }

    pub(super) fn suspects_mut(&mut self, log: LogId) -> Option<&mut Suspects> {
        self.logs.get_mut(&log).map(|log| &mut log.suspects)
    }

    /// Says what has become of a letter, if it came on this link.
    fn tell(&self, log: LogId, number: u64) {
        let Some(link) =
            self.link.as_ref().filter(|link| link.log == Some(log) && link.seen >= number)
        else {
            return;
        };
        let Some(known) = self.logs.get(&log) else { return };
        let (code, text) = match known.refused.get(&number) {
            // What is not durable yet is told when it is.
            _ if known.held.contains_key(&number) || known.closing.contains(&number) => {
                if number > known.durable {
                    return;
                }
                (STORED, "")
            }
            // No refusal has the code of another word.
            Some(why) if why.kind.code() <= HANDLED => {
                (RemoteErrorKind::Other.code(), why.message.as_str())
            }
            Some(why) => (why.kind.code(), why.message.as_str()),
            None => (HANDLED, ""),
        };
        link.exchange.say(link.epoch, &Item::Taken { log, number, code, text }, text.len());
    }

    /// A log that was not known; `None` when too many have letters that wait.
    fn begin(&mut self, peer: PeerId, log: LogId, changes: &mut Vec<Change>) -> Option<&mut InLog> {
        if !self.logs.contains_key(&log) {
            if self.logs.len() >= LOGS {
                let over = self.logs.iter().filter(|(_, log)| {
                    log.held.is_empty() && log.closing.is_empty() && log.durable == log.highest
                });
                let (&oldest, _) = over.min_by_key(|(_, log)| log.order)?;
                let refused = self.logs.remove(&oldest).map(|log| log.refused).unwrap_or_default();
                changes.push(record::remove(MAIL_LOGS, record::log_key(peer, oldest)));
                changes.extend(
                    refused
                        .keys()
                        .map(|&number| record::remove(REFUSED, record::key(peer, oldest, number))),
                );
            }
            let order = self.logs.values().map(|log| log.order + 1).max().unwrap_or(0);
            self.logs.insert(log, InLog::new(Taken { highest: 0, order }));
        }
        self.logs.get_mut(&log)
    }
}

impl InLog {
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

    fn hold(&mut self, number: u64, letter: Letter) {
        self.bytes += cost(letter.body.len());
        self.held.insert(number, Arc::new(letter));
    }

    /// Forgets refusals that the sender, as it has sent this number, has noted.
    fn prune(&mut self, peer: PeerId, log: LogId, number: u64, changes: &mut Vec<Change>) {
        while let Some(entry) =
            self.refused.first_entry().filter(|entry| entry.key().saturating_add(WINDOW) <= number)
        {
            changes.push(record::remove(REFUSED, record::key(peer, log, *entry.key())));
            entry.remove();
        }
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
        let Some(link) = incoming.link.as_mut().filter(|link| link.epoch == epoch) else {
            return Ok(());
        };
        if number <= link.seen
            || *link.log.get_or_insert(log) != log
            || coming.body.len() > LETTER_LIMIT
        {
            return Err(format!("letter {number} is out of turn, of a second log, or too long"));
        }
        if before != link.seen {
            return Err(format!(
                "letter {number} follows letter {before}, and the last one that came was {}: one \
                 was lost",
                link.seen
            ));
        }
        if link.exchange.is_swamped() {
            return Err("it sends letters and takes no answers".into());
        }
        link.seen = number;
        if incoming.logs.get(&log).is_some_and(|known| number <= known.highest) {
            incoming.tell(log, number);
            return Ok(());
        }
        if incoming.coming >= WINDOW {
            return Err("more letters than it has credit for".into());
        }
        let is_shut = link.shut;
        let mut changes = Vec::new();
        let begun = if is_shut { None } else { incoming.begin(peer, log, &mut changes) };
        let Some(known) = begun else {
            let text = format!(
                "letters of {LOGS} earlier spools of this node still wait there: try again when \
                 they were handled"
            );
            let code = RemoteErrorKind::Full.code();
            if let Some(link) = incoming.link.as_mut() {
                link.shut = true;
                link.exchange.say(
                    epoch,
                    &Item::Taken { log, number, code, text: &text },
                    text.len(),
                );
            }
            return Ok(());
        };
        known.prune(peer, log, number, &mut changes);
        known.highest = number;
        changes.push(record::put(
            MAIL_LOGS,
            record::log_key(peer, log),
            &Taken { highest: number, order: known.order },
        ));
        let refusal = self.refusal(peer, known, coming);
        match &refusal {
            Some(why) => {
                known.closing.insert(number);
                changes.push(record::put(REFUSED, record::key(peer, log, number), why));
            }
            None => {
                let letter = coming.letter();
                changes.push(record::put(MAIL, record::key(peer, log, number), &letter));
                known.hold(number, letter);
            }
        }
        incoming.coming += 1;
        self.write(changes, move |letters| letters.stored(peer, log, number, refusal));
        Ok(())
    }

    /// Why a letter is not even stored.
    fn refusal(&self, peer: PeerId, log: &InLog, coming: &Coming<'_>) -> Option<RemoteError> {
        // While nobody knows it is stored: it is decided when it is handed over.
        if (self.admits)(&peer, coming.name) == Some(false) {
            return Some(forbidden(coming.name));
        }
        let is_full = log.held.len() >= HELD || log.bytes + cost(coming.body.len()) > HELD_BYTES;
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
        incoming.coming -= 1;
        if let Some(known) = incoming.logs.get_mut(&log) {
            known.durable = number;
            if let Some(why) = refusal {
                known.closing.remove(&number);
                known.refused.insert(number, why);
            }
        }
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
        let Some(known) =
            state.incoming.get_mut(&peer).and_then(|incoming| incoming.logs.get_mut(&log))
        else {
            return is_durable;
        };
        let Some(letter) = known.held.remove(&number) else { return is_durable };
        known.bytes -= cost(letter.body.len());
        known.closing.insert(number);
        let key = record::key(peer, log, number);
        let mut changes = vec![record::remove(MAIL, key.clone())];
        if known.suspects.forget(number) {
            changes.push(record::remove(TRIED, key.clone()));
        }
        if let Some(why) = &refusal {
            let id = LetterId::new(log, number);
            tracing::warn!(
                peer = %peer.short(), name = letter.name, message = letter.message, %id, %why,
                "a letter is refused"
            );
            (self.refused)(peer, id, &letter, why);
            changes.push(record::put(REFUSED, key, why));
        }
        self.write(changes, move |letters| {
            let mut state = letters.state();
            let Some(incoming) = state.incoming.get_mut(&peer) else { return };
            if let Some(known) = incoming.logs.get_mut(&log) {
                known.closing.remove(&number);
                if let Some(why) = refusal {
                    known.refused.insert(number, why);
                }
            }
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

/// What a spool holds of letters to here.
pub(super) fn load(spool: &dyn Store) -> io::Result<HashMap<PeerId, Incoming>> {
    let mut all: HashMap<PeerId, Incoming> = HashMap::new();
    for (key, value) in spool.load(MAIL_LOGS)? {
        if let Some(((peer, log), taken)) =
            record::read(MAIL_LOGS, &key, &value, record::read_log_key(&key))
        {
            all.entry(peer).or_default().logs.insert(log, InLog::new(taken));
        }
    }
    let mut unreadable = Vec::new();
    for (key, value) in spool.load(REFUSED)? {
        if let Some((log, number, why)) = read(REFUSED, key, &value, &mut all, &mut unreadable) {
            log.refused.insert(number, why);
        }
    }
    for (key, value) in spool.load(MAIL)? {
        if let Some((log, number, letter)) = read(MAIL, key, &value, &mut all, &mut unreadable) {
            log.hold(number, letter);
            log.suspects.begin(number);
        }
    }
    for (key, value) in spool.load(TRIED)? {
        if let Some((whose, Tried { weight })) =
            record::read(TRIED, &key, &value, record::read_key(&key))
            && let Some(log) = known(&mut all, whose)
        {
            log.suspects.weigh(whose.2, weight);
        }
    }
    refuse_unreadable(spool, &mut all, unreadable)?;
    Ok(all)
}

type Record = (Vec<u8>, (PeerId, LogId, u64));

/// What a record is about, and says; one that can't be read any more is noted.
fn read<'a, T: DeserializeOwned>(
    table: &'static str,
    key: Vec<u8>,
    value: &[u8],
    all: &'a mut HashMap<PeerId, Incoming>,
    unreadable: &mut Vec<Record>,
) -> Option<(&'a mut InLog, u64, T)> {
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
            log.refused.entry(whose.2).or_insert_with(|| why.clone());
            changes.push(record::put(REFUSED, key, &why));
        }
    }
    if changes.is_empty() { Ok(()) } else { spool.write(changes) }
}

fn known(
    all: &mut HashMap<PeerId, Incoming>,
    (peer, log, number): (PeerId, LogId, u64),
) -> Option<&mut InLog> {
    let found = all
        .get_mut(&peer)
        .and_then(|incoming| incoming.logs.get_mut(&log))
        .filter(|log| number <= log.highest);
    if found.is_none() {
        tracing::error!(
            peer = %peer.short(), number,
            "a letter is in the spool without its log: it is not handed over"
        );
    }
    found
}
