//! The description of a transfer's content, told to the receiver before the first byte.
//!
//! Invariant: a [`ContentName`] is one path component. It can never name a parent, a root or
//! nothing.

use serde::{Deserialize, Serialize};

use super::bounded::{Lines, cut};
use super::offer::{FEATURE_DESCRIPTIONS, FEATURE_REMARKS};

/// The longest name in bytes: what Linux file systems allow for one component.
const NAME_LIMIT: usize = 255;

/// A description of the content of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OnWire", into = "OnWire")]
#[non_exhaustive]
pub struct Content {
    /// The kind of the content.
    pub kind: ContentKind,
    /// The name the sender gives it.
    pub name: ContentName,
    /// Bytes of the stream, where the sender knows them. A hint for progress, quotas and free
    /// space; the trailer is what counts.
    pub length: Option<u64>,
    /// Bytes of these that are no holes (runs of zeros that take no room on a disk), where the
    /// sender knows of holes. A hint for free space, which is watched while it is written.
    pub data: Option<u64>,
    /// Extended attributes of one file. Those of a tree are in its stream.
    pub attributes: Attributes,
    /// Lines for a person about what the sender leaves behind of one file: at most
    /// [`Content::REMARKS`] of 512 bytes. Those of a tree are in its stream.
    pub remarks: Vec<String>,
}

impl Content {
    /// The most lines of remarks: with all attributes, a package has little more room for them.
    pub const REMARKS: usize = 3;
    /// The longest remark, in bytes.
    const REMARK: usize = 512;

    /// Content that has no holes that are known, no attributes, and of which nothing is left
    /// behind.
    pub fn new(kind: ContentKind, name: ContentName, length: Option<u64>) -> Self {
        let (data, attributes, remarks) = Default::default();
        Self { kind, name, length, data, attributes, remarks }
    }

    /// The same description with another length. The bytes that are no holes are those of the
    /// length that they were told for.
    #[must_use]
    pub fn with_length(self, length: Option<u64>) -> Self {
        let data = self.data.filter(|_| length == self.length);
        Self { length, data, ..self }
    }

    /// The same description with so many bytes that are no holes.
    #[must_use]
    pub fn with_data(self, data: Option<u64>) -> Self {
        Self { data, ..self }
    }

    /// The same description with these attributes.
    #[must_use]
    pub fn with_attributes(self, attributes: Attributes) -> Self {
        Self { attributes, ..self }
    }

    /// The same description with these remarks: the first lines, cut where they are too long.
    #[must_use]
    pub fn with_remarks(self, lines: impl IntoIterator<Item = String>) -> Self {
        let lines = lines.into_iter().take(Self::REMARKS);
        let remarks = lines.map(|line| cut(&line, Self::REMARK).to_owned()).collect();
        Self { remarks, ..self }
    }

    /// Returns the bytes that it takes on a disk that keeps its holes, where they are known.
    pub fn room(&self) -> Option<u64> {
        match (self.length, self.data) {
            (Some(length), Some(data)) => Some(length.min(data)),
            (length, data) => length.or(data),
        }
    }

    /// Returns what a node with these features understands of it.
    pub(crate) fn understood(self, features: u64) -> Self {
        if features & FEATURE_DESCRIPTIONS == 0 {
            return Self::new(self.kind, self.name, self.length);
        }
        let remarks = if features & FEATURE_REMARKS == 0 { Vec::new() } else { self.remarks };
        Self { remarks, ..self }
    }

    /// The features that a node needs to understand all of it.
    pub(crate) fn needs(&self) -> u64 {
        match self {
            _ if !self.remarks.is_empty() => FEATURE_DESCRIPTIONS | FEATURE_REMARKS,
            _ if self.data.is_some() || !self.attributes.is_empty() => FEATURE_DESCRIPTIONS,
            _ => 0,
        }
    }
}

/// A description as it travels: what all nodes understand has the bytes that it always had.
#[derive(Serialize, Deserialize)]
struct OnWire {
    kind: KindOnWire,
    name: ContentName,
    length: Option<u64>,
}

