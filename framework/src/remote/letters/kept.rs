//! A letter that waits at its receiver, as far as it is in memory: only the first ones of a log are.

use std::io;
use std::sync::Arc;

use super::super::error::{RemoteError, RemoteErrorKind};
use super::Letters;
use super::record::{self, Letter, MAIL};
use super::trying::Place;
use super::writer::AGAIN;
use crate::store::blocking::surely;
use crate::wire::codec::decode_message;

/// A letter, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) name: Arc<str>,
    pub(super) message: Arc<str>,
    pub(super) version: u32,
    /// The bytes of its body.
    pub(super) length: usize,
    /// The time at which it expires, on the scale of what has passed.
    pub(super) expires: u64,
    /// All of it, if it is in memory.
    letter: Option<Arc<Letter>>,
}

impl Kept {
    pub(super) fn new(letter: &Arc<Letter>, in_memory: bool) -> Self {
        let (name, message) = (letter.name.as_str().into(), letter.message.as_str().into());
        let &Letter { version, expires, .. } = &**letter;
        let (length, letter) = (letter.body.len(), in_memory.then(|| Arc::clone(letter)));
        Self { name, message, version, length, expires, letter }
    }
}

#[cfg(test)]
impl Kept {
    pub(super) fn is_in_memory(&self) -> bool {
        self.letter.is_some()
    }
}

impl Letters {
    /// Returns a letter that is stored here; `None`: the node is stopping.
    pub(super) async fn fetch(
        &self,
        (peer, log, number): Place,
        kept: &Kept,
    ) -> Option<Result<Arc<Letter>, RemoteError>> {
        if let Some(letter) = &kept.letter {
            return Some(Ok(Arc::clone(letter)));
        }
        loop {
            let (spool, key) = (Arc::clone(&self.spool), record::key(peer, log, number));
            let found = surely(move || spool.find(MAIL, &key)).await;
            match found.map_err(io::Error::other).and_then(|found| found) {
                Ok(found) => {
                    let letter = found.and_then(|found| decode_message(&found).ok());
                    return Some(letter.map(Arc::new).ok_or_else(unreadable));
                }
                Err(error) => {
                    tracing::error!(
                        peer = %peer.short(), name = %kept.name, number, %error,
                        "a letter can't be read from the spool; it is tried again"
                    );
                }
            }
            tokio::time::sleep(AGAIN).await;
            if self.state().stopping {
                return None;
            }
            if kept.expires <= self.clock.now().passed {
                return Some(Err(expired(&kept.name)));
            }
        }
    }
}

/// The reason to refuse what rotted here.
pub(super) fn unreadable() -> RemoteError {
    let text = "its record in that node's spool can't be read any more: it is not handed over; \
                whether it was is not known";
    RemoteError::new(RemoteErrorKind::Storage, text)
}

/// The reason to refuse what has expired.
pub(super) fn expired(name: &str) -> RemoteError {
    // An earlier life of this node, or an actor that died, may have had it.
    let text =
        format!("the letter to {name:?} expired before an actor was known to have handled it");
    RemoteError::new(RemoteErrorKind::Expired, text)
}
