//! The command as a library: a program with a stage of its own delivers with it to another one, and
//! `estafette` refuses what passed it.
//!
//! This test is both programs: it starts itself again as the one that `PROGRAM` names.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Output, Stdio};

use estafette_actors::standard;
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = "PROGRAM";

fn main() -> ExitCode {
    match std::env::var(PROGRAM).as_deref() {
        Ok("own") => return own_command::command().run(),
        Ok(_) => return estafette_command::Command::new(standard()).run(),
        Err(_) => {}
    }
    let tests: [(&str, fn()); 8] = [
        (
            stringify!(what_passed_a_stage_of_one_s_own_is_delivered_to_who_has_it),
            what_passed_a_stage_of_one_s_own_is_delivered_to_who_has_it,
        ),
        (
            stringify!(what_passed_it_in_the_spool_of_a_node_or_by_it_arrives_as_well),
            what_passed_it_in_the_spool_of_a_node_or_by_it_arrives_as_well,
        ),
        (
            stringify!(who_does_not_have_it_refuses_it_by_its_name),
            who_does_not_have_it_refuses_it_by_its_name,
        ),
        (
            stringify!(what_this_program_does_not_have_is_not_sent),
            what_this_program_does_not_have_is_not_sent,
        ),
        (
            stringify!(a_topology_has_the_stages_of_the_program),
            a_topology_has_the_stages_of_the_program,
        ),
        (
            stringify!(rows_arrive_once_without_what_is_redacted),
            rows_arrive_once_without_what_is_redacted,
        ),
        (
            stringify!(its_parts_are_known_to_all_that_looks_at_a_topology),
            its_parts_are_known_to_all_that_looks_at_a_topology,
        ),
        (
            stringify!(help_version_and_completions_are_those_of_the_program),
            help_version_and_completions_are_those_of_the_program,
        ),
    ];
    for (name, test) in tests {
        println!("{name}");
        test();
    }
    ExitCode::SUCCESS
}

struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        fs::create_dir(world.path("in")).unwrap();
        fs::write(world.path("notes"), "what was noted\n".repeat(20_000)).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: &str, who: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        // Its usage has the name it is called by.
        command.arg0(if program == "own" { "own_command" } else { program });
        command.env_clear().env(PROGRAM, program).env("HOME", self.path(who));
        command.stdin(Stdio::null()).arg("--json");
        command
    }

    fn node(&self, program: &str, who: &str, arguments: &[&str], ready: &str) -> Node {
        let mut command = self.command(program, who);
        let mut child = command
            .current_dir(&self.0)
            .args(["node", "--name", who])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut node = Node { child, lines, said: Value::Null };
        node.said = node.wait_for(ready);
        node
    }

    /// A node that takes deliveries.
    fn paris(&self, program: &str) -> Node {
        self.node(program, "paris", &["--listen", "127.0.0.1:0", "--into", "in"], "ticket")
    }

    fn send(&self, program: &str, to: &Node, arguments: &[&str]) -> (i32, Vec<Value>) {
        let mut command = self.command(program, "lyon");
        command.args(["send", "--patience", "60s"]).args(arguments).arg(self.path("notes"));
        let Output { status, stdout, .. } =
            command.arg(to.said["ticket"].as_str().unwrap()).output().unwrap();
        let lines = String::from_utf8(stdout).unwrap();
        let events = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (status.code().unwrap(), events)
    }
}

struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Value,
}

impl Node {
    /// The next event of this kind.
    fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let line = self.lines.next().expect("the node runs").unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == name {
                return event;
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event<'a>(events: &'a [Value], name: &str) -> &'a Value {
    events
        .iter()
        .find(|event| event["event"] == name)
        .unwrap_or_else(|| panic!("no {name} in {events:?}"))
}

fn same(one: &Path, other: &Path) -> bool {
    fs::read(one).unwrap() == fs::read(other).unwrap()
}

fn what_passed_a_stage_of_one_s_own_is_delivered_to_who_has_it() {
    let world = World::new();
    let mut paris = world.paris("own");
    // Masked twice it is what it was: the list is one of stages in their order.
    for stages in [&["--stage", "mask"][..], &["--stage", "mask,mask", "--chunk-size", "4K"]] {
        let (code, events) = world.send("own", &paris, stages);
        assert_eq!(code, 0, "{events:?}");
        paris.wait_for("delivered");
        assert!(same(&world.path("notes"), &world.path("in/notes")));
        fs::remove_file(world.path("in/notes")).unwrap();
    }
}

