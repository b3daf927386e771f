//! Peers that stop reading, or never answer: what they are owed is bounded, their time runs out,
//! and the others go on.

use std::time::Duration;

use estafette::wire::{Control, LinkConfig};
use estafette::{
    FailureKind, Identity, Node, NodeConfig, SendOptions, TransferHandle, TrustedPeer,
};
use estafette_actors::sink::NullSink;
use tokio::io::AsyncWriteExt;

use super::forge::Forgery;
use super::receivers::Receiving;
use super::world::{TRANSFERS, World, config, failure, impatient, link_down, node, source, within};

/// An honest receiver that paris knows.
async fn nantes(world: &World) -> Node {
    let nantes = node("nantes", &Identity::generate(), config()).listen("127.0.0.1:0").peer(
        "paris",
        world.paris.peer(),
        [""; 0],
    );
    let nantes = nantes.start().await.unwrap();
    nantes.receive("in", NullSink::new()).unwrap();
    world
        .paris
        .trust()
        .add(
            nantes.peer(),
            TrustedPeer { addresses: nantes.addresses().to_vec(), ..TrustedPeer::new("nantes") },
        )
        .unwrap();
    nantes
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answers_loses_its_link_and_its_socket() {
    // No patience of the link's own would end it in time.
    let link = LinkConfig::new(
        Duration::from_secs(60),
        Duration::from_secs(600),
        Duration::from_secs(3600),
    )
    .unwrap();
    let world = World::with(1, NodeConfig { link, ..config() }).await;
    let mut events = world.paris.events();
    let mut link = world.mallory.narrow_link().await;
    // Each is answered with a reason longer than itself.
    let absurd = Forgery::new(&world.mallory).with(|opening| opening.inbox = "\u{1}".repeat(128));
    let absurd = Control::Open(Box::new(absurd.opening)).encode().unwrap();
    let ping = Control::Ping { nonce: 7 }.encode().unwrap();
    let flooding = async {
        loop {
            let said = [&absurd, &absurd, &absurd, &ping].repeat(16);
            let frames: Vec<u8> = said
                .into_iter()
                .flat_map(|message| link.channel.sealer.seal(message).unwrap())
                .collect();
            // Until the connection is reset.
            if link.channel.io.write_all(&frames).await.is_err() {
                return;
            }
        }
    };
    let (why, ()) =
        within(async { tokio::join!(link_down(&mut events, world.mallory.id()), flooding) }).await;
    assert!(why.contains("does not read"), "{why}");
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_receiver_that_reads_no_chunk_loses_its_lane_while_others_are_served() {
    let link = LinkConfig::new(
        Duration::from_millis(500),
        Duration::from_secs(4),
        Duration::from_secs(3600),
    )
    .unwrap();
    let config =
        NodeConfig { link, chunk_size: 256 << 10, window: 16 << 20, pool: 64 << 20, ..impatient() };
    let bytes = vec![7; 32 << 20];
    let mut receiving = Receiving::begin(
        2,
        NodeConfig { compression: estafette::pipeline::Compression::Off, ..config },
        &bytes,
    )
    .await;
    receiving.accept(u64::MAX).await;
    let lane = receiving.lane(0).await;
    let nantes = nantes(&receiving.world).await;
    let others = async {
        for _ in 0..3 {
            let small = SendOptions { chunk_size: Some(4096), ..SendOptions::default() };
            let sent = receiving
                .world
                .paris
                .send_with("nantes/in", source(&bytes[..100_000]), small)
                .await
                .unwrap();
            within(sent.delivered()).await.unwrap();
        }
    };
    // Nothing is read from the lane: the node closes it, and asks for another one.
    let asked_again = receiving
        .link
        .until(|control| matches!(control, Control::LaneRequest { lane: 0 }).then_some(()));
    tokio::join!(others, asked_again);
    drop(lane);
    assert!(receiving.world.paris.held().await.bytes <= 16 << 20);
    receiving.unharmed().await;
    nantes.shutdown().await;
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_up_leaves_room_for_the_others() {
    let bytes = vec![7; 200_000];
    let mut receiving = Receiving::begin(3, config(), &bytes).await;
    let mut waiting: Vec<TransferHandle> = Vec::new();
    for _ in 1..TRANSFERS {
        waiting.push(receiving.world.paris.send("mallory/in", source(&bytes)).await.unwrap());
    }
    let over = receiving.world.paris.send("mallory/in", source(&bytes)).await.unwrap();
    assert_eq!(failure(&over).await.kind, FailureKind::Busy, "no more of them wait");
    let nantes = nantes(&receiving.world).await;
    let sent = receiving.world.paris.send("nantes/in", source(&bytes)).await.unwrap();
    // Its link stands meanwhile, so that nothing of it is given up.
    tokio::select! {
        delivered = within(sent.delivered()) => drop(delivered.unwrap()),
        () = receiving.link.until(|_| None) => {}
    }
    waiting.iter().for_each(TransferHandle::cancel);
    receiving.unharmed().await;
    nantes.shutdown().await;
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up() {
    let bytes = vec![7; 200_000];
    let receiving = Receiving::begin(4, impatient(), &bytes).await;
    let mut events = receiving.world.paris.events();
    // It neither reads nor answers on its link, nor on those that are dialled after it.
    let why = link_down(&mut events, receiving.world.mallory.id()).await;
    assert!(why.contains("too long") || why.contains("took no byte"), "{why}");
    let failure = failure(&receiving.transfer).await;
    assert_eq!(failure.kind, FailureKind::Unreachable);
    receiving.unharmed().await;
}
