//! The sending side of an exchange: tells, and calls from here.

use super::*;

impl Exchange {
    /// A message without an answer.
    pub(in crate::remote) fn tell(
        self: &Arc<Self>,
        target: &Arc<Target>,
        body: &[u8],
        along: Option<&Along>,
    ) -> Result<(), Blocked> {
        if along.is_none() && row::put(self, target, body) {
            return Ok(());
        }
        let mut state = self.state();
        let along = state.sayable(along);
        let along = along.as_deref();
        let (number, cost) = self.admit(&mut state, target, body.len(), along)?;
        state.out.tells(number, cost);
        self.put(
            &mut state,
            [Some(Key::Target(number)), None],
            &Item::Tell { target: number, body },
            along,
            body.len(),
        );
        row::follows(self, &mut state, target, number);
        Ok(())
    }

    /// A call with one answer.
    pub(in crate::remote) fn ask(
        &self,
        target: &Arc<Target>,
        opening: &Opening<'_>,
    ) -> Result<(Begun, oneshot::Receiver<Answer>), Blocked> {
        let (answer, answered) = oneshot::channel();
        let begun = self.begin(target, opening, || Sink::Ask(answer))?;
        Ok((begun, answered))
    }

    /// A call with streams.
    pub(in crate::remote) fn open(
        &self,
        target: &Arc<Target>,
        opening: &Opening<'_>,
    ) -> Result<(Begun, mpsc::UnboundedReceiver<Replied>, Arc<Notify>), Blocked> {
        let (replies, replied) = mpsc::unbounded_channel();
        let sending = Sending::default();
        let room = Arc::clone(&sending.room);
        let begun = self.begin(target, opening, || Sink::Stream {
            replies,
            once: !opening.shape.streams_replies(),
            uncredited: 0,
            sending,
        })?;
        Ok((begun, replied, room))
    }

    pub(super) fn begin(
        &self,
        target: &Arc<Target>,
        opening: &Opening<'_>,
        sink: impl FnOnce() -> Sink,
    ) -> Result<Begun, Blocked> {
        let &Opening { shape, body, along, deadline } = opening;
        let mut state = self.state();
        let along = state.sayable(along);
        let along = along.as_deref();
        let (number, cost) = self.admit(&mut state, target, body.len(), along)?;
        let epoch = state.epoch.ok_or(Blocked::NoLink)?;
        let streams = shape != Shape::Ask;
        if streams && state.streams_out >= state.limits.calls {
            return Err(Blocked::Full);
        }
        state.streams_out += usize::from(streams);
        state.out.begins(number, cost);
        let call = state.next_call;
        state.next_call += 1;
        state.calls.insert(call, Pending { target: number, cost, streams, deadline, sink: sink() });
        let keys = [Some(Key::Target(number)), Some(Key::Call(call))];
        self.put(
            &mut state,
            keys,
            &Item::Call { call, target: number, shape, body },
            along,
            body.len(),
        );
        if deadline.is_some() {
            self.start_clock(&mut state);
        }
        Ok(Begun { call, epoch })
    }

    /// Looks whether there is a link with room for one more message, and says what the target is
    /// called there.
    #[inline]
    pub(super) fn admit(
        &self,
        state: &mut State,
        target: &Arc<Target>,
        bytes: usize,
        along: Option<&Along>,
    ) -> Result<(u32, u64), Blocked> {
        if let Some(error) = &state.closed {
            return Err(Blocked::Never(Box::new(error.clone())));
        }
        let Some(epoch) = state.epoch else { return Err(Blocked::NoLink) };
        let (cost, number) = (cost(bytes) + cost_along(along), Self::number(state, target, epoch));
        if !state.out.has_room(number, cost) || state.out.queue.bytes() > QUEUE_LIMIT {
            return Err(Blocked::Full);
        }
        Ok((number, cost))
    }

    /// Returns the target's number on this link.
    #[inline]
    fn number(state: &mut State, target: &Arc<Target>, epoch: u64) -> u32 {
        let marked = (epoch & 0xffff_ffff) << 32;
        let known = target.number.load(Ordering::Relaxed);
        if known & !0xffff_ffff == marked {
            known as u32
        } else {
            Self::bind(state, target, marked)
        }
    }

