//! What this node and one peer have to say to each other, whichever link they have.
//!
//! Handles put messages in from any thread; the link's pump takes batches out; the [postbox](super::postbox) of the link hands in what
//! came. Nothing that was put in for one link is said on another: what was sent and not answered when a link breaks ends in an error.
//!
//! Invariant: every call ends once, in an answer or an error. What is in flight to a target is at most [`TARGET_WINDOW`], to the peer
//! [`LINK_WINDOW`], or one message.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::error::{RemoteError, RemoteErrorKind};
use super::presence::{Presence, Watch, Watching};
use super::queue::{Key, Queue};
use crate::wire::PeerId;
use crate::wire::message::{ITEM_LIMIT, Item, Shape, TraceContext};

/// What may be on its way to one target, in units of credit: a message costs its bytes and [`EACH`].
pub(super) const TARGET_WINDOW: u64 = 1 << 20;
/// What may be on its way to one peer.
pub(super) const LINK_WINDOW: u64 = 16 << 20;
/// What a stream within a call may have on its way.
pub(super) const STREAM_WINDOW: u64 = 256 << 10;
/// What any message costs beside its bytes.
const EACH: u64 = 64;
/// Messages wait outside when so many bytes wait for the link.
const QUEUE_LIMIT: usize = 1 << 20;
/// Answers are given up when so many bytes wait for the link.
const ANSWERS_LIMIT: usize = 32 << 20;
/// The most names that are sent to at one peer, times types of messages.
const TARGETS: usize = 1 << 16;
/// How exact deadlines are.
const TICK: Duration = Duration::from_millis(20);

/// What a message of so many bytes costs.
pub(super) const fn cost(bytes: usize) -> u64 {
    EACH + bytes as u64
}

/// An answer, or one of a stream of them.
pub(super) type Answer = Result<Bytes, RemoteError>;

/// Messages without an answer that did not reach their actor, or may not have.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Undelivered {
    /// Where they were sent.
    pub peer: PeerId,
    /// The name of the actor.
    pub name: Arc<str>,
    /// The name of their type.
    pub message: &'static str,
    /// How many.
    pub count: u64,
    /// What happened. With [`RemoteErrorKind::LinkLost`], some of them may have been handled.
    pub error: RemoteError,
}

/// Whom messages of one type are sent to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: Arc<str>,
    pub(super) message: &'static str,
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
    connect: Box<dyn Fn() + Send + Sync>,
    undelivered: Arc<dyn Fn(Undelivered) + Send + Sync>,
}

