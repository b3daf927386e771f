//! Known answers: an implementation that gives other bytes must not seal a single chunk.

use estafette::wire::Suite;

use super::Aes;
use super::cipher::{Cipher, Reference};

/// The implementation that failed its check, and how. Nothing it seals could be opened elsewhere,
/// or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {implementation} implementation of {suite} {how} in this build: do not use it; build \
     without the feature {}, and report it with compiler and processor", feature(.suite)
)]
pub struct SelfCheckError {
    /// Of which suite.
    pub suite: Suite,
    /// The name of the implementation.
    pub implementation: &'static str,
    /// The fault that the check found.
    pub how: &'static str,
}

fn feature(suite: &Suite) -> &'static str {
    if *suite == Suite::AES_256_GCM { "aes-seal" } else { "fast-seal" }
}

/// Checks every implementation that is compiled in, and that this processor has, against known
/// answers. Takes microseconds; [`standard`](crate::standard) does it once, and leaves AES out
/// where that is wrong.
pub fn self_check() -> Result<(), SelfCheckError> {
    salsa()?;
    Aes::detect().map_or(Ok(()), |cipher| aes(&cipher))
}

/// The suite that no node does without.
pub(crate) fn salsa() -> Result<(), SelfCheckError> {
    check("reference", &Reference, &SALSA)?;
    #[cfg(feature = "fast-seal")]
    check("fast", &super::cipher::Fast, &SALSA)?;
    Ok(())
}

pub(super) fn aes(cipher: &Aes) -> Result<(), SelfCheckError> {
    check("fast", cipher, &AES)
}

/// The known result of a suite for [`LENGTH`] bytes under [`KEY`].
struct Known<N> {
    suite: Suite,
    nonce: N,
    tag: [u8; 16],
    /// BLAKE3 of the box.
    sealed: [u8; 32],
}

fn check<C: Cipher>(
    implementation: &'static str,
    cipher: &C,
    known: &Known<C::Nonce>,
) -> Result<(), SelfCheckError> {
    let failed = |how| Err(SelfCheckError { suite: known.suite, implementation, how });
    let plain: Vec<u8> = (0..LENGTH).map(|i| (i % 251) as u8).collect();
    let mut sealed = vec![0; LENGTH];
    let tag = cipher.seal(&KEY, &known.nonce, &plain, &mut sealed);
    if tag != known.tag || *blake3::hash(&sealed).as_bytes() != known.sealed {
        return failed("gives wrong bytes");
    }
    let mut opened = vec![0; LENGTH];
    if cipher.open(&KEY, &known.nonce, &tag, &sealed, &mut opened).is_err() || opened != plain {
        return failed("does not open what it sealed");
    }
    sealed[LENGTH - 1] ^= 1;
    if cipher.open(&KEY, &known.nonce, &tag, &sealed, &mut opened).is_ok() {
        return failed("opens what was changed");
    }
    Ok(())
}

