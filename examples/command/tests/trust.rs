//! Tests of trust: the nodes that are let in, their names, and the places where their deliveries
//! may go.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use estafette::node::{FileStore, Trust};
use serde_json::{Value, json};
use support::process::Process;
use support::{Ran, World, text};

fn id(world: &World, who: &str) -> String {
    text(world.run(who, ["id"]).event("id"), "peer")
}

/// That it ended as wrong usage, with this in its message.
#[track_caller]
fn refused(ran: &Ran, word: &str) {
    let error = ran.event("error");
    assert!(ran.code == 2 && text(error, "message").contains(word), "{} {error}", ran.code);
}

/// A receiver that has printed its ticket; dropping it kills it.
fn receive(world: &World, arguments: &[&str]) -> (Process, Value) {
    let mut command = world.command("paris");
    command
        .args(["receive", "--name", "paris", "--listen", "127.0.0.1:0", "--into"])
        .arg(world.path("in"))
        .args(arguments);
    let process = Process::start(&mut command);
    let ticket = process.wait_for("ticket");
    (process, ticket)
}

fn send(world: &World, path: &Path, to: &str) -> Ran {
    world.run(
        "lyon",
        [
            "send".as_ref(),
            "--name".as_ref(),
            "lyon".as_ref(),
            "--".as_ref(),
            path.as_os_str(),
            to.as_ref(),
        ],
    )
}

/// The shortest beginning of an id, of sixteen characters or more, that can be told from a word: two
/// digits, and a letter behind them. One id in twenty has no such sixteen.
fn marked_beginning(id: &str) -> &str {
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    (16..id.len())
        .map(|end| &id[..end])
        .find(|part| digits(part) > 1 && part.ends_with(|last: char| last.is_ascii_alphabetic()))
        .unwrap_or(id)
}

#[test]
fn an_id_means_a_node_and_never_one_that_is_called_so() {
    let world = World::new();
    let (victim, attacker, file) =
        (id(&world, "victim"), id(&world, "attacker"), world.file("secret", 10));
    let beginning = marked_beginning(&victim);
    let grouped = format!("{}-{}", &victim[..26], &victim[26..]);
    for name in [
        &victim,
        &victim.to_uppercase(),
        &format!(" {victim}"),
        beginning,
        &grouped,
        "-x",
        "a/b",
        "a\nb",
        "",
    ] {
        let name = format!("--name={name}");
        refused(&world.run("paris", ["trust", "add", &attacker, &name]), "name");
        refused(
            &world.run("lyon", ["send", &name, "--", file.to_str().unwrap(), "paris/files"]),
            "name",
        );
        refused(
            &world.run("lyon", ["receive", &name, "--into", world.path("in").to_str().unwrap()]),
            "name",
        );
    }
    assert_eq!(
        world
            .run("lyon", ["trust", "add", &attacker, "--name", "attacker", "--addr", "127.0.0.1:1"])
            .code,
        0
    );
    for to in [victim.clone(), victim.to_uppercase()] {
        refused(&send(&world, &file, &format!("{to}/files")), "is not trusted");
        refused(&world.run("lyon", ["trust", "remove", &to]), "is not trusted");
    }
    // A name that has the fingerprint of another peer in it, of a known one.
    refused(
        &world.run("lyon", ["trust", "add", &victim, &format!("--name=lille-{}", &attacker[..8])]),
        "looks like the id",
    );
    // A name that two have: both are told, and neither gets it.
    assert_eq!(world.run("lyon", ["trust", "add", &victim, "--name", "attacker"]).code, 0);
    let ran = send(&world, &file, "attacker/files");
    refused(&ran, &victim);
    refused(&ran, &attacker);
    assert_eq!(
        world.run("lyon", ["trust", "remove", &victim[..8]]).code,
        0,
        "the beginning of an id is enough"
    );
}

