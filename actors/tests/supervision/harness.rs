//! Two nodes, what arrives, and what every test checks in the end: that the node is as good as
//! before.

use std::time::Duration;

use estafette::delivery::{Failure, FailureKind};
use estafette::metrics::StageReport;
use estafette::node::StageRegistry;
use estafette::node::{Direction, EventStream};
use estafette::pipeline::{Hosting, Source};
use estafette::testing::{Pair, Random};
use estafette::{Node, NodeConfig, NodeEvent, SendOptions, TransferHandle, TransferNews};
use estafette_actors::sink::{Delivered, MemorySink};
use estafette_actors::source::BytesSource;
use tokio::sync::mpsc::Receiver;

use super::fragile::POISON;
use super::gate::Gate;
use super::log;

pub(crate) const CHUNK: usize = 4 << 10;
pub(crate) const WINDOW: usize = 16 * CHUNK;
pub(crate) const POOL: usize = 4 * WINDOW;
pub(crate) const RUNNING: usize = 4;
/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(180);

/// Limits that are soon reached, and no patience that could hide a transfer nobody ends.
pub(crate) fn config() -> NodeConfig {
    NodeConfig {
        chunk_size: CHUNK as u32,
        window: WINDOW,
        pool: POOL,
        running_transfers: RUNNING,
        hosting: Hosting::Parallel(2),
        reconnect_for: Duration::from_secs(3600),
        drain_for: Duration::from_secs(3600),
        ..NodeConfig::default()
    }
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("it hangs; what was logged:\n{}", log::lines(&[]).join("\n")))
}

/// So many chunks that can't be compressed, of which these are poisonous.
pub(crate) fn content(chunks: u64, poisonous: &[u64]) -> Vec<u8> {
    let mut bytes = Random::seeded(chunks).bytes(chunks as usize * CHUNK);
    for &index in poisonous {
        let at = index as usize * CHUNK;
        bytes[at..at + POISON.len()].copy_from_slice(POISON);
    }
    bytes
}

pub(crate) fn source(bytes: &[u8]) -> BytesSource {
    BytesSource::new("content", bytes.to_vec()).unwrap()
}

pub(crate) struct World {
    pub(crate) lyon: Node,
    pub(crate) paris: Node,
    arrived: Receiver<Delivered>,
    _pair: Pair,
}

impl World {
    pub(crate) async fn new(lyon: StageRegistry, paris: StageRegistry) -> Self {
        Self::with(config(), lyon, paris).await
    }

    pub(crate) async fn with(
        config: NodeConfig,
        lyon: StageRegistry,
        paris: StageRegistry,
    ) -> Self {
        log::listen();
        let pair = Pair::start(1, config, lyon, paris).await.unwrap();
        let (inbox, arrived) = MemorySink::channel(64 << 20, 64);
        pair.paris.receive("in", inbox).unwrap();
        Self { lyon: pair.lyon.clone(), paris: pair.paris.clone(), arrived, _pair: pair }
    }

    /// Begins to send `source` to `inbox` through the coder `fragile`.
    pub(crate) async fn send(&self, inbox: &str, source: impl Source) -> TransferHandle {
        let options = SendOptions { stages: vec!["fragile".into()], ..SendOptions::default() };
        self.lyon.send_with(format!("paris/{inbox}").as_str(), source, options).await.unwrap()
    }

    /// Sends these bytes and checks that they arrive, once. The transfer's id.
    pub(crate) async fn deliver(&mut self, bytes: &[u8]) -> String {
        let transfer = self.send("in", source(bytes)).await;
        let receipt = within(transfer.delivered()).await.unwrap();
        assert_eq!(receipt.length, bytes.len() as u64);
        assert!(
            self.arrived.recv().await.unwrap().bytes == bytes,
            "other bytes arrived than were sent"
        );
        self.nothing_more_arrives();
        transfer.id().to_string()
    }

    pub(crate) fn nothing_more_arrives(&mut self) {
        assert!(
            self.arrived.try_recv().is_err(),
            "something was committed that should not have been"
        );
    }

    /// Sends what must fail. The transfer's id, and what the sender and the receiver are told.
    pub(crate) async fn fail_somehow(
        &self,
        inbox: &str,
        source: impl Source,
    ) -> (String, [Failure; 2]) {
        let mut there = self.paris.events();
        let transfer = self.send(inbox, source).await;
        let failure = within(transfer.delivered()).await.unwrap_err();
        let told = within(failure_of(&mut there, &transfer)).await;
        (transfer.id().to_string(), [failure, told])
    }

    /// The same, where both must be told the same.
    pub(crate) async fn fail(&self, inbox: &str, source: impl Source) -> (String, Failure) {
        let (id, [failure, told]) = self.fail_somehow(inbox, source).await;
        assert_eq!(told, failure, "the two ends were told different things");
        (id, failure)
    }

    /// Like [`World::fail`], while another transfer is under way by the same lanes, which then ends
    /// well.
    pub(crate) async fn fail_beside(&self, inbox: &str, bad: impl Source) -> (String, Failure) {
        let gate = Gate::closed();
        let name = format!("beside-{inbox}");
        self.paris.receive(&name, gate.clone()).unwrap();
        let bytes = content(200, &[]);
        let other = self.send(&name, source(&bytes)).await;
        within(gate.reached()).await;
        let failed = self.fail(inbox, bad).await;
        assert!(
            other.status().outcome.is_none(),
            "the other transfer has ended: {:?}",
            other.status()
        );
        gate.open();
        assert_eq!(within(other.delivered()).await.unwrap().length, bytes.len() as u64);
        failed
    }

    /// More content than both windows and the pools hold still passes, by the same stages; then
    /// both nodes end.
    pub(crate) async fn check_whole(mut self) {
        self.deliver(&content(3 * (POOL / CHUNK) as u64, &[])).await;
        within(self.lyon.shutdown()).await;
        within(self.paris.shutdown()).await;
    }
}

async fn failure_of(events: &mut EventStream, transfer: &TransferHandle) -> Failure {
    loop {
        let NodeEvent::Transfer(event) = events.next().await.expect("the node runs") else {
            continue;
        };
        if let TransferNews::Failed { failure } = event.news
            && event.transfer == transfer.id()
            && event.direction == Direction::Incoming
        {
            return failure;
        }
    }
}

/// The counts of a node at the stage `name`.
pub(crate) fn count(node: &Node, name: &str) -> StageReport {
    node.metrics().into_iter().find(|report| report.stage == name).unwrap_or_default()
}

/// Checks that the failure names this stage, and this chunk.
pub(crate) fn names(failure: &Failure, stage: &str, index: Option<u64>) {
    assert_eq!(failure.kind, FailureKind::Stage, "{failure}");
    assert_eq!(failure.stage.as_deref(), Some(stage), "{failure}");
    assert_eq!(failure.index, index, "{failure}");
    assert!(failure.message.contains(stage), "{failure}");
}
