//! A folder in place of another one, of which it keeps what it has not itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use bytes::Bytes;
use estafette::delivery::ContentKind;
use estafette::pipeline::Inbox;
use estafette_actors::sink::{FileSink, OnConflict};
use estafette_actors::source::FileSource;
use estafette_actors::tree::{Entry, FileStatus, TreePath, TreeWriter};
use tempfile::tempdir;

use crate::harness::{block_on, content, deliver, names, offer, unprivileged, write_all};
use crate::trees::{photos, set, snapshot, tree};

#[test]
fn merged_a_folder_is_as_it_came_and_keeps_what_did_not_come() {
    let (_home, photos) = photos();
    let to = tempdir().unwrap();
    let there = to.path().join("photos");
    let inbox = FileSink::into_dir(to.path()).on_conflict(OnConflict::Merge);
    // Nothing is there to be kept.
    deliver(&mut tree(&photos), &inbox).unwrap();
    assert_eq!(snapshot(&there), snapshot(&photos));
    let inode = fs::metadata(there.join("a/5")).unwrap().ino();

    // Gone at the source: a file, a link, a folder with all that is in it, one that is shut.
    set(&there.join("deep/er"), 0o500, 1_000_000_001);
    let before = snapshot(&there);
    for file in ["a/5", "dangling", "-rf"] {
        fs::remove_file(photos.join(file)).unwrap();
    }
    fs::remove_dir_all(photos.join("deep/er")).unwrap();
    fs::remove_dir(photos.join("empty")).unwrap();
    // Changed: a file's content, and what is a folder now.
    fs::write(photos.join("a/7"), "has changed").unwrap();
    fs::write(photos.join("-n/new"), "is new").unwrap();
    fs::remove_file(photos.join("a.b")).unwrap();
    fs::create_dir(photos.join("a.b")).unwrap();
    fs::write(photos.join("a.b/leaf"), "was a file").unwrap();
    set(&photos.join("a"), 0o555, 4_000_000_004);
    deliver(&mut tree(&photos), &inbox).unwrap();

    let (now, came) = (snapshot(&there), snapshot(&photos));
    let all_of = |what: &[_], within: &[_]| what.iter().all(|entry| within.contains(entry));
    assert!(all_of(&came, &now), "what came is as it came, folders that keep something, too");
    let path = |entry: &(PathBuf, char, u32, i64, i64, Vec<u8>)| entry.0.clone();
    let paths: Vec<_> = came.iter().map(path).collect();
    let kept: Vec<_> = now.iter().filter(|entry| !paths.contains(&entry.0)).cloned().collect();
    assert!(all_of(&kept, &before), "what stays is as it was: {kept:?}");
    let paths: Vec<_> = kept.iter().map(path).collect();
    let expected = ["-rf", "a/5", "dangling", "deep/er", "deep/er/still", "deep/er/still/x"];
    let expected = expected.into_iter().chain(["deep/er/up", "empty"]).map(PathBuf::from);
    assert_eq!(paths, expected.collect::<Vec<_>>());
    assert_eq!(fs::metadata(there.join("a/5")).unwrap().ino(), inode, "it was not copied");
    // Nothing else is left, and it may come again and again.
    deliver(&mut tree(&photos), &inbox).unwrap();
    assert_eq!(snapshot(&there), now);
    assert_eq!(names(to.path()), ["photos"]);

    // A file in its place is not merged.
    let letter = to.path().join("letter");
    fs::create_dir(&letter).unwrap();
    let file = photos.join("letter");
    fs::write(&file, "x").unwrap();
    let failure = deliver(&mut FileSource::open(&file).unwrap(), &inbox).unwrap_err();
    assert!(failure.text().contains("is a folder"), "{}", failure.text());
}

