//! The messages of `estafette.v1` about contents, arrivals and watches, as the proto has them. A
//! test compares both.

use prost::{Enumeration, Message};

use super::messages::State;

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WatchRequest {
    #[prost(string, tag = "1")]
    pub(crate) who: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WatchResponse {
    #[prost(enumeration = "Presence", tag = "1")]
    pub(crate) presence: i32,
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum Presence {
    Unspecified = 0,
    Up = 1,
    Down = 2,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct SendRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) parcel: Option<Parcel>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) content: bytes::Bytes,
}

/// Content that is sent.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Parcel {
    #[prost(string, tag = "1")]
    pub(crate) inbox: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) length: Option<u64>,
    #[prost(string, tag = "4")]
    pub(crate) key: String,
}

/// An answer that tells of one content: of `Send` and of `Follow`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Followed {
    #[prost(message, optional, tag = "1")]
    pub(crate) transfer: Option<Transfer>,
}

/// Content that a token sent.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Transfer {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) inbox: String,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(enumeration = "State", tag = "4")]
    pub(crate) state: i32,
    #[prost(uint64, optional, tag = "5")]
    pub(crate) length: Option<u64>,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) blake3: Vec<u8>,
    #[prost(string, tag = "7")]
    pub(crate) why: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct FollowRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(enumeration = "State", tag = "2")]
    pub(crate) after: i32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct OutboxRequest {
    #[prost(uint32, tag = "1")]
    pub(crate) page_size: u32,
    #[prost(string, tag = "2")]
    pub(crate) page_token: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct OutboxResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) transfers: Vec<Transfer>,
    #[prost(string, tag = "2")]
    pub(crate) next_page_token: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ArrivalsRequest {
    #[prost(string, tag = "1")]
    pub(crate) inbox: String,
    #[prost(uint32, tag = "2")]
    pub(crate) page_size: u32,
    #[prost(string, tag = "3")]
    pub(crate) page_token: String,
    #[prost(bool, optional, tag = "4")]
    pub(crate) processed: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ArrivalsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) arrivals: Vec<Arrival>,
    #[prost(string, tag = "2")]
    pub(crate) next_page_token: String,
}

/// A delivery that arrived here.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Arrival {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) peer: String,
    #[prost(string, tag = "3")]
    pub(crate) from: String,
    #[prost(string, tag = "4")]
    pub(crate) name: String,
    #[prost(uint64, tag = "5")]
    pub(crate) length: u64,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) blake3: Vec<u8>,
    #[prost(uint64, tag = "7")]
    pub(crate) files: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) arrived: u64,
    #[prost(uint64, tag = "9")]
    pub(crate) expires: u64,
    #[prost(bool, tag = "10")]
    pub(crate) processed: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ReceiveRequest {
    #[prost(string, tag = "1")]
    pub(crate) inbox: String,
    #[prost(string, tag = "2")]
    pub(crate) id: String,
    #[prost(string, tag = "3")]
    pub(crate) from: String,
    #[prost(uint64, tag = "4")]
    pub(crate) offset: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) count: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ReceiveResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) arrival: Option<Arrival>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) content: bytes::Bytes,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ProcessedRequest {
    #[prost(string, tag = "1")]
    pub(crate) inbox: String,
    #[prost(string, tag = "2")]
    pub(crate) id: String,
    #[prost(string, tag = "3")]
    pub(crate) from: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ProcessedResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) arrival: Option<Arrival>,
}
