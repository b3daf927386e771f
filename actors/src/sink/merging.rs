//! Turns of deliveries that replace what is under their name, or keep some of it: each has to find
//! what the one before it has made visible, or it would lose that.
//!
//! Invariant: in this process one at a time takes the place of a name of a folder, from its look at
//! what is there to the rename. It waits for no more than the one before it does, and nobody waits for
//! two turns.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::home::{FolderId, Home};
use super::on_conflict::OnConflict;

type Place = (FolderId, Vec<u8>);

/// The places that are taken at this moment, whichever inboxes do them: several may have one folder.
static BUSY: Mutex<BTreeSet<Place>> = Mutex::new(BTreeSet::new());
static IS_FREE: Condvar = Condvar::new();

/// The turn of one. The next one has it when this is dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<Place>);

/// Waits for the turn to take the place of `name`, where the policy lets it do so. Blocks.
pub(super) fn turn(home: &Home, policy: OnConflict, name: &[u8]) -> std::io::Result<Turn> {
    if !matches!(policy, OnConflict::Replace | OnConflict::Merge) {
        return Ok(Turn(None));
    }
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

#[cfg(test)]
mod tests {
    use super::super::leftovers::Leftovers;
    use super::*;

    #[test]
    fn who_replaces_waits_for_who_merges_into_the_same_name_alone() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Home::open(folder.path(), Leftovers::default()).unwrap();
        let first = turn(&open(), OnConflict::Merge, b"name").unwrap();
        for (policy, name) in [(OnConflict::Replace, &b"other"[..]), (OnConflict::Rename, b"name")]
        {
            drop(turn(&open(), policy, name).unwrap());
        }
        let (home, (done, is_done)) = (open(), std::sync::mpsc::channel());
        let waits = std::thread::spawn(move || {
            let turn = turn(&home, OnConflict::Replace, b"name").unwrap();
            done.send(()).unwrap();
            drop(turn);
        });
        let early = is_done.recv_timeout(std::time::Duration::from_millis(200));
        assert!(early.is_err(), "both are at work");
        drop(first);
        is_done.recv().unwrap();
        waits.join().unwrap();
    }
}