#[test]
fn a_delivery_says_by_name_and_fingerprint_where_it_went() {
    let world = World::new();
    let (paris, file) = (id(&world, "paris"), world.file("file", 1000));
    let (receiver, ticket) = receive(&world, &[]);
    let address = text(&ticket, "addr");
    world.run("lyon", ["trust", "add", &paris, "--name", "capital", "--addr", &address]);
    let sent = send(&world, &file, &text(&ticket, "ticket"));
    let delivered = sent.event("delivered");
    assert_eq!(
        (text(delivered, "peer_name"), text(delivered, "fingerprint")),
        ("capital".into(), paris[..8].into()),
        "our name for it"
    );
    assert_eq!(text(&receiver.wait_for("delivered"), "peer_name"), "lyon");
    // For people, too.
    let second = world.file("second", 10);
    let mut plain = std::process::Command::new(env!("CARGO_BIN_EXE_estafette"));
    plain
        .env_clear()
        .env("HOME", world.path("lyon"))
        .stdin(Stdio::null())
        .arg("--key")
        .arg(world.path("lyon.key"));
    let output =
        plain.args(["send", second.to_str().unwrap(), &format!("{paris}/files")]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("to capital ({})", &paris[..8])), "{said}");
}

#[test]
fn a_ticket_is_given_out_again_until_it_is_used_and_can_be_looked_after() {
    let world = World::new();
    let file = world.file("file", 1000);
    let (first, ticket) = receive(&world, &[]);
    let port = text(&ticket, "addr");
    drop(first);
    let again = format!("--listen={port}");
    let token = |ticket: &Value| {
        text(&world.run("lyon", ["ticket", &text(ticket, "ticket")]).events[0], "inbox")
            + &text(ticket, "ticket")
    };
    let (receiver, second) = {
        let mut command = world.command("paris");
        command.args(["receive", "--name", "paris", &again, "--into"]).arg(world.path("in"));
        let process = Process::start(&mut command);
        let ticket = process.wait_for("ticket");
        (process, ticket)
    };
    assert_eq!(token(&second), token(&ticket), "the same one");
    let listed = world.run("paris", ["ticket", "list"]);
    assert_eq!(listed.events.len(), 1, "{:?}", listed.events);
    assert_eq!(listed.events[0]["used_by"], serde_json::json!([]));
    let body = text(&second, "ticket");
    assert!(!listed.events[0].to_string().contains(&body[body.len() - 30..]), "never the ticket");
    // By a file, and by a pipe: in no list of processes.
    fs::write(world.path("ticket.txt"), format!("{body}\n")).unwrap();
    let by_file = send(&world, &file, &format!("@{}", world.path("ticket.txt").display()));
    assert_eq!(by_file.code, 0, "{:?}", by_file.events);
    receiver.wait_for("delivered");
    let mut piped = world
        .command("lyon")
        .args(["send", world.file("other", 10).to_str().unwrap(), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    assert!(piped.wait_with_output().unwrap().status.success());
    let used = world.run("paris", ["ticket", "list"]);
    assert_eq!(used.events[0]["used_by"], serde_json::json!([id(&world, "lyon")]));
    drop(receiver);
    // Used up, it is not given out again; the next one can be withdrawn.
    let (receiver, third) = receive(&world, &[]);
    assert_ne!(text(&third, "ticket"), body);
    let open = world
        .run("paris", ["ticket", "list"])
        .events
        .into_iter()
        .find(|ticket| ticket["used_by"] == serde_json::json!([]))
        .unwrap();
    let revoked = world.run("paris", ["ticket", "revoke", &text(&open, "id")[..6]]);
    assert_eq!(revoked.code, 0, "{:?}", revoked.events);
    let stranger = world.run("nantes", ["send", file.to_str().unwrap(), &text(&third, "ticket")]);
    assert_eq!((stranger.code, text(stranger.event("error"), "kind")), (3, "untrusted".into()));
    drop(receiver);
}

#[test]
fn deliveries_go_into_no_home_and_no_folder_with_keys_unless_asked_to() {
    let world = World::new();
    let (home, below) = (world.path("paris"), world.path("paris/inbox"));
    fs::create_dir_all(&below).unwrap();
    symlink(&home, world.path("link")).unwrap();
    for into in [
        home.clone(),
        world.path("link"),
        world.path(""),
        "/".into(),
        "/etc".into(),
        "/etc/cron.d".into(),
        world.path("paris.key.trust"),
    ] {
        let ran = world.run("paris", ["receive".as_ref(), "--into".as_ref(), into.as_os_str()]);
        refused(&ran, "deliveries would go into");
        assert!(text(ran.event("error"), "hint").contains("--into-home"));
    }
    for arguments in [
        vec!["--into-home", "--into", home.to_str().unwrap()],
        vec!["--into", below.to_str().unwrap()],
    ] {
        let mut command = world.command("paris");
        let process =
            Process::start(command.args(["receive", "--listen", "127.0.0.1:0"]).args(arguments));
        process.wait_for("ticket");
    }
}

#[test]
fn a_name_with_a_dot_is_taken_only_where_that_was_said_and_modes_are_masked() {
    let world = World::new();
    let (dotted, plain) = (world.file(".profile", 10), world.file("tool", 10));
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o777)).unwrap();
    let start = |arguments: &str| {
        let command = world.command("paris");
        let mut shell = std::process::Command::new("sh");
        shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let program = env!("CARGO_BIN_EXE_estafette");
        let (key, into) = (world.path("paris.key"), world.path("in"));
        let line = format!(
            "umask 027; exec {program} --json --key {} receive --listen 127.0.0.1:0 {arguments} \
             --into {}",
            key.display(),
            into.display()
        );
        let process = Process::start(shell.args(["-c", &line]));
        let ticket = text(&process.wait_for("ticket"), "ticket");
        (process, ticket)
    };
    let (receiver, ticket) = start("");
    let ran = send(&world, &dotted, &ticket);
    assert!(
        ran.code == 3 && text(ran.event("error"), "message").contains("begins with a dot"),
        "{:?}",
        ran.events
    );
    assert_eq!(send(&world, &plain, &ticket).code, 0);
    let mode = fs::metadata(world.path("in/tool")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750, "the receiver's umask counts");
    drop(receiver);
    let (_receiver, ticket) = start("--dotfiles");
    assert_eq!(send(&world, &dotted, &ticket).code, 0);
    assert!(world.path("in/.profile").exists());
}

