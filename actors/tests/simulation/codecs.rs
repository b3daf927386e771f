//! Codecs that two nodes compress with: what a delivery asks for, or is refused; what a node
//! prefers, where the other end has it; and a codec of a program's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use estafette::node::{MemoryStore, StageRegistry};
use estafette::pipeline::{ChunkCodec, Codec, CodecFault, Compression};
use estafette::testing::Pair;
use estafette::{Failure, FailureKind, NodeConfig, SendOptions, TransferHandle, TransferNews};
use estafette_actors::sink::{FileSink, MemorySink};
use estafette_actors::source::FileSource;
use estafette_actors::standard;
use tempfile::tempdir;

use super::harness::{CHUNK, WINDOW, World, config, news, source, within};

/// Counts runs of one byte, and how many chunks it has undone.
#[derive(Clone, Debug, Default)]
struct Runs(Arc<AtomicUsize>);

const RUNS: Codec = Codec(20);

impl ChunkCodec for Runs {
    fn id(&self) -> Codec {
        RUNS
    }

    fn name(&self) -> &str {
        "runs"
    }

    fn bound(&self, length: usize) -> usize {
        2 * length
    }

    fn compress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        let mut written = 0;
        for run in bytes.chunk_by(|one, other| one == other).flat_map(|run| run.chunks(255)) {
            into[written..written + 2].copy_from_slice(&[run.len() as u8, run[0]]);
            written += 2;
        }
        Ok(written)
    }

    fn decompress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let length = bytes.chunks_exact(2).map(|run| usize::from(run[0])).sum();
        if length == into.len() {
            let mut at = 0;
            for run in bytes.chunks_exact(2) {
                into[at..at + usize::from(run[0])].fill(run[1]);
                at += usize::from(run[0]);
            }
        }
        Ok(length)
    }
}

/// Compresses well, and differs from chunk to chunk.
fn content() -> Vec<u8> {
    (0..100 * CHUNK + 17).map(|at| (at / 1000) as u8).collect()
}

async fn send(world: &World, compression: Option<Compression>) -> TransferHandle {
    let options = SendOptions { compression, ..SendOptions::default() };
    world.pair.lyon.send_with("paris/in", source(&content()), options).await.unwrap()
}

/// Delivers; what both ends say of the codec.
async fn deliver(world: &mut World, compression: Option<Compression>) -> [Option<String>; 2] {
    let mut there = world.pair.paris.events();
    let transfer = send(world, compression).await;
    let receipt = within(transfer.delivered()).await.unwrap();
    world.check(&receipt, &content()).await;
    let begun = news(&mut there, |news| matches!(news, TransferNews::Started { .. })).await;
    let TransferNews::Started { codec, .. } = begun else { unreachable!() };
    [transfer.status().codec, codec]
}

async fn fail(world: &World, compression: Compression) -> Failure {
    within(send(world, Some(compression)).await.delivered()).await.unwrap_err()
}

fn named(name: &str) -> [Option<String>; 2] {
    [Some(name.to_owned()), Some(name.to_owned())]
}

#[tokio::test]
async fn a_delivery_is_compressed_with_what_it_asks_for_and_both_ends_say_so() {
    let mut world = World::new(1).await;
    for (asked, name) in [
        (None, "snappy"),
        (Some(Compression::Snappy), "snappy"),
        (Some(Compression::Lz4), "lz4"),
        (Some(Compression::Other(Codec::LZ4)), "lz4"),
    ] {
        assert_eq!(deliver(&mut world, asked).await, named(name));
    }
    // What is left raw, its receiver takes for what every node may send.
    assert_eq!(deliver(&mut world, Some(Compression::Off)).await[0], None);
    world.stop().await;
}

#[tokio::test]
async fn a_codec_that_the_receiver_lacks_is_refused_by_name_with_what_to_do() {
    let lesser = standard().without_codec(Codec::LZ4);
    let mut world = World::with(1, config(), standard(), lesser).await;
    let failure = fail(&world, Compression::Lz4).await;
    assert_eq!(failure.kind, FailureKind::Stage);
    for wanted in ["codec \"lz4\"", "known are: snappy", "send with one of these"] {
        assert!(failure.message.contains(wanted), "{failure} does not say {wanted:?}");
    }
    assert!(world.arrived.try_recv().is_err());
    assert_eq!(deliver(&mut world, None).await, named("snappy"));
    world.stop().await;
}

/// Starts paris anew without the codec, and so without preferring it.
async fn without_lz4(pair: &mut Pair) {
    let lesser = standard().without_codec(Codec::LZ4);
    pair.restart_paris_with(lesser, |builder| builder.config(config())).await.unwrap();
}

