//! Tests of what a peer may say of letters and may not, without a link between.

mod by_name;
mod expiring;
mod keyed;
mod world;

use self::world::World;

use super::super::error::RemoteErrorKind;
use super::super::letter_id::LogId;
use super::receiving::{HELD_OF_ALL, LOGS as LOGS_MOST, REFUSALS};
use super::record::{MAIL, MAIL_LOGS, REFUSED};
use super::sending::LEFT_OUT;
use super::*;
use crate::store::{Change, MemoryStore};
use crate::wire::message::{Item, Items};

const PEER: PeerId = PeerId::from_bytes([1; 32]);
const LOG: LogId = [5; 16];
const LOG_OF_MORE: LogId = [99; 16];

#[actix::test]
async fn letters_out_of_turn_of_two_logs_or_too_long_break_the_protocol() {
    let world = World::new(&Arc::default());
    assert!(world.take(LOG, 0, "sum", b"").is_err());
    world.take(LOG, 5, "sum", b"").unwrap();
    for (log, number, length) in
        [(LOG, 5, 0), (LOG, 4, 0), ([6; 16], 6, 0), (LOG, 6, LETTER_LIMIT + 1)]
    {
        assert!(
            world.take(log, number, "sum", &vec![0; length]).is_err(),
            "{log:?} {number} {length}"
        );
    }
    world.take(LOG, u64::MAX, "sum", b"").unwrap();
    world.settle().await;
    assert_eq!(world.said().0, [(5, 0), (u64::MAX, 0)]);
}

#[actix::test]
async fn a_hole_is_told_from_a_gap_and_nothing_behind_it_is_taken() {
    let spool = Arc::default();
    let mut world = World::new(&spool);
    world.take(LOG, 1, "nobody", b"one").unwrap();
    world.take(LOG, 40, "nobody", b"forty").unwrap();
    let error = world.take_behind(41, LOG, 42, "nobody", b"").unwrap_err();
    assert!(error.contains("follows letter 41") && error.contains("was 40"), "{error}");
    world.settle().await;
    assert_eq!(world.said().0, [(1, 0), (40, 0)]);
    // The first one of a link, too: what the sender gave up before it need not be there.
    world.link();
    world.take_behind(41, LOG, 42, "nobody", b"").unwrap_err();
    for world in [world, World::new(&spool)] {
        world.take(LOG, 41, "nobody", b"forty-one").unwrap();
        world.take(LOG, 42, "nobody", b"").unwrap();
        world.settle().await;
        assert_eq!((world.said().0, world.count(MAIL)), (vec![(41, 0), (42, 0)], 4));
    }
}

#[actix::test]
async fn a_word_is_about_one_letter_and_no_refusal_becomes_another_word() {
    let mut world = World::new(&Arc::default());
    let mut posted = Vec::new();
    for _ in 0..3 {
        posted.push(world.post(10).unwrap().await.unwrap().unwrap());
    }
    let log = posted[0].id().log;
    // The word that refuses the first was lost.
    world.letters.said(PEER, world.epoch, (log, 2), (1, "")).unwrap();
    world.letters.said(PEER, world.epoch, (log, 3), (0, "")).unwrap();
    posted[1].processed().await.unwrap();
    posted[2].delivered().await.unwrap();
    assert_eq!(posted[0].state(), LetterState::Stored);
    world.said();
    world.link();
    assert_eq!(world.said().1, [1, 3], "it is asked for again");
    world
        .letters
        .said(PEER, world.epoch, (log, 1), (RemoteErrorKind::Forbidden.code(), "no"))
        .unwrap();
    assert_eq!(posted[0].processed().await.unwrap_err().kind, RemoteErrorKind::Forbidden);
}

