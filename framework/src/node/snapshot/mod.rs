//! Snapshots: what can be seen of a running node, as one value.
//!
//! A snapshot is made of counters that are kept anyway, when somebody asks for it; nobody collects
//! anything meanwhile. Invariant: it has a bound ([`Snapshot::MOST`] of each list, and a number for
//! the rest), and no text in it that a peer chose is shown as it came: all went through
//! [`printable`](crate::wire::printable).

mod happenings;
mod ready;
mod seen;
mod traffic;

use serde::Serialize;

pub(crate) use self::happenings::Happenings;
pub(crate) use self::seen::{ObserveOutbox, ObserveSession, OutboxSeen, SessionSeen};
pub(crate) use self::traffic::Traffic;
use super::events::Direction;

/// A node at one moment. Times are in milliseconds since the Unix epoch, by a clock that is set at
/// the node's start and then only goes on; counters count from the start of its process.
///
/// It is written as JSON with `serde`; a reader ignores fields that it does not know. What changes
/// the meaning of a field changes [`Snapshot::version`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Snapshot {
    /// The version of this shape: 1.
    pub version: u32,
    /// The time when it was made.
    pub at: u64,
    /// False if the node's own thread did not answer within a second: something blocks it. Links,
    /// transfers, the outbox and what is kept for others are missing then.
    pub answers: bool,
    /// The node itself.
    pub node: NodeSnapshot,
    /// Counts of all that it did since its start.
    pub totals: Totals,
    /// The peers it has a session with or trusts; those that are linked first.
    pub links: Vec<LinkSnapshot>,
    /// Further peers, beyond the limit.
    pub more_links: u64,
    /// Transfers under way; those that move first.
    pub transfers: Vec<TransferSnapshot>,
    /// Further transfers, beyond the limit.
    pub more_transfers: u64,
    /// The stages, in the order in which they were first needed.
    pub stages: Vec<StageSnapshot>,
    /// The actors that it hosts, in the order of their starts.
    pub actors: Vec<ActorSnapshot>,
    /// Further actors, beyond the limit.
    pub more_actors: u64,
    /// Its doors, by their names.
    pub doors: Vec<DoorSnapshot>,
    /// Durable messages; none without a spool.
    pub letters: Option<LettersSnapshot>,
    /// The outbox; none without a spool.
    pub outbox: Option<OutboxSnapshot>,
    /// The packages kept for others, where it is a relay.
    pub relay: Option<RelaySnapshot>,
    /// Its spool, if it has one.
    pub spool: Option<SpoolSnapshot>,
    /// The room for transfers, of each direction.
    pub room: RoomSnapshot,
    /// The latest things that happened, the oldest first: at most 128 faults of the last hour, 32
    /// refused connections, and 64 others.
    pub happenings: Vec<Happening>,
}

impl Snapshot {
    /// The most entries of each list; happenings have limits of their own.
    pub const MOST: usize = 256;

