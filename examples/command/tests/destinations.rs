//! Tests of how a person says where to.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;

use support::{Ran, World, text};

/// Two receivers are one here: it is told of each delivery by itself.
fn receiver(world: &World) -> (support::process::Process, String) {
    let (paris, ticket) = world.paris_with(&["--on-conflict", "rename"]);
    (paris, text(&ticket, "ticket"))
}

/// `send` in the folder of the test.
fn send(world: &World, arguments: &[&str]) -> Ran {
    let mut command = world.command("lyon");
    Ran::from(command.arg("send").args(arguments).current_dir(world.path("")).output().unwrap())
}

fn error(ran: &Ran) -> String {
    assert_eq!(ran.code, 2, "{:?}", ran.events);
    format!("{} {}", text(ran.event("error"), "message"), text(ran.event("error"), "hint"))
}

#[test]
fn where_to_may_be_said_by_a_flag_alone() {
    let world = World::new();
    let (_paris, ticket) = receiver(&world);
    fs::write(world.path("letter"), "dear").unwrap();
    fs::create_dir(world.path("photos")).unwrap();
    fs::write(world.path("photos/one"), "1").unwrap();
    fs::write(world.path("photos/two"), "2").unwrap();

    assert_eq!(send(&world, &["letter", "--to", &ticket]).code, 0);
    assert_eq!(send(&world, &["--to", &ticket, "--", "letter"]).code, 0);
    assert_eq!(world.arrived(), ["letter", "letter (1)"]);
    // All that is named is sent, whatever its last is.
    for last in ["letter", "./letter", "photos/"] {
        let ran = send(&world, &["./photos/one", last, "--to", &ticket]);
        assert_eq!(ran.code, 0, "{last}: {:?}", ran.events);
        assert_eq!(ran.event("delivered")["files"], if last == "photos/" { 3 } else { 2 });
    }
    // As before: the last one is a destination, and there are more.
    let arrived = world.arrived().len();
    assert_eq!(send(&world, &["letter", &ticket, "--to", &ticket]).code, 0);
    assert_eq!(world.arrived().len(), arrived + 2);
}

#[test]
fn a_last_argument_that_may_be_a_path_or_a_peer_s_inbox_is_asked_about() {
    let world = World::new();
    fs::create_dir(world.path("paris")).unwrap();
    fs::write(world.path("paris/files"), "mine").unwrap();
    let (_paris, ticket) = receiver(&world);
    let said = error(&send(&world, &["paris/files", "paris/files", "--to", &ticket]));
    assert!(
        said.starts_with("paris/files is a path here, and may be an inbox of a peer"),
        "{said}"
    );
    assert!(said.contains("./paris/files for the path"), "{said}");
    assert!(world.arrived().is_empty());
    // What is neither is told of as what it should have been.
    let said = error(&send(&world, &["paris/files", "nothing", "--to", &ticket]));
    assert!(said.contains("PEER/INBOX"), "{said}");
    let said = error(&send(&world, &["paris/files"]));
    assert!(said.contains("what to send, or where to") && said.contains("--to"), "{said}");
    let said = error(&send(&world, &["--to", &ticket]));
    assert!(said.contains("<PATH>"), "{said}");
}
