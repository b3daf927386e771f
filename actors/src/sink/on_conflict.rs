//! The choice between what is there and what arrives under its name.

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
    /// A file replaces a file or a symbolic link, a folder replaces a folder with all that is in
    /// it. What is of another kind is never replaced.
    Replace,
    /// As [`OnConflict::Replace`], but what a folder has and the new one has not stays in it: a
    /// mirror that forgets nothing. Files get a second name for that. Of deliveries that come at
    /// once, each finds what the one before it brought; what somebody else, or another process,
    /// puts there while a delivery becomes visible may be lost, as with every replacement.
    Merge,
}

impl OnConflict {
    /// The name of what stays in part when it is replaced.
    pub(super) fn keeps(self, name: &[u8]) -> Option<&[u8]> {
        (self == Self::Merge).then_some(name)
    }
}