/// A tree in which something could not be read: `deep`, all of `shut`, some of `part`, and the end of
/// `torn`.
fn with_unread(of_all: bool) -> Vec<u8> {
    let (mut writer, mut out) = (TreeWriter::new(), Vec::new());
    let path = |text: &str| TreePath::new(text).unwrap();
    let folder = |text: &str| Entry::Folder { path: path(text), mode: 0o500, mtime: 1 };
    let file = |text: &str| Entry::File { path: path(text), mode: 0o644, mtime: 1, size: 3 };
    writer.begin(&mut out);
    writer.entry(&Entry::Root { mode: 0o755, mtime: 1 }, &mut out);
    for (entry, status) in [
        (folder("a"), None),
        (file("a/b"), Some(FileStatus::Complete)),
        (folder("part"), None),
        (file("part/new"), Some(FileStatus::Complete)),
        (file("torn"), Some(FileStatus::Unreadable)),
    ] {
        writer.entry(&entry, &mut out);
        if let Some(status) = status {
            out.extend_from_slice(b"new");
            writer.file_end(status, &mut out);
        }
    }
    let mut unread = vec!["a/deep", "shut", "part", "never/was", "a/b/c"];
    unread.extend(of_all.then_some(""));
    unread.iter().for_each(|path| writer.unread(path.as_bytes(), &mut out));
    writer.end(&mut out);
    out
}

#[test]
fn replaced_a_folder_keeps_what_could_not_be_read_at_the_source() {
    for (of_all, expected) in [
        (false, "a/b=new a/deep=old part/new=new part/old=old shut/in/er=old torn=old"),
        (true, "a/b=new a/deep=old gone=old part/new=new part/old=old shut/in/er=old torn=old"),
    ] {
        let to = tempdir().unwrap();
        let there = to.path().join("tree");
        for folder in ["a", "part", "shut/in"] {
            fs::create_dir_all(there.join(folder)).unwrap();
        }
        for file in ["a/b", "a/deep", "gone", "part/old", "shut/in/er", "torn"] {
            fs::write(there.join(file), "old").unwrap();
        }
        let inbox = FileSink::into_dir(to.path()).on_conflict(OnConflict::Replace);
        let stream = Bytes::from(with_unread(of_all));
        let mut sink = inbox.open(&offer(content(ContentKind::Tree, "tree", None))).unwrap();
        let committed = block_on(write_all(&mut *sink, vec![stream])).unwrap();
        let found = snapshot(&there).into_iter().filter(|(_, kind, ..)| *kind == 'f');
        let found: Vec<_> =
            found.map(|(path, .., what)| format!("{}={}", path.display(), text(&what))).collect();
        assert_eq!(found.join(" "), expected);
        assert_eq!(fs::metadata(there.join("a")).unwrap().permissions().mode() & 0o777, 0o500);
        let said = "what was here of that which the sender could not read stays as it was";
        assert!(committed.remarks.iter().any(|line| line == said), "{:?}", committed.remarks);
        assert_eq!(names(to.path()), ["tree"]);
    }
}

