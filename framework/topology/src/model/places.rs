//! The folder at which the paths of a topology begin.

use std::path::{Path, PathBuf};

use estafette::node::units;

/// The folder in which paths begin; confined, none leads out of it.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(super) base: PathBuf,
    pub(super) confined: bool,
}

impl Places {
    pub(crate) fn at(&self, path: &Path) -> PathBuf {
        if self.confined { units::path::below(&self.base, path) } else { self.base.join(path) }
    }

    /// Reads settings whose paths begin here.
    pub(crate) fn read<T>(&self, read: impl FnOnce() -> T) -> T {
        if self.confined {
            units::confined_to(&self.base, read)
        } else {
            units::relative_to(&self.base, read)
        }
    }
}
