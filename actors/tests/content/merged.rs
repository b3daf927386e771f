//! A folder in place of another one, of which it keeps what it has not itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Barrier;

use estafette_actors::sink::{FileSink, OnConflict};
use estafette_actors::source::FileSource;
use tempfile::tempdir;

use crate::harness::{deliver, names};
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
    // Changed: a file's content, and what is a folder, or no more one.
    fs::write(photos.join("a/7"), "has changed").unwrap();
    fs::write(photos.join("-n/new"), "is new").unwrap();
    fs::remove_dir_all(photos.join("a-b")).unwrap();
    fs::write(photos.join("a-b"), "was a folder").unwrap();
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
