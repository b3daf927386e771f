//! One content for several receivers: read and compressed once, and sealed for each of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use actix::{Actor, Context, Handler, Recipient};
use bytes::Bytes;
use estafette::delivery::{Content, ContentKind, ContentName};
use estafette::node::{StageRegistry, Store};
use estafette::pipeline::{
    ChunkCodec, Codec, CodecFault, Committed, Inbox, Journal, Offer, Piece, Placement, Progress,
    Refusal, Resumed, Sink, SinkError, Source, SourceError, SourceReference, SourceReport, Summary,
};
use estafette::testing::Network;
use estafette::{Identity, Node, SendOptions, TransferHandle};
use estafette_actors::chunk::Chunker;
use estafette_actors::compress::Snappy;
use estafette_actors::sink::{FileSink, Folder};
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use futures_util::future::{BoxFuture, join_all};
use tempfile::TempDir;
use tokio::sync::watch;

use super::harness::{config, within};
use super::quota::until;

const RECEIVERS: [&str; 3] = ["paris", "nantes", "brest"];
/// A window of the configuration holds all of it.
const SHORT: usize = 60_000;
/// No window does.
const LONG: usize = 400_000;
const CHUNK: usize = 4 << 10;
const CODEC: Codec = Codec(16);

/// The work of the sender, counted.
#[derive(Clone, Debug, Default)]
struct Work {
    read: Arc<AtomicU64>,
    compressed: Arc<AtomicU64>,
}

/// A text of so many bytes, which can be found again by its length.
#[derive(Debug)]
struct Text {
    all: Vec<u8>,
    at: usize,
    work: Work,
}

/// Compresses, and counts chunks.
#[derive(Debug)]
struct Counting(Work);

fn text(length: usize) -> Vec<u8> {
    let lines = (0..).flat_map(|line| format!("line {line} of it\n").into_bytes());
    lines.take(length).collect()
}

impl Text {
    fn new(length: usize, work: &Work) -> Self {
        Self { all: text(length), at: 0, work: work.clone() }
    }
}

impl Source for Text {
    fn content(&self) -> Content {
        let (kind, name) = (ContentKind::Bytes, ContentName::new("letter").unwrap());
        Content::new(kind, name, Some(self.all.len() as u64))
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        let read = buffer.len().min(self.all.len() - self.at);
        buffer[..read].copy_from_slice(&self.all[self.at..][..read]);
        self.at += read;
        self.work.read.fetch_add(read as u64, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(read)))
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }

    fn version(&self) -> Option<[u8; 32]> {
        Some([7; 32])
    }

    fn reference(&self) -> Option<SourceReference> {
        Some(SourceReference { kind: "text".into(), data: self.all.len().to_string().into_bytes() })
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        self.at = 0;
        Ok(true)
    }
}

impl ChunkCodec for Counting {
    fn id(&self) -> Codec {
        CODEC
    }

    fn name(&self) -> &'static str {
        "counting"
    }

    fn bound(&self, length: usize) -> usize {
        Snappy.bound(length)
    }

    fn compress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        self.0.compressed.fetch_add(1, Ordering::Relaxed);
        Snappy.compress(bytes, into)
    }

    fn decompress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        Snappy.decompress(bytes, into)
    }
}

/// A folder that says yes when it is let, and takes bytes as far as it is let.
#[derive(Debug)]
struct Gated {
    folder: Folder,
    says_yes: Gate,
    takes: watch::Sender<u64>,
}

/// Closed, until it is opened.
type Gate = Arc<(Mutex<bool>, Condvar)>;

#[derive(Debug)]
struct GatedSink(Box<dyn Sink>, watch::Sender<u64>);

fn open(gate: &Gate) {
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
}

impl Inbox for Gated {
    fn discard(&self, journal: &Journal) -> bool {
        self.folder.discard(journal)
    }

    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        let (is_open, opened) = &*self.says_yes;
        drop(opened.wait_while(is_open.lock().unwrap(), |open| !*open).unwrap());
        Ok(Box::new(GatedSink(self.folder.open(offer)?, self.takes.clone())))
    }
}

