//! What a tree is made of.

use super::TreePath;

/// One entry of a tree stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The folder that was sent, where a single one was.
    Root {
        /// Permission bits.
        mode: u32,
        /// Modification time in nanoseconds since the Unix epoch.
        mtime: i64,
    },
    /// A folder; what lies in it follows.
    Folder {
        /// Where it is.
        path: TreePath,
        /// Permission bits.
        mode: u32,
        /// Modification time in nanoseconds since the Unix epoch.
        mtime: i64,
    },
    /// A regular file; its content and its [`FileStatus`] follow.
    File {
        /// Where it is.
        path: TreePath,
        /// Permission bits.
        mode: u32,
        /// Modification time in nanoseconds since the Unix epoch.
        mtime: i64,
        /// Length of the content in bytes.
        size: u64,
    },
    /// A symbolic link.
    Link {
        /// Where it is.
        path: TreePath,
        /// Modification time in nanoseconds since the Unix epoch.
        mtime: i64,
        /// What it points to, relative to the folder it is in.
        target: Vec<u8>,
    },
}

/// Whether the content of a file is all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStatus {
    /// It is.
    Complete,
    /// Reading failed in the middle.
    Unreadable,
    /// The file ended before its size was reached.
    Shrank,
    /// The file changed while it was read.
    Changed,
}

/// How much there was of what, told at the end of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Folders, without the root.
    pub folders: u64,
    /// Files that are complete.
    pub files: u64,
    /// Symbolic links.
    pub links: u64,
    /// What the sender left out, files that are not complete included.
    pub skipped: u64,
}

/// Bytes of an entry before its path.
pub(super) const HEAD: usize = 23;
/// Bytes of the end marker after its kind.
pub(super) const COUNTS: usize = 32;

pub(super) const END: u8 = 0;
pub(super) const ROOT: u8 = 1;
pub(super) const FOLDER: u8 = 2;
pub(super) const FILE: u8 = 3;
pub(super) const LINK: u8 = 4;

impl Entry {
    /// Appends the entry to `out`; of a file, all that comes before its content.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, mode, mtime, size, path): (u8, u32, i64, u64, &[u8]) = match self {
            Self::Root { mode, mtime } => (ROOT, *mode, *mtime, 0, &[]),
            Self::Folder { path, mode, mtime } => (FOLDER, *mode, *mtime, 0, path.as_bytes()),
            Self::File { path, mode, mtime, size } => (FILE, *mode, *mtime, *size, path.as_bytes()),
            Self::Link { path, mtime, target } => (LINK, 0, *mtime, target.len() as u64, path.as_bytes()),
        };
        out.push(kind);
        out.extend_from_slice(&mode.to_le_bytes());
        out.extend_from_slice(&mtime.to_le_bytes());
        out.extend_from_slice(&size.to_le_bytes());
        // A path has 4095 bytes at most.
        out.extend_from_slice(&(path.len() as u16).to_le_bytes());
        out.extend_from_slice(path);
        if let Self::Link { target, .. } = self {
            out.extend_from_slice(target);
        }
    }

    /// Bytes of the entry in a stream, content and status of a file included.
    pub(crate) fn encoded_length(&self) -> u64 {
        let (path, rest) = match self {
            Self::Root { .. } => return HEAD as u64,
            Self::Folder { path, .. } => (path, 0),
            Self::File { path, size, .. } => (path, size.saturating_add(1)),
            Self::Link { path, target, .. } => (path, target.len() as u64),
        };
        rest.saturating_add((HEAD + path.as_bytes().len()) as u64)
    }
}

impl FileStatus {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Unreadable => 1,
            Self::Shrank => 2,
            Self::Changed => 3,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        [Self::Complete, Self::Unreadable, Self::Shrank, Self::Changed].into_iter().find(|status| status.code() == code)
    }
}

impl std::fmt::Display for FileStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::Unreadable => "it could not be read to its end",
            Self::Shrank => "it became shorter while it was read",
            Self::Changed => "it changed while it was read",
        })
    }
}