#[actix::test]
async fn of_letters_to_a_revoked_peer_only_what_was_never_sent_was_surely_not_handled() {
    let spool = Arc::default();
    let world = World::new(&spool);
    let sent = world.post(10).unwrap().await.unwrap().unwrap();
    let stored = world.post(10).unwrap().await.unwrap().unwrap();
    assert_eq!(world.said().1, [1, 2]);
    world.letters.said(PEER, world.epoch, (stored.id().log, 2), (0, "")).unwrap();
    world.letters.down(PEER);
    let never = world.post(10).unwrap().await.unwrap().unwrap();
    assert_eq!(world.letters.cut_off(PEER), (0, 3));
    let kinds = [
        (sent, RemoteErrorKind::Cancelled),
        (stored, RemoteErrorKind::Cancelled),
        (never, RemoteErrorKind::Forbidden),
    ];
    for (letter, kind) in kinds {
        let why = letter.processed().await.unwrap_err();
        assert_eq!(why.kind, kind, "{why}");
    }
    // What an earlier life has said, nobody knows.
    let letter = world.post(10).unwrap().await.unwrap().unwrap();
    let world = World::unlinked(&spool);
    assert_eq!(world.letters.cut_off(PEER), (0, 1));
    world.settle().await;
    let LetterState::Dead(why) = world.letters.find(letter.id()).unwrap().state() else { panic!() };
    assert_eq!(why.kind, RemoteErrorKind::Cancelled, "{why}");
}

#[actix::test]
async fn what_is_over_and_not_durably_so_is_not_passed_over_on_another_link() {
    let mut world = World::new(&Arc::default());
    let first = world.post(10).unwrap().await.unwrap().unwrap();
    let second = world.post(10).unwrap().await.unwrap().unwrap();
    assert_eq!(world.said().1, [1, 2]);
    world.letters.said(PEER, world.epoch, (first.id().log, 1), (1, "")).unwrap();
    world.link();
    assert!(world.said().1.is_empty(), "a life that ended now would say 1 again, after 2");
    first.processed().await.unwrap();
    assert_eq!(world.said_in_order().1, [(0, second.id().number)]);
}

#[actix::test]
async fn room_that_comes_in_the_middle_of_a_link_makes_no_refusal_pass_for_handled() {
    let mut world = World::new(&Arc::default());
    for log in 1..=LOGS_MOST as u8 {
        world.link();
        world.take([log; 16], 1, "nobody", b"").unwrap();
        world.settle().await;
    }
    world.link();
    world.said();
    world.take(LOG_OF_MORE, 1, "nobody", b"").unwrap();
    drop(world.letters.over((PEER, [1; 16], 1), None));
    world.settle().await;
    world.take(LOG_OF_MORE, 2, "nobody", b"").unwrap();
    let full = RemoteErrorKind::Full.code();
    assert_eq!(world.said().0, [(1, full), (2, full)]);
    // Neither word arrived: both are asked for again, and now there is room.
    world.link();
    world.take(LOG_OF_MORE, 1, "nobody", b"").unwrap();
    world.take(LOG_OF_MORE, 2, "nobody", b"").unwrap();
    world.settle().await;
    assert_eq!(world.said().0, [(1, 0), (2, 0)]);
}

#[actix::test]
async fn what_rotted_in_the_spool_is_refused_and_not_said_to_be_handled() {
    let spool = Arc::<MemoryStore>::default();
    let world = World::new(&spool);
    world.take(LOG, 1, "nobody", b"one").unwrap();
    world.take(LOG, 2, "secret", b"two").unwrap();
    world.take(LOG, 3, "nobody", b"three").unwrap();
    world.settle().await;
    let rot = |table: &'static str, number| Change::Put {
        table,
        key: record::key(PEER, LOG, number),
        value: vec![0xff; 3],
    };
    spool.write(vec![rot(MAIL, 1), rot(REFUSED, 2)]).unwrap();
    let storage = RemoteErrorKind::Storage.code();
    for _ in 0..2 {
        let world = World::new(&spool);
        (1..=3).for_each(|number| world.take(LOG, number, "nobody", b"").unwrap());
        assert_eq!(world.said().0, [(1, storage), (2, storage), (3, 0)]);
        // Somebody sets the records aside.
        spool.write(vec![Change::Remove { table: MAIL, key: record::key(PEER, LOG, 1) }]).unwrap();
    }
}

