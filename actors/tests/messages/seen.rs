//! Sights of hosted actors, also while one of them blocks the node's thread.

use std::sync::{Arc, Mutex, mpsc};

use actix::{Actor, Context, Handler};
use estafette::node::HappeningKind;
use estafette::testing::Pair;
use estafette_actors::standard;

use crate::actors::{Add, Panic};
use crate::harness::{config, meet, soon};

/// Blocks its thread until it is let go.
struct Block(Arc<Mutex<(mpsc::Sender<()>, mpsc::Receiver<()>)>>);

impl Actor for Block {
    type Context = Context<Self>;
}

impl Handler<Add> for Block {
    type Result = u64;

    fn handle(&mut self, Add(number): Add, _: &mut Context<Self>) -> u64 {
        let (began, go_on) = &*self.0.lock().unwrap();
        began.send(()).unwrap();
        go_on.recv().unwrap();
        number
    }
}

#[tokio::test]
async fn an_actor_that_blocks_its_node_is_named_by_a_snapshot_that_says_so() {
    let pair = Pair::start(71, config(), standard(), standard()).await.unwrap();
    let ((began, has_begun), (go, go_on)) = (mpsc::channel(), mpsc::channel());
    let ends = Arc::new(Mutex::new((began, go_on)));
    let hosted = pair.paris.host("block", move || Block(Arc::clone(&ends))).takes::<Add>();
    hosted.start().await.unwrap();
    let seen = pair.paris.snapshot().await;
    let [actor] = &seen.actors[..] else { panic!("{:?}", seen.actors) };
    assert_eq!(
        (&*actor.name, actor.alive, actor.taken, actor.busy_since),
        ("block", true, 0, None)
    );
    let block = pair.lyon.remote::<Add>("paris/block").unwrap();
    let asked = tokio::spawn(async move { block.ask(Add(3)).await });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
    let seen = soon(pair.paris.snapshot()).await;
    assert!(!seen.answers, "its thread is blocked");
    let actor = &seen.actors[0];
    assert_eq!((actor.in_hand, actor.taken), (1, 1));
    assert_eq!(actor.waiting, 0);
    assert!(actor.busy_since.is_some_and(|since| since >= actor.since && since <= seen.at));
    go.send(()).unwrap();
    assert_eq!(soon(asked).await.unwrap().unwrap(), 3);
    let seen = soon(pair.paris.snapshot()).await;
    assert!(seen.answers);
    assert_eq!((seen.actors[0].in_hand, seen.actors[0].busy_since), (0, None));
}

#[tokio::test]
async fn a_death_is_counted_and_told() {
    let meeting = meet(72).await;
    let panic = meeting.pair.lyon.remote::<Panic>("paris/sum").unwrap();
    soon(panic.ask(Panic)).await.unwrap_err();
    let add = meeting.pair.lyon.remote::<Add>("paris/sum").unwrap();
    // It is there again when it answers.
    while soon(add.ask(Add(1))).await.is_err() {}
    let seen = meeting.pair.paris.snapshot().await;
    assert_eq!((seen.actors[0].deaths, seen.actors[0].alive), (1, true));
    let died = seen.happenings.iter().find(|told| told.kind == HappeningKind::ActorDied).unwrap();
    assert!(died.text.contains("\"sum\"") && died.text.contains("panicked"), "{died:?}");
    assert!(seen.stages.iter().all(|stage| stage.name != "sum"), "it is no stage");
}
