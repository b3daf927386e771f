//! Events of CloudEvents, which become messages.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::http::curl;
use support::{World, within};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const PATH: &str = "/v1/events/paris/shop?version=1";
const BINARY: [&str; 5] = [
    "Content-Type: application/json",
    "ce-specversion: 1.0",
    "ce-type: shop.Order",
    "ce-source: /till/%E2%82%AC",
    "ce-id: 4711",
];

#[tokio::test]
async fn curl_sends_an_event_either_way_and_a_second_time_it_is_the_same_message() {
    let world = World::new().await;
    let bearer = format!("Authorization: Bearer {}", world.token);
    let url = world.url(PATH);
    let structured = r#"{"specversion":"1.0","id":"4711","source":"/till/€","type":"shop.Order",
        "subject":"x","datacontenttype":"application/json; charset=utf-8","data":{"article":"tea"}}"#;
    let tea = r#"{"article":"tea"}"#;
    let mut binary = vec!["-H", &bearer, "-H", "Prefer: wait=60", "-d", tea, &url];
    BINARY.iter().for_each(|line| binary.extend(["-H", line]));
    let kind = "Content-Type: application/cloudevents+json; charset=utf-8";
    let structured = ["-H", &bearer, "-H", "Prefer: wait=60", "-d", structured, &url, "-H", kind];
    let (status, first) = curl(&binary).await;
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!((status, &first["state"]), (200, &"processed".into()), "{first}");
    let http_2 = ["--http2-prior-knowledge"];
    let pieces = ["-H", "Transfer-Encoding: chunked"];
    let no_length = ["--http2-prior-knowledge", "-H", "Content-Length:"];
    for mode in [&binary[..], &structured] {
        for how in [&[][..], &http_2, &pieces, &no_length] {
            let (status, again) = curl(&[mode, how].concat()).await;
            assert_eq!((status, &*again), (200, &*first.to_string()), "{how:?}");
        }
    }
    assert_eq!(world.shop.orders(), ["tea"]);
    let place = format!("/v1/deliveries/{}", first["key"].as_str().unwrap());
    assert_eq!(world.client().get(&place).await.json(), first);
    // Other data by the same source and id are another event's.
    let client = world.client();
    let other = client.ask("POST", PATH, &BINARY, br#"{"article":"milk"}"#).await;
    other.problem(422, "conflict", "no");
}

#[tokio::test]
async fn an_event_without_data_is_null_whatever_it_says_of_their_type() {
    let world = World::new().await;
    let client = world.client();
    let kind = ["Content-Type: application/cloudevents+json", "Prefer: wait=60"];
    let mut answers = Vec::new();
    for (id, data) in
        ["", r#","data":null"#, r#","datacontenttype":"application/json""#].iter().enumerate()
    {
        let event = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"x","type":"shop.Order"{data}}}"#
        );
        answers.push(client.ask("POST", PATH, &kind, event.as_bytes()).await);
    }
    let chunked = ["Content-Type: application/json", "Transfer-Encoding: chunked"];
    let bare: &[&str] = &["Content-Length: 0"];
    for (id, kind) in
        [bare, &["Content-Type: text/xml", "Content-Length: 0"], &chunked].into_iter().enumerate()
    {
        let id = format!("ce-id: null-{id}");
        let headers = [&BINARY[1..4], &[&id, "Prefer: wait=60"], kind].concat();
        let mut incoming = client.connect().await;
        incoming.say(client.head("POST", PATH, &headers)).await;
        incoming
            .say(if kind.len() == 2 && kind[1].ends_with("chunked") { "0\r\n\r\n" } else { "" })
            .await;
        let head = incoming.head().await;
        let body = incoming.body(&head).await;
        answers.push(support::http::Answer { body, ..head });
    }
    for answer in answers {
        let told = answer.json();
        assert_eq!(told["state"], "dead", "{answer:?}");
        assert!(told["why"]["detail"].as_str().unwrap().contains("null"), "{answer:?}");
    }
    assert_eq!(world.shop.orders(), [""; 0]);
}

