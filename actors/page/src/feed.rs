//! The feed of event streams: one task asks for snapshots while somebody listens.
//!
//! Invariant: it asks at most ten times a second while something moves, once a second otherwise,
//! and never when nobody listens. A listener that is slow gets the newest snapshot and misses those
//! before it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use estafette::Node;
use estafette::node::Snapshot;
use tokio::sync::watch;

/// Between two looks while something moves.
const LIVELY: Duration = Duration::from_millis(100);
/// Between two looks while nothing does.
const CALM: Duration = Duration::from_secs(1);
/// Bytes on the wire in one look that count for something that moves: more than a heartbeat.
const HEARTBEAT: u64 = 4096;

/// A snapshot, as it is sent.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The snapshot, without what happened, which is told apart, once.
    pub(crate) snapshot: String,
    /// The events, each with its number.
    pub(crate) happenings: Vec<(u64, String)>,
    /// The time of the node's start: it tells numbers of one process from those of another.
    pub(crate) since: u64,
}

/// The source of snapshots for listeners.
#[derive(Debug)]
pub(crate) struct Feed {
    node: Node,
    latest: watch::Sender<Option<Arc<Frame>>>,
    /// Set while somebody asks for snapshots. Locked while a listener comes, and while the one who
    /// asks makes sure that there is none.
    is_asking: Mutex<bool>,
}

impl Feed {
    pub(crate) fn new(node: &Node) -> Arc<Self> {
        let latest = watch::channel(None).0;
        Arc::new(Self { node: node.clone(), latest, is_asking: Mutex::new(false) })
    }

    /// A new listener: it hears the next snapshot, and each that differs from the one before.
    pub(crate) fn listen(self: &Arc<Self>) -> watch::Receiver<Option<Arc<Frame>>> {
        let mut is_asking = self.is_asking.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = self.latest.subscribe();
        if !std::mem::replace(&mut is_asking, true) {
            tokio::spawn(Arc::clone(self).ask());
        }
        listener
    }

    async fn ask(self: Arc<Self>) {
        let mut asking = Asking { feed: self, is_over: false };
        let feed = Arc::clone(&asking.feed);
        // What was last seen is old.
        feed.latest.send_replace(None);
        let mut last: Option<Snapshot> = None;
        loop {
            asking.is_over = feed.is_over();
            if asking.is_over {
                return;
            }
            let snapshot = feed.node.snapshot().await;
            let moves = moves(&snapshot, last.as_ref());
            if last.as_ref().is_none_or(|last| snapshot.differs_from(last)) {
                feed.latest.send_replace(Some(Arc::new(frame(&snapshot))));
            }
            last = Some(snapshot);
            tokio::time::sleep(if moves { LIVELY } else { CALM }).await;
        }
    }

    /// Returns `true` if nobody listens; whoever comes from then on has it begin anew.
    fn is_over(&self) -> bool {
        let mut is_asking = self.is_asking.lock().unwrap_or_else(PoisonError::into_inner);
        *is_asking = self.latest.receiver_count() > 0;
        !*is_asking
    }
}

/// The one who asks. If it ends before it is over (it has panicked, or its runtime has stopped),
/// whoever comes next has another begin.
struct Asking {
    feed: Arc<Feed>,
    /// That it is over was said under the lock: another may ask by now.
    is_over: bool,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.is_over {
            *self.feed.is_asking.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
    }
}

fn frame(snapshot: &Snapshot) -> Frame {
    let text = |value: serde_json::Result<String>| value.expect("a snapshot has names for keys");
    let happenings = snapshot
        .happenings
        .iter()
        .map(|happening| (happening.number, text(serde_json::to_string(happening))));
    let (happenings, since) = (happenings.collect(), snapshot.node.since);
    let mut rest = snapshot.clone();
    rest.happenings.clear();
    Frame { snapshot: text(serde_json::to_string(&rest)), happenings, since }
}

fn moves(now: &Snapshot, last: Option<&Snapshot>) -> bool {
    let sum = |snapshot: &Snapshot| snapshot.totals.sent_bytes + snapshot.totals.received_bytes;
    let busy = |actor: &estafette::node::ActorSnapshot| actor.in_hand > 0 || actor.waiting > 0;
    !now.transfers.is_empty()
        || now.actors.iter().any(busy)
        || last.is_some_and(|last| sum(now).saturating_sub(sum(last)) > HEARTBEAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_asks_when_the_runtime_of_the_one_who_asked_has_stopped() {
        let node = Node::builder().stages(estafette_actors::standard()).start().await.unwrap();
        let feed = Feed::new(&node);
        let first = Arc::clone(&feed);
        let left = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut listener = first.listen();
                listener.wait_for(Option::is_some).await.unwrap();
                listener
            })
        });
        let _left = left.join().unwrap();
        assert!(!*feed.is_asking.lock().unwrap());
        let mut next = feed.listen();
        next.mark_unchanged();
        next.changed().await.unwrap();
    }

    #[tokio::test]
    async fn it_asks_while_somebody_listens_and_begins_anew_for_the_next() {
        let node = Node::builder().stages(estafette_actors::standard()).start().await.unwrap();
        let feed = Feed::new(&node);
        let is_asking = || *feed.is_asking.lock().unwrap();
        assert!(!is_asking());
        for _ in 0..2 {
            let (mut one, mut other) = (feed.listen(), feed.listen());
            for listener in [&mut one, &mut other] {
                let frame = listener.wait_for(Option::is_some).await.unwrap().clone().unwrap();
                assert!(frame.snapshot.contains(&node.peer().to_string()));
            }
            drop(one);
            assert!(is_asking(), "one is left");
            drop(other);
            while is_asking() {
                tokio::task::yield_now().await;
            }
        }
    }
}
