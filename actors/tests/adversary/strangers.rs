//! Before anybody has proved who they are: bytes that are no protocol, or only the beginning of it.

use std::time::Duration;

use estafette::node::NodeEvent;
use estafette::testing::Random;
use estafette::wire::{
    Answer, Control, HANDSHAKE_LIMIT, KNOCK_LENGTH, KnockKey, LinkInitiator, PREAMBLE_LENGTH,
    Preamble, PreambleReply, Purpose, RefuseReason, VersionRange, frame_handshake,
};
use estafette::{FailureKind, Identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::peer::{Mallory, Server, closed, handshake_message, offer, preambles, reply_to, silent};
use super::world::{World, event, failure, refused, source, within};

fn other_versions() -> VersionRange {
    VersionRange::new(2, 3).unwrap()
}

#[tokio::test]
async fn what_is_no_preamble_closes_the_connection_and_says_why() {
    let world = World::new(1).await;
    let mut events = world.paris.events();
    let key = world.mallory.key();
    let preamble = Preamble::new(Purpose::Link).encode(&key);
    // Of somebody who knows the key, and says what nobody says.
    let spoilt = |at: usize, value: u8| {
        let mut content = preamble[..PREAMBLE_LENGTH - KNOCK_LENGTH].to_vec();
        content[at] = value;
        let mac = key.of_preamble(&content);
        [content, mac.to_vec()].concat()
    };
    let mut changed = preamble.to_vec();
    changed[40] ^= 1;
    let other = KnockKey::of(Identity::generate().peer());
    let mut cases = vec![
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: scanner/1.0\r\n\r\n".to_vec(),
            "does not speak estafette",
        ),
        // Before there was a MAC, and with nothing in its place.
        ([&preamble[..28], &[0; 100]].concat(), "does not know this node's key"),
        (
            [&preamble[..PREAMBLE_LENGTH - KNOCK_LENGTH], &[0; KNOCK_LENGTH]].concat(),
            "does not know this node's key",
        ),
        (changed, "does not know this node's key"),
        (Preamble::new(Purpose::Link).encode(&other).to_vec(), "does not know this node's key"),
        (
            Preamble { versions: other_versions(), ..Preamble::new(Purpose::Link) }
                .encode(&other)
                .to_vec(),
            "does not know this node's key",
        ),
        (
            Preamble::new(Purpose::Lane([7; 16])).encode(&other).to_vec(),
            "does not know this node's key",
        ),
        ([&[0x16, 3, 1, 2, 0, 1][..], &[0; 64]].concat(), "does not speak estafette"),
        (vec![0; PREAMBLE_LENGTH], "does not speak estafette"),
        (vec![0xff; 100_000], "does not speak estafette"),
        (spoilt(4, 9), "is no range"),
        (spoilt(8, 7), "the purpose 7"),
        (spoilt(9, 1), "reserved bytes"),
        (spoilt(20, 1), "reserved bytes"),
        (spoilt(0, b'F'), "does not speak estafette"),
    ];
    let exchanged = world.paris.key_exchanges();
    let mut random = Random::seeded(1);
    cases.extend((0..20).map(|_| {
        let length = PREAMBLE_LENGTH + random.below(5000) as usize;
        (random.bytes(length), "does not speak estafette")
    }));
    for (bytes, wanted) in cases {
        let mut io = world.mallory.connect().await;
        // The node may close in the middle of it.
        let _ = io.write_all(&bytes).await;
        silent(io).await;
        let reason = refused(&mut events).await;
        assert!(reason.contains(wanted), "{reason}");
    }
    assert_eq!(world.paris.key_exchanges(), exchanged, "nothing was computed for any of them");
    world.unharmed().await;
}

#[tokio::test]
async fn a_dialler_of_another_version_is_told_which_are_spoken_here() {
    let world = World::new(2).await;
    let mut events = world.paris.events();
    let mut io = world.mallory.connect().await;
    let theirs = Preamble { versions: other_versions(), ..Preamble::new(Purpose::Link) };
    let reply = reply_to(&mut io, &world.mallory.key(), &theirs).await;
    assert_eq!((reply.answer, reply.versions), (Answer::VersionUnsupported, VersionRange::OURS));
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
    let reply = |versions, answer| {
        PreambleReply { versions, ..PreambleReply::new(answer) }.encode().to_vec()
    };
    let both: &[&str] = &["version 1", "versions 2 to 3"];
    let cases: [(Vec<u8>, &[&str]); 6] = [
        (reply(other_versions(), Answer::VersionUnsupported), both),
        (reply(other_versions(), Answer::Chosen(3)), both),
        (reply(VersionRange::OURS, Answer::Chosen(2)), &["chose version 2"]),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\nyou are no browser".to_vec(),
            &["does not speak estafette"],
        ),
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
    estafette::TrustedPeer {
        addresses: vec![server.address()],
        ..estafette::TrustedPeer::new("mallory")
    }
}

