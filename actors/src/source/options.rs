//! Options for reading paths, where a person has a choice.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A policy for symbolic links that lead out of the content, absolute ones among them. Other links
/// are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// They are sent as they are. The receiver decides whether it makes them.
    Keep,
    /// They are left out, and named. The default.
    #[default]
    Skip,
    /// Their targets are sent in their place.
    Follow,
}

/// Options for reading paths. Start with `ReadOptions::default()`, and change it by its methods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    pub(super) links: Links,
    pub(super) xattrs: bool,
    pub(super) name: Option<Vec<u8>>,
    pub(super) exclude: Vec<Vec<u8>>,
    /// The folders that have to hold something, by their names in the content.
    pub(super) filled: Vec<Vec<u8>>,
    /// Leaves out what is being written, as what could not be read.
    pub(super) settled: bool,
}

impl ReadOptions {
    /// Sets the policy for links that lead out of the content. Default: [`Links::Skip`].
    #[must_use]
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Sends extended attributes of users and access control lists (ACLs), too. Default: `false`;
    /// then a remark tells of what has some. A file that is sent alone has at most 64 of 12 KiB in
    /// all; what is beyond that is left behind with a remark.
    #[must_use]
    pub fn xattrs(mut self, sent: bool) -> Self {
        self.xattrs = sent;
        self
    }

    /// Sets the name of the content. By default it is that of its path.
    #[must_use]
    pub fn name(mut self, name: impl AsRef<OsStr>) -> Self {
        self.name = Some(name.as_ref().as_bytes().to_vec());
        self
    }

    /// Leaves out of trees what this pattern fits: `*` stands for any characters but `/`, `**` for
    /// any at all, and `**/` for any folders or none, `?` for one. A pattern with no `/` in it, or none but at its end, is one for
    /// names; any other is one for paths from the top of the tree, which may be written `./`, too.
    /// What people write may mean something else: [`check_pattern`].
    #[must_use]
    pub fn exclude(mut self, pattern: impl AsRef<OsStr>) -> Self {
        let pattern = pattern.as_ref().as_bytes();
        self.exclude.push(match pattern.strip_prefix(b"./") {
            Some(from_the_top) => [b"/", from_the_top].concat(),
            None => pattern.to_vec(),
        });
        self
    }

    pub(super) fn excludes(&self, path: &[u8]) -> bool {
        self.exclude.iter().any(|pattern| {
            let pattern = pattern.strip_suffix(b"/").unwrap_or(pattern);
            match pattern.strip_prefix(b"/") {
                Some(anchored) => fits(anchored, path),
                None if pattern.contains(&b'/') => fits(pattern, path),
                None => fits(pattern, path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()),
            }
        })
    }

    /// The options that make the content another one, as items.
    pub(super) fn to_items_of_content(&self) -> Vec<Vec<u8>> {
        Self { filled: Vec::new(), settled: false, ..self.clone() }.to_items()
    }

    /// As items of a reference: none is an absolute path.
    pub(super) fn to_items(&self) -> Vec<Vec<u8>> {
        let links = match self.links {
            Links::Keep => Some(b"links=keep".to_vec()),
            Links::Skip => None,
            Links::Follow => Some(b"links=follow".to_vec()),
        };
        let xattrs = self.xattrs.then(|| b"xattrs".to_vec());
        let name = self.name.iter().map(|name| [b"name=", &name[..]].concat());
        let exclude = self.exclude.iter().map(|pattern| [b"exclude=", &pattern[..]].concat());
        let filled = self.filled.iter().map(|ground| [b"filled=", &ground[..]].concat());
        let settled = self.settled.then(|| b"settled".to_vec());
        let of_content = links.into_iter().chain(xattrs).chain(name).chain(exclude);
        of_content.chain(filled).chain(settled).collect()
    }

    /// Takes an item of a reference; whether it was one.
    pub(super) fn take_item(&mut self, item: &[u8]) -> bool {
        match item {
            b"links=keep" => self.links = Links::Keep,
            b"links=follow" => self.links = Links::Follow,
            b"xattrs" => self.xattrs = true,
            b"settled" => self.settled = true,
            _ => {
                if let Some(name) = item.strip_prefix(b"name=") {
                    self.name = Some(name.to_vec());
                } else if let Some(pattern) = item.strip_prefix(b"exclude=") {
                    self.exclude.push(pattern.to_vec());
                } else if let Some(ground) = item.strip_prefix(b"filled=") {
                    self.filled.push(ground.to_vec());
                } else {
                    return false;
                }
            }
        }
        true
    }
}

/// An error of a pattern: what it would stand for elsewhere, it does not stand for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Nothing fits it.
    #[error("an empty pattern fits nothing")]
    Empty,
    /// A set of characters, or a choice.
    #[error("a pattern has *, ** and ? alone: for a name that has {0:?} in it, write ?")]
    Set(char),
    /// A name that is to come back.
    #[error("a pattern that begins with ! brings nothing back: for such a name, write ?")]
    Not,
    /// No path in a tree has such a part.
    #[error("a pattern has no part `.` or `..`: it begins at the top of what is sent, with /")]
    Dots,
}