#[test]
fn what_can_not_be_read_for_a_while_is_not_removed_at_the_receiver() {
    let (_home, photos) = photos();
    let to = tempdir().unwrap();
    let inbox = FileSink::into_dir(to.path()).on_conflict(OnConflict::Replace);
    deliver(&mut tree(&photos), &inbox).unwrap();
    let there = to.path().join("photos");
    let before = snapshot(&there);
    assert_eq!(before, snapshot(&photos));

    let mode = |path: &str, mode: u32| {
        fs::set_permissions(photos.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("a/5", 0);
    mode("deep/er", 0);
    fs::remove_file(photos.join("a/7")).unwrap();
    fs::write(photos.join("-n/new"), "is new").unwrap();
    // Root reads all.
    unprivileged(|| deliver(&mut tree(&photos), &inbox).unwrap());
    let mut expected: Vec<_> = before.into_iter().map(|entry| entry.0).collect();
    expected.retain(|path| path.as_path() != Path::new("a/7"));
    expected.push("-n/new".into());
    expected.sort();
    let now: Vec<_> = snapshot(&there).into_iter().map(|entry| entry.0).collect();
    assert_eq!(now, expected);
    assert_eq!(fs::read(there.join("a/5")).unwrap(), fs::read(photos.join("a/5")).unwrap());

    // Once more, where folders are closed at the receiver by now, too.
    for closed in [0o400, 0] {
        mode("a", closed);
        for _ in 0..2 {
            unprivileged(|| deliver(&mut tree(&photos), &inbox).unwrap());
        }
        assert_eq!(fs::read(there.join("a/5")).unwrap(), fs::read(photos.join("a/5")).unwrap());
        assert!(there.join("deep/er/still/x").exists());
    }
    mode("a", 0o755);
    mode("a/5", 0o644);
    mode("deep/er", 0o755);
    deliver(&mut tree(&photos), &inbox).unwrap();
    assert_eq!(snapshot(&there), snapshot(&photos));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_folder_is_not_lost_to_a_file_or_a_link_of_its_name_and_both_ends_hear_it() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let (folder, there) = (from.path().join("all"), to.path().join("all"));
    let inbox = FileSink::into_dir(to.path()).on_conflict(OnConflict::Merge);
    for kept in ["notes/deep", "shut/linked"] {
        fs::create_dir_all(there.join(kept)).unwrap();
        fs::write(there.join(kept).join("mine"), "mine").unwrap();
    }
    let kept = [there.join("notes"), there.join("shut/linked")];
    set(&there.join("notes/deep"), 0o500, 1_000_000_001);
    let before = kept.each_ref().map(|kept| snapshot(kept));
    fs::create_dir_all(folder.join("shut")).unwrap();
    for file in ["notes", "other", "shut/new"] {
        fs::write(folder.join(file), "came").unwrap();
    }
    fs::hard_link(folder.join("notes"), folder.join("twin")).unwrap();
    symlink("../other", folder.join("shut/linked")).unwrap();
    set(&folder.join("shut"), 0o500, 2_000_000_002);
    for _ in 0..2 {
        let (committed, _) = deliver(&mut tree(&folder), &inbox).unwrap();
        assert_eq!(kept.each_ref().map(|kept| snapshot(kept)), before);
        let mut remarks = committed.remarks.clone();
        remarks.sort();
        assert_eq!((committed.skipped, committed.files, remarks.len()), (2, 3, 2), "{remarks:?}");
        for (remark, name) in remarks.iter().zip(["notes", "shut/linked"]) {
            let said = format!("{name} was left out: a folder has its name here");
            assert!(remark.starts_with(&said), "{remark}");
        }
        for file in ["other", "shut/new", "twin"] {
            assert_eq!(fs::read_to_string(there.join(file)).unwrap(), "came", "{file}");
        }
        assert_eq!(snapshot(&there.join("shut"))[0], snapshot(&folder.join("shut"))[0]);
        assert_eq!(names(to.path()), ["all"]);
    }
}

#[test]
fn of_deliveries_that_are_merged_at_once_each_stays() {
    let to = tempdir().unwrap();
    for round in 0..8 {
        let come = Barrier::new(4);
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (come, to) = (&come, to.path());
                scope.spawn(move || {
                    let from = tempdir().unwrap();
                    let folder = from.path().join("all");
                    fs::create_dir(&folder).unwrap();
                    fs::write(folder.join(format!("{round}-{number}")), "x").unwrap();
                    // Two inboxes may have one folder.
                    let inbox = FileSink::into_dir(to).on_conflict(OnConflict::Merge);
                    come.wait();
                    deliver(&mut tree(&folder), &inbox).unwrap();
                });
            }
        });
        assert_eq!(names(&to.path().join("all")).len(), 4 * (round + 1));
    }
    assert_eq!(names(to.path()), ["all"]);
}
