//! Notes of what a route has sent: none is lost with a process, and nothing is sent twice.
//!
//! A transfer's id is noted before it is given to the outbox. Whoever finds it there later has sent
//! it; whoever does not has not.

use std::io;
use std::sync::Arc;

use estafette::node::{FileStore, OutboxError, Store, blocking};
use estafette::{Node, TransferId};
use serde::{Deserialize, Serialize};

/// The table of the notes.
const TABLE: &str = "sent";

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
    /// What tells it from other content of the same route.
    pub(super) mark: String,
    /// The time at which it was sent, in seconds since the Unix epoch.
    pub(super) at: u64,
    /// Whether the outbox has it for certain.
    pub(super) stored: bool,
}

/// The notes of one node.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<FileStore>);

impl Memory {
    pub(super) async fn open(folder: std::path::PathBuf) -> io::Result<Self> {
        let opened = blocking(move || FileStore::open(folder)).await.map_err(io::Error::other)?;
        Ok(Self(Arc::new(opened?)))
    }

    /// The note under a key; one of a process that died is completed, if its transfer was stored,
    /// and else it is none.
    pub(super) async fn last(&self, node: &Node, key: &str) -> io::Result<Option<Note>> {
        let Some(mut note) = self.find(key).await?.filter(|note| note.key == key) else {
            return Ok(None);
        };
        if !note.stored {
            match node.outbox_entry(note.id).await {
                Ok(_) => note.stored = true,
                Err(OutboxError::Unknown(_)) => return Ok(None),
                Err(error) => return Err(io::Error::other(error)),
            }
            self.put(&note).await?;
        }
        Ok(Some(note))
    }

    async fn find(&self, key: &str) -> io::Result<Option<Note>> {
        let (store, key) = (Arc::clone(&self.0), digest(key));
        let found = blocking(move || store.find(TABLE, &key)).await.map_err(io::Error::other)??;
        // What can't be read was not written by this program, or is damaged: it is sent again.
        Ok(found.and_then(|note| serde_json::from_slice(&note).ok()))
    }

    pub(super) async fn put(&self, note: &Note) -> io::Result<()> {
        let (store, key) = (Arc::clone(&self.0), digest(&note.key));
        let note = serde_json::to_vec(note)?;
        blocking(move || store.put(TABLE, &key, &note)).await.map_err(io::Error::other)?
    }

    /// All notes whose keys begin so.
    pub(super) async fn beginning(&self, start: &str) -> io::Result<Vec<Note>> {
        let store = Arc::clone(&self.0);
        let all = blocking(move || store.load(TABLE)).await.map_err(io::Error::other)??;
        let notes = all.into_iter().filter_map(|(_, note)| serde_json::from_slice(&note).ok());
        Ok(notes.filter(|note: &Note| note.key.starts_with(start)).collect())
    }

    pub(super) async fn forget(&self, key: &str) -> io::Result<()> {
        let (store, key) = (Arc::clone(&self.0), digest(key));
        blocking(move || store.remove(TABLE, &key)).await.map_err(io::Error::other)?
    }
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
