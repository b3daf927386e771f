//! A delivery of the outbox, as it is shown.

use std::path::PathBuf;

use estafette::delivery::{Failure, Receipt};
use estafette::node::{OutboxEntry, OutboxState};
use estafette::{Node, TransferId};
use estafette_actors::source::paths_of;
use serde::{Deserialize, Serialize};

use crate::error::{CommandError, ErrorKind};
use crate::{settings, units};

/// All times are in seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The beginning of its id, as everywhere.
    pub(crate) transfer: String,
    /// All of its id.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) bytes: Option<u64>,
    pub(crate) peer: String,
    /// The name of the peer here.
    pub(crate) peer_name: Option<String>,
    /// The relay it goes by.
    pub(crate) via: Option<String>,
    /// The owner, if it is kept here for somebody else.
    pub(crate) of: Option<String>,
    pub(crate) inbox: String,
    pub(crate) addrs: Vec<String>,
    /// The paths that its content is read from, printable.
    pub(crate) paths: Vec<String>,
    pub(crate) state: State,
    /// The time when it came into that state.
    pub(crate) since: u64,
    pub(crate) created: u64,
    pub(crate) expires: u64,
    pub(crate) tries: u32,
    /// The reason why it was given up, or why the last try did not deliver it.
    pub(crate) failure: Option<Why>,
    /// The place in which it lies at the receiver.
    pub(crate) place: Option<String>,
    pub(crate) blake3: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Stored,
    Relayed,
    Delivered,
    Processed,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Why {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

impl Entry {
    pub(crate) fn new(node: &Node, id: TransferId, entry: &OutboxEntry) -> Self {
        let (state, since, failure, receipt) = match &entry.state {
            OutboxState::Relayed { at } => (State::Relayed, *at, entry.last_failure.as_ref(), None),
            OutboxState::Delivered { at, receipt, .. } => {
                (State::Delivered, *at, None, Some(receipt))
            }
            OutboxState::Processed { at, receipt, .. } => {
                (State::Processed, *at, None, Some(receipt))
            }
            OutboxState::Dead { at, failure } => (State::Dead, *at, Some(failure), None),
            // It is under way, however it will be called one day.
            _ => (State::Stored, entry.created, entry.last_failure.as_ref(), None),
        };
        Self {
            transfer: id.short(),
            id: id.to_string(),
            name: entry.name.clone(),
            bytes: receipt.map_or(entry.length, |receipt| Some(receipt.length)),
            peer: entry.peer.to_string(),
            peer_name: node.trust().peer(&entry.peer).map(|peer| peer.name),
            via: entry.via.map(|via| via.to_string()),
            of: entry.relayed_for.map(|sender| sender.to_string()),
            inbox: entry.inbox.clone(),
            addrs: entry.addresses.clone(),
            paths: paths(entry).iter().map(|path| settings::shown(path)).collect(),
            state,
            since,
            created: entry.created,
            expires: entry.expires,
            tries: entry.tries,
            failure: failure.map(Why::from),
            place: receipt.map(|receipt| receipt.place.clone()),
            blake3: receipt.map(hex_digest),
        }
    }

    /// Returns `true` if somebody else has it, or a try has failed.
    pub(crate) fn is_settled(&self) -> bool {
        self.state != State::Stored || self.failure.is_some()
    }

    /// The receiver, for a person.
    pub(crate) fn to(&self) -> String {
        let short: String = self.peer.chars().take(8).collect();
        let named = self.peer_name.as_ref().filter(|name| **name != short);
        let peer = named
            .map_or_else(|| short.clone(), |name| format!("{} ({short})", units::printable(name)));
        // Of what is kept for somebody else only the receiver knows the inbox.
        if self.inbox.is_empty() {
            peer
        } else {
            format!("{peer}/{}", units::printable(&self.inbox))
        }
    }
}

/// The paths that a delivery refers to.
pub(crate) fn paths(entry: &OutboxEntry) -> Vec<PathBuf> {
    entry.reference().and_then(|reference| paths_of(&reference)).unwrap_or_default()
}

pub(crate) fn hex_digest(receipt: &Receipt) -> String {
    blake3::Hash::from_bytes(receipt.digest).to_hex().to_string()
}

impl State {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Relayed => "relayed",
            Self::Delivered => "delivered",
            Self::Processed => "processed",
            Self::Dead => "given up",
        }
    }
}

impl From<&Failure> for Why {
    fn from(failure: &Failure) -> Self {
        let CommandError { kind, message, .. } = failure.clone().into();
        Self { kind, message }
    }
}
