//! Extended attributes and lists of access, from one end to the other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use estafette::delivery::Attributes;
use estafette::pipeline::{Inbox, Source, SourceError};
use estafette_actors::sink::FileSink;
use estafette_actors::source::{FileSource, ReadOptions};
use tempfile::tempdir;

use crate::as_they_were::{deliver_both_ways, mode, source, tree};
use crate::durable::Delivery;
use crate::harness::{block_on, deliver, offer, read_all, unprivileged};
use crate::mounts::Mounted;

/// Sets an attribute, unless this file system has none.
fn set_attribute(path: &Path, name: &str, value: &[u8]) -> bool {
    let set = rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty());
    if let Err(error) = set {
        eprintln!("SKIPPED: no attribute {name} can be set in {}: {error}", path.display());
    }
    set.is_ok()
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 100];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn attributes_are_sent_if_asked_for_and_missed_aloud_if_not() {
    let (_home, tree) = tree();
    fs::create_dir(tree.join("folder")).unwrap();
    fs::write(tree.join("file"), "file").unwrap();
    if ![&tree, &tree.join("folder"), &tree.join("file")]
        .iter()
        .all(|path| set_attribute(path, "user.note", path.as_os_str().as_encoded_bytes()))
    {
        return;
    }
    let note = |path: &Path| attribute(path, "user.note");
    let sent = [note(&tree), note(&tree.join("folder")), note(&tree.join("file"))];
    let options = ReadOptions::default().xattrs(true);
    deliver_both_ways(
        || source(&tree, &options),
        |to| FileSink::into_dir(to),
        |tree, committed| {
            assert_eq!([note(tree), note(&tree.join("folder")), note(&tree.join("file"))], sent);
            assert_eq!(committed.remarks, [""; 0]);
        },
    );
    let (_, report) = deliver(
        &mut source(&tree, &ReadOptions::default()),
        &FileSink::into_dir(tempdir().unwrap().path().join("to")),
    )
    .unwrap();
    let said = [".", "file", "folder"].map(|name| {
        format!("extended attributes or ACLs of {name} were not sent: they were not asked for")
    });
    assert_eq!(report.remarks, said);
    deliver_both_ways(
        || source(&tree, &ReadOptions::default()),
        |to| FileSink::into_dir(to),
        |tree, committed| {
            assert_eq!(note(&tree.join("file")), None);
            assert!(
                committed.remarks[0].starts_with("the sender says: extended attributes"),
                "{:?}",
                committed.remarks
            );
        },
    );
}

#[test]
fn lists_of_access_are_taken_if_the_receiver_wants_them() {
    let (_home, tree) = tree();
    fs::write(tree.join("file"), "file").unwrap();
    let list = access_list(6, 4);
    let name = "system.posix_acl_access";
    if !set_attribute(&tree.join("file"), name, &list) {
        return;
    }
    let options = ReadOptions::default().xattrs(true);
    deliver_both_ways(
        || source(&tree, &options),
        |to| FileSink::into_dir(to).access_lists(true),
        |tree, committed| {
            assert_eq!(
                (attribute(&tree.join("file"), name), committed.remarks.len()),
                (Some(list.clone()), 0)
            );
        },
    );
    deliver_both_ways(
        || source(&tree, &options),
        |to| FileSink::into_dir(to),
        |tree, committed| {
            assert_eq!(attribute(&tree.join("file"), name), None);
            assert!(
                committed.remarks[0].contains("takes no lists of access"),
                "{:?}",
                committed.remarks
            );
        },
    );
}

/// A list of access: what the owner may, and a user 12345; the group may read, others nothing.
fn access_list(owner: u16, may: u16) -> Vec<u8> {
    // Version 2, then tag, permissions and id of each.
    let entries = [
        (1_u16, owner, u32::MAX),
        (2, may, 12345),
        (4, 4, u32::MAX),
        (16, may, u32::MAX),
        (32, 0, u32::MAX),
    ];
    let list = entries.iter().flat_map(|(tag, may, id)| {
        [&tag.to_le_bytes()[..], &may.to_le_bytes(), &id.to_le_bytes()].concat()
    });
    2_u32.to_le_bytes().into_iter().chain(list).collect()
}

