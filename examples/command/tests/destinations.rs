//! Tests of how a person says where to.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

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

#[test]
fn what_is_excluded_stays_at_home_under_whatever_name_the_rest_goes() {
    let world = World::new();
    let (_paris, ticket) = receiver(&world);
    let kept = ["keep.c", "src/keep.c", "src/build/keep"];
    let left = ["left.o", "src/left.o", "target/deep/left", "src/target/left", "build/left"];
    for path in kept.iter().chain(&left) {
        let path = world.path("tree").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "1").unwrap();
    }
    let patterns = ["--exclude", "*.o", "--exclude", "target/", "--exclude", "/build"];
    let ran = send(&world, &[&patterns[..], &["--as", "sources", "tree", &ticket]].concat());
    assert_eq!((ran.code, &ran.event("delivered")["files"]), (0, &3.into()), "{:?}", ran.events);
    assert_eq!(world.arrived(), ["sources"]);
    let arrived = world.path("in/sources");
    assert!(kept.iter().all(|path| arrived.join(path).exists()));
    for gone in left.iter().chain(&["target", "src/target", "build"]) {
        assert!(!arrived.join(gone).exists(), "{gone}");
    }
}

#[test]
fn all_addresses_of_a_receiver_are_told_and_how_many_its_ticket_names() {
    let world = World::new();
    let listens = ["--listen", "127.0.0.1:0"].repeat(12);
    let mut command = world.command("paris");
    command.arg("receive").arg("--into").arg(world.path("in")).args(&listens);
    let paris = support::process::Process::start(&mut command);
    let ticket = paris.wait_for("ticket");
    assert_eq!(ticket["addrs"].as_array().unwrap().len(), 12, "{ticket}");
    assert_eq!(paris.terminate(), 0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", world.path("paris")).args(["receive", "--into", "in"]);
    command.args(&listens).current_dir(world.path("")).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut paris = command.spawn().unwrap();
    let mut said = BufReader::new(paris.stderr.take().unwrap()).lines().map(Result::unwrap);
    let listening = said.find(|line| line.contains("listens at"));
    paris.kill().and_then(|()| paris.wait()).unwrap();
    let listening = listening.unwrap();
    assert_eq!(listening.matches("127.0.0.1:").count(), 12, "{listening}");
    assert!(listening.contains("(the ticket names the first 8)"), "{listening}");
}