    /// Returns whether it differs from an earlier one in more than its time.
    pub fn differs_from(&self, earlier: &Self) -> bool {
        let again = Self { at: earlier.at, ..self.clone() };
        again != *earlier
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NodeSnapshot {
    /// Its id.
    pub id: String,
    /// The name it gives itself.
    pub name: String,
    /// The version of the framework.
    pub version: String,
    /// The time of its start.
    pub since: u64,
    /// The addresses it listens at.
    pub addresses: Vec<String>,
    /// Threads that transfers run on.
    pub workers: u64,
}

/// Counts of all that a node did since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Totals {
    /// Deliveries that others took.
    pub delivered_out: u64,
    /// Their bytes of content.
    pub delivered_out_bytes: u64,
    /// Deliveries that this node took.
    pub delivered_in: u64,
    /// Their bytes of content.
    pub delivered_in_bytes: u64,
    /// Deliveries of this node that failed for good.
    pub failed_out: u64,
    /// Deliveries to this node that failed.
    pub failed_in: u64,
    /// Tries that failed, of deliveries that will be tried again.
    pub deferred: u64,
    /// Attempts that were begun anew.
    pub restarted: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// Bytes written to peers, of all that was said: content, control messages, messages.
    pub sent_bytes: u64,
    /// Bytes read from peers.
    pub received_bytes: u64,
}

/// A peer, and the link with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LinkSnapshot {
    /// The peer's id.
    pub peer: String,
    /// The peer's name at this node; the beginning of its id, where it has none.
    pub name: String,
    /// The state of the link.
    pub state: LinkState,
    /// The time since when it is up or down; of a peer without a session, none.
    pub since: Option<u64>,
    /// The address at the other end, while it is up.
    pub address: Option<String>,
    /// True if this node has dialled.
    pub dialed: bool,
    /// The suite that content is sealed with.
    pub suite: Option<String>,
    /// The time of one ping and its answer in microseconds, what waits before them included.
    /// Links are pinged every heartbeat (5 s, unless the node says otherwise), so it is missing at
    /// the beginning.
    pub rtt_us: Option<u64>,
    /// Connections for content that are up.
    pub lanes: u64,
    /// Bytes written to the peer in this session.
    pub sent_bytes: u64,
    /// Bytes read from the peer in this session.
    pub received_bytes: u64,
    /// Transfers under way with it, of both directions.
    pub transfers: u64,
    /// The reason why it could not be reached, while it is not.
    pub why: Option<String>,
}

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LinkState {
    /// It is up.
    Up,
    /// It is wanted, and dialled again and again.
    Dialing,
    /// It is wanted, and no address is known: the peer has to come.
    Awaited,
    /// Nobody wants it now.
    Idle,
}

/// A transfer under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TransferSnapshot {
    /// Its id.
    pub id: String,
    /// Its direction.
    pub direction: Direction,
    /// The other node.
    pub peer: String,
    /// The other node's name at this one.
    pub peer_name: String,
    /// The name of its content.
    pub name: String,
    /// The kind of its content.
    pub kind: TransferKind,
    /// The receiver's inbox; empty where only the receiver knows it.
    pub inbox: String,
    /// Its phase.
    pub phase: TransferPhase,
    /// The time when it was begun here.
    pub since: u64,
    /// Bytes of content that have arrived.
    pub bytes: u64,
    /// Bytes there are, where that is known.
    pub total: Option<u64>,
    /// The number of the attempt, from 0.
    pub attempt: u32,
    /// The suite that seals its chunks.
    pub suite: String,
    /// The codec of chunks that it makes smaller; none where they go raw.
    pub codec: Option<String>,
}

/// The kinds of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TransferKind {
    /// Bytes of a stream or of memory.
    Bytes,
    /// A file.
    File,
    /// A folder, or several paths.
    Tree,
    /// Content that is sealed for somebody else.
    Package,
}

/// The phase of a transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TransferPhase {
    /// Chunks are on their way.
    Running,
    /// All is there; it is made durable, or noted.
    Finishing,
    /// Its stages, its sink or its source are made ready.
    Starting,
    /// The receiver is offered it, and has not said yes: it may have no room.
    Offered,
    /// One of the two sides has paused it.
    Paused,
    /// The link is down; it goes on where it was.
    Interrupted,
    /// There is no room here yet, in bytes or in transfers that may run at once.
    WaitsForRoom,
    /// There is no link yet.
    WaitsForLink,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StageSnapshot {
    /// Its name.
    pub name: String,
    /// Chunks done.
    pub chunks: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// The time spent working in microseconds, summed over the actors that run it.
    pub busy_us: u64,
    /// The most messages that waited at once.
    pub high_water: u64,
    /// Panics caught.
    pub panics: u64,
    /// Times an actor of it was started anew.
    pub restarts: u64,
}

/// An actor that a node hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ActorSnapshot {
    /// Its name.
    pub name: String,
    /// True if it lives; false while it waits for its next life.
    pub alive: bool,
    /// The time since when it does.
    pub since: u64,
    /// Messages from other nodes that wait for it.
    pub waiting: u64,
    /// Messages that it works at: one, or none.
    pub in_hand: u64,
    /// The time when it last had its turn; none while it has nothing in hand.
    pub busy_since: Option<u64>,
    /// Messages from other nodes that it has taken up.
    pub taken: u64,
    /// Times it has died.
    pub deaths: u64,
}

