//! Packages: content as one file that only its receiver opens. The seam behind which files and
//! codecs are.
//!
//! A package travels as the content of ordinary deliveries, to its receiver or to a relay on the
//! way: whoever carries it can neither read nor change it, nor make up the receipt.

use std::fmt;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

use crate::delivery::{Content, Failure, Receipt, TransferId};
use crate::node::{RegistryError, Stages};
use crate::pipeline::{Committed, Compression, Sink, Source, SourceError, SourceReport, Summary};
use crate::wire::package::{PackageError, PackageHeader};
use crate::wire::{Identity, PeerId, SecretBytes, Suite};

/// Makes, reads and opens packages. Its futures work on threads of their own and must be awaited
/// where an actix system runs; dropping one stops the work, which then leaves nothing but what a
/// journal tells of.
pub trait Packages: fmt::Debug + Send + Sync + 'static {
    /// Puts content into a package. When it fails, nothing is left.
    fn pack(&self, order: PackOrder) -> BoxFuture<'static, Result<Packed, PackError>>;

    /// The package as content to be carried: it can be read again, and by another process, and
    /// never changes. A frame that rotted is a [`SourceError::Damaged`] before a byte of it is
    /// given out. Blocks.
    fn open(&self, file: &Path) -> Result<Box<dyn Source>, SourceError>;

    /// Reads the header at the front of a package. Blocks.
    fn header(&self, file: &Path) -> Result<PackageHeader, SourceError>;

    /// Reads all of a package and compares its checksums: whether it rotted, not whether it was
    /// tampered with. Blocks.
    fn verify(&self, file: &Path) -> Result<PackageReport, SourceError>;

    /// Opens a package with the receiver's identity and gives its content to the inbox it is for.
    /// When it fails, the sink is told to leave nothing.
    fn unpack(&self, order: UnpackOrder) -> BoxFuture<'static, Result<Unpacked, Failure>>;
}

/// An order to make a package.
#[derive(Debug)]
pub struct PackOrder {
    /// The source of the content.
    pub source: Box<dyn Source>,
    /// The description of the content for the receiver: usually what the source says.
    pub content: Content,
    /// The identity of the sender.
    pub identity: Identity,
    /// The receiver, who alone may open it.
    pub receiver: PeerId,
    /// The delivery's id. Each package needs a fresh one, unless it takes the place of one that
    /// was never given away.
    pub transfer: TransferId,
    /// Bytes per chunk: a power of two from 1 KiB to 4 MiB.
    pub chunk_size: u32,
    /// The cipher suite that seals chunks. A node takes XSalsa20-Poly1305: any receiver has it,
    /// and a receiver who is not there can't be asked for another suite.
    pub suite: Suite,
    /// The codec for chunks.
    pub compression: Compression,
    /// The names of the coders that chunks pass.
    pub coders: Vec<String>,
    /// The receiver's inbox.
    pub inbox: String,
    /// The time when it was made, in seconds since the Unix epoch.
    pub created: u64,
    /// The time of its expiry, in seconds since the Unix epoch.
    pub expires: u64,
    /// The token of a ticket that is to be redeemed with it.
    pub token: Option<SecretBytes>,
    /// The path of the package. A file that is there is replaced once the package is whole. Until
    /// then the package grows beside it, as `<file>.new`.
    pub file: PathBuf,
    /// The stages that there are.
    pub stages: Stages,
}

/// A package that is durable.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the content.
    pub length: u64,
    /// BLAKE3 of the content.
    pub digest: [u8; 32],
    /// The MAC that identifies the receiver's word that it has the content.
    pub delivered_mac: [u8; 32],
    /// The MAC that identifies the word of the receiving application that it is done with the
    /// content.
    pub processed_mac: [u8; 32],
    /// The report of the source.
    pub report: SourceReport,
}

impl Packed {
    /// Returns whether this is the receiver's own word that it has the content. The word vouches
    /// for digest and length. The place and the number of files are hearsay when somebody between
    /// has carried it.
    pub fn recognises(&self, receipt: &Receipt) -> bool {
        let equal = |a: &[u8; 32], b: &[u8; 32]| {
            blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b)
        };
        equal(&self.delivered_mac, &receipt.mac)
            && self.digest == receipt.digest
            && self.length == receipt.length
    }
}

/// An error of putting content into a package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The content could not be read, or changed meanwhile.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The package could not be written.
    #[error(
        "the package {file} could not be written: {error}; check the free space and the \
         permissions there"
    )]
    Write {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// A stage is not registered.
    #[error("the content can't be put into a package: {0}")]
    Registry(#[from] RegistryError),
    /// The order can't be a package: a chunk size, a name too long.
    #[error("the content can't be put into a package: {0}")]
    Header(#[from] PackageError),
    /// A stage failed.
    #[error("the content could not be put into a package: {0}")]
    Stage(Failure),
    /// The thread that packed panicked, or its system stopped.
    #[error(
        "packing stopped before it was done, by a panic or by the end of the node; see the log"
    )]
    Stopped,
}

