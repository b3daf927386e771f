#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use super::*;

#[test]
fn a_files_name_tells_whose_it_is() {
    let (peer, transfer) = (PeerId::from_bytes([7; 32]), TransferId::from_bytes([9; 24]));
    let name = coming_name(transfer, peer);
    assert_eq!(parse(name.strip_suffix(COMING).unwrap()), Some((peer, transfer)));
    for other in ["", "-", "00-", &name] {
        assert_eq!(parse(other), None, "{other}");
    }
}

#[test]
fn what_an_attempt_works_on_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (peer, transfer) = (PeerId::from_bytes([7; 32]), TransferId::from_bytes([9; 24]));
    let ledger = ledger();
    let path = folder.path().join(coming_name(transfer, peer));
    std::fs::write(&path, [0; 10]).unwrap();
    let (stopped, spool) = (Stopped::default(), crate::node::MemoryStore::default());
    let file = File::open(&path).unwrap();
    let room =
        Room::take(&ledger.account(peer), RelayQuota { packages: 1, bytes: 50 }, 40).unwrap();
    stopped.put((peer, transfer), path.clone(), &file, room);
    assert_eq!(ledger.total(Kind::PackageBytes), 10, "what did not come takes no room");
    file.lock().unwrap();
    assert!(!stopped.drop_oldest(peer, &spool) && path.exists());
    drop(file);
    assert!(stopped.drop_oldest(peer, &spool) && !path.exists());
    assert_eq!((ledger.total(Kind::PackageBytes), ledger.total(Kind::Packages)), (0, 0));
}

#[test]
fn a_file_that_somebody_has_removed_gives_its_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let (peer, transfer) = (PeerId::from_bytes([7; 32]), TransferId::from_bytes([9; 24]));
    let ledger = ledger();
    let path = folder.path().join(coming_name(transfer, peer));
    std::fs::write(&path, [0; 10]).unwrap();
    let (stopped, spool) = (Stopped::default(), crate::node::MemoryStore::default());
    let room = Room::of(&ledger.account(peer), 10, 1);
    stopped.put((peer, transfer), path.clone(), &File::open(&path).unwrap(), room);
    std::fs::remove_file(path).unwrap();
    assert!(stopped.drop_oldest(peer, &spool));
    assert_eq!((ledger.total(Kind::PackageBytes), ledger.total(Kind::Packages)), (0, 0));
}

#[test]
fn a_room_grows_to_what_its_quota_allows_and_no_further() {
    let ledger = ledger();
    let account = ledger.account(PeerId::from_bytes([7; 32]));
    let quota = RelayQuota { packages: 1, bytes: 50 };
    let mut room = Room::take(&account, quota, 40).unwrap();
    // No less than it is, and by what is lacking alone.
    for bytes in [30, 40, 50] {
        room.grow_to(bytes, quota).unwrap();
    }
    assert_eq!((room.bytes(), account.held(Kind::PackageBytes)), (50, 50));
    assert!(room.grow_to(51, quota).is_err() && room.bytes() == 50);
    assert!(Room::take(&account, quota, 0).is_err(), "one package is the most");
}

fn ledger() -> Ledger {
    let bound = super::super::ledger::Bound { share: 100, total: 100 };
    let rate = super::super::ledger::Rate { burst: 1, per_second: 1 };
    Ledger::new([bound; super::super::ledger::KINDS], [rate; 2])
}

/// As an earlier node of the same process does, which is about to end.
#[test]
fn a_file_that_goes_while_it_is_looked_for_is_passed_by() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Foldered(crate::node::MemoryStore::default(), folder.path().to_owned());
    let (peer, transfer) = (PeerId::from_bytes([7; 32]), TransferId::from_bytes([9; 24]));
    let note = 1000_u64.to_le_bytes();
    spool.put(Journal::TABLE, &delivery_key(peer, transfer), &note).unwrap();
    // Its name is there, and it is not.
    let path = folder.path().join(coming_name(transfer, peer));
    std::os::unix::fs::symlink(folder.path().join("gone"), path).unwrap();
    let (stopped, ledger) = (Stopped::default(), ledger());
    stopped.take_up(&spool, &ledger, Journal::expires(&note) - 1).unwrap();
    assert_eq!((stopped.keys().len(), ledger.total(Kind::Packages)), (0, 0));
}

