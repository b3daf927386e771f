//! The sources of a crate, for tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// The Rust files beneath `folder`, without files of tests.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("the floor has a folder")
        .map(|entry| entry.expect("a readable entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let code = files.into_iter().filter(|path| {
        path.extension().is_some_and(|extension| extension == "rs") && !is_tests(path)
    });
    code.chain(folders.iter().filter(|path| !is_tests(path)).flat_map(|path| sources(path)))
        .collect()
}

fn is_tests(path: &Path) -> bool {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .is_some_and(|stem| stem == "tests" || stem.ends_with("_tests"))
}

/// Returns `true` if a line says that what follows is compiled for tests only: `cfg(test)`, or that
/// and more.
fn is_for_tests(line: &str) -> bool {
    let all = line.strip_prefix("#[cfg(all(").and_then(|rest| rest.strip_suffix("))]"));
    line == "#[cfg(test)]"
        || all.is_some_and(|all| all.split(',').any(|part| part.trim() == "test"))
}

/// The text of a source file.
pub(crate) fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a source file is readable")
}

/// The lines of `text` up to its tests, without comments, and without what is there for tests only.
pub(crate) fn code_of(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let code = |line: &&str| -> usize {
        let line = line.trim_start();
        // A link is no comment.
        line.match_indices("//")
            .find(|&(at, _)| !line[..at].ends_with(':'))
            .map_or(line.len(), |(at, _)| at)
    };
    let (mut found, mut rest) = (Vec::new(), lines.into_iter());
    while let Some(line) = rest.next() {
        found.push(line);
        if !is_for_tests(line) {
            continue;
        }
        // A module in a file of its own is only declared, and the code goes on behind that. Lines
        // keep their numbers.
        let item = loop {
            match rest.next() {
                Some(attribute) if attribute.starts_with("#[") => found.push(attribute),
                item => break item.unwrap_or_default(),
            }
        };
        match item {
            declared if declared.ends_with(';') => found.push(""),
            module if module.contains("mod ") => break,
            other => found.push(other),
        }
    }
    found.iter().map(|line| &line.trim_start()[..code(line)]).collect()
}
