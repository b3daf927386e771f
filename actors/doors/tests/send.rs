//! Content for inboxes of other nodes, by PUT.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::sync::{Arc, Mutex};

use support::held::{Held, Holding};
use support::http::{Incoming, curl};
use support::{World, within};

const FILE: &str = "/v1/send/paris/files/photo.raw";

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * at) >> 7) as u8).collect()
}

#[tokio::test]
async fn curl_puts_a_file_which_arrives_when_its_receiver_comes_back() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, sent) = (folder.path().join("photo.raw"), content(3 << 20));
    std::fs::write(&path, &sent).unwrap();
    world.paris_goes().await;
    let bearer = format!("Authorization: Bearer {}", world.token);
    // curl puts the name of the file behind a slash.
    let url = world.url("/v1/send/paris/files/");
    let (status, body) = curl(&["-H", &bearer, "-T", path.to_str().unwrap(), &url]).await;
    assert_eq!(status, 202, "{body}");
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&told["state"], &told["name"]), (&"stored".into(), &"photo.raw".into()));
    assert_eq!(told["bytes"], 3 << 20);
    // It is the node's now: neither the file nor this life of the node is needed.
    std::fs::remove_file(&path).unwrap();
    world.lyon_restarts().await;
    world.paris_comes().await;
    let place = format!("/v1/transfers/{}", told["id"].as_str().unwrap());
    let client = world.client();
    let over = loop {
        let answer = client.ask("GET", &place, &["Prefer: wait=60"], b"").await;
        if answer.json()["state"] == "delivered" {
            break answer.json();
        }
        assert_eq!((answer.status, &answer.json()["state"]), (200, &"stored".into()), "{answer:?}");
    };
    assert_eq!(over["receipt"]["blake3"], blake3::hash(&sent).to_hex().as_str());
    assert_eq!(world.arrived("photo.raw"), Some(sent));
    // It is nobody else's matter, who may send there, too.
    for to in ["paris/till", "paris/files"] {
        let other = client.with(Some(&world.token(to, to, None)));
        other.get(&place).await.problem(404, "no-such-transfer", "no");
    }
    client.get("/v1/transfers/0").await.problem(404, "no-such-transfer", "no");
}

/// The next event of a stream: its name, its id, and what it tells.
async fn event(stream: &mut Incoming) -> (String, String, serde_json::Value) {
    loop {
        let piece = stream.piece().await;
        let of = |name: &str| piece.lines().find_map(|line| line.strip_prefix(name));
        // Comments say that it is alive.
        if let (Some(name), Some(id), Some(data)) = (of("event: "), of("id: "), of("data: ")) {
            return (name.into(), id.into(), serde_json::from_str(data).unwrap());
        }
        assert!(!piece.is_empty(), "the stream has ended");
    }
}

#[tokio::test]
async fn a_stream_of_receipts_goes_on_where_it_was_over_restarts_of_both_nodes() {
    let mut world = World::new().await;
    world.paris_goes().await;
    let stored = world.client().ask("PUT", FILE, &[], b"0123456789").await;
    let id = stored.json()["id"].as_str().unwrap().to_owned();
    let place = format!("/v1/transfers/{id}");
    let open = async |world: &World, after: &str| {
        let headers = ["Accept: text/event-stream", after];
        let headers = if after.is_empty() { &headers[..1] } else { &headers[..] };
        let (head, stream) = world.client().open("GET", &place, headers, b"").await;
        assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
        stream
    };
    let mut stream = open(&world, "").await;
    let (name, number, told) = event(&mut stream).await;
    assert_eq!((&*name, &*number, &told["receipt"]), ("stored", "1", &serde_json::Value::Null));
    // The client, the door and its node go away, and the content arrives meanwhile.
    drop(stream);
    world.lyon_restarts().await;
    let mut stream = open(&world, "Last-Event-ID: 1").await;
    world.paris_comes().await;
    let (name, number, told) = event(&mut stream).await;
    assert_eq!((&*name, &*number), ("delivered", "3"));
    assert_eq!(told["receipt"]["blake3"], blake3::hash(b"0123456789").to_hex().as_str());
    let paris = world.paris.as_ref().unwrap();
    let (sender, transfer, _) = paris.arrivals().remove(0);
    assert!(paris.processed(sender, transfer).await.unwrap());
    assert_eq!(event(&mut stream).await.0, "processed");
    assert_eq!(stream.piece().await, "", "it is over");
    // Who was away meanwhile is told both.
    let mut late = open(&world, "Last-Event-ID: 1").await;
    assert_eq!(event(&mut late).await.0, "delivered");
    assert_eq!(event(&mut late).await.0, "processed");
    // Who has heard all need not come again, as a client of events does behind every other end.
    let heard = ["Accept: text/event-stream", "Last-Event-ID: 4"];
    assert_eq!(world.client().ask("GET", &place, &heard, b"").await.status, 204);
}