impl Sink for GatedSink {
    fn placement(&self) -> Placement {
        self.0.placement()
    }

    fn resumed(&self) -> Resumed {
        self.0.resumed()
    }

    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let end = offset + bytes.len() as u64;
            // What is stopped meanwhile is dropped here.
            let _ = self.1.subscribe().wait_for(|most| end <= *most).await;
            self.0.write(offset, bytes).await
        })
    }

    fn checkpoint<'a>(
        &'a mut self,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        self.0.checkpoint(progress)
    }

    fn commit<'a>(
        &'a mut self,
        summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        self.0.commit(summary)
    }

    fn suspend(&mut self, reason: &str) {
        self.0.suspend(reason);
    }

    fn abort(&mut self, reason: &str) {
        self.0.abort(reason);
    }
}

/// Lyon, which sends, and what outlives its receivers.
struct World {
    folder: TempDir,
    network: Network,
    lyon: Node,
    work: Work,
    says_yes: Gate,
    receivers: [Receiver; 3],
}

struct Receiver {
    name: &'static str,
    identity: Identity,
    spool: Arc<dyn Store>,
    takes: watch::Sender<u64>,
}

/// A program's own chunker, which knows of pieces what is in their buffers.
struct Own {
    chunker: Recipient<Piece>,
    all_were_whole: Arc<AtomicBool>,
}

impl Actor for Own {
    type Context = Context<Self>;
}

impl Handler<Piece> for Own {
    type Result = ();

    fn handle(&mut self, piece: Piece, _: &mut Context<Self>) {
        if piece.bytes().len() != piece.length {
            self.all_were_whole.store(false, Ordering::Relaxed);
        }
        self.chunker.do_send(piece);
    }
}

impl World {
    async fn new() -> Self {
        Self::of(|stages| stages).await
    }

    /// A world in which lyon has stages of its own.
    async fn of(own: impl FnOnce(StageRegistry) -> StageRegistry) -> Self {
        let (folder, network, work) =
            (tempfile::tempdir().unwrap(), Network::seeded(1), Work::default());
        let open_spool = |name: &str| Arc::new(Spool::open(folder.path().join(name)).unwrap());
        let receivers = RECEIVERS.map(|name| Receiver {
            name,
            identity: Identity::generate(),
            spool: open_spool(name),
            takes: watch::Sender::new(0),
        });
        let counted = work.clone();
        let reopen = move |length: &[u8]| {
            let length = std::str::from_utf8(length).unwrap().parse().unwrap();
            Ok(Box::new(Text::new(length, &counted)) as Box<dyn Source>)
        };
        let stages = own(stages(&network, "lyon", &work).reopener("text", reopen));
        let mut lyon =
            Node::builder().name("lyon").stages(stages).config(config()).spool(open_spool("lyon"));
        for Receiver { name, identity, .. } in &receivers {
            lyon = lyon.peer(*name, identity.peer(), [*name]);
            std::fs::create_dir(folder.path().join(format!("in {name}"))).unwrap();
        }
        let lyon = lyon.start().await.unwrap();
        Self { folder, network, lyon, work, says_yes: Gate::default(), receivers }
    }

    async fn start(&self, receiver: &Receiver) -> Node {
        let Receiver { name, identity, spool, takes } = receiver;
        let (says_yes, takes) = (Arc::clone(&self.says_yes), takes.clone());
        let folder = FileSink::into_dir(self.place(name)).keep_free(0);
        let stages = stages(&self.network, name, &Work::default());
        let node = Node::builder().name(*name).identity(identity.clone()).listen(*name);
        let node = node.stages(stages).config(config()).spool(Arc::clone(spool));
        let node = node.peer("lyon", self.lyon.peer(), ["lyon"]);
        node.receive("files", Gated { folder, says_yes, takes }).start().await.unwrap()
    }