#[test]
fn lists_of_access_of_a_folder_are_not_inherited_by_what_comes_with_it_and_do_not_keep_it_out() {
    let (_home, tree) = tree();
    let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
    let (inner, within) = (tree.join("inner"), tree.join("inner/within"));
    fs::create_dir_all(&within).unwrap();
    let files = ["file", "inner/file", "inner/within/file"];
    files.iter().for_each(|file| fs::write(tree.join(file), "file").unwrap());
    // The owner of `inner` may not write to it.
    let lists = [
        (&tree, access, 7, 5),
        (&tree, default, 7, 7),
        (&inner, access, 5, 5),
        (&inner, default, 5, 5),
    ]
    .map(|(path, name, owner, may)| (path, name, access_list(owner, may)));
    if !lists.iter().all(|(path, name, list)| set_attribute(path, name, list)) {
        return;
    }
    let lists = |tree: &Path| {
        [
            (tree, access),
            (tree, default),
            (&tree.join("inner"), access),
            (&tree.join("inner"), default),
        ]
        .map(|(path, name)| attribute(path, name))
    };
    let modes = |tree: &Path| {
        ["", "inner", "inner/within", "file", "inner/file", "inner/within/file"]
            .map(|name| mode(&tree.join(name)))
    };
    let options = ReadOptions::default().xattrs(true);
    unprivileged(|| {
        deliver_both_ways(
            || source(&tree, &options),
            |to| FileSink::into_dir(to).access_lists(true),
            |arrived, committed| {
                let given =
                    files.map(|name| attribute(&arrived.join(name), access)).into_iter().chain(
                        [access, default]
                            .map(|name| attribute(&arrived.join("inner/within"), name)),
                    );
                assert_eq!(given.flatten().count(), 0, "nothing has a list that had none");
                assert_eq!(
                    (lists(arrived), modes(arrived), committed.remarks.len()),
                    (lists(&tree), modes(&tree), 0)
                );
                fs::set_permissions(arrived.join("inner"), fs::Permissions::from_mode(0o755))
                    .unwrap();
            },
        );
    });
    fs::set_permissions(inner, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_file_that_is_sent_alone_brings_its_attributes_if_they_are_asked_for() {
    let (home, _tree) = tree();
    let path = home.path().join("alone");
    fs::write(&path, "file").unwrap();
    let list = access_list(6, 4);
    if !set_attribute(&path, "user.note", b"x")
        || !set_attribute(&path, "system.posix_acl_access", &list)
    {
        return;
    }
    let asked = ReadOptions::default().xattrs(true);
    let source = |options: &ReadOptions| FileSource::open(&path).unwrap().with(options).unwrap();
    for journalled in [false, true] {
        for lists in [true, false] {
            let to = tempdir().unwrap();
            let inbox = FileSink::into_dir(to.path()).access_lists(lists);
            let committed = if journalled {
                Delivery::of(b"file".to_vec()).described(source(&asked).content()).attempt(&inbox)
            } else {
                deliver(&mut source(&asked), &inbox)
                    .map(|(committed, report)| {
                        assert_eq!(report.remarks, [""; 0]);
                        committed
                    })
                    .map_err(|failure| failure.text())
            };
            let (committed, there) = (committed.unwrap(), to.path().join("alone"));
            assert_eq!(attribute(&there, "user.note").as_deref(), Some(&b"x"[..]));
            assert_eq!(mode(&there), mode(&path));
            let kept = attribute(&there, "system.posix_acl_access");
            assert_eq!(kept, lists.then(|| list.clone()), "{:?}", committed.remarks);
            let left = committed.remarks.iter().any(|line| line.contains("no lists of access"));
            assert_eq!((committed.remarks.len(), left), (usize::from(!lists), !lists));
        }
    }
    let to = tempdir().unwrap();
    let (_, report) =
        deliver(&mut source(&ReadOptions::default()), &FileSink::into_dir(to.path())).unwrap();
    let said = "extended attributes or ACLs of alone were not sent: they were not asked for";
    assert_eq!((report.remarks, report.failures), (vec![said.to_owned()], 0));
    assert_eq!(attribute(&to.path().join("alone"), "user.note"), None);
}

#[test]
fn attributes_of_a_file_that_change_while_it_is_sent_make_it_begin_anew() {
    let (home, _tree) = tree();
    let path = home.path().join("alone");
    fs::write(&path, "file").unwrap();
    if !set_attribute(&path, "user.note", b"x") {
        return;
    }
    let options = ReadOptions::default().xattrs(true);
    let mut source = FileSource::open(&path).unwrap().with(&options).unwrap();
    set_attribute(&path, "user.note", b"y");
    block_on(read_all(&mut source, 100)).unwrap();
    let error = source.finish().unwrap_err();
    assert!(matches!(&error, SourceError::Changed { .. }), "{error}");
    assert!(source.rewind().unwrap());
    assert_eq!(source.content().attributes.as_slice(), [(b"user.note".to_vec(), b"y".to_vec())]);
    block_on(read_all(&mut source, 100)).unwrap();
    source.finish().unwrap();
}

#[test]
fn what_is_more_than_a_file_alone_may_have_is_left_behind_aloud_and_no_others_are_taken() {
    // One with room for long values.
    let Some(disk) = Mounted::small(1 << 20) else { return };
    let path = disk.path().join("alone");
    fs::write(&path, "file").unwrap();
    let values = [("user.a", 8 << 10), ("user.b", 8 << 10)];
    if !values.iter().all(|(name, length)| set_attribute(&path, name, &vec![7; *length])) {
        return;
    }
    let options = ReadOptions::default().xattrs(true);
    let mut source = FileSource::open(&path).unwrap().with(&options).unwrap();
    assert_eq!(source.content().attributes.as_slice().len(), 1);
    let (_, report) = deliver(&mut source, &FileSink::into_dir(tempdir().unwrap().path())).unwrap();
    assert!(
        report.remarks.len() == 1 && report.remarks[0].contains("more than 12 KiB of them"),
        "{:?}",
        report.remarks
    );

    let forged = Attributes::new(vec![(b"security.capability".to_vec(), b"x".to_vec())]).unwrap();
    let content = source.content().with_attributes(forged);
    let to = tempdir().unwrap();
    let refusal = FileSink::into_dir(to.path()).open(&offer(content)).unwrap_err();
    assert!(refusal.reason.contains("security.capability, which is not taken"), "{refusal}");
}

#[test]
fn attributes_of_the_system_are_left_behind_aloud() {
    let (_home, tree) = tree();
    fs::write(tree.join("program"), "program").unwrap();
    // The right to bind low ports, in the second form of the record.
    let capability = [&[1, 0, 0, 2][..], &(1_u32 << 10).to_le_bytes(), &[0; 12]].concat();
    if !set_attribute(&tree.join("program"), "security.capability", &capability) {
        return;
    }
    for asked in [true, false] {
        let options = ReadOptions::default().xattrs(asked);
        let to = tempdir().unwrap();
        let (_, report) =
            deliver(&mut source(&tree, &options), &FileSink::into_dir(to.path())).unwrap();
        assert!(
            report.remarks.len() == 1
                && report.remarks[0].starts_with("extended attributes or ACLs of program were not")
                && report.remarks[0].contains("security.capability"),
            "{:?}",
            report.remarks
        );
    }
}
