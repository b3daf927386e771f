//! One side's exchange, put down and taken up again: what is in it between two steps of a model,
//! without its channels, which are read to the end after each step.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver, error::TryRecvError};
use tokio::sync::oneshot;

use crate::remote::error::{RemoteError, RemoteErrorKind};
use crate::remote::exchange::outbound::{Outbound, Windows};
use crate::remote::exchange::{
    Answer, Bundle, Deadline, Exchange, Pending, Replied, Requested, Sending, Served, Sink,
    StreamLimits, Target,
};
use crate::remote::queue::{Lengths, Queue};
use crate::store::ledger::Account;
use crate::wire::PeerId;

/// An exchange, without what only a process has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Side {
    pub(super) epoch: Option<u64>,
    pub(super) out: Outbound,
    /// The one target has its number on the link.
    is_bound: bool,
    pub(super) calls: BTreeMap<u64, Waits>,
    next_call: u64,
    pub(super) served: BTreeMap<u64, Serves>,
    pub(super) served_cost: u64,
    pub(super) streams: (usize, usize),
}

/// A call from here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Waits {
    target: u32,
    cost: u64,
    pub(super) streams: bool,
    late: bool,
    sink: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Ask,
    Stream { once: bool, uncredited: u64, outstanding: u64 },
    Over { once: bool },
}

/// A call to here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Serves {
    pub(super) cost: u64,
    pub(super) streams: bool,
    requests: bool,
    uncredited: u64,
    outstanding: Option<u64>,
}

/// The end of a channel at which what comes in a call is heard.
pub(super) enum Ear {
    Answer(oneshot::Receiver<Answer>),
    Replies(UnboundedReceiver<Replied>),
}

/// An exchange that runs, and who listens to it.
pub(super) struct Live {
    pub(super) exchange: Exchange,
    pub(super) target: Arc<Target>,
    pub(super) ears: BTreeMap<u64, Ear>,
    pub(super) requests: BTreeMap<u64, UnboundedReceiver<Requested>>,
}

/// Something that has come in a call.
pub(super) enum Came {
    /// One more: its number, and how long it is.
    One(u8, usize),
    /// Nothing more comes: all is said, or this error.
    End(Option<RemoteErrorKind>),
}

impl Side {
    pub(super) fn new(lengths: Lengths, epoch: u64) -> Self {
        Self {
            epoch: Some(epoch),
            out: Outbound::new(Windows::default(), Queue::new(lengths)),
            is_bound: false,
            calls: BTreeMap::new(),
            next_call: 0,
            served: BTreeMap::new(),
            served_cost: 0,
            streams: (0, 0),
        }
    }

    /// Returns true if nobody waits for this call, and the peer has not said yet that it is over.
    pub(super) fn is_given_up(&self, call: u64) -> bool {
        self.calls.get(&call).is_some_and(|call| matches!(call.sink, Kind::Over { .. }))
    }

    pub(super) fn live(&self, limits: StreamLimits) -> Live {
        let exchange = Exchange::new(
            PeerId::from_bytes([1; 32]),
            String::new(),
            Account::unbounded(),
            || {},
            Arc::new(|_| {}),
        );
        if let Some(epoch) = self.epoch {
            exchange.up(epoch);
        }
        let target = exchange.target("a", "m", 1).expect("there are few");
        let (mut ears, mut requests) = (BTreeMap::new(), BTreeMap::new());
        let mut state = exchange.state();
        if let (true, Some(epoch)) = (self.is_bound, self.epoch) {
            Exchange::bind(&mut state, &target, (epoch & 0xffff_ffff) << 32);
        }
        (state.out, state.limits) = (self.out.clone(), limits);
        (state.next_call, state.served_cost) = (self.next_call, self.served_cost);
        (state.streams_out, state.streams_in) = self.streams;
        for (&call, waits) in &self.calls {
            let (pending, ear) = waits.live();
            state.calls.insert(call, pending);
            ears.extend(ear.map(|ear| (call, ear)));
        }
        for (&call, serves) in &self.served {
            let (served, coming) = serves.live();
            state.served.insert(call, served);
            requests.extend(coming.map(|coming| (call, coming)));
        }
        drop(state);
        Live { exchange, target, ears, requests }
    }
}

fn sending(outstanding: u64) -> Sending {
    Sending { outstanding, ..Sending::default() }
}

