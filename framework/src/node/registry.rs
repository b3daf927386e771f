//! Named factories: all that a node can be made of.

#[cfg(feature = "schema")]
mod kind_schemas;
mod kinds;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::{fmt, io};

use actix::Recipient;

use super::kinds::Kinds;
use super::registry_error::RegistryError;
use super::stages::Stages;
use super::transport::Schemes;
use super::{Copies, Packages, Transport};
use crate::pipeline::{
    AssemblerSeat, Chunk, ChunkCodec, ChunkerSeat, Codec, Compressed, Piece, Pipeline, Sealed,
    Source, SourceError, SourceReference,
};
use crate::wire::Suite;

/// The stages a node can build its pipelines of, by name, and the transports it can dial with.
///
/// `estafette_actors::standard()` fills one with the standard stages; a host adds its own with
/// [`StageRegistry::coder`].
#[derive(Clone, Default)]
pub struct StageRegistry {
    stages: Stages,
    transports: Schemes,
    reopeners: BTreeMap<String, Reopener>,
    packages: Option<Arc<dyn Packages>>,
    copies: Option<Arc<dyn Copies>>,
    pub(super) kinds: Kinds,
    #[cfg(feature = "schema")]
    pub(super) kind_schemas: super::kind_schemas::KindSchemas,
}

/// Finds content again.
type Reopener = Arc<dyn Fn(&[u8]) -> Result<Box<dyn Source>, SourceError> + Send + Sync>;

impl StageRegistry {
    /// A registry that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the chunker, which cuts content into chunks. It is given no pieces that are
    /// [ready](Piece::ready), unless [it takes them](Self::ready_pieces).
    #[must_use]
    pub fn chunker(
        mut self,
        start: impl Fn(ChunkerSeat) -> Recipient<Piece> + Send + Sync + 'static,
    ) -> Self {
        self.stages.chunker = Some(Arc::new(start));
        self.stages.ready_pieces = false;
        self
    }

    /// Says that the chunker takes pieces that are [ready](Piece::ready), too: then what several
    /// receivers are sent at one time is read, cut and compressed once.
    #[must_use]
    pub fn ready_pieces(mut self) -> Self {
        self.stages.ready_pieces = true;
        self
    }

    /// Sets the assembler, which puts chunks together again.
    #[must_use]
    pub fn assembler(
        mut self,
        start: impl Fn(AssemblerSeat) -> Recipient<Chunk> + Send + Sync + 'static,
    ) -> Self {
        self.stages.assembler = Some(Arc::new(start));
        self
    }

    /// Sets the stage that hashes chunks. It is the first stage when sending, and the last when
    /// receiving.
    #[must_use]
    pub fn digest(mut self, stage: Pipeline<Chunk, Chunk>) -> Self {
        self.stages.digest = Some(stage);
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
        self.stages.coders.insert(name.into(), (forward, inverse));
        self
    }

    /// Sets the stages that compress, and their inverse.
    #[must_use]
    pub fn compressor(
        mut self,
        forward: Pipeline<Chunk, Compressed>,
        inverse: Pipeline<Compressed, Chunk>,
    ) -> Self {
        self.stages.compressor = Some((forward, inverse));
        self
    }

    /// Adds a codec, which makes chunks smaller, under the number and the name that it has. One of
    /// the same number and name takes the place of the one before; with one of the same number and
    /// another name no node starts ([`StageRegistry::without_codec`] makes room for it).
    #[must_use]
    pub fn codec(mut self, codec: impl ChunkCodec) -> Self {
        let (id, name) = (codec.id(), codec.name().to_owned());
        let before = self.stages.codecs.insert(id, Arc::new(codec));
        if before.is_some_and(|before| before.name() != name) {
            self.stages.displacing.insert(id, name);
        }
        self
    }

    /// A registry without this codec: deliveries that use it are refused by its name. With one
    /// without snappy no node starts: others take it for granted.
    #[must_use]
    pub fn without_codec(mut self, codec: Codec) -> Self {
        self.stages.codecs.remove(&codec);
        self.stages.displacing.remove(&codec);
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
        match self.stages.sealers.iter_mut().find(|(known, _)| *known == suite) {
            Some((_, pair)) => *pair = (seal, open),
            None => self.stages.sealers.insert(0, (suite, (seal, open))),
        }
        self
    }

    /// A registry without this cipher suite: it is not offered to other nodes, and what is sealed
    /// with it is refused.
    #[must_use]
    pub fn without_sealer(mut self, suite: Suite) -> Self {
        self.stages.sealers.retain(|(known, _)| *known != suite);
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

    /// Returns the stages that are registered.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Says why nobody can ever be reached at an address, as its transport sees it.
    pub fn check_address(&self, address: &str) -> Result<(), String> {
        self.transports.check(address)
    }

    /// Listens at an address for a moment, to find out whether that can be done.
    pub async fn try_listen(&self, address: &str) -> io::Result<()> {
        self.transports.listen(address).await.map(drop)
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

    /// Returns `true` if references of this kind can be followed here.
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

    /// Checks that everything is registered that a node can't do without.
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        self.stages.check()?;
        self.transports().map(drop)
    }
}

impl fmt::Debug for StageRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageRegistry").field("stages", &self.stages).finish_non_exhaustive()
    }
}
