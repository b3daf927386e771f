//! Room on the disk of the receiver: what is asked for before the first byte, and what is looked at
//! while bytes come.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use bytes::Bytes;
use estafette::pipeline::{Inbox, Sink, SinkError, Source};
use estafette_actors::sink::{FileSink, Folder, OnConflict};
use estafette_actors::source::{FileSource, ReadOptions};

use crate::as_they_were::{source, tree};
use crate::durable::Delivery;
use crate::harness::{block_on, deliver_in, names, offer, read_all};
use crate::mounts::Mounted;

const MIB: u64 = 1 << 20;

/// A file of 48 MiB with one of data.
fn sparse(path: &Path) {
    let file = fs::File::create(path).unwrap();
    file.set_len(48 * MIB).unwrap();
    file.write_all_at(&vec![7; MIB as usize], 40 * MIB).unwrap();
}

fn took(path: &Path) -> (u64, bool) {
    let there = fs::metadata(path).unwrap();
    (there.len(), there.blocks() * 512 < 4 * MIB)
}

#[test]
fn a_file_with_holes_needs_room_for_its_data_alone() {
    let (_home, tree) = tree();
    sparse(&tree.join("disk"));
    let Some(small) = Mounted::small(16 * MIB) else { return };
    let file = || FileSource::open(tree.join("disk")).unwrap();
    let described = file().content();
    let data = described.data.unwrap();
    assert!((MIB..2 * MIB).contains(&data), "{data} of {:?}", described.length);
    let described = source(&tree, &ReadOptions::default()).content();
    assert!(described.data.unwrap() < 2 * MIB && described.length.unwrap() > 48 * MIB);

    // How many bytes attributes are is not known before they are read.
    let attributed = source(&tree, &ReadOptions::default().xattrs(true)).content();
    assert!(attributed.length.is_none() && attributed.data == described.data, "{attributed:?}");

    let inbox = |name: &str| FileSink::into_dir(small.path().join(name));
    deliver_in(&mut file(), &inbox("a"), MIB as usize).unwrap();
    assert_eq!(took(&small.path().join("a/disk")), (48 * MIB, true));
    let content = block_on(read_all(&mut file(), MIB as usize)).unwrap();
    Delivery::of(content).described(file().content()).attempt(&inbox("b")).unwrap();
    assert_eq!(took(&small.path().join("b/disk")), (48 * MIB, true));

    let folder = || source(&tree, &ReadOptions::default());
    deliver_in(&mut folder(), &inbox("c"), MIB as usize).unwrap();
    assert_eq!(took(&small.path().join("c/tree/disk")), (48 * MIB, true));
    let stream = block_on(read_all(&mut folder(), MIB as usize)).unwrap();
    Delivery::of(stream).described(folder().content()).attempt(&inbox("d")).unwrap();
    assert_eq!(took(&small.path().join("d/tree/disk")), (48 * MIB, true));

    // Who does not know of holes is asked for all of it, and so is who has no room for the data.
    let unknown = file().content().with_data(None);
    let refusal = inbox("e").open(&offer(unknown)).unwrap_err();
    assert!(refusal.reason.contains(&format!("needs {} bytes", 48 * MIB)), "{refusal}");
    let most = file().content().with_data(Some(20 * MIB));
    for most in [most.clone(), most.with_length(None).with_data(Some(20 * MIB))] {
        let refusal = inbox("e").open(&offer(most)).unwrap_err();
        assert!(refusal.reason.contains(&format!("needs {} bytes", 20 * MIB)), "{refusal}");
    }
}

/// Writes 48 MiB, of zeros and then of others, until that is refused; how many MiB were taken, and
/// why no more.
fn fill(sink: &mut dyn Sink, zeros: u64) -> (u64, String) {
    for at in 0..48 {
        let piece = Bytes::from(vec![u8::from(at >= zeros); MIB as usize]);
        if let Err(error) = block_on(sink.write(at * MIB, &piece)) {
            assert!(matches!(&error, SinkError::Refused(refusal) if refusal.passing), "{error}");
            sink.abort("no room");
            return (at, error.to_string());
        }
    }
    panic!("all was taken");
}

#[test]
fn who_says_that_all_is_holes_is_stopped_when_it_is_not() {
    let (_home, tree) = tree();
    sparse(&tree.join("disk"));
    let Some(small) = Mounted::small(32 * MIB) else { return };
    let inbox = FileSink::into_dir(small.path()).keep_free(16 * MIB);
    let lie = FileSource::open(tree.join("disk")).unwrap().content().with_data(Some(0));
    let mut sink = inbox.open(&offer(lie.clone())).unwrap();
    let (taken, why) = fill(&mut *sink, 0);
    assert!(taken < 24 && why.contains(&format!("{} are kept free", 16 * MIB)), "{taken}: {why}");
    drop(sink);

    let journalled = Delivery::of(Vec::new()).described(lie);
    let mut sink = journalled.open(&inbox).unwrap();
    let (taken, why) = fill(&mut *sink, 0);
    assert!(taken < 24 && why.contains("are kept free"), "{taken}: {why}");
    drop(sink);
    assert_eq!(names(small.path()), [""; 0]);
}

#[test]
fn where_no_holes_are_kept_they_need_room() {
    let Some(disk) = Mounted::exfat() else { return };
    let (_home, tree) = tree();
    sparse(&tree.join("disk"));
    let inbox = |free: u64| -> Folder { FileSink::into_dir(disk.path()).keep_free(free) };
    let told = FileSource::open(tree.join("disk")).unwrap().content();
    let refusal = inbox(32 * MIB).open(&offer(told.clone())).unwrap_err();
    assert!(refusal.reason.contains(&format!("needs {} bytes", 48 * MIB)), "{refusal}");
    assert_eq!(names(disk.path()), [""; 0]);

    // Holes of which nobody was told beforehand are seen as they come.
    let untold = told.with_length(None);
    let mut sink = inbox(32 * MIB).open(&offer(untold)).unwrap();
    let (taken, why) = fill(&mut *sink, 47);
    assert!(taken < 40 && why.contains("are kept free"), "{taken}: {why}");
    drop(sink);
    assert_eq!(names(disk.path()), [""; 0]);
}

#[test]
fn what_stays_and_has_to_be_copied_leaves_free_what_is_to_be_left_free() {
    let Some(disk) = Mounted::exfat() else { return };
    let (_home, tree) = tree();
    let there = disk.path().join("tree");
    fs::create_dir(&there).unwrap();
    fs::write(there.join("stays"), vec![7; 24 * MIB as usize]).unwrap();
    let merge = |free: u64| {
        let inbox = FileSink::into_dir(disk.path()).on_conflict(OnConflict::Merge);
        deliver_in(&mut source(&tree, &ReadOptions::default()), &inbox.keep_free(free), 1 << 16)
    };
    let why = merge(32 * MIB).unwrap_err().text();
    let needs = format!("needs {} bytes", 24 * MIB);
    assert!(why.contains(&needs) && why.contains("are kept free"), "{why}");
    assert_eq!(fs::metadata(there.join("stays")).unwrap().len(), 24 * MIB);
    merge(0).unwrap();
    assert_eq!(fs::metadata(there.join("stays")).unwrap().len(), 24 * MIB);
    assert_eq!(names(disk.path()), ["tree"]);
}
