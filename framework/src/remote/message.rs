//! The traits of a type that travels to an actor on another node.

use actix::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::RemoteError;

/// A message that can be sent to an actor on another node. `#[derive(RemoteMessage)]` makes one of
/// a serde type.
///
/// # Compatibility
/// Both ends look for the same [`NAME`](Self::NAME), then for the same [`VERSION`](Self::VERSION).
/// Within one version, fields may be added at the end of a struct that is a message or a reply,
/// with `#[serde(default)]`: older and newer programs then understand each other. Anything else
/// changes the version: another order or type of fields, variants of enums, fields of structs
/// within. One name takes several versions, each a type of its own.
///
/// # What travels
/// Types that read all that they write, in the same order: the bytes have no names. Not
/// `skip_serializing_if`, `flatten`, `untagged`, `tag`, one-sided `skip_serializing` or
/// `skip_deserializing`, which the derive refuses; nor types within that have them, values of
/// any kind (`serde_json::Value`), or what is nested more than 128 deep: these are
/// [`Unencodable`](super::RemoteErrorKind::Unencodable). `docs/messages.md` has the whole list.
pub trait RemoteMessage:
    Message<Result: Serialize + DeserializeOwned + Send> + Serialize + DeserializeOwned + Send + 'static
{
    /// The name of the type on the wire, at most 128 bytes: the same in all programs that exchange
    /// it.
    const NAME: &'static str;
    /// Its version.
    const VERSION: u32;
    /// True if an actor that takes this type takes it as JSON, too, under the name of the type and
    /// `+json`: `#[remote(…, json)]`. Needs the feature `json`. Default: `false`.
    const JSON: bool = false;

    /// The JSON schemas of it and of its answer: `#[remote(…, schema)]`. Needs the feature
    /// `schema`, and that both types are `schemars::JsonSchema`.
    fn schemas() -> Option<&'static Schemas> {
        None
    }
}

/// The JSON Schemas of a message and its answer, as texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schemas {
    /// Of the message.
    pub message: String,
    /// Of its answer, or of each of them.
    pub answer: String,
}

/// The result of a message that has a place for a failure, or that nobody waits for. Such a message
/// can be sent by a plain `Recipient`, which does not tell that the actor is elsewhere.
pub trait RemoteResult: Sized {
    /// True if nobody waits for the result, so that the message travels without an answer.
    const NOTHING: bool;

    /// The result when it could not be had.
    fn failed(error: RemoteError) -> Self;
}

impl RemoteResult for () {
    const NOTHING: bool = true;

    fn failed(_: RemoteError) -> Self {}
}

impl<T, E: From<RemoteError>> RemoteResult for Result<T, E> {
    const NOTHING: bool = false;

    fn failed(error: RemoteError) -> Self {
        Err(error.into())
    }
}
