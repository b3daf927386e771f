//! An inbox that is a user's own actor.
//!
//! Invariant: of one delivery, one message is under way at a time, so the actor's pace bounds what
//! waits in its mailbox.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::prelude::SendError;
use actix::{Actor, Addr, Handler, Message, Recipient};
use bytes::Bytes;
use estafette::pipeline::{Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Summary};
use futures_util::future::BoxFuture;

/// The next bytes of a delivery. They are authentic, but until its [`ContentEnd`] nobody has
/// verified that the delivery is complete.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct ContentPart {
    /// The sender and its content; the same for all parts. `peer` and `transfer` together identify
    /// the delivery.
    pub offer: Arc<Offer>,
    /// The position of these bytes in the content: where the part before ended.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// All parts have come and were verified. The answer decides whether the delivery succeeds; an
/// error travels to the sender.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct ContentEnd {
    /// The sender and its content.
    pub offer: Arc<Offer>,
    /// Length and digest of the content.
    pub summary: Summary,
}

/// A delivery failed or was cancelled, perhaps before its first part: what came of it is to be
/// forgotten.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ContentAborted {
    /// The sender and its content.
    pub offer: Arc<Offer>,
    /// The cause, for a person.
    pub reason: String,
}

/// Hands deliveries to an actor. Made by [`ActorSink::inbox`].
#[derive(Clone)]
pub struct ActorInbox {
    parts: Recipient<ContentPart>,
    ends: Recipient<ContentEnd>,
    aborts: Recipient<ContentAborted>,
}

/// Hands one delivery to an actor, in order, and waits for the answer to each part before the next.
pub struct ActorSink {
    inbox: ActorInbox,
    offer: Arc<Offer>,
    position: u64,
    ended: bool,
}

impl ActorSink {
    /// An inbox whose deliveries go to `actor`. It gets those of several senders interleaved.
    pub fn inbox<A>(actor: Addr<A>) -> ActorInbox
    where
        A: Actor + Handler<ContentPart> + Handler<ContentEnd> + Handler<ContentAborted>,
        A::Context:
            ToEnvelope<A, ContentPart> + ToEnvelope<A, ContentEnd> + ToEnvelope<A, ContentAborted>,
    {
        Self::inbox_of(actor.clone().recipient(), actor.clone().recipient(), actor.recipient())
    }

    /// Like [`inbox`](Self::inbox), for messages that go to different actors.
    pub fn inbox_of(
        parts: Recipient<ContentPart>,
        ends: Recipient<ContentEnd>,
        aborts: Recipient<ContentAborted>,
    ) -> ActorInbox {
        ActorInbox { parts, ends, aborts }
    }

    async fn part(&mut self, offset: u64, bytes: Bytes) -> Result<(), SinkError> {
        if offset != self.position {
            let reason = format!("bytes at {offset} came when those at {} were due", self.position);
            return Err(SinkError::Refused(Refusal::new(reason)));
        }
        let length = bytes.len() as u64;
        let answer =
            self.inbox.parts.send(ContentPart { offer: self.offer.clone(), offset, bytes }).await;
        answer.map_err(gone)?.map_err(SinkError::Refused)?;
        self.position += length;
        Ok(())
    }

    async fn end(&mut self, summary: Summary) -> Result<Committed, SinkError> {
        let answer = self.inbox.ends.send(ContentEnd { offer: self.offer.clone(), summary }).await;
        answer.map_err(gone)?.map_err(SinkError::Refused)?;
        self.ended = true;
        Ok(Committed::default())
    }

    fn tell_aborted(&mut self, reason: &str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let aborted = ContentAborted { offer: self.offer.clone(), reason: reason.to_owned() };
        match self.inbox.aborts.try_send(aborted) {
            Ok(()) => {}
            Err(SendError::Closed(_)) => {
                tracing::debug!(
                    transfer = %self.offer.transfer,
                    "the actor is gone and need not know of the abort"
                )
            }
            // Others fill its mailbox: this one waits its turn, where there is something to wait
            // on.
            Err(SendError::Full(aborted)) => match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(self.inbox.aborts.send(aborted))),
                Err(_) => {
                    tracing::warn!(
                        transfer = %self.offer.transfer,
                        "the actor's mailbox is full: it is not told of the abort"
                    )
                }
            },
        }
    }
}

fn gone(error: actix::MailboxError) -> SinkError {
    SinkError::Gone(error.to_string())
}

impl Inbox for ActorInbox {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        if !self.parts.connected() || !self.ends.connected() {
            return Err(Refusal::for_now("the actor behind this inbox has stopped"));
        }
        Ok(Box::new(ActorSink {
            inbox: self.clone(),
            offer: Arc::new(offer.clone()),
            position: 0,
            ended: false,
        }))
    }
}

impl Sink for ActorSink {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.part(offset, bytes.clone()))
    }

    fn commit<'a>(
        &'a mut self,
        summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(self.end(*summary))
    }

    fn abort(&mut self, reason: &str) {
        self.tell_aborted(reason);
    }
}

impl Drop for ActorSink {
    fn drop(&mut self) {
        self.tell_aborted("the delivery was given up");
    }
}

impl std::fmt::Debug for ActorInbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActorInbox")
            .field("connected", &self.parts.connected())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ActorSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActorSink")
            .field("offer", &self.offer)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