#[derive(Default)]
struct State {
    epoch: Option<u64>,
    /// Why there will be no link until something is done about it.
    closed: Option<RemoteError>,
    /// Counts the times that a link was given up, and says why.
    given_up: (u64, Option<RemoteError>),
    queue: Queue,
    pump_sleeps: bool,
    known: HashMap<(Arc<str>, &'static str, u32), Arc<Target>>,
    bound: Vec<Bound>,
    in_flight: u64,
    calls: HashMap<u64, Pending>,
    next_call: u64,
    served: HashMap<u64, Served>,
    /// What served calls cost.
    served_cost: u64,
    watches: HashMap<u64, Watching>,
    next_watch: u64,
    /// Whoever waits for a link or for room.
    waiting: usize,
    clock_runs: bool,
}

struct Bound {
    target: Arc<Target>,
    in_flight: u64,
    tells: u64,
}

/// A call from here.
struct Pending {
    target: u32,
    cost: u64,
    deadline: Option<(Instant, Duration)>,
    sink: Sink,
}

enum Sink {
    Ask(oneshot::Sender<Answer>),
    Stream {
        replies: mpsc::UnboundedSender<Answer>,
        once: bool,
        uncredited: u64,
        sending: Sending,
    },
    /// Nobody waits any more; the peer has not said yet that it is over.
    Over,
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
    handling: Option<AbortHandle>,
    requests: Option<mpsc::UnboundedSender<Answer>>,
    uncredited: u64,
    replies: Sending,
}

/// Why something can't be put in now.
pub(super) enum Blocked {
    NoLink,
    Full,
    Never(RemoteError),
}

/// What begins a call.
pub(super) struct Opening<'a> {
    pub(super) shape: Shape,
    pub(super) body: &'a [u8],
    pub(super) trace: Option<&'a TraceContext>,
    pub(super) deadline: Option<(Instant, Duration)>,
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
            connect,
            undelivered,
        }
    }

    pub(super) fn peer_name(&self) -> &str {
        &self.peer_name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- targets

    /// The target of that name and type, the same for all who send to it.
    pub(super) fn target(&self, name: &str, message: &'static str, version: u32) -> Result<Arc<Target>, RemoteError> {
        let mut state = self.state();
        let key = (Arc::from(name), message, version);
        if let Some(target) = state.known.get(&key) {
            return Ok(Arc::clone(target));
        }
        if state.known.len() >= TARGETS {
            let text = format!("there are {TARGETS} names and types of messages to send to at {} already", self.peer_name);
            return Err(RemoteError::new(RemoteErrorKind::Full, text));
        }
        let target = Target { name: Arc::clone(&key.0), message, version, number: AtomicU64::new(u64::MAX), room: Notify::new() };
        let target = Arc::new(target);
        state.known.insert(key, Arc::clone(&target));
        Ok(target)
    }

    // ---- waiting

    /// Puts something in as soon as `put` can: waits for a link, and, with `patient`, for room.
    pub(super) async fn when_possible<T>(
        &self,
        room: &Notify,
        patient: bool,
        deadline: Option<(Instant, Duration)>,
        mut put: impl FnMut() -> Result<T, Blocked>,
    ) -> Result<T, RemoteError> {
        match put() {
            Ok(done) => return Ok(done),
            Err(Blocked::Never(error)) => return Err(error),
            Err(Blocked::Full) if !patient => return Err(self.full()),
            Err(Blocked::Full | Blocked::NoLink) => {}
        }
        let _waiting = self.wait();
        let before = self.state().given_up.0;
        loop {
            let (has_room, has_changed) = (room.notified(), self.changed.notified());
            match put() {
                Ok(done) => return Ok(done),
                Err(Blocked::Never(error)) => return Err(error),
                Err(Blocked::Full) if !patient => return Err(self.full()),
                Err(Blocked::Full) => {}
                Err(Blocked::NoLink) => {
                    let state = self.state();
                    if let (true, Some(why)) = (state.given_up.0 != before, &state.given_up.1) {
                        return Err(why.clone());
                    }
                    drop(state);
                    (self.connect)();
                }
            }
            if let Some((_, after)) = deadline.filter(|(until, _)| *until <= Instant::now()) {
                return Err(self.too_late(after));
            }
            tokio::select! {
                () = has_room => {}
                () = has_changed => {}
            }
        }
    }

    /// Why something that can't wait was not sent.
    pub(super) fn blocked(&self, blocked: Blocked) -> RemoteError {
        match blocked {
            Blocked::Never(error) => error,
            Blocked::Full => self.full(),
            Blocked::NoLink => {
                (self.connect)();
                RemoteError::new(RemoteErrorKind::Unreachable, format!("there is no link to {} now; one is being sought", self.peer_name))
            }
        }
    }

    /// A message that had to wait could not be sent.
    pub(super) fn undelivered_here(&self, target: &Target, error: RemoteError) {
        self.tell_undelivered(target, 1, error);
    }

    fn wait(&self) -> Waiting<'_> {
        let mut state = self.state();
        state.waiting += 1;
        self.start_clock(&mut state);
        Waiting(self)
    }

    fn full(&self) -> RemoteError {
        RemoteError::new(RemoteErrorKind::Full, format!("{} has as many messages to handle as may wait: try again later", self.peer_name))
    }

    fn too_late(&self, after: Duration) -> RemoteError {
        RemoteError::new(RemoteErrorKind::Deadline, format!("{} has not answered within {after:?}", self.peer_name))
    }

    // ---- sending

    /// A message without an answer.
    pub(super) fn tell(&self, target: &Arc<Target>, body: &[u8], trace: Option<&TraceContext>) -> Result<(), Blocked> {
        let mut state = self.state();
        let (number, cost) = self.admit(&mut state, target, body.len())?;
        let bound = &mut state.bound[number as usize];
        bound.in_flight += cost;
        bound.tells += 1;
        state.in_flight += cost;
        state.queue.put([Some(Key::Target(number)), None], &Item::Tell { target: number, body }, trace, body.len());
        self.wake(&mut state);
        Ok(())
    }

    /// A call with one answer.
    pub(super) fn ask(&self, target: &Arc<Target>, opening: &Opening<'_>) -> Result<(Begun, oneshot::Receiver<Answer>), Blocked> {
        let (answer, answered) = oneshot::channel();
        let begun = self.begin(target, opening, || Sink::Ask(answer))?;
        Ok((begun, answered))
    }

    /// A call with streams.
    pub(super) fn open(
        &self,
        target: &Arc<Target>,
        opening: &Opening<'_>,
    ) -> Result<(Begun, mpsc::UnboundedReceiver<Answer>, Arc<Notify>), Blocked> {
        let (replies, replied) = mpsc::unbounded_channel();
        let sending = Sending::default();
        let room = Arc::clone(&sending.room);
        let begun =
            self.begin(target, opening, || Sink::Stream { replies, once: !opening.shape.streams_replies(), uncredited: 0, sending })?;
        Ok((begun, replied, room))
    }

    fn begin(&self, target: &Arc<Target>, opening: &Opening<'_>, sink: impl FnOnce() -> Sink) -> Result<Begun, Blocked> {
        let &Opening { shape, body, trace, deadline } = opening;
        let mut state = self.state();
        let (number, cost) = self.admit(&mut state, target, body.len())?;
        let epoch = state.epoch.ok_or(Blocked::NoLink)?;
        state.bound[number as usize].in_flight += cost;
        state.in_flight += cost;
        let call = state.next_call;
        state.next_call += 1;
        state.calls.insert(call, Pending { target: number, cost, deadline, sink: sink() });
        let keys = [Some(Key::Target(number)), Some(Key::Call(call))];
        state.queue.put(keys, &Item::Call { call, target: number, shape, body }, trace, body.len());
        if deadline.is_some() {
            self.start_clock(&mut state);
        }
        self.wake(&mut state);
        Ok(Begun { call, epoch })
    }

    /// Looks whether there is a link with room for one more message, and says what the target is called there.
    fn admit(&self, state: &mut State, target: &Arc<Target>, bytes: usize) -> Result<(u32, u64), Blocked> {
        if let Some(error) = &state.closed {
            return Err(Blocked::Never(error.clone()));
        }
        let Some(epoch) = state.epoch else { return Err(Blocked::NoLink) };
        let (cost, marked) = (cost(bytes), (epoch & 0xffff_ffff) << 32);
        let known = target.number.load(Ordering::Relaxed);
        let number = if known & !0xffff_ffff == marked { known as u32 } else { Self::bind(state, target, marked) };
        let bound = &state.bound[number as usize];
        let over = |in_flight: u64, window: u64| in_flight > 0 && in_flight + cost > window;
        if over(bound.in_flight, TARGET_WINDOW) || over(state.in_flight, LINK_WINDOW) || state.queue.bytes() > QUEUE_LIMIT {
            return Err(Blocked::Full);
        }
        Ok((number, cost))
    }

    fn bind(state: &mut State, target: &Arc<Target>, marked: u64) -> u32 {
        let number = u32::try_from(state.bound.len()).unwrap_or(u32::MAX);
        state.bound.push(Bound { target: Arc::clone(target), in_flight: 0, tells: 0 });
        target.number.store(marked | u64::from(number), Ordering::Relaxed);
        let bind = Item::Bind { target: number, name: &target.name, message: target.message, version: target.version };
        state.queue.put([None, None], &bind, None, target.name.len() + target.message.len());
        number
    }

    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.pump_sleeps) {
            self.filled.notify_one();
        }
    }

    /// One more request of a call.
    pub(super) fn request(&self, begun: &Begun, body: &[u8]) -> Result<(), Blocked> {
        let mut state = self.state();
        let gone = || {
            Blocked::Never(RemoteError::new(RemoteErrorKind::Cancelled, format!("{} takes no more requests of this call", self.peer_name)))
        };
        if state.epoch != Some(begun.epoch) {
            return Err(Blocked::Never(self.lost("the call's link is gone")));
        }
        let full = state.queue.bytes() > QUEUE_LIMIT;
        let Some(Pending { sink: Sink::Stream { sending, .. }, .. }) = state.calls.get_mut(&begun.call) else { return Err(gone()) };
        if full || !sending.take(cost(body.len())) {
            return Err(Blocked::Full);
        }
        let call = begun.call;
        state.queue.put([Some(Key::Call(call)), None], &Item::Request { call, body }, None, body.len());
        self.wake(&mut state);
        Ok(())
    }

    /// No more requests.
    pub(super) fn end_requests(&self, begun: &Begun) {
        let mut state = self.state();
        if state.epoch == Some(begun.epoch) && state.calls.contains_key(&begun.call) {
            state.queue.put([Some(Key::Call(begun.call)), None], &Item::RequestsEnd { call: begun.call }, None, 0);
            self.wake(&mut state);
        }
    }

    /// So much of what came in reply was handled.
    pub(super) fn credit_replies(&self, begun: &Begun, cost: u64) {
        let mut state = self.state();
        if state.epoch != Some(begun.epoch) {
            return;
        }
        if let Some(Pending { sink: Sink::Stream { uncredited, .. }, .. }) = state.calls.get_mut(&begun.call) {
            *uncredited = uncredited.saturating_sub(cost);
            state.queue.put([None, None], &Item::Credit { call: begun.call, of_requests: false, cost }, None, 0);
            self.wake(&mut state);
        }
    }

    /// Nobody waits for the answer any more.
    pub(super) fn cancel(&self, begun: &Begun) {
        let mut state = self.state();
        if state.epoch != Some(begun.epoch) {
            return;
        }
        if let Some(pending) = state.calls.get_mut(&begun.call)
            && !matches!(pending.sink, Sink::Over)
        {
            if let Sink::Stream { replies, sending, .. } = std::mem::replace(&mut pending.sink, Sink::Over) {
                let _ = replies.send(Err(RemoteError::new(RemoteErrorKind::Cancelled, "this side gave the call up")));
                sending.room.notify_waiters();
            }
            pending.deadline = None;
            state.queue.put([None, None], &Item::Cancel { call: begun.call }, None, 0);
            self.wake(&mut state);
        }
    }

    // ---- serving

    /// A call has come. `Err`: the peer has more of them under way than it may.
    pub(super) fn serve(
        &self,
        epoch: u64,
        call: u64,
        bytes: usize,
        requests: Option<mpsc::UnboundedSender<Answer>>,
    ) -> Result<Arc<Notify>, String> {
        let mut state = self.state();
        let replies = Sending::default();
        let room = Arc::clone(&replies.room);
        if state.epoch != Some(epoch) {
            return Ok(room);
        }
        state.served_cost += cost(bytes);
        if state.served_cost > LINK_WINDOW + ITEM_LIMIT as u64 + EACH {
            return Err("more calls than it has credit for".into());
        }
        let served = Served { cost: cost(bytes), handling: None, requests, uncredited: 0, replies };
        match state.served.insert(call, served) {
            None => Ok(room),
            Some(_) => Err(format!("two calls with the number {call}")),
        }
    }

    /// The task that handles a call: it ends when the call is cancelled.
    pub(super) fn handled_by(&self, epoch: u64, call: u64, task: AbortHandle) {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return task.abort();
        }
        match state.served.get_mut(&call) {
            Some(served) => served.handling = Some(task),
            // Answered already, or cancelled; an abort of what has ended does nothing.
            None => drop(task),
        }
    }

    /// The one answer, or the last word, of a call to here. Nothing, where the call is over already.
    pub(super) fn answer(&self, epoch: u64, call: u64, answer: Result<&[u8], &RemoteError>) {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return;
        }
        let Some(served) = state.served.remove(&call) else { return };
        state.served_cost -= served.cost;
        let keys = [Some(Key::Served(call)), None];
        match answer {
            Ok(body) if state.queue.bytes() + body.len() <= ANSWERS_LIMIT => {
                state.queue.put(keys, &Item::Reply { call, body }, None, body.len());
            }
            Ok(_) => {
                let text = "too many answers wait for the link: ask for less at a time";
                state.queue.put(keys, &Item::Failed { call, code: RemoteErrorKind::Full.code(), text }, None, text.len());
            }
            Err(error) => {
                let (code, text) = (error.kind.code(), error.message.as_str());
                state.queue.put(keys, &Item::Failed { call, code, text }, None, text.len());
            }
        }
        self.wake(&mut state);
    }

    /// One more reply of a call to here.
    pub(super) fn reply(&self, epoch: u64, call: u64, body: &[u8]) -> Result<(), Blocked> {
        let mut state = self.state();
        let full = state.queue.bytes() > QUEUE_LIMIT;
        let is_up = state.epoch == Some(epoch);
        let Some(served) = state.served.get_mut(&call).filter(|_| is_up) else {
            let text = format!("{} no longer waits for replies of this call", self.peer_name);
            return Err(Blocked::Never(RemoteError::new(RemoteErrorKind::Cancelled, text)));
        };
        if full || !served.replies.take(cost(body.len())) {
            return Err(Blocked::Full);
        }
        state.queue.put([Some(Key::Served(call)), None], &Item::Reply { call, body }, None, body.len());
        self.wake(&mut state);
        Ok(())
    }

    /// No more replies: the call is over.
    pub(super) fn end_replies(&self, epoch: u64, call: u64) {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return;
        }
        if let Some(served) = state.served.remove(&call) {
            state.served_cost -= served.cost;
            state.queue.put([Some(Key::Served(call)), None], &Item::RepliesEnd { call }, None, 0);
            self.wake(&mut state);
        }
    }

    /// So much of what was requested was handled.
    pub(super) fn credit_requests(&self, epoch: u64, call: u64, cost: u64) {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return;
        }
        if let Some(served) = state.served.get_mut(&call) {
            served.uncredited = served.uncredited.saturating_sub(cost);
            state.queue.put([None, None], &Item::Credit { call, of_requests: true, cost }, None, 0);
            self.wake(&mut state);
        }
    }

    /// Says something that belongs to this link and costs nothing.
    pub(super) fn say(&self, epoch: u64, item: &Item<'_>, body: usize) {
        let mut state = self.state();
        if state.epoch == Some(epoch) {
            state.queue.put([None, None], item, None, body);
            self.wake(&mut state);
        }
    }

    // ---- what comes in

    /// Takes one item of the peer that is an answer to something said here. `Err`: it broke the protocol.
    pub(super) fn heard(&self, item: &Item<'_>, body: impl FnOnce(&[u8]) -> Bytes) -> Result<(), String> {
        match *item {
            Item::Reply { call, body: bytes } => self.on_reply(call, body(bytes)),
            Item::RepliesEnd { call } => {
                if let Some(Sink::Stream { sending, .. }) = self.end_call(call) {
                    sending.room.notify_waiters();
                }
                Ok(())
            }
            Item::Failed { call, code, text } => {
                match self.end_call(call) {
                    Some(Sink::Ask(answer)) => drop(answer.send(Err(RemoteError::told(code, text)))),
                    Some(Sink::Stream { replies, sending, .. }) => {
                        let _ = replies.send(Err(RemoteError::told(code, text)));
                        sending.room.notify_waiters();
                    }
                    Some(Sink::Over) | None => {}
                }
                Ok(())
            }
            Item::Consumed { target, tells, cost } => self.on_consumed(target, tells, cost),
            Item::Undelivered { target, count, code, text } => self.on_undelivered(target, count, RemoteError::told(code, text)),
            Item::Credit { call, of_requests, cost } => {
                self.on_credit(call, of_requests, cost);
                Ok(())
            }
            _ => Err("an item that is no answer".into()),
        }
    }

    fn on_reply(&self, call: u64, body: Bytes) -> Result<(), String> {
        let mut state = self.state();
        if let Some(Pending { sink: Sink::Stream { replies, once: false, uncredited, .. }, .. }) = state.calls.get_mut(&call) {
            *uncredited += cost(body.len());
            if *uncredited > STREAM_WINDOW + cost(ITEM_LIMIT) {
                return Err("more replies than it has credit for".into());
            }
            // The receiver may be gone: its handle cancels.
            let _ = replies.send(Ok(body));
            return Ok(());
        }
        drop(state);
        // Whoever asked may be gone.
        match self.end_call(call) {
            Some(Sink::Ask(answer)) => drop(answer.send(Ok(body))),
            Some(Sink::Stream { replies, sending, .. }) => {
                let _ = replies.send(Ok(body));
                sending.room.notify_waiters();
            }
            Some(Sink::Over) | None => {}
        }
        Ok(())
    }

    fn end_call(&self, call: u64) -> Option<Sink> {
        let mut state = self.state();
        let pending = state.calls.remove(&call)?;
        state.in_flight = state.in_flight.saturating_sub(pending.cost);
        if let Some(bound) = state.bound.get_mut(pending.target as usize) {
            bound.in_flight = bound.in_flight.saturating_sub(pending.cost);
            if state.waiting > 0 {
                state.bound[pending.target as usize].target.room.notify_waiters();
            }
        }
        Some(pending.sink)
    }

    fn on_consumed(&self, target: u32, tells: u64, cost: u64) -> Result<(), String> {
        let mut state = self.state();
        let Some(bound) = state.bound.get_mut(target as usize) else { return Err("a target that was never named".into()) };
        bound.in_flight = bound.in_flight.saturating_sub(cost);
        bound.tells = bound.tells.saturating_sub(tells);
        let target = Arc::clone(&bound.target);
        state.in_flight = state.in_flight.saturating_sub(cost);
        if state.waiting > 0 {
            target.room.notify_waiters();
            self.changed.notify_waiters();
        }
        Ok(())
    }

    fn on_undelivered(&self, target: u32, count: u64, error: RemoteError) -> Result<(), String> {
        let state = self.state();
        let Some(bound) = state.bound.get(target as usize) else { return Err("a target that was never named".into()) };
        let target = Arc::clone(&bound.target);
        drop(state);
        self.tell_undelivered(&target, count, error);
        Ok(())
    }

    fn on_credit(&self, call: u64, of_requests: bool, cost: u64) {
        let mut state = self.state();
        let sending = if of_requests {
            state.calls.get_mut(&call).and_then(|pending| match &mut pending.sink {
                Sink::Stream { sending, .. } => Some(sending),
                _ => None,
            })
        } else {
            state.served.get_mut(&call).map(|served| &mut served.replies)
        };
        if let Some(sending) = sending {
            sending.outstanding = sending.outstanding.saturating_sub(cost);
            sending.room.notify_waiters();
        }
    }

    /// A request of a call to here whose requests are a stream. `Err`: it broke the protocol.
    pub(super) fn on_request(&self, call: u64, body: Option<Bytes>) -> Result<(), String> {
        let mut state = self.state();
        // Answered before its last request came: what still comes means nothing.
        let Some(served) = state.served.get_mut(&call) else { return Ok(()) };
        let Some(body) = body else {
            served.requests = None;
            return Ok(());
        };
        served.uncredited += cost(body.len());
        if served.uncredited > STREAM_WINDOW + cost(ITEM_LIMIT) {
            return Err("more requests than it has credit for".into());
        }
        match &served.requests {
            // Whoever handled them may be gone: it has answered then.
            Some(requests) => drop(requests.send(Ok(body))),
            None => return Err("a request of a call that has no more".into()),
        }
        Ok(())
    }

    /// The caller no longer waits.
    pub(super) fn on_cancel(&self, epoch: u64, call: u64) {
        let state = self.state();
        let Some(served) = state.served.get(&call) else { return };
        let (handling, room) = (served.handling.clone(), Arc::clone(&served.replies.room));
        drop(state);
        self.answer(epoch, call, Err(&RemoteError::new(RemoteErrorKind::Cancelled, "the caller gave up")));
        room.notify_waiters();
        if let Some(handling) = handling {
            handling.abort();
        }
    }

    fn tell_undelivered(&self, target: &Target, count: u64, error: RemoteError) {
        let (name, message) = (Arc::clone(&target.name), target.message);
        (self.undelivered)(Undelivered { peer: self.peer, name, message, count, error });
    }

    // ---- watches

    /// Watches an actor of the peer, or the peer itself.
    pub(crate) fn watch(self: &Arc<Self>, name: Option<&str>) -> Watch {
        let mut state = self.state();
        let id = state.next_watch;
        state.next_watch += 1;
        let mut watching = Watching::new(name.map(Arc::from));
        let has_link = state.epoch.is_some();
        if has_link {
            Self::begin_watch(&mut state.queue, id, &mut watching);
            self.wake(&mut state);
        }
        let (now, changes) = (watching.last.clone(), watching.changes.subscribe());
        state.watches.insert(id, watching);
        drop(state);
        if !has_link {
            (self.connect)();
        }
        Watch { exchange: Arc::clone(self), id, now, changes }
    }

    fn begin_watch(queue: &mut Queue, id: u64, watching: &mut Watching) {
        match &watching.name {
            Some(name) => queue.put([None, None], &Item::Watch { watch: id, name }, None, name.len()),
            None => watching.tell(Presence::Up),
        }
    }

    pub(super) fn unwatch(&self, id: u64) {
        let mut state = self.state();
        if state.watches.remove(&id).is_some_and(|watching| watching.name.is_some()) && state.epoch.is_some() {
            state.queue.put([None, None], &Item::Unwatch { watch: id }, None, 0);
            self.wake(&mut state);
        }
    }

    /// What the peer says of an actor that is watched.
    pub(super) fn on_status(&self, watch: u64, up: bool, code: u8) {
        let presence = if up { Presence::Up } else { Presence::Down { kind: RemoteErrorKind::from_code(code) } };
        if let Some(watching) = self.state().watches.get_mut(&watch) {
            watching.tell(presence);
        }
    }

    // ---- the link

    /// A link is up that speaks messages.
    pub(crate) fn up(&self, epoch: u64) {
        let mut state = self.state();
        state.epoch = Some(epoch);
        state.closed = None;
        state.pump_sleeps = false;
        let state = &mut *state;
        state.watches.iter_mut().for_each(|(&id, watching)| Self::begin_watch(&mut state.queue, id, watching));
        self.changed.notify_waiters();
    }

    /// There is no link any more, or there will be none.
    pub(crate) fn down(&self, kind: RemoteErrorKind, why: &str) {
        let mut state = self.state();
        if state.epoch.take().is_none() {
            return;
        }
        let state = &mut *state;
        state.queue = Queue::default();
        state.in_flight = 0;
        state.served_cost = 0;
        state.watches.values_mut().for_each(|watching| watching.tell(Presence::Down { kind }));
        let (calls, bound) = (std::mem::take(&mut state.calls), std::mem::take(&mut state.bound));
        let served = std::mem::take(&mut state.served);
        let error = self.lost(why);
        for (_, pending) in calls {
            match pending.sink {
                Sink::Ask(answer) => drop(answer.send(Err(error.clone()))),
                Sink::Stream { replies, sending, .. } => {
                    let _ = replies.send(Err(error.clone()));
                    sending.room.notify_waiters();
                }
                Sink::Over => {}
            }
        }
        for (_, served) in served {
            if let Some(requests) = &served.requests {
                let _ = requests.send(Err(error.clone()));
            }
            served.replies.room.notify_waiters();
            if let Some(handling) = served.handling {
                handling.abort();
            }
        }
        self.changed.notify_waiters();
        self.filled.notify_one();
        bound.iter().for_each(|bound| bound.target.room.notify_waiters());
        for bound in bound.into_iter().filter(|bound| bound.tells > 0) {
            self.tell_undelivered(&bound.target, bound.tells, error.clone());
        }
    }

    fn lost(&self, why: &str) -> RemoteError {
        let text = format!("the link to {} broke ({why}): whether the message was handled is not known", self.peer_name);
        RemoteError::new(RemoteErrorKind::LinkLost, text)
    }

    /// No link came about: whoever waits for one is told.
    pub(crate) fn give_up(&self, error: RemoteError) {
        let mut state = self.state();
        state.given_up = (state.given_up.0 + 1, Some(error));
        self.changed.notify_waiters();
    }

    /// Waits until there is something to be said on this link; `false` when it is no longer the link.
    pub(crate) async fn filled(&self, epoch: u64) -> bool {
        loop {
            {
                let mut state = self.state();
                if state.epoch != Some(epoch) {
                    // Whoever waits for the next link must not lose this wake-up.
                    self.filled.notify_one();
                    return false;
                }
                if !state.queue.is_empty() {
                    return true;
                }
                state.pump_sleeps = true;
            }
            self.filled.notified().await;
        }
    }

    /// Gives the next batch for this link to `send`.
    pub(crate) fn take_batch<T>(&self, epoch: u64, send: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return None;
        }
        let was_full = state.queue.bytes() > QUEUE_LIMIT;
        let sent = state.queue.take(send);
        if was_full && state.waiting > 0 && state.queue.bytes() <= QUEUE_LIMIT {
            self.changed.notify_waiters();
        }
        sent
    }

    // ---- the clock

    fn start_clock(&self, state: &mut State) {
        if !std::mem::replace(&mut state.clock_runs, true) {
            self.clock.notify_one();
        }
    }

    /// Looks at deadlines while there are any. Runs as long as the node.
    pub(crate) async fn run_clock(&self) {
        loop {
            self.clock.notified().await;
            loop {
                tokio::time::sleep(TICK).await;
                if !self.tick(Instant::now()) {
                    break;
                }
            }
        }
    }

    fn tick(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.waiting > 0 {
            self.changed.notify_waiters();
        }
        let late = |pending: &Pending| pending.deadline.is_some_and(|(until, _)| until <= now);
        let late: Vec<u64> = state.calls.iter().filter(|(_, pending)| late(pending)).map(|(&call, _)| call).collect();
        for call in late {
            let Some(pending) = state.calls.get_mut(&call) else { continue };
            let after = pending.deadline.take().map_or(Duration::ZERO, |(_, after)| after);
            match std::mem::replace(&mut pending.sink, Sink::Over) {
                Sink::Ask(answer) => drop(answer.send(Err(self.too_late(after)))),
                Sink::Stream { replies, sending, .. } => {
                    let _ = replies.send(Err(self.too_late(after)));
                    sending.room.notify_waiters();
                }
                Sink::Over => continue,
            }
            state.queue.put([None, None], &Item::Cancel { call }, None, 0);
            self.wake(&mut state);
        }
        state.clock_runs = state.waiting > 0 || state.calls.values().any(|pending| pending.deadline.is_some());
        state.clock_runs
    }
}

impl Target {
    pub(super) fn room(&self) -> &Notify {
        &self.room
    }
}

impl Sending {
    /// Takes room for one more, if there is some.
    fn take(&mut self, cost: u64) -> bool {
        let fits = self.outstanding == 0 || self.outstanding + cost <= STREAM_WINDOW;
        if fits {
            self.outstanding += cost;
        }
        fits
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
