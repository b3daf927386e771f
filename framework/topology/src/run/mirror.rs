//! Sources of which each version takes the place of the one before it: the two ways in which such a
//! one is not sent as it is.
//!
//! Invariant: what has become empty all at once is never sent in the place of what held something,
//! unless the topology says that it may be. What is written to without end keeps nothing else back
//! for longer than the patience of its route.

use std::collections::BTreeSet;
use std::time::Duration;

use estafette::node::units::time_text;
use estafette::pipeline::{Ground, Mirroring, Source, SourceState};

use super::failure::RouteError;
use super::memory::Note;
use super::rest::{LOOK_AGAIN, Looked, QUIET};
use super::route::{Route, hex, on_a_thread};
use crate::model::{Kind, Schedule, SourceSpec};

/// The time for which a source that is written to without end is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most folders that are noted of a version, if its source does not name more.
const GROUNDS: usize = 1000;

impl Route {
    /// Returns `true` if each version of its source takes the place of the one before it.
    fn is_mirror(&self) -> bool {
        matches!(self.spec.source, SourceSpec::Kind(_)) && self.spec.schedule != Schedule::Once
    }

    /// Looks at a source that is sent when it changes.
    pub(super) async fn look_at_change(&self, kind: &Kind) -> Result<Looked, RouteError> {
        let (version, state) = self.state_of(kind).await?;
        if let Some(version) = version {
            self.mirror.calms();
            return self.send_change(kind, &hex(&version), false).await;
        }
        let patience = self.spec.patience.unwrap_or(PATIENCE);
        if !self.mirror.is_restless(patience) {
            return Ok(Looked::again(LOOK_AGAIN));
        }
        let why = state.unsettled.unwrap_or_else(|| "it is being written".into());
        let said = |what: &str| {
            format!(
                "{why}, at each look for {}: {what}; leave out with `exclude` what is always \
                 written to, or write it elsewhere",
                time_text(patience)
            )
        };
        let Some(quiet) = state.quiet.filter(|_| self.has_quiet_parts()) else {
            let why = said("nothing is sent until that ends");
            self.waits(Some(&why)).await;
            return Err(RouteError::Waits(why));
        };
        let mark = format!("quiet {}", hex(&quiet));
        let looked = self.send_change(kind, &mark, true).await?;
        if self.mirror.tells() {
            let why = said(
                "all else is sent without what is being written, of which the \
                            receiver keeps what it has",
            );
            tracing::warn!(route = &*self.name, "{why}");
            self.waits(Some(&why)).await;
        }
        self.mirror.sent_quiet(mark, looked.acted);
        Ok(looked)
    }

    /// Returns `true` if what is quiet in its source can be sent without the rest.
    fn has_quiet_parts(&self) -> bool {
        self.spec.stages.iter().all(|stage| !stage.is_filter(&self.registry))
    }

    async fn send_change(
        &self,
        kind: &Kind,
        mark: &str,
        settled: bool,
    ) -> Result<Looked, RouteError> {
        let sent = self.send_to_all("", mark, || self.mirrored(kind, settled)).await?;
        self.is_as_it_was_wanted(settled).await;
        let acted = sent.some;
        Ok(Looked { acted, ..Looked::again(if acted { LOOK_AGAIN } else { QUIET }) })
    }

    /// It has sent what there is: nothing is to be told of it any more.
    pub(super) async fn is_as_it_was_wanted(&self, settled: bool) {
        self.mirror.holds(false);
        if !settled {
            self.waits(None).await;
        }
    }

    /// Notes why it sends nothing, or not all, for those who look without this process.
    pub(super) async fn waits(&self, why: Option<&str>) {
        if let Err(error) = self.memory.note_wait(&self.name, why).await {
            tracing::warn!(%error, route = &*self.name, "why it waits could not be noted");
        }
    }

    /// The version and the state of what a source has now.
    pub(super) async fn state_of(
        &self,
        kind: &Kind,
    ) -> Result<(Option<[u8; 32]>, SourceState), RouteError> {
        let source = self.source(kind).await?;
        on_a_thread(move || {
            let _ = source.content();
            (source.version(), source.state())
        })
        .await
    }

    /// The content of a version, which is read as one that takes the place of another.
    pub(super) async fn mirrored(
        &self,
        kind: &Kind,
        settled: bool,
    ) -> Result<Box<dyn Source>, RouteError> {
        let (mut source, filled) = (self.content(kind).await?, !self.spec.empties);
        on_a_thread(move || {
            let _ = source.content();
            source.mirror(Mirroring { filled, settled });
            let _ = source.content();
            source
        })
        .await
    }

    /// The folders that are to be noted of a version that is to be sent.
    ///
    /// # Errors
    /// One of them holds nothing, and held something in the last version.
    pub(super) async fn grounds(
        &self,
        last: Option<&Note>,
        source: &dyn Source,
    ) -> Result<Option<Vec<Ground>>, RouteError> {
        if !self.is_mirror() {
            return Ok(None);
        }
        let grounds = source.state().grounds;
        let before = last.filter(|_| !self.spec.empties);
        let Some((now, was)) = before.and_then(|last| emptied(last.grounds.as_deref(), &grounds))
        else {
            return Ok(Some(noted(last, grounds)));
        };
        let why = held(now, was);
        self.mirror.holds(true);
        self.waits(Some(&why)).await;
        Err(RouteError::Held(why))
    }
}