/// A Python with the stock package. `None`, said loudly, where there is none, which
/// `ESTAFETTE_PYTHON` forbids.
fn python() -> Option<PathBuf> {
    let venv = Path::new(HERE).join("target/python/bin/python3");
    let python = if venv.exists() { venv } else { "python3".into() };
    let ran = std::process::Command::new(&python).args(["-c", "import cloudevents.core"]).output();
    if ran.is_ok_and(|ran| ran.status.success()) {
        return Some(python);
    }
    let wanted = "cloudevents: examples/python/requirements.txt";
    assert!(std::env::var_os("ESTAFETTE_PYTHON").is_none(), "Python has no {wanted}");
    eprintln!("LEFT OUT: no Python is here that has {wanted}");
    None
}

#[tokio::test]
async fn the_stock_package_sends_events_either_way() {
    let (world, Some(python)) = (World::new().await, python()) else { return };
    let send = async |kind: &str, data: &str, mode: &str| {
        let (url, source) = (world.url(""), "urn:till:Zo\u{eb} \"7\" 100%");
        let arguments = [&*url, &world.token, "paris/shop", kind, source, "4711", data, mode]
            .map(str::to_owned);
        let program = Path::new(HERE).join("examples/python/event.py");
        let ran = tokio::process::Command::new(&python).arg(program).args(arguments).output();
        let ran = within(ran).await.unwrap();
        (ran.status.success(), String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap())
    };
    let tea = r#"{"article":"tea"}"#;
    let (done, first) = send("shop.Order", tea, "binary").await;
    assert!(done && first.contains(r#""state": "processed""#), "{first}");
    assert_eq!(send("shop.Order", tea, "structured").await, (true, first));
    let (done, told) = send("shop.Order", r#"{"article":"milk"}"#, "binary").await;
    assert!(!done && told.starts_with("conflict: ") && told.contains("(handled: no)"), "{told}");
    assert_eq!(world.shop.orders(), ["tea"]);
}

#[tokio::test]
async fn what_is_no_event_says_what_is_missing_and_nothing_is_sent() {
    let world = World::new().await;
    let client = world.client();
    for missing in 1..BINARY.len() {
        let mut headers = BINARY.to_vec();
        let name = headers.remove(missing).split(':').next().unwrap();
        let answer = client.ask("POST", PATH, &headers, b"{}").await;
        assert!(answer.problem(400, "no-event", "no").contains(name), "{answer:?}");
    }
    let kind = ["Content-Type: application/cloudevents+json"];
    for body in [
        r#"[]"#,
        r#"{"specversion":"1.0","id":"1","source":"x"}"#,
        r#"{"specversion":"0.3","id":"1","source":"x","type":"shop.Order","data":{}}"#,
        r#"{"specversion":"1.0","id":"","source":"x","type":"shop.Order","data":{}}"#,
        r#"{"specversion":"1.0","id":7,"source":"x","type":"shop.Order","data":{}}"#,
        r#"{"specversion":"1.0","id":null,"source":"x","type":"shop.Order","data":{}}"#,
        r#"{"specversion":"1.0","id":"1","source":"x","type":"shop.Order","data_base64":"AA=="}"#,
        r#"{"specversion":"1.0","id":"1","source":"x","type":"shop.Order","datacontenttype":"text/xml","data":"<a/>"}"#,
    ] {
        client.ask("POST", PATH, &kind, body.as_bytes()).await.problem(400, "no-event", "no");
    }
    let long = "x".repeat(1 << 20);
    for field in ["id", "source", "type"] {
        let mut event = serde_json::json!({
            "specversion": "1.0", "id": "1", "source": "x", "type": "shop.Order",
        });
        event[field] = (&*long).into();
        let answer = client.ask("POST", PATH, &kind, event.to_string().as_bytes()).await;
        assert!(answer.problem(400, "no-event", "no").contains(field), "{answer:?}");
    }
    let batch = ["Content-Type: application/cloudevents-batch+json"];
    client.ask("POST", PATH, &batch, b"[]").await.problem(415, "content-type", "no");
    let stranger = client.with(Some(&world.token("other", "paris/till", None)));
    stranger.ask("POST", PATH, &BINARY, b"{}").await.problem(403, "forbidden", "no");
    let told =
        client.ask("POST", "/v1/events/paris/shop?way=tell", &BINARY, br#"{"article":"tea"}"#);
    assert_eq!(told.await.status, 202);
    assert_eq!(world.shop.has(1).await, ["tea"]);
}
