//! Where a token leads to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A pattern `peer/name` of what somebody may speak to; `*` stands for any peer, or any name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Right {
    peer: String,
    name: String,
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no pattern PEER/NAME: paris/shop, paris/* for all of a peer, * for everything"
)]
pub struct RightError {
    given: String,
}

const ANY: &str = "*";

impl Right {
    /// The most of one token.
    pub const MOST: usize = 64;

    /// Whether it covers this name at a peer that is called by any of these.
    pub(crate) fn covers(&self, peer: &[&str], name: &str) -> bool {
        self.is_of(peer) && (self.name == ANY || self.name == name)
    }

    /// Whether it covers some name at it.
    pub(super) fn is_of(&self, peer: &[&str]) -> bool {
        self.peer == ANY || peer.contains(&&*self.peer)
    }
}

impl FromStr for Right {
    type Err = RightError;

    fn from_str(given: &str) -> Result<Self, RightError> {
        let (peer, name) =
            if given == ANY { (ANY, ANY) } else { given.split_once('/').unwrap_or_default() };
        let is_part = |part: &str| {
            let is_whole = part == ANY || !part.contains(ANY);
            !part.is_empty() && part.len() <= 256 && is_whole && !part.chars().any(char::is_control)
        };
        if !is_part(peer) || !is_part(name) {
            return Err(RightError { given: given.chars().take(80).collect() });
        }
        Ok(Self { peer: peer.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.peer, self.name)
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
    fn what_is_no_pattern_says_what_one_is() {
        for bad in ["", "/", "paris", "paris/", "/shop", "par*/shop", "paris/sh*", "a\n/b"] {
            let error = bad.parse::<Right>().unwrap_err().to_string();
            assert!(error.contains("PEER/NAME"), "{bad}: {error}");
        }
    }
}
