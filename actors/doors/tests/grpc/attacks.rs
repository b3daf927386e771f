//! Clients that keep to no rule: each is answered, or cut off, and others are served meanwhile.

use bytes::Bytes;
use estafette::RemoteErrorKind;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::door;
use crate::serve::Door;
use crate::world::{Heard, soon, world};

const ECHO: &str = "/test.All/Echo";
const COLLECT: &str = "/test.All/Collect";

/// A connection that does as it is told.
pub(crate) async fn connect(door: &Door) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(&door.address).await.unwrap();
    let (client, connection) = soon(h2::client::handshake(socket)).await.unwrap();
    tokio::spawn(connection);
    soon(client.ready()).await.unwrap()
}

pub(crate) fn request(door: &Door, path: &str) -> Request<()> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}{path}", door.address))
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {}", door.token))
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// Begins a call.
pub(crate) async fn begin(door: &Door, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let mut client = connect(door).await;
    client.send_request(request(door, path), false).unwrap()
}

/// Bytes that say that so many of a message follow.
fn head(length: u32) -> Vec<u8> {
    [&[0][..], &length.to_be_bytes()].concat()
}

pub(crate) fn message(body: &[u8]) -> Bytes {
    [head(u32::try_from(body.len()).unwrap()), body.to_vec()].concat().into()
}

/// Writes as the other end gives room; false if it takes no more.
async fn write(to: &mut SendStream<Bytes>, mut bytes: Bytes) -> bool {
    while !bytes.is_empty() {
        to.reserve_capacity(bytes.len());
        match soon(std::future::poll_fn(|cx| to.poll_capacity(cx))).await {
            Some(Ok(room)) => {
                if to.send_data(bytes.split_to(room.min(bytes.len())), false).is_err() {
                    return false;
                }
            }
            Some(Err(_)) | None => return false,
        }
    }
    true
}

/// The status of a call, in trailers or instead of them, and whether it was handled.
pub(crate) async fn status(answer: ResponseFuture) -> (String, String) {
    let (head, mut body) = soon(answer).await.unwrap().into_parts();
    let of = |headers: &HeaderMap| {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        Some((text("grpc-status")?, text("estafette-handled").unwrap_or_default()))
    };
    match of(&head.headers) {
        Some(status) => status,
        None => of(&trailers(&mut body).await).unwrap(),
    }
}

pub(crate) async fn trailers(body: &mut RecvStream) -> HeaderMap {
    while let Some(data) = soon(body.data()).await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
    }
    soon(body.trailers()).await.unwrap().unwrap()
}

/// One call after which all is well.
async fn is_served(door: &Door) {
    let (answer, mut to) = begin(door, ECHO).await;
    to.send_data(message(b"well"), true).unwrap();
    assert_eq!(status(answer).await, ("0".into(), "yes".into()));
}

#[tokio::test]
async fn what_is_no_call_of_grpc_is_refused_in_http() {
    let world = world().await;
    let door = door(&world).await;
    let refused = async |change: &dyn Fn(&mut Request<()>)| {
        let mut request = request(&door, ECHO);
        change(&mut request);
        let (answer, _) = connect(&door).await.send_request(request, true).unwrap();
        let answer: Response<_> = soon(answer).await.unwrap();
        answer.status().as_u16()
    };
    let kind = |kind: &'static str| {
        move |request: &mut Request<()>| {
            request.headers_mut().insert("content-type", kind.parse().unwrap());
        }
    };
    for other in ["text/plain", "application/grpcx", "application/grpc-web+json"] {
        assert_eq!(refused(&kind(other)).await, 415, "{other}");
    }
    assert_eq!(refused(&|request| drop(request.headers_mut().remove("content-type"))).await, 415);
    assert_eq!(refused(&|request| *request.method_mut() = Method::GET).await, 405);
    assert_eq!(refused(&kind("application/grpc+proto")).await, 200, "a call, as wrong as it is");

    let mut socket = TcpStream::connect(&door.address).await.unwrap();
    let head = "POST /test.All/Echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\n\
                content-length: 0\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 505 ") && answer.contains("gRPC needs HTTP/2"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_no_message_has_a_status_and_reaches_nobody() {
    let world = world().await;
    let door = door(&world).await;
    let sent = async |bytes: &[u8], encoding: Option<&'static str>| {
        let mut request = request(&door, ECHO);
        if let Some(encoding) = encoding {
            request.headers_mut().insert("grpc-encoding", encoding.parse().unwrap());
        }
        let (answer, mut to) = connect(&door).await.send_request(request, false).unwrap();
        to.send_data(bytes.to_vec().into(), true).unwrap();
        let (code, handled) = status(answer).await;
        assert_eq!(handled, if encoding.is_some() { "" } else { "no" }, "{bytes:?}");
        code
    };
    assert_eq!(sent(b"", None).await, "3", "no request");
    assert_eq!(sent(&[message(b"one"), message(b"two")].concat(), None).await, "3", "two of them");
    assert_eq!(sent(b"\0\0\0", None).await, "13", "half a head");
    assert_eq!(sent(&[&head(10)[..], b"half"].concat(), None).await, "13", "half a message");
    assert_eq!(sent(b"\x01\0\0\0\x01x", None).await, "13", "compressed by nobody knows what");
    assert_eq!(sent(b"\x07\0\0\0\x01x", None).await, "13", "no flag");
    assert_eq!(sent(&head(u32::MAX), None).await, "8", "4 GiB are to follow");
    assert_eq!(sent(&message(b"x"), Some("gzip")).await, "12");
    is_served(&door).await;
}

