//! Deliveries that go on where an earlier attempt stood.

use std::fs;
use std::os::unix::fs::symlink;

use estafette::delivery::ContentKind;
use estafette::node::Store;
use estafette::pipeline::{Inbox, Resumed};
use estafette::testing::Random;
use estafette_actors::sink::{FileSink, Folder, OnConflict};
use tempfile::tempdir;

use crate::durable::{CHUNK, Death, Delivery, temporary};
use crate::harness::{block_on, names};

fn some(length: usize) -> Delivery {
    Delivery::of(Random::seeded(length as u64).bytes(length))
}

/// A delivery of which the first chunks are written, noted, and left by a process that died.
fn left(delivery: &Delivery, inbox: &Folder, chunks: u64) {
    let mut sink = delivery.open(inbox).unwrap();
    delivery.write(&mut *sink, 0..chunks).unwrap();
    delivery.checkpoint(&mut *sink, chunks).unwrap();
}

#[test]
fn a_file_goes_on_at_every_chunk_it_can_have_stopped_at() {
    for length in [0, 1, CHUNK as usize, 4 * CHUNK as usize, 4 * CHUNK as usize + 17] {
        let chunks = some(length).chunks();
        for stop in 0..=chunks {
            let (to, delivery) = (tempdir().unwrap(), some(length));
            left(&delivery, &FileSink::into_dir(to.path()), stop);
            let inbox = FileSink::into_dir(to.path());
            let mut sink = delivery.open(&inbox).unwrap();
            assert_eq!(delivery.held(&*sink), Some(stop));
            delivery.write(&mut *sink, stop..chunks).unwrap();
            let committed = block_on(sink.commit(&delivery.summary())).unwrap();
            assert_eq!(committed.place, to.path().join("content").to_str().unwrap());
            assert_eq!(fs::read(to.path().join("content")).unwrap(), delivery.bytes);
            assert_eq!(names(to.path()), ["content"], "{length} bytes, stopped at {stop}");
        }
    }
}

#[test]
fn a_tree_goes_on_too() {
    let (to, delivery) = (tempdir().unwrap(), crate::commit::tree());
    for stop in 0..delivery.chunks() {
        left(&delivery, &FileSink::into_dir(to.path()), stop);
    }
    let sink = delivery.open(&FileSink::into_dir(to.path())).unwrap();
    assert_eq!(delivery.held(&*sink), Some(delivery.chunks() - 1));
    drop(sink);
    assert_eq!(delivery.attempt(&FileSink::into_dir(to.path())).unwrap().files, 3);
    assert_eq!(names(to.path()), ["content"]);
    assert_eq!(fs::read(to.path().join("content/deep/c")).unwrap(), vec![3; 3000]);
}

#[test]
fn what_came_behind_the_last_checkpoint_or_out_of_order_is_taken_again() {
    let (to, delivery) = (tempdir().unwrap(), some(8 * CHUNK as usize));
    let inbox = FileSink::into_dir(to.path());
    let mut sink = delivery.open(&inbox).unwrap();
    delivery.write(&mut *sink, 0..3).unwrap();
    delivery.write(&mut *sink, 6..8).unwrap();
    delivery.checkpoint(&mut *sink, 3).unwrap();
    delivery.write(&mut *sink, 3..5).unwrap();
    sink.suspend("the sender is gone");
    assert_eq!(names(to.path()).len(), 1, "it is kept");
    let again = delivery.open(&inbox).unwrap();
    assert_eq!(delivery.held(&*again), Some(3));
    assert_eq!(
        fs::metadata(temporary(to.path(), ".keep")).unwrap().len(),
        3 * u64::from(CHUNK),
        "the rest is cut off"
    );
}

#[test]
fn an_aborted_delivery_leaves_nothing_neither_file_nor_note() {
    for delivery in [some(5000), crate::commit::tree()] {
        let to = tempdir().unwrap();
        let inbox = FileSink::into_dir(to.path());
        left(&delivery, &inbox, 2);
        delivery.open(&inbox).unwrap().abort("cancelled");
        assert!(names(to.path()).is_empty());
        assert_eq!(delivery.spool.load("partial").unwrap(), []);
    }
}

