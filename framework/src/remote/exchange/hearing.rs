//! Items of the peer that answer something said here.

use super::*;
use crate::store::ledger::Kind;

/// The same bytes, with hardly more memory than they take.
fn unpinned(body: Bytes) -> Bytes {
    if body.len() < SHORT { Bytes::copy_from_slice(&body) } else { body }
}

const TOO_MANY_REPLIES: &str = "more replies than it has credit for";

impl Exchange {
    /// Takes one item of the peer that is an answer to something said here. `Err`: it broke the
    /// protocol.
    pub(in crate::remote) fn heard(
        &self,
        item: &Item<'_>,
        body: impl FnOnce(&[u8]) -> Bytes,
    ) -> Result<(), String> {
        match *item {
            Item::Reply { call, body: bytes } => self.on_reply(call, body(bytes)),
            Item::RepliesEnd { call } => {
                if let Some(Sink::Stream { sending, .. }) = self.end_call(call) {
                    sending.room.notify_waiters();
                }
                Ok(())
            }
            Item::Failed { call, code, text } => {
                match self.end_call(call) {
                    Some(Sink::Ask(answer)) => {
                        drop(answer.send(Err(RemoteError::told(code, text))))
                    }
                    Some(Sink::Stream { replies, sending, .. }) => {
                        let _ = replies.send(Err(RemoteError::told(code, text)));
                        sending.room.notify_waiters();
                    }
                    Some(Sink::Over { .. }) | None => {}
                }
                Ok(())
            }
            Item::Consumed { target, tells, cost } => self.on_consumed(target, tells, cost),
            Item::Undelivered { target, count, code, text } => {
                self.on_undelivered(target, count, RemoteError::told(code, text))
            }
            Item::Credit { call, of_requests, cost } => {
                self.on_credit(call, of_requests, cost);
                Ok(())
            }
            _ => Err("an item that is no answer".into()),
        }
    }

    pub(super) fn on_reply(&self, call: u64, body: Bytes) -> Result<(), String> {
        let mut state = self.state();
        let StreamLimits { window, item, .. } = state.limits;
        let sink = state.calls.get_mut(&call).map(|pending| &mut pending.sink);
        if let Some(Sink::Over { once: false }) = sink {
            // One of a stream is no end: until that comes, the call counts at the peer, too.
            return Ok(());
        }
        if let Some(Sink::Stream { replies, once: false, uncredited, .. }) = sink {
            *uncredited += cost(body.len());
            if *uncredited > window + item {
                return Err(TOO_MANY_REPLIES.into());
            }
            // The receiver may be gone: its handle cancels.
            let _ = replies.send(Ok(Bundle::one(body)));
            return Ok(());
        }
        drop(state);
        // Whoever asked may be gone.
        match self.end_call(call) {
            Some(Sink::Ask(answer)) => drop(answer.send(Ok(body))),
            Some(Sink::Stream { replies, sending, .. }) => {
                let _ = replies.send(Ok(Bundle::one(body)));
                sending.room.notify_waiters();
            }
            Some(Sink::Over { .. }) | None => {}
        }
        Ok(())
    }

    /// Takes replies to one call that came side by side. `Err`: they broke the protocol.
    pub(in crate::remote) fn on_replies(
        &self,
        call: u64,
        bodies: &[&[u8]],
        owned: impl Fn(&[u8]) -> Bytes,
    ) -> Result<(), String> {
        if let &[body] = bodies {
            return self.on_reply(call, owned(body));
        }
        // Before the lock is taken.
        let bundle = Bundle::of(bodies);
        let mut state = self.state();
        let StreamLimits { window, item, .. } = state.limits;
        let sink = state.calls.get_mut(&call).map(|pending| &mut pending.sink);
        if let Some(Sink::Stream { replies, once: false, uncredited, .. }) = sink {
            *uncredited += bodies.iter().map(|body| cost(body.len())).sum::<u64>();
            if *uncredited > window + item {
                return Err(TOO_MANY_REPLIES.into());
            }
            // The receiver may be gone: its handle cancels.
            let _ = replies.send(Ok(bundle));
            return Ok(());
        }
        drop(state);
        bodies.iter().try_for_each(|body| self.on_reply(call, owned(body)))
    }

