use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::program::Program;

const PAGE: &str = include_str!("../../../../framework/docs/config.md");

fn syntax() -> clap::Command {
    Program::default().syntax()
}

fn read(path: &Path) -> Result<ConfigFile, CommandError> {
    ConfigFile::read(path, &syntax(), &estafette_actors::standard())
}

/// A file with this text.
fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// The faults of a text, without the folder of the file.
fn faults(text: &str) -> Vec<String> {
    let (folder, path) = file(text);
    let error = read(&path).unwrap_err();
    let lines = error.message.lines().filter(|line| !line.ends_with(" faults:"));
    let folder = format!("{}/", folder.path().display());
    lines.map(|line| line.replacen(&folder, "", 1)).collect()
}

/// The command line that comes of a file and of this one.
fn completed(text: &str, line: &str) -> String {
    let (_folder, path) = file(text);
    let file = read(&path).unwrap();
    let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let matches = syntax().ignore_errors(true).try_get_matches_from(&line).unwrap();
    let line = file.complete(&syntax(), &matches, line).unwrap();
    line.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn all_that_is_wrong_is_said_with_its_line_and_its_key() {
    let text = "\
patience = 'long'
lisen = '127.0.0.1:0'
on_conflict = 'keep'
relay = 'yes'
verbose = 4
connect = ['a,b']
redeemers = 0
into = { folder = 'in' }
to = 'paris/files'

[limits]
windw = '1MiB'
window = 'wide'
drain_for = '1s'
[limits.link]
heart = '1s'
[limits.packages_in]
bytes = -1
[limit]
";
    let said = faults(text);
    let expected = [
        ("node.toml:1: `patience`: \"long\": ", "a time is a number and a unit"),
        ("node.toml:2: `lisen`: there is no such key", "the nearest is `listen`"),
        ("node.toml:3: `on_conflict`: \"keep\": ", "it is one of refuse, rename, replace, merge"),
        ("node.toml:4: `relay`: ", "is true or false"),
        ("node.toml:5: `verbose`: ", "from 0 to 3"),
        ("node.toml:6: `connect`: ", "write several as a list"),
        ("node.toml:7: `redeemers`: \"0\": ", "0 is not in 1..=65535"),
        ("node.toml:8: `into`: ", "is a text or a number, no table"),
        ("node.toml:9: `to`: ", "there is no such key"),
        ("node.toml:12: `limits.windw`: ", "the nearest is `window`"),
        ("node.toml:13: `limits.window`: ", "a size is a number and a unit"),
        ("node.toml:14: `limits.drain_for`: ", "is said above the tables, by drain"),
        ("node.toml:16: `limits.link.heart`: ", "the nearest is `heartbeat`"),
        ("node.toml:18: `limits.packages_in`: ", "a size is a number and a unit"),
        ("node.toml:19: `limit`: ", "the nearest is `limits`"),
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, (beginning, word)) in said.iter().zip(expected) {
        assert!(said.starts_with(beginning) && said.contains(word), "{said}, not {beginning}");
    }
    // What is no TOML is said before anything else is looked at.
    let said = faults("listen = 127.0.0.1\nname = paris\nunknown = 1\n");
    assert!(said.iter().all(|fault| !fault.contains("such key")), "{said:?}");
    assert!(
        said[0].starts_with("node.toml:1: ") && said[1].starts_with("node.toml:2: "),
        "{said:?}"
    );
}

#[test]
fn what_is_wrong_with_an_inbox_names_its_line_its_kind_and_the_known_ones() {
    let text = "\
[[inbox]]
name = 'photos'
kind = 'foldr'
[[inbox]]
name = 'photos'
kind = 'folder'
into = 'x'
on_conflit = 'rename'
max_bytes = 'much'
[[inbox]]
kind = 'null'
[[inbox]]
name = 'a/b'
kind = 'folder'
";
    let said = faults(text);
    let expected = [
        ("node.toml:3: `inbox.kind`: no inbox of the kind \"foldr\"", "known are: folder, null"),
        ("node.toml:3: `inbox.kind`: ", "; the nearest is `folder`"),
        ("node.toml:5: `inbox.name`: the name \"photos\" is taken", ""),
        ("node.toml:8: `inbox.on_conflit`: there is no such key", "the nearest is `on_conflict`"),
        ("node.toml:8: `inbox.on_conflit`: ", "(of inbox `photos`, of the kind \"folder\")"),
        ("node.toml:9: `inbox.max_bytes`: ", "a size is a number and a unit"),
        ("node.toml:10: `inbox.name`: is missing", ""),
        ("node.toml:12: `inbox`: missing field `into`", "of inbox `a/b`"),
        ("node.toml:13: `inbox.name`: \"a/b\" can't be a name", ""),
    ];
    for (beginning, word) in expected {
        let found = said.iter().any(|said| said.starts_with(beginning) && said.contains(word));
        assert!(found, "{said:#?} lacks {beginning} … {word}");
    }
    assert_eq!(said.len(), 7, "{said:#?}");
    assert!(faults("inbox = 'x'")[0].contains(":1: `inbox`: is a list of tables"));
}

#[test]
fn a_key_that_is_for_something_else_which_nobody_says_is_told_in_the_words_of_the_file() {
    let lacking = |text: &str, line: &str| {
        let (folder, path) = file(text);
        let file = read(&path).unwrap();
        let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let matches = syntax().ignore_errors(true).try_get_matches_from(&line).unwrap();
        let said = file.complete(&syntax(), &matches, line).err().map(|error| error.message);
        said.unwrap_or_default().replace(&format!("{}/", folder.path().display()), "")
    };
    let text = "exec = 'true'\nrelay_bytes = '1GiB'\nrelay_total = '2GiB'\nrelay = false\n";
    assert_eq!(
        lacking(text, "e node"),
        "node.toml has 3 faults:\nnode.toml:1: `exec` is for a node with `into`\n\
         node.toml:2: `relay_bytes` is for a node with `relay`\n\
         node.toml:3: `relay_total` is for a node with `relay`"
    );
    // What is said elsewhere, or of another command, lacks nothing.
    assert_eq!(lacking(text, "e node --into in --relay"), "");
    assert_eq!(lacking(&format!("into = 'in'\n{text}"), "e node --relay"), "");
    assert_eq!(lacking(text, "e receive --into in"), "");
    assert_eq!(lacking(text, "e outbox list"), "");
    let said = faults("into = ''\nkey = ''\n");
    assert_eq!(said.len(), 2);
    assert!(said.iter().all(|said| said.contains(": \"\": it must not be empty")), "{said:?}");
}

/// Of each kind its settings, as the type has them that reads them.
#[test]
fn the_page_has_every_setting_of_the_standard_kinds_and_no_other() {
    let (_, page) = PAGE.split_once("\n## Inboxes\n").unwrap();
    let (page, _) = page.split_once("\n## ").unwrap();
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in page.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (kind, rest) = row.split_once("` | ").unwrap();
        let key = rest.strip_prefix('`').and_then(|rest| rest.split_once('`'));
        told.entry(kind.into()).or_default().extend(key.map(|(key, _)| key.to_owned()));
    }
    let registry = estafette_actors::standard();
    let there = registry.inbox_kinds().map(|kind| {
        let wrong = toml::Table::from_iter([("no such".to_owned(), true.into())]);
        let why = registry.inbox_of(kind, wrong).unwrap_err().to_string();
        let (_, known) = why.split_once("unknown field `no such`").unwrap();
        let known = known.lines().next().unwrap().split('`').skip(1).step_by(2);
        (kind.to_owned(), known.map(str::to_owned).collect())
    });
    assert_eq!(told, there.collect());
}

