//! AES-256-GCM, where processor and build have it.
//!
//! Invariant: without the instructions that `graviola` needs there is no [`Aes`]: it panics without
//! them.

use estafette::delivery::EpochKey;
use graviola::aead::AesGcm;

use super::cipher::{BadTag, Cipher};

/// `graviola`: pure Rust over the processor's instructions for AES.
#[derive(Clone, Copy, Debug)]
pub struct Aes(());

/// Returns `true` if the processor has what `graviola` asks for.
fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        has!("aes")
            && has!("pclmulqdq")
            && has!("bmi1")
            && has!("adx")
            && has!("avx")
            && has!("avx2")
    }
    #[cfg(target_arch = "aarch64")]
    {
        use std::arch::is_aarch64_feature_detected as has;
        has!("neon") && has!("aes") && has!("pmull") && has!("sha2")
    }
}

impl Aes {
    /// The cipher, if this processor has it.
    pub fn detect() -> Option<Self> {
        has_instructions().then_some(Self(()))
    }
}

impl Default for Aes {
    /// # Panics
    /// Where [`Aes::detect`] finds nothing.
    fn default() -> Self {
        Self::detect().expect("the suite is registered where the processor has it")
    }
}

impl Cipher for Aes {
    type Nonce = [u8; 12];

    fn nonce(epoch: &EpochKey, index: u64, last: bool) -> [u8; 12] {
        epoch.nonce(index, last)
    }

    fn seal(&self, key: &[u8; 32], nonce: &[u8; 12], plain: &[u8], sealed: &mut [u8]) -> [u8; 16] {
        let mut tag = [0; 16];
        sealed.copy_from_slice(plain);
        AesGcm::new(key).encrypt(nonce, &[], sealed, &mut tag);
        tag
    }

    fn open(
        &self,
        key: &[u8; 32],
        nonce: &[u8; 12],
        tag: &[u8; 16],
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), BadTag> {
        plain.copy_from_slice(sealed);
        AesGcm::new(key).decrypt(nonce, &[], plain, tag).map_err(|_| BadTag)
    }
}
