//! A sealed message for somebody who is not there: one-way `Noise_X_25519_ChaChaPoly_BLAKE2s`.
//!
//! ```text
//!  0            32                      80                                     16 more
//!  ├ ephemeral ─┼ sender's key, sealed ─┼ payload, sealed … n bytes ────────────┤
//! ```
//! Only the receiver reads it, and knows who made it. What it does not give: whoever has the
//! receiver's secret key can read all envelopes that were ever made for it, and can make some that
//! seem to come from anybody; and nothing tells a copy from the first, so what must happen once
//! needs an id inside.
//!
//! Invariant: nothing of the payload is given out before all of it, the sender and the prologue
//! have verified.

use snow::{Builder, HandshakeState};

use super::handshake::builder;
use super::{Identity, PeerId};

/// The most bytes of an envelope.
pub const ENVELOPE_LIMIT: usize = 16 << 10;
/// The bytes that an envelope adds to its payload: two keys and two tags.
pub const ENVELOPE_OVERHEAD: usize = 32 + 48 + 16;

const PATTERN: &str = "Noise_X_25519_ChaChaPoly_BLAKE2s";

/// An error of making or opening an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// More bytes than an envelope has, or fewer than one needs.
    #[error("an envelope has {ENVELOPE_OVERHEAD} to {ENVELOPE_LIMIT} bytes, this one {given}")]
    Length {
        /// Bytes given, or needed.
        given: usize,
    },
    /// It does not verify.
    #[error(
        "the envelope does not open: it is for another receiver, or its bytes or what stands \
         beside it were changed"
    )]
    NotAuthentic,
    /// This side could not make it.
    #[error("the envelope could not be made: {reason}")]
    Local {
        /// The reason.
        reason: String,
    },
}

/// An envelope from `identity` that only `receiver` opens. `prologue` is what stands beside it in
/// the clear: the receiver must give the same.
pub fn seal(
    identity: &Identity,
    receiver: PeerId,
    prologue: &[u8],
    payload: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    check_length(payload.len().saturating_add(ENVELOPE_OVERHEAD))?;
    let noise = builder(PATTERN)
        .local_private_key(identity.secret())
        .and_then(|builder| builder.remote_public_key(receiver.as_bytes()))
        .and_then(|builder| builder.prologue(prologue))
        .and_then(Builder::build_initiator);
    noise.and_then(|noise| write(noise, payload)).map_err(local)
}

/// Opens an envelope, and returns its author and its payload.
pub fn open(
    identity: &Identity,
    prologue: &[u8],
    bytes: &[u8],
) -> Result<(PeerId, Vec<u8>), EnvelopeError> {
    check_length(bytes.len())?;
    let mut noise = builder(PATTERN)
        .local_private_key(identity.secret())
        .and_then(|builder| builder.prologue(prologue))
        .and_then(Builder::build_responder)
        .map_err(local)?;
    let mut payload = vec![0; bytes.len() - ENVELOPE_OVERHEAD];
    let length =
        noise.read_message(bytes, &mut payload).map_err(|_| EnvelopeError::NotAuthentic)?;
    payload.truncate(length);
    let sender = noise.get_remote_static().and_then(|key| key.try_into().ok());
    Ok((PeerId::from_bytes(sender.ok_or(EnvelopeError::NotAuthentic)?), payload))
}

fn write(mut noise: HandshakeState, payload: &[u8]) -> Result<Vec<u8>, snow::Error> {
    let mut message = vec![0; payload.len() + ENVELOPE_OVERHEAD];
    let length = noise.write_message(payload, &mut message)?;
    message.truncate(length);
    Ok(message)
}

fn check_length(given: usize) -> Result<(), EnvelopeError> {
    if (ENVELOPE_OVERHEAD..=ENVELOPE_LIMIT).contains(&given) {
        Ok(())
    } else {
        Err(EnvelopeError::Length { given })
    }
}

