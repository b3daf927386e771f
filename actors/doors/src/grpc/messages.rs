//! The messages of `estafette.v1`, as `proto/estafette/v1/node.proto` has them: requests of all
//! methods are alike on the wire, and so are answers. A test compares both.

use prost::{Enumeration, Message, Oneof};

/// An actor, and what is sent to it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Target {
    /// `peer/name`.
    #[prost(string, tag = "1")]
    pub(crate) actor: String,
    /// The type; empty for bytes.
    #[prost(string, tag = "2")]
    pub(crate) r#type: String,
    /// Its version; 0 stands for 1.
    #[prost(uint32, tag = "3")]
    pub(crate) version: u32,
}

/// A message, or an answer.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Payload {
    #[prost(oneof = "Body", tags = "1, 2")]
    pub(crate) body: Option<Body>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
pub(crate) enum Body {
    #[prost(string, tag = "1")]
    Json(String),
    #[prost(bytes = "bytes", tag = "2")]
    Raw(bytes::Bytes),
}

/// A request of any method.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Asked {
    #[prost(message, optional, tag = "1")]
    pub(crate) target: Option<Target>,
    #[prost(message, optional, tag = "2")]
    pub(crate) payload: Option<Payload>,
}

/// An answer of a method that has some.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Answered {
    #[prost(message, optional, tag = "1")]
    pub(crate) payload: Option<Payload>,
}

/// The state of a message that is delivered.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DeliverResponse {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(enumeration = "State", tag = "2")]
    pub(crate) state: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum State {
    Unspecified = 0,
    Stored = 1,
    Delivered = 2,
    Processed = 3,
    Relayed = 4,
    Dead = 5,
}
