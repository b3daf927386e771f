//! The framing of bytes on a lane.
//!
//! ```text
//!  0        4      5      6        8               16              24
//!  ├ len u32┼kind u8┼flags┼ zero u16┼ stream u64 ───┼ index u64 ────┼ body … len bytes
//! ```
//! Little-endian. Invariant: a header is checked, its length too, before a byte of the body is
//! waited for; memory grows as bytes arrive, not as a header claims.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of a header.
pub const HEADER_LENGTH: usize = 24;
/// The most bytes of a control frame's body: one Noise message.
pub const CONTROL_BODY_LIMIT: u32 = 65_535;
/// The flag of a chunk that none follows: the trailer.
pub const FLAG_LAST: u8 = 1;

/// The header in front of the body of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the body.
    pub len: u32,
    /// The kind of the body.
    pub kind: FrameKind,
    /// [`FLAG_LAST`] or nothing; nothing in a control frame.
    pub flags: u8,
    /// The stream of a chunk's transfer; 0 in a control frame.
    pub stream: u64,
    /// The chunk's index; 0 in a control frame, whose number nobody writes down.
    pub index: u64,
}

/// The most bytes by which stages of the user's may make a chunk of this size longer, all of a
/// transfer's together: a quarter of it, and 256.
pub const fn growth_limit(chunk_size: u32) -> u32 {
    chunk_size / 4 + 256
}

/// The kind of a frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A Noise transport message with a [`Control`](super::Control) inside.
    Control = 1,
    /// A sealed chunk.
    Chunk = 2,
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its header.
    pub header: FrameHeader,
    whole: Bytes,
}

impl Frame {
    /// Its body, `header.len` bytes.
    pub fn body(&self) -> &[u8] {
        &self.whole[HEADER_LENGTH..]
    }

    /// Header and body, as they came.
    pub fn into_bytes(self) -> Bytes {
        self.whole
    }
}

/// An error of reading a frame from the bytes of a lane. The lane is of no use after it: nobody
/// knows where the next frame starts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A kind this version does not know.
    #[error("the kind {found} of a frame is unknown: 1 is control, 2 a chunk")]
    UnknownKind {
        /// The byte found.
        found: u8,
    },
    /// The reserved field is not zero.
    #[error("the reserved field of a frame is {found:#06x}, it must be zero")]
    Reserved {
        /// The value found.
        found: u16,
    },
    /// Flags this version does not know for this kind.
    #[error("the flags {found:#04x} of a {kind:?} frame are unknown: only {known:#04x} is known")]
    UnknownFlags {
        /// The kind of the frame.
        kind: FrameKind,
        /// The flags found.
        found: u8,
        /// The flags a frame of that kind may have.
        known: u8,
    },
    /// A control frame that names a stream or an index.
    #[error("a control frame names stream {stream} and index {index}, both must be zero")]
    ControlNamesStream {
        /// The stream found.
        stream: u64,
        /// The index found.
        index: u64,
    },
    /// A body above the limit.
    #[error("the body of a {kind:?} frame claims {given} bytes, at most {limit} were agreed on")]
    TooLong {
        /// The kind of the frame.
        kind: FrameKind,
        /// Bytes claimed.
        given: u32,
        /// The most that is allowed.
        limit: u32,
    },
}

impl FrameHeader {
    /// The header of a control frame with a body of `len` bytes.
    pub const fn control(len: u32) -> Self {
        Self { len, kind: FrameKind::Control, flags: 0, stream: 0, index: 0 }
    }