/// A door of a node, by which programs come in that are no nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DoorSnapshot {
    /// Its name; its kind, if it has none.
    pub name: String,
    /// Its kind: http, grpc.
    pub kind: String,
    /// Requests that came to it, refused ones included.
    pub calls: u64,
    /// Those whose answers have not ended.
    pub open: u64,
    /// Those that were not let in, or had no room: without a token, used too often.
    pub refused: u64,
    /// Bytes of content of requests.
    pub received_bytes: u64,
    /// Bytes of content of answers; without WebSockets.
    pub sent_bytes: u64,
}

/// Durable messages of a node, of all peers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LettersSnapshot {
    /// Letters to others that are not handled yet.
    pub outgoing: u64,
    /// Bytes of credit that these take.
    pub outgoing_cost: u64,
    /// Letters to others that are given up, and kept for somebody to look at.
    pub dead: u64,
    /// Letters from others that wait for their actors here.
    pub incoming: u64,
    /// Letters that are with their actors.
    pub handed: u64,
}

/// The outbox of a node: its own deliveries, by their states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OutboxSnapshot {
    /// Stored, and still to be delivered.
    pub stored: Amount,
    /// With a relay.
    pub relayed: Amount,
    /// Delivered.
    pub delivered: Amount,
    /// Delivered, and processed.
    pub processed: Amount,
    /// Given up.
    pub dead: Amount,
    /// The time when the oldest was stored that is still to be delivered.
    pub oldest: Option<u64>,
    /// Bytes that packages and copies take in the spool's folder, those for others included.
    pub folder_bytes: u64,
    /// The most that they may take.
    pub folder_most: u64,
}

/// Deliveries, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Amount {
    /// Deliveries.
    pub count: u64,
    /// Bytes of content, of those where that is known.
    pub bytes: u64,
}

/// The packages that a relay keeps for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RelaySnapshot {
    /// Packages that wait for their receivers.
    pub kept: Amount,
    /// Packages that one sender may have here.
    pub packages_most: u64,
    /// Bytes that one sender may have here.
    pub bytes_most: u64,
}

/// The spool of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SpoolSnapshot {
    /// The reason why it takes nothing more, if it has failed.
    pub failure: Option<String>,
}

/// The room of a node for transfers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RoomSnapshot {
    /// For what is sent.
    pub outgoing: WaySnapshot,
    /// For what comes in.
    pub incoming: WaySnapshot,
    /// Transfers of one direction that may run at once.
    pub running_most: u64,
    /// Bytes of one direction that may be under way at once.
    pub bytes_most: u64,
}

/// The room for transfers of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct WaySnapshot {
    /// Transfers that run.
    pub running: u64,
    /// Transfers that wait for room.
    pub waiting: u64,
    /// Bytes that those which run have set aside.
    pub bytes: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Happening {
    /// Its number: from 1, and higher than that of all before it.
    pub number: u64,
    /// The time.
    pub at: u64,
    /// Its kind.
    pub kind: HappeningKind,
    /// Its severity.
    pub severity: Severity,
    /// The peer it is about.
    pub peer: Option<String>,
    /// The transfer it is about.
    pub transfer: Option<String>,
    /// The direction of that.
    pub direction: Option<Direction>,
    /// For a person: printable, at most 512 characters.
    pub text: String,
}

/// The kinds of what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HappeningKind {
    /// A link is up.
    LinkUp,
    /// A link is gone.
    LinkDown,
    /// A connection was refused.
    Refused,
    /// Two programs have one key.
    KeyShared,
    /// A durable message was refused for good.
    LetterRefused,
    /// A hosted actor has died, and is started anew.
    ActorDied,
    /// A hosted actor is given up.
    ActorGivenUp,
    /// A delivery is made: its receiver has verified and committed it.
    Delivered,
    /// A relay keeps a delivery.
    Relayed,
    /// A delivery is begun anew.
    Restarted,
    /// Something is not as it was sent, or was left out.
    Remark,
    /// A try failed; there will be another one.
    Deferred,
    /// A delivery has failed.
    Failed,
}

/// The severity of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Somebody should look at it.
    Fault,
}
