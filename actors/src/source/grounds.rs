//! The folders that a tree is read from, and which of them hold something.
//!
//! Invariant: a bounded number of them is known, the first ones.

use estafette::pipeline::Ground;

use super::walk::State;
use crate::tree::{Entry, printable};

/// The most folders that are told apart.
const GROUNDS: usize = 1000;

/// The folders that a walk has come to so far: the one that is the tree, or those at its top.
#[derive(Clone, Debug, Default)]
pub(super) struct Grounds(Vec<(Vec<u8>, Ground)>);

impl Grounds {
    /// The next entry of the walk.
    pub(super) fn entry(&mut self, entry: &Entry, state: &State) {
        let path = entry.path();
        let top = path.split(|&byte| byte == b'/').next().unwrap_or_default();
        let is_one = self.0.first().is_some_and(|(name, _)| name.is_empty());
        match entry {
            Entry::Root { .. } => self.add(Vec::new(), state),
            Entry::Folder { .. } if !is_one && top == path => self.add(path.to_vec(), state),
            Entry::Folder { .. } => {}
            _ => {
                let top = if is_one { &[][..] } else { top };
                // The walk is in the last one.
                if let Some((name, ground)) = self.0.last_mut()
                    && name == top
                {
                    ground.holds = true;
                }
            }
        }
    }

    fn add(&mut self, name: Vec<u8>, state: &State) {
        if self.0.len() < GROUNDS {
            let (device, inode, holds) = (state.device, state.inode, false);
            self.0.push((name.clone(), Ground { name: printable(&name), device, inode, holds }));
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Ground> {
        self.0.iter().map(|(_, ground)| ground.clone()).collect()
    }

    /// The names of those in which something is.
    pub(super) fn filled(&self) -> Vec<Vec<u8>> {
        self.0.iter().filter(|(_, ground)| ground.holds).map(|(name, _)| name.clone()).collect()
    }

    /// The first of these names of folders that hold nothing.
    pub(super) fn emptied<'n>(&self, names: &'n [Vec<u8>]) -> Option<&'n [u8]> {
        let holds = |name: &[u8]| self.0.iter().any(|(of, ground)| of == name && ground.holds);
        names.iter().map(Vec::as_slice).find(|name| !holds(name))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use estafette::pipeline::{Mirroring, Source, SourceError};

    use futures_util::FutureExt;

    use super::super::from_paths;

    fn read_all(source: &mut dyn Source) -> Result<(), SourceError> {
        let mut buffer = [0; 4096];
        let read = async {
            while source.read(&mut buffer).await? > 0 {}
            source.finish().map(drop)
        };
        read.now_or_never().expect("it does not wait")
    }

    #[test]
    fn a_folder_that_held_something_is_not_read_as_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a/deep", "b"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("a/deep/file"), "x").unwrap();
        for paths in [vec![at("a")], vec![at("a"), at("b")]] {
            let mut source = from_paths(&paths).unwrap();
            source.content();
            let grounds = source.state().grounds;
            let holds: Vec<_> = grounds.iter().map(|ground| ground.holds).collect();
            assert_eq!(holds, [true, false][..paths.len()], "{grounds:?}");
            let (version, length) = (source.version(), source.content().length);
            assert!(source.mirror(Mirroring { filled: true, ..Mirroring::default() }));
            assert_eq!((source.version(), source.content().length), (version, length));
            read_all(&mut *source).unwrap();
            // As another process finds it, once its disk is not mounted.
            let reference = source.reference().unwrap();
            fs::rename(at("a/deep"), at("away")).unwrap();
            let mut again = super::super::reopen(&reference.data).unwrap();
            let error = read_all(&mut *again).unwrap_err();
            assert!(matches!(&error, SourceError::Emptied { .. }), "{error}");
            assert!(error.to_string().contains("/a held something"), "{error}");
            fs::rename(at("away"), at("a/deep")).unwrap();
            again.rewind().unwrap();
            read_all(&mut *again).unwrap();
        }
    }
}
