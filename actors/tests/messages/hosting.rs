//! Tests of a node whose hosted actor dies.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler};
use estafette::node::{EventStream, HostError};
use estafette::remote::Presence;
use estafette::supervise::{RestartPolicy, Strategy};
use estafette::testing::Pair;
use estafette::{NodeEvent, RemoteErrorKind};
use estafette_actors::standard;

use crate::actors::{Add, Panic};
use crate::harness::{config, soon};

/// Orders for actors that are started.
#[derive(Clone, Default)]
struct Orders {
    made: Arc<AtomicU64>,
    panics: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
    /// The names of actors that were started, in that order.
    log: Arc<Mutex<Vec<&'static str>>>,
}

impl Orders {
    fn made(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }

    fn make(&self, name: &'static str) -> impl Fn() -> Ordered + Send + Sync + 'static {
        let orders = self.clone();
        move || {
            orders.made.fetch_add(1, Ordering::SeqCst);
            Ordered { name, orders: orders.clone(), sum: 0 }
        }
    }
}

struct Ordered {
    name: &'static str,
    orders: Orders,
    sum: u64,
}

impl Actor for Ordered {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        assert!(!self.orders.panics.load(Ordering::SeqCst), "as it was ordered");
        self.orders.log.lock().unwrap().push(self.name);
        if self.orders.stops.load(Ordering::SeqCst) {
            ctx.stop();
        }
    }
}

impl Handler<Add> for Ordered {
    type Result = u64;

    fn handle(&mut self, Add(more): Add, _: &mut Context<Self>) -> u64 {
        self.sum += more;
        self.sum
    }
}

impl Handler<Panic> for Ordered {
    type Result = u64;

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) -> u64 {
        panic!("as it was asked to");
    }
}

#[derive(serde::Serialize, serde::Deserialize, estafette::RemoteMessage)]
#[remote(name = "hosting.Other")]
struct Other;

impl Handler<Other> for Ordered {
    type Result = ();

    fn handle(&mut self, _: Other, _: &mut Context<Self>) {}
}

async fn pair(seed: u64) -> Pair {
    Pair::start(seed, config(), standard(), standard()).await.unwrap()
}

/// Soon over.
fn hasty() -> RestartPolicy {
    let (backoff, backoff_limit) = (Duration::from_millis(1), Duration::from_millis(4));
    RestartPolicy { intensity: 3, within: Duration::from_secs(3600), backoff, backoff_limit }
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

async fn add(pair: &Pair, to: &str) -> Result<u64, RemoteErrorKind> {
    soon(pair.lyon.remote::<Add>(&format!("paris/{to}")).unwrap().ask(Add(1)))
        .await
        .map_err(|error| error.kind)
}

async fn panic(pair: &Pair, at: &str) {
    let error = soon(pair.lyon.remote::<Panic>(&format!("paris/{at}")).unwrap().ask(Panic))
        .await
        .unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Died);
}

/// Waits until it answers.
async fn lives(pair: &Pair, name: &str) -> u64 {
    loop {
        match add(pair, name).await {
            Ok(sum) => return sum,
            Err(kind) => assert!(
                matches!(kind, RemoteErrorKind::Restarting | RemoteErrorKind::Died),
                "{kind:?}"
            ),
        }
    }
}

#[tokio::test]
async fn a_first_start_that_fails_is_reported_and_leaves_nothing() {
    let (pair, orders) = (pair(81).await, Orders::default());
    for (flag, word) in [(&orders.panics, "as it was ordered"), (&orders.stops, "stopped")] {
        flag.store(true, Ordering::SeqCst);
        let error = soon(pair.paris.host("actor", orders.make("actor")).takes::<Add>().start())
            .await
            .unwrap_err();
        assert!(
            matches!(&error, HostError::Start { name, why } if name == "actor" && why.contains(word)),
            "{error}"
        );
        flag.store(false, Ordering::SeqCst);
    }
    let error = soon(
        pair.paris
            .host("actor", || -> Ordered { panic!("while it is made") })
            .takes::<Add>()
            .start(),
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("while it is made"), "{error}");
    assert_eq!(add(&pair, "actor").await, Err(RemoteErrorKind::NoSuchName));
    assert_eq!(orders.made(), 2, "nobody tries it again");
    soon(pair.paris.host("actor", orders.make("actor")).takes::<Add>().start()).await.unwrap();
    assert_eq!(add(&pair, "actor").await, Ok(1));
    let taken = soon(pair.paris.host("actor", orders.make("actor")).takes::<Add>().start())
        .await
        .unwrap_err();
    assert!(matches!(taken, HostError::Name(_)), "{taken}");
}

