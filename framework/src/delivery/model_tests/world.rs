//! The world around the machines of one delivery: a link, two processes, a disk on each side, and
//! what may befall them.

mod parts;
mod sink;
mod steps;

use self::parts::Note;
pub(super) use self::parts::{Budget, Disk, Record, State, Word};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::Break;
use crate::delivery::cancelled::Cancelled;
use crate::delivery::receiving::{self, Memory, NoSink, Offer, Receiving, Sink};
use crate::delivery::sending::{self, ATTEMPTS_PER_TRY, Held, Phase, Sending, Vouched};
use crate::delivery::{Failure, FailureKind, TransferId};
use crate::pipeline::passes;
use crate::wire::PeerId;

/// Chunks of the content; the trailer is behind them.
const CHUNKS: u8 = 2;
const TRAILER: u8 = 1 << CHUNKS;
const CONTENT: u8 = TRAILER - 1;
const WHOLE: u8 = TRAILER | CONTENT;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
const LIFE: Duration = Duration::from_secs(1);

fn transfer() -> TransferId {
    TransferId::from_bytes([7; 24])
}

fn sender() -> PeerId {
    PeerId::from_bytes([1; 32])
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "")
}

/// The sender's process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sender {
    machine: Sending,
    process: u8,
    outgoing: BTreeMap<u64, Outgoing>,
    wiring: BTreeSet<u64>,
    cancelled: bool,
}

impl Sender {
    /// Returns `true` if it was cancelled, or has expired, and the receiver has the last word.
    fn waits_for_word(&self, stream: u64) -> bool {
        self.machine.phase(stream) == Some(Phase::Cancelling)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Outgoing {
    attempt: u32,
    /// The chunks that the receiver said it holds, and those that it has acknowledged.
    held: u8,
    acknowledged: u8,
    sent: bool,
    /// The receiver may have all of it, by this attempt or one before.
    maybe: bool,
    denied: bool,
}

/// The receiver's process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Receiver {
    machine: Receiving<()>,
    incoming: BTreeMap<u64, Incoming>,
    rooms: BTreeSet<u64>,
    sinks: BTreeMap<u64, SinkTask>,
    remembering: BTreeSet<u64>,
    mail: VecDeque<receiving::Event<()>>,
    cancelled: Cancelled,
    /// All offers are refused before anything else is looked at: for the size of chunks, say.
    bars: bool,
    /// The process of the sender that has spoken last.
    peer: Option<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Incoming {
    attempt: u32,
    got: u8,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SinkTask {
    Opening,
    /// With what it has written; told to stop, and to keep that or not.
    Writing {
        got: u8,
        stop: Option<bool>,
    },
    /// All of it is durable, but for the intent.
    Syncing,
    /// The intent to rename it is durable.
    Intended,
    /// The kept part is thrown away.
    Discarding,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) record: Record,
    pub(super) sender: Option<Sender>,
    pub(super) receiver: Option<Receiver>,
    pub(super) disk: Disk,
    /// The number of the link that is up.
    link: Option<u64>,
    links: u64,
    to_receiver: VecDeque<Word>,
    to_sender: VecDeque<Word>,
    /// Chunks and acknowledgements on the lanes, in any order.
    chunks: BTreeSet<(u64, u8)>,
    acknowledgements: BTreeSet<(u64, u8)>,
    pub(super) left: Budget,
    expired: bool,
    processes: u8,
    /// Times that the content became visible.
    pub(super) commits: u8,
    /// Set if anything of it might lie about in the end: an attempt was to be kept, or its process
    /// died.
    pub(super) kept: bool,
    pub(super) broken: Option<Break>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Try,
    Link,
    OtherSuite,
    Cut,
    ToReceiver,
    ToSender,
    Chunk(u64, u8),
    Acknowledge(u64, u8),
    Wired(u64),
    Changed(u64),
    Room(u64),
    Sink(u64),
    Commit(u64),
    Checkpoint(u64),
    Refuse(u64),
    CantOpen(u64),
    DiskFull(u64),
    Remember(u64),
    NoteFails(u64),
    Mail,
    Orphans,
    SenderCrash,
    SenderStart,
    SenderStop,
    SenderCancel,
    SenderPatience,
    CancelOver,
    ReceiverCrash,
    ReceiverStart,
    ReceiverCancel,
    ReceiverBars,
    ReceiverPatience,
    Pause(bool),
    Expire,
    SenderClock,
    ReceiverClock,
}

struct Remembered<'a>(bool, &'a mut Cancelled);

impl Memory for Remembered<'_> {
    fn is_delivered(&mut self, _: TransferId) -> bool {
        self.0
    }

    fn given_up(&mut self, transfer: TransferId, attempt: u32) -> Option<Failure> {
        self.1.answer((sender(), transfer), attempt)
    }
}

