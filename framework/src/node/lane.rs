//! The actor that carries sealed chunks over one bulk connection; the chains of stages that end in
//! it are in [`chains`].
//!
//! It lives on a worker's arbiter together with its chains, its socket's two tasks and its
//! acknowledgements, so a chunk crosses no thread between the first stage and the socket. It
//! outlives its connections.
//!
//! Invariant: a sealed frame is kept until the receiver has acknowledged it, whatever happens to
//! connections meanwhile.

mod acknowledging;
mod chains;
mod messages;
mod socket;

use self::messages::Flush;
use self::messages::{AcknowledgeAgain, AcknowledgeCopy, Ended};
pub(crate) use self::messages::{
    Acknowledged, Attach, Detach, Forget, LaneNews, Resend, StopLane, Surrender, TakeOver,
    TrailerAgain,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Recipient};
use tokio::sync::mpsc;

use self::chains::Chain;
pub(crate) use self::chains::{Admit, CheckChains, SendingChain};
use self::socket::{Outbound, ReaderSeat};
use super::shared::NodeShared;
use super::snapshot::Traffic;
use crate::delivery::{Claim, RangeSet};
use crate::pipeline::{Chunk, Outlet, Parcel, Sealed, Transfer};
use crate::supervise::Retire;
use crate::wire::{ControlSealer, FailureKind};

/// Acknowledgements are said together: each costs both ends a wake-up. So many chunks…
const SAY_AFTER: usize = 4;
/// … or what there is after so long: the end of a transfer, or a window of few chunks, must not
/// wait.
const SAY_WITHIN: Duration = Duration::from_millis(2);

/// The most times that the receiver may ask for one frame again; then its transfer fails. Of its
/// own faults an honest one gives up sooner, but a chunk may also lie in the mailboxes of actors
/// that die of others.
const RESENDS: u8 = 16;
/// Control messages that may wait for the socket; further acknowledgements are said together when
/// there is room.
const CONTROLS: usize = 256;
/// The wait before a full queue, or a copy of a chunk that is still in the stages, is looked at
/// again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The time between looks for frames that nobody acknowledges.
const LOOK_FOR_UNHEARD: Duration = Duration::from_secs(1);

/// Streams that come in by this lane, shared with the task that reads it.
pub(super) type Streams = Rc<RefCell<HashMap<u64, Admitted>>>;

/// An incoming transfer, as a lane's reader sees it.
pub(super) struct Admitted {
    pub(super) transfer: Arc<Transfer>,
    pub(super) inlet: Outlet<Sealed>,
    assembler: Outlet<Chunk>,
}

/// The part of a lane that others see without asking it.
#[derive(Clone, Debug)]
pub(crate) struct LaneHandle {
    pub(crate) address: Addr<Lane>,
    pub(crate) up: Arc<AtomicBool>,
}

