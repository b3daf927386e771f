//! The folders that a tree is read from, and which of them hold something.
//!
//! Invariant: a bounded number of them is known, the first ones. One that could not be read is never
//! taken for an empty one.

use std::collections::BTreeSet;

use estafette::pipeline::Ground;

use super::unread::Unread;
use super::walk::State;
use crate::tree::{Entry, printable};

/// The most folders that are told apart.
const GROUNDS: usize = 1000;

/// The folders that a walk has come to so far: the one that is the tree, or those at its top.
#[derive(Clone, Debug, Default)]
pub(super) struct Grounds {
    folders: Vec<(Vec<u8>, Ground)>,
    /// Set if one folder is the tree.
    is_one: bool,
    /// The names of those of which not all could be read; an empty one stands for all.
    unread: BTreeSet<Vec<u8>>,
}

impl Grounds {
    /// Those of a tree of one folder, which can't be read.
    pub(super) fn of_unread_folder() -> Self {
        Self { is_one: true, unread: BTreeSet::from([Vec::new()]), ..Self::default() }
    }

    /// The next entry of the walk.
    pub(super) fn entry(&mut self, entry: &Entry, state: &State) {
        let path = entry.path();
        let top = path.split(|&byte| byte == b'/').next().unwrap_or_default();
        match entry {
            Entry::Root { .. } => {
                self.is_one = true;
                self.add(Vec::new(), state);
            }
            Entry::Folder { .. } if !self.is_one && top == path => self.add(path.to_vec(), state),
            Entry::Folder { .. } => {}
            _ => {
                let top = if self.is_one { &[][..] } else { top };
                // The walk is in the last one.
                if let Some((name, ground)) = self.folders.last_mut()
                    && name == top
                {
                    ground.holds = true;
                }
            }
        }
    }

    fn add(&mut self, name: Vec<u8>, state: &State) {
        if self.folders.len() < GROUNDS {
            let (device, inode, holds) = (state.device, state.inode, false);
            self.folders
                .push((name.clone(), Ground { name: printable(&name), device, inode, holds }));
        }
    }

    /// The walk is over, and could not read these.
    pub(super) fn end(&mut self, unread: &Unread) {
        let top = |path: &[u8]| path.split(|&byte| byte == b'/').next().map(<[u8]>::to_vec);
        let tops = unread.paths().filter_map(|path| if self.is_one { top(b"") } else { top(path) });
        self.unread = tops.collect();
    }

    /// The walk has not come to all: of others than these nothing is known.
    pub(super) fn end_early(&mut self) {
        self.folders.retain(|(_, ground)| ground.holds);
    }

    fn is_unread(&self, name: &[u8]) -> bool {
        self.unread.contains(name) || self.unread.contains(&[][..])
    }

    /// All of them of which it is known if they hold something.
    pub(super) fn all(&self) -> Vec<Ground> {
        let known = self.folders.iter().filter(|(name, ground)| {
            // What can't be read may be all that is in it.
            ground.holds || !self.is_unread(name)
        });
        known.map(|(_, ground)| ground.clone()).collect()
    }

    /// The names of those in which something is, or may be that can't be read now.
    pub(super) fn filled(&self) -> Vec<Vec<u8>> {
        let filled = self.folders.iter().filter(|(_, ground)| ground.holds);
        let filled = filled.map(|(name, _)| name.clone());
        let unread = self.unread.iter().filter(|name| self.is_one || !name.is_empty()).cloned();
        let all: BTreeSet<_> = filled.chain(unread.take(GROUNDS)).collect();
        all.into_iter().collect()
    }

    /// The first of these names of folders that hold nothing, as far as they could be read.
    pub(super) fn emptied<'n>(&self, names: &'n [Vec<u8>]) -> Option<&'n [u8]> {
        let holds = |name: &[u8]| {
            self.is_unread(name)
                || self.folders.iter().any(|(of, ground)| of == name && ground.holds)
        };
        names.iter().map(Vec::as_slice).find(|name| !holds(name))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

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

    /// Does this as somebody who may read only what is allowed to.
    fn without_capabilities(work: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let limited = || {
                let none = rustix::thread::CapabilitySet::empty();
                let sets = rustix::thread::CapabilitySets {
                    effective: none,
                    permitted: none,
                    inheritable: none,
                };
                rustix::thread::set_capabilities(None, sets).unwrap();
                work();
            };
            scope.spawn(limited).join().unwrap();
        });
    }

    #[test]
    fn a_folder_that_can_not_be_read_is_no_empty_one_and_is_not_read_as_one_later() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let allow = |name: &str, mode: u32| {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        for name in ["a/deep", "b"] {
            fs::create_dir_all(at(name)).unwrap();
            fs::write(at(name).join("file"), "x").unwrap();
        }
        let mirror = Mirroring { filled: true, ..Mirroring::default() };
        without_capabilities(|| {
            for (paths, forbidden) in [
                (vec![at("a")], "a"),
                (vec![at("a")], "a/deep"),
                (vec![at("a"), at("b")], "a"),
                (vec![at("a"), at("b")], "a/deep"),
            ] {
                allow(forbidden, 0);
                let mut source = from_paths(&paths).unwrap();
                source.content();
                let grounds = source.state().grounds;
                let names: Vec<_> = grounds.iter().map(|ground| &*ground.name).collect();
                assert_eq!(names, ["b"][..paths.len() - 1], "{forbidden}");
                assert!(source.mirror(mirror));
                let reference = source.reference().unwrap();
                // Of a disk that fails, the rest is sent; a single folder has none.
                assert_eq!(read_all(&mut *source).is_ok(), paths.len() > 1 || forbidden != "a");
                allow(forbidden, 0o700);
                let again = || super::super::reopen(&reference.data).unwrap();
                read_all(&mut *again()).unwrap();
                // And then it is not mounted.
                fs::rename(at("a/deep"), at("away")).unwrap();
                let error = read_all(&mut *again()).unwrap_err();
                assert!(matches!(&error, SourceError::Emptied { .. }), "{error}");
                fs::rename(at("away"), at("a/deep")).unwrap();
            }
        });
    }
}
