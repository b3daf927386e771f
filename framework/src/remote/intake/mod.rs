//! The intake of messages from other nodes for an actor that this node runs, within the actor's own
//! context.
//!
//! By actix's mailbox a message costs two allocations, and one that is answered a task. Here the
//! bytes of many are copied into one buffer, and the actor reads and handles them one after the
//! other when it has its turn. What an actor may rely on stays: one message at a time, none while
//! it waits (`ctx.wait`, `AtomicResponse`), none once it stops, those of one peer in their order.
//!
//! Invariant: what is put in is handled, or dropped with the actor's life, which says so to whoever
//! waits for it. The credit of those who send bounds how much is in it, and of calls that were
//! given up [`WAITING_LIMIT`].

mod handling;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, Waker};

use actix::fut::ActorFuture;
use actix::{Actor, AsyncContext, Context};

use super::mailbox::{CallIn, Done};
use super::serving::Traced;
use super::teller::Teller;

pub(crate) use self::seen::IntakeSeen;
use self::seen::TakenUp;
pub(crate) use handling::{asked, called, plain};

/// Calls that an actor takes up before others have their turn: so few that their answers leave
/// while the next are handled, and both nodes have something to do. Messages without an answer
/// count for a part of one.
const AT_ONCE: usize = 32;
/// The number of these that counts for a call.
const TOLD: usize = 4;
/// Among so many tellers the one of a message is looked for: a peer that gives one name many
/// numbers must not make that long.
const LATELY: usize = 16;
/// Calls are turned away where so many bytes wait for one actor: who gives up calls has their
/// credit back before they are taken up.
const WAITING_LIMIT: usize = 64 << 20;
/// Emptied buffers of up to so many bytes are kept, however little is in them.
const KEPT: usize = 64 << 10;
/// Larger ones are, until so many times in a row a quarter would have done.
const PATIENCE: u32 = 64;

/// Reads a message and has the actor handle it.
pub(crate) type Take<A> = fn(&mut A, &mut <A as Actor>::Context, &[u8], Came<'_>);

/// The way in which a message came.
pub(crate) enum Came<'a> {
    /// With the word for when it was handled; left alone, it says that the actor died with it.
    Told(&'a Teller, &'a mut Option<Done>, Option<&'a Traced>),
    Called(CallIn),
}

/// The way in which a message waits.
#[derive(Clone, Copy)]
enum Way {
    /// By the teller of this place.
    Told(usize),
    /// The next of the calls.
    Called,
    /// No message: those before it have been handled.
    Mark,
}

/// A message that was taken up.
enum Taken {
    Call,
    Other,
}

/// Small, and nothing to drop: one is made, moved and thrown away for each message.
struct Entry<A: Actor> {
    take: Take<A>,
    length: usize,
    way: Way,
}

/// Messages, in their order.
struct Load<A: Actor> {
    bytes: Vec<u8>,
    /// Bytes of messages that were taken out.
    read: usize,
    entries: VecDeque<Entry<A>>,
    /// The number of entries that were taken out.
    taken: usize,
    calls: VecDeque<CallIn>,
    /// In their order: entries, counted from the first that this load ever had, and what is said
    /// when one was handled.
    dones: VecDeque<(usize, Done)>,
    /// The same for the traces of those that are told.
    traces: VecDeque<(usize, Traced)>,
    /// Each with its last entry, counted in the same way.
    tellers: Vec<(Teller, usize)>,
    /// The times in a row that its buffers were larger than they had to be.
    too_large: u32,
}

/// The messages that wait for one actor, whichever of its lives takes them up.
pub(crate) struct Intake<A: Actor> {
    state: Mutex<State<A>>,
    /// Set if the actor goes on with its state when it panics at a message.
    resumes: AtomicBool,
    taken_up: TakenUp,
}

struct State<A: Actor> {
    /// Counts lives.
    life: u64,
    is_alive: bool,
    waiting: Load<A>,
    /// Bytes that its life has taken over, and is not through with.
    taken_over: usize,
    /// Set while the actor has nothing more to do.
    sleeper: Option<Waker>,
}

impl<A: Actor> Default for Load<A> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            read: 0,
            entries: VecDeque::new(),
            taken: 0,
            calls: VecDeque::new(),
            dones: VecDeque::new(),
            traces: VecDeque::new(),
            tellers: Vec::new(),
            too_large: 0,
        }
    }
}

impl<A: Actor> Load<A> {
    /// The place of this teller, if it told something lately.
    fn place_of(&self, teller: &Teller) -> Option<usize> {
        let first = self.tellers.len().saturating_sub(LATELY);
        self.tellers[first..]
            .iter()
            .rposition(|(known, _)| known.is(teller))
            .map(|place| first + place)
    }

