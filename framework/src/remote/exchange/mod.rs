//! The exchange of messages between this node and one peer, whichever link they have.
//!
//! Handles put messages in from any thread; the link's pump takes batches out; the
//! [postbox](super::postbox) of the link hands in what came. Nothing that was put in for one link
//! is said on another: what was sent and not answered when a link breaks ends in an error.
//!
//! Invariant: every call ends once, in an answer or an error. What is in flight to a target is at
//! most [`TARGET_WINDOW`], to the peer [`LINK_WINDOW`], and a [`ROW`], or one message.

#[cfg(test)]
mod along_tests;
mod bundle;
mod clock;
mod hearing;
mod link;
#[cfg(test)]
mod model_tests;
mod outbound;
mod row;
mod sending;
mod serving;
#[cfg(test)]
mod tests;
mod waiting;
mod watching;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::RandomState;
use tokio::sync::{Notify, mpsc, oneshot, watch};

pub(super) use self::bundle::Bundle;
use self::outbound::Outbound;
pub use self::watching::Watch;
use super::error::{RemoteError, RemoteErrorKind};
use super::presence::{Presence, Watching};
use super::queue::Key;
use crate::store::ledger::{Account, Charge, Full};
use crate::wire::message::{BATCH_LIMIT, ITEM_LIMIT, Item, NAME_LIMIT, Shape};
use crate::wire::{Along, ON_BEHALF_LIMIT, PeerId};

/// The most that may be on its way to one target, in units of credit: a message costs its bytes and
/// [`EACH`].
pub(super) const TARGET_WINDOW: u64 = 1 << 20;
/// The most that may be on its way to one peer.
pub(super) const LINK_WINDOW: u64 = 16 << 20;
/// The most that unhandled messages of one peer may cost, whichever links brought them: a window,
/// one message, and so much that a link with more of them than it has credit for ends before.
pub(crate) const MESSAGES_OF_ONE: u64 = LINK_WINDOW + ITEM_LIMIT as u64 + (1 << 20);
/// Credit that is taken for a row: enough that the lock costs little, and little enough to stay in
/// the nearest cache.
const ROW: u64 = 8 << 10;
/// The most that a stream within a call may have on its way.
pub(super) const STREAM_WINDOW: u64 = 256 << 10;
/// Credit of a stream goes back together, once it is so much: one word about each item would cost
/// more than the item.
const STREAM_OWED: u64 = STREAM_WINDOW / 8;
/// The most bytes of one request or reply of a stream.
pub(super) const STREAM_ITEM: usize = 1 << 20;
/// Calls with streams that one peer may have under way here, and this node there: what they hold
/// unread is bounded by their number.
const STREAMS: usize = 128;
/// The most that unread requests of one peer may cost, whichever links brought them: as much as one
/// link may have on its way.
pub(crate) const REQUESTS_OF_ONE: u64 = STREAMS as u64 * cost(STREAM_ITEM);
/// Shorter requests and replies of streams are copied out of the batch that brought them: one that
/// waits keeps no batch in memory.
const SHORT: usize = BATCH_LIMIT / 2;
/// The cost of any message beside its bytes.
const EACH: u64 = 64;
/// The cost of the trace of one, however long it is.
pub(super) const TRACE: u64 = 640;
/// Messages wait outside when so many bytes wait for the link.
const QUEUE_LIMIT: usize = 1 << 20;
/// Answers are given up when so many bytes wait for the link.
const ANSWERS_LIMIT: usize = 32 << 20;
/// The most names that are sent to at one peer, times types of messages.
const TARGETS: usize = 1 << 16;
/// The time between two looks at deadlines; one is kept to twice that, since it counts from the
/// first look.
const TICK: Duration = Duration::from_millis(20);

/// Returns the cost of what goes along with one.
pub(super) fn cost_along(along: Option<&Along>) -> u64 {
    let Some(Along { trace, on_behalf }) = along else { return 0 };
    let trace = if trace.is_some() { TRACE } else { 0 };
    trace + on_behalf.as_ref().map_or(0, |who| who.len() as u64)
}

/// Returns the cost of a message of so many bytes.
pub(super) const fn cost(bytes: usize) -> u64 {
    EACH + bytes as u64
}

/// An answer.
pub(super) type Answer = Result<Bytes, RemoteError>;

/// Replies of a stream.
pub(super) type Replied = Result<Bundle, RemoteError>;

/// A request of a stream, and what it takes of what the peer may have here until it is read.
pub(super) type Requested = Result<(Bytes, Charge), RemoteError>;

/// Messages without an answer that did not reach their actor, or may not have.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Undelivered {
    /// The node to which they were sent.
    pub peer: PeerId,
    /// The name of the actor.
    pub name: Arc<str>,
    /// The name of their type.
    pub message: Arc<str>,
    /// The number of messages.
    pub count: u64,
    /// The error. With [`RemoteErrorKind::LinkLost`] and [`RemoteErrorKind::Died`], some of them
    /// may have been handled.
    pub error: RemoteError,
}

