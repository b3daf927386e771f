//! Writes that wait for the disk: they share a sync, keep their order, and are bounded.

use std::io::ErrorKind;
use std::thread;

use estafette::node::{Change, Store};
use estafette_actors::spool::{Spool, Written};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::disk::Disk;
use crate::model::{open, put};

/// A spool whose writer is busy: it has taken one write, and its disk does not answer.
fn busy() -> (Disk, Spool, Written) {
    let disk = Disk::default();
    let spool = open(&disk).unwrap();
    disk.hold(true);
    let first = spool.write_later(vec![put("peers", "first", "")]);
    disk.wait_for_sync();
    (disk, spool, first)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn all_that_waits_shares_a_commit_and_keeps_its_order() {
    let (disk, spool, first) = busy();
    let before = spool.version().unwrap();
    let mut writes = vec![first];
    for number in 0..5_000_u32 {
        writes.push(spool.write_later(vec![
            put("peers", "last", number.to_le_bytes()),
            put("parts", number.to_le_bytes(), ""),
        ]));
    }
    writes.push(
        spool.write_later(vec![Change::Remove {
            table: "parts",
            key: 7_u32.to_le_bytes().to_vec(),
        }]),
    );
    disk.hold(false);
    let outcomes = block_on(async {
        let outcomes = join_all(writes).await;
        // Blocking is right in a thread of a runtime, too.
        spool.put("peers", b"blocking", b"").unwrap();
        outcomes
    });
    assert!(outcomes.into_iter().all(|outcome| outcome.is_ok()));
    assert_eq!(spool.version().unwrap() - before, 3);
    assert_eq!(spool.find("peers", b"last").unwrap(), Some(4_999_u32.to_le_bytes().to_vec()));
    assert_eq!(spool.load("parts").unwrap().len(), 4_999);
}

#[test]
fn nothing_is_acknowledged_or_seen_before_it_is_synced() {
    let (disk, spool, mut first) = busy();
    assert!((&mut first).now_or_never().is_none());
    assert_eq!(spool.find("peers", b"first").unwrap(), None);
    disk.hold(false);
    block_on(first).unwrap();
    assert!(spool.find("peers", b"first").unwrap().is_some());
}

#[test]
fn the_bytes_that_wait_are_bounded() {
    let (disk, spool, first) = busy();
    let large = |number: u8| vec![put("parts", [number], vec![0; 1 << 20])];
    let accepted: Vec<_> = (0..63).map(|number| spool.write_later(large(number))).collect();
    let refused = spool.write_later(large(63)).now_or_never().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock, "{refused}");
    assert!(refused.to_string().contains("63 writes"), "{refused}");
    // What is small has room, and who may block waits for it.
    let small = spool.write_later(vec![put("peers", "small", "")]);
    thread::scope(|scope| {
        let waits = scope.spawn(|| spool.write(large(63)));
        disk.hold(false);
        waits.join().unwrap().unwrap();
    });
    block_on(async {
        first.await.unwrap();
        small.await.unwrap();
        assert!(join_all(accepted).await.into_iter().all(|outcome| outcome.is_ok()));
    });
    assert_eq!(spool.load("parts").unwrap().len(), 64);
}

#[test]
fn the_writes_that_wait_are_bounded() {
    let (disk, spool, first) = busy();
    let write = |number: usize| spool.write_later(vec![put("parts", number.to_le_bytes(), "")]);
    let accepted: Vec<_> = (0..Spool::WAITING_LIMIT).map(write).collect();
    let refused = write(Spool::WAITING_LIMIT).now_or_never().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock, "{refused}");
    disk.hold(false);
    block_on(first).unwrap();
    block_on(async {
        for written in accepted {
            written.await.unwrap();
        }
    });
}

#[test]
fn what_waits_is_written_before_the_spool_is_gone() {
    let (disk, spool, first) = busy();
    let (told, forgotten) = (
        spool.write_later(vec![put("peers", "told", "")]),
        spool.write_later(vec![put("peers", "forgotten", "")]),
    );
    drop(forgotten);
    let gone = thread::spawn(move || drop(spool));
    assert!(told.now_or_never().is_none());
    disk.hold(false);
    gone.join().unwrap();
    block_on(first).unwrap();
    assert_eq!(open(&disk.power_cut().without_pending()).unwrap().load("peers").unwrap().len(), 3);
}
