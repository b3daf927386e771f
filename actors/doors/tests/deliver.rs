//! Messages that are delivered to a node that may be away, and what their sender is told.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use support::World;
use support::http::{Answer, Client, curl};

const ORDER: &str = "/v1/deliver/paris/shop/shop.Order";
const JSON: &str = "Content-Type: application/json";
const TEA: &[u8] = br#"{"article":"tea"}"#;

async fn deliver(client: &Client, key: &str, body: &[u8]) -> Answer {
    let key = format!("Idempotency-Key: {key}");
    client.ask("POST", ORDER, &[JSON, &key], body).await
}

/// Waits at its place until it is over.
async fn over(client: &Client, location: &str) -> Answer {
    loop {
        let answer = client.ask("GET", location, &["Prefer: wait=60"], b"").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        if answer.json()["state"] != "stored" && answer.json()["state"] != "delivered" {
            return answer;
        }
    }
}

#[tokio::test]
async fn a_retry_is_the_same_message_while_its_receiver_is_away_and_over_a_restart() {
    let mut world = World::new().await;
    world.paris_goes().await;
    let first = deliver(&world.client(), "order-1", TEA).await;
    assert_eq!((first.status, first.header("location")), (202, "/v1/deliveries/order-1"));
    assert_eq!(first.header("estafette-handled"), "unknown");
    assert_eq!(first.json()["state"], "stored");
    let again = deliver(&world.client(), "\"order-1\"", TEA).await;
    assert_eq!((again.status, again.json()), (202, first.json()));
    world.lyon_restarts().await;
    let client = world.client();
    let again = deliver(&client, "order-1", TEA).await;
    assert_eq!((again.status, again.json()), (202, first.json()));
    let refused = deliver(&client, "order-1", br#"{"article":"coffee"}"#).await;
    let text = refused.problem(422, "conflict", "no");
    assert!(text.contains("another letter"), "{text}");
    world.paris_comes().await;
    let over = over(&client, "/v1/deliveries/order-1").await;
    assert_eq!(
        (&over.json()["state"], over.header("estafette-handled")),
        (&"processed".into(), "yes")
    );
    // It is over, and is told so, not done again.
    let again = deliver(&client, "order-1", TEA).await;
    assert_eq!((again.status, &again.json()["state"]), (200, &"processed".into()));
    assert_eq!(world.shop.orders(), ["tea"]);
}

#[tokio::test]
async fn a_key_is_the_client_s_own_and_one_is_made_for_who_has_none() {
    let world = World::new().await;
    let client = world.client();
    let other = client.with(Some(&world.token("other", "paris/*", None)));
    let (one, two) = (deliver(&client, "a b/c", TEA).await, deliver(&other, "a b/c", TEA).await);
    assert_eq!((one.status, two.status), (202, 202));
    assert_ne!(one.json()["id"], two.json()["id"]);
    assert_eq!(one.header("location"), "/v1/deliveries/a%20b%2Fc");
    over(&client, "/v1/deliveries/a%20b%2Fc").await;
    assert_eq!(world.shop.has(2).await.len(), 2);
    let none = client.ask("POST", ORDER, &[JSON, "Prefer: wait=60"], TEA).await;
    assert_eq!((none.status, none.header("preference-applied")), (200, "wait=60"));
    assert_eq!(none.json()["state"], "processed");
    let place = none.header("location").to_owned();
    assert_eq!(client.get(&place).await.json()["state"], "processed");
    other.get(&place).await.problem(404, "no-such-delivery", "no");
    let long = format!("Idempotency-Key: {}", "x".repeat(256));
    let two = ["Idempotency-Key: a", "Idempotency-Key: b"];
    let [none, here, above] = ["Idempotency-Key:", "Idempotency-Key: .", "Idempotency-Key: .."];
    for bad in [&[none][..], &[&long], &two, &[here], &[above]] {
        let headers = [&[JSON], bad].concat();
        let refused = client.ask("POST", ORDER, &headers, TEA).await;
        refused.problem(400, "bad-request", "no");
    }
    assert_eq!(world.shop.orders().len(), 3);
}

#[tokio::test]
async fn what_there_is_no_room_to_store_was_not_handled() {
    let mut world = World::new().await;
    world.paris_goes().await;
    let client = world.client();
    let order = |length| format!(r#"{{"article":"{}"}}"#, "x".repeat(length)).into_bytes();
    deliver(&client, "long", &order(2 << 20)).await.problem(413, "unencodable", "no");
    // More than may be under way to one node.
    let (mut stored, large) = (0, order(1_000_000));
    let refused = loop {
        let answer = deliver(&client, &format!("order-{stored}"), &large).await;
        if answer.status != 202 {
            break answer;
        }
        stored += 1;
        assert!(stored < 100, "64 MiB at most");
    };
    let text = refused.problem(429, "full", "no");
    assert!(text.contains("nothing was stored"), "{text}");
    let place = format!("/v1/deliveries/order-{stored}");
    client.get(&place).await.problem(404, "no-such-delivery", "no");
}

#[tokio::test]
async fn receipts_come_as_events_and_go_on_where_they_were_left() {
    let mut world = World::new().await;
    world.paris_goes().await;
    let client = world.client();
    deliver(&client, "order-1", TEA).await;
    let accept = "Accept: text/event-stream";
    let (head, mut events) = client.open("GET", "/v1/deliveries/order-1", &[accept], b"").await;
    assert_eq!((head.status, head.header("x-accel-buffering")), (200, "no"));
    assert_eq!(head.header("content-type"), "text/event-stream");
    let stored = events.piece().await;
    assert!(stored.contains("event: stored\n") && stored.contains("id: 1\n"), "{stored}");
    world.paris_comes().await;
    let rest = events.body(&head).await;
    let told: Vec<_> = rest.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(told, ["delivered", "processed"], "{rest}");
    let seen = [accept, "Last-Event-ID: 2"];
    let (head, mut events) = client.open("GET", "/v1/deliveries/order-1", &seen, b"").await;
    let rest = events.body(&head).await;
    assert!(rest.starts_with("event: processed\n") && !rest.contains("event: delivered"), "{rest}");
    // A client of events comes again behind every end but this one.
    let heard = [accept, "Last-Event-ID: 3"];
    let none = client.ask("GET", "/v1/deliveries/order-1", &heard, b"").await;
    assert_eq!((none.status, &*none.body), (204, ""), "{none:?}");
}

#[tokio::test]
async fn what_is_refused_is_dead_and_says_why_and_curl_sees_it_all() {
    let world = World::new().await;
    let bearer = format!("Authorization: Bearer {}", world.token);
    let url = world.url("/v1/deliver/paris/shop/shop.Order");
    let key = "Idempotency-Key: lost";
    let wait = "Prefer: wait=60";
    let given = ["-H", &*bearer, "-H", key, "-H", wait, "--json", "{\"pieces\":1}", &*url];
    let (status, body) = curl(&given).await;
    assert_eq!(status, 400, "{body}");
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&told["key"], &told["state"]), (&"lost".into(), &"dead".into()));
    let dead = over(&world.client(), "/v1/deliveries/lost").await;
    let why = &dead.json()["why"];
    assert_eq!(dead.json()["state"], "dead");
    assert_eq!(why["type"], "urn:estafette:problem:undecodable", "{why}");
    assert_eq!((&why["handled"], dead.header("estafette-handled")), (&"no".into(), "no"));
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_an_ask_and_never_a_delivery() {
    let mut world = World::new().await;
    let client = world.client();
    let wait = "/v1/ask/paris/shop/shop.Wait";
    let mut asks = client.connect().await;
    asks.say(client.head("POST", wait, &[JSON, "Content-Length: 2"]) + "{}").await;
    let begun = support::within(world.shop.waits.acquire()).await.unwrap();
    begun.forget();
    drop(asks);
    support::within(world.shop.given_up.acquire()).await.unwrap().forget();
    // One that waits is told when its time is over, and what it asked is given up.
    let late = client.ask("POST", wait, &[JSON, "Prefer: wait=1"], b"{}").await;
    late.problem(504, "deadline", "unknown");
    support::within(world.shop.given_up.acquire()).await.unwrap().forget();
    world.paris_goes().await;
    let mut delivers = client.connect().await;
    let length = format!("Content-Length: {}", TEA.len());
    let more = [JSON, &length, "Prefer: wait=60", "Idempotency-Key: order-1"];
    delivers.say([client.head("POST", ORDER, &more).as_bytes(), TEA].concat()).await;
    while client.get("/v1/deliveries/order-1").await.status == 404 {}
    drop(delivers);
    world.paris_comes().await;
    over(&client, "/v1/deliveries/order-1").await;
    assert_eq!(world.shop.orders(), ["tea"]);
}

#[tokio::test]
async fn a_tell_is_on_its_way_and_waits_for_nobody() {
    let mut world = World::new().await;
    let told = world.client().post("/v1/tell/paris/shop/shop.Order", r#"{"article":"tea"}"#).await;
    assert_eq!((told.status, told.header("estafette-handled")), (202, "unknown"));
    assert_eq!((world.shop.has(1).await, told.body.as_str()), (vec!["tea".into()], ""));
    world.paris_goes().await;
    for way in ["tell", "ask"] {
        let path = format!("/v1/{way}/paris/shop/shop.Order");
        let soon = world.client().ask("POST", &path, &[JSON, "Prefer: wait=1"], TEA).await;
        soon.problem(503, "unreachable", "no");
        assert_eq!(soon.header("retry-after"), "1");
    }
    assert_eq!(world.shop.orders(), ["tea"]);
}

#[tokio::test]
async fn a_message_for_a_name_that_nobody_has_holds_up_no_other_token_s() {
    let world = World::new().await;
    let client = world.client();
    let slip = client.ask("POST", "/v1/deliver/paris/shpo/shop.Order", &[JSON], TEA).await;
    assert_eq!(slip.status, 202);
    let place = slip.header("location").to_owned();
    let other = client.with(Some(&world.token("other", "paris/shop", None)));
    let order = deliver(&other, "order-1", TEA).await;
    let over = over(&other, order.header("location")).await;
    assert_eq!(over.json()["state"], "processed");
    assert_eq!(world.shop.orders(), ["tea"]);
    let slip = client.get(&place).await;
    assert!(["stored", "delivered"].contains(&slip.json()["state"].as_str().unwrap()), "{slip:?}");
}
