//! Tests of the output for a delivery that is more than bytes: links, streams, attributes, and what
//! is left behind.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Ran, World, text};

/// As a Python environment has them: links within it, and to what is installed on the machine.
fn environment(world: &World) -> std::path::PathBuf {
    let tree = world.path("venv");
    fs::create_dir_all(tree.join("lib")).unwrap();
    fs::create_dir_all(world.path("installed")).unwrap();
    fs::write(world.path("installed/python"), "program").unwrap();
    fs::write(tree.join("lib/module"), "module").unwrap();
    fs::hard_link(tree.join("lib/module"), tree.join("lib/same")).unwrap();
    symlink("lib", tree.join("lib64")).unwrap();
    symlink(world.path("installed/python"), tree.join("python")).unwrap();
    tree
}

/// Runs `send` with these arguments before the path.
fn send(world: &World, arguments: &[&str], path: &Path, ticket: &str) -> Ran {
    world.run(
        "lyon",
        ["send"]
            .iter()
            .chain(arguments)
            .map(|word| (*word).into())
            .chain([path.as_os_str().to_owned(), ticket.into()]),
    )
}

fn messages(ran: &Ran, name: &str) -> Vec<String> {
    ran.events
        .iter()
        .filter(|event| event["event"] == name)
        .map(|event| text(event, "message"))
        .collect()
}

#[test]
fn an_environment_arrives_as_it_was_or_as_both_ends_say() {
    let world = World::new();
    let tree = environment(&world);
    let (paris, ticket) = world.paris_with(&["--on-conflict", "replace"]);
    let ticket = text(&ticket, "ticket");
    let there = world.path("in/venv");

    let ran = send(&world, &[], &tree, &ticket);
    assert_eq!((ran.code, messages(&ran, "error").len()), (0, 0), "{:?}", ran.events);
    assert_eq!(fs::read_link(there.join("python")).unwrap(), world.path("installed/python"));
    assert_eq!(fs::read_link(there.join("lib64")).unwrap(), Path::new("lib"));
    assert_eq!(
        fs::metadata(there.join("lib/same")).unwrap().ino(),
        fs::metadata(there.join("lib/module")).unwrap().ino()
    );

    let ran = send(&world, &["--links", "follow"], &tree, &ticket);
    assert_eq!(ran.code, 0, "{:?}", ran.events);
    assert!(fs::symlink_metadata(there.join("python")).unwrap().is_file());
    assert_eq!(fs::read_to_string(there.join("python")).unwrap(), "program");

    let ran = send(&world, &["--links", "skip"], &tree, &ticket);
    assert_eq!(ran.code, 0, "it was asked for: {:?}", ran.events);
    assert!(fs::symlink_metadata(there.join("python")).is_err());
    let said = messages(&ran, "remark");
    assert!(said[0].contains("python was left out: it is a link that may lead out"), "{said:?}");
    // The receiver hears of it, too.
    let heard = text(&paris.wait_for("remark"), "message");
    assert!(heard.starts_with("the sender says: python was left out"), "{heard}");
    paris.kill();

    let (_paris, ticket) = world.paris_with(&["--links", "skip"]);
    let ran = send(&world, &["--as", "environment"], &tree, &text(&ticket, "ticket"));
    assert_eq!(
        (ran.code, world.arrived()),
        (0, vec!["environment".to_owned(), "venv".to_owned()]),
        "{:?}",
        ran.events
    );
    assert!(fs::symlink_metadata(world.path("in/environment/python")).is_err());
    let said = messages(&ran, "remark");
    assert!(said[0].starts_with("the receiver says: python was left out"), "{said:?}");
}

#[test]
fn what_is_named_is_meant_and_a_link_to_nothing_is_refused_before_anything_is_dialled() {
    let world = World::new();
    environment(&world);
    symlink("venv", world.path("named")).unwrap();
    symlink("nowhere", world.path("dangling")).unwrap();
    let (_paris, ticket) = world.paris();
    let ran = send(&world, &[], &world.path("named"), &text(&ticket, "ticket"));
    assert_eq!(ran.code, 0, "{:?}", ran.events);
    assert_eq!(fs::read_to_string(world.path("in/named/lib/module")).unwrap(), "module");
    let ran = send(&world, &[], &world.path("dangling"), "nobody/files");
    assert_eq!(ran.code, 6);
    assert!(
        messages(&ran, "error")[0].contains("a link that leads to nothing"),
        "{:?}",
        ran.events
    );
}