/// Refuses a pattern for [`ReadOptions::exclude`] that fits nothing, or that a shell, `tar` or
/// `rsync` understands in another way: what was to stay at home would be sent.
pub fn check_pattern(pattern: &str) -> Result<(), PatternError> {
    let path = pattern.strip_prefix("./").unwrap_or(pattern);
    if path.trim_matches('/').is_empty() {
        return Err(PatternError::Empty);
    }
    if path.starts_with('!') {
        return Err(PatternError::Not);
    }
    if let Some(set) = path.chars().find(|character| "[]{}".contains(*character)) {
        return Err(PatternError::Set(set));
    }
    match path.split('/').any(|part| part == "." || part == "..") {
        true => Err(PatternError::Dots),
        false => Ok(()),
    }
}

/// Returns `true` if a pattern fits all of a text. Takes time by their lengths multiplied, at most.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    // Which beginnings of the text the pattern fits, as far as it was read.
    let mut fit = vec![false; text.len() + 1];
    fit[0] = true;
    let mut rest = pattern;
    while let Some((&first, behind)) = rest.split_first() {
        let deep = rest.starts_with(b"**");
        let is_part =
            pattern.len() == rest.len() || pattern[..pattern.len() - rest.len()].ends_with(b"/");
        match first {
            b'*' if is_part && rest.starts_with(b"**/") => {
                // Any folders, or none.
                let mut inside = false;
                for at in 0..text.len() {
                    inside |= fit[at];
                    fit[at + 1] |= inside && text[at] == b'/';
                }
                rest = &rest[3..];
                continue;
            }
            b'*' => {
                for at in 0..text.len() {
                    fit[at + 1] |= fit[at] && (deep || text[at] != b'/');
                }
                rest = if deep { &rest[2..] } else { behind };
                continue;
            }
            b'?' => (0..text.len()).rev().for_each(|at| fit[at + 1] = fit[at] && text[at] != b'/'),
            byte => (0..text.len()).rev().for_each(|at| fit[at + 1] = fit[at] && text[at] == byte),
        }
        fit[0] = false;
        rest = behind;
    }
    fit[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names_or_paths() {
        let excludes = |pattern: &str, path: &str| {
            ReadOptions::default().exclude(pattern).excludes(path.as_bytes())
        };
        for (pattern, path) in [
            ("*.o", "a/b.o"),
            ("target", "deep/target"),
            ("target/", "target"),
            ("/target", "target"),
            ("./target", "target"),
            ("a/*/c", "a/b/c"),
            ("a/**", "a/b/c"),
            ("**/c", "a/b/c"),
            ("**/c", "c"),
            ("a/**/c", "a/c"),
            ("a/**/c", "a/b/d/c"),
            ("a/**/**/c", "a/c"),
            ("?", "x"),
            ("*", "anything"),
            ("a*b*c", "aXbYbc"),
        ] {
            assert!(excludes(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.o", "b.oo"),
            ("/target", "deep/target"),
            ("./target", "deep/target"),
            ("a/*", "a/b/c"),
            ("**/c", "bc"),
            ("a/**/c", "ac"),
            ("a/**/c", "a/bc"),
            ("a*c", "a"),
            ("?", ""),
            ("b", "abc"),
        ] {
            assert!(!excludes(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn what_means_something_else_elsewhere_is_refused() {
        use PatternError::*;
        for (pattern, error) in [
            ("", Empty),
            ("/", Empty),
            ("./", Empty),
            ("[k]ey.pem", Set('[')),
            ("*.{o,a}", Set('{')),
            ("!keep", Not),
            ("a/../b", Dots),
            ("../b", Dots),
            ("a/./b", Dots),
        ] {
            assert_eq!(check_pattern(pattern), Err(error), "{pattern:?}");
        }
        for pattern in ["*.o", "target/", "/build/**", "./a/?", "a b", "..a", ".git"] {
            assert_eq!(check_pattern(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        assert!(!ReadOptions::default().exclude("*a".repeat(2000) + "b").excludes(&[b'a'; 4000]));
    }

    #[test]
    fn items_lead_back_to_the_options() {
        let options = ReadOptions::default()
            .links(Links::Follow)
            .xattrs(true)
            .name("a name")
            .exclude("*.o")
            .exclude("/x");
        let options = ReadOptions { filled: vec![b"".to_vec(), b"a".to_vec()], ..options };
        let options = ReadOptions { settled: true, ..options };
        let mut again = ReadOptions::default();
        assert!(options.to_items().iter().all(|item| again.take_item(item)));
        assert_eq!(again, options);
        assert!(ReadOptions::default().to_items().is_empty() && !again.take_item(b"/a/path"));
    }
}
