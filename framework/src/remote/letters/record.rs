//! Letters and logs as records of a spool.
//!
//! | table | key | value |
//! |---|---|---|
//! | `letters` | receiver 32 ‖ log 16 ‖ number u64 big-endian | a [`Letter`] that is under way or dead |
//! | `letterkeys` | key 32 | a [`Keyed`]: the letter that was posted under it |
//! | `letterlogs` | receiver 32 | a [`Log`]: what the letters to it are numbered in |
//! | `mail` | sender 32 ‖ log 16 ‖ number | a [`Letter`] that is stored and not handled |
//! | `maillogs` | sender 32 ‖ log 16 | [`Taken`]: how far the log was taken |
//! | `mailrefused` | sender 32 ‖ log 16 ‖ number | [`Refusal`]: why it was refused, as long as the sender may ask |
//! | `mailtried` | sender 32 ‖ log 16 ‖ number | [`Tried`]: what is counted against a letter that processes may have ended with |

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::error::RemoteError;
use super::super::letter_id::{LetterId, LogId};
use crate::store::clock::Moment;
use crate::store::{Change, UNREAD};
use crate::wire::codec::{decode_message, encode_message};
use crate::wire::{Along, PeerId, TraceContext};

pub(super) const LETTERS: &str = "letters";
pub(super) const LOGS: &str = "letterlogs";
pub(super) const KEYS: &str = "letterkeys";
pub(super) const MAIL: &str = "mail";
pub(super) const MAIL_LOGS: &str = "maillogs";
pub(super) const REFUSED: &str = "mailrefused";
pub(super) const TRIED: &str = "mailtried";

/// One letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    /// The name of the actor.
    pub(crate) name: String,
    /// The name of the type of message.
    pub(crate) message: String,
    pub(super) version: u32,
    /// The time at which it was stored, on the scale of what has passed
    /// ([`Moment::passed`](crate::store::clock::Moment::passed)). Letters of earlier builds are
    /// dated by the wall clock.
    pub(super) created: u64,
    /// The time at which it expires, on the same scale.
    pub(super) expires: u64,
    /// Since when it is dead, on the scale of what has passed for certain, and why.
    pub(super) dead: Option<(u64, RemoteError)>,
    #[serde(with = "serde_bytes")]
    pub(super) body: Vec<u8>,
    /// The `traceparent` and the `tracestate` of the trace it belongs to. Letters of earlier
    /// builds have none.
    #[serde(default)]
    pub(super) trace: Option<(String, String)>,
    /// For whom it is sent, by the word of its sender. Letters of earlier builds do not say.
    #[serde(default)]
    pub(super) on_behalf: Option<String>,
}

impl Letter {
    /// Sees to it that it does not live longer than it was to, wherever the clock stood that dated
    /// it.
    pub(super) fn bounded(self, now: Moment) -> Self {
        let life = self.expires.saturating_sub(self.created);
        Self { expires: self.expires.min(now.passed.saturating_add(life)), ..self }
    }

    /// The trace it belongs to.
    pub(super) fn trace(&self) -> Option<TraceContext> {
        let (parent, state) = self.trace.as_ref()?;
        Some(TraceContext { state: state.clone(), ..parent.parse().ok()? })
    }

    /// The things that go along with it, if any do.
    pub(super) fn along(&self) -> Option<Along> {
        let along = Along { trace: self.trace(), on_behalf: None };
        along.on_behalf_of(self.on_behalf.as_deref().unwrap_or_default()).any()
    }

    /// The same letter, with this along.
    pub(super) fn with(self, along: Option<&Along>) -> Self {
        let trace = along.and_then(|along| along.trace.as_ref()).map(kept_trace);
        let on_behalf = along.and_then(Along::on_behalf).map(ToOwned::to_owned);
        Self { trace, on_behalf, ..self }
    }
}

/// A trace, as a letter keeps it.
fn kept_trace(trace: &TraceContext) -> (String, String) {
    (trace.to_string(), trace.state.clone())
}