#[actix::test]
async fn how_long_a_letter_is_worth_handing_over_travels_and_no_date() {
    let world = World::new(&Arc::default());
    let _stored = world.post(3).unwrap();
    world.settle().await;
    let mut said = None;
    while let Some(batch) = world.exchange.take_batch(world.epoch, <[u8]>::to_vec) {
        let mut items = Items::new(&batch);
        while let Some((item, _)) = items.next_item().unwrap() {
            if let Item::Deliver { expires, .. } = item {
                said = Some(expires);
            }
        }
    }
    assert!((1..=60).contains(&said.unwrap()), "{said:?}");
    world.take(LOG, 1, "nobody", b"").unwrap();
    world.settle().await;
    let (_, record) = world.spool.load(MAIL).unwrap().remove(0);
    let letter: super::record::Letter = crate::wire::codec::decode_message(&record).unwrap();
    let left = letter.expires - crate::store::now();
    assert!((1..=60).contains(&left), "{left}");
}

#[actix::test]
async fn what_is_not_stored_yet_is_bounded_by_the_window() {
    let world = World::new(&Arc::default());
    for number in 1..=2 * WINDOW {
        world.take(LOG, number, "sum", b"").unwrap();
    }
    assert!(world.take(LOG, 2 * WINDOW + 1, "sum", b"").is_err());
    // Bytes, too: two windows and one letter.
    let world = World::new(&Arc::default());
    let body = vec![0; LETTER_LIMIT];
    (1..=3).for_each(|number| world.take(LOG, number, "sum", &body).unwrap());
    assert!(world.take(LOG, 4, "sum", &body).is_err());
    let mut world = World::new(&Arc::default());
    (1..=10).for_each(|number| world.take(LOG, number, "sum", &body[..1 << 18]).unwrap());
    world.settle().await;
    world.link();
    (11..=13).for_each(|number| world.take(LOG, number, "sum", &body).unwrap());
}

#[actix::test]
async fn a_letter_is_taken_once_and_of_each_sender_by_itself() {
    let spool = Arc::default();
    let mut world = World::new(&spool);
    world.take(LOG, 1, "nobody", b"one").unwrap();
    world.take(LOG, 2, "secret", b"two").unwrap();
    world.settle().await;
    let forbidden = RemoteErrorKind::Forbidden.code();
    assert_eq!(world.said().0, [(1, 0), (2, forbidden)]);
    world.link();
    world.take(LOG, 1, "nobody", b"another one").unwrap();
    world.take(LOG, 2, "secret", b"two").unwrap();
    assert_eq!(world.said().0, [(1, 0), (2, forbidden)], "it is told again, and not stored again");
    // In another life, too.
    let world = World::new(&spool);
    world.take(LOG, 2, "nobody", b"two").unwrap();
    assert_eq!((world.said().0, world.count(MAIL)), (vec![(2, forbidden)], 1));
    // Who knows another's log has nothing of it.
    let other = PeerId::from_bytes([2; 32]);
    world.letters.up(other, 1, true, &world.exchange);
    let (name, message) = ("nobody", "test.Note");
    let coming = Coming {
        log: LOG,
        number: 1,
        before: 0,
        expires: 60,
        name,
        message,
        version: 1,
        body: b"",
        along: None,
    };
    world.letters.take(other, 1, &coming).unwrap();
    world.settle().await;
    assert_eq!((world.count(MAIL), world.count(MAIL_LOGS)), (2, 2));
}