#[test]
fn a_changed_bit_is_found_the_file_set_aside_and_the_delivery_begun_anew() {
    for seed in 0..24 {
        let (to, delivery, mut random) = (tempdir().unwrap(), some(6000), Random::seeded(seed));
        left(&delivery, &FileSink::into_dir(to.path()), 5);
        let kept = temporary(to.path(), ".keep");
        let mut damaged = fs::read(&kept).unwrap();
        let at = random.below(damaged.len() as u64) as usize;
        damaged[at] ^= 1 << random.below(8);
        fs::write(&kept, &damaged).unwrap();
        let sink = delivery.open(&FileSink::into_dir(to.path())).unwrap();
        assert_eq!(delivery.held(&*sink), Some(0), "byte {at}");
        drop(sink);
        delivery.attempt(&FileSink::into_dir(to.path())).unwrap();
        assert_eq!(fs::read(to.path().join("content")).unwrap(), delivery.bytes);
        assert_eq!(
            fs::read(temporary(to.path(), ".damaged")).unwrap(),
            damaged,
            "a person can look at it"
        );
        assert_eq!(names(to.path()).len(), 2);
    }
}

#[test]
fn a_file_that_is_too_short_is_set_aside_and_one_that_is_gone_begins_anew() {
    let (to, delivery) = (tempdir().unwrap(), some(6000));
    let inbox = FileSink::into_dir(to.path());
    left(&delivery, &inbox, 5);
    fs::File::options()
        .write(true)
        .open(temporary(to.path(), ".keep"))
        .unwrap()
        .set_len(5 * 1024 - 1)
        .unwrap();
    left(&delivery, &inbox, 5);
    fs::remove_file(temporary(to.path(), ".keep")).unwrap();
    let sink = delivery.open(&inbox).unwrap();
    assert_eq!(delivery.held(&*sink), Some(0));
    assert_eq!(fs::metadata(temporary(to.path(), ".damaged")).unwrap().len(), 5 * 1024 - 1);
}

#[test]
fn what_was_put_in_the_place_of_a_kept_file_is_neither_followed_nor_touched() {
    for linked in [true, false] {
        let (to, delivery) = (tempdir().unwrap(), some(6000));
        left(&delivery, &FileSink::into_dir(to.path()), 5);
        let (kept, victim) = (temporary(to.path(), ".keep"), to.path().join("victim"));
        fs::rename(&kept, &victim).unwrap();
        // The same bytes even: what counts is that it is another file.
        if linked {
            symlink("victim", &kept).unwrap()
        } else {
            fs::copy(&victim, &kept).map(drop).unwrap()
        }
        let sink = delivery.open(&FileSink::into_dir(to.path())).unwrap();
        assert_eq!(delivery.held(&*sink), Some(0));
        drop(sink);
        delivery.attempt(&FileSink::into_dir(to.path())).unwrap();
        assert_eq!(fs::symlink_metadata(&kept).unwrap().is_symlink(), linked);
        assert_eq!(fs::read(&kept).unwrap(), delivery.bytes[..5 * 1024]);
        assert_eq!(fs::read(&victim).unwrap(), delivery.bytes[..5 * 1024]);
        assert_eq!(fs::read(to.path().join("content")).unwrap(), delivery.bytes);
    }
}

#[test]
fn what_came_of_another_version_is_removed() {
    let (to, old) = (tempdir().unwrap(), some(6000));
    left(&old, &FileSink::into_dir(to.path()), 5);
    let new = old.changed(some(5000).bytes);
    let sink = new.open(&FileSink::into_dir(to.path())).unwrap();
    assert_eq!(new.held(&*sink), Some(0));
    assert_eq!(names(to.path()).len(), 1);
    drop(sink);
    new.attempt(&FileSink::into_dir(to.path())).unwrap();
    assert_eq!(fs::read(to.path().join("content")).unwrap(), new.bytes);
    assert_eq!(names(to.path()), ["content"]);
}

#[test]
fn a_note_that_can_not_be_read_costs_what_had_come_and_no_more() {
    let (to, delivery) = (tempdir().unwrap(), some(6000));
    left(&delivery, &FileSink::into_dir(to.path()), 5);
    delivery.journal().note(b"of another age").unwrap();
    assert!(delivery.attempt(&FileSink::into_dir(to.path())).is_ok());
    assert_eq!(fs::read(to.path().join("content")).unwrap(), delivery.bytes);
    assert_eq!(
        fs::read(temporary(to.path(), ".keep")).unwrap(),
        delivery.bytes[..5 * 1024],
        "a person can look at it"
    );
}

#[test]
fn a_later_attempt_waits_for_the_earlier_one_and_sees_what_it_noted_last() {
    for commits in [false, true] {
        let (to, delivery) = (tempdir().unwrap(), some(9000));
        // Numbers would tell of a second copy.
        let inbox = FileSink::into_dir(to.path()).on_conflict(OnConflict::Rename);
        let mut earlier = delivery.open(&inbox).unwrap();
        let offer = delivery.offer();
        std::thread::scope(|scope| {
            let later = scope.spawn(|| {
                FileSink::into_dir(to.path()).on_conflict(OnConflict::Rename).open(&offer).unwrap()
            });
            delivery.write(&mut *earlier, 0..9).unwrap();
            delivery.checkpoint(&mut *earlier, 7).unwrap();
            if commits {
                block_on(earlier.commit(&delivery.summary())).unwrap();
            } else {
                earlier.suspend("a newer attempt has come");
            }
            let later = later.join().unwrap();
            assert_eq!(delivery.held(&*later), if commits { None } else { Some(7) });
        });
        assert_eq!(names(to.path()).len(), 1);
    }
}

