//! A hostile receiver: it grants what nobody has, vouches for what it was not sent, and asks again
//! and again.

use std::collections::BTreeMap;

use estafette::delivery::TransferKey;
use estafette::pipeline::Source;
use estafette::testing::Random;
use estafette::wire::{Control, Failure, Frame, Opening, Ranges, Receipt};
use estafette::{FailureKind, NodeConfig, SendOptions, TransferHandle, TrustedPeer};

use estafette_actors::source::{FileSource, ReadFirst, ReadOptions};

use super::peer::{Heard, Lane, Link, Server};
use super::world::{CHUNK, WINDOW, World, config, failure, source, within};

/// A transfer from paris, as mallory sees it.
pub(crate) struct Receiving {
    pub(crate) world: World,
    pub(crate) server: Server,
    pub(crate) link: Link,
    pub(crate) transfer: TransferHandle,
    pub(crate) opening: Opening,
}

impl Receiving {
    pub(crate) async fn begin(seed: u64, config: NodeConfig, bytes: &[u8]) -> Self {
        Self::begin_in(World::with(seed, config).await, bytes, SendOptions::default()).await
    }

    pub(crate) async fn begin_in(world: World, bytes: &[u8], options: SendOptions) -> Self {
        Self::begin_with(world, source(bytes), options).await
    }

    async fn begin_with(world: World, source: impl Source, options: SendOptions) -> Self {
        let server = Server::start(world.mallory.identity.clone()).await;
        let known =
            TrustedPeer { addresses: vec![server.address()], ..TrustedPeer::new("mallory") };
        world.paris.trust().add(world.mallory.id(), known).unwrap();
        let transfer = world.paris.send_with("mallory/in", source, options).await.unwrap();
        let mut link = server.link().await;
        let opening = link.until(opening).await;
        Self { world, server, link, transfer, opening }
    }

    pub(crate) async fn accept(&mut self, limit: u64) {
        let stream = self.opening.stream;
        self.link
            .say(&Control::Accept { stream, limit, received: Ranges::EMPTY, trailer: false })
            .await;
    }

    /// The lane that the node asks for.
    pub(crate) async fn lane(&mut self, number: u16) -> Lane {
        self.link
            .until(|control| {
                matches!(control, Control::LaneRequest { lane } if lane == number).then_some(())
            })
            .await;
        self.server.lane(&mut self.link, number).await
    }

    fn key(&self) -> TransferKey {
        TransferKey::from_bytes(*self.opening.key.expose())
    }

    /// A receipt as an honest receiver makes it.
    fn receipt(&self, digest: [u8; 32], length: u64) -> Receipt {
        let mac =
            self.key().receipt(self.opening.transfer, self.opening.attempt, "delivered", &digest);
        Receipt { digest, length, place: String::new(), files: 0, mac }
    }

    async fn deliver(&mut self, receipt: Receipt) {
        self.link
            .say(&Control::Delivered { stream: self.opening.stream, receipt, enclosed: None })
            .await;
    }

    /// Takes all chunks as an honest receiver does, up to the trailer.
    async fn take_all(&mut self, lane: &mut Lane) {
        loop {
            let frame = chunk(lane).await;
            let (stream, index) = (frame.header.stream, frame.header.index);
            lane.0
                .say(&Control::Received { stream, indices: Ranges::single(index).unwrap() })
                .await;
            if frame.header.is_last() {
                return;
            }
        }
    }

    pub(crate) async fn unharmed(self) {
        drop((self.link, self.server));
        self.world.paris.cancel(self.transfer.id());
        self.world.unharmed_by_mallory().await;
    }
}

fn opening(control: Control) -> Option<Opening> {
    match control {
        Control::Open(opening) => Some(*opening),
        _ => None,
    }
}

async fn chunk(lane: &mut Lane) -> Frame {
    match within(lane.0.next()).await {
        Some(Heard::Chunk(frame)) => frame,
        other => panic!("{other:?} instead of a chunk"),
    }
}