fn local(error: snow::Error) -> EnvelopeError {
    EnvelopeError::Local { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    fn sender() -> Identity {
        Identity::from_secret([1; 32])
    }

    fn receiver() -> Identity {
        Identity::from_secret([2; 32])
    }

    fn sealed(payload: &[u8]) -> Vec<u8> {
        seal(&sender(), receiver().peer(), b"beside", payload).unwrap()
    }

    #[test]
    fn the_receiver_reads_it_and_knows_who_made_it() {
        for length in [0, 1, 100, ENVELOPE_LIMIT - ENVELOPE_OVERHEAD] {
            let payload = vec![7; length];
            let bytes = sealed(&payload);
            assert_eq!(bytes.len(), length + ENVELOPE_OVERHEAD);
            assert_eq!(open(&receiver(), b"beside", &bytes), Ok((sender().peer(), payload)));
        }
    }

    #[test]
    fn the_bytes_are_held() {
        let noise = builder(PATTERN).fixed_ephemeral_key_for_testing_only(&[3; 32]);
        let (sender, to) = (sender(), receiver().peer());
        let noise = noise
            .local_private_key(sender.secret())
            .unwrap()
            .remote_public_key(to.as_bytes())
            .unwrap();
        let bytes =
            write(noise.prologue(b"beside").unwrap().build_initiator().unwrap(), b"payload")
                .unwrap();
        assert_eq!(HEXLOWER.encode(&bytes), GOLDEN);
        assert_eq!(open(&receiver(), b"beside", &bytes), Ok((sender.peer(), b"payload".to_vec())));
    }

    #[test]
    fn nobody_else_opens_it_not_even_who_made_it() {
        let bytes = sealed(b"payload");
        for other in [sender(), Identity::generate()] {
            assert_eq!(open(&other, b"beside", &bytes), Err(EnvelopeError::NotAuthentic));
        }
    }

    #[test]
    fn what_stands_beside_it_is_part_of_it() {
        let bytes = sealed(b"payload");
        for prologue in [&b""[..], b"besid", b"beside ", b"Beside"] {
            assert_eq!(open(&receiver(), prologue, &bytes), Err(EnvelopeError::NotAuthentic));
        }
    }

    #[test]
    fn a_bit_flipped_anywhere_and_a_cut_at_any_place_are_noticed() {
        let bytes = sealed(b"payload");
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // X25519 ignores the highest bit of a key on its way into the exchange; the hash of the
            // handshake does not.
            assert_eq!(
                open(&receiver(), b"beside", &bad),
                Err(EnvelopeError::NotAuthentic),
                "bit {bit}"
            );
        }
        for length in 0..bytes.len() {
            assert!(open(&receiver(), b"beside", &bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(open(&receiver(), b"beside", &[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn two_envelopes_with_the_same_in_them_differ() {
        assert_ne!(sealed(b"payload"), sealed(b"payload"));
    }

    #[test]
    fn what_is_too_long_or_too_short_is_not_looked_at() {
        let long = vec![0; ENVELOPE_LIMIT - ENVELOPE_OVERHEAD + 1];
        assert_eq!(
            seal(&sender(), receiver().peer(), b"", &long),
            Err(EnvelopeError::Length { given: ENVELOPE_LIMIT + 1 })
        );
        for given in [0, 1, ENVELOPE_OVERHEAD - 1, ENVELOPE_LIMIT + 1, 1 << 20] {
            assert_eq!(
                open(&receiver(), b"", &vec![0; given]),
                Err(EnvelopeError::Length { given })
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_open_by_chance(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(open(&receiver(), b"", &bytes).is_err());
        }
    }

    const GOLDEN: &str = "\
        5dfedd3b6bd47f6fa28ee15d969d5bb0ea53774d488bdaf9df1c6e0124b3ef22f43f9ec87f0bb75215fd90f681b7b6984bf3029c\
        9622ce45ecc516bf6e3ef0248e0b07f689e76418599dd5118b11d2f5d50ad415b67b281c3b3bb52e1f41dd38ce57963bf61445";
}
