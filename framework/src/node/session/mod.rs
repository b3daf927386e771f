//! The actor per peer: it owns the link and every transfer to and from that peer.
//!
//! It outlives links: what was under way goes on when the next one is up. Invariant: every transfer
//! it was given ends in a receipt or a failure, at both ends where the other one can still be told.

mod admission;
mod coding;
mod ending;
mod incoming;
mod lanes;
mod lifecycle;
mod look;
mod messages;
mod opening;
mod outgoing;
mod remembering;
mod repair;
pub(crate) mod signals;
mod telling;
mod term;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, ResponseFuture,
    StreamHandler,
};
use tokio::sync::{mpsc, oneshot};

use tokio::task::{AbortHandle, JoinHandle};

use self::incoming::{IncomingTransfer, Receiving};
use self::lanes::{LaneFailures, LanePhase};
use self::messages::MessageRoad;
use self::outgoing::OutgoingTransfer;
use self::signals::{Owner, SessionEnded};
use super::addresses::Addresses;
use super::dialling::Tried;
use super::lane::{Lane, LaneHandle};
use super::link::{ControlIn, LiveLink};
use super::sessions::{Command, Order};
use super::shared::NodeShared;
use super::snapshot::Traffic;
use crate::delivery::sending::{self, Sending};
use crate::node::rooms::Share;
use crate::pipeline::{Lost, Signal, Slots};
use crate::remote::Exchange;
use crate::wire::{Control, PeerId, SecretBytes, printable};

/// A task that ends when nobody needs it any more.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The time between two reports of the progress of running transfers.
const PROGRESS: Duration = Duration::from_millis(100);

