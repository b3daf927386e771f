//! The handshake of a bulk lane: `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s`, its pre-shared key the
//! secret of a `LaneTicket`.
//!
//! Like [`handshake`](super::LinkInitiator), without payloads: what holds for the link holds for
//! its lanes. A ticket is used up at the first connection that names its id.
//!
//! Invariant: whoever comes to the end knows the ticket, and both sides mean the same link and the
//! same lane.

use snow::{Builder, HandshakeState};

use super::HandshakeError;
use super::channel::{ControlOpener, ControlSealer};
use super::handshake::{ANSWER, REQUEST, builder, local, read, split, write};

/// A bulk lane both ends of which have proved that they know its ticket.
#[derive(Debug)]
pub struct LaneEstablished {
    /// The handshake's hash, which names this lane.
    pub hash: [u8; 32],
    /// Seals control frames on this lane.
    pub sealer: ControlSealer,
    /// Opens control frames on this lane.
    pub opener: ControlOpener,
}

/// Begins a lane.
#[derive(Debug)]
pub struct LaneInitiator {
    noise: HandshakeState,
}

/// Has sent message 1, waits for message 2.
#[derive(Debug)]
pub struct LaneInitiatorWaiting {
    noise: HandshakeState,
}

/// Waits for message 1.
#[derive(Debug)]
pub struct LaneResponder {
    noise: HandshakeState,
}

/// Has read message 1, is about to answer.
#[derive(Debug)]
pub struct LaneResponderReady {
    noise: HandshakeState,
}

/// The prologue of a lane: both preambles (see [`prologue`](super::prologue)), the hash of the
/// link, the number of the lane.
pub fn lane_prologue(preambles: &[u8], link: &[u8; 32], lane: u16) -> Vec<u8> {
    [preambles, link, &lane.to_le_bytes()].concat()
}

impl LaneInitiator {
    /// A handshake under the secret of a lane ticket; `prologue` is what [`lane_prologue`] returns.
    pub fn new(secret: &[u8; 32], prologue: &[u8]) -> Result<Self, HandshakeError> {
        Ok(Self {
            noise: keyed(secret, prologue).and_then(Builder::build_initiator).map_err(local)?,
        })
    }

    /// Message 1.
    pub fn start(mut self) -> Result<(Vec<u8>, LaneInitiatorWaiting), HandshakeError> {
        let message = write(&mut self.noise, &[])?;
        Ok((message, LaneInitiatorWaiting { noise: self.noise }))
    }
}

impl LaneInitiatorWaiting {
    /// Reads message 2.
    pub fn finish(mut self, message: &[u8]) -> Result<LaneEstablished, HandshakeError> {
        read_empty(&mut self.noise, message, ANSWER)?;
        establish(self.noise)
    }
}

impl LaneResponder {
    /// Waits for an initiator who knows the secret of a lane ticket; `prologue` is what
    /// [`lane_prologue`] returns.
    pub fn new(secret: &[u8; 32], prologue: &[u8]) -> Result<Self, HandshakeError> {
        Ok(Self {
            noise: keyed(secret, prologue).and_then(Builder::build_responder).map_err(local)?,
        })
    }

    /// Reads message 1.
    pub fn read(mut self, message: &[u8]) -> Result<LaneResponderReady, HandshakeError> {
        read_empty(&mut self.noise, message, REQUEST)?;
        Ok(LaneResponderReady { noise: self.noise })
    }
}

impl LaneResponderReady {
    /// Message 2.
    pub fn finish(mut self) -> Result<(Vec<u8>, LaneEstablished), HandshakeError> {
        let message = write(&mut self.noise, &[])?;
        Ok((message, establish(self.noise)?))
    }
}

fn keyed<'a>(secret: &'a [u8; 32], prologue: &'a [u8]) -> Result<Builder<'a>, snow::Error> {
    builder(PATTERN).psk(0, secret).and_then(|builder| builder.prologue(prologue))
}

fn read_empty(
    noise: &mut HandshakeState,
    message: &[u8],
    name: &'static str,
) -> Result<(), HandshakeError> {
    match read(noise, message, name)?.len() {
        0 => Ok(()),
        left => Err(HandshakeError::Malformed {
            message: name,
            given: message.len(),
            reason: format!("{left} bytes are inside, none are known"),
        }),
    }
}

fn establish(noise: HandshakeState) -> Result<LaneEstablished, HandshakeError> {
    let (hash, sealer, opener) = split(noise)?;
    Ok(LaneEstablished { hash, sealer, opener })
}

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: [u8; 32] = [9; 32];

    fn start() -> (Vec<u8>, LaneInitiatorWaiting) {
        LaneInitiator::new(&SECRET, &lane_prologue(b"preambles", &[1; 32], 3))
            .unwrap()
            .start()
            .unwrap()
    }

    fn responder() -> LaneResponder {
        LaneResponder::new(&SECRET, &lane_prologue(b"preambles", &[1; 32], 3)).unwrap()
    }

    #[test]
    fn the_prologue_is_held() {
        assert_eq!(
            lane_prologue(b"ab", &[7; 32], 0x0102),
            [b"ab".as_slice(), &[7; 32], &[2, 1]].concat()
        );
    }

    #[test]
    fn both_sides_come_to_the_same_lane() {
        let (first, waiting) = start();
        let (second, mut there) = responder().read(&first).unwrap().finish().unwrap();
        let mut here = waiting.finish(&second).unwrap();
        assert_eq!(here.hash, there.hash);
        let frame = there.sealer.seal(b"received").unwrap();
        assert_eq!(here.opener.open(&frame[24..]).unwrap(), b"received");
    }

    #[test]
    fn another_secret_link_lane_or_preamble_is_refused() {
        let (first, _) = start();
        for (secret, prologue) in [
            ([8; 32], lane_prologue(b"preambles", &[1; 32], 3)),
            (SECRET, lane_prologue(b"preambles", &[2; 32], 3)),
            (SECRET, lane_prologue(b"preambles", &[1; 32], 4)),
            (SECRET, lane_prologue(b"preamblez", &[1; 32], 3)),
        ] {
            let error = LaneResponder::new(&secret, &prologue).unwrap().read(&first).unwrap_err();
            assert_eq!(error, HandshakeError::NotAuthentic { message: "request" });
        }
    }

    #[test]
    fn a_content_nobody_knows_is_refused() {
        let mut noise = LaneInitiator::new(&SECRET, b"").unwrap().noise;
        let first = write(&mut noise, b"more").unwrap();
        let error = LaneResponder::new(&SECRET, b"").unwrap().read(&first).unwrap_err();
        assert!(error.to_string().contains("4 bytes are inside"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn garbage_and_cut_messages_are_errors(garbage in prop::collection::vec(any::<u8>(), 0..100), cut: prop::sample::Index) {
            prop_assert!(responder().read(&garbage).is_err());
            prop_assert!(start().1.finish(&garbage).is_err());
            let (first, waiting) = start();
            prop_assert!(responder().read(&first[..cut.index(first.len())]).is_err());
            let (second, _) = responder().read(&first).unwrap().finish().unwrap();
            prop_assert!(waiting.finish(&second[..cut.index(second.len())]).is_err());
        }
    }
}
