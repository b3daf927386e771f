//! Deadlines.

use super::*;

impl Exchange {
    pub(super) fn start_clock(&self, state: &mut State) {
        if !std::mem::replace(&mut state.clock_runs, true) {
            self.clock.notify_one();
        }
    }

    /// Looks at deadlines while there are any. Runs as long as the node.
    pub(crate) async fn run_clock(&self) {
        loop {
            self.clock.notified().await;
            loop {
                tokio::time::sleep(TICK).await;
                if !self.tick(Instant::now()) {
                    break;
                }
            }
        }
    }

    pub(super) fn tick(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.waiting > 0 {
            self.changed.notify_waiters();
            if state.epoch.is_none() {
                self.seek_link();
            }
        }
        let mut late = Vec::new();
        for (&call, pending) in &mut state.calls {
            let Some(deadline) = &mut pending.deadline else { continue };
            deadline.until = deadline.until.or_else(|| now.checked_add(deadline.after));
            match deadline.until {
                Some(until) if until <= now => late.push(call),
                Some(_) => {}
                // Beyond the end of time.
                None => pending.deadline = None,
            }
        }
        for call in late {
            let Some(pending) = state.calls.get_mut(&call) else { continue };
            let after = pending.deadline.take().map_or(Duration::ZERO, |deadline| deadline.after);
            match pending.sink.give_up() {
                Sink::Ask(answer) => drop(answer.send(Err(self.too_late(after)))),
                Sink::Stream { replies, sending, .. } => {
                    let _ = replies.send(Err(self.too_late(after)));
                    sending.room.notify_waiters();
                }
                Sink::Over { .. } => continue,
            }
            self.put(&mut state, [Some(Key::Call(call)), None], &Item::Cancel { call }, None, 0);
        }
        state.clock_runs =
            state.waiting > 0 || state.calls.values().any(|pending| pending.deadline.is_some());
        state.clock_runs
    }
}