pub(crate) struct Session {
    shared: Arc<NodeShared>,
    /// Its own.
    address: Addr<Self>,
    owner: Owner,
    /// Messages of the hub that must not be lost: it compares, before it lets an idle session go.
    heard: u64,
    peer: PeerId,
    name: String,
    addresses: Addresses,
    token: Option<SecretBytes>,
    link: Option<LiveLink>,
    /// The typed messages for the peer, and the stages they pass on this link.
    exchange: Arc<Exchange>,
    messages: Option<MessageRoad>,
    clock: Option<Task>,
    /// Bytes of its connections.
    traffic: Arc<Traffic>,
    epoch: u64,
    dialing: bool,
    attempts: u32,
    /// Links in a row that a newer one took the place of soon after they were made.
    displaced: u32,
    /// Dials in a row that ended in a broken handshake.
    unanswered_dials: u32,
    refusals: words::Refusals,
    /// The failure of the last dial that came to nothing, since the link was up.
    unreached: Option<String>,
    /// The last dial, which may be under way.
    tried: Tried,
    down_since: Instant,
    ever_up: bool,
    /// Set if the link is kept up without anything to do.
    stays: bool,
    lanes: Vec<LaneHandle>,
    lane_phases: Vec<LanePhase>,
    lane_failures: LaneFailures,
    /// Lane tickets that are out, one for each lane at most.
    invitations: HashMap<u16, [u8; 16]>,
    /// Transfers of this peer that may run at once: it can't take the room of all others.
    share_in: Share,
    share_out: Share,
    slots: Slots,
    /// The decisions about deliveries to the peer, and from it; and what is held for each.
    sending: Sending,
    outgoing: BTreeMap<u64, OutgoingTransfer>,
    receiving: Receiving,
    incoming: BTreeMap<u64, IncomingTransfer>,
    /// The processes of the peer that were linked: the one that speaks, and earlier ones before it.
    peer_processes: Vec<[u8; 16]>,
    /// Two of them take turns: they have one key.
    key_shared: bool,
    signals: mpsc::UnboundedSender<Signal>,
    /// Shared with the stream that this actor reads them by.
    signals_in: Arc<Mutex<mpsc::UnboundedReceiver<Signal>>>,
    /// Lost chunks that wait until the chains are whole again; `Some` while that is looked after.
    mending: Option<Vec<Lost>>,
    losses: HashMap<(u64, u64), u8>,
    /// Set while it looks at the progress of running transfers: a session that has none costs
    /// nothing for it.
    watching: bool,
    /// The parts of the present control message that were passed on.
    passed_on: Vec<ResponseFuture<()>>,
    draining: Vec<oneshot::Sender<()>>,
    /// Set if the peer has been trusted since this session began.
    was_trusted: bool,
    closing: bool,
    /// Writes the last words.
    flushing: Option<JoinHandle<()>>,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<NodeShared>,
        address: Addr<Self>,
        owner: Owner,
        peer: PeerId,
        traffic: Arc<Traffic>,
    ) -> Self {
        let (signals, signals_in) = mpsc::unbounded_channel();
        let trusted = shared.trust.peer(&peer);
        let addresses = trusted.as_ref().map(|peer| peer.addresses.clone()).unwrap_or_default();
        let workers = shared.workers.len();
        Self {
            address,
            owner,
            heard: 0,
            peer,
            name: trusted
                .as_ref()
                .map_or_else(|| peer.short(), |peer| printable(&peer.name).to_string()),
            addresses: Addresses::new(addresses),
            token: None,
            link: None,
            exchange: shared.exchange(peer),
            messages: None,
            clock: None,
            traffic,
            epoch: 0,
            dialing: false,
            attempts: 0,
            displaced: 0,
            unanswered_dials: 0,
            refusals: words::Refusals::default(),
            unreached: None,
            tried: Tried::default(),
            down_since: Instant::now(),
            ever_up: false,
            stays: false,
            lanes: Vec::new(),
            lane_phases: Vec::new(),
            lane_failures: LaneFailures::default(),
            invitations: HashMap::new(),
            share_in: Share::of(&shared.config),
            share_out: Share::of(&shared.config),
            slots: Slots::new(2 * workers),
            // Streams are numbered by the sender of the transfer: the lower id of the two takes the
            // even numbers, whoever dialled, so that they stay unique over reconnects.
            // They begin at random, so that they do over restarts, too.
            sending: Sending::new(random_stream() << 1 | u64::from(shared.peer() >= peer)),
            outgoing: BTreeMap::new(),
            receiving: Receiving::new(shared.spool.is_some()),
            incoming: BTreeMap::new(),
            peer_processes: Vec::new(),
            key_shared: false,
            signals,
            signals_in: Arc::new(Mutex::new(signals_in)),
            mending: None,
            losses: HashMap::new(),
            watching: false,
            passed_on: Vec::new(),
            draining: Vec::new(),
            was_trusted: shared.trust.peer(&peer).is_some(),
            closing: false,
            flushing: None,
            shared,
        }
    }

    /// Says something to the peer, if there is a link. What matters is said again when the next
    /// link is up.
    fn say(&mut self, control: Control) {
        let Some(link) = &self.link else { return };
        if let Err(why) = link.say(control) {
            self.link_down(&why);
        }
    }

    /// Passes what the peer has said on to the lanes, whose mailboxes have no bound of their own.
    fn pass_to_lanes<M>(&mut self, message: &M)
    where
        M: Message<Result = ()> + Clone + Send + 'static,
        Lane: Handler<M>,
    {
        for lane in &self.lanes {
            let heard = lane.address.send(message.clone());
            // A lane that is gone has nobody to tell.
            self.passed_on.push(Box::pin(async { _ = heard.await }));
        }
    }

    fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.is_empty()
    }

    /// Tells of progress now and then, as long as a transfer is under way.
    fn watch_progress(&mut self) {
        if !std::mem::replace(&mut self.watching, true) {
            let session = self.address.clone();
            actix::spawn(async move {
                tokio::time::sleep(PROGRESS).await;
                session.do_send(TellProgress);
            });
        }
    }

    fn forget_losses(&mut self, stream: u64) {
        self.losses.retain(|(of, _), _| *of != stream);
    }

    /// Something ended: whoever waits for the end of everything may be waiting for this.
    fn settle(&mut self) {
        if self.is_idle() {
            for waiting in self.draining.drain(..) {
                let _ = waiting.send(());
            }
        }
    }
}

