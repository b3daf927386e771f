//! Control frames after a handshake: sealed by one side, opened by the other, each exactly once and
//! in order.
//!
//! Invariant: a direction's counter is the nonce and never repeats. After one message that does not
//! verify nothing more is opened: what follows it cannot be trusted to be complete.

use std::sync::Arc;

use snow::StatelessTransportState;

use super::frame::{FrameHeader, HEADER_LENGTH};

/// The most bytes of a control message: a Noise message less its tag.
pub const PLAINTEXT_LIMIT: usize = 65_535 - TAG_LENGTH;

/// Seals control messages into frames. May live in another task than its [`ControlOpener`].
#[derive(Debug)]
pub struct ControlSealer {
    state: Arc<StatelessTransportState>,
    count: u64,
}

/// Opens the bodies of control frames, in the order they came.
#[derive(Debug)]
pub struct ControlOpener {
    state: Arc<StatelessTransportState>,
    count: u64,
    failed: bool,
}

/// An error of sealing or opening a control frame. Each error of the opener ends the link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The message is altered, repeated, out of order or from somebody else.
    #[error(
        "control message {count} does not verify: it was altered, repeated or left out on the \
         way; the link must be closed"
    )]
    BadTag {
        /// Messages opened before it.
        count: u64,
    },
    /// A message did not verify before, so no more are opened.
    #[error(
        "an earlier control message did not verify: nothing more is read from this link, open a \
         new one"
    )]
    Closed,
    /// Above [`PLAINTEXT_LIMIT`].
    #[error("a control message has {given} bytes, at most {limit} fit into a frame")]
    TooLong {
        /// Bytes given.
        given: usize,
        /// The most that fit.
        limit: usize,
    },
    /// The counter of this direction is used up.
    #[error("this link has carried as many messages as it can: open a new one")]
    Exhausted,
}

/// The two halves of a channel.
pub(super) fn channel(state: StatelessTransportState) -> (ControlSealer, ControlOpener) {
    let state = Arc::new(state);
    (
        ControlSealer { state: Arc::clone(&state), count: 0 },
        ControlOpener { state, count: 0, failed: false },
    )
}

impl ControlSealer {
    /// The whole frame, header and body, for a control message of up to [`PLAINTEXT_LIMIT`] bytes.
    ///
    /// Frames must go over the wire in the order they were sealed, every one of them.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, LinkError> {
        if plaintext.len() > PLAINTEXT_LIMIT {
            return Err(LinkError::TooLong { given: plaintext.len(), limit: PLAINTEXT_LIMIT });
        }
        // Noise reserves the highest nonce.
        if self.count == u64::MAX {
            return Err(LinkError::Exhausted);
        }
        let len = plaintext.len() + TAG_LENGTH;
        let mut frame = vec![0; HEADER_LENGTH + len];
        frame[..HEADER_LENGTH].copy_from_slice(&FrameHeader::control(len as u32).encode());
        self.state
            .write_message(self.count, plaintext, &mut frame[HEADER_LENGTH..])
            .expect("length and counter were checked");
        self.count += 1;
        Ok(frame)
    }
}

impl ControlOpener {
    /// The control message in the body of the next control frame.
    ///
    /// # Errors
    /// [`LinkError::BadTag`] once, then [`LinkError::Closed`] for ever: close the link at the
    /// first.
    pub fn open(&mut self, body: &[u8]) -> Result<Vec<u8>, LinkError> {
        if self.failed {
            return Err(LinkError::Closed);
        }
        let mut plaintext = vec![0; body.len().saturating_sub(TAG_LENGTH)];
        if self.count == u64::MAX
            || self.state.read_message(self.count, body, &mut plaintext).is_err()
        {
            self.failed = true;
            return Err(LinkError::BadTag { count: self.count });
        }
        self.count += 1;
        Ok(plaintext)
    }
}

