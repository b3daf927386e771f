//! The tree stream: how folders, files and links travel as one stream of bytes.
//!
//! Many small files share chunks, and a tree has one digest: the BLAKE3 of its stream. All numbers
//! are little-endian. Version 1:
//!
//! ```text
//! stream   ├ "estafette tree stream v1\n" ┼ root? ┼ entry … ┼ end ┤
//!
//!          0      1          5           13         21         23
//! entry    ├ kind ┼ mode ────┼ mtime ────┼ size ────┼ path len ┼ path … ┼ …
//!            u8     u32        i64, ns     u64        u16
//!
//!   1 root     the folder that was sent: its mode and mtime. First or absent; size 0, no path
//!   2 folder   size 0
//!   3 file     … ┼ content, size bytes ┼ status u8 ┤    0 complete, 1 could not be read on, 2 it shrank, 3 it changed
//!   4 link     … ┼ target, size bytes ┤                 mode 0
//!   5 hard link     … ┼ target, size bytes ┤            mode and mtime 0; target: the path of a file that came before
//!   6 outward link  … ┼ target, size bytes ┤            mode 0; its target may lead out of the tree
//!   7 attribute     … ┼ value, size bytes ┤             mode and mtime 0; path: the name of an extended attribute
//!   8 remark        … ┼ text, size bytes ┤              mode, mtime and path 0; for a person
//!   9 unread   mode, mtime and size 0; path: something that is there and could not be read
//!
//!          0      1             9           17          25            33
//! end      ├ 0 ───┼ folders ────┼ files ────┼ links ────┼ skipped ────┤
//!                   u64           u64         u64         u64
//! ```
//!
//! An attribute belongs to the root, folder or file that comes next. Remarks say what the sender
//! left behind; they may stand anywhere else. So may `unread`, whose path may be one of a folder
//! that was an entry, not all of which could be read, or empty: then there are more than are named.
//! What a receiver has in its place is not gone at the sender, and stays.
//!
//! The content of a file with a status other than 0 is padded to its size and worth nothing: a
//! receiver leaves that file out. `files` counts the complete ones; `skipped` counts these and all
//! that the sender could not even begin.
//!
//! Invariants, which [`TreeReader`] enforces whatever it is given:
//! - A path is relative, `/` between its components, none of them empty, `.` or `..`; it need not
//!   be UTF-8. It has at most 4095 bytes, 128 components, 255 bytes in a component.
//! - Entries come depth first, siblings sorted by the bytes of their names, so each path is greater
//!   than the one before it when they are compared component by component. A path therefore comes
//!   only once, without a list of those seen.
//! - What an entry lies in was an entry before: a folder, never a file or a link.
//! - The target of a link is relative, its `..` stand at its front, and there are no more of them
//!   than folders around the link: it can't lead out of the tree, not even by way of other links.
//!   An outward link is what it is: whoever unpacks the tree decides whether it is made.
//! - A hard link's target is less than its own path. Whether a file was there is for whoever
//!   unpacks the tree to see.
//! - Attributes are `user.…` and the two lists of access (ACLs); an entry has at most 64, of 64 KiB
//!   in all. A stream has at most 32 remarks, of 512 bytes each, and 1,024 `unread`, whose paths
//!   have 64 KiB in all.

mod entry;
mod path;
mod reader;
mod writer;

pub use entry::{Counts, Entry, FileStatus};
pub use path::{PathError, TreePath};
pub use reader::{Event, TreeError, TreeReader};
pub use writer::TreeWriter;

pub(crate) use entry::{
    ATTRIBUTE_BYTES, ATTRIBUTES, UNREAD, UNREAD_BYTES, is_access_list, may_travel,
};
pub(crate) use path::{confined, printable};

/// The beginning of every tree stream.
const MAGIC: &[u8; 25] = b"estafette tree stream v1\n";
