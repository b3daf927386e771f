//! What came from other nodes for an actor that this node runs, taken up within the actor's own context.
//!
//! By actix's mailbox a message costs two allocations, and one that is answered a task. Here the bytes of many are copied into one
//! buffer, and the actor reads and handles them one after the other when it has its turn. What an actor may rely on stays: one
//! message at a time, none while it waits (`ctx.wait`, `AtomicResponse`), none once it stops, those of one peer in their order.
//!
//! Invariant: what is put in is handled, or dropped with the actor's life, which says so to whoever waits for it. The credit of
//! those who send bounds how much is in it, and of calls that were given up [`WAITING_LIMIT`].

mod handling;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, Waker};

use actix::fut::ActorFuture;
use actix::{Actor, AsyncContext, Context};
use foldhash::fast::RandomState;

use super::exchange::Exchange;
use super::mailbox::{CallIn, Done};

pub(crate) use handling::{asked, called, plain};

/// Messages that an actor handles before others have their turn: so few that their answers leave while the next are handled, and both
/// nodes have something to do.
const AT_ONCE: usize = 32;
/// Calls are turned away where so many bytes wait for one actor: who gives up calls has their credit back before they are taken up.
const WAITING_LIMIT: usize = 64 << 20;
/// Emptied buffers of up to so many bytes are kept, however little is in them.
const KEPT: usize = 64 << 10;

/// Who told, and under which number: where to say that a message could not be read.
#[derive(Clone)]
pub(crate) struct Teller {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) epoch: u64,
    pub(crate) target: u32,
}

impl Teller {
    fn is(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// What tells it from others, as long as it is kept.
    fn key(&self) -> Key {
        (Arc::as_ptr(&self.exchange).addr(), self.epoch, self.target)
    }
}

type Key = (usize, u64, u32);

/// Reads a message and has the actor handle it.
pub(crate) type Take<A> = fn(&mut A, &mut <A as Actor>::Context, &[u8], Came<'_>);

/// How a message came.
pub(crate) enum Came<'a> {
    Told(&'a Teller, Option<Done>),
    Called(CallIn),
}

/// How a message waits.
enum Way {
    /// By the teller of this place.
    Told(usize),
    /// The next of the calls.
    Called,
    /// No message: those before it have been handled.
    Mark,
}

struct Entry<A: Actor> {
    take: Take<A>,
    length: usize,
    way: Way,
    done: Option<Done>,
}

/// Messages, in their order.
struct Load<A: Actor> {
    bytes: Vec<u8>,
    /// Bytes of messages that were taken out.
    read: usize,
    entries: VecDeque<Entry<A>>,
    /// How many entries were taken out.
    taken: usize,
    calls: VecDeque<CallIn>,
    /// Each with its last entry, counted from the first that this load ever had.
    tellers: Vec<(Teller, usize)>,
    /// Where each of these is: a peer can name one actor under many numbers.
    places: HashMap<Key, usize, RandomState>,
    /// The place of who told last.
    last: usize,
}

/// What waits for one actor, whichever of its lives takes it up.
pub(crate) struct Intake<A: Actor> {
    state: Mutex<State<A>>,
    /// Has the actor started anew.
    revive: Arc<dyn Fn() + Send + Sync>,
}

struct State<A: Actor> {
    /// Counts lives.
    life: u64,
    is_alive: bool,
    waiting: Load<A>,
    /// Set while the actor has nothing more to do.
    sleeper: Option<Waker>,
}

impl<A: Actor> Default for Load<A> {
    fn default() -> Self {
        let (bytes, entries, calls, tellers, places) = Default::default();
        Self { bytes, read: 0, entries, taken: 0, calls, tellers, places, last: 0 }
    }
}

impl<A: Actor> Load<A> {
    /// The place of this teller. Most messages have the one before them.
    fn teller(&mut self, teller: &Teller) -> usize {
        if self.tellers.get(self.last).is_none_or(|(last, _)| !last.is(teller)) {
            let tellers = &mut self.tellers;
            self.last = *self.places.entry(teller.key()).or_insert_with(|| {
                tellers.push((teller.clone(), 0));
                tellers.len() - 1
            });
        }
        self.last
    }

    /// Bytes that it takes.
    fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry<A>>() + self.calls.len() * size_of::<CallIn>()
    }

    /// Makes it ready for the next ones. Buffers stay as large as they are needed.
    fn empty(&mut self) {
        let (bytes, entries) = (self.bytes.len(), self.taken);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT.max(4 * bytes));
        self.entries.shrink_to((KEPT / size_of::<Entry<A>>()).max(4 * entries));
        self.calls.shrink_to((KEPT / size_of::<CallIn>()).max(4 * entries));
        (self.read, self.taken) = (0, 0);
        self.tellers.clear();
        self.places.clear();
        self.places.shrink_to(KEPT / size_of::<(Key, usize)>());
    }
}

impl<A: Actor<Context = Context<A>>> Intake<A> {
    pub(crate) fn new(revive: Arc<dyn Fn() + Send + Sync>) -> Arc<Self> {
        let state = State { life: 0, is_alive: false, waiting: Load::default(), sleeper: None };
        Arc::new(Self { state: Mutex::new(state), revive })
    }