#[tokio::test]
async fn who_heard_that_content_is_dead_hears_that_it_arrives_after_all() {
    let world = World::new().await;
    // It is refused while there is something of that name.
    let taken = world.inbox().join("photo.raw");
    std::fs::write(&taken, "taken").unwrap();
    let stored = world.client().ask("PUT", FILE, &["Prefer: wait=60"], b"0123456789").await;
    assert_eq!((stored.status, &stored.json()["state"]), (409, &"dead".into()), "{stored:?}");
    let told = stored.json()["why"].to_string();
    let folder = world.inbox().display().to_string();
    assert!(told.contains("…/photo.raw exists already") && !told.contains(&folder), "{told}");
    let id = stored.json()["id"].as_str().unwrap().to_owned();
    let place = format!("/v1/transfers/{id}");
    let open = async |after: &str| {
        let headers = ["Accept: text/event-stream", after];
        let (head, stream) = world.client().open("GET", &place, &headers, b"").await;
        assert_eq!(head.status, 200, "{head:?}");
        stream
    };
    let mut stream = open("Last-Event-ID: 1").await;
    let (name, number, told) = event(&mut stream).await;
    assert_eq!((&*name, &*number, &told["state"]), ("dead", "5", &"dead".into()), "{told}");
    assert_eq!(stream.piece().await, "", "there is nothing more now");
    let heard = ["Accept: text/event-stream", "Last-Event-ID: 5"];
    assert_eq!(world.client().ask("GET", &place, &heard, b"").await.status, 204);
    std::fs::remove_file(&taken).unwrap();
    // Until the try that was refused has ended, it says so.
    let again = async {
        while world.lyon.outbox().retry(id.parse().unwrap()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(again).await;
    let mut stream = open("Last-Event-ID: 5").await;
    let (name, number, _) = event(&mut stream).await;
    assert_eq!((&*name, &*number), ("delivered", "3"));
    let paris = world.paris.as_ref().unwrap();
    let (sender, transfer, _) = paris.arrivals().remove(0);
    assert!(paris.processed(sender, transfer).await.unwrap());
    let (name, number, _) = event(&mut stream).await;
    assert_eq!((&*name, &*number), ("processed", "4"));
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing_and_is_never_taken_for_whole() {
    let world = World::new().await;
    let client = world.client();
    let sent = content(1 << 20);
    for framing in ["Content-Length: 2000000", "Transfer-Encoding: chunked"] {
        let mut socket = client.connect().await;
        socket.say(client.head("PUT", FILE, &[framing])).await;
        if framing.starts_with('T') {
            socket.say("100000\r\n").await;
        }
        socket.say(&sent).await;
        drop(socket);
    }
    let whole = client.ask("PUT", FILE, &["Prefer: wait=60"], &sent).await;
    assert_eq!((whole.status, &whole.json()["state"]), (200, &"delivered".into()), "{whole:?}");
    assert_eq!(world.arrived("photo.raw").as_ref(), Some(&sent));
    assert_eq!(
        world.lyon.outbox().list().await.unwrap().len(),
        1,
        "of what broke off nothing is stored"
    );
}

#[tokio::test]
async fn content_that_is_put_again_with_its_key_is_one_delivery_over_a_restart_too() {
    let mut world = World::new().await;
    world.paris_goes().await;
    let sent = content(100_000);
    let key = ["Idempotency-Key: photo-1"];
    // What breaks off is not what the key stands for.
    let client = world.client();
    let mut broken = client.connect().await;
    broken.say(client.head("PUT", FILE, &["Content-Length: 100000", key[0]])).await;
    broken.say(&content(1000)).await;
    drop(broken);
    let first = loop {
        let answer = client.ask("PUT", FILE, &key, &sent).await;
        // Until the door has seen that the other one is gone.
        if answer.status != 409 {
            break answer;
        }
        answer.problem(409, "in-progress", "unknown");
    };
    assert_eq!((first.status, &first.json()["state"]), (202, &"stored".into()), "{first:?}");
    let again = client.ask("PUT", FILE, &key, &sent).await;
    assert_eq!((again.status, &again.json()["id"]), (202, &first.json()["id"]), "{again:?}");
    assert_eq!(again.header("location"), first.header("location"));
    client.ask("PUT", FILE, &key, &sent[1..]).await.problem(422, "conflict", "no");
    world.lyon_restarts().await;
    let client = world.client();
    let again = client.ask("PUT", FILE, &key, &sent).await;
    assert_eq!((again.status, &again.json()["id"]), (202, &first.json()["id"]), "{again:?}");
    // Another token, another name, or no key: another delivery.
    let other = client.with(Some(&world.token("other", "paris/*", None)));
    for (client, path, headers) in [
        (&other, FILE, &key[..]),
        (&client, "/v1/send/paris/files/other.raw", &key),
        (&client, FILE, &[]),
    ] {
        let one = client.ask("PUT", path, headers, &sent).await;
        assert_eq!(one.status, 202, "{one:?}");
        assert_ne!(one.json()["id"], first.json()["id"]);
    }
    assert_eq!(world.lyon.outbox().list().await.unwrap().len(), 4);
}

/// The requests that are open at the door, and the bytes that have come by it.
async fn open(world: &World) -> (u64, u64) {
    let doors = world.lyon.snapshot().await.doors;
    let web = doors.iter().find(|door| door.kind == "http").unwrap();
    (web.open, web.received_bytes)
}

async fn until(world: &World, is_so: impl Fn((u64, u64)) -> bool) {
    within(async { while !is_so(open(world).await) {} }).await;
}

#[tokio::test]
async fn content_keeps_its_place_and_its_key_until_it_is_stored_though_its_client_has_gone() {
    let mut world = World::new().await;
    let spool = Mutex::new(None);
    world
        .lyon_restarts_with(|made| {
            let held = Held::new(made);
            *spool.lock().unwrap() = Some(Arc::clone(&held));
            held
        })
        .await;
    let spool = spool.into_inner().unwrap().unwrap();
    let (client, key) = (world.client(), "Idempotency-Key: photo-1");
    let begin = async |headers: &[&str]| {
        let mut socket = client.connect().await;
        socket.say(client.head("PUT", FILE, headers)).await;
        socket.say("0123456789").await;
        socket
    };
    let before = open(&world).await.1;
    // A token has eight places: seven are for what is still coming.
    let mut coming = Vec::new();
    for _ in 0..7 {
        coming.push(begin(&["Content-Length: 20"]).await);
    }
    until(&world, |now| now == (7, before + 70)).await;
    spool.hold();
    let holding = Holding(Arc::clone(&spool));
    let whole = begin(&["Content-Length: 10", key]).await;
    within(spool.reached()).await;
    drop(whole);
    until(&world, |now| now.0 == 7).await;
    let nine = client.ask("PUT", FILE, &[], b"x").await;
    nine.problem(503, "busy", "no");
    let again = client.ask("PUT", FILE, &[key], b"0123456789").await;
    again.problem(409, "in-progress", "unknown");
    drop(holding);
    // It is stored, once, and its place is free again.
    let stored = loop {
        let answer = client.ask("PUT", FILE, &[key], b"0123456789").await;
        if answer.status != 409 {
            break answer;
        }
    };
    assert!([200, 202].contains(&stored.status), "{stored:?}");
    let mut other = client.ask("PUT", FILE, &[], b"x").await;
    while other.status == 503 {
        other = client.ask("PUT", FILE, &[], b"x").await;
    }
    // It is stored, too; its receiver may have refused it by now, as the first one has its name.
    let is_refused = other.status == 409 && other.body.contains("exists already");
    assert!(other.status == 202 || is_refused, "{other:?}");
    drop(coming);
    within(async { while world.lyon.outbox().list().await.unwrap().len() != 2 {} }).await;
}

#[tokio::test]
async fn content_that_is_not_what_its_client_says_is_not_stored() {
    let world = World::new().await;
    let client = world.client();
    let [right, wrong] = [
        "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:",
        "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:",
    ];
    let key = "Idempotency-Key: hello";
    for header in ["Content-Digest", "repr-digest"] {
        for path in [FILE, "/v1/send/paris/files/"] {
            let path = if path.ends_with('/') { format!("{path}other.raw") } else { path.into() };
            let headers = [key, &format!("{header}: {wrong}")];
            let told = client.ask("PUT", &path, &headers, b"hello world").await;
            let text = told.problem(400, "digest", "no");
            // Both are told, for who looks for what happened on the way.
            assert!(text.contains("sha-256 AAAAAAAA") && text.contains("has uU0nuZNN"), "{text}");
        }
        let headers = [&*format!("{header}: {wrong}"), "Transfer-Encoding: chunked"];
        let mut pieces = client.connect().await;
        pieces.say(client.head("PUT", FILE, &headers)).await;
        pieces.say("b\r\nhello world\r\n0\r\n\r\n").await;
        assert_eq!(pieces.head().await.status, 400);
        let headers = [&*format!("{header}: sha-256=uU0nuZNN")];
        let told = client.ask("PUT", FILE, &headers, b"hello world").await;
        told.problem(400, "bad-request", "no");
    }
    assert!(world.lyon.outbox().list().await.unwrap().is_empty());
    // Its key is free for what is meant, in any words that are known and agree.
    let other = format!("Content-Digest: crc32c=:AAAAAA==:, {right}");
    let headers = [key, &*other, &format!("Repr-Digest: {right}"), "Prefer: wait=60"];
    let whole = client.ask("PUT", FILE, &headers, b"hello world").await;
    assert_eq!((whole.status, &whole.json()["state"]), (200, &"delivered".into()), "{whole:?}");
    assert_eq!(world.arrived("photo.raw"), Some(b"hello world".to_vec()));
}

#[tokio::test]
async fn content_that_is_sent_only_if_its_key_is_new_is_sent_once() {
    let mut world = World::new().await;
    world.paris_goes().await;
    let client = world.client();
    let (key, first) = ("Idempotency-Key: photo-1", "If-None-Match: *");
    let refused = client.ask("PUT", FILE, &[first], b"x").await;
    refused.problem(400, "bad-request", "no");
    let stored = client.ask("PUT", FILE, &[key, first], b"x").await;
    assert_eq!(stored.status, 202, "{stored:?}");
    let again = client.ask("PUT", FILE, &[key, first], b"x").await;
    // What has become of the first one is told where it is.
    again.problem(412, "precondition", "unknown");
    assert_eq!(again.header("location"), stored.header("location"));
    let known = client.ask("PUT", FILE, &[key, "If-None-Match: \"x\""], b"x").await;
    assert_eq!((known.status, &known.json()["id"]), (202, &stored.json()["id"]), "{known:?}");
    for changed in ["If-Match: *", "If-Match: \"x\""] {
        let refused = client.ask("PUT", FILE, &[changed], b"x").await;
        refused.problem(412, "precondition", "no");
    }
    assert_eq!(world.lyon.outbox().list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_can_t_be_sent_is_refused_before_its_content() {
    let world = World::new().await;
    let client = world.client();
    let stranger = client.with(Some(&world.token("other", "paris/till", None)));
    stranger.ask("PUT", FILE, &[], b"x").await.problem(403, "forbidden", "no");
    for path in
        ["/v1/send/paris/files/a%2Fb", "/v1/send/paris/files/..", "/v1/send/paris/files/%00"]
    {
        let refused = client.ask("PUT", path, &[], b"x").await;
        refused.problem(400, "bad-request", "no");
    }
    let part = client.ask("PUT", FILE, &["Content-Range: bytes 0-0/2"], b"x").await;
    part.problem(400, "bad-request", "no");
    // Its receiver would not know, and have other bytes than its name says.
    for coding in ["gzip", "identity, br", ""] {
        let coding = format!("Content-Encoding: {coding}");
        let packed = client.ask("PUT", FILE, &["Content-Encoding: identity", &coding], b"x").await;
        packed.problem(415, "content-type", "no");
        assert_eq!(packed.header("accept-encoding"), "identity");
    }
    client.ask("POST", FILE, &[], b"x").await.problem(405, "method", "no");
    assert!(world.lyon.outbox().list().await.unwrap().is_empty());
    let plain = ["Prefer: wait=60", "Content-Encoding: Identity"];
    let empty = client.ask("PUT", FILE, &plain, b"").await;
    assert_eq!(empty.status, 200, "{empty:?}");
    assert_eq!(world.arrived("photo.raw"), Some(Vec::new()));
}