impl World {
    pub(super) fn new(left: Budget, broken: Option<Break>) -> Self {
        let mut world = Self {
            record: Record { tries: 0, unsure: false, state: State::Stored },
            sender: None,
            receiver: None,
            disk: Disk { note: Note::None, part: None, remembered: false },
            link: None,
            links: 0,
            to_receiver: VecDeque::new(),
            to_sender: VecDeque::new(),
            chunks: BTreeSet::new(),
            acknowledgements: BTreeSet::new(),
            left,
            expired: false,
            processes: 0,
            commits: 0,
            kept: false,
            broken,
        };
        world.start_sender();
        world.start_receiver();
        world
    }

    /// Both ends have ended.
    pub(super) fn has_ended(&self) -> bool {
        let sender_is_done = self.sender.as_ref().is_some_and(|sender| sender.outgoing.is_empty());
        let receiver_is_done =
            |receiver: &Receiver| receiver.incoming.is_empty() && receiver.sinks.is_empty();
        self.record.state != State::Stored
            && sender_is_done
            && self.receiver.as_ref().is_some_and(receiver_is_done)
    }

    fn start_sender(&mut self) {
        self.processes += 1;
        let machine = Sending::new(1 + 1000 * u64::from(self.processes));
        let (process, cancelled) = (self.processes, false);
        self.sender = Some(Sender {
            machine,
            process,
            outgoing: BTreeMap::new(),
            wiring: BTreeSet::new(),
            cancelled,
        });
    }

    fn start_receiver(&mut self) {
        self.receiver = Some(Receiver {
            machine: Receiving::new(true),
            incoming: BTreeMap::new(),
            rooms: BTreeSet::new(),
            sinks: BTreeMap::new(),
            remembering: BTreeSet::new(),
            mail: VecDeque::new(),
            cancelled: Cancelled::default(),
            bars: false,
            peer: None,
        });
    }

    fn cut(&mut self) {
        self.link = None;
        self.to_receiver.clear();
        self.to_sender.clear();
        self.chunks.clear();
        self.acknowledgements.clear();
    }

    fn say(&mut self, word: Word) {
        if self.link.is_some() {
            self.to_receiver.push_back(word);
        }
    }

    fn answer(&mut self, word: Word) {
        if self.link.is_some() {
            self.to_sender.push_back(word);
        }
    }

    /// Puts out what the receiver has not acknowledged.
    fn put_out(&mut self, stream: u64) {
        let lacking =
            self.outgoing(stream).filter(|out| out.sent).map_or(0, |out| WHOLE & !out.acknowledged);
        if self.link.is_some() {
            self.chunks.extend(
                (0..=CHUNKS)
                    .map(|bit| 1 << bit)
                    .filter(|chunk| lacking & chunk != 0)
                    .map(|chunk| (stream, chunk)),
            );
        }
    }

    fn outgoing(&mut self, stream: u64) -> Option<&mut Outgoing> {
        self.sender.as_mut()?.outgoing.get_mut(&stream)
    }

    /// Something happens to the sender's machine.
    fn send(&mut self, event: sending::Event) {
        if let Some(sender) = &mut self.sender {
            sender.machine.handle(event);
        }
        while let Some(action) =
            self.sender.as_mut().and_then(|sender| sender.machine.poll_action())
        {
            self.do_outgoing(action);
        }
    }

    fn do_outgoing(&mut self, action: sending::Action) {
        use sending::{Action, Event};
        match action {
            // Its own room, and the start of its source, are taken for granted.
            Action::SeekRoom(stream) => self.send(Event::Room(stream)),
            Action::Offer(stream, _) => {
                let attempt = self.outgoing(stream).map_or(0, |out| out.attempt);
                self.say(Word::Open { stream, attempt });
            }
            Action::Wire(stream) => {
                let out = self.outgoing(stream).expect("it is under way");
                out.acknowledged = out.held & CONTENT;
                self.sender.as_mut().expect("it lives").wiring.insert(stream);
            }
            Action::Run(stream) => {
                let out = self.outgoing(stream).expect("it is under way");
                (out.sent, out.maybe) = (true, true);
                self.put_out(stream);
            }
            Action::GoOn { stream, trailer } => {
                let forgetful = self.broken == Some(Break::TrailerOnce);
                let out = self.outgoing(stream).expect("it is under way");
                out.acknowledged |= out.held & CONTENT;
                if trailer && !forgetful {
                    out.acknowledged &= CONTENT;
                }
                self.put_out(stream);
            }
            Action::TellWaiting(..) | Action::Pause { .. } | Action::SayDone(_) => {}
            Action::Renew { stream, by, attempt, .. } => {
                let sender = self.sender.as_mut().expect("it lives");
                let maybe = sender.outgoing.remove(&stream).is_some_and(|out| out.maybe);
                sender.wiring.remove(&stream);
                sender.outgoing.insert(by, Outgoing { attempt, maybe, ..Outgoing::default() });
                self.send(Event::Rewound(by, Ok(true)));
            }
            Action::SayFailed(stream, failure) => self.say(Word::Failed(stream, failure.kind)),
            Action::SayUnknown(stream) => self.say(Word::Unknown(stream)),
            Action::Deliver(stream) => {
                self.take_out(stream);
                self.record.state = State::Delivered;
            }
            Action::Fail(stream, failure) => self.judge(stream, &failure),
        }
    }

