//! Carries out what is decided about deliveries from the peer ([`receiving`]): room, sinks, notes,
//! words, news.

mod look;
mod memory;

use self::memory::Remembered;
use std::sync::Arc;
use std::time::Instant;

use actix::{Context, Handler, Recipient};
use tokio::sync::oneshot;

use super::opening::{Seat, open_sink};
use super::signals::{HasRoom, Inside, NoRoom, Opened, OpenedSink};
use super::term::deadline;
use super::{Session, Task, lock};
use crate::delivery::receiving::{self, Action, Event, Offer, Sink};
use crate::delivery::{
    ContentKind, Failure, FailureKind, Incoming, KeyScope, Receipt, TransferId, TransferKey,
};
use crate::node::blocking::surely;
use crate::node::disk::DiskThread;
use crate::node::events::{Direction, TransferNews};
use crate::node::lane::{Admit, Forget};
use crate::node::ledger::Charge;
use crate::node::memory::{Processed, delivery_key};
use crate::node::package_sink::Within;
use crate::node::rooms::{Room, window_for};
use crate::pipeline::{
    Assembled, Assembly, Chunk, Committed, Outlet, Priority, Stop, Summary, Transfer,
};
use crate::wire::{Control, Opening, split_codec};

/// The decisions of this session about deliveries from its peer.
pub(super) type Receiving = receiving::Receiving<Box<Opening>>;

/// A delivery that comes in, with what is held for it.
pub(super) struct IncomingTransfer {
    pub(super) transfer: Arc<Transfer>,
    /// Set if a later attempt may go on with a part of it.
    resumable: bool,
    pub(super) told: u64,
    /// The delivery in it, if it is a package for this node.
    pub(super) within: Within,
    /// Set until it is told that it has begun.
    pub(super) untold: bool,
    room: Option<Room>,
    /// Waits for room.
    waiting: Option<Task>,
    /// Tells its sink to stop.
    abort: Option<oneshot::Sender<Stop>>,
    /// Takes its chunks. It goes after `abort`, which says why.
    assembler: Option<Outlet<Chunk>>,
    /// The content that its sink has committed.
    pub(super) committed: Option<(Summary, Committed, Processed)>,
    /// The word about it, now that it is remembered.
    pub(super) kept: Option<(Receipt, Option<Inside>)>,
    /// Room in the memory of deliveries.
    _remembers: Charge,
    /// The bytes that were done of it when it last moved, and the time of that.
    pub(super) moved: (u64, Instant),
    began: Instant,
}

impl IncomingTransfer {
    pub(super) fn id(&self) -> TransferId {
        self.transfer.scope.transfer
    }

    /// Returns `true` if its assembler has died, or has stopped.
    pub(super) fn assembler_is_gone(&self) -> bool {
        self.assembler.as_ref().is_some_and(|assembler| !assembler.is_connected())
    }
}

impl Session {
    /// Something happens to what comes in: it is decided about, and that is done.
    pub(super) fn receive(&mut self, event: Event<Box<Opening>>) {
        let shared = Arc::clone(&self.shared);
        self.receiving.handle(event, &mut Remembered(&shared, self.peer));
        loop {
            while let Some(action) = self.receiving.poll_action() {
                self.do_incoming(action);
            }
            if !self.receiving.take_up(&mut Remembered(&shared, self.peer)) {
                break;
            }
        }
    }

