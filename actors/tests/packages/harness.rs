//! A sender, a receiver, and a folder for the packages between them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::System;
use bytes::Bytes;
use estafette::Failure;
use estafette::delivery::TransferId;
use estafette::node::StageRegistry;
use estafette::node::{
    OpenInbox, OpenedInbox, PackError, PackOrder, PackageOffer, Packages, Packed, UnpackOrder,
    Unpacked,
};
use estafette::pipeline::{Chunk, SourceError};
use estafette::pipeline::{Compression, Inbox, Offer, Pipeline, Source, Transform, TransformError};
use estafette::wire::{Identity, Suite};
use estafette_actors::sink::MemorySink;
use estafette_actors::source::BytesSource;
use estafette_actors::standard;
use tempfile::TempDir;

pub(crate) const CHUNK: usize = 1024;
pub(crate) const CREATED: u64 = 1_800_000_000;
pub(crate) const EXPIRES: u64 = CREATED + 1000;
/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    System::new()
        .block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it hangs") })
}

pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) sender: Identity,
    pub(crate) receiver: Identity,
    pub(crate) registry: StageRegistry,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(registry())
    }

    pub(crate) fn with(registry: StageRegistry) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, sender: Identity::generate(), receiver: Identity::generate(), registry }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn packages(&self) -> Arc<dyn Packages> {
        self.registry.packages_in_use().unwrap()
    }

    /// The number of files.
    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path()).unwrap().count()
    }

    pub(crate) fn order(&self, name: &str, source: impl Source) -> PackOrder {
        PackOrder {
            content: source.content(),
            source: Box::new(source),
            identity: self.sender.clone(),
            receiver: self.receiver.peer(),
            transfer: TransferId::random(),
            chunk_size: CHUNK as u32,
            suite: Suite::XSALSA20_POLY1305,
            compression: Compression::Snappy,
            coders: vec![],
            inbox: "in".into(),
            created: CREATED,
            expires: EXPIRES,
            token: None,
            file: self.file(name),
            stages: self.registry.stages().clone(),
        }
    }

    pub(crate) async fn try_pack(&self, order: PackOrder) -> Result<Packed, PackError> {
        self.packages().pack(order).await
    }

    /// A package with these bytes in it.
    pub(crate) async fn pack(&self, name: &str, bytes: &[u8]) -> Packed {
        self.try_pack(self.order(name, source(bytes))).await.unwrap()
    }

    pub(crate) fn unpack_order(&self, name: &str, open_inbox: OpenInbox) -> UnpackOrder {
        UnpackOrder {
            file: self.file(name),
            identity: self.receiver.clone(),
            stages: self.registry.stages().clone(),
            window: 64 << 10,
            now: CREATED + 10,
            open_inbox,
        }
    }

    /// Returns what the receiver finds in it.
    pub(crate) async fn unpack(&self, name: &str) -> Result<(Unpacked, Bytes), Failure> {
        self.unpack_as(&self.receiver, name).await
    }

    pub(crate) async fn unpack_as(
        &self,
        identity: &Identity,
        name: &str,
    ) -> Result<(Unpacked, Bytes), Failure> {
        let (inbox, mut delivered) = MemorySink::channel(64 << 20, 1);
        let order = self.unpack_order(name, into(inbox));
        let unpacked =
            self.packages().unpack(UnpackOrder { identity: identity.clone(), ..order }).await;
        let committed = delivered.try_recv().ok();
        assert_eq!(
            unpacked.is_ok(),
            committed.is_some(),
            "committed exactly when it says so: {unpacked:?}"
        );
        unpacked.map(|unpacked| (unpacked, committed.unwrap().bytes))
    }
}

/// Whatever is in a package goes into this inbox.
pub(crate) fn into(inbox: impl Inbox) -> OpenInbox {
    Box::new(move |offer: &PackageOffer| {
        let PackageOffer { sender, transfer, content, .. } = offer.clone();
        let sink = inbox
            .open(&Offer::new(sender, transfer, content))
            .map_err(|refusal| refused(&refusal.reason))?;
        Ok(OpenedInbox { sink, journalled: false })
    })
}

pub(crate) fn refused(reason: &str) -> Failure {
    Failure::new(estafette::FailureKind::Refused, reason)
}

pub(crate) fn source(bytes: &[u8]) -> BytesSource {
    BytesSource::new("content", bytes.to_vec()).unwrap()
}

/// Bytes that compress to less than half, and differ everywhere.
pub(crate) fn text(length: usize) -> Vec<u8> {
    let line = |number: usize| {
        format!("line {number} of the text, and what stands in it stands in the others, too\n")
            .into_bytes()
    };
    (0..).flat_map(line).take(length).collect()
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_derive_key("noise").finalize_xof().fill(&mut bytes);
    bytes
}

/// The standard stages, and two of a user's: `flip` changes bytes, `swap` changes the order of
/// chunks.
pub(crate) fn registry() -> StageRegistry {
    let flip = || Pipeline::new().then("flip", || Flip);
    let swap = || Pipeline::new().then_actor("swap", super::packing::swap);
    standard().coder("flip", flip(), flip()).coder("swap", swap(), Pipeline::new())
}

struct Flip;

impl Transform for Flip {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        let flipped: Vec<u8> = chunk.bytes().iter().map(|byte| !byte).collect();
        Ok(chunk.with_bytes(&flipped))
    }
}

/// Reads all of a source in pieces of `size` bytes; what came before an error, and the error.
pub(crate) async fn read(source: &mut dyn Source, size: usize) -> (Vec<u8>, Option<SourceError>) {
    let (mut all, mut buffer) = (Vec::new(), vec![0; size]);
    loop {
        match source.read(&mut buffer).await {
            Ok(0) => return (all, None),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => return (all, Some(error)),
        }
    }
}

/// The ends of a package's header, and of each of its frames, checksums included.
pub(crate) fn ends(package: &[u8]) -> Vec<usize> {
    let u32_at = |at: usize| {
        package.get(at..at + 4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()) as usize)
    };
    let mut ends = Vec::new();
    let mut next = u32_at(12).map(|length| 16 + length + 8);
    while let Some(end) = next.filter(|&end| end <= package.len()) {
        ends.push(end);
        next = u32_at(end).map(|length| end + 24 + length + 8);
    }
    ends
}

/// The same package with checksums that agree: anybody who carries it can make them.
pub(crate) fn with_checksums(mut package: Vec<u8>) -> Vec<u8> {
    let transfer = package.get(16 + 64..16 + 88).unwrap_or_default().to_vec();
    let mut start = 0;
    for end in ends(&package) {
        let context = if start == 0 { "header" } else { "frame" };
        let mut hasher = blake3::Hasher::new_derive_key(&format!(
            "estafette 2026-11 v1 package {context} checksum"
        ));
        hasher.update(if start == 0 { &[] } else { &transfer }).update(&package[start..end - 8]);
        package[end - 8..end].copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        start = end;
    }
    package
}
