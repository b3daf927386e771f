//! Deliveries to file systems that keep less than a POSIX one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use estafette::delivery::ContentKind;
use estafette_actors::sink::{FileSink, OnConflict};
use estafette_actors::source::{BytesSource, TreeSource};
use tempfile::tempdir;

use crate::commit::commits_once_whenever_it_dies;
use crate::durable::{Death, Delivery};
use crate::harness::{Failure, deliver_in, names};
use crate::mounts::Mounted;

#[test]
fn a_receiver_on_exfat_that_dies_at_any_change_of_its_spool_commits_once() {
    let Some(disk) = Mounted::exfat() else { return };
    commits_once_whenever_it_dies(|| disk.folder());
}

#[test]
fn a_name_that_is_taken_on_exfat_is_kept() {
    let Some(disk) = Mounted::exfat() else { return };
    let to = disk.folder();
    fs::write(to.path().join("note"), "old").unwrap();
    let failure = deliver_in(
        &mut BytesSource::new("note", "new").unwrap(),
        &FileSink::into_dir(to.path()),
        100,
    )
    .unwrap_err();
    assert!(failure.text().contains("exists already"), "{}", failure.text());
    assert_eq!(
        (fs::read_to_string(to.path().join("note")).unwrap(), names(to.path())),
        ("old".into(), vec!["note".into()])
    );
}

#[test]
fn a_name_that_was_reserved_by_a_process_that_died_is_taken_by_its_delivery() {
    let Some(disk) = Mounted::exfat() else { return };
    let delivery = || Delivery::of_kind(ContentKind::Bytes, b"content".to_vec());
    let dies_at = |at, to: &Path, delivery: &Delivery| {
        delivery.spool.die(Death { at, made: true });
        let _ = delivery.attempt(&FileSink::into_dir(to));
        delivery.spool.revive()
    };
    // The last thing it writes down is that it reserves the name.
    let last =
        (0..).take_while(|&at| dies_at(at, disk.folder().path(), &delivery())).last().unwrap();
    let (to, delivery) = (disk.folder(), delivery());
    assert!(dies_at(last, to.path(), &delivery));
    fs::write(to.path().join("content"), "").unwrap();
    delivery.attempt(&FileSink::into_dir(to.path())).unwrap();
    assert_eq!(
        (fs::read(to.path().join("content")).unwrap(), names(to.path())),
        (b"content".to_vec(), vec!["content".into()])
    );
}

#[test]
fn entries_that_exfat_can_not_hold_are_left_out_and_named_and_the_rest_arrives() {
    let Some(disk) = Mounted::exfat() else { return };
    let (from, to) = (tempdir().unwrap(), disk.folder());
    let tree = from.path().join("tree");
    fs::create_dir_all(tree.join("a:folder/deep")).unwrap();
    for path in ["a:folder/deep/file", "plain", "Twice", "twice", "what?", "z"] {
        fs::write(tree.join(path), path).unwrap();
    }
    symlink("plain", tree.join("link")).unwrap();
    let (committed, _) =
        deliver_in(&mut TreeSource::new(vec![tree]).unwrap(), &FileSink::into_dir(to.path()), 100)
            .unwrap();
    assert_eq!(names(&to.path().join("tree")), ["Twice", "plain", "z"]);
    assert_eq!((committed.files, committed.skipped), (3, 6), "{committed:?}");
    for left_out in ["a:folder", "a:folder/deep", "a:folder/deep/file", "link", "twice", "what?"] {
        let is_told = committed
            .remarks
            .iter()
            .any(|remark| remark.starts_with(&format!("{left_out} was left out: ")));
        assert!(is_told, "{left_out}: {:?}", committed.remarks);
    }
}

#[test]
fn a_delivery_whose_name_exfat_can_not_hold_is_refused_for_good_before_its_first_byte() {
    let Some(disk) = Mounted::exfat() else { return };
    let (from, to) = (tempdir().unwrap(), disk.folder());
    let tree = from.path().join("a:tree");
    fs::create_dir(&tree).unwrap();
    for policy in [OnConflict::Refuse, OnConflict::Rename, OnConflict::Replace] {
        let inbox = FileSink::into_dir(to.path()).on_conflict(policy);
        let file = deliver_in(&mut BytesSource::new("b:1", "x").unwrap(), &inbox, 100);
        let tree = deliver_in(&mut TreeSource::new(vec![tree.clone()]).unwrap(), &inbox, 100);
        for failure in [file.unwrap_err(), tree.unwrap_err()] {
            let Failure::Refused(refusal) = failure else { panic!("{failure:?}") };
            assert!(
                !refusal.passing && refusal.reason.contains("the file system there holds no such"),
                "{refusal}"
            );
        }
    }
    assert_eq!(names(to.path()), [""; 0]);
    let inbox = FileSink::into_dir(to.path());
    deliver_in(&mut BytesSource::new("x".repeat(150), "long").unwrap(), &inbox, 100).unwrap();
    let odd = tempdir().unwrap();
    deliver_in(&mut BytesSource::new("b:1", "x").unwrap(), &FileSink::into_dir(odd.path()), 100)
        .unwrap();
    assert_eq!(names(odd.path()), ["b:1"]);
}

