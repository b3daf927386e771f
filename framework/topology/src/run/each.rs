//! A folder each of whose entries is a delivery.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::RouteNews;
use super::failure::RouteError;
use super::memory::Note;
use super::queue::{Given, Load};
use super::rest::{CALM, LOOK_AGAIN, Looked, QUIET};
use super::route::{Route, on_a_thread};
use crate::model::{Deliver, EachSpec, Kind, Then};

/// The most entries of one folder.
const ENTRIES: usize = 100_000;
/// The age from which on a file can't change without a trace, where clocks tick in milliseconds.
const SETTLED: Duration = Duration::from_secs(2);
/// The time after which an entry that is gone is forgotten.
const GONE: Duration = Duration::from_secs(24 * 3600);
/// The folder beside the entries for what is looked at for the last time.
const ASIDE: &str = ".estafette-aside";
/// The ends of names that programs give to what they are still writing.
const UNFINISHED: [&str; 4] = [".part", ".tmp", ".partial", "~"];

/// The state of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A file; what tells this version of it from any other.
    File(String),
    /// A folder or a link, which has to be looked through.
    Tree,
    /// A file that may be written to at this moment.
    Young,
}

/// The work at an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is to be done.
    Idle,
    /// Something is to be done soon.
    Waits,
    /// Something was done.
    Acted,
}

