//! Stock clients of gRPC, in Python, call actors of another node through a door.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod attacks;
mod contents;
#[path = "../support/held.rs"]
mod held;
mod protos;
mod python;
mod rights;
mod serve;
mod web;
mod world;

use estafette::RemoteErrorKind;
use estafette_doors::grpc::{Method, Methods, Way};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::python::{python, start};
use crate::serve::{Door, open};
use crate::world::{Heard, World, soon, world};

/// A door with all that the actors of the other node take.
async fn door(world: &World) -> Door {
    let mut methods = Methods::new();
    for (path, name, way) in [
        ("/helloworld.Greeter/SayHello", "greeter", Way::Download),
        ("/helloworld.Greeter/Talk", "greeter", Way::Open),
        ("/test.All/Collect", "collector", Way::Upload),
        ("/test.All/Echo", "echo", Way::Ask),
        ("/test.All/Told", "echo", Way::Download),
        ("/test.All/Nobody", "nobody", Way::Ask),
    ] {
        methods = methods.method(path, &Method::raw(format!("paris/{name}"), way)).unwrap();
    }
    for (path, method) in [
        ("/shop.Shop/Order", Method::json("paris/shop", "shop.Order", Way::Ask)),
        ("/shop.Shop/Add", Method::json("paris/counter", "shop.Add", Way::Upload)),
        ("/shop.Shop/Both", Method::json("paris/counter", "shop.Add", Way::Open)),
        ("/test.All/Away", Method::raw("away/x", Way::Ask)),
        ("/test.All/Forbidden", Method::raw("lille/x", Way::Ask)),
    ] {
        methods = methods.method(path, &method).unwrap();
    }
    open(world, methods).await
}

#[tokio::test]
async fn a_client_without_a_proto_reads_the_answers_of_an_actor_elsewhere_line_by_line() {
    let Some(python) = python() else { return };
    let mut world = world().await;
    let door = door(&world).await;
    let mut client = start(&python, "greeter_raw.py", &[&door.address, &door.token, "for ever"]);
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    for time in 1..=1000 {
        let line = soon(lines.next_line()).await.unwrap();
        assert_eq!(line.unwrap(), format!("Bonjour for ever, for the {time}. time"));
    }
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("for ever".into())));
    // It goes away without a word, and the actor hears so.
    client.start_kill().unwrap();
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Closed));

    let client = start(&python, "greeter_raw.py", &[&door.address, &door.token, "nobody"]);
    let output = soon(client.wait_with_output()).await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.trim(), "UNKNOWN: whom? that is nobody (handled: yes)");
}

/// Has the client do one thing, of those it knows, and tells what it printed.
async fn client(door: &Door, what: &[&str]) -> Option<String> {
    let python = python()?;
    let mut arguments = vec![&*door.address, &door.token];
    arguments.extend(what);
    let output = soon(start(&python, "client.py", &arguments).wait_with_output()).await.unwrap();
    let (said, wrong) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}{wrong}");
    Some(said)
}

#[tokio::test]
async fn all_four_ways_lead_to_an_actor_and_back() {
    let world = world().await;
    let door = door(&world).await;
    let Some(said) = client(&door, &["ways"]).await else { return };
    let expected = "ask: 300000 bytes, handled yes\n\
                    json: {\"Ok\":6}\n\
                    json: {\"Err\":\"of nothing?\"}\n\
                    upload: onetwothree\n\
                    upload, enough: one\n\
                    open: Bonjour Ada, for the 1. time\n\
                    open: Bonjour Grace, for the 1. time\n\
                    open: end\n";
    assert_eq!(said, expected);
}

#[tokio::test]
async fn errors_have_their_code_what_is_handled_and_details() {
    let world = world().await;
    let door = door(&world).await;
    let Some(said) = client(&door, &["errors"]).await else { return };
    let expected = "no such name: NOT_FOUND no NO_SUCH_NAME\n\
                    no such method: UNIMPLEMENTED no NO_SUCH_METHOD\n\
                    wrong way: UNIMPLEMENTED no NO_SUCH_MESSAGE\n\
                    no json: INVALID_ARGUMENT no NO_JSON\n\
                    no such field: INVALID_ARGUMENT no UNDECODABLE\n\
                    died: ABORTED unknown DIED\n\
                    away: UNAVAILABLE no UNREACHABLE\n\
                    too large: RESOURCE_EXHAUSTED no FULL\n\
                    no token: UNAUTHENTICATED no UNAUTHENTICATED\n\
                    no right: PERMISSION_DENIED no FORBIDDEN\n";
    assert_eq!(said, expected);
}

#[tokio::test]
async fn deadlines_cancels_and_requests_that_break_off_reach_the_actor() {
    let mut world = world().await;
    let door = door(&world).await;
    let Some(python) = python() else { return };
    let mut client = start(&python, "client.py", &[&door.address, &door.token, "gone"]);
    let mut steps = client.stdin.take().unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
    // Each step is begun by the client, heard by the actor, and ended by the client.
    for (begun, ended, status) in [
        (Heard::Request("never".into()), Heard::Closed, "deadline: DEADLINE_EXCEEDED unknown"),
        (Heard::Request("quiet".into()), Heard::Closed, "stream: DEADLINE_EXCEEDED unknown"),
        (Heard::Request("never".into()), Heard::Closed, "cancelled: CANCELLED"),
        (
            Heard::Request("half".into()),
            Heard::Broke(RemoteErrorKind::Cancelled),
            "upload cancelled: CANCELLED",
        ),
    ] {
        assert_eq!(soon(world.heard.recv()).await, Some(begun));
        steps.write_all(b"on\n").await.unwrap();
        assert_eq!(soon(world.heard.recv()).await, Some(ended));
        assert_eq!(soon(said.next_line()).await.unwrap().unwrap(), status);
    }
}
