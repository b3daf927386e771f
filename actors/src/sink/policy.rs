//! The choices of a folder's owner about the trees that it makes.

use std::fs::File;
use std::io;

use rustix::fs::XattrFlags;

use super::remarks::{Attribute, Remarks, is_passable};
use crate::tree::is_access_list;

/// The kinds of entries that are made as they came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Policy {
    /// Links that may lead out of the tree.
    pub(super) outward_links: bool,
    /// Lists of access: they name users by number, and those of this machine are others than the
    /// sender's.
    pub(super) access_lists: bool,
}

impl Policy {
    /// Sets the extended attributes that came with what is at `path`: lists of access last, which
    /// may say that its owner writes no others.
    pub(super) fn set(
        self,
        file: &File,
        attributes: &[(Vec<u8>, Vec<u8>)],
        path: &[u8],
        remarks: &mut Remarks,
    ) -> io::Result<()> {
        let (lists, others): (Vec<_>, Vec<_>) =
            attributes.iter().partition(|(name, _)| is_access_list(name));
        for (name, value) in others.into_iter().chain(lists) {
            if is_access_list(name) && !self.access_lists {
                remarks.unset(Attribute::Extended, path, &"this receiver takes no lists of access");
                continue;
            }
            match rustix::fs::fsetxattr(file, &**name, value, XattrFlags::empty())
                .map_err(io::Error::from)
            {
                // A file system has little room for them.
                Err(error) if is_passable(&error) || error.kind() == io::ErrorKind::StorageFull => {
                    remarks.unset(Attribute::Extended, path, &error);
                }
                set => set?,
            }
        }
        Ok(())
    }
}
