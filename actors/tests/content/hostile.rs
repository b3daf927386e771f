//! Trees that no honest sender makes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;
use estafette::delivery::ContentKind;
use estafette::pipeline::{Inbox, SinkError};
use estafette_actors::sink::FileSink;
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use crate::harness::{block_on, content, names, offer, unprivileged, write_all};

/// An entry, whatever it says.
fn entry(kind: u8, size: u64, path: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&if kind >= 4 { 0u32 } else { 0o777 }.to_le_bytes());
    out.extend_from_slice(&i64::from(![5, 7, 8, 9].contains(&kind)).to_le_bytes());
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&(path.len() as u16).to_le_bytes());
    out.extend_from_slice(path);
    out.extend_from_slice(rest);
    out
}

fn folder(path: &str) -> Vec<u8> {
    entry(2, 0, path.as_bytes(), b"")
}

fn file(path: &str) -> Vec<u8> {
    entry(3, 4, path.as_bytes(), b"evil\0")
}

fn link(path: &str, target: &str) -> Vec<u8> {
    entry(4, target.len() as u64, path.as_bytes(), target.as_bytes())
}

fn hard_link(path: &str, target: &str) -> Vec<u8> {
    entry(5, target.len() as u64, path.as_bytes(), target.as_bytes())
}

fn outward(path: &str, target: &str) -> Vec<u8> {
    entry(6, target.len() as u64, path.as_bytes(), target.as_bytes())
}

fn attribute(name: &str, value: &[u8]) -> Vec<u8> {
    entry(7, value.len() as u64, name.as_bytes(), value)
}

fn remark(text: &str) -> Vec<u8> {
    entry(8, text.len() as u64, b"", text.as_bytes())
}

fn end(folders: u64, files: u64, links: u64) -> Vec<u8> {
    let counts = [folders, files, links, 0].map(u64::to_le_bytes).concat();
    [vec![0], counts].concat()
}

fn stream(entries: &[Vec<u8>]) -> Vec<u8> {
    [&b"estafette tree stream v1\n"[..], &entries.concat()].concat()
}

/// A folder with an inbox `in` and a neighbour that nobody may touch.
fn scene() -> TempDir {
    let scene = tempdir().unwrap();
    fs::create_dir(scene.path().join("in")).unwrap();
    fs::write(scene.path().join("precious"), "precious").unwrap();
    scene
}

fn untouched(scene: &Path) -> bool {
    names(scene) == ["in", "precious"] && fs::read(scene.join("precious")).unwrap() == b"precious"
}

/// Returns `true` if every link below `folder` that leads anywhere leads to something in `tree`.
fn links_stay_in(tree: &Path, folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().all(|entry| {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => links_stay_in(tree, &entry.path()),
            kind if kind.is_symlink() => {
                fs::canonicalize(entry.path()).map_or(true, |target| target.starts_with(tree))
            }
            _ => true,
        }
    })
}

fn receive(scene: &Path, stream: &[u8], size: usize) -> Result<(), SinkError> {
    let mut sink = FileSink::into_dir(scene.join("in"))
        .open(&offer(content(ContentKind::Tree, "tree", None)))
        .unwrap();
    block_on(write_all(&mut *sink, stream.chunks(size).map(Bytes::copy_from_slice).collect()))
        .map(drop)
}

/// Asserts that a tree of these entries is refused for `reason` and leaves nothing.
fn refused(entries: &[Vec<u8>], reason: &str) {
    let scene = scene();
    let error = receive(scene.path(), &stream(entries), 10).unwrap_err();
    assert!(
        matches!(error, SinkError::Refused(_)) && error.to_string().contains(reason),
        "{error}"
    );
    assert!(untouched(scene.path()));
    assert!(names(&scene.path().join("in")).is_empty());
}