    /// The bytes for the wire.
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = self.flags;
        bytes[8..16].copy_from_slice(&self.stream.to_le_bytes());
        bytes[16..].copy_from_slice(&self.index.to_le_bytes());
        bytes
    }

    /// Reads a header. `max_len` is the negotiated most of a body; a control frame's is never above
    /// [`CONTROL_BODY_LIMIT`].
    pub fn decode(bytes: &[u8; HEADER_LENGTH], max_len: u32) -> Result<Self, FrameError> {
        let mut rest = &bytes[..];
        let len = rest.get_u32_le();
        let (kind, known, limit) = match rest.get_u8() {
            1 => (FrameKind::Control, 0, max_len.min(CONTROL_BODY_LIMIT)),
            2 => (FrameKind::Chunk, FLAG_LAST, max_len),
            found => return Err(FrameError::UnknownKind { found }),
        };
        let (flags, reserved, stream, index) =
            (rest.get_u8(), rest.get_u16_le(), rest.get_u64_le(), rest.get_u64_le());
        if reserved != 0 {
            return Err(FrameError::Reserved { found: reserved });
        }
        if flags & !known != 0 {
            return Err(FrameError::UnknownFlags { kind, found: flags, known });
        }
        if kind == FrameKind::Control && (stream, index) != (0, 0) {
            return Err(FrameError::ControlNamesStream { stream, index });
        }
        if len > limit {
            return Err(FrameError::TooLong { kind, given: len, limit });
        }
        Ok(Self { len, kind, flags, stream, index })
    }

    /// Returns whether [`FLAG_LAST`] is set.
    pub const fn is_last(&self) -> bool {
        self.flags & FLAG_LAST != 0
    }
}

/// Cuts frames out of what was read from a lane.
///
/// After each read into `buffer`, call [`decode`](Self::decode) until it returns `Ok(None)`, then
/// read on into the same buffer: it has room reserved for up to 64 KiB of what is missing. After an
/// error it returns that error for ever: close the lane.
#[derive(Debug)]
pub struct FrameDecoder {
    max_len: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Header,
    Body(FrameHeader),
    Failed(FrameError),
}

impl FrameDecoder {
    /// A decoder for bodies of up to `max_len` bytes.
    pub const fn new(max_len: u32) -> Self {
        Self { max_len, state: State::Header }
    }

    /// The next frame of `buffer`, without copying its body; `None` when it is not all there yet.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let header = match &self.state {
            State::Failed(error) => return Err(error.clone()),
            State::Body(header) => *header,
            State::Header => {
                let Some(bytes) = buffer.first_chunk::<HEADER_LENGTH>() else {
                    buffer.reserve(HEADER_LENGTH - buffer.len());
                    return Ok(None);
                };
                let header = FrameHeader::decode(bytes, self.max_len)
                    .inspect_err(|error| self.state = State::Failed(error.clone()))?;
                self.state = State::Body(header);
                header
            }
        };
        let length = HEADER_LENGTH + header.len as usize;
        let missing = length.saturating_sub(buffer.len());
        if missing > 0 {
            buffer.reserve(missing.min(GROWTH));
            return Ok(None);
        }
        self.state = State::Header;
        Ok(Some(Frame { header, whole: buffer.split_to(length).freeze() }))
    }

    /// Returns whether a frame has begun and its end is missing. At the end of a lane's bytes, this
    /// means that the frame was cut off.
    pub fn is_within_frame(&self, buffer: &BytesMut) -> bool {
        !buffer.is_empty() || matches!(self.state, State::Body(_))
    }
}