#[test]
fn attributes_of_a_file_that_is_sent_alone_come_with_it() {
    let world = World::new();
    let file = world.file("noted", 1000);
    let flags = rustix::fs::XattrFlags::empty();
    if let Err(error) = rustix::fs::setxattr(&file, "user.note", b"here", flags) {
        eprintln!("SKIPPED: no attribute can be set in {}: {error}", file.display());
        return;
    }
    let (paris, ticket) = world.paris_with(&["--on-conflict", "replace"]);
    let ticket = text(&ticket, "ticket");
    let there = || {
        let mut value = [0; 10];
        let length = rustix::fs::getxattr(world.path("in/noted"), "user.note", &mut value[..]);
        length.map(|length| value[..length].to_vec())
    };
    let ran = send(&world, &[], &file, &ticket);
    assert_eq!((ran.code, there().is_ok()), (0, false), "{:?}", ran.events);
    assert!(messages(&ran, "remark")[0].contains("were not sent: they were not asked for"));
    // The receiver hears of it, too, before it is told of the delivery.
    let heard = text(&paris.wait_for("remark"), "message");
    let said = "the sender says: extended attributes or ACLs of noted were not sent: they were";
    assert!(heard.starts_with(said), "{heard}");
    let ran = send(&world, &["--xattrs"], &file, &ticket);
    assert_eq!((ran.code, there().as_deref()), (0, Ok(&b"here"[..])), "{:?}", ran.events);
    assert_eq!(messages(&ran, "remark"), [""; 0]);
}

#[test]
fn a_name_that_is_none_is_refused_with_how_to_say_another() {
    let world = World::new();
    let file = world.file("file", 10);
    for name in ["", "..", "a/b", &"x".repeat(256)] {
        let ran = send(&world, &["--as", name], &file, "nobody/files");
        let message = text(ran.event("error"), "message");
        assert!(ran.code == 2 && message.contains("--as"), "{} {message}", ran.code);
    }
}

#[test]
fn many_entries_that_can_not_be_sent_are_one_line() {
    let world = World::new();
    let tree = world.path("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..300 {
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            tree.join(format!("fifo{number:03}")),
            rustix::fs::Mode::RWXU,
        )
        .unwrap();
    }
    let (_paris, ticket) = world.paris();
    let ran = send(&world, &[], &tree, &text(&ticket, "ticket"));
    assert_eq!(ran.code, 6);
    assert_eq!(
        messages(&ran, "error"),
        [
            "fifo000, fifo001, fifo002 and 297 more were left out: it is a device, a socket or a pipe"
        ]
    );
}

/// Runs `send` with `input` at its stdin.
fn send_stream(world: &World, arguments: &[&str], input: &[u8]) -> Ran {
    let mut command = world.command("lyon");
    let mut child = command
        .arg("send")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that refuses does not read it.
    std::thread::spawn(move || drop(stdin.write_all(&input)));
    Ran::from(child.wait_with_output().unwrap())
}