#[tokio::test]
async fn an_actor_that_can_not_have_all_it_takes_has_no_name_at_all() {
    let (pair, orders) = (pair(89).await, Orders::default());
    // The same twice.
    let twice = pair
        .paris
        .host("twice", orders.make("twice"))
        .takes::<Panic>()
        .takes::<Add>()
        .takes::<Add>();
    let error = soon(twice.start()).await.unwrap_err();
    assert!(matches!(error, HostError::Name(_)), "{error}");
    assert_eq!(add(&pair, "twice").await, Err(RemoteErrorKind::NoSuchName));
    // One of them is another's already, who keeps what is its own and gets nothing.
    soon(pair.paris.host("shared", orders.make("shared")).takes::<Add>().start()).await.unwrap();
    let second = pair.paris.host("shared", orders.make("second")).takes::<Panic>().takes::<Add>();
    let error = soon(second.start()).await.unwrap_err();
    assert!(matches!(error, HostError::Name(_)), "{error}");
    assert_eq!(add(&pair, "shared").await, Ok(1));
    let panic =
        soon(pair.lyon.remote::<Panic>("paris/shared").unwrap().ask(Panic)).await.unwrap_err();
    assert_eq!(panic.kind, RemoteErrorKind::NoSuchMessage, "{panic}");
}

#[tokio::test]
async fn an_actor_that_can_not_start_any_more_is_given_up_after_growing_waits_and_its_host_hears_of_it()
 {
    let (pair, orders) = (pair(82).await, Orders::default());
    let mut events = pair.paris.events();
    pair.paris
        .host("actor", orders.make("actor"))
        .takes::<Add>()
        .takes::<Panic>()
        .restarts(hasty())
        .start()
        .await
        .unwrap();
    orders.panics.store(true, Ordering::SeqCst);
    panic(&pair, "actor").await;
    let (name, deaths, why) = given_up(&mut events).await;
    // At once, after 1, 2, 4 ms, and 4 ms more would have been the next wait.
    assert_eq!((name.as_str(), deaths, orders.made()), ("actor", 5, 5), "one death counts once");
    assert!(why.contains("as it was ordered"), "{why}");
    let error =
        soon(pair.lyon.remote::<Add>("paris/actor").unwrap().ask(Add(1))).await.unwrap_err();
    assert!(error.kind == RemoteErrorKind::Died && error.message.contains("given up"), "{error}");
    assert_eq!(pair.paris.presence("actor"), Presence::Down { kind: RemoteErrorKind::Died });
    orders.panics.store(false, Ordering::SeqCst);
    assert_eq!(
        (add(&pair, "actor").await, orders.made()),
        (Err(RemoteErrorKind::Died), 5),
        "nobody starts it any more"
    );
}

#[tokio::test]
async fn an_actor_that_resumes_keeps_its_state_and_one_that_restarts_does_not() {
    let (pair, orders) = (pair(83).await, Orders::default());
    for (name, strategy) in [("resumes", Strategy::Resume), ("restarts", Strategy::Restart)] {
        pair.paris
            .host(name, orders.make(name))
            .takes::<Add>()
            .takes::<Panic>()
            .on_failure(strategy)
            .start()
            .await
            .unwrap();
        assert_eq!(add(&pair, name).await, Ok(1));
        panic(&pair, name).await;
    }
    assert_eq!((lives(&pair, "resumes").await, lives(&pair, "restarts").await), (2, 1));
    assert_eq!(orders.made(), 3);
}

#[tokio::test]
async fn one_that_is_to_stop_stays_down_and_one_that_escalates_is_told_of() {
    let (pair, orders) = (pair(84).await, Orders::default());
    let mut events = pair.paris.events();
    for (name, strategy) in [("stops", Strategy::Stop), ("escalates", Strategy::Escalate)] {
        pair.paris
            .host(name, orders.make(name))
            .takes::<Add>()
            .takes::<Panic>()
            .on_failure(strategy)
            .start()
            .await
            .unwrap();
        panic(&pair, name).await;
    }
    let (name, deaths, why) = given_up(&mut events).await;
    assert!(
        name == "escalates" && deaths == 1 && why.contains("as it was asked to"),
        "{name} {deaths} {why}"
    );
    for name in ["stops", "escalates"] {
        assert_eq!(add(&pair, name).await, Err(RemoteErrorKind::Died));
    }
    assert_eq!(orders.made(), 2);
    // Their names can be given to others, as they are or when they were taken away.
    assert!(pair.paris.directory().unregister("escalates"));
    for name in ["stops", "escalates"] {
        pair.paris.host(name, orders.make("again")).takes::<Add>().start().await.unwrap();
        assert_eq!(lives(&pair, name).await, 1);
    }
}

