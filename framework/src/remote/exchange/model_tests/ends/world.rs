//! The world around calls on one link: who calls, what brings it, and who handles it.

mod handler;
mod parts;

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use self::handler::Handler;
use self::parts::{Caller, Way, read, reply_of};
use super::side::{Came, Ear, Live, Side};
use super::{AT_ONCE, Break};
use crate::remote::error::RemoteErrorKind;
use crate::remote::exchange::{Begun, Blocked, Opening, StreamLimits, cost};
use crate::remote::queue::Lengths;
use crate::wire::message::{Item, Shape};

const SHORT: usize = 1;
/// Is cut into two.
pub(super) const LONG: usize = 150;
const LENGTHS: Lengths = Lengths { whole: 100, batch: 160 };
/// One call with streams at a time, and two short items of each of its streams.
const LIMITS: StreamLimits = StreamLimits { calls: 1, window: 2 * cost(SHORT), item: cost(LONG) };

/// The number of times that each thing may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) shape: Shape,
    pub(super) calls: u8,
    /// Requests of each call whose requests are a stream, and replies where those are one.
    pub(super) requests: u8,
    pub(super) replies: u8,
    /// Of those, the first one is long.
    pub(super) long: bool,
    /// The caller gives a call up.
    pub(super) cancels: u8,
    /// The time of all calls that are under way is over.
    pub(super) late: u8,
    /// A handler ends before it has seen all requests, or said all its replies.
    pub(super) early: u8,
    /// A handler dies.
    pub(super) deaths: u8,
    pub(super) cuts: u8,
}

/// The end of a call for its caller, or of its requests for their handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Whole,
    Broken(RemoteErrorKind),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    a: Side,
    b: Side,
    callers: BTreeMap<u64, Caller>,
    handlers: BTreeMap<u64, Handler>,
    to_b: Way,
    to_a: Way,
    links: u64,
    /// Nothing goes by the last link any more.
    cut: bool,
    left: Budget,
    broken: Option<Break>,
    pub(super) fault: Option<&'static str>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Open,
    Request(u64),
    SayAll(u64),
    Read(u64),
    Cancel(u64),
    Late,
    FromA,
    FromB,
    ToA,
    ToB,
    Take(u64),
    Reply(u64),
    Finish(u64),
    Die(u64),
    Cut,
    DownA,
    DownB,
    Up,
}

/// Both exchanges, while something happens.
struct Running {
    a: Live,
    b: Live,
}

impl World {
    pub(super) fn new(left: Budget, broken: Option<Break>) -> Self {
        let side = || Side::new(LENGTHS, 1);
        Self {
            a: side(),
            b: side(),
            callers: BTreeMap::new(),
            handlers: BTreeMap::new(),
            to_b: Way::default(),
            to_a: Way::default(),
            links: 1,
            cut: false,
            left,
            broken,
            fault: None,
        }
    }

    /// All was called and has ended, and nothing is on its way.
    pub(super) fn has_ended(&self) -> bool {
        let is_quiet = |side: &Side, way: &Way| side.out.queue.is_empty() && way.batches.is_empty();
        self.left.calls == 0
            && self.is_up()
            && is_quiet(&self.a, &self.to_b)
            && is_quiet(&self.b, &self.to_a)
            && self.callers.values().all(|caller| caller.end.is_some() && caller.unread.is_empty())
            && self.handlers.values().all(Handler::is_over)
    }

    pub(super) fn is_all_whole(&self) -> bool {
        self.callers.values().all(|caller| caller.end == Some(End::Whole))
    }

    pub(super) fn is_clean(&self) -> bool {
        let is_free = |side: &Side| {
            let (link, targets) = side.out.in_flight();
            side.calls.is_empty()
                && side.served.is_empty()
                && link == 0
                && targets.iter().all(|&target| target == (0, 0))
        };
        is_free(&self.a) && is_free(&self.b)
    }

