//! `GET /openapi.json`: what this door takes, for who asks: its own paths, and one for each message
//! that the token leads to, with its schema.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::Version;
use axum::response::Response;
use estafette::remote::{Description, Handled, Taken};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::deliver::escaped;
use super::problem::Problem;
use super::{Seat, answer, parameters};
use crate::tokens::Pass;

/// The most peers that are asked what they take.
const PEERS_MOST: usize = 64;
/// The most messages that are told of.
const MESSAGES_MOST: usize = 2_000;
/// The longest that a peer may take for its answer; one that is away is named instead.
const WITHIN: Duration = Duration::from_secs(5);

/// The ways of a message, and whether a schema of its answer is that of what is answered.
const WAYS: [(&str, &str); 4] = [
    ("ask", "Ask, and wait for the answer"),
    ("tell", "Send, without an answer"),
    ("deliver", "Store, and deliver once, even to a node that is away"),
    ("download", "Ask, and take answers as they come"),
];

/// The document, in the words of OpenAPI 3.1.
pub(crate) async fn openapi(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    version: Version,
) -> Result<Response, Problem> {
    let _place = seat.stream(&pass)?;
    let node = seat.access.node();
    let known = node.trust().list().into_iter();
    let known = known.filter(|(id, peer)| pass.leads_to_some(&[&peer.name, &id.to_string()]));
    let asked = known.take(PEERS_MOST).map(|(id, peer)| async move {
        let asked = id.to_string();
        let told = tokio::time::timeout(WITHIN, node.describe(&asked)).await;
        (id, peer.name, told.ok().and_then(Result::ok))
    });
    let (mut paths, mut absent, mut left) = (own_paths(), Vec::new(), MESSAGES_MOST);
    for (id, peer, told) in join_all(asked).await {
        match told {
            Some(told) => {
                let leads =
                    |name: &str| seat.access.leads_to(&pass, &[&peer, &id.to_string()], name);
                typed_paths(&peer, &told, leads, &mut left, &mut paths);
            }
            None => absent.push(peer),
        }
    }
    parameters::add(&mut paths);
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "A door of an estafette node",
            "version": "1",
            "description": "Actors and inboxes of other nodes, as far as this token leads.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
        },
        // Peers that did not answer: what they take is not in here.
        "x-estafette-absent": absent,
    });
    answer::json(&seat.answers, &pass.name, version, document.to_string(), Handled::No)
}

/// The paths that any token has.
fn own_paths() -> Map<String, Value> {
    let mut paths = Map::new();
    let actor = ["peer", "name", "message"];
    let any = json!({ "description": "What its type says." });
    for (way, summary) in WAYS {
        let operation = operation(way, summary, &actor, &any, &any);
        paths.insert(format!("/v1/{way}/{{peer}}/{{name}}/{{message}}"), operation);
    }
    paths.insert("/v1/events/{peer}/{name}".into(), event_path());
    let text = json!({ "type": "string" });
    let get = |summary: &str, parts: &[&str], answer: Value| {
        let operation = described(summary, parts, None, answer);
        json!({ "get": operation })
    };
    let states = |of: &str| {
        json!({ "200": {
            "description": "Its state.",
            "content": {
                "application/json": { "schema": named(of) },
                "text/event-stream": { "schema": text },
            },
        }, "204": { "description": "The client of events has heard the last state." } })
    };
    paths.insert(
        "/v1/deliveries/{key}".into(),
        get("What has become of a message that was delivered", &["key"], states("Delivery")),
    );
    let content = json!({ "application/octet-stream": {} });
    let put = described(
        "Send content to an inbox, even of a node that is away",
        &["peer", "inbox", "file"],
        Some(content),
        json!({
            "202": json_of("It is stored.", named("Transfer")),
            "200": json_of("It is there.", named("Transfer")),
        }),
    );
    paths.insert("/v1/send/{peer}/{inbox}/{file}".into(), json!({ "put": put }));
    paths.insert(
        "/v1/transfers/{id}".into(),
        get("What has become of content", &["id"], states("Transfer")),
    );
    paths.extend(upload_paths());
    paths.extend(inbox_paths());
    let socket =
        json!({ "101": { "description": "A WebSocket: each frame of text is an item, as JSON." } });
    paths.insert(
        "/v1/open/{peer}/{name}/{message}".into(),
        get("Send a stream of messages, and take a stream of answers", &actor, socket),
    );
    let own = json!({ "200": json_of("It.", json!({ "type": "object" })) });
    paths.insert("/openapi.json".into(), get("This document", &[], own));
    paths
}