    fn do_incoming(&mut self, action: Action<Box<Opening>>) {
        match action {
            Action::Repeat(offer) => {
                if let Some(arrival) = self.shared.remembered.arrival(self.peer, offer.transfer) {
                    self.deliver_again(&offer.rest, arrival);
                }
            }
            Action::Check(offer) => match self.check(&offer.rest) {
                Ok(remembers) => self.take(offer, remembers),
                Err(failure) => self.reject(offer.stream, failure, false),
            },
            Action::SeekRoom(stream) => self.seek_room_for(stream),
            Action::Open(stream) => self.ask_inbox(stream),
            Action::Admit(stream) => self.admit_on_lanes(stream),
            Action::Stop { stream, keep, reason } => {
                if let Some(abort) =
                    self.incoming.get_mut(&stream).and_then(|known| known.abort.take())
                {
                    // An assembler that is gone has said its last word already.
                    let _ = abort.send(if keep {
                        Stop::Suspend(reason)
                    } else {
                        Stop::Discard(reason)
                    });
                }
            }
            Action::Discard(stream) => self.discard(stream),
            Action::Close(stream) => self.close_on_lanes(stream),
            Action::Remember(stream) => self.remember(stream),
            Action::KeepPart(stream) => {
                if let Some(known) = self.incoming.get(&stream).filter(|known| known.resumable) {
                    // Without a note by then it is forgotten at the next look.
                    self.shared
                        .partials
                        .left(delivery_key(self.peer, known.id()), known.transfer.done_bytes());
                }
            }
            Action::NoteCancelled { stream, failure, said } => {
                if let Some(known) = self.incoming.get(&stream) {
                    let KeyScope { transfer, attempt, .. } = known.transfer.scope;
                    lock(&self.shared.given_up).note((self.peer, transfer), attempt, failure, said);
                }
            }
            Action::Begin(stream) => self.begin_telling(stream),
            Action::Accept(stream, said) => self.accept(stream, said),
            Action::SayWaiting(stream, running) => self.say(Control::Waiting { stream, running }),
            Action::SayRejected { stream, failure, looked } => {
                self.reject(stream, failure, looked);
            }
            Action::SayFailed(stream, failure) => self.say(Control::Fail { stream, failure }),
            Action::Pause { stream, paused, grant } => self.pause_incoming(stream, paused, grant),
            Action::Deliver(offer) => self.deliver(&offer),
            Action::Fail(Offer { stream, transfer, .. }, failure) => {
                self.tell_incoming(stream, transfer, TransferNews::Failed { failure });
                self.take_out(stream);
                self.settle();
            }
            Action::Drop(stream) => {
                self.take_out(stream);
                self.settle();
            }
        }
    }

    pub(super) fn on_open(&mut self, opening: Opening) {
        let Opening { stream, transfer, attempt, commit, remaining, .. } = opening;
        let offer = Offer {
            stream,
            transfer,
            attempt,
            commit,
            deadline: deadline(remaining),
            rest: Box::new(opening),
        };
        self.receive(Event::Offered(offer));
    }

    /// Takes up an attempt.
    fn take(&mut self, offer: Offer<Box<Opening>>, remembers: Charge) {
        let opening = &offer.rest;
        let scope = KeyScope {
            transfer: opening.transfer,
            attempt: opening.attempt,
            suite: opening.suite,
            sender: self.peer,
            receiver: self.shared.peer(),
            chunk_size: opening.chunk_size,
        };
        let key = TransferKey::from_bytes(*opening.key.expose());
        let window =
            window_for(self.shared.config.window, opening.chunk_size, opening.content.length);
        let state = Incoming::new(window as u64 / u64::from(opening.chunk_size));
        let (buffers, signals) = (self.shared.buffers.clone(), self.signals.clone());
        // Looked up when it was admitted.
        let (coders, codec) =
            self.shared.registry.stages().named_codec(&opening.stages).unwrap_or((&[], None));
        let transfer = Transfer::new(scope, key, opening.stream, codec, buffers, state, signals);
        transfer.allow_growth(
            self.shared.registry.stages().growth(coders, opening.chunk_size).unwrap_or(0),
        );
        let incoming = IncomingTransfer {
            transfer,
            resumable: opening.version.is_some() && opening.content.kind != ContentKind::Package,
            told: 0,
            within: Within::default(),
            untold: false,
            room: None,
            waiting: None,
            abort: None,
            assembler: None,
            committed: None,
            kept: None,
            _remembers: remembers,
            moved: (0, Instant::now()),
            began: Instant::now(),
        };
        self.incoming.insert(offer.stream, incoming);
        self.receive(Event::Taken(offer));
        self.watch_progress();
    }

    fn seek_room_for(&mut self, stream: u64) {
        let (Some(known), Some(offer)) =
            (self.incoming.get_mut(&stream), self.receiving.offer(stream))
        else {
            return;
        };
        let window =
            window_for(self.shared.config.window, offer.rest.chunk_size, offer.rest.content.length);
        let (way, share, session) =
            (self.shared.rooms.incoming.clone(), self.share_in.clone(), self.address.clone());
        let transfer = Arc::clone(&known.transfer);
        let waiting = actix::spawn(async move {
            // By whose turn it was at the sender.
            let wanted = (Priority::default(), window);
            let room = way.take(share, wanted, || session.do_send(NoRoom { stream })).await;
            session.do_send(HasRoom { transfer, room });
        });
        known.waiting = Some(Task(waiting.abort_handle()));
    }

