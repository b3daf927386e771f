//! The journal in which a sink notes how one delivery stands, so that it can go on after its
//! process died.
//!
//! Invariant: what an earlier attempt noted is given to a sink to go on with only if the content
//! has the same version and chunk size. That it was committed holds whatever the version: a
//! delivery is made once.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::store::ledger::{Account, Work};
use crate::store::{Change, Store};

/// A durable note about one delivery, keyed by its sender and its id.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn Store>,
    key: Vec<u8>,
    stamp: [u8; Self::STAMP],
    passing: bool,
    earlier: Option<Vec<u8>>,
    outdated: Option<Vec<u8>>,
    account: Option<Account>,
}

impl Journal {
    /// The table of partial deliveries.
    pub(crate) const TABLE: &'static str = "partial";
    /// The longest note, in bytes.
    pub const LIMIT: usize = 64 << 10;
    /// `expires u64 ‖ version ‖ chunk size u32`, before each note.
    const STAMP: usize = 8 + 32 + 4;

    /// The journal of the delivery `key` with this version of its content, if it has one.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        key: Vec<u8>,
        expires: u64,
        version: Option<[u8; 32]>,
        chunk_size: u32,
    ) -> io::Result<Self> {
        let mut stamp = [0; Self::STAMP];
        stamp[..8].copy_from_slice(&expires.to_le_bytes());
        // Another one for each attempt, that no later one has.
        stamp[8..40].copy_from_slice(&version.unwrap_or_else(crate::store::random32));
        stamp[40..].copy_from_slice(&chunk_size.to_le_bytes());
        let mut journal = Self {
            store,
            key,
            stamp,
            passing: version.is_none(),
            earlier: None,
            outdated: None,
            account: None,
        };
        journal.refresh()?;
        Ok(journal)
    }

    /// Charges what is read for it to this account.
    pub(crate) fn charged_to(self, account: Account) -> Self {
        Self { account: Some(account), ..self }
    }

    /// The note of this key, as one about other content: to clean up after it.
    pub(crate) fn of_note(store: Arc<dyn Store>, key: Vec<u8>) -> io::Result<Self> {
        Self::open(store, key, 0, None, 0)
    }

    /// Returns whether `bytes` may be read now to verify them. If so, they are charged to the
    /// sender's account. A sender that offers a partial delivery again and again has to wait.
    pub fn may_verify(&self, bytes: u64) -> bool {
        self.account
            .as_ref()
            .is_none_or(|account| account.spend(Work::Verified, bytes, std::time::Instant::now()))
    }

    /// A journal in this store, for tests of sinks: it serves content of this version, in chunks of
    /// this size.
    #[cfg(feature = "test-util")]
    pub fn for_tests(
        store: Arc<dyn Store>,
        key: &[u8],
        version: Option<[u8; 32]>,
        chunk_size: u32,
    ) -> io::Result<Self> {
        Self::open(store, key.to_vec(), u64::MAX, version, chunk_size)
    }

    /// Looks anew at what earlier attempts noted: one of them may have been ending until now. May
    /// block.
    pub fn refresh(&mut self) -> io::Result<()> {
        let noted = self.store.find(Self::TABLE, &self.key)?;
        (self.earlier, self.outdated) =
            match noted.as_deref().and_then(|noted| noted.split_first_chunk::<{ Self::STAMP }>()) {
                Some((known, note)) if known[8..] == self.stamp[8..] => (Some(note.to_vec()), None),
                Some((_, note)) => (None, Some(note.to_vec())),
                None => (None, None),
            };
        Ok(())
    }

    /// Returns the note of an earlier attempt with the same content, if there is one.
    pub fn earlier(&self) -> Option<&[u8]> {
        self.earlier.as_deref()
    }

    /// Returns whether no later attempt can go on with what this one writes, since nobody can tell
    /// whether the content will be the same.
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// Returns the note of an earlier attempt with other content or other chunks, if there is one.
    /// It serves to learn that the delivery was committed, and to clean up after that attempt.
    pub fn outdated(&self) -> Option<&[u8]> {
        self.outdated.as_deref()
    }

    /// Notes this, durably, in place of what was noted before. May block.
    pub fn note(&self, note: &[u8]) -> io::Result<()> {
        if note.len() > Self::LIMIT {
            let text = format!("a note has at most {} bytes, not {}", Self::LIMIT, note.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.store.put(Self::TABLE, &self.key, &[&self.stamp, note].concat())
    }

    /// Forgets what was noted. May block.
    pub fn clear(&self) -> io::Result<()> {
        self.store.remove(Self::TABLE, &self.key)
    }

    /// Returns when the note of this record has no use any more, by the time passed for certain.
    pub(crate) fn expires(record: &[u8]) -> u64 {
        record.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The change that forgets the note about `key`.
    pub(crate) fn forget(key: Vec<u8>) -> Change {
        Change::Remove { table: Self::TABLE, key }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("earlier", &self.earlier.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn a_note_serves_the_same_content_only() {
        let store: Arc<dyn Store> = Arc::<MemoryStore>::default();
        let open = |version, chunk_size| {
            Journal::open(Arc::clone(&store), b"key".to_vec(), 7, Some([version; 32]), chunk_size)
                .unwrap()
        };
        assert_eq!(open(1, 1024).earlier(), None);
        open(1, 1024).note(b"so far").unwrap();
        assert_eq!(open(1, 1024).earlier(), Some(&b"so far"[..]));
        for other in [open(2, 1024), open(1, 2048)] {
            assert_eq!((other.earlier(), other.outdated()), (None, Some(&b"so far"[..])));
        }
        let mut early = open(1, 1024);
        open(1, 1024).note(b"further").unwrap();
        early.refresh().unwrap();
        assert_eq!(early.earlier(), Some(&b"further"[..]));
        let unknown = || Journal::open(Arc::clone(&store), b"key".to_vec(), 7, None, 1024).unwrap();
        unknown().note(b"who knows of what").unwrap();
        for other in [open(1, 1024), unknown()] {
            assert_eq!(
                (other.earlier(), other.outdated()),
                (None, Some(&b"who knows of what"[..]))
            );
        }
        assert!(unknown().is_passing() && !open(1, 1024).is_passing());
        open(1, 1024).clear().unwrap();
        assert_eq!(open(1, 1024).earlier(), None);
    }
}