/// The most memory claimed ahead of bytes that have not arrived.
const GROWTH: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNK: FrameHeader = FrameHeader {
        len: 0x0102,
        kind: FrameKind::Chunk,
        flags: FLAG_LAST,
        stream: 0x0304_0506_0708_090a,
        index: 0x0b0c_0d0e_0f10_1112,
    };

    fn decode_with(at: usize, value: u8) -> FrameError {
        let mut bytes = FrameHeader::control(5).encode();
        bytes[at] = value;
        FrameHeader::decode(&bytes, 1 << 20).unwrap_err()
    }

    #[test]
    fn the_bytes_are_held() {
        assert_eq!(CHUNK.encode(), *b"\x02\x01\0\0\x02\x01\0\0\x0a\x09\x08\x07\x06\x05\x04\x03\x12\x11\x10\x0f\x0e\x0d\x0c\x0b");
        assert_eq!(
            FrameHeader::control(16).encode(),
            *b"\x10\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        );
        assert!(CHUNK.is_last() && !FrameHeader::control(16).is_last());
    }

    #[test]
    fn each_wrong_field_has_its_error() {
        assert_eq!(decode_with(4, 3), FrameError::UnknownKind { found: 3 });
        assert_eq!(decode_with(4, 0), FrameError::UnknownKind { found: 0 });
        assert_eq!(decode_with(7, 1), FrameError::Reserved { found: 0x100 });
        assert_eq!(
            decode_with(5, 1),
            FrameError::UnknownFlags { kind: FrameKind::Control, found: 1, known: 0 }
        );
        assert_eq!(decode_with(8, 1), FrameError::ControlNamesStream { stream: 1, index: 0 });
        assert_eq!(decode_with(16, 1), FrameError::ControlNamesStream { stream: 0, index: 1 });
        assert_eq!(
            decode_with(2, 1),
            FrameError::TooLong {
                kind: FrameKind::Control,
                given: 65_541,
                limit: CONTROL_BODY_LIMIT
            }
        );
        let flags = FrameHeader { flags: 3, ..CHUNK }.encode();
        let error = FrameHeader::decode(&flags, 1 << 20).unwrap_err();
        assert_eq!(
            error,
            FrameError::UnknownFlags { kind: FrameKind::Chunk, found: 3, known: FLAG_LAST }
        );
    }

    #[test]
    fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
        assert_eq!(FrameHeader::decode(&CHUNK.encode(), 0x0102), Ok(CHUNK));
        let error = FrameHeader::decode(&CHUNK.encode(), 0x0101).unwrap_err();
        assert_eq!(
            error,
            FrameError::TooLong { kind: FrameKind::Chunk, given: 0x0102, limit: 0x0101 }
        );
    }

    #[test]
    fn a_header_that_claims_much_claims_no_memory() {
        let mut buffer = BytesMut::from(&FrameHeader { len: u32::MAX, ..CHUNK }.encode()[..]);
        let mut decoder = FrameDecoder::new(u32::MAX);
        assert_eq!(decoder.decode(&mut buffer), Ok(None));
        assert!(buffer.capacity() <= 4 * GROWTH, "{}", buffer.capacity());
        assert!(decoder.is_within_frame(&buffer));
    }

    #[test]
    fn after_an_error_the_decoder_stays_with_it() {
        let mut decoder = FrameDecoder::new(1 << 20);
        let mut buffer = BytesMut::from(&[0xff; 24][..]);
        let error = decoder.decode(&mut buffer).unwrap_err();
        buffer = BytesMut::from(&FrameHeader::control(0).encode()[..]);
        assert_eq!(decoder.decode(&mut buffer), Err(error));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in prop::collection::vec((any::<bool>(), any::<u64>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..200)), 1..8),
            cuts in prop::collection::vec(1_usize..100, 1..20),
        ) {
            let frames: Vec<Frame> = frames.into_iter().map(|(last, stream, index, body)| {
                let header = FrameHeader { len: body.len() as u32, kind: FrameKind::Chunk, flags: u8::from(last), stream, index };
                Frame { header, whole: [&header.encode()[..], &body].concat().into() }
            }).collect();
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| [&frame.header.encode()[..], frame.body()].concat()).collect();
            let (mut decoder, mut buffer, mut found, mut rest) = (FrameDecoder::new(200), BytesMut::new(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                buffer.extend_from_slice(piece);
                while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                    found.push(frame);
                }
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, frames);
            prop_assert!(!decoder.is_within_frame(&buffer));
        }

        #[test]
        fn any_header_decodes_to_what_encodes_to_it(bytes: [u8; HEADER_LENGTH], likely: bool) {
            let mut bytes = bytes;
            if likely {
                let flags = bytes[5] & FLAG_LAST;
                bytes[4..8].copy_from_slice(&[2, flags, 0, 0]);
            }
            if let Ok(header) = FrameHeader::decode(&bytes, u32::MAX) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }
    }
}
