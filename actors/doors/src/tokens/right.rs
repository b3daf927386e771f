//! The places that a token leads to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A pattern of what somebody may do.
///
/// `peer/name` is what somebody may speak to, an actor or an inbox of another node; `*` stands for
/// any peer, or any name. `read:inbox` is an inbox of the node itself, of which somebody may read
/// what arrived, and `done:inbox` one of which somebody may also say that it is processed; `read:*`
/// and `done:*` are all of these. None is a part of another: `*` reads nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Right(Covered);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Covered {
    Speak { peer: String, name: String },
    Read { inbox: String },
    Done { inbox: String },
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no pattern PEER/NAME: paris/shop, paris/* for all of a peer, * for everything, \
     read:INBOX for what arrived in an inbox here, or done:INBOX to say that it is processed"
)]
pub struct RightError {
    given: String,
}

const ANY: &str = "*";
const READ: &str = "read:";
const DONE: &str = "done:";

impl Right {
    /// The most of one token.
    pub const MOST: usize = 64;

    /// Returns `true` if it covers this name at a peer that is called by any of these.
    pub(crate) fn covers(&self, peer: &[&str], name: &str) -> bool {
        let is_named =
            matches!(&self.0, Covered::Speak { name: own, .. } if own == ANY || own == name);
        is_named && self.is_of(peer)
    }

    /// Returns `true` if it covers some name at it.
    pub(crate) fn is_of(&self, peer: &[&str]) -> bool {
        matches!(&self.0, Covered::Speak { peer: own, .. } if own == ANY || peer.contains(&&**own))
    }

    /// Returns `true` if what arrived in this inbox of the node may be read.
    pub(crate) fn reads(&self, inbox: &str) -> bool {
        matches!(&self.0, Covered::Read { inbox: own } if own == ANY || own == inbox)
    }

    /// Returns `true` if what arrived in this inbox of the node may be said to be processed.
    pub(crate) fn ends(&self, inbox: &str) -> bool {
        matches!(&self.0, Covered::Done { inbox: own } if own == ANY || own == inbox)
    }
}

impl FromStr for Right {
    type Err = RightError;

    fn from_str(given: &str) -> Result<Self, RightError> {
        let is_part = |part: &str| {
            let is_whole = part == ANY || !part.contains(ANY);
            !part.is_empty() && part.len() <= 256 && is_whole && !part.chars().any(char::is_control)
        };
        let error = || RightError { given: given.chars().take(80).collect() };
        if let Some(inbox) = given.strip_prefix(READ) {
            let read = Covered::Read { inbox: inbox.to_owned() };
            return is_part(inbox).then_some(Self(read)).ok_or_else(error);
        }
        if let Some(inbox) = given.strip_prefix(DONE) {
            let done = Covered::Done { inbox: inbox.to_owned() };
            return is_part(inbox).then_some(Self(done)).ok_or_else(error);
        }
        let (peer, name) =
            if given == ANY { (ANY, ANY) } else { given.split_once('/').unwrap_or_default() };
        if !is_part(peer) || !is_part(name) {
            return Err(error());
        }
        Ok(Self(Covered::Speak { peer: peer.to_owned(), name: name.to_owned() }))
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Covered::Speak { peer, name } => write!(f, "{peer}/{name}"),
            Covered::Read { inbox } => write!(f, "{READ}{inbox}"),
            Covered::Done { inbox } => write!(f, "{DONE}{inbox}"),
        }
    }
}

impl From<Right> for String {
    fn from(right: Right) -> Self {
        right.to_string()
    }
}

impl TryFrom<String> for Right {
    type Error = RightError;

    fn try_from(text: String) -> Result<Self, RightError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    fn covers(right: &str, peer: &[&str], name: &str) -> bool {
        right.parse::<Right>().unwrap().covers(peer, name)
    }

    #[test]
    fn a_pattern_covers_what_it_says_and_nothing_else() {
        assert!(covers("paris/shop", &["paris", "id"], "shop"));
        assert!(covers("id/shop", &["paris", "id"], "shop"));
        assert!(covers("paris/*", &["paris"], "a/b"));
        assert!(covers("*/shop", &["lyon"], "shop"));
        assert!(covers("*", &["lyon"], "anything"));
        assert!(covers("paris/a/b", &["paris"], "a/b"), "a name may have a slash");
        for (right, peer, name) in [
            ("paris/shop", "paris", "shop2"),
            ("paris/shop", "paris", "Shop"),
            ("paris/shop", "lyon", "shop"),
            ("paris/*", "parish", "shop"),
            ("*/shop", "paris", "shop/within"),
        ] {
            assert!(!covers(right, &[peer], name), "{right}: {peer}/{name}");
        }
    }

    #[test]
    fn to_read_an_inbox_and_to_be_done_with_it_are_rights_of_their_own() {
        let right = |text: &str| text.parse::<Right>().unwrap();
        assert!(right("read:files").reads("files") && right("read:*").reads("files"));
        assert!(right("done:files").ends("files") && right("done:*").ends("files"));
        for other in ["read:file", "done:file", "*", "*/files", "files/*", "read/files", "*/*"] {
            assert!(!right(other).reads("files") && !right(other).ends("files"), "{other}");
        }
        assert!(!right("read:*").ends("files") && !right("done:*").reads("files"));
        for read in ["read:files", "read:*", "read:paris/files", "done:files", "done:*"] {
            for peer in ["paris", "read:paris", "done:files"] {
                assert!(!right(read).covers(&[peer], "files"), "{read}");
                assert!(!right(read).is_of(&[peer]), "{read}");
            }
            assert_eq!(right(read).to_string(), read);
        }
    }

    #[test]
    fn what_is_no_pattern_says_what_one_is() {
        for bad in [
            "",
            "/",
            "paris",
            "paris/",
            "/shop",
            "par*/shop",
            "paris/sh*",
            "a\n/b",
            "read:",
            "read:f*",
            "done:",
            "done:f*",
        ] {
            let error = bad.parse::<Right>().unwrap_err().to_string();
            assert!(error.contains("PEER/NAME"), "{bad}: {error}");
        }
    }
}
