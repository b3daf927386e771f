//! Named factories: which stages a node knows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use actix::Recipient;

use super::kinds::Kinds;
use super::registry_error::RegistryError;
use super::transport::Schemes;
use super::{Copies, Packages, Transport};
use crate::metrics::Metrics;
use crate::pipeline::{
    AssemblerSeat, Chunk, ChunkerSeat, Codec, Compressed, Piece, Pipeline, Sealed, SharedCodec,
    Source, SourceError, SourceReference, Through,
};
use crate::wire::{Suite, growth_limit};

/// The stages a node can build its pipelines of, by name, and the transports it can dial with.
///
/// `estafette_actors::standard()` fills one with the standard stages; a host adds its own with
/// [`StageRegistry::coder`].
#[derive(Clone, Default)]
pub struct StageRegistry {
    chunker: Option<Arc<dyn Fn(ChunkerSeat) -> Recipient<Piece> + Send + Sync>>,
    assembler: Option<Arc<dyn Fn(AssemblerSeat) -> Recipient<Chunk> + Send + Sync>>,
    digest: Option<Pipeline<Chunk, Chunk>>,
    coders: BTreeMap<String, Coder>,
    compressor: Option<(Pipeline<Chunk, Compressed>, Pipeline<Compressed, Chunk>)>,
    pub(super) codecs: BTreeMap<Codec, SharedCodec>,
    /// Codecs that took the number of another one, by their names.
    pub(super) displacing: BTreeMap<Codec, String>,
    /// The one that was registered last comes first.
    sealers: Vec<(Suite, SealerPair)>,
    transports: Schemes,
    reopeners: BTreeMap<String, Reopener>,
    packages: Option<Arc<dyn Packages>>,
    copies: Option<Arc<dyn Copies>>,
    pub(super) kinds: Kinds,
    #[cfg(feature = "schema")]
    pub(super) kind_schemas: super::kind_schemas::KindSchemas,
}

/// Forward, and its inverse.
type Coder = (Pipeline<Chunk, Chunk>, Pipeline<Chunk, Chunk>);
/// Seals, and opens.
type SealerPair = (Pipeline<Compressed, Sealed>, Pipeline<Sealed, Compressed>);

/// Finds content again.
type Reopener = Arc<dyn Fn(&[u8]) -> Result<Box<dyn Source>, SourceError> + Send + Sync>;

impl StageRegistry {
    /// A registry that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the chunker, which cuts content into chunks.
    #[must_use]
    pub fn chunker(
        mut self,
        start: impl Fn(ChunkerSeat) -> Recipient<Piece> + Send + Sync + 'static,
    ) -> Self {
        self.chunker = Some(Arc::new(start));
        self
    }

    /// Sets the assembler, which puts chunks together again.
    #[must_use]
    pub fn assembler(
        mut self,
        start: impl Fn(AssemblerSeat) -> Recipient<Chunk> + Send + Sync + 'static,
    ) -> Self {
        self.assembler = Some(Arc::new(start));
        self
    }

    /// Sets the stage that hashes chunks. It is the first stage when sending, and the last when
    /// receiving.
    #[must_use]
    pub fn digest(mut self, stage: Pipeline<Chunk, Chunk>) -> Self {
        self.digest = Some(stage);
        self
    }

    /// A one-to-one step of the user's, and its inverse. A transfer that uses it names it in its
    /// opening; the receiver must know the name, too. One that makes chunks longer says so:
    /// [`Pipeline::growing`].
    #[must_use]
    pub fn coder(
        mut self,
        name: impl Into<String>,
        forward: Pipeline<Chunk, Chunk>,
        inverse: Pipeline<Chunk, Chunk>,
    ) -> Self {
        self.coders.insert(name.into(), (forward, inverse));
        self
    }

    /// Sets the stages that compress, and their inverse.
    #[must_use]
    pub fn compressor(
        mut self,
        forward: Pipeline<Chunk, Compressed>,
        inverse: Pipeline<Compressed, Chunk>,
    ) -> Self {
        self.compressor = Some((forward, inverse));
        self
    }

    /// Adds the stages that seal under a cipher suite, and their inverse.
    ///
    /// The suite that was registered last is preferred: two nodes seal with the first one that both
    /// have, in the order of whichever was dialled. One that is registered again keeps its place.
    /// Programs that talk to each other register them in one order: else the suite depends on who
    /// dials, and a delivery whose link is dialled from the other end next time is begun anew,
    /// since nobody knows then whether its receiver still has the earlier one.
    /// No node does without [`Suite::XSALSA20_POLY1305`]: packages are sealed with it.
    #[must_use]
    pub fn sealer(
        mut self,
        suite: Suite,
        seal: Pipeline<Compressed, Sealed>,
        open: Pipeline<Sealed, Compressed>,
    ) -> Self {
        match self.sealers.iter_mut().find(|(known, _)| *known == suite) {
            Some((_, pair)) => *pair = (seal, open),
            None => self.sealers.insert(0, (suite, (seal, open))),
        }
        self
    }

