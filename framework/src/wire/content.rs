//! The description of a transfer's content, told to the receiver before the first byte.
//!
//! Invariant: a [`ContentName`] is one path component. It can never name a parent, a root or
//! nothing.

use serde::{Deserialize, Serialize};

/// The longest name in bytes: what Linux file systems allow for one component.
const NAME_LIMIT: usize = 255;

/// A description of the content of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The kind of the content.
    pub kind: ContentKind,
    /// The name the sender gives it.
    pub name: ContentName,
    /// Bytes of the stream, where the sender knows them. A hint for progress, quotas and free
    /// space; the trailer is what counts.
    pub length: Option<u64>,
}

/// The kinds of content a receiver can tell apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ContentKind {
    /// Plain bytes, of an `AsyncRead` or of memory.
    Bytes,
    /// One regular file.
    File {
        /// Permission bits; a receiver keeps `mode & 0o777` only.
        mode: u32,
        /// Modification time in nanoseconds since the Unix epoch.
        mtime: i64,
    },
    /// A folder or several paths, as a tree stream (`estafette-actors`, `source::tree`).
    Tree,
    /// A package: content that is sealed for somebody, as one file of frames. Who carries it need
    /// not be who it is for.
    Package,
}

/// One path component: bytes, since file names need not be UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "serde_bytes::ByteBuf", into = "serde_bytes::ByteBuf")]
pub struct ContentName(Vec<u8>);

/// An error of making a [`ContentName`] of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No bytes at all.
    #[error("the name of the content is empty")]
    Empty,
    /// Longer than a file name may be.
    #[error("the name of the content has {given} bytes, {NAME_LIMIT} are allowed")]
    TooLong {
        /// Bytes given.
        given: usize,
    },
    /// `.`, `..`, or a name with `/` or NUL in it.
    #[error("the name of the content, {name:?}, is not a single file name")]
    NotOneComponent {
        /// The offending name, made printable.
        name: String,
    },
}

impl ContentName {
    /// Checks that `bytes` are one path component.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, NameError> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > NAME_LIMIT {
            return Err(NameError::TooLong { given: bytes.len() });
        }
        if bytes == b"." || bytes == b".." || bytes.iter().any(|&b| b == b'/' || b == 0) {
            return Err(NameError::NotOneComponent {
                name: String::from_utf8_lossy(&bytes).into_owned(),
            });
        }
        Ok(Self(bytes))
    }

    /// The name as it will be written to disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for ContentName {
    /// As it may be shown on a terminal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", crate::wire::printable(&String::from_utf8_lossy(&self.0)))
    }
}

impl std::fmt::Debug for ContentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ContentName({self})")
    }
}

impl TryFrom<serde_bytes::ByteBuf> for ContentName {
    type Error = NameError;
    fn try_from(bytes: serde_bytes::ByteBuf) -> Result<Self, NameError> {
        Self::new(bytes.into_vec())
    }
}

impl From<ContentName> for serde_bytes::ByteBuf {
    fn from(name: ContentName) -> Self {
        Self::from(name.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec;

    #[test]
    fn every_kind_has_its_bytes() {
        let file = ContentKind::File { mode: 0o644, mtime: -1 };
        let golden: [(ContentKind, &[u8]); 4] = [
            (ContentKind::Bytes, b"\0\0\0\0"),
            (file, b"\x01\0\0\0\xa4\x01\0\0\xff\xff\xff\xff\xff\xff\xff\xff"),
            (ContentKind::Tree, b"\x02\0\0\0"),
            (ContentKind::Package, b"\x03\0\0\0"),
        ];
        for (kind, bytes) in golden {
            assert_eq!(codec::encode(&kind).unwrap(), bytes);
            assert_eq!(codec::decode::<ContentKind>(bytes), Ok(kind));
        }
        assert!(codec::decode::<ContentKind>(&4_u32.to_le_bytes()).is_err());
    }

    #[test]
    fn a_name_is_one_component() {
        assert!(ContentName::new("big.tar").is_ok());
        assert!(ContentName::new(b"-\n\xff".to_vec()).is_ok());
        for bad in ["", ".", "..", "a/b", "/", "a\0"] {
            assert!(ContentName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ContentName::new(vec![b'a'; 256]), Err(NameError::TooLong { given: 256 }));
    }
}
