//! Streams both ways, on a WebSocket.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use support::http::{Client, Incoming};
use support::{World, within};
use tokio::io::AsyncReadExt;

const COUNT: &str = "/v1/open/paris/counter/shop.Count";
const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// A frame of a client, masked with zeros.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    [&[0x80 | kind, 0x80 | length, 0, 0, 0, 0], body].concat()
}

/// The next frame that is no ping: its kind, and its body.
async fn next(socket: &mut Incoming) -> (u8, Vec<u8>) {
    loop {
        let mut head = [0; 2];
        within(socket.socket.read_exact(&mut head)).await.unwrap();
        let mut body = vec![0; usize::from(head[1])];
        within(socket.socket.read_exact(&mut body)).await.unwrap();
        if head[0] & 15 != 9 {
            return (head[0] & 15, body);
        }
    }
}

async fn opened(world: &World, path: &str) -> Incoming {
    opened_by(&world.client(), path).await
}

async fn opened_by(client: &Client, path: &str) -> Incoming {
    let mut socket = client.connect().await;
    socket.say(client.head("GET", path, &UPGRADE)).await;
    // The head, and nothing behind it, which is read from the socket itself.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(socket.socket.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(
        head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
    socket
}

#[tokio::test]
async fn items_go_both_ways_and_an_empty_frame_is_the_end_of_requests() {
    let world = World::new().await;
    let mut socket = opened(&world, COUNT).await;
    socket.say(frame(1, br#"{"to":2}"#)).await;
    assert_eq!(next(&mut socket).await, (1, b"1".to_vec()));
    assert_eq!(next(&mut socket).await, (1, b"2".to_vec()));
    socket.say(frame(1, br#"{"to":1}"#)).await;
    assert_eq!(next(&mut socket).await, (1, b"1".to_vec()));
    socket.say(frame(9, b"are you there")).await;
    assert_eq!(next(&mut socket).await, (10, b"are you there".to_vec()));
    socket.say(frame(1, b"")).await;
    assert_eq!(next(&mut socket).await, (8, [&1000_u16.to_be_bytes()[..], b"end"].concat()));
}

#[tokio::test]
async fn a_problem_closes_with_its_status_and_its_word() {
    let world = World::new().await;
    for (path, text, code, word) in [
        (COUNT, &br#"{"to":"x"}"#[..], 4422_u16, "other"),
        (COUNT, b"{", 4400, "no-json"),
        ("/v1/open/paris/nobody/shop.Count", b"{}", 4404, "no-such-name"),
    ] {
        let mut socket = opened(&world, path).await;
        socket.say(frame(1, text)).await;
        let closed = [&code.to_be_bytes()[..], word.as_bytes()].concat();
        assert_eq!(next(&mut socket).await, (8, closed), "{path} {text:?}");
    }
    let mut socket = opened(&world, COUNT).await;
    socket.say(frame(2, b"binary")).await;
    let (kind, body) = next(&mut socket).await;
    assert_eq!((kind, &body[..2]), (8, &1003_u16.to_be_bytes()[..]));
    let long = [&[0x81, 0xff][..], &((1_u64 << 20) + 1).to_be_bytes(), &[0; 4]].concat();
    let long = [&long[..], &vec![b'1'; (1 << 20) + 1]].concat();
    for (bytes, code) in [(frame(1, b"\xff"), 1007_u16), (frame(3, b"?"), 1002), (long, 1009)] {
        let mut socket = opened(&world, COUNT).await;
        socket.say(bytes).await;
        let (kind, body) = next(&mut socket).await;
        assert_eq!((kind, &body[..2]), (8, &code.to_be_bytes()[..]));
    }
    let plain = world.client().get(COUNT).await;
    plain.problem(426, "upgrade", "no");
    assert_eq!(plain.header("sec-websocket-version"), "13");
    let client = world.client();
    client.with(None).ask("GET", COUNT, &UPGRADE, b"").await.problem(401, "no-token", "no");
}

#[tokio::test]
async fn a_call_for_which_a_peer_has_no_room_is_told_so() {
    let world = World::new().await;
    let mut open = Vec::new();
    let client = world.client();
    let other = client.with(Some(&world.token("other", "paris/*", None)));
    for number in 0..128 {
        // One token has 96 of them at most.
        open.push(opened_by(if number < 96 { &client } else { &other }, COUNT).await);
    }
    let json = ["Content-Type: application/json"];
    let path = "/v1/download/paris/counter/shop.Count";
    for (client, said) in [
        (&other, "paris has as many calls with streams under way as it may"),
        (&client, "the token \"till\" has as many calls with streams at paris as one may"),
    ] {
        for refused in [
            client.ask("GET", COUNT, &UPGRADE, b"").await,
            client.ask("POST", path, &json, b"{}").await,
        ] {
            assert_eq!(refused.problem(429, "full", "no"), said);
            assert_eq!(refused.header("retry-after"), "1");
        }
    }
    open.clear();
    // Where one has ended there is room again.
    within(async { while client.ask("POST", path, &json, br#"{"to":1}"#).await.status != 200 {} })
        .await;
}

#[tokio::test]
async fn what_is_open_ends_with_its_token() {
    let mut world = World::new().await;
    let mut socket = opened(&world, COUNT).await;
    let client = world.client();
    let json = ["Content-Type: application/json"];
    let path = "/v1/download/paris/counter/shop.Count";
    let (_, lines) = client.open("POST", path, &json, b"{}").await;
    assert!(world.access.tokens().remove("till").unwrap());
    let closed = [&4401_u16.to_be_bytes()[..], b"token-ended"].concat();
    assert_eq!(next(&mut socket).await, (8, closed));
    let lines = lines.rest().await;
    let (_, last) = lines.trim_end().rsplit_once('\n').unwrap();
    assert!(last.contains("urn:estafette:problem:unknown-token"), "{last}");
    let client = client.with(Some(&world.token("other", "paris/*", None)));
    world.paris_goes().await;
    let path = "/v1/deliver/paris/shop/shop.Order";
    let stored = client.ask("POST", path, &json, br#"{"article":"tea"}"#).await;
    let place = stored.header("location").to_owned();
    let (_, states) = client.open("GET", &place, &["Accept: text/event-stream"], b"").await;
    assert!(world.access.tokens().remove("other").unwrap());
    let states = states.rest().await;
    assert!(states.contains("event: stored") && !states.contains("event: processed"), "{states}");
}

#[tokio::test]
async fn a_client_that_goes_ends_the_call_and_one_that_does_not_read_is_not_sent_to() {
    let world = World::new().await;
    let mut socket = opened(&world, COUNT).await;
    socket.say(frame(1, b"{}")).await;
    assert_eq!(next(&mut socket).await, (1, b"1".to_vec()));
    drop(socket);
    within(world.shop.given_up.acquire()).await.unwrap().forget();
    let mut socket = opened(&world, COUNT).await;
    socket.say(frame(1, b"{}")).await;
    socket.say(frame(8, &1000_u16.to_be_bytes())).await;
    within(world.shop.given_up.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn what_comes_behind_the_end_of_the_items_is_told_as_that() {
    let world = World::new().await;
    let mut socket = opened(&world, COUNT).await;
    // It is answered without an end.
    socket.say(frame(1, b"{}")).await;
    socket.say(frame(1, b"")).await;
    socket.say(frame(1, b"{}")).await;
    let close = loop {
        let (kind, body) = next(&mut socket).await;
        if kind == 8 {
            break body;
        }
    };
    assert_eq!(close[..2], 1008_u16.to_be_bytes());
}

#[tokio::test]
async fn the_close_of_a_client_is_answered_with_its_code() {
    let world = World::new().await;
    for code in [1000_u16, 4000] {
        let mut socket = opened(&world, COUNT).await;
        let close = [&code.to_be_bytes()[..], b"bye"].concat();
        socket.say(frame(8, &close)).await;
        let (kind, answer) = next(&mut socket).await;
        assert_eq!((kind, &answer[..2]), (8, &code.to_be_bytes()[..]));
        let left = within(socket.socket.read(&mut [0])).await.unwrap();
        assert_eq!(left, 0, "the connection ends behind it");
    }
}