#[actix::test]
async fn while_nobody_knows_who_is_trusted_a_letter_waits_and_is_not_refused() {
    let spool = Arc::default();
    for _ in 0..2 {
        let world = World::new(&spool);
        world.take(LOG, 1, "who knows", b"one").unwrap();
        world.settle().await;
        assert_eq!((world.said().0, world.count(MAIL), world.count(REFUSED)), (vec![(1, 0)], 1, 0));
    }
}

#[actix::test]
async fn what_waits_for_actors_is_bounded_and_so_are_refusals_and_logs() {
    let mut world = World::new(&Arc::default());
    let mut refused = 0;
    for number in 1..=HELD_OF_ALL as u64 + 100 {
        world.take(LOG, number, "nobody", b"").unwrap();
        if number % 500 == 0 {
            world.settle().await;
        }
    }
    world.settle().await;
    refused +=
        world.said().0.iter().filter(|(_, code)| *code == RemoteErrorKind::Full.code()).count();
    assert_eq!((world.count(MAIL), refused), (HELD_OF_ALL, 100));
    for number in 0..REFUSALS as u64 + 500 {
        world.take(LOG, 30_000 + number, "secret", b"").unwrap();
        if number % 500 == 0 {
            world.settle().await;
        }
    }
    world.settle().await;
    assert_eq!(world.count(REFUSED), REFUSALS, "the oldest are forgotten");
    world.link();
    world.take(LOG, 30_000 + REFUSALS as u64 + 500, "secret", b"").unwrap();
    world.settle().await;
    assert_eq!(world.count(REFUSED), 1, "the sender passes them over: it has noted them");
    for log in 1..LOGS_MOST as u8 {
        world.link();
        world.take([log; 16], 1, "nobody", b"").unwrap();
        world.settle().await;
    }
    world.said();
    world.link();
    world.take(LOG_OF_MORE, 1, "nobody", b"").unwrap();
    world.settle().await;
    assert_eq!(
        world.said().0,
        [(1, RemoteErrorKind::Full.code())],
        "all logs have letters that wait"
    );
    assert_eq!(world.count(MAIL_LOGS), LOGS_MOST);
}

#[actix::test]
async fn logs_without_letters_make_room_for_new_ones() {
    let mut world = World::new(&Arc::default());
    for log in 0..20 {
        world.link();
        world.take([log; 16], 1, "secret", b"").unwrap();
        world.settle().await;
    }
    assert_eq!((world.count(MAIL_LOGS), world.count(REFUSED)), (LOGS_MOST, LOGS_MOST));
}

#[actix::test]
async fn who_takes_no_answers_is_not_given_ever_more() {
    let mut world = World::new(&Arc::default());
    world.take(LOG, u64::MAX, "secret", b"").unwrap();
    world.settle().await;
    world.link();
    world.take(LOG, 1, "secret", b"").unwrap();
    // Whatever it is that nobody reads.
    while !world.exchange.is_swamped() {
        world.exchange.say(world.epoch, &Item::Part { bytes: &[0; 20_000] }, 20_000);
    }
    assert!(world.take(LOG, 2, "secret", b"").unwrap_err().contains("no answers"));
}

#[actix::test]
async fn words_about_what_was_never_sent_break_the_protocol_and_change_nothing() {
    let world = World::new(&Arc::default());
    let said =
        |log, number, code| world.letters.said(PEER, world.epoch, (log, number), (code, "because"));
    assert!(said(LOG, 1, 1).is_err(), "nothing was ever sent");
    let delivery = world.post(10).unwrap().await.unwrap().unwrap();
    let log = delivery.id().log;
    assert_eq!(world.said().1, [1]);
    for (log, number, code) in [(LOG, 1, 1), (log, 2, 0), (log, u64::MAX, 1), (log, 2, 18)] {
        assert!(said(log, number, code).is_err());
    }
    said(log, 0, 1).unwrap();
    assert_eq!(delivery.state(), LetterState::Stored);
    said(log, 1, 0).unwrap();
    delivery.delivered().await.unwrap();
    said(log, 1, 1).unwrap();
    delivery.processed().await.unwrap();
    // What is over stays so, whatever is said of it.
    said(log, 1, 18).unwrap();
    said(log, 1, 0).unwrap();
    assert_eq!((delivery.state(), world.letters.list()), (LetterState::Processed, vec![]));
}

