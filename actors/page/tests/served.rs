//! Requests over a real socket, whose answers are checked against the OpenAPI document.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use estafette::node::{Happening, Snapshot};
use estafette_page::Page;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use support::{Client, node};

/// The file that is served.
const FILE: &str = "assets/openapi.json";

/// The document: what there is to say of each path, and the schemas that the types have.
fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    generator.inline_subschemas = false;
    let mut generator = generator.into_generator();
    generator.subschema_for::<Snapshot>();
    generator.subschema_for::<Happening>();
    let mut schemas: Map<String, Value> = generator.take_definitions(true);
    let text = |description: &str| json!({ "type": "string", "description": description });
    let boolean = json!({ "type": "boolean" });
    let object = |properties: Value| {
        let required: Vec<_> = properties.as_object().unwrap().keys().collect();
        json!({ "type": "object", "required": required, "properties": properties })
    };
    schemas.insert("Error".into(), object(json!({ "error": text("For a person.") })));
    schemas.insert("Health".into(), object(json!({ "alive": boolean })));
    let why = json!({ "type": "array", "items": { "type": "string" } });
    schemas.insert("Readiness".into(), object(json!({ "ready": boolean, "why": why })));
    let of = |kind: &str, schema: Value| json!({ "content": { kind: { "schema": schema } } });
    let named = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let get = |summary: &str, answers: Vec<(&str, &str, Value)>, open: bool| {
        let mut responses = Map::new();
        for (status, description, mut answer) in answers {
            answer["description"] = description.into();
            responses.insert(status.into(), answer);
        }
        let error = |description: &str| {
            let mut answer = of("application/json", named("Error"));
            answer["description"] = description.into();
            answer
        };
        responses.insert("403".into(), error("A page of another origin asks."));
        responses.insert("421".into(), error("The host is not known here."));
        let mut operation = json!({ "summary": summary, "responses": responses });
        if !open {
            operation["responses"]["401"] = error("A token is wanted, or another one.");
            operation["security"] = json!([{}, { "bearer": [] }, { "basic": [] }]);
        }
        json!({ "get": operation })
    };
    let plain = |kind: &str| of(kind, json!({ "type": "string" }));
    let json_of = |name: &str| of("application/json", named(name));
    let ok = |kind: &str| vec![("200", "It.", plain(kind))];
    let mut events = get(
        "Server-sent events: `snapshot` (a Snapshot without happenings) at once and after each \
         change, `happening` (a Happening) with an id for each",
        vec![
            ("200", "Events, without end.", plain("text/event-stream")),
            ("503", "As many streams are open as may be.", json_of("Error")),
        ],
        false,
    );
    events["get"]["parameters"] = json!([{
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The id of the last happening that was heard: only later ones are told.",
        "schema": { "type": "string" },
    }]);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "The page of an estafette node",
            "version": "1",
            "description": "Nothing is changed by any of it.",
        },
        "paths": {
            "/": get("The page", ok("text/html"), false),
            "/page.css": get("Its style", ok("text/css"), false),
            "/page.js": get("Its script", ok("text/javascript"), false),
            "/topology.js": get("Its script for topologies", ok("text/javascript"), false),
            "/icon.svg": get("Its icon", ok("image/svg+xml"), false),
            "/healthz": get("Whether the node's thread answers", vec![
                ("200", "It does.", json_of("Health")),
                ("503", "It does not.", json_of("Health")),
            ], true),
            "/readyz": get("Whether the node can do its work", vec![
                ("200", "It can.", json_of("Readiness")),
                ("503", "It can't, for these reasons.", json_of("Readiness")),
            ], false),
            "/metrics": get("Metrics", ok("application/openmetrics-text"), false),
            "/api/v1/snapshot": get("What the node is, and does", vec![
                ("200", "A snapshot.", json_of("Snapshot")),
            ], false),
            "/api/v1/events": events,
            "/api/v1/topology": get("What goes by the routes of its topology", vec![
                ("200", "That; null if it is run by itself.",
                    of("application/json", json!({ "type": ["object", "null"] }))),
            ], false),
            "/topology.svg": get("The drawing of its topology", vec![
                ("200", "It.", plain("image/svg+xml")),
                ("404", "It is run by itself, or too large to be drawn.", json_of("Error")),
            ], false),
            "/topology.css": get("The style of that drawing", vec![
                ("200", "It.", plain("text/css")),
                ("404", "It is run by itself.", json_of("Error")),
            ], false),
            "/api/v1/openapi.json": get("This document", vec![
                ("200", "It.", of("application/json", json!({ "type": "object" }))),
            ], false),
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The token as password, with any name.",
                },
            },
        },
    })
}

