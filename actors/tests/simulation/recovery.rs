//! A receiver that dies again and again, and has a spool: what it had is not sent again, and what
//! arrives arrives once.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use estafette::node::MemoryStore;
use estafette::pipeline::Source;
use estafette::testing::{Pair, Random};
use estafette::{NodeConfig, Receipt};
use estafette_actors::sink::{FileSink, OnConflict};
use estafette_actors::source::TreeSource;
use estafette_actors::standard;
use tempfile::{TempDir, tempdir};

use super::harness::{CHUNK, WINDOW, config, each_seed, source};

const CHECKPOINT: usize = 16 * CHUNK;

/// A pair whose `paris` has a spool, and takes deliveries to `in` into a folder.
struct Durable {
    pair: Pair,
    folder: TempDir,
    random: Random,
}

impl Durable {
    async fn new(seed: u64) -> Self {
        let config = NodeConfig { checkpoint: CHECKPOINT as u64, ..config() };
        let spool = Arc::<MemoryStore>::default();
        let pair = Pair::start_spooled(seed, config, standard(), standard(), spool).await.unwrap();
        let durable = Self { pair, folder: tempdir().unwrap(), random: Random::seeded(seed) };
        durable.receive();
        durable
    }

    /// A second copy would get a number.
    fn receive(&self) {
        let inbox = FileSink::into_dir(self.folder.path()).on_conflict(OnConflict::Rename);
        self.pair.paris.receive("in", inbox).unwrap();
    }

    async fn restart(&mut self) {
        // Nobody is to ask for the inbox before it is there.
        self.pair.network.refuse("paris", true);
        self.pair.restart_paris(standard()).await.unwrap();
        self.receive();
        self.pair.network.refuse("paris", false);
    }

    /// Sends, and lets paris die, or the link break, each time when some bytes more have been
    /// carried; tells how often paris died.
    async fn deliver(
        &mut self,
        source: impl Source,
        faults: usize,
        least: u64,
        most: u64,
    ) -> (Receipt, u64) {
        let transfer = self.pair.lyon.send("paris/in", source).await.unwrap();
        let mut deaths = 0;
        for _ in 0..faults {
            let more = least + self.random.below(most - least);
            tokio::select! {
                () = self.pair.network.carries(more) => {}
                _ = transfer.delivered() => break,
            }
            if self.random.below(4) == 0 {
                self.pair.network.cut();
            } else {
                self.restart().await;
                deaths += 1;
            }
        }
        (transfer.delivered().await.unwrap(), deaths)
    }

    fn names(&self) -> Vec<String> {
        fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    async fn stop(self) {
        self.pair.lyon.shutdown().await;
        self.pair.paris.shutdown().await;
    }
}

#[tokio::test]
async fn a_receiver_that_dies_again_and_again_gets_each_byte_about_once_and_the_file_once() {
    each_seed(4, |seed| async move {
        let mut world = Durable::new(seed).await;
        let bytes = world.random.bytes(1000 * CHUNK + 17);
        let (least, most) = ((CHECKPOINT + WINDOW) as u64, 5 * (CHECKPOINT + WINDOW) as u64);
        let (receipt, deaths) = world.deliver(source(&bytes), 12, least, most).await;
        assert_eq!(receipt.digest, *blake3::hash(&bytes).as_bytes());
        assert_eq!(world.names(), ["content"]);
        assert!(
            fs::read(world.folder.path().join("content")).unwrap() == bytes,
            "other bytes arrived than were sent"
        );
        // Frames, acknowledgements and handshakes are a few hundredths of what they carry.
        let needed = bytes.len() as u64 + deaths * (WINDOW + CHECKPOINT) as u64;
        let carried = world.pair.network.carried();
        assert!(
            carried < needed + needed / 10,
            "{carried} bytes were carried, for {needed} with {deaths} deaths"
        );
        assert!(deaths > 3, "it died {deaths} times only");
        world.stop().await;
    })
    .await;
}

/// Paths and content of all files below.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push((
                path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned(),
                fs::read(&path).unwrap(),
            ));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_tree_outlives_its_receiver_too() {
    each_seed(3, |seed| async move {
        let mut world = Durable::new(seed).await;
        // It was not changed just now, so its deliveries can go on.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let tree = TreeSource::new(vec![folder.clone()]).unwrap();
        assert!(tree.version().is_some());
        let (_, deaths) = world.deliver(tree, 6, 5_000, 25_000).await;
        assert_eq!(world.names(), ["src"]);
        assert!(
            files(&world.folder.path().join("src")) == files(&folder),
            "another tree arrived than was sent"
        );
        assert!(deaths > 0);
        world.stop().await;
    })
    .await;
}
