//! Deliveries that somebody gives up while the other end goes on: both hear the same, and nothing
//! is made twice or left over.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use estafette::node::{
    Direction, EventStream, MemoryStore, NodeEvent, OutboxError, OutboxState, Store, TransferEvent,
};
use estafette::pipeline::{
    Committed, Hosting, Inbox, Offer, Placement, Progress, Refusal, Resumed, Sink, SinkError,
    Summary,
};
use estafette::testing::Pair;
use estafette::{FailureKind, Node, NodeConfig, SendOptions, TransferId, TransferNews};
use estafette_actors::sink::{FileSink, Folder, OnConflict};
use estafette_actors::source::{BytesSource, FileSource};
use estafette_actors::standard;
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};

use super::harness::{World, config, entry, send_for, within};
use super::held::HeldSource;

/// The place at which a sink stands until it is let go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Open,
    Commit,
    /// Never goes on, as one whose process dies.
    DeadAtCommit,
    /// The same, when all is visible.
    DeadBehindCommit,
}

/// A folder that stands still once.
#[derive(Clone, Debug)]
pub(crate) struct Still {
    folder: Arc<Folder>,
    at: At,
    reached: Arc<Notify>,
    go: Arc<Semaphore>,
    opened: Arc<(Mutex<bool>, Condvar)>,
}

#[derive(Debug)]
struct StillSink {
    inner: Option<Box<dyn Sink>>,
    of: Still,
}

impl Still {
    pub(crate) fn new(folder: &Path, at: At) -> Self {
        let folder = Arc::new(FileSink::into_dir(folder).on_conflict(OnConflict::Rename));
        Self {
            folder,
            at,
            reached: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
            opened: Arc::default(),
        }
    }

    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn go_on(&self) {
        self.go.close();
        *self.opened.0.lock().unwrap() = true;
        self.opened.1.notify_all();
    }
}

impl Inbox for Still {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        if self.at == At::Open {
            self.reached.notify_one();
            let mut opened = self.opened.0.lock().unwrap();
            while !*opened {
                opened = self.opened.1.wait(opened).unwrap();
            }
        }
        Ok(Box::new(StillSink { inner: Some(self.folder.open(offer)?), of: self.clone() }))
    }
}

impl StillSink {
    fn inner(&mut self) -> &mut Box<dyn Sink> {
        self.inner.as_mut().unwrap()
    }
}

impl Sink for StillSink {
    fn placement(&self) -> Placement {
        self.inner.as_ref().unwrap().placement()
    }

    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        self.inner().write(offset, bytes)
    }

    fn commit<'a>(
        &'a mut self,
        summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async move {
            if self.of.at == At::DeadAtCommit {
                // Its lock goes with it.
                self.inner = None;
                self.of.reached.notify_one();
                std::future::pending::<()>().await;
            }
            if self.of.at == At::Commit {
                self.of.reached.notify_one();
                // Nothing is ever put in: it ends when it may go on.
                let _ = self.of.go.acquire().await;
            }
            let committed = self.inner().commit(summary).await;
            if self.of.at == At::DeadBehindCommit {
                self.of.reached.notify_one();
                std::future::pending::<()>().await;
            }
            committed
        })
    }

    fn abort(&mut self, reason: &str) {
        self.inner().abort(reason);
    }

    fn resumed(&self) -> Resumed {
        self.inner.as_ref().unwrap().resumed()
    }

    fn checkpoint<'a>(
        &'a mut self,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        self.inner().checkpoint(progress)
    }

    fn suspend(&mut self, reason: &str) {
        if let Some(inner) = &mut self.inner {
            inner.suspend(reason);
        }
    }
}

/// Waits for news of an incoming transfer that `wanted` knows.
pub(crate) async fn incoming(
    events: &mut EventStream,
    id: TransferId,
    wanted: impl Fn(&TransferNews) -> bool,
) -> TransferNews {
    loop {
        if let NodeEvent::Transfer(TransferEvent { transfer, direction, news, .. }) =
            events.next().await.unwrap()
            && transfer == id
            && direction == Direction::Incoming
            && wanted(&news)
        {
            return news;
        }
    }
}

