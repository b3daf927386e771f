//! Clients that want too much, take too long, or do not read.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use estafette::node::{LinkState, Snapshot};
use estafette::wire::Identity;
use estafette::{PeerId, TrustedPeer};
use estafette_page::{Page, ServeError, Token};
use support::{Client, node, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn of_a_thousand_streams_64_are_served_and_the_others_are_refused_politely() {
    let node = node().await;
    let serving = Page::of(&node).serve("127.0.0.1:0").await.unwrap();
    let client = Client::of(&serving);
    let mut streams = Vec::new();
    let mut refused = 0;
    for _ in 0..1000 {
        let (head, mut events) = client.open("/api/v1/events", &[]).await;
        if head.status == 200 {
            assert_eq!(events.next("snapshot").await.1["node"]["name"], "paris");
            streams.push(events);
        } else {
            assert_eq!((head.status, head.header("retry-after")), (503, "10"));
            refused += 1;
        }
    }
    assert_eq!((streams.len(), refused), (Page::STREAMS, 1000 - Page::STREAMS));
    assert_eq!(client.get("/healthz").await.status, 200, "others are served all the same");
    streams.pop();
    // Its place is free as soon as the server has seen that it is gone.
    within(async { while client.head_of("/api/v1/events").await.status != 200 {} }).await;
}

#[tokio::test]
async fn who_takes_too_long_for_a_request_is_dropped_and_is_in_nobodys_way() {
    let node = node().await;
    let serving = Page::of(&node).serve("127.0.0.1:0").await.unwrap();
    let client = Client::of(&serving);
    // More than there may be at once: none of them ends its first line.
    let mut slow = Vec::new();
    for _ in 0..Page::CONNECTIONS + 50 {
        let mut socket = client.connect().await;
        socket.write_all(b"GET /healthz HT").await.unwrap();
        slow.push(socket);
    }
    assert_eq!(client.get("/healthz").await.status, 200, "it waits for its turn, and has it");
    let (head, mut idle) = client.open("/healthz", &[]).await;
    assert_eq!(head.status, 200);
    slow.push(idle.socket);
    idle = client.open("/page.css", &[]).await.1;
    slow.push(idle.socket);
    for mut socket in slow {
        let mut rest = Vec::new();
        // An end or a reset: it is gone.
        let _ = within(socket.read_to_end(&mut rest)).await;
    }
}

#[tokio::test]
async fn who_does_not_read_is_dropped_and_others_are_served_meanwhile() {
    let node = node().await;
    let serving = Page::of(&node).serve("127.0.0.1:0").await.unwrap();
    let client = Client::of(&serving);
    let mut deaf = client.connect().await;
    let request = client.request("GET", "/api/v1/openapi.json", &[]).repeat(100);
    let asks = async { while deaf.write_all(request.as_bytes()).await.is_ok() {} };
    let others = async {
        loop {
            assert_eq!(client.get("/healthz").await.status, 200);
        }
    };
    within(async {
        tokio::select! {
            () = asks => {}
            () = others => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let node = node().await;
    let serving = Page::of(&node).serve("127.0.0.1:0").await.unwrap();
    let client = Client::of(&serving);
    let long = format!("X-Long: {}", "x".repeat(20 << 10));
    assert_eq!(client.ask("GET", "/healthz", &[&long]).await.status, 431);
    let many = vec!["X-Many: 1"; 100];
    assert_eq!(client.ask("GET", "/healthz", &many).await.status, 431);
    let path = format!("/{}", "x".repeat(20 << 10));
    assert!([414, 431].contains(&client.get(&path).await.status));
    assert_eq!(client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_stream_brings_what_changes_and_goes_on_where_it_was_left() {
    let node = node().await;
    let serving = Page::of(&node).serve("127.0.0.1:0").await.unwrap();
    let client = Client::of(&serving);
    let (head, mut events) = client.open("/api/v1/events", &[]).await;
    assert_eq!(head.header("content-type"), "text/event-stream");
    assert_eq!(head.header("x-accel-buffering"), "no");
    let (id, first) = events.next("snapshot").await;
    assert_eq!((&*id, first["links"].as_array().unwrap().len()), ("", 0));
    node.trust().add(Identity::generate().peer(), TrustedPeer::new("lyon")).unwrap();
    let (_, second) = events.next("snapshot").await;
    assert_eq!(second["links"][0]["name"], "lyon");
    // Something happens: a stranger knocks where nobody listens to strangers.
    let (_, peer) = two_that_link(&node).await;
    let (id, told) = events.next("happening").await;
    assert_eq!((&told["kind"], &told["number"]), (&"link_up".into(), &1.into()));
    assert!(id.ends_with("-1"), "{id}");
    peer.shutdown().await;
    let (next, told) = events.next("happening").await;
    assert_eq!(told["kind"], "link_down");
    // Whoever has heard the first is told the second.
    let again = format!("Last-Event-ID: {id}");
    let (_, mut events) = client.open("/api/v1/events", &[&again]).await;
    assert_eq!(events.next("happening").await.0, next);
    // Numbers of another process, and what is no id, say nothing.
    for other in ["Last-Event-ID: 1-1", "Last-Event-ID: x"] {
        let (_, mut events) = client.open("/api/v1/events", &[other]).await;
        assert_eq!(events.next("happening").await.0, id, "{other}");
    }
}

/// Links the node with another one.
async fn two_that_link(node: &estafette::Node) -> (estafette::PeerId, estafette::Node) {
    let other = estafette::Node::builder()
        .name("dijon")
        .listen("127.0.0.1:0")
        .stages(estafette_actors::standard())
        .start()
        .await
        .unwrap();
    let mut trusted = TrustedPeer::new("dijon");
    trusted.addresses = other.addresses().to_vec();
    node.trust().add(other.peer(), trusted).unwrap();
    other.trust().add(node.peer(), TrustedPeer::new("paris")).unwrap();
    node.stay_connected(other.peer());
    (other.peer(), other)
}

#[tokio::test]
async fn an_address_for_others_needs_a_token_and_one_that_is_taken_is_named() {
    let node = node().await;
    for open in ["0.0.0.0:0", "[::]:0"] {
        let refused = Page::of(&node).serve(open).await.unwrap_err();
        assert!(matches!(&refused, ServeError::NeedsToken { address } if address == open));
    }
    let token = Token::new("0123456789abcdef").unwrap();
    let serving = Page::of(&node).token(token).serve("0.0.0.0:0").await.unwrap();
    let taken = format!("127.0.0.1:{}", serving.address().port());
    let refused = Page::of(&node).serve(&taken).await.unwrap_err();
    assert!(refused.to_string().contains(&taken), "{refused}");
    assert!(matches!(Page::of(&node).serve("nonsense").await, Err(ServeError::Listen { .. })));
}

#[tokio::test]
async fn it_ends_when_it_is_dropped_whoever_listens() {
    let node = node().await;
    let serving = Page::of(&node).serve("127.0.0.1:0").await.unwrap();
    let client = Client::of(&serving);
    let (_, mut events) = client.open("/api/v1/events", &[]).await;
    events.next("snapshot").await;
    tokio::task::spawn_blocking(move || drop(serving)).await.unwrap();
    let mut rest = Vec::new();
    // An end or a reset.
    let _ = within(events.socket.read_to_end(&mut rest)).await;
    assert!(tokio::net::TcpStream::connect(client.0).await.is_err(), "nobody is there any more");
}

#[tokio::test]
async fn the_page_tells_of_a_node_that_has_stopped() {
    let node = node().await;
    let serving = Page::of(&node).serve("127.0.0.1:0").await.unwrap();
    let client = Client::of(&serving);
    assert_eq!(client.get("/readyz").await.status, 200);
    node.shutdown().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(client.get(path).await.status, 503, "{path}");
    }
    assert_eq!(client.get("/api/v1/snapshot").await.json()["answers"], false);
}

#[tokio::test]
async fn it_is_ready_whoever_else_it_waits_for_and_says_how_each_wanted_link_is() {
    let node = node().await;
    let (linked, _other) = two_that_link(&node).await;
    let mut events = node.events();
    while !node.snapshot().await.links.iter().any(|link| link.state == LinkState::Up) {
        events.next().await.unwrap();
    }
    // Many more than are shown: nobody knows where they are.
    let mut absent = Vec::new();
    for number in 0..3 * Snapshot::MOST {
        let peer = Identity::generate().peer();
        node.trust().add(peer, TrustedPeer::new(format!("absent {number}"))).unwrap();
        node.stay_connected(peer);
        absent.push(peer);
    }
    let seen = node.snapshot().await;
    let up = |seen: &Snapshot| seen.links.iter().any(|link| link.state == LinkState::Up);
    assert!(up(&seen), "a link that is up goes first");
    assert_eq!((seen.links.len(), seen.more_links), (Snapshot::MOST, 2 * 256 + 1));
    let wanted = &absent[..20];
    let seen = node.snapshot_with(wanted).await;
    let is_awaited = |peer: &PeerId| {
        seen.links.iter().any(|l| l.peer == peer.to_string() && l.state == LinkState::Awaited)
    };
    assert!(up(&seen) && wanted.iter().all(is_awaited));
    let serving = Page::of(&node).needs(linked).serve("127.0.0.1:0").await.unwrap();
    let ready = Client::of(&serving).get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    let serving = Page::of(&node).needs(absent[0]).serve("127.0.0.1:0").await.unwrap();
    let waits = Client::of(&serving).get("/readyz").await;
    assert!(waits.status == 503 && waits.body.contains("absent 0 is not up"), "{}", waits.body);
}

#[tokio::test]
async fn who_is_not_trusted_any_more_is_not_counted() {
    let node = node().await;
    for number in 0..2 * Snapshot::MOST {
        let mut trusted = TrustedPeer::new(format!("late {number}"));
        trusted.expires = Some(1);
        node.trust().add(Identity::generate().peer(), trusted).unwrap();
    }
    let seen = node.snapshot().await;
    assert_eq!((seen.links.len(), seen.more_links), (0, 0));
}
