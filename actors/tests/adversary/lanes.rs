//! A trusted peer that breaks the protocol on a bulk lane. What may be the road's fault closes the
//! lane, what is the peer's own closes the link; either way the transfer goes on when the peer
//! comes to its senses.

use estafette::wire::{Control, ControlSealer, FrameHeader, FrameKind, HEADER_LENGTH};

use super::forge::Forgery;
use super::peer::{MAX_FRAME, frame};
use super::world::{CHUNK, WINDOW, World, link_down};

/// The bytes that go wrong, and whether the link closes with them.
type Wrong = (&'static str, bool, fn(&Forgery, &mut ControlSealer) -> Vec<u8>);

fn chunk_header(forgery: &Forgery, len: u32, index: u64) -> FrameHeader {
    FrameHeader { len, kind: FrameKind::Chunk, flags: 0, stream: forgery.stream(), index }
}

fn spoilt(forgery: &Forgery, at: usize, value: u8) -> Vec<u8> {
    let mut bytes = forgery.chunk(1, &[1; CHUNK]);
    bytes[at] = value;
    bytes
}

const CASES: [Wrong; 14] = [
    ("longer than was agreed on", false, |forgery, _| {
        frame(chunk_header(forgery, MAX_FRAME + 1, 1), &[])
    }),
    ("longer than memory", false, |forgery, _| frame(chunk_header(forgery, u32::MAX, 1), &[])),
    ("longer than its transfer's chunks", false, |forgery, _| {
        frame(chunk_header(forgery, CHUNK as u32 + 33, 1), &[])
    }),
    ("shorter than a tag", false, |forgery, _| frame(chunk_header(forgery, 15, 1), &[0; 15])),
    ("of an unknown kind", false, |forgery, _| spoilt(forgery, 4, 9)),
    ("with unknown flags", false, |forgery, _| spoilt(forgery, 5, 2)),
    ("with a reserved field set", false, |forgery, _| spoilt(forgery, 7, 1)),
    ("beyond its credit", false, |forgery, _| forgery.chunk((WINDOW / CHUNK) as u64, &[1; CHUNK])),
    ("at the end of all indices", false, |forgery, _| forgery.chunk(u64::MAX, &[1; CHUNK])),
    ("a control message with a bad tag", false, |_, sealer| {
        let mut bytes = sealer.seal_control(&Control::Done { stream: 1 }).unwrap();
        bytes[HEADER_LENGTH] ^= 1;
        bytes
    }),
    ("a control message without a tag", false, |_, _| frame(FrameHeader::control(0), &[])),
    ("a control message that means nothing", true, |_, sealer| sealer.seal(&[99; 40]).unwrap()),
    ("a control message that belongs on the link", true, |_, sealer| {
        sealer.seal_control(&Control::Ping { nonce: 1 }).unwrap()
    }),
    ("an opening", true, |forgery, sealer| {
        sealer.seal_control(&Control::Open(Box::new(forgery.opening.clone()))).unwrap()
    }),
];

#[tokio::test]
async fn a_frame_that_must_not_be_closes_the_lane_and_harms_no_transfer() {
    let mut world = World::new(1).await;
    for (number, (what, closes_link, bytes)) in (0..).zip(CASES) {
        let mut link = world.mallory.link().await;
        let forgery = Forgery::numbered(&world.mallory, number);
        let mut lane = forgery.begin(&world.mallory, &mut link).await;
        let mut events = world.paris.events();
        lane.send(&forgery.chunk(0, &[7; CHUNK])).await;
        lane.acknowledged(forgery.stream(), [0]).await;
        let bytes = bytes(&forgery, &mut lane.0.sealer);
        lane.send(&bytes).await;
        lane.closes().await;
        if closes_link {
            let goodbye = link.closes().await;
            assert!(
                goodbye.as_ref().is_some_and(|reason| reason.contains("broke the protocol")),
                "{what}: {goodbye:?}"
            );
            assert!(
                link_down(&mut events, world.mallory.id()).await.contains("broke the protocol"),
                "{what}"
            );
            link = world.mallory.link().await;
            forgery.open(&mut link).await;
        }
        // The same transfer, by a new lane.
        let mut lane = world.mallory.lane(&mut link, 1).await;
        let content = [vec![7; CHUNK], vec![8; 100]].concat();
        lane.send(&forgery.chunk(1, &content[CHUNK..])).await;
        lane.send(&forgery.true_trailer(&content)).await;
        assert_eq!(forgery.ends(&mut link).await, Ok(()), "{what}");
        world.check(&content).await;
    }
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn chunks_of_no_transfer_are_passed_by() {
    let mut world = World::new(2).await;
    let mut link = world.mallory.link().await;
    let forgery = Forgery::new(&world.mallory);
    let mut lane = forgery.begin(&world.mallory, &mut link).await;
    for stream in [0, 2, 3, 99, u64::MAX] {
        let nobodys = FrameHeader {
            len: 100,
            kind: FrameKind::Chunk,
            flags: 0,
            stream: stream + forgery.stream() % 2,
            index: stream,
        };
        if nobodys.stream != forgery.stream() {
            lane.send(&frame(nobodys, &[1; 100])).await;
        }
    }
    // As long as any may be, and nothing of it is kept.
    lane.send(&frame(
        FrameHeader {
            len: MAX_FRAME,
            ..chunk_header(&forgery.clone().with(|opening| opening.stream += 2), 0, 0)
        },
        &vec![1; MAX_FRAME as usize],
    ))
    .await;
    lane.send(&forgery.chunk(0, b"mine")).await;
    lane.send(&forgery.true_trailer(b"mine")).await;
    assert_eq!(forgery.ends(&mut link).await, Ok(()));
    world.check(b"mine").await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_lane_that_breaks_in_the_middle_of_a_frame_leaves_its_chunk_to_be_sent_again() {
    let mut world = World::new(3).await;
    let mut link = world.mallory.link().await;
    let forgery = Forgery::new(&world.mallory);
    forgery.open(&mut link).await;
    let content = vec![5; CHUNK];
    let chunk = forgery.chunk(0, &content);
    for cut in [1, 23, 24, 25, 40, chunk.len() - 1] {
        let mut lane = world.mallory.lane(&mut link, 0).await;
        lane.send(&chunk[..cut]).await;
    }
    let mut lane = world.mallory.lane(&mut link, 0).await;
    lane.send(&chunk).await;
    lane.send(&forgery.true_trailer(&content)).await;
    assert_eq!(forgery.ends(&mut link).await, Ok(()));
    world.check(&content).await;
    world.unharmed_by_mallory().await;
}
