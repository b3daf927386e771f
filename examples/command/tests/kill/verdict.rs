//! The verdict on a campaign: the fate of all that was sent.

use std::fs;
use std::path::{Path, PathBuf};

use crate::campaign::{Campaign, Roads, Who};
use crate::letters;

/// The cost that one kill, or another fault, may have: what was on the way, and what was not yet
/// written down by the receiver.
const PER_KILL: u64 = (6 << 20) + (16 << 20);
/// Handshakes, offers, heads of frames.
const PER_CONNECTION: u64 = 64 << 10;

impl Campaign {
    pub(crate) fn verdict(&self, kills: u64, seed: u64) {
        let arrived = self.world.arrived();
        let lost: Vec<_> = self.stored.keys().filter(|name| !arrived.contains(name)).collect();
        let strange: Vec<_> =
            arrived.iter().filter(|name| !self.stored.contains_key(*name)).collect();
        let differs = |name: &&String| {
            arrived.contains(name)
                && !same(&self.world.path("out").join(name), &self.world.path("in").join(name))
        };
        let corrupted: Vec<_> = self.stored.keys().filter(differs).collect();
        let content: u64 = self.stored.values().sum();
        // Counted on the way to paris and to dijon; what dijon passes on goes the other way.
        let Roads { to_paris: paris, to_dijon: dijon, to_brest: brest } = &self.roads;
        let (crossed, connections) =
            (paris.crossed() + dijon.crossed(), paris.connections() + dijon.connections());
        let faults: u64 = self.suffered.values().sum();
        let (letters, again) = letters::verdict(&self.world.path("letters"));
        let flips = paris.flips() + dijon.flips() + brest.flips();
        let most =
            content + (kills + faults) * PER_KILL + content / 50 + connections * PER_CONNECTION;
        println!(
            "seed {seed}: {kills} kills, {:?}, {flips} bits flipped; {letters} letters, {again} \
             of them handled once more; {} deliveries with {content} bytes; {} lost, {} \
             duplicated or left over, {} corrupted; {crossed} bytes crossed on {connections} \
             connections, at most {most}",
            self.suffered,
            self.stored.len(),
            lost.len(),
            strange.len(),
            corrupted.len()
        );
        assert!(
            lost.is_empty() && strange.is_empty() && corrupted.is_empty(),
            "lost {lost:?}, strange {strange:?}, corrupted {corrupted:?}"
        );
        let arrivals = self.world.run("paris", ["inbox", "list"]).events;
        assert_eq!(arrivals.len(), self.stored.len(), "each is remembered once");
        for who in Who::COMMANDS.map(Who::name) {
            let found = self.world.run(who, ["doctor"]);
            assert!(found.code == 0 && found.events.is_empty(), "{who}: {:?}", found.events);
        }
        assert!(crossed <= most, "{crossed} bytes crossed, and {most} were enough");
    }
}

/// Returns `true` if two files or folders are the same, names, kinds and bytes.
fn same(a: &Path, b: &Path) -> bool {
    let names = |path: &Path| -> Vec<PathBuf> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
        names.sort();
        names
    };
    match (a.is_dir(), b.is_dir()) {
        (true, true) => {
            names(a) == names(b) && names(a).iter().all(|name| same(&a.join(name), &b.join(name)))
        }
        (false, false) => fs::read(a).unwrap() == fs::read(b).unwrap(),
        _ => false,
    }
}
