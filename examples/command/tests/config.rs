//! `--config`: a node that is what its file says, and who says it otherwise.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use support::process::Process;
use support::{Ran, World, text};

/// The command with nothing said but what it is given, in the folder of the world.
fn bare(world: &World, who: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", world.path(who)).current_dir(world.path("."));
    command.stdin(Stdio::null());
    command
}

fn written(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.path(name);
    fs::write(&path, text).unwrap();
    path
}

fn run(command: &mut Command) -> Ran {
    Ran::from(command.output().unwrap())
}

const PARIS: &str = "\
json = true
key = 'p.key'
spool = 'p.spool'
name = 'paris'
listen = '127.0.0.1:0'
into = 'from-file'
on_conflict = 'rename'
drain = '5s'

[limits]
window = '512KiB'
pool = '1MiB'
chunk_size = '64KiB'
";

#[test]
fn what_a_file_says_of_compression_counts_unless_a_send_says_otherwise() {
    let world = World::new();
    let lyon = "json = true\nkey = 'l.key'\nspool = 'l.spool'\n[limits]\ncompression = 'off'\n";
    written(&world, "paris.toml", PARIS);
    written(&world, "lyon.toml", lyon);
    let paris = Process::start(bare(&world, "paris").args(["node", "--config", "paris.toml"]));
    let ticket = text(&paris.wait_for("ticket"), "ticket");
    let file = world.file("letter", 300_000);
    let codec_of = |arguments: &[&str]| {
        let mut lyon = bare(&world, "lyon");
        lyon.args(["--config", "lyon.toml", "send"]).args(arguments).arg(&file).arg(&ticket);
        let ran = run(&mut lyon);
        assert_eq!(ran.code, 0, "{:?}", ran.events);
        ran.event("delivered")["codec"].as_str().map(ToOwned::to_owned)
    };
    let said = || {
        let codecs = [&[][..], &["--compress", "lz4"], &["--compress", "snappy"]].map(codec_of);
        assert_eq!(codecs, [None, Some("lz4".into()), Some("snappy".into())]);
    };
    said();
    // By a node that runs, too.
    let mut node = bare(&world, "lyon");
    let lyon = Process::start(node.args(["node", "--config", "lyon.toml"]));
    lyon.wait_for("ready");
    said();
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
}

#[test]
fn a_node_is_what_its_file_says_and_other_commands_find_it_by_it() {
    let world = World::new();
    written(&world, "paris.toml", PARIS);
    written(&world, "lyon.toml", "json = true\nkey = 'l.key'\n[limits]\ndial_for = '60s'\n");
    let paris = Process::start(bare(&world, "paris").args(["node", "--config", "paris.toml"]));
    let ticket = text(&paris.wait_for("ticket"), "ticket");
    let file = world.file("letter", 300_000);
    for place in ["letter", "letter (1)"] {
        let mut lyon = bare(&world, "lyon");
        lyon.env("ESTAFETTE_CONFIG", "lyon.toml").arg("send").arg(&file).arg(&ticket);
        let ran = run(&mut lyon);
        assert_eq!(ran.code, 0, "{:?}", ran.events);
        let place = world.path("from-file").join(place);
        assert_eq!(fs::read(place).unwrap(), fs::read(&file).unwrap());
    }
    for made in ["p.key", "p.spool", "l.key"] {
        assert!(world.path(made).exists(), "{made}");
    }
    // The node that runs is asked by the spool that the file names.
    let mut list = bare(&world, "paris");
    let ran = run(list.args(["inbox", "--config", "paris.toml", "list"]));
    assert_eq!((ran.code, ran.events.len()), (0, 2), "{:?}", ran.events);
    // Its window holds eight chunks of 64 KiB: larger ones than half of it are refused.
    let mut large = bare(&world, "lyon");
    large.args(["--config", "lyon.toml", "send", "--chunk-size", "512K"]).arg(&file).arg(&ticket);
    let ran = run(&mut large);
    let message = text(ran.event("error"), "message");
    assert!(message.contains("262144 is the most"), "{message}");
    assert_eq!(paris.terminate(), 0);
}

