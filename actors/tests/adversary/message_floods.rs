//! Too many messages, or too much of what comes with them: what it costs is bounded, its link ends,
//! and others are served.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, Recipient, ResponseFuture};
use estafette::remote::{Called, RemoteMessage};
use estafette::wire::LinkConfig;
use estafette::wire::message::{BATCH_LIMIT, Item, Shape};
use estafette::{NodeConfig, RemoteErrorKind};
use tokio::sync::{Notify, mpsc, oneshot};

use super::post::{Echo, Hang, Post, batch, bind, body, serves_lyon, world};
use super::world::{World, link_down, within};
use tokio::io::AsyncWriteExt;

/// An actor that no node hosts, until this is dropped.
struct Outside<M: Message<Result: Send> + Send> {
    recipient: Recipient<M>,
    _over: oneshot::Sender<()>,
}

impl<M: Message<Result: Send> + Send + 'static> Outside<M> {
    async fn start(make: impl FnOnce() -> Recipient<M> + Send + 'static) -> Self {
        let (_over, is_over) = oneshot::channel();
        let (give, given) = oneshot::channel();
        std::thread::spawn(move || {
            actix::System::new().block_on(async move {
                assert!(give.send(make()).is_ok());
                let _ = is_over.await;
            });
        });
        Self { recipient: given.await.unwrap(), _over }
    }
}

/// Answers when it is let go, whoever still waits for it.
#[derive(Clone)]
struct Lingers {
    begun: mpsc::UnboundedSender<()>,
    let_go: Arc<Notify>,
}

impl Actor for Lingers {
    type Context = Context<Self>;
}

impl Handler<Hang> for Lingers {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, hang: Hang, _: &mut Context<Self>) -> Self::Result {
        let this = self.clone();
        Box::pin(async move {
            let mut let_go = std::pin::pin!(this.let_go.notified());
            let_go.as_mut().enable();
            this.begun.send(()).unwrap();
            let_go.await;
            hang.0.len() as u64
        })
    }
}

/// Sends batches as `make` makes them until the link ends; why it did.
async fn flood(world: &World, mut post: Post, mut make: impl FnMut(u64) -> Vec<u8>) -> String {
    let mut events = world.paris.events();
    let flooding = async {
        for round in 0.. {
            let made = make(round);
            let frame = post.batch(&made);
            // Until the connection is reset.
            if post.link.channel.io.write_all(&frame).await.is_err() {
                return;
            }
        }
    };
    let (why, ()) =
        within(async { tokio::join!(link_down(&mut events, world.mallory.id()), flooding) }).await;
    why
}

/// Batches of what `item` makes of rising numbers.
fn many(item: impl Fn(u64) -> Vec<u8>) -> impl FnMut(u64) -> Vec<u8> {
    let mut number = 0;
    move |_| {
        let mut batch = Vec::new();
        loop {
            let next = item(number);
            if batch.len() + next.len() > BATCH_LIMIT {
                return batch;
            }
            batch.extend(next);
            number += 1;
        }
    }
}

