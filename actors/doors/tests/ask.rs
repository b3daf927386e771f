//! Asks by HTTP of an actor on another node.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use serde_json::json;
use support::http::{Client, curl};
use support::{World, within};

const ORDER: &str = "/v1/ask/paris/shop/shop.Order";

#[tokio::test]
async fn curl_asks_an_actor_of_another_node_by_http_1_and_by_http_2() {
    let world = World::new().await;
    let bearer = format!("Authorization: Bearer {}", world.token);
    let url = world.url(ORDER);
    let given = ["-H", &*bearer, "--json", r#"{"article":"tea"}"#, &*url];
    assert_eq!(curl(&given).await, (200, r#"{"Ok":1}"#.into()));
    let by_2 = [&["--http2-prior-knowledge"], &given[..]].concat();
    assert_eq!(curl(&by_2).await, (200, r#"{"Ok":2}"#.into()));
    assert_eq!(world.shop.orders(), ["tea", "tea"]);
}

#[tokio::test]
async fn an_answer_says_that_it_was_handled_and_an_error_whether() {
    let world = World::new().await;
    let client = world.client();
    let answer = client.post(ORDER, r#"{"article":"nothing"}"#).await;
    assert_eq!((answer.status, answer.header("estafette-handled")), (200, "yes"));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json(), json!({ "Err": "there is no nothing" }));
    let refused = client.post(ORDER, r#"{"article":"tea","pieces":"many"}"#).await;
    let text = refused.problem(400, "undecodable", "no");
    assert!(text.contains("pieces: invalid type: string \"many\", expected u64"), "{text}");
    for (path, status, kind) in [
        ("/v1/ask/paris/shop/shop.Unknown", 404, "no-such-message"),
        ("/v1/ask/paris/nobody/shop.Order", 404, "no-such-name"),
        ("/v1/ask/paris/shop/shop.Order?version=2", 409, "version-mismatch"),
        ("/v1/ask/paris/counter/shop.Order", 404, "no-such-message"),
    ] {
        let refused = client.post(path, r#"{"article":"tea"}"#).await;
        refused.problem(status, kind, "no");
    }
    let died = client.post("/v1/ask/paris/shop/shop.Fire", "{}").await;
    died.problem(500, "died", "unknown");
    assert_eq!(world.shop.orders(), [""; 0]);
}

#[tokio::test]
async fn a_server_that_stops_lets_open_requests_end_and_takes_no_more() {
    let World { serving, shop, token, lyon, paris, .. } = World::new().await;
    let client = Client { address: serving.address(), token: Some(token) };
    let wait = "/v1/ask/paris/shop/shop.Wait";
    let mut asks = client.connect().await;
    let headers = ["Content-Type: application/json", "Content-Length: 2"];
    asks.say(client.head("POST", wait, &headers) + "{}").await;
    within(shop.waits.acquire()).await.unwrap().forget();
    let stops = tokio::spawn(serving.stop());
    // Nobody is let in any more; then what is open is answered.
    within(async {
        while tokio::net::TcpStream::connect(client.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    shop.till.add_permits(1);
    let answer = asks.head().await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    within(stops).await.unwrap();
    drop((lyon, paris));
}
