//! A peer with several addresses, of which some lead nowhere or to somebody else.

use std::net::TcpListener;
use std::time::Duration;

use estafette::{FailureKind, Identity, Node, NodeConfig, TrustedPeer};

use super::proxy::Proxy;
use super::world::{CHUNK, World, config, node, source, within};

/// An address that takes connections and never says a word, as long as it is held.
fn mute() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Silence is waited for longer than any test lasts.
fn patient() -> NodeConfig {
    let long = Duration::from_secs(3600);
    NodeConfig { handshake_timeout: long, dial_for: long, reconnect_for: long, ..config() }
}

async fn nantes(world: &World, addresses: &[&str]) -> Node {
    node("nantes", &Identity::generate(), patient())
        .peer("paris", world.paris.peer(), addresses.iter().copied())
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn an_address_that_says_nothing_hides_no_other_at_first_nor_at_reconnects() {
    let mut world = World::new(1).await;
    let (_held, silent) = mute();
    let proxy = Proxy::clean(&world.mallory.address).await;
    let nantes = nantes(&world, &[&silent, &proxy.address]).await;
    world.paris.trust().add(nantes.peer(), TrustedPeer::new("nantes")).unwrap();
    let mut events = world.paris.events();
    for round in 0..3 {
        let bytes = world.random.bytes(3 * CHUNK + round);
        let sent = nantes.send("paris/in", source(&bytes)).await.unwrap();
        within(sent.delivered()).await.unwrap();
        world.check(&bytes).await;
        let down = super::world::link_down(&mut events, nantes.peer());
        proxy.cut();
        down.await;
    }
    nantes.abort().await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn each_address_and_what_it_said_is_in_the_error() {
    let world = World::new(2).await;
    // Nobody listens there, and nobody else is given that port.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = held.local_addr().unwrap().to_string();
    let other =
        node("other", &Identity::generate(), config()).listen("127.0.0.1:0").start().await.unwrap();
    let somebody_else = other.addresses()[0].clone();
    let config = NodeConfig { dial_for: Duration::from_millis(1), ..config() };
    let addresses = [closed.as_str(), &somebody_else, "[fe80::1%nowhere0]:7"];
    let nantes = node("nantes", &Identity::generate(), config)
        .peer("paris", world.paris.peer(), addresses)
        .start()
        .await
        .unwrap();
    let words = [
        (addresses[0], "refused"),
        (addresses[1], "is it the one"),
        (addresses[2], "no network interface"),
    ];
    let is_told = |said: &str| {
        words
            .iter()
            .all(|(address, word)| said.contains(&format!("{address}: ")) && said.contains(word))
    };
    let mut said = String::new();
    // On a busy machine its patience may be over before all have answered: what they said is told
    // to a later one.
    for _ in 0..20 {
        said = within(nantes.send("paris/in", source(b"x")).await.unwrap().delivered())
            .await
            .unwrap_err()
            .to_string();
        if is_told(&said) {
            break;
        }
    }
    assert!(is_told(&said), "not all of {words:?} is told: {said}");
    nantes.shutdown().await;
    other.shutdown().await;
    world.unharmed().await;
}

#[tokio::test]
async fn an_address_that_says_nothing_hides_no_word_of_another_and_is_named() {
    let world = World::new(4).await;
    let (_held, silent) = mute();
    // Nobody listens there, and nobody else is given that port.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = held.local_addr().unwrap().to_string();
    let config = NodeConfig { dial_for: Duration::from_millis(1), ..patient() };
    let nantes = node("nantes", &Identity::generate(), config)
        .peer("paris", world.paris.peer(), [silent.as_str(), &closed])
        .start()
        .await
        .unwrap();
    // Its patience is over before the one dial is that goes on: a later delivery hears more of it.
    let mut said = String::new();
    for _ in 0..200 {
        said = within(nantes.send("paris/in", source(b"x")).await.unwrap().delivered())
            .await
            .unwrap_err()
            .to_string();
        if said.contains("refused") {
            break;
        }
    }
    let (mute, refused) = (format!("({silent}: no answer within "), format!("; {closed}: "));
    assert!(said.contains(&mute) && said.contains(&refused) && said.contains("refused"), "{said}");
    nantes.abort().await;
    world.unharmed().await;
}

#[tokio::test]
async fn what_the_node_itself_has_said_waits_for_no_other_address() {
    let world = World::new(3).await;
    let (_held, silent) = mute();
    let nantes = nantes(&world, &[&silent, &world.mallory.address]).await;
    let failure =
        within(nantes.send("paris/in", source(b"x")).await.unwrap().delivered()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Untrusted, "{failure}");
    nantes.abort().await;
    world.unharmed().await;
}
