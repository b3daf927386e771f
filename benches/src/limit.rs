//! The limit of the pipeline on this machine: what each stage costs where it runs, both ends, one
//! after the other on one chunk. Invariant: CPU time of the thread that does the step, cost of
//! reading the clock taken off; buffers are made once and reused, so that page faults do not count.
//!
//! ```text
//! sender thread    copy → digest → compress → seal → write ═══ loopback TCP ═══▶
//! receiver thread                                            read → open → decompress → digest → place
//! ```
//! Σ is the sum of all steps in CPU seconds per GB of content; a machine with `cores` cores cannot
//! pass `cores / Σ`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use estafette::wire::Suite;
use estafette_actors::seal::{Aes, Cipher as _, Fast};
use serde::Serialize;

use crate::corpus::Corpus;
use crate::machine;

/// A step of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(usize)]
pub enum Step {
    /// From the source into the chunk.
    Copy,
    /// BLAKE3 of the chunk, by the sender.
    Digest,
    /// Snappy.
    Compress,
    /// One of the suites, from buffer to buffer.
    Seal,
    /// Into the socket, whole frames.
    Write,
    /// Out of the socket, a body and the next header in one call.
    Read,
    /// The same suite, from buffer to buffer.
    Open,
    /// Snappy.
    Decompress,
    /// BLAKE3 of the chunk, by the receiver.
    DigestReceived,
    /// From the chunk to where the stream is assembled: a window of 4 MiB.
    Place,
}

impl Step {
    /// All steps, in the order of the data.
    pub const ALL: [Self; 10] = [
        Self::Copy,
        Self::Digest,
        Self::Compress,
        Self::Seal,
        Self::Write,
        Self::Read,
        Self::Open,
        Self::Decompress,
        Self::DigestReceived,
        Self::Place,
    ];

    /// Its name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Digest => "digest",
            Self::Compress => "compress",
            Self::Seal => "seal",
            Self::Write => "write",
            Self::Read => "read",
            Self::Open => "open",
            Self::Decompress => "decompress",
            Self::DigestReceived => "digest'",
            Self::Place => "place",
        }
    }
}

/// The cost of the steps, and what follows from it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limit {
    /// CPU seconds per GB of content, by [`Step`].
    pub seconds_per_gb: [f64; 10],
    /// Cores that the machine has.
    pub cores: usize,
    /// MB/s of the measurement itself: one thread per end, blocking sockets, no framework.
    pub straight: f64,
}

impl Limit {
    /// The cost of a step, in CPU seconds per GB.
    #[must_use]
    pub fn cost(&self, step: Step) -> f64 {
        self.seconds_per_gb[step as usize]
    }

    /// Σ: CPU seconds per GB of all steps, both BLAKE3 included.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.seconds_per_gb.iter().sum()
    }

    /// Σ without the two BLAKE3.
    #[must_use]
    pub fn sum_without_digest(&self) -> f64 {
        self.sum() - self.cost(Step::Digest) - self.cost(Step::DigestReceived)
    }

    /// Σ without the socket's two ends.
    #[must_use]
    pub fn sum_in_memory(&self) -> f64 {
        self.sum() - self.cost(Step::Write) - self.cost(Step::Read)
    }

    /// The MB/s that `sum` allows with all cores at work all the time.
    #[must_use]
    pub fn ideal(&self, sum: f64) -> f64 {
        self.cores as f64 / sum * 1e3
    }
}

/// Brings the block of `corpus` through all steps in chunks of `chunk` bytes, over loopback, often
/// enough to move `bytes`, sealed with `suite`.
///
/// # Errors
/// When loopback fails, what arrives is not what was sent, or the suite is not here.
///
/// # Panics
/// When `chunk` is 0 or above 1 GiB.
pub fn measure(corpus: &Corpus, chunk: usize, bytes: u64, suite: Suite) -> Result<Limit> {
    assert!((1..=1 << 30).contains(&chunk), "a chunk of {chunk} bytes");
    let sealing = Sealing::of(suite)?;
    let listener = TcpListener::bind("127.0.0.1:0").context("listening on loopback")?;
    let outgoing = TcpStream::connect(listener.local_addr()?)?;
    let (incoming, _) = listener.accept()?;
    outgoing.set_nodelay(true)?;
    let started = Instant::now();
    let (sent, received) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(corpus, chunk, bytes, (outgoing, sealing)));
        let received = receive(corpus, chunk, bytes, (incoming, sealing));
        (sender.join().expect("the sender does not panic"), received)
    });
    let straight = bytes as f64 / started.elapsed().as_secs_f64() / 1e6;
    let (sent, received) = (sent?, received?);
    let seconds_per_gb = std::array::from_fn(|step| {
        (sent.seconds[step] + received.seconds[step]).max(0.0) / bytes as f64 * 1e9
    });
    Ok(Limit { seconds_per_gb, cores: machine::cores(), straight })
}

