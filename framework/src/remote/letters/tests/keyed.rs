//! Letters under keys: the same one, however often it is posted, and in whichever life.

use std::sync::atomic::Ordering::Relaxed;

use super::super::super::error::Handled;
use super::super::record::{KEYS, LETTERS, LOGS};
use super::super::sending::DEAD_MOST;
use super::world::LIMITS;
use super::*;
use crate::store::clock::Hands;

const KEY: LetterKey = [3; 32];

async fn post(world: &World, length: usize) -> Result<Delivery, RemoteErrorKind> {
    let posted = world.post_under(Some(KEY), length)?;
    posted.await.unwrap().map_err(|error| error.kind)
}

#[actix::test]
async fn what_is_posted_again_is_the_same_letter_whatever_has_become_of_it() {
    let spool = Arc::<MemoryStore>::default();
    let world = World::new(&spool);
    // At the same time, before anything is durable, too.
    let both = [world.post_under(Some(KEY), 10).unwrap(), world.post_under(Some(KEY), 10).unwrap()];
    assert!(world.letters.keyed(&KEY).is_none(), "it is not stored yet");
    let [first, second] = both.map(|posted| async { posted.await.unwrap().unwrap().id() });
    let (first, second) = (first.await, second.await);
    assert_eq!(first, second);
    assert_eq!((world.count(LETTERS), world.said().1.len()), (1, 1));
    assert_eq!(post(&world, 11).await.unwrap_err(), RemoteErrorKind::Conflict);
    // In another life.
    let world = World::new(&spool);
    let again = post(&world, 10).await.unwrap();
    assert_eq!((again.id(), again.state()), (first, LetterState::Stored));
    assert_eq!(post(&world, 11).await.unwrap_err(), RemoteErrorKind::Conflict);
    world.said();
    world.letters.said(PEER, world.epoch, (first.log, first.number), (1, "")).unwrap();
    // Its end is not durable yet, so nobody is told of it.
    assert_eq!(world.letters.keyed(&KEY).unwrap().state(), LetterState::Stored);
    assert_eq!(world.letters.find(first).unwrap().state(), LetterState::Stored);
    again.processed().await.unwrap();
    // When it is over, in this life and in the next one.
    for world in [world, World::new(&spool)] {
        let again = post(&world, 10).await.unwrap();
        assert_eq!((again.id(), again.state()), (first, LetterState::Processed));
        assert_eq!(world.letters.keyed(&KEY).unwrap().state(), LetterState::Processed);
        assert_eq!((world.count(LETTERS), world.said().1), (0, vec![]));
    }
}

#[actix::test]
async fn a_key_goes_with_a_letter_that_is_forgotten_and_with_its_time() {
    let spool = Arc::<MemoryStore>::default();
    let world = World::new(&spool);
    let letter = post(&world, 10).await.unwrap().id();
    let refused = (RemoteErrorKind::Forbidden.code(), "no");
    world.letters.said(PEER, world.epoch, (letter.log, letter.number), refused).unwrap();
    world.settle().await;
    let dead = post(&world, 10).await.unwrap();
    assert!(dead.id() == letter && matches!(dead.state(), LetterState::Dead(_)));
    world.letters.forget(letter).unwrap().await.unwrap().unwrap();
    assert!(world.letters.keyed(&KEY).is_none());
    assert_eq!(world.count(KEYS), 0);
    let another = post(&world, 10).await.unwrap();
    assert_ne!(another.id(), letter);
    assert_eq!(world.count(KEYS), 1);
    let kept = LIMITS.expiry.as_secs() + 24 * 3600;
    let now = world.letters.clock.now().certain;
    assert!(world.letters.state().keys.expire(now + kept - 60).is_empty());
    let over = world.letters.state().keys.expire(now + kept + 1);
    assert_eq!(over, [Change::Remove { table: KEYS, key: KEY.to_vec() }]);
    assert!(world.letters.keyed(&KEY).is_none());
}