#[test]
fn a_node_is_no_peer_of_itself() {
    let world = World::new();
    let (own, other) = (id(&world, "lyon"), id(&world, "other"));
    refused(&world.run("lyon", ["trust", "add", &own, "--name", "me"]), "is this node itself");
    refused(
        &send(&world, &world.file("letter", 10), &format!("{own}/files")),
        "the id of this node itself",
    );
    assert_eq!(
        world
            .run("lyon", ["trust", "add", &other, "--name", "other", "--addr", "127.0.0.1:1"])
            .code,
        0
    );
    // One that became so: the key of the other one was copied here.
    fs::copy(world.path("other.key"), world.path("lyon.key")).unwrap();
    refused(&world.run("lyon", ["node", "--connect", "other"]), "is this node itself");
    let mut plain = std::process::Command::new(env!("CARGO_BIN_EXE_estafette"));
    let output = plain
        .env_clear()
        .env("HOME", world.path("lyon"))
        .arg("--key")
        .arg(world.path("lyon.key"))
        .args(["trust", "list"])
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("this node itself"));
    assert_eq!(world.run("lyon", ["trust", "remove", "other"]).code, 0);
}

#[test]
fn a_sender_hears_that_the_trust_of_a_receiver_can_t_be_read() {
    let world = World::new();
    let (_paris, ticket) = receive(&world, &["--on-conflict", "rename"]);
    let (file, ticket) = (world.file("letter", 10), text(&ticket, "ticket"));
    assert_eq!(send(&world, &file, &ticket).code, 0);
    fs::rename(world.path("paris.key.trust"), world.path("away")).unwrap();
    let ran = send(&world, &file, &ticket);
    let message = text(ran.event("error"), "message");
    assert!(ran.code != 0 && message.contains("can't read now whom it trusts"), "{message}");
}

/// The one peer in `trust list`.
fn known(world: &World, who: &str) -> Value {
    world.run(who, ["trust", "list"]).event("peer").clone()
}