/// A spool with a folder, and with no more.
#[derive(Debug)]
struct Foldered(crate::node::MemoryStore, PathBuf);

impl Store for Foldered {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.0.load(table)
    }
    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.0.put(table, key, value)
    }
    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.0.remove(table, key)
    }
    fn folder(&self) -> Option<&Path> {
        Some(&self.1)
    }
}

#[test]
fn what_an_earlier_process_left_is_charged_and_goes_the_oldest_first_with_its_note() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Foldered(crate::node::MemoryStore::default(), folder.path().to_owned());
    let bound = super::super::ledger::Bound { share: 10, total: 10 };
    let rate = super::super::ledger::Rate { burst: 1, per_second: 1 };
    let ledger = Ledger::new([bound; super::super::ledger::KINDS], [rate; 2]);
    let peer = PeerId::from_bytes([7; 32]);
    let transfers = [3, 1, 2].map(|number| TransferId::from_bytes([number; 24]));
    let path = |transfer| folder.path().join(coming_name(transfer, peer));
    let note = 1000_u64.to_le_bytes();
    for transfer in transfers {
        std::fs::write(path(transfer), [0; 30]).unwrap();
        spool.put(Journal::TABLE, &delivery_key(peer, transfer), &note).unwrap();
    }
    let stopped = Stopped::default();
    stopped.take_up(&spool, &ledger, Journal::expires(&note) - 1).unwrap();
    assert_eq!(
        (ledger.account(peer).held(Kind::PackageBytes), ledger.total(Kind::Packages)),
        (90, 3),
        "however much it may have"
    );
    // Two come again, and stop again.
    for transfer in [transfers[0], transfers[2]] {
        let room = stopped.take(peer, transfer).unwrap().room;
        stopped.put((peer, transfer), path(transfer), &File::open(path(transfer)).unwrap(), room);
    }
    for (nth, transfer) in [transfers[1], transfers[0], transfers[2]].into_iter().enumerate() {
        assert!(stopped.drop_oldest(peer, &spool) && !path(transfer).exists());
        let left = 2 - nth;
        assert_eq!(
            (ledger.total(Kind::PackageBytes), ledger.total(Kind::Packages)),
            (30 * left as u64, left as u64)
        );
        assert_eq!(spool.load(Journal::TABLE).unwrap().len(), left, "its note goes with it");
    }
    assert!(!stopped.drop_oldest(peer, &spool));
}

#[test]
fn who_waited_for_a_package_that_was_finished_gets_a_new_file_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("package.coming");
    let first = hold(&path).unwrap().unwrap();
    // It has the file open before the first one is done with it, as a second attempt would.
    let early = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let waiting = std::thread::spawn({
        let path = path.clone();
        move || hold(&path).unwrap().unwrap()
    });
    assert!(early.try_lock().is_err());
    std::fs::remove_file(&path).unwrap();
    drop(first);
    let second = waiting.join().unwrap();
    let named = std::fs::metadata(&path).unwrap();
    assert_eq!(named.ino(), second.metadata().unwrap().ino());
    assert_ne!(named.ino(), early.metadata().unwrap().ino());
}

#[test]
fn by_default_a_small_disk_keeps_a_share_free_and_what_was_configured_is_kept() {
    let kept = |of: u64, configured: u64| Available { bytes: 0, of }.kept_free(configured);
    assert_eq!(kept(64 << 20, SPOOL_FREE), (64 << 20) / 20);
    assert_eq!(kept(2 << 30, SPOOL_FREE), 64 << 20);
    assert_eq!((kept(64 << 20, 32 << 20), kept(64 << 20, 1 << 30)), (32 << 20, 1 << 30));
}
