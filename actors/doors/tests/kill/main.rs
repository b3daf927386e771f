//! Either node is killed (SIGKILL) in the middle of each kind of call: its client sees that the
//! connection broke, or has a clear answer, and nothing that was stored is lost or doubled.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod process;
#[path = "../support/mod.rs"]
mod support;
mod town;

use std::fs;

use futures_util::future::join_all;
use support::http::{Answer, Client, Incoming};
use support::within;
use tokio::io::AsyncReadExt;

use crate::town::{Call, LARGE, Town, content};

const JSON: &str = "Content-Type: application/json";
const EVENTS: &str = "Accept: text/event-stream";
/// As long as anybody may wait: what is held here is held until somebody dies.
const WAIT: &str = "Prefer: wait=300";
const WAIT_PATH: &str = "/v1/ask/paris/shop/shop.Wait";
const ORDER: &str = "paris/shop/shop.Order";
/// The end of a body that comes in pieces.
const END: &str = "\r\n0\r\n\r\n";
const COUNT: &str = "/v1/download/paris/counter/shop.Count";
const PUT: (&str, &str) = ("PUT", "/v1/send/paris/files/put");
const TUS: [&str; 2] = ["Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream"];
/// Lengths of contents that come in parts, and of what comes before somebody dies.
const WHOLE: usize = 500_000;
const DURABLE: usize = 200_000;
const HALF: usize = 300_000;
/// The bytes of the large content that its reader has by then.
const READ: usize = 1 << 20;

