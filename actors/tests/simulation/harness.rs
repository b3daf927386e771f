//! The parts that every simulation needs: limits that are soon reached, content, and a look at what
//! arrived.

use std::time::Duration;

use estafette::delivery::Receipt;
use estafette::node::StageRegistry;
use estafette::node::{EventStream, NodeEvent};
use estafette::pipeline::Hosting;
use estafette::testing::{Network, Pair, Random};
use estafette::{NodeConfig, TransferHandle, TransferNews};
use estafette_actors::{sink::Delivered, sink::MemorySink, source::BytesSource, standard};
use tokio::sync::mpsc::Receiver;

pub(crate) const CHUNK: usize = 4 << 10;
pub(crate) const WINDOW: usize = 16 * CHUNK;
/// Longer than any simulation takes that works.
const PATIENCE: Duration = Duration::from_secs(180);

/// Small chunks and windows, so that a megabyte is a long transfer.
pub(crate) fn config() -> NodeConfig {
    NodeConfig {
        chunk_size: CHUNK as u32,
        window: WINDOW,
        pool: 4 * WINDOW,
        hosting: Hosting::Parallel(2),
        backoff: Duration::from_millis(1),
        reconnect_for: Duration::from_secs(20),
        ..NodeConfig::default()
    }
}

/// The seeds a simulation runs with.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    let one = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    one.map_or_else(|| (1..=count).collect(), |seed| vec![seed])
}

/// Runs one simulation for each seed; a failure is preceded by its seed.
pub(crate) async fn each_seed<F: Future<Output = ()>>(count: u64, simulation: impl Fn(u64) -> F) {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with SEED={}", self.0);
            }
        }
    }
    for seed in seeds(count) {
        let _named = Named(seed);
        within(simulation(seed)).await;
    }
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

/// A pair whose `paris` collects in memory what comes to `in`.
pub(crate) struct World {
    pub(crate) pair: Pair,
    pub(crate) arrived: Receiver<Delivered>,
    pub(crate) random: Random,
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        Self::with(seed, config(), standard(), standard()).await
    }

    pub(crate) async fn with(
        seed: u64,
        config: NodeConfig,
        lyon: StageRegistry,
        paris: StageRegistry,
    ) -> Self {
        let pair = Pair::start(seed, config, lyon, paris).await.unwrap();
        let (inbox, arrived) = MemorySink::channel(64 << 20, 64);
        pair.paris.receive("in", inbox).unwrap();
        Self { pair, arrived, random: Random::seeded(seed) }
    }

    pub(crate) fn network(&self) -> &Network {
        &self.pair.network
    }

    /// Begins to send these bytes from lyon to paris.
    pub(crate) async fn send(&self, bytes: &[u8]) -> TransferHandle {
        self.pair.lyon.send("paris/in", source(bytes)).await.unwrap()
    }

    /// Sends them and checks that they arrive, and arrive once.
    pub(crate) async fn deliver(&mut self, bytes: &[u8]) {
        let receipt = self.send(bytes).await.delivered().await.unwrap();
        self.check(&receipt, bytes).await;
    }

    /// Checks that what came next is exactly this.
    pub(crate) async fn check(&mut self, receipt: &Receipt, bytes: &[u8]) {
        let delivered = self.arrived.recv().await.unwrap();
        assert_eq!(delivered.bytes.len(), bytes.len());
        assert!(delivered.bytes == bytes, "other bytes arrived than were sent");
        assert_eq!(receipt.digest, *blake3::hash(bytes).as_bytes());
        assert_eq!(receipt.length, bytes.len() as u64);
        assert!(self.arrived.try_recv().is_err(), "something was committed twice");
    }

    pub(crate) async fn stop(self) {
        self.pair.lyon.shutdown().await;
        self.pair.paris.shutdown().await;
    }
}

pub(crate) fn source(bytes: &[u8]) -> BytesSource {
    BytesSource::new("content", bytes.to_vec()).unwrap()
}

/// Waits for an event that `wanted` knows.
pub(crate) async fn event(
    events: &mut EventStream,
    wanted: impl Fn(&NodeEvent) -> bool,
) -> NodeEvent {
    loop {
        let event = events.next().await.expect("the node runs");
        if wanted(&event) {
            return event;
        }
    }
}

/// Waits for news that `wanted` knows.
pub(crate) async fn news(
    events: &mut EventStream,
    wanted: impl Fn(&TransferNews) -> bool,
) -> TransferNews {
    loop {
        let news = events.next_news().await.expect("the node runs");
        if wanted(&news) {
            return news;
        }
    }
}