#[tokio::test]
async fn actors_that_are_wired_to_one_are_started_after_it_and_the_others_are_left_alone() {
    let (pair, orders) = (pair(85).await, Orders::default());
    let mut events = pair.paris.events();
    let host = |name: &'static str| {
        pair.paris.host(name, orders.make(name)).takes::<Add>().takes::<Panic>().restarts(hasty())
    };
    let none = host("index").after("store").start().await.unwrap_err();
    assert!(matches!(none, HostError::NotHosted { .. }), "{none}");
    host("store").start().await.unwrap();
    host("index").after("store").start().await.unwrap();
    host("search").after("index").start().await.unwrap();
    host("clock").start().await.unwrap();
    orders.log.lock().unwrap().clear();
    panic(&pair, "store").await;
    while orders.log.lock().unwrap().len() < 3 {
        lives(&pair, "clock").await;
    }
    assert_eq!(*orders.log.lock().unwrap(), ["store", "index", "search"], "in their order");
    panic(&pair, "index").await;
    while orders.log.lock().unwrap().len() < 5 {
        lives(&pair, "clock").await;
    }
    let mut log = orders.log.lock().unwrap().split_off(3);
    assert_eq!(log, ["index", "search"], "nothing before it");
    log.clear();
    orders.panics.store(true, Ordering::SeqCst);
    panic(&pair, "store").await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let (name, _, why) = given_up(&mut events).await;
        assert!(name == "store" || why.contains("wired"), "{name}: {why}");
        names.push(name);
    }
    assert_eq!(names, ["store", "index", "search"]);
    assert!(add(&pair, "clock").await.unwrap() > 0, "the same one as before");
}

#[tokio::test]
async fn one_that_does_not_get_its_name_is_no_end_of_the_one_that_has_it() {
    let (pair, orders, others) = (pair(86).await, Orders::default(), Orders::default());
    let host = |name: &'static str| pair.paris.host(name, orders.make(name)).takes::<Add>();
    host("store").takes::<Panic>().start().await.unwrap();
    host("index").after("store").start().await.unwrap();
    let second = || pair.paris.host("store", others.make("second"));
    let taken = soon(second().takes::<Add>().start()).await.unwrap_err();
    assert!(matches!(taken, HostError::Name(_)), "{taken}");
    assert_eq!(others.made(), 0, "it is not even started");
    // One of other messages may have it, too; this one fails.
    others.panics.store(true, Ordering::SeqCst);
    let failed = soon(second().takes::<Other>().start()).await.unwrap_err();
    assert!(matches!(failed, HostError::Start { .. }), "{failed}");
    // Neither is stopped, nor waits for one that is there all the time.
    assert_eq!((add(&pair, "index").await, add(&pair, "store").await), (Ok(1), Ok(1)));
    assert_eq!(orders.made(), 2);
    // It still hears of the one that it is wired to.
    panic(&pair, "store").await;
    while orders.made() < 4 {
        lives(&pair, "store").await;
    }
    assert_eq!(lives(&pair, "index").await, 1);
}

#[tokio::test]
async fn what_the_next_one_under_a_name_does_not_take_still_waits_for_whoever_takes_it() {
    let (pair, orders) = (pair(90).await, Orders::default());
    let mut events = pair.paris.events();
    let host = || pair.paris.host("shop", orders.make("shop")).on_failure(Strategy::Escalate);
    host().takes::<Add>().takes::<Panic>().takes::<Other>().start().await.unwrap();
    panic(&pair, "shop").await;
    given_up(&mut events).await;
    let other = || async {
        soon(pair.lyon.remote::<Other>("paris/shop").unwrap().ask(Other))
            .await
            .map_err(|error| error.kind)
    };
    // Not the error of a message that nobody will ever take, for which a letter is given up.
    for next in [host().takes::<Add>(), host().takes::<Panic>()] {
        soon(next.start()).await.unwrap();
        assert_eq!(other().await, Err(RemoteErrorKind::Died));
        assert_eq!(pair.paris.presence("shop"), Presence::Up);
    }
    let taken = soon(host().takes::<Add>().takes::<Other>().start()).await.unwrap_err();
    assert!(matches!(taken, HostError::Name(_)), "{taken}");
    assert_eq!(other().await, Err(RemoteErrorKind::Died));
    soon(host().takes::<Other>().start()).await.unwrap();
    assert_eq!((other().await, add(&pair, "shop").await), (Ok(()), Ok(1)));
}

#[tokio::test]
async fn those_that_are_hosted_anew_when_one_is_given_up_are_not_ended_with_it() {
    let (pair, orders) = (pair(91).await, Orders::default());
    let mut events = pair.paris.events();
    let host = |name: &'static str| {
        let host = pair.paris.host(name, orders.make(name)).on_failure(Strategy::Escalate);
        host.takes::<Add>().takes::<Panic>()
    };
    host("store").start().await.unwrap();
    let mut ended = Vec::new();
    for name in ["one", "two", "three", "four"] {
        host(name).after("store").start().await.unwrap();
        assert_eq!(add(&pair, name).await, Ok(1));
        panic(&pair, "store").await;
        // Those wired to the former one are given up with it, sooner or later.
        loop {
            match given_up(&mut events).await.0 {
                store if store == "store" => break,
                other => ended.push(other),
            }
        }
        soon(host("store").start()).await.unwrap();
    }
    soon(host("last").after("store").start()).await.unwrap();
    while ended.len() < 4 {
        ended.push(given_up(&mut events).await.0);
    }
    assert_eq!(ended, ["one", "two", "three", "four"]);
    for sum in 1..=3 {
        assert_eq!((add(&pair, "store").await, add(&pair, "last").await), (Ok(sum), Ok(sum)));
    }
}