/// Long enough for every width of SIMD, and no multiple of one.
const LENGTH: usize = 2051;
/// `firstkey` and `nonce` of "Cryptography in NaCl" (Bernstein, 2009).
const KEY: [u8; 32] = [
    0x1b, 0x27, 0x55, 0x64, 0x73, 0xe9, 0x85, 0xd4, 0x62, 0xcd, 0x51, 0x19, 0x7a, 0x9a, 0x46, 0xc7,
    0x60, 0x09, 0x54, 0x9e, 0xac, 0x64, 0x74, 0xf2, 0x06, 0xc4, 0xee, 0x08, 0x44, 0xf6, 0x83, 0x89,
];
/// Tag and BLAKE3 of the box were made with an implementation that is neither of the two, written
/// from the papers.
const SALSA: Known<[u8; 24]> = Known {
    suite: Suite::XSALSA20_POLY1305,
    nonce: [
        0x69, 0x69, 0x6e, 0xe9, 0x55, 0xb6, 0x2b, 0x73, 0xcd, 0x62, 0xbd, 0xa8, 0x75, 0xfc, 0x73,
        0xd6, 0x82, 0x19, 0xe0, 0x03, 0x6b, 0x7a, 0x0b, 0x37,
    ],
    tag: [
        0x31, 0x21, 0x84, 0x8d, 0x5b, 0x5d, 0xb9, 0xad, 0xdc, 0xb0, 0xb9, 0x9b, 0x8c, 0x2a, 0x22,
        0xe2,
    ],
    sealed: [
        0xd0, 0x92, 0x9a, 0x48, 0xaa, 0xd9, 0x9e, 0x41, 0x79, 0x1c, 0xc2, 0x0c, 0x14, 0x4a, 0xd7,
        0xb3, 0x87, 0xbc, 0x9b, 0xad, 0x46, 0x6a, 0x5d, 0xb4, 0xde, 0xd2, 0x6a, 0x3a, 0x9f, 0x8f,
        0xfb, 0x60,
    ],
};
/// Made with the package `aes-gcm`, which shares no code with `graviola`.
const AES: Known<[u8; 12]> = Known {
    suite: Suite::AES_256_GCM,
    nonce: *b"\x69\x69\x6e\xe9\x55\xb6\x2b\x73\xcd\x62\xbd\xa8",
    tag: [
        0xe9, 0x39, 0x51, 0x42, 0x10, 0xc1, 0x18, 0x6d, 0xb2, 0xeb, 0x5f, 0x29, 0x96, 0x4a, 0x38,
        0xf4,
    ],
    sealed: [
        0x2c, 0xc3, 0x6a, 0xa9, 0x4c, 0x05, 0x00, 0x01, 0x5f, 0x95, 0xd3, 0xdd, 0xbe, 0x14, 0xfa,
        0x77, 0x67, 0xcd, 0xe1, 0x29, 0xfd, 0x95, 0x1b, 0xd8, 0x2f, 0xb3, 0x4f, 0x32, 0x1b, 0x78,
        0xac, 0x94,
    ],
};

#[cfg(test)]
mod tests {
    use estafette::delivery::EpochKey;

    use super::*;
    use crate::seal::BadTag;

    #[test]
    fn what_is_compiled_in_is_right() {
        assert_eq!(self_check(), Ok(()));
    }

    /// Right but for one property at a time.
    #[derive(Clone, Copy, Debug, Default)]
    struct Broken(u8);

    impl Cipher for Broken {
        type Nonce = [u8; 24];

        fn nonce(epoch: &EpochKey, index: u64, last: bool) -> [u8; 24] {
            epoch.nonce(index, last)
        }

        fn seal(
            &self,
            key: &[u8; 32],
            nonce: &[u8; 24],
            plain: &[u8],
            sealed: &mut [u8],
        ) -> [u8; 16] {
            let tag = Reference.seal(key, nonce, plain, sealed);
            sealed[2050] ^= u8::from(self.0 == 0);
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
            match self.0 {
                1 => Err(BadTag),
                2 => {
                    Reference.seal(key, nonce, sealed, plain);
                    Ok(())
                }
                _ => Reference.open(key, nonce, tag, sealed, plain),
            }
        }
    }

    #[test]
    fn a_broken_implementation_is_named_with_what_it_did() {
        for (defect, how) in [
            (0, "gives wrong bytes"),
            (1, "does not open what it sealed"),
            (2, "opens what was changed"),
        ] {
            assert_eq!(
                check("broken", &Broken(defect), &SALSA),
                Err(SelfCheckError {
                    suite: Suite::XSALSA20_POLY1305,
                    implementation: "broken",
                    how
                })
            );
        }
        let text = check("broken", &Broken(0), &SALSA).unwrap_err().to_string();
        assert!(
            text.contains("the broken implementation of XSalsa20-Poly1305")
                && text.contains("build without the feature fast-seal"),
            "{text}"
        );
        let known = Known { tag: [0; 16], ..AES };
        if let Some(error) = Aes::detect().and_then(|aes| check("fast", &aes, &known).err()) {
            let text = error.to_string();
            assert!(text.contains("AES-256-GCM") && text.contains("feature aes-seal"), "{text}");
        }
    }
}
