//! The choice between what is there and what arrives under its name.

use super::unread::Unread;

/// A thing that stays in part when a tree takes its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    pub(super) name: &'a [u8],
    /// Set if all stays that the tree has not; else, what its sender could not read.
    pub(super) is_all: bool,
}

/// A policy for a delivery whose name is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnConflict {
    /// It is refused, before its first byte if the name is taken by then. The default.
    #[default]
    Refuse,
    /// It gets a number: `photo.jpg` becomes `photo (1).jpg`. A thousand names are tried, then it
    /// is refused.
    Rename,
    /// A file replaces a file, a symbolic link, or a folder with all that is in it; a folder
    /// replaces a file, or a folder with all that is in it, but for what the sender has and could
    /// not read: that stays. No folder replaces a link.
    Replace,
    /// As [`OnConflict::Replace`], but what a folder has and the new one has not stays in it: a
    /// mirror that forgets nothing. No file replaces a folder, then. A folder stays where the new
    /// one has something else under its name: that is left out, with a remark at both ends. Files
    /// get a second name for that. Of deliveries that come at once, each finds what the one before
    /// it brought; what somebody else, or another process, puts there while a delivery becomes
    /// visible may be lost, as with every replacement.
    Merge,
}

impl OnConflict {
    /// The name of what stays in part when it is replaced by a tree.
    pub(super) fn keeps<'a>(self, name: &'a [u8], unread: &Unread) -> Option<Kept<'a>> {
        match self {
            Self::Merge => Some(Kept { name, is_all: true }),
            // What could not be read is not gone.
            Self::Replace if !unread.is_empty() => Some(Kept { name, is_all: false }),
            _ => None,
        }
    }
}
