//! Notes of what a route has sent: none is lost with a process, and nothing is sent twice.
//!
//! A transfer's id is noted before it is given to the outbox. Whoever finds it there later has sent
//! it; whoever does not has not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use estafette::node::{FileStore, OutboxError, OutboxState, Store, blocking};
use estafette::pipeline::{Ground, Priority, Slot, Slots};
use estafette::{Node, TransferId};
use serde::{Deserialize, Serialize};

use crate::model::{ReceiptWanted, Topology};

/// Deliveries that routes store at one time.
const AT_ONCE: usize = 32;
/// The table of the notes.
const TABLE: &str = "sent";
/// The table of transfers that routes have adopted, by their ids.
const ADOPTED_TABLE: &str = "adopted";

/// The table of reasons for which routes wait, by their names.
const WAITS_TABLE: &str = "waits";

/// Transfers that routes have adopted; the oldest is forgotten for a further one.
const ADOPTED: usize = 4096;

/// A transfer that a route has adopted.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Adopted {
    id: TransferId,
    route: String,
    to: String,
    /// The time at which it was, in seconds since the Unix epoch.
    at: u64,
}

/// The last thing that a route sent to one of its targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The route, the target and the entry.
    pub(super) key: String,
    /// The transfer.
    pub(super) id: TransferId,
    /// The target, where only one of several has it; else empty.
    #[serde(default)]
    pub(super) to: String,
    /// The mark that tells it from other content of the same route.
    pub(super) mark: String,
    /// The time at which it was sent, in seconds since the Unix epoch.
    pub(super) at: u64,
    /// Set once the outbox has it for certain.
    pub(super) stored: bool,
    /// Set once it was delivered: known longer than the outbox does.
    #[serde(default)]
    pub(super) delivered: bool,
    /// The folders that it was read from, of a version that takes the place of others.
    #[serde(default)]
    pub(super) grounds: Option<Vec<Ground>>,
    /// Set if this process has sent it.
    #[serde(skip)]
    pub(super) is_new: bool,
}

impl Note {
    /// One of what this process is about to send, and is not stored yet.
    pub(super) fn new(key: String, mark: &str, to: String) -> Self {
        let (id, at) = (TransferId::random(), now());
        let mark = mark.to_owned();
        let grounds = None;
        Self { key, id, to, mark, at, stored: false, delivered: false, grounds, is_new: true }
    }

    /// Returns when the next is to be sent of what is sent by time, in seconds since the Unix epoch;
    /// a clock that was put back begins anew.
    pub(super) fn due(&self, every: Duration) -> u64 {
        self.at.min(now()) + every.as_secs()
    }
}

/// The route of a transfer, and the target.
type Way = (Box<str>, Box<str>);

/// The notes of one node: on the disk, and in memory, as they are looked at again and again.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    store: Arc<FileStore>,
    notes: Arc<Mutex<BTreeMap<String, Note>>>,
    /// The route of each transfer, and its target.
    ways: Arc<Mutex<HashMap<TransferId, Way>>>,
    /// Those of them that routes have not sent, but adopted, in their order.
    adopted: Arc<Mutex<VecDeque<TransferId>>>,
    /// The reasons for which routes wait, by their names.
    waits: Arc<Mutex<BTreeMap<String, String>>>,
    turns: Slots,
}

/// A route that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wait {
    route: String,
    why: String,
}

