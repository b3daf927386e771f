//! The notes that a folder keeps about a delivery, so that a later process can go on with it.
//!
//! Invariant: a file or folder that a noted intent tells of is taken away by its rename alone. So
//! an intent without its temporary was carried out, if it is looked for in the folder that it was
//! in.

use estafette::delivery::DigestFold;
use estafette::pipeline::{Committed, Summary};
use estafette::wire::codec;
use serde::{Deserialize, Serialize};

use super::home::{FolderId, Named, Temporary, temporary};

/// The state of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Note {
    /// Its bytes are coming in.
    Writing(Writing),
    /// All of it is here and durable, and about to become visible.
    Intent(Intent),
}

/// The bytes that are durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Writing {
    /// The file they are in.
    pub(super) file: Named,
    /// Chunks without a hole.
    pub(super) chunks: u64,
    /// Bytes of these.
    pub(super) length: u64,
    /// The fold of their digests.
    pub(super) digest: Vec<u8>,
    /// The folder into which a tree is being unpacked.
    pub(super) staged: Option<Named>,
}

/// A rename that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The file that the bytes came into.
    pub(super) file: Named,
    /// The folder that is renamed; without one it is the file.
    pub(super) staged: Option<Named>,
    /// The name it is to have.
    pub(super) target: Vec<u8>,
    /// Length and digest of the content.
    pub(super) summary: Summary,
    /// The result of the delivery.
    pub(super) committed: Committed,
    /// Set if something empty may bear that name until then. Not in notes of earlier builds.
    pub(super) reserved: bool,
    /// The folder that it is in. Another one of the same name, or of another name, tells nothing
    /// of whether the rename was made. Not in notes of earlier builds.
    pub(super) folder: Option<FolderId>,
}

/// Notes as they are kept. A change of the format is a new variant.
#[derive(Serialize, Deserialize)]
enum Versioned {
    V1(Note),
}

/// The beginning of a note of an intent; one of an earlier build ends before the last field, or
/// the last two.
const INTENT: &[u8] = &[0, 0, 0, 0, 1, 0, 0, 0];

/// The reason why a note is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoteError {
    #[error(transparent)]
    Codec(#[from] codec::CodecError),
    #[error("it tells of {0:?}, which is no name of a temporary")]
    Name(String),
}

impl Note {
    pub(super) fn encode(self) -> Result<Vec<u8>, NoteError> {
        Ok(codec::encode(&Versioned::V1(self))?)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, NoteError> {
        let Versioned::V1(note) = codec::decode(bytes).or_else(|error| {
            let lacks: &[usize] = if bytes.starts_with(INTENT) { &[1, 2] } else { &[] };
            let earlier = |&lacks| codec::decode(&[bytes, &[0; 2][..lacks]].concat()).ok();
            lacks.iter().find_map(earlier).ok_or(error)
        })?;
        let stray = |named: &&Named| temporary(&named.name) != Some(Temporary::Keep);
        let strayed = note
            .staged()
            .into_iter()
            .chain([note.file()])
            .find(stray)
            .map(|named| named.name.clone());
        strayed.map_or(Ok(note), |name| Err(NoteError::Name(name)))
    }

    /// The file that the bytes are in.
    pub(super) fn file(&self) -> &Named {
        match self {
            Self::Writing(Writing { file, .. }) | Self::Intent(Intent { file, .. }) => file,
        }
    }

    /// The folder a tree is unpacked into.
    pub(super) fn staged(&self) -> Option<&Named> {
        match self {
            Self::Writing(Writing { staged, .. }) | Self::Intent(Intent { staged, .. }) => {
                staged.as_ref()
            }
        }
    }

    /// Bytes that are here.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Writing(writing) => writing.length,
            Self::Intent(intent) => intent.summary.length,
        }
    }
}

impl Writing {
    /// These files, as if nothing were in them.
    pub(super) fn nothing(file: Named, staged: Option<Named>) -> Self {
        Self { file, chunks: 0, length: 0, digest: DigestFold::default().to_bytes(), staged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writing(name: &str) -> Note {
        let file = Named { name: name.into(), inode: 7 };
        Note::Writing(Writing { file, chunks: 2, length: 2048, digest: vec![1, 2], staged: None })
    }

    #[test]
    fn a_note_has_a_version_and_comes_back_as_it_was() {
        let note = writing(".estafette-0123456789abcdef-0123456789abcdef.keep");
        let bytes = note.clone().encode().unwrap();
        assert_eq!(bytes[..8], [0, 0, 0, 0, 0, 0, 0, 0], "version 1, writing");
        assert_eq!(Note::decode(&bytes).unwrap(), note);
        assert!(Note::decode(&[&[1], &bytes[1..]].concat()).is_err(), "another version");
        assert!(Note::decode(&bytes[..bytes.len() - 1]).is_err());
    }

    /// A delivery whose rename was made before its node died is not made again by a newer build.
    #[test]
    fn an_intent_of_an_earlier_build_is_read() {
        #[derive(Serialize)]
        enum EarlierVersioned {
            V1(EarlierNote),
        }
        #[derive(Serialize)]
        enum EarlierNote {
            #[expect(dead_code, reason = "it has a number")]
            Writing(Writing),
            Intent(EarlierIntent),
        }
        #[derive(Serialize)]
        struct EarlierIntent {
            file: Named,
            staged: Option<Named>,
            target: Vec<u8>,
            summary: Summary,
            committed: Committed,
            reserved: Option<bool>,
        }
        let file =
            Named { name: ".estafette-0123456789abcdef-0123456789abcdef.keep".into(), inode: 7 };
        let intent = |reserved| Intent {
            file: file.clone(),
            staged: None,
            target: b"photo.jpg".to_vec(),
            summary: Summary { length: 3, digest: [1; 32] },
            committed: Committed { place: "in/photo.jpg".into(), files: 1, ..Committed::default() },
            reserved,
            folder: None,
        };
        let Intent { staged, target, summary, committed, .. } = intent(true);
        let earlier = EarlierIntent {
            file: file.clone(),
            staged,
            target,
            summary,
            committed,
            reserved: None,
        };
        let mut bytes = codec::encode(&EarlierVersioned::V1(EarlierNote::Intent(earlier))).unwrap();
        // Builds before the first of the two fields.
        assert_eq!(bytes.pop(), Some(0));
        assert_eq!(Note::decode(&bytes).unwrap(), Note::Intent(intent(false)));
        // Those before the second one.
        bytes.push(1);
        assert_eq!(Note::decode(&bytes).unwrap(), Note::Intent(intent(true)));
        assert!(Note::decode(&bytes[..bytes.len() - 2]).is_err());
    }

    #[test]
    fn a_note_leads_to_temporaries_only() {
        for name in
            ["photo.jpg", "../../etc/passwd", ".estafette-0123456789abcdef-0123456789abcdef.part"]
        {
            assert!(
                matches!(Note::decode(&writing(name).encode().unwrap()), Err(NoteError::Name(_))),
                "{name}"
            );
        }
    }
}