#[tokio::test]
async fn a_handshake_that_stops_anywhere_is_given_up() {
    let world = World::new(4).await;
    let mut events = world.paris.events();
    for length in 0..PREAMBLE_LENGTH {
        let mut io = world.mallory.connect().await;
        io.write_all(&Preamble::new(Purpose::Link).encode(&world.mallory.key())[..length])
            .await
            .unwrap();
        io.shutdown().await.unwrap();
        silent(io).await;
        refused(&mut events).await;
    }
    for half in [0, 1, 2, 3, 50, 96, 120] {
        let mut io = world.mallory.connect().await;
        let preambles = preambles(&mut io, &world.mallory.key(), Purpose::Link).await;
        let (message, _) =
            LinkInitiator::new(&world.mallory.identity, world.mallory.target, &preambles)
                .unwrap()
                .start(&offer())
                .unwrap();
        io.write_all(&world.mallory.first(&preambles, message)[..half]).await.unwrap();
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
        preambles(&mut io, &world.mallory.key(), Purpose::Link).await;
        io.write_all(&length.to_le_bytes()).await.unwrap();
        closed(io).await;
        let reason = refused(&mut events).await;
        assert!(reason.contains(&format!("has {length} bytes")), "{reason}");
    }
    for round in 0..40 {
        let mut io = world.mallory.connect().await;
        let preambles = preambles(&mut io, &world.mallory.key(), Purpose::Link).await;
        let (mut message, _) =
            LinkInitiator::new(&world.mallory.identity, world.mallory.target, &preambles)
                .unwrap()
                .start(&offer())
                .unwrap();
        let exchanged = world.paris.key_exchanges();
        let mut flip = |message: &mut [u8]| {
            message[random.below(message.len() as u64) as usize] ^= 1 << random.below(8)
        };
        // By whoever knows the key before its MAC is made, which only the exchange of keys can
        // tell; and by the road.
        let known = round % 2 == 0;
        if known {
            flip(&mut message);
        }
        let mut first = world.mallory.first(&preambles, message);
        if !known {
            flip(&mut first[2..]);
        }
        io.write_all(&first).await.unwrap();
        silent(io).await;
        let reason = refused(&mut events).await;
        assert!(
            reason.contains(if known { "does not verify" } else { "does not fit this connection" }),
            "{reason}"
        );
        assert_eq!(world.paris.key_exchanges() - exchanged, u64::from(known));
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
        for byte in Preamble::new(Purpose::Link)
            .encode(&world.mallory.key())
            .into_iter()
            .chain([0, 4])
            .chain(std::iter::repeat(7))
        {
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
    for (token, wanted) in
        [(None, RefuseReason::Untrusted), (Some([7; 32].into()), RefuseReason::TicketUnknown)]
    {
        let mut link = stranger.handshake().await;
        link.say(&Control::Hello { name: "\u{1b}[2Jroot".into(), token, inbox: Some("in".into()) })
            .await;
        let answer = link.hear().await;
        assert!(
            matches!(&answer, Some(Control::Refuse { reason }) if *reason == wanted),
            "{answer:?}"
        );
        assert_eq!(link.hear().await.map(|control| control.name()), None, "the connection closes");
        let NodeEvent::Refused { who, .. } =
            event(&mut events, |event| matches!(event, NodeEvent::Refused { .. })).await
        else {
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
    for control in [
        Control::Ping { nonce: 1 },
        Control::LaneRequest { lane: 0 },
        Control::Done { stream },
        Control::Welcome { name: "x".into() },
    ] {
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
    let preambles = preambles(&mut io, &world.mallory.key(), Purpose::Link).await;
    let other = Identity::generate().peer();
    let (message, _) = LinkInitiator::new(&world.mallory.identity, other, &preambles)
        .unwrap()
        .start(&offer())
        .unwrap();
    io.write_all(&world.mallory.first(&preambles, message)).await.unwrap();
    silent(io).await;
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
