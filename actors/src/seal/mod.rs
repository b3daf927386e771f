//! Sealing: end to end, once; no hop between can read or change a chunk.
//!
//! XSalsa20-Poly1305, NaCl's secretbox (Bernstein, "Extending the Salsa20 nonce", 2011), by two
//! implementations that give the same bytes: [`Reference`] (the package `xsalsa20poly1305`) and,
//! with the feature `fast-seal`, `Fast` (`dryoc`). Every node has it.
//!
//! AES-256-GCM (NIST SP 800-38D) by [`Aes`] (`graviola`), with the feature `aes-seal`, on
//! processors that have instructions for it; there it is preferred.

#[cfg(all(feature = "aes-seal", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod aes;
#[cfg(not(all(feature = "aes-seal", any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[path = "no_aes.rs"]
mod aes;
mod check;
mod cipher;
mod opener;
mod sealer;
mod suite;

pub use aes::Aes;
pub(crate) use check::salsa as check_salsa;
pub use check::{SelfCheckError, self_check};
#[cfg(feature = "fast-seal")]
pub use cipher::Fast;
pub use cipher::{BadTag, Cipher, DefaultCipher, Reference};
pub use opener::Opener;
pub use sealer::Sealer;
pub(crate) use suite::{SuiteCipher, aes};
