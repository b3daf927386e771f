//! One end of a run: the content, how it is verified, and the clock.

use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Checker};
use crate::corpus::{Corpus, Kind};
use crate::machine;

/// The work of a side: what is to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The kind of content.
    pub kind: Kind,
    /// The seed of the content.
    pub seed: u64,
    /// The length of the stream, in bytes.
    pub bytes: u64,
    /// The length of the block that is repeated to make the stream, in bytes.
    pub block: usize,
    /// The length of a write or a message, in bytes.
    pub piece: usize,
}

/// The use that a process made of the machine while its clock ran.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// Wall-clock seconds; the sender's is the run's.
    pub seconds: f64,
    /// User and system CPU seconds.
    pub cpu_seconds: f64,
    /// Peak resident memory in bytes since the process began, the block included.
    pub peak_bytes: u64,
}

/// One end of a run, ready to go: the content is in memory, the clock not yet started.
#[derive(Debug)]
pub struct Side {
    /// The work of a side: what is to be sent.
    pub job: Job,
    /// The content.
    pub corpus: Corpus,
    /// The way in which it is verified.
    pub check: Check,
}

impl Side {
    pub(crate) fn new(job: Job, check: Check) -> Self {
        let corpus = Corpus::generate(job.kind, job.seed, job.block);
        Self { job, corpus, check }
    }

    /// The stream to send, in pieces.
    pub fn pieces(&self) -> impl Iterator<Item = bytes::Bytes> + Send + use<> {
        self.corpus.pieces(self.job.bytes, self.job.piece)
    }

    /// A checker for the stream to receive.
    #[must_use]
    pub fn checker(&self) -> Checker {
        Checker::new(self.check, self.corpus.clone(), self.job.bytes)
    }

    /// On the receiver: says where it listens, in one line whose form is the contender's own; its
    /// sender gets that line.
    pub fn announce(&self, whereabouts: &str) {
        println!("{whereabouts}");
    }

    /// Starts the clock: the handshake is done.
    #[must_use]
    pub fn start(&self) -> Clock {
        Clock { started: Instant::now(), cpu: machine::process_cpu_seconds() }
    }
}

/// The running clock of one end.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    cpu: f64,
}

impl Clock {
    /// Stops the clock: the receiver has verified, or the sender has been told so.
    ///
    /// # Errors
    /// When the peak of memory cannot be read.
    pub fn stop(self) -> Result<Usage> {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu_seconds = machine::process_cpu_seconds() - self.cpu;
        Ok(Usage { seconds, cpu_seconds, peak_bytes: machine::peak_resident_bytes()? })
    }
}
