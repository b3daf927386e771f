//! The stages that pipelines are made of, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use actix::Recipient;

use super::registry_error::RegistryError;
use crate::metrics::Metrics;
use crate::pipeline::{
    AssemblerSeat, Chunk, ChunkerSeat, Codec, Compressed, Piece, Pipeline, Sealed, SharedCodec,
    Through,
};
use crate::wire::{Suite, growth_limit};

/// The stages that a node, or what makes its packages, builds pipelines of.
///
/// A [`StageRegistry`](super::StageRegistry) is what they are registered with.
#[derive(Clone, Default)]
pub struct Stages {
    pub(super) chunker: Option<Arc<dyn Fn(ChunkerSeat) -> Recipient<Piece> + Send + Sync>>,
    /// Set if that takes pieces that are ready.
    pub(super) ready_pieces: bool,
    pub(super) assembler: Option<Arc<dyn Fn(AssemblerSeat) -> Recipient<Chunk> + Send + Sync>>,
    pub(super) digest: Option<Pipeline<Chunk, Chunk>>,
    pub(super) coders: BTreeMap<String, Coder>,
    pub(super) compressor: Option<(Pipeline<Chunk, Compressed>, Pipeline<Compressed, Chunk>)>,
    pub(super) codecs: BTreeMap<Codec, SharedCodec>,
    /// Codecs that took the number of another one, by their names.
    pub(super) displacing: BTreeMap<Codec, String>,
    /// The one that was registered last comes first.
    pub(super) sealers: Vec<(Suite, SealerPair)>,
}

/// Forward, and its inverse.
type Coder = (Pipeline<Chunk, Chunk>, Pipeline<Chunk, Chunk>);
/// Seals, and opens.
type SealerPair = (Pipeline<Compressed, Sealed>, Pipeline<Sealed, Compressed>);

impl Stages {
    /// The names of the coders that are registered.
    pub fn coder_names(&self) -> impl Iterator<Item = &str> {
        self.coders.keys().map(String::as_str)
    }

    /// The cipher suites that are registered, the preferred first.
    pub fn suites(&self) -> Vec<Suite> {
        self.sealers.iter().map(|(suite, _)| *suite).collect()
    }

    /// The pipeline that sends: digest, the coders `names` in this order, compressor, sealer.
    pub fn sending(
        &self,
        names: &[String],
        suite: Suite,
    ) -> Result<Pipeline<Chunk, Sealed>, RegistryError> {
        let digest = self.digest.clone().ok_or(RegistryError::Missing { what: "digest stage" })?;
        let compressor =
            self.compressor.as_ref().ok_or(RegistryError::Missing { what: "compressor" })?;
        let coded =
            names.iter().try_fold(digest, |chain, name| Ok(chain.join(&self.find(name)?.0)))?;
        Ok(coded.join(&compressor.0).join(&self.find_suite(suite)?.0))
    }

    /// Returns the stages before the seal, in one call, where no coder is asked for; none where one
    /// of these stages is an actor of its own, or the chunker takes no ready pieces.
    pub(crate) fn before_the_seal(&self, metrics: &Metrics) -> Option<Through<Chunk, Compressed>> {
        if !self.ready_pieces {
            return None;
        }
        let (digest, compressor) = (self.digest.clone()?, self.compressor.as_ref()?);
        digest.join(&compressor.0).through(metrics)
    }

    /// Returns the bytes by which the coders `names` may make a chunk of this size longer, as they
    /// declare.
    pub fn growth(&self, names: &[String], chunk_size: u32) -> Result<u32, RegistryError> {
        let growth = names
            .iter()
            .try_fold(0_u32, |sum, name| Ok(sum.saturating_add(self.find(name)?.0.growth())))?;
        match growth_limit(chunk_size) {
            limit if growth > limit => {
                Err(RegistryError::Grows { names: names.join(", "), growth, chunk_size, limit })
            }
            _ => Ok(growth),
        }
    }

    /// The pipeline that receives: opener, decompressor, the inverses of the coders `names` in
    /// reverse order, digest.
    pub fn receiving(
        &self,
        names: &[String],
        suite: Suite,
    ) -> Result<Pipeline<Sealed, Chunk>, RegistryError> {
        let digest = self.digest.as_ref().ok_or(RegistryError::Missing { what: "digest stage" })?;
        let compressor =
            self.compressor.as_ref().ok_or(RegistryError::Missing { what: "decompressor" })?;
        let opened = self.find_suite(suite)?.1.clone().join(&compressor.1);
        let decoded = names
            .iter()
            .rev()
            .try_fold(opened, |chain, name| Ok(chain.join(&self.find(name)?.1)))?;
        Ok(decoded.join(digest))
    }

    /// The pipeline that sends batches of messages: compressor, sealer.
    pub(crate) fn sending_batches(
        &self,
        suite: Suite,
    ) -> Result<Pipeline<Chunk, Sealed>, RegistryError> {
        let compressor =
            self.compressor.as_ref().ok_or(RegistryError::Missing { what: "compressor" })?;
        Ok(compressor.0.clone().join(&self.find_suite(suite)?.0))
    }

    /// The pipeline that receives them.
    pub(crate) fn receiving_batches(
        &self,
        suite: Suite,
    ) -> Result<Pipeline<Sealed, Chunk>, RegistryError> {
        let compressor =
            self.compressor.as_ref().ok_or(RegistryError::Missing { what: "decompressor" })?;
        Ok(self.find_suite(suite)?.1.clone().join(&compressor.1))
    }

    /// Starts a chunker on the current thread, where one is registered.
    pub fn start_chunker(&self, seat: ChunkerSeat) -> Option<Recipient<Piece>> {
        self.chunker.as_ref().map(|start| start(seat))
    }

    /// Starts an assembler on the current thread, where one is registered.
    pub fn start_assembler(&self, seat: AssemblerSeat) -> Option<Recipient<Chunk>> {
        self.assembler.as_ref().map(|start| start(seat))
    }

    /// Checks that everything is registered that a node can't do without.
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        self.chunker.as_ref().ok_or(RegistryError::Missing { what: "chunker" })?;
        self.assembler.as_ref().ok_or(RegistryError::Missing { what: "assembler" })?;
        self.sending(&[], Suite::XSALSA20_POLY1305)?;
        self.check_codecs()
    }

    fn find(&self, name: &str) -> Result<&Coder, RegistryError> {
        self.coders.get(name).ok_or_else(|| {
            let known: Vec<_> = self.coder_names().collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            RegistryError::UnknownStage { name: name.to_owned(), known }
        })
    }

    fn find_suite(&self, suite: Suite) -> Result<&SealerPair, RegistryError> {
        let found = self.sealers.iter().find(|(known, _)| *known == suite);
        let known = || self.suites().iter().map(Suite::to_string).collect::<Vec<_>>().join(", ");
        found
            .map(|(_, pair)| pair)
            .ok_or_else(|| RegistryError::UnknownSuite { suite, known: known() })
    }
}

impl fmt::Debug for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stages")
            .field("coders", &self.coders.keys())
            .field("suites", &self.suites())
            .finish_non_exhaustive()
    }
}
