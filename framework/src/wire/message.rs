//! The items in the batches of a link's message stream.
//!
//! A batch is the content of one sealed chunk: items one after the other, none across two batches.
//! An item is a byte of kind, then its fields in the order of the variants below: numbers as
//! LEB128, texts and bodies as their length and their bytes. With its highest bit set, a trace
//! context stands before the fields; with the next one, behind that, for whom it is sent (where both
//! ends have [`FEATURE_ON_BEHALF`](super::FEATURE_ON_BEHALF)).
//!
//! ```text
//!  batch: ├ item ┼ item ┼ … ┤
//!  item:  ├ kind u8 ┼ [trace 25 ‖ state] ┼ [on behalf] ┼ number ┼ … ┼ length ┼ body ┤
//! ```
//!
//! What is too large for a batch is written as an item, and that item is cut: [`Item::Begin`] says
//! how long it is, [`Item::Part`]s carry it. Only one is under way in each direction of a link.
//!
//! Invariant: what was decoded is what [`Item::encode`] writes; nothing is allocated for what bytes
//! claim.

mod reading;

pub use self::reading::Items;
use super::along::{Along, may_be_said};
use super::bounded::cut;

/// The most bytes of a batch: with its prefix and tag it fits into a frame of the express lane.
pub const BATCH_LIMIT: usize = (64 << 10) - 64;
/// The stream that frames of the message stream name.
pub const MESSAGE_STREAM: u64 = 0;
/// The most bytes of a message, encoded.
pub const MESSAGE_LIMIT: usize = 16 << 20;
/// The most bytes of an item that was cut: a message and what stands before it.
pub const ITEM_LIMIT: usize = MESSAGE_LIMIT + 4096;
/// The most bytes of the name of an actor or of a type of message.
pub const NAME_LIMIT: usize = 128;
/// The most bytes of the text of an error; the rest is cut off.
const TEXT_LIMIT: usize = 512;
/// The most bytes of a trace state.
const STATE_LIMIT: usize = 512;
/// In a kind: a trace context follows.
const TRACED: u8 = 0x80;
/// In a kind: for whom it is sent follows.
const ON_BEHALF: u8 = 0x40;
/// The kind of a tell.
const TELL: u8 = 2;
/// The kind of a reply.
const REPLY: u8 = 6;

