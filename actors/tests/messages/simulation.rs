//! A simulation of messages, from a seed: links break all the time, or bits change on them, and the
//! receiver dies now and then.
//!
//! Set `SEED` to run a single one.

mod clerk;
mod waiting;

use self::clerk::{Ask, Clerk, Count, Letter, Tell};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context};
use estafette::node::{MemoryStore, Store, Trust};
use estafette::remote::{Delivery, LetterState, RemoteError, Undelivered};
use estafette::testing::{Connecting, Faults, Network, Random};
use estafette::wire::LinkConfig;
use estafette::{Identity, Node, NodeConfig, RemoteErrorKind, TrustedPeer};
use estafette_actors::standard;
use futures_util::StreamExt;
use tokio::sync::oneshot;

use crate::harness::{config, soon};

const SEEDS: u64 = 12;
/// Times that all links are cut, for each seed.
const CUTS: u64 = 56;
/// Asks that are under way at once.
const ASKERS: u64 = 6;

/// The faults of a storm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    Cuts,
    Flips,
}

impl Weather {
    /// Besides those that are cut by the clock of bytes, some links break by themselves, in the
    /// middle of a handshake, too.
    fn cuts(random: &mut Random) -> Faults {
        match random.below(4) {
            0 => Faults { cut_there: Some(random.below(60_000)), ..Faults::default() },
            1 => Faults { cut_back: Some(random.below(60_000)), ..Faults::default() },
            _ => Faults::default(),
        }
    }

    /// A bit or two change anywhere, sometimes late enough for what is long to get through; a road
    /// that takes a while brings many batches at once.
    fn flips(random: &mut Random) -> Faults {
        let delay = Duration::from_millis(1 + random.below(4));
        let mut flips = || {
            let most = 1 << (9 + random.below(11));
            (0..=random.below(2))
                .map(|_| (random.below(most), 1 << random.below(8)))
                .collect::<Vec<_>>()
        };
        let (flips_there, flips_back) = (flips(), flips());
        Faults {
            flips_there,
            flips_back,
            delay_there: delay,
            delay_back: delay,
            ..Faults::default()
        }
    }
}

/// Tells in bursts until the storm is over; which.
async fn tells(lyon: Node, mut random: Random, is_over: Arc<AtomicBool>) -> Vec<u64> {
    let tell = lyon.remote::<Tell>("paris/clerk").unwrap();
    let (mut sent, mut burst) = (Vec::new(), 0);
    for number in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let size = if random.below(200) == 0 { 60_000 } else { random.below(100) };
        match tell.tell(Tell(number, vec![0; size as usize])).await {
            Ok(()) => sent.push(number),
            Err(error) => assert!(is_expected(error.kind), "{error:?}"),
        }
        if burst == 0 {
            burst = random.below(40);
            tokio::task::yield_now().await;
        } else {
            burst -= 1;
        }
    }
    sent
}

struct Teller(Pin<Box<dyn Future<Output = Vec<u64>> + Send>>, oneshot::Sender<Vec<u64>>);

/// Tells from the node's own thread.
struct Telling(Option<Teller>);

impl Actor for Telling {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        let Teller(telling, done) = self.0.take().unwrap();
        actix::spawn(async move { done.send(telling.await).unwrap() });
    }
}

struct World {
    network: Network,
    lyon: Node,
    identities: [Identity; 2],
    spool: Arc<dyn Store>,
    clerk: Clerk,
    /// It has its name when the storm is over, and not before.
    late: Clerk,
    storm_is_over: Arc<AtomicBool>,
    deliveries: Mutex<Vec<Delivery>>,
    forbidden: Mutex<Vec<Delivery>>,
    waiting: Mutex<Vec<Delivery>>,
}

