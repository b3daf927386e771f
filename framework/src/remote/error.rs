//! Errors of messages that did not reach an actor elsewhere, or whose answer did not come back.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::printable;

/// An error of a message to another node: a kind for programs, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RemoteError {
    /// The kind of error.
    pub kind: RemoteErrorKind,
    /// The text: what went wrong, where, and what can be done about it.
    pub message: String,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The kinds of errors of messages to another node.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum RemoteErrorKind {
            $($(#[$doc])* $name = $code,)*
        }

        impl RemoteErrorKind {
            /// The kind with this code on the wire; a code of a later version stands for [`RemoteErrorKind::Other`].
            pub(crate) const fn from_code(code: u8) -> Self {
                match code {
                    $($code => Self::$name,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

kinds! {
    /// The peer is not known by this name here.
    UnknownPeer = 1,
    /// There is no link, and none came about in time. The message was not sent.
    Unreachable = 2,
    /// The link broke after the message was sent: whether it was handled is not known.
    LinkLost = 3,
    /// The peer speaks no typed messages.
    Unsupported = 4,
    /// Nothing has that name there.
    NoSuchName = 5,
    /// The actor of that name does not take this type of message, or not in this way.
    NoSuchMessage = 6,
    /// It takes another version of this type of message.
    VersionMismatch = 7,
    /// This node may not send to that name, or not to that node, which does not trust it.
    Forbidden = 8,
    /// More waits for that actor already than may.
    Full = 9,
    /// The actor panicked, or stopped, while it had the message.
    Died = 10,
    /// The actor has died and is being started anew: it was not given the message.
    Restarting = 11,
    /// The receiver can't read the message.
    Undecodable = 12,
    /// The answer can't be read.
    BadReply = 13,
    /// The message can't be written, or is too large.
    Unencodable = 14,
    /// No answer came in time.
    Deadline = 15,
    /// Whoever asked, or was asked, gave up.
    Cancelled = 16,
    /// A node is stopping.
    ShuttingDown = 17,
    /// A store failed, or there is none.
    Storage = 18,
    /// It was worth delivering only until a time that has passed.
    Expired = 19,
    /// Another letter was delivered under its key. Nothing was stored.
    Conflict = 20,
    /// Something else, which the message tells.
    Other = 255,
}

/// Tells whether a message that ended in an error was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handled {
    /// It was not handled: sending it again does nothing twice.
    No,
    /// It was handled, and only its answer is missing.
    Yes,
    /// Nobody here knows.
    Unknown,
}

impl Handled {
    /// In a word: `no`, `yes` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Unknown => "unknown",
        }
    }
}

impl RemoteErrorKind {
    /// Returns whether a message that ended in this error was handled. The kinds that may concern
    /// the answer as well as the message ([`Full`](Self::Full), [`Unencodable`](Self::Unencodable))
    /// leave it unknown.
    pub const fn handled(self) -> Handled {
        match self {
            Self::UnknownPeer
            | Self::Unreachable
            | Self::Unsupported
            | Self::NoSuchName
            | Self::NoSuchMessage
            | Self::VersionMismatch
            | Self::Forbidden
            | Self::Restarting
            | Self::Undecodable
            | Self::Storage
            | Self::Conflict => Handled::No,
            Self::BadReply | Self::Other => Handled::Yes,
            Self::LinkLost
            | Self::Full
            | Self::Died
            | Self::Unencodable
            | Self::Deadline
            | Self::Cancelled
            | Self::ShuttingDown
            | Self::Expired => Handled::Unknown,
        }
    }

    /// The code on the wire.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl RemoteError {
    /// An error of this kind.
    pub fn new(kind: RemoteErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// An error as a peer told it. What it says is for people here: nothing in it may move a
    /// cursor.
    pub(crate) fn told(code: u8, text: &str) -> Self {
        Self::new(RemoteErrorKind::from_code(code), printable(text).to_string())
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.message))
    }
}

impl std::error::Error for RemoteError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kind_says_of_handling_is_what_the_documents_say() {
        let document = include_str!("../../docs/messages.md");
        for code in 1..=u8::MAX {
            let kind = RemoteErrorKind::from_code(code);
            let start = format!("| `{kind:?}` |");
            let row = document.lines().find(|line| line.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("{kind:?} is not documented"));
            let documented = match row.split('|').nth(3).map(str::trim) {
                Some("no") => Handled::No,
                Some("yes") => Handled::Yes,
                _ => Handled::Unknown,
            };
            assert_eq!(kind.handled(), documented, "{row}");
        }
    }
}
