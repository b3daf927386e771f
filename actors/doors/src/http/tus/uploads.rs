//! Uploads that are not whole yet: in folders of the spool, and what is known of them here.
//!
//! Invariant: what is durable is on the disk, and only there. What is here can be made of it again:
//! how much each upload may come to, who writes to it, and how that one is stopped.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use estafette::node::{OutboxEntry, OutboxError, OutboxState, SendError, blocking};
use estafette::{Destination, Node, OutboxHandle, TransferId};
use estafette_actors::copy::Parts;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OnceCell, OwnedMutexGuard};

use super::super::problem::Problem;
use super::super::send;
use crate::sent;
use crate::tokens::Pass;

/// The most uploads that are not whole; a quarter of them by one token.
const UPLOADS_MOST: usize = 1024;
/// The time for which an upload is kept that does not become whole.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// The least that a part takes of a disk, in bytes, and the number of smaller ones of an upload
/// that are not charged so.
const BLOCK: u64 = 4 << 10;
const SMALL_FREE: usize = 64;
/// The interval at which it is looked which are over.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// The longest that a request waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(1);
/// The interval at which who is to stop is told so.
const TELL_EVERY: Duration = Duration::from_millis(20);

/// Those of all nodes of this process: no two write to one place.
static ALL: Mutex<Vec<Weak<Uploads>>> = Mutex::new(Vec::new());

/// The record beside the parts of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The receiver's id, and its inbox.
    pub(super) peer: String,
    pub(super) inbox: String,
    /// The name of the content.
    pub(super) name: String,
    /// `None` until its client tells it.
    pub(super) length: Option<u64>,
    /// As it was given.
    pub(super) metadata: String,
    /// The time at which it is given up, as the wall clock had it when it was begun, in seconds
    /// since the Unix epoch. It counts where there is no other.
    pub(super) expires: u64,
    /// The same by the time that its node has lived, which no clock puts forward. Notes of earlier
    /// builds have none.
    #[serde(default)]
    pub(super) ends: Option<u64>,
}

/// The uploads of a door.
#[derive(Debug)]
pub(crate) struct Uploads {
    node: Node,
    known: Mutex<HashMap<TransferId, Known>>,
    /// Set when those of earlier lives of the node are known.
    looked: OnceCell<()>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// Bytes it may come to; `None` for one that is only asked for.
    reserved: Option<u64>,
    turn: Arc<tokio::sync::Mutex<()>>,
    stop: Arc<Notify>,
}

/// Nobody else writes to the upload meanwhile, though the last door of the node goes.
#[derive(Debug)]
pub(super) struct Turn {
    uploads: Arc<Uploads>,
    id: TransferId,
    guard: Option<OwnedMutexGuard<()>>,
    /// Told when this one has to stop.
    pub(super) stop: Arc<Notify>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut known = self.uploads.known();
        drop(self.guard.take());
        if let Slot::Occupied(one) = known.entry(self.id)
            && !one.get().is_needed()
        {
            one.remove();
        }
    }
}

impl Known {
    /// Returns whether it has room, or somebody has its turn or waits for it.
    fn is_needed(&self) -> bool {
        self.reserved.is_some() || Arc::strong_count(&self.turn) > 1
    }
}

/// An upload that is looked at.
#[derive(Debug)]
pub(super) enum Found {
    /// It comes still.
    Open(Parts, Note),
    /// All of it was here, and it is on its way.
    Over(Box<OutboxEntry>),
}

