//! AES-256-GCM where the build, or its kind of processor, does not have it: not at all.

use estafette::delivery::EpochKey;

use super::cipher::{BadTag, Cipher};

/// AES-256-GCM, which this build does not have.
#[derive(Clone, Copy, Debug)]
pub enum Aes {}

impl Aes {
    /// Nothing: this build does not have the cipher.
    pub fn detect() -> Option<Self> {
        None
    }
}

impl Default for Aes {
    /// # Panics
    /// Always.
    fn default() -> Self {
        unreachable!("the suite is registered where the build has it")
    }
}

impl Cipher for Aes {
    type Nonce = [u8; 12];

    fn nonce(epoch: &EpochKey, index: u64, last: bool) -> [u8; 12] {
        epoch.nonce(index, last)
    }

    fn seal(&self, _: &[u8; 32], _: &[u8; 12], _: &[u8], _: &mut [u8]) -> [u8; 16] {
        match *self {}
    }

    fn open(
        &self,
        _: &[u8; 32],
        _: &[u8; 12],
        _: &[u8; 16],
        _: &[u8],
        _: &mut [u8],
    ) -> Result<(), BadTag> {
        match *self {}
    }
}
