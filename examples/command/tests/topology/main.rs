//! Topologies in processes of their own: checked, listed and run as somebody at a terminal would.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/faults.rs"]
mod faults;
mod hang_up;
#[cfg(feature = "webhooks")]
mod hooked;
mod looking;
mod mirrors;
mod once;
mod reload;
mod reloading;
mod tapping;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn estafette(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", folder).current_dir(folder).stdin(Stdio::null());
    command
}

/// A folder with a topology and something to send.
fn world(topology: &str) -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().to_owned();
    fs::create_dir(folder.join("out")).unwrap();
    fs::write(folder.join("out/letter"), "Dear Paris").unwrap();
    let text = topology.replace("{here}", folder.to_str().unwrap());
    fs::write(folder.join("topology.toml"), text).unwrap();
    (place, folder)
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    estafette(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const TWO_NODES: &str = r#"
[node.lyon]

[node.paris]
listen = "unix:{here}/paris.sock"

[inbox.letters]
node = "paris"
sink = { folder = "in" }

[route.post]
from = "lyon"
source = { paths = "out" }
to = "paris/letters"
"#;

#[test]
fn all_nodes_run_as_processes_until_what_is_sent_once_is_delivered() {
    let (_place, folder) = world(TWO_NODES);
    let output = run(&folder, &["run", "topology.toml", "--once"]);
    let (said, out) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success(), "{said}{out}");
    assert_eq!(fs::read_to_string(folder.join("in/out/letter")).unwrap(), "Dear Paris");
    for line in ["lyon  | runs", "paris | has out", "lyon  | delivered out"] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    assert!(!said.contains("error"), "{said}");
    // Again: it is not sent again.
    let output = run(&folder, &["--json", "run", "topology.toml", "--once"]);
    assert!(output.status.success());
    let events = text(&output.stdout);
    assert!(!events.contains("routed") && events.contains("\"node\":\"paris\""), "{events}");
}