fn what_passed_it_in_the_spool_of_a_node_or_by_it_arrives_as_well() {
    let world = World::new();
    let mut paris = world.paris("own");
    let (code, events) = world.send("own", &paris, &["--stage", "mask", "--detach"]);
    assert_eq!(code, 0, "{events:?}");
    let lyon = world.node("own", "lyon", &[], "ready");
    paris.wait_for("delivered");
    assert!(same(&world.path("notes"), &world.path("in/notes")));
    fs::remove_file(world.path("in/notes")).unwrap();
    // The node that runs has the stage, whichever program asks it.
    let (code, events) = world.send("estafette", &paris, &["--stage", "mask"]);
    assert_eq!(code, 0, "{events:?}");
    assert!(same(&world.path("notes"), &world.path("in/notes")));
    drop(lyon);
}

fn who_does_not_have_it_refuses_it_by_its_name() {
    let world = World::new();
    let paris = world.paris("estafette");
    let (code, events) = world.send("own", &paris, &["--stage", "mask"]);
    let error = event(&events, "error");
    let message = error["message"].as_str().unwrap();
    for said in
        ["\"mask\" is not registered here", "known are: none", "run a program at the receiver"]
    {
        assert!(message.contains(said), "{message}");
    }
    assert!(error["hint"].as_str().unwrap().contains("--stage"), "{error}");
    assert_eq!((code, fs::read_dir(world.path("in")).unwrap().count()), (6, 0));
    // The same program takes what has not passed it.
    assert_eq!(world.send("own", &paris, &[]).0, 0);
}

fn a_topology_has_the_stages_of_the_program() {
    let world = World::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = fs::read_to_string(from.join("custom-stage.toml")).unwrap();
    let topology = world.path("custom-stage.toml");
    fs::write(&topology, text.replace("127.0.0.1:7419", &free.to_string())).unwrap();
    fs::create_dir(world.path("input")).unwrap();
    fs::copy(from.join("input/letter.txt"), world.path("input/letter.txt")).unwrap();
    for arguments in [&["validate"][..], &["test", "--cuts", "5"], &["run", "--once"]] {
        let output = world.command("own", "lyon").args(arguments).arg(&topology).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
    assert!(same(&world.path("input/letter.txt"), &world.path("received-masked/input/letter.txt")));
}

/// The topology of this example, at a name that no other test has.
fn orders(world: &World) -> PathBuf {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("orders.toml")).unwrap();
    let topology = world.path("orders.toml");
    let name = format!("name:paris-{}", std::process::id());
    fs::write(&topology, text.replace("name:paris-orders", &name)).unwrap();
    fs::create_dir(world.path("orders")).unwrap();
    topology
}

