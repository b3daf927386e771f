//! Before anybody has proved who they are: bytes that are no protocol, or only the beginning of it.

use std::time::Duration;

use estafette::node::NodeEvent;
use estafette::testing::Random;
use estafette::wire::{
    Answer, Control, HANDSHAKE_LIMIT, LinkInitiator, PREAMBLE_LENGTH, Preamble, PreambleReply, Purpose, RefuseReason, VersionRange,
    frame_handshake,
};
use estafette::{FailureKind, Identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::peer::{Mallory, Server, closed, handshake_message, offer, preambles, reply_to};
use super::world::{World, event, failure, refused, source, within};

fn other_versions() -> VersionRange {
    VersionRange::new(2, 3).unwrap()
}

#[tokio::test]
async fn what_is_no_preamble_closes_the_connection_and_says_why() {
    let world = World::new(1).await;
    let mut events = world.paris.events();
    let preamble = Preamble::new(Purpose::Link).encode();
    let spoilt = |at: usize, value: u8| {
        let mut bytes = preamble;
        bytes[at] = value;
        bytes.to_vec()
    };
    let mut cases = vec![
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), "does not speak estafette"),
        ([&[0x16, 3, 1, 2, 0, 1][..], &[0; 64]].concat(), "does not speak estafette"),
        (vec![0; PREAMBLE_LENGTH], "does not speak estafette"),
        (vec![0xff; 100_000], "does not speak estafette"),
        (spoilt(4, 9), "are no range"),
        (spoilt(8, 7), "the purpose 7"),
        (spoilt(9, 1), "reserved bytes"),
        (spoilt(20, 1), "reserved bytes"),
    ];
    let mut random = Random::seeded(1);
    cases.extend((0..20).map(|_| {
        let length = PREAMBLE_LENGTH + random.below(5000) as usize;
        (random.bytes(length), "does not speak estafette")
    }));
    for (bytes, wanted) in cases {
        let mut io = world.mallory.connect().await;
        // The node may close in the middle of it.
        let _ = io.write_all(&bytes).await;
        closed(io).await;
        let reason = refused(&mut events).await;
        assert!(reason.contains(wanted), "{reason}");
    }
    world.unharmed().await;
}

#[tokio::test]
async fn a_dialler_of_another_version_is_told_which_are_spoken_here() {
    let world = World::new(2).await;
    let mut events = world.paris.events();
    let mut io = world.mallory.connect().await;
    let theirs = Preamble { versions: other_versions(), purpose: Purpose::Link };
    let reply = reply_to(&mut io, &theirs).await;
    assert_eq!(reply, PreambleReply::new(Answer::VersionUnsupported));
    for error in [reply.accept(&theirs).unwrap_err().to_string(), refused(&mut events).await] {
        assert!(error.contains("version 1") && error.contains("versions 2 to 3"), "{error}");
    }
    closed(io).await;
    world.unharmed().await;
}

#[tokio::test]
async fn a_node_that_dials_what_it_cannot_speak_with_fails_at_once_and_names_both_versions() {
    let mut world = World::new(3).await;
    let server = Server::start(world.mallory.identity.clone()).await;
    world.lyon.trust().add(world.mallory.id(), trusted_at(&server)).unwrap();
    let reply = |versions, answer| PreambleReply { versions, answer }.encode().to_vec();
    let both: &[&str] = &["version 1", "versions 2 to 3"];
    let cases: [(Vec<u8>, &[&str]); 6] = [
        (reply(other_versions(), Answer::VersionUnsupported), both),
        (reply(other_versions(), Answer::Chosen(3)), both),
        (reply(VersionRange::OURS, Answer::Chosen(2)), &["chose version 2"]),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), &["does not speak estafette"]),
        (reply(VersionRange::OURS, Answer::Busy), &["too many handshakes"]),
        (Vec::new(), &["closed the connection at once"]),
    ];
    for (bytes, wanted) in cases {
        let transfer = world.lyon.send("mallory/in", source(b"x")).await.unwrap();
        // No answer at all may be an accident, so it is dialled again.
        for _ in 0..if bytes.is_empty() { 3 } else { 1 } {
            let mut io = server.accept().await;
            io.write_all(&bytes).await.unwrap();
            io.shutdown().await.unwrap();
        }
        let failure = failure(&transfer).await;
        assert_eq!(failure.kind, FailureKind::Unreachable);
        assert!(wanted.iter().all(|wanted| failure.message.contains(wanted)), "{failure}");
    }
    world.honest_delivery().await;
    world.unharmed().await;
}

fn trusted_at(server: &Server) -> estafette::TrustedPeer {
    estafette::TrustedPeer { addresses: vec![server.address()], ..estafette::TrustedPeer::new("mallory") }
}

#[tokio::test]
async fn a_handshake_that_stops_anywhere_is_given_up() {
    let world = World::new(4).await;
    let mut events = world.paris.events();
    for length in 0..PREAMBLE_LENGTH {
        let mut io = world.mallory.connect().await;
        io.write_all(&Preamble::new(Purpose::Link).encode()[..length]).await.unwrap();
        io.shutdown().await.unwrap();
        closed(io).await;
        refused(&mut events).await;
    }
    for half in [0, 1, 2, 3, 50, 96] {
        let mut io = world.mallory.connect().await;
        let preambles = preambles(&mut io, Purpose::Link).await;
        let (message, _) = LinkInitiator::new(&world.mallory.identity, world.mallory.target, &preambles).unwrap().start(&offer()).unwrap();
        io.write_all(&frame_handshake(&message).unwrap()[..half]).await.unwrap();
        io.shutdown().await.unwrap();
        closed(io).await;
        refused(&mut events).await;
    }
    world.unharmed().await;
}

