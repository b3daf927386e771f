//! Opens frames.
//!
//! Invariant: nothing leaves it that was not sealed for this transfer, at this index, as this kind
//! of chunk.

use estafette::delivery::FailureKind;
use estafette::pipeline::{Codec, Compressed, Parcel, Prefix, Sealed, Transform, TransformError};
use estafette::wire::HEADER_LENGTH;

use super::cipher::{Cipher, DefaultCipher};
use super::sealer::KeyCache;

/// The transform that opens.
#[derive(Debug, Default)]
pub struct Opener<C = DefaultCipher> {
    cipher: C,
    keys: KeyCache,
}

impl Opener {
    /// An opener with the default implementation of XSalsa20-Poly1305.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<C: Cipher> Transform for Opener<C> {
    type In = Sealed;
    type Out = Compressed;

    const SEES_TRAILER: bool = true;

    fn apply(&mut self, sealed: &Sealed) -> Result<Compressed, TransformError> {
        let (custody, frame) = (sealed.custody(), sealed.content());
        let (index, last) = (custody.index(), custody.is_trailer());
        let Some(tag) = frame
            .get(HEADER_LENGTH..)
            .and_then(|body| body.first_chunk::<{ Sealed::TAG_LENGTH }>())
        else {
            return Err(TransformError::damaged(format!(
                "a frame of {} bytes has no room for its tag",
                frame.len()
            )));
        };
        let ciphertext = &frame[Sealed::BODY..];
        let mut plain = custody.transfer().buffers.take(ciphertext.len());
        let epoch = self.keys.of(custody.transfer(), index);
        let opened = self.cipher.open(
            epoch.key(),
            &C::nonce(epoch, index, last),
            tag,
            ciphertext,
            &mut plain,
        );
        opened.map_err(|_| {
            TransformError::damaged(format!(
                "chunk {index} was changed on the way: its tag does not agree"
            ))
        })?;
        let length = plain.len();
        let compressed = Compressed::from_parts(custody.clone(), plain.freeze(0..length));
        let wrong = |message| TransformError { kind: FailureKind::Protocol, message };
        let prefix =
            Prefix::decode(compressed.content()).map_err(|error| wrong(error.to_string()))?;
        if prefix.index != index || (prefix.codec == Codec::TRAILER) != last {
            return Err(wrong(format!(
                "chunk {index} contains what is sealed as another one, {}",
                prefix.index
            )));
        }
        Ok(compressed)
    }
}