impl LaneHandle {
    /// Returns `true` if its connection is up.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

pub(crate) struct Lane {
    index: u16,
    shared: Arc<NodeShared>,
    session: Recipient<LaneNews>,
    traffic: Arc<Traffic>,
    up: Arc<AtomicBool>,
    load: Arc<AtomicUsize>,
    connection: Option<Attached>,
    /// Counts connections, so that the last word of an old one is not taken for that of a new one.
    serial: u64,
    retained: BTreeMap<(u64, u64), Retained>,
    /// Trailers that were acknowledged, each by its stream: a receiver that dies before it commits
    /// has lost its own, and where the content is durable, or empty, nothing else would tell.
    /// One of a transfer, each of some 100 bytes.
    trailers: HashMap<u64, Sealed>,
    /// Set while it looks for frames that nobody acknowledges.
    looking: bool,
    streams: Streams,
    sending: HashMap<(Vec<String>, u16), Chain<Chunk>>,
    receiving: HashMap<(Vec<String>, u16), Chain<Sealed>>,
    acknowledged: BTreeMap<u64, RangeSet>,
    unsaid: usize,
    /// Copies that came while the chunk was still in the stages: acknowledged on this lane, too,
    /// once it has passed them.
    copies: BTreeSet<(u64, u64, bool)>,
}

/// A frame the receiver has not acknowledged.
struct Retained {
    sealed: Sealed,
    put_out: Instant,
    /// Times the receiver asked for it.
    asked: u8,
    /// Times it was sent again unasked.
    unheard: u8,
}

struct Attached {
    queue: mpsc::UnboundedSender<Outbound>,
    controls: Arc<AtomicUsize>,
    sealer: ControlSealer,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Lane {
    pub(crate) fn start_on(
        shared: &Arc<NodeShared>,
        (session, traffic): (Recipient<LaneNews>, &Arc<Traffic>),
        index: u16,
    ) -> LaneHandle {
        let worker = &shared.workers[usize::from(index) % shared.workers.len()];
        let up = Arc::<AtomicBool>::default();
        let (shared, lane_up, traffic) = (Arc::clone(shared), Arc::clone(&up), Arc::clone(traffic));
        let address = Self::start_in_arbiter(worker, move |_| Self {
            index,
            shared,
            session,
            traffic,
            up: lane_up,
            load: Arc::default(),
            connection: None,
            serial: 0,
            retained: BTreeMap::new(),
            trailers: HashMap::new(),
            looking: false,
            streams: Streams::default(),
            sending: HashMap::new(),
            receiving: HashMap::new(),
            acknowledged: BTreeMap::new(),
            unsaid: 0,
            copies: BTreeSet::new(),
        });
        LaneHandle { address, up }
    }

    fn put_out(&mut self, key: (u64, u64)) {
        if let (Some(connection), Some(retained)) = (&self.connection, self.retained.get_mut(&key))
        {
            let sealed = &retained.sealed;
            retained.put_out = Instant::now();
            // A closed queue means the connection is ending: the frame stays and goes by the next
            // one.
            let _ = connection.queue.send(Outbound::Chunk {
                frame: sealed.content().clone(),
                custody: sealed.custody().clone(),
            });
        }
    }

    fn detach(&mut self) {
        self.serial += 1;
        self.up.store(false, Ordering::Relaxed);
        self.copies.clear();
        if let Some(connection) = self.connection.take() {
            connection.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }

    /// Sends a frame again that nobody has acknowledged for long: damage to the header of a frame,
    /// which names stream and index in the clear, can make it pass for one that is not wanted.
    /// One at a time, ever more rarely: the lane may be slow.
    fn repeat_unheard(&mut self, ctx: &mut Context<Self>) {
        let patience = self.shared.config.link.dead_after();
        let overdue = |retained: &Retained| {
            retained.put_out.elapsed() > patience.saturating_mul(1 << retained.unheard.min(10))
        };
        let oldest = self
            .retained
            .iter_mut()
            .filter(|(_, retained)| overdue(retained))
            .min_by_key(|(_, retained)| retained.put_out);
        if let Some((&key, retained)) = oldest.filter(|_| self.connection.is_some()) {
            retained.unheard = retained.unheard.saturating_add(1);
            self.put_out(key);
        }
        if !self.retained.is_empty() {
            self.look_for_unheard(ctx);
        }
    }

    /// As long as there are frames: a lane that keeps none has nothing to look for.
    fn look_for_unheard(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.looking, true) {
            ctx.run_later(LOOK_FOR_UNHEARD, |lane, ctx| {
                lane.looking = false;
                lane.repeat_unheard(ctx);
            });
        }
    }

    /// Acknowledges copies of chunks that have passed the stages meanwhile.
    fn look_at_copies(&mut self, ctx: &mut Context<Self>) {
        for (stream, index, trailer) in std::mem::take(&mut self.copies) {
            let standing = self
                .streams
                .borrow()
                .get(&stream)
                .map(|admitted| admitted.transfer.incoming().standing(index, trailer));
            match standing {
                Some(Claim::Received) => self.acknowledge(stream, index, ctx),
                Some(Claim::InProgress) => _ = self.copies.insert((stream, index, trailer)),
                // Lost in the stages, and asked for again; or over.
                _ => {}
            }
        }
        if !self.copies.is_empty() {
            ctx.run_later(LOOK_AGAIN, Self::look_at_copies);
        }
    }

    fn acknowledge(&mut self, stream: u64, index: u64, ctx: &mut Context<Self>) {
        self.acknowledged.entry(stream).or_default().insert(index);
        self.unsaid += 1;
        if self.unsaid == 1 {
            ctx.run_later(SAY_WITHIN, |lane, ctx| lane.handle(Flush, ctx));
        }
        if self.unsaid == SAY_AFTER {
            ctx.notify(Flush);
        }
    }
}

impl Actor for Lane {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.detach();
        let routes = self
            .sending
            .values()
            .map(|chain| chain.route)
            .chain(self.receiving.values().map(|chain| chain.route));
        routes.for_each(|route| self.shared.supervisor.do_send(Retire(route)));
        self.retained.values().for_each(|retained| retained.sealed.custody().finish(0));
    }
}

impl Handler<Attach> for Lane {
    type Result = ();