    /// Counts of calls are what there is of them.
    pub(super) fn counts_right(&self) -> bool {
        let is_right = |side: &Side| {
            let out = side.calls.values().filter(|call| call.streams).count();
            let served = side.served.values().filter(|call| call.streams).count();
            side.streams == (out, served)
                && side.served_cost == side.served.values().map(|call| call.cost).sum::<u64>()
        };
        is_right(&self.a) && is_right(&self.b)
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        let (left, mut steps) = (&self.left, Vec::new());
        let mut may = |happens: bool, step| {
            if happens {
                steps.push(step);
            }
        };
        let is_up = self.is_up();
        may(self.a.epoch.is_some() && left.calls > 0, Step::Open);
        for (&call, caller) in &self.callers {
            let asks = left.shape.streams_requests() && !caller.gave_up && !caller.said_all;
            may(asks && caller.requested < left.requests, Step::Request(call));
            may(asks && caller.requested == left.requests, Step::SayAll(call));
            may(!caller.unread.is_empty(), Step::Read(call));
            may(caller.end.is_none() && left.cancels > 0, Step::Cancel(call));
        }
        may(left.late > 0 && self.callers.values().any(|it| it.end.is_none()), Step::Late);
        may(is_up && !self.a.out.queue.is_empty(), Step::FromA);
        may(is_up && !self.b.out.queue.is_empty(), Step::FromB);
        may(!self.to_a.batches.is_empty(), Step::ToA);
        may(!self.to_b.batches.is_empty(), Step::ToB);
        for (&call, handler) in self.handlers.iter().filter(|(_, it)| !it.is_over()) {
            may(handler.has_some(), Step::Take(call));
            may(handler.may_reply(left), Step::Reply(call));
            may(handler.may_finish(left), Step::Finish(call));
            may(left.deaths > 0, Step::Die(call));
        }
        may(is_up && left.cuts > 0, Step::Cut);
        let is_over = |side: &Side| side.epoch.is_some() && self.cut;
        may(is_over(&self.a), Step::DownA);
        may(is_over(&self.b), Step::DownB);
        may(self.a.epoch.is_none() && self.b.epoch.is_none(), Step::Up);
        steps
    }

    /// The link is there, and both have it.
    fn is_up(&self) -> bool {
        !self.cut && self.a.epoch.is_some() && self.b.epoch.is_some()
    }

    pub(super) fn after(&self, step: Step) -> Self {
        let mut world = self.clone();
        let (a, b) = (self.a.live(LIMITS), self.b.live(LIMITS));
        let mut running = Running { a, b };
        world.happen(&mut running, step);
        world.listen(&mut running);
        (world.a, world.b) = (running.a.put_down(), running.b.put_down());
        world
    }

    fn happen(&mut self, running: &mut Running, step: Step) {
        let Running { a, b } = running;
        match step {
            Step::Open => self.open(a),
            Step::Request(call) => self.request(a, call),
            Step::SayAll(call) => {
                if let Some(caller) = self.callers.get_mut(&call) {
                    caller.said_all = true;
                    a.exchange.end_requests(&Begun { call, epoch: caller.epoch });
                }
            }
            Step::Read(call) => self.read(a, call),
            Step::Cancel(call) => {
                self.left.cancels -= 1;
                if let Some(caller) = self.callers.get_mut(&call) {
                    caller.gave_up = true;
                    a.exchange.cancel(&Begun { call, epoch: caller.epoch });
                }
            }
            Step::Late => {
                self.left.late -= 1;
                a.exchange.tick(Instant::now());
            }
            Step::FromA => self.to_b.take(a, self.a.epoch),
            Step::FromB => self.to_a.take(b, self.b.epoch),
            Step::ToA => self.items_to_a(a),
            Step::ToB => self.items_to_b(b),
            Step::Take(call) => self.with(call, |it, _| it.take(call, b)),
            Step::Reply(call) => {
                let long = self.left.long;
                self.with(call, |it, _| it.reply(call, b, long));
            }
            Step::Finish(call) => {
                let is_early = self.handlers[&call].is_early(&self.left);
                self.left.early -= u8::from(is_early);
                let shape = self.left.shape;
                self.with(call, |it, _| it.finish(call, b, shape));
            }
            Step::Die(call) => {
                self.left.deaths -= 1;
                self.with(call, |it, broken| it.die(call, b, broken));
            }
            Step::Cut => {
                (self.left.cuts, self.cut) = (self.left.cuts - 1, true);
                (self.to_a, self.to_b) = (Way::default(), Way::default());
            }
            Step::DownA => a.exchange.down(RemoteErrorKind::LinkLost, ""),
            Step::DownB => b.exchange.down(RemoteErrorKind::LinkLost, ""),
            Step::Up => {
                (self.links, self.cut) = (self.links + 1, false);
                a.exchange.up(self.links);
                b.exchange.up(self.links);
            }
        }
    }