const TAG_LENGTH: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{FrameDecoder, FrameKind, LEAST_MAX_FRAME, LaneInitiator, LaneResponder};

    /// One direction of a channel.
    fn pair() -> (ControlSealer, ControlOpener) {
        let (first, initiator) =
            LaneInitiator::new(&[7; 32], b"prologue").unwrap().start().unwrap();
        let (second, responder) = LaneResponder::new(&[7; 32], b"prologue")
            .unwrap()
            .read(&first)
            .unwrap()
            .finish()
            .unwrap();
        (initiator.finish(&second).unwrap().sealer, responder.opener)
    }

    fn body(frame: Vec<u8>) -> Vec<u8> {
        let frame = FrameDecoder::new(LEAST_MAX_FRAME)
            .decode(&mut frame.as_slice().into())
            .unwrap()
            .unwrap();
        let (header, body) = (frame.header, frame.body());
        assert_eq!(
            header,
            FrameHeader {
                len: body.len() as u32,
                kind: FrameKind::Control,
                flags: 0,
                stream: 0,
                index: 0
            }
        );
        body.to_vec()
    }

    #[test]
    fn the_largest_message_fits_into_a_frame_and_one_byte_more_does_not() {
        let (mut sealer, mut opener) = pair();
        let message = vec![5; PLAINTEXT_LIMIT];
        assert_eq!(opener.open(&body(sealer.seal(&message).unwrap())).unwrap(), message);
        let error = sealer.seal(&vec![5; PLAINTEXT_LIMIT + 1]).unwrap_err();
        assert_eq!(error, LinkError::TooLong { given: 65_520, limit: 65_519 });
        assert_eq!(
            opener.open(&body(sealer.seal(b"").unwrap())).unwrap(),
            b"",
            "a refused message uses no number"
        );
    }

    #[test]
    fn an_old_frame_is_refused_and_then_everything_is() {
        let (mut sealer, mut opener) = pair();
        let (first, second) =
            (body(sealer.seal(b"first").unwrap()), body(sealer.seal(b"second").unwrap()));
        assert_eq!(opener.open(&first).unwrap(), b"first");
        assert_eq!(opener.open(&first), Err(LinkError::BadTag { count: 1 }));
        assert_eq!(opener.open(&second), Err(LinkError::Closed));
    }

    #[test]
    fn a_frame_left_out_is_noticed() {
        let (mut sealer, mut opener) = pair();
        sealer.seal(b"left out").unwrap();
        assert_eq!(
            opener.open(&body(sealer.seal(b"next").unwrap())),
            Err(LinkError::BadTag { count: 0 })
        );
    }

    #[test]
    fn a_frame_does_not_open_on_another_channel() {
        let frame = body(pair().0.seal(b"elsewhere").unwrap());
        assert_eq!(pair().1.open(&frame), Err(LinkError::BadTag { count: 0 }));
    }

    #[test]
    fn the_last_nonce_is_never_used() {
        let (mut sealer, mut opener) = pair();
        (sealer.count, opener.count) = (u64::MAX - 1, u64::MAX - 1);
        assert_eq!(opener.open(&body(sealer.seal(b"last").unwrap())).unwrap(), b"last");
        assert_eq!(sealer.seal(b"more"), Err(LinkError::Exhausted));
        assert_eq!(opener.open(&[0; 16]), Err(LinkError::BadTag { count: u64::MAX }));
    }

    #[test]
    fn the_halves_can_live_in_two_threads() {
        fn assert_send<T: Send + 'static>() {}
        assert_send::<ControlSealer>();
        assert_send::<ControlOpener>();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn garbage_is_an_error(garbage in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(pair().1.open(&garbage), Err(LinkError::BadTag { count: 0 }));
        }

        #[test]
        fn one_changed_bit_is_noticed(message in prop::collection::vec(any::<u8>(), 0..100), at: prop::sample::Index, bit in 0_u8..8) {
            let (mut sealer, mut opener) = pair();
            let mut sealed = body(sealer.seal(&message).unwrap());
            let at = at.index(sealed.len());
            sealed[at] ^= 1_u8 << bit;
            prop_assert_eq!(opener.open(&sealed), Err(LinkError::BadTag { count: 0 }));
        }
    }
}