/// The log in which a node numbers its letters to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Log {
    pub(super) id: LogId,
    /// The last number that was given.
    pub(super) last: u64,
}

/// The point up to which a log was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Taken {
    /// The highest number.
    pub(super) highest: u64,
    /// Logs of one sender are handled in this order.
    pub(super) order: u64,
}

/// The reason why a letter was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) why: RemoteError,
    /// The turn of it among those of its log. Refusals of earlier builds have none.
    #[serde(default)]
    pub(super) turn: u64,
}

/// The count against a letter that processes may have ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tried {
    /// Ends of processes, by how sure it is that they were its doing.
    pub(super) weight: u32,
}

/// A key's letter, as the spool has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Keyed {
    /// To whom it went.
    pub(super) peer: [u8; 32],
    pub(super) log: LogId,
    pub(super) number: u64,
    /// The BLAKE3 of the letter: of its name, type, version and body.
    pub(super) digest: [u8; 32],
    /// Until when the key is remembered, on the scale of what has passed for certain
    /// ([`Moment::certain`](crate::store::clock::Moment::certain)). Earlier builds said it by the
    /// wall clock.
    pub(super) until: u64,
    /// The letter was handled: then nothing else is kept of it.
    pub(super) processed: bool,
}

impl Keyed {
    pub(super) const fn letter(&self) -> LetterId {
        LetterId::new(self.log, self.number)
    }
}

/// The key of a letter, or of a refusal.
pub(super) fn key(peer: PeerId, log: LogId, number: u64) -> Vec<u8> {
    [&peer.as_bytes()[..], &log, &number.to_be_bytes()].concat()
}

/// The key of a log that was taken from.
pub(super) fn log_key(peer: PeerId, log: LogId) -> Vec<u8> {
    [&peer.as_bytes()[..], &log].concat()
}

pub(super) fn read_log_key(key: &[u8]) -> Option<(PeerId, LogId)> {
    let (peer, log) = key.split_first_chunk::<32>()?;
    Some((PeerId::from_bytes(*peer), log.try_into().ok()?))
}

pub(super) fn read_key(key: &[u8]) -> Option<(PeerId, LogId, u64)> {
    let (front, number) = key.split_last_chunk::<8>()?;
    let (peer, log) = read_log_key(front)?;
    Some((peer, log, u64::from_be_bytes(*number)))
}

/// Writes a record. Nothing here has anything that can't be written.
pub(super) fn put<T: Serialize + DeserializeOwned>(
    table: &'static str,
    key: Vec<u8>,
    value: &T,
) -> Change {
    let mut bytes = Vec::new();
    encode_message(value, &mut bytes).expect("a record is plain data, and short");
    Change::Put { table, key, value: bytes }
}

pub(super) fn remove(table: &'static str, key: Vec<u8>) -> Change {
    Change::Remove { table, key }
}

/// Reads a record; one that can't be read is left alone, and named.
pub(super) fn read<K, T: DeserializeOwned>(
    table: &str,
    key: &[u8],
    value: &[u8],
    parsed: Option<K>,
) -> Option<(K, T)> {
    match (parsed, decode_message(value)) {
        (Some(parsed), Ok(value)) => Some((parsed, value)),
        (_, outcome) => {
            let (key, error) = (data_encoding::HEXLOWER.encode(key), outcome.err());
            tracing::error!(
                table,
                key,
                ?error,
                why = UNREAD,
                "a record about letters can't be read: it stays as it is; `estafette doctor` says \
                 what can be done"
            );
            None
        }
    }
}

/// Returns `true` if a record of that table can be read.
fn is_readable<T: DeserializeOwned>(is_key: bool, value: &[u8]) -> bool {
    is_key && decode_message::<T>(value).is_ok()
}