/// Whom messages of one type are sent to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: Arc<str>,
    pub(super) message: Arc<str>,
    pub(super) version: u32,
    /// Its number on a link, and which link that was.
    number: AtomicU64,
    room: Notify,
}

pub(crate) struct Exchange {
    peer: PeerId,
    peer_name: String,
    state: Mutex<State>,
    filled: Notify,
    changed: Notify,
    clock: Notify,
    /// The number of calls to here that were given up before they were answered: as long as it
    /// stays, none of those known was.
    given_up_calls: AtomicU64,
    /// Counts links, whichever session they are of.
    links: AtomicU64,
    /// Another thread waits for the row that is open: it takes no more.
    disturbed: AtomicBool,
    /// The account of the peer's messages here until they are handled, whichever link brought them.
    account: Account,
    connect: Box<dyn Fn() + Send + Sync>,
    undelivered: Arc<dyn Fn(Undelivered) + Send + Sync>,
}

#[derive(Default)]
struct State {
    epoch: Option<u64>,
    /// The thread that the link runs on.
    home: Option<u64>,
    /// The reason that there will be no link until something is done about it.
    closed: Option<RemoteError>,
    /// Counts the times that a link was given up, and says why.
    given_up: (u64, Option<RemoteError>),
    out: Outbound,
    /// The peer reads for whom messages are sent.
    on_behalf: bool,
    pump_sleeps: bool,
    known: HashMap<(Arc<str>, Arc<str>, u32), Arc<Target>>,
    /// By their numbers on the link.
    bound: Vec<Arc<Target>>,
    calls: HashMap<u64, Pending, RandomState>,
    next_call: u64,
    served: HashMap<u64, Served, RandomState>,
    /// The cost of served calls.
    served_cost: u64,
    limits: StreamLimits,
    /// Calls with streams, from here and to here.
    streams_out: usize,
    streams_in: usize,
    watches: HashMap<u64, Watching>,
    next_watch: u64,
    /// Whoever waits for a link or for room.
    waiting: usize,
    clock_runs: bool,
}

/// The limits of calls with streams, which both ends keep to.
#[derive(Clone, Copy, Debug)]
struct StreamLimits {
    /// Calls under way, in each direction.
    calls: usize,
    /// The most that one stream may have on its way: so much, or one item.
    window: u64,
    /// The cost of the longest item.
    item: u64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { calls: STREAMS, window: STREAM_WINDOW, item: cost(STREAM_ITEM) }
    }
}

/// A call from here.
struct Pending {
    target: u32,
    cost: u64,
    streams: bool,
    deadline: Option<Deadline>,
    sink: Sink,
}

enum Sink {
    Ask(oneshot::Sender<Answer>),
    Stream {
        replies: mpsc::UnboundedSender<Replied>,
        once: bool,
        uncredited: u64,
        sending: Sending,
    },
    /// Nobody waits any more; the peer has not said yet that it is over.
    Over {
        once: bool,
    },
}

impl Sink {
    /// Nobody waits any more; who did.
    fn give_up(&mut self) -> Self {
        let once = match self {
            Self::Ask(_) => true,
            Self::Stream { once, .. } | Self::Over { once } => *once,
        };
        std::mem::replace(self, Self::Over { once })
    }
}

/// The requests of a call, at the caller, or its replies, at the callee.
#[derive(Default)]
struct Sending {
    outstanding: u64,
    room: Arc<Notify>,
}

/// A call to here.
struct Served {
    cost: u64,
    streams: bool,
    requests: Option<mpsc::UnboundedSender<Requested>>,
    uncredited: u64,
    /// The state of sending its replies, where they are a stream.
    replies: Option<Sending>,
    /// Dropped with the call: whoever waits for its end hears of it.
    gone: Option<watch::Sender<()>>,
}

/// Returns the error for a message that there is no room for.
pub(super) fn no_credit(full: &Full) -> RemoteError {
    let text = format!(
        "it was not handled: what came by earlier links is not handled yet: {full}; send it again \
         when that is done"
    );
    RemoteError::new(RemoteErrorKind::Full, text)
}

/// The reason that something can't be put in now. Small, since each message is put in.
#[derive(Debug)]
pub(super) enum Blocked {
    NoLink,
    Full,
    Never(Box<RemoteError>),
}

/// The beginning of a call.
pub(super) struct Opening<'a> {
    pub(super) shape: Shape,
    pub(super) body: &'a [u8],
    pub(super) along: Option<&'a Along>,
    pub(super) deadline: Option<Deadline>,
}

/// The time for which an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) after: Duration,
    /// Its end. Where it is not known yet, the clock counts from when it first sees it: no call has
    /// to read the time.
    pub(super) until: Option<Instant>,
}

