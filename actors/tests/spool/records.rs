//! Records are kept, together or not at all, and never by more than one process.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use estafette::node::{Change, Store};
use estafette_actors::spool::Spool;
use futures_util::future::join_all;

fn put(table: &'static str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Change {
    Change::Put { table, key: key.as_ref().to_vec(), value: value.as_ref().to_vec() }
}

#[test]
fn records_outlive_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path().join("spool")).unwrap();
    let largest = vec![7; Spool::VALUE_LIMIT];
    spool.put("peers", b"a", b"1").unwrap();
    spool.put("peers", b"a", b"2").unwrap();
    spool.put("peers", b"b", b"").unwrap();
    spool.put("peer", b"sa", b"another table").unwrap();
    spool.put("bulk", &[0xff; Spool::KEY_LIMIT], &largest).unwrap();
    spool.put("peers", b"gone", b"").unwrap();
    spool.remove("peers", b"gone").unwrap();
    spool.remove("peers", b"never there").unwrap();
    drop(spool);
    let spool = Spool::open(folder.path().join("spool")).unwrap();
    assert_eq!(spool.load("peers").unwrap(), [(b"a".to_vec(), b"2".to_vec()), (b"b".to_vec(), Vec::new())]);
    assert_eq!(spool.load("peer").unwrap(), [(b"sa".to_vec(), b"another table".to_vec())]);
    assert_eq!(spool.load("empty").unwrap(), []);
    assert_eq!(spool.find("bulk", &[0xff; Spool::KEY_LIMIT]).unwrap(), Some(largest));
    assert_eq!(spool.find("peers", b"gone").unwrap(), None);
    assert_eq!(spool.damaged().unwrap(), []);
}

#[test]
fn a_write_is_made_in_order_and_refused_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    let remove = |key: &[u8]| Change::Remove { table: "a", key: key.to_vec() };
    spool.write(vec![put("a", "1", "x"), remove(b"1"), put("a", "2", "x"), put("a", "2", "y")]).unwrap();
    assert_eq!(spool.load("a").unwrap(), [(b"2".to_vec(), b"y".to_vec())]);
    for bad in [put("A", "3", ""), put("a", "", ""), put("a", "3", vec![0; Spool::VALUE_LIMIT + 1]), put("a", [0; 257], "")] {
        let error = spool.write(vec![put("a", "4", "x"), bad]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    let too_much = (0..65_u8).map(|key| put("a", [key], vec![0; Spool::VALUE_LIMIT])).collect();
    assert_eq!(spool.write(too_much).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(spool.load("a").unwrap().len(), 1);
}

#[test]
fn the_version_is_another_one_after_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    let mut seen = vec![spool.version().unwrap()];
    spool.put("a", b"1", b"").unwrap();
    seen.push(spool.version().unwrap());
    spool.remove("a", b"1").unwrap();
    seen.push(spool.version().unwrap());
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[test]
fn many_threads_share_commits() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    let (threads, each) = (16_u8, 50_u8);
    let start = Barrier::new(threads.into());
    thread::scope(|scope| {
        for thread in 0..threads {
            let (spool, start) = (&spool, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..each {
                    spool.put("a", &[thread, number], &[number]).unwrap();
                    assert_eq!(spool.find("a", &[thread, number]).unwrap(), Some(vec![number]));
                }
            });
        }
    });
    let writes = u128::from(threads) * u128::from(each);
    assert_eq!(spool.load("a").unwrap().len() as u128, writes);
    assert!(spool.version().unwrap() < writes, "no two writes have shared a commit");
}

#[test]
fn writes_in_flight_share_a_commit_and_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    let writes: Vec<_> = (0..5_000_u32).map(|number| spool.write_later(vec![put("a", "last", number.to_le_bytes())])).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcomes = runtime.block_on(async {
        let outcomes = join_all(writes).await;
        // Blocking is right in a thread of a runtime, too.
        spool.put("a", b"blocking", b"").unwrap();
        outcomes
    });
    assert!(outcomes.into_iter().all(|outcome| outcome.is_ok()));
    assert_eq!(spool.find("a", b"last").unwrap(), Some(4_999_u32.to_le_bytes().to_vec()));
    assert!(spool.version().unwrap() < 1_000);
}

#[test]
fn what_waits_is_bounded_and_written_before_the_spool_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    let mut accepted = 0_u32;
    let refused = loop {
        let write = vec![put("a", accepted.to_le_bytes(), vec![0; 900_000])];
        // Who forgets the future has made the write all the same.
        match futures_util::FutureExt::now_or_never(spool.write_later(write)) {
            Some(Err(error)) => break error,
            _ => accepted += 1,
        }
        assert!(accepted < 10_000, "more than 64 MiB wait");
    };
    assert_eq!(refused.kind(), ErrorKind::WouldBlock, "{refused}");
    drop(spool);
    let spool = Spool::open(folder.path()).unwrap();
    assert_eq!(spool.load("a").unwrap().len() as u32, accepted);
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("spool");
    let spool = Spool::open(&dir).unwrap();
    spool.put("a", b"1", b"").unwrap();
    assert_eq!(spool.folder(), Some(dir.join("bulk").as_path()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("bulk"))), (0o700, 0o700));
    for file in ["FORMAT", "state.redb", "lock"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
}
