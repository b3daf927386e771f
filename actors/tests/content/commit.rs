//! Whatever the moment at which a receiver dies, its delivery becomes visible once.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use estafette::delivery::ContentKind;
use estafette::testing::Random;
use estafette_actors::sink::{FileSink, Folder, OnConflict};
use estafette_actors::source::TreeSource;
use tempfile::{TempDir, tempdir};

use crate::durable::{Death, Delivery, temporary};
use crate::harness::{block_on, names, read_all};

/// A tree of three files.
pub(crate) fn tree() -> Delivery {
    let from = tempdir().unwrap();
    fs::create_dir(from.path().join("deep")).unwrap();
    for (name, fill) in [("a", 1), ("b", 2), ("deep/c", 3)] {
        fs::write(from.path().join(name), vec![fill; 1000 * usize::from(fill)]).unwrap();
    }
    let mut source = TreeSource::new(vec![from.path().into()]).unwrap();
    Delivery::of_kind(ContentKind::Tree, block_on(read_all(&mut source, 4096)).unwrap())
}

/// A file that nobody may write to when it is there.
pub(crate) fn file() -> Delivery {
    Delivery::of_kind(
        ContentKind::File { mode: 0o444, mtime: MTIME * 1_000_000_000 },
        Random::seeded(5).bytes(5000),
    )
}

/// Seconds, even ones after 1980: file systems of the FAT family keep no others.
const MTIME: i64 = 1_000_000_000;

/// A case: the delivery, the policy, and what has its name before.
struct Case {
    delivery: fn() -> Delivery,
    policy: OnConflict,
    taken: Taken,
}

#[derive(Clone, Copy)]
enum Taken {
    No,
    /// By one of its own kind.
    Alike,
    ByFile,
    ByFolder,
}

const CASES: [Case; 8] = [
    Case { delivery: file, policy: OnConflict::Refuse, taken: Taken::No },
    Case { delivery: file, policy: OnConflict::Rename, taken: Taken::Alike },
    Case { delivery: file, policy: OnConflict::Replace, taken: Taken::Alike },
    Case { delivery: tree, policy: OnConflict::Refuse, taken: Taken::No },
    Case { delivery: tree, policy: OnConflict::Rename, taken: Taken::Alike },
    Case { delivery: tree, policy: OnConflict::Replace, taken: Taken::Alike },
    Case { delivery: tree, policy: OnConflict::Replace, taken: Taken::ByFile },
    Case { delivery: file, policy: OnConflict::Replace, taken: Taken::ByFolder },
];

impl Case {
    fn is_tree(&self) -> bool {
        (self.delivery)().offer().content.kind == ContentKind::Tree
    }

    fn prepare(&self, folder: &Path) {
        match (self.taken, self.is_tree()) {
            (Taken::Alike, true) | (Taken::ByFolder, _) => {
                fs::create_dir(folder.join("content")).unwrap();
                fs::write(folder.join("content/old"), "old").unwrap();
            }
            (Taken::ByFile, _) | (Taken::Alike, false) => {
                fs::write(folder.join("content"), "old").unwrap()
            }
            (Taken::No, _) => {}
        }
    }

    /// Anew for each process: only then it looks for leftovers.
    fn inbox(&self, folder: &Path) -> Folder {
        FileSink::into_dir(folder).on_conflict(self.policy)
    }

    /// Checks that the delivery is there once, whole, with what was there before as the policy has
    /// it, and nothing else.
    fn check(&self, folder: &Path, delivery: &Delivery, what: &str) {
        let renamed = self.policy == OnConflict::Rename;
        let expected: &[&str] = if renamed { &["content", "content (1)"] } else { &["content"] };
        assert_eq!(names(folder), expected, "{what}");
        let arrived = folder.join(expected.last().unwrap());
        if self.is_tree() {
            assert_eq!(names(&arrived), ["a", "b", "deep"], "{what}");
            assert_eq!(fs::read(arrived.join("deep/c")).unwrap(), vec![3; 3000], "{what}");
        } else {
            assert_eq!(fs::read(&arrived).unwrap(), delivery.bytes, "{what}");
            let metadata = fs::metadata(&arrived).unwrap();
            assert_eq!(metadata.mtime(), MTIME, "{what}");
            // A folder whose own mode can't be set keeps no modes.
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
            if fs::metadata(folder).unwrap().permissions().mode() & 0o777 == 0o700 {
                assert_eq!(metadata.permissions().mode() & 0o7777, 0o444, "{what}");
            }
        }
    }
}

