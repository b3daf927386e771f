//! The OpenAPI document against what is served, and against the documentation.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::World;
use support::http::Client;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../framework/docs/doors.md");

async fn document(client: &Client) -> Value {
    let answer = client.get("/openapi.json").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Each path with its method.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys();
        all.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    all
}

#[tokio::test]
async fn what_is_told_is_served_and_what_the_documentation_has_is_told() {
    let world = World::new().await;
    let client = world.client();
    let told = document(&client).await;
    assert_eq!(told["openapi"], "3.1.0");
    for (method, path) in operations(&told) {
        let asked = path.replace("{peer}", "paris").replace(['{', '}'], "x");
        let answer = client.ask(&method, &asked, &["Content-Type: application/json"], b"").await;
        let is_told = answer.status >= 400 && method != "HEAD";
        let kind = if !is_told { json!("") } else { answer.json()["type"].clone() };
        assert!(answer.status != 405, "{method} {asked}: {answer:?}");
        assert_ne!(kind, "urn:estafette:problem:no-such-path", "{method} {asked}");
    }
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<_> = rows
        .filter_map(|(request, _)| request.split_once(' '))
        .filter(|(method, _)| ["GET", "POST", "PUT", "HEAD", "PATCH", "DELETE"].contains(method))
        .map(|(method, path)| (method.to_owned(), path.replace("{type}", "{message}")))
        .collect();
    let general = |(_, path): &(String, String)| path.contains('{') || path == "/openapi.json";
    let own: BTreeSet<_> = operations(&told).into_iter().filter(general).collect();
    assert_eq!(own, documented);
}

#[tokio::test]
async fn messages_are_told_with_their_schemas_as_far_as_the_token_leads() {
    let mut world = World::new().await;
    let told = document(&world.client()).await;
    let ask = &told["paths"]["/v1/ask/paris/shop/shop.Order"]["post"];
    let schema = &ask["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(schema["properties"]["article"], json!({ "type": "string" }), "{ask}");
    assert_eq!(schema["$id"], "urn:estafette:schema:paris/shop/shop.Order/1/message");
    let ways = |name: &str| {
        let paths = operations(&told).into_iter();
        let of = paths.filter_map(|(_, path)| {
            let way = path.strip_prefix("/v1/")?.strip_suffix(name)?;
            Some(way.to_owned())
        });
        of.collect::<Vec<_>>()
    };
    assert_eq!(ways("/paris/shop/shop.Order"), ["ask", "deliver", "tell"]);
    assert_eq!(ways("/paris/counter/shop.Count"), ["ask", "download"]);
    let till = world.client().with(Some(&world.token("other", "paris/till", None)));
    let paths = operations(&document(&till).await);
    assert!(paths.iter().all(|(_, path)| !path.contains("shop.")), "{paths:?}");
    assert_eq!(told["x-estafette-absent"], json!([]));
    world.paris_goes().await;
    assert_eq!(document(&world.client()).await["x-estafette-absent"], json!(["paris"]));
    let nobody = world.client().with(None);
    nobody.get("/openapi.json").await.problem(401, "no-token", "no");
}
