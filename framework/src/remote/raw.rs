//! Bytes whose meaning their sender and receiver know, and nobody between them.

use actix::{Message, MessageResponse};
use serde::{Deserialize, Serialize};

use super::message::RemoteMessage;

/// A message without a type: for programs that speak bytes of their own, such as clients of gRPC
/// behind a door. The name of its type is `estafette.Raw`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Raw {
    /// A text that says what is called: the path of a method, say. For an actor that takes several.
    pub method: String,
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// The answer to [`Raw`], or one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, MessageResponse)]
pub struct RawReply(
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub Vec<u8>,
);

impl Raw {
    /// These bytes, for this method.
    pub fn new(method: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { method: method.into(), body: body.into() }
    }
}

impl Message for Raw {
    type Result = RawReply;
}

impl RemoteMessage for Raw {
    const NAME: &'static str = "estafette.Raw";
    const VERSION: u32 = 1;
}

impl From<Vec<u8>> for RawReply {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}
