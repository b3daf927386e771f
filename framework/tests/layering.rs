//! Holds the floors apart: `wire/` and `delivery/` are sans-I/O.

use std::fs;
use std::path::{Path, PathBuf};

/// What no code on these floors may name: a runtime, a socket, a file, a clock.
const FORBIDDEN: [&str; 6] = ["actix", "tokio", "std::net", "std::fs", "Instant::now", "SystemTime::now"];

#[test]
fn wire_and_delivery_open_nothing_spawn_nothing_and_read_no_clock() {
    for floor in ["wire", "delivery"] {
        let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(floor));
        assert!(!files.is_empty(), "no source files in {floor}");
        let found: Vec<String> = files.iter().flat_map(|file| offences(&file.display().to_string(), &read(file))).collect();
        assert!(found.is_empty(), "sans-I/O code must not name these:\n{}", found.join("\n"));
    }
}

#[test]
fn the_search_finds_offences_in_code_and_only_there() {
    let text = "//! tokio\nuse std::net::TcpStream; // a socket\n/// Instant::now\nlet url = \"http://tokio\";\n\
                let later = now + second; // not Instant::now\nuse std::{\n    fs,\n    net,\n};\n\
                #[cfg(test)]\nuse a::b;\nlet now = Instant::now();\n\
                #[cfg(test)]\nmod tests {\n    let now = Instant::now();\n}\n";
    let lines: Vec<String> = offences("file", text).iter().filter_map(|found| found.split(' ').next().map(str::to_owned)).collect();
    assert_eq!(lines, ["file:2:", "file:4:", "file:7:", "file:8:", "file:12:"]);
}

/// The Rust files beneath `folder`, without files of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the floor has a folder").map(|entry| entry.expect("a readable entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let code = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs") && !is_tests(path));
    code.chain(folders.iter().filter(|path| !is_tests(path)).flat_map(|path| sources(path))).collect()
}

fn is_tests(path: &Path) -> bool {
    path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem == "tests" || stem.ends_with("_tests"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a source file is readable")
}

/// Where the code of `text`, up to its tests, names something forbidden.
fn offences(file: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let tests =
        lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && (pair[1].starts_with("mod ") || pair[1].starts_with("#[path")));
    let mut within_std = false;
    let mut found = Vec::new();
    for (number, line) in lines[..tests.unwrap_or(lines.len())].iter().enumerate() {
        let code = line.trim_start();
        // A link is no comment.
        let end = code.match_indices("//").find(|&(at, _)| !code[..at].ends_with(':')).map_or(code.len(), |(at, _)| at);
        let code = &code[..end];
        let grouped = within_std.then(|| code.split(|c: char| !c.is_alphanumeric()).find(|&word| word == "fs" || word == "net")).flatten();
        within_std = (within_std || code.starts_with("use std::{")) && !code.contains("};");
        let name = FORBIDDEN.into_iter().find(|name| code.contains(name)).or(grouped);
        found.extend(name.map(|name| format!("{file}:{}: {name}", number + 1)));
    }
    found
}
