//! The receiver's check. Invariant: every byte is looked at, in order, and the length must be
//! right; a run that fails it has no figure.

use anyhow::{Result, ensure};

use crate::corpus::Corpus;

/// The way in which a contender verifies what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Compare with the known block: all the bench needs, next to nothing in cost. The contender
    /// itself makes no end-to-end digest.
    Compare,
    /// Both ends digest with BLAKE3, as estafette does; the receiver compares its digest with the
    /// sender's.
    Digest,
}

/// Verifies a stream as it arrives.
#[derive(Debug)]
pub struct Checker {
    corpus: Corpus,
    total: u64,
    received: u64,
    expected: blake3::Hash,
    hasher: Option<Box<blake3::Hasher>>,
}

impl Checker {
    /// A checker for the stream of `total` bytes of `corpus`. With [`Check::Digest`] it works out
    /// the right digest here and now, so make it before the clock starts.
    #[must_use]
    pub fn new(check: Check, corpus: Corpus, total: u64) -> Self {
        let (expected, hasher) = match check {
            Check::Compare => (blake3::Hash::from_bytes([0; 32]), None),
            Check::Digest => (corpus.digest(total), Some(Box::default())),
        };
        Self { corpus, total, received: 0, expected, hasher }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// When they are not what was sent, or more than was to come.
    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let position = self.received;
        self.received += bytes.len() as u64;
        ensure!(
            self.received <= self.total,
            "received {} bytes of a stream of {}",
            self.received,
            self.total
        );
        match &mut self.hasher {
            Some(hasher) => drop(hasher.update(bytes)),
            None => ensure!(
                self.corpus.matches(position, bytes),
                "what arrived at byte {position} and after is not what was sent"
            ),
        }
        Ok(())
    }

    /// Returns `true` if all of the stream was taken.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.received == self.total
    }

    /// Ends the stream; `digest` is what the sender says its digest is, empty if it makes none.
    ///
    /// # Errors
    /// When bytes are missing, or the digests differ.
    pub fn finish(&self, digest: &[u8]) -> Result<()> {
        ensure!(
            self.is_complete(),
            "received {} bytes of a stream of {}",
            self.received,
            self.total
        );
        if let Some(hasher) = &self.hasher {
            let own = hasher.finalize();
            ensure!(
                own == self.expected,
                "the digest of what arrived is {own}, not {}",
                self.expected
            );
            ensure!(
                own.as_bytes() == digest,
                "the sender's digest is not that of what arrived, {own}"
            );
        }
        Ok(())
    }
}

/// The sender's half of [`Check`].
#[derive(Debug)]
pub(crate) struct Digester(Option<Box<blake3::Hasher>>);

impl Digester {
    pub(crate) fn new(check: Check) -> Self {
        Self((check == Check::Digest).then(Box::default))
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.0 {
            hasher.update(bytes);
        }
    }

    /// 32 bytes, or none if no digest is made.
    pub(crate) fn finish(&self) -> Vec<u8> {
        self.0.as_ref().map(|hasher| hasher.finalize().as_bytes().to_vec()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Kind;

    const TOTAL: u64 = 2_500;

    fn check(check: Check, spoil: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let corpus = Corpus::generate(Kind::Random, 1, 1_000);
        let mut digester = Digester::new(check);
        let mut stream = Vec::new();
        for piece in corpus.pieces(TOTAL, 300) {
            digester.add(&piece);
            stream.extend_from_slice(&piece);
        }
        spoil(&mut stream);
        let mut checker = Checker::new(check, corpus, TOTAL);
        for piece in stream.chunks(170) {
            checker.take(piece)?;
        }
        checker.finish(&digester.finish())
    }

    #[test]
    fn the_right_stream_passes_and_a_spoilt_one_does_not() {
        for kind in [Check::Compare, Check::Digest] {
            check(kind, |_| ()).unwrap();
            assert!(check(kind, |stream| stream[1_234] ^= 4).is_err(), "{kind:?}: a wrong bit");
            assert!(
                check(kind, |stream| stream.truncate(2_499)).is_err(),
                "{kind:?}: a missing byte"
            );
            assert!(check(kind, |stream| stream.push(0)).is_err(), "{kind:?}: a byte too many");
        }
    }
}