impl Memory {
    pub(super) async fn open(folder: PathBuf) -> io::Result<Self> {
        on_a_thread(move || {
            let store = FileStore::open(folder)?;
            // What can't be read was not written by this program, or is damaged: it is sent again.
            let notes = store.load(TABLE)?.into_iter().filter_map(|(_, note)| {
                let note: Note = serde_json::from_slice(&note).ok()?;
                Some((note.key.clone(), note))
            });
            let notes: BTreeMap<String, Note> = notes.collect();
            let mut ways: HashMap<_, _> =
                notes.values().map(|note| (note.id, way_of(note))).collect();
            let adopted = store.load(ADOPTED_TABLE)?.into_iter();
            let adopted = adopted.filter_map(|(_, adopted)| serde_json::from_slice(&adopted).ok());
            let mut adopted: Vec<Adopted> = adopted.collect();
            adopted.sort_by_key(|adopted| adopted.at);
            for oldest in adopted.drain(..adopted.len().saturating_sub(ADOPTED)) {
                store.remove(ADOPTED_TABLE, oldest.id.as_bytes())?;
            }
            for Adopted { id, route, to, .. } in &adopted {
                ways.insert(*id, (route.as_str().into(), to.as_str().into()));
            }
            let waits = read_waits(&store)?;
            Ok(Self {
                waits: Arc::new(Mutex::new(waits)),
                store: Arc::new(store),
                notes: Arc::new(Mutex::new(notes)),
                ways: Arc::new(Mutex::new(ways)),
                adopted: Arc::new(Mutex::new(adopted.iter().map(|adopted| adopted.id).collect())),
                turns: Slots::new(AT_ONCE),
            })
        })
        .await
    }

