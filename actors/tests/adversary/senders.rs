//! A trusted sender whose chunks are sealed right, and lie.

use std::sync::Arc;

use bytes::Bytes;
use estafette::FailureKind;
use estafette::delivery::Trailer;
use estafette::pipeline::{
    Codec, Committed, Inbox, Offer, Placement, Prefix, Refusal, Sink, SinkError, Summary,
};
use estafette::wire::FLAG_LAST;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::forge::{Forgery, true_trailer};
use super::peer::{Heard, Lane, Link};
use super::world::{CHUNK, World, within};

struct Sending {
    world: World,
    link: Link,
    lane: Lane,
    forgery: Forgery,
}

impl Sending {
    async fn begin(seed: u64, inbox: &str) -> Self {
        Self::by(World::new(seed).await, inbox).await
    }

    async fn by(world: World, inbox: &str) -> Self {
        let mut link = world.mallory.link().await;
        let forgery = Forgery::new(&world.mallory).with(|opening| opening.inbox = inbox.into());
        let lane = forgery.begin(&world.mallory, &mut link).await;
        Self { world, link, lane, forgery }
    }

    /// The next transfer on the same link.
    async fn again(&mut self, number: u64) {
        self.forgery = Forgery::numbered(&self.world.mallory, number);
        self.forgery.open(&mut self.link).await;
    }

    async fn fails(&mut self, kind: FailureKind, reason: &str) {
        let failure = self.forgery.ends(&mut self.link).await.expect_err(reason);
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(
            reason.split(" or ").any(|reason| failure.message.contains(reason)),
            "{failure} instead of {reason}"
        );
        assert!(self.world.arrived.try_recv().is_err(), "nothing of it arrived");
    }

    async fn unharmed(self) {
        drop((self.link, self.lane));
        self.world.unharmed_by_mallory().await;
    }
}

#[tokio::test]
async fn a_bomb_costs_one_chunk_and_its_transfer() {
    let mut sending = Sending::begin(1, "in").await;
    let squeeze = |length: usize| snap::raw::Encoder::new().compress_vec(&vec![0; length]).unwrap();
    // What is said to come out, what comes out, and what is said about it.
    let full = CHUNK as u32;
    let bombs: [(Codec, u32, Vec<u8>, &str); 12] = [
        // As much as fits into a frame.
        (Codec::SNAPPY, full, squeeze(20 * CHUNK), "would decompress to 81920"),
        (Codec::SNAPPY, full, squeeze(CHUNK + 1), "would decompress to 4097"),
        (Codec::SNAPPY, full, squeeze(CHUNK - 1), "would decompress to 4095"),
        (Codec::SNAPPY, u32::MAX, squeeze(CHUNK), "a chunk of 4294967295 bytes"),
        (Codec::SNAPPY, full + 1, squeeze(CHUNK + 1), "a chunk of 4097 bytes"),
        (Codec::SNAPPY, 0, squeeze(0), "a chunk of 0 bytes"),
        // Says it is as long as allowed, and ends early.
        (Codec::SNAPPY, full, squeeze(CHUNK)[..20].to_vec(), "snappy"),
        // Claims 4 GiB in its own header.
        (
            Codec::SNAPPY,
            full,
            vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0],
            "would decompress to 4294967295",
        ),
        (Codec::SNAPPY, full, Vec::new(), "would decompress to 0"),
        (Codec::RAW, full, vec![0; 10], "a raw chunk of 10 bytes that says 4096"),
        (Codec::RAW, u32::MAX, vec![0; 10], "a chunk of 4294967295 bytes"),
        (Codec(7), full, vec![0; CHUNK], "codec 7"),
    ];
    for (number, (codec, raw_len, body, reason)) in (1..).zip(bombs) {
        sending.again(number).await;
        let chunk = sending.forgery.chunk_with(0, Prefix { codec, raw_len, index: 0 }, &body);
        sending.lane.send(&chunk).await;
        sending.fails(FailureKind::Protocol, reason).await;
    }
    Forgery::new(&sending.world.mallory).cancel(&mut sending.link).await;
    sending.unharmed().await;
}

