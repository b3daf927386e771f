//! The start of a transfer: its stream, its room, its stages, its source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler};
use tokio::sync::watch;

use super::super::Session;
use super::super::signals::{Admitted, Wired};
use super::{OutgoingTransfer, key_of};
use crate::delivery::sending::Event;
use crate::delivery::{Failure, FailureKind};
use crate::node::codecs::stages_of;
use crate::node::events::TransferNews;
use crate::node::pace::{self, Limiter};
use crate::node::reading::Cut;
use crate::node::rooms::window_for;
use crate::node::sessions::StartTransfer;
use crate::node::source_reader::{
    Gate, Own, Rewound, Run, SourceEnded, SourceOwner, SourceReader, With,
};
use crate::pipeline::{Budget, Compression, Source, SourceError, SourceReport};
use crate::store::now;
use crate::wire::{FEATURE_DESCRIPTIONS, Opening, Ranges};

impl Handler<StartTransfer> for Session {
    type Result = ();

    fn handle(&mut self, start: StartTransfer, ctx: &mut Context<Self>) {
        let StartTransfer { source, content, inbox, options, attempt, created, life, state, seat } =
            start;
        self.heard += 1;
        let asked = (options.stages, options.compression);
        if let Err(failure) = self.may_start(&asked) {
            return state.end(Err(failure));
        }
        let limiter = options.pace.map(|pace| self.shared.paces.join(pace));
        let chunk_size = self.chunk_size(options.chunk_size, limiter.as_deref(), &asked.0);
        let stream = self.sending.take_stream();
        let transfer = self.new_attempt(state.id, attempt, stream, chunk_size, &asked);
        let known = source.known();
        let opening = Opening {
            stream,
            transfer: state.id,
            attempt,
            key: key_of(&transfer),
            commit: transfer.commitment,
            inbox,
            content: content.clone(),
            chunk_size,
            suite: transfer.scope.suite,
            stages: stages_of(&asked.0, &transfer),
            version: known.as_ref().map(|known| known.digest).or_else(|| source.version()),
            created,
            expires: now().saturating_add(life.as_secs()),
            remaining: life.as_secs(),
        };
        let window = self.window_of(chunk_size, content.length);
        let resumable = opening.version.is_some();
        let out = OutgoingTransfer {
            transfer,
            state,
            outlet: None,
            opening,
            offered: false,
            asked,
            content,
            known,
            already_there: false,
            source: Some(source),
            seat,
            limiter,
            reader: None,
            chunker: None,
            thread: None,
            gate: watch::channel(Gate::default()).0,
            priority: options.priority,
            budget: Budget::new(window),
            window,
            room: None,
            waiting: None,
            held: Ranges::EMPTY,
            receipt: None,
            moved: (0, Instant::now()),
            began: Instant::now(),
        };
        let (deadline, transfer) = (end_of(life), out.state.id);
        self.begin(out, Event::Start { stream, transfer, attempt, deadline, resumable });
        self.ensure_link(ctx);
    }
}

/// Returns the deadline: what was given a second has it to the end.
fn end_of(life: Duration) -> Instant {
    Instant::now() + life + Duration::from_secs(1)
}

impl Session {
    fn window_of(&self, chunk_size: u32, length: Option<u64>) -> usize {
        window_for(self.shared.config.window.max(2 * chunk_size as usize), chunk_size, length)
    }

    fn begin(&mut self, out: OutgoingTransfer, start: Event) {
        if self.is_idle() && self.link.is_none() {
            self.down_since = Instant::now();
        }
        self.outgoing.insert(out.opening.stream, out);
        self.watch_progress();
        self.send(start);
    }

    /// The opening in words that the other end understands; without a link, not yet.
    pub(super) fn understood(&self, opening: Opening) -> Opening {
        let features = self.link.as_ref().map_or(0, |link| link.features);
        Opening { content: opening.content.understood(features), ..opening }
    }

    /// Says what is in the way of one more transfer with these coders and this compression.
    fn may_start(
        &self,
        (stages, compression): &(Vec<String>, Option<Compression>),
    ) -> Result<(), Failure> {
        if self.closing || !self.draining.is_empty() {
            return Err(Failure::new(FailureKind::Shutdown, "the node is shutting down"));
        }
        if self.outgoing.len() >= self.shared.config.transfers_per_peer {
            let text = "too many transfers wait for this peer already";
            return Err(Failure::new(FailureKind::Busy, text));
        }
        // As it was checked when it was asked for; what was stored may find another program.
        let checked = self.shared.registry.stages().check_asked(stages, *compression);
        checked.map_err(|error| Failure::new(FailureKind::Stage, error.to_string()))
    }

    /// The size of chunks, where a rate would make those that were chosen wait for too long: as
    /// small as is good for it, and as the coders allow.
    fn chunk_size(&self, chosen: Option<u32>, limiter: Option<&Limiter>, coders: &[String]) -> u32 {
        let config = &self.shared.config;
        let chosen = chosen.unwrap_or(config.chunk_size);
        let Some(limiter) = limiter else { return chosen };
        let mut size =
            pace::chunk_size(chosen, limiter.rate(), config.stall, config.running_transfers);
        while size < chosen && self.shared.registry.stages().growth(coders, size).is_err() {
            size *= 2;
        }
        size
    }
}

impl Handler<Admitted> for Session {
    type Result = ();

