//! What the bytes of a method's messages are, and what they become for its actor.

use bytes::Bytes;
use serde::de::IgnoredAny;
use tonic::{Code, Status};

use super::status::not_handled;

/// What a method's messages are.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Bytes that the actor alone understands.
    Raw,
    /// Texts of JSON.
    Json,
    /// Messages of a proto.
    #[cfg(feature = "proto")]
    Proto(super::proto::Translation),
}

impl Form {
    /// What the actor is sent for a message of the client.
    pub(super) fn request(&self, message: Bytes) -> Result<Bytes, Status> {
        match self {
            Self::Raw => Ok(message),
            // What is none is known not to have been handled, where it is seen here.
            Self::Json => match json(&message) {
                Ok(()) => Ok(message),
                Err(why) => {
                    let text = format!("the request is no JSON: {why}");
                    Err(not_handled(Code::InvalidArgument, "NO_JSON", &text))
                }
            },
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
            #[cfg(feature = "proto")]
            Self::Proto(translation) => translation.reply(&reply),
        }
    }
}

fn json(message: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(message).map_err(|error| error.to_string())?;
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| error.to_string())
}
