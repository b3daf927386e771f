//! A file that has rotted: what is read is what was written, or is said to be damaged; the rest can
//! be saved.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use estafette::node::Store;
use estafette::testing::Random;
use estafette_actors::spool::Spool;

use crate::disk::Disk;
use crate::model::{Records, contents, open, put};
use crate::said;

/// A database with many records that were written several times, as a spool left it or as a process
/// that was killed did.
struct Database {
    bytes: Vec<u8>,
    records: Records,
}

fn database(clean: bool) -> Database {
    let disk = Disk::default();
    let spool = open(&disk).unwrap();
    let mut random = Random::seeded(3);
    for round in 0..3_u8 {
        for some in 0..8_u8 {
            let write = |number: u8| {
                put(
                    "parts",
                    [some, number],
                    [&[round, some, number][..], &random.bytes(40 + usize::from(number))].concat(),
                )
            };
            spool.write((0..25).map(write).collect()).unwrap();
        }
    }
    spool.write((0..30_u8).map(|number| put("sent", [number], [number; 20])).collect()).unwrap();
    let records = contents(&spool).unwrap();
    let unclean = disk.power_cut().without_pending().bytes();
    drop(spool);
    Database { bytes: if clean { disk.bytes() } else { unclean }, records }
}

impl Database {
    /// The file with one bit flipped, or a sector lost, at a place that the seed says.
    fn rotted(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let at = random.below(bytes.len() as u64) as usize;
        if random.below(8) == 0 {
            bytes[at / 512 * 512..][..512].fill(0);
        } else {
            bytes[at] ^= 1 << random.below(8);
        }
        bytes
    }

    /// Checks that a spool gives what was written, and has told of what is missing.
    fn check(&self, spool: &Spool, text: &str) -> usize {
        let found = contents(spool).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(
            found.iter().all(|(key, value)| self.records.get(key) == Some(value)),
            "{text}: a wrong value"
        );
        let missing = self.records.len() - found.len();
        let damaged = spool.damaged().unwrap();
        assert!(
            damaged.len() >= missing,
            "{text}: {missing} records are missing, and nobody said so: {damaged:?}"
        );
        for (table, key) in self.records.keys() {
            assert_eq!(
                spool.find(table, key).unwrap().as_ref(),
                found.get(&(table, key.clone())),
                "{text}"
            );
        }
        missing
    }
}

#[test]
fn a_rotted_database_opens_with_what_was_written_or_not_at_all() {
    for clean in [true, false] {
        let database = database(clean);
        let mut random = Random::seeded(u64::from(clean));
        let header = (0..512 * 8).map(|bit| {
            let mut bytes = database.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        // Of the header, every tenth bit and all of what is not covered by a checksum of redb's,
        // but for the one bit that says which of the last two commits counts: after a
        // crash, the other one is as good in itself.
        let wanted =
            |bit: usize| (bit.is_multiple_of(10) || bit < 64 * 8) && (clean || bit != 9 * 8);
        let header: Vec<_> =
            header.enumerate().filter(|(bit, _)| wanted(*bit)).map(|(_, bytes)| bytes).collect();
        let (mut refused, mut healed) = (0, 0);
        for number in 0..header.len() + 400 {
            let bytes = header.get(number).cloned().unwrap_or_else(|| database.rotted(&mut random));
            let disk = Disk::of(bytes);
            let text = format!("clean: {clean}, number {number}");
            match open(&disk) {
                Err(error) => {
                    assert!(
                        matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof),
                        "{text}: {error:?}"
                    );
                    assert!(error.to_string().contains("the disk"), "{text}: {error}");
                    refused += 1;
                }
                Ok(spool) => healed += usize::from(database.check(&spool, &text) > 0),
            }
        }
        assert!(
            refused > 0 && (healed > 0 || !clean),
            "{refused} were refused, {healed} opened without what was damaged"
        );
    }
}

#[test]
fn a_rotted_database_is_checked_and_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("spool");
    drop(Spool::open(&dir).unwrap());
    for clean in [true, false] {
        let database = database(clean);
        let mut random = Random::seeded(20 + u64::from(clean));
        let mut rebuilt = 0;
        for number in 0..40 {
            let text = format!("clean: {clean}, number {number}");
            let rotted = database.rotted(&mut random);
            fs::write(dir.join("state.redb"), &rotted).unwrap();
            let report = Spool::check(&dir).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(
                fs::read(dir.join("state.redb")).unwrap() == rotted,
                "{text}: looking at it has changed it"
            );
            let opens = Spool::open(&dir).is_ok();
            fs::write(dir.join("state.redb"), &rotted).unwrap();
            let repaired = Spool::repair(&dir).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(opens || !repaired.is_well(), "{text}: {report}\n{repaired}");
            if let Some(moved) = &repaired.moved {
                assert!(
                    fs::read(moved).unwrap() == rotted,
                    "{text}: the damaged database was changed"
                );
                fs::remove_file(moved).unwrap();
                rebuilt += 1;
            }
            check_repaired(&dir, &database, &repaired, &text);
        }
        assert!(rebuilt > 0, "no database was damaged enough");
    }
}