#[test]
fn an_honest_tree_made_this_way_is_taken() {
    let scene = scene();
    receive(scene.path(), &stream(&[folder("a"), file("a/b"), link("c", "a/b"), end(1, 1, 1)]), 10)
        .unwrap();
    assert_eq!(fs::read(scene.path().join("in/tree/c")).unwrap(), b"evil");
}

#[test]
fn paths_that_lead_out_are_refused() {
    for path in ["../precious", "..", "/tmp/x", "a/../../x", "./x", "", "a//b", "a/", "x\0y"] {
        refused(&[folder("a"), file(path)], "where it may not be");
        refused(&[folder(path)], "where it may not be");
        refused(&[link(path, "x")], "where it may not be");
    }
    refused(&[folder(&("d/".repeat(128) + "d"))], "more than 128 components");
    refused(&[file(&"n".repeat(256))], "longer than 255 bytes");
    refused(&[entry(3, 0, &[b'n'; 5000], b"")], "5000 bytes");
}

#[test]
fn links_that_lead_out_are_refused() {
    for target in ["..", "../precious", "/etc/passwd", "a/../../precious", "", "a/.."] {
        refused(&[link("l", target)], "lead out");
    }
    refused(&[folder("a"), link("a/l", "../../precious")], "lead out");
    refused(&[link("a", "."), link("b", "a/..")], "lead out");
    refused(&[entry(4, 1 << 40, b"l", b"")], "impossible length of the target");
}

#[test]
fn links_that_say_they_lead_out_are_made_only_where_that_is_wanted_and_never_written_through() {
    let scene = scene();
    receive(scene.path(), &stream(&[outward("l", "../../precious"), end(0, 0, 1)]), 10).unwrap();
    assert!(names(&scene.path().join("in/tree")).is_empty());
    refused(&[outward("l", ".."), file("l/precious")], "lies in no folder");
    refused(&[outward("l", ".."), folder("l")], "twice or out of order");
    refused(&[outward("../l", "x")], "where it may not be");
    refused(&[outward("l", "")], "lead out");
    refused(&[outward("l", "a\0")], "lead out");

    let mut sink = FileSink::into_dir(scene.path().join("kept"))
        .outward_links(true)
        .open(&offer(content(ContentKind::Tree, "tree", None)))
        .unwrap();
    let evil =
        [outward("a", "../../precious"), hard_link("b", "a"), hard_link("c", "a/x"), end(0, 2, 1)];
    let committed = block_on(write_all(&mut *sink, vec![Bytes::from(stream(&evil))])).unwrap();
    assert_eq!(
        (names(&scene.path().join("kept/tree")), committed.skipped, committed.files),
        (vec!["a".into()], 2, 0)
    );
    assert_eq!(fs::read(scene.path().join("precious")).unwrap(), b"precious");
}

#[test]
fn second_names_are_of_files_that_came_before_in_the_same_tree() {
    for target in ["../precious", "/etc/passwd", "", "a/../b"] {
        refused(&[file("a"), hard_link("l", target)], "where it may not be");
    }
    refused(&[hard_link("l", "m")], "did not come before it");
    refused(&[hard_link("l", "l")], "did not come before it");
    refused(&[file("a"), hard_link("../l", "a")], "where it may not be");
    refused(&[entry(5, 5000, b"l", b"")], "impossible length of the target");
    // A link within the tree would lead out from another folder.
    let scene = scene();
    let evil = [
        folder("a"),
        folder("a/b"),
        link("a/b/l", "../../x"),
        hard_link("l", "a/b/l"),
        hard_link("m", "a"),
        end(2, 2, 1),
    ];
    receive(scene.path(), &stream(&evil), 10).unwrap();
    assert_eq!(names(&scene.path().join("in/tree")), ["a"]);
    assert!(untouched(scene.path()));
}