pub(crate) fn is_over(news: &TransferNews) -> bool {
    matches!(news, TransferNews::Delivered { .. } | TransferNews::Failed { .. })
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn letter(length: usize) -> BytesSource {
    BytesSource::new("letter", vec![7; length]).unwrap()
}

/// The same, stored: by a reference to a file.
pub(crate) fn stored_letter(folder: &TempDir, length: usize) -> FileSource {
    let path = folder.path().join("letter");
    std::fs::write(&path, vec![7; length]).unwrap();
    FileSource::open(path).unwrap()
}

/// Two nodes with spools, one lane, and links that are waited for.
pub(crate) async fn pair(config: NodeConfig) -> (Pair, TempDir) {
    let spools: [Arc<dyn Store>; 2] =
        [Arc::<MemoryStore>::default(), Arc::<MemoryStore>::default()];
    let pair = Pair::start_both_spooled(1, config, standard(), standard(), spools).await.unwrap();
    (pair, tempfile::tempdir().unwrap())
}

pub(crate) fn patient() -> NodeConfig {
    NodeConfig { hosting: Hosting::Parallel(1), dial_for: HOUR, reconnect_for: HOUR, ..config() }
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_trailer_that_was_acknowledged_comes_again_to_a_receiver_that_died_before_its_rename() {
    // Empty; in one chunk that nothing but its acknowledgement tells of; all of it durable.
    for (length, checkpoint) in [(0, 16 << 20), (1, 16 << 20), (16 << 10, 4 << 10)] {
        let (mut pair, folder) = pair(NodeConfig { checkpoint, ..patient() }).await;
        let still = Still::new(folder.path(), At::DeadAtCommit);
        pair.paris.receive("in", still.clone()).unwrap();
        pair.paris.receive("other", FileSink::into_dir(folder.path())).unwrap();
        let transfer = pair.lyon.send("paris/in", letter(length)).await.unwrap();
        within(still.reached()).await;
        // By the same lane, so what was acknowledged before it has been heard.
        let other = pair
            .lyon
            .send("paris/other", BytesSource::new("other", "other").unwrap())
            .await
            .unwrap();
        within(other.delivered()).await.unwrap();
        pair.network.refuse("paris", true);
        pair.restart_paris(standard()).await.unwrap();
        pair.paris.receive("in", FileSink::into_dir(folder.path())).unwrap();
        pair.network.refuse("paris", false);
        assert_eq!(within(transfer.delivered()).await.unwrap().length, length as u64);
        assert_eq!(names(folder.path()), ["letter", "other"], "{length} bytes");
    }
}

#[tokio::test]
async fn what_the_receiver_cancels_while_it_commits_is_delivered_at_both_ends() {
    let (pair, folder) = pair(patient()).await;
    let still = Still::new(folder.path(), At::Commit);
    pair.paris.receive("in", still.clone()).unwrap();
    let mut there = pair.paris.events();
    let transfer = pair.lyon.send("paris/in", letter(10_000)).await.unwrap();
    within(still.reached()).await;
    pair.paris.cancel(transfer.id());
    // The order lies in front of this question.
    pair.paris.held().await;
    still.go_on();
    assert_eq!(within(transfer.delivered()).await.unwrap().length, 10_000);
    let news = within(incoming(&mut there, transfer.id(), is_over)).await;
    assert!(matches!(news, TransferNews::Delivered { .. }), "{news:?}");
    assert_eq!((names(folder.path()), pair.paris.arrivals().len()), (vec!["letter".to_owned()], 1));
}

#[tokio::test]
async fn what_its_sender_or_the_trust_gives_up_while_it_is_committed_is_remembered_and_told() {
    for revoked in [false, true] {
        let ((mut pair, folder), from) = (pair(patient()).await, tempfile::tempdir().unwrap());
        let still = Still::new(folder.path(), At::Commit);
        pair.paris.receive("in", still.clone()).unwrap();
        let mut there = pair.paris.events();
        let transfer = pair.lyon.send("paris/in", stored_letter(&from, 10_000)).await.unwrap();
        within(still.reached()).await;
        if revoked {
            pair.paris.trust().revoke(pair.lyon.peer()).unwrap();
            let gone = async {
                while !matches!(there.next().await.unwrap(), NodeEvent::LinkDown { .. }) {}
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), gone).await;
        } else {
            within(pair.lyon.stop()).await;
        }
        still.go_on();
        let news = within(incoming(&mut there, transfer.id(), is_over)).await;
        assert!(matches!(news, TransferNews::Delivered { .. }), "revoked: {revoked}: {news:?}");
        assert_eq!(pair.paris.arrivals().len(), 1);
        if !revoked {
            pair.restart_lyon(standard()).await.unwrap();
            within(pair.lyon.outbox().transfer(transfer.id()).await.unwrap().delivered())
                .await
                .unwrap();
        }
        assert_eq!(names(folder.path()), ["letter"]);
    }
}

#[tokio::test]
async fn what_is_cancelled_while_its_inbox_is_asked_leaves_nothing() {
    let (mut pair, folder) = pair(NodeConfig { checkpoint: 4 << 10, ..patient() }).await;
    // The first attempt leaves a file, and a note about it.
    let still = Still::new(folder.path(), At::DeadAtCommit);
    pair.paris.receive("in", still.clone()).unwrap();
    let transfer = pair.lyon.send("paris/in", letter(16 << 10)).await.unwrap();
    within(still.reached()).await;
    pair.network.refuse("paris", true);
    pair.restart_paris(standard()).await.unwrap();
    assert_eq!(names(folder.path()).len(), 1);
    let still = Still::new(folder.path(), At::Open);
    pair.paris.receive("in", still.clone()).unwrap();
    let mut there = pair.paris.events();
    pair.network.refuse("paris", false);
    within(still.reached()).await;
    transfer.cancel();
    // By the same link, so the word has been heard.
    pair.paris.receive("other", FileSink::into_dir(folder.path())).unwrap();
    let other =
        pair.lyon.send("paris/other", BytesSource::new("other", "other").unwrap()).await.unwrap();
    within(other.delivered()).await.unwrap();
    still.go_on();
    // All of it was sent, so its sender waits for what the receiver says.
    assert_eq!(within(transfer.delivered()).await.unwrap_err().kind, FailureKind::Cancelled);
    let news = within(incoming(&mut there, transfer.id(), is_over)).await;
    assert!(matches!(news, TransferNews::Failed { .. }), "{news:?}");
    assert_eq!(names(folder.path()), ["other"]);
}

#[tokio::test]
async fn what_was_cancelled_without_a_link_is_not_begun_again_when_it_is_offered() {
    let ((pair, folder), from) = (pair(patient()).await, tempfile::tempdir().unwrap());
    let still = Still::new(folder.path(), At::Open);
    pair.paris.receive("in", still.clone()).unwrap();
    let (mut there, mut here) = (pair.paris.events(), pair.lyon.events());
    let transfer = pair.lyon.send("paris/in", stored_letter(&from, 10_000)).await.unwrap();
    within(still.reached()).await;
    pair.network.refuse("paris", true);
    pair.network.refuse("lyon", true);
    pair.network.cut();
    let down = async |events: &mut EventStream| {
        while !matches!(events.next().await.unwrap(), NodeEvent::LinkDown { .. }) {}
    };
    within(down(&mut here)).await;
    within(down(&mut there)).await;
    pair.paris.cancel(transfer.id());
    pair.paris.held().await;
    still.go_on();
    let news = within(incoming(&mut there, transfer.id(), is_over)).await;
    assert!(matches!(news, TransferNews::Failed { .. }), "{news:?}");
    pair.network.refuse("paris", false);
    pair.network.refuse("lyon", false);
    let failure = within(transfer.delivered()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cancelled, "{failure}");
    assert!(names(folder.path()).is_empty());
    // Who wants it all the same says so.
    pair.lyon.outbox().retry(transfer.id()).await.unwrap();
    let again = pair.lyon.outbox().transfer(transfer.id()).await.unwrap();
    assert_eq!(within(again.delivered()).await.unwrap().length, 10_000);
}

pub(crate) async fn dead(node: &Node, id: TransferId) -> estafette::Failure {
    match entry(node, id).await.unwrap().state {
        OutboxState::Dead { failure, .. } => failure,
        state => panic!("{state:?}"),
    }
}

#[tokio::test]
async fn what_expired_unoffered_is_tried_again_as_another_delivery() {
    within(async {
        let world = World::new();
        let lyon = world.lyon().await;
        let file = world.file("letter", 5000);
        let transfer = send_for(&lyon, "paris/files", &file, Duration::from_secs(1)).await;
        assert_eq!(transfer.delivered().await.unwrap_err().kind, FailureKind::Expired);
        assert_eq!(dead(&lyon, transfer.id()).await.kind, FailureKind::Expired);
        let new = lyon.outbox().retry(transfer.id()).await.unwrap();
        assert_ne!(new, transfer.id());
        assert!(entry(&lyon, transfer.id()).await.is_none());
        let paris = world.paris().await;
        while entry(&lyon, new).await.unwrap().state == OutboxState::Stored {
            // It has a second to live each time, which is short on a busy machine.
            tokio::task::yield_now().await;
        }
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_may_have_been_delivered_before_it_expired_is_not_tried_again() {
    within(async {
        let ((pair, folder), from) = (pair(patient()).await, tempfile::tempdir().unwrap());
        let still = Still::new(folder.path(), At::Commit);
        pair.paris.receive("in", still.clone()).unwrap();
        // On a busy machine it may expire before it is there: the next one has longer.
        let mut life = Duration::from_secs(1);
        let transfer = loop {
            let options = SendOptions { expiry: Some(life), ..SendOptions::default() };
            let transfer = pair
                .lyon
                .send_with("paris/in", stored_letter(&from, 10_000), options)
                .await
                .unwrap();
            tokio::select! {
                biased;
                () = still.reached() => break transfer,
                _ = transfer.delivered() => life *= 2,
            }
        };
        let failure = transfer.delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unknown, "{failure}");
        still.go_on();
        let refused = pair.lyon.outbox().retry(transfer.id()).await.unwrap_err();
        assert!(
            matches!(refused, OutboxError::Unfit { .. })
                && refused.to_string().contains("may have been delivered"),
            "{refused}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_new_process_of_the_sender_finds_the_room_that_an_earlier_one_took() {
    within(async {
        // Room for one delivery of a peer.
        let (mut pair, folder) = pair(NodeConfig { running_transfers: 2, ..patient() }).await;
        pair.paris.receive("in", FileSink::into_dir(folder.path())).unwrap();
        let options = SendOptions { transient: true, ..SendOptions::default() };
        let (held, go) = super::held::HeldSource::new("held", vec![7; 10_000]);
        let mut there = pair.paris.events();
        let first = pair.lyon.send_with("paris/in", held, options).await.unwrap();
        incoming(&mut there, first.id(), |news| matches!(news, TransferNews::Started { .. })).await;
        pair.restart_lyon(standard()).await.unwrap();
        // The other's process is known to be dead by nothing but that.
        let second = pair.lyon.send("paris/in", letter(6)).await.unwrap();
        assert_eq!(second.delivered().await.unwrap().length, 6);
        drop(go);
    })
    .await;
}

#[tokio::test]
async fn a_sender_hears_that_its_own_deliveries_take_the_room() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (
            world.lyon().await,
            world.paris_with(NodeConfig { running_transfers: 2, ..config() }).await,
        );
        let still = Still::new(&world.path("in"), At::Commit);
        paris.receive("still", still.clone()).unwrap();
        let first = lyon.send("paris/still", letter(10)).await.unwrap();
        still.reached().await;
        let mut here = lyon.events();
        let second =
            lyon.send("paris/files", BytesSource::new("other", "other").unwrap()).await.unwrap();
        assert_eq!(waits(&mut here, second.id()).await, 1);
        still.go_on();
        first.delivered().await.unwrap();
        second.delivered().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_sender_hears_that_there_is_no_room_at_its_own_end() {
    within(async {
        let world = World::new();
        let config = NodeConfig { running_transfers: 2, ..config() };
        let (lyon, _paris) = (
            world.lyon_with_config(Arc::<MemoryStore>::default(), config).await,
            world.paris().await,
        );
        let mut here = lyon.events();
        let (slow, go) = HeldSource::new("slow", vec![7; 10]);
        let transient = || SendOptions { transient: true, ..SendOptions::default() };
        let first = lyon.send_with("paris/files", slow, transient()).await.unwrap();
        let second =
            lyon.send("paris/files", BytesSource::new("other", "other").unwrap()).await.unwrap();
        assert_eq!(waits(&mut here, second.id()).await, 1);
        go.send(Ok(())).unwrap();
        first.delivered().await.unwrap();
        second.delivered().await.unwrap();
    })
    .await;
}

/// Waits until a delivery waits for room, and returns how many of its sender's take that.
async fn waits(events: &mut EventStream, id: TransferId) -> u32 {
    loop {
        if let NodeEvent::Transfer(TransferEvent {
            news: TransferNews::Waiting { running },
            transfer,
            ..
        }) = events.next().await.unwrap()
            && transfer == id
        {
            return running;
        }
    }
}