#[tokio::test]
async fn requests_that_are_reset_are_not_taken_for_all_of_them() {
    let mut world = world().await;
    let door = door(&world).await;
    let (_answer, mut to) = begin(&door, COLLECT).await;
    to.send_data(message(b"one"), false).unwrap();
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("one".into())));
    to.send_reset(h2::Reason::CANCEL);
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Broke(RemoteErrorKind::Cancelled)));
    // Nor are those that are reset without a fault.
    let (_answer, mut to) = begin(&door, COLLECT).await;
    to.send_data(message(b"nearly all"), false).unwrap();
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("nearly all".into())));
    to.send_reset(h2::Reason::NO_ERROR);
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Broke(RemoteErrorKind::Cancelled)));
    // So is one whose connection ends in the middle of a message.
    let socket = TcpStream::connect(&door.address).await.unwrap();
    let (mut client, connection) = soon(h2::client::handshake(socket)).await.unwrap();
    let connection = tokio::spawn(connection);
    let (_answer, mut to) = client.send_request(request(&door, COLLECT), false).unwrap();
    to.send_data([message(b"two"), head(100).into()].concat().into(), false).unwrap();
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("two".into())));
    connection.abort();
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Broke(RemoteErrorKind::Cancelled)));
    is_served(&door).await;
}

#[tokio::test]
async fn of_a_stream_with_a_request_that_is_none_some_may_have_been_handled() {
    let world = world().await;
    let door = door(&world).await;
    for path in ["/shop.Shop/Add", "/shop.Shop/Both"] {
        let (answer, mut to) = begin(&door, path).await;
        to.send_data(message(br#"{"number":1000}"#), false).unwrap();
        to.send_data(message(b"no JSON"), true).unwrap();
        assert_eq!(status(answer).await, ("3".into(), "unknown".into()), "{path}");
    }
}

#[tokio::test]
async fn ten_thousand_calls_that_are_taken_back_at_once_cost_their_connection_and_nobody_else_s() {
    let world = world().await;
    let door = door(&world).await;
    let mut opened = 0;
    'connections: loop {
        let mut client = connect(&door).await;
        loop {
            if opened == 10_000 {
                break 'connections;
            }
            let Ok(ready) = soon(client.clone().ready()).await else { break };
            client = ready;
            let Ok((_, mut to)) = client.send_request(request(&door, ECHO), false) else { break };
            to.send_reset(h2::Reason::CANCEL);
            opened += 1;
        }
    }
    is_served(&door).await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_and_not_kept() {
    let world = world().await;
    let door = door(&world).await;
    let mut client = connect(&door).await;
    let mut bomb = request(&door, ECHO);
    for number in 0..1000 {
        let name: http::HeaderName = format!("x-{number}").parse().unwrap();
        bomb.headers_mut().insert(name, "x".repeat(200).parse().unwrap());
    }
    let (answer, _to) = client.send_request(bomb, true).unwrap();
    // Its stream is refused, or the connection, before anybody looks at it.
    if let Ok(answer) = soon(answer).await {
        assert_eq!(answer.status().as_u16(), 431);
    }
    is_served(&door).await;
}

#[tokio::test]
async fn calls_that_are_only_begun_are_bounded_by_their_connection() {
    let world = world().await;
    let door = door(&world).await;
    let mut client = connect(&door).await;
    let mut open = Vec::new();
    // The settings of the door have come by then.
    let (answer, mut to) = client.send_request(request(&door, ECHO), false).unwrap();
    to.send_data(message(b"well"), true).unwrap();
    assert_eq!(status(answer).await.0, "0");
    for _ in 0..128 {
        client = soon(client.ready()).await.unwrap();
        open.push(client.send_request(request(&door, ECHO), false).unwrap());
    }
    assert_eq!(client.current_max_send_streams(), 128);
    is_served(&door).await;
}

#[tokio::test]
async fn a_client_that_never_reads_holds_up_its_own_call_and_no_memory() {
    let mut world = world().await;
    let door = door(&world).await;
    let (_answer, mut to) = begin(&door, "/helloworld.Greeter/SayHello").await;
    to.send_data(message(b"for ever"), true).unwrap();
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("for ever".into())));
    // Another one reads ten times what may be on its way to the first.
    let (answer, mut to) = begin(&door, "/helloworld.Greeter/SayHello").await;
    to.send_data(message(b"for ever and ever"), true).unwrap();
    let mut body = soon(answer).await.unwrap().into_body();
    let mut read = 0;
    while read < 10 << 20 {
        let data = soon(body.data()).await.unwrap().unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        read += data.len();
    }
    let sent = world.greeted.load(std::sync::atomic::Ordering::Relaxed);
    assert!(sent < 1 << 20, "{sent} bytes for who reads nothing");
}

