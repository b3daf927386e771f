//! Deliveries made by hand: right, but for what a test makes wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use estafette::PeerId;
use estafette::delivery::{
    Content, ContentKind, ContentName, KeyScope, Trailer, TransferId, TransferKey,
};
use estafette::pipeline::{Codec, Prefix};
use estafette::wire::{
    Control, FLAG_LAST, Failure, FrameHeader, FrameKind, Opening, SecretBytes, Suite,
};
use estafette_actors::seal::{Cipher, DefaultCipher};

use super::peer::{Lane, Link, Mallory};
use super::world::CHUNK;

/// A transfer from mallory.
#[derive(Clone, Debug)]
pub(crate) struct Forgery {
    pub(crate) opening: Opening,
    sender: PeerId,
    receiver: PeerId,
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Forgery {
    /// The first transfer of mallory.
    pub(crate) fn new(mallory: &Mallory) -> Self {
        Self::numbered(mallory, 0)
    }

    /// The transfer `number`, from 0, on a stream of its own.
    pub(crate) fn numbered(mallory: &Mallory, number: u64) -> Self {
        let (sender, receiver) = (mallory.id(), mallory.target);
        let key = TransferKey::random();
        let opening = Opening {
            // The lower id has the even numbers.
            stream: 2 * number + if sender < receiver { 2 } else { 1 },
            transfer: TransferId::random(),
            attempt: 0,
            key: SecretBytes::new(*key.as_bytes()),
            commit: key.commitment(Suite::XSALSA20_POLY1305),
            inbox: "in".into(),
            content: Content::new(ContentKind::Bytes, ContentName::new("forged").unwrap(), None),
            chunk_size: CHUNK as u32,
            suite: Suite::XSALSA20_POLY1305,
            stages: Vec::new(),
            version: None,
            created: now(),
            expires: now() + 3600,
            remaining: 3600,
        };
        Self { opening, sender, receiver }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Opening)) -> Self {
        change(&mut self.opening);
        self
    }

    pub(crate) fn stream(&self) -> u64 {
        self.opening.stream
    }

    pub(crate) fn key(&self) -> TransferKey {
        TransferKey::from_bytes(*self.opening.key.expose())
    }

    /// Opens it; the limit up to which credit was given.
    pub(crate) async fn open(&self, link: &mut Link) -> u64 {
        self.offer(link).await.expect("it is accepted")
    }

    /// Opens it, or is rejected.
    pub(crate) async fn offer(&self, link: &mut Link) -> Result<u64, Failure> {
        link.say(&Control::Open(Box::new(self.opening.clone()))).await;
        let ours = self.stream();
        link.until(|control| match control {
            Control::Accept { stream, limit, .. } if stream == ours => Some(Ok(limit)),
            Control::Reject { stream, failure } if stream == ours => Some(Err(failure)),
            _ => None,
        })
        .await
    }

    /// Opens it, and a lane to send it by.
    pub(crate) async fn begin(&self, mallory: &Mallory, link: &mut Link) -> Lane {
        self.open(link).await;
        mallory.lane(link, 0).await
    }

    /// The frame of a box with anything inside, sealed as the chunk `index`.
    pub(crate) fn sealed(&self, index: u64, last: bool, plain: &[u8]) -> Vec<u8> {
        let Opening { transfer, attempt, suite, chunk_size, stream, .. } = self.opening;
        let scope = KeyScope {
            transfer,
            attempt,
            suite,
            sender: self.sender,
            receiver: self.receiver,
            chunk_size,
        };
        let epoch = self.key().epoch_key(&scope, index);
        let mut boxed = vec![0; plain.len()];
        let tag = DefaultCipher::default().seal(
            epoch.key(),
            &epoch.nonce(index, last),
            plain,
            &mut boxed,
        );
        let flags = if last { FLAG_LAST } else { 0 };
        let header = FrameHeader {
            len: (tag.len() + boxed.len()) as u32,
            kind: FrameKind::Chunk,
            flags,
            stream,
            index,
        };
        [&header.encode()[..], &tag, &boxed].concat()
    }

    /// A chunk with this prefix before its body.
    pub(crate) fn chunk_with(&self, index: u64, prefix: Prefix, body: &[u8]) -> Vec<u8> {
        self.sealed(index, false, &[&prefix.encode(), body].concat())
    }

    /// A chunk as an honest sender makes it.
    pub(crate) fn chunk(&self, index: u64, bytes: &[u8]) -> Vec<u8> {
        self.chunk_with(
            index,
            Prefix { codec: Codec::RAW, raw_len: bytes.len() as u32, index },
            bytes,
        )
    }

    /// A trailer that stands at `index`.
    pub(crate) fn trailer(&self, index: u64, trailer: &Trailer) -> Vec<u8> {
        let prefix = Prefix { codec: Codec::TRAILER, raw_len: Trailer::LENGTH as u32, index };
        self.sealed(index, true, &[&prefix.encode()[..], &trailer.encode()].concat())
    }

    /// The trailer of this content.
    pub(crate) fn true_trailer(&self, bytes: &[u8]) -> Vec<u8> {
        let trailer = true_trailer(bytes);
        self.trailer(trailer.chunks, &trailer)
    }

    /// Returns how the receiver ended it.
    pub(crate) async fn ends(&self, link: &mut Link) -> Result<(), Failure> {
        let ours = self.stream();
        link.until(|control| match control {
            Control::Delivered { stream, .. } if stream == ours => Some(Ok(())),
            Control::Fail { stream, failure } if stream == ours => Some(Err(failure)),
            _ => None,
        })
        .await
    }

    /// The receiver asks for this chunk again.
    pub(crate) async fn asked_again(&self, link: &mut Link, wanted: u64) {
        let ours = self.stream();
        link.until(|control| matches!(control, Control::Lost { stream, index, .. } if (stream, index) == (ours, wanted)).then_some(()))
            .await;
    }

    /// Gives it up.
    pub(crate) async fn cancel(&self, link: &mut Link) {
        let failure = Failure::new(estafette::FailureKind::Cancelled, "enough");
        link.say(&Control::Fail { stream: self.stream(), failure }).await;
    }
}

/// The trailer that an honest sender has at the end of this content.
pub(crate) fn true_trailer(bytes: &[u8]) -> Trailer {
    Trailer {
        chunks: bytes.len().div_ceil(CHUNK) as u64,
        length: bytes.len() as u64,
        digest: *blake3::hash(bytes).as_bytes(),
    }
}