#[test]
fn a_stream_is_sent_from_stdin_or_a_command_and_has_a_name() {
    let world = World::new();
    let (_paris, ticket) = world.paris();
    let ticket = text(&ticket, "ticket");
    let content = vec![7; 1_000_000];
    for (arguments, name) in [
        (&["-"][..], "stream"),
        (&["--name", "dump.sql", "-"], "dump.sql"),
        (&["--as", "other", "-"], "other"),
    ] {
        let ran = send_stream(&world, &[arguments, &[&ticket]].concat(), &content);
        assert_eq!(ran.code, 0, "{:?}", ran.events);
        assert!(fs::read(world.path("in").join(name)).unwrap() == content, "{name}");
    }
    let ran = send_stream(&world, &["-", "-"], b"");
    assert_eq!(ran.code, 2);
    assert!(
        messages(&ran, "error")[0].contains("both what is sent and the ticket"),
        "{:?}",
        ran.events
    );
    assert_eq!(send_stream(&world, &["-", "Cargo.toml", &ticket], b"").code, 2);

    // What bash makes of <(command).
    let estafette = world.command("lyon");
    let script = "exec 9< <(seq 100000); exec \"$@\" send --as numbers /dev/fd/9 \"$TICKET\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", script, "-"])
        .arg(estafette.get_program())
        .args(estafette.get_args())
        .env("TICKET", &ticket)
        .env("HOME", world.path("lyon"));
    let ran = Ran::from(bash.stdin(Stdio::null()).output().unwrap());
    assert_eq!(ran.code, 0, "{:?}", ran.events);
    let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(fs::read_to_string(world.path("in/numbers")).unwrap() == expected);
}

#[test]
fn a_stream_is_sent_by_the_node_that_runs_and_stored_for_later() {
    let world = World::new();
    let (_paris, ticket) = world.paris();
    let ticket = text(&ticket, "ticket");
    let content = vec![9; 500_000];
    let stored = send_stream(&world, &["--detach", "--as", "later", "-", &ticket], &content);
    assert_eq!(
        (stored.code, &stored.event("stored")["copied"]),
        (0, &true.into()),
        "{:?}",
        stored.events
    );
    let lyon = world.lyon();
    assert_eq!(lyon.wait_for("delivered")["bytes"], 500_000);
    assert!(fs::read(world.path("in/later")).unwrap() == content);
    let ran = send_stream(&world, &["--as", "now", "-", &ticket], &content);
    assert_eq!(ran.code, 0, "{:?}", ran.events);
    assert!(fs::read(world.path("in/now")).unwrap() == content);
}

#[test]
fn one_delivery_goes_to_stdout_and_nothing_else_does() {
    let world = World::new();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(world.path("file"), &content).unwrap();
    let key = world.path("paris").with_extension("key");
    let mut command = world.command("paris");
    let mut receiver = Command::new(command.arg("id").get_program());
    receiver.env_clear().env("HOME", world.path("paris")).arg("--key").arg(&key).args([
        "receive",
        "--into",
        "-",
        "--listen",
        "127.0.0.1:0",
    ]);
    let mut child = receiver
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let ticket = lines
        .find_map(|line| {
            line.unwrap().strip_prefix("estafette1").map(|rest| format!("estafette1{rest}"))
        })
        .unwrap();
    let rest = std::thread::spawn(move || lines.map(Result::unwrap).collect::<Vec<_>>());
    let mut stdout = child.stdout.take().unwrap();
    let written = std::thread::spawn(move || {
        let mut written = Vec::new();
        stdout.read_to_end(&mut written).unwrap();
        written
    });
    let ran = send(&world, &[], &world.path("file"), &ticket);
    assert_eq!(ran.code, 0, "{:?}", ran.events);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{:?}", rest.join());
    assert!(written.join().unwrap() == content);
    let ran = world.run("paris", ["receive", "--into", "-"]);
    assert_eq!(ran.code, 2, "--json and content can't both have stdout: {:?}", ran.events);
    assert_eq!(world.run("paris", ["node", "--into", "-"]).code, 2);
}

#[test]
fn no_delivery_goes_to_a_terminal() {
    let world = World::new();
    // Its other end is a terminal to whoever asks, too.
    let terminal = fs::File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command
        .env_clear()
        .env("HOME", world.path("paris"))
        .args(["receive", "--once", "--listen", "nowhere", "--into", "-"]);
    let ended =
        command.stdin(Stdio::null()).stdout(terminal).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        ended.status.code() == Some(2) && said.contains("this terminal") && said.contains("> FILE"),
        "{said}"
    );
}

