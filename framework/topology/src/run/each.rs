//! A folder each of whose entries is a delivery.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use estafette::node::OutboxState;

use super::RouteNews;
use super::queue::{Given, Load};
use super::route::{LOOK_AGAIN, QUIET, Route, RouteError, hex, on_a_thread};
use crate::model::{Deliver, EachSpec, Kind, Then};

/// The most entries of one folder.
const ENTRIES: usize = 100_000;
/// The age from which on a file can't change without a trace, where clocks tick in milliseconds.
const SETTLED: Duration = Duration::from_secs(2);
/// The ends of names that programs give to what they are still writing.
const UNFINISHED: [&str; 4] = [".part", ".tmp", ".partial", "~"];

/// What an entry is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A file; what tells this version of it from any other.
    File(String),
    /// A folder or a link, which has to be looked through.
    Tree,
    /// A file that may be written to at this moment.
    Young,
}

impl Route {
    /// Sends each entry that is new, and looks after those that were delivered.
    pub(super) async fn look_at_each(
        &self,
        each: &EachSpec,
    ) -> Result<Option<Duration>, RouteError> {
        let folder = self.places.at(&each.folder);
        let listed = on_a_thread({
            let folder = folder.clone();
            move || entries(&folder)
        });
        let entries = listed.await?.map_err(|error| {
            RouteError::Source(format!("{} can't be read: {error}", folder.display()))
        })?;
        let mut notes = self.memory.beginning(&format!("{}\n", self.name));
        let mut load = match self.spec.deliver {
            Deliver::One => self.load(&notes).await,
            Deliver::All => Load::new(),
        };
        let mut busy = false;
        for (name, seen) in &entries {
            let path = folder.join(name);
            let Some(kind) = path.to_str().map(Kind::path) else { continue };
            let mark = match seen {
                Seen::File(mark) => Some(mark.clone()),
                Seen::Tree => self.version(&kind).await?,
                Seen::Young => None,
            };
            let Some(mark) = mark else {
                busy = true;
                continue;
            };
            let done = if self.spec.deliver == Deliver::One {
                let given = self.give_to_one(name, &mark, &kind, &mut load).await?;
                busy |= given != Given::Done;
                given == Given::Done
            } else {
                busy |= self.send_to_all(name, &mark, || self.source(&kind)).await?;
                each.then == Then::Remove && self.is_delivered(name, &mark).await?
            };
            busy |= each.then == Then::Remove;
            if done && each.then == Then::Remove {
                self.remove(&path, name, seen).await?;
            }
        }
        notes
            .retain(|note| !entries.contains_key(note.key.rsplit('\n').next().unwrap_or_default()));
        for gone in notes.into_iter().filter(|note| note.stored) {
            self.memory.forget(&gone.key).await?;
        }
        Ok(Some(if busy { LOOK_AGAIN } else { QUIET }))
    }

    /// The version of a tree, if it has one by now and is still there.
    async fn version(&self, kind: &Kind) -> Result<Option<String>, RouteError> {
        let Ok(source) = self.source(kind).await else { return Ok(None) };
        let version = on_a_thread(move || {
            let _ = source.content();
            source.version()
        });
        Ok(version.await?.map(|version| hex(&version)))
    }

    /// Whether all targets have this version of an entry.
    async fn is_delivered(&self, entry: &str, mark: &str) -> Result<bool, RouteError> {
        for (target, _) in &*self.targets {
            let note = self.memory.last(&self.node, &self.key(target, entry)).await?;
            let Some(note) = note.filter(|note| note.mark == mark) else { return Ok(false) };
            let held = self.node.outbox_entry(note.id).await;
            let delivered = held.is_ok_and(|held| {
                matches!(held.state, OutboxState::Delivered { .. } | OutboxState::Processed { .. })
            });
            if !delivered {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn remove(&self, path: &Path, name: &str, seen: &Seen) -> Result<(), RouteError> {
        let (place, seen, shown) = (path.to_owned(), seen.clone(), path.display().to_string());
        let removed = on_a_thread(move || remove(&place, &seen)).await?;
        let removed = removed.map_err(|error| {
            RouteError::Source(format!("{shown} was delivered, and can't be removed: {error}"))
        })?;
        if removed {
            self.tell(RouteNews::Removed { entry: name.to_owned() });
        }
        Ok(())
    }
}

/// Removes what was delivered; `false` if it is another version by now, which stays.
fn remove(path: &Path, seen: &Seen) -> io::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Out of everybody's sight before it is looked at for the last time.
    let aside = path.with_file_name(format!(".{name}.delivered"));
    fs::rename(path, &aside)?;
    let metadata = fs::symlink_metadata(&aside)?;
    if metadata.is_dir() {
        fs::remove_dir_all(&aside)?;
    } else if *seen == Seen::Tree || *seen == Seen::File(mark(&metadata)) {
        fs::remove_file(&aside)?;
    } else {
        // Back, unless somebody has put another one there: then it keeps its name beside it.
        if !path.exists() {
            fs::rename(&aside, path)?;
        }
        return Ok(false);
    }
    Ok(true)
}

/// The entries of a folder that are meant to be sent: none whose name begins with a dot, or ends as
/// those of programs that are still writing do.
pub(super) fn entries(folder: &Path) -> io::Result<BTreeMap<String, Seen>> {
    let mut found = BTreeMap::new();
    let now = SystemTime::now();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with('.') || UNFINISHED.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => drop(found.insert(name.to_owned(), seen(&metadata, now))),
            // It has gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if found.len() > ENTRIES {
            return Err(io::Error::other(format!("it has more than {ENTRIES} entries")));
        }
    }
    Ok(found)
}

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

fn mark(metadata: &Metadata) -> String {
    let (device, inode, length) = (metadata.dev(), metadata.ino(), metadata.len());
    format!("{device:x}-{inode:x}-{length:x}-{}.{}", metadata.mtime(), metadata.mtime_nsec())
}

#[cfg(test)]
mod tests {
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
}
