//! The trait that ciphers implement, and the two implementations of XSalsa20-Poly1305.

use std::fmt::Debug;

use estafette::delivery::EpochKey;
use xsalsa20poly1305::aead::AeadInPlace;
use xsalsa20poly1305::{KeyInit, XSalsa20Poly1305};

/// A box is not what was sealed under this key and nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tag of a box does not agree with it")]
pub struct BadTag;

/// An implementation of a cipher with keys of 32 bytes and tags of 16, from one buffer to another.
pub trait Cipher: Debug + Default + Send + Unpin + 'static {
    /// A nonce.
    type Nonce;

    /// The nonce of a chunk: see [`EpochKey::nonce`].
    fn nonce(epoch: &EpochKey, index: u64, last: bool) -> Self::Nonce;

    /// Seals `plain` into `sealed`, which has the same length; the tag is returned.
    fn seal(
        &self,
        key: &[u8; 32],
        nonce: &Self::Nonce,
        plain: &[u8],
        sealed: &mut [u8],
    ) -> [u8; 16];

    /// Opens `sealed` into `plain`, which has the same length. With a bad tag, what is in `plain`
    /// means nothing.
    fn open(
        &self,
        key: &[u8; 32],
        nonce: &Self::Nonce,
        tag: &[u8; 16],
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), BadTag>;
}

/// The package the project is built on: scalar and slow, and what the other one is checked against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Cipher for Reference {
    type Nonce = [u8; 24];

    fn nonce(epoch: &EpochKey, index: u64, last: bool) -> [u8; 24] {
        epoch.nonce(index, last)
    }

    fn seal(&self, key: &[u8; 32], nonce: &[u8; 24], plain: &[u8], sealed: &mut [u8]) -> [u8; 16] {
        sealed.copy_from_slice(plain);
        let cipher = XSalsa20Poly1305::new(key.into());
        cipher
            .encrypt_in_place_detached(nonce.into(), &[], sealed)
            .expect("a chunk is far below the cipher's limit")
            .into()
    }

    fn open(
        &self,
        key: &[u8; 32],
        nonce: &[u8; 24],
        tag: &[u8; 16],
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), BadTag> {
        plain.copy_from_slice(sealed);
        let cipher = XSalsa20Poly1305::new(key.into());
        cipher.decrypt_in_place_detached(nonce.into(), &[], plain, tag.into()).map_err(|_| BadTag)
    }
}

/// `dryoc`, with SIMD.
#[cfg(feature = "fast-seal")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Fast;

#[cfg(feature = "fast-seal")]
impl Cipher for Fast {
    type Nonce = [u8; 24];

    fn nonce(epoch: &EpochKey, index: u64, last: bool) -> [u8; 24] {
        epoch.nonce(index, last)
    }

    fn seal(&self, key: &[u8; 32], nonce: &[u8; 24], plain: &[u8], sealed: &mut [u8]) -> [u8; 16] {
        let mut tag = [0; 16];
        dryoc::classic::crypto_secretbox::crypto_secretbox_detached(
            sealed, &mut tag, plain, nonce, key,
        )
        .expect("the buffers have one length");
        tag
    }

    fn open(
        &self,
        key: &[u8; 32],
        nonce: &[u8; 24],
        tag: &[u8; 16],
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), BadTag> {
        dryoc::classic::crypto_secretbox::crypto_secretbox_open_detached(
            plain, sealed, tag, nonce, key,
        )
        .map_err(|_| BadTag)
    }
}

/// The implementation of XSalsa20-Poly1305 that is used where none is named.
#[cfg(feature = "fast-seal")]
pub type DefaultCipher = Fast;
/// The implementation of XSalsa20-Poly1305 that is used where none is named.
#[cfg(not(feature = "fast-seal"))]
pub type DefaultCipher = Reference;