impl Deadline {
    /// From now on.
    pub(super) fn begin(self) -> Self {
        Self { until: Instant::now().checked_add(self.after), ..self }
    }
}

/// A call that has begun, at the caller.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) call: u64,
    pub(super) epoch: u64,
}

impl Exchange {
    pub(crate) fn new(
        peer: PeerId,
        peer_name: String,
        account: Account,
        connect: impl Fn() + Send + Sync + 'static,
        undelivered: Arc<dyn Fn(Undelivered) + Send + Sync>,
    ) -> Self {
        let connect = Box::new(connect);
        Self {
            peer,
            peer_name,
            state: Mutex::default(),
            filled: Notify::new(),
            changed: Notify::new(),
            clock: Notify::new(),
            given_up_calls: AtomicU64::new(0),
            links: AtomicU64::new(0),
            disturbed: AtomicBool::new(false),
            account,
            connect,
            undelivered,
        }
    }

    pub(super) fn peer_name(&self) -> &str {
        &self.peer_name
    }

    pub(super) fn peer(&self) -> PeerId {
        self.peer
    }

    /// Returns the account of the peer's messages here until they are handled.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Has a link made, if there is none.
    pub(super) fn seek_link(&self) {
        (self.connect)();
    }

    /// Puts in what is to be said on the link there is. All that has a key goes this way.
    fn put(
        &self,
        state: &mut State,
        keys: [Option<Key>; 2],
        item: &Item<'_>,
        along: Option<&Along>,
        body: usize,
    ) {
        if state.out.put(keys, item, along, body) {
            self.disturbed.store(true, Ordering::Release);
        }
        self.wake(state);
    }

    /// Locks the state, and puts in what this thread has told in a row.
    fn state(&self) -> MutexGuard<'_, State> {
        let lock = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = lock();
        if let Some((target, tells)) = row::close(self, &mut state) {
            // Whoever is told may send.
            drop(state);
            self.tell_undelivered(&target, tells, self.lost("it was given up meanwhile"));
            state = lock();
        }
        state
    }

    /// The target of that name and type, the same for all who send to it.
    pub(super) fn target(
        &self,
        name: &str,
        message: &str,
        version: u32,
    ) -> Result<Arc<Target>, RemoteError> {
        if name.is_empty() || name.len() > NAME_LIMIT || name.chars().any(char::is_control) {
            let text = format!(
                "{name:?} can't be the name of an actor: 1 to {NAME_LIMIT} bytes, no control \
                 characters"
            );
            return Err(RemoteError::new(RemoteErrorKind::NoSuchName, text));
        }
        let mut state = self.state();
        let key = (Arc::from(name), Arc::from(message), version);
        if let Some(target) = state.known.get(&key) {
            return Ok(Arc::clone(target));
        }
        if state.known.len() >= TARGETS {
            let text = format!(
                "nothing was sent: there are {TARGETS} names and types of messages to send to at {} already",
                self.peer_name
            );
            return Err(RemoteError::new(RemoteErrorKind::Full, text));
        }
        let target = Target {
            name: Arc::clone(&key.0),
            message: Arc::clone(&key.1),
            version,
            number: AtomicU64::new(u64::MAX),
            room: Notify::new(),
        };
        let target = Arc::new(target);
        state.known.insert(key, Arc::clone(&target));
        Ok(target)
    }
}

impl State {
    /// The things that may go along on the link there is: a peer of an earlier build reads no more than that.
    fn sayable<'a>(&self, along: Option<&'a Along>) -> Option<Cow<'a, Along>> {
        match along? {
            Along { trace, on_behalf: Some(_) } if !self.on_behalf => {
                Along { trace: trace.clone(), on_behalf: None }.any().map(Cow::Owned)
            }
            along => Some(Cow::Borrowed(along)),
        }
    }
}

impl Target {
    pub(super) fn room(&self) -> &Notify {
        &self.room
    }
}

impl Sending {
    /// Takes room for one more, if there is some.
    fn take(&mut self, cost: u64, window: u64) -> bool {
        let fits = self.outstanding == 0 || self.outstanding + cost <= window;
        if fits {
            self.outstanding += cost;
        }
        fits
    }
}

/// Credit of a stream for what was read of it, until it goes back.
///
/// Invariant: none is left when all that came is read. Else a long item, which waits until nothing
/// is on its way, would wait for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Owed(u64);

impl Owed {
    /// An item of so many bytes was read, the last one that is there or not. Returns what is to go
    /// back now, if anything.
    pub(super) fn read(&mut self, bytes: usize, is_last: bool) -> Option<u64> {
        self.0 += cost(bytes);
        (is_last || self.0 >= STREAM_OWED).then(|| std::mem::take(&mut self.0))
    }
}

/// Somebody who waits for a link or for room.
struct Waiting<'a>(&'a Exchange);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("peer", &self.peer).finish_non_exhaustive()
    }
}