    /// The place of this teller, which may get several.
    fn teller(&mut self, teller: &Teller) -> usize {
        self.place_of(teller).unwrap_or_else(|| {
            self.tellers.push((teller.clone(), 0));
            self.tellers.len() - 1
        })
    }

    /// Bytes that it takes.
    fn size(&self) -> usize {
        self.bytes.len()
            + self.entries.len() * size_of::<Entry<A>>()
            + self.calls.len() * size_of::<CallIn>()
    }

    /// Makes it ready for the next ones. Buffers that have long been larger than they need be get
    /// smaller.
    fn empty(&mut self) {
        let is_much_larger =
            |capacity: usize, used: usize, each: usize| capacity * each > KEPT.max(4 * used * each);
        let is_too_large = is_much_larger(self.bytes.capacity(), self.bytes.len(), 1)
            || is_much_larger(self.entries.capacity(), self.taken, size_of::<Entry<A>>())
            || is_much_larger(self.calls.capacity(), self.taken, size_of::<CallIn>())
            || is_much_larger(self.dones.capacity(), self.taken, size_of::<(usize, Done)>())
            || is_much_larger(self.traces.capacity(), self.taken, size_of::<(usize, Traced)>());
        self.too_large = if is_too_large { self.too_large + 1 } else { 0 };
        self.bytes.clear();
        if self.too_large == PATIENCE {
            self.too_large = 0;
            self.bytes.shrink_to(KEPT);
            self.entries.shrink_to(KEPT / size_of::<Entry<A>>());
            self.calls.shrink_to(KEPT / size_of::<CallIn>());
            self.dones.shrink_to(KEPT / size_of::<(usize, Done)>());
            self.traces.shrink_to(KEPT / size_of::<(usize, Traced)>());
        }
        (self.read, self.taken) = (0, 0);
        self.tellers.clear();
        // A peer with many numbers can have made it long.
        self.tellers.shrink_to(KEPT / size_of::<(Teller, usize)>());
    }
}

