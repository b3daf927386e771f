//! Sealing: end to end, once; no hop between can read or change a chunk.
//!
//! XSalsa20-Poly1305, NaCl's secretbox (Bernstein, "Extending the Salsa20 nonce", 2011), by two
//! implementations that give the same bytes: [`Reference`] (the package `xsalsa20poly1305`) and,
//! with the feature `fast-seal`, `Fast` (`dryoc`).

mod check;
mod cipher;
mod opener;
mod sealer;

pub use check::{SelfCheckError, self_check};
#[cfg(feature = "fast-seal")]
pub use cipher::Fast;
pub use cipher::{BadTag, Cipher, DefaultCipher, Reference};
pub use opener::Opener;
pub use sealer::Sealer;
