//! Topologies are drawn, by the command; and the pictures of the examples are those of their files.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const TWO_NODES: &str = r#"
[node.lyon]

[node.paris]
listen = "127.0.0.1:7411"

[inbox.letters]
node = "paris"
sink = { folder = "in" }

[route.post]
from = "lyon"
source = { paths = "out" }
to = "paris/letters"
"#;

fn estafette(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", folder).current_dir(folder).stdin(Stdio::null());
    command.args(arguments).output().unwrap()
}

/// A folder with a topology.
fn world(topology: &str) -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().to_owned();
    fs::write(folder.join("topology.toml"), topology).unwrap();
    (place, folder)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_drawing_has_the_form_that_is_asked_for_or_that_the_name_of_its_file_says() {
    let (_place, folder) = world(TWO_NODES);
    let forms = [("svg", "svg"), ("dot", "gv"), ("mermaid", "mmd"), ("json", "json")];
    for (format, ending) in forms {
        let printed = estafette(&folder, &["graph", "topology.toml", "--format", format]);
        assert!(printed.status.success() && printed.stderr.is_empty(), "{printed:?}");
        let name = format!("drawn.{ending}");
        let written = estafette(&folder, &["graph", "topology.toml", "--output", &name]);
        assert!(written.status.success() && written.stdout.is_empty(), "{written:?}");
        assert_eq!(text(&written.stderr), format!("drawn: {name}\n"));
        let drawn = fs::read(folder.join(&name)).unwrap();
        assert!(!drawn.is_empty() && drawn == printed.stdout, "{}", text(&drawn));
    }
    let printed = estafette(&folder, &["graph", "topology.toml"]);
    assert!(text(&printed.stdout).starts_with("<svg "));
    let other = ["graph", "topology.toml", "--output", "a.svg", "--format", "dot"];
    assert!(estafette(&folder, &other).status.success());
    assert!(fs::read_to_string(folder.join("a.svg")).unwrap().starts_with("digraph "));
}

