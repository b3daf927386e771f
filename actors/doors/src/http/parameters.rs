//! The queries and headers that requests take, as OpenAPI has them.

use serde_json::{Map, Value, json};

/// The version of a type, the wait for an answer and the trace, as each message has them.
const MESSAGE: &[&str] = &["version", "Prefer", "traceparent", "tracestate"];

/// Adds to each operation what its request takes besides the parts of its path.
pub(super) fn add(paths: &mut Map<String, Value>) {
    for (path, methods) in paths {
        let Some(methods) = methods.as_object_mut() else { continue };
        for (method, operation) in methods {
            if let Some(known) = operation["parameters"].as_array_mut() {
                known.extend(of(method, path).into_iter().map(|name| parameter(method, name)));
            }
        }
    }
}

/// The names of those of an operation.
fn of(method: &str, path: &str) -> Vec<&'static str> {
    let mut parts = path.trim_start_matches("/v1/").split('/');
    let (kind, parts) = (parts.next().unwrap_or_default(), parts.count());
    let keyed = ["Prefer", "Idempotency-Key"];
    let digests = ["Content-Digest", "Repr-Digest"];
    let tus = ["Tus-Resumable", "Upload-Length", "Upload-Checksum"];
    let mut names = match (method, kind) {
        ("post", "ask" | "tell" | "download") | ("get", "open") => MESSAGE.to_vec(),
        ("post", "deliver") => [MESSAGE, &keyed[1..]].concat(),
        ("post", "events") => {
            let event = ["ce-specversion", "ce-id", "ce-source", "ce-type"];
            [&["way"], MESSAGE, &event, &["ce-traceparent", "ce-tracestate"]].concat()
        }
        ("put", "send") => [&keyed[..], &["If-None-Match"], &digests].concat(),
        ("get", "deliveries" | "transfers") => vec!["Prefer", "Last-Event-ID"],
        ("post", "uploads") => {
            [&tus[..], &digests[..1], &["Upload-Defer-Length", "Upload-Metadata"]].concat()
        }
        ("patch", "uploads") => [&tus[..], &digests[..1], &["Upload-Offset"]].concat(),
        ("head" | "delete", "uploads") => tus[..1].to_vec(),
        ("get", "inbox") if parts == 1 => vec!["after", "limit", "processed"],
        ("get", "inbox") => vec!["from", "Range", "If-Range", "If-Match", "If-None-Match"],
        ("post", "inbox") => vec!["from"],
        _ => Vec::new(),
    };
    // A path of one message says its version by itself.
    if kind != "events" && !path.contains("{message}") {
        names.retain(|name| *name != "version");
    }
    names
}

/// One of them, with what its value is.
fn parameter(method: &str, name: &str) -> Value {
    let (count, one) = (json!({ "type": "integer", "minimum": 0 }), json!(1));
    let (place, schema) = match name {
        "version" => ("query", json!({ "type": "integer", "minimum": 0, "default": 1 })),
        "way" => ("query", json!({ "enum": ["deliver", "tell"], "default": "deliver" })),
        "limit" => ("query", json!({ "type": "integer", "minimum": 1, "maximum": 1000 })),
        "processed" => ("query", json!({ "enum": ["yes", "no"] })),
        "after" | "from" => ("query", json!({ "type": "string" })),
        "ce-specversion" => ("header", json!({ "const": "1.0" })),
        "Prefer" => ("header", json!({ "type": "string", "examples": ["wait=60"] })),
        "Idempotency-Key" => {
            ("header", json!({ "type": "string", "minLength": 1, "maxLength": 255 }))
        }
        "Tus-Resumable" => ("header", json!({ "const": "1.0.0" })),
        "Upload-Defer-Length" => ("header", json!({ "const": one })),
        "Upload-Length" | "Upload-Offset" | "Last-Event-ID" => ("header", count),
        _ => ("header", json!({ "type": "string" })),
    };
    let mut parameter = json!({ "name": name, "in": place, "schema": schema });
    if name == "Tus-Resumable" || (method == "patch" && name == "Upload-Offset") {
        parameter["required"] = true.into();
    }
    parameter
}