#[test]
fn more_closed_folders_than_are_kept_open_are_closed_inner_ones_first() {
    let closed = |path: &str| [&[2, 0, 0, 0, 0], &folder(path)[5..]].concat();
    let mut tree: Vec<_> = (0..999).map(|number| closed(&format!("a{number:03}"))).collect();
    // With the inner one the list is full.
    tree.extend([
        closed("b"),
        closed("b/c"),
        file("b/c/file"),
        closed("d"),
        closed("d/e"),
        file("d/e/file"),
    ]);
    tree.extend([hard_link("f", "b/c/file"), hard_link("g", "d/e/file"), end(1003, 4, 0)]);
    let scene = scene();
    unprivileged(|| receive(scene.path(), &stream(&tree), 100_000)).unwrap();
    let tree = scene.path().join("in/tree");
    for (outer, inner) in [("b", "c"), ("d", "e")] {
        for path in [tree.join(outer), tree.join(outer).join(inner)] {
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0, "{}", path.display());
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
    assert_eq!(fs::metadata(tree.join("a000")).unwrap().mode() & 0o777, 0);
    // Nobody but the superuser gets at what was closed early, to give it a second name.
    assert_eq!(
        ["b/c/file", "d/e/file", "f", "g"].map(|file| tree.join(file).exists()),
        [true, true, false, false]
    );
}

#[test]
fn attributes_that_give_rights_are_refused() {
    for name in [
        "security.capability",
        "trusted.x",
        "system.nfs4_acl",
        "security.selinux",
        "user.",
        "",
        "user",
    ] {
        refused(&[attribute(name, b"x"), file("a")], "which is not taken");
    }
    refused(&[attribute("user.a", b"x"), link("l", "a")], "attributes of a link");
    refused(&[attribute("user.a", b"x"), end(0, 0, 0)], "attributes of nothing");
    refused(&[attribute("user.a", b"x"), remark("no")], "between an entry and its attributes");
    refused(&[entry(7, 70_000, b"user.a", b"")], "impossible length of the value");
    refused(&vec![attribute("user.a", &[1; 30_000]); 3], "more attributes");
    refused(&vec![attribute("user.a", b""); 65], "more attributes");
    refused(&vec![remark("no"); 33], "more remarks");
    refused(&[entry(8, 600, b"", b"")], "impossible length of the text");
}

#[test]
fn what_a_sender_remarks_can_not_steer_a_terminal() {
    let scene = scene();
    let mut sink = FileSink::into_dir(scene.path().join("in"))
        .open(&offer(content(ContentKind::Tree, "tree", None)))
        .unwrap();
    let committed = block_on(write_all(
        &mut *sink,
        vec![Bytes::from(stream(&[remark("\x1b[2J"), end(0, 0, 0)]))],
    ))
    .unwrap();
    assert_eq!(committed.remarks, ["the sender says: \\u{1b}[2J"]);
}

#[test]
fn nothing_is_written_below_a_link_or_a_file() {
    refused(&[folder("a"), link("b", "a"), file("b/x")], "lies in no folder");
    refused(&[file("b"), file("b/x")], "lies in no folder");
    refused(&[file("b/x")], "lies in no folder");
    refused(&[folder("a"), folder("b"), file("bb/x")], "lies in no folder");
}

#[test]
fn what_comes_twice_or_out_of_order_is_refused() {
    refused(&[file("a"), file("a")], "twice or out of order");
    refused(&[folder("a"), folder("a")], "twice or out of order");
    refused(&[link("a", "b"), file("a")], "twice or out of order");
    refused(&[file("b"), file("a")], "twice or out of order");
    refused(&[folder("a"), file("b"), file("a/x")], "twice or out of order");
    refused(&[file("a"), entry(1, 0, b"", b"")], "twice or out of order");
}

#[test]
fn nonsense_is_refused() {
    refused(&[vec![10; 40]], "unknown kind 10");
    refused(&[entry(9, 1, b"a", b"x")], "impossible size");
    refused(&[entry(9, 0, b"../a", b"")], "where it may not be");
    refused(&vec![entry(9, 0, b"a", b""); 1025], "more unread entries than are taken");
    refused(&vec![entry(9, 0, &[b'x'; 255], b""); 258], "more unread entries than are taken");
    refused(&[entry(3, 0, b"a", &[7])], "unknown status 7");
    refused(&[entry(2, 5, b"a", b"")], "impossible size");
    refused(&[file("a"), end(0, 2, 0)], "tells of");
    refused(&[file("a"), end(0, 1, 0), vec![0]], "goes on after its end");
    refused(&[file("a")], "breaks off");
    refused(&[entry(3, u64::MAX, b"a", b"x")], "breaks off");
    let scene = scene();
    assert!(
        receive(scene.path(), b"PK\x03\x04 is no tree stream at all", 10)
            .unwrap_err()
            .to_string()
            .contains("no tree stream")
    );
    assert!(receive(scene.path(), b"", 10).unwrap_err().to_string().contains("breaks off"));
    assert!(untouched(scene.path()) && names(&scene.path().join("in")).is_empty());
}

#[test]
fn bytes_out_of_turn_are_refused() {
    let scene = scene();
    let mut sink = FileSink::into_dir(scene.path().join("in"))
        .open(&offer(content(ContentKind::Tree, "tree", None)))
        .unwrap();
    assert!(
        block_on(sink.write(5, &Bytes::from("x"))).unwrap_err().to_string().contains("were due")
    );
}

fn any_path() -> impl Strategy<Value = String> {
    let component = prop::sample::select(vec!["a", "b", "c", "..", ".", "", "precious", "in"]);
    prop::collection::vec(component, 1..4).prop_map(|components| components.join("/"))
}

/// Trees whose order and nesting are right, with links to anywhere.
fn any_links() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let target = || {
        let component =
            prop::sample::select(vec!["d", "e", "l", "m", "n", "..", ".", "", "precious"]);
        prop::collection::vec(component, 1..5).prop_map(|components| components.join("/"))
    };
    (target(), target(), target(), target()).prop_map(|(first, second, third, fourth)| {
        vec![
            folder("d"),
            folder("d/e"),
            link("d/e/l", &first),
            link("d/m", &second),
            link("l", &third),
            link("m", &fourth),
            end(2, 0, 4),
        ]
    })
}