impl Waits {
    fn live(&self) -> (Pending, Option<Ear>) {
        let (sink, ear) = match self.sink {
            Kind::Ask => {
                let (answer, answered) = oneshot::channel();
                (Sink::Ask(answer), Some(Ear::Answer(answered)))
            }
            Kind::Stream { once, uncredited, outstanding } => {
                let (replies, replied) = mpsc::unbounded_channel();
                let sending = sending(outstanding);
                let sink = Sink::Stream { replies, once, uncredited, sending };
                (sink, Some(Ear::Replies(replied)))
            }
            Kind::Over { once } => (Sink::Over { once }, None),
        };
        let deadline = self.late.then_some(super::AT_ONCE);
        let &Self { target, cost, streams, .. } = self;
        (Pending { target, cost, streams, deadline, sink }, ear)
    }

    fn of(pending: &Pending) -> Self {
        let sink = match &pending.sink {
            Sink::Ask(_) => Kind::Ask,
            Sink::Stream { once, uncredited, sending, .. } => Kind::Stream {
                once: *once,
                uncredited: *uncredited,
                outstanding: sending.outstanding,
            },
            Sink::Over { once } => Kind::Over { once: *once },
        };
        let &Pending { target, cost, streams, ref deadline, .. } = pending;
        let late = matches!(deadline, Some(Deadline { .. }));
        Self { target, cost, streams, late, sink }
    }
}

impl Serves {
    fn live(&self) -> (Served, Option<UnboundedReceiver<Requested>>) {
        let (requests, coming) = mpsc::unbounded_channel();
        let served = Served {
            cost: self.cost,
            streams: self.streams,
            requests: self.requests.then_some(requests),
            uncredited: self.uncredited,
            replies: self.outstanding.map(sending),
            gone: None,
        };
        (served, self.requests.then_some(coming))
    }

    fn of(served: &Served) -> Self {
        Self {
            cost: served.cost,
            streams: served.streams,
            requests: served.requests.is_some(),
            uncredited: served.uncredited,
            outstanding: served.replies.as_ref().map(|replies| replies.outstanding),
        }
    }
}

impl Live {
    /// Puts it down. All that came in its calls must have been [heard](Self::replies).
    pub(super) fn put_down(self) -> Side {
        let state = self.exchange.state();
        Side {
            epoch: state.epoch,
            out: state.out.clone(),
            is_bound: !state.bound.is_empty(),
            calls: state.calls.iter().map(|(&call, it)| (call, Waits::of(it))).collect(),
            next_call: state.next_call,
            served: state.served.iter().map(|(&call, it)| (call, Serves::of(it))).collect(),
            served_cost: state.served_cost,
            streams: (state.streams_out, state.streams_in),
        }
    }

    /// Takes what has come in answer to calls from here.
    pub(super) fn replies(&mut self) -> Vec<(u64, Came)> {
        let mut came = Vec::new();
        for (&call, ear) in &mut self.ears {
            match ear {
                Ear::Answer(answered) => match answered.try_recv() {
                    Ok(answer) => {
                        came.push((call, one(answer)));
                        came.push((call, Came::End(None)));
                    }
                    Err(oneshot::error::TryRecvError::Empty) => {}
                    Err(oneshot::error::TryRecvError::Closed) => {
                        came.push((call, Came::End(None)));
                    }
                },
                Ear::Replies(replies) => all(call, replies, bundled, &mut came),
            }
        }
        came
    }

    /// Takes what has come in calls to here.
    pub(super) fn requests(&mut self) -> Vec<(u64, Came)> {
        let mut came = Vec::new();
        for (&call, requests) in &mut self.requests {
            let bodies = |request: Requested| vec![one(request.map(|(body, _)| body))];
            all(call, requests, bodies, &mut came);
        }
        came
    }
}

fn one(answer: Result<Bytes, RemoteError>) -> Came {
    match answer {
        Ok(body) => Came::One(body[0], body.len()),
        Err(error) => Came::End(Some(error.kind)),
    }
}

fn bundled(replied: Replied) -> Vec<Came> {
    let all = |mut bundle: Bundle| {
        let next = || bundle.next().map(|body| Came::One(body[0], body.len()));
        std::iter::from_fn(next).collect()
    };
    replied.map_or_else(|error| vec![Came::End(Some(error.kind))], all)
}

fn all<T>(
    call: u64,
    from: &mut UnboundedReceiver<T>,
    to: impl Fn(T) -> Vec<Came>,
    came: &mut Vec<(u64, Came)>,
) {
    loop {
        match from.try_recv() {
            Ok(some) => came.extend(to(some).into_iter().map(|one| (call, one))),
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => return came.push((call, Came::End(None))),
        }
    }
}