fn content(seed: u64, chunks: usize) -> Vec<u8> {
    Random::seeded(seed).bytes(chunks * CHUNK)
}

#[tokio::test]
async fn a_receipt_is_believed_only_from_who_has_the_key_and_for_what_was_sent() {
    let bytes = content(1, 3);
    let digest = *blake3::hash(&bytes).as_bytes();
    type Forge = fn(&mut Receipt);
    let cases: [(&str, Forge); 2] = [
        ("not authentic", |receipt| receipt.mac[0] ^= 1),
        ("not authentic", |receipt| receipt.digest[0] ^= 1),
    ];
    for (reason, forge) in cases {
        let mut receiving = Receiving::begin(1, config(), &bytes).await;
        receiving.accept(100).await;
        let mut lane = receiving.lane(0).await;
        receiving.take_all(&mut lane).await;
        let mut receipt = receiving.receipt(digest, bytes.len() as u64);
        forge(&mut receipt);
        receiving.deliver(receipt).await;
        let failure = failure(&receiving.transfer).await;
        assert_eq!(failure.kind, FailureKind::Integrity);
        assert!(failure.message.contains(reason), "{failure}");
        receiving.unharmed().await;
    }
    let mut receiving = Receiving::begin(2, config(), &bytes).await;
    receiving.accept(100).await;
    let mut lane = receiving.lane(0).await;
    receiving.take_all(&mut lane).await;
    receiving.deliver(receiving.receipt([7; 32], 1)).await;
    assert!(failure(&receiving.transfer).await.message.contains("other content"));
    receiving.unharmed().await;
}

#[tokio::test]
async fn an_acceptance_of_nothing_that_is_under_way_is_answered_with_what_became_of_it() {
    let mut receiving = Receiving::begin(4, config(), &content(4, 3)).await;
    let (stream, other) = (receiving.opening.stream, receiving.opening.stream + 2);
    let accept =
        |stream| Control::Accept { stream, limit: 100, received: Ranges::EMPTY, trailer: false };
    receiving.link.say(&accept(other)).await;
    receiving
        .link
        .until(|control| {
            matches!(control, Control::Unknown { stream } if stream == other).then_some(())
        })
        .await;
    // Cancelled while the acceptance is on its way.
    receiving.transfer.cancel();
    assert_eq!(failure(&receiving.transfer).await.kind, FailureKind::Cancelled);
    receiving.link.until(|control| matches!(control, Control::Fail { .. }).then_some(())).await;
    receiving.link.say(&accept(stream)).await;
    let again = receiving.link.until(|control| match control {
        Control::Fail { stream: of, failure } if of == stream => Some(failure),
        _ => None,
    });
    assert_eq!(again.await.kind, FailureKind::Cancelled);
    receiving.unharmed().await;
}

#[tokio::test]
async fn a_receipt_for_what_was_not_all_sent_is_no_receipt() {
    let bytes = content(3, 40);
    for accepted in [false, true] {
        let mut receiving = Receiving::begin(3, config(), &bytes).await;
        if accepted {
            receiving.accept(2).await;
            let mut lane = receiving.lane(0).await;
            chunk(&mut lane).await;
        }
        receiving.deliver(receiving.receipt([7; 32], 0)).await;
        let failure = failure(&receiving.transfer).await;
        assert_eq!(failure.kind, FailureKind::Integrity);
        assert!(failure.message.contains("before all of it was sent"), "{failure}");
        receiving.unharmed().await;
    }
}