/// The implementations that nodes use.
#[derive(Clone, Copy)]
enum Sealing {
    Salsa,
    Aes(Aes),
}

impl Sealing {
    fn of(suite: Suite) -> Result<Self> {
        match suite {
            Suite::XSALSA20_POLY1305 => Ok(Self::Salsa),
            Suite::AES_256_GCM => {
                Ok(Self::Aes(Aes::detect().context("this processor has no AES")?))
            }
            other => bail!("{other} is not measured"),
        }
    }

    fn seal(self, index: usize, plain: &[u8], sealed: &mut [u8]) -> [u8; 16] {
        match self {
            Self::Salsa => Fast.seal(&KEY, &nonce(index), plain, sealed),
            Self::Aes(aes) => aes.seal(&KEY, &nonce(index), plain, sealed),
        }
    }

    fn open(self, index: usize, tag: &[u8; 16], sealed: &[u8], plain: &mut [u8]) -> Result<()> {
        match self {
            Self::Salsa => Fast.open(&KEY, &nonce(index), tag, sealed, plain)?,
            Self::Aes(aes) => aes.open(&KEY, &nonce(index), tag, sealed, plain)?,
        }
        Ok(())
    }
}

fn send(
    corpus: &Corpus,
    chunk: usize,
    bytes: u64,
    (mut socket, sealing): (TcpStream, Sealing),
) -> Result<Costs> {
    let mut plain = vec![0; chunk];
    let mut packed = vec![0; OFFSET + snap::raw::max_compress_len(chunk)];
    let packed = &mut packed[OFFSET..];
    let mut frame = vec![0; HEADER + packed.len()];
    let mut encoder = snap::raw::Encoder::new();
    let mut costs = Costs::new();
    for (index, piece) in corpus.pieces(bytes, chunk).enumerate() {
        costs.start();
        let plain = &mut plain[..piece.len()];
        plain.copy_from_slice(&piece);
        costs.charge(Step::Copy);
        std::hint::black_box(blake3::hash(plain));
        costs.charge(Step::Digest);
        let length = encoder.compress(plain, packed)?;
        costs.charge(Step::Compress);
        let tag = sealing.seal(index, &packed[..length], &mut frame[HEADER..HEADER + length]);
        frame[..4]
            .copy_from_slice(&u32::try_from(length).context("a frame beyond 4 GiB")?.to_le_bytes());
        frame[4..HEADER].copy_from_slice(&tag);
        costs.charge(Step::Seal);
        socket.write_all(&frame[..HEADER + length])?;
        costs.charge(Step::Write);
    }
    socket.write_all(&[0; HEADER])?;
    Ok(costs)
}