    pub(super) fn end_call(&self, call: u64) -> Option<Sink> {
        let mut state = self.state();
        let pending = state.calls.remove(&call)?;
        if pending.streams {
            state.streams_out -= 1;
            if state.waiting > 0 {
                self.changed.notify_waiters();
            }
        }
        state.out.ends(pending.target, pending.cost);
        if let Some(target) = state.bound.get(pending.target as usize).filter(|_| state.waiting > 0)
        {
            target.room.notify_waiters();
        }
        Some(pending.sink)
    }

    pub(super) fn on_consumed(&self, target: u32, tells: u64, cost: u64) -> Result<(), String> {
        let mut state = self.state();
        if !state.out.gives_back(target, tells, cost) {
            return Err("a target that was never named".into());
        }
        if state.waiting > 0 {
            if let Some(target) = state.bound.get(target as usize) {
                target.room.notify_waiters();
            }
            self.changed.notify_waiters();
        }
        Ok(())
    }

    pub(super) fn on_undelivered(
        &self,
        target: u32,
        count: u64,
        error: RemoteError,
    ) -> Result<(), String> {
        let state = self.state();
        let Some(target) = state.bound.get(target as usize).map(Arc::clone) else {
            return Err("a target that was never named".into());
        };
        drop(state);
        self.tell_undelivered(&target, count, error);
        Ok(())
    }

    pub(super) fn on_credit(&self, call: u64, of_requests: bool, cost: u64) {
        let mut state = self.state();
        let sending = if of_requests {
            state.calls.get_mut(&call).and_then(|pending| match &mut pending.sink {
                Sink::Stream { sending, .. } => Some(sending),
                _ => None,
            })
        } else {
            state.served.get_mut(&call).and_then(|served| served.replies.as_mut())
        };
        if let Some(sending) = sending {
            sending.outstanding = sending.outstanding.saturating_sub(cost);
            sending.room.notify_waiters();
        }
    }

    /// A request of a call to here whose requests are a stream. `Err`: it broke the protocol.
    pub(in crate::remote) fn on_request(
        &self,
        epoch: u64,
        call: u64,
        body: Option<Bytes>,
    ) -> Result<(), String> {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return Ok(());
        }
        let StreamLimits { window, item, .. } = state.limits;
        // Answered before its last request came: what still comes means nothing.
        let Some(served) = state.served.get_mut(&call) else { return Ok(()) };
        let Some(body) = body else {
            served.requests = None;
            return Ok(());
        };
        served.uncredited += cost(body.len());
        if served.uncredited > window + item {
            return Err("more requests than it has credit for".into());
        }
        let Some(requests) = &served.requests else {
            return Err("a request of a call that has no more".into());
        };
        match self.account.charge(Kind::Requests, cost(body.len())) {
            // Whoever handled them may be gone: it has answered then.
            Ok(charge) => drop(requests.send(Ok((unpinned(body), charge)))),
            Err(full) => {
                drop(state);
                self.end_served(epoch, call, &no_credit(&full));
            }
        }
        Ok(())
    }

    /// The caller no longer waits.
    pub(in crate::remote) fn on_cancel(&self, epoch: u64, call: u64) {
        self.end_served(
            epoch,
            call,
            &RemoteError::new(RemoteErrorKind::Cancelled, "the caller gave up"),
        );
    }

    /// Ends a call to here, whatever its handler does: the peer and the handler's streams are told.
    fn end_served(&self, epoch: u64, call: u64, error: &RemoteError) {
        let mut state = self.state();
        let Some(served) = state.served.get_mut(&call) else { return };
        self.given_up_calls.fetch_add(1, Ordering::Release);
        // Requests that break off must not pass for all.
        if let Some(requests) = served.requests.take() {
            let _ = requests.send(Err(error.clone()));
        }
        let room = served.replies.as_ref().map(|replies| Arc::clone(&replies.room));
        drop(state);
        self.answer(epoch, call, Err(error));
        if let Some(room) = room {
            room.notify_waiters();
        }
    }

    pub(super) fn tell_undelivered(&self, target: &Target, count: u64, error: RemoteError) {
        let (name, message) = (Arc::clone(&target.name), Arc::clone(&target.message));
        (self.undelivered)(Undelivered { peer: self.peer, name, message, count, error });
    }
}