/// Far from the end, so that numbers never wrap.
fn random_stream() -> u64 {
    let random = crate::store::random32();
    u64::from(u32::from_le_bytes([random[0], random[1], random[2], random[3]])) << 16 | 1
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct TellProgress;

impl Handler<TellProgress> for Session {
    type Result = ();

    fn handle(&mut self, _: TellProgress, _: &mut Context<Self>) {
        self.watching = false;
        self.tell_progress();
        if !self.is_idle() {
            self.watch_progress();
        }
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.lanes = (0..self.shared.workers.len())
            .map(|i| {
                Lane::start_on(&self.shared, (ctx.address().recipient(), &self.traffic), i as u16)
            })
            .collect();
        self.lane_phases = vec![LanePhase::Down; self.lanes.len()];
        let signals = Arc::clone(&self.signals_in);
        ctx.add_stream(futures_util::stream::poll_fn(move |cx| lock(&signals).poll_recv(cx)));
        ctx.run_interval(Duration::from_secs(1), Session::look_at_the_clock);
        let exchange = Arc::clone(&self.exchange);
        self.clock =
            Some(Task(actix::spawn(async move { exchange.run_clock().await }).abort_handle()));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.withdraw_invitations();
        self.lanes.iter().for_each(|lane| lane.address.do_send(super::lane::StopLane));
    }
}

impl Session {
    fn hear_signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        match signal {
            Signal::Lost(lost) => self.chunk_lost(lost, ctx),
            Signal::Fault(fault) => self.chunk_failed(fault, ctx),
        }
    }

    /// Hears all that its chunks have said by now.
    fn hear_signals(&mut self, ctx: &mut Context<Self>) {
        let said: Vec<_> = std::iter::from_fn(|| lock(&self.signals_in).try_recv().ok()).collect();
        said.into_iter().for_each(|signal| self.hear_signal(signal, ctx));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StreamHandler<Signal> for Session {
    fn handle(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        self.hear_signal(signal, ctx);
    }

    fn finished(&mut self, _: &mut Context<Self>) {
        // The session itself holds a sender, so the stream never ends; the default would stop the
        // actor.
    }
}

/// Answered when those have heard of it whom it is for: the link's reader waits for that, so that a
/// flood waits in the socket.
impl Handler<ControlIn> for Session {
    type Result = ResponseFuture<()>;

    fn handle(
        &mut self,
        ControlIn { epoch, control }: ControlIn,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<()> {
        if self.link.as_ref().is_some_and(|link| link.epoch == epoch) {
            self.on_control(control, ctx);
        }
        let passed_on = std::mem::take(&mut self.passed_on);
        Box::pin(async {
            for heard in passed_on {
                heard.await;
            }
        })
    }
}

impl Session {
    fn on_control(&mut self, control: Control, ctx: &mut Context<Self>) {
        match control {
            Control::Open(opening) => self.on_open(*opening),
            Control::Accept { stream, limit, received, trailer } => {
                self.on_accept(stream, limit, &received, trailer)
            }
            Control::Reject { stream, failure } => self.on_denied(stream, failure, false),
            Control::Grant { stream, limit } => self.on_grant(stream, limit),
            Control::Received { stream, indices } => self.on_received(stream, &indices),
            Control::Lost { stream, index, failure } => self.on_lost(stream, index, failure),
            Control::Delivered { stream, receipt, enclosed } => {
                self.on_delivered(stream, receipt, enclosed)
            }
            Control::Done { .. } => {}
            Control::Fail { stream, failure } if self.outgoing.contains_key(&stream) => {
                self.on_denied(stream, failure, true)
            }
            Control::Fail { stream, failure } => self.on_fail(stream, failure),
            Control::Pause { stream } => self.pause(stream, true, false),
            Control::Unpause { stream } => self.pause(stream, false, false),
            Control::Refuse { reason } => self.on_refuse(&reason),
            Control::LaneRequest { lane } => self.invite_lane(lane, ctx),
            Control::LaneTicket { lane, id, secret } => self.dial_lane(lane, id, secret, ctx),
            Control::LaneWanted => self.ensure_lanes(),
            Control::Goodbye { reason } => self.on_goodbye(&reason),
            Control::Processed { transfer, mac } => self.on_processed(transfer, mac),
            Control::Passed { transfer, word } => self.on_passed(transfer, word),
            Control::Heard { transfer, what } => self.on_heard(transfer, what),
            Control::Messages { transfer, key, commitment } => {
                self.on_messages(transfer, *key.expose(), &commitment, ctx)
            }
            Control::Unknown { stream } => self.on_unknown(stream),
            Control::Waiting { stream, running } => {
                self.send(sending::Event::Waits(stream, running))
            }
            Control::Remarks { stream, lines } => self.on_remarks(stream, lines),
            Control::Process { incarnation } => self.on_process(incarnation),
            other => {
                let why =
                    format!("the peer broke the protocol: {} does not belong here", other.name());
                self.say(Control::Goodbye { reason: why.clone() });
                self.link_down(&why);
            }
        }
    }
}

impl Handler<Command> for Session {
    type Result = ();

    fn handle(&mut self, Command { transfer, what }: Command, _: &mut Context<Self>) {
        let outgoing =
            self.outgoing.iter().find(|(_, out)| out.id() == transfer).map(|(&stream, _)| stream);
        let incoming = self
            .incoming
            .iter()
            .find(|(_, incoming)| incoming.id() == transfer)
            .map(|(&stream, _)| stream);
        let Some(stream) = outgoing.or(incoming) else { return };
        match what {
            Order::Cancel => self.cancel(stream),
            Order::Pause | Order::Resume => {
                let paused = what == Order::Pause;
                self.say_pause(stream, Some(paused));
                self.pause(stream, paused, true);
            }
        }
    }
}

impl Session {
    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.owner.ended.do_send(SessionEnded { peer: self.peer, session: ctx.address() });
        ctx.stop();
    }
}
