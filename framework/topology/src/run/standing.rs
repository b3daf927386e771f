//! The standing of a source whose versions take each other's places, as one process knows it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The standing of one source.
#[derive(Debug, Default)]
pub(super) struct Mirror(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Set while its source is empty, and the last version was not.
    is_held: bool,
    /// The time since which it has had no version, or was sent without what is written to.
    restless: Option<Instant>,
    /// Set once that is told.
    is_told: bool,
    /// The mark of what was quiet in it last.
    quiet: Option<String>,
}

impl Mirror {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` while its source is empty, and the last version was not.
    pub(super) fn is_held(&self) -> bool {
        self.state().is_held
    }

    /// The mark of what is quiet in a source that is written to without end, once that was sent.
    pub(super) fn quiet(&self) -> Option<String> {
        self.state().quiet.clone()
    }

    /// Returns `true` if it has had no version for as long as it is waited for.
    pub(super) fn is_restless(&self, patience: Duration) -> bool {
        self.state().restless.get_or_insert_with(Instant::now).elapsed() >= patience
    }

    /// Returns `true` the first time.
    pub(super) fn tells(&self) -> bool {
        !std::mem::replace(&mut self.state().is_told, true)
    }

    pub(super) fn holds(&self, is_held: bool) {
        self.state().is_held = is_held;
    }

    /// It was sent as far as it was quiet, now if that was another mark than before: the next one
    /// goes after as long a time.
    pub(super) fn sent_quiet(&self, mark: String, is_new: bool) {
        let mut state = self.state();
        state.quiet = Some(mark);
        if is_new {
            state.restless = Some(Instant::now());
        }
    }

    /// It has a version.
    pub(super) fn calms(&self) {
        let mut state = self.state();
        (state.restless, state.is_told, state.quiet) = (None, false, None);
    }
}