    /// Tells the sender what is here and how far it may go.
    fn accept(&mut self, stream: u64, said_pause: Option<bool>) {
        let Some(known) = self.incoming.get(&stream) else { return };
        let paused = self.receiving.is_paused(stream);
        let (limit, received, trailer) = {
            let mut state = known.transfer.incoming();
            let limit = if paused { state.limit() } else { state.open() };
            (limit, state.received_ranges(), state.has_trailer())
        };
        self.say(Control::Accept { stream, limit, received, trailer });
        self.say_pause(stream, said_pause);
    }

    fn pause_incoming(&mut self, stream: u64, paused: bool, grant: bool) {
        let Some(known) = self.incoming.get(&stream) else { return };
        let id = known.id();
        let limit = {
            let mut state = known.transfer.incoming();
            if paused {
                state.pause();
                None
            } else {
                Some(state.open())
            }
        };
        if let Some(limit) = limit.filter(|_| grant) {
            self.say(Control::Grant { stream, limit });
        }
        let news = if paused { TransferNews::Paused } else { TransferNews::Resumed };
        self.tell_incoming(stream, id, news);
    }

    /// Throws away what was kept of an attempt.
    fn discard(&mut self, stream: u64) {
        let Some(known) = self.incoming.get(&stream) else { return };
        let (shared, key, transfer) = (
            Arc::clone(&self.shared),
            delivery_key(self.peer, known.id()),
            Arc::clone(&known.transfer),
        );
        let session = self.address.clone();
        actix::spawn(async move {
            // What can't be thrown away goes when it expires, and the log says why.
            let _ = surely(move || shared.drop_partial(key)).await;
            session.do_send(Discarded { transfer });
        });
    }

    /// Gives back all that is held for a delivery.
    pub(super) fn take_out(&mut self, stream: u64) {
        self.close_on_lanes(stream);
        self.incoming.remove(&stream);
    }

    fn close_on_lanes(&mut self, stream: u64) {
        let Some(known) = self.incoming.get(&stream) else { return };
        known.transfer.close();
        self.forget_losses(stream);
        self.lanes.iter().for_each(|lane| lane.address.do_send(Forget { stream }));
    }
}

impl Session {
    /// Asks the inbox for a sink, on a thread of the transfer's own.
    fn ask_inbox(&mut self, stream: u64) {
        let (Some(known), Some(offer)) =
            (self.incoming.get_mut(&stream), self.receiving.offer(stream))
        else {
            return;
        };
        let room = known.room.take();
        known.waiting = None;
        let (transfer, within) = (Arc::clone(&known.transfer), known.within.clone());
        let (shared, peer, described, session) =
            (Arc::clone(&self.shared), self.peer, offer.rest.clone(), self.address.clone());
        let outbox = self.owner.outbox.clone();
        actix::spawn(async move {
            // What is only to end has no room that would bound it: it takes turns.
            let turns = Arc::clone(&shared.rooms.ending);
            let _turn = if room.is_none() { turns.acquire_owned().await.ok() } else { None };
            let thread = match DiskThread::start(shared.config.bulk_niceness) {
                Ok(thread) => thread,
                Err(failure) => {
                    return session.do_send(Opened { transfer, outcome: Err(failure.into()) });
                }
            };
            let seat = Seat {
                transfer: Arc::clone(&transfer),
                owner: session.clone().recipient(),
                room,
                thread: Arc::clone(&thread),
                within,
                outbox,
            };
            let opened = thread.run(move || open_sink(&shared, peer, &described, seat)).await;
            let panicked = || {
                let text = "the receiver's inbox panicked; see its log";
                Err(Failure::new(FailureKind::Stage, text).into())
            };
            session.do_send(Opened { transfer, outcome: opened.unwrap_or_else(panicked) });
        });
    }

    /// Has all lanes take the chunks of a delivery.
    fn admit_on_lanes(&mut self, stream: u64) {
        let (Some(known), Some(offer)) = (self.incoming.get(&stream), self.receiving.offer(stream))
        else {
            return;
        };
        let Some(assembler) = &known.assembler else { return };
        let transfer = Arc::clone(&known.transfer);
        let admit = |recipient: Recipient<Admit>| {
            recipient.send(Admit {
                transfer: Arc::clone(&transfer),
                assembler: assembler.clone(),
                stages: split_codec(&offer.rest.stages).0.to_vec(),
            })
        };
        let asks: Vec<_> =
            self.lanes.iter().map(|lane| admit(lane.address.clone().recipient())).collect();
        let session = self.address.clone();
        actix::spawn(async move {
            let mut outcome = Ok(());
            for ask in asks {
                outcome = outcome.and(match ask.await {
                    Ok(admitted) => admitted.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                });
            }
            session.do_send(AdmittedEverywhere { transfer, outcome });
        });
    }