#[test]
fn a_file_system_that_holds_no_more_files_is_not_called_full() {
    let Some(disk) = Mounted::of_few_files(20) else { return };
    let from = tempdir().unwrap();
    let tree = from.path().join("tree");
    fs::create_dir(&tree).unwrap();
    (0..30).for_each(|number| fs::write(tree.join(number.to_string()), "").unwrap());
    let mut source = TreeSource::new(vec![tree]).unwrap();
    let failure = deliver_in(&mut source, &FileSink::into_dir(disk.path()), 100).unwrap_err();
    assert!(failure.text().contains("all of its inodes are in use"), "{}", failure.text());
}

#[test]
fn a_folder_on_exfat_replaces_another() {
    let Some(disk) = Mounted::exfat() else { return };
    let (from, to) = (tempdir().unwrap(), disk.folder());
    let inbox = FileSink::into_dir(to.path()).on_conflict(OnConflict::Replace);
    for content in ["old", "new"] {
        fs::create_dir_all(from.path().join("tree")).unwrap();
        fs::write(from.path().join("tree").join(content), content).unwrap();
        deliver_in(&mut TreeSource::new(vec![from.path().join("tree")]).unwrap(), &inbox, 100)
            .unwrap();
        fs::remove_dir_all(from.path().join("tree")).unwrap();
    }
    assert_eq!(
        (names(to.path()), names(&to.path().join("tree"))),
        (vec!["tree".into()], vec!["new".into()])
    );
}

#[test]
fn a_small_disk_takes_what_fits_and_keeps_a_share_free() {
    let Some(disk) = Mounted::small(16 << 20) else { return };
    let inbox = FileSink::into_dir(disk.path());
    deliver_in(&mut BytesSource::new("small", "abc").unwrap(), &inbox, 100).unwrap();
    let failure =
        deliver_in(&mut BytesSource::new("large", vec![0; 16 << 20]).unwrap(), &inbox, 1 << 20)
            .unwrap_err();
    assert!(
        failure.text().contains(&format!("{} are kept free", (16 << 20) / 20)),
        "{}",
        failure.text()
    );
    assert_eq!(names(disk.path()), ["small"]);
}

#[test]
fn a_folder_whose_disk_was_unmounted_is_not_filled_on_the_disk_below() {
    let Some(disk) = Mounted::small(16 << 20) else { return };
    let inbox = FileSink::into_dir(disk.path());
    deliver_in(&mut BytesSource::new("first", "abc").unwrap(), &inbox, 100).unwrap();
    let below = disk.unmount();
    let Err(Failure::Refused(refusal)) =
        deliver_in(&mut BytesSource::new("second", "abc").unwrap(), &inbox, 100)
    else {
        panic!("taken")
    };
    assert!(refusal.passing && refusal.reason.contains("was its disk unmounted?"), "{refusal}");
    assert_eq!(names(below.path()), [""; 0]);
}

#[test]
fn a_folder_that_went_away_is_not_made_again() {
    let place = tempdir().unwrap();
    let (path, aside) = (place.path().join("in"), place.path().join("aside"));
    let inbox = FileSink::into_dir(&path);
    inbox.prepare().unwrap();
    fs::rename(&path, &aside).unwrap();
    let Err(Failure::Refused(refusal)) =
        deliver_in(&mut BytesSource::new("note", "abc").unwrap(), &inbox, 100)
    else {
        panic!("taken")
    };
    assert!(refusal.passing && refusal.reason.contains("is its disk mounted?"), "{refusal}");
    assert!(!path.exists());
    fs::rename(&aside, &path).unwrap();
    deliver_in(&mut BytesSource::new("note", "abc").unwrap(), &inbox, 100).unwrap();
}

#[test]
fn a_folder_that_can_not_be_written_to_is_noticed_before_the_first_delivery() {
    let Some(disk) = Mounted::small(16 << 20) else { return };
    disk.make_read_only();
    let refusal = FileSink::into_dir(disk.path()).prepare().unwrap_err();
    assert!(refusal.reason.contains("can't write to its folder"), "{refusal}");
}