    fn open(&mut self, a: &mut Live) {
        let Budget { shape, late, .. } = self.left;
        let length = if shape.streams_requests() { 0 } else { SHORT };
        let body = vec![0; length];
        let deadline = (late > 0).then_some(AT_ONCE);
        let opening = Opening { shape, body: &body, along: None, deadline };
        let opened = if shape == Shape::Ask {
            a.exchange.ask(&a.target, &opening).map(|(begun, answer)| (begun, Ear::Answer(answer)))
        } else {
            let opened = a.exchange.open(&a.target, &opening);
            opened.map(|(begun, replies, _)| (begun, Ear::Replies(replies)))
        };
        // Later, where there is no room.
        let Ok((Begun { call, epoch }, ear)) = opened else { return };
        a.ears.insert(call, ear);
        self.left.calls -= 1;
        self.callers.insert(call, Caller::new(epoch));
    }

    fn request(&mut self, a: &mut Live, call: u64) {
        let Some(caller) = self.callers.get_mut(&call) else { return };
        let is_long = self.left.long && caller.requested == 0;
        let body = vec![caller.requested; if is_long { LONG } else { SHORT }];
        match a.exchange.request(&Begun { call, epoch: caller.epoch }, &body) {
            Ok(()) => caller.requested += 1,
            Err(Blocked::Full | Blocked::NoLink) => {}
            Err(Blocked::Never(_)) if caller.end.is_some() => caller.said_all = true,
            Err(Blocked::Never(_)) => self.fault = Some("a call takes no requests, and goes on"),
        }
    }

    fn read(&mut self, a: &mut Live, call: u64) {
        let Some(caller) = self.callers.get_mut(&call) else { return };
        let Some(length) = caller.unread.pop_front() else { return };
        let owed = caller.owed.read(length, caller.unread.is_empty());
        if let (Some(cost), true) = (owed, self.broken != Some(Break::CreditKept)) {
            a.exchange.credit_replies(&Begun { call, epoch: caller.epoch }, cost);
        }
    }

    fn with(&mut self, call: u64, act: impl FnOnce(&mut Handler, Option<Break>)) {
        let broken = self.broken;
        self.handlers.entry(call).and_modify(|handler| act(handler, broken));
    }

    /// Takes what has come in calls.
    fn listen(&mut self, running: &mut Running) {
        for (call, came) in running.b.requests() {
            self.requested(call, came);
        }
        for (call, came) in running.a.replies() {
            self.replied(call, came);
        }
    }

    fn requested(&mut self, call: u64, came: Came) {
        let (Some(handler), Some(caller)) = (self.handlers.get_mut(&call), self.callers.get(&call))
        else {
            return self.fault = Some("a request comes to nobody");
        };
        let fault = match came {
            Came::One(number, length) => handler.comes(number, length),
            Came::End(Some(why)) => {
                let passes = self.broken == Some(Break::CutPassesForAll);
                let passes = passes && why == RemoteErrorKind::LinkLost;
                handler.ends(if passes { End::Whole } else { End::Broken(why) })
            }
            Came::End(None) => handler.ends(End::Whole),
        };
        let is_whole = caller.said_all && handler.came == self.left.requests;
        let passes = handler.end == Some(End::Whole) && !is_whole;
        let passes = passes.then_some("requests that break off pass for all there are");
        self.fault = self.fault.or(fault).or(passes);
    }

