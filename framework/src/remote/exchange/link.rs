//! The link's side of an exchange: it comes and goes, and takes batches.

use super::*;

impl Exchange {
    /// The number of the next link; no two of one peer have the same, in all its sessions.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.links.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Says before a link is up whether its peer reads for whom messages are sent.
    pub(crate) fn says_on_behalf(&self, reads: bool) {
        self.state().on_behalf = reads;
    }

    /// A link is up that speaks messages; what takes batches for it runs on this thread.
    pub(crate) fn up(&self, epoch: u64) {
        let mut state = self.state();
        state.epoch = Some(epoch);
        state.home = Some(row::here());
        state.closed = None;
        state.pump_sleeps = false;
        let state = &mut *state;
        state
            .watches
            .iter_mut()
            .for_each(|(&id, watching)| Self::begin_watch(&mut state.out.queue, id, watching));
        self.changed.notify_waiters();
    }

    /// There is no link any more, or there will be none.
    pub(crate) fn down(&self, kind: RemoteErrorKind, why: &str) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.closed = None;
        if state.epoch.take().is_none() {
            return;
        }
        let tells = state.out.down();
        state.served_cost = 0;
        (state.streams_out, state.streams_in) = (0, 0);
        state.watches.values_mut().for_each(|watching| watching.tell(Presence::Down { kind }));
        let (calls, bound) = (std::mem::take(&mut state.calls), std::mem::take(&mut state.bound));
        let served = std::mem::take(&mut state.served);
        self.given_up_calls.fetch_add(1, Ordering::Release);
        let error = self.lost(why);
        for (_, pending) in calls {
            match pending.sink {
                Sink::Ask(answer) => drop(answer.send(Err(error.clone()))),
                Sink::Stream { replies, sending, .. } => {
                    let _ = replies.send(Err(error.clone()));
                    sending.room.notify_waiters();
                }
                Sink::Over { .. } => {}
            }
        }
        for (_, served) in served {
            if let Some(requests) = &served.requests {
                let _ = requests.send(Err(error.clone()));
            }
            if let Some(replies) = &served.replies {
                replies.room.notify_waiters();
            }
        }
        self.changed.notify_waiters();
        self.filled.notify_one();
        bound.iter().for_each(|target| target.room.notify_waiters());
        // Whoever is told of the tells may send.
        drop(guard);
        for (target, tells) in bound.into_iter().zip(tells).filter(|(_, tells)| *tells > 0) {
            self.tell_undelivered(&target, tells, error.clone());
        }
    }

    pub(super) fn lost(&self, why: &str) -> RemoteError {
        let text = format!(
            "the link to {} broke ({why}): whether the message was handled is not known",
            self.peer_name
        );
        RemoteError::new(RemoteErrorKind::LinkLost, text)
    }

    /// No link came about: whoever waits for one is told.
    pub(crate) fn give_up(&self, error: RemoteError) {
        let mut state = self.state();
        state.given_up = (state.given_up.0 + 1, Some(error));
        self.changed.notify_waiters();
    }

    /// There is a link, and no messages go by it: so it is for whoever sends some while it is up.
    pub(crate) fn close(&self, error: RemoteError) {
        let mut state = self.state();
        state
            .watches
            .values_mut()
            .for_each(|watching| watching.tell(Presence::Down { kind: error.kind }));
        state.closed = Some(error);
        self.changed.notify_waiters();
    }

    /// Waits until there is something to be said on this link; `false` when it is no longer the
    /// link.
    pub(crate) async fn filled(&self, epoch: u64) -> bool {
        loop {
            {
                let mut state = self.state();
                if state.epoch != Some(epoch) {
                    // Whoever waits for the next link must not lose this wake-up.
                    self.filled.notify_one();
                    return false;
                }
                if !state.out.queue.is_empty() {
                    return true;
                }
                state.pump_sleeps = true;
            }
            self.filled.notified().await;
        }
    }

    /// Gives the next batch for this link to `send`.
    pub(crate) fn take_batch<T>(&self, epoch: u64, send: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut state = self.state();
        if state.epoch != Some(epoch) {
            return None;
        }
        let was_full = state.out.queue.bytes() > QUEUE_LIMIT;
        let sent = state.out.queue.take(send);
        if was_full && state.waiting > 0 && state.out.queue.bytes() <= QUEUE_LIMIT {
            self.changed.notify_waiters();
        }
        sent
    }
}
