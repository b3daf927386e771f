//! `framework/docs/json.md` and what the command prints: the same events, with the same fields.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The fields of each event.
type Schema = BTreeMap<String, BTreeSet<String>>;

const DOCUMENT: &str = include_str!("../../../framework/docs/json.md");
/// Fields that an event has in some cases only.
const OPTIONAL: [(&str, &str); 4] =
    [("error", "transfer"), ("error", "peer"), ("error", "remote"), ("error", "handled")];

/// Events for which a receiver has to be fuller than those of the scenes, a key copied, or what is
/// sent be odder, or a program with actors be there; the command's own tests have their fields.
const RARE: [&str; 25] = [
    "answer",
    "key_shared",
    "letter",
    "name",
    "node_ended",
    "queued",
    "recalled",
    "recorded",
    "reloaded",
    "remark",
    "replayed",
    "restarted",
    "route_moved",
    "snapshot",
    "tap_piece",
    "tap_rate",
    "tapping",
    "told",
    "waiting",
    "webhook",
    "webhook_dropped",
    "webhook_enabled",
    "webhook_message",
    "webhook_open",
    "webhook_retried",
];

/// The words in backticks.
fn words(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The table of events. A field is a word in backticks that a separator or the start of the cell
/// stands before.
fn documented() -> Schema {
    let rows = DOCUMENT
        .lines()
        .skip_while(|line| !line.starts_with("| event"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut schema = Schema::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [events, fields] = cells[..] else { panic!("a row with other than two cells: {row}") };
        for event in words(events) {
            assert!(
                schema.insert(event.clone(), words(fields).into_iter().collect()).is_none(),
                "{event} is documented twice"
            );
        }
    }
    schema
}

/// All that the command printed in the scenes of a world.
struct Printed(Vec<Value>);

struct World(TempDir);

impl World {
    fn command(&self, who: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
        command
            .env_clear()
            .env("HOME", self.0.path().join(who))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stderr(Stdio::null()).arg("--json");
        command
    }

    fn run(&self, who: &str, arguments: &[&str], printed: &mut Printed) -> Value {
        let output = self.command(who).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let events: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = events.last().cloned().unwrap_or_default();
        printed.0.extend(events);
        last
    }
}

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every scene in which the command says something to a program.
fn all_scenes() -> Printed {
    let (world, mut printed) = (World(tempfile::tempdir().unwrap()), Printed(Vec::new()));
    let path = |name: &str| world.0.path().join(name).display().to_string();
    fs::create_dir(path("in")).unwrap();
    // Long enough that progress is told of it.
    fs::write(path("big"), vec![7; 64 << 20]).unwrap();
    let lyon = world.run("lyon", &["id"], &mut printed)["peer"].as_str().unwrap().to_owned();
    world.run("paris", &["trust", "add", &lyon, "--name", "lyon"], &mut printed);
    world.run("paris", &["trust", "list"], &mut printed);
    world.run("paris", &["token", "add", "till", "--to", "lyon/shop"], &mut printed);
    world.run("paris", &["token", "list"], &mut printed);
    world.run("paris", &["token", "remove", "till"], &mut printed);
    let mut receive = world.command("paris");
    receive
        .args(["receive", "--once", "--listen", "127.0.0.1:0", "--into", &path("in")])
        .stdout(Stdio::piped());
    let mut receiver = Running(receive.spawn().unwrap());
    let mut lines = BufReader::new(receiver.0.stdout.take().unwrap()).lines();
    let ticket: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let line = ticket["ticket"].as_str().unwrap().to_owned();
    printed.0.push(ticket);
    world.run("lyon", &["send", &path("big"), &line], &mut printed);
    printed.0.extend(lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()));
    world.run("lyon", &["send", &path("big"), "--patience", "1s", &line], &mut printed);
    let issued =
        world.run("paris", &["ticket", "list"], &mut printed)["id"].as_str().unwrap().to_owned();
    world.run("paris", &["ticket", "revoke", &issued], &mut printed);
    outbox_scenes(&world, &line, &mut printed);
    relay_scene(&world, &lyon, &mut printed);
    topology_scene(&world, &mut printed);
    world.run("paris", &["trust", "remove", &lyon], &mut printed);
    world.run("lyon", &["send", &path("not there"), &line], &mut printed);
    fs::create_dir(path("photos")).unwrap();
    fs::write(path("photos/one"), vec![7; 100_000]).unwrap();
    world.run("lyon", &["demo", &path("photos")], &mut printed);
    printed
}

/// Lyon stores a delivery, a node of its own tries it, and somebody looks after it; paris is away.
fn outbox_scenes(world: &World, ticket: &str, printed: &mut Printed) {
    let big = world.0.path().join("big").display().to_string();
    let mut store = || {
        world.run("lyon", &["send", "--detach", &big, ticket], printed)["transfer"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (first, second) = (store(), store());
    let mut node = Running(
        world
            .command("lyon")
            .args(["node", "--patience", "1s"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    for line in BufReader::new(node.0.stdout.take().unwrap()).lines() {
        printed.0.push(serde_json::from_str(&line.unwrap()).unwrap());
        if printed.0.last().unwrap()["event"] == "deferred" {
            break;
        }
    }
    drop(node);
    world.run("lyon", &["outbox", "list"], printed);
    world.run("lyon", &["outbox", "cancel", &first], printed);
    fs::remove_file(&big).unwrap();
    world.run("lyon", &["doctor"], printed);
    // Without its file it is a dead letter, and that is said.
    let mut node =
        Running(world.command("lyon").arg("node").stdout(Stdio::piped()).spawn().unwrap());
    for line in BufReader::new(node.0.stdout.take().unwrap()).lines() {
        printed.0.push(serde_json::from_str(&line.unwrap()).unwrap());
        if printed.0.last().unwrap()["event"] == "error" {
            break;
        }
    }
    drop(node);
    world.run("lyon", &["outbox", "drop", &second], printed);
    world.run("paris", &["inbox", "list"], printed);
    world.run("paris", &["node", "--check"], printed);
}

/// Dijon keeps a delivery of lyon's to paris.
fn relay_scene(world: &World, lyon: &str, printed: &mut Printed) {
    let mut id = |who: &str| world.run(who, &["id"], printed)["peer"].as_str().unwrap().to_owned();
    let (dijon, paris) = (id("dijon"), id("paris"));
    world.run("dijon", &["trust", "add", lyon, "--name", "lyon"], printed);
    world.run("dijon", &["trust", "add", &paris, "--name", "paris"], printed);
    let mut node = world.command("dijon");
    let doors = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"];
    let mut node = Running(
        node.args(["node", "--relay", "--listen", "127.0.0.1:0"])
            .args(doors)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(node.0.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap()).unwrap();
    let ready = next();
    world.run(
        "lyon",
        &["trust", "add", &dijon, "--name", "dijon", "--addr", ready["addrs"][0].as_str().unwrap()],
        printed,
    );
    printed.0.push(ready);
    let letter = world.0.path().join("letter").display().to_string();
    fs::write(&letter, "letter").unwrap();
    world.run("lyon", &["send", "--via", "dijon", &letter, &format!("{paris}/files")], printed);
    while printed.0.last().unwrap()["event"] != "kept" {
        printed.0.push(next());
    }
}

const TOPOLOGY: &str = r#"
[node.lyon]
[node.paris]
listen = "unix:PLACE/paris.sock"
[inbox.letters]
node = "paris"
sink = { folder = "topology-in" }
[route.post]
from = "lyon"
source = { each = { folder = "topology-out", then = "remove" } }
to = "paris/letters"
[door.web]
node = "lyon"
door = { http = "127.0.0.1:0" }
to = "paris/letters"
[route.missing]
from = "lyon"
source = { paths = "not-there" }
to = "paris/letters"
expected = { bytes = "1MiB", every = "1h" }
"#;

/// Two nodes of a topology; one route has nothing to send.
fn topology_scene(world: &World, printed: &mut Printed) {
    let path = |name: &str| world.0.path().join(name).display().to_string();
    let file = path("topology.toml");
    fs::create_dir(path("topology-out")).unwrap();
    fs::write(path("topology-out/letter"), "letter").unwrap();
    fs::write(&file, TOPOLOGY.replace("PLACE", &path(""))).unwrap();
    world.run("lyon", &["list", &file], printed);
    world.run("lyon", &["plan", &file], printed);
    world.run("lyon", &["validate", &file], printed);
    let page = "http = { listen = \"127.0.0.1:0\", token_file = \"not-there\" }";
    fs::write(path("lacking.toml"), format!("[node.lyon]\n{page}\n")).unwrap();
    world.run("lyon", &["validate", &path("lacking.toml")], printed);
    world.run("lyon", &["trace", &file, "lyon", "not-there"], printed);
    world.run("lyon", &["graph", &file], printed);
    let start = |node: &str| {
        let mut command = world.command("lyon");
        command.args(["run", &file, "--node", node, "--with-parent"]);
        Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    };
    let (_paris, mut lyon) = (start("paris"), start("lyon"));
    let mut left = vec!["door", "routed", "route_failed", "route_removed", "pending"];
    lyon.0.stdin.as_mut().unwrap().write_all(b"pending\n").unwrap();
    let mut lines = BufReader::new(lyon.0.stdout.take().unwrap()).lines();
    while !left.is_empty() {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        left.retain(|wanted| event["event"] != *wanted);
        printed.0.push(event);
    }
    let test = "[[test]]\nname = \"a\"\nabsent = [\"b\"]\nwithin = \"1ms\"\n";
    fs::write(&file, format!("{test}{}", TOPOLOGY.replace("PLACE", &path("")))).unwrap();
    world.run("lyon", &["test", &file], printed);
    fs::write(&file, "[node.lyon]\nlisen = 7").unwrap();
    world.run("lyon", &["validate", &file], printed);
}

#[test]
fn the_documented_events_are_what_the_command_prints() {
    let (schema, printed) = (documented(), all_scenes());
    let mut seen = Schema::new();
    for event in &printed.0 {
        let fields = event.as_object().unwrap();
        let name = fields["event"].as_str().unwrap();
        let known = schema.get(name).unwrap_or_else(|| panic!("{name} is not documented: {event}"));
        for field in fields.keys().filter(|field| *field != "event") {
            assert!(known.contains(field), "the field {field} of {name} is not documented");
            seen.entry(name.to_owned()).or_default().insert(field.clone());
        }
        let missing = known
            .iter()
            .find(|field| !fields.contains_key(*field) && !OPTIONAL.contains(&(name, field)));
        assert_eq!(missing, None, "{name} is printed without it: {event}");
    }
    let never: Vec<_> = schema
        .keys()
        .filter(|event| !seen.contains_key(*event) && !RARE.contains(&event.as_str()))
        .collect();
    assert!(never.is_empty(), "documented, but never printed: {never:?}");
}

#[test]
fn the_documented_examples_have_the_documented_fields() {
    let schema = documented();
    let block = DOCUMENT.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let examples: Vec<Value> = block
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(examples.len() >= 4);
    for example in examples {
        let fields: BTreeSet<String> = example
            .as_object()
            .unwrap()
            .keys()
            .filter(|field| *field != "event")
            .cloned()
            .collect();
        let name = example["event"].as_str().unwrap();
        let optional = |field: &&String| !OPTIONAL.contains(&(name, field.as_str()));
        let wanted: BTreeSet<String> = schema[name].iter().filter(optional).cloned().collect();
        assert!(wanted.is_subset(&fields) && fields.is_subset(&schema[name]), "{example}");
    }
}

#[test]
fn the_documented_kinds_and_exit_codes_are_those_of_the_command() {
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/error.rs")).unwrap();
    let declared = source.split("enum ErrorKind {").nth(1).unwrap().split('}').next().unwrap();
    let declared: BTreeSet<String> = declared
        .split(',')
        .map(|kind| kind.trim().to_lowercase())
        .filter(|kind| !kind.is_empty())
        .collect();
    let line = DOCUMENT.lines().find(|line| line.starts_with("`kind` is one of")).unwrap();
    assert_eq!(
        words(line).into_iter().filter(|word| word != "kind").collect::<BTreeSet<_>>(),
        declared
    );
    let codes = DOCUMENT
        .lines()
        .skip_while(|line| !line.starts_with("| exit code"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let codes: BTreeSet<&str> = codes.map(|row| row.split('|').nth(1).unwrap().trim()).collect();
    let arms = source.split("fn exit_code").nth(1).unwrap().split("    }\n\n").next().unwrap();
    let returned = arms
        .lines()
        .filter_map(|line| line.split_once("=> "))
        .map(|(_, code)| code.trim_end_matches(','));
    let returned: BTreeSet<&str> = returned.chain(["0"]).collect();
    assert_eq!(codes, returned);
}
