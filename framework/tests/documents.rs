//! Holds rules of CONTRIBUTING.md that no other tool looks at: the length of files, first lines of
//! documentation, the form of decisions, and what manifests say.

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a source file.
const LINES: usize = 500;

/// The words that a first line does not begin with: it says nothing before its end.
const WEAK: [&str; 8] = ["What", "Whether", "How", "Why", "Where", "Who", "Which", "When"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust files of these folders of the workspace.
fn sources(folders: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        // Packaged, a crate is alone.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a readable entry").path()) {
            match path.is_dir() {
                true => open.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => {
                    found.push(path);
                }
                false => {}
            }
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a text")
}

#[test]
fn no_source_file_is_longer_than_one_looks_through() {
    let files = sources(&["framework", "actors", "examples", "benches"]);
    assert!(!files.is_empty());
    let long: Vec<_> = files
        .iter()
        .map(|file| (file, read(file).lines().count()))
        .filter(|(_, lines)| *lines > LINES)
        .collect();
    assert!(long.is_empty(), "more than {LINES} lines: {long:#?}");
}

#[test]
fn the_start_page_of_each_crate_has_an_example() {
    let found = sources(&["framework", "actors", "examples/command"]);
    let starts: Vec<_> = found.iter().filter(|file| file.ends_with("src/lib.rs")).collect();
    assert!(starts.len() >= 3, "{starts:?}");
    for file in
        starts.iter().filter(|file| !file.components().any(|part| part.as_os_str() == "fuzz"))
    {
        let text = read(file);
        let mut page = text.lines().take_while(|line| line.is_empty() || line.starts_with("//!"));
        assert!(page.any(|line| line.starts_with("//! ```")), "{}", file.display());
    }
}

#[test]
fn first_lines_say_what_things_are() {
    let mut weak = Vec::new();
    for file in sources(&["framework", "actors", "examples", "benches"]) {
        let text = read(&file);
        weak.extend(weak_lines(&text).map(|line| format!("{}: {line}", file.display())));
    }
    assert!(weak.is_empty(), "these begin with one of {WEAK:?}:\n{}", weak.join("\n"));
}

/// The first lines of a file, and of all that is described in it, that begin with a weak word.
fn weak_lines(text: &str) -> impl Iterator<Item = &str> {
    let is_doc = |line: &str| line.starts_with("///") || line.starts_with("//!");
    let is_weak = |line: &str| {
        let words = line.trim_start_matches(['/', '!', ' ']);
        WEAK.contains(&words.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default())
    };
    let mut is_within = false;
    text.lines().map(str::trim_start).filter(move |line| {
        let is_first = is_doc(line) && !is_within;
        is_within = is_doc(line);
        is_first && is_weak(line)
    })
}

#[test]
fn weak_lines_are_found_wherever_they_are_first() {
    let text = [
        "//! What it is.",
        "",
        "/// Why.",
        "pub struct A;",
        "/// A thing.",
        "/// What else it is.",
        "pub struct B;",
        "/// Whether.",
        "fn c() {",
        "    /// How many.",
        "    const D: u8 = 0;",
        "}",
    ]
    .join("\n");
    assert_eq!(
        weak_lines(&text).collect::<Vec<_>>(),
        ["//! What it is.", "/// Why.", "/// Whether.", "/// How many."]
    );
}

#[test]
fn decisions_have_one_form_and_are_in_the_index() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/adr");
    let index = read(&folder.join("README.md"));
    let mut decisions = 0;
    for entry in fs::read_dir(&folder).expect("there are decisions") {
        let name = entry.expect("a readable entry").file_name();
        let name = name.to_str().expect("a name of text");
        if name == "README.md" {
            continue;
        }
        decisions += 1;
        let text = read(&folder.join(name));
        let number: u32 = name[..4].parse().expect("a name begins with a number");
        assert!(text.starts_with(&format!("# {number}. ")), "{name}");
        let sections: Vec<_> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(sections[..3], ["## Context", "## Decision", "## Consequences"], "{name}");
        assert!(text.lines().nth(2).is_some_and(|line| line.contains(" · ")), "{name}: its date");
        assert!(index.contains(&format!("]({name})")), "{name} is not in the index");
    }
    assert!(decisions > 0);
}