#[actix::test]
async fn a_wall_clock_that_steps_makes_nobody_forget_a_key_and_ends_no_letter() {
    const DAY: u64 = 24 * 3600;
    let (hands, spool) = (Hands::default(), Arc::<MemoryStore>::default());
    let handled = |world: &World| {
        let found = world.letters.keyed(&KEY).expect("its key is remembered");
        assert_eq!(found.state(), LetterState::Processed);
        found.id()
    };
    let mut world = World::by(&hands, &spool, LIMITS);
    world.link();
    let first = post(&world, 10).await.unwrap();
    world.said();
    let id = first.id();
    world.letters.said(PEER, world.epoch, (id.log, id.number), (1, "")).unwrap();
    first.processed().await.unwrap();
    world.letters.down(PEER);
    let waits = world.post_under(Some([4; 32]), 10).unwrap().await.unwrap().unwrap();
    // In this life, and in the next one.
    for _ in 0..2 {
        hands.forward.fetch_add(10 * 365 * DAY, Relaxed);
        world.letters.look_around();
        world.settle().await;
        assert_eq!(handled(&world), id);
        assert_eq!(post(&world, 10).await.unwrap().id(), id, "it is no second letter");
        assert_eq!(world.letters.find(waits.id()).unwrap().state(), LetterState::Stored);
        world = World::by(&hands, &spool, LIMITS);
    }
    // What has lived as long as it was to is dead, and whoever asks for it is told.
    hands.lived.fetch_add(LIMITS.expiry.as_secs() + 1, Relaxed);
    world.letters.look_around();
    world.settle().await;
    let found = world.letters.keyed(&[4; 32]).expect("its key is remembered a day longer");
    let LetterState::Dead(why) = found.state() else { panic!("{:?}", found.state()) };
    assert_eq!(why.kind, RemoteErrorKind::Expired, "an earlier life may have sent it");
    assert_eq!(handled(&world), id);
    hands.lived.fetch_add(DAY, Relaxed);
    world.letters.look_around();
    world.settle().await;
    assert!(world.letters.keyed(&KEY).is_none() && world.count(KEYS) == 0);
}

#[actix::test]
async fn of_letters_that_have_expired_only_what_was_never_sent_was_surely_not_handled() {
    let (hands, spool) = (Hands::default(), Arc::<MemoryStore>::default());
    let mut world = World::by(&hands, &spool, LIMITS);
    world.link();
    let sent = post(&world, 10).await.unwrap();
    world.said();
    world.letters.down(PEER);
    let never = world.post(10).unwrap().await.unwrap().unwrap();
    hands.lived.fetch_add(LIMITS.expiry.as_secs() + 1, Relaxed);
    world.letters.look_around();
    for (letter, kind, handled) in [
        (sent, RemoteErrorKind::Expired, Handled::Unknown),
        (never, RemoteErrorKind::Unreachable, Handled::No),
    ] {
        let why = letter.processed().await.unwrap_err();
        assert_eq!((why.kind, why.kind.handled()), (kind, handled), "{why}");
        assert!(why.message.contains("expired"), "{why}");
    }
}

/// Of a key whose letter is not kept any more: that it is dead, and nobody knows whether it was
/// handled.
fn is_not_known(world: &World) {
    let LetterState::Dead(why) = world.letters.keyed(&KEY).unwrap().state() else { panic!() };
    assert_eq!(why.kind.handled(), Handled::Unknown, "{why}");
}

#[actix::test]
async fn a_letter_that_is_not_kept_any_more_was_not_processed() {
    let remove = |(key, _): (Vec<u8>, Vec<u8>), table| Change::Remove { table, key };
    let rot = |(key, _): (Vec<u8>, Vec<u8>), table| Change::Put { table, key, value: vec![0xff] };
    for (table, harm) in
        [(LETTERS, &remove as &dyn Fn(_, _) -> _), (LETTERS, &rot), (LOGS, &remove)]
    {
        let spool = Arc::<MemoryStore>::default();
        let letter = post(&World::new(&spool), 10).await.unwrap().id();
        let record = spool.load(table).unwrap().remove(0);
        spool.write(vec![harm(record, table)]).unwrap();
        let world = World::new(&spool);
        is_not_known(&world);
        assert_eq!(post(&world, 10).await.unwrap().id(), letter, "it is no other letter");
    }
}

#[actix::test]
async fn a_dead_letter_that_others_have_driven_out_was_not_processed() {
    let spool = Arc::<MemoryStore>::default();
    let world = World::new(&spool);
    let refuse = |id: LetterId| {
        let refused = (RemoteErrorKind::Died.code(), "no");
        world.letters.said(PEER, world.epoch, (id.log, id.number), refused).unwrap();
    };
    refuse(post(&world, 10).await.unwrap().id());
    world.settle().await;
    assert!(matches!(world.letters.keyed(&KEY).unwrap().state(), LetterState::Dead(_)));
    for _ in 0..DEAD_MOST {
        let other = world.post(0).unwrap().await.unwrap().unwrap();
        world.said();
        refuse(other.id());
        let _ = other.processed().await;
    }
    world.settle().await;
    assert_eq!(world.count(LETTERS), DEAD_MOST);
    is_not_known(&world);
    is_not_known(&World::new(&spool));
}
