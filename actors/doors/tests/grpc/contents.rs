//! Content that is stored slowly, and states for which there is no room.

use std::sync::Arc;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use tokio::sync::Mutex;

use crate::attacks::{connect, message, request, status, trailers};
use crate::door;
use crate::held::{Held, Holding};
use crate::serve::Door;
use crate::world::{soon, world, world_with};

const SEND: &str = "/estafette.v1.NodeService/Send";
const FOLLOW: &str = "/estafette.v1.NodeService/Follow";

/// A field of a message of protocol buffers that is a text, bytes or a message.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(value.len()).unwrap()][..], value].concat()
}

/// Content for an inbox of another node, whole.
fn content(inbox: &str, name: &str) -> Bytes {
    let parcel = [field(1, inbox.as_bytes()), field(2, name.as_bytes())].concat();
    message(&[field(1, &parcel), field(2, b"0123456789")].concat())
}

/// Begins a call with one message, by a connection that is there, in so much time if it is said.
async fn call(
    client: &mut SendRequest<Bytes>,
    door: &Door,
    (path, timeout): (&str, Option<u64>),
    sent: Bytes,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut request = request(door, path);
    if let Some(seconds) = timeout {
        request.headers_mut().insert("grpc-timeout", format!("{seconds}S").parse().unwrap());
    }
    *client = soon(client.clone().ready()).await.unwrap();
    let (answer, mut to) = client.send_request(request, false).unwrap();
    to.send_data(sent, true).unwrap();
    (answer, to)
}

/// The whole answer: its bytes, and its code and what it says of handling.
pub(crate) async fn all(answer: ResponseFuture) -> (Vec<u8>, String, String) {
    let (head, mut body) = soon(answer).await.unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = soon(body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    let headers = if head.headers.contains_key("grpc-status") {
        head.headers
    } else {
        trailers(&mut body).await
    };
    let of = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    (bytes, of("grpc-status").unwrap(), of("estafette-handled").unwrap_or_default())
}

#[tokio::test]
async fn content_that_is_whole_is_told_to_be_stored_though_its_time_was_over_while_that_took_long()
{
    let spool = Mutex::new(None);
    let world = world_with(|made| {
        let held = Held::new(made);
        *spool.try_lock().unwrap() = Some(Arc::clone(&held));
        held
    })
    .await;
    let spool = spool.into_inner().unwrap();
    let door = door(&world).await;
    let mut client = connect(&door).await;
    let mut seconds = 1;
    let (answer, _to) = loop {
        spool.hold();
        let name = format!("slow-{seconds}");
        let (mut answer, to) =
            call(&mut client, &door, (SEND, Some(seconds)), content("away/files", &name)).await;
        tokio::select! {
            biased;
            () = spool.reached() => break (answer, to),
            // This machine is busy: it was not whole in that time.
            early = &mut answer => drop(early),
        }
        spool.let_go();
        seconds *= 2;
    };
    let holding = Holding(spool);
    // The time of a call that begins now is over later.
    let (late, _late) =
        call(&mut client, &door, ("/test.All/Echo", Some(seconds)), message(b"never")).await;
    assert_eq!(status(late).await.0, "4");
    drop(holding);
    let (told, code, handled) = all(answer).await;
    // It is told, and then that there is no time to hear more.
    let stored = [4 << 3, 1];
    assert!(told.windows(2).any(|two| two == stored), "{told:?}");
    assert_eq!((&*code, &*handled), ("4", "unknown"));
}

#[tokio::test]
async fn content_that_is_taken_out_is_dead_and_a_node_that_stops_says_so() {
    const DEAD: [u8; 2] = [4 << 3, 5];
    let world = world().await;
    let door = door(&world).await;
    let mut client = connect(&door).await;
    let stored = async |client: &mut _, name| {
        let (answer, to) = call(client, &door, (SEND, None), content("away/files", name)).await;
        let mut body = soon(answer).await.unwrap().into_body();
        soon(body.data()).await.unwrap().unwrap();
        (body, to)
    };
    let (mut body, _first) = stored(&mut client, "first").await;
    let id = world.lyon.outbox().list().await.unwrap().remove(0).0;
    world.lyon.outbox().withdraw(id).await.unwrap();
    let told = soon(body.data()).await.unwrap().unwrap();
    assert!(told.windows(2).any(|two| two == DEAD), "{told:?}");
    assert!(told.windows(9).any(|text| text == b"taken out"), "{told:?}");
    let end = trailers(&mut body).await;
    assert_eq!(end["grpc-status"], "0");
    // Who comes later is told the same.
    let follow = message(&field(1, id.to_string().as_bytes()));
    let (answer, _to) = call(&mut client, &door, (FOLLOW, None), follow).await;
    let (told, code, _) = all(answer).await;
    assert!(told.windows(2).any(|two| two == DEAD), "{told:?}");
    assert_eq!(code, "0");
    let (mut body, _second) = stored(&mut client, "second").await;
    world.lyon.stop().await;
    assert!(soon(body.data()).await.is_none());
    let end = trailers(&mut body).await;
    assert_eq!(
        (&end["grpc-status"], &end["estafette-handled"]),
        (&"2".parse().unwrap(), &"unknown".parse().unwrap())
    );
}

#[tokio::test]
async fn content_whose_states_find_no_room_is_not_stored() {
    const STREAMS: usize = 4096;
    let world = world().await;
    let door = door(&world).await;
    let mut client = connect(&door).await;
    let (answer, _first) =
        call(&mut client, &door, (SEND, None), content("away/files", "first")).await;
    let mut body = soon(answer).await.unwrap().into_body();
    soon(body.data()).await.unwrap().unwrap();
    let stored = world.lyon.outbox().list().await.unwrap();
    assert_eq!(stored.len(), 1);
    let follow = message(&field(1, stored[0].0.to_string().as_bytes()));
    // A token has so many streams, of which one is open already.
    let mut open = Vec::new();
    for number in 1..STREAMS {
        if number % 100 == 0 {
            client = connect(&door).await;
        }
        open.push(call(&mut client, &door, (FOLLOW, None), follow.clone()).await);
    }
    let mut streams = Vec::new();
    for (answer, to) in open {
        let mut body = soon(answer).await.unwrap().into_body();
        let state = soon(body.data()).await;
        assert!(state.is_some_and(|state| state.is_ok()), "{}", streams.len());
        streams.push((body, to));
    }
    let (answer, _to) =
        call(&mut client, &door, (SEND, None), content("away/files", "second")).await;
    assert_eq!(status(answer).await, ("8".into(), "no".into()));
    assert_eq!(world.lyon.outbox().list().await.unwrap().len(), 1, "nothing was stored");
    drop(streams);
    loop {
        let (answer, _to) =
            call(&mut client, &door, (SEND, None), content("away/files", "third")).await;
        if !soon(answer).await.unwrap().headers().contains_key("grpc-status") {
            break;
        }
    }
    assert_eq!(world.lyon.outbox().list().await.unwrap().len(), 2);
}