#[tokio::test]
async fn a_box_that_is_not_what_its_frame_says_fails_its_transfer() {
    let mut sending = Sending::begin(2, "in").await;
    let good = Prefix { codec: Codec::RAW, raw_len: 4, index: 0 };
    let boxed = |prefix: Prefix, at: usize, value: u8| {
        let mut bytes = [&prefix.encode()[..], b"body"].concat();
        bytes[at] = value;
        bytes
    };
    let cases: [(Vec<u8>, bool, &str); 8] = [
        (boxed(Prefix { index: 1, ..good }, 0, 0), false, "sealed as another one, 1"),
        (boxed(good, 15, 1), false, "sealed as another one"),
        (boxed(good, 1, 1), false, "reserved field"),
        (boxed(good, 2, 1), false, "reserved field"),
        (boxed(Prefix { codec: Codec::TRAILER, ..good }, 0, 255), false, "sealed as another one"),
        (boxed(good, 0, 0), true, "sealed as another one"),
        (Vec::new(), false, "too short for its prefix"),
        (vec![0; 15], false, "too short for its prefix"),
    ];
    for (number, (plain, last, reason)) in (1..).zip(cases) {
        sending.again(number).await;
        sending.lane.send(&sending.forgery.sealed(0, last, &plain)).await;
        sending.fails(FailureKind::Protocol, reason).await;
    }
    Forgery::new(&sending.world.mallory).cancel(&mut sending.link).await;
    sending.unharmed().await;
}

#[tokio::test]
async fn a_trailer_that_lies_is_found_out_and_nothing_is_committed() {
    let mut sending = Sending::begin(3, "in").await;
    let content = [vec![1; CHUNK], vec![2; 10]].concat();
    let truth = true_trailer(&content);
    let integrity = (FailureKind::Integrity, "not what the sender's trailer vouches for");
    let cases: [(u64, Trailer, (FailureKind, &str)); 7] = [
        (2, Trailer { length: truth.length + 1, ..truth }, integrity),
        (2, Trailer { length: u64::MAX, ..truth }, integrity),
        (2, Trailer { length: 0, ..truth }, integrity),
        (2, Trailer { digest: [0; 32], ..truth }, integrity),
        (2, Trailer { chunks: 3, ..truth }, (FailureKind::Protocol, "the trailer says 3 chunks")),
        (1, Trailer { chunks: 1, ..truth }, (FailureKind::Protocol, "the trailer says 1 chunks")),
        (u64::MAX, truth, (FailureKind::Protocol, "the trailer says 2 chunks")),
    ];
    for (number, (index, trailer, (kind, reason))) in (1..).zip(cases) {
        sending.again(number).await;
        let (first, second) = (
            sending.forgery.chunk(0, &content[..CHUNK]),
            sending.forgery.chunk(1, &content[CHUNK..]),
        );
        sending.lane.send(&first).await;
        sending.lane.send(&second).await;
        sending.lane.acknowledged(sending.forgery.stream(), [0, 1]).await;
        sending.lane.send(&sending.forgery.trailer(index, &trailer)).await;
        sending.fails(kind, reason).await;
        // Its acknowledgement, if there was one, is none of the next transfer.
        sending.lane = sending.world.mallory.lane(&mut sending.link, (number % 2) as u16).await;
    }
    sending.again(20).await;
    let prefix = Prefix { codec: Codec::TRAILER, raw_len: 3, index: 0 };
    sending
        .lane
        .send(&sending.forgery.sealed(0, true, &[&prefix.encode()[..], b"end"].concat()))
        .await;
    sending.fails(FailureKind::Protocol, "a trailer has 48 bytes").await;
    Forgery::new(&sending.world.mallory).cancel(&mut sending.link).await;
    sending.unharmed().await;
}

#[tokio::test]
async fn content_that_goes_on_behind_its_end_or_has_two_ends_fails() {
    let mut sending = Sending::begin(4, "in").await;
    // The trailer first, then a chunk it denies.
    let trailer = sending.forgery.true_trailer(&[1; CHUNK]);
    sending.lane.send(&trailer).await;
    sending.lane.acknowledged(sending.forgery.stream(), [1]).await;
    sending.lane.send(&sending.forgery.chunk(1, b"more")).await;
    // Whichever of the two the assembler sees first.
    sending.fails(FailureKind::Protocol, "behind the end or the trailer says 1 chunks").await;
    // Two chunks shorter than a chunk.
    sending.again(1).await;
    sending.lane.send(&sending.forgery.chunk(0, b"short")).await;
    sending.lane.send(&sending.forgery.chunk(1, b"short")).await;
    sending.fails(FailureKind::Protocol, "more than one chunk is shorter").await;
    sending.unharmed().await;
}

