//! The dependencies that the documents tell a program to have, in a crate outside the workspace:
//! they are enough for the programs beside them, and no feature comes from elsewhere.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PAGES: [&str; 3] = ["README.md", "framework/docs/embedding.md", "framework/README.md"];

/// The lines without which a debug build is slow.
const FAST: &str = "[profile.dev.package.\"*\"]\nopt-level = 3\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The code of one language in a page, block by block.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let all = page.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    all.filter(|(first, _)| first.split(',').next() == Some(language))
        .map(|(_, code)| code)
        .collect()
}

/// A block as a program of its own: with the lines that rustdoc hides.
fn program(block: &str) -> String {
    let lines = block.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    let code: Vec<_> = lines.collect();
    format!("#![allow(dead_code)]\n{}\n#[tokio::main]\nasync fn main() {{}}\n", code.join("\n"))
}

/// The manifest of a page, for whom the clone is here, and what will be published is, too.
fn manifest(page: &str, root: &Path) -> String {
    let tables: Vec<_> =
        blocks(page, "toml").into_iter().filter(|block| block.contains("[dependencies]")).collect();
    let &[table] = &tables[..] else { panic!("one block of dependencies: {tables:?}") };
    let root = root.display();
    let here = table
        .replace("../estafette/", &format!("{root}/"))
        .replace(
            "estafette = \"0.1\"",
            &format!("estafette = {{ version = \"0.1\", path = \"{root}/framework\" }}"),
        )
        .replace(
            "estafette-actors = \"0.1\"",
            &format!("estafette-actors = {{ version = \"0.1\", path = \"{root}/actors\" }}"),
        );
    format!(
        "[package]\nname = \"embedding\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{here}\n\
         [workspace]\n"
    )
}

/// The same manifest with the profiles of the workspace, so that what is compiled is not compiled
/// again: how fast the code is that comes of it changes nothing about whether it compiles.
fn quick(manifest: &str, root: &Path) -> String {
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let profiles = workspace.find("[profile.").map(|from| &workspace[from..]).unwrap();
    format!("{}\n{profiles}", manifest.replace(FAST, ""))
}

fn cargo(folder: &Path, arguments: &[&str]) {
    let ran = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn the_dependencies_of_the_documents_are_enough_for_their_programs() {
    let root = root();
    // One folder for all pages, so that what they share is compiled once.
    let outside = tempfile::tempdir().unwrap();
    fs::copy(root.join("Cargo.lock"), outside.path().join("Cargo.lock")).unwrap();
    let programs = outside.path().join("src/bin");
    let first = blocks(&fs::read_to_string(root.join(PAGES[0])).unwrap(), "rust")[0].to_owned();
    for name in PAGES {
        let page = fs::read_to_string(root.join(name)).unwrap();
        let _ = fs::remove_dir_all(&programs);
        fs::create_dir_all(&programs).unwrap();
        let mut blocks = blocks(&page, "rust");
        // A page without a program is held to the smallest one.
        if blocks.is_empty() {
            blocks.push(&first);
        }
        for (number, block) in blocks.into_iter().enumerate() {
            fs::write(programs.join(format!("program{number}.rs")), program(block)).unwrap();
        }
        let (place, manifest) = (outside.path().join("Cargo.toml"), manifest(&page, &root));
        fs::write(&place, &manifest).unwrap();
        cargo(outside.path(), &["metadata", "--quiet", "--no-deps", "--format-version", "1"]);
        fs::write(&place, quick(&manifest, &root)).unwrap();
        cargo(outside.path(), &["check", "--quiet", "--offline"]);
    }
}

#[test]
fn the_documents_have_the_lines_that_make_a_debug_build_fast() {
    let page = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    for name in PAGES {
        assert!(manifest(&page(name), Path::new("/clone")).contains(FAST), "{name}");
    }
    let [readme, embedding] =
        [PAGES[0], PAGES[1]].map(|name| blocks(&page(name), "toml")[0].to_owned());
    assert_eq!(readme, embedding, "both pages say the same");
}
