//! A node whose last handle is dropped ends at once, and takes its threads and its port along.
//! Alone in its process: it counts the threads of all.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::time::Duration;

use bytes::Bytes;
use estafette::delivery::{Content, ContentKind, ContentName};
use estafette::pipeline::{
    Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Source, SourceError,
    SourceReport, Summary,
};
use estafette::{Identity, Node, NodeEvent};
use estafette_actors::standard;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(180);

/// Content without end.
#[derive(Debug)]
struct Endless;

impl Source for Endless {
    fn content(&self) -> Content {
        Content::new(ContentKind::Bytes, ContentName::new("zeros").unwrap(), None)
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async { Ok(buffer.len()) })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }
}

/// Tells what happens to its sink.
#[derive(Clone, Debug)]
struct Watched(mpsc::UnboundedSender<&'static str>);

impl Inbox for Watched {
    fn open(&self, _: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Watched {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(&'a mut self, _: u64, _: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        let _ = self.0.send("written");
        Box::pin(async { Ok(()) })
    }

    fn commit<'a>(&'a mut self, _: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async { Err(SinkError::Gone("it never ends".into())) })
    }

    fn abort(&mut self, _: &str) {
        let _ = self.0.send("aborted");
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Looks until there are so few; nothing tells when the system has reaped the last one.
async fn only(few: usize) {
    let reaped = async {
        while threads() > few {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, reaped).await;
    assert!(waited.is_ok(), "{} threads are left, {few} were there before", threads());
}

async fn until(events: &mut estafette::node::EventStream, wanted: impl Fn(&NodeEvent) -> bool) {
    let seen = async { while !wanted(&events.next().await.expect("the node runs")) {} };
    tokio::time::timeout(PATIENCE, seen).await.expect("it hangs");
}

/// In the middle of a delivery, over TCP, first the sender's handles go, then the receiver's.
async fn dropped(sender_first: bool) {
    let before = threads();
    let (lyon_key, paris_key) = (Identity::generate(), Identity::generate());
    let paris = Node::builder().identity(paris_key.clone()).listen("127.0.0.1:0").peer(
        "lyon",
        lyon_key.peer(),
        [""; 0],
    );
    let paris = paris.stages(standard()).start().await.unwrap();
    let address = paris.addresses()[0].clone();
    let (watched, mut heard) = mpsc::unbounded_channel();
    paris.receive("in", Watched(watched)).unwrap();
    let lyon = Node::builder()
        .identity(lyon_key)
        .peer("paris", paris_key.peer(), [address.clone()])
        .stages(standard());
    let lyon = lyon.start().await.unwrap();
    let transfer = lyon.send("paris/in", Endless).await.unwrap();
    while heard.recv().await != Some("written") {}
    let (first, second) = if sender_first { (lyon, paris) } else { (paris, lyon) };
    let mut events = second.events();
    // A handle of a transfer is a handle of its node, too.
    let clone = first.clone();
    drop(first);
    assert!(threads() > before);
    drop(clone);
    if sender_first {
        drop(transfer);
        until(&mut events, |event| matches!(event, NodeEvent::LinkDown { .. })).await;
        drop(second);
    } else {
        until(&mut events, |event| matches!(event, NodeEvent::LinkDown { .. })).await;
        drop((transfer, second));
    }
    only(before).await;
    let mut last = None;
    while let Some(word) = heard.recv().await {
        last = Some(word);
    }
    assert_eq!(last, Some("aborted"), "the sink was left as it was");
    std::net::TcpListener::bind(&address).expect("the port is free again");
}

/// The niceness of the threads of this process.
fn niceness() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end meanwhile.
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
    // The 19th field; the second, in brackets, may have blanks in it.
    stats
        .map(|stat| {
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
        })
        .collect()
}

/// The threads of bulk work and that of the door step back, and no others do.
async fn step_back() {
    let (before, usual) = (threads(), niceness()[0]);
    let paris = Node::builder().listen("127.0.0.1:0").stages(standard()).start().await.unwrap();
    let stepping = std::thread::available_parallelism().unwrap().get().min(8) + 1;
    let nice = || niceness().into_iter().filter(|&nice| nice == (usual + 10).min(19)).count();
    let settled = async {
        while nice() < stepping {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("they do not step back");
    assert_eq!(nice(), stepping);
    paris.shutdown().await;
    only(before).await;
}

/// Deliveries come and go, and so do their threads; a shutdown leaves none.
async fn shut_down() {
    let before = threads();
    let paris = Node::builder().listen("127.0.0.1:0").stages(standard()).start().await.unwrap();
    paris.receive("in", estafette_actors::sink::NullSink::new()).unwrap();
    let lyon = Node::builder().stages(standard()).start().await.unwrap();
    let idle = threads();
    for _ in 0..8 {
        let source =
            estafette_actors::source::BytesSource::new("content", vec![7; 1 << 20]).unwrap();
        let transfer = lyon.send(paris.ticket("in").unwrap(), source).await.unwrap();
        transfer.delivered().await.unwrap();
    }
    // Of sixteen; what may linger is a thread for blocking calls in each node.
    only(idle + 2).await;
    lyon.shutdown().await;
    paris.shutdown().await;
    only(before).await;
}

#[tokio::test]
async fn nodes_leave_no_thread_behind_however_they_end() {
    shut_down().await;
    step_back().await;
    dropped(true).await;
    dropped(false).await;
}
