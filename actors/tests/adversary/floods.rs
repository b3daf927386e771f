//! Too much of everything that costs a node something.

use std::time::Duration;

use estafette::testing::Random;
use estafette::wire::{Control, Preamble, Purpose};
use estafette::{FailureKind, NodeConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::forge::Forgery;
use super::peer::preambles;
use super::world::{TRANSFERS, World, config, impatient, link_down};

/// Connections of the flood, both ends of which are in this process.
const CONNECTIONS: usize = 2500;

#[tokio::test]
async fn thousands_of_connections_that_lead_nowhere_do_not_keep_out_the_honest() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let room = limit.maximum.map_or(usize::MAX, |most| most as usize);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let connections = CONNECTIONS.min(room.saturating_sub(500) / 2);
    let mut world =
        World::with(1, NodeConfig { handshake_timeout: Duration::from_secs(20), ..config() }).await;
    let mut flood: Vec<TcpStream> = Vec::new();
    let mut random = Random::seeded(1);
    for number in 0..connections {
        // Of ten hosts, so that none of them is the only one.
        let mut io =
            world.mallory.connect_from([127, 0, 0, 2 + (number % 10) as u8]).await.unwrap();
        match random.below(4) {
            0 => {}
            1 => io
                .write_all(&Preamble::new(Purpose::Link).encode(&world.mallory.key())[..7])
                .await
                .unwrap(),
            2 => _ = io.write_all(&Preamble::new(Purpose::Link).encode(&world.mallory.key())).await,
            _ => {
                _ = io
                    .write_all(
                        &[
                            &Preamble::new(Purpose::Link).encode(&world.mallory.key())[..],
                            &[200, 0, 1],
                        ]
                        .concat(),
                    )
                    .await
            }
        }
        flood.push(io);
        if number % 250 == 249 {
            world.honest_delivery().await;
            // A new link each time: it has to get through the flood, too.
            let mut events = world.paris.events();
            drop(world.mallory.link().await);
            link_down(&mut events, world.mallory.id()).await;
            assert!(world.paris.held().await.half_open <= config().half_open);
        }
    }
    assert!(
        flood.len() >= 2000 || room < 4500,
        "the limit of open files allows {connections} only"
    );
    drop(flood);
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn idle_connections_go_when_their_time_is_up() {
    let world = World::new(2).await;
    let mut idle = Vec::new();
    for _ in 0..config().half_open / 2 {
        let mut io = world.mallory.connect().await;
        preambles(&mut io, &world.mallory.key(), Purpose::Link).await;
        idle.push(io);
        // Through the handshake, and then silent.
        idle.push(world.mallory.handshake().await.channel.io);
    }
    for io in idle {
        super::peer::closed(io).await;
    }
    world.unharmed().await;
}

#[tokio::test]
async fn deliveries_beyond_the_limit_of_a_peer_are_refused_and_the_others_live() {
    let world = World::new(3).await;
    let mut link = world.mallory.link().await;
    let forgeries: Vec<_> =
        (0..2000).map(|number| Forgery::numbered(&world.mallory, number)).collect();
    // The ones that are let in are the first.
    let first: Vec<u64> = forgeries[..TRANSFERS].iter().map(Forgery::stream).collect();
    for (number, forgery) in forgeries.iter().enumerate() {
        link.say(&Control::Open(Box::new(forgery.opening.clone()))).await;
        if number < TRANSFERS {
            continue;
        }
        let failure = link.until(|control| match control {
            Control::Reject { stream, failure } => {
                assert!(!first.contains(&stream));
                Some(failure)
            }
            _ => None,
        });
        let failure = failure.await;
        assert_eq!(failure.kind, FailureKind::Busy);
        assert!(failure.message.contains("under way already"), "{failure}");
    }
    let held = world.paris.held().await;
    assert!(held.running < config().running_transfers, "a peer leaves room for others: {held:?}");
    for forgery in &forgeries[..TRANSFERS] {
        forgery.cancel(&mut link).await;
    }
    link.stands().await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn what_a_vanished_peer_began_is_given_up() {
    let world = World::with(4, impatient()).await;
    let mut link = world.mallory.link().await;
    for number in 0..TRANSFERS as u64 {
        link.say(&Control::Open(Box::new(Forgery::numbered(&world.mallory, number).opening))).await;
    }
    link.stands().await;
    drop(link);
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn lanes_asked_for_again_and_again_are_one_ticket_each() {
    let world = World::new(5).await;
    let mut link = world.mallory.link().await;
    for round in 0..10_000_u32 {
        link.say(&Control::LaneRequest { lane: (round % 7) as u16 }).await;
        if round % 500 == 0 {
            link.stands().await;
        }
    }
    link.say(&Control::LaneRequest { lane: u16::MAX }).await;
    link.stands().await;
    assert_eq!(world.paris.held().await.lane_tickets, 2, "one for each worker");
    let mut events = world.paris.events();
    drop(link);
    link_down(&mut events, world.mallory.id()).await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_peer_that_comes_again_and_again_has_one_session() {
    let world = World::new(6).await;
    let mut links = Vec::new();
    for _ in 0..100 {
        let mut link = world.mallory.link().await;
        link.stands().await;
        links.push(link);
    }
    let newest = links.pop().unwrap();
    for link in links {
        super::peer::closed(link.channel.io).await;
    }
    assert_eq!(world.paris.held().await.sessions, 2);
    drop(newest);
    world.unharmed_by_mallory().await;
}
