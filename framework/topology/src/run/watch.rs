//! Folders that are watched: a route that has nothing to do is told when something happens in one,
//! and does not look meanwhile.
//!
//! Invariant: what is told is a hint. Not all that happens is told (a file that is mapped into
//! memory, or has a second name elsewhere), so whoever is told nothing looks now and then all the
//! same.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::statfs;
use tokio::sync::watch;

/// The file systems of this machine alone, by their magic numbers: what another machine does in one
/// that is shared is told to nobody here, nor what is done below an overlay. In their order: ext2 to
/// 4, XFS, Btrfs, tmpfs, F2FS, ZFS, bcachefs, FAT, exFAT.
const LOCAL: [u32; 9] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0x0102_1994,
    0xF2F5_2010,
    0x2FC1_2FC1,
    0xCA45_1A4E,
    0x4D44,
    0x2011_BAB0,
];

/// The events of a folder that are told: all that may make an entry another one.
const WANTED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// The time for which what happens is gathered before it is told: a file that is written makes
/// thousands of events in a second.
const GATHERED: Duration = Duration::from_millis(100);

/// All watched folders of one node. Where the system gives none, nothing is watched.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    inotify: OwnedFd,
    told: Mutex<Told>,
}

/// Those who are told, by the number of their folder; none when nothing is told any more.
type Told = Option<HashMap<i32, watch::Sender<()>>>;

/// Tells what happens until it is dropped.
#[derive(Debug)]
pub(super) struct Following(#[allow(dead_code, reason = "closed by its drop")] UnixStream);

/// A folder that is watched until this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    inner: Arc<Inner>,
    number: i32,
    told: watch::Receiver<()>,
}

impl Watches {
    pub(super) fn new() -> Self {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let inotify = inotify.inspect_err(|error| tracing::debug!(%error, "nothing is watched"));
        Self(
            inotify
                .ok()
                .map(|inotify| Arc::new(Inner { inotify, told: Mutex::new(Some(HashMap::new())) })),
        )
    }

    /// Watches a folder; none where that can't be, or would not tell all. What was `watched` before
    /// goes on, if it is the same one. What happens from here on is told.
    pub(super) fn watch(&self, folder: &Path, watched: Option<Watch>) -> Option<Watch> {
        let inner = self.0.as_ref()?;
        let is_local = statfs(folder).is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)));
        // A folder is watched, and not its path: that leads elsewhere as soon as a link does.
        if !is_local || folder.ancestors().any(Path::is_symlink) {
            return None;
        }
        let mut told = inner.told();
        let all = told.as_mut()?;
        let number = inotify::add_watch(&inner.inotify, folder, WANTED).ok()?;
        let sender = all.entry(number).or_default();
        match watched {
            Some(mut watched) if watched.number == number && watched.told.has_changed().is_ok() => {
                watched.told.mark_unchanged();
                Some(watched)
            }
            other => {
                let told_now = sender.subscribe();
                drop(told);
                // This has the lock when it ends.
                drop(other);
                Some(Watch { inner: Arc::clone(inner), number, told: told_now })
            }
        }
    }

    #[cfg(test)]
    pub(super) fn tell(&self) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |inner| inner.tell())
    }

    /// Tells what happens, on a thread of its own, until what is returned is dropped.
    pub(super) fn follow(&self) -> io::Result<Following> {
        let (open, ends) = UnixStream::pair()?;
        let watches = self.clone();
        std::thread::Builder::new().name("estafette-watch".into()).spawn(move || {
            let Some(inner) = watches.0 else { return };
            if let Err(error) = inner.follow(&ends) {
                // From here on each looks by itself.
                tracing::warn!(%error, "folders are not watched any more");
                *inner.told() = None;
            }
        })?;
        Ok(Following(open))
    }
}

impl Inner {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what happens until the other side of `ends` is closed.
    fn follow(&self, ends: &UnixStream) -> io::Result<()> {
        loop {
            let mut ready =
                [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(ends, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut ready, None))?;
            if !ready[1].revents().is_empty() {
                return Ok(());
            }
            self.tell()?;
            std::thread::sleep(GATHERED);
        }
    }

    /// Tells all that has happened.
    fn tell(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match events.next() {
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                event => event?,
            };
            let mut told = self.told();
            let Some(told) = told.as_mut() else { return Ok(()) };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                told.values().for_each(|sender| sender.send_replace(()));
            } else if event.events().contains(ReadFlags::IGNORED) {
                // The folder is gone: whoever waits hears that nobody tells any more.
                told.remove(&event.wd());
            } else if let Some(sender) = told.get(&event.wd()) {
                sender.send_replace(());
            }
        }
    }
}

