//! The handshake of a link: `Noise_IK_25519_ChaChaPoly_BLAKE2s`.
//!
//! ```text
//!  LinkInitiator ─start(offer)──▶ message 1 ──▶ LinkResponder::read ─▶ (peer, offer, LinkResponderReady)
//!  LinkInitiatorWaiting::finish ◀── message 2 ◀── LinkResponderReady::finish(choice) ─▶ Established
//!   └─▶ (choice, Established)
//! ```
//! On the socket each message stands behind its length (`u16`, little-endian): [`frame_handshake`],
//! [`handshake_length`].
//!
//! Invariant: each type has only the step that comes next and gives itself up for it, so no step is
//! left out, taken twice or taken after an error. **Message 1 by itself can be replayed**: what
//! stops that is the responder's nonce in the prologue, and the MAC over both (see
//! [`KnockKey`](super::KnockKey)). A responder still does nothing lasting before the initiator's
//! first control frame has verified.

use snow::{Builder, HandshakeState};

use super::channel::{ControlOpener, ControlSealer, channel};
use super::codec;
use super::{Choice, HandshakeError, Identity, Offer, PeerId};

/// The most bytes of a handshake message.
pub const HANDSHAKE_LIMIT: usize = 1024;

/// A link both ends of which have proved who they are.
#[derive(Debug)]
pub struct Established {
    /// The other side.
    pub peer: PeerId,
    /// The handshake's hash, which names this link: lanes are bound to it.
    pub hash: [u8; 32],
    /// Seals what this side says.
    pub sealer: ControlSealer,
    /// Opens what the other side says.
    pub opener: ControlOpener,
}

/// Begins a link with a peer whose key is known.
#[derive(Debug)]
pub struct LinkInitiator {
    noise: HandshakeState,
    remote: PeerId,
}

/// Has sent message 1, waits for message 2.
#[derive(Debug)]
pub struct LinkInitiatorWaiting {
    noise: HandshakeState,
    remote: PeerId,
    offer: Offer,
}

/// Waits for message 1.
#[derive(Debug)]
pub struct LinkResponder {
    noise: HandshakeState,
}

/// Has read message 1, is about to answer.
#[derive(Debug)]
pub struct LinkResponderReady {
    noise: HandshakeState,
    peer: PeerId,
    offer: Offer,
}

impl LinkInitiator {
    /// A handshake with `remote`; `prologue` is what [`prologue`](super::prologue) returns.
    pub fn new(
        identity: &Identity,
        remote: PeerId,
        prologue: &[u8],
    ) -> Result<Self, HandshakeError> {
        let noise = builder(PATTERN)
            .local_private_key(identity.secret())
            .and_then(|builder| builder.remote_public_key(remote.as_bytes()))
            .and_then(|builder| builder.prologue(prologue))
            .and_then(Builder::build_initiator)
            .map_err(local)?;
        Ok(Self { noise, remote })
    }

    /// Message 1, with what this side can do inside.
    pub fn start(
        mut self,
        offer: &Offer,
    ) -> Result<(Vec<u8>, LinkInitiatorWaiting), HandshakeError> {
        let payload = codec::encode(offer)
            .map_err(|error| HandshakeError::Local { reason: error.to_string() })?;
        let message = write(&mut self.noise, &payload)?;
        Ok((
            message,
            LinkInitiatorWaiting { noise: self.noise, remote: self.remote, offer: offer.clone() },
        ))
    }
}

impl LinkInitiatorWaiting {
    /// Reads message 2. The first control frame this side seals then is what lets the responder
    /// act.
    pub fn finish(mut self, message: &[u8]) -> Result<(Choice, Established), HandshakeError> {
        let payload = read(&mut self.noise, message, ANSWER)?;
        let choice: Choice = codec::decode(&payload)
            .map_err(|source| HandshakeError::Payload { message: ANSWER, source })?;
        choice.check_within(&self.offer)?;
        Ok((choice, establish(self.noise, self.remote)?))
    }
}

impl LinkResponder {
    /// Waits for an initiator; `prologue` is what [`prologue`](super::prologue) returns.
    pub fn new(identity: &Identity, prologue: &[u8]) -> Result<Self, HandshakeError> {
        let noise = builder(PATTERN)
            .local_private_key(identity.secret())
            .and_then(|builder| builder.prologue(prologue))
            .and_then(Builder::build_responder)
            .map_err(local)?;
        Ok(Self { noise })
    }

