//! Turns of deliveries that keep what is under their name: each has to find what the one before it
//! has made visible, or it would lose that.
//!
//! Invariant: in this process one at a time merges into a name of a folder, from its look at what
//! is there to the rename. It waits for no more than the one before it does, and nobody waits for
//! two turns.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::home::{FolderId, Home};

type Place = (FolderId, Vec<u8>);

/// The places of merges that go on, whichever inboxes do them: several may have one folder.
static BUSY: Mutex<BTreeSet<Place>> = Mutex::new(BTreeSet::new());
static IS_FREE: Condvar = Condvar::new();

/// The turn of one. The next one has it when this is dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<Place>);

/// Waits for the turn to merge into `kept`, if anything is to be kept. Blocks.
pub(super) fn turn(home: &Home, kept: Option<&[u8]>) -> std::io::Result<Turn> {
    let Some(name) = kept else { return Ok(Turn(None)) };
    let place = (home.id()?, name.to_vec());
    let busy = IS_FREE.wait_while(busy(), |busy| busy.contains(&place));
    busy.unwrap_or_else(PoisonError::into_inner).insert(place.clone());
    Ok(Turn(Some(place)))
}

fn busy() -> MutexGuard<'static, BTreeSet<Place>> {
    BUSY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(place) = self.0.take() {
            busy().remove(&place);
            IS_FREE.notify_all();
        }
    }
}
