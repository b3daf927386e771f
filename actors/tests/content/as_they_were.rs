//! Tests that trees keep more than names and bytes: special bits, holes, second names, links that
//! lead out, attributes.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use estafette::delivery::ContentKind;
use estafette::pipeline::{Committed, Source};
use estafette_actors::sink::{FileSink, Folder};
use estafette_actors::source::{FileSource, Links, ReadOptions, TreeSource, from_paths_with};
use tempfile::{TempDir, tempdir};

use crate::durable::Delivery;
use crate::harness::{block_on, deliver, deliver_in, names, read_all};
use crate::mounts::Mounted;

/// A folder `tree` in a folder of its own, and its path.
pub(crate) fn tree() -> (TempDir, std::path::PathBuf) {
    let home = tempdir().unwrap();
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    (home, tree)
}

pub(crate) fn source(tree: &Path, options: &ReadOptions) -> TreeSource {
    TreeSource::new(vec![tree.to_path_buf()]).unwrap().with(options).unwrap()
}

/// Delivers to a new folder, at once and by a journal, and looks at what arrived.
pub(crate) fn deliver_both_ways(
    source: impl Fn() -> TreeSource,
    inbox: impl Fn(&Path) -> Folder,
    look: impl Fn(&Path, &Committed),
) {
    let to = tempdir().unwrap();
    let (committed, _) = deliver_in(&mut source(), &inbox(to.path()), 70_000).unwrap();
    look(&to.path().join("tree"), &committed);
    let to = tempdir().unwrap();
    let stream = block_on(read_all(&mut source(), 1 << 20)).unwrap();
    let committed =
        Delivery::of_kind(ContentKind::Tree, stream).attempt(&inbox(to.path())).unwrap();
    assert_eq!(names(to.path()), ["content"]);
    look(&to.path().join("content"), &committed);
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn sticky_and_setgid_of_folders_are_kept_and_nobody_gets_the_rights_of_the_receiver() {
    let (_home, tree) = tree();
    let set = |name: &str, mode| {
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap()
    };
    for (folder, mode) in
        [("sticky", 0o1755), ("group", 0o2755), ("both", 0o3750), ("user", 0o4755)]
    {
        fs::create_dir(tree.join(folder)).unwrap();
        set(folder, mode);
    }
    for (file, mode) in [("suid", 0o4755), ("sgid", 0o2755), ("all", 0o7711)] {
        fs::write(tree.join(file), file).unwrap();
        set(file, mode);
    }
    deliver_both_ways(
        || source(&tree, &ReadOptions::default()),
        |to| FileSink::into_dir(to),
        |tree, committed| {
            let modes = ["sticky", "group", "both", "user", "suid", "sgid", "all"]
                .map(|name| mode(&tree.join(name)));
            assert_eq!(modes, [0o1755, 0o2755, 0o3750, 0o755, 0o755, 0o755, 0o711]);
            assert_eq!(committed.remarks.len(), 1, "{:?}", committed.remarks);
            assert!(
                committed.remarks[0].contains("setuid and setgid of all, sgid, suid and 1 more"),
                "{:?}",
                committed.remarks
            );
        },
    );
}

#[test]
fn a_folder_that_hands_its_group_on_does_so_after_a_delivery() {
    let (_home, tree) = tree();
    fs::create_dir(tree.join("inner")).unwrap();
    let to = tempdir().unwrap();
    fs::set_permissions(to.path(), fs::Permissions::from_mode(0o2755)).unwrap();
    deliver(&mut source(&tree, &ReadOptions::default()), &FileSink::into_dir(to.path())).unwrap();
    assert_eq!(
        (mode(&to.path().join("tree")) & 0o2000, mode(&to.path().join("tree/inner")) & 0o2000),
        (0o2000, 0o2000)
    );
}

/// A file of 8 MiB with two pieces of data in it.
fn with_holes(path: &Path) {
    let file = fs::File::create(path).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(&[1; 5000], 3 << 20).unwrap();
    file.write_all_at(&[2; 100], 5 << 20).unwrap();
}

fn has_holes(path: &Path) -> bool {
    let there = fs::metadata(path).unwrap();
    assert_eq!(there.len(), 8 << 20);
    there.blocks() * 512 < 1 << 20
}

#[test]
fn holes_are_holes_at_the_other_end_and_the_digest_is_that_of_the_content() {
    let (home, tree) = tree();
    with_holes(&tree.join("disk"));
    let content = fs::read(tree.join("disk")).unwrap();
    deliver_both_ways(
        || source(&tree, &ReadOptions::default()),
        |to| FileSink::into_dir(to),
        |tree, _| {
            assert!(
                has_holes(&tree.join("disk")) && fs::read(tree.join("disk")).unwrap() == content
            );
        },
    );

    let to = home.path().join("to");
    let mut file = FileSource::open(tree.join("disk")).unwrap();
    assert!(block_on(read_all(&mut file, 100_000)).unwrap() == content);
    assert!(file.rewind().unwrap());
    deliver_in(&mut file, &FileSink::into_dir(&to), 70_000).unwrap();
    assert!(has_holes(&to.join("disk")) && fs::read(to.join("disk")).unwrap() == content);

    Delivery::of_kind(ContentKind::Bytes, content.clone())
        .attempt(&FileSink::into_dir(&to))
        .unwrap();
    assert!(has_holes(&to.join("content")) && fs::read(to.join("content")).unwrap() == content);
}

#[test]
fn a_file_of_nothing_but_a_hole_arrives() {
    let (_home, tree) = tree();
    fs::File::create(tree.join("empty")).unwrap().set_len(100_000).unwrap();
    deliver_both_ways(
        || source(&tree, &ReadOptions::default()),
        |to| FileSink::into_dir(to),
        |tree, _| {
            assert!(fs::read(tree.join("empty")).unwrap() == vec![0; 100_000]);
        },
    );
}

#[test]
fn second_names_are_second_names_at_the_other_end() {
    let (_home, tree) = tree();
    for folder in ["a", "closed", "z"] {
        fs::create_dir(tree.join(folder)).unwrap();
    }
    fs::write(tree.join("a/first"), vec![7; 100_000]).unwrap();
    fs::write(tree.join("closed/first"), "closed").unwrap();
    fs::hard_link(tree.join("a/first"), tree.join("a/second")).unwrap();
    fs::hard_link(tree.join("a/first"), tree.join("z/third")).unwrap();
    fs::hard_link(tree.join("closed/first"), tree.join("z/closed")).unwrap();
    fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let length = source(&tree, &ReadOptions::default()).content().length.unwrap();
    assert!(length < 110_000, "the content is sent once, and not in {length} bytes");
    assert_eq!(
        block_on(read_all(&mut source(&tree, &ReadOptions::default()), 1000)).unwrap().len() as u64,
        length
    );
    deliver_both_ways(
        || source(&tree, &ReadOptions::default()),
        |to| FileSink::into_dir(to),
        |tree, committed| {
            let inode = |name: &str| fs::metadata(tree.join(name)).unwrap().ino();
            assert_eq!([inode("a/second"), inode("z/third")], [inode("a/first"); 2]);
            assert_eq!(
                (
                    fs::read(tree.join("z/third")).unwrap(),
                    fs::metadata(tree.join("a/first")).unwrap().nlink()
                ),
                (vec![7; 100_000], 3)
            );
            assert_eq!(
                (fs::read(tree.join("z/closed")).unwrap(), mode(&tree.join("closed"))),
                (b"closed".to_vec(), 0)
            );
            fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
            assert_eq!(
                (inode("z/closed"), committed.files, &*committed.remarks),
                (inode("closed/first"), 5, &[][..])
            );
        },
    );
    fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_second_name_of_a_file_that_changed_in_between_is_sent_as_what_it_is_now() {
    let (_home, tree) = tree();
    fs::write(tree.join("a"), vec![1; 300]).unwrap();
    fs::write(tree.join("b"), vec![2; 5000]).unwrap();
    fs::hard_link(tree.join("a"), tree.join("c")).unwrap();
    let mut source = source(&tree, &ReadOptions::default());
    let mut start = vec![0; 2000];
    assert_eq!(block_on(source.read(&mut start)).unwrap(), 2000, "it is in the second file");
    fs::write(tree.join("c"), vec![3; 301]).unwrap();
    let stream = [start, block_on(read_all(&mut source, 1000)).unwrap()].concat();
    let to = tempdir().unwrap();
    Delivery::of_kind(ContentKind::Tree, stream).attempt(&FileSink::into_dir(to.path())).unwrap();
    assert_eq!(fs::read(to.path().join("content/a")).unwrap(), vec![1; 300]);
    assert_eq!(fs::read(to.path().join("content/c")).unwrap(), vec![3; 301]);
}

#[test]
fn where_there_are_no_second_names_there_are_copies_and_a_remark() {
    let Some(disk) = Mounted::exfat() else { return };
    let (_home, tree) = tree();
    fs::write(tree.join("a"), vec![7; 100_000]).unwrap();
    fs::hard_link(tree.join("a"), tree.join("b")).unwrap();
    fs::write(tree.join("c:d"), "not to be had").unwrap();
    fs::hard_link(tree.join("c:d"), tree.join("e")).unwrap();
    let to = disk.folder();
    let (committed, _) = deliver_in(
        &mut source(&tree, &ReadOptions::default()),
        &FileSink::into_dir(to.path()),
        1000,
    )
    .unwrap();
    assert_eq!(names(&to.path().join("tree")), ["a", "b"]);
    assert_eq!(fs::read(to.path().join("tree/b")).unwrap(), vec![7; 100_000]);
    assert_eq!((committed.files, committed.skipped), (2, 2));
    let said = committed.remarks.join("\n");
    assert!(said.contains("b is a file of its own") && said.contains("e was left out"), "{said}");

    // Nobody fills a disk by naming one file again and again.
    let failure = deliver_in(
        &mut source(&tree, &ReadOptions::default()),
        &FileSink::into_dir(to.path().join("in")).max_bytes(101_000),
        1000,
    );
    assert!(failure.is_ok(), "it is no more than that");
    (0..3)
        .for_each(|number| fs::hard_link(tree.join("a"), tree.join(format!("f{number}"))).unwrap());
    let failure = deliver_in(
        &mut source(&tree, &ReadOptions::default()),
        &FileSink::into_dir(to.path().join("in2")).max_bytes(101_000),
        1000,
    );
    let text = failure.unwrap_err().text();
    assert!(text.contains("the receiver takes 101000 at most"), "{text}");
}

#[test]
fn second_names_of_links_and_times_that_can_not_be_told_are_left_behind_aloud() {
    let (_home, tree) = tree();
    symlink("nowhere", tree.join("a")).unwrap();
    fs::hard_link(tree.join("a"), tree.join("b")).unwrap();
    fs::write(tree.join("late"), "late").unwrap();
    let late = std::time::UNIX_EPOCH + std::time::Duration::from_secs(13_000_000_000);
    fs::File::open(tree.join("late")).unwrap().set_modified(late).unwrap();
    let is_late = fs::metadata(tree.join("late")).unwrap().mtime() == 13_000_000_000;
    let to = tempdir().unwrap();
    let mut source = source(&tree, &ReadOptions::default());
    let told = source.content().length;
    let stream = block_on(read_all(&mut source, 1 << 20)).unwrap();
    assert_eq!(told, Some(stream.len() as u64), "remarks are a part of the length");
    assert!(source.rewind().unwrap());
    let (_, report) = deliver(&mut source, &FileSink::into_dir(to.path())).unwrap();
    let links = "b was sent as a link of its own, and no second name (hard link) of another";
    let times = "the time of late was not sent as it is: it lies before 1678 or after 2261";
    if is_late {
        assert_eq!(report.remarks, [links, times]);
    } else {
        eprintln!("SKIPPED: this file system has no times after 2261");
        assert_eq!(report.remarks, [links]);
    }
}

#[test]
fn what_could_not_be_read_is_told_apart_from_what_was_left_out_on_request() {
    let (home, tree) = environment();
    rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("a-pipe"), rustix::fs::Mode::RWXU).unwrap();
    let to = FileSink::into_dir(home.path().join("to"));
    let (_, report) = deliver(&mut source(&tree, &ReadOptions::default()), &to).unwrap();
    assert_eq!((report.skipped_total, report.skipped_by_choice), (3, 2));
    assert_eq!((report.failures, report.remarks.len()), (1, 3));
    assert!(report.remarks[0].starts_with("a-pipe was left out: "), "{:?}", report.remarks);
}

/// As a Python environment has them: links within it, and to what is installed on the machine.
fn environment() -> (TempDir, std::path::PathBuf) {
    let (home, tree) = tree();
    fs::create_dir_all(home.path().join("installed/lib")).unwrap();
    fs::write(home.path().join("installed/python"), "program").unwrap();
    fs::write(home.path().join("installed/lib/module"), "module").unwrap();
    symlink("installed", home.path().join("installed/itself")).unwrap();
    symlink("lib", tree.join("lib64")).unwrap();
    fs::create_dir(tree.join("lib")).unwrap();
    symlink(home.path().join("installed/python"), tree.join("python")).unwrap();
    symlink("../installed", tree.join("up")).unwrap();
    (home, tree)
}

#[test]
fn links_that_lead_out_are_kept_if_both_ends_want_them() {
    let (home, tree) = environment();
    let keep = ReadOptions::default().links(Links::Keep);
    deliver_both_ways(
        || source(&tree, &keep),
        |to| FileSink::into_dir(to).outward_links(true),
        |tree, committed| {
            assert_eq!(
                fs::read_link(tree.join("python")).unwrap(),
                home.path().join("installed/python")
            );
            assert_eq!(fs::read_link(tree.join("up")).unwrap(), Path::new("../installed"));
            assert_eq!((committed.skipped, &*committed.remarks), (0, &[][..]));
        },
    );
    deliver_both_ways(
        || source(&tree, &keep),
        |to| FileSink::into_dir(to),
        |tree, committed| {
            assert_eq!(names(tree), ["lib", "lib64"]);
            assert_eq!(committed.skipped, 2);
            assert!(
                committed.remarks[1].contains(
                    "up was left out: it is a link that may lead out of the delivery, to \
                     ../installed"
                ),
                "{:?}",
                committed.remarks
            );
        },
    );
    let (_, report) = deliver(
        &mut source(&tree, &ReadOptions::default()),
        &FileSink::into_dir(home.path().join("to")),
    )
    .unwrap();
    assert_eq!((report.skipped_total, report.skipped_by_choice), (2, 2));
}

#[test]
fn links_that_lead_out_are_followed_and_never_in_a_circle() {
    let (home, tree) = environment();
    symlink(&tree, home.path().join("installed/back")).unwrap();
    symlink("/nowhere/at/all", tree.join("broken")).unwrap();
    let follow = ReadOptions::default().links(Links::Follow);
    deliver_both_ways(
        || source(&tree, &follow),
        |to| FileSink::into_dir(to),
        |tree, committed| {
            assert_eq!(fs::read_to_string(tree.join("python")).unwrap(), "program");
            assert_eq!(fs::read_to_string(tree.join("up/lib/module")).unwrap(), "module");
            assert_eq!(fs::read_link(tree.join("lib64")).unwrap(), Path::new("lib"));
            assert!(fs::symlink_metadata(tree.join("python")).unwrap().is_file());
            let said = committed.remarks.join("\n");
            assert!(
                said.contains("broken was left out: it is a link that can't be followed"),
                "{said}"
            );
            assert!(said.contains("up/back was left out: it is a link that leads back"), "{said}");
        },
    );
}

#[test]
fn what_is_named_is_meant_even_if_it_is_a_link() {
    let (home, tree) = tree();
    fs::write(tree.join("file"), "file").unwrap();
    for (link, target) in [("to-tree", "tree"), ("to-file", "tree/file"), ("dangling", "nowhere")] {
        symlink(target, home.path().join(link)).unwrap();
    }
    let at = |name: &str| home.path().join(name);
    let of = |paths: &[&str]| {
        from_paths_with(paths.iter().map(|name| at(name)), &ReadOptions::default())
    };
    let one = of(&["to-tree"]).unwrap();
    assert_eq!(
        (one.content().kind, one.content().name.as_bytes()),
        (ContentKind::Tree, &b"to-tree"[..])
    );
    let to = tempdir().unwrap();
    deliver(&mut *of(&["to-tree"]).unwrap(), &FileSink::into_dir(to.path())).unwrap();
    deliver(&mut *of(&["to-tree", "to-file"]).unwrap(), &FileSink::into_dir(to.path())).unwrap();
    for path in ["to-tree/file", "delivery/to-file", "delivery/to-tree/file"] {
        assert_eq!(fs::read_to_string(to.path().join(path)).unwrap(), "file");
        assert!(!fs::symlink_metadata(to.path().join(path)).unwrap().is_symlink());
    }
    assert!(of(&["dangling"]).unwrap_err().to_string().contains("dangling"));
    assert!(of(&["dangling", "to-file"]).unwrap_err().to_string().contains("dangling"));
}

#[test]
fn what_is_excluded_is_not_there_and_what_is_renamed_has_its_name() {
    let (_home, tree) = tree();
    fs::create_dir_all(tree.join("target/debug")).unwrap();
    for path in ["a.o", "a.c", "target/debug/x"] {
        fs::write(tree.join(path), path).unwrap();
    }
    let options = ReadOptions::default().exclude("*.o").exclude("target/").name("sources");
    let mut source = from_paths_with([&tree], &options).unwrap();
    let to = tempdir().unwrap();
    let (committed, report) = deliver(&mut *source, &FileSink::into_dir(to.path())).unwrap();
    assert_eq!(
        (names(to.path()), names(&to.path().join("sources"))),
        (vec!["sources".into()], vec!["a.c".into()])
    );
    assert_eq!((committed.skipped, report.skipped_total), (0, 0), "they were not wanted");
}

#[test]
fn the_receiver_hears_what_the_sender_left_out() {
    let (_home, tree) = tree();
    for number in 0..100 {
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            tree.join(format!("fifo{number:02}")),
            rustix::fs::Mode::RWXU,
        )
        .unwrap();
    }
    deliver_both_ways(
        || source(&tree, &ReadOptions::default()),
        |to| FileSink::into_dir(to),
        |_, committed| {
            assert_eq!(committed.skipped, 100);
            let said = "the sender says: fifo00, fifo01, fifo02 and 97 more were left out: it is a \
                        device, a socket or a pipe";
            assert_eq!(committed.remarks, [said]);
        },
    );
}