    /// Reads message 1. It proves that the peer made it *once*, not that the peer is there now.
    pub fn read(
        mut self,
        message: &[u8],
    ) -> Result<(PeerId, Offer, LinkResponderReady), HandshakeError> {
        let payload = read(&mut self.noise, message, REQUEST)?;
        let offer: Offer = codec::decode(&payload)
            .map_err(|source| HandshakeError::Payload { message: REQUEST, source })?;
        let remote = self.noise.get_remote_static().and_then(|key| key.try_into().ok());
        let peer =
            remote.map(PeerId::from_bytes).expect("message 1 of IK carries a key of 32 bytes");
        Ok((peer, offer.clone(), LinkResponderReady { noise: self.noise, peer, offer }))
    }
}

impl LinkResponderReady {
    /// Message 2, with what both sides will do inside: see [`choose`](super::choose).
    pub fn finish(mut self, choice: &Choice) -> Result<(Vec<u8>, Established), HandshakeError> {
        choice.check_within(&self.offer)?;
        let payload = codec::encode(choice)
            .map_err(|error| HandshakeError::Local { reason: error.to_string() })?;
        let message = write(&mut self.noise, &payload)?;
        Ok((message, establish(self.noise, self.peer)?))
    }
}

/// A handshake message as it goes over the socket: its length in front.
pub fn frame_handshake(message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_le_bytes();
    handshake_length(length)?;
    Ok([&length, message].concat())
}

/// Returns the number of bytes of a handshake message that follow its length.
pub fn handshake_length(length: [u8; 2]) -> Result<usize, HandshakeError> {
    match usize::from(u16::from_le_bytes(length)) {
        given @ 1..=HANDSHAKE_LIMIT => Ok(given),
        given => Err(HandshakeError::Length { given, limit: HANDSHAKE_LIMIT }),
    }
}

pub(super) fn builder(pattern: &'static str) -> Builder<'static> {
    Builder::new(pattern.parse().expect("the pattern is one that snow knows"))
}

pub(super) fn local(error: snow::Error) -> HandshakeError {
    HandshakeError::Local { reason: error.to_string() }
}

/// The next message with `payload` inside.
pub(super) fn write(noise: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut message = vec![0; HANDSHAKE_LIMIT];
    let length = noise.write_message(payload, &mut message).map_err(|error| match error {
        snow::Error::Input => HandshakeError::Local {
            reason: format!("an offer of {} bytes is too long", payload.len()),
        },
        other => local(other),
    })?;
    message.truncate(length);
    Ok(message)
}

/// The payload of the next message.
pub(super) fn read(
    noise: &mut HandshakeState,
    message: &[u8],
    name: &'static str,
) -> Result<Vec<u8>, HandshakeError> {
    let given = message.len();
    if given == 0 || given > HANDSHAKE_LIMIT {
        return Err(HandshakeError::Length { given, limit: HANDSHAKE_LIMIT });
    }
    let mut payload = vec![0; HANDSHAKE_LIMIT];
    let length = noise.read_message(message, &mut payload).map_err(|error| match error {
        snow::Error::Decrypt => HandshakeError::NotAuthentic { message: name },
        snow::Error::Input => {
            HandshakeError::Malformed { message: name, given, reason: "it is too short".to_owned() }
        }
        other => HandshakeError::Malformed { message: name, given, reason: other.to_string() },
    })?;
    payload.truncate(length);
    Ok(payload)
}

/// The hash and the two halves of a finished handshake.
pub(super) fn split(
    noise: HandshakeState,
) -> Result<([u8; 32], ControlSealer, ControlOpener), HandshakeError> {
    let hash = noise.get_handshake_hash().try_into().expect("BLAKE2s has 32 bytes");
    let (sealer, opener) = channel(noise.into_stateless_transport_mode().map_err(local)?);
    Ok((hash, sealer, opener))
}

fn establish(noise: HandshakeState, peer: PeerId) -> Result<Established, HandshakeError> {
    let (hash, sealer, opener) = split(noise)?;
    Ok(Established { peer, hash, sealer, opener })
}

/// The name of message 1 in errors, here and in `lane`.
pub(super) const REQUEST: &str = "request";
/// The name of message 2 in errors, here and in `lane`.
pub(super) const ANSWER: &str = "answer";
const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
