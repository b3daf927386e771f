//! A disk that is full or fails at any operation: what was acknowledged stays, what was not is told
//! of.

use std::io::{self, ErrorKind};

use estafette::node::{Change, Store};
use estafette_actors::spool::Spool;

use crate::disk::{Disk, Plan};
use crate::model::{after, contents, open, writes};
use crate::said;

const WRITES: u64 = 16;

/// A spool, the writes for it, and a disk that does what `plan` says from the third write on.
struct Scene {
    disk: Disk,
    spool: Spool,
    writes: Vec<Vec<Change>>,
}

impl Scene {
    fn new() -> Self {
        let disk = Disk::default();
        let (spool, writes) = (open(&disk).unwrap(), writes(7, WRITES));
        for write in &writes[..2] {
            spool.write(write.clone()).unwrap();
        }
        // What was written is in memory otherwise, and nothing is read.
        drop(spool);
        Self { spool: open(&disk).unwrap(), disk, writes }
    }

    /// Writes on until one fails; its number and error, if one does.
    fn write_on(&self, from: u64) -> Option<(u64, io::Error)> {
        (from..WRITES).find_map(|number| {
            Some((number, self.spool.write(self.writes[number as usize].clone()).err()?))
        })
    }
}

/// Runs `scene` for the first operation that can fail, the second one, and so on until nothing has
/// failed.
fn at_every_operation(plan: fn(u64) -> Plan, scene: impl Fn(&Scene, u64, io::Error)) {
    for nth in 0.. {
        let it = Scene::new();
        it.disk.plan(plan(nth));
        match it.write_on(2) {
            Some((number, error)) => scene(&it, number, error),
            // Reading fails for nobody when the spool tries again.
            None if it.disk.done() > nth => {}
            None => {
                assert!(nth > 0, "nothing could fail");
                return;
            }
        }
    }
}

#[test]
fn a_full_disk_fails_a_write_and_nothing_else() {
    for plan in [Plan::FullFrom, Plan::NoGrowthFrom] {
        at_every_operation(plan, |scene, number, error| {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            for part in ["4 changes", "the disk", "none of them was made", "free some space"] {
                assert!(error.to_string().contains(part), "{error}");
            }
            let there = after(&scene.writes, number);
            assert!(contents(&scene.spool).unwrap() == there);
            // It is still full.
            let again = scene.write_on(number);
            if let Some((_, error)) = again {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            }
            // There is room again, and what failed is simply done again.
            scene.disk.plan(Plan::Nothing);
            assert!(scene.write_on(number).is_none());
            assert!(contents(&scene.spool).unwrap() == after(&scene.writes, WRITES));
            let found =
                contents(&open(&scene.disk.power_cut().without_pending()).unwrap()).unwrap();
            assert!(found == after(&scene.writes, WRITES));
        });
    }
}

#[test]
fn a_disk_that_fails_ends_all_writing_and_no_reading() {
    for plan in [Plan::Sync, Plan::Write] {
        at_every_operation(plan, |scene, number, error| {
            assert_eq!(error.raw_os_error().or(Some(5)), Some(5), "{error}");
            for part in ["4 changes", "the disk failed", "Nothing more will be written"] {
                assert!(error.to_string().contains(part), "{error}");
            }
            assert_eq!(scene.spool.failure(), Some(error.to_string()));
            // The disk would take more now, and say that it has it.
            let before = scene.disk.bytes();
            let (_, again) = scene.write_on(number).unwrap();
            assert_eq!((again.kind(), again.to_string()), (error.kind(), error.to_string()));
            assert!(scene.disk.bytes() == before, "the disk was written after it had failed");
            let possible = [after(&scene.writes, number), after(&scene.writes, number + 1)];
            assert!(possible.contains(&contents(&scene.spool).unwrap()));
            let found =
                contents(&open(&scene.disk.power_cut().without_pending()).unwrap()).unwrap();
            assert!(possible.contains(&found), "an acknowledged write is lost");
        });
    }
}

#[test]
fn a_disk_that_fails_is_told_of_once() {
    let errors = said::errors();
    let disk = Disk::default();
    let spool = Spool::with_backend("a disk to tell of", {
        let disk = disk.clone();
        move || Ok(disk.clone())
    });
    let spool = spool.unwrap();
    disk.plan(Plan::Sync(0));
    for _ in 0..3 {
        spool.put("peers", b"anna", b"").unwrap_err();
    }
    let told: Vec<_> = errors
        .lock()
        .unwrap()
        .iter()
        .filter(|text| text.contains("a disk to tell of"))
        .cloned()
        .collect();
    assert!(told.len() == 1 && told[0].contains("the spool takes nothing more"), "{told:?}");
}

#[test]
fn a_read_that_fails_costs_no_record() {
    at_every_operation(Plan::Read, |scene, number, error| {
        assert!(error.to_string().contains("4 changes"), "{error}");
        assert!(contents(&scene.spool).unwrap() == after(&scene.writes, number));
        assert!(scene.write_on(number).is_none());
        assert!(contents(&scene.spool).unwrap() == after(&scene.writes, WRITES));
    });
}

#[test]
fn a_failure_while_it_is_opened_costs_no_record() {
    let scene = Scene::new();
    assert!(scene.write_on(2).is_none());
    let unclean = scene.disk.power_cut().without_pending().bytes();
    drop(scene.spool);
    let clean = scene.disk.bytes();
    for bytes in [clean, unclean] {
        for plan in [Plan::FullFrom, Plan::Sync, Plan::Write, Plan::Read] {
            let mut failed = 0;
            for nth in 0.. {
                let disk = Disk::of(bytes.clone());
                disk.plan(plan(nth));
                let outcome = open(&disk).and_then(|spool| contents(&spool));
                let reached = disk.done() > nth;
                disk.plan(Plan::Nothing);
                failed += u32::from(outcome.is_err());
                assert!(outcome.is_err() || outcome.unwrap() == after(&scene.writes, WRITES));
                let image = disk.power_cut().without_pending();
                for disk in [disk, image] {
                    assert!(
                        contents(&open(&disk).unwrap()).unwrap() == after(&scene.writes, WRITES)
                    );
                }
                if !reached {
                    break;
                }
            }
            assert!(failed > 0, "nothing failed");
        }
    }
}