#[tokio::test]
async fn that_it_is_there_already_is_believed_only_of_the_content_that_was_read_first() {
    let bytes = content(7, 3);
    let digest = *blake3::hash(&bytes).as_bytes();
    let known = || async { ReadFirst::new(source(&bytes)).await.unwrap() };
    let mut receiving = Receiving::begin_with(
        World::with(71, config()).await,
        known().await,
        SendOptions::default(),
    )
    .await;
    assert_eq!(receiving.opening.version, Some(digest));
    receiving.deliver(receiving.receipt(digest, bytes.len() as u64)).await;
    let (receipt, status) =
        (within(receiving.transfer.delivered()).await.unwrap(), receiving.transfer.status());
    assert_eq!((receipt.digest, status.already_there, status.started), (digest, true, false));
    receiving.unharmed().await;
    for (seed, digest) in [(72, [0; 32]), (73, *blake3::hash(b"other").as_bytes())] {
        let mut receiving = Receiving::begin_with(
            World::with(seed, config()).await,
            known().await,
            SendOptions::default(),
        )
        .await;
        receiving.deliver(receiving.receipt(digest, bytes.len() as u64)).await;
        let failure = failure(&receiving.transfer).await;
        assert!(failure.message.contains("before all of it was sent"), "{failure}");
        receiving.unharmed().await;
    }
}

#[tokio::test]
async fn no_grant_makes_a_sender_hold_more_than_its_window() {
    let bytes = content(4, 400);
    let mut receiving = Receiving::begin(4, config(), &bytes).await;
    receiving.accept(u64::MAX).await;
    let stream = receiving.opening.stream;
    receiving.link.say(&Control::Grant { stream, limit: u64::MAX }).await;
    receiving.link.say(&Control::Grant { stream, limit: 0 }).await;
    let mut lane = receiving.lane(0).await;
    for _ in 0..WINDOW / CHUNK {
        chunk(&mut lane).await;
    }
    receiving.link.stands().await;
    let read = |receiving: &Receiving| {
        receiving
            .world
            .paris
            .metrics()
            .into_iter()
            .find(|stage| stage.stage == "source")
            .unwrap()
            .bytes_out
    };
    assert_eq!(read(&receiving), WINDOW as u64, "nothing more is read");
    assert_eq!(receiving.world.paris.held().await.bytes, WINDOW);
    // And it goes on, when there is an end to it.
    let everything = Ranges::new(vec![(0, u64::MAX)]).unwrap();
    receiving.link.say(&Control::Received { stream, indices: everything }).await;
    receiving.take_all(&mut lane).await;
    receiving
        .deliver(receiving.receipt(*blake3::hash(&bytes).as_bytes(), bytes.len() as u64))
        .await;
    within(receiving.transfer.delivered()).await.unwrap();
    receiving.unharmed().await;
}

#[tokio::test]
async fn chunks_acknowledged_before_they_were_sent_are_sent_all_the_same() {
    let bytes = content(5, 40);
    let mut receiving = Receiving::begin(5, config(), &bytes).await;
    let (stream, everything) =
        (receiving.opening.stream, Ranges::new(vec![(0, u64::MAX)]).unwrap());
    receiving.link.say(&Control::Received { stream, indices: everything.clone() }).await;
    receiving
        .link
        .say(&Control::Accept { stream, limit: u64::MAX, received: Ranges::EMPTY, trailer: false })
        .await;
    let mut lane = receiving.lane(0).await;
    lane.0.say(&Control::Received { stream: stream + 2, indices: everything }).await;
    let mut seen = BTreeMap::new();
    // Forty chunks and the trailer, which may overtake what another lane had first.
    while seen.len() < 41 {
        let frame = chunk(&mut lane).await;
        let header = frame.header;
        lane.0
            .say(&Control::Received { stream, indices: Ranges::single(header.index).unwrap() })
            .await;
        seen.insert((header.index, header.is_last()), frame.body().len());
    }
    assert!(seen.contains_key(&(40, true)));
    receiving
        .deliver(receiving.receipt(*blake3::hash(&bytes).as_bytes(), bytes.len() as u64))
        .await;
    within(receiving.transfer.delivered()).await.unwrap();
    receiving.unharmed().await;
}