impl Watch {
    /// Waits until something has happened since the folder was last watched.
    pub(super) async fn happens(&mut self) {
        // An error is the end of the folder, which is something, too.
        let _ = self.told.changed().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut told = self.inner.told();
        let Some(told) = told.as_mut() else { return };
        if told.get(&self.number).is_some_and(|sender| sender.receiver_count() == 1) {
            told.remove(&self.number);
            // One that is gone was removed by the system.
            let _ = inotify::remove_watch(&self.inner.inotify, self.number);
        }
    }
}

/// A folder of which all that happens is told; none where this machine has none to give.
#[cfg(test)]
#[allow(clippy::print_stderr, reason = "a test that is left out is told")]
pub(super) fn folder_that_tells() -> Option<(tempfile::TempDir, Watches)> {
    let watches = Watches::new();
    let mut folders = [tempfile::tempdir().ok(), tempfile::tempdir_in("/dev/shm").ok()].into_iter();
    let found = folders.find_map(|folder| {
        let folder = folder?;
        watches.watch(folder.path(), None)?;
        Some(folder)
    });
    if found.is_none() {
        eprintln!("LEFT OUT: neither the folder of temporary files nor /dev/shm can be watched");
    }
    Some((found?, watches))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::fs;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn what_happens_to_an_entry_is_told_to_all_who_watch_its_folder() {
        let Some((folder, watches)) = folder_that_tells() else { return };
        let mut both = [(); 2].map(|()| watches.watch(folder.path(), None).unwrap());
        let _follows = watches.follow().unwrap();
        let (file, other) = (folder.path().join("a"), folder.path().join("b"));
        for what in ["created", "written", "renamed", "removed"] {
            match what {
                "created" => drop(fs::File::create(&file).unwrap()),
                "written" => fs::write(&file, "text").unwrap(),
                "renamed" => fs::rename(&file, &other).unwrap(),
                _ => fs::remove_file(&other).unwrap(),
            }
            for watch in &mut both {
                watch.happens().await;
            }
        }
    }

    #[tokio::test]
    async fn what_had_happened_before_it_was_watched_again_is_not_told() {
        let Some((folder, watches)) = folder_that_tells() else { return };
        let watch = watches.watch(folder.path(), None).unwrap();
        let inner = Arc::clone(&watch.inner);
        fs::write(folder.path().join("a"), "text").unwrap();
        inner.tell().unwrap();
        let mut watch = watches.watch(folder.path(), Some(watch)).unwrap();
        assert!(poll!(Box::pin(watch.happens())).is_pending());
        fs::write(folder.path().join("a"), "other text").unwrap();
        inner.tell().unwrap();
        watch.happens().await;
    }

    #[tokio::test]
    async fn the_end_of_a_folder_is_told_and_another_one_of_its_name_is_watched_anew() {
        let Some((folder, watches)) = folder_that_tells() else { return };
        let place = folder.path().join("out");
        fs::create_dir(&place).unwrap();
        let mut watch = watches.watch(&place, None).unwrap();
        fs::remove_dir(&place).unwrap();
        watch.inner.tell().unwrap();
        watch.happens().await;
        assert!(watches.watch(&place, None).is_none());
        fs::create_dir(&place).unwrap();
        let mut watch = watches.watch(&place, Some(watch)).unwrap();
        fs::write(place.join("a"), "text").unwrap();
        watch.inner.tell().unwrap();
        watch.happens().await;
    }

    #[test]
    fn a_folder_to_which_a_link_leads_is_not_watched() {
        let Some((folder, watches)) = folder_that_tells() else { return };
        let (place, link) = (folder.path().join("place"), folder.path().join("link"));
        fs::create_dir_all(place.join("out")).unwrap();
        std::os::unix::fs::symlink(&place, &link).unwrap();
        assert!(watches.watch(&place.join("out"), None).is_some());
        assert!(watches.watch(&link.join("out"), None).is_none());
        assert!(watches.watch(&link, None).is_none());
    }

    #[test]
    fn a_folder_that_nobody_watches_any_more_is_left_alone() {
        let Some((folder, watches)) = folder_that_tells() else { return };
        let (one, other) = (watches.watch(folder.path(), None), watches.watch(folder.path(), None));
        let inner = Arc::clone(&one.as_ref().unwrap().inner);
        drop(one);
        assert_eq!(inner.told().as_ref().unwrap().len(), 1);
        drop(other);
        assert!(inner.told().as_ref().unwrap().is_empty());
    }
}