    async fn start_all(&self) -> Vec<Node> {
        join_all(self.receivers.iter().map(|receiver| self.start(receiver))).await
    }

    /// Sends so many bytes to each; they are asked for no yes before all are on their way.
    async fn send(&self, length: usize) -> Vec<TransferHandle> {
        let mut sent = Vec::new();
        for name in RECEIVERS {
            sent.push(self.send_to(name, length, CODEC).await);
        }
        sent
    }

    async fn send_to(&self, name: &str, length: usize, codec: Codec) -> TransferHandle {
        let source = Text::new(length, &self.work);
        let options = SendOptions { compression: Some(codec.into()), ..SendOptions::default() };
        self.lyon.send_with(format!("{name}/files").as_str(), source, options).await.unwrap()
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("in {name}"))
    }

    fn has_arrived(&self, name: &str, length: usize) -> bool {
        std::fs::read(self.place(name).join("letter")).is_ok_and(|there| there == text(length))
    }

    fn let_take(&self, receivers: &[usize]) {
        for &at in receivers {
            self.receivers[at].takes.send_replace(u64::MAX);
        }
    }

    fn read(&self) -> u64 {
        self.work.read.load(Ordering::Relaxed)
    }

    fn compressed(&self) -> u64 {
        self.work.compressed.load(Ordering::Relaxed)
    }

    async fn end(self, receivers: Vec<Node>) {
        self.lyon.shutdown().await;
        for node in receivers {
            node.shutdown().await;
        }
    }
}

fn stages(network: &Network, name: &str, work: &Work) -> StageRegistry {
    standard().transport(network.transport(name)).codec(Counting(work.clone()))
}

async fn delivered(sent: &[TransferHandle]) {
    for transfer in sent {
        transfer.delivered().await.unwrap();
    }
}

#[tokio::test]
async fn what_goes_to_three_is_read_and_compressed_once_and_arrives_at_each() {
    within(async {
        let world = World::new().await;
        let nodes = world.start_all().await;
        let sent = world.send(SHORT).await;
        open(&world.says_yes);
        world.let_take(&[0, 1, 2]);
        delivered(&sent).await;
        assert!(RECEIVERS.iter().all(|name| world.has_arrived(name, SHORT)));
        assert_eq!(world.read(), SHORT as u64);
        assert_eq!(world.compressed(), SHORT.div_ceil(CHUNK) as u64);
        world.end(nodes).await;
    })
    .await;
}