/// Reads until the source says that its content has changed.
fn until_changed(source: &mut dyn Source) -> String {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match block_on(source.read(&mut buffer)) {
            Ok(0) => panic!("a terabyte was read to its end"),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

#[test]
fn a_change_is_noticed_in_the_middle_and_a_change_that_is_none_is_not() {
    let (home, tree) = tree();
    let file = tree.join("disk");
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let mut sources: [Box<dyn Source>; 2] = [
        Box::new(FileSource::open(&file).unwrap()),
        Box::new(source(&tree, &ReadOptions::default())),
    ];
    for source in &mut sources {
        block_on(source.read(&mut [0; 1000])).unwrap();
    }
    fs::hard_link(&file, home.path().join("snapshot")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::File::options().write(true).open(&file).unwrap().write_all_at(b"x", 1 << 39).unwrap();
    for source in &mut sources {
        let text = until_changed(&mut **source);
        assert!(
            text.contains("disk changed while it was sent (its content was modified)"),
            "{text}"
        );
    }
}

#[test]
fn a_snapshot_that_is_made_of_what_is_sent_does_not_send_it_again() {
    let (home, tree) = tree();
    let file = tree.join("file");
    fs::write(&file, vec![1; 10_000]).unwrap();
    let mut sources: [Box<dyn Source>; 2] = [
        Box::new(FileSource::open(&file).unwrap()),
        Box::new(source(&tree, &ReadOptions::default())),
    ];
    for (number, source) in sources.iter_mut().enumerate() {
        let mut start = vec![0; 1000];
        block_on(source.read(&mut start)).unwrap();
        fs::hard_link(&file, home.path().join(format!("snapshot{number}"))).unwrap();
        block_on(read_all(&mut **source, 1000)).unwrap();
        assert_eq!(source.finish().unwrap().files, 1);
    }
}