#[test]
fn what_is_not_said_of_a_known_peer_stays_as_it_is() {
    let world = World::new();
    let dijon = id(&world, "dijon");
    let add = |more: &[&str]| world.run("lyon", [&["trust", "add", &dijon], more].concat());
    refused(&add(&[]), "needs a name");
    let first = ["--name", "dijon", "--addr", "127.0.0.1:7", "--valid", "1h", "--relay-only"];
    assert_eq!(add(&first).code, 0);
    let before = known(&world, "lyon");
    let renamed = add(&["--name", "dijon2"]);
    let (told, after) = (renamed.event("trusted"), known(&world, "lyon"));
    for field in ["addrs", "inboxes", "expires"] {
        assert_eq!(before[field], after[field], "{field}");
        assert_eq!(told[field], after[field], "{field} is told");
    }
    assert_eq!(after["name"], "dijon2");
    assert_eq!((&after["inboxes"], &after["addrs"]), (&json!([]), &json!(["127.0.0.1:7"])));
    // Each is changed alone, and what widens has its word.
    assert_eq!(add(&["--addr", "127.0.0.1:8"]).code, 0);
    let moved = known(&world, "lyon");
    assert_eq!((&moved["inboxes"], &moved["addrs"]), (&json!([]), &json!(["127.0.0.1:8"])));
    assert_eq!((&moved["name"], &moved["expires"]), (&json!("dijon2"), &before["expires"]));
    assert_eq!(add(&["--all-inboxes"]).code, 0);
    let wide = known(&world, "lyon");
    assert_eq!((&wide["inboxes"], &wide["expires"]), (&json!(["*"]), &before["expires"]));
    assert_eq!(add(&["--no-end"]).code, 0);
    let endless = known(&world, "lyon");
    assert_eq!((&endless["expires"], &endless["addrs"]), (&Value::Null, &json!(["127.0.0.1:8"])));
    refused(&add(&["--no-end", "--valid", "1h"]), "--no-end");
    refused(&add(&["--relay-only", "--all-inboxes"]), "--all-inboxes");
}

#[test]
fn times_of_nothing_are_refused_and_an_expired_ticket_is_not_to_be_sent_with_again() {
    let world = World::new();
    let (other, inside) = (id(&world, "other"), world.path("in"));
    for time in ["0s", "500ms"] {
        let valid = ["--valid", time];
        let add = ["trust", "add", &other, "--name", "other"];
        refused(&world.run("lyon", [&add[..], &valid].concat()), "1s at least");
        let receive = ["receive", "--into", inside.to_str().unwrap()];
        refused(&world.run("lyon", [&receive[..], &valid].concat()), "1s at least");
        let node = ["node", "--check", "--exec-timeout", time];
        refused(&world.run("lyon", node), "1s at least");
    }
    let (_paris, there) = receive(&world, &[]);
    let store = FileStore::open(world.path("paris.key.trust")).unwrap();
    let issuer = id(&world, "paris").parse().unwrap();
    let addresses = vec![text(&there, "addr")];
    let trust = Trust::load(Arc::new(store)).unwrap();
    let ticket = trust.issue(issuer, addresses, "files", 1, Duration::ZERO).unwrap();
    let ran = send(&world, &world.file("letter", 10), &ticket.to_string());
    let (message, hint) = (text(ran.event("error"), "message"), text(ran.event("error"), "hint"));
    assert!(message.contains("has expired: ask for a new one"), "{message}");
    assert!(ran.code == 3 && !hint.contains("send again"), "{} {hint}", ran.code);
}

#[test]
fn more_addresses_than_a_ticket_has_and_a_spool_that_is_a_file_are_told_as_that() {
    let world = World::new();
    let many: Vec<_> = (1..=9).map(|port| format!("--advertise=gate.example.org:{port}")).collect();
    let into = world.path("in");
    let mut receive = vec!["receive", "--listen", "127.0.0.1:0", "--into", into.to_str().unwrap()];
    receive.extend(many.iter().map(String::as_str));
    let refused = world.run("paris", receive);
    let error = refused.event("error");
    assert_eq!((refused.code, &error["kind"]), (2, &json!("usage")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("8 addresses at most, not 9"), "{error}");
    let file = world.path("file");
    std::fs::write(&file, "x").unwrap();
    let looked = world.run("lyon", ["doctor", "--spool", file.to_str().unwrap()]);
    let found = looked.events.iter().find(|event| event["severity"] == "damage");
    assert_eq!(looked.code, 6, "{:?}", looked.events);
    assert!(found.unwrap()["what"].as_str().unwrap().contains("is no folder"), "{found:?}");
}