/// The kinds by their numbers.
#[derive(Serialize, Deserialize)]
enum KindOnWire {
    Bytes,
    File {
        mode: u32,
        mtime: i64,
    },
    Tree,
    Package,
    /// Of a description that says more: never one that does not.
    More {
        data: Option<u64>,
        attributes: Attributes,
        kind: ContentKind,
    },
    /// Of one that says what was left behind.
    Told {
        data: Option<u64>,
        attributes: Attributes,
        #[serde(with = "Lines::<{ Content::REMARKS }, { Content::REMARK }>")]
        remarks: Vec<String>,
        kind: ContentKind,
    },
}

impl From<Content> for OnWire {
    fn from(content: Content) -> Self {
        let needs = content.needs();
        let Content { kind, name, length, data, attributes, remarks } = content;
        let kind = match kind {
            kind if needs & FEATURE_REMARKS != 0 => {
                KindOnWire::Told { data, attributes, remarks, kind }
            }
            kind if needs != 0 => KindOnWire::More { data, attributes, kind },
            ContentKind::Bytes => KindOnWire::Bytes,
            ContentKind::File { mode, mtime } => KindOnWire::File { mode, mtime },
            ContentKind::Tree => KindOnWire::Tree,
            ContentKind::Package => KindOnWire::Package,
        };
        Self { kind, name, length }
    }
}

impl TryFrom<OnWire> for Content {
    type Error = &'static str;
    fn try_from(OnWire { kind, name, length }: OnWire) -> Result<Self, Self::Error> {
        let plain = |kind| Self::new(kind, name, length);
        let (content, needs) = match kind {
            KindOnWire::Bytes => (plain(ContentKind::Bytes), 0),
            KindOnWire::File { mode, mtime } => (plain(ContentKind::File { mode, mtime }), 0),
            KindOnWire::Tree => (plain(ContentKind::Tree), 0),
            KindOnWire::Package => (plain(ContentKind::Package), 0),
            KindOnWire::More { data, attributes, kind } => {
                (Self { data, attributes, ..plain(kind) }, FEATURE_DESCRIPTIONS)
            }
            KindOnWire::Told { data, attributes, remarks, kind } => (
                Self { data, attributes, remarks, ..plain(kind) },
                FEATURE_DESCRIPTIONS | FEATURE_REMARKS,
            ),
        };
        if content.needs() == needs { Ok(content) } else { Err("it says no more") }
    }
}

/// Extended attributes of one file: pairs of names and values, a bounded number of bytes.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Pairs", into = "Pairs")]
pub struct Attributes(Vec<(Vec<u8>, Vec<u8>)>);

type Pairs = Vec<(serde_bytes::ByteBuf, serde_bytes::ByteBuf)>;

impl Attributes {
    /// The most attributes.
    pub const COUNT_LIMIT: usize = 64;
    /// The most bytes of their names and values together: a package has little more room for them.
    pub const BYTES_LIMIT: usize = 12 << 10;

    /// These attributes; `None` if there are more of them, or of their bytes, than may be.
    pub fn new(pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Self> {
        let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
        (pairs.len() <= Self::COUNT_LIMIT && bytes <= Self::BYTES_LIMIT).then_some(Self(pairs))
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names and values.
    pub fn as_slice(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.0
    }
}

impl std::fmt::Debug for Attributes {
    /// Writes their number: values are nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attributes({})", self.0.len())
    }
}

impl TryFrom<Pairs> for Attributes {
    type Error = &'static str;
    fn try_from(pairs: Pairs) -> Result<Self, Self::Error> {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into_vec(), value.into_vec()));
        Self::new(pairs.collect()).ok_or("there are more attributes than a file may have")
    }
}

