//! Single files into a folder.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use estafette::delivery::ContentKind;
use estafette::pipeline::{Inbox, SourceError};
use estafette_actors::sink::{FileSink, OnConflict};
use estafette_actors::source::{BytesSource, FileSource};
use tempfile::tempdir;

use crate::harness::{Failure, block_on, content, deliver, deliver_in, names, offer, write_all};

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn bytes(text: &'static str) -> BytesSource {
    BytesSource::new("note.txt", text).unwrap()
}

fn write(path: &Path, content: &[u8], mode: u32, nanoseconds: u64) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn a_file_arrives_with_content_mode_and_time() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let path = from.path().join("photo.raw");
    let data = noise(300_000);
    write(&path, &data, 0o4751, 1_234_567_890_123_456_789);
    for size in [999, 4096, 1 << 20] {
        let mut source = FileSource::open(&path).unwrap();
        let inbox = FileSink::into_dir(to.path()).on_conflict(OnConflict::Replace);
        let (committed, report) = deliver_in(&mut source, &inbox, size).unwrap();
        let arrived = to.path().join("photo.raw");
        assert_eq!(committed.place, arrived.to_str().unwrap());
        assert_eq!((committed.files, report.files), (1, 1));
        let metadata = fs::metadata(&arrived).unwrap();
        assert_eq!(fs::read(&arrived).unwrap(), data);
        assert_eq!(metadata.mode() & 0o7777, 0o751, "setuid is not taken over");
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_234_567_890, 123_456_789));
        assert_eq!(names(to.path()), ["photo.raw"], "no temporary is left");
    }
}

#[test]
fn empty_files_and_odd_names_arrive() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    for name in [&b"empty"[..], b"-rf", b"line\nbreak", b"not-utf8-\xff\xfe", b" "] {
        let name = OsStr::from_bytes(name);
        fs::write(from.path().join(name), b"").unwrap();
        deliver(
            &mut FileSource::open(from.path().join(name)).unwrap(),
            &FileSink::into_dir(to.path()),
        )
        .unwrap();
        assert_eq!(fs::metadata(to.path().join(name)).unwrap().len(), 0);
    }
}

#[test]
fn a_taken_name_is_refused_before_the_first_byte() {
    let to = tempdir().unwrap();
    fs::write(to.path().join("note.txt"), "mine").unwrap();
    let failure = deliver(&mut bytes("theirs"), &FileSink::into_dir(to.path())).unwrap_err();
    assert!(
        matches!(&failure, Failure::Refused(refusal) if refusal.reason.contains("exists already")),
        "{failure:?}"
    );
    assert_eq!(fs::read(to.path().join("note.txt")).unwrap(), b"mine");
}

#[test]
fn a_name_that_is_taken_meanwhile_is_refused_at_the_end() {
    let to = tempdir().unwrap();
    let inbox = FileSink::into_dir(to.path());
    let mut sink = inbox.open(&offer(content(ContentKind::Bytes, "note.txt", None))).unwrap();
    fs::write(to.path().join("note.txt"), "mine").unwrap();
    let error = block_on(write_all(&mut *sink, vec![Bytes::from("theirs")])).unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    drop(sink);
    assert_eq!(fs::read(to.path().join("note.txt")).unwrap(), b"mine");
    assert_eq!(names(to.path()), ["note.txt"]);
}

#[test]
fn taken_names_get_numbers_under_rename() {
    let to = tempdir().unwrap();
    let inbox = FileSink::into_dir(to.path()).on_conflict(OnConflict::Rename);
    for _ in 0..3 {
        deliver(&mut bytes("x"), &inbox).unwrap();
    }
    assert_eq!(names(to.path()), ["note (1).txt", "note (2).txt", "note.txt"]);
}

#[test]
fn replace_replaces_files_links_and_folders() {
    let to = tempdir().unwrap();
    let inbox = FileSink::into_dir(to.path()).on_conflict(OnConflict::Replace);
    let target = to.path().join("note.txt");
    fs::write(&target, "old").unwrap();
    deliver(&mut bytes("new"), &inbox).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"new");

    fs::write(to.path().join("other"), "kept").unwrap();
    fs::remove_file(&target).unwrap();
    symlink("other", &target).unwrap();
    deliver(&mut bytes("newer"), &inbox).unwrap();
    assert!(fs::symlink_metadata(&target).unwrap().is_file());
    assert_eq!(
        fs::read(to.path().join("other")).unwrap(),
        b"kept",
        "a link is replaced, not followed"
    );

    fs::remove_file(&target).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("inside"), "goes with it").unwrap();
    deliver(&mut bytes("newest"), &inbox).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"newest");
    assert_eq!(names(to.path()), ["note.txt", "other"]);
}