    /// Waits for the turn to send to one target: who has it has threads and buffers for a while, and
    /// a file may have thousands of routes, which all begin when it is started. The urgent go
    /// first.
    pub(super) async fn turn(&self, priority: Priority) -> Slot {
        self.turns.take_as(priority).await
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<String, Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ways(&self) -> MutexGuard<'_, HashMap<TransferId, Way>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes why a route sends nothing, or not all; or that it does.
    pub(super) async fn note_wait(&self, route: &str, why: Option<&str>) -> io::Result<()> {
        if self.waits().get(route).map(String::as_str) == why {
            return Ok(());
        }
        let (store, key) = (Arc::clone(&self.store), digest(route));
        let wait = why.map(|why| Wait { route: route.to_owned(), why: why.to_owned() });
        let text = wait.map(|wait| serde_json::to_vec(&wait)).transpose()?;
        on_a_thread(move || match text {
            Some(text) => store.put(WAITS_TABLE, &key, &text),
            None => store.remove(WAITS_TABLE, &key),
        })
        .await?;
        let mut waits = self.waits();
        match why {
            Some(why) => _ = waits.insert(route.to_owned(), why.to_owned()),
            None => _ = waits.remove(route),
        }
        Ok(())
    }

    /// Forgets of other routes than these that they wait.
    pub(super) async fn keep_waits(&self, routes: &BTreeSet<String>) {
        let waits: Vec<_> = self.waits().keys().cloned().collect();
        for gone in waits.iter().filter(|route| !routes.contains(*route)) {
            if let Err(error) = self.note_wait(gone, None).await {
                tracing::warn!(%error, route = gone, "that it waits is still noted");
            }
        }
    }

    fn waits(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if a transfer is one of this route.
    pub(super) fn is_of(&self, id: TransferId, route: &str) -> bool {
        self.ways().get(&id).is_some_and(|(of, _)| **of == *route)
    }

    /// The route of a transfer, and its target.
    pub(super) fn way_of(&self, id: TransferId) -> Option<(String, String)> {
        self.ways().get(&id).map(|(route, to)| (route.to_string(), to.to_string()))
    }

    /// Takes a transfer for one of a route. Of 4,096 such ones this is known, after a restart, too.
    pub(super) async fn adopt(&self, id: TransferId, route: &str, to: &str) -> io::Result<()> {
        let adopted = Adopted { id, route: route.into(), to: to.into(), at: now() };
        let (store, text) = (Arc::clone(&self.store), serde_json::to_vec(&adopted)?);
        on_a_thread(move || store.put(ADOPTED_TABLE, id.as_bytes(), &text)).await?;
        // It is noted by now, whatever becomes of the other one.
        if let Some(oldest) = self.know(id, route, to)
            && let Err(error) = self.abandon(oldest).await
        {
            tracing::warn!(%error, "a note of an old replay could not be removed");
        }
        Ok(())
    }

    /// The same, in this process alone. Returns the oldest one that is forgotten for it, whose
    /// record is to be removed.
    pub(super) fn know(&self, id: TransferId, route: &str, to: &str) -> Option<TransferId> {
        let oldest = {
            let mut adopted = self.adopted();
            adopted.push_back(id);
            if adopted.len() > ADOPTED { adopted.pop_front() } else { None }
        };
        let mut ways = self.ways();
        ways.insert(id, (route.into(), to.into()));
        oldest.inspect(|oldest| drop(ways.remove(oldest)))
    }

    /// Undoes that, for a transfer that there is not.
    pub(super) async fn abandon(&self, id: TransferId) -> io::Result<()> {
        self.adopted().retain(|adopted| *adopted != id);
        self.ways().remove(&id);
        let store = Arc::clone(&self.store);
        on_a_thread(move || store.remove(ADOPTED_TABLE, id.as_bytes())).await
    }

    fn adopted(&self) -> MutexGuard<'_, VecDeque<TransferId>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The note under a key; one of a process that died is completed, if its transfer was stored,
    /// and else it is none. Fails with `WouldBlock` while it is being stored. To be called by the
    /// route itself alone.
    pub(super) async fn last(&self, node: &Node, key: &str) -> io::Result<Option<Note>> {
        let Some(mut note) = self.look(node, key).await? else { return Ok(None) };
        if !note.stored {
            note.stored = true;
            self.put(&note).await?;
        }
        Ok(Some(note))
    }

    /// The same, and nothing is written.
    pub(super) async fn look(&self, node: &Node, key: &str) -> io::Result<Option<Note>> {
        let Some(note) = self.notes().get(key).cloned() else { return Ok(None) };
        if note.stored {
            return Ok(Some(note));
        }
        match node.outbox().entry(note.id).await {
            Ok(_) => Ok(Some(note)),
            Err(OutboxError::Unknown(_)) => Ok(None),
            Err(OutboxError::Storing(_)) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Returns `true` if the delivery of a note was made, and notes that, as the outbox forgets it.
    pub(super) async fn is_delivered(
        &self,
        node: &Node,
        note: &mut Note,
        wanted: ReceiptWanted,
    ) -> io::Result<bool> {
        if note.delivered {
            return Ok(true);
        }
        let held = node.outbox().entry(note.id).await;
        note.delivered = held.is_ok_and(|held| match held.state {
            OutboxState::Processed { .. } => true,
            OutboxState::Delivered { .. } => wanted == ReceiptWanted::Delivered,
            _ => false,
        });
        if note.delivered {
            self.put(note).await?;
        }
        Ok(note.delivered)
    }

    pub(super) async fn put(&self, note: &Note) -> io::Result<()> {
        let (store, key) = (Arc::clone(&self.store), digest(&note.key));
        let text = serde_json::to_vec(note)?;
        on_a_thread(move || store.put(TABLE, &key, &text)).await?;
        let before = self.notes().insert(note.key.clone(), note.clone());
        let mut ways = self.ways();
        if let Some(before) = before.filter(|before| before.id != note.id) {
            ways.remove(&before.id);
        }
        ways.insert(note.id, way_of(note));
        Ok(())
    }

    /// Returns `true` if a transfer is one of a route.
    pub(super) fn has_sent(&self, id: TransferId) -> bool {
        self.ways().contains_key(&id)
    }

    /// The transfer of the note under a key.
    pub(super) fn id(&self, key: &str) -> Option<TransferId> {
        self.notes().get(key).map(|note| note.id)
    }

    /// All transfers of routes.
    pub(super) fn ids(&self) -> HashSet<TransferId> {
        self.notes().values().map(|note| note.id).collect()
    }

    /// All notes whose keys begin so.
    pub(super) fn beginning(&self, start: &str) -> Vec<Note> {
        let notes = self.notes();
        let from = notes.range(start.to_owned()..);
        from.take_while(|(key, _)| key.starts_with(start)).map(|(_, note)| note.clone()).collect()
    }

    pub(super) async fn forget(&self, key: &str) -> io::Result<()> {
        if !self.notes().contains_key(key) {
            return Ok(());
        }
        let (store, digest) = (Arc::clone(&self.store), digest(key));
        on_a_thread(move || store.remove(TABLE, &digest)).await?;
        let before = self.notes().remove(key);
        if let Some(before) = before {
            self.ways().remove(&before.id);
        }
        Ok(())
    }
}

/// The folder of what the routes of a node remember, in that of the node.
const ROUTES: &str = "routes";

impl Topology {
    /// The folder of what the routes of a node remember.
    pub fn routes_of(&self, name: &str) -> PathBuf {
        self.folder_of(name).join(ROUTES)
    }
}

/// Returns the routes of a node that send nothing, or not all, with the reasons, as they were noted
/// in the folder of what its routes remember. It changes nothing there, and blocks.
pub fn waiting_routes(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    if !folder.try_exists()? {
        return Ok(BTreeMap::new());
    }
    read_waits(&FileStore::open(folder)?)
}

fn read_waits(store: &FileStore) -> io::Result<BTreeMap<String, String>> {
    let waits = store.load(WAITS_TABLE)?.into_iter();
    let waits = waits.filter_map(|(_, wait)| serde_json::from_slice::<Wait>(&wait).ok());
    Ok(waits.map(|Wait { route, why }| (route, why)).collect())
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    blocking(work).await.map_err(io::Error::other)?
}

/// Returns the way that a note tells of: of a queue, the target is not in the key.
fn way_of(note: &Note) -> Way {
    let mut parts = note.key.split('\n');
    let (route, to) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    (route.into(), if note.to.is_empty() { to } else { &*note.to }.into())
}

/// A key as a store takes it, which is short.
fn digest(key: &str) -> Vec<u8> {
    blake3::hash(key.as_bytes()).as_bytes().to_vec()
}

/// In seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use futures_util::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn the_urgent_are_stored_before_others_that_wait() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::open(folder.path().to_owned()).await.unwrap();
        let mut stored = Vec::new();
        for _ in 0..AT_ONCE {
            stored.push(memory.turn(Priority::Normal).await);
        }
        // The first one that waits is at the head of the line, whoever comes.
        let waits = [Priority::Low, Priority::Low, Priority::Normal, Priority::High];
        let mut waits = waits.map(|priority| memory.turn(priority).boxed());
        for turn in &mut waits {
            assert!(poll!(turn).is_pending());
        }
        let mut done = Vec::new();
        for next in [0, 3, 2, 1] {
            drop(stored.pop());
            // None of the others has a turn.
            for at in (0..waits.len()).filter(|at| *at != next && !done.contains(at)) {
                assert!(poll!(&mut waits[at]).is_pending(), "{at} before {next}");
            }
            stored.push(waits[next].as_mut().now_or_never().expect("its turn"));
            done.push(next);
        }
    }

    #[tokio::test]
    async fn the_oldest_replays_are_forgotten_one_for_each() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::open(folder.path().to_owned()).await.unwrap();
        let known: Vec<_> = (0..ADOPTED).map(|_| TransferId::random()).collect();
        for id in &known {
            assert_eq!(memory.know(*id, "post", "paris/letters"), None);
        }
        // Two that come at the same time, before either has removed anything.
        for oldest in &known[..2] {
            let id = TransferId::random();
            assert_eq!(memory.know(id, "post", "paris/letters"), Some(*oldest));
            assert!(memory.is_of(id, "post") && !memory.has_sent(*oldest));
        }
        assert_eq!(memory.adopted().len(), ADOPTED);
    }
}