    fn replied(&mut self, call: u64, came: Came) {
        let Some(caller) = self.callers.get_mut(&call) else {
            return self.fault = Some("a reply comes to nobody");
        };
        let fault = match came {
            Came::One(number, length) => caller.comes(number, length),
            Came::End(Some(why)) => caller.ends(End::Broken(why)),
            // It follows the error.
            Came::End(None) if caller.end.is_some() => None,
            // Nobody listens to its answer any more.
            Came::End(None) if caller.gave_up => {
                caller.ends(End::Broken(RemoteErrorKind::Cancelled))
            }
            Came::End(None) => caller.ends(End::Whole),
        };
        let is_whole =
            self.handlers.get(&call).is_some_and(|it| it.is_finished() && it.said == caller.came);
        let passes = caller.end == Some(End::Whole) && !is_whole;
        let passes = passes.then_some("replies that break off pass for all there are");
        self.fault = self.fault.or(fault).or(passes);
    }

    fn items_to_a(&mut self, a: &mut Live) {
        let mut items = self.to_a.items();
        if self.broken == Some(Break::EndOvertakes) {
            items.sort_by_key(|item| !matches!(read(item), Item::RepliesEnd { .. }));
        }
        let mut items = items.iter().peekable();
        while let Some(item) = items.next() {
            let item = read(item);
            match item {
                Item::Reply { call, .. }
                    if self.broken == Some(Break::AnyReplyEnds) && self.a.is_given_up(call) =>
                {
                    drop(a.exchange.end_call(call));
                }
                Item::Failed { .. } if self.broken == Some(Break::EndUnheard) => {}
                Item::Reply { call, body } => {
                    let mut bodies = vec![body];
                    while let Some(body) = items.peek().and_then(|item| reply_of(call, item)) {
                        bodies.push(body);
                        items.next();
                    }
                    let taken = a.exchange.on_replies(call, &bodies, Bytes::copy_from_slice);
                    if taken.is_err() {
                        self.fault = Some("an honest callee is taken for one that is not");
                    }
                }
                _ => {
                    if a.exchange.heard(&item, Bytes::copy_from_slice).is_err() {
                        self.fault = Some("an honest callee is taken for one that is not");
                    }
                }
            }
        }
    }

    /// Items of the caller, taken as a postbox does.
    fn items_to_b(&mut self, b: &mut Live) {
        let Some(epoch) = self.b.epoch else { return };
        for item in self.to_b.items() {
            let item = read(&item);
            let taken = match item {
                Item::Bind { .. } => Ok(()),
                Item::Call { call, shape, body, .. } => {
                    self.handlers.insert(call, Handler::new(epoch));
                    let (requests, coming) = mpsc::unbounded_channel();
                    let requests = shape.streams_requests().then_some(requests);
                    if requests.is_some() {
                        b.requests.insert(call, coming);
                    }
                    let cost = cost(body.len());
                    b.exchange
                        .serve(epoch, call, cost, requests, shape.streams_replies())
                        .map(|_| ())
                }
                Item::Request { call, body } => {
                    b.exchange.on_request(epoch, call, Some(Bytes::copy_from_slice(body)))
                }
                Item::RequestsEnd { call } => b.exchange.on_request(epoch, call, None),
                Item::Cancel { call } if self.broken == Some(Break::CancelEndsRequests) => {
                    b.exchange.on_request(epoch, call, None)
                }
                Item::Cancel { call } => {
                    b.exchange.on_cancel(epoch, call);
                    Ok(())
                }
                answer => b.exchange.heard(&answer, Bytes::copy_from_slice),
            };
            if taken.is_err() {
                self.fault = Some("an honest caller is taken for one that is not");
            }
        }
    }
}
