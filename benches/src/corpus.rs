//! The content that benches send: one block of known content, repeated to any length.
//! Invariant: the same kind and seed give the same bytes on every machine, so that two processes
//! agree on the content without exchanging it.

use std::fmt;

use bytes::Bytes;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// JSON records and log lines; snappy makes about 3.2 of it into 1.
    Text,
    /// Incompressible.
    Random,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text => "text",
            Self::Random => "random",
        })
    }
}

/// A block of content in memory, and the stream that repeating it makes.
#[derive(Clone, Debug)]
pub struct Corpus {
    block: Bytes,
}

impl Corpus {
    /// Makes a block of `length` bytes, touched once and without a transient copy: peak memory is
    /// the block itself.
    #[must_use]
    pub fn generate(kind: Kind, seed: u64, length: usize) -> Self {
        let mut random = Random::new(seed);
        let block = match kind {
            Kind::Text => text(&mut random, length),
            Kind::Random => noise(&mut random, length),
        };
        Self { block: block.into() }
    }

    /// The block.
    #[must_use]
    pub fn block(&self) -> &Bytes {
        &self.block
    }

    /// The stream of `total` bytes in pieces of at most `piece` bytes; a piece never crosses the
    /// end of the block. No copies.
    pub fn pieces(&self, total: u64, piece: usize) -> impl Iterator<Item = Bytes> + Send + use<> {
        let block = self.block.clone();
        let mut sent = 0_u64;
        std::iter::from_fn(move || {
            let start = offset(sent, block.len());
            let length = piece
                .min(block.len() - start)
                .min(usize::try_from(total - sent).unwrap_or(usize::MAX));
            sent += length as u64;
            (length > 0).then(|| block.slice(start..start + length))
        })
    }

    /// Copies the stream from byte `position` on to the front of `buffer`, up to the end of the
    /// block; how many bytes that were.
    pub fn copy(&self, position: u64, buffer: &mut [u8]) -> usize {
        let start = offset(position, self.block.len());
        let length = buffer.len().min(self.block.len() - start);
        buffer[..length].copy_from_slice(&self.block[start..start + length]);
        length
    }

    /// Returns `true` if `received`, from byte `position` of the stream on, is what was sent.
    #[must_use]
    pub fn matches(&self, position: u64, received: &[u8]) -> bool {
        let mut rest = received;
        let mut start = offset(position, self.block.len());
        while !rest.is_empty() {
            let length = rest.len().min(self.block.len() - start);
            let (head, tail) = rest.split_at(length);
            if head != &self.block[start..start + length] {
                return false;
            }
            rest = tail;
            start = 0;
        }
        true
    }

    /// The BLAKE3 of the stream of `total` bytes. Reads all of it: not for inside a measurement.
    #[must_use]
    pub fn digest(&self, total: u64) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for piece in self.pieces(total, self.block.len()) {
            hasher.update(&piece);
        }
        hasher.finalize()
    }
}

fn offset(position: u64, block: usize) -> usize {
    usize::try_from(position % block as u64).expect("a remainder of a usize")
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[usize::try_from(self.below(from.len() as u64)).expect("below a usize")]
    }
}

fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(length);
    while block.len() < length {
        let word = random.next().to_le_bytes();
        block.extend_from_slice(&word[..word.len().min(length - block.len())]);
    }
    block
}

fn text(random: &mut Random, length: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(length);
    let mut line = String::with_capacity(512);
    let mut clock = 1_763_000_000_000_u64;
    while block.len() < length {
        clock += random.below(40);
        line.clear();
        if random.below(10) < 6 {
            record(random, clock, &mut line)
        } else {
            log_line(random, clock, &mut line)
        }
        block.extend_from_slice(&line.as_bytes()[..line.len().min(length - block.len())]);
    }
    block
}