#[test]
fn an_attempt_that_does_not_end_keeps_later_ones_out() {
    let (to, delivery) = (tempdir().unwrap(), some(6000));
    let inbox = FileSink::into_dir(to.path());
    let _earlier = delivery.open(&inbox).unwrap();
    let refusal = delivery.open(&inbox).unwrap_err();
    assert!(refusal.passing, "the sender comes back");
    assert!(
        refusal.reason.contains("earlier attempt of this delivery")
            && refusal.reason.contains("try again later"),
        "{refusal}"
    );
    assert_eq!(names(to.path()).len(), 1);
}

#[test]
fn a_checkpoint_that_fails_says_why_and_costs_nothing_that_was_noted() {
    let (to, delivery) = (tempdir().unwrap(), some(6000));
    let inbox = FileSink::into_dir(to.path());
    left(&delivery, &inbox, 2);
    let mut sink = delivery.open(&inbox).unwrap();
    delivery.write(&mut *sink, 2..5).unwrap();
    delivery.spool.die(Death { at: 0, made: false });
    let error = delivery.checkpoint(&mut *sink, 5).unwrap_err().to_string();
    assert!(
        error.contains("its note about")
            && error.contains(".keep")
            && error.contains("the spool is full"),
        "{error}"
    );
    sink.suspend("the disk is full");
    delivery.spool.revive();
    assert_eq!(delivery.held(&*delivery.open(&inbox).unwrap()), Some(2));
}

#[test]
fn a_delivery_that_is_refused_when_it_goes_on_leaves_nothing() {
    let (to, delivery) = (tempdir().unwrap(), some(6000));
    left(&delivery, &FileSink::into_dir(to.path()), 5);
    fs::write(to.path().join("content"), "mine").unwrap();
    let refusal = delivery.open(&FileSink::into_dir(to.path())).unwrap_err();
    assert!(refusal.reason.contains("exists already"), "{refusal}");
    assert_eq!(names(to.path()), ["content"]);
    assert_eq!(delivery.spool.load("partial").unwrap(), []);
}

#[test]
fn what_is_kept_waits_for_room_if_that_is_all_it_lacks() {
    let (to, delivery) = (tempdir().unwrap(), some(6000));
    left(&delivery, &FileSink::into_dir(to.path()), 5);
    let refusal = delivery.open(&FileSink::into_dir(to.path()).keep_free(1 << 60)).unwrap_err();
    assert!(refusal.passing && refusal.reason.contains("free some space"), "{refusal}");
    assert_eq!(delivery.held(&*delivery.open(&FileSink::into_dir(to.path())).unwrap()), Some(5));
}

#[test]
fn a_tree_that_can_not_be_taken_is_refused_at_a_checkpoint() {
    let to = tempdir().unwrap();
    let mut bytes = crate::commit::tree().bytes;
    let delivery = Delivery::of_kind(ContentKind::Tree, bytes.clone());
    let mut sink = delivery.open(&FileSink::into_dir(to.path()).max_files(2)).unwrap();
    delivery.write(&mut *sink, 0..4).unwrap();
    assert!(
        delivery
            .checkpoint(&mut *sink, 4)
            .unwrap_err()
            .to_string()
            .contains("more than the 2 files")
    );
    sink.abort("it has too many files");
    bytes[0] ^= 1;
    let hostile = Delivery::of_kind(ContentKind::Tree, bytes);
    let mut sink = hostile.open(&FileSink::into_dir(to.path())).unwrap();
    hostile.write(&mut *sink, 0..1).unwrap();
    assert!(hostile.checkpoint(&mut *sink, 1).unwrap_err().to_string().contains("no tree stream"));
    sink.abort("it is no tree");
    assert!(names(to.path()).is_empty());
}

#[test]
fn without_a_journal_nothing_is_resumed() {
    let to = tempdir().unwrap();
    let offer = estafette::pipeline::Offer { journal: None, ..some(10).offer() };
    let mut sink = FileSink::into_dir(to.path()).open(&offer).unwrap();
    assert!(matches!(sink.resumed(), Resumed::Nothing));
    sink.suspend("the node stops");
    assert!(names(to.path()).is_empty());
}