/// A report on a package, as far as can be told without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackageReport {
    /// Bytes of the file.
    pub bytes: u64,
    /// Chunks of content.
    pub chunks: u64,
}

/// An order to open a package.
pub struct UnpackOrder {
    /// The package.
    pub file: PathBuf,
    /// The identity that opens it.
    pub identity: Identity,
    /// The stages that there are.
    pub stages: Stages,
    /// Bytes that may be between the file and the sink; a package with chunks above half of it is
    /// refused.
    pub window: usize,
    /// Now, in seconds since the Unix epoch.
    pub now: u64,
    /// Decides about it, once the sender is authenticated: trust, ticket, inbox, replays. May
    /// block: it runs on a thread of the order's own.
    pub open_inbox: OpenInbox,
}

/// Gives a sink for what was in a package, or says why not.
pub type OpenInbox = Box<dyn FnOnce(&PackageOffer) -> Result<OpenedInbox, Failure> + Send>;

/// The sink that an inbox has opened for a package.
#[derive(Debug)]
pub struct OpenedInbox {
    /// The sink that takes the content.
    pub sink: Box<dyn Sink>,
    /// True if the sink was offered a journal: it may go on where it stood then, and is suspended
    /// when the work is stopped.
    pub journalled: bool,
}

/// The offer that a package makes to an inbox: what its label and its envelope say. All of it is
/// the sender's word.
#[derive(Clone, Debug)]
pub struct PackageOffer {
    /// The sender, who made it.
    pub sender: PeerId,
    /// The delivery's id.
    pub transfer: TransferId,
    /// Bytes per chunk.
    pub chunk_size: u32,
    /// The inbox it is for.
    pub inbox: String,
    /// The description of the content.
    pub content: Content,
    /// The token of a ticket to redeem.
    pub token: Option<SecretBytes>,
    /// The version for a journal: that of the content where its source could tell, else a value
    /// that tells this package from any other.
    pub version: [u8; 32],
    /// The time when it was made, in seconds since the Unix epoch.
    pub created: u64,
    /// The time of its expiry, in seconds since the Unix epoch.
    pub expires: u64,
}

impl PackageOffer {
    /// Returns the seconds, from now on, for which the package may come again, whoever carries it:
    /// until it has expired by the clock of who takes it, and at least as long as its sender lets
    /// it live.
    pub fn life(&self, now: u64) -> u64 {
        self.expires.saturating_sub(self.created.min(now))
    }
}

/// A package that was opened: its content is verified and committed.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// The sender, who made it.
    pub sender: PeerId,
    /// The delivery's id.
    pub transfer: TransferId,
    /// The inbox it was for.
    pub inbox: String,
    /// The description of the content.
    pub content: Content,
    /// Length and digest.
    pub summary: Summary,
    /// The result of the sink.
    pub committed: Committed,
    /// The word for the sender that it is here: nobody else can make it.
    pub receipt: Receipt,
    /// The MAC that turns the receipt into the word that the application is done with the content.
    pub processed_mac: [u8; 32],
    /// The seconds for which the package may come again, as its sender said.
    pub life: u64,
}

impl fmt::Debug for UnpackOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnpackOrder")
            .field("file", &self.file)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::ContentKind;
    use crate::wire::ContentName;

    #[test]
    fn a_word_of_the_receiver_is_known_by_its_proof_its_digest_and_its_length() {
        let packed = Packed {
            bytes: 300,
            length: 7,
            digest: [1; 32],
            delivered_mac: [2; 32],
            processed_mac: [3; 32],
            report: SourceReport::default(),
        };
        let word =
            Receipt { digest: [1; 32], length: 7, place: "in/a".into(), files: 1, mac: [2; 32] };
        assert!(packed.recognises(&word));
        // Whoever carries it may say what it likes of these.
        assert!(packed.recognises(&Receipt { place: String::new(), files: 9, ..word.clone() }));
        for other in [
            Receipt { mac: [3; 32], ..word.clone() },
            Receipt { digest: [2; 32], ..word.clone() },
            Receipt { length: 8, ..word },
        ] {
            assert!(!packed.recognises(&other), "{other:?}");
        }
    }

    #[test]
    fn a_package_lives_as_long_as_its_sender_says_by_whatever_clock() {
        let offer = PackageOffer {
            sender: PeerId::from_bytes([1; 32]),
            transfer: TransferId::from_bytes([2; 24]),
            chunk_size: 1024,
            inbox: "in".into(),
            content: Content::new(
                ContentKind::Bytes,
                ContentName::new("a").expect("it is a name"),
                None,
            ),
            token: None,
            version: [3; 32],
            created: 1000,
            expires: 1100,
        };
        for (now, life) in [(1000, 100), (1050, 100), (5000, 100), (900, 200), (0, 1100)] {
            assert_eq!(offer.life(now), life, "at {now}");
        }
        assert_eq!(PackageOffer { expires: 10, ..offer }.life(1000), 0);
    }
}