#[test]
fn a_flag_counts_before_a_variable_and_that_before_the_file() {
    let world = World::new();
    written(&world, "paris.toml", PARIS);
    let file = world.file("letter", 1000);
    for (variable, flag, place) in [
        (None, None, "from-file"),
        (Some("from-variable"), None, "from-variable"),
        (Some("from-variable"), Some("from-flag"), "from-flag"),
        (None, Some("from-flag-alone"), "from-flag-alone"),
    ] {
        let mut command = bare(&world, "paris");
        command.args(["node", "--config", "paris.toml"]);
        command.envs(variable.map(|folder| ("ESTAFETTE_INTO", folder)));
        command.args(flag.map(|folder| format!("--into={folder}")));
        let paris = Process::start(&mut command);
        let ticket = text(&paris.wait_for("ticket"), "ticket");
        let sent = run(bare(&world, "lyon").args(["--json", "send", "letter", &ticket]));
        assert_eq!(sent.code, 0, "{:?}", sent.events);
        let arrived = world.path(place).join("letter");
        assert_eq!(fs::read(arrived).unwrap(), fs::read(&file).unwrap(), "{place}");
        assert_eq!(paris.terminate(), 0);
    }
    // What is on in the file is off by its variable.
    written(&world, "relay.toml", "json = true\nrelay = true\nlisten = '127.0.0.1:0'\n");
    let check = |value: &str| {
        let mut command = bare(&world, "paris");
        command.env("ESTAFETTE_RELAY", value).env("ESTAFETTE_RELAY_PACKAGES", "5");
        run(command.args(["node", "--config", "relay.toml", "--check"])).code
    };
    assert_eq!((check("true"), check("false")), (0, 0));
}

#[test]
fn a_variable_of_a_switch_that_is_neither_true_nor_false_is_refused() {
    let world = World::new();
    let relay = |value: &str| {
        let mut command = bare(&world, "paris");
        command.env("ESTAFETTE_RELAY", value).args(["--json", "node", "--check"]);
        run(command.args(["--listen", "127.0.0.1:0"]))
    };
    for value in ["flase", "none", "disabled", "0 ", "2", "tru"] {
        let ran = relay(value);
        let message = text(ran.event("error"), "message");
        assert!(message.contains("ESTAFETTE_RELAY is true"), "{value:?}: {message}");
        assert_eq!(ran.code, 2, "{value:?}");
    }
    for value in ["", "true", "TRUE", "1", "yes", "on", "false", "0", "No", "off"] {
        assert_eq!(relay(value).code, 0, "{value:?}");
    }
}