#[tokio::test]
async fn a_chunk_sent_again_is_taken_once() {
    let mut sending = Sending::begin(5, "in").await;
    let content = [vec![1; CHUNK], vec![2; CHUNK], vec![3; 5]].concat();
    let chunks: Vec<_> = content
        .chunks(CHUNK)
        .enumerate()
        .map(|(index, bytes)| sending.forgery.chunk(index as u64, bytes))
        .collect();
    // Another content under an index that has been taken.
    let other = sending.forgery.chunk(0, &[9; CHUNK]);
    for _ in 0..50 {
        sending
            .lane
            .send(&[&chunks[0][..], &chunks[0], &chunks[1], &other, &chunks[1]].concat())
            .await;
    }
    sending.lane.acknowledged(sending.forgery.stream(), [0, 1]).await;
    sending.lane.send(&chunks[2]).await;
    sending.lane.send(&sending.forgery.true_trailer(&content)).await;
    assert_eq!(sending.forgery.ends(&mut sending.link).await, Ok(()));
    sending.world.check(&content).await;
    sending.unharmed().await;
}

#[tokio::test]
async fn a_chunk_damaged_once_is_asked_for_again_and_twice_is_the_end() {
    let mut sending = Sending::begin(6, "in").await;
    let mut damaged = sending.forgery.chunk(0, b"good");
    *damaged.last_mut().unwrap() ^= 1;
    sending.lane.send(&damaged).await;
    sending.forgery.asked_again(&mut sending.link, 0).await;
    sending.lane.closes().await;
    sending.lane = sending.world.mallory.lane(&mut sending.link, 0).await;
    sending.lane.send(&sending.forgery.chunk(0, b"good")).await;
    sending.lane.send(&sending.forgery.true_trailer(b"good")).await;
    assert_eq!(sending.forgery.ends(&mut sending.link).await, Ok(()));
    sending.world.check(b"good").await;
    sending.again(1).await;
    // Sealed as another index than its header names: the same as damage.
    let mut moved = sending.forgery.chunk(1, b"moved");
    moved[16] = 0;
    sending.lane.send(&moved).await;
    sending.forgery.asked_again(&mut sending.link, 0).await;
    sending.lane.closes().await;
    sending.lane = sending.world.mallory.lane(&mut sending.link, 0).await;
    sending.lane.send(&moved).await;
    sending.fails(FailureKind::Integrity, "its tag does not agree").await;
    sending.unharmed().await;
}

/// A sink that takes nothing until it may.
#[derive(Debug)]
struct Blocked(Arc<Semaphore>);

impl Inbox for Blocked {
    fn open(&self, _: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl Sink for Blocked {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(&'a mut self, _: u64, _: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async {
            // Closed when it may go on.
            let _ = self.0.acquire().await;
            Ok(())
        })
    }

    fn commit<'a>(&'a mut self, _: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async { Ok(Committed::default()) })
    }

    fn abort(&mut self, _: &str) {}
}

#[tokio::test]
async fn trailers_without_number_are_not_noted_while_the_sink_is_slow() {
    let world = World::new(7).await;
    let may = Arc::new(Semaphore::new(0));
    world.receive("slow", Blocked(Arc::clone(&may)));
    let mut sending = Sending::by(world, "slow").await;
    let content = [1; 100];
    sending.lane.send(&sending.forgery.chunk(0, &content)).await;
    sending.lane.send(&sending.forgery.true_trailer(&content)).await;
    sending.lane.acknowledged(sending.forgery.stream(), [0, 1]).await;
    // A copy of the true one does no harm; each that names another end closes the lane.
    sending.lane.send(&sending.forgery.true_trailer(&content)).await;
    for index in [0, 2, 77, u64::MAX] {
        let mut other = sending.forgery.true_trailer(&content);
        assert_eq!(other[5], FLAG_LAST);
        other[16..24].copy_from_slice(&index.to_le_bytes());
        sending.lane.send(&other).await;
        sending.lane.closes().await;
        sending.lane = sending.world.mallory.lane(&mut sending.link, 0).await;
    }
    may.close();
    assert_eq!(sending.forgery.ends(&mut sending.link).await, Ok(()));
    sending.unharmed().await;
}

#[tokio::test]
async fn acknowledgements_that_nobody_reads_are_said_together() {
    let mut sending = Sending::begin(8, "in").await;
    let chunk = sending.forgery.chunk(0, &[1; 64]);
    let copies = chunk.repeat(200);
    // Tens of thousands of copies; their acknowledgements are not read meanwhile.
    for _ in 0..200 {
        sending.lane.send(&copies).await;
    }
    sending.link.stands().await;
    sending.lane.send(&sending.forgery.true_trailer(&[1; 64])).await;
    let mut said = 0_usize;
    loop {
        tokio::select! {
            ended = sending.forgery.ends(&mut sending.link) => break assert_eq!(ended, Ok(())),
            heard = within(sending.lane.0.next()) => match heard {
                Some(Heard::Control(_)) => said += 1,
                other => panic!("{other:?}"),
            },
        }
    }
    assert!(said < 40_000, "{said}");
    sending.world.check(&[1; 64]).await;
    sending.unharmed().await;
}
