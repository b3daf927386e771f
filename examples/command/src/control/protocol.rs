//! The protocol of questions and answers: one JSON object per line.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use estafette::{RemoteError, RemoteErrorKind};
use estafette_topology::{Recorded, Replayed, RouteLook, TapNews, TapOptions};
use serde::{Deserialize, Serialize};

use crate::arguments::Reading;
use crate::arrival::Arrival;
use crate::call::{Call, Heard};
use crate::entry::Entry;
use crate::error::{CommandError, ErrorKind};
use crate::event::Stored;
use crate::finding::Finding;
use crate::left_out::LeftOut;
use crate::letter::Letter;
use crate::news::News;
use crate::settings::OFF;

/// A question. A longer line than [`Request::LIMIT`] is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Deposit(Deposit),
    /// Send it now, without storing it, and tell how it goes; whoever asks cancels it by closing
    /// the connection.
    Send(Deposit),
    List,
    /// By the beginning of an id, as all that follow.
    Show(String),
    Retry(String),
    Cancel(String),
    Drop(String),
    /// By the whole id: how it is when somebody else has it, when a try has failed, or when it is
    /// taken out; whoever asks may close the connection to hear no more.
    Await(String),
    Arrivals,
    /// All that can be seen of it.
    Snapshot,
    /// Tell what the doctor finds in the outbox.
    Examine,
    /// Make a call, and tell what comes of it; whoever asks cancels it by closing the connection.
    Call(Call),
    /// Store a message, which is delivered once.
    Deliver(Call),
    /// The messages that are stored.
    Letters,
    /// By the whole id: when it was processed; whoever asks may close the connection.
    Processed(String),
    /// By the whole id: forget one that is dead.
    Forget(String),
    /// Look at the topology in this file now, by the bytes of its absolute path; tell what has
    /// changed when all is done.
    Reload(Vec<u8>),
    /// Tell how many deliveries are kept for others.
    Keeps,
    /// Tell what the routes have done and are doing.
    Routes,
    /// Tell what passes a route; whoever asks may close the connection to hear no more.
    Tap {
        route: String,
        options: TapOptions,
    },
    /// Record what passes a route, and tell of each delivery; as long as whoever asks listens.
    Record {
        route: String,
        receiver: Option<String>,
        /// Absolute.
        folder: String,
    },
    /// Send by a route what was recorded.
    Replay {
        route: String,
        /// Absolute.
        file: String,
    },
}

/// A request of a call that takes many, on a line of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Item {
    Json(String),
    /// There are no more.
    Done,
}

/// A delivery to be stored: the content, and where it goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deposit {
    /// A ticket, or PEER/INBOX.
    pub(crate) to: String,
    /// Bytes, since paths need not be UTF-8.
    paths: Vec<Vec<u8>>,
    pub(crate) chunk_size: Option<u32>,
    /// As nodes understand it that do not read `how`.
    compress: bool,
    /// The codec's name, or off; nothing from those who ask as before.
    #[serde(default)]
    how: Option<String>,
    /// Nothing was said of it: what the node prefers counts.
    #[serde(default)]
    by_itself: bool,
    /// Set if the spool keeps a copy of the content.
    #[serde(default)]
    pub(crate) copy: bool,
    /// In seconds.
    pub(crate) expires: Option<u64>,
    /// The relay.
    #[serde(default)]
    pub(crate) via: Option<String>,
    #[serde(default)]
    pub(crate) reading: Reading,
    /// The stages that chunks pass, by name.
    #[serde(default)]
    pub(crate) stages: Vec<String>,
}

/// The outcome of a reload for a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) node: String,
    /// The change in words; or the reason why there was none.
    pub(crate) change: String,
    /// The kind of error, if it failed.
    pub(crate) kind: Option<ErrorKind>,
}

/// The first words, so that who asks knows that somebody is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) pid: u32,
    pub(super) version: String,
}

/// A part of an answer; [`Reply::Done`], [`Reply::Failed`] or [`Reply::CallFailed`] is its last
/// one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Stored(Stored),
    /// It is under way.
    Sending {
        id: String,
        peer: String,
    },
    News(News),
    /// A list of what was left behind of a tree.
    LeftOut(LeftOut),
    Entry(Box<Entry>),
    Arrival(Box<Arrival>),
    Finding(Finding),
    /// As `Node::snapshot` gives it.
    Snapshot(Box<serde_json::Value>),
    /// A part of what a call ends in.
    Heard(Heard),
    /// The call has failed.
    CallFailed(RemoteError),
    /// A message that is stored, or was processed.
    Letter(Letter),
    /// The outcome of a reload for one node.
    Reloaded(Outcome),
    /// It runs another file, or is reloaded by the process that started it.
    NotOfIt,
    Keeps(u64),
    Routes(Vec<RouteLook>),
    /// From now on what passes is told.
    Tapping,
    Tap(TapNews),
    Recorded(Recorded),
    Replayed(Replayed),
    /// Its id.
    Cancelled(String),
    /// Its id: it is taken out, and its receiver may have it.
    MayBeThere(String),
    /// Its id.
    Dropped(String),
    Failed(Failed),
    /// It stores nothing more, since it is about to end: whoever has the spool next does.
    Stopping,
    /// No part of the answer: it is still being worked on.
    Working,
    Done,
}