/// That of events of CloudEvents, which are headers and a body, or a body alone.
fn event_path() -> Value {
    let event = json!({
        "application/cloudevents+json": { "schema": named("Event") },
        "application/json": { "schema": { "description": "What its type says." } },
    });
    let answers = json!({
        "202": json_of("It is stored; with way=tell, on its way, and no body.", named("Delivery")),
        "200": json_of("It was handled.", named("Delivery")),
    });
    let summary = "Take an event of CloudEvents 1.0 as a message, which is delivered once";
    let mut taken = described(summary, &["peer", "name"], Some(event), answers);
    taken["requestBody"]["required"] = false.into();
    json!({ "post": taken })
}

/// Those of uploads by tus, whose answers are headers.
fn upload_paths() -> [(String, Value); 2] {
    let part = || Some(json!({ "application/offset+octet-stream": {} }));
    let told = |status: &str, text: &str| json!({ status: { "description": text } });
    let begun = told("201", "It is begun: Location is where it is.");
    let so_far = "Upload-Offset is how much is durable.";
    let begin = described("Begin an upload by tus 1.0", &["peer", "inbox"], part(), begun);
    let look = described("How far an upload is", &["id"], None, told("200", so_far));
    let append = described("Append to an upload", &["id"], part(), told("204", so_far));
    let remove = described("Give an upload up", &["id"], None, told("204", "It is gone."));
    let mut begin = json!({ "post": begin });
    begin["post"]["requestBody"]["required"] = false.into();
    [
        ("/v1/uploads/{peer}/{inbox}".into(), begin),
        ("/v1/uploads/{id}".into(), json!({ "head": look, "patch": append, "delete": remove })),
    ]
}

/// Those of what arrived in inboxes of the node itself.
fn inbox_paths() -> [(String, Value); 3] {
    let arrivals = json!({ "200": json_of("A page of them.", named("Arrivals")) });
    let list =
        described("What arrived in an inbox here, the newest first", &["inbox"], None, arrivals);
    let bytes = json!({ "application/octet-stream": {} });
    let content = json!({
        "200": { "description": "All of it.", "content": bytes },
        "206": { "description": "The part that Range says.", "content": bytes },
        "304": { "description": "The client has it, as If-None-Match says." },
    });
    let content = described("The content of an arrival", &["inbox", "id"], None, content);
    let done = json!({ "200": json_of("It is noted.", named("Arrival")) });
    let right = "The application is done with it: a token with read:INBOX and done:INBOX says so";
    let done = described(right, &["inbox", "id"], None, done);
    [
        ("/v1/inbox/{inbox}".into(), json!({ "get": list })),
        ("/v1/inbox/{inbox}/{id}".into(), json!({ "get": content })),
        ("/v1/inbox/{inbox}/{id}/processed".into(), json!({ "post": done })),
    ]
}

/// A path for each message that a peer takes as JSON, and each way of it.
fn typed_paths(
    peer: &str,
    told: &Description,
    leads: impl Fn(&str) -> bool,
    left: &mut usize,
    paths: &mut Map<String, Value>,
) {
    for described in told.names.iter().filter(|described| leads(&described.name)) {
        let as_json = |taken: &&Taken| taken.forms.iter().any(|form| form == "json");
        for taken in described.takes.iter().filter(as_json) {
            let Some(fewer) = left.checked_sub(1) else { return };
            *left = fewer;
            let place = [peer, &described.name, &taken.message].map(escaped).join("/");
            let schema = |text: &Option<String>, what: &str| {
                schema(text.as_deref(), &format!("{place}/{}/{what}", taken.version))
            };
            let (message, answer) =
                (schema(&taken.schema, "message"), schema(&taken.answer_schema, "answer"));
            for (way, summary) in WAYS {
                if !taken.ways.iter().any(|known| known == way) {
                    continue;
                }
                let mut path = format!("/v1/{way}/{place}");
                if taken.version != 1 {
                    path += &format!("?version={}", taken.version);
                }
                let summary = format!("{summary}: {}", taken.message);
                paths.insert(path, operation(way, &summary, &[], &message, &answer));
            }
        }
    }
}