    fn handle(&mut self, Admitted { stream, room }: Admitted, _: &mut Context<Self>) {
        if let Some(out) = self.outgoing.get_mut(&stream) {
            (out.room, out.waiting, out.moved) = (Some(room), None, (0, Instant::now()));
            self.send(Event::Room(stream));
        }
    }
}

/// A transfer waits for room at this end.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct NoRoomHere {
    pub(super) stream: u64,
}

impl Handler<NoRoomHere> for Session {
    type Result = ();

    fn handle(&mut self, NoRoomHere { stream }: NoRoomHere, _: &mut Context<Self>) {
        if self.sending.seeks_room(stream) {
            // Not itself: it gives its room back, and seeks one, when it begins anew.
            let others = self.outgoing.iter().filter(|&(&other, _)| other != stream);
            let running = others.filter(|(_, out)| out.room.is_some()).count();
            self.tell_outgoing(
                stream,
                TransferNews::Waiting { running: u32::try_from(running).unwrap_or(u32::MAX) },
            );
        }
    }
}

impl Handler<Wired> for Session {
    type Result = ();

    fn handle(&mut self, Wired { stream, outcome }: Wired, _: &mut Context<Self>) {
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        let outcome = outcome
            .map(|(outlet, chunker)| (out.outlet, out.chunker) = (Some(outlet), Some(chunker)));
        self.send(Event::Wired(
            stream,
            outcome.map_err(|text| Failure::new(FailureKind::Stage, text)),
        ));
    }
}

impl Handler<SourceEnded> for Session {
    type Result = ();

    fn handle(&mut self, SourceEnded { stream, outcome }: SourceEnded, _: &mut Context<Self>) {
        let Some(out) = self.outgoing.get(&stream) else { return };
        let features = self.link.as_ref().map(|link| link.features);
        let knows_none = features.is_some_and(|features| features & FEATURE_DESCRIPTIONS == 0);
        let outcome = outcome.map(|mut report| {
            if !out.content.attributes.is_empty() && knows_none {
                let text = "extended attributes of a file that is sent alone were not sent: the \
                            receiver is an earlier release, which takes none";
                report.remarks.push(text.into());
            }
            report
        });
        match outcome {
            Ok(report) => self.source_was_read(stream, report),
            Err(error) => {
                let changed = matches!(error, SourceError::Changed { .. });
                self.send(Event::SourceFailed { stream, failure: error.into(), changed });
            }
        }
    }
}

impl Handler<Rewound> for Session {
    type Result = ();

    fn handle(&mut self, Rewound { stream, outcome }: Rewound, _: &mut Context<Self>) {
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        let outcome = outcome.map(|(content, version)| {
            (out.opening.content, out.content, out.opening.version) =
                (content.clone(), content, version);
            version.is_some()
        });
        self.send(Event::Rewound(stream, outcome.map_err(Failure::from)));
    }
}

impl Session {
    /// Tells what of the source was left behind.
    pub(super) fn source_was_read(&mut self, stream: u64, report: SourceReport) {
        let Some(out) = self.outgoing.get(&stream) else { return };
        out.state.set_report(&report);
        if report.skipped_total > 0 {
            let (entries, total) = (report.skipped.clone(), report.skipped_total);
            self.tell_outgoing(stream, TransferNews::Skipped { entries, total });
        }
        if !report.remarks.is_empty() {
            self.tell_outgoing(stream, TransferNews::LeftBehind { report });
        }
    }

    /// Has the source read into the stages.
    pub(super) fn run(&mut self, stream: u64) {
        let shared = Arc::clone(&self.shared);
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        let (Some(thread), Some(chunker)) = (&out.thread, out.chunker.clone()) else { return };
        // Of the source: what the offer says may be the digest of all that is in it.
        let version = out.source.as_ref().and_then(|source| source.version());
        let reader = match (out.reader.clone(), out.source.take()) {
            (Some(reader), _) => reader,
            (None, Some(source)) => {
                let (session, guard) = (self.address.clone(), Arc::clone(thread));
                let again = out.seat.as_ref().map(|seat| seat.reference().clone());
                let again = again.map(|found| (shared.registry.clone(), found));
                let owner = SourceOwner {
                    ended: session.clone().recipient(),
                    rewound: session.recipient(),
                };
                SourceReader::start_in_arbiter(&thread.handle(), move |_| {
                    SourceReader::new(Own::new(source, again), owner, guard)
                })
            }
            (None, None) => return,
        };
        // A coder may look at whose chunk it has: what it makes of one is for that receiver alone.
        let seat = out.seat.take().filter(|_| out.asked.0.is_empty());
        let with = seat.zip(version).and_then(|(seat, version)| {
            let begun = seat.begin(Cut::of(&out.transfer, version), out.gate.subscribe());
            begun.then(|| With { seat, version, shared: Arc::clone(&shared) })
        });
        out.transfer.show_to(shared.taps.on(&out.content));
        reader.do_send(Run {
            stream,
            transfer: Arc::clone(&out.transfer),
            chunker,
            gate: out.gate.subscribe(),
            budget: out.budget.clone(),
            slots: self.slots.clone(),
            priority: out.priority,
            metrics: self.shared.metrics.stage("source"),
            limiter: out.limiter.clone(),
            with,
        });
        out.reader = Some(reader);
    }
}
