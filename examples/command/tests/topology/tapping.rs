//! Taps: what passes a route is looked at, recorded and sent again, between processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::reload::save;
use super::{Running, TWO_NODES, estafette, run, text, world};

const DOCUMENT: &str = include_str!("../../../../framework/docs/json.md");
const SECRET: &str = "The treasure lies under the oak";

/// A process and its events, one JSON object a line.
struct Told(Running, Box<dyn Iterator<Item = Value>>);

impl Told {
    fn by(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let events = lines.map_while(Result::ok).map(|line| serde_json::from_str(&line).unwrap());
        Self(Running(child), Box::new(events))
    }

    fn wait_for(&mut self, kind: &str) -> Value {
        let found = self.1.find(|event| event["event"] == kind);
        let found = found.unwrap_or_else(|| panic!("it ended before {kind}"));
        let row = DOCUMENT.lines().find(|line| line.starts_with(&format!("| `{kind}`")));
        let documented: Vec<_> =
            row.expect("it is documented").split('`').skip(3).step_by(2).collect();
        let fields = found.as_object().unwrap().keys().filter(|key| *key != "event");
        for field in fields.filter(|field| *field != "node") {
            assert!(documented.contains(&field.as_str()), "{kind}: {field} in {documented:?}");
        }
        found
    }
}

/// A route that sends each entry of a folder, with this said of its tap.
fn topology(tap: &str) -> String {
    let source = "{ each = { folder = \"out\", then = \"remove\" } }";
    format!("{}{tap}\n", TWO_NODES.replace("{ paths = \"out\" }", source))
}

/// Its nodes, which run, after they have delivered the first letter.
fn running(tap: &str) -> (TempDir, PathBuf, Told) {
    let (place, folder) = world(&topology(tap));
    let mut nodes = Told::by(estafette(&folder).args(["--json", "run", "topology.toml"]));
    nodes.wait_for("delivered");
    (place, folder, nodes)
}

fn begin(folder: &Path, arguments: &[&str]) -> Told {
    let mut told = Told::by(estafette(folder).arg("--json").args(arguments));
    let tapping = told.wait_for("tapping");
    assert_eq!(tapping["route"], "post");
    told
}

#[test]
fn a_tap_shows_what_the_topology_lets_be_seen_and_goes_on_over_reloads() {
    let (_place, folder, mut nodes) = running("");
    let mut tap = begin(&folder, &["tap", "topology.toml", "post"]);
    let mut sealed = begin(&folder, &["tap", "topology.toml", "post", "seal", "--bytes", "4096"]);
    fs::write(folder.join("out/secret"), SECRET).unwrap();
    let piece = tap.wait_for("tap_piece");
    assert_eq!((&piece["name"], &piece["index"]), (&"secret".into(), &0.into()));
    assert_eq!((&piece["bytes"], &piece["content"]), (&SECRET.len().into(), &Value::Null));
    let rate = tap.wait_for("tap_rate");
    assert_eq!((&rate["pieces"], &rate["shown"]), (&1.into(), &1.into()));
    assert_eq!((&rate["bytes"], &rate["dropped"]), (&SECRET.len().into(), &0.into()));
    // It is longer by its seal.
    assert!(sealed.wait_for("tap_piece")["bytes"].as_u64() > piece["bytes"].as_u64());

    // Content, once the topology says so; behind the seal it is nothing that could be read.
    save(&folder, &topology("tap = \"content\""));
    let reloaded = |nodes: &mut Told| {
        while !nodes.wait_for("reloaded")["change"].as_str().unwrap().contains("`post`") {}
    };
    reloaded(&mut nodes);
    fs::write(folder.join("out/again"), SECRET).unwrap();
    assert_eq!(tap.wait_for("tap_piece")["content"]["text"], SECRET);
    let shown = sealed.wait_for("tap_piece")["content"]["hex"].as_str().unwrap().to_owned();
    let plain: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(shown.len() > plain.len() && !shown.contains(&plain), "{shown}");

    // Sizes alone; then nothing, which ends it.
    save(&folder, &topology("tap = \"sizes\""));
    reloaded(&mut nodes);
    fs::write(folder.join("out/third"), SECRET).unwrap();
    let piece = tap.wait_for("tap_piece");
    assert_eq!((&piece["name"], &piece["content"]), (&Value::Null, &Value::Null));
    save(&folder, &topology("tap = \"nothing\""));
    let error = tap.wait_for("error");
    assert!(error["message"].as_str().unwrap().contains("lets nobody tap"), "{error}");
    assert_eq!(tap.0.0.wait().unwrap().code(), Some(2));
    let refused = run(&folder, &["tap", "topology.toml", "post"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("tap = \"sizes\""), "{}", text(&refused.stderr));
}

#[test]
fn what_passes_is_recorded_for_one_node_alone_and_sent_again() {
    let (_place, folder, mut nodes) = running("tap = { record = [\"lyon\", \"paris\"] }");
    let file = |mut record: Told| {
        let recorded = record.wait_for("recorded");
        assert_eq!(
            (&recorded["bytes"], &recorded["message"]),
            (&SECRET.len().into(), &Value::Null)
        );
        assert!(record.0.0.wait().unwrap().success());
        recorded["file"].as_str().unwrap().to_owned()
    };
    let arguments = ["record", "topology.toml", "post", "--into", "tapes", "--count", "1"];
    let [ours, theirs] = ["lyon", "paris"]
        .map(|receiver| begin(&folder, &[&arguments[..], &["--for", receiver]].concat()));
    fs::write(folder.join("out/secret"), SECRET).unwrap();
    let [ours, theirs] = [ours, theirs].map(file);
    assert_ne!(ours, theirs);
    for tape in [&ours, &theirs] {
        let bytes = fs::read(tape).unwrap();
        let is_there = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        assert!(!is_there, "{tape} holds what it records as it is");
    }
    // It goes out once more, by the route.
    while !folder.join("in/secret").exists() {
        nodes.wait_for("delivered");
    }
    fs::remove_file(folder.join("in/secret")).unwrap();
    let replayed = run(&folder, &["--json", "replay", "topology.toml", "post", &ours]);
    assert!(replayed.status.success(), "{}", text(&replayed.stdout));
    let event: Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert_eq!((&event["name"], &event["to"]), (&"secret".into(), &"paris/letters".into()));
    while !folder.join("in/secret").exists() {
        nodes.wait_for("delivered");
    }
    assert_eq!(fs::read_to_string(folder.join("in/secret")).unwrap(), SECRET);
    // What was recorded for another node is closed to this one; and a damaged one to everybody.
    fs::remove_file(folder.join("in/secret")).unwrap();
    let others = run(&folder, &["replay", "topology.toml", "post", &ours, &theirs]);
    assert_eq!(others.status.code(), Some(6), "{}", text(&others.stderr));
    assert!(text(&others.stderr).contains("recorded for the node"), "{}", text(&others.stderr));
    let is_said = text(&others.stderr).contains("the one before it is stored: leave it out");
    assert!(is_said, "{}", text(&others.stderr));
    while !folder.join("in/secret").exists() {
        nodes.wait_for("delivered");
    }
    let mut bytes = fs::read(&ours).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&ours, bytes).unwrap();
    let damaged = run(&folder, &["replay", "topology.toml", "post", &ours]);
    assert_eq!(damaged.status.code(), Some(6), "{}", text(&damaged.stderr));
    let listed = run(&folder, &["--key", ".estafette/topology/lyon/node.key", "outbox", "list"]);
    let listed = text(&listed.stdout);
    let open = listed.lines().filter(|line| line.contains("secret") && !line.contains("delivered"));
    assert_eq!(open.count(), 0, "{listed}");
    // For others the route lets nothing be recorded.
    save(&folder, &topology("tap = { record = \"lyon\" }"));
    nodes.wait_for("reloaded");
    let arguments = [&arguments[..], &["--for", "paris"]].concat();
    let refused = run(&folder, &arguments);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("for `paris`"), "{}", text(&refused.stderr));
}