#[test]
fn all_faults_of_a_file_are_said_before_anything_is_made() {
    let world = World::new();
    let wrong = format!("{PARIS}windw = 1\nstall = 'long'\n").replace("'rename'", "'keep'");
    written(&world, "wrong.toml", &wrong);
    for arguments in [&["node"][..], &["node", "--check"], &["outbox", "list"]] {
        let mut command = bare(&world, "paris");
        let ran = run(command.args(["--json", "--config", "wrong.toml"]).args(arguments));
        let error = ran.event("error");
        let message = text(error, "message");
        for fault in [
            "wrong.toml:7: `on_conflict`: \"keep\": it is one of refuse, rename, replace, merge",
            "wrong.toml:14: `limits.windw`: there is no such key; the nearest is `window`",
            "wrong.toml:15: `limits.stall`: \"long\" can't be read: a time is a number and a unit",
        ] {
            assert!(message.contains(fault), "{message}");
        }
        assert_eq!((ran.code, text(error, "kind")), (2, "usage".into()));
    }
    assert!(!world.path("p.key").exists() && !world.path("from-file").exists());
    // To a person, each on its line.
    let output = bare(&world, "paris").args(["--config", "wrong.toml", "node"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().filter(|line| line.starts_with("wrong.toml:")).count(), 3, "{said}");
}

#[test]
fn a_check_looks_at_file_and_flags_together_and_makes_nothing() {
    let world = World::new();
    written(&world, "paris.toml", PARIS);
    let check = |arguments: &[&str]| {
        let mut command = bare(&world, "paris");
        run(command.args(["--config", "paris.toml", "node", "--check", "--json"]).args(arguments))
    };
    let ran = check(&[]);
    assert_eq!((ran.code, text(ran.event("checked"), "file")), (0, "paris.toml".into()));
    assert!(!world.path("p.key").exists() && !world.path("from-file").exists());
    fs::write(world.path("p.key"), "no key").unwrap();
    let ran = check(&["--into", "."]);
    let errors = ran.events.iter().filter(|event| event["event"] == "error").count();
    assert!(ran.code != 0 && errors == 2, "{:?}", ran.events);
}

#[test]
fn a_check_says_what_a_start_would_say_and_both_make_nothing() {
    let world = World::new();
    let base = PARIS.replace("into = 'from-file'\n", "");
    let inbox =
        |into: &str| format!("{base}[[inbox]]\nname = 'a'\nkind = 'folder'\ninto = '{into}'\n");
    let said = |text: &str| {
        written(&world, "paris.toml", text);
        [&["--check"][..], &[]].map(|check| {
            let mut node = bare(&world, "paris");
            let ran = run(node.args(["--json", "--config", "paris.toml", "node"]).args(check));
            let faults = ran.events.iter().map(text_of).collect::<Vec<_>>();
            (ran.code, faults)
        })
    };
    let folders = [
        (format!("into = 'no/in'\n{base}"), "can't open its folder"),
        (inbox("no/in"), "paris.toml:13: inbox `a`: the receiver can't open its folder"),
        (base.replace("p.spool", "no/spool"), "the folder that is to hold it is not there"),
        (format!("into = 'paris.toml'\n{base}"), "not a directory"),
    ];
    let settings = [
        (format!("connect = ['dijon', 'metz']\n{base}"), "no peer is called \"dijon\" here"),
        (format!("connect = 'dijon'\n{base}"), "estafette trust list"),
        (
            format!("{base}compression = 'codec:20'\n"),
            "paris.toml:13: `limits.compression`: the codec number 20 is not registered here",
        ),
        (inbox(""), "paris.toml:16: `inbox.into`: it is empty: name a folder"),
    ];
    let wrong = folders.iter().map(|wrong| (wrong, 6));
    for ((text, word), code) in wrong.chain(settings.iter().map(|wrong| (wrong, 2))) {
        let [check, start] = said(text);
        assert_eq!(check, start);
        assert_eq!(
            (check.0, check.1.concat().contains(word)),
            (code, true),
            "{check:?}, no {word}"
        );
        assert!(!world.path("p.key").exists() && !world.path("no").exists());
    }
    assert_eq!(said(&settings[0].0)[0].1.len(), 2, "each of the peers is named");
    // A disk that is not mounted.
    let text = format!("into = 'disk'\n{}", inbox("other"));
    written(&world, "paris.toml", &text);
    let paris = Process::start(bare(&world, "paris").args(["node", "--config", "paris.toml"]));
    paris.wait_for("ticket");
    paris.wait_for("ticket");
    assert_eq!(paris.terminate(), 0);
    for gone in ["disk", "other"] {
        fs::remove_dir(world.path(gone)).unwrap();
    }
    let [check, start] = said(&text);
    assert_eq!(check, start);
    assert!(check.1.iter().all(|fault| fault.contains("is its disk mounted?")), "{check:?}");
    assert_eq!((check.0, check.1.len()), (6, 2));
    // This node itself, and a peer that nobody can dial.
    fs::create_dir(world.path("disk")).unwrap();
    let own = text_of_peer(&run(bare(&world, "paris").args(["--config", "paris.toml", "id"])));
    let lyon = text_of_peer(&run(bare(&world, "lyon").args(["--json", "id"])));
    let mut trust = bare(&world, "paris");
    trust.args(["--config", "paris.toml", "trust", "add", &lyon, "--name", "lyon"]);
    assert_eq!(run(&mut trust).code, 0);
    let [check, start] = said(&format!("connect = ['{own}', 'lyon']\n{base}"));
    assert_eq!(check, start);
    assert!(check.1[0].contains("this node itself") && check.1[1].contains("can be dialled"));
}

/// The message and the hint of an error.
fn text_of(event: &serde_json::Value) -> String {
    format!("{} {}", text(event, "message"), text(event, "hint"))
}

fn text_of_peer(ran: &Ran) -> String {
    text(ran.event("id"), "peer")
}

#[test]
fn a_node_has_the_inboxes_of_its_file_each_with_a_ticket_of_its_own() {
    let world = World::new();
    let inboxes = "
        [[inbox]]
        name = 'photos'
        kind = 'folder'
        into = 'photos'
        on_conflict = 'rename'
        [[inbox]]
        name = 'measure'
        kind = 'null'
    ";
    let start = |text: &str, tickets: usize| {
        written(&world, "paris.toml", text);
        let node = Process::start(bare(&world, "paris").args(["node", "--config", "paris.toml"]));
        let tickets: Vec<_> = (0..tickets).map(|_| node.wait_for("ticket")).collect();
        (node, tickets)
    };
    let (paris, tickets) = start(&format!("{PARIS}{inboxes}"), 3);
    let names: Vec<_> = tickets.iter().map(|ticket| text(ticket, "inbox")).collect();
    assert_eq!(names, ["files", "photos", "measure"]);
    let file = world.file("letter", 1000);
    let send = |to: &str| {
        let ran = run(bare(&world, "lyon").args(["--json", "send", "letter", to]));
        assert_eq!(ran.code, 0, "{:?}", ran.events);
    };
    tickets.iter().for_each(|ticket| send(&text(ticket, "ticket")));
    for place in ["from-file/letter", "photos/letter"] {
        assert_eq!(fs::read(world.path(place)).unwrap(), fs::read(&file).unwrap());
    }
    // Who knows the node names the inbox.
    let (id, address) = (text(&tickets[1], "peer"), text(&tickets[1], "addr"));
    let mut trust = bare(&world, "lyon");
    trust.args(["--json", "trust", "add", &id, "--name", "paris", "--addr", &address]);
    assert_eq!(run(&mut trust).code, 0);
    send("paris/photos");
    assert!(world.path("photos/letter (1)").exists());
    assert_eq!(paris.terminate(), 0);
    // Without `into`, there are these alone.
    let alone = PARIS.replace("into = 'from-file'", "");
    let (paris, tickets) = start(&format!("{alone}{inboxes}"), 2);
    assert_eq!(text(&tickets[0], "inbox"), "photos");
    assert_eq!(paris.terminate(), 0);
    // A folder is looked at as `--into` is, and one that can't be made is named with its place.
    for (wrong, said, code) in [
        ("into = '/etc'", "which is a folder of the system", 2),
        ("into = '.'", "which is your home folder, or above it", 2),
        ("into = 'no/where'", "the receiver can't open its folder", 6),
        ("into = 'photos/{peer}'", "{peer} is for `into` alone", 2),
    ] {
        let wrong = inboxes.replace("into = 'photos'", wrong);
        written(&world, "wrong.toml", &format!("{alone}{wrong}"));
        let mut node = bare(&world, "paris");
        let ran = run(node.args(["--json", "node", "--config", "wrong.toml"]));
        let message = text(ran.event("error"), "message");
        assert!(
            message.contains(said) && message.contains("wrong.toml:15: inbox `photos`"),
            "{message}"
        );
        assert_eq!(ran.code, code);
    }
    // The name of the one that `into` makes is taken, as a check says, too.
    let named = inboxes.replace("'photos'", "'files'").replace("into = 'files'", "into = 'photos'");
    written(&world, "wrong.toml", &format!("{PARIS}{named}"));
    for check in [&["--check"][..], &[]] {
        let mut node = bare(&world, "paris");
        let ran = run(node.args(["--config", "wrong.toml", "node"]).args(check));
        let message = text(ran.event("error"), "message");
        assert!(message.contains("inbox `files`: the inbox of `into` is called so"), "{message}");
        assert_eq!(ran.code, 2);
    }
}

#[test]
fn a_node_with_inboxes_of_its_file_alone_says_what_one_with_into_says() {
    let world = World::new();
    let base = PARIS.replace("into = 'from-file'\n", "").replace("json = true\n", "");
    let inboxes = "[[inbox]]\nname = 'photos'\nkind = 'folder'\ninto = 'pictures'\n\
                   [[inbox]]\nname = 'measure'\nkind = 'null'\n";
    written(&world, "paris.toml", &format!("{base}{inboxes}"));
    // Tickets are told first: a node that has some needs no other word that it is up.
    let paris =
        Process::start(bare(&world, "paris").args(["--json", "node", "--config", "paris.toml"]));
    let first = paris.next();
    assert_eq!((text(&first, "event"), text(&first, "inbox")), ("ticket".into(), "photos".into()));
    assert_eq!(paris.terminate(), 0);
    // To a person.
    let mut node = bare(&world, "paris");
    node.args(["node", "--config", "paris.toml"]);
    let mut node = node.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let tickets = BufReader::new(node.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(tickets.take(2).filter(|line| line.starts_with("estafette1")).count(), 2);
    node.kill().unwrap();
    let said = String::from_utf8(node.wait_with_output().unwrap().stderr).unwrap();
    for word in [
        "listens at 127.0.0.1:",
        "deliveries to photos go to pictures",
        "the inbox measure; its kind \"null\" says",
        "On the other machine: estafette send",
    ] {
        assert!(said.contains(word), "{said} lacks {word}");
    }
    // `receive` has the folder of a flag or of the file, and no inboxes.
    let ran = run(bare(&world, "paris").args(["--json", "receive", "--config", "paris.toml"]));
    assert!(text_of_error(&ran).contains("or `into` in the configuration"), "{:?}", ran.events);
    assert_eq!(ran.code, 2);
}

#[test]
fn folders_of_inboxes_that_are_the_same_or_nested_are_refused() {
    let world = World::new();
    fs::create_dir(world.path("photos")).unwrap();
    std::os::unix::fs::symlink("photos", world.path("link")).unwrap();
    let base = PARIS.replace("into = 'from-file'\n", "");
    let inbox = |name: &str, into: &str| {
        format!("[[inbox]]\nname = '{name}'\nkind = 'folder'\ninto = '{into}'\n")
    };
    for (into, first, second, how) in [
        ("", "photos", "./photos/", "is that of inbox `a` (wrong.toml:13), "),
        ("", "photos", "link", "is that of inbox `a` (wrong.toml:13), "),
        ("", "photos", "photos/new", "lies in that of inbox `a` (wrong.toml:13), "),
        ("", "link/new", "photos", "holds that of inbox `a` (wrong.toml:13), "),
        ("photos", "other", "photos", "is that of `into`, "),
        ("photos/{peer}", "other", "photos/paris", "lies in that of `into`, "),
        ("photos/new", "other", "photos", "holds that of `into`, "),
    ] {
        let into = if into.is_empty() { String::new() } else { format!("into = '{into}'\n") };
        let text = format!("{into}{base}{}{}", inbox("a", first), inbox("b", second));
        written(&world, "wrong.toml", &text);
        for check in [&["--check"][..], &[]] {
            let mut node = bare(&world, "paris");
            let ran = run(node.args(["--config", "wrong.toml", "node"]).args(check));
            let message = text_of_error(&ran);
            let line = if into.is_empty() { 17 } else { 18 };
            assert!(
                message.contains(&format!("wrong.toml:{line}: inbox `b`: its folder "))
                    && message.contains(how)
                    && message.contains("/photos"),
                "{message}, not {how}"
            );
            assert_eq!(ran.code, 2);
        }
    }
    // Names that only begin alike are not nested.
    let text = format!("{base}{}{}", inbox("a", "photos"), inbox("b", "photos2"));
    written(&world, "right.toml", &text);
    let mut node = bare(&world, "paris");
    assert_eq!(run(node.args(["--config", "right.toml", "node", "--check"])).code, 0);
}

fn text_of_error(ran: &Ran) -> String {
    text(ran.event("error"), "message")
}
