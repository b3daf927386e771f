//! Whatever a power cut leaves of what was not synced: each acknowledged write is there, and none
//! by half.

use estafette::node::{Change, Store};
use estafette::testing::Random;

use crate::disk::{Disk, PowerCut};
use crate::model::{Records, after, contents, open, writes};

const WRITES: u64 = 36;
/// So many writes are on their way at a time, and may share a commit.
const IN_FLIGHT: u64 = 3;

#[test]
fn no_power_cut_loses_an_acknowledged_write_or_keeps_half_of_one() {
    for seed in 1..=2 {
        let writes = writes(seed, WRITES);
        let power_cuts = cuts_while_writing(&writes);
        let mut random = Random::seeded(seed);
        assert!(power_cuts.len() > 100, "only {} power cuts", power_cuts.len());
        for (number, power_cut) in power_cuts.iter().enumerate() {
            for disk in images(power_cut, &mut random) {
                let text = format!("seed {seed}, power cut {number}");
                let recovery = check(&disk, number % 8 == 0, &writes, power_cut.mark, &text);
                // The power may be cut again while the spool recovers.
                for (again, second) in recovery.iter().enumerate() {
                    let text = format!("{text}, and again {again}");
                    check(&second.torn(&mut random), false, &writes, power_cut.mark, &text);
                }
            }
        }
    }
}

fn cuts_while_writing(writes: &[Vec<Change>]) -> Vec<PowerCut> {
    let disk = Disk::default();
    let spool = open(&disk).unwrap();
    disk.record_power_cuts(true);
    for (number, some) in writes.chunks(IN_FLIGHT as usize).enumerate() {
        disk.mark(number as u64 * IN_FLIGHT);
        let written: Vec<_> = some.iter().map(|write| spool.write_later(write.clone())).collect();
        for written in written {
            block_on(written).unwrap();
        }
    }
    disk.mark(writes.len() as u64);
    drop(spool);
    disk.power_cuts()
}

fn images(power_cut: &PowerCut, random: &mut Random) -> [Disk; 4] {
    [
        power_cut.without_pending(),
        power_cut.with_pending(),
        power_cut.torn(random),
        power_cut.torn(random),
    ]
}

/// The spool on `disk` has the first `acknowledged` writes, or some more that were on their way;
/// and it can be written. Returns what power cuts would have met while it was opened.
fn check(
    disk: &Disk,
    record: bool,
    writes: &[Vec<Change>],
    acknowledged: u64,
    text: &str,
) -> Vec<PowerCut> {
    disk.record_power_cuts(record);
    let spool = open(disk).unwrap_or_else(|error| panic!("{text}: {error}"));
    disk.record_power_cuts(false);
    let found = contents(&spool).unwrap();
    let most = (acknowledged + IN_FLIGHT).min(writes.len() as u64);
    let possible: Vec<Records> = (acknowledged..=most).map(|count| after(writes, count)).collect();
    assert!(possible.contains(&found), "{text}: what is there was never to be there");
    assert_eq!(spool.damaged().unwrap(), [], "{text}");
    spool.put("peers", b"after", b"").unwrap();
    assert_eq!(spool.find("peers", b"after").unwrap(), Some(Vec::new()), "{text}");
    disk.power_cuts()
}

fn block_on(written: estafette_actors::spool::Written) -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(written)
}