#[test]
fn what_goes_on_from_node_to_node_is_waited_for_too() {
    let chain = TWO_NODES.to_owned()
        + r#"
[node.brest]
listen = "unix:{here}/brest.sock"
[inbox.archive]
node = "brest"
sink = { folder = "archive" }
[route.onward]
from = "paris"
source = { inbox = "letters" }
to = "brest/archive"
"#;
    let (_place, folder) = world(&chain);
    let output = run(&folder, &["run", "topology.toml", "--once"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(folder.join("archive/out/letter")).unwrap(), "Dear Paris");
}

#[test]
fn all_faults_are_drawn_at_once_each_at_its_place_with_the_likely_fix() {
    let (_place, folder) = world(
        r#"
[node.lyon]
lisen = "x"
[node.paris]
[inbox.letters]
node = "pariss"
sink = { foldr = "in" }
[route.post]
from = "lyon"
source = { paths = "out" }
to = "paris/leters"
stages = ["redact"]
schedule = 7
"#,
    );
    let output = run(&folder, &["validate", "topology.toml"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    for part in [
        "error[unknown-key]: node.lyon has no key `lisen`",
        "did you mean `listen`?",
        "topology.toml:3:1",
        "error[unknown-node]: there is no node `pariss`",
        "did you mean `paris`?",
        "error[unknown-kind]: there is no kind of sink `foldr`",
        "did you mean `folder`?",
        "error[unknown-stage]: there is no stage `redact`",
        "error[unknown-inbox]: `paris` has no inbox `leters`",
        "error[wrong-value]: `route.post.schedule` can't be read",
        "has 6 faults",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

#[test]
fn programs_get_an_event_for_each_fault_with_its_line_and_bytes() {
    let (_place, folder) = world(&TWO_NODES.replace("to = \"paris", "to = \"pariss"));
    let output = run(&folder, &["validate", "--json", "topology.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(event["code"], "unknown-node");
    assert_eq!(event["at"], "route.post.to");
    assert_eq!(event["help"], "did you mean `paris`?");
    assert_eq!((&event["line"], &event["column"]), (&14.into(), &6.into()));
    let file = fs::read_to_string(folder.join("topology.toml")).unwrap();
    let span = event["start"].as_u64().unwrap() as usize..event["end"].as_u64().unwrap() as usize;
    assert_eq!(&file[span], "\"pariss/letters\"");
}

#[test]
fn nodes_and_routes_are_listed() {
    let (_place, folder) = world(TWO_NODES);
    let output = run(&folder, &["list", "topology.toml"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in ["lyon   -", "post   lyon  paths   paris/letters  -    once"] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let output = run(&folder, &["--json", "list", "topology.toml"]);
    let kinds: BTreeSet<_> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].to_string())
        .collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
}

/// A command that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Its next event of this kind.
    fn wait_for(events: &mut impl Iterator<Item = Value>, kind: &str, node: &str) -> Value {
        events
            .find(|event| event["event"] == kind && event["node"] == node)
            .unwrap_or_else(|| panic!("it ended before {kind} of {node}"))
    }
}

/// The child of a process with these words on its command line.
fn child_of(parent: u32, words: &str) -> rustix::process::Pid {
    let is_it = |pid: &u32| {
        let read = |what| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let status = read("status");
        let is_child = status.lines().any(|line| line == format!("PPid:\t{parent}"));
        is_child && read("cmdline").contains(words)
    };
    let processes = fs::read_dir("/proc").unwrap();
    let mut pids =
        processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(is_it);
    let pid = pids.next().expect("the node has a process");
    rustix::process::Pid::from_raw(pid.cast_signed()).unwrap()
}

#[test]
fn a_node_that_is_killed_is_started_again_and_loses_nothing() {
    let (_place, folder) = world(
        &TWO_NODES
            .replace("{ paths = \"out\" }", "{ each = { folder = \"out\", then = \"remove\" } }"),
    );
    let child = estafette(&folder)
        .args(["--json", "run", "topology.toml"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut events = stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    Running::wait_for(&mut events, "delivered", "paris");
    let paris = child_of(running.0.id(), "--node\0paris\0");
    rustix::process::kill_process(paris, rustix::process::Signal::KILL).unwrap();
    let ended = Running::wait_for(&mut events, "node_ended", "paris");
    assert_eq!(ended["code"], Value::Null);
    fs::write(folder.join("out/second"), "Dear Paris, again").unwrap();
    Running::wait_for(&mut events, "delivered", "paris");
    assert_eq!(fs::read_to_string(folder.join("in/second")).unwrap(), "Dear Paris, again");
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn nodes_end_with_the_process_that_started_them() {
    let (_place, folder) = world(TWO_NODES);
    let child = estafette(&folder)
        .args(["--json", "run", "topology.toml"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut events = stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    Running::wait_for(&mut events, "delivered", "paris");
    running.0.kill().unwrap();
    // Their spools are free again when they have ended.
    for node in ["lyon", "paris"] {
        let key = folder.join(".estafette/topology").join(node).join("node.key");
        loop {
            let looked =
                estafette(&folder).arg("--key").arg(&key).args(["outbox", "list"]).output();
            let said = looked.unwrap();
            let lock = folder.join(".estafette/topology").join(node).join("node.key.spool/lock");
            let file = fs::File::open(&lock).unwrap();
            if said.status.success() && file.try_lock().is_ok() {
                break;
            }
        }
    }
}

/// The example topologies, in a folder of their own, each port another one that is free.
fn examples() -> (TempDir, Vec<String>) {
    let place = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies");
    let mut names = Vec::new();
    copy(&from, place.path(), &mut names);
    #[cfg(feature = "webhooks")]
    hooked::secret(place.path());
    names.sort();
    (place, names)
}

fn copy(from: &Path, to: &Path, topologies: &mut Vec<String>) {
    for entry in fs::read_dir(from).unwrap() {
        let (from, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        let name = name.to_str().unwrap();
        if name == ".estafette" || name.starts_with("received-") {
            continue;
        }
        let to = to.join(name);
        if from.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&from, &to, &mut Vec::new());
            continue;
        }
        fs::copy(&from, &to).unwrap();
        if let Some(topology) = name.strip_suffix(".toml") {
            let text = fs::read_to_string(&from).unwrap();
            fs::write(&to, with_free_ports(&text)).unwrap();
            topologies.push(topology.to_owned());
        }
    }
}

fn with_free_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut free = parts.next().unwrap().to_owned();
    // All are held until each has its own.
    let mut held = Vec::new();
    for part in parts {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap();
        free.push_str(&format!("{port}{}", part.trim_start_matches(|c: char| c.is_ascii_digit())));
        held.push(listener);
    }
    free
}

#[test]
fn each_example_runs_for_real_and_passes_its_tests_with_cuts_and_deaths() {
    let (place, names) = examples();
    let folder = place.path();
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let file = format!("{name}.toml");
        assert!(readme.contains(&format!("]({file})")), "{file} is not in the README");
        if name == "custom-stage" {
            // Another program has its stage; this one says that it has not.
            let output = run(folder, &["validate", &file]);
            let said = text(&output.stderr);
            assert!(said.contains("error[unknown-stage]: there is no stage `mask`"), "{said}");
            continue;
        }
        for seed in ["1", "2"] {
            let arguments = ["test", &file, "--seed", seed, "--cuts", "10", "--kills", "3"];
            let output = run(folder, &arguments);
            assert!(output.status.success(), "{name}: {}", text(&output.stdout));
        }
        if name == "telemetry" {
            fs::write(folder.join("sensors/north/reading.csv"), "1,7").unwrap();
        }
        let output = run(folder, &["run", &file, "--once"]);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
    let received = |path: &str| fs::read(folder.join(path)).unwrap();
    let letter = received("input/letter.txt");
    for copy in [
        "received-two-nodes/input/letter.txt",
        "received-later/letter.txt",
        "received-by-relay/input/letter.txt",
        "received-brest/input/letter.txt",
        "received-mirror/input/letter.txt",
        "received-archive/input/letter.txt",
    ] {
        assert_eq!(received(copy), letter, "{copy}");
    }
    assert_eq!(received("received-readings/reading.csv"), b"1,7");
    assert!(!folder.join("sensors/north/reading.csv").exists());
}

#[test]
fn a_test_that_fails_says_what_is_not_as_expected_and_the_seed() {
    let test = r#"
[[test]]
name = "another letter"
given = { "out/letter" = "Dear Paris" }
expect = { "in/out/letter" = "Dear Lyon" }
"#;
    let (_place, folder) = world(&(TWO_NODES.to_owned() + test));
    let output = run(&folder, &["test", "topology.toml", "--seed", "7"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let wrong = r#"in/out/letter is not as expected: "Dear Paris", where "Dear Lyon" is wanted"#;
    assert!(said.contains(wrong) && said.contains("FAILED (seed 7, 0 cuts, 0 kills)"), "{said}");
    // Nothing of it was done where the topology is.
    assert!(!folder.join("in").exists() && !folder.join(".estafette").exists());
}

#[test]
fn a_node_has_the_page_that_the_topology_says() {
    let text = TWO_NODES.replace("paris.sock\"", "paris.sock\"\nhttp = \"127.0.0.1:0\"");
    let (_place, folder) = world(&text);
    let child = estafette(&folder)
        .args(["--json", "run", "topology.toml"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut events = stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    let page = Running::wait_for(&mut events, "page", "paris");
    let address = page["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let mut socket = std::net::TcpStream::connect(address.trim_end_matches('/')).unwrap();
    write!(socket, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("estafette_"), "{answer}");
}

#[test]
fn once_is_no_success_where_a_delivery_is_refused() {
    let (_place, folder) = world(TWO_NODES);
    fs::create_dir(folder.join("in")).unwrap();
    // Its name is taken.
    fs::write(folder.join("in/out"), "in the way").unwrap();
    let output = run(&folder, &["run", "topology.toml", "--once"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("1 delivery was given up"), "{said}");
    assert_eq!(fs::read_to_string(folder.join("in/out")).unwrap(), "in the way");
}

#[test]
fn once_ends_with_the_error_of_a_node_that_can_not_start() {
    let (_place, folder) = world(TWO_NODES);
    fs::write(folder.join("paris.sock"), "no socket").unwrap();
    let output = run(&folder, &["run", "topology.toml", "--once"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("can't listen at"), "{said}");
}

#[test]
fn logs_of_nodes_are_merged_for_programs_too_and_what_runs_has_the_time_that_is_given() {
    let (_place, folder) = world(&(TWO_NODES.to_owned() + "rate = \"1KiB\"\n"));
    // It takes longer than any test.
    fs::write(folder.join("out/letter"), vec![7; 100 << 20]).unwrap();
    let mut run = estafette(&folder);
    run.args(["--json", "--log-format", "json", "--drain", "0s", "run", "topology.toml"]);
    let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut events = stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    Running::wait_for(&mut events, "progress", "paris");
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(130));
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // Where one end is the first to go, the other has nothing left that runs.
    let cut: Vec<_> = lines
        .filter(|line| text(&line["fields"]["message"]).contains("at the end of the drain"))
        .map(|line| (text(&line["node"]), text(&line["fields"]["limit"])))
        .collect();
    let is_of_a_node =
        |(node, limit): &(String, String)| ["lyon", "paris"].contains(&&**node) && limit == "0ns";
    assert!(!cut.is_empty() && cut.iter().all(is_of_a_node), "{log}");
}

#[test]
fn a_node_that_had_to_be_killed_is_no_success() {
    let (_place, folder) = world(TWO_NODES);
    let mut run = estafette(&folder);
    run.args(["--json", "run", "topology.toml"]).stdout(Stdio::piped());
    let mut running = Running(run.spawn().unwrap());
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut events = stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    Running::wait_for(&mut events, "delivered", "paris");
    let paris = child_of(running.0.id(), "--node\0paris\0");
    rustix::process::kill_process(paris, rustix::process::Signal::STOP).unwrap();
    // It does not hear the first two, and the third one kills.
    let pid = rustix::process::Pid::from_child(&running.0);
    while running.0.try_wait().unwrap().is_none() {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(running.0.wait().unwrap().code(), Some(130));
    let told = events.find(|event: &Value| event["event"] == "error" && event["node"].is_null());
    let told = told.unwrap();
    assert!(told["message"].as_str().unwrap().contains("was killed"), "{told}");
}