/// A schema as it was told, which refers to parts of itself.
fn schema(text: Option<&str>, place: &str) -> Value {
    let known = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    match known {
        Some(Value::Object(mut schema)) => {
            schema.insert("$id".into(), format!("urn:estafette:schema:{place}").into());
            Value::Object(schema)
        }
        _ => json!({}),
    }
}

fn operation(way: &str, summary: &str, parts: &[&str], message: &Value, answer: &Value) -> Value {
    let answers = match way {
        "ask" => json!({ "200": json_of("The answer.", answer.clone()) }),
        "tell" => json!({ "202": { "description": "It is on its way." } }),
        "deliver" => json!({
            "202": json_of("It is stored.", named("Delivery")),
            "200": json_of("It was handled.", named("Delivery")),
        }),
        _ => json!({ "200": {
            "description": "Answers, one a line or as events.",
            "content": {
                "application/jsonl": { "schema": answer },
                "text/event-stream": { "schema": { "type": "string" } },
            },
        } }),
    };
    let body = json!({ "application/json": { "schema": message } });
    json!({ "post": described(summary, parts, Some(body), answers) })
}

fn described(summary: &str, parts: &[&str], body: Option<Value>, mut answers: Value) -> Value {
    answers["default"] = json!({
        "description": "A problem.",
        "content": { "application/problem+json": { "schema": named("Problem") } },
    });
    let parameters: Vec<_> = parts
        .iter()
        .map(|part| {
            let text = json!({ "type": "string" });
            json!({ "name": part, "in": "path", "required": true, "schema": text })
        })
        .collect();
    let mut operation =
        json!({ "summary": summary, "parameters": parameters, "responses": answers });
    if let Some(content) = body {
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

fn json_of(description: &str, schema: Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn named(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn schemas() -> Value {
    let (text, whole) = (json!({ "type": "string" }), json!({ "type": ["integer", "null"] }));
    let handled = json!({ "enum": ["no", "yes", "unknown"] });
    let object = |properties: Value| json!({ "type": "object", "properties": properties });
    let number = json!({ "type": "integer" });
    let arrival = object(json!({
        "id": text, "from": text, "name": text, "bytes": number, "blake3": text, "files": number,
        "arrived": number, "expires": number, "processed": { "type": "boolean" }, "content": text,
    }));
    let mut event = object(json!({
        "specversion": { "const": "1.0" }, "id": text, "source": text, "type": text,
        "datacontenttype": text, "traceparent": text, "tracestate": text, "data": {},
    }));
    event["required"] = json!(["specversion", "id", "source", "type"]);
    json!({
        "Problem": object(json!({
            "type": text, "title": text, "status": { "type": "integer" },
            "detail": text, "handled": handled,
        })),
        "Delivery": object(json!({
            "key": text, "id": text,
            "state": { "enum": ["stored", "delivered", "processed", "dead"] },
            "why": object(json!({ "type": text, "detail": text, "handled": handled })),
        })),
        "Event": event,
        "Arrival": arrival,
        "Arrivals": object(json!({
            "arrivals": { "type": "array", "items": named("Arrival") },
            "after": { "type": ["string", "null"] },
        })),
        "Transfer": object(json!({
            "id": text, "name": text, "bytes": whole,
            "state": { "enum": ["stored", "relayed", "delivered", "processed", "dead"] },
            "receipt": {
                "type": ["object", "null"],
                "properties": { "bytes": { "type": "integer" }, "blake3": text },
            },
            "why": { "type": ["string", "null"] },
        })),
    })
}
