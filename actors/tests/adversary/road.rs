//! A road that somebody else owns: it changes bits and cuts, and the content is never wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use estafette::testing::{Connecting, Faults, Random};
use estafette::{Identity, Node, NodeConfig, TrustedPeer};
use futures_util::future::join_all;

use super::proxy::Proxy;
use super::world::{CHUNK, World, config, impatient, node, source, within};

/// A handshake is over after so many bytes of a direction, whatever the connection is for.
const HANDSHAKE: u64 = 300;
/// Chunks of what is sent over a bad road.
const CHUNKS: usize = 60;

/// A node that reaches paris by this road.
async fn traveller(world: &World, name: &str, proxy: &Proxy, config: NodeConfig) -> Node {
    let identity = Identity::generate();
    world.paris.trust().add(identity.peer(), TrustedPeer::new(name)).unwrap();
    node(name, &identity, config)
        .peer("paris", world.paris.peer(), [&proxy.address])
        .start()
        .await
        .unwrap()
}

/// One bit of one of the first connections changes; whether what is after its handshake was hit.
fn one_flip(hit: Arc<AtomicBool>) -> impl FnMut(&Connecting, &mut Random) -> Faults {
    let mut drawn: Option<(u64, bool, u64, u8)> = None;
    move |connecting, random| {
        let (number, there, at, mask) = *drawn.get_or_insert_with(|| {
            let number = random.below(3);
            let reach = if number == 0 { 600 } else { (CHUNKS * CHUNK / 2) as u64 };
            // Every third one in the handshake, or close behind it.
            let at = if random.below(3) == 0 {
                random.below(2 * HANDSHAKE)
            } else {
                random.below(reach)
            };
            (number, number > 0 || random.below(2) == 0, at, 1 << random.below(8))
        });
        if connecting.number != number {
            return Faults::default();
        }
        hit.store(at >= HANDSHAKE, Ordering::Relaxed);
        let flips = vec![(at, mask)];
        if there {
            Faults { flips_there: flips, ..Faults::default() }
        } else {
            Faults { flips_back: flips, ..Faults::default() }
        }
    }
}

#[tokio::test]
async fn a_bit_changed_on_the_road_is_repaired_or_told_and_never_delivered() {
    // Who is silent is given up soon, and who is to be reached again is sought for as long as ever.
    let config = || NodeConfig { reconnect_for: config().reconnect_for, ..impatient() };
    let mut world = World::with(1, config()).await;
    let mut sent: HashMap<blake3::Hash, u64> = HashMap::new();
    for round in 0..6_u64 {
        let seeds = round * 8..(round + 1) * 8;
        let honest = world.random.bytes(100 * CHUNK);
        let travels = join_all(seeds.map(|seed| {
            let world = &world;
            async move {
                let hit = Arc::<AtomicBool>::default();
                let proxy =
                    Proxy::start(&world.mallory.address, seed, one_flip(Arc::clone(&hit))).await;
                let nantes = traveller(world, &format!("nantes-{seed}"), &proxy, config()).await;
                let bytes = Random::seeded(1000 + seed).bytes(CHUNKS * CHUNK + seed as usize);
                let outcome =
                    within(nantes.send("paris/in", source(&bytes)).await.unwrap().delivered())
                        .await;
                if let Err(failure) = &outcome {
                    assert!(
                        !hit.load(Ordering::Relaxed),
                        "seed {seed}: only a handshake may fail: {failure}"
                    );
                }
                nantes.abort().await;
                (seed, bytes, outcome)
            }
        }));
        let (travelled, delivered) = tokio::join!(travels, async {
            let transfer = world.lyon.send("paris/in", source(&honest)).await.unwrap();
            within(transfer.delivered()).await
        });
        delivered.unwrap();
        sent.extend(travelled.iter().map(|(seed, bytes, _)| (blake3::hash(bytes), *seed)));
        sent.insert(blake3::hash(&honest), u64::MAX);
        let successes = 1 + travelled.iter().filter(|(_, _, outcome)| outcome.is_ok()).count();
        assert!(successes > 4, "most are repaired");
        for _ in 0..successes {
            let arrived = within(world.arrived.recv()).await.unwrap();
            assert!(
                sent.remove(&blake3::hash(&arrived.bytes)).is_some(),
                "something arrived that was not sent, or arrived twice"
            );
        }
    }
    drop(world);
}

#[tokio::test]
async fn a_link_cut_many_times_goes_on_where_it_was() {
    let mut world = World::new(2).await;
    let proxy = Proxy::clean(&world.mallory.address).await;
    let nantes = traveller(&world, "nantes", &proxy, config()).await;
    let bytes = world.random.bytes(500 * CHUNK + 17);
    let transfer = nantes.send("paris/in", source(&bytes)).await.unwrap();
    for _ in 0..25 {
        let more = world.random.below(80_000);
        tokio::select! {
            () = proxy.carries(more) => proxy.cut(),
            _ = transfer.delivered() => break,
        }
    }
    within(transfer.delivered()).await.unwrap();
    world.check(&bytes).await;
    assert!(proxy.carried() < 4 * bytes.len() as u64, "it began anew each time");
    nantes.abort().await;
    world.honest_delivery().await;
}

#[tokio::test]
async fn connections_that_break_anywhere_do_not_stop_a_transfer() {
    let mut world = World::new(3).await;
    let plan = |connecting: &Connecting, random: &mut Random| {
        let cut = (connecting.number < 40).then(|| 1 + random.below(20_000));
        if random.below(2) == 0 {
            Faults { cut_there: cut, ..Faults::default() }
        } else {
            Faults { cut_back: cut, ..Faults::default() }
        }
    };
    let proxy = Proxy::start(&world.mallory.address, 3, plan).await;
    let nantes = traveller(&world, "nantes", &proxy, config()).await;
    let bytes = world.random.bytes(100 * CHUNK + 17);
    let transfer = nantes.send("paris/in", source(&bytes)).await.unwrap();
    within(transfer.delivered()).await.unwrap();
    world.check(&bytes).await;
    nantes.abort().await;
    world.honest_delivery().await;
}
