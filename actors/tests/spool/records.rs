//! Records are kept, together or not at all.

use std::io::ErrorKind;
use std::sync::Barrier;
use std::thread;

use estafette::node::{Change, Store};
use estafette_actors::spool::Spool;

use crate::model::put;

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
    assert_eq!(
        spool.load("peers").unwrap(),
        [(b"a".to_vec(), b"2".to_vec()), (b"b".to_vec(), Vec::new())]
    );
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
    spool
        .write(vec![put("a", "1", "x"), remove(b"1"), put("a", "2", "x"), put("a", "2", "y")])
        .unwrap();
    assert_eq!(spool.load("a").unwrap(), [(b"2".to_vec(), b"y".to_vec())]);
    for bad in [
        put("A", "3", ""),
        put("a", "", ""),
        put("a", "3", vec![0; Spool::VALUE_LIMIT + 1]),
        put("a", [0; 257], ""),
    ] {
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