/// One thing that is said in a batch. `call`s are numbered by the caller, `target`s and `watch`es
/// by whoever named them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// From now on, `target` stands for messages of this type to that name.
    Bind {
        /// Its number, the next one.
        target: u32,
        /// The name of the actor.
        name: &'a str,
        /// The name of the type.
        message: &'a str,
        /// The version of the type.
        version: u32,
    },
    /// A message without an answer.
    Tell {
        /// The number of the target.
        target: u32,
        /// The message.
        body: &'a [u8],
    },
    /// Begins a call.
    Call {
        /// Its number.
        call: u64,
        /// The number of the target.
        target: u32,
        /// [`Shape`] of it.
        shape: Shape,
        /// The request; empty where requests are a stream.
        body: &'a [u8],
    },
    /// One more request of a call whose requests are a stream.
    Request {
        /// The number of the call.
        call: u64,
        /// The request.
        body: &'a [u8],
    },
    /// No more requests.
    RequestsEnd {
        /// The number of the call.
        call: u64,
    },
    /// The reply of a call, or one more of a stream of them.
    Reply {
        /// The number of the call.
        call: u64,
        /// The reply.
        body: &'a [u8],
    },
    /// No more replies.
    RepliesEnd {
        /// The number of the call.
        call: u64,
    },
    /// A call is over, without what it asked for.
    Failed {
        /// The number of the call.
        call: u64,
        /// The code of the error.
        code: u8,
        /// The error, in words.
        text: &'a str,
    },
    /// The caller no longer wants an answer.
    Cancel {
        /// The number of the call.
        call: u64,
    },
    /// So much of what was sent to a target has been handled.
    Consumed {
        /// The number of the target to which it was sent.
        target: u32,
        /// The number of messages without an answer.
        tells: u64,
        /// The cost, in units of credit.
        cost: u64,
    },
    /// So much of what was sent in a call has been handled: by the callee if `of_requests`, by the
    /// caller if not.
    Credit {
        /// The number of the call.
        call: u64,
        /// True if requests were handled, false if replies were.
        of_requests: bool,
        /// The cost, in units of credit.
        cost: u64,
    },
    /// So many messages without an answer did not reach the target.
    Undelivered {
        /// The number of the target to which they were sent.
        target: u32,
        /// The number of these messages.
        count: u64,
        /// The code of the error.
        code: u8,
        /// The error, in words.
        text: &'a str,
    },
    /// Tell from now on whether this name is up.
    Watch {
        /// Its number.
        watch: u64,
        /// The name.
        name: &'a str,
    },
    /// No longer.
    Unwatch {
        /// Its number.
        watch: u64,
    },
    /// A name that is watched is up, or down.
    Status {
        /// The watch.
        watch: u64,
        /// True if the name is up.
        up: bool,
        /// The code of the reason why the name is down.
        code: u8,
    },
    /// A message that is delivered once. Their numbers rise in the order they were stored in, for
    /// each log, and on each link, with gaps.
    Deliver {
        /// The sender's log.
        log: [u8; 16],
        /// The number in the log.
        number: u64,
        /// The number of the one before it on this link, 0 for the first: so a gap is told from
        /// one that was lost.
        before: u64,
        /// The number of the target.
        target: u32,
        /// In how many seconds it is no longer worth delivering, 1 at least. 0 (with
        /// [`FEATURE_LETTERS`](super::FEATURE_LETTERS)): the receiver has it, and is asked what has
        /// become of it; there is no body.
        expires: u64,
        /// The message.
        body: &'a [u8],
    },
    /// The outcome of a message that is delivered once.
    Taken {
        /// The sender's log.
        log: [u8; 16],
        /// The number in the log. The word is about this one and no other.
        number: u64,
        /// 0: it is stored. 1: it was handled. 255, where it was asked for: it is not there any
        /// more. Else: it is refused for good, and this is why.
        code: u8,
        /// In words.
        text: &'a str,
    },
    /// An item of so many bytes follows in parts.
    Begin {
        /// Its bytes.
        total: u32,
    },
    /// The next part of it.
    Part {
        /// Its bytes.
        bytes: &'a [u8],
    },
}

/// The shape of a call: one request or a stream of them, one reply or a stream of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One request, one reply.
    Ask = 0,
    /// One request, a stream of replies.
    Replies = 1,
    /// A stream of requests, one reply.
    Requests = 2,
    /// A stream of requests, a stream of replies.
    Both = 3,
}

/// An error of reading a batch. The link closes: its two ends no longer understand each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// It ends in the middle of an item.
    #[error("a batch ends in the middle of an item")]
    Truncated,
    /// A kind this version does not know.
    #[error("the kind {found} of an item is unknown")]
    UnknownKind {
        /// The byte found.
        found: u8,
    },
    /// A field that can't be.
    #[error("the {field} of an item can't be {given}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// The value that was given.
        given: String,
    },
}

impl Shape {
    /// Returns whether the requests of the call are a stream.
    pub const fn streams_requests(self) -> bool {
        matches!(self, Self::Requests | Self::Both)
    }

    /// Returns whether the replies of the call are a stream.
    pub const fn streams_replies(self) -> bool {
        matches!(self, Self::Replies | Self::Both)
    }
}

