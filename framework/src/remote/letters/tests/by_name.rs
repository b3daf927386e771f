//! Letters that wait for one name hold up none for another, and are bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;

use super::super::receiving::{GONE, HELD, HELD_OF_ALL};
use super::super::record::{self, MAIL, REFUSED, Refusal};
use super::super::*;
use super::world::{LIMITS, World};
use super::{LOG, LOG_OF_MORE, PEER};
use crate::remote::error::RemoteErrorKind;
use crate::remote::letterbox::{ArrivedLetter, Letterbox};
use crate::store::Change;
use crate::wire::codec::decode_message;

#[actix::test]
async fn whatever_others_wait_each_log_has_room_for_some_and_the_rest_is_not_in_memory() {
    let mut world = World::new(&Arc::default());
    for number in 1..=HELD_OF_ALL as u64 {
        world.take(LOG, number, "nobody", b"body").unwrap();
        if number % 500 == 0 {
            world.settle().await;
        }
    }
    world.settle().await;
    let in_memory = world.letters.state().incoming[&PEER]
        .logs
        .waiting()
        .iter()
        .filter(|(_, _, kept)| kept.is_in_memory())
        .count();
    assert_eq!(in_memory, HELD - 1, "and the first one, whose turn it is");
    world.link();
    world.said();
    world.take(LOG_OF_MORE, 1, "nobody", b"").unwrap();
    world.settle().await;
    assert_eq!((world.said().0, world.count(MAIL)), (vec![(1, 0)], HELD_OF_ALL + 1));
    // In another life, too.
    let world = World::new(&world.spool);
    let state = world.letters.state();
    let waiting = state.incoming[&PEER].logs.waiting();
    let in_memory = waiting.iter().filter(|(_, _, kept)| kept.is_in_memory()).count();
    assert_eq!((waiting.len(), in_memory), (HELD_OF_ALL, HELD));
}

#[actix::test]
async fn what_the_receiver_has_is_asked_for_and_all_comes_again_if_it_was_lost() {
    let mut world = World::new(&Arc::default());
    let first = world.post(5000).unwrap().await.unwrap().unwrap();
    let second = world.post(10).unwrap().await.unwrap().unwrap();
    let log = first.id().log;
    world.letters.said(PEER, world.epoch, (log, 1), (0, "")).unwrap();
    assert_eq!(world.said().1, [1, 2]);
    world.link();
    assert_eq!(world.said_with_bodies(), [(1, 0, true), (2, 10, false)]);
    let gone = world.letters.said(PEER, world.epoch, (log, 1), (GONE, "")).unwrap_err();
    assert!(gone.contains("come again"), "{gone}");
    world.link();
    assert_eq!(world.said_with_bodies(), [(1, 5000, false), (2, 10, false)]);
    assert_eq!(second.state(), LetterState::Stored);
    // One that knows no such question is told all, and its words are what they were.
    world.letters.said(PEER, world.epoch, (log, 1), (0, "")).unwrap();
    world.by_name = false;
    world.link();
    assert_eq!(world.said_with_bodies(), [(1, 5000, false), (2, 10, false)]);
    world.letters.said(PEER, world.epoch, (log, 1), (GONE, "no")).unwrap();
    assert_eq!(first.processed().await.unwrap_err().kind, RemoteErrorKind::Other);
}

#[actix::test]
async fn who_is_asked_for_what_it_never_had_takes_nothing_behind_it() {
    let mut world = World::new(&Arc::default());
    world.take(LOG, 1, "nobody", b"one").unwrap();
    world.ask(LOG, 2).unwrap();
    world.take(LOG, 3, "nobody", b"three").unwrap();
    world.settle().await;
    assert_eq!((world.said().0, world.count(MAIL)), (vec![(2, GONE), (3, GONE), (1, 0)], 1));
    world.link();
    world.ask(LOG, 1).unwrap();
    world.take(LOG, 2, "nobody", b"two").unwrap();
    world.take(LOG, 3, "nobody", b"three").unwrap();
    world.settle().await;
    assert_eq!((world.said().0, world.count(MAIL)), (vec![(1, 0), (2, 0), (3, 0)], 3));
}

#[actix::test]
async fn one_name_leaves_room_for_others_however_much_waits_for_it() {
    let world = World::with(&Arc::default(), Limits { letters: 100, bytes: 100_000, ..LIMITS });
    let mut posted = 0;
    let full = |world: &World, name, length| world.post_to(name, None, length).err();
    while full(&world, "gone", 1).is_none() {
        posted += 1;
    }
    assert_eq!(posted, 90, "nine times as many as are free");
    // Ten are free: a twentieth of them, and a thousandth of all, are less than one.
    let others = (0..20).filter(|_| full(&world, "sum", 1).is_none()).count();
    assert_eq!((others, full(&world, "sum", 1)), (1, Some(RemoteErrorKind::Full)));
    assert_eq!(full(&world, "third", 1), None);
    // Bytes, too.
    let world = World::with(&Arc::default(), Limits { letters: 10_000, bytes: 100_000, ..LIMITS });
    while full(&world, "gone", 936).is_none() {}
    let of_name = world.letters.seen().outgoing_cost;
    assert!((88_000..92_000).contains(&of_name), "{of_name}");
    assert_eq!(full(&world, "sum", 936), None);
}

