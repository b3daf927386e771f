//! Ids of contents: they say which token sent it, and by which key.
//!
//! ```text
//! random: 8 bytes ┼ of the token's name: 8 bytes ┼ of Idempotency-Key and path, or random: 8 bytes
//! ```
//! Invariant: an id is used once, also where content broke off: what a receiver has heard of that is
//! never taken for a part of what is sent after it. What was stored is found by its key in the
//! outbox, after a restart, too.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use estafette::node::{OutboxEntry, OutboxError};
use estafette::{Node, TransferId};
use tokio::sync::Mutex;

use crate::tokens::Pass;

/// So many keys may be known before it is looked whether the outbox has forgotten some.
const LOOK_FROM: usize = 10_000;

/// The end of an id: what it has of the token, and of the key.
type Key = [u8; 16];

/// Contents that were sent, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Sent(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// With what lives as long as it is being sent.
    ids: HashMap<Key, (TransferId, Weak<()>)>,
    /// From so many on it is looked again.
    look_at: usize,
}

/// The knowledge of a key.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing: its content is sent by this id, and meanwhile the second part is kept.
    New(TransferId, Arc<()>),
    Sending,
    Stored(TransferId, Box<OutboxEntry>),
}

impl Sent {
    /// Returns what is known of this key of a token, for such a path.
    pub(crate) async fn find(
        &self,
        node: &Node,
        pass: &Pass,
        key: &str,
        path: [&str; 3],
    ) -> Result<Found, OutboxError> {
        let id = keyed(pass, key, path);
        let mut known = self.0.lock().await;
        if known.ids.len() >= known.look_at {
            known.look(node).await?;
        }
        if let Some((id, sending)) = known.ids.get(&end(id)) {
            if sending.strong_count() > 0 {
                return Ok(Found::Sending);
            }
            match node.outbox().entry(*id).await {
                Ok(entry) => return Ok(Found::Stored(*id, Box::new(entry))),
                Err(OutboxError::Storing(_)) => return Ok(Found::Sending),
                Err(OutboxError::Unknown(_)) => {
                    // Who sends it again is told so: it is no other delivery.
                    if let Some(entry) = node.outbox().withdrawn(*id).await? {
                        return Ok(Found::Stored(*id, Box::new(entry)));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let sending = Arc::new(());
        known.ids.insert(end(id), (id, Arc::downgrade(&sending)));
        Ok(Found::New(id, sending))
    }
}

impl Known {
    /// Takes over what the outbox has, and forgets what it has forgotten.
    async fn look(&mut self, node: &Node) -> Result<(), OutboxError> {
        let stored = node.outbox().list().await?;
        let withdrawn = node.outbox().all_withdrawn().await?.into_iter().collect();
        self.take_over(stored.into_iter().map(|(id, _)| id), &withdrawn);
        Ok(())
    }

    /// The same, of what is stored, and of what was taken out and is known as that.
    fn take_over(
        &mut self,
        stored: impl Iterator<Item = TransferId>,
        withdrawn: &HashSet<TransferId>,
    ) {
        self.ids.retain(|_, (id, sending)| sending.strong_count() > 0 || withdrawn.contains(id));
        for id in stored {
            self.ids.entry(end(id)).or_insert((id, Weak::new()));
        }
        self.look_at = (2 * self.ids.len()).max(LOOK_FROM);
    }
}

/// An id of content that a token sends without a key.
pub(crate) fn fresh(pass: &Pass) -> TransferId {
    let mut id = *TransferId::random().as_bytes();
    id[8..16].copy_from_slice(&of_token(pass));
    TransferId::from_bytes(id)
}

/// Returns whether a token of this name sent it.
pub(crate) fn is_of(id: TransferId, pass: &Pass) -> bool {
    id.as_bytes()[8..16] == of_token(pass)
}

/// Returns whether one token sent both.
#[cfg(feature = "http")]
pub(crate) fn same_token(one: TransferId, other: TransferId) -> bool {
    one.as_bytes()[8..16] == other.as_bytes()[8..16]
}

fn keyed(pass: &Pass, key: &str, path: [&str; 3]) -> TransferId {
    let mut id = *fresh(pass).as_bytes();
    let [peer, inbox, file] = path;
    id[16..].copy_from_slice(&digest("key of content", &[&pass.name, key, peer, inbox, file]));
    TransferId::from_bytes(id)
}

fn of_token(pass: &Pass) -> [u8; 8] {
    digest("token of content", &[&pass.name])
}

fn digest(purpose: &str, parts: &[&str]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key(&format!("estafette door: {purpose} 1"));
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let mut digest = [0; 8];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

fn end(id: TransferId) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&id.as_bytes()[8..]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_as_long_as_its_content_is_sent_stored_or_known_to_be_taken_out() {
        let id = |number: u8| TransferId::from_bytes([number; 24]);
        let (mut known, under_way) = (Known::default(), Arc::new(()));
        for number in 1..=4 {
            known.ids.insert(end(id(number)), (id(number), Weak::new()));
        }
        known.ids.insert(end(id(5)), (id(5), Arc::downgrade(&under_way)));
        known.take_over([id(1), id(6)].into_iter(), &HashSet::from([id(2)]));
        let mut left: Vec<_> = known.ids.values().map(|(id, _)| id.as_bytes()[0]).collect();
        left.sort_unstable();
        assert_eq!((left, known.look_at), (vec![1, 2, 5, 6], LOOK_FROM));
    }
}
