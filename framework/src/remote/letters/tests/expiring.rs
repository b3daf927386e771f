//! Expired letters, and those that may not be sent any more: none waits, whatever it is behind.

use futures_util::future::BoxFuture;

use super::super::expiring::SWEPT;
use super::super::record::{self, Letter, MAIL, MAIL_LOGS, REFUSED, Refusal, Taken};
use super::super::*;
use super::world::World;
use super::{LOG, PEER};
use crate::remote::error::RemoteErrorKind;
use crate::remote::letterbox::{ArrivedLetter, Letterbox};
use crate::store::{MemoryStore, now};
use crate::wire::codec::decode_message;

/// Later than the letters of these tests are worth anything.
fn later() -> u64 {
    now() + 1000
}

/// Letters of a peer that are held, those that are with their actors too.
fn held(world: &World, peer: PeerId) -> u64 {
    world.letters.state().incoming[&peer].logs.count()
}

/// Is never done with a letter.
struct Hung;

impl Letterbox for Hung {
    fn take(&self, _: ArrivedLetter) -> BoxFuture<'static, Result<(), RemoteError>> {
        Box::pin(std::future::pending())
    }
}

#[actix::test]
async fn what_has_expired_behind_one_that_is_with_its_actor_is_ended() {
    let world = World::new(&Arc::default());
    world.letters.directory.post_to("hung", Arc::new(Hung)).unwrap();
    let count = SWEPT + 100;
    for number in 1..=count as u64 {
        world.take(LOG, number, "hung", b"").unwrap();
        if number % 500 == 0 {
            world.settle().await;
        }
    }
    world.settle().await;
    world.letters.until(|letters| letters.state().handed == 1).await;
    world.letters.end_expired(now() - 1000);
    assert_eq!(held(&world, PEER), count as u64, "nothing is due");
    world.letters.end_expired(later());
    // That one is looked at, and left alone.
    assert_eq!(held(&world, PEER), 101, "so many at a time");
    world.letters.end_expired(later());
    assert_eq!(held(&world, PEER), 1);
    assert!(!world.letters.state().incoming[&PEER].logs.is_due(u64::MAX), "no look is long");
    world.settle().await;
    assert_eq!((world.count(MAIL), world.letters.state().handed), (1, 1));
    let refused = world.spool.load(REFUSED).unwrap();
    let why: Refusal = decode_message(&refused[0].1).unwrap();
    assert_eq!((refused.len(), why.why.kind), (count - 1, RemoteErrorKind::Expired));
}

#[actix::test]
async fn what_has_expired_of_one_peer_waits_for_that_of_no_other() {
    let other = PeerId::from_bytes([2; 32]);
    let (spool, count) = (Arc::<MemoryStore>::default(), SWEPT as u64 + 10);
    let expires = later() - 1;
    // Of each name of the other one, the first letter is over before the second.
    let of_peer = (1..=count).map(|number| (PEER, number, number.to_string(), expires));
    let of_other = (1..=4).map(|number| (other, number, (number % 2).to_string(), expires));
    hold(&spool, of_peer.chain(of_other).chain([(other, 5, "0".into(), u64::MAX)]));
    let world = World::new(&spool);
    assert_eq!(world.letters.state().parked.len(), count as usize + 2);
    world.letters.end_expired(later());
    assert_eq!((held(&world, PEER), held(&world, other)), (10, 1));
    world.settle().await;
    // What is left waits as before, also where the first one of its name is over.
    let parked = world.letters.state().parked.len();
    assert_eq!(parked, 10 + 1);
    world.letters.end_expired(later());
    world.settle().await;
    assert_eq!((held(&world, PEER), held(&world, other)), (0, 1));
    assert_eq!(world.letters.state().parked.keys().collect::<Vec<_>>(), [&(other, "0".into())]);
}

#[actix::test]
async fn what_has_expired_is_looked_for_as_long_as_the_node_runs() {
    let spool = Arc::<MemoryStore>::default();
    let expire = |number| if number % 2 == 0 { 1 } else { u64::MAX };
    hold(&spool, (1..=10).map(|number| (PEER, number, "nobody".into(), expire(number))));
    let world = World::new(&spool);
    world.letters.until(|letters| letters.state().incoming[&PEER].logs.count() == 5).await;
    assert_eq!(world.letters.state().parked.len(), 1);
}

#[actix::test]
async fn what_is_over_when_its_turn_comes_is_not_parked() {
    for (name, expires, kind) in
        [("nobody", 1, RemoteErrorKind::Expired), ("secret", u64::MAX, RemoteErrorKind::Forbidden)]
    {
        let spool = Arc::<MemoryStore>::default();
        hold(&spool, (1..=200).map(|number| (PEER, number, name.into(), expires)));
        let world = World::new(&spool);
        assert!(world.letters.state().parked.is_empty(), "{name}");
        world.letters.until(|letters| letters.state().incoming[&PEER].logs.count() == 0).await;
        world.settle().await;
        let refused = world.spool.load(REFUSED).unwrap();
        let why: Refusal = decode_message(&refused[0].1).unwrap();
        assert_eq!((refused.len(), why.why.kind), (200, kind));
    }
}

#[actix::test]
async fn who_is_revoked_for_a_name_has_nothing_that_waits_for_it() {
    let world = World::new(&Arc::default());
    world.take(LOG, 1, "nobody", b"").unwrap();
    world.take(LOG, 2, "nobody", b"").unwrap();
    world.settle().await;
    world.forbidden.lock().unwrap().insert("nobody".into());
    world.letters.look_at_trust(None);
    world.letters.until(|letters| letters.state().incoming[&PEER].logs.count() == 0).await;
    world.settle().await;
    let forbidden = RemoteErrorKind::Forbidden.code();
    assert_eq!(world.said().0[2..], [(1, forbidden), (2, forbidden)]);
}

/// Puts letters into a spool, as an earlier life holds them.
fn hold(spool: &MemoryStore, letters: impl Iterator<Item = (PeerId, u64, String, u64)>) {
    let mut changes = Vec::new();
    for (peer, number, name, expires) in letters {
        let taken = Taken { highest: number, order: 0 };
        let letter = Letter {
            name,
            message: "test.Note".into(),
            version: 1,
            created: 0,
            expires,
            dead: None,
            body: Vec::new(),
            trace: None,
            on_behalf: None,
        };
        changes.push(record::put(MAIL_LOGS, record::log_key(peer, LOG), &taken));
        changes.push(record::put(MAIL, record::key(peer, LOG, number), &letter));
    }
    spool.write(changes).unwrap();
}
