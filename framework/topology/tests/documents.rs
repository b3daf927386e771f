//! Checks what documents show: topologies in them have no fault, and every fault has its line
//! there.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::path::Path;

use estafette_actors::standard;
use estafette_topology::Document;

const DOCUMENT: &str = include_str!("../../docs/topologies.md");

#[test]
fn topologies_in_the_document_are_whole() {
    let registry = estafette_doors::with_kinds(standard());
    let mut blocks = 0;
    for block in DOCUMENT.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let report = Document::parse("topologies.md", text).check(&registry);
        assert!(report.is_empty(), "{report}");
        blocks += 1;
    }
    assert!(blocks > 0);
}

#[test]
fn every_code_of_a_fault_is_in_the_document_and_every_one_there_exists() {
    let line = DOCUMENT.lines().find(|line| line.starts_with("`syntax`,")).unwrap();
    let mut documented: Vec<_> = line.split('`').skip(1).step_by(2).collect();
    let mut found = std::collections::BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            for made in text.split("Fault::new(").skip(1) {
                let code =
                    made.trim_start().strip_prefix('"').and_then(|made| made.split('"').next());
                found.extend(code.map(str::to_owned));
            }
        }
    }
    documented.sort_unstable();
    assert_eq!(documented, found.iter().map(String::as_str).collect::<Vec<_>>());
}