impl Route {
    /// Sends each entry that is new, and looks after those that were delivered.
    pub(super) async fn look_at_each(
        &self,
        each: &EachSpec,
        is_watched: bool,
    ) -> Result<Looked, RouteError> {
        let (folder, began) = (self.places.at(&each.folder), Instant::now());
        let looked_into = on_a_thread({
            let folder = folder.clone();
            move || {
                let brought = bring_back(&folder);
                (brought, look_into(&folder))
            }
        });
        let (brought, entries) = looked_into.await?;
        let listed = began.elapsed();
        if let Err(error) = brought {
            tracing::warn!(%error, route = &*self.name, "what was put aside stays there");
        }
        let (entries, left) = entries.map_err(|error| {
            RouteError::Source(format!("{} can't be read: {error}", folder.display()))
        })?;
        self.tell_left(left);
        let mut notes = self.memory.beginning(&format!("{}\n", self.name));
        let mut load = match self.spec.deliver {
            Deliver::One => self.load(&notes).await,
            Deliver::All => Load::new(),
        };
        let (mut busy, mut acted, mut failed) = (false, false, None);
        // The time that went by for looking, and not for what was done.
        let (began, mut worked) = (Instant::now(), Duration::ZERO);
        for (name, seen) in &entries {
            let before = Instant::now();
            match self.look_at_one((each, &folder), name, seen, &mut load).await {
                Ok(step) => {
                    busy |= step != Step::Idle;
                    if step == Step::Acted {
                        (acted, worked) = (true, worked + before.elapsed());
                    }
                }
                // What can't be sent by itself keeps no other back.
                Err(error @ RouteError::Source(_)) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        notes.retain(|note| !entries.contains_key(entry_of(&note.key)));
        self.forget_gone(notes).await?;
        let again = if busy {
            LOOK_AGAIN
        } else if is_watched
            && failed.is_none()
            && !entries.values().any(|seen| *seen == Seen::Tree)
        {
            CALM
        } else {
            // What happens deep in a folder, or behind a link, is not told.
            QUIET
        };
        let scanned = Some(listed + began.elapsed().saturating_sub(worked));
        Ok(Looked { acted, failed, scanned, ..Looked::again(again) })
    }

    /// Tells once of each entry that is never sent.
    fn tell_left(&self, left: Left) {
        let mut told = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|entry| left.contains_key(entry));
        for (entry, why) in left {
            if !told.contains(&entry) {
                tracing::warn!(route = &*self.name, entry, "an entry is not sent: {why}");
                told.insert(entry);
            }
        }
    }

    /// One entry, as far as something is to be done about it.
    async fn look_at_one(
        &self,
        (each, folder): (&EachSpec, &Path),
        name: &str,
        seen: &Seen,
        load: &mut Load,
    ) -> Result<Step, RouteError> {
        let path = folder.join(name);
        let Some(kind) = path.to_str().map(Kind::path) else { return Ok(Step::Idle) };
        let mark = match seen {
            Seen::File(mark) => Some(mark.clone()),
            Seen::Tree => self.version_of_tree(&kind).await,
            Seen::Young => None,
        };
        let Some(mark) = mark else { return Ok(Step::Waits) };
        // Of a folder something may have been left out, and new things may be in it by now.
        let removes = each.then == Then::Remove && *seen != Seen::Tree;
        let (step, done) = if self.spec.deliver == Deliver::One {
            match self.give_to_one(name, &mark, &kind, load).await? {
                Given::New => (Step::Acted, false),
                Given::Open | Given::Waits => (Step::Waits, false),
                Given::Done => (Step::Idle, true),
                Given::Withdrawn => (Step::Idle, false),
            }
        } else {
            let sent = self.send_to_all(name, &mark, || self.content(&kind)).await?;
            let waits = if removes || sent.waits { Step::Waits } else { Step::Idle };
            let step = if sent.some { Step::Acted } else { waits };
            (step, removes && self.is_delivered(name, &mark).await?)
        };
        if done && removes {
            self.remove(&path, name, seen).await?;
            return Ok(Step::Acted);
        }
        Ok(step)
    }

    /// Forgets entries that have been gone for long: one that is back before is no new one, as when
    /// a disk was not mounted. Of more than a folder may have, those that were sent first.
    async fn forget_gone(&self, mut notes: Vec<Note>) -> Result<(), RouteError> {
        notes.sort_by_key(|note| note.at);
        let excess = notes.len().saturating_sub(ENTRIES);
        let mut gone: Vec<_> = notes.drain(..excess).filter(|note| note.stored).collect();
        gone.extend({
            let mut since = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            let keys: HashSet<_> = notes.iter().map(|note| note.key.as_str()).collect();
            since.retain(|key, _| keys.contains(key.as_str()));
            let now = Instant::now();
            let mut is_old = |note: &Note| {
                let at = *since.entry(note.key.clone()).or_insert(now);
                note.stored && now.duration_since(at) >= GONE
            };
            notes.into_iter().filter(|note| is_old(note)).collect::<Vec<_>>()
        });
        for note in gone {
            self.memory.forget(&note.key).await?;
        }
        Ok(())
    }

    /// The version of a tree, if it has one by now and is still there.
    pub(super) async fn version_of_tree(&self, kind: &Kind) -> Option<String> {
        self.version(kind).await.ok().flatten()
    }

    /// Returns `true` if all targets have this version of an entry.
    async fn is_delivered(&self, entry: &str, mark: &str) -> Result<bool, RouteError> {
        let mut all = true;
        for (target, _) in &*self.targets {
            let note = self.memory.last(&self.node, &self.key(target, entry)).await?;
            let Some(mut note) = note.filter(|note| note.mark == mark) else { return Ok(false) };
            // Each is noted, as the outbox forgets one before another one is delivered.
            all &= self.memory.is_delivered(&self.node, &mut note, self.spec.receipt).await?;
        }
        Ok(all)
    }

    async fn remove(&self, path: &Path, name: &str, seen: &Seen) -> Result<(), RouteError> {
        let (place, seen, shown) = (path.to_owned(), seen.clone(), path.display().to_string());
        let removed = on_a_thread(move || remove(&place, &seen)).await?;
        let removed = removed.map_err(|error| {
            RouteError::Source(format!("{shown} was delivered, and can't be removed: {error}"))
        })?;
        if removed {
            // Not before: a process that died in between would send it again.
            self.forget(name).await;
            self.tell(RouteNews::Removed { entry: name.to_owned() });
        }
        Ok(())
    }
}

/// Removes a file that was delivered; `false` if it is another version by now, which stays.
fn remove(path: &Path, seen: &Seen) -> io::Result<bool> {
    let aside = path.with_file_name(ASIDE);
    fs::create_dir(&aside).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    })?;
    let aside_as = aside.join(path.file_name().unwrap_or_default());
    // Out of everybody's sight before it is looked at for the last time.
    fs::rename(path, &aside_as)?;
    let is_same = *seen == Seen::File(mark(&fs::symlink_metadata(&aside_as)?));
    if is_same {
        fs::remove_file(&aside_as)?;
        // One that is not empty holds what could not be brought back.
        let _ = fs::remove_dir(&aside);
    } else {
        put_back(&aside_as, path)?;
    }
    Ok(is_same)
}

