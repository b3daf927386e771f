//! The figures of `validate` and the steps of `trace`, as a person sees them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

const TOPOLOGY: &str = r#"
[node.lyon]
line = "1MiB"
[node.paris]
listen = "127.0.0.1:7411"
[inbox.letters]
node = "paris"
sink = { folder = "in" }
[route.post]
from = "lyon"
source = { each = "out" }
to = "paris/letters"
expected = { bytes = "30MiB", every = "20s" }
"#;

fn estafette(arguments: &[&str]) -> Output {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("t.toml"), TOPOLOGY).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", place.path()).current_dir(&place);
    command.args(arguments).output().unwrap()
}

#[test]
fn validate_says_how_long_deliveries_take_and_which_line_is_too_slow() {
    let output = estafette(&["validate", "t.toml"]);
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}");
    let all = format!("{said}{told}");
    for wanted in [
        "T = E(D·R)/S",
        "paris/letters",
        "30.0 s",
        "150.",
        "1.5 times as much",
        "24 h: then deliveries expire",
    ] {
        assert!(all.contains(wanted), "{wanted}: {all}");
    }
}

#[test]
fn a_test_without_a_temporary_folder_is_no_test_that_failed() {
    let place = tempfile::tempdir().unwrap();
    let test = "[[test]]\nname = \"a\"\nabsent = [\"b\"]\n";
    fs::write(place.path().join("t.toml"), format!("{test}{TOPOLOGY}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", place.path()).current_dir(&place);
    let output = command.args(["test", "t.toml"]).env("TMPDIR", "/nonexistent").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("can be made in /nonexistent") && said.contains("TMPDIR"), "{said}");
}

#[test]
fn without_descriptors_it_says_what_gives_it_some() {
    let place = tempfile::tempdir().unwrap();
    // With fewer, it can't be loaded; those that are open at its start are among them.
    for most in 6..=9 {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n $0 && exec \"$@\"", &most.to_string()]);
        shell.args([env!("CARGO_BIN_EXE_estafette"), "--key"]).arg(place.path().join("key"));
        let output = shell.arg("id").env_clear().output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{most}: {said}");
        let has_hint = said.contains("`ulimit -n 1024`") && said.contains("LimitNOFILE");
        assert!(has_hint && said.contains("Too many open files"), "{most}: {said}");
    }
}

#[test]
fn trace_walks_the_way_and_ends_with_1_where_it_ends_early() {
    let output = estafette(&["trace", "t.toml", "lyon", "letter"]);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let at = |word: &str| said.find(word).unwrap_or_else(|| panic!("{word}: {said}"));
    let order = ["route post", "taken from out", "chunks of 256KiB", "dialled at", "in/letter"];
    assert!(order.map(at).is_sorted(), "{said}");
    let ends = estafette(&["trace", "t.toml", "lyon", "letter.part"]);
    assert_eq!(ends.status.code(), Some(1));
    let nobody = estafette(&["trace", "t.toml", "nice", "letter"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(text(&nobody.stderr).contains("lyon, paris"), "{nobody:?}");
    let nothing = estafette(&["trace", "t.toml", "paris", "letter"]);
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn a_second_run_of_one_topology_ends_and_says_what_runs() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("paris.sock");
    let text = TOPOLOGY.replace("127.0.0.1:7411", &format!("unix:{}", socket.display()));
    fs::write(place.path().join("t.toml"), text).unwrap();
    fs::create_dir(place.path().join("out")).unwrap();
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
        command.env_clear().env("HOME", place.path()).current_dir(&place);
        command.args(["--json", "run", "t.toml"]).stdin(Stdio::null());
        command
    };
    let mut first = command().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let mut ready = || while !lines.next().unwrap().unwrap().contains("\"ready\"") {};
    ready();
    let second = command().output().unwrap();
    let said = String::from_utf8_lossy(&second.stdout).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("by the process {}", first.id())), "{said}");
    // The first one goes on, and when it has ended there is room for another one.
    ready();
    let ended = Command::new("kill").args(["-TERM", &first.id().to_string()]).status().unwrap();
    assert!(ended.success() && first.wait().unwrap().success());
    let mut third = command().stdout(Stdio::piped()).spawn().unwrap();
    let line = BufReader::new(third.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(!line.contains("\"error\""), "{line}");
    let ended = Command::new("kill").args(["-TERM", &third.id().to_string()]).status().unwrap();
    assert!(ended.success() && third.wait().unwrap().success());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
