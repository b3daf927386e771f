//! Tests that a host may run a node from any runtime, and from none. Over TCP on the loopback
//! interface.

use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;

use estafette::Node;
use estafette_actors::sink::MemorySink;
use estafette_actors::source::BytesSource;
use estafette_actors::standard;

use super::harness::{content, within};

/// Two nodes, a delivery from one to the other, and their end.
async fn a_life() {
    let paris = Node::builder().listen("127.0.0.1:0").stages(standard()).start().await.unwrap();
    let (inbox, mut arrived) = MemorySink::channel(8 << 20, 1);
    paris.receive("in", inbox).unwrap();
    let lyon = Node::builder().stages(standard()).start().await.unwrap();
    let bytes = content(500, &[]);
    let transfer = lyon
        .send(paris.ticket("in").unwrap(), BytesSource::new("content", bytes.clone()).unwrap())
        .await
        .unwrap();
    transfer.delivered().await.unwrap();
    assert!(arrived.recv().await.unwrap().bytes == bytes);
    lyon.shutdown().await;
    paris.shutdown().await;
}

/// Waits as a host without a runtime does: sleeps until it is woken.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_plain_thread_starts_and_ends_nodes_without_any_runtime() {
    let paris = Node::builder().listen("127.0.0.1:0").stages(standard()).start_blocking().unwrap();
    let (inbox, mut arrived) = MemorySink::channel(8 << 20, 1);
    paris.receive("in", inbox).unwrap();
    let lyon = Node::builder().stages(standard()).start_blocking().unwrap();
    let bytes = content(500, &[]);
    let source = BytesSource::new("content", bytes.clone()).unwrap();
    let transfer = wait(lyon.send(paris.ticket("in").unwrap(), source)).unwrap();
    wait(transfer.delivered()).unwrap();
    assert!(arrived.blocking_recv().unwrap().bytes == bytes);
    lyon.shutdown_blocking();
    paris.shutdown_blocking();
}

#[test]
fn a_node_lives_beside_an_actix_system_and_can_be_used_from_it() {
    actix::System::new().block_on(within(async {
        a_life().await;
        // The host's system is its own still.
        assert!(actix::System::try_current().is_some());
        actix::spawn(async {}).await.unwrap();
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_lives_beside_a_runtime_of_many_threads() {
    within(async { tokio::spawn(a_life()).await.unwrap() }).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_node_lives_beside_a_runtime_of_one_thread() {
    within(a_life()).await;
}