impl World {
    async fn start(seed: u64, weather: Weather) -> (Self, Node) {
        let (network, mut random) = (Network::seeded(seed), Random::seeded(seed));
        let identities =
            [Identity::from_secret(random.secret()), Identity::from_secret(random.secret())];
        let clerk = Clerk::default();
        let lost = clerk.clone();
        let undelivered = move |undelivered: Undelivered| {
            lost.note(|book| {
                book.lost += undelivered.count;
                book.why.push(undelivered.error.kind);
            });
        };
        network.plan(move |_: &Connecting, random| match weather {
            Weather::Cuts => Weather::cuts(random),
            Weather::Flips => Weather::flips(random),
        });
        let lyon = Node::builder()
            .name("lyon")
            .identity(identities[0].clone())
            .stages(standard().transport(network.transport("lyon")));
        let lyon = lyon
            .peer("paris", identities[1].peer(), ["paris"])
            .on_undelivered(undelivered)
            .spool(Arc::<MemoryStore>::default());
        let lyon = lyon.config(impatient()).start().await.unwrap();
        let (spool, storm_is_over) = (Arc::<MemoryStore>::default(), Arc::<AtomicBool>::default());
        let (deliveries, forbidden) = (Mutex::default(), Mutex::default());
        let (late, waiting) = (Clerk::default(), Mutex::default());
        let world = Self {
            network,
            lyon,
            identities,
            spool,
            clerk,
            late,
            storm_is_over,
            deliveries,
            forbidden,
            waiting,
        };
        let paris = world.paris().await;
        (world, paris)
    }

    /// Another life of `paris`.
    async fn paris(&self) -> Node {
        self.clerk.note(|book| book.letters.push(Vec::new()));
        let paris = Node::builder()
            .name("paris")
            .identity(self.identities[1].clone())
            .listen("paris")
            .config(impatient());
        let paris = paris
            .stages(standard().transport(self.network.transport("paris")))
            .spool(Arc::clone(&self.spool));
        let trust = Arc::<MemoryStore>::default();
        let lyon = TrustedPeer {
            inboxes: vec!["clerk".into(), "late".into()],
            ..TrustedPeer::new("lyon")
        };
        Trust::load(Arc::clone(&trust) as Arc<dyn Store>)
            .unwrap()
            .add(self.identities[0].peer(), lyon)
            .unwrap();
        let paris = paris.store(trust).start().await.unwrap();
        let clerk = self.clerk.clone();
        let hosted = paris
            .host("clerk", move || clerk.clone())
            .takes::<Ask>()
            .takes::<Tell>()
            .takes::<Letter>();
        hosted.takes_calls::<Count>().start().await.unwrap();
        paris
    }

    fn goes_on(&self) -> bool {
        !self.storm_is_over.load(Ordering::SeqCst)
    }

    /// Cuts all links again and again, or lets bits change, and restarts `paris` now and then. How
    /// often links ended; and `paris`.
    async fn storm(&self, mut paris: Node, random: &mut Random, weather: Weather) -> (u64, Node) {
        let mut cuts = 0;
        for round in 0..CUTS {
            self.network.carries(random.below(40_000)).await;
            match weather {
                Weather::Cuts => cuts += u64::from(self.network.cut() > 0),
                Weather::Flips => cuts = self.network.dialed(),
            }
            if round % 16 == 15 {
                paris = self.restart(&paris, random.below(2) == 0).await;
            }
        }
        self.network.calm();
        self.storm_is_over.store(true, Ordering::SeqCst);
        (cuts, paris)
    }

    /// Ends a life of `paris`, in order or not, and checks where the next one begins.
    async fn restart(&self, paris: &Node, in_order: bool) -> Node {
        if in_order {
            paris.stop().await;
        }
        let is_processed = |delivery: &&Delivery| delivery.state() == LetterState::Processed;
        let known = self.deliveries.lock().unwrap().iter().take_while(is_processed).count() as u64;
        paris.abort().await;
        let (life, handled) = self.clerk.note(|book| {
            (book.letters.len(), book.letters.iter().flatten().max().map_or(0, |max| max + 1))
        });
        let paris = self.paris().await;
        let first = async {
            loop {
                let noted = self.clerk.1.notified();
                if let Some(&first) = self.clerk.0.lock().unwrap().letters[life].first() {
                    return first;
                }
                noted.await;
            }
        };
        let first = first.await;
        if in_order {
            assert_eq!(first, handled, "it goes on where the last life ended");
        } else {
            assert!(
                (known..=handled).contains(&first),
                "{first}: {known} were processed, {handled} handled"
            );
        }
        paris
    }

