//! The steps that may happen next, and the effect of each.

use super::sink::prefix;
use super::*;

impl World {
    /// All that may happen now.
    pub(in crate::delivery::model_tests) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let left = &self.left;
        let stored = self.record.state == State::Stored;
        let live = self.sender.as_ref().is_some_and(|sender| !sender.outgoing.is_empty());
        if let Some(sender) = &self.sender {
            push_if(&mut steps, stored && !live, Step::Try);
            steps.extend(sender.wiring.iter().map(|&stream| Step::Wired(stream)));
            let sent = sender.outgoing.iter().filter(|(_, out)| left.changes > 0 && out.sent);
            steps.extend(sent.map(|(&stream, _)| Step::Changed(stream)));
            push_if(&mut steps, left.sender_crashes > 0, Step::SenderCrash);
            push_if(&mut steps, left.stops > 0, Step::SenderStop);
            push_if(
                &mut steps,
                left.sender_cancels > 0 && stored && !sender.cancelled,
                Step::SenderCancel,
            );
            push_if(
                &mut steps,
                left.patience > 0 && live && self.link.is_none(),
                Step::SenderPatience,
            );
            // Nobody waits for the receiver's word for ever.
            let waits = sender.outgoing.keys().any(|&stream| sender.waits_for_word(stream));
            push_if(&mut steps, waits && (left.patience > 0 || self.is_silent()), Step::CancelOver);
            let runs = sender.outgoing.keys().any(|&stream| !sender.waits_for_word(stream));
            push_if(&mut steps, self.expired && runs, Step::SenderClock);
        } else {
            steps.push(Step::SenderStart);
        }
        if let Some(receiver) = &self.receiver {
            self.receivers_steps(receiver, live, &mut steps);
        } else {
            steps.push(Step::ReceiverStart);
        }
        let linkable = self.link.is_none() && live && self.receiver.is_some();
        push_if(&mut steps, linkable, Step::Link);
        push_if(&mut steps, linkable && left.suites > 0, Step::OtherSuite);
        push_if(&mut steps, self.link.is_some() && left.cuts > 0, Step::Cut);
        push_if(
            &mut steps,
            !self.to_receiver.is_empty() && self.receiver.is_some(),
            Step::ToReceiver,
        );
        push_if(&mut steps, !self.to_sender.is_empty() && self.sender.is_some(), Step::ToSender);
        steps.extend(self.chunks.iter().map(|&(stream, chunk)| Step::Chunk(stream, chunk)));
        steps.extend(
            self.acknowledgements.iter().map(|&(stream, chunk)| Step::Acknowledge(stream, chunk)),
        );
        push_if(&mut steps, left.expiries > 0 && !self.expired, Step::Expire);
        if left.pauses > 0 && self.link.is_some() && live {
            steps.extend([Step::Pause(true), Step::Pause(false)]);
        }
        steps
    }

    /// Returns `true` if nothing is on its way, and the receiver does nothing.
    fn is_silent(&self) -> bool {
        let is_idle = self.receiver.as_ref().is_some_and(|receiver| receiver.incoming.is_empty());
        is_idle && self.to_sender.is_empty() && self.to_receiver.is_empty()
    }

    fn receivers_steps(&self, receiver: &Receiver, live: bool, steps: &mut Vec<Step>) {
        let left = &self.left;
        steps.extend(receiver.rooms.iter().map(|&stream| Step::Room(stream)));
        steps.extend(receiver.remembering.iter().map(|&stream| Step::Remember(stream)));
        let notes = receiver.remembering.iter().filter(|_| left.failed_notes > 0);
        steps.extend(notes.map(|&stream| Step::NoteFails(stream)));
        for (&stream, task) in &receiver.sinks {
            match *task {
                SinkTask::Writing { got, stop } => {
                    push_if(steps, stop.is_some(), Step::Sink(stream));
                    push_if(steps, got == WHOLE, Step::Commit(stream));
                    push_if(
                        steps,
                        stop.is_none() && self.disk.note != Note::Part(prefix(got)),
                        Step::Checkpoint(stream),
                    );
                    push_if(steps, stop.is_none() && left.full_disks > 0, Step::DiskFull(stream));
                }
                SinkTask::Opening => {
                    steps.push(Step::Sink(stream));
                    // What has begun to become visible is known before it is refused.
                    push_if(
                        steps,
                        left.refusals > 0 && self.disk.note != Note::Intent,
                        Step::Refuse(stream),
                    );
                    push_if(steps, left.full_disks > 0, Step::CantOpen(stream));
                }
                SinkTask::Syncing | SinkTask::Intended | SinkTask::Discarding => {
                    steps.push(Step::Sink(stream))
                }
            }
        }
        push_if(steps, !receiver.mail.is_empty(), Step::Mail);
        let busy = !receiver.incoming.is_empty();
        push_if(steps, busy && self.link.is_some() && self.to_receiver.is_empty(), Step::Orphans);
        // One that hears nothing any more gives up in the end.
        push_if(
            steps,
            busy && self.link.is_none() && (left.patience > 0 || !live),
            Step::ReceiverPatience,
        );
        push_if(steps, busy && left.receiver_cancels > 0, Step::ReceiverCancel);
        push_if(steps, left.bars > 0, Step::ReceiverBars);
        push_if(steps, left.receiver_crashes > 0, Step::ReceiverCrash);
        push_if(steps, busy && self.expired, Step::ReceiverClock);
    }

    /// The world after a step.
    pub(in crate::delivery::model_tests) fn after(&self, step: Step) -> Self {
        let mut world = self.clone();
        match step {
            Step::Try => world.begin_try(),
            Step::Link => world.link_up(),
            Step::OtherSuite => {
                world.left.suites -= 1;
                world.outdate();
                world.link_up();
            }
            Step::Cut => {
                world.left.cuts -= 1;
                world.lose_link();
            }
            Step::ToReceiver => world.receiver_hears(),
            Step::ToSender => world.sender_hears(),
            Step::Chunk(stream, chunk) => world.chunk_comes(stream, chunk),
            Step::Acknowledge(stream, chunk) => {
                world.acknowledgements.remove(&(stream, chunk));
                if let Some(out) = world.outgoing(stream) {
                    out.acknowledged |= chunk;
                }
            }
            Step::Wired(stream) => {
                world.sender.as_mut().expect("it lives").wiring.remove(&stream);
                world.send(sending::Event::Wired(stream, Ok(())));
            }
            Step::Changed(stream) => {
                world.left.changes -= 1;
                world.send(sending::Event::SourceFailed {
                    stream,
                    failure: failure(FailureKind::Changed),
                    changed: true,
                });
            }
            Step::SenderCrash
            | Step::SenderStop
            | Step::SenderStart
            | Step::SenderCancel
            | Step::SenderPatience
            | Step::CancelOver
            | Step::SenderClock => {
                world.befalls_sender(step);
            }
            Step::Expire => {
                world.left.expiries -= 1;
                world.expired = true;
            }
            Step::Pause(paused) => {
                world.left.pauses -= 1;
                let streams = world
                    .sender
                    .as_ref()
                    .map_or(Vec::new(), |sender| sender.outgoing.keys().copied().collect());
                for stream in streams {
                    world.send(sending::Event::Pause { stream, paused, ours: true });
                    world.receive(receiving::Event::Pause { stream, paused, ours: false });
                }
            }
            step => world.befalls_receiver(step),
        }
        world
    }

    fn begin_try(&mut self) {
        if self.expired {
            let kind = self.as_far_as_known(FailureKind::Expired);
            self.record.state = State::Dead(kind, false);
            return;
        }
        // Counted durably before it is offered.
        self.record.tries += 1;
        let attempt = if self.broken == Some(Break::AttemptForgotten) {
            0
        } else {
            (self.record.tries - 1) * ATTEMPTS_PER_TRY
        };
        let linked = self.link.is_some();
        let sender = self.sender.as_mut().expect("it lives");
        let stream = sender.machine.take_stream();
        sender.outgoing.insert(stream, Outgoing { attempt, ..Outgoing::default() });
        let deadline = *START + LIFE;
        self.send(sending::Event::Start {
            stream,
            transfer: transfer(),
            attempt,
            deadline,
            resumable: true,
        });
        debug_assert!(linked || self.to_receiver.is_empty());
    }

    fn link_up(&mut self) {
        self.cut();
        self.links += 1;
        self.link = Some(self.links);
        let process = self.sender.as_ref().expect("it lives").process;
        self.say(Word::Process(process));
        self.receive(receiving::Event::LinkUp(self.links));
        self.send(sending::Event::LinkUp);
        // Lanes put out what they keep, whatever is said.
        let streams: Vec<_> =
            self.sender.as_ref().expect("it lives").outgoing.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.put_out(stream));
    }

    /// The link that comes up next is to a receiver that opens other suites.
    fn outdate(&mut self) {
        let streams: Vec<_> =
            self.sender.as_ref().expect("it lives").outgoing.keys().copied().collect();
        for stream in streams {
            self.send(sending::Event::Outdated(stream, "another suite".into()));
        }
    }

    fn lose_link(&mut self) {
        self.cut();
        self.send(sending::Event::LinkDown);
        self.receive(receiving::Event::LinkDown);
    }

    fn receiver_hears(&mut self) {
        use receiving::Event;
        match self.to_receiver.pop_front().expect("something was said") {
            Word::Process(process) => {
                let receiver = self.receiver.as_mut().expect("it lives");
                if receiver.peer.replace(process).is_some_and(|earlier| earlier != process) {
                    self.receive(Event::Orphaned(failure(FailureKind::Unreachable)));
                }
            }
            Word::Open { stream, attempt } => {
                let mut commit = [0; 32];
                commit[..8].copy_from_slice(&stream.to_le_bytes());
                let (transfer, deadline) = (transfer(), *START + 2 * LIFE);
                self.receive(Event::Offered(Offer {
                    stream,
                    transfer,
                    attempt,
                    commit,
                    deadline,
                    rest: (),
                }));
            }
            Word::Failed(stream, kind) => self.receive(Event::Withdrawn(stream, failure(kind))),
            Word::Unknown(stream) => {
                self.receive(Event::Withdrawn(stream, failure(FailureKind::Unreachable)))
            }
            word => unreachable!("the sender does not say {word:?}"),
        }
    }

    fn sender_hears(&mut self) {
        use sending::Event;
        match self.to_sender.pop_front().expect("something was said") {
            Word::Accept { stream, held } => {
                let mut said =
                    Held { whole: true, some: held & CONTENT != 0, trailer: held & TRAILER != 0 };
                if let Some(out) = self.outgoing(stream) {
                    said.whole = out.acknowledged & CONTENT & !held == 0;
                    out.held = held;
                }
                if self.broken == Some(Break::NeverAnew) {
                    said.whole = true;
                }
                self.send(Event::Accepted { stream, held: said });
            }
            Word::Rejected(stream, kind) => {
                self.denied(stream, kind, self.broken == Some(Break::RejectionsDeny));
            }
            Word::Failed(stream, kind) => self.denied(stream, kind, true),
            Word::Delivered(stream) => {
                let sent = self.outgoing(stream).is_some_and(|out| out.sent);
                self.send(Event::Delivered(
                    stream,
                    if sent { Vouched::Sent } else { Vouched::Unsent },
                ));
            }
            word => unreachable!("the receiver does not say {word:?}"),
        }
    }

    fn denied(&mut self, stream: u64, kind: FailureKind, looked: bool) {
        if let Some(out) = self.outgoing(stream) {
            out.denied = looked && kind.denies();
        }
        self.send(sending::Event::Denied(stream, failure(kind)));
    }

    fn chunk_comes(&mut self, stream: u64, chunk: u8) {
        self.chunks.remove(&(stream, chunk));
        let Some(receiver) = &mut self.receiver else { return };
        let admitted = receiver.machine.is_admitted(stream);
        let Some(known) =
            receiver.incoming.get_mut(&stream).filter(|known| admitted && !known.closed)
        else {
            return;
        };
        known.got |= chunk;
        if let Some(SinkTask::Writing { got, .. }) = receiver.sinks.get_mut(&stream) {
            *got |= chunk;
        }
        if self.link.is_some() {
            self.acknowledgements.insert((stream, chunk));
        }
    }

    fn befalls_sender(&mut self, step: Step) {
        use sending::Event;
        let streams: Vec<_> = self
            .sender
            .as_ref()
            .map_or(Vec::new(), |sender| sender.outgoing.keys().copied().collect());
        match step {
            Step::SenderStart => self.start_sender(),
            Step::SenderCrash => {
                self.left.sender_crashes -= 1;
                // Of a process that died nobody knows what it had offered.
                self.record.unsure |= self.record.tries > 0;
                self.sender = None;
                self.lose_link();
            }
            Step::SenderStop => {
                self.left.stops -= 1;
                streams.into_iter().for_each(|stream| {
                    self.send(Event::GiveUp(stream, failure(FailureKind::Shutdown)))
                });
                self.sender = None;
                // What it said last is heard before the link ends.
                while self.receiver.is_some() && !self.to_receiver.is_empty() {
                    self.receiver_hears();
                }
                self.lose_link();
            }
            Step::SenderCancel => {
                self.left.sender_cancels -= 1;
                self.sender.as_mut().expect("it lives").cancelled = true;
                if streams.is_empty() {
                    self.record.state = State::Removed { unsure: self.record.unsure };
                }
                for stream in streams {
                    let (failure, until) = (failure(FailureKind::Cancelled), *START + LIFE);
                    let at_once = self.broken == Some(Break::CancelAtOnce);
                    let waits =
                        self.outgoing(stream).is_some_and(|out| out.sent || out.attempt > 0);
                    let event = match waits {
                        // Taken for the answer.
                        true if at_once => {
                            self.outgoing(stream).expect("it lives").denied = true;
                            Event::GiveUp(stream, failure)
                        }
                        true => Event::Cancel { stream, failure, until },
                        false => Event::GiveUp(stream, failure),
                    };
                    self.send(event);
                }
            }
            Step::SenderPatience => {
                self.left.patience -= 1;
                streams.into_iter().for_each(|stream| {
                    self.send(Event::GiveUp(stream, failure(FailureKind::Unreachable)))
                });
            }
            Step::CancelOver => {
                self.left.patience = self.left.patience.saturating_sub(1);
                // Its time is over; another one's is not.
                self.send(Event::Time(*START + 4 * LIFE));
            }
            Step::SenderClock => {
                let waits = |sender: &Sender, stream| sender.waits_for_word(stream);
                for stream in streams {
                    let whole = |out: &mut Outgoing| out.sent || out.attempt > 0;
                    let is_whole = self.outgoing(stream).is_some_and(whole);
                    if is_whole && !self.sender.as_ref().is_some_and(|sender| waits(sender, stream))
                    {
                        let (failure, until) = (failure(FailureKind::Expired), *START + 3 * LIFE);
                        self.send(Event::Cancel { stream, failure, until });
                    }
                }
                self.send(Event::Time(*START + 2 * LIFE));
            }
            step => unreachable!("{step:?} does not befall a sender"),
        }
    }

    fn befalls_receiver(&mut self, step: Step) {
        use receiving::Event;
        let streams: Vec<_> = self
            .receiver
            .as_ref()
            .map_or(Vec::new(), |receiver| receiver.incoming.keys().copied().collect());
        match step {
            Step::ReceiverStart => self.start_receiver(),
            Step::ReceiverCrash => {
                self.left.receiver_crashes -= 1;
                self.kept = true;
                self.receiver = None;
                self.lose_link();
            }
            Step::ReceiverCancel => {
                self.left.receiver_cancels -= 1;
                streams.into_iter().for_each(|stream| {
                    self.receive(Event::GiveUp(stream, failure(FailureKind::Cancelled)))
                });
            }
            Step::ReceiverBars => {
                self.left.bars -= 1;
                self.receiver.as_mut().expect("it lives").bars = true;
            }
            Step::ReceiverPatience => {
                self.left.patience = self.left.patience.saturating_sub(1);
                streams.into_iter().for_each(|stream| {
                    self.receive(Event::GiveUp(stream, failure(FailureKind::Unreachable)))
                });
            }
            Step::ReceiverClock => self.receive(Event::Time(*START + 3 * LIFE)),
            Step::Orphans => self.receive(Event::NotOffered(failure(FailureKind::Unreachable))),
            Step::Mail => {
                let event = self.receiver.as_mut().and_then(|receiver| receiver.mail.pop_front());
                self.receive(event.expect("there is some"));
            }
            Step::Room(stream) => {
                self.receiver.as_mut().expect("it lives").rooms.remove(&stream);
                self.receive(Event::Room(stream));
            }
            step => self.befalls_sink(step),
        }
    }

    fn befalls_sink(&mut self, step: Step) {
        use receiving::Event;
        match step {
            Step::Sink(stream) => self.advance(stream),
            Step::Commit(stream) => self.set_sink(stream, Some(SinkTask::Syncing)),
            Step::Checkpoint(stream) => {
                if let Some(SinkTask::Writing { got, .. }) =
                    self.receiver.as_ref().and_then(|receiver| receiver.sinks.get(&stream))
                {
                    self.disk.note = Note::Part(prefix(*got));
                }
            }
            Step::Refuse(stream) => {
                self.left.refusals -= 1;
                self.set_sink(stream, None);
                self.kept = true;
                let failure = failure(FailureKind::Refused);
                self.mail(Event::Opened(stream, Err(NoSink { failure, looked: true })));
            }
            Step::CantOpen(stream) => {
                self.left.full_disks -= 1;
                self.set_sink(stream, None);
                self.kept = true;
                self.mail(Event::Opened(stream, Err(failure(FailureKind::Io).into())));
            }
            Step::DiskFull(stream) => {
                self.left.full_disks -= 1;
                self.set_sink(stream, None);
                self.kept = true;
                self.mail(Event::Failed(stream, failure(FailureKind::Io)));
            }
            Step::Remember(stream) => {
                self.receiver.as_mut().expect("it lives").remembering.remove(&stream);
                // The memory and the note that it takes the place of are exchanged in one write.
                (self.disk.remembered, self.disk.note) = (true, Note::None);
                self.mail(Event::Remembered(stream, Ok(())));
            }
            Step::NoteFails(stream) => {
                self.left.failed_notes -= 1;
                // The intent stays until its delivery comes again, or expires.
                self.kept = true;
                self.receiver.as_mut().expect("it lives").remembering.remove(&stream);
                self.mail(Event::Remembered(stream, Err(failure(FailureKind::Io))));
            }
            step => unreachable!("{step:?} befalls nobody"),
        }
    }
}

fn push_if(steps: &mut Vec<Step>, may: bool, step: Step) {
    if may {
        steps.push(step);
    }
}