#[tokio::test]
async fn names_and_watches_without_end_end_the_link() {
    let world = world(31).await;
    let post = Post::begin(&world.mallory).await;
    let why = flood(&world, post, many(|number| batch(&[bind::<Echo>(number as u32)]))).await;
    assert!(why.contains("one too many"), "{why}");
    serves_lyon(&world).await;
    let post = Post::begin(&world.mallory).await;
    let why =
        flood(&world, post, many(|watch| batch(&[Item::Watch { watch, name: "target" }]))).await;
    assert!(why.contains("watches"), "{why}");
    serves_lyon(&world).await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn calls_and_tells_beyond_their_credit_end_the_link() {
    let mut world = world(32).await;
    let body = body(60_000);
    let mut post = Post::begin(&world.mallory).await;
    post.send(&[bind::<Hang>(0)]).await;
    let why = flood(&world, post, |call| {
        batch(&[Item::Call { call, target: 0, shape: Shape::Ask, body: &body }])
    })
    .await;
    assert!(why.contains("more calls than it has credit for"), "{why}");
    serves_lyon(&world).await;
    world.honest_delivery().await;
    // Here, what never ends counts, so that tells would be refused.
    let world = super::post::world(37).await;
    let mut post = Post::begin(&world.mallory).await;
    post.send(&[bind::<Hang>(0)]).await;
    let why = flood(&world, post, |_| batch(&[Item::Tell { target: 0, body: &body }])).await;
    assert!(why.contains("more messages than it has credit for"), "{why}");
    serves_lyon(&world).await;
    world.unharmed_by_mallory().await;
}

/// Takes calls with streams, and reads nothing of them until it is dropped.
struct Hoard(Vec<Called<Echo>>);

impl Actor for Hoard {
    type Context = Context<Self>;
}

impl Handler<Called<Echo>> for Hoard {
    type Result = ();

    fn handle(&mut self, called: Called<Echo>, _: &mut Context<Self>) {
        self.0.push(called);
    }
}

/// Returns the code with which a call to paris failed.
async fn failed(post: &mut Post, call: u64) -> u8 {
    post.until(|item| {
        if let Item::Failed { call: of, code, .. } = item {
            (of == call).then_some(code)
        } else {
            None
        }
    })
    .await
}

#[tokio::test]
async fn requests_that_nobody_reads_count_over_all_links() {
    let world = world(35).await;
    let hoard = Outside::start(|| Hoard(Vec::new()).start().recipient()).await;
    world.paris.register_calls::<Echo>("hoard", hoard.recipient.clone()).unwrap();
    let (body, mallory) = (body(60_000), world.mallory.id());
    let bind = Item::Bind { target: 0, name: "hoard", message: Echo::NAME, version: Echo::VERSION };
    // Each link may bring 128 calls with 1.3 MiB each; 50 calls are well within that.
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut events = world.paris.events();
        let mut post = Post::begin(&world.mallory).await;
        post.send(&[bind]).await;
        for call in 0..50 {
            post.send(&[Item::Call { call, target: 0, shape: Shape::Requests, body: &[] }]).await;
            for _ in 0..20 {
                post.send(&[Item::Request { call, body: &body }]).await;
            }
        }
        // Answered when all before it has been looked at.
        post.send(&[Item::Call { call: 99, target: 7, shape: Shape::Ask, body: &[] }]).await;
        within(link_down(&mut events, mallory)).await;
        held.push(world.paris.unread_of(mallory));
    }
    let share = 128 * ((1 << 20) + 64);
    assert!(
        held[1] >= 2 * held[0]
            && held[0] >= 50 * 20 * 60_000
            && held.iter().all(|held| *held <= share),
        "{held:?}"
    );
    let mut post = Post::begin(&world.mallory).await;
    post.send(&[bind, Item::Call { call: 1, target: 0, shape: Shape::Requests, body: &[] }]).await;
    for _ in 0..20 {
        post.send(&[Item::Request { call: 1, body: &body }]).await;
    }
    assert_eq!(failed(&mut post, 1).await, RemoteErrorKind::Full as u8);
    serves_lyon(&world).await;
    // Nobody will read them any more.
    drop(post);
    drop(hoard);
    within(async {
        while world.paris.unread_of(mallory) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn calls_that_were_given_up_count_over_all_links_until_their_handlers_end() {
    const CALLS: u64 = 200;
    let world = world(36).await;
    let (begun, mut beginning) = mpsc::unbounded_channel();
    let lingers = Lingers { begun, let_go: Arc::default() };
    let (let_go, outside, inside) = (Arc::clone(&lingers.let_go), lingers.clone(), lingers);
    let outside = Outside::start(move || outside.start().recipient()).await;
    world.paris.register::<Hang>("outside", outside.recipient.clone()).unwrap();
    world.paris.host("inside", move || inside.clone()).takes::<Hang>().start().await.unwrap();
    let (body, mallory) = (body(60_000), world.mallory.id());
    for name in ["outside", "inside"] {
        let bind =
            |target, name| Item::Bind { target, name, message: Hang::NAME, version: Hang::VERSION };
        let refused = Cell::new(0);
        for links in 1.. {
            let mut post = Post::begin(&world.mallory).await;
            post.send(&[bind(0, name), bind(1, "nobody")]).await;
            for call in 0..CALLS {
                post.send(&[Item::Call { call, target: 0, shape: Shape::Ask, body: &body }]).await;
            }
            // Answered when all before it has been looked at.
            post.send(&[Item::Call { call: CALLS, target: 1, shape: Shape::Ask, body: &[] }]).await;
            let seen = post.until(|item| {
                let Item::Failed { call, code, .. } = item else { return None };
                refused.set(refused.get() + u64::from(code == RemoteErrorKind::Full as u8));
                (call == CALLS).then_some(())
            });
            seen.await;
            for _ in refused.get()..CALLS {
                within(beginning.recv()).await.unwrap();
            }
            if refused.get() > 0 {
                break;
            }
            // Given up, so that the link's credit is there again; what they hold is not.
            let cancels: Vec<_> = (0..CALLS).map(|call| Item::Cancel { call }).collect();
            post.send(&cancels).await;
            let last = |item: Item<'_>| {
                matches!(item, Item::Failed { call, .. } if call == CALLS - 1).then_some(())
            };
            post.until(last).await;
            assert!(
                world.paris.unhandled_of(mallory) >= links * CALLS * 60_000,
                "what was given up is forgotten"
            );
            assert!(links < 4, "it never says that it has enough");
        }
        assert!((32 << 20..=33 << 20).contains(&world.paris.unhandled_of(mallory)));
        serves_lyon(&world).await;
        let_go.notify_waiters();
        while world.paris.unhandled_of(mallory) > 0 {
            tokio::task::yield_now().await;
        }
    }
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn parts_without_end_end_the_link() {
    let world = world(33).await;
    let mut post = Post::begin(&world.mallory).await;
    post.send(&[Item::Begin { total: 16 << 20 }]).await;
    let part = vec![7; 60_000];
    let why = flood(&world, post, |_| batch(&[Item::Part { bytes: &part }])).await;
    assert!(why.contains("does not fit"), "{why}");
    serves_lyon(&world).await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_peer_that_asks_and_does_not_read_loses_its_link() {
    // No patience of the link's own would end it in time.
    let link = LinkConfig::new(
        Duration::from_secs(60),
        Duration::from_secs(600),
        Duration::from_secs(3600),
    )
    .unwrap();
    let world = super::post::world_with(34, NodeConfig { link, ..super::world::config() }).await;
    let mut post = Post::narrow(&world.mallory).await;
    post.announce().await;
    post.send(&[bind::<Echo>(0)]).await;
    // Each is answered with what was sent; beyond the limit of answers, with an error.
    let (large, small) = (body(60_000), body(0));
    // Few at a time: the actor answers them as fast as they come, and the credit for calls is not
    // what ends it.
    let few = |round: u64| {
        (round * 8..round * 8 + 8).map(|number| Item::Call {
            call: (1 << 32) + number,
            target: 0,
            shape: Shape::Ask,
            body: &small,
        })
    };
    let why = flood(&world, post, |call| match call {
        0..600 => batch(&[Item::Call { call, target: 0, shape: Shape::Ask, body: &large }]),
        round => batch(&few(round).collect::<Vec<_>>()),
    })
    .await;
    assert!(why.contains("does not read"), "{why}");
    serves_lyon(&world).await;
    world.unharmed_by_mallory().await;
}