impl Request {
    /// The longest line of a question, in bytes: a message of 1 MiB, each byte of which may be
    /// escaped, and what stands around it.
    pub(super) const LIMIT: u64 = (2 << 20) + (512 << 10);
}

impl Deposit {
    pub(crate) fn new(to: String, paths: &[PathBuf]) -> Self {
        let paths = paths.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
        Self {
            to,
            paths,
            chunk_size: None,
            compress: true,
            how: None,
            by_itself: true,
            copy: false,
            expires: None,
            via: None,
            reading: Reading::default(),
            stages: Vec::new(),
        }
    }

    pub(crate) fn set_compress(&mut self, how: Option<&str>) {
        self.compress = how != Some(OFF);
        (self.how, self.by_itself) = (how.map(ToOwned::to_owned), how.is_none());
    }

    /// The value of `--compress`, if it was given.
    pub(super) fn compress(&self) -> Option<&str> {
        let as_before = if self.compress { "snappy" } else { OFF };
        let said = self.how.as_deref().or(Some(as_before));
        said.filter(|_| !self.by_itself)
    }

    /// All of them absolute: whoever reads them has another working directory.
    pub(super) fn paths(&self) -> Result<Vec<PathBuf>, CommandError> {
        let paths: Vec<PathBuf> =
            self.paths.iter().map(|path| OsString::from_vec(path.clone()).into()).collect();
        if paths.is_empty() || !paths.iter().all(|path| Path::is_absolute(path)) {
            return Err(CommandError::usage(
                "only absolute paths can be stored",
                "ask with `estafette send --detach`",
            ));
        }
        Ok(paths)
    }
}

/// An error, as the process that asked tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    kind: ErrorKind,
    message: String,
    hint: String,
    /// The kind of what is about a message to an actor. Other builds leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remote: Option<RemoteErrorKind>,
}

impl From<CommandError> for Reply {
    fn from(CommandError { kind, message, hint, remote, .. }: CommandError) -> Self {
        Self::Failed(Failed { kind, message, hint, remote })
    }
}

impl From<Failed> for CommandError {
    fn from(Failed { kind, message, hint, remote }: Failed) -> Self {
        Self { remote, ..Self::new(kind, message, hint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_text_comes_through() {
        let odd = PathBuf::from(OsString::from_vec(b"/\xff\n".to_vec()));
        let line = serde_json::to_string(&Request::Deposit(Deposit::new(
            "paris/files".into(),
            std::slice::from_ref(&odd),
        )))
        .unwrap();
        let Request::Deposit(deposit) = serde_json::from_str(&line).unwrap() else {
            panic!("{line}")
        };
        assert_eq!(deposit.paths().unwrap(), [odd]);
        assert!(Deposit::new("paris/files".into(), &["relative".into()]).paths().is_err());
    }

    #[test]
    fn what_is_not_said_of_compression_is_not_what_an_earlier_build_says() {
        let mut deposit = Deposit::new("paris/files".into(), &["/letter".into()]);
        assert_eq!(deposit.compress(), None);
        for how in [Some("lz4"), Some(OFF), None] {
            deposit.set_compress(how);
            let line = serde_json::to_string(&deposit).unwrap();
            let read: Deposit = serde_json::from_str(&line).unwrap();
            assert_eq!(read.compress(), how, "{line}");
        }
        for (compress, how) in [(true, "snappy"), (false, OFF)] {
            let line = format!(
                r#"{{"to":"paris/files","paths":[],"chunk_size":null,"compress":{compress},"expires":null}}"#
            );
            let read: Deposit = serde_json::from_str(&line).unwrap();
            assert_eq!(read.compress(), Some(how), "{line}");
        }
    }

    #[test]
    fn a_question_with_the_most_paths_that_can_be_stored_is_no_longer_than_one_may_be() {
        let most = "/".to_owned() + &"\u{7f}".repeat(48 << 10);
        let line = serde_json::to_string(&Request::Deposit(Deposit::new(
            "x".repeat(8 << 10),
            &[most.into()],
        )))
        .unwrap();
        assert!((line.len() as u64) < Request::LIMIT);
    }
}
