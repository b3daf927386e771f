//! Plain actix actors of the user's that panic in their handler, so that their mailbox is gone with
//! what lay in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient};
use estafette::NodeConfig;
use estafette::pipeline::{Chunk, Hosting, Outlet, Parcel, Pipeline};

use super::fragile::{Fuse, POISON, sound, with};
use super::harness::{RUNNING, World, config, content, count, names, source, within};
use super::log;

#[tokio::test]
async fn an_actor_that_dies_is_started_anew_from_its_factory_and_the_chunk_tried_again() {
    let fuse = Fuse::blows(1);
    let mut world = World::new(with(fuse.actor("forth"), Pipeline::new()), sound()).await;
    let before = content(4, &[]);
    world.deliver(&before).await;
    let made = fuse.made.load(Ordering::SeqCst);
    let id = world.deliver(&content(40, &[7])).await;
    assert_eq!(count(&world.lyon, "forth").restarts, 1);
    assert_eq!(
        fuse.made.load(Ordering::SeqCst),
        made + 1,
        "one was made in the place of the dead one"
    );
    assert!(
        !log::lines(&[
            "a chunk was lost in a stage",
            "stage=\"forth\"",
            &id,
            "chunk=7",
            "panicked=true"
        ])
        .is_empty()
    );
    assert!(!log::lines(&["an actor died: starting it anew", "stage=forth"]).is_empty());
    world.check_whole().await;
}

#[tokio::test]
async fn so_is_one_at_the_receiver() {
    let fuse = Fuse::blows(1);
    let mut world = World::new(sound(), with(Pipeline::new(), fuse.actor("back"))).await;
    let id = world.deliver(&content(40, &[7])).await;
    assert_eq!(count(&world.paris, "back").restarts, 1);
    assert!(
        !log::lines(&[
            "a chunk was lost in a stage",
            "stage=\"back\"",
            &id,
            "chunk=7",
            "panicked=true"
        ])
        .is_empty()
    );
    world.check_whole().await;
}

#[tokio::test]
async fn an_actor_that_dies_twice_of_one_chunk_fails_that_transfer_alone() {
    let fuse = Fuse::blows(2);
    let mut world = World::new(with(fuse.actor("forth"), Pipeline::new()), sound()).await;
    let (_, failure) = world.fail_beside("in", source(&content(40, &[7]))).await;
    names(&failure, "forth", Some(7));
    world.nothing_more_arrives();
    world.check_whole().await;
}

#[tokio::test]
async fn so_does_one_at_the_receiver() {
    let fuse = Fuse::blows(2);
    let mut world = World::new(sound(), with(Pipeline::new(), fuse.actor("back"))).await;
    let (_, failure) = world.fail_beside("in", source(&content(40, &[7]))).await;
    names(&failure, "back", Some(7));
    world.nothing_more_arrives();
    world.check_whole().await;
}

/// Dies with a poisonous chunk in its hand when a chunk of another transfer lies there, too, so
/// often.
struct Hoarder {
    deaths: Arc<AtomicUsize>,
    times: usize,
    /// Shared by the actors of all lanes.
    lying: Arc<Mutex<Vec<Chunk>>>,
    outlet: Outlet<Chunk>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Die;

impl Actor for Hoarder {
    type Context = Context<Self>;
}

impl Handler<Chunk> for Hoarder {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, ctx: &mut Context<Self>) {
        let is_poison = |chunk: &Chunk| chunk.bytes().starts_with(POISON);
        let is_wanted = chunk.custody().index() == 15 || is_poison(&chunk);
        if self.deaths.load(Ordering::SeqCst) >= self.times
            || chunk.custody().is_trailer()
            || !is_wanted
        {
            return self.outlet.send(chunk);
        }
        let mut lying = self.lying.lock().unwrap();
        lying.push(chunk);
        if lying.len() == 2 {
            lying.sort_by_key(is_poison);
            ctx.notify(Die);
        }
    }
}

impl Handler<Die> for Hoarder {
    type Result = ();

    fn handle(&mut self, _: Die, _: &mut Context<Self>) {
        self.deaths.fetch_add(1, Ordering::SeqCst);
        let mut lying = std::mem::take(&mut *self.lying.lock().unwrap());
        // Dropped first, as what an actor works on is before what its mailbox holds.
        let _in_hand = lying.pop();
        panic!("on purpose");
    }
}