/// Returns the first folder that holds nothing now and held something before, as it is now and as it
/// was; of what an earlier build has sent it is not known.
fn emptied<'g>(
    before: Option<&'g [Ground]>,
    now: &'g [Ground],
) -> Option<(&'g Ground, Option<&'g Ground>)> {
    now.iter().filter(|ground| !ground.holds).find_map(|ground| match before {
        None => Some((ground, None)),
        Some(before) => {
            let was = before.iter().find(|was| was.name == ground.name)?;
            was.holds.then_some((ground, Some(was)))
        }
    })
}

/// Returns the folders that a version has, and those that only the last one had: a folder that can't
/// be read now stays at the receiver as it was, and is not to be taken for a new one when its disk
/// is gone.
fn noted(last: Option<&Note>, mut now: Vec<Ground>) -> Vec<Ground> {
    let before = last.and_then(|last| last.grounds.as_deref()).unwrap_or_default();
    let names: BTreeSet<_> = now.iter().map(|ground| ground.name.as_str()).collect();
    let missing = before.iter().filter(|was| !names.contains(was.name.as_str())).cloned();
    let missing: Vec<_> = missing.take(GROUNDS.saturating_sub(now.len())).collect();
    now.extend(missing);
    now
}

/// The reason, for a person, for which such a version is not sent.
fn held(now: &Ground, was: Option<&Ground>) -> String {
    let what = match &*now.name {
        "" => "its source".to_owned(),
        name => format!("`{name}` in its source"),
    };
    let is_another = was.is_some_and(|was| (was.device, was.inode) != (now.device, now.inode));
    let since = match was {
        None => "is empty, and it is not known what the last version held",
        Some(_) if is_another => {
            "is another folder than that of the last version, and empty: its disk is most likely \
             not mounted"
        }
        Some(_) => "has become empty all at once",
    };
    format!(
        "{what} {since}. Nothing is sent, as the receiver would remove all that it has of it: \
         mount the disk or put something there, or say `empties = true` in the route if it is meant"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground(name: &str, inode: u64, holds: bool) -> Ground {
        Ground { name: name.into(), device: 1, inode, holds }
    }

    #[test]
    fn what_is_empty_and_was_not_is_held_back_and_nothing_else() {
        let is_held = |before: Option<&[Ground]>, now: &[Ground]| emptied(before, now).is_some();
        let (full, empty) = ([ground("", 1, true)], [ground("", 1, false)]);
        let (other_full, other_empty) = ([ground("", 2, true)], [ground("", 2, false)]);
        assert!(is_held(Some(&full), &empty) && is_held(Some(&full), &other_empty));
        assert!(is_held(None, &empty), "an earlier build did not note it");
        assert!(!is_held(Some(&full), &other_full), "another folder with something in it");
        assert!(!is_held(Some(&empty), &empty) && !is_held(Some(&empty), &other_empty));
        assert!(!is_held(Some(&full), &[]), "what is no folder, and a folder that is gone");
        // Each of several is looked at.
        let before = [ground("a", 1, true), ground("b", 2, true)];
        assert!(is_held(Some(&before), &[ground("a", 1, true), ground("b", 9, false)]));
        assert!(!is_held(Some(&before), &[ground("a", 1, true), ground("c", 9, false)]));
    }

    #[test]
    fn a_folder_that_could_not_be_read_for_a_version_or_two_is_held_back_when_it_is_empty() {
        let note = |grounds: Vec<Ground>| {
            let note = Note::new(String::new(), "", String::new());
            Note { grounds: Some(grounds), ..note }
        };
        let mut last = note(vec![ground("a", 1, true), ground("b", 2, true)]);
        for _ in 0..2 {
            last = note(noted(Some(&last), vec![ground("b", 2, true)]));
        }
        let now = [ground("a", 9, false), ground("b", 2, true)];
        let (empty, was) = emptied(last.grounds.as_deref(), &now).unwrap();
        assert_eq!((empty.inode, was.unwrap().inode), (9, 1));
        // What is read takes the place of what was, and their number is bounded.
        assert_eq!(noted(Some(&last), now.to_vec()), now);
        let many = (0..GROUNDS as u64 + 5).map(|at| ground(&at.to_string(), at, true)).collect();
        assert_eq!(noted(Some(&note(many)), now.to_vec()).len(), GROUNDS);
        assert_eq!(noted(None, now.to_vec()), now);
    }

    #[test]
    fn a_person_is_told_of_a_disk_only_where_the_folder_is_another_one() {
        let was = ground("", 1, true);
        assert!(held(&ground("", 2, false), Some(&was)).contains("not mounted"));
        assert!(!held(&ground("", 1, false), Some(&was)).contains("not mounted"));
        for text in [held(&was, None), held(&ground("a", 1, false), Some(&was))] {
            assert!(text.contains("`empties = true`"), "{text}");
        }
    }
}