#[tokio::test]
async fn what_ends_with_a_chunk_goes_to_three_as_well() {
    within(async {
        for length in [0, CHUNK, SHORT - SHORT % CHUNK] {
            let world = World::new().await;
            let nodes = world.start_all().await;
            let sent = world.send(length).await;
            open(&world.says_yes);
            world.let_take(&[0, 1, 2]);
            delivered(&sent).await;
            assert!(RECEIVERS.iter().all(|name| world.has_arrived(name, length)));
            assert_eq!(world.read(), length as u64);
            world.end(nodes).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_chunker_that_does_not_say_that_it_takes_ready_pieces_is_given_none() {
    within(async {
        let all_were_whole = Arc::new(AtomicBool::new(true));
        let were_whole = Arc::clone(&all_were_whole);
        let world = World::of(|stages| {
            stages.chunker(move |seat| {
                let chunker = Chunker::new(seat).start().recipient();
                Own { chunker, all_were_whole: Arc::clone(&were_whole) }.start().recipient()
            })
        })
        .await;
        let nodes = world.start_all().await;
        let sent = world.send(SHORT).await;
        open(&world.says_yes);
        world.let_take(&[0, 1, 2]);
        delivered(&sent).await;
        assert!(RECEIVERS.iter().all(|name| world.has_arrived(name, SHORT)));
        assert!(all_were_whole.load(Ordering::Relaxed));
        world.end(nodes).await;
    })
    .await;
}

#[tokio::test]
async fn another_codec_is_another_reading() {
    within(async {
        let world = World::new().await;
        let nodes = world.start_all().await;
        let mut sent = Vec::new();
        for (name, codec) in RECEIVERS.into_iter().zip([CODEC, CODEC, Codec::RAW]) {
            sent.push(world.send_to(name, SHORT, codec).await);
        }
        open(&world.says_yes);
        world.let_take(&[0, 1, 2]);
        delivered(&sent).await;
        assert!(RECEIVERS.iter().all(|name| world.has_arrived(name, SHORT)));
        assert!(world.read() >= 2 * SHORT as u64, "{}", world.read());
        assert!(world.compressed() >= SHORT.div_ceil(CHUNK) as u64);
        world.end(nodes).await;
    })
    .await;
}

#[tokio::test]
async fn one_that_takes_nothing_holds_up_nobody_and_has_it_in_the_end() {
    within(async {
        let world = World::new().await;
        let nodes = world.start_all().await;
        let sent = world.send(LONG).await;
        open(&world.says_yes);
        world.let_take(&[0, 1]);
        // These two end while the third has not taken a byte, and its window is full.
        delivered(&sent[..2]).await;
        world.let_take(&[2]);
        delivered(&sent[2..]).await;
        assert!(RECEIVERS.iter().all(|name| world.has_arrived(name, LONG)));
        // Each reads by itself once at most.
        assert!(world.read() <= 3 * LONG as u64, "{}", world.read());
        world.end(nodes).await;
    })
    .await;
}

#[tokio::test]
async fn one_that_dies_and_goes_on_later_disturbs_nobody() {
    within(async {
        let world = World::new().await;
        let mut nodes = world.start_all().await;
        let sent = world.send(LONG).await;
        open(&world.says_yes);
        world.receivers[2].takes.send_replace(LONG as u64 / 4);
        let begun = || std::fs::read_dir(world.place("brest")).unwrap().flatten();
        until(|| begun().any(|file| file.metadata().is_ok_and(|file| file.len() > 64 << 10))).await;
        let dies = nodes.pop().unwrap();
        dies.abort().await;
        world.let_take(&[0, 1]);
        delivered(&sent[..2]).await;
        assert!(!world.has_arrived("brest", LONG));
        world.let_take(&[2]);
        nodes.push(world.start(&world.receivers[2]).await);
        delivered(&sent[2..]).await;
        assert!(RECEIVERS.iter().all(|name| world.has_arrived(name, LONG)));
        world.end(nodes).await;
    })
    .await;
}

#[tokio::test]
async fn one_that_is_away_keeps_nobody_back_and_has_it_when_it_comes() {
    within(async {
        let world = World::new().await;
        let mut nodes =
            join_all(world.receivers[..2].iter().map(|receiver| world.start(receiver))).await;
        let sent = world.send(LONG).await;
        open(&world.says_yes);
        world.let_take(&[0, 1, 2]);
        delivered(&sent[..2]).await;
        nodes.push(world.start(&world.receivers[2]).await);
        delivered(&sent[2..]).await;
        assert!(RECEIVERS.iter().all(|name| world.has_arrived(name, LONG)));
        world.end(nodes).await;
    })
    .await;
}

#[tokio::test]
async fn one_that_is_cancelled_disturbs_nobody() {
    within(async {
        let world = World::new().await;
        let nodes = world.start_all().await;
        let sent = world.send(LONG).await;
        open(&world.says_yes);
        sent[0].cancel();
        sent[0].delivered().await.unwrap_err();
        world.let_take(&[0, 1, 2]);
        delivered(&sent[1..]).await;
        assert!(!world.has_arrived("paris", LONG));
        assert!(RECEIVERS[1..].iter().all(|name| world.has_arrived(name, LONG)));
        world.end(nodes).await;
    })
    .await;
}
