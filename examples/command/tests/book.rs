//! The book: each of its pages is in its contents, its links lead somewhere, its Rust is compiled,
//! its TOML is valid, and its command lines are ones that the command takes.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the book.
fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../framework/docs")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The targets of the links of a text, but for those in its code.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    let parts = prose.flat_map(|prose| prose.split("](").skip(1));
    parts.filter_map(|rest| rest.split(')').next()).collect()
}

/// Its pages: those of the contents, without decisions, which have an index of their own.
fn pages() -> Vec<(String, String)> {
    let contents = read(&book().join("SUMMARY.md"));
    let names = links(&contents).into_iter().filter(|name| !name.contains('/'));
    names.map(|name| (name.to_owned(), read(&book().join(name)))).collect()
}

/// The blocks of code of a page with this language, as `(line, text)`.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let inside: Vec<&'a str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| !line.trim_start().starts_with("```"))
            .collect();
        if info.split(',').next() == Some(language) {
            found.push((at + 2, inside.join("\n")));
        }
    }
    found
}

/// The name of a heading in a link, as mdbook and code hosts make it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", folder).current_dir(folder).args(arguments).output().unwrap()
}

#[test]
fn each_page_is_in_its_contents() {
    let contents = read(&book().join("SUMMARY.md"));
    let listed = links(&contents);
    // What is shown at the start of a page of the API, and is no page itself.
    let parts = ["SUMMARY.md", "first-program.md", "node-example.md", "remote-example.md"];
    for entry in fs::read_dir(book()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") && !parts.contains(&name.as_str()) {
            assert!(listed.contains(&name.as_str()), "{name} is not in SUMMARY.md");
        }
    }
}

#[test]
fn its_links_lead_somewhere() {
    let mut anchors: HashMap<PathBuf, Vec<String>> = HashMap::new();
    let mut checked = 0;
    for (name, page) in pages() {
        for link in links(&page) {
            if link.starts_with("http") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let path = book().join(if path.is_empty() { &name } else { path });
            assert!(path.exists(), "{name}: {link} leads nowhere");
            checked += 1;
            if !fragment.is_empty() {
                let known = anchors.entry(path.clone()).or_insert_with(|| {
                    let text = read(&path);
                    let headings = text.lines().filter(|line| line.starts_with('#'));
                    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
                });
                assert!(known.iter().any(|of| of == fragment), "{name}: {link} has no heading");
            }
        }
    }
    assert!(checked > 50, "only {checked} links were found");
}

#[test]
fn its_rust_is_compiled() {
    // Where what is compiled with the tests of documents is named.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let compiled = read(&root.join("examples/src/lib.rs"))
        + &read(&root.join("framework/topology/src/lib.rs"))
        + &read(&root.join("examples/command/src/lib.rs"));
    let mut found = 0;
    for (name, page) in pages() {
        let rust = blocks(&page, "rust").len();
        found += rust;
        let is_named = compiled.contains(&format!("docs/{name}\")]"));
        assert!(rust == 0 || is_named, "the code of {name} is not compiled");
    }
    assert!(found > 5, "only {found} blocks were found");
}

#[test]
fn its_toml_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    // The machine that the pages speak of: a peer is known, and folders can be made.
    let dijon = run(folder.path(), &["--key", "dijon.key", "id"]);
    let id = String::from_utf8(dijon.stdout).unwrap();
    let trusts = [
        "--key",
        "paris.key",
        "trust",
        "add",
        id.trim(),
        "--name",
        "dijon",
        "--addr",
        "127.0.0.1:1",
    ];
    assert!(run(folder.path(), &trusts).status.success());
    let mut checked = 0;
    for (name, page) in pages() {
        for (line, block) in blocks(&page, "toml") {
            let block = block.replace("\"/srv/", &format!("\"{}/", folder.path().display()));
            let table: toml::Table =
                block.parse().unwrap_or_else(|error| panic!("{name}:{line}: {error}"));
            let file = folder.path().join("book.toml");
            fs::write(&file, &block).unwrap();
            let arguments: &[&str] = if table.contains_key("dependencies") {
                continue;
            } else if table.contains_key("node") || table.contains_key("route") {
                &["validate", "book.toml"]
            } else {
                &["--key", "paris.key", "node", "--config", "book.toml", "--check"]
            };
            let output = run(folder.path(), arguments);
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}:{line}: {told}");
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} blocks were found");
}

#[test]
fn its_command_lines_are_taken() {
    let mut checked = 0;
    let mut lines: Vec<(String, String)> = Vec::new();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    for (name, page) in pages().into_iter().chain([("README.md".into(), read(&readme))]) {
        for (_, block) in blocks(&page, "sh") {
            lines.extend(block.lines().map(|line| (name.clone(), line.to_owned())));
        }
    }
    for (name, line) in lines {
        let line = line.split(" # ").next().unwrap().trim();
        // In a pipe, what stands behind it.
        let line = line.rsplit(" | ").next().unwrap();
        let line = line.split(" > ").next().unwrap();
        let Some(arguments) = line.strip_prefix("estafette ") else { continue };
        let mut arguments = shlex::split(arguments).unwrap();
        // Nothing is to happen: a word that no command takes is complained about last.
        arguments.push("--no-such-option".into());
        let folder = tempfile::tempdir().unwrap();
        let borrowed: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run(folder.path(), &borrowed);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {line}: {told}");
        assert!(told.contains("'--no-such-option'"), "{name}: {line}: {told}");
        checked += 1;
    }
    assert!(checked > 20, "only {checked} lines were found");
}