#[test]
fn what_can_not_be_looked_at_is_told_with_what_can() {
    let (_place, folder) = world(&topology(""));
    let said = |arguments: &[&str]| {
        let output = run(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        text(&output.stderr)
    };
    assert!(said(&["tap", "topology.toml", "post"]).contains("does not run here"));
    assert!(said(&["tap", "topology.toml", "pst"]).contains("post"));
    let mut nodes = Told::by(estafette(&folder).args(["--json", "run", "topology.toml"]));
    nodes.wait_for("delivered");
    let stages = said(&["tap", "topology.toml", "post", "zip"]);
    assert!(stages.contains("source, digest, compress, seal"), "{stages}");
    let recorded = said(&["record", "topology.toml", "post", "--into", "tapes"]);
    assert!(recorded.contains("tap = { record = \"NODE\" }"), "{recorded}");
}

#[test]
fn a_live_drawing_has_the_rates_and_states_of_the_nodes_that_run() {
    let slow = topology("rate = \"100KiB\"");
    let (_place, folder) = world(&slow);
    fs::write(folder.join("out/letter"), vec![7; 100 << 20]).unwrap();
    let dead = text(&run(&folder, &["graph", "topology.toml", "--live"]).stdout);
    assert!(dead.contains("around bad") && dead.contains("does not run"), "{dead}");
    let mut nodes = Told::by(estafette(&folder).args(["--json", "run", "topology.toml"]));
    nodes.wait_for("routed");
    loop {
        let live = text(&run(&folder, &["graph", "topology.toml", "--live"]).stdout);
        assert!(live.contains("around good") && live.contains("runs"), "{live}");
        // It has begun when something goes.
        if live.contains("1 under way") && live.contains("kB/s") {
            assert!(live.contains("route good") && live.contains("crosses good"), "{live}");
            break;
        }
    }
    let plain = text(&run(&folder, &["graph", "topology.toml"]).stdout);
    assert!(!plain.contains(".bad") && !plain.contains("under way"), "{plain}");
    let json =
        text(&run(&folder, &["graph", "topology.toml", "--live", "--format", "json"]).stdout);
    let drawn: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(drawn["nodes"][0]["live"]["state"], "good");
}