/// All moments of one attempt, until it lives through; `each` makes the attempt, and tells whether
/// it died.
fn each_death(mut each: impl FnMut(Death) -> bool) {
    let mut deaths = 0;
    for at in 0.. {
        let died = [false, true].map(|made| each(Death { at, made }));
        deaths += usize::from(died[0]);
        if died == [false, false] {
            break;
        }
    }
    assert!(deaths >= 2, "the first note, an intent");
}

#[test]
fn a_receiver_that_dies_at_any_change_of_its_spool_commits_once() {
    commits_once_whenever_it_dies(|| tempdir().unwrap());
}

/// In folders that `folder` makes.
pub(crate) fn commits_once_whenever_it_dies(folder: impl Fn() -> TempDir) {
    for case in &CASES {
        each_death(|death| {
            let (to, delivery) = (folder(), (case.delivery)());
            case.prepare(to.path());
            delivery.spool.die(death);
            let first = delivery.attempt(&case.inbox(to.path()));
            let died = delivery.spool.revive();
            assert_eq!(first.is_err(), died);
            let second = delivery.attempt(&case.inbox(to.path())).unwrap();
            case.check(to.path(), &delivery, &format!("{:?}, {death:?}", case.policy));
            // The word of it is lost as well: it is said again, and not done again.
            assert_eq!(delivery.held(&*delivery.open(&case.inbox(to.path())).unwrap()), None);
            assert_eq!(delivery.attempt(&case.inbox(to.path())).unwrap(), second);
            case.check(to.path(), &delivery, &format!("again, {:?}, {death:?}", case.policy));
            died
        });
    }
}

#[test]
fn content_that_can_not_be_told_from_other_content_begins_anew_and_is_committed_once_all_the_same()
{
    for case in &CASES {
        each_death(|death| {
            let (to, delivery) = (tempdir().unwrap(), (case.delivery)().unversioned());
            case.prepare(to.path());
            delivery.spool.die(death);
            let first = delivery.attempt(&case.inbox(to.path()));
            let died = delivery.spool.revive();
            assert_eq!(first.is_err(), died);
            if died {
                assert_eq!(
                    delivery.held(&*delivery.open(&case.inbox(to.path())).unwrap()),
                    Some(0),
                    "it goes on with nothing"
                );
            }
            let second = delivery.attempt(&case.inbox(to.path())).unwrap();
            case.check(to.path(), &delivery, &format!("{:?}, {death:?}", case.policy));
            // Even if the content has got a version meanwhile.
            assert_eq!(delivery.versioned().attempt(&case.inbox(to.path())).unwrap(), second);
            case.check(to.path(), &delivery, &format!("again, {:?}, {death:?}", case.policy));
            died
        });
    }
}

#[test]
fn what_came_of_content_without_a_version_goes_with_its_attempt() {
    for case in &CASES {
        let (to, delivery) = (tempdir().unwrap(), (case.delivery)().unversioned());
        case.prepare(to.path());
        let before = names(to.path());
        let mut sink = delivery.open(&case.inbox(to.path())).unwrap();
        delivery.write(&mut *sink, 0..1).unwrap();
        sink.suspend("the link broke");
        assert_eq!(names(to.path()), before);
    }
}

#[test]
fn an_attempt_that_begins_while_an_earlier_one_is_forgotten_is_noted() {
    for case in &CASES {
        let (to, delivery) = (tempdir().unwrap(), (case.delivery)().unversioned());
        case.prepare(to.path());
        let inbox = case.inbox(to.path());
        let mut first = delivery.open(&inbox).unwrap();
        let (is_forgotten, go_on) = delivery.spool.hold_removal();
        std::thread::scope(|scope| {
            scope.spawn(|| first.suspend("the link broke"));
            is_forgotten.recv().unwrap();
            let (opened, is_open) = std::sync::mpsc::channel();
            let (delivery, inbox) = (&delivery, &inbox);
            scope.spawn(move || opened.send(delivery.open(inbox).unwrap()).unwrap());
            // One that waits for nobody is open by then; one that waits for its turn is not,
            // however long this takes.
            let early = is_open.recv_timeout(std::time::Duration::from_millis(100));
            go_on.send(()).unwrap();
            let _second = early.unwrap_or_else(|_| is_open.recv().unwrap());
            assert!(
                delivery.journal().outdated().is_some(),
                "{:?}: nobody would know of its file if the process died now",
                case.policy
            );
        });
    }
}

