//! Tests of hosted actors that panic where they begin or end, and not at a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler, Running};
use estafette::node::{EventStream, HostError};
use estafette::supervise::{RestartPolicy, Strategy};
use estafette::testing::Pair;
use estafette::{NodeEvent, RemoteErrorKind};
use estafette_actors::standard;

use crate::actors::Add;
use crate::harness::{config, soon};

/// The place at which an actor panics once it is armed.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Factory,
    Stopping,
    Stopped,
    Drop,
    Nowhere,
}

#[derive(Clone, Default)]
struct Seen {
    made: Arc<AtomicU64>,
    is_armed: Arc<AtomicBool>,
}

struct Frail {
    at: At,
    seen: Seen,
    sum: u64,
}

impl Seen {
    fn make(&self, at: At) -> impl Fn() -> Frail + Send + Sync + 'static {
        let seen = self.clone();
        move || {
            seen.made.fetch_add(1, Ordering::SeqCst);
            let frail = Frail { at, seen: seen.clone(), sum: 0 };
            frail.fall(At::Factory);
            frail
        }
    }

    fn made(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }
}

impl Frail {
    fn fall(&self, here: At) {
        // A second panic while the first one unwinds would end the process.
        let is_armed = self.seen.is_armed.load(Ordering::SeqCst) && !std::thread::panicking();
        assert!(!is_armed || self.at != here, "as it was ordered");
    }
}

impl Actor for Frail {
    type Context = Context<Self>;

    fn stopping(&mut self, _: &mut Context<Self>) -> Running {
        self.fall(At::Stopping);
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.fall(At::Stopped);
    }
}

impl Drop for Frail {
    fn drop(&mut self) {
        self.fall(At::Drop);
    }
}

impl Handler<Add> for Frail {
    type Result = u64;

    fn handle(&mut self, Add(more): Add, _: &mut Context<Self>) -> u64 {
        self.sum += more;
        self.sum
    }
}

#[derive(serde::Serialize, serde::Deserialize, estafette::RemoteMessage)]
#[remote(name = "hosting.End")]
struct End;

impl Handler<End> for Frail {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

async fn pair(seed: u64) -> Pair {
    Pair::start(seed, config(), standard(), standard()).await.unwrap()
}

fn hasty() -> RestartPolicy {
    let (backoff, backoff_limit) = (Duration::from_millis(1), Duration::from_millis(4));
    RestartPolicy { intensity: 3, within: Duration::from_secs(3600), backoff, backoff_limit }
}

async fn host(pair: &Pair, name: &'static str, seen: &Seen, at: At, strategy: Strategy) {
    let hosted = pair.paris.host(name, seen.make(at)).takes::<Add>().takes::<End>();
    soon(hosted.on_failure(strategy).restarts(hasty()).start()).await.unwrap();
}

/// Tells it to stop; whether it answers that first is nobody's promise.
async fn end(pair: &Pair, name: &str) {
    let _ = soon(pair.lyon.remote::<End>(&format!("paris/{name}")).unwrap().ask(End)).await;
}

async fn add(pair: &Pair, to: &str) -> Result<u64, RemoteErrorKind> {
    let remote = pair.lyon.remote::<Add>(&format!("paris/{to}")).unwrap();
    soon(remote.ask(Add(1))).await.map_err(|error| error.kind)
}

/// The first answer of one that is started anew.
async fn first_of_the_next(pair: &Pair, name: &str, seen: &Seen, made: u64) {
    soon(async {
        loop {
            match add(pair, name).await {
                Ok(1) if seen.made() >= made => return,
                Ok(_) => {}
                Err(kind) => assert!(
                    matches!(kind, RemoteErrorKind::Restarting | RemoteErrorKind::Died),
                    "{kind:?}"
                ),
            }
        }
    })
    .await;
}

async fn given_up(events: &mut EventStream) -> (String, u64, String) {
    soon(async {
        loop {
            if let NodeEvent::ActorGivenUp { name, deaths, why } = events.next().await.unwrap() {
                return (name, deaths, why);
            }
        }
    })
    .await
}

#[tokio::test]
async fn one_that_panics_while_it_ends_has_died_once_and_its_neighbours_go_on() {
    let pair = pair(101).await;
    let beside = Seen::default();
    host(&pair, "beside", &beside, At::Nowhere, Strategy::Restart).await;
    for (name, at) in [
        ("stopping", At::Stopping),
        ("stopped", At::Stopped),
        ("dropped", At::Drop),
        ("well", At::Nowhere),
    ] {
        for (kind, strategy) in [("restart", Strategy::Restart), ("resume", Strategy::Resume)] {
            let seen = Seen::default();
            let name: &'static str = format!("{name}-{kind}").leak();
            host(&pair, name, &seen, at, strategy).await;
            assert_eq!(add(&pair, name).await, Ok(1));
            seen.is_armed.store(true, Ordering::SeqCst);
            end(&pair, name).await;
            first_of_the_next(&pair, name, &seen, 2).await;
            assert_eq!(seen.made(), 2, "{name}: one death counts once");
        }
    }
    assert_eq!((add(&pair, "beside").await, beside.made()), (Ok(1), 1));
}

#[tokio::test]
async fn one_that_is_to_stop_stays_down_though_it_panics_while_it_ends() {
    let pair = pair(102).await;
    for (name, at) in [("stopping", At::Stopping), ("stopped", At::Stopped), ("dropped", At::Drop)]
    {
        let seen = Seen::default();
        host(&pair, name, &seen, at, Strategy::Stop).await;
        seen.is_armed.store(true, Ordering::SeqCst);
        end(&pair, name).await;
        soon(async { while add(&pair, name).await != Err(RemoteErrorKind::Died) {} }).await;
        assert_eq!(seen.made(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_factory_that_panics_is_a_death_and_at_the_first_start_an_error() {
    let pair = pair(103).await;
    let mut events = pair.paris.events();
    let (seen, wired) = (Seen::default(), Seen::default());
    seen.is_armed.store(true, Ordering::SeqCst);
    let hosted = pair.paris.host("frail", seen.make(At::Factory)).takes::<Add>();
    let failed = soon(hosted.start()).await.unwrap_err();
    assert!(
        matches!(failed, HostError::Start { .. })
            && failed.to_string().contains("as it was ordered"),
        "{failed}"
    );
    seen.is_armed.store(false, Ordering::SeqCst);
    host(&pair, "frail", &seen, At::Factory, Strategy::Restart).await;
    let hosted = pair.paris.host("wired", wired.make(At::Nowhere)).takes::<Add>();
    soon(hosted.after("frail").start()).await.unwrap();
    assert_eq!((add(&pair, "frail").await, add(&pair, "wired").await), (Ok(1), Ok(1)));
    seen.is_armed.store(true, Ordering::SeqCst);
    end(&pair, "frail").await;
    let (name, deaths, why) = given_up(&mut events).await;
    assert_eq!((name.as_str(), deaths), ("frail", 5), "{why}");
    assert!(why.contains("as it was ordered"), "{why}");
    let (name, _, why) = given_up(&mut events).await;
    assert!(name == "wired" && why.contains("wired"), "{name}: {why}");
    assert_eq!((seen.made(), wired.made()), (1 + 1 + 4, 1));
}
