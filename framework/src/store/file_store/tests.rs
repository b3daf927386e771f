//! The store in a folder.

use super::*;

fn store() -> (tempfile::TempDir, FileStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::open(folder.path().join("deep/store")).unwrap();
    (folder, store)
}

#[test]
fn records_outlive_the_store() {
    let (_folder, store) = store();
    store.put("peers", b"a", b"1").unwrap();
    store.put("peers", b"a", b"2").unwrap();
    store.put("peers", b"b", b"").unwrap();
    store.put("tickets", b"a", b"3").unwrap();
    store.remove("peers", b"b").unwrap();
    store.remove("peers", b"never there").unwrap();
    let again = FileStore::open(store.folder()).unwrap();
    assert_eq!(again.load("peers").unwrap(), [(b"a".to_vec(), b"2".to_vec())]);
    assert_eq!(again.load("tickets").unwrap(), [(b"a".to_vec(), b"3".to_vec())]);
    assert_eq!(again.load("empty").unwrap(), []);
    assert_eq!(again.find("peers", b"a").unwrap(), Some(b"2".to_vec()));
    assert_eq!(again.find("peers", b"b").unwrap(), None);
    fs::write(again.folder().join("tickets").join(HEX.encode(b"a")), "garbage").unwrap();
    assert_eq!(again.find("tickets", b"a").unwrap(), None, "it is set aside");
}

#[test]
fn a_change_is_noticed_by_another_process() {
    let (_folder, store) = store();
    let other = FileStore::open(store.folder()).unwrap();
    let mut seen = vec![other.version().unwrap()];
    store.put("peers", b"a", b"1").unwrap();
    seen.push(other.version().unwrap());
    store.remove("peers", b"a").unwrap();
    seen.push(other.version().unwrap());
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_damaged_record_is_set_aside_and_the_others_stay() {
    let (_folder, store) = store();
    for key in [b"a", b"b", b"c"] {
        store.put("peers", key, key).unwrap();
    }
    let place = |key: &[u8]| store.folder().join("peers").join(HEX.encode(key));
    fs::write(place(b"a"), "garbage").unwrap();
    // A record in the place of another one is no record.
    fs::copy(place(b"c"), place(b"b")).unwrap();
    assert_eq!(store.load("peers").unwrap(), [(b"c".to_vec(), b"c".to_vec())]);
    assert!(
        place(b"a").with_extension("damaged").exists()
            && place(b"b").with_extension("damaged").exists()
    );
    assert_eq!(store.load("peers").unwrap().len(), 1);
}

#[test]
fn a_table_that_vanished_is_not_empty() {
    let (_folder, store) = store();
    assert_eq!(store.load("peers").unwrap(), []);
    store.put("peers", b"a", b"1").unwrap();
    fs::rename(store.folder().join("peers"), store.folder().join("aside")).unwrap();
    assert!(store.load("peers").is_err());
    fs::remove_dir_all(store.folder()).unwrap();
    assert!(store.load("never").is_err(), "nor is a store");
}

#[test]
fn what_is_damaged_again_is_set_aside_beside_the_first() {
    let (_folder, store) = store();
    for content in ["one", "two"] {
        store.put("peers", b"a", b"1").unwrap();
        fs::write(store.folder().join("peers").join(HEX.encode(b"a")), content).unwrap();
        assert_eq!(store.load("peers").unwrap(), []);
    }
    let place = store.folder().join("peers").join(HEX.encode(b"a"));
    assert_eq!(fs::read(place.with_extension("damaged")).unwrap(), b"one");
    assert_eq!(fs::read(place.with_extension("2.damaged")).unwrap(), b"two");
}

#[test]
fn the_lock_is_free_again_when_it_is_dropped() {
    let (_folder, store) = store();
    let held = store.hold().unwrap();
    assert!(matches!(
        File::open(store.folder().join("lock")).unwrap().try_lock(),
        Err(TryLockError::WouldBlock)
    ));
    drop(held);
    drop(store.hold().unwrap());
}

#[test]
fn strange_tables_and_keys_are_refused() {
    let (_folder, store) = store();
    for (table, key) in [("../peers", &b"a"[..]), ("", b"a"), ("peers", b""), ("peers", &[0; 65])] {
        assert_eq!(store.put(table, key, b"").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(
        store.put("peers", b"a", &vec![0; FileStore::VALUE_LIMIT + 1]).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn keys_are_those_of_all_records_without_their_values() {
    let (_folder, store) = store();
    assert_eq!(store.keys("peers").unwrap(), Vec::<Vec<u8>>::new());
    for key in [b"c", b"a", b"b"] {
        store.put("peers", key, key).unwrap();
    }
    store.remove("peers", b"b").unwrap();
    fs::write(store.folder().join("peers").join(HEX.encode(b"c")), "garbage").unwrap();
    assert_eq!(store.keys("peers").unwrap(), [b"a".to_vec(), b"c".to_vec()]);
    assert!(store.free().is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn a_record_is_removed_where_the_disk_is_full() {
    let (_folder, store) = store();
    store.put("peers", b"a", b"1").unwrap();
    let version = store.version().unwrap();
    // What is written there fails as on a disk that is full.
    std::os::unix::fs::symlink("/dev/full", store.folder().join("version.new")).unwrap();
    store.remove("peers", b"a").unwrap();
    assert_ne!(store.version().unwrap(), version, "others notice");
    assert_eq!(store.load("peers").unwrap(), []);
}

#[cfg(target_os = "linux")]
#[test]
fn the_first_record_on_a_full_disk_fails_with_that_and_its_file() {
    let (_folder, store) = store();
    std::os::unix::fs::symlink("/dev/full", store.folder().join("version.new")).unwrap();
    let error = store.put("peers", b"a", b"1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(error.to_string().contains("version.new: No space left"), "{error}");
    // The record itself has no room.
    fs::remove_file(store.folder().join("version.new")).unwrap();
    store.put("peers", b"a", b"1").unwrap();
    let new = store.folder().join("peers").join(HEX.encode(b"a")).with_extension("new");
    std::os::unix::fs::symlink("/dev/full", &new).unwrap();
    let error = store.put("peers", b"a", b"2").unwrap_err();
    assert!(error.to_string().contains(&format!("{}: No space", new.display())), "{error}");
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, store) = store();
    store.put("peers", b"a", b"1").unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(store.folder().to_path_buf()), 0o700);
    assert_eq!(mode(store.folder().join("peers").join(HEX.encode(b"a"))), 0o600);
}