    /// Returns the entry of this very attempt: another one may have come under its number.
    fn incoming_of(&mut self, transfer: &Arc<Transfer>) -> Option<&mut IncomingTransfer> {
        self.incoming
            .get_mut(&transfer.stream)
            .filter(|known| Arc::ptr_eq(&known.transfer, transfer))
    }
}

impl Handler<HasRoom> for Session {
    type Result = ();

    fn handle(&mut self, HasRoom { transfer, room }: HasRoom, _: &mut Context<Self>) {
        if let Some(known) = self.incoming_of(&transfer) {
            (known.room, known.waiting, known.moved) = (Some(room), None, (0, Instant::now()));
            self.receive(Event::Room(transfer.stream));
        }
    }
}

impl Handler<NoRoom> for Session {
    type Result = ();

    fn handle(&mut self, NoRoom { stream }: NoRoom, _: &mut Context<Self>) {
        self.receive(Event::NoRoom(stream));
    }
}

impl Handler<Opened> for Session {
    type Result = ();

    fn handle(&mut self, Opened { transfer, outcome }: Opened, _: &mut Context<Self>) {
        // Over before it began, with its session: dropping the sender of `abort` tells the
        // assembler.
        let Some(known) = self.incoming_of(&transfer) else { return };
        let (stream, mut already_there) = (transfer.stream, false);
        let outcome = outcome.map(|opened| match opened {
            OpenedSink::Running { abort, assembler, room } => {
                (known.abort, known.room) = (Some(abort), room);
                known.assembler = Some(Outlet::to(assembler));
                Sink::Runs
            }
            OpenedSink::Committed { summary, committed } => {
                known.committed = Some((summary, committed, Processed::No));
                Sink::Committed
            }
            OpenedSink::AlreadyThere { summary, committed } => {
                // Its application was told of it then.
                known.committed = Some((summary, committed, Processed::Heard));
                already_there = true;
                Sink::Committed
            }
            OpenedSink::Remembered => Sink::Remembered,
            OpenedSink::Nothing => Sink::Nothing,
        });
        if already_there && let Some(offer) = self.receiving.offer(stream) {
            let news = TransferNews::AlreadyThere {
                content: offer.rest.content.clone(),
                inbox: offer.rest.inbox.clone(),
            };
            self.tell(offer.transfer, Direction::Incoming, news);
        }
        self.receive(Event::Opened(stream, outcome));
    }
}

/// The kept part of a transfer is thrown away.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Discarded {
    transfer: Arc<Transfer>,
}

impl Handler<Discarded> for Session {
    type Result = ();

    fn handle(&mut self, Discarded { transfer }: Discarded, _: &mut Context<Self>) {
        if self.incoming_of(&transfer).is_some() {
            self.receive(Event::Stopped(transfer.stream));
        }
    }
}

/// All lanes know the transfer.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct AdmittedEverywhere {
    transfer: Arc<Transfer>,
    outcome: Result<(), String>,
}

impl Handler<AdmittedEverywhere> for Session {
    type Result = ();

    fn handle(
        &mut self,
        AdmittedEverywhere { transfer, outcome }: AdmittedEverywhere,
        _: &mut Context<Self>,
    ) {
        let stream = transfer.stream;
        if self.incoming_of(&transfer).is_none() {
            return self.lanes.iter().for_each(|lane| lane.address.do_send(Forget { stream }));
        }
        let outcome = outcome.map_err(|text| Failure::new(FailureKind::Stage, text));
        self.receive(Event::Admitted(stream, outcome));
        self.ensure_lanes();
    }
}

impl Handler<Assembled> for Session {
    type Result = ();

    fn handle(&mut self, Assembled { stream, attempt, news }: Assembled, _: &mut Context<Self>) {
        let Some(known) =
            self.incoming.get_mut(&stream).filter(|known| known.transfer.scope.attempt == attempt)
        else {
            return;
        };
        match news {
            Assembly::Grant(limit) => self.say(Control::Grant { stream, limit }),
            Assembly::Committed { summary, committed } => {
                known.committed = Some((summary, committed, Processed::No));
                self.receive(Event::Committed(stream));
            }
            Assembly::Failed(failure) => self.receive(Event::Failed(stream, failure)),
            Assembly::Stopped => self.receive(Event::Stopped(stream)),
        }
    }
}
