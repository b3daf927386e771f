//! Waiting for a link, or for room.

use super::*;

impl Exchange {
    /// Puts something in as soon as `put` can: waits for a link, and, with `patient`, for room.
    pub(in crate::remote) async fn when_possible<T>(
        &self,
        room: &Notify,
        patient: bool,
        deadline: Option<Deadline>,
        mut put: impl FnMut() -> Result<T, Blocked>,
    ) -> Result<T, RemoteError> {
        match put() {
            Ok(done) => return Ok(done),
            Err(Blocked::Never(error)) => return Err(*error),
            Err(Blocked::Full) if !patient => return Err(self.full()),
            Err(Blocked::Full | Blocked::NoLink) => {}
        }
        let _waiting = self.wait();
        let before = self.state().given_up.0;
        let mut sought = false;
        loop {
            let (has_room, has_changed) = (room.notified(), self.changed.notified());
            let mut late: fn(&Self, Duration) -> RemoteError = Self::too_late;
            match put() {
                Ok(done) => return Ok(done),
                Err(Blocked::Never(error)) => return Err(*error),
                Err(Blocked::Full) if !patient => return Err(self.full()),
                Err(Blocked::Full) => {}
                Err(Blocked::NoLink) => {
                    let state = self.state();
                    if let (true, Some(why)) = (state.given_up.0 != before, &state.given_up.1) {
                        return Err(why.clone());
                    }
                    drop(state);
                    // Once for each who waits: the clock goes on seeking for all of them.
                    if !std::mem::replace(&mut sought, true) {
                        (self.connect)();
                    }
                    late = Self::not_there;
                }
            }
            if let Some(deadline) = deadline
                .filter(|deadline| deadline.until.is_some_and(|until| until <= Instant::now()))
            {
                return Err(late(self, deadline.after));
            }
            tokio::select! {
                () = has_room => {}
                () = has_changed => {}
            }
        }
    }

    /// Returns the error for something that can't wait and was not sent.
    pub(in crate::remote) fn blocked(&self, blocked: Blocked) -> RemoteError {
        match blocked {
            Blocked::Never(error) => *error,
            Blocked::Full => self.full(),
            Blocked::NoLink => {
                (self.connect)();
                RemoteError::new(
                    RemoteErrorKind::Unreachable,
                    format!("there is no link to {} now; one is being sought", self.peer_name),
                )
            }
        }
    }

    /// A message that had to wait could not be sent.
    pub(in crate::remote) fn undelivered_here(&self, target: &Target, error: RemoteError) {
        self.tell_undelivered(target, 1, error);
    }

    pub(super) fn wait(&self) -> Waiting<'_> {
        let mut state = self.state();
        state.waiting += 1;
        self.start_clock(&mut state);
        Waiting(self)
    }

    pub(super) fn full(&self) -> RemoteError {
        RemoteError::new(
            RemoteErrorKind::Full,
            format!(
                "nothing was sent: {} has as many messages to handle as may wait; try again later",
                self.peer_name
            ),
        )
    }

    fn not_there(&self, after: Duration) -> RemoteError {
        let text = format!(
            "{} could not be reached within {after:?}, and was sent nothing: is it running?",
            self.peer_name
        );
        RemoteError::new(RemoteErrorKind::Unreachable, text)
    }

    pub(super) fn too_late(&self, after: Duration) -> RemoteError {
        RemoteError::new(
            RemoteErrorKind::Deadline,
            format!("{} has not answered within {after:?}", self.peer_name),
        )
    }
}
