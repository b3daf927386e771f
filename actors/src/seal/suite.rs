//! The cipher that a number stands for, where it is known only when the program runs.

use std::sync::LazyLock;

use estafette::delivery::EpochKey;
use estafette::wire::Suite;

use super::Aes;
use super::check;
use super::cipher::{BadTag, Cipher, DefaultCipher};

/// The cipher of a suite.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SuiteCipher {
    Salsa(DefaultCipher),
    Aes(Aes),
}

/// AES-256-GCM, where this processor has it and it gives the right answers.
pub(crate) fn aes() -> Option<Aes> {
    static CHECKED: LazyLock<Option<Aes>> = LazyLock::new(|| {
        let aes = Aes::detect()?;
        let wrong = check::aes(&aes).inspect_err(|error| tracing::error!("{error}"));
        wrong.is_ok().then_some(aes)
    });
    *CHECKED
}

impl SuiteCipher {
    /// The cipher of `suite`; what to tell a person, where it is not here.
    pub(crate) fn of(suite: Suite) -> Result<Self, String> {
        let cipher = match suite {
            Suite::XSALSA20_POLY1305 => Some(Self::Salsa(DefaultCipher::default())),
            Suite::AES_256_GCM => aes().map(Self::Aes),
            _ => None,
        };
        cipher.ok_or_else(|| {
            format!(
                "it is sealed with {suite}, which this node does not have: it needs a processor, \
                 or a build, that has it, such as that of the node which made it"
            )
        })
    }

    /// Seals `plain` into `sealed`, which has the same length.
    pub(crate) fn seal(
        &self,
        at: (&EpochKey, u64, bool),
        plain: &[u8],
        sealed: &mut [u8],
    ) -> [u8; 16] {
        fn with<C: Cipher>(
            cipher: &C,
            (epoch, index, last): (&EpochKey, u64, bool),
            plain: &[u8],
            sealed: &mut [u8],
        ) -> [u8; 16] {
            cipher.seal(epoch.key(), &C::nonce(epoch, index, last), plain, sealed)
        }
        match self {
            Self::Salsa(cipher) => with(cipher, at, plain, sealed),
            Self::Aes(cipher) => with(cipher, at, plain, sealed),
        }
    }

    /// Opens `sealed` into `plain`, which has the same length.
    pub(crate) fn open(
        &self,
        at: (&EpochKey, u64, bool),
        tag: &[u8; 16],
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), BadTag> {
        fn with<C: Cipher>(
            cipher: &C,
            (epoch, index, last): (&EpochKey, u64, bool),
            tag: &[u8; 16],
            sealed: &[u8],
            plain: &mut [u8],
        ) -> Result<(), BadTag> {
            cipher.open(epoch.key(), &C::nonce(epoch, index, last), tag, sealed, plain)
        }
        match self {
            Self::Salsa(cipher) => with(cipher, at, tag, sealed, plain),
            Self::Aes(cipher) => with(cipher, at, tag, sealed, plain),
        }
    }
}
