//! Paths and link targets inside a tree.
//!
//! Invariant: a [`TreePath`] can't lead out of the tree it is in.

use std::cmp::Ordering;

/// The longest path, in bytes.
pub(super) const PATH_LIMIT: usize = 4095;
/// The most components of a path.
const DEPTH_LIMIT: usize = 128;
/// The longest component, in bytes.
const COMPONENT_LIMIT: usize = 255;

/// A relative path below the root of a tree. Ordered component by component, as entries are in a
/// tree stream.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Vec<u8>);

/// An error of making a [`TreePath`] from bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// More bytes than a path may have.
    #[error("the path has {given} bytes, {PATH_LIMIT} are allowed")]
    TooLong {
        /// Bytes given.
        given: usize,
    },
    /// More folders in folders than are allowed.
    #[error("the path {path} has more than {DEPTH_LIMIT} components")]
    TooDeep {
        /// The path, printable.
        path: String,
    },
    /// Absolute, or with an empty component, `.`, `..`, a NUL, or a component that is too long.
    #[error(
        "{path:?} is no path inside a tree: its components may not be empty, \".\", \"..\" or \
         longer than {COMPONENT_LIMIT} bytes"
    )]
    Component {
        /// The path, printable.
        path: String,
    },
}

impl TreePath {
    /// Checks that `bytes` are a path inside a tree.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        if bytes.len() > PATH_LIMIT {
            return Err(PathError::TooLong { given: bytes.len() });
        }
        let unsuitable = |component: &[u8]| {
            matches!(component, b"" | b"." | b"..")
                || component.len() > COMPONENT_LIMIT
                || component.contains(&0)
        };
        if components(&bytes).any(unsuitable) {
            return Err(PathError::Component { path: printable(&bytes) });
        }
        if components(&bytes).count() > DEPTH_LIMIT {
            return Err(PathError::TooDeep { path: printable(&bytes) });
        }
        Ok(Self(bytes))
    }

    /// The path as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The last component.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// The path of the folder it lies in; empty at the top.
    pub fn parent(&self) -> &[u8] {
        let end = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        &self.0[..end]
    }

    /// Returns the number of folders of the tree that it lies in.
    pub fn depth(&self) -> usize {
        self.0.iter().filter(|&&byte| byte == b'/').count()
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        components(&self.0).cmp(components(&other.0))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for TreePath {
    /// As it may be shown on a terminal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

impl std::fmt::Debug for TreePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TreePath({self})")
    }
}

/// Returns `true` if a link with this target, in `depth` folders of a tree, stays in the tree.
///
/// `..` after a name is refused: the name may be a link itself, and what is above its target is
/// anybody's guess.
pub(crate) fn confined(target: &[u8], depth: usize) -> bool {
    if !leads_somewhere(target) || target[0] == b'/' {
        return false;
    }
    let (mut above, mut named) = (0, false);
    for component in components(target).filter(|component| !matches!(*component, b"" | b".")) {
        match component {
            b".." if named => return false,
            b".." => above += 1,
            _ => named = true,
        }
    }
    above <= depth
}

/// The bytes of a path for a person to read: what is no UTF-8 and what could steer a terminal is
/// replaced.
pub(crate) fn printable(path: &[u8]) -> String {
    estafette::wire::printable(&String::from_utf8_lossy(path)).to_string()
}

/// Returns `true` if these bytes can be what a link leads to, wherever that is.
pub(crate) fn leads_somewhere(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= PATH_LIMIT && !target.contains(&0)
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        for good in ["a", "a/b", "-rf", "...", "a\nb", " "] {
            assert!(TreePath::new(good).is_ok(), "{good:?}");
        }
        assert!(TreePath::new(b"\xff/\xfe".to_vec()).is_ok());
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\0b"] {
            assert!(matches!(TreePath::new(bad), Err(PathError::Component { .. })), "{bad:?}");
        }
        assert!(TreePath::new("a/".repeat(127) + "a").is_ok());
        assert!(matches!(TreePath::new("a/".repeat(128) + "a"), Err(PathError::TooDeep { .. })));
        assert!(TreePath::new("a".repeat(256)).is_err());
        assert_eq!(TreePath::new("a".repeat(4096)), Err(PathError::TooLong { given: 4096 }));
    }

    #[test]
    fn what_lies_in_a_folder_comes_right_after_it() {
        let path = |text: &str| TreePath::new(text).unwrap();
        assert!(path("a") < path("a/b") && path("a/b") < path("a-b"));
        assert_eq!(
            (path("a/b/c").parent(), path("a/b/c").name(), path("a/b/c").depth()),
            (&b"a/b"[..], &b"c"[..], 2)
        );
        assert_eq!(
            (path("a").parent(), path("a").name(), path("a").depth()),
            (&b""[..], &b"a"[..], 0)
        );
    }

    #[test]
    fn links_stay_in_the_tree() {
        for (target, depth) in [
            ("a", 0),
            ("./a/b", 0),
            ("../a", 1),
            ("../../a//b", 2),
            (".", 0),
            ("..", 1),
            ("...", 0),
        ] {
            assert!(confined(target.as_bytes(), depth), "{target} at {depth}");
        }
        for (target, depth) in [
            ("", 0),
            ("/", 3),
            ("/etc/passwd", 3),
            ("..", 0),
            ("../../a", 1),
            ("a/../b", 3),
            ("a\0", 0),
        ] {
            assert!(!confined(target.as_bytes(), depth), "{target} at {depth}");
        }
    }

    #[test]
    fn what_steers_a_terminal_is_made_visible() {
        assert_eq!(printable("Grüße \"von\" hier".as_bytes()), "Grüße \"von\" hier");
        assert_eq!(printable(b"a\x1b[2J\nb\xff"), "a\\u{1b}[2J\\nb\u{fffd}");
    }
}
