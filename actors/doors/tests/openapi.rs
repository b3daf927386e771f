//! The OpenAPI document against what is served, and against the documentation.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

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

/// The queries or headers of an operation, by their names, with their schemas.
fn parameters(told: &Value, path: &str, method: &str, place: &str) -> BTreeMap<String, Value> {
    let all = told["paths"][path][method]["parameters"].as_array().unwrap();
    let of = all.iter().filter(|parameter| parameter["in"] == place);
    of.map(|one| (one["name"].as_str().unwrap().to_owned(), one["schema"].clone())).collect()
}

const EVENTS: &str = "/v1/events/{peer}/{name}";
const JSON: &str = "Content-Type: application/json";

#[tokio::test]
async fn an_event_takes_what_is_told_of_it_and_nothing_else() {
    let world = World::new().await;
    let client = world.client();
    let told = document(&client).await;
    let values = BTreeMap::from([
        ("ce-specversion", "1.0"),
        ("ce-id", "4711"),
        ("ce-source", "/till/7"),
        ("ce-type", "shop.Order"),
        ("ce-traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("ce-tracestate", "rojo=00f067aa0ba902b7"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "rojo=00f067aa0ba902b7"),
        ("Prefer", "wait=60"),
    ]);
    let headers = parameters(&told, EVENTS, "post", "header");
    assert!(headers.keys().eq(values.keys().collect::<BTreeSet<_>>()), "{headers:?}");
    assert_eq!(headers["ce-specversion"]["const"], values["ce-specversion"]);
    let post = async |query: &str, without: &str, specversion: &str| {
        let of = |(name, value): (&&str, &&str)| {
            let value = if *name == "ce-specversion" { specversion } else { value };
            (*name != without).then(|| format!("{name}: {value}"))
        };
        let lines: Vec<_> = values.iter().filter_map(of).chain([JSON.to_owned()]).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let path = format!("/v1/events/paris/shop{query}");
        client.ask("POST", &path, &lines, br#"{"article":"tea"}"#).await
    };
    let taken = post("", "", "1.0").await;
    assert_eq!((taken.status, taken.header("preference-applied")), (200, "wait=60"), "{taken:?}");
    for needed in ["ce-specversion", "ce-id", "ce-source", "ce-type"] {
        assert_eq!(post("", needed, "1.0").await.status, 400, "{needed}");
    }
    assert_eq!(post("", "", "0.3").await.status, 400);
    for left_out in ["ce-traceparent", "ce-tracestate", "traceparent", "tracestate", "Prefer"] {
        assert!([200, 202].contains(&post("", left_out, "1.0").await.status), "{left_out}");
    }
    // Its queries, by their schemas.
    let queries = parameters(&told, EVENTS, "post", "query");
    assert!(queries.keys().eq(["version", "way"]), "{queries:?}");
    for way in queries["way"]["enum"].as_array().unwrap() {
        let way = way.as_str().unwrap();
        let status = post(&format!("?way={way}"), "", "1.0").await.status;
        assert_eq!(status, if way == "tell" { 202 } else { 200 }, "{way}");
    }
    let version = &queries["version"]["default"];
    assert_eq!(post(&format!("?version={version}"), "", "1.0").await.status, 200);
    for wrong in ["way=ask", "version=-1", "version=x"] {
        assert_eq!(post(&format!("?{wrong}"), "", "1.0").await.status, 400, "{wrong}");
    }
    // The same as one document: what it must have is what is told.
    let event = &told["components"]["schemas"]["Event"];
    let whole = json!({
        "specversion": "1.0", "id": "1", "source": "/till/7", "type": "shop.Order",
        "datacontenttype": "application/json", "traceparent": values["traceparent"],
        "tracestate": values["tracestate"], "data": { "article": "tea" },
    });
    let fields =
        |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(fields(&event["properties"]), fields(&whole));
    let structured = ["Content-Type: application/cloudevents+json", "Prefer: wait=60"];
    let post = async |event: &Value| {
        let body = event.to_string();
        client.ask("POST", "/v1/events/paris/shop", &structured, body.as_bytes()).await.status
    };
    assert_eq!(post(&whole).await, 200);
    for field in fields(&whole) {
        let mut less = whole.clone();
        less["id"] = field.clone().into();
        less.as_object_mut().unwrap().remove(&field);
        let is_needed = event["required"].as_array().unwrap().contains(&json!(field));
        // An order without an article is none, which its actor says.
        let is_refused = post(&less).await != 200;
        assert_eq!(is_refused, is_needed || field == "data", "{field}");
    }
}

#[tokio::test]
async fn what_other_requests_are_told_to_take_does_what_it_says() {
    let world = World::new().await;
    let client = world.client();
    let told = document(&client).await;
    // Each wait that is told of is granted.
    let mut paths = BTreeSet::new();
    for (method, path) in operations(&told) {
        let method = method.to_lowercase();
        if parameters(&told, &path, &method, "header").contains_key("Prefer") {
            paths.insert(path);
        }
    }
    let has = |path: &str| paths.contains(path);
    let order = br#"{"article":"tea"}"#;
    let headers = [JSON, "Prefer: wait=60", "Idempotency-Key: k"];
    for way in ["ask", "tell", "deliver"] {
        assert!(has(&format!("/v1/{way}/{{peer}}/{{name}}/{{message}}")), "{way}");
        let path = format!("/v1/{way}/paris/shop/shop.Order?version=1");
        let answer = client.ask("POST", &path, &headers, order).await;
        assert_eq!(answer.header("preference-applied"), "wait=60", "{answer:?}");
        assert!([200, 202].contains(&answer.status), "{answer:?}");
        let other = path.replace("version=1", "version=7");
        let answer = client.ask("POST", &other, &headers[..2], order).await;
        assert!(way == "tell" || answer.status >= 400, "{way}: {answer:?}");
    }
    assert!(has("/v1/deliveries/{key}") && has("/v1/transfers/{id}"));
    let again = client.ask("GET", "/v1/deliveries/k", &headers[1..2], b"").await;
    assert_eq!((again.status, again.header("preference-applied")), (200, "wait=60"));
    let put = "/v1/send/{peer}/{inbox}/{file}";
    let keyed = parameters(&told, put, "put", "header");
    let of_put = ["Content-Digest", "Idempotency-Key", "If-None-Match", "Prefer", "Repr-Digest"];
    assert!(keyed.keys().eq(of_put), "{keyed:?}");
    let put = async || client.ask("PUT", "/v1/send/paris/files/one", &headers[1..], b"1").await;
    let (one, two) = (put().await.json(), put().await.json());
    assert_eq!(one["id"], two["id"]);

    // An upload by what is told alone.
    let of = |path: &str, method: &str| parameters(&told, path, method, "header");
    let (begin, go_on) = ("/v1/uploads/{peer}/{inbox}", "/v1/uploads/{id}");
    let line = |headers: &BTreeMap<String, Value>, name: &str, value: &str| {
        assert!(headers.contains_key(name), "{name}: {headers:?}");
        format!("{name}: {value}")
    };
    let version = of(begin, "post")["Tus-Resumable"]["const"].as_str().unwrap().to_owned();
    let begun = [
        line(&of(begin, "post"), "Tus-Resumable", &version),
        line(&of(begin, "post"), "Upload-Defer-Length", "1"),
        line(&of(begin, "post"), "Upload-Metadata", "filename dHdv"),
    ];
    let lines = begun.each_ref().map(String::as_str);
    let begun = client.ask("POST", "/v1/uploads/paris/files", &lines, b"").await;
    assert_eq!(begun.status, 201, "{begun:?}");
    let part = [
        "Content-Type: application/offset+octet-stream".to_owned(),
        line(&of(go_on, "patch"), "Tus-Resumable", &version),
        line(&of(go_on, "patch"), "Upload-Offset", "0"),
        line(&of(go_on, "patch"), "Upload-Length", "5"),
        line(&of(go_on, "patch"), "Upload-Checksum", "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="),
    ];
    let lines = part.each_ref().map(String::as_str);
    let patched = client.ask("PATCH", begun.header("location"), &lines, b"hello").await;
    assert_eq!((patched.status, patched.header("upload-offset")), (204, "5"), "{patched:?}");
    for method in ["head", "delete"] {
        line(&of(go_on, method), "Tus-Resumable", &version);
    }
}