#[actix::test]
async fn what_one_name_leaves_is_for_many_others_and_none_of_the_first_is_held_to_few() {
    let world = World::with(&Arc::default(), Limits { letters: 10_000, ..LIMITS });
    let mut filled = Vec::new();
    for name in 0.. {
        let name = format!("nobody {name}");
        let post = |_: &u64| world.post_to(&name, None, 1).is_ok();
        match (0..10_001).take_while(post).count() {
            0 => break,
            posted => filled.push(posted),
        }
    }
    assert_eq!((filled[0], filled.iter().sum::<usize>()), (9_000, 10_000));
    assert_eq!((filled[1], filled.len()), (47, 55));
    assert!(filled[1..32].iter().all(|&posted| posted > 10), "{filled:?}");
    assert_eq!(filled[32..54], [10; 22]);
    // Bytes, too: but one letter of any size each name may have.
    let world = World::with(&Arc::default(), Limits { letters: 10_000, bytes: 1 << 20, ..LIMITS });
    while world.post_to("nobody", None, 4000).is_ok() {}
    let few = |name: &str| (0..100).take_while(|_| world.post_to(name, None, 200).is_ok()).count();
    assert!((10..40).contains(&few("sum")) && (10..40).contains(&few("total")));
    assert!(world.post_to("large", None, 8000).is_ok());
    assert!(world.post_to("large", None, 1).is_err());
}

/// Has no room, and counts how often it was asked for some.
#[derive(Clone, Default)]
struct NoRoom(Arc<AtomicUsize>);

impl Letterbox for NoRoom {
    fn has_room(&self, bytes: usize) -> bool {
        assert_eq!(bytes, 4);
        self.0.fetch_add(1, Ordering::SeqCst);
        false
    }

    fn take(&self, _: ArrivedLetter) -> BoxFuture<'static, Result<(), RemoteError>> {
        unreachable!("it has no room")
    }
}

#[actix::test]
async fn one_that_is_not_in_memory_is_not_read_before_there_is_room_for_it() {
    let world = World::new(&Arc::default());
    let last = HELD as u64 + 10;
    for number in 1..=last {
        let name = if number < last { "nobody" } else { "full" };
        world.take(LOG, number, name, b"body").unwrap();
        if number % 500 == 0 {
            world.settle().await;
        }
    }
    world.settle().await;
    // Who read it would refuse it.
    let (key, value) = (record::key(PEER, LOG, last), vec![0xff; 3]);
    world.spool.write(vec![Change::Put { table: MAIL, key, value }]).unwrap();
    let full = NoRoom::default();
    world.letters.directory.post_to("full", Arc::new(full.clone())).unwrap();
    let held = || world.letters.state().incoming[&PEER].logs.count();
    let is_asked = async {
        while full.0.load(Ordering::SeqCst) == 0 && held() == last {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(180), is_asked).await.expect("it is asked for room");
    assert_eq!((held(), world.count(REFUSED)), (last, 0));
}

/// Takes all letters, and keeps their numbers.
#[derive(Clone, Default)]
struct Takes(Arc<Mutex<Vec<u64>>>);

impl Letterbox for Takes {
    fn take(&self, letter: ArrivedLetter) -> BoxFuture<'static, Result<(), RemoteError>> {
        self.0.lock().unwrap().push(letter.id.number);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[actix::test]
async fn one_that_is_not_in_memory_is_read_when_its_turn_comes_and_refused_if_it_rotted() {
    let world = World::new(&Arc::default());
    let last = HELD as u64 + 4;
    for number in 1..=last {
        world.take(LOG, number, "later", &number.to_be_bytes()).unwrap();
        if number % 500 == 0 {
            world.settle().await;
        }
    }
    world.settle().await;
    let rotten = last - 2;
    let (key, value) = (record::key(PEER, LOG, rotten), vec![0xff; 3]);
    world.spool.write(vec![Change::Put { table: MAIL, key, value }]).unwrap();
    let takes = Takes::default();
    world.letters.directory.post_to("later", Arc::new(takes.clone())).unwrap();
    world.letters.until(|letters| letters.seen().incoming == 0).await;
    world.settle().await;
    let taken = takes.0.lock().unwrap().clone();
    assert_eq!(taken, (1..=last).filter(|&number| number != rotten).collect::<Vec<_>>());
    let refused = world.spool.load(REFUSED).unwrap();
    let refusal: Refusal = decode_message(&refused[0].1).unwrap();
    assert_eq!((refused.len(), refusal.why.kind), (1, RemoteErrorKind::Storage));
    assert_eq!(world.count(MAIL), 0);
}
