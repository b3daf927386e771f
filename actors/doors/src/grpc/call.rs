//! One call of a client, carried to an actor and back.
//!
//! Invariants: nothing is read of a body while the actor has no room for it, and nothing of its
//! replies while the client takes none. Requests that break off are never finished. Whoever drops
//! the answers cancels the call.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use estafette::remote::{Handled, Presence, RemoteError, RemoteErrorKind};
use futures_util::stream::{Stream, StreamExt, once};
use tokio::task::JoinHandle;
use tonic::{Code, Status, Streaming};

use super::body::Meter;
use super::deadline::Deadline;
use super::ending::{Answers, no_longer, until};
use super::form::Form;
use super::method::Way;
use super::status::{self, not_handled};
use super::target::{Replies, Sending, Target};
use crate::room::Held;
use crate::shared::Shared;
use crate::{Access, Pass, Reached, Refusal};

/// The longest wait for a link.
const LINK_WITHIN: Duration = Duration::from_secs(3);
/// The longest wait for room for one more call with streams.
const ROOM_WITHIN: Duration = Duration::from_secs(1);
/// The longest that a message may take from its first byte to its last.
const MESSAGE_WITHIN: Duration = Duration::from_secs(30);

/// A call that is to be made.
pub(super) struct Calling {
    pub(super) access: Access,
    pub(super) shared: Arc<Shared>,
    pub(super) pass: Pass,
    /// The node that is called.
    pub(super) peer: Reached,
    pub(super) target: Target,
    pub(super) form: Form,
    pub(super) way: Way,
    pub(super) deadline: Option<Deadline>,
    pub(super) meter: Arc<Meter>,
}

impl Calling {
    pub(super) async fn make(mut self, mut requests: Requests) -> Result<Answers, Status> {
        match self.way {
            Way::Ask => {
                // Before what may be long is read, and held while a link is waited for.
                self.reachable().await?;
                let body = self.only(&mut requests).await?;
                self = self.in_time();
                let answer = self.target.ask(body).await.map_err(|error| status::of(&error))?;
                only_answer(self.form.reply(answer)?, &self.meter)
            }
            Way::Download => {
                self.reachable().await?;
                let body = self.only(&mut requests).await?;
                self = self.in_time();
                let (replies, place) = self.with_room(self.target.download(body)).await?;
                Ok(self.while_admitted(answers(&self.form, replies, (Pumping::none(), place))))
            }
            Way::Upload => {
                self.reachable().await?;
                self = self.in_time();
                let ((sending, mut replies), _place) = self.with_room(self.target.upload()).await?;
                // The actor may have enough before the client has said all.
                let answer = {
                    let pump = pump(&self.form, &mut requests, sending);
                    let ended = self.ended();
                    tokio::pin!(pump, ended);
                    let mut pumping = true;
                    loop {
                        tokio::select! {
                            biased;
                            refusal = &mut ended => return Err(no_longer(refusal)),
                            pumped = &mut pump, if pumping => { pumped?; pumping = false; }
                            answer = replies.next() => break answer,
                        }
                    }
                };
                let answer = answer.unwrap_or_else(|| Err(no_answer()));
                let answer = answer.map_err(|error| status::of(&error))?;
                only_answer(self.form.reply(answer)?, &self.meter)
            }
            Way::Open => {
                self.reachable().await?;
                self = self.in_time();
                let ((sending, replies), place) = self.with_room(self.target.open()).await?;
                let pumping = Pumping::spawn(self.form.clone(), requests, sending, self.ended());
                Ok(self.while_admitted(answers(&self.form, replies, (pumping, place))))
            }
        }
    }

    /// The actor has the time that is left now.
    pub(super) fn in_time(mut self) -> Self {
        if let Some(deadline) = self.deadline {
            self.target = self.target.within(deadline.left());
        }
        self
    }

    /// The one request of a call that has one.
    pub(super) async fn only(&self, requests: &mut Requests) -> Result<Bytes, Status> {
        self.form.request(requests.only(self.deadline).await?)
    }

    /// Returns once there is a link; an error, if none comes soon: nothing was sent then.
    pub(super) async fn reachable(&self) -> Result<(), Status> {
        let mut watch = self
            .access
            .node()
            .watch(&self.peer.peer.to_string())
            .map_err(|error| status::of(&error))?;
        let limit = self.deadline.map_or(LINK_WITHIN, |deadline| deadline.left().min(LINK_WITHIN));
        let up = async {
            loop {
                match watch.now() {
                    Presence::Up => break,
                    Presence::Down { kind } if !may_come(*kind) => break,
                    Presence::Down { .. } => _ = watch.changed().await,
                }
            }
        };
        tokio::time::timeout(limit, up).await.map_err(|_| {
            let text = format!(
                "there is no link to {} now, and none came within {limit:?}: is it running?",
                self.peer.peer_name
            );
            status::of(&RemoteError::new(RemoteErrorKind::Unreachable, text))
        })
    }

