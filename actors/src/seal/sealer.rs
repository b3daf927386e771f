//! Seals chunks into whole frames.

use estafette::delivery::{EpochKey, KeyScope};
use estafette::pipeline::{Compressed, Parcel, Sealed, Transform, TransformError};
use estafette::wire::{FLAG_LAST, FrameHeader, FrameKind, HEADER_LENGTH};

use super::cipher::{Cipher, DefaultCipher};

/// The transform that seals: header ‖ tag ‖ ciphertext, in one buffer that goes to the socket as it
/// is.
#[derive(Debug, Default)]
pub struct Sealer<C = DefaultCipher> {
    cipher: C,
    keys: KeyCache,
}

impl Sealer {
    /// A sealer with the default implementation of XSalsa20-Poly1305.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<C: Cipher> Transform for Sealer<C> {
    type In = Compressed;
    type Out = Sealed;

    const SEES_TRAILER: bool = true;

    fn apply(&mut self, compressed: &Compressed) -> Result<Sealed, TransformError> {
        let (custody, plain) = (compressed.custody(), compressed.content());
        let (transfer, index, last) = (custody.transfer(), custody.index(), custody.is_trailer());
        let length = Sealed::BODY + plain.len();
        let mut frame = transfer.buffers.take(length);
        let header = FrameHeader {
            len: u32::try_from(length - HEADER_LENGTH)
                .map_err(|_| TransformError::new("a chunk above 4 GiB"))?,
            kind: FrameKind::Chunk,
            flags: if last { FLAG_LAST } else { 0 },
            stream: transfer.stream,
            index,
        };
        let epoch = self.keys.of(custody.transfer(), index);
        let tag = self.cipher.seal(
            epoch.key(),
            &C::nonce(epoch, index, last),
            plain,
            &mut frame[Sealed::BODY..],
        );
        frame[..HEADER_LENGTH].copy_from_slice(&header.encode());
        frame[HEADER_LENGTH..Sealed::BODY].copy_from_slice(&tag);
        Ok(Sealed::from_parts(custody.clone(), frame.freeze(0..length)))
    }
}

/// The key used last: chunks of one transfer come in a row.
#[derive(Debug, Default)]
pub(super) struct KeyCache(Option<Cached>);

#[derive(Debug)]
struct Cached {
    scope: KeyScope,
    commitment: [u8; 32],
    epoch: u64,
    key: EpochKey,
}

impl KeyCache {
    pub(super) fn of(&mut self, transfer: &estafette::pipeline::Transfer, index: u64) -> &EpochKey {
        let epoch = EpochKey::epoch(index);
        let commitment = transfer.commitment;
        let fresh = |cached: &Cached| {
            cached.commitment == commitment
                && cached.scope == transfer.scope
                && cached.epoch == epoch
        };
        if !self.0.as_ref().is_some_and(fresh) {
            self.0 = None;
        }
        let made = || Cached {
            scope: transfer.scope,
            commitment,
            epoch,
            key: transfer.key.epoch_key(&transfer.scope, index),
        };
        &self.0.get_or_insert_with(made).key
    }
}
