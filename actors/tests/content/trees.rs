//! Folders into a folder.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use estafette::delivery::ContentKind;
use estafette::pipeline::{Inbox, Source, SourceError};
use estafette_actors::sink::{FileSink, MemorySink, OnConflict};
use estafette_actors::source::{TreeSource, from_paths};
use tempfile::{TempDir, tempdir};

use crate::harness::{Failure, block_on, deliver, deliver_in, names, offer, read_all};

/// Path, kind, permissions, modification time, and content or target: of everything in `folder`,
/// itself included.
pub(crate) fn snapshot(folder: &Path) -> Vec<(PathBuf, char, u32, i64, i64, Vec<u8>)> {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let (kind, mode, content) = if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            ('d', metadata.mode() & 0o777, Vec::new())
        } else if metadata.is_symlink() {
            ('l', 0, fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
        } else {
            ('f', metadata.mode() & 0o777, fs::read(&path).unwrap())
        };
        let relative = path.strip_prefix(folder).unwrap().to_path_buf();
        found.push((relative, kind, mode, metadata.mtime(), metadata.mtime_nsec(), content));
    }
    found.sort();
    found
}

pub(crate) fn set(path: &Path, mode: u32, nanoseconds: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    fs::File::open(path).unwrap().set_modified(modified).unwrap();
}