fn check_repaired(
    dir: &Path,
    database: &Database,
    repaired: &estafette_actors::spool::Report,
    text: &str,
) {
    let well = Spool::check(dir).unwrap();
    assert!(well.is_well(), "{text}: {well}");
    let spool = Spool::open(dir).unwrap();
    let found = contents(&spool).unwrap();
    let wrong =
        found.iter().filter(|(key, value)| database.records.get(*key) != Some(*value)).count();
    let missing = database.records.keys().filter(|key| !found.contains_key(*key)).count();
    assert_eq!(repaired.records as usize, found.len(), "{text}");
    assert!(
        missing <= repaired.damaged.len() || repaired.database.is_some(),
        "{text}: {missing} are missing\n{repaired}"
    );
    assert_eq!(wrong, 0, "{text}: {repaired}");
    // One place was damaged: a page of records, at most, is gone, unless all of them hung on it.
    let root = missing == database.records.len();
    assert!(
        root || missing <= 60,
        "{text}: {missing} of {} are missing\n{repaired}",
        database.records.len()
    );
}

#[test]
fn a_damaged_value_is_set_aside_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    for key in ["anna", "bert", "carl"] {
        spool.put("peers", key.as_bytes(), format!("what was said of {key}").as_bytes()).unwrap();
    }
    drop(spool);
    let file = folder.path().join("state.redb");
    let mut bytes = fs::read(&file).unwrap();
    let said = b"what was said of bert";
    for at in 0..bytes.len() - said.len() {
        if bytes[at..].starts_with(said) {
            bytes[at] = b'W';
        }
    }
    fs::write(&file, bytes).unwrap();
    let report = Spool::check(folder.path()).unwrap();
    assert_eq!((report.records, report.damaged.len()), (2, 1), "{report}");
    assert_eq!(report.damaged[0].record, "peers/bert");
    assert!(
        report.to_string().contains("peers/bert is damaged: its checksum does not agree"),
        "{report}"
    );
    let errors = said::errors();
    let spool = Spool::open(folder.path()).unwrap();
    let told = |text: &String| text.contains("peers/bert") && text.contains(file.to_str().unwrap());
    assert_eq!(
        errors.lock().unwrap().iter().filter(|text| told(text)).count(),
        1,
        "it was not told of by its name"
    );
    assert_eq!(spool.load("peers").unwrap().len(), 2);
    assert_eq!(spool.find("peers", b"bert").unwrap(), None);
    assert_eq!(spool.damaged().unwrap()[0].record, "peers/bert");
    // Said again, it is there again.
    spool.put("peers", b"bert", b"again").unwrap();
    drop(spool);
    let report = Spool::check(folder.path()).unwrap();
    assert!(report.is_well() && report.records == 3 && report.set_aside.len() == 1, "{report}");
    assert!(Spool::open(folder.path()).unwrap().find("peers", b"bert").unwrap().is_some());
}

#[test]
fn a_database_that_is_gone_or_empty_is_no_new_one() {
    let folder = tempfile::tempdir().unwrap();
    Spool::open(folder.path()).unwrap().put("peers", b"anna", b"").unwrap();
    let file = folder.path().join("state.redb");
    for (damage, error) in [
        (None, ErrorKind::NotFound),
        (Some(&b""[..]), ErrorKind::InvalidData),
        (Some(b"text"), ErrorKind::InvalidData),
    ] {
        match damage {
            None => fs::remove_file(&file).unwrap(),
            Some(bytes) => fs::write(&file, bytes).unwrap(),
        }
        let refused = Spool::open(folder.path()).unwrap_err();
        assert_eq!(refused.kind(), error, "{refused}");
        assert!(
            refused.to_string().contains("state.redb")
                && refused.to_string().contains("estafette doctor"),
            "{refused}"
        );
        assert!(Spool::check(folder.path()).unwrap().database.is_some());
        let report = Spool::repair(folder.path()).unwrap();
        assert_eq!((report.records, report.moved.is_some()), (0, damage.is_some()), "{report}");
        assert!(Spool::check(folder.path()).unwrap().is_well());
    }
}
