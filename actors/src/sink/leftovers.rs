//! The temporaries of a folder that could not be removed yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most temporaries that are tried again; more than these wait for the next process.
const TRIED_AGAIN: usize = 1024;

/// Temporaries that could not be removed, or looked at. Shared by all deliveries of an inbox.
#[derive(Clone, Debug, Default)]
pub(super) struct Leftovers(Arc<Mutex<Left>>);

#[derive(Debug, Default)]
pub(super) struct Left {
    /// Set if it was looked what earlier processes left.
    pub(super) is_swept: bool,
    /// Names of temporaries, and whether they were given up here: of others it is not known
    /// whether somebody works on them.
    pub(super) names: BTreeMap<String, bool>,
}

impl Leftovers {
    pub(super) fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, name: &str, given_up: bool) {
        let mut left = self.left();
        if left.names.len() < TRIED_AGAIN {
            *left.names.entry(name.to_owned()).or_default() |= given_up;
        }
    }

    /// Returns `true` if there is nothing to try again.
    pub(super) fn is_empty(&self) -> bool {
        self.left().names.is_empty()
    }
}