impl Uploads {
    /// The uploads of a node: the same ones for all of its doors. Those that are whole and were
    /// not stored are, and those whose time is over go, now and every so often, where a runtime is.
    pub(crate) fn of(node: &Node) -> Arc<Self> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|uploads| uploads.strong_count() > 0);
        // What a node has once tells whether it is the same one.
        let is_of_it = |known: &Arc<Self>| std::ptr::eq(known.node.trust(), node.trust());
        let known = all.iter().filter_map(Weak::upgrade).find(is_of_it);
        known.unwrap_or_else(|| {
            let (known, looked) = Default::default();
            let uploads = Arc::new(Self { node: node.clone(), known, looked });
            let weak = Arc::downgrade(&uploads);
            all.push(weak.clone());
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(look_now_and_then(weak));
            }
            uploads
        })
    }

    /// Returns the time that is left until an upload is given up.
    pub(super) fn left(&self, note: &Note) -> Duration {
        let by_the_wall = || note.expires.saturating_sub(in_future(Duration::ZERO));
        let by_time = |ends: u64| ends.saturating_sub(self.node.time_lived());
        Duration::from_secs(note.ends.map_or_else(by_the_wall, by_time))
    }

    /// The most that an upload may have.
    pub(super) fn most(&self) -> u64 {
        self.node.outbox().bytes_limit() / 4
    }

    fn folder(&self, id: TransferId) -> Result<PathBuf, Problem> {
        let folder =
            self.node.outbox().spool_folder().ok_or_else(|| send::unsent(&SendError::NoCopies))?;
        Ok(folder.join(OutboxHandle::parts_name(id)))
    }

    /// Returns when those of earlier lives of the node are known.
    pub(super) async fn ready(self: &Arc<Self>) {
        self.looked.get_or_init(async || self.look().await).await;
    }

    /// Begins an upload, and takes its turn.
    pub(super) async fn create(
        self: &Arc<Self>,
        pass: &Pass,
        note: &Note,
    ) -> Result<(TransferId, Turn), Problem> {
        let id = sent::fresh(pass);
        let folder = self.folder(id)?;
        let text = text_of(note)?;
        // Who looks around meanwhile would take a folder without a note for what is left of one.
        let turn = self.turn(pass, id).await?;
        self.reserve(id, note.length.unwrap_or(0), 0)?;
        let made = on_disk(move || Parts::create(&folder, &text).map(drop)).await;
        if made.is_err() {
            self.forget(id);
        }
        made.map(|()| (id, turn))
    }

    /// Says how much an upload may come to, and what small parts take besides, if there is room for
    /// that.
    pub(super) fn reserve(&self, id: TransferId, bytes: u64, small: u64) -> Result<(), Problem> {
        let mut known = self.known();
        let taken = bytes.saturating_add(small);
        let (mut of_all, mut of_token) = ((1, taken), (1, taken));
        for (other, Known { reserved, .. }) in known.iter().filter(|(other, _)| **other != id) {
            let Some(reserved) = reserved else { continue };
            of_all = (of_all.0 + 1, of_all.1.saturating_add(*reserved));
            if sent::same_token(*other, id) {
                of_token = (of_token.0 + 1, of_token.1.saturating_add(*reserved));
            }
        }
        let most = (UPLOADS_MOST, self.node.outbox().bytes_limit());
        let is_too_much = |(count, bytes): (usize, u64), part: (usize, u64)| {
            count > most.0 / part.0 || bytes > most.1 / part.1
        };
        if bytes > self.most() {
            let text = format!(
                "an upload may have {} bytes, a quarter of what waits in the outbox at most \
                 (outbox_bytes), and this has {bytes}",
                self.most()
            );
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text));
        }
        if is_too_much(of_all, (1, 1)) || is_too_much(of_token, (4, 4)) {
            return Err(Problem::busy("uploads that are not whole"));
        }
        known.entry(id).or_default().reserved = Some(taken);
        Ok(())
    }

    /// The turn to write to an upload, for the token that began it. Who looks at it lets go of it
    /// at once, and is waited for.
    pub(super) async fn turn(
        self: &Arc<Self>,
        pass: &Pass,
        id: TransferId,
    ) -> Result<Turn, Problem> {
        if !sent::is_of(id, pass) {
            return Err(none());
        }
        let Known { turn, stop, .. } = self.known().entry(id).or_default().clone();
        match tokio::time::timeout(TURN_WITHIN, turn.lock_owned()).await {
            Ok(guard) => Ok(self.has_turn(id, guard, stop)),
            Err(_) => {
                let text = "another request writes to this upload at this moment";
                Err(Problem::new(StatusCode::LOCKED, "locked", text)
                    .again_after(Duration::from_secs(1)))
            }
        }
    }

    fn try_turn(self: &Arc<Self>, id: TransferId) -> Option<Turn> {
        let Known { turn, stop, .. } = self.known().entry(id).or_default().clone();
        let guard = turn.try_lock_owned().ok()?;
        Some(self.has_turn(id, guard, stop))
    }

    fn has_turn(
        self: &Arc<Self>,
        id: TransferId,
        guard: OwnedMutexGuard<()>,
        stop: Arc<Notify>,
    ) -> Turn {
        Turn { uploads: Arc::clone(self), id, guard: Some(guard), stop }
    }

    /// The turn, from whoever writes: that one stops, and what has come of it is kept.
    pub(super) async fn turn_of_another(
        self: &Arc<Self>,
        pass: &Pass,
        id: TransferId,
    ) -> Result<Turn, Problem> {
        if !sent::is_of(id, pass) {
            return Err(none());
        }
        loop {
            let Known { turn, stop, .. } = self.known().entry(id).or_default().clone();
            stop.notify_waiters();
            if let Ok(guard) = tokio::time::timeout(TELL_EVERY, turn.lock_owned()).await {
                return Ok(self.has_turn(id, guard, stop));
            }
        }
    }

    /// An upload, by whoever has its turn; for the token that began it alone.
    pub(super) async fn find(&self, pass: &Pass, id: TransferId) -> Result<Found, Problem> {
        match self.node.outbox().entry(id).await {
            Ok(entry) => {
                self.forget(id);
                let is_seen = sent::is_of(id, pass) && entry.relayed_for.is_none();
                return if is_seen { Ok(Found::Over(Box::new(entry))) } else { Err(none()) };
            }
            Err(OutboxError::Unknown(_)) => {
                let withdrawn = self.node.outbox().withdrawn(id).await.ok().flatten();
                if let Some(OutboxState::Dead { failure, .. }) = withdrawn.map(|entry| entry.state)
                    && sent::is_of(id, pass)
                {
                    self.forget(id);
                    return Err(send::withdrawn(&failure));
                }
            }
            Err(error @ OutboxError::Storing(_)) => {
                let text = error.to_string();
                return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text)
                    .again_after(Duration::from_secs(1)));
            }
            Err(error) => return Err(send::unsent(&error.into())),
        }
        let folder = self.folder(id)?;
        let opened = blocking(move || {
            let parts = Parts::open(&folder)?;
            let note = parts.note()?;
            Ok::<_, io::Error>((parts, note))
        });
        let (parts, note) = match opened.await.map_err(|error| storage(&error))? {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(id);
                return Err(none());
            }
            opened => opened.map_err(|error| storage(&error))?,
        };
        let note: Note = serde_json::from_slice(&note).map_err(|error| storage(&error))?;
        let (length, small) = so_far(&parts).await?;
        // What is whole is tried once more by whoever asks, and given up by `look`.
        if self.left(&note).is_zero() && note.length != Some(length) {
            self.remove(id, parts).await?;
            let text = "the time of this upload is over, and nothing of it is kept";
            return Err(Problem::new(StatusCode::GONE, "expired", text));
        }
        self.charge(id, note.length.unwrap_or(length).saturating_add(small));
        Ok(Found::Open(parts, note))
    }

    /// Charges for what is there and was not charged, whether there is room or not; by whoever has
    /// its turn.
    fn charge(&self, id: TransferId, bytes: u64) {
        if let Some(known) = self.known().get_mut(&id) {
            known.reserved.get_or_insert(bytes);
        }
    }

    /// Removes an upload.
    pub(super) async fn remove(&self, id: TransferId, parts: Parts) -> Result<(), Problem> {
        on_disk(move || parts.remove()).await?;
        self.forget(id);
        Ok(())
    }

    /// Stores an upload, which is whole, in the outbox; by whoever has its turn.
    pub(super) async fn hand_over(
        &self,
        id: TransferId,
        parts: Parts,
        note: &Note,
    ) -> Result<(), Problem> {
        on_disk(move || if parts.end()?.is_none() { parts.finish() } else { Ok(()) }).await?;
        let peer = note.peer.parse().map_err(|error| storage(&error))?;
        let to = Destination::Peer(peer, note.inbox.clone());
        match self.node.outbox().send_parts(to, id).await {
            Ok(()) | Err(SendError::Outbox(OutboxError::Known(true))) => {
                self.forget(id);
                Ok(())
            }
            Err(error) => Err(send::unsent(&error)),
        }
    }

    /// Gives its room back; by whoever has its turn, with which the rest of it goes.
    fn forget(&self, id: TransferId) {
        if let Some(known) = self.known().get_mut(&id) {
            known.reserved = None;
        }
    }

    #[cfg(test)]
    pub(super) fn count_known(&self) -> usize {
        self.known().len()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TransferId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what is in the spool's folder, and goes on with what is whole.
    async fn look(self: &Arc<Self>) {
        // Those that somebody only waited for, and gave up.
        self.known().retain(|_, known| known.is_needed());
        let Some(folder) = self.node.outbox().spool_folder().map(ToOwned::to_owned) else { return };
        let looked = blocking(move || {
            let entries = std::fs::read_dir(folder)?;
            let ids = entries.filter_map(|entry| {
                let entry = entry.ok()?;
                Some((OutboxHandle::parts_id(entry.file_name().to_str()?)?, entry.path()))
            });
            Ok::<_, io::Error>(ids.collect::<Vec<_>>())
        });
        let found = match looked.await.and_then(|found| found) {
            Ok(found) => found,
            Err(error) => return tracing::error!(%error, "uploads can't be looked at"),
        };
        // What has expired and is tried again has another id, and this folder still.
        let Ok(deliveries) = self.node.outbox().list().await else { return };
        let used: HashSet<_> = deliveries.iter().filter_map(|(_, entry)| entry.file()).collect();
        for (id, place) in found {
            if !used.contains(&*OutboxHandle::parts_name(id)) {
                self.look_at(id, place).await;
            }
        }
    }

    async fn look_at(self: &Arc<Self>, id: TransferId, place: PathBuf) {
        // Who has the turn looks after it.
        let Some(_turn) = self.try_turn(id) else { return };
        match self.node.outbox().entry(id).await {
            Err(OutboxError::Unknown(_)) => {}
            Ok(_) => return self.forget(id),
            // It is being stored, or the node stops.
            Err(_) => return,
        }
        let read = blocking(move || {
            let parts = match Parts::open(&place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // It was being made, or removed, when a process died.
                    return std::fs::remove_dir_all(&place).map(|()| None);
                }
                opened => opened?,
            };
            let note = parts.note()?;
            let (length, small) = so_far_now(&parts)?;
            Ok::<_, io::Error>(Some((parts, note, (length, small))))
        });
        let (parts, note, (length, small)) = match read.await.and_then(|read| read) {
            Ok(Some(read)) => read,
            Ok(None) => return self.forget(id),
            Err(error) => return tracing::error!(%id, %error, "an upload can't be read"),
        };
        let note = match serde_json::from_slice::<Note>(&note) {
            Ok(note) => note,
            Err(error) => return tracing::error!(%id, %error, "the note of an upload is none"),
        };
        self.charge(id, note.length.unwrap_or(length).saturating_add(small));
        if note.length == Some(length) {
            let Err(problem) = self.hand_over(id, parts.clone(), &note).await else { return };
            let why = problem.detail();
            tracing::error!(%id, %why, "an upload that is whole can't be stored");
        }
        // What is being stored, or can't be told, is the outbox's.
        let unknown = matches!(self.node.outbox().entry(id).await, Err(OutboxError::Unknown(_)));
        if unknown
            && self.left(&note).is_zero()
            && let Err(problem) = self.remove(id, parts).await
        {
            tracing::error!(%id, why = %problem.detail(), "an upload can't be removed");
        }
    }
}

