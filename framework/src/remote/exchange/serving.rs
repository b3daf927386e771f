//! The answers to calls from the peer.

use super::*;

impl State {
    fn no_longer_served(&mut self, served: &Served) {
        self.served_cost -= served.cost;
        self.streams_in -= usize::from(served.streams);
    }

    /// Returns what is told of an error: little, when the peer does not read what it is told.
    fn words<'a>(&self, error: &'a RemoteError) -> &'a str {
        if self.out.queue.bytes() > ANSWERS_LIMIT {
            "too much waits for the link to say why"
        } else {
            &error.message
        }
    }
}

impl Served {
    /// It is over: requests that still come are not kept, and those that did must not pass for all.
    fn break_off(&self) {
        if let Some(requests) = &self.requests {
            let text = "the call was answered before its last request came";
            let _ = requests.send(Err(RemoteError::new(RemoteErrorKind::Cancelled, text)));
        }
    }
}

impl Exchange {
    /// A call has come. `Err`: the peer has more of them under way than it may.
    pub(in crate::remote) fn serve(
        &self,
        epoch: u64,
        call: u64,
        cost: u64,
        requests: Option<mpsc::UnboundedSender<Requested>>,
        streams_replies: bool,
    ) -> Result<Option<Arc<Notify>>, String> {
        let mut state = self.state();
        let replies = streams_replies.then(Sending::default);
        let room = replies.as_ref().map(|replies| Arc::clone(&replies.room));
        if state.epoch != Some(epoch) {
            // Its handler may get it all the same: it must not take no requests for all there are.
            if let Some(requests) = requests {
                let _ = requests.send(Err(self.lost("it was gone before the call was handled")));
            }
            return Ok(room);
        }
        state.served_cost += cost;
        if state.served_cost
            > LINK_WINDOW + ITEM_LIMIT as u64 + EACH + TRACE + ON_BEHALF_LIMIT as u64
        {
            return Err("more calls than it has credit for".into());
        }
        let streams = streams_replies || requests.is_some();
        state.streams_in += usize::from(streams);
        let most = state.limits.calls;
        if state.streams_in > most {
            return Err(format!("more than {most} calls with streams"));
        }
        let served = Served { cost, streams, requests, uncredited: 0, replies, gone: None };
        match state.served.insert(call, served) {
            None => Ok(room),
            Some(_) => Err(format!("two calls with the number {call}")),
        }
    }

    /// Counts calls to here that were given up.
    pub(in crate::remote) fn given_up_calls(&self) -> u64 {
        self.given_up_calls.load(Ordering::Acquire)
    }

    /// Returns `true` if somebody still waits for the answer to a call.
    pub(in crate::remote) fn is_served(&self, epoch: u64, call: u64) -> bool {
        let state = self.state();
        state.epoch == Some(epoch) && state.served.contains_key(&call)
    }

    /// Returns when nobody waits for the answer to a call any more: it was given, the caller gave
    /// it up, or the link is gone.
    pub(in crate::remote) async fn served_to_the_end(&self, epoch: u64, call: u64) {
        let mut gone = {
            let mut state = self.state();
            if state.epoch != Some(epoch) {
                return;
            }
            let Some(served) = state.served.get_mut(&call) else { return };
            served.gone.get_or_insert_with(|| watch::channel(()).0).subscribe()
        };
        while gone.changed().await.is_ok() {}
    }

    /// The one answer, or the last word, of a call to here. Nothing, where the call is over
    /// already.
    pub(in crate::remote) fn answer(
        &self,
        epoch: u64,
        call: u64,
        answer: Result<&[u8], &RemoteError>,
    ) {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return;
        }
        let Some(served) = state.served.remove(&call) else { return };
        state.no_longer_served(&served);
        served.break_off();
        let keys = [Some(Key::Served(call)), None];
        match answer {
            Ok(body) if state.out.queue.bytes() + body.len() <= ANSWERS_LIMIT => {
                self.put(&mut state, keys, &Item::Reply { call, body }, None, body.len());
            }
            Ok(_) => {
                let text = "it was handled, but too many answers wait for the link: ask for less \
                            at a time";
                self.put(
                    &mut state,
                    keys,
                    &Item::Failed { call, code: RemoteErrorKind::Full.code(), text },
                    None,
                    text.len(),
                );
            }
            Err(error) => {
                let (code, text) = (error.kind.code(), state.words(error));
                self.put(&mut state, keys, &Item::Failed { call, code, text }, None, text.len());
            }
        }
    }

    /// Bytes that wait for the peer to read.
    pub(crate) fn unread(&self) -> usize {
        self.state().out.queue.bytes()
    }

    /// Returns what is told of an error.
    pub(in crate::remote) fn words<'a>(&self, error: &'a RemoteError) -> &'a str {
        self.state().words(error)
    }

    /// One more reply of a call to here.
    pub(in crate::remote) fn reply(
        &self,
        epoch: u64,
        call: u64,
        body: &[u8],
    ) -> Result<(), Blocked> {
        let mut state = self.state();
        let (full, window) = (state.out.queue.bytes() > QUEUE_LIMIT, state.limits.window);
        let is_up = state.epoch == Some(epoch);
        let Some(served) = state.served.get_mut(&call).filter(|_| is_up) else {
            let text = format!("{} no longer waits for replies of this call", self.peer_name);
            return Err(Blocked::Never(Box::new(RemoteError::new(
                RemoteErrorKind::Cancelled,
                text,
            ))));
        };
        let cost = cost(body.len());
        if full || !served.replies.as_mut().is_some_and(|replies| replies.take(cost, window)) {
            return Err(Blocked::Full);
        }
        self.put(
            &mut state,
            [Some(Key::Served(call)), None],
            &Item::Reply { call, body },
            None,
            body.len(),
        );
        Ok(())
    }

    /// No more replies: the call is over.
    pub(in crate::remote) fn end_replies(&self, epoch: u64, call: u64) {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return;
        }
        if let Some(served) = state.served.remove(&call) {
            state.no_longer_served(&served);
            served.break_off();
            self.put(
                &mut state,
                [Some(Key::Served(call)), None],
                &Item::RepliesEnd { call },
                None,
                0,
            );
        }
    }

    /// So much of what was requested was handled.
    pub(in crate::remote) fn credit_requests(&self, epoch: u64, call: u64, cost: u64) {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return;
        }
        if let Some(served) = state.served.get_mut(&call) {
            served.uncredited = served.uncredited.saturating_sub(cost);
            state.out.queue.put(
                [None, None],
                &Item::Credit { call, of_requests: true, cost },
                None,
                0,
            );
            self.wake(&mut state);
        }
    }

    /// Returns `true` if more waits for the link than a peer that listens lets wait.
    pub(in crate::remote) fn is_swamped(&self) -> bool {
        self.state().out.queue.bytes() > ANSWERS_LIMIT
    }

    /// Says something that belongs to this link and costs nothing.
    pub(in crate::remote) fn say(&self, epoch: u64, item: &Item<'_>, body: usize) {
        let mut state = self.state();
        if state.epoch == Some(epoch) {
            state.out.queue.put([None, None], item, None, body);
            self.wake(&mut state);
        }
    }
}
