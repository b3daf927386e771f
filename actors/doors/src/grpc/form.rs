//! The form of a method's messages, and what becomes of their bytes for its actor.

use bytes::Bytes;
use estafette::remote::PROTO_LIMIT;
use tonic::{Code, Status};

use super::payload::{self, json};
use super::status::{self, not_handled};
use super::target::Replied;

/// The form of a method's messages.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Bytes that the actor alone understands.
    Raw,
    /// Texts of JSON.
    Json,
    /// Messages of `estafette.v1`, with JSON or bytes within.
    Named { is_json: bool },
    /// Messages of a proto, for an actor that has their types.
    Packed,
    /// Messages of a proto, for an actor that takes JSON.
    #[cfg(feature = "proto")]
    Proto(super::translation::Translation),
}

impl Form {
    /// Returns what the actor is sent for a message of the client.
    pub(super) fn request(&self, message: Bytes) -> Result<Bytes, Status> {
        match self {
            Self::Raw => Ok(message),
            Self::Json => json(&message).map(|()| message),
            Self::Packed if message.len() > PROTO_LIMIT => {
                let text = format!(
                    "a message of {} bytes: {PROTO_LIMIT} are allowed for one of a proto",
                    message.len()
                );
                Err(not_handled(Code::ResourceExhausted, "FULL", &text))
            }
            Self::Packed => Ok(message),
            Self::Named { is_json } => payload::request(&message, *is_json),
            #[cfg(feature = "proto")]
            Self::Proto(translation) => translation
                .request(&message)
                .map_err(|text| not_handled(Code::InvalidArgument, "UNDECODABLE", &text)),
        }
    }

    /// Returns what the client is sent for a reply of the actor.
    pub(super) fn reply(&self, reply: Replied) -> Result<Bytes, Status> {
        let reply = reply.map_err(|error| status::own(&error))?;
        match self {
            Self::Raw | Self::Json | Self::Packed => Ok(reply),
            Self::Named { is_json } => Ok(payload::reply(reply, *is_json)),
            #[cfg(feature = "proto")]
            Self::Proto(translation) => translation.reply(&reply),
        }
    }
}