    async fn asks(&self, asker: u64) {
        let ask = self.lyon.remote::<Ask>("paris/clerk").unwrap();
        let mut id = asker;
        let mut answered = Vec::new();
        while self.goes_on() || answered.is_empty() {
            match ask.ask(Ask(id)).await {
                Ok(reply) => {
                    assert_eq!(reply, id + 1);
                    answered.push(id);
                }
                Err(error) => assert!(is_expected(error.kind), "{error:?}"),
            }
            id += ASKERS;
        }
        let book = self.clerk.0.lock().unwrap();
        assert!(
            answered.iter().all(|id| book.asked.get(id) == Some(&1)),
            "an answer without a question"
        );
    }

    /// Returns the tells that were sent: from the thread of lyon's links, by an actor there, or
    /// from another one.
    async fn tells(&self, random: Random, from_there: bool) -> Vec<u64> {
        let telling = tells(self.lyon.clone(), random, Arc::clone(&self.storm_is_over));
        if !from_there {
            return telling.await;
        }
        let (done, sent) = oneshot::channel();
        let teller = Mutex::new(Some(Teller(Box::pin(telling), done)));
        self.lyon
            .host("teller", move || Telling(teller.lock().unwrap().take()))
            .start()
            .await
            .unwrap();
        sent.await.unwrap()
    }

    async fn letters(&self, mut random: Random) {
        let letter = self.lyon.remote::<Letter>("paris/clerk").unwrap();
        for number in 0.. {
            if !self.goes_on() {
                break;
            }
            let size = if random.below(100) == 0 { 60_000 } else { random.below(100) };
            let delivery = letter.deliver(Letter(number, vec![0; size as usize])).await.unwrap();
            self.deliveries.lock().unwrap().push(delivery.clone());
            // Not ever more than can be handled.
            if number % 64 == 63 {
                delivery.processed().await.unwrap();
            }
        }
    }

    /// Letters that are refused, until the storm is over.
    async fn forbidden(&self) {
        let letter = self.lyon.remote::<Letter>("paris/secret").unwrap();
        while self.goes_on() {
            let delivery = letter.deliver(Letter(0, vec![])).await.unwrap();
            self.forbidden.lock().unwrap().push(delivery.clone());
            delivery.processed().await.unwrap_err();
        }
    }

    /// Streams either way: what has an end has all that comes before it. How many had.
    async fn streams(&self) -> (u64, u64) {
        let (mut downs, mut ups) = (0, 0);
        while self.goes_on() || downs == 0 || ups == 0 {
            downs += u64::from(expected(self.download(200).await));
            ups += u64::from(expected(self.upload(200).await));
        }
        (downs, ups)
    }

    async fn download(&self, count: u64) -> Result<(), RemoteError> {
        let mut replies = self.lyon.remote::<Count>("paris/clerk")?.download(Count(count)).await?;
        let mut next = 0;
        while let Some(reply) = replies.next().await {
            assert_eq!(reply?, next, "a stream goes on behind a hole");
            next += 1;
        }
        assert_eq!(next, count, "a stream ends before its end");
        Ok(())
    }

    async fn upload(&self, count: u64) -> Result<(), RemoteError> {
        let mut requests = self.lyon.remote::<Count>("paris/clerk")?.upload().await?;
        for number in 0..count {
            requests.send(Count(number)).await?;
        }
        let counted = requests.finish().await?;
        assert_eq!(counted, Some(count), "a stream was taken for whole that was not");
        Ok(())
    }

    /// Every tell was handled or is said to be lost; none twice, none out of order, none that was
    /// not sent.
    async fn check_tells(&self, sent: &[u64]) {
        loop {
            let noted = self.clerk.1.notified();
            if self.clerk.note(|book| book.told.len() as u64 + book.lost) >= sent.len() as u64 {
                break;
            }
            noted.await;
        }
        let book = self.clerk.0.lock().unwrap();
        assert!(
            book.told.is_sorted_by(|one, next| one < next),
            "a tell was handled twice, or out of order"
        );
        assert!(book.why.iter().all(|&kind| is_expected(kind)), "{:?}", book.why);
        assert!(
            book.told.iter().all(|number| sent.binary_search(number).is_ok()),
            "a tell was handled that was not sent"
        );
    }