impl Item<'_> {
    /// The most bytes [`encode`](Self::encode) adds to a body and what goes along.
    pub const OVERHEAD: usize = 64;

    /// Writes it, with what goes along, behind what is in `out`.
    pub fn encode(&self, along: Option<&Along>, out: &mut Vec<u8>) {
        let trace = along.and_then(|along| along.trace.as_ref());
        let on_behalf = along.and_then(Along::on_behalf).filter(|who| may_be_said(who));
        let bit = |is_there, bit| if is_there { bit } else { 0 };
        let bits = bit(trace.is_some(), TRACED) | bit(on_behalf.is_some(), ON_BEHALF);
        out.push(self.kind() | bits);
        if let Some(trace) = trace {
            out.extend_from_slice(&trace.trace);
            out.extend_from_slice(&trace.span);
            out.push(trace.flags);
            put_bytes(out, cut(&trace.state, STATE_LIMIT).as_bytes());
        }
        if let Some(on_behalf) = on_behalf {
            put_bytes(out, on_behalf.as_bytes());
        }
        self.encode_fields(out);
    }

    /// Writes a [`Tell`](Self::Tell) without a trace: of these there are many.
    #[inline]
    pub fn encode_tell(target: u32, body: &[u8], out: &mut Vec<u8>) {
        // Once, not for each of its parts.
        out.reserve(body.len() + Self::OVERHEAD);
        out.push(TELL);
        put_tell(out, target, body);
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Bind { target, name, message, version } => {
                put(out, target.into());
                put_bytes(out, name.as_bytes());
                put_bytes(out, message.as_bytes());
                put(out, version.into());
            }
            Self::Tell { target, body } => put_tell(out, target, body),
            Self::Call { call, target, shape, body } => {
                put(out, call);
                put(out, target.into());
                out.push(shape as u8);
                put_bytes(out, body);
            }
            Self::Request { call, body } | Self::Reply { call, body } => {
                put(out, call);
                put_bytes(out, body);
            }
            Self::RequestsEnd { call: number }
            | Self::RepliesEnd { call: number }
            | Self::Cancel { call: number }
            | Self::Unwatch { watch: number } => put(out, number),
            Self::Failed { call, code, text } => {
                put(out, call);
                put_error(out, code, text);
            }
            Self::Consumed { target, tells, cost } => {
                [target.into(), tells, cost].iter().for_each(|&field| put(out, field));
            }
            Self::Credit { call, of_requests, cost } => {
                put(out, call);
                out.push(of_requests.into());
                put(out, cost);
            }
            Self::Undelivered { target, count, code, text } => {
                put(out, target.into());
                put(out, count);
                put_error(out, code, text);
            }
            Self::Watch { watch, name } => {
                put(out, watch);
                put_bytes(out, name.as_bytes());
            }
            Self::Status { watch, up, code } => {
                put(out, watch);
                out.extend_from_slice(&[up.into(), code]);
            }
            Self::Deliver { log, number, before, target, expires, body } => {
                out.extend_from_slice(&log);
                [number, before, target.into(), expires].iter().for_each(|&field| put(out, field));
                put_bytes(out, body);
            }
            Self::Taken { log, number, code, text } => {
                out.extend_from_slice(&log);
                put(out, number);
                put_error(out, code, text);
            }
            Self::Begin { total } => put(out, total.into()),
            Self::Part { bytes } => put_bytes(out, bytes),
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Bind { .. } => 1,
            Self::Tell { .. } => TELL,
            Self::Call { .. } => 3,
            Self::Request { .. } => 4,
            Self::RequestsEnd { .. } => 5,
            Self::Reply { .. } => REPLY,
            Self::RepliesEnd { .. } => 7,
            Self::Failed { .. } => 8,
            Self::Cancel { .. } => 9,
            Self::Consumed { .. } => 10,
            Self::Credit { .. } => 11,
            Self::Undelivered { .. } => 12,
            Self::Watch { .. } => 13,
            Self::Unwatch { .. } => 14,
            Self::Status { .. } => 15,
            Self::Deliver { .. } => 16,
            Self::Taken { .. } => 17,
            Self::Begin { .. } => 18,
            Self::Part { .. } => 19,
        }
    }
}

#[inline]
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The fields of a tell.
#[inline]
fn put_tell(out: &mut Vec<u8>, target: u32, body: &[u8]) {
    put(out, target.into());
    put_bytes(out, body);
}

fn put_error(out: &mut Vec<u8>, code: u8, text: &str) {
    out.push(code);
    put_bytes(out, cut(text, TEXT_LIMIT).as_bytes());
}

#[inline]
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