#[tokio::test]
async fn a_chunk_is_sent_again_a_few_times_and_then_its_transfer_fails() {
    let bytes = content(6, 40);
    let mut receiving = Receiving::begin(6, config(), &bytes).await;
    receiving.accept(1).await;
    let mut lane = receiving.lane(0).await;
    let stream = receiving.opening.stream;
    chunk(&mut lane).await;
    for index in [0, 1, u64::MAX].repeat(16) {
        let failure = Some(Failure::new(FailureKind::Integrity, "again"));
        receiving.link.say(&Control::Lost { stream, index, failure }).await;
    }
    receiving.link.stands().await;
    for _ in 0..16 {
        assert_eq!(chunk(&mut lane).await.header.index, 0);
    }
    for _ in 0..300 {
        receiving.link.say(&Control::Lost { stream, index: 0, failure: None }).await;
    }
    let told = receiving.link.until(|control| match control {
        Control::Fail { failure, .. } => Some(failure),
        _ => None,
    });
    let told = told.await;
    assert!(
        told.kind == FailureKind::Stage
            && told.message.contains("asked for chunk 0 more than 16 times"),
        "{told}"
    );
    assert_eq!(within(receiving.transfer.delivered()).await.unwrap_err(), told);
    receiving.unharmed().await;
}

#[tokio::test]
async fn a_receiver_that_keeps_losing_its_memory_is_given_up() {
    let bytes = content(7, 40);
    let mut receiving = Receiving::begin(7, config(), &bytes).await;
    receiving.accept(u64::MAX).await;
    let mut lane = receiving.lane(0).await;
    let mut attempts = 1;
    let gone = 'attempts: loop {
        let stream = receiving.opening.stream;
        receiving.accept(u64::MAX).await;
        // Chunks of earlier attempts may still come.
        while chunk(&mut lane).await.header.stream != stream {}
        receiving
            .link
            .say(&Control::Received { stream, indices: Ranges::new(vec![(0, u64::MAX)]).unwrap() })
            .await;
        receiving.opening = loop {
            // The lanes take the word in a moment of their own.
            receiving.accept(u64::MAX).await;
            receiving.link.say(&Control::Ping { nonce: 1 }).await;
            let said = receiving.link.until(|control| match control {
                Control::Open(opening) => Some(Ok(Some(*opening))),
                Control::Fail { failure, .. } => Some(Err(failure)),
                Control::Pong { nonce: 1 } => Some(Ok(None)),
                _ => None,
            });
            match said.await {
                Ok(Some(opening)) => break opening,
                Ok(None) => {}
                Err(failure) => break 'attempts failure,
            }
        };
        attempts += 1;
        assert!(attempts < 100);
    };
    assert_eq!(gone.kind, FailureKind::Unreachable);
    assert_eq!(failure(&receiving.transfer).await.kind, FailureKind::Unreachable);
    receiving.unharmed().await;
}

#[tokio::test]
async fn a_receiver_that_knows_no_attributes_is_offered_the_file_without_them_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alone");
    let bytes = content(9, 2);
    std::fs::write(&path, &bytes).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    if let Err(error) = rustix::fs::setxattr(&path, "user.note", b"x", flags) {
        eprintln!("SKIPPED: no attribute can be set in {}: {error}", path.display());
        return;
    }
    let file = FileSource::open(&path).unwrap();
    let file = file.with(&ReadOptions::default().xattrs(true)).unwrap();
    assert!(!file.content().attributes.is_empty());
    let world = World::with(9, config()).await;
    let mut receiving = Receiving::begin_with(world, file, SendOptions::default()).await;
    assert!(receiving.opening.content.attributes.is_empty());
    receiving.accept(100).await;
    let mut lane = receiving.lane(0).await;
    receiving.take_all(&mut lane).await;
    let digest = *blake3::hash(&bytes).as_bytes();
    receiving.deliver(receiving.receipt(digest, bytes.len() as u64)).await;
    within(receiving.transfer.delivered()).await.unwrap();
    let remarks = receiving.transfer.status().report.remarks;
    assert!(remarks.len() == 1 && remarks[0].contains("is an earlier release"), "{remarks:?}");
    receiving.unharmed().await;
}
