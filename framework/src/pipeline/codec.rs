//! The seam that codecs come through: ways to make chunks smaller, each chunk by itself.
//!
//! Invariant: which codec a transfer uses is known before its first chunk; a chunk comes as it was
//! (`RAW`) or compressed by that codec, and by no other.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::prefix::Codec;

/// The most bytes of a codec's name.
pub const CODEC_NAME_LIMIT: usize = 58;

/// A way to make chunks smaller. Both ends register it: `StageRegistry::codec`.
///
/// Workers share it, so what it keeps from one chunk to the next belongs in a `thread_local!`; of
/// another chunk's content nothing may be left in what it makes.
///
/// ```
/// use estafette::pipeline::{ChunkCodec, Codec, CodecFault};
///
/// /// Knows chunks of one byte again and again, and nothing else.
/// #[derive(Debug)]
/// struct Uniform;
///
/// impl ChunkCodec for Uniform {
///     fn id(&self) -> Codec {
///         Codec(100)
///     }
///     fn name(&self) -> &str {
///         "uniform"
///     }
///     fn bound(&self, length: usize) -> usize {
///         length
///     }
///     fn compress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
///         if bytes.iter().any(|byte| *byte != bytes[0]) {
///             // As long as it was: it goes raw.
///             return Ok(bytes.len());
///         }
///         into[0] = bytes[0];
///         Ok(1)
///     }
///     fn decompress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
///         let [byte] = *bytes else { return Err(CodecFault::new("one byte belongs here")) };
///         into.fill(byte);
///         Ok(into.len())
///     }
/// }
/// ```
pub trait ChunkCodec: fmt::Debug + Send + Sync + 'static {
    /// Its number in front of the chunks it has compressed. Up to 15 they are this project's (0 is
    /// raw, 1 snappy, 2 LZ4), 255 is the trailer, and those between are a program's own. Those
    /// below 32 are announced to other nodes, so that a node's preference gives way where the other
    /// end does not have it; a larger one can't be preferred, and each delivery asks for it. What
    /// is announced is the number alone: programs that prefer codecs of their own must mean the
    /// same codec by the same number, since one that has another under it, or under another name,
    /// refuses what is sent (`Stage`).
    fn id(&self) -> Codec;

    /// Its name for people, and for the other end: at most 58 bytes, printable.
    fn name(&self) -> &str;

    /// The most bytes that `compress` may write for as many.
    fn bound(&self, length: usize) -> usize;

    /// Compresses `bytes` to the front of `into`, which has room for as many as
    /// [`bound`](Self::bound) says; returns how many it wrote. What is not an eighth shorter goes
    /// as it was.
    fn compress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault>;

    /// Decompresses `bytes`, which a peer made, into `into`, which is as long as the peer says the
    /// chunk is, and bounded. Returns how many bytes it has in truth; if these are others than
    /// `into` has room for, nothing need be written.
    fn decompress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault>;
}

/// A codec, shared by all who use it.
pub type SharedCodec = Arc<dyn ChunkCodec>;

/// An error of compressing or decompressing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CodecFault {
    /// For a person.
    pub message: String,
}

impl CodecFault {
    /// A fault, in words.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string() }
    }
}

/// The compression of chunks; as text `snappy`, `lz4`, `off`, or `codec:20`, a program's own by its
/// number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Snappy, chunk by chunk; a chunk that would not shrink by an eighth goes raw. Every node has
    /// it.
    #[default]
    Snappy,
    /// LZ4, in its block format, in the same way.
    Lz4,
    /// The codec of this number, in the same way.
    Other(Codec),
    /// Every chunk goes raw.
    Off,
}

impl Compression {
    /// All that have a name: the codecs of this project, and none at all.
    pub(crate) const NAMES: [(Self, &str); 3] =
        [(Self::Snappy, "snappy"), (Self::Lz4, "lz4"), (Self::Off, "off")];
    /// The beginning of the text of any other.
    const NUMBERED: &str = "codec:";

    /// The codec that it names; [`Codec::RAW`] where chunks are not compressed.
    pub fn codec(self) -> Codec {
        match self {
            Self::Snappy => Codec::SNAPPY,
            Self::Lz4 => Codec::LZ4,
            Self::Other(codec) => codec,
            Self::Off => Codec::RAW,
        }
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        let known = Self::NAMES.into_iter().find(|(known, _)| known.codec() == codec);
        known.map_or(Self::Other(codec), |(known, _)| known)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(known, _)| known == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}{}", Self::NUMBERED, self.codec().0),
        }
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, UnknownCompression> {
        if let Some((known, _)) = Self::NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(*known);
        }
        let number = text.strip_prefix(Self::NUMBERED).and_then(|number| number.parse().ok());
        number.map(|number| Codec(number).into()).ok_or_else(|| UnknownCompression(text.to_owned()))
    }
}

/// A text that names no compression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no compression: snappy, lz4, off, or a program's own codec as codec:NUMBER")]
pub struct UnknownCompression(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_compression_is_read_as_it_is_written() {
        for number in 0..=255 {
            let compression = Compression::from(Codec(number));
            assert_eq!(compression.codec(), Codec(number));
            assert_eq!(compression.to_string().parse(), Ok(compression));
            assert_eq!(format!("codec:{number}").parse(), Ok(compression));
        }
        assert_eq!(Compression::Other(Codec(20)).to_string(), "codec:20");
        let error = "gzip".parse::<Compression>().err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        for (_, name) in Compression::NAMES {
            assert!(error.contains(name), "{error}");
        }
        for text in ["", "Snappy", "codec:", "codec:256", "codec:-1", "codec:lz4"] {
            assert!(text.parse::<Compression>().is_err(), "{text:?}");
        }
    }
}