fn rows(world: &World) -> Vec<(String, String)> {
    let database = rusqlite::Connection::open(world.path("orders.db")).unwrap();
    let mut rows = database.prepare("SELECT item, card FROM orders ORDER BY item").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Runs the topology, a process for each node, until so many deliveries have arrived.
fn run_until(world: &World, topology: &Path, arrivals: usize) {
    let mut command = world.command("own", "lyon");
    let mut child = command.arg("run").arg(topology).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut all = Node { child, lines, said: Value::Null };
    let mut arrived = 0;
    while arrived < arrivals {
        arrived += usize::from(all.wait_for("delivered")["direction"] == "incoming");
    }
    let pid = all.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(all.child.wait().unwrap().success());
}

fn rows_arrive_once_without_what_is_redacted() {
    let world = World::new();
    let topology = orders(&world);
    fs::write(world.path("orders/monday.csv"), "item,Card\nstamps,4711 0815\n\"a, b\",\n").unwrap();
    run_until(&world, &topology, 2);
    let monday = [("a, b".to_owned(), String::new()), ("stamps".into(), "***".into())];
    assert_eq!(rows(&world), monday);
    let archived = fs::read_to_string(world.path("archive/monday.csv")).unwrap();
    assert_eq!(archived, "item,Card\nstamps,***\n\"a, b\",\n");
    // At the next start, what is there stays as it is, and what is new comes.
    fs::write(world.path("orders/tuesday.csv"), "item,card\nink,4712\n").unwrap();
    run_until(&world, &topology, 2);
    assert_eq!(rows(&world)[1..], [("ink".into(), "***".into()), monday[1].clone()]);
    assert_eq!(rows(&world).len(), 3);
}

fn its_parts_are_known_to_all_that_looks_at_a_topology() {
    let world = World::new();
    let topology = orders(&world);
    let told = |program, arguments: &[&str]| {
        let output =
            world.command(program, "lyon").args(arguments).arg(&topology).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    for arguments in [&["validate"][..], &["list"], &["test", "--cuts", "3", "--kills", "2"]] {
        let (code, said) = told("own", arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}");
    }
    let (code, drawn) = told("own", &["graph", "--format", "json"]);
    assert!(code == 0 && drawn.contains("redact") && drawn.contains("mask"), "{drawn}");
    let schema = world.command("own", "lyon").arg("schema").output().unwrap();
    let schema =
        jsonschema::draft202012::new(&serde_json::from_slice(&schema.stdout).unwrap()).unwrap();
    let is_valid = |text: &str| {
        schema.is_valid(&serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap())
    };
    assert!(is_valid(&fs::read_to_string(&topology).unwrap()));
    // The program without them says of each where it is named.
    let (code, said) = told("estafette", &["validate"]);
    assert_eq!(code, 2, "{said}");
    for fault in ["unknown-kind", "unknown-stage", "`redact`", "`mask`", "`sqlite`"] {
        assert!(said.contains(fault), "{fault}: {said}");
    }
    // What is wrong with their settings is told at its place.
    let text = fs::read_to_string(&topology).unwrap();
    for (right, wrong, fault) in [
        ("fields = [\"card\"]", "feilds = [\"card\"]", "did you mean `fields`"),
        ("table = \"orders\" }", "table = 3 }", "expected a string"),
        ("table = \"orders\" }", "tabel = \"orders\" }", "did you mean `table`"),
        (
            "{ redact = { fields = [\"card\"] } }, \"mask\"",
            "\"mask\", { redact = { fields = [] } }",
            "stage-order",
        ),
        ("\"mask\"]", "{ mask = {} }]", "has no settings"),
        ("name:paris-", "name:paris/", "letters, digits"),
    ] {
        assert!(text.contains(right), "{right}");
        let text = text.replace(right, wrong);
        // The order of stages and the rules of transports are not in it.
        assert_eq!(is_valid(&text), matches!(fault, "stage-order" | "letters, digits"), "{wrong}");
        fs::write(&topology, text).unwrap();
        let (code, said) = told("own", &["validate"]);
        assert!(code == 2 && said.contains(fault), "{wrong}: {said}");
    }
}

fn what_this_program_does_not_have_is_not_sent() {
    let world = World::new();
    let paris = world.paris("own");
    for (program, stage, known) in
        [("estafette", "mask", "known are: none"), ("own", "maks", "known are: mask")]
    {
        let (code, events) = world.send(program, &paris, &["--stage", stage]);
        let error = event(&events, "error");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("{stage:?}")) && message.contains(known), "{message}");
        assert!(error["hint"].as_str().unwrap().contains("--stage"), "{error}");
        assert_eq!(code, 2, "{error}");
    }
}

fn help_version_and_completions_are_those_of_the_program() {
    let world = World::new();
    let told = |program, arguments: &[&str]| {
        let output = world.command(program, "lyon").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(told("own", &["--version"]), format!("own_command {}\n", env!("CARGO_PKG_VERSION")));
    assert!(told("estafette", &["--version"]).starts_with("estafette "));
    for arguments in
        [&["--help"][..], &["help", "send"], &["ticket", "--help"], &["man", "trust"], &["man"]]
    {
        let own = told("own", arguments);
        assert!(!own.contains("estafette "), "{arguments:?}: {own}");
        let other = told("estafette", arguments);
        assert!(!other.contains("own_command"), "{arguments:?}: {other}");
    }
    assert!(told("own", &["send", "--help"]).contains("[known here: mask]"));
    assert!(told("own", &["completions", "bash"]).contains("own_command"));
}