    fn handle(&mut self, attach: Attach, ctx: &mut Context<Self>) {
        self.detach();
        let serial = self.serial;
        let Attach { epoch, connection, sealer, opener, max_frame } = attach;
        let io = match connection.attach() {
            Ok(io) => io,
            Err(error) => {
                return ctx.notify(Ended {
                    serial,
                    epoch,
                    why: error.to_string(),
                    violation: false,
                });
            }
        };
        let (reader, writer) = tokio::io::split(io);
        let (queue, outbound) = mpsc::unbounded_channel();
        let seat = ReaderSeat {
            lane: ctx.address(),
            index: self.index,
            streams: Rc::clone(&self.streams),
            buffers: self.shared.buffers.clone(),
            opener,
            max_frame,
            traffic: Arc::clone(&self.traffic),
        };
        let (writing, reading) = (ctx.address(), ctx.address());
        let road = self.shared.metrics.stage("road");
        let (traffic, stalled_after) =
            (Arc::clone(&self.traffic), self.shared.config.link.dead_after());
        let tasks = [
            actix::spawn(async move {
                let counters = (&*road, &*traffic);
                let ended = socket::write(writer, outbound, stalled_after, counters).await;
                writing.do_send(Ended { serial, epoch, why: ended.to_string(), violation: false });
            }),
            actix::spawn(async move {
                let ended = socket::read(reader, seat).await;
                reading.do_send(Ended {
                    serial,
                    epoch,
                    why: ended.to_string(),
                    violation: ended.is_violation(),
                });
            }),
        ];
        self.connection = Some(Attached { queue, controls: Arc::default(), sealer, tasks });
        self.up.store(true, Ordering::Relaxed);
        let keys: Vec<_> = self.retained.keys().copied().collect();
        keys.into_iter().for_each(|key| self.put_out(key));
        self.session.do_send(LaneNews::Stranded);
    }
}

impl Handler<Detach> for Lane {
    type Result = ();

    fn handle(&mut self, _: Detach, _: &mut Context<Self>) {
        self.detach();
    }
}

impl Handler<Ended> for Lane {
    type Result = ();

    fn handle(&mut self, ended: Ended, _: &mut Context<Self>) {
        if ended.serial == self.serial {
            self.detach();
            self.session.do_send(LaneNews::Down {
                lane: self.index,
                epoch: ended.epoch,
                why: ended.why,
                violation: ended.violation,
            });
        }
    }
}

impl Handler<Forget> for Lane {
    type Result = ();

    fn handle(&mut self, Forget { stream }: Forget, _: &mut Context<Self>) {
        let mut streams = self.streams.borrow_mut();
        // Another transfer may have come under the same number meanwhile.
        if streams.get(&stream).is_some_and(|admitted| admitted.transfer.is_closed()) {
            streams.remove(&stream);
        }
        drop(streams);
        self.acknowledged.remove(&stream);
        self.trailers.remove(&stream);
        let over: Vec<_> =
            self.retained.range((stream, 0)..=(stream, u64::MAX)).map(|(&key, _)| key).collect();
        for retained in over.iter().filter_map(|key| self.retained.remove(key)) {
            retained.sealed.custody().finish(0);
        }
    }
}

impl Handler<Sealed> for Lane {
    type Result = ();

