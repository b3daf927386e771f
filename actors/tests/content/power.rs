//! Whatever a loss of power leaves of a folder's file system: nothing is kept there that no note
//! tells of, and a delivery is made once.
//!
//! A real file system on an image: a copy of the image is what the disk has when the power goes.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use estafette::node::{MemoryStore, Store};
use estafette::pipeline::{Inbox, Journal, Offer, Sink};
use estafette_actors::sink::{FileSink, Folder, OnConflict};
use tempfile::{TempDir, tempdir};

use crate::commit::{file, tree};
use crate::durable::{CHUNK, Delivery};
use crate::harness::{block_on, names};
use crate::mounts::Mounted;

type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// The state of a disk at one moment, and of the spool on another disk.
struct Cut {
    image: TempDir,
    records: Records,
}

/// A spool at each of whose changes the power may go, just before and just after.
struct Spool {
    records: MemoryStore,
    disk: Arc<Mounted>,
    cuts: Mutex<Vec<Cut>>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").finish_non_exhaustive()
    }
}

impl Spool {
    fn cut(&self) {
        let image = tempdir().unwrap();
        fs::copy(self.disk.image().unwrap(), image.path().join("image")).unwrap();
        self.cuts.lock().unwrap().push(Cut { image, records: self.records.load(PARTIAL).unwrap() });
    }

    fn change(&self, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.cut();
        change()?;
        self.cut();
        Ok(())
    }
}

impl Store for Spool {
    fn load(&self, table: &str) -> io::Result<Records> {
        self.records.load(table)
    }

    fn find(&self, table: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.records.find(table, key)
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.change(|| self.records.put(table, key, value))
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.change(|| self.records.remove(table, key))
    }
}

/// The table of notes, and the key of the one.
const PARTIAL: &str = "partial";
const KEY: &[u8] = b"lyon's";

fn offer(delivery: &Delivery, spool: &Arc<dyn Store>) -> Offer {
    let journal = Journal::for_tests(Arc::clone(spool), KEY, Some([1; 32]), CHUNK).unwrap();
    Offer { journal: Some(journal), ..delivery.offer() }
}

fn inbox(folder: &Path) -> Folder {
    FileSink::into_dir(folder).on_conflict(OnConflict::Replace).keep_free(0)
}

/// Writes what is not there, with a checkpoint half way.
fn write(delivery: &Delivery, sink: &mut dyn Sink) {
    let (from, all) = (delivery.held(sink).unwrap(), delivery.chunks());
    let half = from + (all - from) / 2;
    delivery.write(sink, from..half).unwrap();
    delivery.checkpoint(sink, half).unwrap();
    delivery.write(sink, half..all).unwrap();
}

/// An attempt that commits, or is given up; the note is forgotten when it is remembered how it
/// ended.
fn attempt(delivery: &Delivery, folder: &Path, spool: &Arc<dyn Store>, commits: bool) {
    let mut sink = inbox(folder).open(&offer(delivery, spool)).unwrap();
    if delivery.held(&*sink).is_some() {
        write(delivery, &mut *sink);
        if commits {
            block_on(sink.commit(&delivery.summary())).unwrap();
        } else {
            sink.abort("nobody wants it");
        }
    }
    drop(sink);
    spool.remove(PARTIAL, KEY).unwrap();
}

/// All that may be there is what a note tells of, and what goes with its process.
fn check_kept(folder: &Path, records: &Records, what: &str) {
    let kept = names(folder)
        .into_iter()
        .filter(|name| name.ends_with(".keep") || name.ends_with(".whole"));
    for name in kept {
        let stem = name.rsplit_once('.').unwrap().0.as_bytes().to_vec();
        let is_noted =
            records.iter().any(|(_, note)| note.windows(stem.len()).any(|part| part == stem));
        assert!(is_noted, "{what}: {name} came back, and no note tells of it");
    }
}

fn check(delivery: &Delivery, cut: &Cut, commits: bool, is_over: bool, what: &str) {
    let Some(disk) = Mounted::image_at(&cut.image.path().join("image")) else {
        panic!("{what}: it can't be mounted again")
    };
    check_kept(disk.path(), &cut.records, what);
    let spool = Arc::new(MemoryStore::default());
    cut.records.iter().for_each(|(key, note)| spool.put(PARTIAL, key, note).unwrap());
    let spool: Arc<dyn Store> = spool;
    inbox(disk.path()).prepare().unwrap();
    check_kept(disk.path(), &cut.records, what);
    if !is_over || !commits {
        // The sender has heard nothing, and sends it again.
        attempt(delivery, disk.path(), &spool, true);
    }
    assert_eq!(names(disk.path()), ["content", "lost+found"], "{what}");
    match fs::read(disk.path().join("content")) {
        Ok(content) => assert!(content == delivery.bytes, "{what}"),
        Err(_) => assert_eq!(
            fs::read(disk.path().join("content/deep/c")).unwrap(),
            vec![3; 3000],
            "{what}"
        ),
    }
}

#[test]
fn no_loss_of_power_brings_anything_back_or_takes_anything_away() {
    for (delivery, is_tree) in [(file(), false), (tree(), true)] {
        for commits in [true, false] {
            let Some(disk) = Mounted::ext4() else { return };
            let disk = Arc::new(disk);
            if is_tree && commits {
                fs::create_dir(disk.path().join("content")).unwrap();
                fs::write(disk.path().join("content/old"), "old").unwrap();
            }
            rustix::fs::sync();
            let spool = Arc::new(Spool {
                records: MemoryStore::default(),
                disk: Arc::clone(&disk),
                cuts: Mutex::default(),
            });
            let store: Arc<dyn Store> = spool.clone();
            attempt(&delivery, disk.path(), &store, commits);
            let cuts = std::mem::take(&mut *spool.cuts.lock().unwrap());
            assert!(
                cuts.len() >= 8,
                "a note, a checkpoint, an intent or the end of it, the memory of it: {}",
                cuts.len()
            );
            for (number, cut) in cuts.iter().enumerate() {
                let what = format!(
                    "tree {is_tree}, commits {commits}, power cut {number} of {}",
                    cuts.len()
                );
                check(&delivery, cut, commits, cut.records.is_empty() && number > 0, &what);
            }
        }
    }
}