async fn look_now_and_then(uploads: Weak<Uploads>) {
    loop {
        let Some(alive) = uploads.upgrade() else { return };
        match alive.looked.get() {
            None => *alive.looked.get_or_init(async || alive.look().await).await,
            Some(()) => alive.look().await,
        }
        drop(alive);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Bytes that are durable, and what small parts take besides.
pub(super) async fn so_far(parts: &Parts) -> Result<(u64, u64), Problem> {
    let parts = parts.clone();
    on_disk(move || so_far_now(&parts)).await
}

fn so_far_now(parts: &Parts) -> io::Result<(u64, u64)> {
    let (length, _) = parts.length()?;
    let charged = parts.small(BLOCK)?.saturating_sub(SMALL_FREE);
    Ok((length, charged as u64 * BLOCK))
}

pub(super) fn text_of(note: &Note) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(note).map_err(|error| storage(&error))
}

fn none() -> Problem {
    let text = "no upload that this token may see has this id, or it is forgotten: it was given \
                up, its time is over, or somebody took it out of the outbox";
    Problem::new(StatusCode::NOT_FOUND, "no-such-upload", text)
}

/// Does what blocks.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    blocking(work).await.and_then(|done| done).map_err(|error| storage(&error))
}

pub(super) fn storage(error: &impl std::fmt::Display) -> Problem {
    let text = format!("the upload could not be stored, or read: {error}");
    Problem::new(super::super::status(507), "storage", text)
}

/// The time, in seconds since the Unix epoch, after so long.
pub(super) fn in_future(wait: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs()) + wait.as_secs()
}
