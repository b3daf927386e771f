//! A simulation of letters, from a seed: their sender dies again and again, their receiver, too,
//! and links break or bits change.
//!
//! What was said to be stored is handled, in order, and not twice unless the receiver died over it;
//! nothing is left over at either end. Set `SEED` to run a single one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use estafette::node::{MemoryStore, Store, Trust};
use estafette::remote::{Delivery, LetterId, RemoteMessage};
use estafette::testing::{Connecting, Faults, Network, Random};
use estafette::wire::LinkConfig;
use estafette::{Identity, Node, NodeConfig, RemoteErrorKind, TrustedPeer};
use estafette_actors::standard;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::harness::{config, soon};

const SEEDS: u64 = 6;
/// Times that something ends, for each seed.
const ENDS: u64 = 24;
/// Letters that may be under way at once.
const UNDER_WAY: usize = 64;

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "senders.Letter")]
struct Letter(u64, #[serde(with = "serde_bytes")] Vec<u8>);

/// The letters handled in a life of the receiver, and `true` if that ended in order.
type Life = (Vec<u64>, bool);

/// All lives of the receiver.
#[derive(Clone, Default)]
struct Clerk(Arc<Mutex<Vec<Life>>>);

impl Actor for Clerk {
    type Context = Context<Self>;
}

impl Handler<Letter> for Clerk {
    type Result = ();

    fn handle(&mut self, Letter(number, _): Letter, _: &mut Context<Self>) {
        self.0.lock().unwrap().last_mut().unwrap().0.push(number);
    }
}

fn impatient() -> NodeConfig {
    let link = LinkConfig::new(
        Duration::from_millis(300),
        Duration::from_millis(1200),
        Duration::from_secs(3600),
    )
    .unwrap();
    NodeConfig { link, handshake_timeout: Duration::from_secs(1), ..config() }
}

/// Breaks by itself, or has a bit that changes, or neither.
fn weather(random: &mut Random) -> Faults {
    let most = 1 << (9 + random.below(10));
    let (there, back, bit) = (random.below(most), random.below(most), 1 << random.below(8));
    match random.below(6) {
        0 => Faults { cut_there: Some(there), ..Faults::default() },
        1 => Faults { cut_back: Some(back), ..Faults::default() },
        2 => Faults { flips_there: vec![(there, bit)], ..Faults::default() },
        3 => Faults { flips_back: vec![(back, bit)], ..Faults::default() },
        _ => Faults::default(),
    }
}

struct World {
    network: Network,
    identities: [Identity; 2],
    spools: [Arc<MemoryStore>; 2],
    clerk: Clerk,
    /// The life of the sender that there is.
    lyon: watch::Sender<Node>,
    stored: Mutex<BTreeMap<u64, LetterId>>,
    is_over: AtomicBool,
}

async fn lyon(network: &Network, identities: &[Identity; 2], spool: &Arc<MemoryStore>) -> Node {
    let lyon = Node::builder()
        .name("lyon")
        .identity(identities[0].clone())
        .stages(standard().transport(network.transport("lyon")));
    let lyon = lyon
        .peer("paris", identities[1].peer(), ["paris"])
        .spool(Arc::clone(spool) as Arc<dyn Store>);
    lyon.config(impatient()).start().await.unwrap()
}

impl World {
    async fn start(seed: u64) -> (Self, Node) {
        let (network, mut random) = (Network::seeded(seed), Random::seeded(seed));
        let identities =
            [Identity::from_secret(random.secret()), Identity::from_secret(random.secret())];
        network.plan(|_: &Connecting, random| weather(random));
        let spools = <[Arc<MemoryStore>; 2]>::default();
        let lyon = watch::channel(lyon(&network, &identities, &spools[0]).await).0;
        let (clerk, stored, is_over) = (Clerk::default(), Mutex::default(), AtomicBool::default());
        let world = Self { network, identities, spools, clerk, lyon, stored, is_over };
        let paris = world.paris().await;
        (world, paris)
    }

    /// Another life of the receiver.
    async fn paris(&self) -> Node {
        self.clerk.0.lock().unwrap().push((Vec::new(), false));
        let trust = Arc::<MemoryStore>::default();
        let known = TrustedPeer { inboxes: vec!["clerk".into()], ..TrustedPeer::new("lyon") };
        Trust::load(Arc::clone(&trust) as Arc<dyn Store>)
            .unwrap()
            .add(self.identities[0].peer(), known)
            .unwrap();
        let stages = standard().transport(self.network.transport("paris"));
        let paris = Node::builder()
            .name("paris")
            .identity(self.identities[1].clone())
            .listen("paris")
            .stages(stages);
        let paris = paris
            .spool(Arc::clone(&self.spools[1]) as Arc<dyn Store>)
            .store(trust)
            .config(impatient())
            .start()
            .await
            .unwrap();
        let clerk = self.clerk.clone();
        paris.host("clerk", move || clerk.clone()).takes::<Letter>().start().await.unwrap();
        paris
    }

    async fn storm(&self, mut paris: Node, random: &mut Random) -> Node {
        for _ in 0..ENDS {
            self.network.carries(random.below(30_000)).await;
            let in_order = random.below(2) == 0;
            match random.below(4) {
                0 => _ = self.network.cut(),
                1 => {
                    if in_order {
                        paris.stop().await;
                    }
                    paris.abort().await;
                    self.clerk.0.lock().unwrap().last_mut().unwrap().1 = in_order;
                    paris = self.paris().await;
                }
                _ => {
                    let old = self.lyon.borrow().clone();
                    if in_order {
                        old.stop().await;
                    }
                    old.abort().await;
                    self.lyon
                        .send_replace(lyon(&self.network, &self.identities, &self.spools[0]).await);
                }
            }
        }
        self.network.calm();
        self.is_over.store(true, Ordering::SeqCst);
        paris
    }

    /// Waits until a letter that was stored is processed, whichever life of its sender hears of it.
    async fn processed(&self, mut delivery: Delivery) {
        let mut lives = self.lyon.subscribe();
        // There may be another life already than the one it was stored in.
        lives.mark_changed();
        loop {
            match delivery.processed().await {
                Ok(()) => return,
                Err(error) => assert_eq!(
                    error.kind,
                    RemoteErrorKind::ShuttingDown,
                    "a stored letter is lost: {error:?}"
                ),
            }
            let _ = lives.changed().await;
            let lyon = lives.borrow_and_update().clone();
            // What its sender has forgotten was processed.
            let Some(known) = lyon.letters().find(delivery.id()) else { return };
            delivery = known;
        }
    }

    async fn letters(&self, mut random: Random) {
        let mut under_way = std::collections::VecDeque::new();
        let mut lives = self.lyon.subscribe();
        for number in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            let size = if random.below(50) == 0 { 60_000 } else { random.below(100) };
            let lyon = lives.borrow_and_update().clone();
            let letter = lyon.remote::<Letter>("paris/clerk").unwrap();
            match letter.deliver(Letter(number, vec![0; size as usize])).await {
                Ok(delivery) => {
                    self.stored.lock().unwrap().insert(number, delivery.id());
                    under_way.push_back(delivery);
                }
                // It may be stored.
                Err(error) => {
                    assert_eq!(error.kind, RemoteErrorKind::ShuttingDown, "{error:?}");
                    let _ = lives.changed().await;
                }
            }
            if under_way.len() >= UNDER_WAY {
                self.processed(under_way.pop_front().unwrap()).await;
            }
        }
    }

    async fn check(&self) {
        let (stored, last) =
            (std::mem::take(&mut *self.stored.lock().unwrap()), self.lyon.borrow().clone());
        // What may be stored, too.
        let under_way: Vec<_> = last.letters().list().into_iter().map(|letter| letter.id).collect();
        for delivery in under_way.into_iter().filter_map(|id| last.letters().find(id)) {
            delivery.processed().await.unwrap();
        }
        assert_eq!(last.letters().list(), [], "something is left over");
        let lives = std::mem::take(&mut *self.clerk.0.lock().unwrap());
        // The last letter that a life handled, and the last one that is noted for sure: a life that
        // ends in order notes what it handled itself. What an earlier one handled and did not note may
        // come again, and later than the next end, where that life was not handed all of it.
        let (mut highest, mut noted) = (None, None);
        for (handled, in_order) in &lives {
            assert!(
                handled.is_sorted_by(|one, next| one < next),
                "a letter was handled twice in one life, or out of order"
            );
            assert!(
                handled.first().is_none_or(|&first| Some(first) > noted),
                "{:?} was handled again after an orderly end that noted all up to {noted:?}",
                handled.first()
            );
            let mut next = highest.map_or(0, |highest: u64| highest + 1);
            for &number in handled {
                let left_out: Vec<_> =
                    stored.range(next..number.max(next)).map(|(&number, _)| number).collect();
                assert_eq!(left_out, [0_u64; 0], "left out before {number}");
                next = next.max(number + 1);
            }
            highest = highest.max(handled.last().copied());
            if *in_order {
                noted = noted.max(handled.last().copied());
            }
        }
        assert!(
            stored.last_key_value().is_some_and(|(&last, _)| Some(last) <= highest),
            "the last letters were not handled"
        );
    }

    /// Checks, when both have stopped in order, that no records are left over.
    fn check_rest(&self) {
        for (spool, table) in [(0, "letters"), (1, "mail"), (1, "mailtried"), (1, "mailrefused")] {
            assert_eq!(
                self.spools[spool].load(table).unwrap().len(),
                0,
                "records are left over in {table}"
            );
        }
    }
}

async fn live_through(seed: u64) {
    let (world, paris) = World::start(seed).await;
    let (mut random, delivering) = (Random::seeded(seed ^ 0x5707), Random::seeded(seed ^ 2));
    let (paris, ()) = tokio::join!(world.storm(paris, &mut random), world.letters(delivering));
    world.check().await;
    let lyon = world.lyon.borrow().clone();
    lyon.stop().await;
    paris.stop().await;
    world.check_rest();
}

#[tokio::test]
async fn a_stored_letter_is_handled_whoever_dies_meanwhile() {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with SEED={}", self.0);
            }
        }
    }
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(1..=SEEDS, |seed| seed..=seed) {
        let _named = Named(seed);
        soon(live_through(seed)).await;
    }
}
