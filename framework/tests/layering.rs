//! Holds the floors apart: each uses only those below it, and `wire/` and `delivery/` are sans-I/O.

mod sources;

use std::fs;
use std::path::Path;

use self::sources::{code_of, read, sources};

/// Names that no code on these floors may use: a runtime, a socket, a file, a clock.
const FORBIDDEN: [&str; 6] =
    ["actix", "tokio", "std::net", "std::fs", "Instant::now", "SystemTime::now"];

#[test]
fn what_decides_opens_nothing_spawns_nothing_and_reads_no_clock() {
    for floor in ["wire", "delivery", "node/outbox/stored"] {
        let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(floor));
        assert!(!files.is_empty(), "no source files in {floor}");
        let found: Vec<String> = files
            .iter()
            .flat_map(|file| offences(&file.display().to_string(), &read(file)))
            .collect();
        assert!(found.is_empty(), "sans-I/O code must not name these:\n{}", found.join("\n"));
    }
}

/// From the ground up.
const FLOORS: [&str; 9] =
    ["wire", "store", "delivery", "metrics", "pipeline", "supervise", "remote", "node", "testing"];

#[test]
fn each_floor_uses_only_those_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let known = fs::read_dir(&src)
        .expect("there are sources")
        .map(|entry| entry.expect("a readable entry").path());
    let known: Vec<String> =
        known.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    let unplaced: Vec<_> = known
        .iter()
        .filter(|name| {
            !FLOORS.contains(&name.as_str()) && !["lib", "prelude"].contains(&name.as_str())
        })
        .collect();
    assert!(unplaced.is_empty(), "these have no place among the floors: {unplaced:?}");
    let mut found = Vec::new();
    for (height, floor) in FLOORS.iter().enumerate() {
        let folder = src.join(floor);
        let files =
            if folder.is_dir() { sources(&folder) } else { vec![src.join(format!("{floor}.rs"))] };
        for file in files {
            let used = floors_used(&read(&file));
            let above =
                used.into_iter().filter(|name| FLOORS[height + 1..].contains(&name.as_str()));
            found.extend(above.map(|name| {
                format!("{} uses {name}", file.strip_prefix(&src).expect("it lies there").display())
            }));
        }
    }
    assert!(found.is_empty(), "a floor uses one above it:\n{}", found.join("\n"));
}

#[test]
fn uses_are_found_however_they_are_written() {
    let text = "//! crate::node\nuse crate::wire::PeerId; // crate::remote\nuse crate::{store, \
                pipeline::Chunk};\nlet a = crate::delivery::Failure::new();\nuse crate::\n    \
                supervise::Adopt;\n#[cfg(test)]\nmod tests {\n    use crate::node::Node;\n}\n";
    let mut used = floors_used(text);
    used.sort();
    assert_eq!(used, ["delivery", "pipeline", "store", "supervise", "wire"]);
}

/// The floors that the code of `text`, up to its tests, names.
fn floors_used(text: &str) -> Vec<String> {
    let code = code_of(text).join(" ");
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = code[at + "crate::".len()..].trim_start();
        // A list of names, to its end; or one name.
        let names = match rest.strip_prefix('{') {
            Some(list) => {
                list.split(';').next().unwrap_or_default().split(['{', ',']).collect::<Vec<_>>()
            }
            None => vec![rest],
        };
        let first = |name: &str| {
            name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned)
        };
        used.extend(
            names.into_iter().filter_map(first).filter(|name| FLOORS.contains(&name.as_str())),
        );
    }
    used.sort();
    used.dedup();
    used
}

#[test]
fn the_search_finds_offences_in_code_and_only_there() {
    let text = "//! tokio\nuse std::net::TcpStream; // a socket\n/// Instant::now\nlet url = \"http://tokio\";\n\
                let later = now + second; // not Instant::now\nuse std::{\n    fs,\n    net,\n};\n\
                #[cfg(test)]\nuse a::b;\nlet now = Instant::now();\n\
                #[cfg(test)]\nmod tests {\n    let now = Instant::now();\n}\n";
    let lines: Vec<String> = offences("file", text)
        .iter()
        .filter_map(|found| found.split(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(lines, ["file:2:", "file:4:", "file:7:", "file:8:", "file:12:"]);
}

/// Returns the lines where the code of `text`, up to its tests, names something forbidden.
fn offences(file: &str, text: &str) -> Vec<String> {
    let mut within_std = false;
    let mut found = Vec::new();
    for (number, code) in code_of(text).into_iter().enumerate() {
        let grouped = within_std
            .then(|| {
                code.split(|c: char| !c.is_alphanumeric())
                    .find(|&word| word == "fs" || word == "net")
            })
            .flatten();
        within_std = (within_std || code.starts_with("use std::{")) && !code.contains("};");
        let name = FORBIDDEN.into_iter().find(|name| code.contains(name)).or(grouped);
        found.extend(name.map(|name| format!("{file}:{}: {name}", number + 1)));
    }
    found
}

#[test]
fn without_features_nothing_is_there_for_json() {
    let manifest = include_str!("../Cargo.toml");
    assert!(manifest.lines().any(|line| line == "default = []"));
    for name in ["serde_json", "serde_path_to_error", "schemars"] {
        let line = manifest.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.contains("optional = true"), "{line}");
    }
}
