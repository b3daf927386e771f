//! The node under attack, its honest friend, and the limits of both.

use std::time::Duration;

use bytes::Bytes;
use estafette::node::StageRegistry;
use estafette::node::{EventStream, Held, NodeBuilder, NodeEvent};
use estafette::pipeline::{Hosting, Inbox};
use estafette::testing::Random;
use estafette::wire::LinkConfig;
use estafette::{Failure, Identity, Node, NodeConfig, PeerId, TransferHandle, TransferNews};
use estafette_actors::sink::{Delivered, MemorySink};
use estafette_actors::source::BytesSource;
use estafette_actors::standard;
use tokio::sync::mpsc::Receiver;

use super::peer::Mallory;

pub(crate) const CHUNK: usize = 4 << 10;
pub(crate) const WINDOW: usize = 16 * CHUNK;
/// Transfers of one peer, waiting or running.
pub(crate) const TRANSFERS: usize = 8;
/// Longer than anything here takes that works.
const PATIENCE: Duration = Duration::from_secs(180);

/// Limits that are soon reached.
pub(crate) fn config() -> NodeConfig {
    NodeConfig {
        chunk_size: CHUNK as u32,
        window: WINDOW,
        pool: 4 * WINDOW,
        transfers_per_peer: TRANSFERS,
        running_transfers: 4,
        hosting: Hosting::Parallel(2),
        half_open: 64,
        handshake_timeout: Duration::from_secs(2),
        dial_for: Duration::from_secs(30),
        reconnect_for: Duration::from_secs(30),
        backoff: Duration::from_millis(5),
        ..NodeConfig::default()
    }
}