#[test]
fn who_watches_hears_which_way_a_delivery_goes_and_what_it_is_and_the_log_has_it() {
    let world = World::new();
    let file = world.file("letter", 3_000_000);
    let (paris, ticket) = world.paris();
    let mut command = world.command("lyon");
    command.args(["-v", "send"]).arg(&file).arg(text(&ticket, "ticket"));
    let output = command.output().unwrap();
    let log = String::from_utf8(output.stderr.clone()).unwrap();
    for said in ["a delivery begins", "letter", "delivered", "direction=Outgoing"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    for (event, direction) in [
        (Ran::from(output).event("delivered").clone(), "outgoing"),
        (paris.wait_for("delivered"), "incoming"),
    ] {
        assert_eq!(
            (text(&event, "direction"), text(&event, "inbox"), text(&event, "name")),
            (direction.into(), "files".into(), "letter".into())
        );
    }
}

#[test]
fn each_sender_has_a_folder_and_each_delivery_a_command_that_makes_it_processed() {
    let world = World::new();
    let log = world.path("log");
    fs::write(world.path("letter"), "dear").unwrap();
    let exec = format!(
        "echo \"$DELIVERY_NAME:$DELIVERY_PEER_NAME:$(cat \"$DELIVERY_PLACE\")\" >> '{}'",
        log.display()
    );
    let mut command = world.command("paris");
    command
        .args(["node", "--listen", "127.0.0.1:0", "--exec", &exec, "--into"])
        .arg(world.path("in/from-{peer}"));
    let paris = support::process::Process::start(&mut command);
    let ticket = text(&paris.wait_for("ticket"), "ticket");
    let stored = world.run(
        "lyon",
        ["send", "--detach", "--name", "lyon", world.path("letter").to_str().unwrap(), &ticket],
    );
    assert_eq!(stored.code, 0, "{:?}", stored.events);
    let lyon = world.lyon();
    lyon.wait_for("delivered");
    // Its sender hears that the command has succeeded.
    let mut state = String::new();
    while state != "processed" {
        state = text(&world.outbox()[0], "state");
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "letter:lyon:dear\n");
    let there =
        world.path("in").join(format!("from-lyon-{}", fingerprint(&world, "lyon"))).join("letter");
    assert_eq!(fs::read_to_string(there).unwrap(), "dear");
}

/// The end of the name of a sender's folder.
fn fingerprint(world: &World, who: &str) -> String {
    text(world.run(who, ["id"]).event("id"), "peer")[..16].to_owned()
}

#[test]
fn no_sender_gets_a_folder_by_what_it_calls_itself_nor_through_a_link() {
    let world = World::new();
    fs::create_dir_all(world.path("in/www")).unwrap();
    fs::write(world.path("in/www/index"), "mine").unwrap();
    fs::write(world.path("index"), "theirs").unwrap();
    let id = fingerprint(&world, "lyon");
    let start = || {
        let mut command = world.command("paris");
        command
            .args(["node", "--listen", "127.0.0.1:0", "--on-conflict", "replace", "--into"])
            .arg(world.path("in/{peer}"));
        let paris = support::process::Process::start(&mut command);
        let ticket = text(&paris.wait_for("ticket"), "ticket");
        (paris, ticket)
    };
    let (paris, ticket) = start();
    let ran = send(&world, &["--name", "www"], &world.path("index"), &ticket);
    assert_eq!(ran.code, 0, "{:?}", ran.events);
    assert_eq!(fs::read_to_string(world.path("in/www/index")).unwrap(), "mine");
    let its = world.path("in").join(format!("www-{id}"));
    assert_eq!(fs::read_to_string(its.join("index")).unwrap(), "theirs");

    // Renamed, it goes on in the folder it has.
    assert_eq!(paris.terminate(), 0);
    let renamed = world.path("in").join(format!("other-{id}"));
    fs::rename(&its, &renamed).unwrap();
    let (paris, ticket) = start();
    fs::write(world.path("second"), "more").unwrap();
    assert_eq!(send(&world, &[], &world.path("second"), &ticket).code, 0);
    assert_eq!(
        (fs::read_to_string(renamed.join("second")).unwrap(), its.exists()),
        ("more".into(), false)
    );

    // A link is not followed, of a folder that was used before, either.
    fs::rename(&renamed, world.path("away")).unwrap();
    symlink(world.path("in/www"), &renamed).unwrap();
    let ran = send(&world, &["--patience", "0s"], &world.path("index"), &ticket);
    assert_ne!(ran.code, 0, "{:?}", ran.events);
    drop(paris);
    assert_eq!(fs::read_to_string(world.path("in/www/index")).unwrap(), "mine");
}

#[test]
fn what_was_left_out_on_request_is_no_error_beside_what_could_not_be_read() {
    let world = World::new();
    let tree = world.path("tree");
    fs::create_dir(&tree).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("out")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let (_paris, ticket) = world.paris();
    let ran = send(&world, &["--links", "skip"], &tree, &text(&ticket, "ticket"));
    let said = |kind: &str| {
        let events = ran.events.iter().filter(|event| event["event"] == kind);
        events.map(|event| text(event, "message")).collect::<Vec<_>>()
    };
    assert_eq!(ran.code, 6, "{:?}", ran.events);
    assert!(said("error").len() == 1 && said("error")[0].starts_with("pipe was left out: "));
    assert!(said("remark").iter().any(|line| line.starts_with("out was left out: ")));
}

#[test]
fn a_command_that_fails_leaves_its_delivery_unprocessed_and_is_told() {
    let world = World::new();
    fs::write(world.path("letter"), "dear").unwrap();
    let (paris, ticket) = world.paris_with(&["--exec", "exit 3"]);
    let ran = send(&world, &[], &world.path("letter"), &text(&ticket, "ticket"));
    assert_eq!(ran.code, 0, "{:?}", ran.events);
    let error = text(&paris.wait_for("error"), "message");
    assert!(
        error.contains("the command of --exec failed for letter") && error.contains('3'),
        "{error}"
    );
}

/// A trusted peer that does not run: its id, and an inbox of it.
fn nobody(world: &World) -> (String, String) {
    let id = text(world.run("nobody", ["id"]).event("id"), "peer");
    let trusted = ["trust", "add", &*id, "--name", "nobody", "--addr", "127.0.0.1:1"];
    assert_eq!(world.run("lyon", trusted).code, 0);
    (id, "nobody/files".into())
}

#[test]
fn nothing_is_sent_nor_stored_for_any_destination_where_one_is_unknown() {
    let world = World::new();
    fs::write(world.path("letter"), "dear").unwrap();
    let (_paris, ticket) = world.paris_with(&["--on-conflict", "rename"]);
    let (ticket, letter) = (text(&ticket, "ticket"), world.path("letter"));
    let own = text(world.run("lyon", ["id"]).event("id"), "peer");
    for second in ["stranger/files", "no-ticket", &*format!("{own}/files")] {
        for how in [&["--to", second][..], &["--to", second, "--detach"]] {
            let ran = send(&world, how, &letter, &ticket);
            assert_eq!((ran.code, ran.events.len()), (2, 1), "{:?}", ran.events);
        }
    }
    assert!(world.arrived().is_empty() && world.outbox().is_empty());
    assert_eq!(send(&world, &["--to", &ticket], &letter, &ticket).code, 0);
}

#[test]
fn several_destinations_get_it_and_one_that_fails_keeps_none_from_it() {
    let world = World::new();
    fs::write(world.path("letter"), "dear").unwrap();
    let (_paris, ticket) = world.paris_with(&["--on-conflict", "rename"]);
    let ticket = text(&ticket, "ticket");
    let (_, away) = nobody(&world);
    let ran = send(
        &world,
        &["--to", &away, "--to", &ticket, "--limit", "1MB", "--patience", "1s"],
        &world.path("letter"),
        &ticket,
    );
    assert_eq!(
        (ran.code, world.arrived()),
        (4, vec!["letter".to_owned(), "letter (1)".to_owned()]),
        "{:?}",
        ran.events
    );
    assert_eq!(ran.events.iter().filter(|event| event["event"] == "delivered").count(), 2);
}