#[tokio::test]
async fn a_chunk_that_only_lay_in_one_that_dies_twice_goes_on() {
    let (deaths, lying) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Chunk>>>::default());
    let counted = Arc::clone(&deaths);
    let inverse = Pipeline::new().then_actor("back", move |outlet| {
        Hoarder { deaths: Arc::clone(&counted), times: 2, lying: Arc::clone(&lying), outlet }
            .start()
            .recipient()
    });
    let world = World::new(sound(), with(Pipeline::new(), inverse)).await;
    // The other one's chunk 15 is in its window, and lies there both times.
    let bad = world.send("in", source(&content(10, &[7]))).await;
    let good = world.send("in", source(&content(20, &[]))).await;
    let failure = within(bad.delivered()).await.unwrap_err();
    names(&failure, "back", Some(7));
    within(good.delivered()).await.unwrap();
    assert_eq!(deaths.load(Ordering::SeqCst), 2);
    within(world.lyon.shutdown()).await;
    within(world.paris.shutdown()).await;
}

#[tokio::test]
async fn transfers_that_begin_at_once_share_a_chain_on_each_lane() {
    for _ in 0..20 {
        let (forth, back) = (Fuse::blows(0), Fuse::blows(0));
        let world = World::new(
            with(forth.actor("forth"), Pipeline::new()),
            with(Pipeline::new(), back.actor("back")),
        )
        .await;
        let bytes = content(4, &[]);
        let sent =
            futures_util::future::join_all((0..RUNNING).map(|_| world.send("in", source(&bytes))))
                .await;
        for transfer in sent {
            within(transfer.delivered()).await.unwrap();
        }
        // One that took the place of another would be watched by nobody, and end with its thread.
        let made = [&forth, &back].map(|fuse| fuse.made.load(Ordering::SeqCst));
        assert_eq!(made, [2, 2], "one for each of the lanes");
        within(world.lyon.shutdown()).await;
        within(world.paris.shutdown()).await;
    }
}

/// A stage whose factory panics.
fn unmakable(name: &'static str) -> Pipeline<Chunk, Chunk> {
    Pipeline::new().then_actor(name, |_| -> Recipient<Chunk> { panic!("on purpose") })
}

#[tokio::test]
async fn a_factory_that_panics_fails_the_transfer_that_needs_it_and_no_other() {
    let registries = [
        (with(unmakable("forth"), Pipeline::new()), sound()),
        (sound(), with(Pipeline::new(), unmakable("forth"))),
    ];
    for (lyon, paris) in registries {
        let world = World::new(lyon, paris).await;
        let (_, failure) = world.fail("in", source(&content(40, &[]))).await;
        names(&failure, "forth", failure.index);
        assert!(
            !log::lines(&["the factory of a stage panicked", "stage=forth", "on purpose"])
                .is_empty()
        );
        let plain = world.lyon.send("paris/in", source(&content(400, &[]))).await.unwrap();
        within(plain.delivered()).await.unwrap();
        within(world.lyon.shutdown()).await;
        within(world.paris.shutdown()).await;
    }
}

#[tokio::test]
async fn a_factory_that_panics_when_it_is_called_again_fails_the_transfer_and_not_the_node() {
    let (fuse, calls) = (Fuse::blows(1), Arc::<AtomicUsize>::default());
    let inner = fuse.clone();
    let forward = Pipeline::new().then_actor("forth", move |outlet| {
        assert!(calls.fetch_add(1, Ordering::SeqCst) == 0, "on purpose");
        inner.start(outlet)
    });
    let world = World::with(
        NodeConfig { hosting: Hosting::Parallel(1), ..config() },
        with(forward, Pipeline::new()),
        sound(),
    )
    .await;
    let (_, failure) = world.fail("in", source(&content(40, &[7]))).await;
    names(&failure, "forth", failure.index);
    assert!(failure.index.is_some());
    let plain = world.lyon.send("paris/in", source(&content(400, &[]))).await.unwrap();
    within(plain.delivered()).await.unwrap();
    within(world.lyon.shutdown()).await;
}

/// Gives each chunk on twice, with other bytes.
struct Doubles(Outlet<Chunk>);

impl Actor for Doubles {
    type Context = Context<Self>;
}

impl Handler<Chunk> for Doubles {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, _: &mut Context<Self>) {
        if !chunk.custody().is_trailer() {
            self.0.send(chunk.with_bytes(b"other bytes under the same nonce"));
        }
        self.0.send(chunk);
    }
}

#[tokio::test]
async fn an_actor_that_gives_a_chunk_on_twice_fails_its_transfer_and_one_frame_of_it_leaves() {
    let doubles = Pipeline::new()
        .then_actor("forth", |outlet: Outlet<Chunk>| Doubles(outlet).start().recipient());
    let mut world = World::new(with(doubles, Pipeline::new()), sound()).await;
    let transfer = world.send("in", source(&content(1, &[]))).await;
    let failure = within(transfer.delivered()).await.unwrap_err();
    assert!(failure.message.contains("an index is sealed once"), "{failure}");
    world.nothing_more_arrives();
}
