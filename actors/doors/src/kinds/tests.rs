#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use serde_json::{Value, json};

use super::*;

fn made(kind: &str, settings: Value) -> Result<String, String> {
    let registry = with_kinds(StageRegistry::new());
    let door = registry.door_of(kind, settings).and_then(|door| door.make());
    door.map(|door| door.address().to_owned()).map_err(|error| error.to_string())
}

fn origins(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("https://{number}.example")).collect()
}

#[test]
fn doors_are_made_of_an_address_or_of_a_table_and_nothing_is_passed_over() {
    let address = Ok("127.0.0.1:7480".to_owned());
    assert_eq!(made("http", json!("127.0.0.1:7480")), address);
    let table = json!({ "listen": "127.0.0.1:7480", "connections": 8, "origins": origins(64) });
    assert_eq!(made("http", table), address);
    for (settings, said) in [
        (json!("here"), "HOST:PORT"),
        (json!({}), "missing field `listen`"),
        (json!({ "listen": "a:1", "token": [] }), "unknown field `token`"),
        (json!({ "listen": "a:1", "connections": 0 }), "1 to 65536"),
        (json!({ "listen": "a:1", "read": ["fi*"] }), "read:INBOX"),
        (json!({ "listen": "a:1", "done": ["fi*"] }), "done:INBOX"),
        (json!({ "listen": "a:1", "origins": ["https://a.example/"] }), "https://HOST"),
        (json!({ "listen": "a:1", "origins": origins(65) }), "64 origins"),
        (json!(7), "an address, or a table"),
    ] {
        let why = made("http", settings).unwrap_err();
        assert!(why.contains(said), "{why}");
    }
}

#[cfg(feature = "grpc")]
#[test]
fn methods_of_grpc_are_checked_before_anything_is_opened() {
    let table = |methods: Value| json!({ "listen": "127.0.0.1:1", "methods": methods });
    let method = json!({ "/helloworld.Greeter/SayHello": "download:paris/greeter" });
    assert_eq!(made("grpc", table(method)), Ok("127.0.0.1:1".into()));
    for wrong in [json!({ "SayHello": "ask:paris/greeter" }), json!({ "/a.B/C": "paris" })] {
        assert!(made("grpc", table(wrong)).is_err());
    }
    let why = made("grpc", json!({ "listen": "a:1", "services": { "a.B": "p/q" } }));
    assert!(why.unwrap_err().contains("protos ="));
}

#[cfg(feature = "proto")]
#[test]
fn a_service_leads_to_an_actor_that_takes_json_or_has_the_types_of_the_proto() {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc/shop.proto");
    let prepared = |to: &str| {
        let services = json!({ "shop.Shop": to });
        let settings = json!({ "listen": "127.0.0.1:1", "protos": [proto], "services": services });
        let registry = with_kinds(StageRegistry::new());
        let door = registry.door_of("grpc", settings).and_then(|door| door.make()).unwrap();
        door.prepare()
    };
    assert_eq!(prepared("paris/shop"), Ok(()));
    assert_eq!(prepared("typed:paris/shop"), Ok(()));
    for wrong in ["paris", "typed:paris", "typed:"] {
        let why = prepared(wrong).unwrap_err();
        assert!(why.contains("write peer/name"), "{why}");
    }
}