#[test]
fn an_attempt_sees_what_an_earlier_one_did_at_the_last_moment() {
    for case in &CASES {
        for commits in [false, true] {
            let (to, delivery) = (tempdir().unwrap(), (case.delivery)());
            case.prepare(to.path());
            let inbox = case.inbox(to.path());
            let mut first = delivery.open(&inbox).unwrap();
            delivery.write(&mut *first, 0..delivery.chunks()).unwrap();
            std::thread::scope(|scope| {
                // Once when its journal is opened, and once when it looks whose turn it is.
                let (has_looked, go_on) = delivery.spool.hold_search(1);
                let second = scope.spawn(|| delivery.open(&inbox).unwrap());
                has_looked.recv().unwrap();
                if commits {
                    block_on(first.commit(&delivery.summary())).unwrap();
                } else {
                    delivery.checkpoint(&mut *first, delivery.chunks()).unwrap();
                    first.suspend("the link broke");
                }
                drop(first);
                go_on.send(()).unwrap();
                let held = delivery.held(&*second.join().unwrap());
                assert_eq!(held, (!commits).then_some(delivery.chunks()), "{:?}", case.policy);
            });
        }
    }
}

#[test]
fn a_receiver_that_dies_again_and_again_commits_once() {
    let mut random = Random::seeded(11);
    for (turn, case) in CASES.iter().cycle().take(120).enumerate() {
        let (to, mut delivery) = (tempdir().unwrap(), (case.delivery)());
        if turn % 4 == 3 {
            delivery = delivery.unversioned();
        }
        case.prepare(to.path());
        let mut deaths = Vec::new();
        for _ in 0..6 {
            let death = Death { at: random.below(5) as usize, made: random.below(2) == 1 };
            deaths.push(death);
            delivery.spool.die(death);
            let _ = delivery.attempt(&case.inbox(to.path()));
            delivery.spool.revive();
        }
        delivery.attempt(&case.inbox(to.path())).unwrap();
        case.check(to.path(), &delivery, &format!("{:?}, {deaths:?}", case.policy));
    }
}

/// Dies once the intent is noted, which a fixed number of changes of the spool come before: the
/// last death before the rename.
fn intend(case: &Case, folder: &Path, delivery: &Delivery) {
    let changes = if case.is_tree() { 3 } else { 2 };
    delivery.spool.die(Death { at: changes, made: true });
    delivery.attempt(&case.inbox(folder)).unwrap_err();
    assert!(delivery.spool.revive());
}

#[test]
fn a_delivery_that_was_moved_away_before_the_word_of_it_came_is_not_made_again() {
    for case in &CASES {
        for replaced in [false, true] {
            let (to, delivery) = (tempdir().unwrap(), (case.delivery)());
            case.prepare(to.path());
            let committed = delivery.attempt(&case.inbox(to.path())).unwrap();
            fs::rename(&committed.place, to.path().join("moved")).unwrap();
            if replaced {
                fs::write(&committed.place, "somebody else's").unwrap();
            }
            let before = names(to.path());
            assert_eq!(delivery.attempt(&case.inbox(to.path())).unwrap(), committed);
            assert_eq!(names(to.path()), before);
        }
    }
}

#[test]
fn a_file_that_has_both_its_names_loses_the_temporary_one() {
    // How a file becomes visible where a file system knows no rename that replaces nothing.
    let (case, to, delivery) = (&CASES[0], tempdir().unwrap(), file());
    intend(case, to.path(), &delivery);
    fs::hard_link(temporary(to.path(), ".whole"), to.path().join("content")).unwrap();
    assert_eq!(delivery.held(&*delivery.open(&case.inbox(to.path())).unwrap()), None);
    case.check(to.path(), &delivery, "linked");
}

#[test]
fn an_intent_whose_file_is_damaged_is_not_taken_for_done() {
    let (case, to, delivery) = (&CASES[0], tempdir().unwrap(), file());
    intend(case, to.path(), &delivery);
    let kept = temporary(to.path(), ".whole");
    let mut damaged = fs::read(&kept).unwrap();
    damaged[4000] ^= 4;
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&kept, damaged).unwrap();
    assert_eq!(delivery.held(&*delivery.open(&case.inbox(to.path())).unwrap()), Some(0));
    delivery.attempt(&case.inbox(to.path())).unwrap();
    fs::remove_file(temporary(to.path(), ".damaged")).unwrap();
    case.check(to.path(), &delivery, "damaged");
}