fn any_entry() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any_path().prop_map(|path| folder(&path)),
        any_path().prop_map(|path| file(&path)),
        (any_path(), any_path()).prop_map(|(path, target)| link(&path, &target)),
        Just(entry(1, 0, b"", b"")),
        (0..3u64, 0..3u64, 0..3u64).prop_map(|(folders, files, links)| end(folders, files, links)),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn no_tree_gets_out_of_its_folder(entries in prop::collection::vec(any_entry(), 0..12), size in 1..200usize) {
        let scene = scene();
        let taken = receive(scene.path(), &stream(&entries), size).is_ok();
        prop_assert!(untouched(scene.path()));
        let expected: &[&str] = if taken { &["tree"] } else { &[] };
        prop_assert_eq!(names(&scene.path().join("in")), expected);
        prop_assert!(!taken || links_stay_in(&scene.path().join("in/tree"), &scene.path().join("in/tree")));
    }

    #[test]
    fn no_links_get_out_of_their_tree(entries in any_links()) {
        let scene = scene();
        let taken = receive(scene.path(), &stream(&entries), 100).is_ok();
        prop_assert!(!taken || links_stay_in(&scene.path().join("in/tree"), &scene.path().join("in/tree")));
    }

    #[test]
    fn no_change_to_a_tree_gets_it_out_of_its_folder(position in 0..150usize, value in any::<u8>(), size in 1..200usize) {
        let mut stream = stream(&[folder("a"), file("a/b"), link("a/c", "../d"), file("d"), end(1, 2, 1)]);
        let position = position.min(stream.len() - 1);
        stream[position] = value;
        let scene = scene();
        let _ = receive(scene.path(), &stream, size);
        prop_assert!(untouched(scene.path()));
    }
}
