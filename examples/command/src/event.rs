//! The events of `--json`, one object per line. `framework/docs/json.md` describes them; a test
//! reads its examples.

mod deliveries;
mod files;
mod taps;
#[cfg(feature = "webhooks")]
mod webhooks;

use estafette::metrics::StageReport;
use estafette::node::Direction;
use estafette::remote::{Described, Taken};
use estafette::{RemoteErrorKind, Ticket};
use estafette_topology::{Prediction, Step, TapPiece, TapRate};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) use self::deliveries::{Delivered, StillToDo, Stored, Waiting};
pub(crate) use self::files::MissingFile;
pub(crate) use self::taps::{Passed, Recorded, Replayed, Tapping};
#[cfg(feature = "webhooks")]
pub(crate) use self::webhooks::*;
use crate::arrival::Arrival;
use crate::entry::Entry;
use crate::error::{CommandError, ErrorKind};
use crate::finding::Finding;
use crate::letter::Letter;

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    Ticket {
        ticket: &'a str,
        peer: String,
        addr: &'a str,
        addrs: &'a [String],
        inbox: &'a str,
    },
    /// A node is up that has no ticket to give.
    Ready {
        peer: String,
        /// The addresses that it listens at, if it does.
        addrs: &'a [String],
    },
    /// A node can be looked at.
    Page {
        url: &'a str,
    },
    /// Clients of gRPC come in.
    #[cfg(feature = "grpc")]
    Grpc {
        addr: &'a str,
    },
    /// A door of a topology is open.
    Door {
        name: &'a str,
        addr: &'a str,
    },
    /// A configuration that a node can start with.
    Checked {
        /// The file, if there is one.
        file: Option<String>,
    },
    /// Something is wrong with a topology.
    Fault {
        code: &'a str,
        message: &'a str,
        /// The key.
        at: &'a str,
        label: &'a str,
        help: Option<&'a str>,
        file: &'a str,
        line: Option<usize>,
        column: Option<usize>,
        /// In bytes of the file.
        start: Option<usize>,
        end: Option<usize>,
    },
    /// A node of a topology.
    TopologyNode {
        name: &'a str,
        /// Its id, where the topology says it.
        peer: Option<String>,
        /// Of this machine.
        here: bool,
        listen: &'a [String],
        relay: bool,
    },
    /// A route of a topology.
    TopologyRoute {
        name: &'a str,
        from: &'a str,
        source: &'a str,
        to: &'a [String],
        via: &'a [String],
        schedule: &'a str,
        waits: Option<&'a str>,
    },
    /// All that can be seen of a node.
    Snapshot {
        name: &'a str,
        snapshot: &'a Value,
    },
    /// The calculation of what a route will do.
    Predicted(&'a Prediction),
    /// A step of a delivery that is not sent.
    Traced(&'a Step),
    /// The beginning of a tap: what passes a route is told from now on.
    Tapping(Tapping<'a>),
    /// A piece of a delivery has passed.
    TapPiece(Passed<'a, TapPiece>),
    /// So much has passed.
    TapRate(Passed<'a, TapRate>),
    /// A delivery was recorded, or could not be.
    Recorded(Recorded<'a>),
    /// The news that what was recorded is sent again.
    Replayed(Replayed<'a>),
    /// A topology was drawn.
    Drawn {
        format: &'a str,
        /// The file it was written to.
        file: Option<String>,
        /// The drawing, if it was written to none.
        drawing: Option<&'a str>,
    },
    /// A reload would do this to a node.
    Planned {
        name: &'a str,
        change: &'a str,
        keeps: u64,
    },
    /// A node was reloaded, or could not be.
    Reloaded {
        /// The change, if there is any, in words; or the reason why there was none.
        change: String,
        failed: bool,
        /// The kind of the error.
        kind: Option<ErrorKind>,
    },
    /// A test of a topology is over.
    Tested {
        name: &'a str,
        passed: bool,
        seed: u64,
        cuts: u64,
        kills: u64,
        message: Option<String>,
    },
    /// A route has stored a delivery.
    Routed {
        route: &'a str,
        transfer: String,
        name: &'a str,
        to: &'a str,
    },
    /// An entry of a folder was delivered to all, and is removed.
    RouteRemoved {
        route: &'a str,
        name: &'a str,
    },
    /// An entry of a queue goes to another target.
    RouteMoved {
        route: &'a str,
        name: &'a str,
        from: &'a str,
        message: &'a str,
    },
    /// A route failed, and is tried again.
    RouteFailed {
        route: &'a str,
        message: &'a str,
        seconds: u64,
    },
    /// The work that a node of a topology still has to do.
    Pending(StillToDo),
    MissingFile(MissingFile<'a>),
    /// The process of a node ended.
    NodeEnded {
        code: Option<i32>,
        seconds: Option<u64>,
    },
    /// Two programs run with one key: the peer's, or this node's own.
    KeyShared {
        peer: String,
        own: bool,
    },
    Waiting(Waiting),
    /// Another `send` to this peer is under way with this key: this one waits for its end.
    Queued {
        peer: String,
    },
    Progress {
        transfer: String,
        direction: &'static str,
        inbox: Option<&'a str>,
        name: &'a str,
        bytes: u64,
        total: Option<u64>,
        bytes_per_second: u64,
    },
    /// It is not to be delivered any more, as a newer version of it goes in its place.
    Recalled {
        transfer: String,
    },
    /// It begins anew: the source changed, or the receiver has lost its part.
    Restarted {
        transfer: String,
        message: &'a str,
    },
    /// A remark on what is not as it was sent, or was left behind.
    Remark {
        transfer: String,
        message: &'a str,
    },
    Delivered(Delivered),
    Stored(&'a Stored),
    /// A relay keeps it, durably.
    Relayed {
        transfer: String,
        /// For whom.
        peer: String,
        via: String,
    },
    /// This node, a relay, keeps it for that peer.
    Kept {
        transfer: String,
        peer: String,
    },
    /// A try failed, and there will be another one.
    Deferred {
        transfer: String,
        message: &'a str,
        kind: ErrorKind,
    },
    Entry(&'a Entry),
    Arrival(&'a Arrival),
    Finding(&'a Finding),
    Cancelled {
        transfer: String,
        unsure: bool,
    },
    Dropped {
        transfer: String,
    },
    Id {
        peer: String,
    },
    Peer {
        peer: String,
        name: &'a str,
        addrs: &'a [String],
        inboxes: &'a [String],
        /// Seconds since the Unix epoch.
        expires: Option<u64>,
    },
    Trusted {
        peer: String,
        name: &'a str,
        addrs: &'a [String],
        inboxes: &'a [String],
        /// Seconds since the Unix epoch.
        expires: Option<u64>,
    },
    Removed {
        peer: String,
    },
    /// A token of a door was made.
    #[cfg(feature = "doors")]
    TokenAdded {
        name: &'a str,
        token: &'a str,
    },
    #[cfg(feature = "doors")]
    Token {
        name: &'a str,
        to: &'a [String],
        rate: Option<&'a str>,
        /// Seconds since the Unix epoch.
        made: u64,
        expires: Option<u64>,
    },
    #[cfg(feature = "doors")]
    TokenRemoved {
        name: &'a str,
    },
    #[cfg(feature = "webhooks")]
    WebhookOpen(WebhookOpen<'a>),
    #[cfg(feature = "webhooks")]
    Webhook(Webhook<'a>),
    #[cfg(feature = "webhooks")]
    WebhookMessage(WebhookMessage<'a>),
    #[cfg(feature = "webhooks")]
    WebhookRetried(Retried<'a>),
    #[cfg(feature = "webhooks")]
    WebhookDropped(OfWebhook<'a>),
    #[cfg(feature = "webhooks")]
    WebhookEnabled(WebhookEnabled<'a>),
    /// A ticket that was given out here.
    Issued {
        id: String,
        inbox: &'a str,
        /// Seconds since the Unix epoch, where it is known.
        made: Option<u64>,
        expires: u64,
        /// The number of peers that may use it.
        redeemers: u16,
        used_by: Vec<String>,
    },
    /// A ticket that lets nobody in any more.
    Withdrawn {
        id: String,
    },
    /// The answer of an actor.
    Answer {
        /// PEER/NAME.
        to: &'a str,
        message: &'a str,
        answer: &'a RawValue,
    },
    /// A message that is stored, or was.
    Letter(&'a Letter),
    /// A message was handled.
    Told {
        to: &'a str,
        message: &'a str,
    },
    /// A name that may be sent to at another node.
    Name {
        peer: &'a str,
        name: &'a str,
        inbox: bool,
        up: bool,
        takes: Vec<TakenType<'a>>,
        cut: bool,
    },
    Demo {
        bytes: u64,
        seconds: f64,
        blake3: &'a str,
        files_compared: u64,
        others_compared: u64,
        left_out: u64,
        predicted_seconds: f64,
        bound_by: &'a str,
    },
    /// With the hidden flag `--report`: what the demo's table is made of.
    Report {
        stages: Vec<Stage>,
    },
    Error {
        kind: ErrorKind,
        message: &'a str,
        hint: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        transfer: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// The kind of error of a message, and whether it was handled.
        #[serde(skip_serializing_if = "Option::is_none")]
        remote: Option<RemoteErrorKind>,
        #[serde(skip_serializing_if = "Option::is_none")]
        handled: Option<&'static str>,
    },
}

/// A type of message, and how it is sent.
#[derive(Debug, Serialize)]
pub(crate) struct TakenType<'a> {
    message: &'a str,
    version: u32,
    forms: &'a [String],
    ways: &'a [String],
    schema: Option<Value>,
    answer_schema: Option<Value>,
}

impl<'a> Event<'a> {
    pub(crate) fn name(peer: &'a str, described: &'a Described) -> Self {
        let Described { name, inbox, up, takes, cut, .. } = described;
        // What is no JSON is no schema.
        let schema =
            |text: &Option<String>| serde_json::from_str(text.as_deref().unwrap_or_default()).ok();
        let taken = |taken: &'a Taken| TakenType {
            message: &taken.message,
            version: taken.version,
            forms: &taken.forms,
            ways: &taken.ways,
            schema: schema(&taken.schema),
            answer_schema: schema(&taken.answer_schema),
        };
        let takes = takes.iter().map(taken).collect();
        Self::Name { peer, name, inbox: *inbox, up: *up, takes, cut: *cut }
    }
}

/// The direction of a delivery, as a word.
pub(crate) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Outgoing => "outgoing",
        Direction::Incoming => "incoming",
    }
}

/// The counters of one stage.
#[derive(Debug, Serialize)]
pub(crate) struct Stage {
    stage: String,
    chunks: u64,
    bytes_in: u64,
    bytes_out: u64,
    busy_seconds: f64,
    mailbox_high_water: u64,
    panics: u64,
    restarts: u64,
}

impl From<StageReport> for Stage {
    fn from(report: StageReport) -> Self {
        let StageReport {
            stage,
            chunks,
            bytes_in,
            bytes_out,
            busy,
            mailbox_high_water,
            panics,
            restarts,
            ..
        } = report;
        Self {
            stage,
            chunks,
            bytes_in,
            bytes_out,
            busy_seconds: busy.as_secs_f64(),
            mailbox_high_water,
            panics,
            restarts,
        }
    }
}

impl<'a> Event<'a> {
    /// A ticket, whose text this is, of a node that is dialled at these.
    pub(crate) fn of_ticket(ticket: &'a Ticket, (text, addrs): (&'a str, &'a [String])) -> Self {
        Self::Ticket {
            ticket: text,
            peer: ticket.peer().to_string(),
            addr: addrs.first().map_or("", String::as_str),
            addrs,
            inbox: ticket.inbox(),
        }
    }
}

impl<'a> From<&'a CommandError> for Event<'a> {
    fn from(error: &'a CommandError) -> Self {
        let (transfer, peer) = error
            .about
            .as_deref()
            .map(|(transfer, peer)| (transfer.short(), peer.to_string()))
            .unzip();
        Self::Error {
            kind: error.kind,
            message: &error.message,
            hint: &error.hint,
            transfer,
            peer,
            remote: error.remote,
            handled: error.remote.map(|kind| kind.handled().as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_delivery_waits_for_room_has_the_documented_fields() {
        let event = serde_json::to_value(Event::Waiting(Waiting {
            transfer: "5310c4099b98e770".into(),
            peer: "3yiqr4na".into(),
            running: 3,
        }))
        .unwrap();
        let documented = include_str!("../../../framework/docs/json.md")
            .lines()
            .find(|line| line.starts_with("| `waiting` |"))
            .unwrap();
        assert_eq!(event["event"], "waiting");
        for field in event.as_object().unwrap().keys().filter(|field| *field != "event") {
            assert!(documented.contains(&format!("`{field}`")), "{field} is not documented");
        }
    }
}