#[tokio::test]
async fn a_node_compresses_with_what_it_prefers_where_the_other_end_has_it() {
    let prefers = || NodeConfig { compression: Compression::Lz4, ..config() };
    for name in ["lz4", "snappy"] {
        let mut world = World::with(1, prefers(), standard(), standard()).await;
        if name == "snappy" {
            without_lz4(&mut world.pair).await;
            let (inbox, arrived) = MemorySink::channel(64 << 20, 64);
            world.pair.paris.receive("in", inbox).unwrap();
            world.arrived = arrived;
        }
        // Once before there is a link, and once by it.
        for _ in 0..2 {
            assert_eq!(deliver(&mut world, None).await, named(name));
        }
        world.stop().await;
    }
    let folder = tempdir().unwrap();
    let mut pair = Pair::start(1, prefers(), standard(), standard()).await.unwrap();
    pair.paris.receive("in", FileSink::into_dir(folder.path())).unwrap();
    let bytes = estafette::testing::Random::seeded(1).bytes(200 * CHUNK);
    let transfer = pair.lyon.send("paris/in", source(&bytes)).await.unwrap();
    within(pair.network.carries(2 * WINDOW as u64)).await;
    pair.network.refuse("paris", true);
    without_lz4(&mut pair).await;
    pair.paris.receive("in", FileSink::into_dir(folder.path())).unwrap();
    pair.network.refuse("paris", false);
    within(transfer.delivered()).await.unwrap();
    assert_eq!(transfer.status().codec.as_deref(), Some("snappy"));
    pair.lyon.shutdown().await;
    pair.paris.shutdown().await;
}

#[tokio::test]
async fn a_preference_gives_way_where_eight_coders_leave_no_room_for_its_name() {
    let names: Vec<_> = (1..=8).map(|number| format!("coder {number}")).collect();
    let stages = || {
        names.iter().fold(standard(), |registry, name| {
            registry.coder(name.as_str(), Default::default(), Default::default())
        })
    };
    let prefers = NodeConfig { compression: Compression::Lz4, ..config() };
    let mut world = World::with(1, prefers, stages(), stages()).await;
    let options = |compression| {
        let stages = names.clone();
        SendOptions { compression, stages, ..SendOptions::default() }
    };
    // Once before there is a link, and once by it.
    for _ in 0..2 {
        let sent = world.pair.lyon.send_with("paris/in", source(&content()), options(None)).await;
        let transfer = sent.unwrap();
        let receipt = within(transfer.delivered()).await.unwrap();
        world.check(&receipt, &content()).await;
        assert_eq!(transfer.status().codec.as_deref(), Some("snappy"));
    }
    let asked = options(Some(Compression::Lz4));
    let error = world.pair.lyon.send_with("paris/in", source(b"x"), asked).await.unwrap_err();
    assert!(error.to_string().contains("9 stages are asked for, codec included"), "{error}");
    world.stop().await;
}

#[tokio::test]
async fn a_program_brings_a_codec_of_its_own_and_one_that_lacks_it_says_so() {
    let (here, there) = (Runs::default(), Runs::default());
    let (lyon, paris) = (standard().codec(here.clone()), standard().codec(there.clone()));
    let mut world = World::with(1, config(), lyon, paris).await;
    assert_eq!(deliver(&mut world, Some(Compression::Other(RUNS))).await, named("runs"));
    assert_eq!([here, there].map(|runs| runs.0.load(Ordering::SeqCst)), [0, 101]);
    world.stop().await;

    let world = World::with(1, config(), standard().codec(Runs::default()), standard()).await;
    let failure = fail(&world, Compression::Other(RUNS)).await;
    assert!(failure.message.contains("codec \"runs\""), "{failure}");
    world.stop().await;
    let world = World::with(1, config(), standard(), standard().codec(Runs::default())).await;
    let options =
        SendOptions { compression: Some(Compression::Other(RUNS)), ..SendOptions::default() };
    let sent = world.pair.lyon.send_with("paris/in", source(b"x"), options).await;
    let error = sent.unwrap_err().to_string();
    assert!(error.contains("codec number 20"), "{error}");
    world.stop().await;
}

#[tokio::test]
async fn a_stored_delivery_keeps_its_codec_over_a_restart_and_says_when_that_is_gone() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("content");
    std::fs::write(&file, content()).unwrap();
    for (lyon, gone) in [(standard().codec(Runs::default()), false), (standard(), true)] {
        let spools = [Arc::<MemoryStore>::default(), Arc::default()];
        let [one, two] = spools.map(|spool| spool as Arc<dyn estafette::node::Store>);
        let with_runs = || standard().codec(Runs::default());
        let mut pair = Pair::start_both_spooled(1, config(), with_runs(), with_runs(), [one, two])
            .await
            .unwrap();
        pair.network.refuse("paris", true);
        let options =
            SendOptions { compression: Some(Compression::Other(RUNS)), ..SendOptions::default() };
        let source = FileSource::open(&file).unwrap();
        let transfer = pair.lyon.send_with("paris/in", source, options).await.unwrap();
        assert!(transfer.status().stored);
        let id = transfer.id();
        pair.restart_lyon(lyon).await.unwrap();
        let (inbox, mut arrived) = MemorySink::channel(64 << 20, 64);
        pair.paris.receive("in", inbox).unwrap();
        let mut there = pair.paris.events();
        let mut here = pair.lyon.events_since_start().unwrap_or_else(|| pair.lyon.events());
        pair.network.refuse("paris", false);
        if gone {
            let said = within(news(&mut here, |news| {
                matches!(news, TransferNews::Deferred { failure }
                    if failure.message.contains("codec number 20 is not registered here"))
            }));
            said.await;
            assert!(arrived.try_recv().is_err(), "{id} was sent with something else");
        } else {
            let begun =
                within(news(&mut there, |news| matches!(news, TransferNews::Started { .. })));
            let TransferNews::Started { codec, .. } = begun.await else { unreachable!() };
            assert_eq!(codec.as_deref(), Some("runs"));
            assert_eq!(within(arrived.recv()).await.unwrap().bytes, content());
        }
        pair.lyon.shutdown().await;
        pair.paris.shutdown().await;
    }
}