/// [`config`], but a peer that is silent or takes no byte is given up soon: not so soon that an
/// honest one is, on a machine that is busy.
pub(crate) fn impatient() -> NodeConfig {
    let link = LinkConfig::new(
        Duration::from_millis(500),
        Duration::from_secs(4),
        Duration::from_secs(3600),
    )
    .unwrap();
    NodeConfig { link, reconnect_for: Duration::from_secs(2), ..config() }
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

pub(crate) struct World {
    /// The node under attack. It trusts lyon and mallory.
    pub(crate) paris: Node,
    /// An honest node.
    pub(crate) lyon: Node,
    /// The hostile peer.
    pub(crate) mallory: Mallory,
    pub(crate) arrived: Receiver<Delivered>,
    pub(crate) random: Random,
    calm: Held,
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        Self::with(seed, config()).await
    }

    pub(crate) async fn with(seed: u64, config: NodeConfig) -> Self {
        Self::with_stages(seed, config, standard()).await
    }

    /// The same, with stages of paris' own.
    pub(crate) async fn with_stages(seed: u64, config: NodeConfig, stages: StageRegistry) -> Self {
        let mut random = Random::seeded(seed);
        let [paris_key, lyon_key, mallory_key] =
            [(); 3].map(|()| Identity::from_secret(random.secret()));
        let paris = node("paris", &paris_key, config).stages(stages).listen("127.0.0.1:0");
        let paris = paris
            .peer("lyon", lyon_key.peer(), NOWHERE)
            .peer("mallory", mallory_key.peer(), NOWHERE)
            .start()
            .await
            .unwrap();
        let (inbox, arrived) = MemorySink::channel(64 << 20, 64);
        paris.receive("in", inbox).unwrap();
        let address = paris.addresses()[0].clone();
        let lyon = node("lyon", &lyon_key, self::config())
            .peer("paris", paris.peer(), [&address])
            .start()
            .await
            .unwrap();
        let mallory = Mallory::new(mallory_key, paris.peer(), address);
        let mut world = Self { paris, lyon, mallory, arrived, random, calm: Held::default() };
        // Lyon's session is there from now on.
        world.honest_delivery().await;
        let held = world.paris.held().await;
        world.calm = Held { sessions: held.sessions, ..Held::default() };
        world
    }

    /// Another inbox of paris.
    pub(crate) fn receive(&self, name: &str, inbox: impl Inbox) {
        self.paris.receive(name, inbox).unwrap();
    }

    /// Lyon delivers something, and exactly that arrives.
    pub(crate) async fn honest_delivery(&mut self) {
        let bytes = self.random.bytes(5 * CHUNK + 3);
        let sent = self.lyon.send("paris/in", source(&bytes)).await.unwrap();
        within(sent.delivered()).await.unwrap();
        self.check(&bytes).await;
    }

    /// Checks that what arrived next is exactly this, and nothing arrived beside it.
    pub(crate) async fn check(&mut self, bytes: &[u8]) {
        let arrived = within(self.arrived.recv()).await.unwrap();
        assert!(arrived.bytes == bytes, "other bytes arrived than were sent");
        assert!(self.arrived.try_recv().is_err(), "something else arrived");
    }

    /// After an attack by a stranger: lyon delivers, and paris holds what it held before.
    pub(crate) async fn unharmed(mut self) {
        self.honest_delivery().await;
        self.holds(self.calm.sessions).await;
        self.stop().await;
    }

    /// After an attack by a peer, who may still have a session: it holds nothing.
    pub(crate) async fn unharmed_by_mallory(mut self) {
        self.honest_delivery().await;
        self.holds(self.paris.trust().list().len()).await;
        self.stop().await;
    }

    /// Waits until paris holds no more than before, but for up to so many sessions.
    async fn holds(&self, sessions: usize) {
        let settled = async {
            loop {
                let held = self.paris.held().await;
                if held.sessions <= sessions
                    && (Held { sessions: self.calm.sessions, ..held.clone() }) == self.calm
                {
                    return;
                }
                // There is no event for everything that is given back.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, settled).await.is_err() {
            panic!("{:?} is still held", self.paris.held().await);
        }
    }

    async fn stop(self) {
        assert!(self.paris.metrics().iter().all(|stage| stage.panics == 0), "a stage panicked");
        self.lyon.shutdown().await;
        self.paris.shutdown().await;
    }
}

const NOWHERE: [&str; 0] = [];

/// A node that is about to start.
pub(crate) fn node(name: &str, identity: &Identity, config: NodeConfig) -> NodeBuilder {
    Node::builder().name(name).identity(identity.clone()).stages(standard()).config(config)
}

pub(crate) fn source(bytes: &[u8]) -> BytesSource {
    BytesSource::new("content", Bytes::copy_from_slice(bytes)).unwrap()
}

/// Waits for an event that `wanted` knows.
pub(crate) async fn event(
    events: &mut EventStream,
    wanted: impl Fn(&NodeEvent) -> bool,
) -> NodeEvent {
    within(async {
        loop {
            let event = events.next().await.expect("the node runs");
            if wanted(&event) {
                return event;
            }
        }
    })
    .await
}

/// Waits until the link to this peer is down; why.
pub(crate) async fn link_down(events: &mut EventStream, of: PeerId) -> String {
    let NodeEvent::LinkDown { reason, .. } =
        event(events, |event| matches!(event, NodeEvent::LinkDown { peer, .. } if *peer == of))
            .await
    else {
        unreachable!("waited for just that");
    };
    reason
}

/// Waits until a connection is refused; why.
pub(crate) async fn refused(events: &mut EventStream) -> String {
    let NodeEvent::Refused { reason, .. } =
        event(events, |event| matches!(event, NodeEvent::Refused { .. })).await
    else {
        unreachable!("waited for just that");
    };
    reason
}

/// Waits for news that `wanted` knows.
pub(crate) async fn news(
    events: &mut EventStream,
    wanted: impl Fn(&TransferNews) -> bool,
) -> TransferNews {
    within(async {
        loop {
            let news = events.next_news().await.expect("the node runs");
            if wanted(&news) {
                return news;
            }
        }
    })
    .await
}

/// The failure of a transfer that must fail.
pub(crate) async fn failure(transfer: &TransferHandle) -> Failure {
    within(transfer.delivered()).await.unwrap_err()
}
