//! A node's own identity: its X25519 key pair.
//!
//! Invariant: the secret is never printed and is wiped when dropped. Where it is kept is not
//! decided here.

use std::fmt;

use snow::params::DHChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};
use zeroize::Zeroize;

use super::{PeerId, SecretBytes};

/// The static key pair of a node. Others know it by its [`PeerId`].
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    secret: SecretBytes,
    peer: PeerId,
}

impl Identity {
    /// A new identity from the operating system's randomness.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing could be sent safely then.
    pub fn generate() -> Self {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the operating system gives randomness");
        let identity = Self::from_secret(secret);
        secret.zeroize();
        identity
    }

    /// The identity with this secret key: any 32 bytes (X25519 clamps them).
    pub fn from_secret(secret: [u8; 32]) -> Self {
        let mut exchange =
            DefaultResolver.resolve_dh(&DHChoice::Curve25519).expect("X25519 is compiled in");
        exchange.set(&secret);
        let public = exchange.pubkey().try_into().expect("an X25519 key has 32 bytes");
        // The resolver does not wipe its copy.
        exchange.set(&[0; 32]);
        Self { secret: SecretBytes::new(secret), peer: PeerId::from_bytes(public) }
    }

    /// The public key: what others know this node by.
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The secret key, for saving it and for handshakes. Whoever has these bytes *is* this node.
    pub const fn secret(&self) -> &[u8; 32] {
        self.secret.expose()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7748, section 6.1: Alice's and Bob's key pairs.
    #[test]
    fn the_public_key_is_that_of_rfc_7748() {
        for (secret, public) in [
            (
                "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
                "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            ),
            (
                "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
                "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
            ),
        ] {
            let bytes = |text: &str| {
                data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
            };
            assert_eq!(
                Identity::from_secret(bytes(secret)).peer(),
                PeerId::from_bytes(bytes(public))
            );
        }
    }

    #[test]
    fn identities_differ_and_survive_being_saved() {
        let first = Identity::generate();
        assert_ne!(first.peer(), Identity::generate().peer());
        assert_eq!(Identity::from_secret(*first.secret()), first);
    }

    #[test]
    fn the_secret_is_not_printed() {
        let identity = Identity::from_secret([0x41; 32]);
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity(PeerId({}…))", identity.peer().short())
        );
    }
}
