//! The entries of a tree.

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
        /// Its path in the tree.
        path: TreePath,
        /// Permission bits.
        mode: u32,
        /// Modification time in nanoseconds since the Unix epoch.
        mtime: i64,
    },
    /// A regular file; its content and its [`FileStatus`] follow.
    File {
        /// Its path in the tree.
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
        /// Its path in the tree.
        path: TreePath,
        /// Modification time in nanoseconds since the Unix epoch.
        mtime: i64,
        /// Its target, relative to the folder that it is in.
        target: Vec<u8>,
    },
    /// A symbolic link that may lead out of the tree: whoever makes it has to want that.
    OutwardLink {
        /// Its path in the tree.
        path: TreePath,
        /// Modification time in nanoseconds since the Unix epoch.
        mtime: i64,
        /// Its target, which may be anything.
        target: Vec<u8>,
    },
    /// A further name of a file that came before.
    HardLink {
        /// Its path in the tree.
        path: TreePath,
        /// The file's first name.
        target: TreePath,
    },
}

/// The completeness of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStatus {
    /// All of it is there.
    Complete,
    /// Reading failed in the middle.
    Unreadable,
    /// The file ended before its size was reached.
    Shrank,
    /// The file changed while it was read.
    Changed,
}

/// The numbers of entries of each kind, told at the end of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Folders, without the root.
    pub folders: u64,
    /// Files that are complete, and further names of files.
    pub files: u64,
    /// Symbolic links.
    pub links: u64,
    /// Entries that the sender left out, files that are not complete included.
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
pub(super) const HARD_LINK: u8 = 5;
pub(super) const OUTWARD_LINK: u8 = 6;
pub(super) const ATTRIBUTE: u8 = 7;
pub(super) const REMARK: u8 = 8;
pub(super) const UNREAD_ENTRY: u8 = 9;

impl Entry {
    /// Appends the entry to `out`; of a file, all that comes before its content.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, mode, mtime, size, path): (u8, u32, i64, u64, &[u8]) = match self {
            Self::Root { mode, mtime } => (ROOT, *mode, *mtime, 0, &[]),
            Self::Folder { path, mode, mtime } => (FOLDER, *mode, *mtime, 0, path.as_bytes()),
            Self::File { path, mode, mtime, size } => (FILE, *mode, *mtime, *size, path.as_bytes()),
            Self::Link { path, mtime, target } => {
                (LINK, 0, *mtime, target.len() as u64, path.as_bytes())
            }
            Self::OutwardLink { path, mtime, target } => {
                (OUTWARD_LINK, 0, *mtime, target.len() as u64, path.as_bytes())
            }
            Self::HardLink { path, target } => {
                (HARD_LINK, 0, 0, target.as_bytes().len() as u64, path.as_bytes())
            }
        };
        let rest: &[u8] = match self {
            Self::Link { target, .. } | Self::OutwardLink { target, .. } => target,
            Self::HardLink { target, .. } => target.as_bytes(),
            Self::Root { .. } | Self::Folder { .. } | Self::File { .. } => &[],
        };
        head(kind, mode, mtime, size, path, out);
        out.extend_from_slice(rest);
    }

    /// Its modification time; the least there is where it tells none.
    pub(crate) fn mtime(&self) -> i64 {
        match self {
            Self::Root { mtime, .. }
            | Self::Folder { mtime, .. }
            | Self::File { mtime, .. }
            | Self::Link { mtime, .. }
            | Self::OutwardLink { mtime, .. } => *mtime,
            Self::HardLink { .. } => i64::MIN,
        }
    }

    /// Its path; empty for the root.
    pub(crate) fn path(&self) -> &[u8] {
        match self {
            Self::Root { .. } => &[],
            Self::Folder { path, .. }
            | Self::File { path, .. }
            | Self::Link { path, .. }
            | Self::OutwardLink { path, .. }
            | Self::HardLink { path, .. } => path.as_bytes(),
        }
    }

    /// Bytes of the entry in a stream, content and status of a file included.
    pub(crate) fn encoded_length(&self) -> u64 {
        let (path, rest) = match self {
            Self::Root { .. } => return HEAD as u64,
            Self::Folder { path, .. } => (path, 0),
            Self::File { path, size, .. } => (path, size.saturating_add(1)),
            Self::Link { path, target, .. } | Self::OutwardLink { path, target, .. } => {
                (path, target.len() as u64)
            }
            Self::HardLink { path, target } => (path, target.as_bytes().len() as u64),
        };
        rest.saturating_add((HEAD + path.as_bytes().len()) as u64)
    }
}

/// Appends the fixed fields of an entry, and its path of 4095 bytes at most.
pub(super) fn head(kind: u8, mode: u32, mtime: i64, size: u64, path: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&mode.to_le_bytes());
    out.extend_from_slice(&mtime.to_le_bytes());
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&(path.len() as u16).to_le_bytes());
    out.extend_from_slice(path);
}

/// Returns `true` if an attribute of this name may stand in a tree: those of users, and the two
/// lists of access. No others: some make a program run with rights of their own.
pub(crate) fn may_travel(name: &[u8]) -> bool {
    name.len() <= ATTRIBUTE_NAME
        && (is_access_list(name)
            || (name.starts_with(b"user.") && name.len() > 5 && !name.contains(&0)))
}

/// Returns `true` if an attribute of this name says who may do what.
pub(crate) fn is_access_list(name: &[u8]) -> bool {
    matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default")
}

/// The longest name of an attribute, in bytes.
const ATTRIBUTE_NAME: usize = 255;
/// The most attributes of an entry.
pub(crate) const ATTRIBUTES: usize = 64;
/// The most bytes of an entry's attributes, names and values together.
pub(crate) const ATTRIBUTE_BYTES: usize = 64 << 10;
/// The most remarks in a stream.
pub(super) const REMARKS: usize = 32;
/// The most entries in a stream that could not be read.
pub(crate) const UNREAD: usize = 1024;
/// The most bytes of their paths together.
pub(crate) const UNREAD_BYTES: usize = 64 << 10;
/// The longest remark, in bytes.
pub(super) const REMARK_BYTES: usize = 512;

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
        [Self::Complete, Self::Unreadable, Self::Shrank, Self::Changed]
            .into_iter()
            .find(|status| status.code() == code)
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