fn receive(
    corpus: &Corpus,
    chunk: usize,
    bytes: u64,
    (mut socket, sealing): (TcpStream, Sealing),
) -> Result<Costs> {
    let mut header = [0; HEADER];
    let mut body = vec![0; snap::raw::max_compress_len(chunk) + HEADER];
    let mut packed = vec![0; snap::raw::max_compress_len(chunk)];
    let mut plain = vec![0; chunk];
    let mut window = Window::new(chunk);
    let mut decoder = snap::raw::Decoder::new();
    let mut costs = Costs::new();
    socket.read_exact(&mut header)?;
    for index in 0.. {
        let length = u32::from_le_bytes(header[..4].try_into().expect("4 bytes")) as usize;
        if length == 0 {
            break;
        }
        costs.start();
        socket.read_exact(&mut body[..length + HEADER])?;
        costs.charge(Step::Read);
        let tag = header[4..].try_into().expect("16 bytes");
        sealing.open(index, tag, &body[..length], &mut packed[..length])?;
        costs.charge(Step::Open);
        let unpacked = decoder.decompress(&packed[..length], &mut plain)?;
        costs.charge(Step::Decompress);
        std::hint::black_box(blake3::hash(&plain[..unpacked]));
        costs.charge(Step::DigestReceived);
        window.place(&plain[..unpacked]);
        costs.charge(Step::Place);
        header.copy_from_slice(&body[length..length + HEADER]);
    }
    ensure!(window.position == bytes, "{} bytes of {bytes} came through", window.position);
    ensure!(window.matches(corpus), "the stages changed the content");
    Ok(costs)
}

/// The window in which the receiver assembles: the last chunks of the stream, as many as fit into
/// that of a transfer.
struct Window {
    slots: Vec<(u64, Vec<u8>)>,
    next: usize,
    position: u64,
}

impl Window {
    fn new(chunk: usize) -> Self {
        let slots = (0..(WINDOW / chunk).max(1)).map(|_| (0, Vec::with_capacity(chunk))).collect();
        Self { slots, next: 0, position: 0 }
    }

    fn place(&mut self, plain: &[u8]) {
        let (position, slot) = &mut self.slots[self.next];
        *position = self.position;
        slot.clear();
        slot.extend_from_slice(plain);
        self.position += plain.len() as u64;
        self.next = (self.next + 1) % self.slots.len();
    }

    fn matches(&self, corpus: &Corpus) -> bool {
        self.slots.iter().all(|(position, slot)| corpus.matches(*position, slot))
    }
}

/// The costs of one thread's steps so far.
struct Costs {
    seconds: [f64; 10],
    last: f64,
    reading: f64,
}

impl Costs {
    fn new() -> Self {
        let started = machine::thread_cpu_seconds();
        let mut last = started;
        for _ in 0..CALIBRATION {
            last = machine::thread_cpu_seconds();
        }
        Self { seconds: [0.0; 10], last, reading: (last - started) / f64::from(CALIBRATION) }
    }

    fn start(&mut self) {
        self.last = machine::thread_cpu_seconds();
    }

    fn charge(&mut self, step: Step) {
        let now = machine::thread_cpu_seconds();
        self.seconds[step as usize] += now - self.last - self.reading;
        self.last = now;
    }
}

fn nonce<const LENGTH: usize>(index: usize) -> [u8; LENGTH] {
    let mut nonce = [0; LENGTH];
    nonce[..8].copy_from_slice(&(index as u64).to_le_bytes());
    nonce
}

const WINDOW: usize = 4 << 20;
/// A target a few bytes further into its page than the source is slow for `rep movsb`, and so would
/// be what snappy can't compress and copies: the limit must not profit from that.
const OFFSET: usize = 1024;
const CALIBRATION: u32 = 1_000;
const KEY: [u8; 32] = [7; 32];
/// The length of the body, and the tag of the sealed chunk.
const HEADER: usize = 4 + 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Kind;

    #[test]
    fn every_step_has_a_cost_and_what_arrives_is_what_was_sent() {
        for kind in [Kind::Text, Kind::Random] {
            let corpus = Corpus::generate(kind, 1, 1_000_000);
            for suite in estafette_actors::standard().stages().suites() {
                let limit = measure(&corpus, 64 * 1024, 4_500_000, suite).unwrap();
                for step in Step::ALL {
                    assert!(limit.cost(step) > 0.0, "{} of {kind} costs nothing", step.name());
                }
                assert!(limit.sum() > limit.sum_without_digest());
                assert!(limit.ideal(limit.sum()) > 0.0);
            }
        }
    }

    #[test]
    fn the_ideal_is_cores_over_the_sum() {
        let limit = Limit { seconds_per_gb: [0.1; 10], cores: 2, straight: 0.0 };
        assert!((limit.ideal(limit.sum()) - 2_000.0).abs() < 1e-6);
        assert!((limit.sum_without_digest() - 0.8).abs() < 1e-9);
    }
}
