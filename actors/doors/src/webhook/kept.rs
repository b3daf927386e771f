//! The queue of a webhook for people, whether or not a process posts from it.

use std::io;
use std::path::{Path, PathBuf};

use super::open;
use super::queue::{Limits, Queue};
use super::record::{Disabled, Message, Rests, Tries};
use super::{BYTES_MOST, DEAD, MESSAGES_MOST};

/// The messages that a webhook keeps in its folder. What is changed here, a process that posts from
/// it takes up within a second.
#[derive(Debug)]
pub struct Kept {
    queue: Queue,
    folder: PathBuf,
}

/// A message that a webhook keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptMessage {
    /// The id of its letter, which is its `webhook-id`.
    pub id: String,
    /// The id of the node that sent it.
    pub from: String,
    /// The name that it was sent to.
    pub name: String,
    /// Its type.
    pub message: String,
    /// The version of its type.
    pub version: u32,
    /// The time at which it came, in seconds since the Unix epoch.
    pub created: u64,
    /// Its state.
    pub state: KeptState,
    /// The tries so far.
    pub tries: u32,
    /// The time of the next try, in seconds since the Unix epoch: not before the end of a rest.
    pub next: u64,
    /// The time of the last one, in seconds since the Unix epoch.
    pub last: Option<u64>,
    /// The status that was answered then.
    pub status: Option<u16>,
    /// The reason why it failed, for a person.
    pub why: Option<String>,
    /// The length of its JSON, in bytes.
    pub bytes: u64,
    /// The JSON of the message, where it is asked for alone.
    pub body: Option<String>,
}

/// The state of a message that a webhook keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeptState {
    /// It is tried until it is answered well.
    Waiting,
    /// All tries have failed.
    Dead,
}

/// An error of what a webhook keeps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// There is no such message.
    #[error("there is no message {id:?}: it was posted, dropped, or never there")]
    NoSuch {
        /// Its id.
        id: String,
    },
    /// The folder can't be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Kept {
    /// The messages in that folder, which has to be there. All of this blocks.
    pub fn open(folder: impl AsRef<Path>) -> io::Result<Self> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            let text = format!("there is no webhook in {}", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let limits = Limits { messages: MESSAGES_MOST, bytes: BYTES_MOST, dead: DEAD, free: 0 };
        Queue::open(folder, limits).map(|queue| Self { queue, folder: folder.to_owned() })
    }

    /// Returns the messages in the order in which they came, without their JSON.
    pub fn messages(&self) -> io::Result<Vec<KeptMessage>> {
        self.queue.look()?;
        let mut messages = Vec::new();
        for (number, tries) in self.queue.all() {
            if let Some(message) = self.queue.message(number)? {
                messages.push(KeptMessage { body: None, ..self.kept(message, tries) });
            }
        }
        Ok(messages)
    }

    /// Returns the message of that id.
    pub fn message(&self, id: &str) -> Result<KeptMessage, KeptError> {
        let number = self.number(id)?;
        let tries = self.queue.tries(number).unwrap_or_default();
        let message = self.queue.message(number)?.ok_or_else(|| none(id))?;
        Ok(self.kept(message, tries))
    }

    /// Returns how many messages wait, without those that are dead.
    pub fn waiting(&self) -> io::Result<usize> {
        self.queue.look()?;
        Ok(self.queue.counts().waiting)
    }

    /// Returns the reason why it is disabled, if it is.
    pub fn disabled(&self) -> io::Result<Option<Disabled>> {
        self.queue.look()?;
        Ok(self.queue.disabled())
    }

    /// Returns the rest that its receiver has asked for, unless it is over: nothing is posted before
    /// its end.
    pub fn rests(&self) -> io::Result<Option<Rests>> {
        self.queue.look()?;
        Ok(self.queue.rests())
    }

    /// Returns true if some process has opened it, and posts what is due.
    pub fn is_open(&self) -> io::Result<bool> {
        open::is_open(&self.folder)
    }

    /// Returns the id of the message behind which all others wait, where some process posts one after
    /// the other, as they came.
    pub fn first(&self) -> io::Result<Option<String>> {
        self.queue.look()?;
        let is_ordered = open::is_ordered(&self.folder)? && self.is_open()?;
        Ok(self.queue.first().filter(|_| is_ordered))
    }

    /// Has the message posted now, and all its tries before it; a dead one, too. A rest ends for it.
    /// Where the webhook is disabled, or no process has it open, it is posted after that.
    pub fn retry(&self, id: &str) -> Result<(), KeptError> {
        Ok(self.queue.renew(self.number(id)?)?)
    }

    /// Has all dead messages posted now, as [`retry`](Self::retry) has one; returns their ids.
    pub fn retry_dead(&self) -> io::Result<Vec<String>> {
        self.queue.renew_dead()
    }

    /// Forgets the message. One that is being posted goes its way.
    pub fn drop_message(&self, id: &str) -> Result<(), KeptError> {
        Ok(self.queue.remove(self.number(id)?)?)
    }

    /// Has it post again after it was disabled, or while it rests; returns false if it was not
    /// disabled.
    pub fn enable(&self) -> io::Result<bool> {
        self.queue.enable()
    }

    fn kept(&self, Message { head, body }: Message, tries: Tries) -> KeptMessage {
        let was_tried = tries.tries > 0;
        let rests = self.queue.rests().map_or(0, |rests| rests.until);
        KeptMessage {
            id: head.id,
            from: head.from,
            name: head.name,
            message: head.message,
            version: head.version,
            created: head.created,
            state: if tries.dead { KeptState::Dead } else { KeptState::Waiting },
            tries: tries.tries,
            next: (tries.next / 1000).max(rests),
            last: was_tried.then_some(tries.at),
            status: tries.status,
            why: was_tried.then_some(tries.why),
            bytes: body.len() as u64,
            body: Some(String::from_utf8_lossy(&body).into_owned()),
        }
    }

    fn number(&self, id: &str) -> Result<u64, KeptError> {
        self.queue.look()?;
        self.queue.find(id).ok_or_else(|| none(id))
    }
}

fn none(id: &str) -> KeptError {
    KeptError::NoSuch { id: id.chars().take(80).collect() }
}
