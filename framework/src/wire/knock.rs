//! The knock, a MAC over the first words. It shows that a caller knows the node's key, before the
//! node says or computes anything.
//!
//! ```text
//!  preamble    44 bytes │ MAC                       checked before a byte is answered
//!  message 1   of Noise │ MAC over both preambles   checked before a key exchange; the reply holds a nonce, so no copy passes
//! ```
//! Invariant: the key is derived from the responder's *public* key, so a MAC proves nothing but
//! that somebody has been told this. It keeps scanners and copies out; who the other side is, only
//! the handshake says.

use super::{HandshakeError, PeerId};

/// Bytes of a MAC.
pub const KNOCK_LENGTH: usize = 16;

/// The key that makes and checks the MACs over the first words to one node.
#[derive(Clone, Debug)]
pub struct KnockKey([u8; 32]);

impl KnockKey {
    /// The key for first words to `responder`.
    pub fn of(responder: PeerId) -> Self {
        Self(blake3::derive_key("estafette 2026 first words to a node", responder.as_bytes()))
    }

    /// Message 1 for the wire: with the MAC behind it. `prologue` is what
    /// [`prologue`](super::prologue) returns, for lanes too.
    pub fn seal(&self, prologue: &[u8], mut message: Vec<u8>) -> Vec<u8> {
        let mac = self.mac(MESSAGE, prologue, &message);
        message.extend_from_slice(&mac);
        message
    }

    /// Message 1, if it was made for this connection by somebody who knows whom it talks to.
    pub fn open<'a>(&self, prologue: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], HandshakeError> {
        let Some((message, mac)) = sealed.split_last_chunk() else {
            return Err(HandshakeError::NotFresh);
        };
        if same(mac, &self.mac(MESSAGE, prologue, message)) {
            Ok(message)
        } else {
            Err(HandshakeError::NotFresh)
        }
    }

    /// The MAC behind the content of a preamble.
    pub fn of_preamble(&self, preamble: &[u8]) -> [u8; KNOCK_LENGTH] {
        self.mac(PREAMBLE, preamble, &[])
    }

    pub(super) fn fits_preamble(&self, preamble: &[u8], mac: &[u8; KNOCK_LENGTH]) -> bool {
        same(mac, &self.of_preamble(preamble))
    }

    fn mac(&self, what: u8, first: &[u8], second: &[u8]) -> [u8; KNOCK_LENGTH] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // The first part has one length for each kind, so no two inputs look alike.
        hasher.update(&[what]).update(first).update(second);
        *hasher.finalize().as_bytes().first_chunk().expect("32 bytes hold 16")
    }
}

/// A number nobody has seen.
///
/// # Panics
/// When the operating system has no randomness to give: nothing could be sent safely then.
pub(super) fn nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).expect("the operating system gives randomness");
    nonce
}

/// In the same time wherever they differ.
fn same(left: &[u8; KNOCK_LENGTH], right: &[u8; KNOCK_LENGTH]) -> bool {
    left.iter().zip(right).fold(0, |differ, (left, right)| differ | (left ^ right)) == 0
}

const PREAMBLE: u8 = 1;
const MESSAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KnockKey {
        KnockKey::of(PeerId::from_bytes([7; 32]))
    }

    #[test]
    fn the_bytes_are_held() {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        assert_eq!(hex(&key().of_preamble(b"preamble")), "6e254609fffab2170ccfcdf8fb01324e");
        assert_eq!(
            hex(&key().seal(b"prologue", b"message".to_vec())[7..]),
            "438961d695653820ca8c8c82e2f6b999"
        );
    }

    #[test]
    fn a_message_opens_under_its_key_and_prologue_only() {
        let sealed = key().seal(b"prologue", b"message".to_vec());
        assert_eq!(key().open(b"prologue", &sealed), Ok(&b"message"[..]));
        assert_eq!(key().open(b"prologuf", &sealed), Err(HandshakeError::NotFresh));
        assert_eq!(
            KnockKey::of(PeerId::from_bytes([8; 32])).open(b"prologue", &sealed),
            Err(HandshakeError::NotFresh)
        );
        for length in 0..sealed.len() {
            assert_eq!(key().open(b"prologue", &sealed[..length]), Err(HandshakeError::NotFresh));
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x80;
            assert_eq!(key().open(b"prologue", &changed), Err(HandshakeError::NotFresh));
        }
    }

    #[test]
    fn a_preamble_is_no_message() {
        let mac = key().of_preamble(b"prologue");
        assert!(key().fits_preamble(b"prologue", &mac));
        assert_eq!(key().open(b"prologue", &mac), Err(HandshakeError::NotFresh));
    }
}