impl<A: Actor<Context = Context<A>>> Intake<A> {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            life: 0,
            is_alive: false,
            waiting: Load::default(),
            taken_over: 0,
            sleeper: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            resumes: AtomicBool::new(false),
            taken_up: TakenUp::default(),
        })
    }

    /// A panic costs the message that caused it, and not the actor's life.
    pub(crate) fn resume(&self) {
        self.resumes.store(true, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A life of the actor begins: this is to run in its context.
    pub(crate) fn begin(self: &Arc<Self>) -> Taking<A> {
        let mut state = self.state();
        state.life += 1;
        state.is_alive = true;
        state.taken_over = 0;
        Taking { intake: Arc::clone(self), life: state.life, load: Load::default() }
    }

    /// Returns counts of what waits for the actor, and of what it does.
    pub(crate) fn seen(&self) -> IntakeSeen {
        self.taken_up.seen(self.state().waiting.entries.len())
    }

    /// Returns `true` if there is a life to take up what is put in.
    pub(crate) fn is_open(&self) -> bool {
        self.state().is_alive
    }

    fn put(&self, put: impl FnOnce(&mut Load<A>)) -> bool {
        self.put_beside(|load, _| put(load))
    }

    /// `put` is told how much the actor has taken over besides.
    fn put_beside(&self, put: impl FnOnce(&mut Load<A>, usize)) -> bool {
        let mut state = self.state();
        if !state.is_alive {
            return false;
        }
        let taken_over = state.taken_over;
        put(&mut state.waiting, taken_over);
        let sleeper = state.sleeper.take();
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        true
    }

    /// Puts messages without an answer in; `false` where nobody is there to take them.
    pub(crate) fn tell(
        &self,
        take: Take<A>,
        bodies: &[&[u8]],
        teller: &Teller,
        traced: Option<&Traced>,
    ) -> bool {
        self.put(|load| {
            let place = load.teller(teller);
            for body in bodies {
                if let Some(traced) = traced {
                    load.traces.push_back((load.taken + load.entries.len(), traced.clone()));
                }
                load.bytes.extend_from_slice(body);
                load.entries.push_back(Entry { take, length: body.len(), way: Way::Told(place) });
            }
            load.tellers[place].1 = load.taken + load.entries.len() - 1;
        })
    }

    /// Says when all that this teller has put in was handled.
    pub(crate) fn confirm(&self, take: Take<A>, teller: &Teller, done: Done) {
        // Where nobody is there any more, it is dropped, and says so.
        self.put(|load| {
            let last = load
                .place_of(teller)
                .map(|place| load.tellers[place].1)
                .filter(|&last| last >= load.taken);
            let (entry, place) = last.map_or((0, None), |last| {
                (last, load.dones.binary_search_by_key(&last, |done| done.0).err())
            });
            if let Some(place) = place {
                return load.dones.insert(place, (entry, done));
            }
            // The actor has taken it up already, or many others have told something since.
            load.entries.push_back(Entry { take, length: 0, way: Way::Mark });
            load.dones.push_back((load.taken + load.entries.len() - 1, done));
        });
    }

    /// Puts a call in, or gives it back where nobody is there to take it, or where too much waits
    /// already.
    pub(crate) fn call(
        &self,
        take: Take<A>,
        body: &[u8],
        call: CallIn,
    ) -> Result<(), (Box<CallIn>, Unfit)> {
        let mut call = Some(call);
        let is_alive = self.put_beside(|load, taken_over| {
            if load.size() + taken_over > WAITING_LIMIT {
                return;
            }
            load.bytes.extend_from_slice(body);
            load.calls.extend(call.take());
            load.entries.push_back(Entry { take, length: body.len(), way: Way::Called });
        });
        call.map_or(Ok(()), |call| {
            Err((Box::new(call), if is_alive { Unfit::Full } else { Unfit::Dead }))
        })
    }
}

/// The reason that a call was not put in.
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
    /// Takes over all that waits; `false` where nothing does, and then the task is woken when
    /// something is put in.
    fn fetch(&mut self, task: &Task<'_>) -> bool {
        self.load.empty();
        let mut state = self.intake.state();
        if state.life != self.life {
            return false;
        }
        state.taken_over = 0;
        self.intake.taken_up.left(0);
        if state.waiting.entries.is_empty() {
            state.sleeper = Some(task.waker().clone());
            return false;
        }
        std::mem::swap(&mut state.waiting, &mut self.load);
        state.taken_over = self.load.size();
        self.intake.taken_up.fetched(self.load.entries.len());
        true
    }

    /// [`Self::handle_next`], which an actor that resumes survives.
    fn next(&mut self, actor: &mut A, ctx: &mut Context<A>) -> Option<Taken> {
        if !self.intake.resumes.load(Ordering::Relaxed) {
            return self.handle_next(actor, ctx);
        }
        // Whoever waits for the message is told that it was not handled: what was to answer is
        // dropped. The load is in order, since a message is taken out before it is handled.
        catch_unwind(AssertUnwindSafe(|| self.handle_next(actor, ctx))).unwrap_or(Some(Taken::Call))
    }

    fn handle_next(&mut self, actor: &mut A, ctx: &mut Context<A>) -> Option<Taken> {
        let load = &mut self.load;
        let Entry { take, length, way } = load.entries.pop_front()?;
        self.intake.taken_up.left(load.entries.len() + 1);
        let is_done = load.dones.front().is_some_and(|done| done.0 == load.taken);
        let mut done = None;
        if is_done {
            done = load.dones.pop_front().map(|(_, done)| done);
        }
        let is_traced = load.traces.front().is_some_and(|traced| traced.0 == load.taken);
        load.taken += 1;
        let body = &load.bytes[load.read..load.read + length];
        load.read += length;
        match way {
            Way::Told(place) if is_traced => {
                let traced = load.traces.pop_front().map(|(_, traced)| traced);
                let _entered = traced.as_ref().map(Traced::enter);
                take(
                    actor,
                    ctx,
                    body,
                    Came::Told(&load.tellers[place].0, &mut done, traced.as_ref()),
                );
            }
            Way::Told(place) => {
                take(actor, ctx, body, Came::Told(&load.tellers[place].0, &mut done, None))
            }
            Way::Called => {
                if let Some(call) = load.calls.pop_front() {
                    take(actor, ctx, body, Came::Called(call));
                }
                return Some(Taken::Call);
            }
            Way::Mark => done.into_iter().for_each(|done| done.say(true)),
        }
        Some(Taken::Other)
    }
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Taking<A> {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut Context<A>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        let this = self.get_mut();
        let mut left = AT_ONCE * TOLD;
        this.intake.taken_up.turn();
        while left > 0 {
            // A handler has it wait for something, or stop: its context polls this again when that
            // is over (actix 0.13.5, context_impl.rs, `ContextFut::poll`).
            if ctx.waiting() {
                return Poll::Pending;
            }
            match this.next(actor, ctx) {
                Some(Taken::Call) => left = left.saturating_sub(TOLD),
                Some(Taken::Other) => left -= 1,
                None if this.fetch(task) => {}
                None => return Poll::Pending,
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
        self.intake.taken_up.left(0);
        let waited = std::mem::take(&mut state.waiting);
        drop(state);
        // They say by themselves that the actor died with them.
        drop(waited);
    }
}