#[test]
fn a_folder_that_was_swapped_with_the_one_it_replaces_is_there_and_the_old_one_goes() {
    let (case, to, delivery) = (&CASES[5], tempdir().unwrap(), tree());
    case.prepare(to.path());
    intend(case, to.path(), &delivery);
    let staged = names(to.path())
        .into_iter()
        .find(|name| name.ends_with(".whole") && to.path().join(name).is_dir())
        .unwrap();
    let folder = fs::File::open(to.path()).unwrap();
    rustix::fs::renameat_with(
        &folder,
        &*staged,
        &folder,
        "content",
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .unwrap();
    assert_eq!(delivery.held(&*delivery.open(&case.inbox(to.path())).unwrap()), None);
    case.check(to.path(), &delivery, "swapped");
}

#[test]
fn a_file_that_was_swapped_with_the_folder_it_replaces_is_there_and_the_folder_goes() {
    for is_moved in [false, true] {
        let (case, to, delivery) = (&CASES[7], tempdir().unwrap(), file());
        case.prepare(to.path());
        intend(case, to.path(), &delivery);
        let staged = temporary(to.path(), ".whole");
        let content = to.path().join("content");
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            &staged,
            rustix::fs::CWD,
            &content,
            rustix::fs::RenameFlags::EXCHANGE,
        )
        .unwrap();
        // Somebody may have moved it away before the next process looks.
        let moved = tempdir().unwrap();
        if is_moved {
            fs::rename(&content, moved.path().join("content")).unwrap();
        }
        assert_eq!(delivery.held(&*delivery.open(&case.inbox(to.path())).unwrap()), None);
        if is_moved {
            assert!(names(to.path()).is_empty(), "{:?}", names(to.path()));
            fs::rename(moved.path().join("content"), &content).unwrap();
        }
        case.check(to.path(), &delivery, "swapped");
    }
}

#[test]
fn a_folder_that_is_visible_while_its_stream_is_still_there_is_done() {
    let (case, to, delivery) = (&CASES[3], tempdir().unwrap(), tree());
    intend(case, to.path(), &delivery);
    let staged = names(to.path())
        .into_iter()
        .find(|name| name.ends_with(".whole") && to.path().join(name).is_dir())
        .unwrap();
    fs::rename(to.path().join(staged), to.path().join("content")).unwrap();
    assert_eq!(delivery.held(&*delivery.open(&case.inbox(to.path())).unwrap()), None);
    case.check(to.path(), &delivery, "renamed");
}

#[test]
fn a_folder_half_unpacked_is_unpacked_again() {
    let (case, to, delivery) = (&CASES[3], tempdir().unwrap(), tree());
    // Dies when it is unpacked, before its intent is noted; a crash could leave any part of the
    // tree.
    delivery.spool.die(Death { at: 3, made: false });
    delivery.attempt(&case.inbox(to.path())).unwrap_err();
    delivery.spool.revive();
    let staged = names(to.path())
        .into_iter()
        .find(|name| name.ends_with(".whole") && to.path().join(name).is_dir())
        .unwrap();
    fs::remove_dir_all(to.path().join(&staged).join("deep")).unwrap();
    fs::write(to.path().join(staged).join("half"), "x").unwrap();
    delivery.attempt(&case.inbox(to.path())).unwrap();
    case.check(to.path(), &delivery, "unpacked again");
}

#[test]
fn a_delivery_given_up_after_its_intent_is_never_taken_for_done() {
    for made in [false, true] {
        let (case, to, delivery) = (&CASES[0], tempdir().unwrap(), file());
        let mut sink = delivery.open(&case.inbox(to.path())).unwrap();
        delivery.write(&mut *sink, 0..delivery.chunks()).unwrap();
        fs::write(to.path().join("content"), "mine").unwrap();
        assert!(
            block_on(sink.commit(&delivery.summary()))
                .unwrap_err()
                .to_string()
                .contains("exists already")
        );
        delivery.spool.die(Death { at: 0, made });
        sink.abort("the name is taken");
        drop(sink);
        delivery.spool.revive();
        fs::remove_file(to.path().join("content")).unwrap();
        let sink = delivery.open(&case.inbox(to.path())).unwrap();
        assert_eq!(delivery.held(&*sink), Some(if made { 0 } else { delivery.chunks() }));
        drop(sink);
        delivery.attempt(&case.inbox(to.path())).unwrap();
        assert_eq!(fs::read(to.path().join("content")).unwrap(), delivery.bytes);
    }
}
