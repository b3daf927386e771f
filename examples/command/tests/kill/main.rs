//! Nodes, and a relay between them, are killed at random moments and started again, over and over,
//! while their roads are damaged, their clocks step, their disks are full, and they are stopped or
//! short of descriptors: in the end every delivery has arrived exactly once, byte for byte,
//! every letter has been handled, and nothing else lies anywhere. A part of what is sent goes by
//! the relay.
//!
//! `ESTAFETTE_KILLS` says how often (default 60), `ESTAFETTE_SEED` which moments; the seed is
//! printed. Each fault comes in its turn, so that none is left out, and `ESTAFETTE_FAULTS` names
//! the ones that do, such as `flip,clock` (default: all). With `ESTAFETTE_SHORT=1`, one end is
//! short of descriptors at every third start besides.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod campaign;
mod faults;
mod letters;
#[path = "../support/mod.rs"]
mod support;
mod verdict;

use campaign::{Campaign, Who};
use faults::Fault;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} = {text:?} is no number")))
}

#[test]
fn nothing_is_lost_doubled_or_damaged_whenever_a_node_is_killed() {
    let kills = number("ESTAFETTE_KILLS").unwrap_or(60);
    let seed = number("ESTAFETTE_SEED").unwrap_or_else(|| u64::from(std::process::id()) ^ 0x5eed);
    let faults = Fault::chosen();
    println!("ESTAFETTE_SEED={seed} ESTAFETTE_KILLS={kills}, faults {faults:?}");
    let begun = std::time::Instant::now();
    let mut campaign = Campaign::new(seed);
    Who::ALL.into_iter().rev().for_each(|who| campaign.start(who));
    for kill in 0..kills {
        if kill % 10 == 0 {
            println!("{kill} kills after {:.1} s", begun.elapsed().as_secs_f64());
        }
        if kill % 100 == 30 {
            campaign.store_something_large();
        }
        for _ in 0..1 + campaign.random.below(3) {
            campaign.store_something();
        }
        match faults.get(kill as usize % faults.len().max(1)) {
            Some(&fault) => campaign.suffer(fault),
            None => campaign.run_for_a_while(),
        }
        match campaign.random.below(10) {
            0 | 1 => campaign.kill(Who::Lyon),
            2 | 3 => campaign.kill(Who::Paris),
            4 | 5 => campaign.kill(Who::Dijon),
            6 => {
                campaign.kill(Who::Lyon);
                campaign.kill(Who::Paris);
            }
            7 => campaign.kill(Who::Nancy),
            8 => campaign.kill(Who::Brest),
            _ => Who::ALL.into_iter().for_each(|who| campaign.kill(who)),
        }
    }
    campaign.finish();
    campaign.verdict(kills, seed);
}