/// A table, and what tells whether its record can be read.
pub(crate) type Table = (&'static str, fn(&[u8], &[u8]) -> bool);

/// The tables of letters.
pub(crate) const TABLES: [Table; 7] = [
    (LETTERS, |key, value| is_readable::<Letter>(read_key(key).is_some(), value)),
    (LOGS, |key, value| is_readable::<Log>(key.len() == 32, value)),
    (KEYS, |key, value| is_readable::<Keyed>(key.len() == 32, value)),
    (MAIL, |key, value| is_readable::<Letter>(read_key(key).is_some(), value)),
    (MAIL_LOGS, |key, value| is_readable::<Taken>(read_log_key(key).is_some(), value)),
    (REFUSED, |key, value| is_readable::<Refusal>(read_key(key).is_some(), value)),
    (TRIED, |key, value| is_readable::<Tried>(read_key(key).is_some(), value)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::error::RemoteErrorKind;

    #[test]
    fn a_letter_keeps_its_trace_and_one_of_an_earlier_build_has_none() {
        #[derive(Serialize, Deserialize)]
        struct Earlier {
            name: String,
            message: String,
            version: u32,
            created: u64,
            expires: u64,
            dead: Option<(u64, RemoteError)>,
            #[serde(with = "serde_bytes")]
            body: Vec<u8>,
        }
        let (name, message) = ("a".to_owned(), "b".to_owned());
        let earlier = Earlier {
            name: name.clone(),
            message: message.clone(),
            version: 1,
            created: 2,
            expires: 3,
            dead: None,
            body: vec![4],
        };
        let Change::Put { value, .. } = put(LETTERS, vec![], &earlier) else { panic!() };
        let mut letter: Letter = decode_message(&value).unwrap();
        assert_eq!(
            letter,
            Letter {
                name,
                message,
                version: 1,
                created: 2,
                expires: 3,
                dead: None,
                body: vec![4],
                trace: None,
                on_behalf: None
            }
        );
        assert_eq!(letter.along(), None);
        let trace = TraceContext { trace: [1; 16], span: [2; 8], flags: 1, state: "a=b".into() };
        let along = Along { trace: Some(trace), on_behalf: Some("till".into()) };
        letter = letter.with(Some(&along));
        let Change::Put { value, .. } = put(LETTERS, vec![], &letter) else { panic!() };
        assert_eq!(decode_message::<Letter>(&value).unwrap().along(), Some(along));
        for unsaid in ["", "till\n", &"x".repeat(257)] {
            letter = Letter { on_behalf: Some(unsaid.into()), trace: None, ..letter };
            assert_eq!(letter.along(), None, "{unsaid:?}");
        }
        assert_eq!(
            decode_message::<Earlier>(&value).unwrap().body,
            [4],
            "an earlier build reads it"
        );
    }

    #[test]
    fn a_refusal_of_an_earlier_build_is_read_and_an_earlier_build_reads_this_one_s() {
        let why = RemoteError::new(RemoteErrorKind::Forbidden, "no");
        let Change::Put { value, .. } = put(REFUSED, vec![], &why) else { panic!() };
        let refusal: Refusal = decode_message(&value).unwrap();
        assert_eq!(refusal, Refusal { why: why.clone(), turn: 0 });
        let Change::Put { value, .. } = put(REFUSED, vec![], &Refusal { turn: 300, ..refusal })
        else {
            panic!()
        };
        assert_eq!(decode_message::<Refusal>(&value).unwrap().turn, 300);
        assert_eq!(decode_message::<RemoteError>(&value).unwrap(), why);
    }

    #[test]
    fn keys_say_whose_log_and_which_number_and_sort_by_it() {
        let (peer, log) = (PeerId::from_bytes([7; 32]), [9; 16]);
        assert_eq!(read_key(&key(peer, log, 300)), Some((peer, log, 300)));
        assert_eq!(read_log_key(&log_key(peer, log)), Some((peer, log)));
        assert!(key(peer, log, 255) < key(peer, log, 256));
        assert!(read_key(b"short").is_none() && read_log_key(&[0; 49]).is_none());
    }
}