#[test]
fn an_aborted_or_dropped_delivery_leaves_nothing() {
    let to = tempdir().unwrap();
    let inbox = FileSink::into_dir(to.path());
    for abort in [true, false] {
        let mut sink = inbox.open(&offer(content(ContentKind::Bytes, "note.txt", None))).unwrap();
        block_on(sink.write(0, &Bytes::from("half"))).unwrap();
        assert_eq!(names(to.path()).len(), 1);
        if abort {
            sink.abort("cancelled");
        } else {
            drop(sink);
        }
        assert!(names(to.path()).is_empty());
    }
}

#[test]
fn a_delivery_of_another_length_than_was_verified_is_not_committed() {
    let to = tempdir().unwrap();
    let mut sink = FileSink::into_dir(to.path())
        .open(&offer(content(ContentKind::Bytes, "note.txt", None)))
        .unwrap();
    block_on(sink.write(0, &Bytes::from("half"))).unwrap();
    let summary = estafette::pipeline::Summary { length: 8, digest: [0; 32] };
    assert!(
        block_on(sink.commit(&summary))
            .unwrap_err()
            .to_string()
            .contains("4 bytes were written of 8")
    );
    drop(sink);
    assert!(names(to.path()).is_empty());
}

#[test]
fn limits_hold_for_what_is_claimed_and_for_what_comes() {
    let to = tempdir().unwrap();
    let inbox = FileSink::into_dir(to.path()).max_bytes(3);
    assert!(deliver(&mut bytes("four"), &inbox).unwrap_err().text().contains("takes 3 at most"));
    let mut liar = inbox.open(&offer(content(ContentKind::Bytes, "note.txt", None))).unwrap();
    assert!(block_on(liar.write(u64::MAX, &Bytes::from("x"))).is_err());
    assert!(block_on(liar.write(0, &Bytes::from("four"))).is_err());
    drop(liar);
    assert!(names(to.path()).is_empty());
}

#[test]
fn free_space_is_kept_for_what_is_claimed_and_for_what_comes() {
    let to = tempdir().unwrap();
    let inbox = FileSink::into_dir(to.path());
    let failure =
        inbox.open(&offer(content(ContentKind::Bytes, "huge", Some(1 << 60)))).unwrap_err();
    assert!(failure.reason.contains("free some space"), "{failure}");
    assert!(
        FileSink::into_dir(to.path())
            .keep_free(1 << 60)
            .open(&offer(content(ContentKind::Bytes, "a", None)))
            .is_err()
    );
    assert!(names(to.path()).is_empty());
}

#[test]
fn names_of_temporaries_are_refused_and_leftovers_removed() {
    let to = tempdir().unwrap();
    let name = ".estafette-0123456789abcdef-0123456789abcdef.part";
    let failure =
        deliver(&mut BytesSource::new(name, "x").unwrap(), &FileSink::into_dir(to.path()))
            .unwrap_err();
    assert!(failure.text().contains("kept for temporaries"), "{}", failure.text());
    fs::write(to.path().join(name), "left behind").unwrap();
    FileSink::into_dir(to.path()).prepare().unwrap();
    assert!(names(to.path()).is_empty());
}

#[test]
fn a_folder_is_made_but_not_its_parents() {
    let to = tempdir().unwrap();
    deliver(&mut bytes("x"), &FileSink::into_dir(to.path().join("in"))).unwrap();
    assert_eq!(names(&to.path().join("in")), ["note.txt"]);
    assert!(FileSink::into_dir(to.path().join("no/such/place")).prepare().is_err());
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_delivered_and_can_be_read_anew() {
    let from = tempdir().unwrap();
    let path = from.path().join("log");
    for change in [&b"longer than it was"[..], b"short", b"same length"] {
        fs::write(&path, b"some length").unwrap();
        let mut source = FileSource::open(&path).unwrap();
        let mut start = [0; 4];
        block_on(estafette::pipeline::Source::read(&mut source, &mut start)).unwrap();
        fs::write(&path, change).unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        let to = tempdir().unwrap();
        let failure = deliver(&mut source, &FileSink::into_dir(to.path())).unwrap_err();
        assert!(matches!(failure, Failure::Source(SourceError::Changed { .. })), "{failure:?}");
        assert!(names(to.path()).is_empty());

        assert!(estafette::pipeline::Source::rewind(&mut source).unwrap());
        deliver(&mut source, &FileSink::into_dir(to.path())).unwrap();
        assert_eq!(fs::read(to.path().join("log")).unwrap(), change);
    }
}

#[test]
fn what_is_no_regular_file_is_named() {
    let from = tempdir().unwrap();
    let missing = FileSource::open(from.path().join("missing")).unwrap_err();
    assert!(
        matches!(missing, SourceError::Read { .. }) && missing.to_string().contains("missing"),
        "{missing}"
    );
    let fifo = from.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    for path in [from.path(), &fifo, Path::new("/dev/null")] {
        assert!(matches!(FileSource::open(path), Err(SourceError::Unsuitable { .. })), "{path:?}");
    }
}