/// Puts a file in its place, unless another one is there: then both stay where they are.
fn put_back(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // File systems without hard links.
        Err(_) if !to.exists() => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

/// Brings back what a process that died had put aside: it is looked at again, and removed again if
/// it is still what was delivered.
fn bring_back(folder: &Path) -> io::Result<()> {
    let aside = folder.join(ASIDE);
    let entries = match fs::read_dir(&aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        put_back(&entry.path(), &folder.join(entry.file_name()))?;
    }
    fs::remove_dir(&aside)
}

/// The entry in the key of a note: it may have any character.
fn entry_of(key: &str) -> &str {
    key.splitn(3, '\n').nth(2).unwrap_or_default()
}

/// Returns `true` if an entry of this name is not meant to be sent.
pub(crate) fn is_left_alone(name: &str) -> bool {
    name.starts_with('.') || UNFINISHED.iter().any(|end| name.ends_with(end))
}

/// The entries of a folder that are meant to be sent: none whose name begins with a dot, or ends as
/// those of programs that are still writing do.
pub(super) fn entries(folder: &Path) -> io::Result<BTreeMap<String, Seen>> {
    look_into(folder).map(|(found, _)| found)
}

/// The same, and the entries that can't be sent, with the reason.
fn look_into(folder: &Path) -> io::Result<(BTreeMap<String, Seen>, Left)> {
    let (mut found, mut left) = (BTreeMap::new(), Left::new());
    let now = SystemTime::now();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if found.len() + left.len() > ENTRIES {
            return Err(io::Error::other(format!("it has more than {ENTRIES} entries")));
        }
        let name = entry.file_name();
        let shown = name.to_string_lossy();
        if is_left_alone(&shown) {
            continue;
        }
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // It has gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // A link is what it leads to.
        let kind = match metadata.is_symlink() {
            true => fs::metadata(entry.path()).map(|there| there.file_type()),
            false => Ok(metadata.file_type()),
        };
        let why = match kind {
            _ if name.to_str().is_none() => "its name is not UTF-8: give it another one",
            Ok(kind) if kind.is_file() || kind.is_dir() => {
                found.insert(shown.into_owned(), seen(&metadata, now));
                continue;
            }
            Ok(_) => "it is no file and no folder, and has no content",
            Err(_) => "it is a link to nothing, or to what can't be looked at",
        };
        left.insert(shown.into_owned(), why);
    }
    Ok((found, left))
}

/// Entries that can't be sent.
type Left = BTreeMap<String, &'static str>;

fn seen(metadata: &Metadata, now: SystemTime) -> Seen {
    if !metadata.is_file() {
        return Seen::Tree;
    }
    let at = |seconds: i64, nanoseconds: i64| {
        let seconds = Duration::from_secs(seconds.max(0).unsigned_abs());
        UNIX_EPOCH + seconds + Duration::from_nanos(nanoseconds.max(0).unsigned_abs())
    };
    let settled = |at: SystemTime| at + SETTLED <= now;
    // What was moved here has an old content and a new name.
    if settled(at(metadata.mtime(), metadata.mtime_nsec()))
        || settled(at(metadata.ctime(), metadata.ctime_nsec()))
    {
        Seen::File(mark(metadata))
    } else {
        Seen::Young
    }
}

