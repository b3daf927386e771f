//! `--http`: what a node does is seen from outside, by those who may.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use support::http::get;
use support::{Ran, World, text};

#[test]
fn a_node_says_where_its_page_is_and_tells_there_what_it_has_done() {
    let world = World::new();
    let (paris, ticket) = world.paris_with(&["--http", "127.0.0.1:0"]);
    let url = text(&paris.wait_for("page"), "url");
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with('/'), "{url}");
    let before: Value = serde_json::from_str(&get(&url, "api/v1/snapshot").expect(200)).unwrap();
    assert_eq!(before["node"]["name"], "paris");
    assert_eq!((&before["version"], &before["totals"]["delivered_in"]), (&1.into(), &0.into()));
    let file = world.file("letter", 300_000);
    let sent =
        world.run("lyon", ["send".as_ref(), file.as_os_str(), text(&ticket, "ticket").as_ref()]);
    assert_eq!(sent.code, 0, "{:?}", sent.events);
    paris.wait_for("delivered");
    let after: Value = serde_json::from_str(&get(&url, "api/v1/snapshot").expect(200)).unwrap();
    assert_eq!(after["totals"]["delivered_in"], 1);
    assert_eq!(after["totals"]["delivered_in_bytes"], 300_000);
    let told = after["happenings"].as_array().unwrap();
    assert!(told.iter().any(|told| told["kind"] == "delivered" && told["severity"] == "good"));
    let metrics = get(&url, "metrics").expect(200);
    let line = "estafette_delivered_total{direction=\"incoming\"} 1";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    assert_eq!(get(&url, "healthz").expect(200), r#"{"alive":true}"#);
    assert_eq!(get(&url, "readyz").expect(200), r#"{"ready":true,"why":[]}"#);
    assert_eq!(paris.terminate(), 0);
}

#[test]
fn a_node_is_ready_while_it_is_linked_with_those_it_is_to_be_linked_with() {
    let world = World::new();
    let (paris, ticket) = world.paris();
    let (id, address) = (text(&ticket, "peer"), text(&ticket, "addr"));
    let trusted = ["trust", "add", &*id, "--name", "paris", "--addr", &*address];
    assert_eq!(world.run("lyon", trusted).code, 0);
    let lyon_id = text(world.run("lyon", ["id"]).event("id"), "peer");
    assert_eq!(world.run("paris", ["trust", "add", &*lyon_id, "--name", "lyon"]).code, 0);
    let lyon = world.lyon_with(&["--http", "127.0.0.1:0", "--connect", "paris"]);
    let url = text(&lyon.wait_for("page"), "url");
    while get(&url, "readyz").status != 200 {}
    paris.kill();
    let why = loop {
        let answer = get(&url, "readyz");
        if answer.status == 503 {
            break answer.body;
        }
    };
    assert!(why.contains("is not up"), "{why}");
    assert_eq!(get(&url, "healthz").status, 200, "it lives all the same");
}

#[test]
fn a_host_that_would_never_match_is_refused_at_the_start_and_by_a_check() {
    let world = World::new();
    for check in [&[][..], &["--check"]] {
        let given = ["node", "--http", "127.0.0.1:0", "--http-host", "node.example:7480"];
        let ran = Ran::from(world.command("lyon").args(given).args(check).output().unwrap());
        assert_eq!(ran.code, 2, "{:?}", ran.events);
        let error = ran.event("error").to_string();
        assert!(error.contains("--http-host node.example\""), "{error}");
    }
}

#[test]
fn a_page_for_others_needs_a_token_that_nobody_else_can_read() {
    let world = World::new();
    let node = |arguments: &[&str]| {
        Ran::from(world.command("lyon").arg("node").args(arguments).output().unwrap())
    };
    let ran = node(&["--http", "0.0.0.0:0"]);
    assert_eq!(ran.code, 2, "{:?}", ran.events);
    let error = ran.event("error");
    assert!(text(error, "message").contains("a token is needed"), "{error}");
    let token = world.path("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    fs::set_permissions(&token, Permissions::from_mode(0o644)).unwrap();
    let given = ["--http", "0.0.0.0:0", "--http-token-file", token.to_str().unwrap()];
    let ran = node(&given);
    assert_eq!(ran.code, 2, "{:?}", ran.events);
    assert!(text(ran.event("error"), "message").contains("chmod 600"), "{:?}", ran.events);
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let looked = node(&["--check", "--http", "0.0.0.0:0"]);
    assert_eq!(looked.code, 2, "a check sees what a start sees");
    assert_eq!(node(&[&["--check"], &given[..]].concat()).code, 0);
    let lyon = world.lyon_with(&given);
    let url = text(&lyon.wait_for("page"), "url").replace("0.0.0.0", "127.0.0.1");
    for path in ["", "metrics", "api/v1/snapshot", "api/v1/events", "readyz", "page.js"] {
        assert_eq!(get(&url, path).status, 401, "{path}");
        if path != "api/v1/events" {
            let token = "Authorization: Bearer 0123456789abcdef";
            assert_eq!(support::http::get_with(&url, path, &[token]).status, 200, "{path}");
        }
    }
    assert_eq!(get(&url, "healthz").status, 200, "whoever restarts it needs no token");
    assert_eq!(lyon.terminate(), 0);
}