    /// A registry without this cipher suite: it is not offered to other nodes, and what is sealed
    /// with it is refused.
    #[must_use]
    pub fn without_sealer(mut self, suite: Suite) -> Self {
        self.sealers.retain(|(known, _)| *known != suite);
        self
    }

    /// Sets the transport for addresses that name no scheme, in place of the one before.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transports.plain(Arc::new(transport));
        self
    }

    /// Adds the transport for addresses that begin with `scheme:`. The transport sees what is
    /// behind the colon. Where only a port is behind the colon, as in `unix:7400`, the scheme is
    /// the name of a host instead.
    #[must_use]
    pub fn transport_for(mut self, scheme: impl Into<String>, transport: impl Transport) -> Self {
        self.transports.named(scheme.into(), Arc::new(transport));
        self
    }

    /// Says why nobody can ever be reached at an address, as its transport sees it.
    pub fn check_address(&self, address: &str) -> Result<(), String> {
        self.transports.check(address)
    }

    /// The schemes of the transports that are registered.
    pub fn schemes(&self) -> impl Iterator<Item = &str> {
        self.transports.schemes()
    }

    /// Sets the part that makes, reads and opens packages.
    #[must_use]
    pub fn packages(mut self, packages: impl Packages) -> Self {
        self.packages = Some(Arc::new(packages));
        self
    }

    /// Sets the part that makes and reads the copies of a node's own deliveries.
    #[must_use]
    pub fn copies(mut self, copies: impl Copies) -> Self {
        self.copies = Some(Arc::new(copies));
        self
    }

    /// Adds the function that finds a source again, in another process, by a reference of this
    /// kind.
    #[must_use]
    pub fn reopener(
        mut self,
        kind: impl Into<String>,
        reopen: impl Fn(&[u8]) -> Result<Box<dyn Source>, SourceError> + Send + Sync + 'static,
    ) -> Self {
        self.reopeners.insert(kind.into(), Arc::new(reopen));
        self
    }

    /// Whether references of this kind can be followed here.
    pub(crate) fn can_reopen(&self, kind: &str) -> bool {
        self.reopeners.contains_key(kind)
    }

    /// The source a reference leads to. May block.
    pub(crate) fn reopen(
        &self,
        reference: &SourceReference,
    ) -> Result<Box<dyn Source>, SourceError> {
        let why =
            || format!("no reopener for references of the kind {:?} is registered", reference.kind);
        let reopen = self.reopeners.get(&reference.kind);
        let reopen = reopen.ok_or_else(|| SourceError::Unsuitable {
            what: "what the outbox refers to".into(),
            why: why(),
        })?;
        reopen(&reference.data)
    }

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

    /// What a chunk passes before it is sealed, in one call, where no coder is asked for; none where
    /// one of these stages is an actor of its own.
    pub(crate) fn before_the_seal(&self, metrics: &Metrics) -> Option<Through<Chunk, Compressed>> {
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

    /// Returns the part that makes, reads and opens packages.
    pub fn packages_in_use(&self) -> Result<Arc<dyn Packages>, RegistryError> {
        self.packages.clone().ok_or(RegistryError::Missing { what: "maker of packages" })
    }

    /// Returns the part that makes and reads the copies of a node's own deliveries.
    pub fn copies_in_use(&self) -> Result<Arc<dyn Copies>, RegistryError> {
        self.copies.clone().ok_or(RegistryError::Missing { what: "maker of copies" })
    }

    pub(crate) fn transports(&self) -> Result<Arc<dyn Transport>, RegistryError> {
        match self.transports.is_empty() {
            true => Err(RegistryError::Missing { what: "transport" }),
            false => Ok(Arc::new(self.transports.clone())),
        }
    }

    /// Whether everything a node can't do without is registered.
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        self.chunker.as_ref().ok_or(RegistryError::Missing { what: "chunker" })?;
        self.assembler.as_ref().ok_or(RegistryError::Missing { what: "assembler" })?;
        self.sending(&[], Suite::XSALSA20_POLY1305)?;
        self.check_codecs()?;
        self.transports().map(drop)
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

impl fmt::Debug for StageRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageRegistry")
            .field("coders", &self.coders.keys())
            .field("suites", &self.suites())
            .finish_non_exhaustive()
    }
}
