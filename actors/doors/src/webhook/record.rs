//! The records that a webhook keeps in a store.
//!
//! | table | key | value |
//! |---|---|---|
//! | `messages` | number u64 big-endian | a [`Head`] as JSON, a line break, and the message as JSON |
//! | `tries` | the same number | [`Tries`] as JSON; none before the first try |
//! | `state` | `disabled` | [`Disabled`] as JSON, while it is |
//! | `state` | `rests` | [`Rests`] as JSON, of the last rest that was asked for, until a person ends it |

use std::io;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(super) const MESSAGES: &str = "messages";
pub(super) const TRIES: &str = "tries";
pub(super) const STATE: &str = "state";
pub(super) const DISABLED: &[u8] = b"disabled";
pub(super) const RESTS: &[u8] = b"rests";

/// The most characters of what is kept of a failure.
const WHY_MOST: usize = 300;

/// The facts of a message besides itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The id of its letter.
    pub(super) id: String,
    /// The id of the node that sent it.
    pub(super) from: String,
    /// The name that it was sent to.
    pub(super) name: String,
    /// Its type.
    pub(super) message: String,
    pub(super) version: u32,
    /// The time when this node stored it, in seconds since the Unix epoch.
    pub(super) created: u64,
    /// The `traceparent` and the `tracestate` of the trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace: Option<(String, String)>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) head: Head,
    pub(super) body: Bytes,
}

/// The tries of a message so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tries {
    pub(super) tries: u32,
    /// The time of its next try, in milliseconds since the Unix epoch.
    pub(super) next: u64,
    /// There are no more tries.
    #[serde(default)]
    pub(super) dead: bool,
    /// The time of its last try, in seconds since the Unix epoch.
    pub(super) at: u64,
    /// The status of the answer then.
    #[serde(default)]
    pub(super) status: Option<u16>,
    pub(super) why: String,
}

/// The record of a webhook that is disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// The time since when it is, in seconds since the Unix epoch.
    pub at: u64,
    /// The id of the message at which it was disabled.
    pub id: String,
    /// The reason, for a person.
    pub why: String,
}

/// The record of a rest that the receiver has asked for: nothing is posted before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rests {
    /// The time when it was asked for, in seconds since the Unix epoch.
    pub at: u64,
    /// The time of its end, in seconds since the Unix epoch.
    pub until: u64,
    /// The id of the message that was answered so.
    pub id: String,
    /// The answer, for a person.
    pub why: String,
}

impl Rests {
    /// The milliseconds that are left of it: none, where the clock has gone back behind its
    /// beginning.
    pub(super) const fn left(&self, now: u64) -> u64 {
        let is_over = self.at.saturating_mul(1000) > now;
        if is_over { 0 } else { self.until.saturating_mul(1000).saturating_sub(now) }
    }
}

impl Message {
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = to_json(&self.head)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }

    pub(super) fn from_bytes(mut bytes: Vec<u8>) -> io::Result<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let head = from_json(&bytes[..end])?;
        Ok(Self { head, body: Bytes::from(bytes.split_off(end + 1)) })
    }
}

impl Tries {
    /// The time of its next try: at once, where the clock has gone back since the last one.
    pub(super) const fn next_at(&self, now: u64) -> u64 {
        if self.at.saturating_mul(1000) > now { now } else { self.next }
    }

    /// One more try that failed.
    pub(super) fn failed(&mut self, at: u64, status: Option<u16>, why: &str) {
        self.why = harmless(why);
        self.tries = self.tries.saturating_add(1);
        (self.at, self.status) = (at, status);
    }
}

/// The beginning of what others may have said, which changes no terminal and begins no line.
pub(super) fn harmless(why: &str) -> String {
    why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WHY_MOST).collect()
}

pub(super) fn to_json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(io::Error::other)
}

pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

pub(super) fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

pub(super) fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}