/// The number alone is announced: so it is preferred, and refused by its name.
#[tokio::test]
async fn codecs_of_one_number_and_two_names_are_told_apart_by_the_receiver() {
    /// Another codec under that number.
    #[derive(Debug)]
    struct Others(Runs);
    impl ChunkCodec for Others {
        fn id(&self) -> Codec {
            RUNS
        }
        fn name(&self) -> &str {
            "others"
        }
        fn bound(&self, length: usize) -> usize {
            self.0.bound(length)
        }
        fn compress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
            self.0.compress(bytes, into)
        }
        fn decompress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
            self.0.decompress(bytes, into)
        }
    }
    let prefers = NodeConfig { compression: Compression::Other(RUNS), ..config() };
    let others = standard().codec(Others(Runs::default()));
    let mut world = World::with(1, prefers, standard().codec(Runs::default()), others).await;
    let failure = within(send(&world, None).await.delivered()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Stage);
    assert!(
        failure.message.contains("the codec \"runs\" is not registered here")
            && failure.message.contains("others"),
        "{failure}"
    );
    // What both have still goes.
    assert_eq!(deliver(&mut world, Some(Compression::Lz4)).await, named("lz4"));
    world.stop().await;
}

#[tokio::test]
async fn a_registry_with_a_codec_that_could_be_taken_for_another_does_not_start() {
    /// Any number and name.
    #[derive(Debug)]
    struct Named(u8, String);
    impl ChunkCodec for Named {
        fn id(&self) -> Codec {
            Codec(self.0)
        }
        fn name(&self) -> &str {
            &self.1
        }
        fn bound(&self, length: usize) -> usize {
            length
        }
        fn compress(&self, bytes: &[u8], _: &mut [u8]) -> Result<usize, CodecFault> {
            Ok(bytes.len())
        }
        fn decompress(&self, _: &[u8], _: &mut [u8]) -> Result<usize, CodecFault> {
            Ok(0)
        }
    }
    let with = |id, name: &str| standard().codec(Named(id, name.into()));
    let coder = StageRegistry::coder;
    let stages = [
        (with(0, "zero"), "number"),
        (with(255, "trailer"), "number"),
        (with(30, "lz4"), "another one has its name"),
        (standard().without_codec(Codec::SNAPPY), "snappy (every node has it)"),
        (with(1, "brief"), "1 is snappy"),
        (with(2, "brief"), "2 is lz4"),
        (with(15, "brief"), "numbers up to 15 are this project's"),
        (standard().without_codec(Codec::LZ4).codec(Named(30, "lz4".into())), "names of these"),
        (with(30, "one").codec(Named(30, "two".into())), "another one was registered under its"),
        (with(30, ""), "1 to 58 bytes"),
        (with(30, &"x".repeat(59)), "1 to 58 bytes"),
        (with(30, "a\nb"), "printable"),
        (coder(standard(), "codec:lz4", Default::default(), Default::default()), "is a codec"),
    ];
    for (stages, why) in stages {
        let started = estafette::Node::builder().stages(stages).start().await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains(why), "{error} does not say {why:?}");
    }
    for (stages, number, why) in [
        (standard(), 99, "the codec number 99 is not registered here"),
        (with(32, "far"), 32, "\"far\" can't be preferred: it has the number 32"),
        (with(254, "far"), 254, "those below 32 alone are announced"),
    ] {
        let config = NodeConfig { compression: Compression::Other(Codec(number)), ..config() };
        let started = estafette::Node::builder().stages(stages).config(config).start().await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let config = NodeConfig { compression: Compression::Other(Codec(31)), ..config() };
    // The same one again, or in a place that was made for it, is none that could be mixed up.
    let near = with(31, "far").without_codec(Codec(31));
    let near = near.codec(Named(31, "near".into())).codec(Named(31, "near".into()));
    let builder = estafette::Node::builder().stages(near).config(config);
    builder.start().await.unwrap().shutdown().await;
}