#[tokio::test]
async fn messages_that_never_become_whole_are_bounded_over_all_connections() {
    let world = world().await;
    let door = door(&world).await;
    let mut calls = Vec::new();
    for _ in 0..5 {
        let (answer, mut to) = begin(&door, ECHO).await;
        to.send_data(head(16 << 20).into(), false).unwrap();
        let is_taken = write(&mut to, vec![0; 15 << 20].into()).await;
        calls.push((is_taken, answer, to));
    }
    let (is_taken, answer, _to) = calls.pop().unwrap();
    assert!(
        !is_taken || status(answer).await == ("8".into(), "no".into()),
        "the fifth is too much"
    );
    assert!(calls.iter().all(|(is_taken, ..)| *is_taken), "the others are not");
    drop(calls);
    is_served(&door).await;
}

/// Without a token, nobody has anything kept here.
#[tokio::test]
async fn what_anybody_may_ask_has_to_be_small_and_to_come_at_once() {
    let world = world().await;
    let mut door = door(&world).await;
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let (answer, mut to) = begin(&door, reflection).await;
    to.send_data(head(4097).into(), false).unwrap();
    // A name of 4 KiB is none: it ends.
    assert_eq!(status(answer).await.0, "0");
    door.token = "none".into();
    for method in ["Check", "Watch"] {
        let path = format!("/grpc.health.v1.Health/{method}");
        let (answer, mut to) = begin(&door, &path).await;
        to.send_data(head(1025).into(), false).unwrap();
        assert_eq!(status(answer).await.0, "11", "{method}: a name of 1 KiB is none");
        let mut waiting = Vec::new();
        for unfinished in [vec![], head(1024), message(b"").to_vec()] {
            let (answer, mut to) = begin(&door, &path).await;
            to.send_data(unfinished.clone().into(), false).unwrap();
            waiting.push((answer, to, unfinished));
        }
        for (answer, _to, unfinished) in waiting {
            assert_eq!(status(answer).await.0, "4", "{method}: no end behind {unfinished:?}");
        }
    }
    let (answer, mut to) = begin(&door, "/grpc.health.v1.Health/Check").await;
    to.send_data(message(b""), true).unwrap();
    assert_eq!(status(answer).await.0, "0");
}

/// An answer that waits in the door for a client that reads its head alone: its code, and whether it
/// was handled, if it was refused.
async fn untaken(door: &Door) -> (Option<(String, String)>, Response<RecvStream>) {
    let (answer, mut to) = begin(door, ECHO).await;
    assert!(write(&mut to, message(&vec![0; 15 << 20])).await);
    to.send_data(Bytes::new(), true).unwrap();
    let answer = soon(answer).await.unwrap();
    let text = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    (text("grpc-status").zip(text("estafette-handled")), answer)
}

#[tokio::test]
async fn answers_that_nobody_takes_are_bounded_for_each_token() {
    let world = world().await;
    let mut door = door(&world).await;
    let (refused, first) = untaken(&door).await;
    assert_eq!(refused, None);
    let (refused, _second) = untaken(&door).await;
    assert_eq!(refused, Some(("8".to_owned(), "yes".to_owned())));
    let all = std::mem::replace(&mut door.token, door.other.clone());
    let (refused, _third) = untaken(&door).await;
    assert_eq!(refused, None, "another token has its own room");
    door.token = all;
    drop(first);
    is_served(&door).await;
}