#[tokio::test]
async fn a_handshake_of_a_wrong_length_or_wrong_bytes_is_refused() {
    let world = World::new(5).await;
    let mut events = world.paris.events();
    let mut random = Random::seeded(5);
    for length in [0, HANDSHAKE_LIMIT as u16 + 1, u16::MAX] {
        let mut io = world.mallory.connect().await;
        preambles(&mut io, Purpose::Link).await;
        io.write_all(&length.to_le_bytes()).await.unwrap();
        closed(io).await;
        let reason = refused(&mut events).await;
        assert!(reason.contains(&format!("has {length} bytes")), "{reason}");
    }
    for _ in 0..40 {
        let mut io = world.mallory.connect().await;
        let preambles = preambles(&mut io, Purpose::Link).await;
        let (message, _) = LinkInitiator::new(&world.mallory.identity, world.mallory.target, &preambles).unwrap().start(&offer()).unwrap();
        let mut message = frame_handshake(&message).unwrap();
        let (at, mask) = (2 + random.below(message.len() as u64 - 2) as usize, 1 << random.below(8));
        message[at] ^= mask;
        io.write_all(&message).await.unwrap();
        closed(io).await;
        let reason = refused(&mut events).await;
        assert!(reason.contains("handshake"), "{reason}");
    }
    world.unharmed().await;
}

#[tokio::test]
async fn bytes_that_come_one_at_a_time_have_as_long_as_any_handshake() {
    let world = World::new(6).await;
    let mut events = world.paris.events();
    let io = world.mallory.connect().await;
    let (reader, mut writer) = io.into_split();
    let dripping = async {
        for byte in Preamble::new(Purpose::Link).encode().into_iter().chain([0, 4]).chain(std::iter::repeat(7)) {
            if writer.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = dripping => {}
        () = closed(reader) => {}
    }
    let reason = refused(&mut events).await;
    assert!(reason.contains("no answer within 2s"), "{reason}");
    world.unharmed().await;
}

#[tokio::test]
async fn who_is_not_trusted_learns_that_and_nothing_else() {
    let world = World::new(7).await;
    let stranger = Mallory { identity: Identity::generate(), ..world.mallory.clone() };
    let mut events = world.paris.events();
    for (token, wanted) in [(None, RefuseReason::Untrusted), (Some([7; 32].into()), RefuseReason::TicketUnknown)] {
        let mut link = stranger.handshake().await;
        link.say(&Control::Hello { name: "\u{1b}[2Jroot".into(), token, inbox: Some("in".into()) }).await;
        let answer = link.hear().await;
        assert!(matches!(&answer, Some(Control::Refuse { reason }) if *reason == wanted), "{answer:?}");
        assert_eq!(link.hear().await.map(|control| control.name()), None, "the connection closes");
        let NodeEvent::Refused { who, .. } = event(&mut events, |event| matches!(event, NodeEvent::Refused { .. })).await else {
            unreachable!()
        };
        assert!(!who.contains('\u{1b}'), "a stranger's name controls no terminal");
    }
    assert!(world.paris.trust().peer(&stranger.id()).is_none());
    world.unharmed().await;
}

#[tokio::test]
async fn the_first_message_must_be_a_hello() {
    let world = World::new(8).await;
    let mut events = world.paris.events();
    let stream = 1;
    for control in
        [Control::Ping { nonce: 1 }, Control::LaneRequest { lane: 0 }, Control::Done { stream }, Control::Welcome { name: "x".into() }]
    {
        let mut link = world.mallory.handshake().await;
        link.say(&control).await;
        assert!(link.hear().await.is_none());
        assert!(refused(&mut events).await.contains("must be a hello"));
    }
    world.unharmed().await;
}

#[tokio::test]
async fn who_expects_another_key_gets_no_answer() {
    let world = World::new(9).await;
    let mut events = world.paris.events();
    let mut io = world.mallory.connect().await;
    let preambles = preambles(&mut io, Purpose::Link).await;
    let other = Identity::generate().peer();
    let (message, _) = LinkInitiator::new(&world.mallory.identity, other, &preambles).unwrap().start(&offer()).unwrap();
    io.write_all(&frame_handshake(&message).unwrap()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is as good as an end.
    let _ = within(io.read_to_end(&mut answer)).await;
    assert!(answer.is_empty());
    assert!(refused(&mut events).await.contains("does not verify"));
    world.unharmed().await;
}

#[tokio::test]
async fn a_dialled_node_that_is_somebody_else_is_found_out() {
    let mut world = World::new(10).await;
    let impostor = Server::start(Identity::generate()).await;
    world.lyon.trust().add(world.mallory.id(), trusted_at(&impostor)).unwrap();
    let transfer = world.lyon.send("mallory/in", source(b"x")).await.unwrap();
    let mut io = impostor.accept().await;
    let mut preamble = [0; PREAMBLE_LENGTH];
    within(io.read_exact(&mut preamble)).await.unwrap();
    io.write_all(&PreambleReply::new(Answer::Chosen(1)).encode()).await.unwrap();
    handshake_message(&mut io).await;
    // What an impostor can say: bytes it makes up.
    io.write_all(&frame_handshake(&[7; 80]).unwrap()).await.unwrap();
    let failure = failure(&transfer).await;
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.message.contains("does not verify"), "{failure}");
    closed(io).await;
    world.honest_delivery().await;
    world.unharmed().await;
}
