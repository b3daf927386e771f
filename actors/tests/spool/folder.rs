//! The folder: who may read it, which ones are refused, and why.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use estafette::node::Store;
use estafette_actors::spool::Spool;

type Attempt = fn(&Path) -> io::Result<()>;
const ATTEMPTS: [Attempt; 3] = [
    |dir| Spool::open(dir).map(drop),
    |dir| Spool::check(dir).map(drop),
    |dir| Spool::repair(dir).map(drop),
];

/// Names and contents of all files in a folder.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries =
        fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("spool");
    let spool = Spool::open(&dir).unwrap();
    spool.put("peers", b"anna", b"").unwrap();
    assert_eq!(spool.folder(), Some(dir.join("bulk").as_path()));
    drop(spool);
    // One that was rebuilt is as private.
    fs::write(dir.join("state.redb"), "garbage").unwrap();
    assert!(Spool::repair(&dir).unwrap().moved.is_some());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("bulk"))), (0o700, 0o700));
    for file in ["FORMAT", "state.redb", "lock"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_spool_of_a_newer_version_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    Spool::open(folder.path()).unwrap().put("peers", b"anna", b"").unwrap();
    fs::write(folder.path().join("FORMAT"), "estafette spool 2\n").unwrap();
    // What a newer version makes of its files is not known here.
    fs::write(folder.path().join("state.redb"), "something newer").unwrap();
    let before = files(folder.path());
    for attempt in ATTEMPTS {
        let error = attempt(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(
            error
                .to_string()
                .contains("has format version 2, and this release knows version 1 only"),
            "{error}"
        );
        assert_eq!(files(folder.path()), before);
    }
}

#[test]
fn a_version_that_is_none_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    Spool::open(folder.path()).unwrap().put("peers", b"anna", b"").unwrap();
    let format = folder.path().join("FORMAT");
    for text in [
        &b""[..],
        b"estafette spool",
        b"estafette spool one\n",
        b"estafette spool 1",
        b"\xff\xfe",
        &[b'1'; 1000],
    ] {
        fs::write(&format, text).unwrap();
        let before = files(folder.path());
        for attempt in ATTEMPTS {
            let error = attempt(folder.path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
            assert!(
                error.to_string().contains("put the line \"estafette spool 1\" in it"),
                "{error}"
            );
        }
        assert_eq!(files(folder.path()), before);
    }
    fs::remove_file(&format).unwrap();
    let error = Spool::open(folder.path()).unwrap_err();
    assert!(
        error.to_string().contains("FORMAT") && error.to_string().contains("state.redb"),
        "{error}"
    );
    fs::write(&format, "estafette spool 1\n").unwrap();
    assert_eq!(Spool::open(folder.path()).unwrap().load("peers").unwrap().len(), 1);
}

#[test]
fn a_folder_that_can_be_none_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = |dir: &Path| Spool::open(dir).unwrap_err();
    let file = error(&folder.path().join("file"));
    assert_eq!(file.kind(), ErrorKind::NotADirectory, "{file}");
    assert!(file.to_string().contains("is no folder, and a spool is one"), "{file}");
    let orphan = error(&folder.path().join("no/spool"));
    assert_eq!(orphan.kind(), ErrorKind::NotFound, "{orphan}");
    assert!(orphan.to_string().contains("make that one first"), "{orphan}");
    for attempt in &ATTEMPTS[1..] {
        let none = attempt(folder.path()).unwrap_err();
        assert!(
            none.kind() == ErrorKind::NotFound && none.to_string().contains("is no spool"),
            "{none}"
        );
    }
    assert_eq!(files(folder.path()).len(), 1, "looking at it has left something in it");
}

/// Nobody may make a folder there, whoever runs the tests.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_refused_with_a_reason() {
    let error = Spool::open("/sys/estafette").unwrap_err();
    assert!(error.to_string().contains("/sys/estafette can't be written"), "{error}");
    assert!(error.to_string().contains("or choose another folder"), "{error}");
}

#[test]
fn what_was_cut_short_while_it_was_made_is_made_again_or_completed() {
    let folder = tempfile::tempdir().unwrap();
    // Before FORMAT was written, nothing counts.
    fs::write(folder.path().join("state.redb.new"), "half of a database").unwrap();
    fs::write(folder.path().join("FORMAT.new"), "esta").unwrap();
    Spool::open(folder.path()).unwrap().put("peers", b"anna", b"").unwrap();
    // After it, a database may lack its name.
    let (named, new) = (folder.path().join("state.redb"), folder.path().join("state.redb.new"));
    fs::rename(&named, &new).unwrap();
    assert_eq!(Spool::check(folder.path()).unwrap().records, 1);
    assert_eq!(Spool::open(folder.path()).unwrap().load("peers").unwrap().len(), 1);
    // A second one is one that a repair did not complete.
    fs::write(&new, "half of a database").unwrap();
    assert_eq!(Spool::open(folder.path()).unwrap().load("peers").unwrap().len(), 1);
    assert!(!new.exists() && named.exists());
}

#[cfg(unix)]
type Taking = fn(&Path);

#[cfg(unix)]
#[test]
fn a_spool_that_is_taken_away_while_it_is_open_keeps_nothing_more_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let takings: [(&str, Taking); 4] = [
        ("removed", |dir| fs::remove_dir_all(dir).unwrap()),
        ("moved", |dir| fs::rename(dir, dir.with_extension("elsewhere")).unwrap()),
        ("replaced", |dir| {
            fs::rename(dir, dir.with_extension("old")).unwrap();
            drop(Spool::open(dir).unwrap());
        }),
        ("without its database", |dir| fs::remove_file(dir.join("state.redb")).unwrap()),
    ];
    for (name, take) in takings {
        let dir = folder.path().join(name);
        let spool = Spool::open(&dir).unwrap();
        spool.put("peers", b"anna", b"").unwrap();
        assert_eq!(spool.failure(), None);
        take(&dir);
        let error = spool.put("peers", b"bert", b"").unwrap_err();
        assert!(error.to_string().contains("removed, moved or unmounted"), "{name}: {error}");
        assert_eq!(spool.failure(), Some(error.to_string()), "{name}");
    }
}