/// `ESTAFETTE_WRITE=1 cargo test -p estafette-page --test served` writes the file anew.
#[test]
fn the_document_says_what_the_types_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("ESTAFETTE_WRITE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap();
    assert!(there == text, "{FILE} is old: ESTAFETTE_WRITE=1 writes it anew");
}

#[tokio::test]
async fn each_path_is_answered_as_the_document_says_and_no_other_is() {
    let node = node().await;
    let serving = Page::of(&node).serve("127.0.0.1:0").await.unwrap();
    let client = Client::of(&serving);
    let document = client.get("/api/v1/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        let answer = client.head_of(path).await;
        let responses = &item["get"]["responses"];
        let said = &responses[answer.status.to_string()]["content"];
        let kind = answer.header("content-type").split(';').next().unwrap().to_owned();
        assert!(said.get(&kind).is_some(), "{path}: {} {kind} is not in {said}", answer.status);
        for (header, value) in [
            ("content-security-policy", "default-src 'self'"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-"),
        ] {
            assert!(answer.header(header).starts_with(value), "{path}: {header}");
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            assert_eq!(client.ask(method, path, &[]).await.status, 405, "{method} {path}");
        }
    }
    for path in ["/nothing", "/api/v1/", "/assets/page.js", "/../Cargo.toml", "//healthz"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_snapshot_that_is_served_is_what_its_schema_says() {
    let node = node().await;
    let serving = Page::of(&node).serve("127.0.0.1:0").await.unwrap();
    let client = Client::of(&serving);
    let document = client.get("/api/v1/openapi.json").await.json();
    let snapshot = client.get("/api/v1/snapshot").await.json();
    let schemas = &document["components"]["schemas"];
    check("Snapshot", &snapshot, &schemas["Snapshot"], schemas);
}

/// Compares the names of fields, as deep as there are values.
fn check(at: &str, value: &Value, schema: &Value, schemas: &Value) {
    let referred = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    if let Some(name) = referred.and_then(|path| path.rsplit('/').next()) {
        return check(at, value, &schemas[name], schemas);
    }
    match value {
        Value::Object(fields) => {
            let names = |map: &Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
            let of = schema["anyOf"].as_array().and_then(|choices| choices.first());
            if let Some(choice) = of {
                return check(at, value, choice, schemas);
            }
            let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("{at}"));
            assert_eq!(names(fields), names(properties), "{at}");
            fields.iter().for_each(|(name, value)| {
                check(&format!("{at}.{name}"), value, &properties[name], schemas);
            });
        }
        Value::Array(values) => values.iter().for_each(|value| {
            check(&format!("{at}[]"), value, &schema["items"], schemas);
        }),
        _ => {}
    }
}

#[tokio::test]
async fn a_host_has_it_below_a_path_of_its_own_server() {
    let node = node().await;
    let app = axum::Router::new()
        .route("/", axum::routing::get(async || "the host's own"))
        .nest_service("/look", Page::of(&node).router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client(listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(client.get("/").await.body, "the host's own");
    let page = client.get("/look/").await;
    assert_eq!(page.status, 200);
    for part in page.body.split('"').filter(|text| text.ends_with(".css") || text.ends_with(".js"))
    {
        assert_eq!(client.get(&format!("/look/{part}")).await.status, 200, "{part}");
    }
    assert_eq!(client.get("/look/api/v1/snapshot").await.json()["node"]["name"], "paris");
    let foreign = client.ask("GET", "/look/metrics", &["Host: evil.example"]).await;
    assert_eq!(foreign.status, 421);
}

#[test]
fn what_a_browser_loads_is_small_names_nothing_elsewhere_and_makes_no_markup_of_text() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let mut size = 0;
    for name in ["page.html", "page.css", "page.js", "icon.svg"] {
        let text = std::fs::read_to_string(assets.join(name)).unwrap();
        size += text.len();
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for bad in [
            "http:",
            "https:",
            "//cdn",
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "style=\"",
            "onclick",
        ] {
            assert!(!text.contains(bad), "{name} has {bad}");
        }
    }
    assert!(size <= 300 << 10, "{size} bytes");
}