#[test]
fn limits_are_checked_as_a_node_checks_them() {
    let said =
        faults("name = 'paris'\n[limits]\nhalf_open = 0\nchunk_size = 3\nwindow = '32MiB'\n");
    assert_eq!(said.len(), 3, "{said:?}");
    // The default of this one does not go with another that is said.
    assert!(said[0].contains(":2: `limits.pool`: 25165824: must hold one window"), "{said:?}");
    assert!(said[1].contains(":3: `limits.half_open`: 0: must be from 1 to 10,000"), "{said:?}");
    assert!(said[2].contains(":4: `limits.chunk_size`: 3: must be a power of two"), "{said:?}");
    let (_folder, path) = file("[limits]\nwindow = '8MiB'\nlink = { heartbeat = '1s' }\n");
    let limits = read(&path).unwrap().limits;
    assert_eq!((limits.window, limits.link.heartbeat().as_secs()), (8 << 20, 1));
}

#[test]
fn what_a_flag_says_counts_before_the_file_and_each_command_takes_what_it_has() {
    let text = "key = 'k'\ninto = 'in'\nlisten = 'a:1'\nconnect = ['x', 'y']\nrelay = true\n\
                dotfiles = false\nverbose = 2\nname = 'paris'\nonce = true\n";
    assert_eq!(
        completed(text, "e node"),
        "e --key=k --verbose --verbose node --connect=x --connect=y --into=in --listen=a:1 \
         --name=paris --relay"
    );
    assert_eq!(
        completed(text, "e -v node --connect z --listen b:2 --key=l"),
        "e -v node --into=in --name=paris --relay --connect z --listen b:2 --key=l"
    );
    assert_eq!(
        completed(text, "e receive"),
        "e --key=k --verbose --verbose receive --into=in --listen=a:1 --name=paris --once"
    );
    assert_eq!(
        completed(text, "e --json trust add ID --name lyon"),
        "e --key=k --verbose --verbose --json trust add ID --name lyon"
    );
    assert_eq!(
        completed(text, "e send a paris/files"),
        "e --key=k --verbose --verbose send a paris/files"
    );
}