pub(crate) fn photos() -> (TempDir, PathBuf) {
    let home = tempdir().unwrap();
    let photos = home.path().join("photos");
    for folder in ["deep/er/still", "empty", "-n", "a", "a-b"] {
        fs::create_dir_all(photos.join(folder)).unwrap();
    }
    for index in 0..40usize {
        fs::write(photos.join(format!("a/{index}")), vec![index as u8; index * 97]).unwrap();
    }
    for name in [
        &b"empty file"[..],
        b"-rf",
        b"line\nbreak",
        b"\xff\xfe",
        b"deep/er/still/x",
        b"a.b",
        b"a-b/c",
    ] {
        fs::write(photos.join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::write(photos.join("empty file"), b"").unwrap();
    symlink("../../a/7", photos.join("deep/er/up")).unwrap();
    symlink("nowhere", photos.join("dangling")).unwrap();
    set(&photos.join("-rf"), 0o4711, 999_999_999_123_456_789);
    set(&photos.join("a/3"), 0o400, 1);
    set(&photos.join("deep/er"), 0o711, 1_000_000_001);
    set(&photos.join("empty"), 0o1755, 2_000_000_002);
    set(&photos, 0o750, 3_000_000_003);
    (home, photos)
}

pub(crate) fn tree(path: &Path) -> TreeSource {
    TreeSource::new(vec![path.to_path_buf()]).unwrap()
}

#[test]
fn a_tree_arrives_as_it_was() {
    let (_home, photos) = photos();
    let before = snapshot(&photos);
    for size in [1, 7, 4096, 1 << 20] {
        let to = tempdir().unwrap();
        let (committed, report) =
            deliver_in(&mut tree(&photos), &FileSink::into_dir(to.path()), size).unwrap();
        assert_eq!(names(to.path()), ["photos"]);
        assert_eq!(snapshot(&to.path().join("photos")), before);
        assert_eq!((committed.files, committed.skipped), (47, 0));
        assert_eq!((report.files, report.skipped_total), (47, 0));
        assert_eq!(committed.place, to.path().join("photos").to_str().unwrap());
    }
}

#[test]
fn the_stream_is_the_same_each_time_and_as_long_as_told() {
    let (_home, photos) = photos();
    let mut source = tree(&photos);
    let length = source.content().length.unwrap();
    let first = block_on(read_all(&mut source, 1000)).unwrap();
    assert_eq!(first.len() as u64, length);
    assert!(source.rewind().unwrap());
    assert_eq!(block_on(read_all(&mut source, 17)).unwrap(), first);
    assert_eq!(source.content().kind, ContentKind::Tree);
    assert_eq!(source.content().name.as_bytes(), b"photos");
}

#[test]
fn several_paths_are_one_delivery() {
    let (home, photos) = photos();
    fs::write(home.path().join("note"), "n").unwrap();
    let to = tempdir().unwrap();
    let paths = vec![home.path().join("note"), photos.clone()];
    deliver(&mut TreeSource::new(paths).unwrap(), &FileSink::into_dir(to.path())).unwrap();
    assert_eq!(names(&to.path().join("delivery")), ["note", "photos"]);
    assert_eq!(snapshot(&to.path().join("delivery/photos")), snapshot(&photos));
    let other = tempdir().unwrap();
    fs::write(other.path().join("photos"), "").unwrap();
    let error =
        TreeSource::new(vec![photos.clone(), other.path().join("photos")]).unwrap_err().to_string();
    assert!(
        error.contains(photos.to_str().unwrap()) && error.contains(other.path().to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn paths_become_the_source_that_fits_them() {
    let (home, photos) = photos();
    let kind = |path: &Path| from_paths([path]).map(|source| source.content().kind);
    assert!(matches!(kind(&photos.join("-rf")), Ok(ContentKind::File { .. })));
    assert!(matches!(kind(&photos), Ok(ContentKind::Tree)));
    let missing = kind(&home.path().join("missing")).unwrap_err();
    assert!(missing.to_string().contains("missing"), "{missing}");
    assert!(from_paths(Vec::<PathBuf>::new()).is_err());

    let link = home.path().join("link");
    symlink(&photos, &link).unwrap();
    assert!(matches!(kind(&link), Ok(ContentKind::Tree)), "it is meant, since it is named");
    let followed = from_paths([home.path().join("link/")]).unwrap().content();
    assert_eq!((followed.kind, followed.name.as_bytes()), (ContentKind::Tree, &b"link"[..]));
    let inner = from_paths([photos.join("a/..")]).unwrap().content();
    assert_eq!(inner.name.as_bytes(), b"photos");
}

#[test]
fn what_can_not_be_sent_is_named_and_the_rest_goes_on() {
    let (home, photos) = photos();
    rustix::fs::mkfifoat(rustix::fs::CWD, photos.join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    std::os::unix::net::UnixListener::bind(photos.join("socket")).unwrap();
    symlink("/etc/passwd", photos.join("absolute")).unwrap();
    symlink("../outside", photos.join("out")).unwrap();
    let to = tempdir().unwrap();
    let (committed, report) = deliver(&mut tree(&photos), &FileSink::into_dir(to.path())).unwrap();
    let skipped: Vec<_> = report
        .skipped
        .iter()
        .map(|skipped| Path::new(&skipped.path).file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(skipped, ["absolute", "fifo", "out", "socket"]);
    assert_eq!((report.skipped_total, committed.skipped, committed.files), (4, 4, 47));
    assert!(
        report.skipped[0].path.starts_with(home.path().to_str().unwrap())
            && report.skipped[0].reason.contains("/etc/passwd")
    );
    assert_eq!(snapshot(&to.path().join("photos")).len(), snapshot_length(&photos) - 4);
}

/// Like [`snapshot`], of a folder with things in it that can't be read.
fn snapshot_length(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().fold(1, |sum, entry| {
        let entry = entry.unwrap();
        sum + if entry.file_type().unwrap().is_dir() { snapshot_length(&entry.path()) } else { 1 }
    })
}

#[test]
fn an_unreadable_file_is_named_and_the_rest_goes_on() {
    let home = tempdir().unwrap();
    let unreadable = if rustix::process::geteuid().is_root() {
        // Not even root may read what the kernel only takes.
        PathBuf::from("/sys/bus/platform/drivers_probe")
    } else {
        let path = home.path().join("secret");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
        path
    };
    if !fs::symlink_metadata(&unreadable).is_ok_and(|metadata| metadata.is_file())
        || fs::File::open(&unreadable).is_ok()
    {
        eprintln!("SKIPPED: there is no unreadable file to be had here");
        return;
    }
    let readable = home.path().join("readable");
    fs::write(&readable, "r").unwrap();
    let to = tempdir().unwrap();
    let mut source = TreeSource::new(vec![unreadable.clone(), readable]).unwrap();
    let (committed, report) = deliver(&mut source, &FileSink::into_dir(to.path())).unwrap();
    assert_eq!(report.skipped[0].path, unreadable.to_str().unwrap());
    assert_eq!((committed.files, committed.skipped), (1, 1));
    assert_eq!(names(&to.path().join("delivery")), ["readable"]);
}

/// Reads until the source is inside the content of the one file in its tree, then lets `change`
/// happen, and reads to the end.
fn read_around(source: &mut TreeSource, change: impl FnOnce()) -> Result<Vec<u8>, SourceError> {
    let mut start = vec![0; 200];
    let count = block_on(source.read(&mut start))?;
    assert_eq!(count, 200);
    change();
    let rest = block_on(read_all(source, 100))?;
    Ok([start, rest].concat())
}

fn single() -> (TempDir, PathBuf) {
    let home = tempdir().unwrap();
    let path = home.path().join("tree/log");
    fs::create_dir(home.path().join("tree")).unwrap();
    fs::write(&path, vec![1; 1000]).unwrap();
    fs::write(home.path().join("tree/rest"), "rest").unwrap();
    (home, path)
}

#[test]
fn a_file_that_shrinks_is_left_out_and_the_rest_goes_on() {
    let (home, log) = single();
    let mut source = tree(&home.path().join("tree"));
    let length = source.content().length.unwrap();
    let stream = read_around(&mut source, || {
        fs::File::options().write(true).open(&log).unwrap().set_len(50).unwrap()
    })
    .unwrap();
    let report = source.finish().unwrap();
    let remark = 23 + report.remarks[0].len() as u64;
    assert_eq!(
        (stream.len() as u64, report.remarks.len()),
        (length + remark, 1),
        "what is missing is padded, and told of"
    );
    assert_eq!((report.files, report.skipped_total), (1, 1));
    assert!(
        report.skipped[0].path.ends_with("/log") && report.skipped[0].reason.contains("shorter"),
        "{report:?}"
    );

    let to = tempdir().unwrap();
    let mut sink = FileSink::into_dir(to.path()).open(&offer(source.content())).unwrap();
    let committed = block_on(crate::harness::write_all(
        &mut *sink,
        stream.chunks(64).map(bytes::Bytes::copy_from_slice).collect(),
    ))
    .unwrap();
    assert_eq!((committed.files, committed.skipped), (1, 1));
    assert_eq!(names(&to.path().join("tree")), ["rest"]);
}

#[test]
fn a_file_that_changes_fails_the_whole_or_is_left_out() {
    let (home, log) = single();
    let grow = || {
        std::io::Write::write_all(
            &mut fs::File::options().append(true).open(&log).unwrap(),
            b"more",
        )
        .unwrap()
    };
    let mut source = tree(&home.path().join("tree"));
    let error = read_around(&mut source, grow).unwrap_err();
    assert!(
        matches!(&error, SourceError::Changed { what, .. } if what.ends_with("/log")),
        "{error}"
    );
    assert!(source.rewind().unwrap());
    block_on(read_all(&mut source, 100)).unwrap();
    assert_eq!(source.finish().unwrap().files, 2);

    let mut source = tree(&home.path().join("tree")).skip_changed();
    read_around(&mut source, grow).unwrap();
    let report = source.finish().unwrap();
    assert_eq!((report.files, report.skipped_total), (1, 1));
}

#[test]
fn a_file_of_which_no_change_can_be_told_is_a_doubt_that_reading_again_ends() {
    let (home, log) = single();
    let changed = || fs::metadata(&log).unwrap().ctime_nsec();
    let before = changed();
    let come_and_go = || {
        while changed() == before {
            let name = home.path().join("another");
            fs::hard_link(&log, &name).and_then(|()| fs::remove_file(name)).unwrap();
        }
    };
    let mut source = tree(&home.path().join("tree"));
    let first = read_around(&mut source, come_and_go).unwrap();
    let doubt = source.finish().unwrap_err();
    assert!(
        matches!(&doubt, SourceError::Doubtful { what, .. } if what.ends_with("/log")),
        "{doubt}"
    );
    assert!(source.rewind().unwrap());
    assert_eq!(block_on(read_all(&mut source, 100)).unwrap(), first);
    assert_eq!(source.finish().unwrap().files, 2);
}

#[test]
fn a_taken_name_is_refused_numbered_or_replaced() {
    let (_home, photos) = photos();
    let to = tempdir().unwrap();
    let inbox = |policy| FileSink::into_dir(to.path()).on_conflict(policy);
    fs::create_dir(to.path().join("photos")).unwrap();
    fs::write(to.path().join("photos/mine"), "mine").unwrap();
    assert!(matches!(
        deliver(&mut tree(&photos), &inbox(OnConflict::Refuse)),
        Err(Failure::Refused(_))
    ));

    deliver(&mut tree(&photos), &inbox(OnConflict::Rename)).unwrap();
    assert_eq!(names(to.path()), ["photos", "photos (1)"]);
    assert_eq!(names(&to.path().join("photos")), ["mine"]);

    deliver(&mut tree(&photos), &inbox(OnConflict::Replace)).unwrap();
    assert_eq!(snapshot(&to.path().join("photos")), snapshot(&photos));
    assert_eq!(names(to.path()), ["photos", "photos (1)"], "what was replaced is gone");

    fs::remove_dir_all(to.path().join("photos")).unwrap();
    for policy in [OnConflict::Replace, OnConflict::Merge] {
        // What was a file at the source, too, and is a folder there by now.
        fs::write(to.path().join("photos"), "a file").unwrap();
        deliver(&mut tree(&photos), &inbox(policy)).unwrap();
        assert_eq!(snapshot(&to.path().join("photos")), snapshot(&photos));
        assert_eq!(names(to.path()), ["photos", "photos (1)"], "what was replaced is gone");
        fs::remove_dir_all(to.path().join("photos")).unwrap();
    }
    std::os::unix::fs::symlink("photos (1)", to.path().join("photos")).unwrap();
    let failure = deliver(&mut tree(&photos), &inbox(OnConflict::Replace)).unwrap_err();
    assert!(failure.text().contains("is a symbolic link"), "{}", failure.text());
}

#[test]
fn limits_on_bytes_and_entries_hold() {
    let (_home, photos) = photos();
    let to = tempdir().unwrap();
    let failure =
        deliver(&mut tree(&photos), &FileSink::into_dir(to.path()).max_files(20)).unwrap_err();
    assert!(failure.text().contains("more than the 20 files"), "{}", failure.text());
    assert!(matches!(
        deliver(&mut tree(&photos), &FileSink::into_dir(to.path()).max_bytes(5000)),
        Err(Failure::Refused(_))
    ));
    assert!(names(to.path()).is_empty());
}

#[test]
fn a_tree_with_closed_folders_arrives_or_leaves_nothing() {
    let (_home, photos) = photos();
    set(&photos.join("deep/er"), 0o500, 1);
    let stream = block_on(read_all(&mut tree(&photos), 1000)).unwrap();
    let to = tempdir().unwrap();
    let inbox = FileSink::into_dir(to.path());
    for abort in [true, false] {
        let mut sink = inbox.open(&offer(tree(&photos).content())).unwrap();
        block_on(sink.write(0, &bytes::Bytes::copy_from_slice(&stream[..stream.len() - 1])))
            .unwrap();
        assert_eq!(names(to.path()).len(), 1);
        if abort {
            sink.abort("cancelled");
        } else {
            drop(sink);
        }
        assert!(names(to.path()).is_empty());
    }
    deliver(&mut tree(&photos), &inbox).unwrap();
    assert_eq!(snapshot(&to.path().join("photos")), snapshot(&photos));
    // Otherwise these could not be removed by one who is not root.
    set(&photos.join("deep/er"), 0o700, 1);
    set(&to.path().join("photos/deep/er"), 0o700, 1);
}

#[test]
fn a_tree_in_memory_is_its_stream() {
    let (_home, photos) = photos();
    let (inbox, mut deliveries) = MemorySink::channel(1 << 20, 1);
    deliver(&mut tree(&photos), &inbox).unwrap();
    assert_eq!(
        deliveries.try_recv().unwrap().bytes,
        block_on(read_all(&mut tree(&photos), 1000)).unwrap()
    );
}

/// A file system of one MiB, unmounted when it goes out of use.
struct Tiny(TempDir);

impl Tiny {
    fn mount() -> Option<Self> {
        let folder = tempdir().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder.path())
            .output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_fails_the_delivery_with_its_reason_and_leaves_nothing() {
    let Some(tiny) = Tiny::mount() else {
        eprintln!("SKIPPED: no file system can be mounted here");
        return;
    };
    let home = tempdir().unwrap();
    fs::create_dir(home.path().join("tree")).unwrap();
    fs::write(home.path().join("tree/big"), vec![1; 3 << 20]).unwrap();
    for path in [home.path().join("tree"), home.path().join("tree/big")] {
        let mut source = from_paths([&path]).unwrap();
        let inbox = FileSink::into_dir(tiny.0.path()).keep_free(0);
        let failure = deliver(&mut *source, &inbox).unwrap_err();
        assert!(
            matches!(&failure, Failure::Refused(refusal) if refusal.reason.contains("free some space")),
            "{failure:?}"
        );

        let mut sink = inbox.open(&offer(source.content().with_length(None))).unwrap();
        let stream = block_on(read_all(&mut *source, 1 << 16)).unwrap();
        let pieces = stream.chunks(1 << 16).map(bytes::Bytes::copy_from_slice).collect();
        let error = block_on(crate::harness::write_all(&mut *sink, pieces)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("the disk is full") && text.contains(tiny.0.path().to_str().unwrap()),
            "{text}"
        );
        drop(sink);
        assert!(names(tiny.0.path()).is_empty());
    }
}

#[test]
fn a_tree_is_found_again_by_its_paths_unless_they_do_not_tell_all_of_it() {
    let (home, photos) = photos();
    let reference = tree(&photos).reference().unwrap();
    assert_eq!((&*reference.kind, &*reference.data), ("paths", photos.as_os_str().as_bytes()));
    fs::write(home.path().join("z"), "z").unwrap();
    let several =
        TreeSource::new(vec![home.path().join("z"), photos.clone()]).unwrap().reference().unwrap();
    assert_eq!(
        several.data,
        [photos.as_os_str().as_bytes(), b"\0", home.path().join("z").as_os_str().as_bytes()]
            .concat()
    );
    assert_eq!(tree(&photos).named("photos").unwrap().reference(), Some(reference));
    assert_eq!(tree(&photos).named("other").unwrap().reference(), None);
    assert_eq!(tree(&photos).skip_changed().reference(), None);
    assert_eq!(tree(&home.path().join("z")).reference(), None, "its path leads to a file");
}
