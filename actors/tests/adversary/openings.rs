//! Openings that make no sense: each is rejected with its reason, and the link stands.

use estafette::delivery::TransferKey;
use estafette::node::TrustedPeer;
use estafette::wire::{Control, Opening, SecretBytes, Suite};
use estafette::{FailureKind, TransferNews};
use estafette_actors::standard;

use super::forge::Forgery;
use super::world::{CHUNK, WINDOW, World, news};

const YEAR: u64 = 365 * 24 * 3600;

#[tokio::test]
async fn an_absurd_opening_is_rejected_with_its_reason() {
    let world = World::new(1).await;
    let mut link = world.mallory.link().await;
    type Change = Box<dyn FnOnce(&mut Opening)>;
    let change = |kind: FailureKind, reason: &'static str, change: fn(&mut Opening)| {
        (kind, reason, Box::new(change) as Change)
    };
    use FailureKind::*;
    let cases = [
        change(Protocol, "chunk size of 0", |opening| opening.chunk_size = 0),
        change(Protocol, "chunk size of 1 ", |opening| opening.chunk_size = 1),
        change(Protocol, "chunk size of 512", |opening| opening.chunk_size = 512),
        change(Protocol, "not a power of two", |opening| opening.chunk_size = 4097),
        change(Protocol, "not a power of two", |opening| opening.chunk_size = u32::MAX),
        change(Protocol, "not a power of two", |opening| opening.chunk_size = 8 << 20),
        change(Refused, "too large here", |opening| opening.chunk_size = WINDOW as u32),
        change(Refused, "too large here", |opening| opening.chunk_size = 4 << 20),
        change(Expired, "expired", |opening| opening.remaining = 0),
        change(Refused, "is the most", |opening| opening.remaining = YEAR),
        change(Refused, "is the most", |opening| opening.remaining = u64::MAX),
        change(Stage, "can't undo", |opening| opening.stages = vec!["no such stage".into()]),
        change(Stage, "can't undo", |opening| opening.stages = vec![String::new(); 8]),
        change(Stage, "can't undo", |opening| opening.suite = Suite(0)),
        change(Stage, "can't undo", |opening| opening.suite = Suite(u16::MAX)),
        change(Integrity, "not the one committed to", |opening| opening.commit[31] ^= 1),
        change(Integrity, "not the one committed to", |opening| {
            opening.key = SecretBytes::new(*TransferKey::random().as_bytes())
        }),
        // Where the suite is known, the key was committed to for another one.
        match standard().stages().suites().contains(&Suite::AES_256_GCM) {
            true => {
                change(Integrity, "for its suite", |opening| opening.suite = Suite::AES_256_GCM)
            }
            false => change(Stage, "sealed with AES-256-GCM", |opening| {
                opening.suite = Suite::AES_256_GCM
            }),
        },
        change(Refused, "no inbox", |opening| opening.inbox = "elsewhere".into()),
        change(Refused, "no inbox", |opening| opening.inbox = "../in".into()),
        change(Refused, "no inbox", |opening| opening.inbox = String::new()),
        change(Refused, "holds", |opening| opening.content.length = Some(u64::MAX)),
        change(Protocol, "not the sender's to use", |opening| opening.stream += 1),
        change(Protocol, "not the sender's to use", |opening| {
            opening.stream = u64::MAX - u64::from(opening.stream % 2 == 1)
        }),
    ];
    for (kind, reason, change) in cases {
        let failure =
            Forgery::new(&world.mallory).with(change).offer(&mut link).await.expect_err(reason);
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.contains(reason), "{failure}");
    }
    link.stands().await;
    assert_eq!(world.paris.held().await.running, 0);
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn the_dates_of_another_clock_are_no_reason_to_refuse() {
    let world = World::new(3).await;
    let mut link = world.mallory.link().await;
    for (number, (created, expires)) in
        (0..).zip([(0, 0), (0, 1), (u64::MAX, u64::MAX), (u64::MAX, 0), (0, u64::MAX)])
    {
        let forgery = Forgery::numbered(&world.mallory, number)
            .with(|opening| (opening.created, opening.expires) = (created, expires));
        forgery
            .offer(&mut link)
            .await
            .unwrap_or_else(|failure| panic!("{created} to {expires}: {failure}"));
        // More than three at once wait for room.
        forgery.cancel(&mut link).await;
    }
    link.stands().await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn names_that_no_opening_may_bring_close_the_link() {
    let world = World::new(2).await;
    let honest = Control::Open(Box::new(Forgery::new(&world.mallory).opening)).encode().unwrap();
    let at = honest.windows(6).position(|six| six == b"forged").unwrap();
    for name in [b"../../", b"a/b/c/", b"nul\0\0\0"] {
        let mut link = world.mallory.link().await;
        let mut bytes = honest.clone();
        bytes[at..at + 6].copy_from_slice(name);
        let frame = link.channel.sealer.seal(&bytes).unwrap();
        link.channel.say_bytes(&frame).await;
        link.closes().await;
    }
    let mut events = world.paris.events();
    let mut link = world.mallory.link().await;
    // Fields that are longer than they may be: the codec of this side does not write them.
    let long = Forgery::new(&world.mallory).with(|opening| opening.inbox = "x".repeat(129));
    assert!(Control::Open(Box::new(long.opening)).encode().is_err());
    let mut bytes = honest.clone();
    let length = bytes
        .windows(10)
        .position(|ten| ten == [&2_u64.to_le_bytes()[..], b"in"].concat())
        .unwrap();
    bytes.splice(length..length + 10, [&129_u64.to_le_bytes()[..], &[b'x'; 129]].concat());
    let frame = link.channel.sealer.seal(&bytes).unwrap();
    link.channel.say_bytes(&frame).await;
    link.closes().await;
    let why = super::world::link_down(&mut events, world.mallory.id()).await;
    assert!(why.contains("129 bytes, at most 128"), "{why}");
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn an_inbox_that_is_not_a_peers_is_closed_to_it() {
    let world = World::new(3).await;
    world
        .paris
        .trust()
        .add(
            world.mallory.id(),
            TrustedPeer { inboxes: vec!["other".into()], ..TrustedPeer::new("mallory") },
        )
        .unwrap();
    let mut link = world.mallory.link().await;
    let failure = Forgery::new(&world.mallory).offer(&mut link).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Untrusted);
    let unknown = Forgery::new(&world.mallory)
        .with(|opening| opening.inbox = "secret".into())
        .offer(&mut link)
        .await
        .unwrap_err();
    assert_eq!(unknown.kind, FailureKind::Untrusted, "whether there is such an inbox is not told");
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_stream_in_use_is_not_taken_over_and_an_older_attempt_is_not_taken_up() {
    let world = World::new(4).await;
    let mut link = world.mallory.link().await;
    let first = Forgery::new(&world.mallory).with(|opening| opening.attempt = 5);
    first.open(&mut link).await;
    let same_stream = Forgery::new(&world.mallory).offer(&mut link).await.unwrap_err();
    assert!(same_stream.message.contains("in use"), "{same_stream}");
    let older = Forgery::numbered(&world.mallory, 1)
        .with(|opening| (opening.transfer, opening.attempt) = (first.opening.transfer, 5));
    assert!(older.offer(&mut link).await.unwrap_err().message.contains("newer attempt"));
    let newest = Forgery::numbered(&world.mallory, 2)
        .with(|opening| (opening.transfer, opening.attempt) = (first.opening.transfer, u32::MAX));
    newest.open(&mut link).await;
    let mut lane = world.mallory.lane(&mut link, 0).await;
    // The first attempt is over: its chunks are passed by.
    lane.send(&first.chunk(0, &[1; CHUNK])).await;
    lane.send(&newest.chunk(0, b"end")).await;
    lane.send(&newest.true_trailer(b"end")).await;
    newest.ends(&mut link).await.unwrap();
    let mut world = world;
    world.check(b"end").await;
    // The delivery is remembered: offered again, under another key, it is answered and not
    // repeated.
    let key = TransferKey::random();
    let again = Forgery::numbered(&world.mallory, 3).with(|opening| {
        opening.transfer = newest.opening.transfer;
        (opening.key, opening.commit) =
            (SecretBytes::new(*key.as_bytes()), key.commitment(opening.suite));
    });
    link.say(&Control::Open(Box::new(again.opening.clone()))).await;
    again.ends(&mut link).await.unwrap();
    assert!(world.arrived.try_recv().is_err());
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn what_a_sender_has_accepted_and_knows_nothing_of_takes_no_room() {
    let world = World::new(3).await;
    let mut link = world.mallory.link().await;
    let mut events = world.paris.events();
    let forgery = Forgery::new(&world.mallory);
    forgery.open(&mut link).await;
    assert_eq!(world.paris.held().await.running, 1);
    link.say(&Control::Unknown { stream: forgery.stream() }).await;
    let TransferNews::Failed { failure } =
        news(&mut events, |news| matches!(news, TransferNews::Failed { .. })).await
    else {
        unreachable!("waited for just that");
    };
    assert_eq!(failure.kind, FailureKind::Unreachable, "a later attempt may go on");
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_new_process_of_a_peer_ends_what_an_earlier_one_began_and_no_other() {
    let world = World::new(4).await;
    let mut events = world.paris.events();
    let (mut link, forgery) = (world.mallory.link().await, Forgery::new(&world.mallory));
    link.say(&Control::Process { incarnation: [1; 16] }).await;
    forgery.open(&mut link).await;
    drop(link);
    // The same one again, by another link.
    let mut link = world.mallory.link().await;
    link.say(&Control::Process { incarnation: [1; 16] }).await;
    forgery.open(&mut link).await;
    assert_eq!(world.paris.held().await.running, 1);
    link.say(&Control::Process { incarnation: [2; 16] }).await;
    news(&mut events, |news| matches!(news, TransferNews::Failed { failure } if failure.message.contains("process has ended"))).await;
    world.unharmed_by_mallory().await;
}
