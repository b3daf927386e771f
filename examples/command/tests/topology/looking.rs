//! What `validate` calculates and `trace` walks, as a person sees it.

use std::fs;
use std::process::{Command, Output};

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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
