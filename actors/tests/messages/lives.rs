//! The lives of an actor that a node runs: one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use estafette::testing::Pair;
use estafette_actors::standard;
use futures_util::future::join_all;

use crate::actors::{Add, Panic};
use crate::harness::{config, soon};

/// The numbers of actors that live, and of all that have ever lived.
#[derive(Clone, Default)]
struct Count(Arc<(AtomicU64, AtomicU64)>);

impl Count {
    fn living(&self) -> u64 {
        self.0.0.load(Ordering::SeqCst)
    }

    fn made(&self) -> u64 {
        self.0.1.load(Ordering::SeqCst)
    }
}

struct Mortal(Count);

impl Mortal {
    fn born(count: &Count) -> Self {
        count.0.0.fetch_add(1, Ordering::SeqCst);
        count.0.1.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Actor for Mortal {
    type Context = Context<Self>;
}

impl Handler<Add> for Mortal {
    type Result = u64;

    fn handle(&mut self, Add(number): Add, _: &mut Context<Self>) -> u64 {
        number
    }
}

impl Handler<Panic> for Mortal {
    type Result = u64;

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) -> u64 {
        panic!("as it was asked to");
    }
}

async fn meet(seed: u64) -> (Pair, Count) {
    let (pair, count) =
        (Pair::start(seed, config(), standard(), standard()).await.unwrap(), Count::default());
    let counting = count.clone();
    pair.paris
        .host("mortal", move || Mortal::born(&counting))
        .takes::<Add>()
        .takes::<Panic>()
        .start()
        .await
        .unwrap();
    (pair, count)
}

#[tokio::test]
async fn however_many_find_an_actor_dead_it_is_started_anew_once() {
    let (pair, count) = meet(61).await;
    let (add, panic) = (
        pair.lyon.remote::<Add>("paris/mortal").unwrap(),
        pair.lyon.remote::<Panic>("paris/mortal").unwrap(),
    );
    for death in 1..=3 {
        assert!(soon(panic.ask(Panic)).await.is_err());
        while soon(join_all((0..20).map(|number| add.ask(Add(number)))))
            .await
            .iter()
            .any(Result::is_err)
        {}
        // Time for a second start, should there be one.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!((count.made(), count.living()), (death + 1, 1));
    }
}