    #[cold]
    pub(super) fn bind(state: &mut State, target: &Arc<Target>, marked: u64) -> u32 {
        let number = state.out.name(&target.name, &target.message, target.version);
        state.bound.push(Arc::clone(target));
        target.number.store(marked | u64::from(number), Ordering::Relaxed);
        number
    }

    /// Says a letter on this link, whose window bounds how many; `false` if it is not the link any
    /// more. `what`: the seconds that it is worth handing over, and its body; without, it is asked what has become of it.
    pub(in crate::remote) fn say_letter(
        &self,
        epoch: u64,
        target: &Arc<Target>,
        (log, number, before): ([u8; 16], u64, u64),
        what: Option<(u64, &[u8])>,
        along: Option<&Along>,
    ) -> bool {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return false;
        }
        let target = Self::number(&mut state, target, epoch);
        let (expires, body) = what.unwrap_or_default();
        let item = Item::Deliver { log, number, before, target, expires, body };
        let along = state.sayable(along);
        let keys = [Some(Key::Letters), None];
        self.put(&mut state, keys, &item, along.as_deref(), body.len());
        true
    }

    pub(super) fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.pump_sleeps) {
            self.filled.notify_one();
        }
    }

    /// One more request of a call.
    pub(in crate::remote) fn request(&self, begun: &Begun, body: &[u8]) -> Result<(), Blocked> {
        let mut state = self.state();
        let gone = || {
            let text = format!("{} takes no more requests of this call", self.peer_name);
            Blocked::Never(Box::new(RemoteError::new(RemoteErrorKind::Cancelled, text)))
        };
        if state.epoch != Some(begun.epoch) {
            return Err(Blocked::Never(Box::new(self.lost("the call's link is gone"))));
        }
        let (full, window) = (state.out.queue.bytes() > QUEUE_LIMIT, state.limits.window);
        let Some(Pending { sink: Sink::Stream { sending, .. }, .. }) =
            state.calls.get_mut(&begun.call)
        else {
            return Err(gone());
        };
        if full || !sending.take(cost(body.len()), window) {
            return Err(Blocked::Full);
        }
        let call = begun.call;
        self.put(
            &mut state,
            [Some(Key::Call(call)), None],
            &Item::Request { call, body },
            None,
            body.len(),
        );
        Ok(())
    }

    /// No more requests.
    pub(in crate::remote) fn end_requests(&self, begun: &Begun) {
        let mut state = self.state();
        if state.epoch == Some(begun.epoch) && state.calls.contains_key(&begun.call) {
            self.put(
                &mut state,
                [Some(Key::Call(begun.call)), None],
                &Item::RequestsEnd { call: begun.call },
                None,
                0,
            );
        }
    }

    /// So much of what came in reply was handled.
    pub(in crate::remote) fn credit_replies(&self, begun: &Begun, cost: u64) {
        let mut state = self.state();
        if state.epoch != Some(begun.epoch) {
            return;
        }
        if let Some(Pending { sink: Sink::Stream { uncredited, .. }, .. }) =
            state.calls.get_mut(&begun.call)
        {
            *uncredited = uncredited.saturating_sub(cost);
            state.out.queue.put(
                [None, None],
                &Item::Credit { call: begun.call, of_requests: false, cost },
                None,
                0,
            );
            self.wake(&mut state);
        }
    }

    /// Nobody waits for the answer any more.
    pub(in crate::remote) fn cancel(&self, begun: &Begun) {
        let mut state = self.state();
        if state.epoch != Some(begun.epoch) {
            return;
        }
        if let Some(pending) = state.calls.get_mut(&begun.call)
            && !matches!(pending.sink, Sink::Over { .. })
        {
            if let Sink::Stream { replies, sending, .. } = pending.sink.give_up() {
                let _ = replies.send(Err(RemoteError::new(
                    RemoteErrorKind::Cancelled,
                    "this side gave the call up",
                )));
                sending.room.notify_waiters();
            }
            pending.deadline = None;
            self.put(
                &mut state,
                [Some(Key::Call(begun.call)), None],
                &Item::Cancel { call: begun.call },
                None,
                0,
            );
        }
    }
}
