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
    /// any at all, `?` for one. A pattern with no `/` in it, or none but at its end, is one for
    /// names; any other is one for paths from the top of the tree.
    #[must_use]
    pub fn exclude(mut self, pattern: impl AsRef<OsStr>) -> Self {
        self.exclude.push(pattern.as_ref().as_bytes().to_vec());
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
        links.into_iter().chain(xattrs).chain(name).chain(exclude).collect()
    }

    /// Takes an item of a reference; whether it was one.
    pub(super) fn take_item(&mut self, item: &[u8]) -> bool {
        match item {
            b"links=keep" => self.links = Links::Keep,
            b"links=follow" => self.links = Links::Follow,
            b"xattrs" => self.xattrs = true,
            _ => match (item.strip_prefix(b"name="), item.strip_prefix(b"exclude=")) {
                (Some(name), _) => self.name = Some(name.to_vec()),
                (None, Some(pattern)) => self.exclude.push(pattern.to_vec()),
                (None, None) => return false,
            },
        }
        true
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
        match first {
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
            ("a/*/c", "a/b/c"),
            ("a/**", "a/b/c"),
            ("**/c", "a/b/c"),
            ("?", "x"),
            ("*", "anything"),
            ("a*b*c", "aXbYbc"),
        ] {
            assert!(excludes(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.o", "b.oo"),
            ("/target", "deep/target"),
            ("a/*", "a/b/c"),
            ("a*c", "a"),
            ("?", ""),
            ("b", "abc"),
        ] {
            assert!(!excludes(pattern, path), "{pattern} {path}");
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
        let mut again = ReadOptions::default();
        assert!(options.to_items().iter().all(|item| again.take_item(item)));
        assert_eq!(again, options);
        assert!(ReadOptions::default().to_items().is_empty() && !again.take_item(b"/a/path"));
    }
}