    /// Every letter was handled, in order; none twice in one life.
    async fn check_letters(&self) {
        let deliveries = std::mem::take(&mut *self.deliveries.lock().unwrap());
        for delivery in &deliveries {
            delivery.processed().await.unwrap();
        }
        let forbidden = std::mem::take(&mut *self.forbidden.lock().unwrap());
        assert!(!forbidden.is_empty());
        for delivery in &forbidden {
            let why = delivery.processed().await.expect_err("what is refused is not processed");
            assert_eq!(why.kind, RemoteErrorKind::Forbidden);
        }
        assert_eq!(self.lyon.letters().list().len(), forbidden.len());
        let book = self.clerk.0.lock().unwrap();
        let mut next = 0;
        for life in &book.letters {
            assert!(
                life.is_sorted_by(|one, after| one + 1 == *after),
                "a letter was handled twice in one life, or out of order"
            );
            assert!(life.first().is_none_or(|&first| first <= next), "letters were left out");
            next = life.last().map_or(next, |last| next.max(last + 1));
        }
        assert_eq!(next, deliveries.len() as u64);
    }
}

/// A length that was changed has its reader wait for what never comes.
fn impatient() -> NodeConfig {
    let link = LinkConfig::new(
        Duration::from_millis(500),
        Duration::from_secs(2),
        Duration::from_secs(3600),
    )
    .unwrap();
    NodeConfig { link, handshake_timeout: Duration::from_secs(1), ..config() }
}

/// Returns `true` for what may befall a message while links break and its receiver restarts.
fn is_expected(kind: RemoteErrorKind) -> bool {
    use RemoteErrorKind::{Full, LinkLost, NoSuchMessage, NoSuchName, ShuttingDown, Unreachable};
    matches!(kind, Full | LinkLost | Unreachable | ShuttingDown | NoSuchName | NoSuchMessage)
}

/// Returns `true` if it went well.
fn expected(outcome: Result<(), RemoteError>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(error) if is_expected(error.kind) => false,
        Err(error) => panic!("{error:?}"),
    }
}

async fn live_through(seed: u64, weather: Weather) -> u64 {
    let (world, paris) = World::start(seed, weather).await;
    let mut random = Random::seeded(seed ^ 0x5707);
    let (telling, delivering) = (Random::seeded(seed ^ 1), Random::seeded(seed ^ 2));
    let asking = futures_util::future::join_all((0..ASKERS).map(|asker| world.asks(asker)));
    let ((cuts, paris), _, sent, (), (), (), _) = tokio::join!(
        world.storm(paris, &mut random, weather),
        asking,
        world.tells(telling, seed.is_multiple_of(2)),
        world.letters(delivering),
        world.forbidden(),
        world.for_nobody(),
        world.streams(),
    );
    world.check_tells(&sent).await;
    world.check_waiting(&paris).await;
    world.check_letters().await;
    let asked = world.clerk.note(|book| std::mem::take(&mut book.asked));
    assert!(asked.values().all(|&times| times == 1), "a question was handled twice");
    assert!(asked.len() > 1 && sent.len() > 1);
    world.lyon.shutdown().await;
    paris.shutdown().await;
    cuts
}

/// Lives through this weather from all seeds, or the one that is asked for; how often links ended,
/// unless it is only one.
async fn all(weather: Weather) -> Option<u64> {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with SEED={}", self.0);
            }
        }
    }
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let cuts = AtomicU64::new(0);
    for seed in only.map_or(1..=SEEDS, |seed| seed..=seed) {
        let _named = Named(seed);
        cuts.fetch_add(soon(live_through(seed, weather)).await, Ordering::SeqCst);
    }
    only.is_none().then(|| cuts.load(Ordering::SeqCst))
}

#[tokio::test]
async fn messages_keep_their_promises_while_links_break_and_the_receiver_dies() {
    let cuts = all(Weather::Cuts).await;
    assert!(cuts.is_none_or(|cuts| cuts >= 500), "{cuts:?} cuts are too few to say anything");
}

#[tokio::test]
async fn messages_keep_their_promises_while_bits_change_on_the_road_and_the_receiver_dies() {
    let links = all(Weather::Flips).await;
    assert!(links.is_none_or(|links| links >= 200), "{links:?} links are too few to say anything");
}