/// The manifests of the workspace's packages that are published, each with the folder that it is in.
fn published() -> Vec<(PathBuf, toml::Table)> {
    let manifest = |path: PathBuf| read(&path).parse::<toml::Table>().expect("a manifest");
    let workspace = manifest(root().join("Cargo.toml"));
    let members = workspace["workspace"]["members"].as_array().expect("members").iter();
    let folders = members.map(|member| root().join(member.as_str().expect("a path")));
    folders
        .map(|folder| (folder.clone(), manifest(folder.join("Cargo.toml"))))
        .filter(|(_, manifest)| {
            manifest["package"].get("publish").and_then(toml::Value::as_bool) != Some(false)
        })
        .collect()
}

/// Gaps of a package: what a registry would refuse, or show as missing.
fn gaps(folder: &Path, manifest: &toml::Table) -> Vec<String> {
    let package = manifest["package"].as_table().expect("a package");
    let mut gaps = Vec::new();
    let mut want = |is_there: bool, gap: &str| {
        if !is_there {
            gaps.push(format!("{}: {gap}", package["name"]));
        }
    };
    let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
    want(text("description").is_some_and(|text| text.len() > 20), "no description");
    want(text("readme") == Some("README.md"), "no `readme`");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
    want(readme.starts_with("# estafette"), "its README has no title");
    want(readme.contains("MIT or Apache-2.0"), "its README names no licence");
    for key in ["version", "edition", "rust-version", "license", "repository"] {
        let is_shared = package.get(key).and_then(|value| value.get("workspace"));
        want(is_shared.is_some(), &format!("`{key}` is not the workspace's"));
    }
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let same = fs::read(folder.join(licence)).ok() == fs::read(root().join(licence)).ok();
        want(same, &format!("no {licence}, or not that of the workspace"));
    }
    let words = |key: &str| package.get(key).and_then(toml::Value::as_array).map_or(&[][..], |v| v);
    // The limits of crates.io.
    for key in ["keywords", "categories"] {
        want((1..=5).contains(&words(key).len()), &format!("1 to 5 {key}"));
    }
    let fits = |word: &toml::Value| word.as_str().is_some_and(|word| word.len() <= 20);
    want(words("keywords").iter().all(fits), "a keyword has 20 characters at most");
    let docs = package.get("metadata").and_then(|data| data.get("docs")?.get("rs"));
    let all = docs.and_then(|docs| docs.get("all-features")?.as_bool());
    want(all == Some(true), "no `[package.metadata.docs.rs]` with all features");
    gaps
}

#[test]
fn what_is_published_says_what_it_is_and_under_which_licence() {
    let published = published();
    assert!(published.len() >= 7, "{published:?}");
    let gaps: Vec<_> =
        published.iter().flat_map(|(folder, manifest)| gaps(folder, manifest)).collect();
    assert!(gaps.is_empty(), "{gaps:#?}");
}

#[test]
fn a_package_that_says_nothing_has_every_gap() {
    let manifest = "[package]\nname = \"bare\"".parse().expect("a manifest");
    let gaps = gaps(Path::new("/nowhere"), &manifest);
    assert_eq!(gaps.len(), 14, "{gaps:#?}");
}

/// The others need one of these.
#[test]
fn what_calls_unix_says_so_where_it_is_compiled_elsewhere() {
    for package in ["framework", "actors", "examples/command"] {
        let text = read(&root().join(package).join("src/lib.rs"));
        assert!(text.contains("#[cfg(not(unix))]\ncompile_error!("), "{package}");
    }
}

/// All that is published is packaged by CI, and nothing else is.
#[test]
fn what_is_published_is_packaged_by_ci() {
    let ci = read(&root().join(".ci/run"));
    let line = ci.lines().find(|line| line.starts_with("cargo package ")).expect("a step for it");
    let mut packaged: Vec<_> = line.split(" -p ").skip(1).collect();
    let manifests = published();
    let mut named: Vec<_> = manifests
        .iter()
        .map(|(_, manifest)| manifest["package"]["name"].as_str().expect("a name"))
        .collect();
    packaged.sort_unstable();
    named.sort_unstable();
    assert_eq!(packaged, named);
}
