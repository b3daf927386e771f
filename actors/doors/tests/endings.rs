//! Streams of states that end: with a last state, or with the reason why none will come.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use estafette::TransferId;
use serde_json::Value;
use support::World;
use support::http::{Client, Incoming};

const JSON: &str = "Content-Type: application/json";
const STREAM: &str = "Accept: text/event-stream";

/// An event: its name, its id if it has one, and what it tells.
async fn event(stream: &mut Incoming) -> (String, Option<String>, Value) {
    loop {
        let piece = stream.piece().await;
        let of = |name: &str| piece.lines().find_map(|line| line.strip_prefix(name));
        // Comments say that it is alive.
        if let (Some(name), Some(data)) = (of("event: "), of("data: ")) {
            let data = serde_json::from_str(data).unwrap();
            return (name.into(), of("id: ").map(Into::into), data);
        }
        assert!(!piece.is_empty(), "the stream has ended");
    }
}

/// The last event of a stream: it says why no state will come.
async fn is_broken(stream: &mut Incoming, kind: &str, handled: &str) {
    let (name, id, why) = event(stream).await;
    assert_eq!((&*name, id), ("error", None), "{why}");
    assert_eq!(why["type"], format!("urn:estafette:problem:{kind}"));
    assert_eq!(why["handled"], handled);
    assert_eq!(stream.piece().await, "", "that is the last one");
}

async fn open(client: &Client, place: &str, more: &[&str]) -> Incoming {
    let headers = [&[STREAM], more].concat();
    let (head, stream) = client.open("GET", place, &headers, b"").await;
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    stream
}

/// Content that is stored, and its place.
async fn put(client: &Client, name: &str, headers: &[&str]) -> (TransferId, String) {
    let path = format!("/v1/send/paris/files/{name}");
    let stored = client.ask("PUT", &path, headers, b"0123456789").await;
    let id = stored.json()["id"].as_str().unwrap().to_owned();
    (id.parse().unwrap(), format!("/v1/transfers/{id}"))
}

#[tokio::test]
async fn content_that_is_taken_out_is_dead_to_whoever_waits_and_gone_to_who_asks_later() {
    let mut world = World::new().await;
    world.paris_goes().await;
    let client = world.client();
    let key = "Idempotency-Key: photo-1";
    let (id, place) = put(&client, "photo", &[key]).await;
    let mut stream = open(&client, &place, &[]).await;
    assert_eq!(event(&mut stream).await.0, "stored");
    let mut waits = client.connect().await;
    waits.say(client.head("GET", &place, &["Prefer: wait=300"])).await;
    world.lyon.outbox().withdraw(id).await.unwrap();
    let (name, number, told) = event(&mut stream).await;
    assert_eq!((&*name, number.as_deref()), ("dead", Some("5")));
    assert_eq!((&told["state"], &told["bytes"]), (&"dead".into(), &10.into()));
    assert!(told["why"].as_str().unwrap().contains("taken out"), "{told}");
    assert_eq!(stream.piece().await, "", "that is the last one");
    // Whether it asked before or behind.
    let mut waited = waits.head().await;
    waited.body = waits.body(&waited).await;
    for answer in [waited, client.get(&place).await] {
        let text = answer.problem(410, "taken-out", "no");
        assert!(text.contains("was not delivered, and will not be"), "{text}");
    }
    let mut late = open(&client, &place, &["Last-Event-ID: 1"]).await;
    assert_eq!(event(&mut late).await.0, "dead");
    assert_eq!(late.piece().await, "");
    let heard = ["Accept: text/event-stream", "Last-Event-ID: 5"];
    assert_eq!(client.ask("GET", &place, &heard, b"").await.status, 204, "it has heard all");
    // A client that has lost the answer sends it again: no other delivery.
    let again = client.ask("PUT", "/v1/send/paris/files/photo", &[key], b"0123456789").await;
    assert_eq!((again.status, &again.json()["state"]), (409, &"dead".into()), "{again:?}");
    assert!(world.lyon.outbox().list().await.unwrap().is_empty());
    let other = client.with(Some(&world.token("other", "paris/files", None)));
    other.get(&place).await.problem(404, "no-such-transfer", "no");
}

#[tokio::test]
async fn an_upload_that_was_taken_out_is_gone_and_one_that_arrived_can_t_be_given_up() {
    const TUS: &str = "Tus-Resumable: 1.0.0";
    let mut world = World::new().await;
    let client = world.client();
    let whole = [TUS, "Upload-Length: 2", "Content-Type: application/offset+octet-stream"];
    let upload = async || {
        let begun = client.ask("POST", "/v1/uploads/paris/files", &whole, b"12").await;
        assert_eq!(begun.status, 201, "{begun:?}");
        let place = begun.header("location").to_owned();
        (place.rsplit('/').next().unwrap().parse::<TransferId>().unwrap(), place)
    };
    let (id, place) = upload().await;
    world.lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
    client.ask("DELETE", &place, &[TUS], b"").await.problem(409, "delivered", "no");
    world.paris_goes().await;
    let (id, place) = upload().await;
    client.ask("DELETE", &place, &[TUS], b"").await.problem(409, "on-its-way", "no");
    world.lyon.outbox().withdraw(id).await.unwrap();
    client.ask("DELETE", &place, &[TUS], b"").await.problem(410, "taken-out", "no");
    assert_eq!(client.ask("HEAD", &place, &[TUS], b"").await.status, 410);
}

#[tokio::test]
async fn a_stream_of_states_says_why_it_ends_before_the_last_one() {
    let mut world = World::new().await;
    let client = world.client();
    let (forgotten, place) = put(&client, "forgotten", &["Prefer: wait=60"]).await;
    let mut unprocessed = open(&client, &place, &["Last-Event-ID: 3"]).await;
    let (_, place) = put(&client, "arrived", &["Prefer: wait=60"]).await;
    let other = client.with(Some(&world.token("other", "paris/files", None)));
    let mut arrived = open(&client, &place, &["Last-Event-ID: 3"]).await;
    world.lyon.outbox().forget(forgotten).await.unwrap();
    is_broken(&mut unprocessed, "expired", "unknown").await;
    world.paris_goes().await;
    let order = "/v1/deliver/paris/shop/shop.Order";
    let headers = [JSON, "Idempotency-Key: order-1"];
    assert_eq!(client.ask("POST", order, &headers, b"{\"article\":\"tea\"}").await.status, 202);
    let mut letter = open(&client, "/v1/deliveries/order-1", &["Last-Event-ID: 1"]).await;
    let (_, place) = put(&client, "stored", &[]).await;
    let mut stored = open(&client, &place, &["Last-Event-ID: 1"]).await;
    let (_, place) = put(&other, "other", &[]).await;
    let mut others = open(&other, &place, &["Last-Event-ID: 1"]).await;
    assert!(world.access.tokens().remove("other").unwrap());
    is_broken(&mut others, "unknown-token", "unknown").await;
    world.lyon.stop().await;
    for stream in [&mut arrived, &mut letter, &mut stored] {
        is_broken(stream, "shutting-down", "unknown").await;
    }
}