    /// Begins a call with streams, of which a peer takes so many at a time, and so many of one
    /// token; with it, its place among those of the token.
    async fn with_room<T>(
        &self,
        begin: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<(T, Held), Status> {
        let (peer, token) = (&self.peer.peer_name, &self.pass.name);
        let place = self.shared.call(self.peer.peer, token).ok_or_else(|| {
            let text = "has as many calls with streams at";
            status::full(&format!("the token {token:?} {text} {peer} as one may"))
        })?;
        let text = format!("{peer} has as many calls with streams under way as it may");
        let begun = tokio::time::timeout(ROOM_WITHIN, begin)
            .await
            .map_err(|_| status::full(&text))?
            .map_err(|error| status::of(&error))?;
        Ok((begun, place))
    }

    /// Returns when its token is none any more.
    fn ended(&self) -> impl Future<Output = Refusal> + Send + use<> {
        let (tokens, pass) = (self.access.tokens().clone(), self.pass.clone());
        async move { tokens.ended(&pass).await }
    }

    /// Answers until the token is none any more. The time of the call, the actor's end knows.
    fn while_admitted(&self, answers: Answers) -> Answers {
        until(answers, None, Box::pin(self.ended()))
    }
}

/// Returns `true` if a node that is not there may still come: else the call says what is wrong.
fn may_come(kind: RemoteErrorKind) -> bool {
    use RemoteErrorKind::{LinkLost, ShuttingDown, Unreachable};
    matches!(kind, LinkLost | ShuttingDown | Unreachable)
}

pub(super) fn too_late() -> Status {
    let text = "its time was over before the request was whole";
    not_handled(Code::DeadlineExceeded, "DEADLINE", text)
}

fn no_answer() -> RemoteError {
    RemoteError::new(RemoteErrorKind::BadReply, "the actor ended the call without an answer")
}

fn slow(text: &str, handled: Handled) -> Status {
    let text = format!("{text} after {MESSAGE_WITHIN:?}");
    status::after(&not_handled(Code::DeadlineExceeded, "SLOW", &text), handled)
}

/// The requests of a client.
pub(super) struct Requests {
    messages: Streaming<Bytes>,
    meter: Arc<Meter>,
    /// The answer to whether an actor has handled what came, where no more comes.
    handled: Handled,
    /// One that was looked at, and is to be given again.
    again: Option<Bytes>,
}

impl Requests {
    pub(super) fn new(messages: Streaming<Bytes>, meter: &Arc<Meter>, streams: bool) -> Self {
        let handled = if streams { Handled::Unknown } else { Handled::No };
        Self { messages, meter: Arc::clone(meter), handled, again: None }
    }

    /// The first one, within the time of the call.
    pub(super) async fn first(&mut self, deadline: Option<Deadline>) -> Result<Bytes, Status> {
        let first = tokio::select! {
            first = self.next() => first?,
            () = Deadline::passed(deadline) => return Err(too_late()),
        };
        first.ok_or_else(|| not_handled(Code::InvalidArgument, "REQUESTS", "there is no request"))
    }

    /// The one request of a call that has one, within the time of that.
    pub(super) async fn only(&mut self, deadline: Option<Deadline>) -> Result<Bytes, Status> {
        let only = async {
            let wrong = |text| not_handled(Code::InvalidArgument, "REQUESTS", text);
            let none = || wrong("this method takes one request, and there was none");
            let first = self.next().await?.ok_or_else(none)?;
            let more = tokio::time::timeout(MESSAGE_WITHIN, self.next()).await;
            if more.map_err(|_| slow("the request has no end", Handled::No))??.is_some() {
                return Err(wrong("this method takes one request, and there were more"));
            }
            Ok(first)
        };
        tokio::select! {
            only = only => only,
            () = Deadline::passed(deadline) => Err(too_late()),
        }
    }

    /// Gives a request once more.
    pub(super) fn put_back(&mut self, request: Bytes) {
        self.again = Some(request);
    }

    /// The next one; `None` when the client has said that there are no more.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if let Some(again) = self.again.take() {
            return Ok(Some(again));
        }
        let mut before = None;
        loop {
            let next = poll_fn(|cx| Pin::new(&mut self.messages).poll_next(cx));
            let Ok(next) = tokio::time::timeout(MESSAGE_WITHIN, next).await else {
                // Of a message that has begun, it is the second time.
                let begun = self.meter.begun();
                if begun.is_some() && begun == before {
                    return Err(slow("a message of the request is not whole", self.handled));
                }
                before = begun;
                continue;
            };
            return match next {
                Some(Ok(message)) => {
                    self.meter.whole(HEAD + message.len());
                    Ok(Some(message))
                }
                Some(Err(wrong)) => Err(status::of_request(&wrong, self.handled)),
                // A stream that was reset passes for one that ended.
                None if self.meter.broke() => Err(status::broke_off(self.handled)),
                None => Ok(None),
            };
        }
    }
}

/// The length of what stands before each message, in bytes.
const HEAD: usize = 5;

