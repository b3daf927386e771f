//! Two nodes, and actors on one of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use estafette::NodeConfig;
use estafette::remote::{RemoteError, Undelivered};
use estafette::testing::Pair;
use estafette_actors::standard;
use tokio::sync::{Notify, mpsc};

use crate::actors::{Add, Hang, Note, Panic, Stop, Sum};

/// Longer than anything here may take: what hangs fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

pub(crate) struct Meeting {
    pub(crate) pair: Pair,
    pub(crate) noted: mpsc::UnboundedReceiver<(u64, usize)>,
    pub(crate) let_go: Arc<Notify>,
    pub(crate) hanging: Arc<std::sync::atomic::AtomicU64>,
}

pub(crate) fn config() -> NodeConfig {
    NodeConfig { backoff: Duration::from_millis(1), ..NodeConfig::default() }
}

/// `lyon` and `paris`, where an actor `sum` takes everything.
pub(crate) async fn meet(seed: u64) -> Meeting {
    let pair = Pair::start(seed, config(), standard(), standard()).await.unwrap();
    let (noting, noted) = mpsc::unbounded_channel();
    let (let_go, hanging) = (Arc::<Notify>::default(), Arc::default());
    let make = {
        let (let_go, hanging) = (Arc::clone(&let_go), Arc::clone(&hanging));
        move || Sum {
            sum: 0,
            noted: Some(noting.clone()),
            let_go: Arc::clone(&let_go),
            hanging: Arc::clone(&hanging),
        }
    };
    let hosted = pair
        .paris
        .host("sum", make)
        .takes::<Add>()
        .takes::<Note>()
        .takes::<Panic>()
        .takes::<Hang>()
        .takes::<Stop>();
    hosted.start().await.unwrap();
    Meeting { pair, noted, let_go, hanging }
}

/// Collects what was not delivered.
#[derive(Clone, Default)]
pub(crate) struct Lost(pub(crate) Arc<Mutex<Vec<Undelivered>>>, pub(crate) Arc<Notify>);

impl Lost {
    pub(crate) fn hook(&self) -> impl Fn(Undelivered) + Send + Sync + 'static {
        let Self(lost, notify) = self.clone();
        move |undelivered| {
            lost.lock().unwrap().push(undelivered);
            notify.notify_one();
        }
    }

    /// Waits until so many were lost, and says why the last were.
    pub(crate) async fn count(&self, wanted: u64) -> RemoteError {
        loop {
            {
                let lost = self.0.lock().unwrap();
                if lost.iter().map(|lost| lost.count).sum::<u64>() >= wanted {
                    return lost.last().unwrap().error.clone();
                }
            }
            self.1.notified().await;
        }
    }
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it takes too long")
}
