//! Letterboxes, which take durable messages of any type under a name, for those who pass them on.

use futures_util::future::BoxFuture;

use super::error::{RemoteError, RemoteErrorKind};
use super::form::Native;
#[cfg(feature = "json")]
use super::json::{Json, SUFFIX};
use super::letter_id::LetterId;
use super::mailbox::read;
use super::message::RemoteMessage;
use crate::wire::{PeerId, TraceContext};

/// A taker of durable messages under a name, whatever their types: for programs that store them and
/// pass them on, as a webhook does. Registered by
/// [`Node::register_letterbox`](crate::Node::register_letterbox).
pub trait Letterbox: Send + Sync + 'static {
    /// Returns false while a letter of so many bytes would not be taken, so that it is not given in
    /// vain, which costs durable writes. It is asked before each letter, and a few times in a second
    /// while one waits, on the thread of the node's links: it must be quick. Default: true.
    fn has_room(&self, _bytes: usize) -> bool {
        true
    }

    /// Returns the names of the types that it takes, as JSON, of any version: those who ask the node
    /// what may be sent to it are told of them. Default: none, which stands for all.
    fn types(&self) -> Vec<String> {
        Vec::new()
    }

    /// Takes a letter. When this ends well the letter is handled, and its sender hears that it was
    /// processed: what has to outlive the process is durable by then. The letters of one sender
    /// for one name come one after the other, in their order; one with which the process ends comes again, under
    /// the same id. It runs on the thread of the node's links, and must not block.
    ///
    /// # Errors
    /// With [`Full`](RemoteErrorKind::Full), [`Restarting`](RemoteErrorKind::Restarting) and
    /// [`Storage`](RemoteErrorKind::Storage) it is not taken now: it waits, with those of its sender
    /// for this name behind it, and is given again after a while (250 ms at first, 30 s at most),
    /// until it expires. With any other kind it is refused for good, and its sender is told why.
    fn take(&self, letter: ArrivedLetter) -> BoxFuture<'static, Result<(), RemoteError>>;
}

/// A letter as it came.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ArrivedLetter {
    /// Its id: the same at both ends, and each time that it is given.
    pub id: LetterId,
    /// The node that sent it.
    pub from: PeerId,
    /// The name that it was sent to.
    pub name: String,
    /// The name of its type, such as `shop.Order`.
    pub message: String,
    /// The version of its type.
    pub version: u32,
    /// The time at which this node stored it, in seconds since the Unix epoch.
    pub created: u64,
    /// The time at which it expires, in seconds since the Unix epoch.
    pub expires: u64,
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
    /// For whom it was sent, by the word of the node that sent it; see
    /// [`Reply::on_behalf`](super::Reply::on_behalf).
    pub on_behalf: Option<String>,
    /// True if it was written as JSON.
    pub(super) is_json: bool,
    pub(super) body: Vec<u8>,
}

impl ArrivedLetter {
    /// Returns the text of a letter that was written as JSON: any text, until it is read as JSON.
    /// `None` for one that was written natively, which can be read by who has its type alone.
    pub fn json(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok().filter(|_| self.is_json)
    }

    /// Returns true if it was written as JSON.
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// Reads it as this type, in the form in which it was written.
    ///
    /// # Errors
    /// [`RemoteErrorKind::NoSuchMessage`] if it is of another type or version, and
    /// [`RemoteErrorKind::Undecodable`].
    pub fn read<M: RemoteMessage>(&self) -> Result<M, RemoteError> {
        if (M::NAME, M::VERSION) != (self.message.as_str(), self.version) {
            let text = format!(
                "it is a {}, version {}, and no {}, version {}",
                self.message,
                self.version,
                M::NAME,
                M::VERSION
            );
            return Err(RemoteError::new(RemoteErrorKind::NoSuchMessage, text));
        }
        #[cfg(feature = "json")]
        if self.is_json {
            return read::<M, Json>(&self.body);
        }
        read::<M, Native>(&self.body)
    }
}

/// The name of a type, and whether its messages are JSON.
pub(super) fn split(message: &str) -> (&str, bool) {
    #[cfg(feature = "json")]
    if let Some(message) = message.strip_suffix(SUFFIX) {
        return (message, true);
    }
    (message, false)
}

/// Returns the error for messages that come in another way than as letters.
pub(super) fn letters_only(name: &str) -> RemoteError {
    let text = format!("{name:?} takes durable messages alone there: deliver it");
    RemoteError::new(RemoteErrorKind::NoSuchMessage, text)
}