    fn state(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A life of the actor begins: this is to run in its context.
    pub(crate) fn begin(self: &Arc<Self>) -> Taking<A> {
        let mut state = self.state();
        state.life += 1;
        state.is_alive = true;
        Taking { intake: Arc::clone(self), life: state.life, load: Load::default() }
    }

    /// Whether there is a life to take up what is put in.
    pub(crate) fn is_open(&self) -> bool {
        self.state().is_alive
    }

    fn put(&self, put: impl FnOnce(&mut Load<A>)) -> bool {
        let mut state = self.state();
        if !state.is_alive {
            return false;
        }
        put(&mut state.waiting);
        let sleeper = state.sleeper.take();
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        true
    }

    /// Puts a message without an answer in; `false` where nobody is there to take it.
    pub(crate) fn tell(&self, take: Take<A>, body: &[u8], teller: &Teller) -> bool {
        self.put(|load| {
            let place = load.teller(teller);
            load.tellers[place].1 = load.taken + load.entries.len();
            load.bytes.extend_from_slice(body);
            load.entries.push_back(Entry { take, length: body.len(), way: Way::Told(place), done: None });
        })
    }

    /// Says when all that this teller has put in was handled.
    pub(crate) fn confirm(&self, take: Take<A>, teller: &Teller, done: Done) {
        let mut done = Some(done);
        // Where nobody is there any more, it is dropped, and says so.
        self.put(|load| {
            let last = load.places.get(&teller.key()).map(|&place| load.tellers[place].1 - load.taken);
            match last.and_then(|last| load.entries.get_mut(last)).filter(|last| last.done.is_none()) {
                Some(last) => last.done = done.take(),
                // The actor has taken it up already.
                None => load.entries.push_back(Entry { take, length: 0, way: Way::Mark, done: done.take() }),
            }
        });
    }

    /// Puts a call in, or gives it back where nobody is there to take it, or where too much waits already.
    pub(crate) fn call(&self, take: Take<A>, body: &[u8], call: CallIn) -> Result<(), (Box<CallIn>, Unfit)> {
        let mut call = Some(call);
        let is_alive = self.put(|load| {
            if load.size() > WAITING_LIMIT {
                return;
            }
            load.bytes.extend_from_slice(body);
            load.calls.extend(call.take());
            load.entries.push_back(Entry { take, length: body.len(), way: Way::Called, done: None });
        });
        call.map_or(Ok(()), |call| Err((Box::new(call), if is_alive { Unfit::Full } else { Unfit::Dead })))
    }
}

/// Why a call was not put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    Dead,
    Full,
}

/// One life of the actor takes up what waits for it.
pub(crate) struct Taking<A: Actor<Context = Context<A>>> {
    intake: Arc<Intake<A>>,
    life: u64,
    load: Load<A>,
}

impl<A: Actor<Context = Context<A>>> Taking<A> {
    /// Takes over all that waits; `false` where nothing does, and then the task is woken when something is put in.
    fn fetch(&mut self, task: &Task<'_>) -> bool {
        self.load.empty();
        let mut state = self.intake.state();
        if state.life != self.life {
            return false;
        }
        if state.waiting.entries.is_empty() {
            state.sleeper = Some(task.waker().clone());
            return false;
        }
        std::mem::swap(&mut state.waiting, &mut self.load);
        true
    }

    fn handle_next(&mut self, actor: &mut A, ctx: &mut Context<A>) -> bool {
        let load = &mut self.load;
        let Some(Entry { take, length, way, done }) = load.entries.pop_front() else { return false };
        load.taken += 1;
        let body = &load.bytes[load.read..load.read + length];
        load.read += length;
        match way {
            Way::Told(place) => take(actor, ctx, body, Came::Told(&load.tellers[place].0, done)),
            Way::Called => {
                if let Some(call) = load.calls.pop_front() {
                    take(actor, ctx, body, Came::Called(call));
                }
            }
            Way::Mark => done.into_iter().for_each(|done| done.say(true)),
        }
        true
    }
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Taking<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, ctx: &mut Context<A>, task: &mut Task<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..AT_ONCE {
            // A handler has it wait for something, or stop: its context polls this again when that is over (actix 0.13.5,
            // context_impl.rs, `ContextFut::poll`).
            if ctx.waiting() {
                return Poll::Pending;
            }
            if !this.handle_next(actor, ctx) && !this.fetch(task) {
                return Poll::Pending;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<A: Actor<Context = Context<A>>> Unpin for Taking<A> {}

impl<A: Actor<Context = Context<A>>> Drop for Taking<A> {
    fn drop(&mut self) {
        let mut state = self.intake.state();
        if state.life != self.life {
            return;
        }
        state.is_alive = false;
        state.sleeper = None;
        let waited = std::mem::take(&mut state.waiting);
        drop(state);
        // They say by themselves that the actor died with them.
        drop(waited);
        (self.intake.revive)();
    }
}