#[test]
fn the_page_has_every_key_with_its_default_and_no_other() {
    let (_, page) = PAGE.split_once("\n## Keys\n").unwrap();
    let (page, _) = page.split_once("\n## ").unwrap();
    let told: BTreeMap<_, _> = page
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.strip_prefix("| `")?.split(" | ").collect();
            let &[key, default, meaning] = &cells[..] else { panic!("{line}") };
            assert!(meaning.len() > 2, "{line}");
            let default = default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
            let default = default.filter(|text| !["false", "[]", "0"].contains(text));
            let default = default.filter(|text| !text.starts_with('~'));
            Some((key.trim_end_matches('`').to_owned(), default.map(|it| it.replace('"', ""))))
        })
        .collect();
    let there = keys(&syntax()).into_iter().map(|key| (key.name.clone(), key.default()));
    assert_eq!(told, there.collect());
}

/// The file that the page shows, read as one that somebody wrote.
#[test]
fn the_example_of_the_page_is_a_configuration() {
    let examples = PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let [node, inboxes] = examples.collect::<Vec<_>>()[..] else { panic!("other examples") };
    let (_folder, path) = file(&format!("{node}{inboxes}"));
    let file = read(&path).unwrap();
    assert_eq!((file.limits.pool, file.inboxes.len()), (64 << 20, 2));
    assert!(file.given.len() >= 6);
}

#[test]
fn a_file_that_is_not_there_or_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("none.toml")] {
        let error = read(&path).unwrap_err();
        assert!(error.message.contains(&*path.to_string_lossy()), "{}", error.message);
    }
    let (_folder, path) = file(&"#".repeat(LONGEST as usize + 1));
    let error = read(&path).unwrap_err();
    assert!(error.message.contains("longer than"), "{}", error.message);
}