fn record(random: &mut Random, clock: u64, line: &mut String) {
    use fmt::Write as _;
    let _ = writeln!(
        line,
        r#"{{"time":{clock},"level":"{}","service":"{}","region":"{}","user_id":{},"request_id":"{:08x}","method":"{}","path":"/api/v2/{}/{}","status":{},"duration_ms":{},"bytes_sent":{},"cache":{}}}"#,
        random.pick(&LEVELS),
        random.pick(&SERVICES),
        random.pick(&REGIONS),
        random.below(2_000_000),
        random.next() >> 32,
        random.pick(&METHODS),
        random.pick(&NOUNS),
        random.below(90_000),
        random.pick(&["200", "200", "200", "201", "204", "304", "404", "500"]),
        random.below(900),
        random.below(60_000),
        random.pick(&["true", "false"]),
    );
}

fn log_line(random: &mut Random, clock: u64, line: &mut String) {
    use fmt::Write as _;
    let _ = writeln!(
        line,
        "2026-11-{:02}T{:02}:{:02}:{:02}.{:03}Z {} [{}] {} {} {} took {} ms in {} (attempt {})",
        1 + clock / 86_400_000 % 28,
        clock / 3_600_000 % 24,
        clock / 60_000 % 60,
        clock / 1_000 % 60,
        clock % 1_000,
        random.pick(&LEVELS),
        random.pick(&SERVICES),
        random.pick(&VERBS),
        random.pick(&NOUNS),
        random.below(1_000_000),
        random.below(900),
        random.pick(&REGIONS),
        1 + random.below(3),
    );
}

const LEVELS: [&str; 6] = ["info", "info", "info", "debug", "warn", "error"];
const SERVICES: [&str; 8] = [
    "checkout",
    "inventory",
    "accounts",
    "gateway",
    "search",
    "billing",
    "shipping",
    "notifications",
];
const REGIONS: [&str; 5] = ["eu-west-1", "eu-central-1", "us-east-1", "us-west-2", "ap-south-1"];
const METHODS: [&str; 5] = ["GET", "GET", "POST", "PUT", "DELETE"];
const NOUNS: [&str; 8] =
    ["orders", "customers", "products", "sessions", "payments", "shipments", "invoices", "reviews"];
const VERBS: [&str; 6] =
    ["fetching", "updating", "validating", "indexing", "refreshing", "archiving"];

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 256 * 1024;

    fn snappy_ratio(kind: Kind) -> f64 {
        let corpus = Corpus::generate(kind, 1, 8 * CHUNK);
        let mut encoder = snap::raw::Encoder::new();
        let packed: usize = corpus
            .block()
            .chunks(CHUNK)
            .map(|chunk| encoder.compress_vec(chunk).unwrap().len())
            .sum();
        corpus.block().len() as f64 / packed as f64
    }

    #[test]
    fn text_compresses_like_logs_and_json() {
        let ratio = snappy_ratio(Kind::Text);
        assert!((2.8..3.6).contains(&ratio), "snappy ratio {ratio:.2}");
    }

    #[test]
    fn random_does_not_compress() {
        assert!(snappy_ratio(Kind::Random) < 1.01);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        for kind in [Kind::Text, Kind::Random] {
            let block = |seed| Corpus::generate(kind, seed, 10_001).block().clone();
            assert_eq!(block(7).len(), 10_001);
            assert_eq!(block(7), block(7));
            assert_ne!(block(7), block(8));
        }
    }

    #[test]
    fn pieces_make_the_stream_that_matches_and_digest_describe() {
        let corpus = Corpus::generate(Kind::Text, 3, 1000);
        let stream: Vec<u8> = corpus.pieces(2_345, 300).flat_map(|piece| piece.to_vec()).collect();
        assert_eq!(stream.len(), 2_345);
        assert!(corpus.matches(0, &stream));
        assert!(corpus.matches(777, &stream[777..]));
        assert_eq!(corpus.digest(2_345), blake3::hash(&stream));
    }

    #[test]
    fn one_wrong_bit_does_not_match() {
        let corpus = Corpus::generate(Kind::Random, 3, 1000);
        let mut stream: Vec<u8> =
            corpus.pieces(1_500, 400).flat_map(|piece| piece.to_vec()).collect();
        stream[1_200] ^= 1;
        assert!(!corpus.matches(0, &stream));
    }
}