fn order(article: &str) -> String {
    format!(r#"{{"article":"{article}"}}"#)
}

/// Requests that a node is in the middle of.
struct Middle {
    /// An order that its actor has begun with, and a stream of its states.
    slow: Incoming,
    states: Incoming,
    /// Asks, tells and deliveries of which half has come.
    halves: Vec<(&'static str, Incoming)>,
    /// Contents of which half has come, and the path of an upload.
    put: Incoming,
    patch: Incoming,
    upload: String,
    /// Content that is read, and its path.
    large: Incoming,
    large_path: String,
    /// Calls that an actor has begun with.
    ask: Incoming,
    lines: Incoming,
    events: Incoming,
    socket: Incoming,
    calls: Vec<(&'static str, Call)>,
}

impl Middle {
    async fn begin(town: &mut Town) -> Self {
        let client = town.client();
        let large_path = town.large_arrives().await;
        let posted = async |path: &str, headers: &[&str], body: &str| {
            let mut incoming = client.connect().await;
            let length = format!("Content-Length: {}", body.len());
            let headers = [headers, &[JSON, &length]].concat();
            incoming.say(client.head("POST", path, &headers)).await;
            incoming.say(body).await;
            incoming
        };
        let key = "Idempotency-Key: slow";
        let slow = posted(&format!("/v1/deliver/{ORDER}"), &[WAIT, key], &order("slow")).await;
        town.paris().hear("ordered").await;
        let (_, mut states) = client.open("GET", "/v1/deliveries/slow", &[EVENTS], b"").await;
        states.until("id: 2\n").await;
        let ask = posted(WAIT_PATH, &[WAIT], "{}").await;
        town.paris().hear("waits").await;
        let calls = Self::calls(town).await;
        let length = format!("Upload-Length: {WHOLE}");
        let named = "Upload-Metadata: filename dHVz";
        let headers = [TUS[0], named, &length];
        let begun = client.ask("POST", "/v1/uploads/paris/files", &headers, b"").await;
        let upload = begun.header("location").to_owned();
        let part = &content(WHOLE)[..DURABLE];
        let headers = [&TUS[..], &["Upload-Offset: 0"]].concat();
        let durable = client.ask("PATCH", &upload, &headers, part.as_bytes()).await;
        assert_eq!(durable.header("upload-offset"), DURABLE.to_string(), "{durable:?}");
        let socket = socket(&client).await;
        town.paris().hear("counts").await;
        // What a door waits for is begun last, and at once: a client that reads nothing, or says
        // nothing, is one that has gone.
        let (_, mut lines) = client.open("POST", COUNT, &[JSON], b"{}").await;
        lines.until("1\n").await;
        let (_, mut events) = client.open("POST", COUNT, &[JSON, EVENTS], b"{}").await;
        events.until("data: 1\n").await;
        for _ in 0..2 {
            town.paris().hear("counts").await;
        }
        let (_, large) = client.open("GET", &large_path, &[], b"").await;
        let (halves, put, patch) = Self::halves(town, &upload).await;
        Self {
            slow,
            states,
            halves,
            put,
            patch,
            upload,
            large,
            large_path,
            ask,
            lines,
            events,
            socket,
            calls,
        }
    }

    async fn calls(town: &mut Town) -> Vec<(&'static str, Call)> {
        let mut calls = vec![("Wait", town.call("Wait", "{}", false).await)];
        town.paris().hear("waits").await;
        for (method, request, goes_on) in [
            ("Download", "{}", false),
            ("Open", r#"{"to":1}"#, true),
            ("Upload", r#"{"to":0}"#, true),
        ] {
            let mut call = town.call(method, request, goes_on).await;
            if method != "Upload" {
                call.answers().await;
            }
            calls.push((method, call));
        }
        for _ in 0..3 {
            town.paris().hear("counts").await;
        }
        calls
    }

    async fn halves(
        town: &Town,
        upload: &str,
    ) -> (Vec<(&'static str, Incoming)>, Incoming, Incoming) {
        let halves = ["ask", "tell", "deliver"].map(async |way| {
            let (path, order) = (format!("/v1/{way}/{ORDER}"), order(way));
            let headers = [JSON, "Idempotency-Key: half", "Prefer: wait=1"];
            let half = (&order[..order.len() / 2], order.len());
            (way, town.half(("POST", &path), &headers, half).await)
        });
        let all = content(WHOLE);
        let put = town.half(PUT, &["Idempotency-Key: put"], (&all[..HALF], WHOLE));
        let offset = format!("Upload-Offset: {DURABLE}");
        let headers = [&TUS[..], &[&offset]].concat();
        let half = (&all[DURABLE..HALF], WHOLE - DURABLE);
        let patch = town.half(("PATCH", upload), &headers, half);
        tokio::join!(join_all(halves), put, patch)
    }
}

/// A WebSocket on which an actor has answered.
async fn socket(client: &Client) -> Incoming {
    let mut socket = client.connect().await;
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    socket.say(client.head("GET", "/v1/open/paris/counter/shop.Count", &upgrade)).await;
    // Masked with zeros.
    socket.say([&b"\x81\x88\0\0\0\0"[..], br#"{"to":1}"#].concat()).await;
    let mut said = Vec::new();
    // A text of one byte, which may have a ping before it.
    while !said.ends_with(b"\x81\x011") {
        said.push(within(socket.socket.read_u8()).await.unwrap());
    }
    assert!(said.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&said));
    socket
}

/// The rest of an answer whose head has come.
async fn finished(mut incoming: Incoming, rest: &str) -> Answer {
    incoming.say(rest).await;
    let head = incoming.head().await;
    let body = incoming.body(&head).await;
    Answer { body, ..head }
}

/// Each content has arrived once, as it was sent.
async fn contents_arrive(town: &Town, upload: &str, put: &str) {
    for place in [put, &upload.replace("uploads", "transfers")] {
        town.state(place, &["delivered", "processed"]).await;
    }
    assert_eq!(town.arrived(), ["put", "tus"]);
    for name in town.arrived() {
        assert!(fs::read_to_string(town.inbox().join(&name)).unwrap() == content(WHOLE), "{name}");
    }
}

#[tokio::test]
async fn the_node_with_the_doors_dies_in_the_middle_of_each_kind_of_call() {
    let mut town = Town::new().await;
    let mut middle = Middle::begin(&mut town).await;
    let large = middle.large.exactly(READ).await;
    town.lyon_dies().await;
    // Nobody is told anything that is not so: a connection broke.
    let broken =
        [("ask", middle.ask), ("slow", middle.slow), ("put", middle.put), ("patch", middle.patch)];
    for (name, incoming) in middle.halves.into_iter().chain(broken) {
        assert_eq!(incoming.rest().await, "", "{name}");
    }
    for (name, incoming) in
        [("lines", middle.lines), ("events", middle.events), ("states", middle.states)]
    {
        let rest = incoming.rest().await;
        let is_ended = rest.ends_with(END) || rest.contains("event: end");
        assert!(!is_ended && !rest.contains("processed"), "{name}");
    }
    let mut frames = Vec::new();
    // Its end, or that it was reset.
    let _ = within(middle.socket.socket.read_to_end(&mut frames)).await;
    assert!(!frames.contains(&0x88), "nobody closed it");
    for (method, call) in middle.calls {
        assert!(call.status().await.is_err(), "{method}");
    }
    // Those who answered hear that nobody waits any more: two asks, three streams by HTTP, three
    // by gRPC.
    for _ in 0..8 {
        town.paris().hear("given-up").await;
    }
    assert_eq!(town.diary(), [["slow"]], "of half a message nothing is handled");

    town.lyon_comes().await;
    let client = town.client();
    let known = client.get("/v1/deliveries/slow").await.json();
    assert!(known["state"] == "stored" || known["state"] == "delivered", "{known}");
    let path = format!("/v1/deliver/{ORDER}");
    let again =
        client.ask("POST", &path, &[JSON, "Idempotency-Key: slow"], order("slow").as_bytes()).await;
    assert_eq!((again.status, &again.json()["id"]), (202, &known["id"]), "{again:?}");
    let resumed = client.open("GET", "/v1/deliveries/slow", &[EVENTS, "Last-Event-ID: 2"], b"");
    let (_, mut states) = resumed.await;
    town.paris().say("open").await;
    town.state("/v1/deliveries/slow", &["processed"]).await;
    let states = states.until(END).await;
    assert!(states.contains("id: 3\n") && !states.contains("id: 2\n"), "{states}");
    client.get("/v1/deliveries/half").await.problem(404, "no-such-delivery", "no");
    let headers = [JSON, WAIT, "Idempotency-Key: half"];
    let half = client.ask("POST", &path, &headers, order("deliver").as_bytes()).await;
    assert_eq!(half.status, 200, "{half:?}");
    assert_eq!(town.diary(), [["slow", "deliver"]]);

    let told = client.ask("HEAD", &middle.upload, &TUS[..1], b"").await;
    let there: usize = told.header("upload-offset").parse().unwrap();
    assert!((DURABLE..=HALF).contains(&there), "{told:?}");
    let offset = format!("Upload-Offset: {there}");
    let headers = [&TUS[..], &[&offset]].concat();
    let rest = &content(WHOLE)[there..];
    let whole = client.ask("PATCH", &middle.upload, &headers, rest.as_bytes()).await;
    assert_eq!(whole.status, 204, "{whole:?}");
    let all = content(WHOLE);
    let put = client.ask(PUT.0, PUT.1, &["Idempotency-Key: put"], all.as_bytes()).await;
    assert!([200, 202].contains(&put.status), "{put:?}");
    contents_arrive(&town, &middle.upload, put.header("location")).await;

    let range = format!("Range: bytes={READ}-");
    let rest = client.ask("GET", &middle.large_path, &[&range], b"").await;
    assert_eq!(rest.status, 206, "{}", rest.head);
    assert!(String::from_utf8(large).unwrap() + &rest.body == content(LARGE));
}

#[tokio::test]
async fn the_node_with_the_actors_dies_in_the_middle_of_each_kind_of_call() {
    let mut town = Town::new().await;
    let middle = Middle::begin(&mut town).await;
    town.paris_dies().await;
    // All that the door waits for comes at once, and is looked at afterwards.
    let halves = middle.halves.into_iter().map(|(way, half)| {
        let order = order(way);
        let rest = order[order.len() / 2..].to_owned();
        (way, tokio::spawn(async move { finished(half, &rest).await }))
    });
    let halves: Vec<_> = halves.collect();
    let all = content(WHOLE);
    let [put, patched] = [middle.put, middle.patch].map(|half| {
        let rest = all[HALF..].to_owned();
        tokio::spawn(async move { finished(half, &rest).await })
    });
    let lines = tokio::spawn(middle.lines.rest());
    let (mut events, mut large, mut states) = (middle.events, middle.large, middle.states);
    let events = tokio::spawn(async move { events.until(END).await });
    let large = tokio::spawn(async move { large.exactly(LARGE).await });
    // What came to an actor and was not answered is told so, and nobody tries it again by himself.
    finished(middle.ask, "").await.problem(502, "link-lost", "unknown");
    let lines = lines.await.unwrap();
    let tail = &lines[lines.len().saturating_sub(400)..];
    assert!(tail.contains("problem:link-lost") && !lines.ends_with(END), "{tail}");
    let events = events.await.unwrap();
    let last = events.rsplit("event: ").next().unwrap();
    assert!(last.starts_with("error\n") && last.contains("problem:link-lost"), "{last}");
    let closed = middle.socket.rest().await;
    assert!(closed.ends_with("link-lost"), "{closed:?}");
    for (method, call) in middle.calls {
        let status = call.status().await.unwrap();
        assert_eq!(status, ("2".into(), "unknown".into()), "{method}");
    }
    // What becomes whole now did not reach anybody, or is stored.
    for (way, half) in halves {
        let answer = half.await.unwrap();
        match way {
            "deliver" => {
                assert_eq!((answer.status, answer.json()["state"].as_str()), (202, Some("stored")))
            }
            _ => drop(answer.problem(503, "unreachable", "no")),
        }
    }
    let (put, patched) = (put.await.unwrap(), patched.await.unwrap());
    assert_eq!((put.status, patched.status), (202, 204), "{put:?} {patched:?}");
    assert!(large.await.unwrap() == content(LARGE).into_bytes());

    town.paris_comes().await;
    assert_eq!(town.paris().hear("ordered").await["article"], "slow");
    town.paris().say("open").await;
    let slow = finished(middle.slow, "").await;
    assert_eq!((slow.status, &slow.json()["state"]), (200, &"processed".into()), "{slow:?}");
    let states = states.until(END).await;
    assert!(states.contains("event: processed"), "{states}");
    town.state("/v1/deliveries/half", &["processed"]).await;
    assert_eq!(town.diary(), [vec!["slow"], vec!["slow", "deliver"]]);
    contents_arrive(&town, &middle.upload, put.header("location")).await;
}
