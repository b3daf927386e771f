//! Replays the corpus, and many mutations of it, through every target.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::path::Path;

use estafette_fuzz::TARGETS;

/// Mutations of each seed.
const MUTATIONS: u64 = 300;

#[test]
fn every_target_survives_its_corpus_and_mutations_of_it() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let seeds: Vec<Vec<u8>> = fs::read_dir(&folder)
            .expect(name)
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect();
        assert!(!seeds.is_empty(), "{name} has no corpus");
        target(&[]);
        for seed in seeds {
            target(&seed);
            (1..=MUTATIONS).for_each(|round| target(&mutated(&seed, round)));
        }
    }
}

/// A few bytes changed, cut off or repeated: the same for the same seed and round.
fn mutated(seed: &[u8], round: u64) -> Vec<u8> {
    let (mut bytes, mut state) = (seed.to_vec(), round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut next = |below: usize| {
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (state >> 33) as usize % below.max(1)
    };
    for _ in 0..=next(4) {
        let at = next(bytes.len());
        match next(4) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << next(8),
            1 => bytes.truncate(at),
            2 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][next(5)],
            _ => bytes.extend_from_slice(&seed[at.min(seed.len())..]),
        }
    }
    bytes
}
