//! What the bytes of a method's messages are, and what they become for its actor.

use bytes::Bytes;
use serde::de::IgnoredAny;
use tonic::{Code, Status};

use super::node;
use super::status::not_handled;

/// What a method's messages are.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Bytes that the actor alone understands.
    Raw,
    /// Texts of JSON.
    Json,
    /// Messages of `estafette.v1`, with JSON or bytes within.
    Named { is_json: bool },
    /// Messages of a proto.
    #[cfg(feature = "proto")]
    Proto(super::proto::Translation),
}

impl Form {
    /// What the actor is sent for a message of the client.
    pub(super) fn request(&self, message: Bytes) -> Result<Bytes, Status> {
        match self {
            Self::Raw => Ok(message),
            Self::Json => json(&message).map(|()| message),
            Self::Named { is_json } => node::request(&message, *is_json),
            #[cfg(feature = "proto")]
            Self::Proto(translation) => translation
                .request(&message)
                .map_err(|text| not_handled(Code::InvalidArgument, "UNDECODABLE", &text)),
        }
    }

    /// What the client is sent for a reply of the actor.
    pub(super) fn reply(&self, reply: Bytes) -> Result<Bytes, Status> {
        match self {
            Self::Raw | Self::Json => Ok(reply),
            Self::Named { is_json } => Ok(node::reply(reply, *is_json)),
            #[cfg(feature = "proto")]
            Self::Proto(translation) => translation.reply(&reply),
        }
    }
}

/// Refuses what is no JSON: it is known not to have been handled, where that is seen here.
pub(super) fn json(message: &[u8]) -> Result<(), Status> {
    let text = std::str::from_utf8(message).map_err(|error| error.to_string());
    let read = text.and_then(|text| {
        serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| error.to_string())
    });
    read.map_err(|why| {
        let text = format!("the request is no JSON: {why}");
        not_handled(Code::InvalidArgument, "NO_JSON", &text)
    })
}
