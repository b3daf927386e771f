//! The letterbox of a webhook: what it takes, and as which JSON.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use estafette::remote::{ArrivedLetter, Letterbox};
use estafette::{RemoteError, RemoteErrorKind, RemoteMessage};
use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::queue::{Put, Queue};
use super::record::{Head, Message};

/// The readers of native letters of some types, which write them as JSON.
#[derive(Clone, Default)]
pub(super) struct Readers(Vec<Reader>);

type Reader = (&'static str, u32, fn(&ArrivedLetter) -> Result<Vec<u8>, RemoteError>);

impl Readers {
    pub(super) fn add<M: RemoteMessage>(&mut self) {
        self.0.push((M::NAME, M::VERSION, read::<M>));
    }

    fn read(&self, letter: &ArrivedLetter) -> Result<Vec<u8>, RemoteError> {
        let (name, version) = (letter.message.as_str(), letter.version);
        let found = self.0.iter().find(|(own, of, _)| (*own, *of) == (name, version));
        let Some((_, _, read)) = found else {
            let text = format!(
                "{:?} posts messages to a web server, and takes them as JSON: deliver the {name} as \
                 JSON (`Node::remote_json`, `estafette deliver`)",
                letter.name
            );
            return Err(RemoteError::new(RemoteErrorKind::NoSuchMessage, text));
        };
        read(letter)
    }
}

fn read<M: RemoteMessage>(letter: &ArrivedLetter) -> Result<Vec<u8>, RemoteError> {
    let message: M = letter.read()?;
    serde_json::to_vec(&message).map_err(|error| {
        let text = format!("a {} can't be written as JSON: {error}", M::NAME);
        RemoteError::new(RemoteErrorKind::Undecodable, text)
    })
}

/// Puts letters into the queue.
pub(super) struct Slot {
    pub(super) queue: Arc<Queue>,
    pub(super) readers: Readers,
    /// All, if there are none.
    pub(super) types: Vec<String>,
}

impl Letterbox for Slot {
    fn has_room(&self, bytes: usize) -> bool {
        self.queue.has_room(bytes as u64)
    }

    fn types(&self) -> Vec<String> {
        self.types.clone()
    }

    fn take(&self, letter: ArrivedLetter) -> BoxFuture<'static, Result<(), RemoteError>> {
        let message = self.message(letter);
        let queue = Arc::clone(&self.queue);
        Box::pin(async move {
            let message = message?;
            let put = estafette::node::blocking(move || queue.put(&message)).await;
            match put.and_then(|put| put) {
                Ok(Put::Stored | Put::Known) => Ok(()),
                Ok(Put::Full) => {
                    let text = "as many messages wait for the webhook as may";
                    Err(RemoteError::new(RemoteErrorKind::Full, text))
                }
                Ok(Put::TooLong) => {
                    let text = "as JSON it is longer than a webhook keeps: 1 MiB";
                    Err(RemoteError::new(RemoteErrorKind::Unencodable, text))
                }
                Err(error) => {
                    tracing::error!(%error, "a webhook can't store a message: it is tried again");
                    Err(RemoteError::new(RemoteErrorKind::Storage, error.to_string()))
                }
            }
        })
    }
}

impl Slot {
    fn message(&self, letter: ArrivedLetter) -> Result<Message, RemoteError> {
        if !self.types.is_empty() && !self.types.contains(&letter.message) {
            let text = format!(
                "{:?} takes no {}; it takes {}",
                letter.name,
                letter.message,
                self.types.join(", ")
            );
            return Err(RemoteError::new(RemoteErrorKind::NoSuchMessage, text));
        }
        let body = match letter.json() {
            Some(text) => checked(&letter, text)?,
            None if letter.is_json() => return Err(no_json(&letter, "it is no text")),
            None => self.readers.read(&letter)?,
        };
        let trace = letter.trace.as_ref().map(|trace| (trace.to_string(), trace.state.clone()));
        let head = Head {
            id: letter.id.to_string(),
            from: letter.from.to_string(),
            name: letter.name,
            message: letter.message,
            version: letter.version,
            created: letter.created,
            trace,
        };
        Ok(Message { head, body: Bytes::from(body) })
    }
}

/// Checks, before it is signed, that what a peer says is JSON is so.
fn checked(letter: &ArrivedLetter, text: &str) -> Result<Vec<u8>, RemoteError> {
    let mut reading = serde_json::Deserializer::from_str(text);
    // What is passed over takes no stack.
    reading.disable_recursion_limit();
    serde::de::IgnoredAny::deserialize(&mut reading)
        .and_then(|_| reading.end())
        .map_err(|error| no_json(letter, &error.to_string()))?;
    Ok(text.as_bytes().to_vec())
}

fn no_json(letter: &ArrivedLetter, why: &str) -> RemoteError {
    let text = format!("a {} is no JSON: {why}", letter.message);
    RemoteError::new(RemoteErrorKind::Undecodable, text)
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, version, _)| (name, version))).finish()
    }
}