impl From<Attributes> for Pairs {
    fn from(attributes: Attributes) -> Self {
        attributes.0.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
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
    fn a_description_has_the_bytes_it_always_had_unless_it_says_more() {
        let plain = Content::new(ContentKind::Tree, ContentName::new("a").unwrap(), Some(9));
        let attributes = Attributes::new(vec![(b"user.a".into(), b"b".into())]).unwrap();
        let file = ContentKind::File { mode: 0o600, mtime: 2 };
        let more = Content { kind: file, ..plain.clone() }.with_attributes(attributes);
        let (rest, eight) =
            (b"\x01\0\0\0\0\0\0\0a\x01\x09\0\0\0\0\0\0\0", [8, 0, 0, 0, 0, 0, 0, 0]);
        let golden = [
            (plain.clone(), [b"\x02\0\0\0", &rest[..]].concat()),
            (
                plain.clone().with_data(Some(8)),
                [b"\x04\0\0\0\x01", &eight[..], &[0; 8], b"\x02\0\0\0", rest].concat(),
            ),
            (
                more,
                [
                    &b"\x04\0\0\0\0\x01\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0user.a"[..],
                    b"\x01\0\0\0\0\0\0\0b",
                    b"\x01\0\0\0\x80\x01\0\0\x02\0\0\0\0\0\0\0",
                    rest,
                ]
                .concat(),
            ),
        ];
        for (content, bytes) in golden {
            assert_eq!(codec::encode(&content).unwrap(), bytes);
            assert_eq!(codec::decode::<Content>(&bytes), Ok(content));
        }
        let remarked = plain.clone().with_remarks(["left".to_owned()]);
        let lines = [&[1, 0, 0, 0, 0, 0, 0, 0, 4][..], &[0; 7], b"left"].concat();
        let bytes = [&b"\x05\0\0\0\0"[..], &[0; 8], &lines, b"\x02\0\0\0", rest].concat();
        assert_eq!(codec::encode(&remarked).unwrap(), bytes);
        assert_eq!(codec::decode::<Content>(&bytes), Ok(remarked.clone()));
        assert_eq!(remarked.clone().understood(FEATURE_DESCRIPTIONS), plain);
        assert_eq!(remarked.understood(0), plain);
        // Those that say no more, said as if they did.
        let idle = [b"\x04\0\0\0\0", &[0; 8][..], b"\x02\0\0\0", rest].concat();
        assert!(codec::decode::<Content>(&idle).is_err());
        let idle = [b"\x05\0\0\0\0", &[0; 16][..], b"\x02\0\0\0", rest].concat();
        assert!(codec::decode::<Content>(&idle).is_err());
    }

    #[test]
    fn remarks_are_bounded_by_who_says_them_and_by_who_hears_them() {
        let plain = Content::new(ContentKind::Tree, ContentName::new("a").unwrap(), None);
        let told = plain.clone().with_remarks(vec!["é".repeat(300); 9]);
        assert_eq!(told.remarks, vec!["é".repeat(256); Content::REMARKS]);
        assert_eq!(codec::decode(&codec::encode(&told).unwrap()), Ok(told.clone()));
        let long = Content { remarks: vec!["x".repeat(513)], ..plain.clone() };
        let cut = codec::decode::<Content>(&codec::encode(&long).unwrap()).unwrap();
        assert_eq!(cut.remarks, ["x".repeat(512)]);
        let name = ContentName::new("a").unwrap();
        let hostile = |lines: &[Vec<u8>]| {
            let lines: Vec<_> = lines.iter().map(|line| serde_bytes::Bytes::new(line)).collect();
            let kind = (None::<u64>, Attributes::default(), lines, ContentKind::Tree);
            let bytes = codec::encode(&(5_u32, kind, &name, None::<u64>)).unwrap();
            codec::decode::<Content>(&bytes)
        };
        assert!(hostile(&[vec![b'x'; 512]]).is_ok());
        assert!(hostile(&[vec![b'x'; 513]]).is_err());
        assert!(hostile(&vec![b"x".to_vec(); 4]).is_err());
    }

    #[test]
    fn attributes_are_bounded_and_room_is_what_no_hole_takes() {
        let of =
            |count, length| Attributes::new(vec![(b"user.a".to_vec(), vec![0; length]); count]);
        assert!(of(64, 100).is_some() && of(65, 0).is_none());
        assert!(of(1, (12 << 10) - 6).is_some() && of(1, (12 << 10) - 5).is_none());
        let content = Content::new(ContentKind::Tree, ContentName::new("a").unwrap(), Some(9));
        let room = |data| content.clone().with_data(data).room();
        assert_eq!([room(None), room(Some(4)), room(Some(90))], [Some(9), Some(4), Some(9)]);
        let holed = content.with_data(Some(4));
        assert_eq!(holed.clone().with_length(Some(9)).data, Some(4));
        assert_eq!(holed.with_length(None).data, None, "other bytes have other holes");
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
