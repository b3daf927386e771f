//! The rights of a token: for as long as it is one, and beside those of others.

use std::collections::BTreeSet;

use bytes::Bytes;
use estafette::RemoteErrorKind;
use tokio::net::TcpStream;

use crate::attacks::{begin, message, request, status};
use crate::contents::all;
use crate::door;
use crate::world::{Heard, soon, world};

const TALK: &str = "/helloworld.Greeter/Talk";
const TOLD: &str = "/helloworld.Greeter/SayHello";
const COLLECT: &str = "/test.All/Collect";

#[tokio::test]
async fn calls_with_streams_end_with_their_token_at_both_ends() {
    let mut world = world().await;
    let door = door(&world).await;
    let mut open = Vec::new();
    for (path, body) in [(TALK, &b"quiet"[..]), (TOLD, b"for ever and ever"), (COLLECT, b"one")] {
        let (answer, mut to) = begin(&door, path).await;
        to.send_data(message(body), path == TOLD).unwrap();
        open.push((answer, to));
        let heard = Heard::Request(String::from_utf8(body.to_vec()).unwrap());
        assert_eq!(soon(world.heard.recv()).await, Some(heard));
    }
    assert!(door.tokens.remove("all").unwrap());
    for (answer, to) in open {
        assert_eq!(status(answer).await, ("16".into(), "unknown".into()));
        drop(to);
    }
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends.push(soon(world.heard.recv()).await.unwrap());
    }
    assert_eq!(ends.iter().filter(|end| **end == Heard::Closed).count(), 2, "{ends:?}");
    assert!(ends.contains(&Heard::Broke(RemoteErrorKind::Cancelled)), "{ends:?}");
}

#[tokio::test]
async fn who_reads_no_answers_sends_no_more_requests_without_a_token_either() {
    let mut world = world().await;
    let door = door(&world).await;
    let socket = TcpStream::connect(&door.address).await.unwrap();
    let mut unread = h2::client::Builder::new();
    let handshake = unread.initial_window_size(0).handshake::<_, Bytes>(socket);
    let (client, connection) = soon(handshake).await.unwrap();
    tokio::spawn(connection);
    let mut client = soon(client.ready()).await.unwrap();
    let (_answer, mut to) = client.send_request(request(&door, TALK), false).unwrap();
    to.send_data(message(b"Ada"), false).unwrap();
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("Ada".into())));
    assert!(door.tokens.remove("all").unwrap());
    let broke = Heard::Broke(RemoteErrorKind::Cancelled);
    assert_eq!(soon(world.heard.recv()).await, Some(broke), "its actor hears of it");
}

#[tokio::test]
async fn who_reads_no_answers_keeps_no_download_without_a_token() {
    let mut world = world().await;
    let door = door(&world).await;
    let socket = TcpStream::connect(&door.address).await.unwrap();
    let mut unread = h2::client::Builder::new();
    let handshake = unread.initial_window_size(0).handshake::<_, Bytes>(socket);
    let (client, connection) = soon(handshake).await.unwrap();
    tokio::spawn(connection);
    let mut client = soon(client.ready()).await.unwrap();
    let (_answer, mut to) = client.send_request(request(&door, TOLD), false).unwrap();
    to.send_data(message(b"for ever and ever"), true).unwrap();
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("for ever and ever".into())));
    assert!(door.tokens.remove("all").unwrap());
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Closed), "its actor hears of it");
}

#[tokio::test]
async fn an_actor_hears_the_name_of_the_token_by_each_way() {
    let world = world().await;
    let mut door = door(&world).await;
    for name in ["all", "other"] {
        for path in ["/test.All/Echo", TOLD, TALK] {
            let (answer, mut to) = begin(&door, path).await;
            to.send_data(message(b"for whom"), true).unwrap();
            let (bytes, code, _) = all(answer).await;
            assert_eq!((Bytes::from(bytes), &*code), (message(name.as_bytes()), "0"), "{path}");
        }
        door.token = door.other.clone();
    }
}

#[tokio::test]
async fn clients_of_one_token_leave_room_for_those_of_others() {
    let mut world = world().await;
    let mut door = door(&world).await;
    let mut open = Vec::new();
    for _ in 0..96 {
        let (answer, mut to) = begin(&door, TALK).await;
        to.send_data(message(b"quiet"), false).unwrap();
        assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("quiet".into())));
        open.push((answer, to));
    }
    let (answer, mut to) = begin(&door, TOLD).await;
    to.send_data(message(b"Ada"), true).unwrap();
    assert_eq!(status(answer).await, ("8".into(), "no".into()));
    let first = std::mem::replace(&mut door.token, door.other.clone());
    let (answer, mut to) = begin(&door, TOLD).await;
    to.send_data(message(b"Ada"), true).unwrap();
    assert_eq!(status(answer).await, ("0".into(), "yes".into()));
    // Where one has ended there is room again.
    door.token = first;
    drop(open.pop());
    let again = async {
        loop {
            let (answer, mut to) = begin(&door, TOLD).await;
            to.send_data(message(b"Grace"), true).unwrap();
            match status(answer).await.0.as_str() {
                "0" => break,
                full => assert_eq!(full, "8"),
            }
        }
    };
    soon(again).await;
    let heard: BTreeSet<_> = std::iter::from_fn(|| world.heard.try_recv().ok())
        .map(|heard| format!("{heard:?}"))
        .collect();
    assert!(heard.contains("Request(\"Grace\")") && heard.contains("Closed"), "{heard:?}");
}