/// Not by the device, whose number is another one after a restart of the machine.
fn mark(metadata: &Metadata) -> String {
    let (inode, length) = (metadata.ino(), metadata.len());
    format!("{inode:x}-{length:x}-{}.{}", metadata.mtime(), metadata.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn what_is_not_finished_is_left_alone() {
        let place = tempfile::tempdir().expect("a folder");
        for name in ["one", ".hidden", "two.part", "three.tmp", "four~"] {
            fs::write(place.path().join(name), name).expect("a file");
        }
        fs::create_dir(place.path().join("tree")).expect("a folder");
        let found = entries(place.path()).expect("it is listed");
        // It was written at this moment.
        assert_eq!(found.get("one"), Some(&Seen::Young));
        assert_eq!(found.get("tree"), Some(&Seen::Tree));
        assert_eq!(found.len(), 2, "{found:?}");
        let old = SystemTime::now() + SETTLED;
        let metadata = fs::metadata(place.path().join("one")).expect("it is there");
        assert_eq!(seen(&metadata, old), Seen::File(mark(&metadata)));
    }

    #[test]
    fn what_can_not_be_sent_is_told_with_the_reason() {
        let place = tempfile::tempdir().expect("a folder");
        let at = |name: &str| place.path().join(name);
        let other = std::ffi::OsStr::from_bytes(b"\xff");
        fs::write(place.path().join(other), "text").expect("a file");
        fs::write(at("one"), "text").expect("a file");
        std::os::unix::fs::symlink("nowhere", at("dangling")).expect("a link");
        std::os::unix::fs::symlink("loop", at("loop")).expect("a link");
        std::os::unix::fs::symlink("one", at("link")).expect("a link");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
        let (found, left) = look_into(place.path()).expect("it is listed");
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["link", "one"]);
        let left: Vec<_> = left.iter().map(|(name, why)| (name.as_str(), *why)).collect();
        let (names, reasons): (Vec<_>, Vec<_>) = left.into_iter().unzip();
        assert_eq!(names, ["dangling", "loop", "socket", "\u{fffd}"]);
        for (why, said) in reasons.iter().zip(["link to", "link to", "no content", "not UTF-8"]) {
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn what_has_changed_since_it_was_delivered_is_not_removed() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("reading");
        fs::write(&path, "1").expect("a file");
        let delivered = Seen::File(mark(&fs::metadata(&path).expect("it is there")));
        fs::write(&path, "1 and more").expect("a file");
        assert!(!remove(&path, &delivered).expect("it can be looked at"));
        assert_eq!(fs::read_to_string(&path).expect("it is still there"), "1 and more");
        let delivered = Seen::File(mark(&fs::metadata(&path).expect("it is there")));
        assert!(remove(&path, &delivered).expect("it can be removed"));
        assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn what_a_process_that_died_had_put_aside_comes_back() {
        let place = tempfile::tempdir().expect("a folder");
        let aside = place.path().join(ASIDE);
        fs::create_dir(&aside).expect("a folder");
        let long = "n".repeat(255);
        fs::write(aside.join(&long), "1").expect("a file");
        bring_back(place.path()).expect("it comes back");
        assert_eq!(fs::read_to_string(place.path().join(&long)).expect("it is back"), "1");
        assert!(!aside.exists());
        let seen = Seen::File(mark(&fs::metadata(place.path().join(&long)).expect("it is there")));
        assert!(remove(&place.path().join(&long), &seen).expect("however long its name is"));
    }

    #[test]
    fn an_entry_may_have_any_name() {
        assert_eq!(entry_of("post\nparis/in\nline\nbreak"), "line\nbreak");
    }
}
