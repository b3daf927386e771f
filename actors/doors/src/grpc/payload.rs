//! The content of requests and replies: JSON, or what a message of `estafette.v1` has.

use bytes::Bytes;
use estafette::remote::JsonRemote;
use prost::Message;
use tonic::{Code, Status};

use super::messages::{Answered, Asked, Body, Payload};
use super::status::not_handled;

/// A request of `estafette.v1` to an actor.
pub(super) fn decoded(message: &Bytes) -> Result<Asked, Status> {
    read(message)
}

/// A request of `estafette.v1`.
pub(super) fn read<M: Message + Default>(message: &Bytes) -> Result<M, Status> {
    M::decode(message.clone()).map_err(|error| {
        let text = format!("the request is none of estafette.v1: {error}");
        not_handled(Code::InvalidArgument, "UNDECODABLE", &text)
    })
}

/// The message within a request.
pub(super) fn request(message: &Bytes, is_json: bool) -> Result<Bytes, Status> {
    let wrong = |text: &str| Err(not_handled(Code::InvalidArgument, "PAYLOAD", text));
    match decoded(message)?.payload.and_then(|payload| payload.body) {
        Some(Body::Json(text)) if is_json => {
            let text = Bytes::from(text);
            json(&text).map(|()| text)
        }
        Some(Body::Raw(bytes)) if !is_json => Ok(bytes),
        Some(Body::Raw(_)) => wrong("the target has a type, so that its messages are JSON"),
        Some(Body::Json(_)) => wrong("the target has no type, so that its messages are raw"),
        None => wrong("the request has no payload"),
    }
}

/// A reply, as an answer.
pub(super) fn reply(reply: Bytes, is_json: bool) -> Bytes {
    let body = if is_json {
        // What is no text is no JSON, and was refused before.
        Body::Json(String::from_utf8_lossy(&reply).into_owned())
    } else {
        Body::Raw(reply)
    };
    Answered { payload: Some(Payload { body: Some(body) }) }.encode_to_vec().into()
}

/// Refuses what is no JSON: it is known not to have been handled, where that is seen here.
pub(super) fn json(message: &[u8]) -> Result<(), Status> {
    let text = std::str::from_utf8(message).map_err(|error| error.to_string());
    text.and_then(JsonRemote::check).map_err(|why| {
        let text = format!("the request is no message: {why}");
        not_handled(Code::InvalidArgument, "NO_JSON", &text)
    })
}