#[actix::test]
async fn more_letters_than_may_be_under_way_are_refused_until_some_are_over() {
    let world = World::new(&Arc::default());
    assert_eq!(world.post(LETTER_LIMIT + 1).unwrap_err(), RemoteErrorKind::Unencodable);
    let mut posted = Vec::new();
    for _ in 0..4 {
        posted.push(world.post(10).unwrap().await.unwrap().unwrap());
    }
    assert_eq!(world.post(10).unwrap_err(), RemoteErrorKind::Full);
    let id = posted[0].id();
    world.letters.said(PEER, world.epoch, (id.log, 4), (0, "")).unwrap();
    assert_eq!(
        world.post(10).unwrap_err(),
        RemoteErrorKind::Full,
        "what is not handled is under way"
    );
    world.letters.said(PEER, world.epoch, (id.log, 2), (1, "")).unwrap();
    posted[1].processed().await.unwrap();
    assert_eq!(posted[0].state(), LetterState::Stored, "nothing was said of the first one");
    world.letters.said(PEER, world.epoch, (id.log, 1), (1, "")).unwrap();
    posted[0].processed().await.unwrap();
    drop(world.post(LETTER_LIMIT).unwrap().await.unwrap().unwrap());
    assert_eq!(world.post(LETTER_LIMIT).unwrap_err(), RemoteErrorKind::Full, "bytes count, too");
    let last = world.post(10).unwrap().await.unwrap().unwrap();
    assert_eq!(last.id().number, 6);
}

#[actix::test]
async fn a_letter_waits_for_its_window_and_all_that_is_not_over_is_said_again_in_order() {
    let spool = Arc::default();
    let mut world = World::new(&spool);
    world.by_name = false;
    world.link();
    for length in [LETTER_LIMIT, 5000, 10] {
        drop(world.post(length).unwrap().await.unwrap().unwrap());
    }
    assert_eq!(world.said().1, [1], "the others wait for their turn");
    world.link();
    assert_eq!(world.said().1, [1]);
    let log = world.letters.list()[0].id.log;
    world.letters.said(PEER, world.epoch, (log, 1), (0, "")).unwrap();
    assert!(world.said().1.is_empty(), "it is under way until it is over");
    world.letters.said(PEER, world.epoch, (log, 1), (1, "")).unwrap();
    assert_eq!(world.said_in_order().1, [(1, 2), (2, 3)]);
    world.settle().await;
    world.link();
    assert_eq!(
        world.said_in_order().1,
        [(0, 2), (2, 3)],
        "each names the one before it on its link"
    );
    world
        .letters
        .said(PEER, world.epoch, (log, 2), (RemoteErrorKind::Died.code(), "it died"))
        .unwrap();
    world.settle().await;
    world.link();
    assert_eq!(world.said().1, [3]);
    // In another life, too; and its log goes on.
    let start = crate::store::now();
    let world = World::new(&spool);
    assert_eq!(world.said().1, [3]);
    let dead = world.letters.find(LetterId::new(log, 2)).unwrap().processed().await.unwrap_err();
    assert_eq!((dead.kind, dead.message.contains("it died")), (RemoteErrorKind::Died, true));
    assert!(world.letters.forget(LetterId::new(log, 3)).is_none(), "it is under way");
    world.letters.forget(LetterId::new(log, 2)).unwrap().await.unwrap().unwrap();
    let next = world.post(1).unwrap().await.unwrap().unwrap();
    assert!(next.id().number > start * LEFT_OUT, "no number is given twice");
    assert_eq!((next.id().log, world.letters.list().len()), (log, 2));
}