    fn take_out(&mut self, stream: u64) -> Outgoing {
        let sender = self.sender.as_mut().expect("it lives");
        sender.wiring.remove(&stream);
        sender.outgoing.remove(&stream).expect("it is under way")
    }

    /// Does what the outbox makes of the end of a try.
    fn judge(&mut self, stream: u64, failure: &Failure) {
        let Outgoing { denied, maybe, .. } = self.take_out(stream);
        self.record.unsure = !denied && (self.record.unsure || maybe);
        let for_good =
            self.broken == Some(Break::PassingIsFinal) && failure.kind == FailureKind::Io;
        self.record.state = match failure.kind {
            _ if self.sender.as_ref().is_some_and(|sender| sender.cancelled) => {
                State::Removed { unsure: self.record.unsure }
            }
            kind if passes(kind) && !for_good => State::Stored,
            kind => State::Dead(self.as_far_as_known(kind), denied),
        };
    }

    /// Returns the kind of failure of what ends, as the outbox tells it.
    fn as_far_as_known(&self, kind: FailureKind) -> FailureKind {
        let unsure = self.record.unsure && self.broken != Some(Break::SureOfAll);
        if unsure { FailureKind::Unknown } else { kind }
    }

    /// Something happens to the receiver's machine.
    fn receive(&mut self, event: receiving::Event<()>) {
        let remembered = self.disk.remembered;
        if let Some(Receiver { machine, cancelled, .. }) = &mut self.receiver {
            machine.handle(event, &mut Remembered(remembered, cancelled));
        }
        loop {
            while let Some(action) =
                self.receiver.as_mut().and_then(|receiver| receiver.machine.poll_action())
            {
                self.do_incoming(action);
            }
            let remembered = self.disk.remembered;
            let Some(Receiver { machine, cancelled, .. }) = &mut self.receiver else { break };
            if !machine.take_up(&mut Remembered(remembered, cancelled)) {
                break;
            }
        }
    }

    fn do_incoming(&mut self, action: receiving::Action<()>) {
        use receiving::{Action, Event};
        let receiver = self.receiver.as_mut().expect("it lives");
        match action {
            Action::Repeat(offer) => self.answer(Word::Delivered(offer.stream)),
            // Nobody looks for it before that.
            Action::Check(offer) if receiver.bars => {
                self.answer(Word::Rejected(offer.stream, FailureKind::Refused));
            }
            Action::Check(offer) => {
                receiver.incoming.insert(
                    offer.stream,
                    Incoming { attempt: offer.attempt, ..Incoming::default() },
                );
                self.receive(Event::Taken(offer));
            }
            Action::SeekRoom(stream) => _ = receiver.rooms.insert(stream),
            Action::Open(stream) => {
                receiver.rooms.remove(&stream);
                receiver.sinks.insert(stream, SinkTask::Opening);
            }
            Action::Admit(stream) => receiver.mail.push_back(Event::Admitted(stream, Ok(()))),
            Action::Stop { stream, keep, .. } => {
                if let Some(SinkTask::Writing { stop, .. }) = receiver.sinks.get_mut(&stream) {
                    *stop = Some(keep);
                }
                if self.broken == Some(Break::FailBeforeStop) && !keep {
                    self.answer(Word::Failed(stream, FailureKind::Cancelled));
                }
            }
            Action::Discard(stream) => _ = receiver.sinks.insert(stream, SinkTask::Discarding),
            Action::Close(stream) => {
                if let Some(known) = receiver.incoming.get_mut(&stream) {
                    known.closed = true;
                }
            }
            Action::Remember(stream) => {
                receiver.remembering.insert(stream);
                if self.broken == Some(Break::SaidBeforeRemembered) {
                    self.answer(Word::Delivered(stream));
                }
            }
            Action::KeepPart(_) => self.kept = true,
            Action::NoteCancelled { failure, said, stream } => {
                if let Some(&Incoming { attempt, .. }) = receiver.incoming.get(&stream) {
                    receiver.cancelled.note((sender(), transfer()), attempt, failure, said);
                }
            }
            Action::Begin(_) | Action::SayWaiting(..) | Action::Pause { .. } => {}
            Action::Accept(stream, _) => {
                let held = receiver.incoming.get(&stream).map_or(0, |known| known.got);
                self.answer(Word::Accept { stream, held });
            }
            Action::SayRejected { stream, failure, looked: false } => {
                self.answer(Word::Rejected(stream, failure.kind))
            }
            Action::SayRejected { stream, failure, looked: true } => {
                self.answer(Word::Failed(stream, failure.kind))
            }
            Action::SayFailed(stream, failure) => self.answer(Word::Failed(stream, failure.kind)),
            Action::Deliver(offer) => {
                receiver.incoming.remove(&offer.stream);
                self.answer(Word::Delivered(offer.stream));
            }
            Action::Fail(Offer { stream, .. }, _) | Action::Drop(stream) => {
                receiver.incoming.remove(&stream);
                receiver.rooms.remove(&stream);
            }
        }
    }

    fn mail(&mut self, event: receiving::Event<()>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.mail.push_back(event);
        }
    }
}
