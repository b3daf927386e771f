//! Links that come and go: what a peer may have here is the peer's, and not each link's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, AtomicResponse, Context, Handler, WrapFuture};
use estafette::node::NodeEvent;
use estafette::testing::{Network, Pair};
use estafette::{Identity, Node, NodeConfig, RemoteErrorKind};
use estafette_actors::standard;
use tokio::sync::Notify;

use crate::actors::Note;
use crate::harness::{Lost, config, soon};

/// Handles nothing until it is let go.
struct Stuck(Arc<Notify>, Arc<AtomicU64>);

impl Actor for Stuck {
    type Context = Context<Self>;
}

impl Handler<Note> for Stuck {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, note: Note, _: &mut Context<Self>) -> Self::Result {
        let let_go = Arc::clone(&self.0);
        let waits = async move {
            let_go.notified().await;
            let_go.notify_one();
            note
        };
        AtomicResponse::new(Box::pin(waits.into_actor(self).map(|Note(_, bytes), stuck, _| {
            stuck.1.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        })))
    }
}

/// Actors, each with a window of its own: together they may have as much as a link.
const ACTORS: usize = 16;
const BYTES: usize = 200_000;

async fn fill(lyon: &Node) {
    // Else what is told first waits for the link, which a busy machine makes late, and not for
    // credit.
    lyon.watch("paris").unwrap().up().await;
    for number in 0..ACTORS {
        let note = lyon.remote::<Note>(&format!("paris/stuck{number}")).unwrap();
        // A window, and what is refused takes none of it.
        for _ in 0..8 {
            match tokio::time::timeout(
                Duration::from_millis(100),
                note.tell(Note(0, vec![1; BYTES])),
            )
            .await
            {
                Ok(told) => told.unwrap(),
                Err(_) => break,
            }
        }
    }
}

#[tokio::test]
async fn a_peer_that_comes_back_again_and_again_has_no_credit_anew() {
    let mut pair = Pair::start(31, config(), standard(), standard()).await.unwrap();
    let (let_go, handled) = (Arc::<Notify>::default(), Arc::<AtomicU64>::default());
    for number in 0..ACTORS {
        let (let_go, handled) = (Arc::clone(&let_go), Arc::clone(&handled));
        let make = move || Stuck(Arc::clone(&let_go), Arc::clone(&handled));
        pair.paris.host(&format!("stuck{number}"), make).takes::<Note>().start().await.unwrap();
    }
    let lost = Lost::default();
    for _ in 0..4 {
        soon(fill(&pair.lyon)).await;
        pair.restart_lyon_with(standard(), |builder| builder.on_undelivered(lost.hook()))
            .await
            .unwrap();
    }
    let told =
        soon(pair.lyon.remote::<Note>("paris/stuck0").unwrap().tell(Note(0, vec![1; BYTES]))).await;
    told.unwrap();
    let error = soon(lost.count(1)).await;
    assert_eq!(error.kind, RemoteErrorKind::Full);
    assert!(error.message.contains("by earlier links"), "{error}");
    // What each of five links could have brought is five times as much.
    let held = pair.paris.unhandled_of(pair.lyon.peer());
    assert!((16 << 20..=34 << 20).contains(&held), "{held} bytes were held");
    // Handled, it is all given back.
    let_go.notify_one();
    let note = pair.lyon.remote::<Note>("paris/stuck0").unwrap();
    let again = async {
        loop {
            let before = handled.load(Ordering::Relaxed);
            note.tell(Note(0, vec![1; BYTES])).await.unwrap();
            if handled.load(Ordering::Relaxed) > before
                && pair.paris.unhandled_of(pair.lyon.peer()) == 0
            {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(again).await;
}

#[tokio::test]
async fn two_programs_with_one_key_take_the_link_from_each_other_ever_more_rarely() {
    let network = Network::seeded(32);
    let [lyon, paris] = [Identity::from_secret([1; 32]), Identity::from_secret([2; 32])];
    let config = || NodeConfig { backoff: Duration::from_millis(40), ..config() };
    let node = |name: &'static str, identity: &Identity| {
        Node::builder()
            .name(name)
            .identity(identity.clone())
            .stages(standard().transport(network.transport(name)))
            .config(config())
    };
    let paris = node("paris", &paris)
        .listen("paris")
        .peer("lyon", lyon.peer(), Vec::<String>::new())
        .start()
        .await
        .unwrap();
    let mut events = paris.events();
    let mut twins = Vec::new();
    for name in ["one", "two"] {
        let twin = node(name, &lyon).peer("paris", paris.peer(), ["paris"]).start().await.unwrap();
        twin.stay_connected(paris.peer());
        twins.push(twin);
    }
    let begun = Instant::now();
    let mut links = 0;
    while links < 14 {
        if let NodeEvent::LinkUp { .. } = soon(events.next()).await.unwrap() {
            links += 1;
        }
    }
    // Each waits for longer after each time: half of 40, 80, … 1,280 ms at least, and the other one
    // as long.
    assert!(
        begun.elapsed() > Duration::from_millis(600),
        "{links} links within {:?}",
        begun.elapsed()
    );
}