#[test]
fn a_drawing_is_a_file_like_others_and_replaces_one_as_a_whole() {
    let (_place, folder) = world(TWO_NODES);
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    let draw = |name: &str| estafette(&folder, &["graph", "topology.toml", "--output", name]);
    assert!(draw("new.svg").status.success());
    assert_eq!(mode("new.svg"), mode("topology.toml"));
    fs::write(folder.join("old.svg"), "old").unwrap();
    fs::set_permissions(folder.join("old.svg"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("old.svg", folder.join("link.svg")).unwrap();
    assert!(draw("link.svg").status.success());
    assert_eq!(mode("old.svg"), 0o640);
    assert!(fs::symlink_metadata(folder.join("link.svg")).unwrap().is_symlink());
    assert!(fs::read(folder.join("old.svg")).unwrap() == fs::read(folder.join("new.svg")).unwrap());
    assert!(draw("/dev/null").status.success());
    let nowhere = draw("no/such/folder.svg");
    assert_eq!(nowhere.status.code(), Some(6));
    assert!(text(&nowhere.stderr).contains("no/such/folder.svg can't be written"), "{nowhere:?}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4, "nothing else is left there");
}

#[test]
fn what_is_wrong_is_drawn_and_told() {
    let faulty = TWO_NODES.replace("to = \"paris/letters\"", "to = \"paris/leters\"");
    let (_place, folder) = world(&faulty);
    let output = estafette(&folder, &["graph", "topology.toml", "--output", "a.svg"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("did you mean `letters`?") && said.contains("has 1 fault"), "{said}");
    let drawn = fs::read_to_string(folder.join("a.svg")).unwrap();
    assert!(drawn.contains("no such inbox here"), "{drawn}");
    // What is no TOML has nothing to be drawn, and replaces nothing.
    fs::write(folder.join("topology.toml"), "[node").unwrap();
    let output = estafette(&folder, &["graph", "topology.toml", "--output", "a.svg"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("error[syntax]"), "{output:?}");
    assert_eq!(fs::read_to_string(folder.join("a.svg")).unwrap(), drawn);
}

#[test]
fn a_drawing_does_not_replace_its_topology() {
    let (_place, folder) = world(TWO_NODES);
    let picture = estafette(&folder, &["graph", "topology.toml", "--output", "a.png"]);
    let said = String::from_utf8(picture.stderr).unwrap();
    assert_eq!(picture.status.code(), Some(2), "{said}");
    assert!(said.contains("a.png would be no png") && !folder.join("a.png").exists(), "{said}");
    let same = ["graph", "topology.toml", "--format", "dot", "--output", "./topology.toml"];
    let output = estafette(&folder, &same);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("would replace topology.toml"), "{output:?}");
    assert_eq!(fs::read_to_string(folder.join("topology.toml")).unwrap(), TWO_NODES);
}

#[test]
fn what_is_too_large_for_a_picture_is_refused_and_has_other_forms() {
    let nodes: String = (0..101).map(|at| format!("[node.n{at}]\n")).collect();
    let routes: String = (0..600)
        .map(|at| {
            let (from, to) = (at % 101, (at * 7 + 1) % 101);
            let source = "source = { paths = \"x\" }";
            format!("[route.r{at}]\nfrom = \"n{from}\"\n{source}\nto = \"n{to}/i\"\n")
        })
        .collect();
    let (_place, folder) = world(&format!("{nodes}{routes}"));
    let svg = estafette(&folder, &["graph", "topology.toml"]);
    assert_eq!(svg.status.code(), Some(2));
    let said = text(&svg.stderr);
    assert!(said.contains("101 nodes") && said.contains("--format dot"), "{said}");
    assert!(svg.stdout.is_empty());
    let mermaid = estafette(&folder, &["graph", "topology.toml", "--format", "mermaid"]);
    let said = text(&mermaid.stderr);
    assert!(said.contains("take 500 edges") && said.contains("this has 1200 and"), "{said}");
    assert!(text(&mermaid.stdout).contains("flowchart TB"));
}

#[test]
fn a_program_is_told_where_the_drawing_is_or_gets_it() {
    let (_place, folder) = world(TWO_NODES);
    let event = |arguments: &[&str]| -> Value {
        let output = estafette(&folder, arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let written = event(&["--json", "graph", "topology.toml", "--output", "a.dot"]);
    let expected = r#"{"event": "drawn", "format": "dot", "file": "a.dot", "drawing": null}"#;
    assert_eq!(written, serde_json::from_str::<Value>(expected).unwrap());
    let printed = event(&["--json", "graph", "topology.toml", "--format", "json"]);
    assert_eq!((&printed["event"], &printed["file"]), (&"drawn".into(), &Value::Null));
    let drawing = printed["drawing"].as_str().unwrap();
    let graph: Value = serde_json::from_str(drawing).unwrap();
    assert_eq!(graph["routes"][0]["to"][0], "inbox:paris/letters");
}

/// The pictures beside the examples. `ESTAFETTE_DRAWINGS=overwrite` draws them anew.
#[test]
fn each_example_has_the_picture_of_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies");
    // Packaged, the crate is alone.
    let Ok(entries) = fs::read_dir(&folder) else { return };
    let overwrites = std::env::var("ESTAFETTE_DRAWINGS").is_ok_and(|value| value == "overwrite");
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut stale = Vec::new();
    for file in files {
        let output = estafette(&folder, &["graph", file.to_str().unwrap()]);
        // A stage of one's own is of another program, and drawn all the same.
        let said = text(&output.stderr);
        let faults = said.matches("error[").count();
        assert_eq!(faults, said.matches("error[unknown-stage]").count(), "{said}");
        assert_eq!(output.status.code(), Some(if faults == 0 { 0 } else { 2 }), "{said}");
        let picture = file.with_extension("svg");
        if overwrites {
            fs::write(&picture, &output.stdout).unwrap();
        } else if fs::read(&picture).ok().as_ref() != Some(&output.stdout) {
            stale.push(picture);
        }
    }
    let again = "ESTAFETTE_DRAWINGS=overwrite cargo test -p estafette-command --test drawing";
    assert!(stale.is_empty(), "not the pictures of their files: {stale:#?}\ndraw them by {again}");
}