/// Gives requests to an actor, as it takes them; finishes if the client does.
async fn pump(form: &Form, requests: &mut Requests, mut sending: Sending) -> Result<(), Status> {
    if give(form, requests, &mut sending).await? {
        sending.finish();
    }
    Ok(())
}

/// Gives requests to an actor. Returns true if the client has said that there are no more, false if
/// the call is over already.
async fn give(form: &Form, requests: &mut Requests, sending: &mut Sending) -> Result<bool, Status> {
    while let Some(message) = requests.next().await? {
        let message =
            form.request(message).map_err(|wrong| status::after(&wrong, requests.handled))?;
        match sending.send(message).await {
            Ok(()) => {}
            Err(error) if error.kind == RemoteErrorKind::Unencodable => {
                return Err(status::of(&error));
            }
            // Its replies say why.
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// A task that pumps, since a client that reads no answers may go on sending requests.
struct Pumping {
    task: Option<JoinHandle<()>>,
    /// The reason why it gave the call up.
    why: Arc<OnceLock<Status>>,
}

impl Pumping {
    fn none() -> Self {
        Self { task: None, why: Arc::default() }
    }

    /// Gives requests until there are no more, or the token is none any more: nobody asks for
    /// answers, and so sees its end, while a client takes none.
    fn spawn(
        form: Form,
        mut requests: Requests,
        mut sending: Sending,
        ended: impl Future<Output = Refusal> + Send + 'static,
    ) -> Self {
        let why = Arc::<OnceLock<Status>>::default();
        let noted = Arc::clone(&why);
        let task = tokio::spawn(async move {
            let given = tokio::select! {
                biased;
                refusal = ended => Err(no_longer(refusal)),
                given = give(&form, &mut requests, &mut sending) => given,
            };
            match given {
                Ok(true) => sending.finish(),
                Ok(false) => {}
                // Noted before the call is given up, by what is dropped here.
                Err(status) => drop(noted.set(status)),
            }
        });
        Self { task: Some(task), why }
    }
}

impl Drop for Pumping {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// One answer, and its status.
pub(super) fn only_answer(answer: Bytes, meter: &Meter) -> Result<Answers, Status> {
    if !meter.answer(answer.len()) {
        return Err(status::untaken());
    }
    Ok(once(async { Ok(answer) }).chain(once(async { Err(status::success()) })).boxed())
}

/// The replies of a call, then its status.
fn answers(form: &Form, replies: Replies, with: (Pumping, Held)) -> Answers {
    let (form, mut open) = (form.clone(), Some((replies, with)));
    // No future for each: there may be millions.
    futures_util::stream::poll_fn(move |cx| {
        let Some((replies, (pumping, _))) = &mut open else { return Poll::Ready(None) };
        let answer = match ready!(replies.poll_next(cx)) {
            Some(Ok(reply)) => form.reply(reply),
            Some(Err(error)) => {
                let why = pumping.why.get().filter(|_| error.kind == RemoteErrorKind::Cancelled);
                Err(why.cloned().unwrap_or_else(|| status::of(&error)))
            }
            None => Err(status::success()),
        };
        if answer.is_err() {
            open = None;
        }
        Poll::Ready(Some(answer))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use axum::body::Body;
    use futures_util::stream::iter;
    use tokio::time::{Instant, sleep};

    use super::super::body::Metered;
    use super::super::codec::AsTheyAre;
    use super::*;

    /// Requests whose bytes come one by one, with such a wait before each.
    fn requests(bytes: &'static [u8], wait: Duration, streams: bool) -> Requests {
        let frames = iter(bytes.chunks(1)).then(move |byte| async move {
            sleep(wait).await;
            Ok::<_, std::io::Error>(byte)
        });
        let meter = Meter::of(&Arc::default(), "till", false);
        let body = Body::from_stream(frames.chain(futures_util::stream::pending()));
        let metered = Metered { body, meter: Arc::clone(&meter), web: None };
        let messages = Streaming::new_request(AsTheyAre, metered, None, None);
        Requests::new(messages, &meter, streams)
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_byte_by_byte_is_given_up_and_a_stream_that_is_quiet_is_not() {
        for (streams, handled) in [(false, "no"), (true, "unknown")] {
            let start = Instant::now();
            let bytes = b"\0\0\0\0\x64and so on, for a hundred bytes";
            let mut slow = requests(bytes, Duration::from_secs(1), streams);
            let status = slow.next().await.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
            assert_eq!(status.metadata().get(crate::HANDLED).unwrap(), handled);
            assert!(start.elapsed() <= 2 * MESSAGE_WITHIN, "{:?}", start.elapsed());
        }

        let mut whole = requests(b"\0\0\0\0\x03one\0\0\0\0\x03two", Duration::from_secs(3), false);
        assert_eq!(whole.next().await.unwrap().unwrap(), "one");
        assert_eq!(whole.next().await.unwrap().unwrap(), "two", "a message has its own time");
        // Nothing has begun, for as long as it likes.
        let day = sleep(Duration::from_secs(24 * 3600));
        tokio::select! {
            next = whole.next() => panic!("{next:?}"),
            () = day => {}
        }
    }
}