    fn handle(&mut self, sealed: Sealed, ctx: &mut Context<Self>) {
        if !sealed.custody().sealed() {
            let text = "a stage gave the chunk on twice: an index is sealed once, since two boxes \
                        under one nonce give away what is in both; let each chunk leave a stage once";
            return sealed.custody().fail(FailureKind::Stage, text);
        }
        self.keep(sealed, ctx);
    }
}

impl Lane {
    /// Keeps a frame until it is acknowledged, and puts it out.
    fn keep(&mut self, sealed: Sealed, ctx: &mut Context<Self>) {
        if sealed.custody().transfer().is_closed() {
            return sealed.custody().finish(0);
        }
        self.look_for_unheard(ctx);
        let key = (sealed.custody().transfer().stream, sealed.custody().index());
        self.retained
            .insert(key, Retained { sealed, put_out: Instant::now(), asked: 0, unheard: 0 });
        self.put_out(key);
        if self.connection.is_none() {
            self.session.do_send(LaneNews::Stranded);
        }
    }
}

impl Lane {
    /// Hands a chunk that has passed the stages to the assembler of its transfer.
    fn assemble(&self, chunk: Chunk) {
        static STAGE: LazyLock<Arc<str>> = LazyLock::new(|| "assembler".into());
        chunk.custody().enter(&STAGE);
        let transfer = Arc::clone(chunk.custody().transfer());
        let streams = self.streams.borrow();
        // What is over here has none any more, though another transfer may have its number.
        let admitted = streams.get(&transfer.stream);
        if let Some(admitted) = admitted.filter(|known| Arc::ptr_eq(&known.transfer, &transfer)) {
            admitted.assembler.send(chunk);
        }
    }
}

impl Handler<Chunk> for Lane {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, ctx: &mut Context<Self>) {
        let (transfer, index) = (Arc::clone(chunk.custody().transfer()), chunk.custody().index());
        if !chunk.custody().is_trailer() {
            transfer.incoming().received(index);
        }
        self.assemble(chunk);
        self.acknowledge(transfer.stream, index, ctx);
    }
}

impl Handler<Resend> for Lane {
    type Result = ();

    fn handle(&mut self, Resend { stream, index }: Resend, _: &mut Context<Self>) {
        let Some(retained) = self.retained.get_mut(&(stream, index)) else { return };
        if retained.asked >= RESENDS {
            let text = format!(
                "the receiver has asked for chunk {index} more than {RESENDS} times: it loses it \
                 each time; see its log"
            );
            return retained.sealed.custody().fail(FailureKind::Stage, text);
        }
        retained.asked += 1;
        self.put_out((stream, index));
    }
}

impl Handler<TrailerAgain> for Lane {
    type Result = ();

    fn handle(&mut self, TrailerAgain { stream }: TrailerAgain, ctx: &mut Context<Self>) {
        if let Some(trailer) = self.trailers.remove(&stream) {
            self.keep(trailer, ctx);
        }
    }
}

impl Handler<TakeOver> for Lane {
    type Result = ();

    fn handle(&mut self, TakeOver(frames): TakeOver, ctx: &mut Context<Self>) {
        frames.into_iter().for_each(|sealed| self.keep(sealed, ctx));
    }
}

impl Handler<Surrender> for Lane {
    type Result = Vec<Sealed>;

    fn handle(&mut self, _: Surrender, _: &mut Context<Self>) -> Vec<Sealed> {
        if self.connection.is_some() {
            return Vec::new();
        }
        std::mem::take(&mut self.retained).into_values().map(|retained| retained.sealed).collect()
    }
}

impl Handler<StopLane> for Lane {
    type Result = ();

    fn handle(&mut self, _: StopLane, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
