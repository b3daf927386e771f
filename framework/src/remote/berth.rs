//! The mailbox of an actor that its node runs.

use std::any::Any;
use std::sync::Arc;

use actix::Actor;

use super::error::{RemoteError, RemoteErrorKind};
use super::intake::{Intake, Take, Unfit};
use super::mailbox::{CallIn, Done, Mailbox};
use super::message::Schemas;
use super::serving::Traced;
use super::teller::Teller;
use crate::wire::message::Shape;

/// An actor that this node runs: what comes from other nodes is taken up in its own context, what
/// is local by its mailbox.
pub(crate) struct Berth<A: Actor> {
    /// The way by its mailbox.
    mailbox: Box<dyn Mailbox>,
    intake: Arc<Intake<A>>,
    take: Take<A>,
    /// Set if it takes streams, and only these.
    streams: bool,
    name: Arc<str>,
}

impl<A: Actor<Context = actix::Context<A>>> Berth<A> {
    /// For what is one message and one answer at most.
    pub(crate) fn new(
        mailbox: impl Mailbox + 'static,
        intake: &Arc<Intake<A>>,
        take: Take<A>,
        name: &Arc<str>,
    ) -> Self {
        Self {
            mailbox: Box::new(mailbox),
            intake: Arc::clone(intake),
            take,
            streams: false,
            name: Arc::clone(name),
        }
    }

    /// For streams.
    pub(crate) fn streaming(self) -> Self {
        Self { streams: true, ..self }
    }
}

impl<A: Actor<Context = actix::Context<A>>> Mailbox for Berth<A> {
    fn message(&self) -> &'static str {
        self.mailbox.message()
    }

    fn version(&self) -> u32 {
        self.mailbox.version()
    }

    fn streams(&self) -> bool {
        self.streams
    }

    fn schemas(&self) -> Option<&'static Schemas> {
        self.mailbox.schemas()
    }

    fn is_alive(&self) -> bool {
        self.mailbox.is_alive() && self.intake.is_open()
    }

    fn why_dead(&self, name: &str) -> RemoteError {
        self.mailbox.why_dead(name)
    }

    fn as_any(&self) -> &dyn Any {
        self.mailbox.as_any()
    }

    fn tell(
        &self,
        body: &[u8],
        teller: &Teller,
        traced: Option<&Traced>,
    ) -> Result<(), RemoteError> {
        self.tell_all(&[body], teller, traced)
    }

    fn tell_all(
        &self,
        bodies: &[&[u8]],
        teller: &Teller,
        traced: Option<&Traced>,
    ) -> Result<(), RemoteError> {
        if self.streams {
            return self.mailbox.tell_all(bodies, teller, traced);
        }
        if self.intake.tell(self.take, bodies, teller, traced) {
            Ok(())
        } else {
            Err(self.why_dead(&self.name))
        }
    }

    fn tell_confirmed(
        &self,
        body: &[u8],
        done: Done,
        traced: Option<&Traced>,
    ) -> Result<(), RemoteError> {
        self.mailbox.tell_confirmed(body, done, traced)
    }

    fn confirms(&self) -> bool {
        true
    }

    fn confirm(&self, teller: &Teller, done: Done) {
        self.intake.confirm(self.take, teller, done);
    }

    fn call(&self, body: &[u8], call: CallIn) {
        if !self.streams && call.shape != Shape::Ask {
            return self.mailbox.call(body, call);
        }
        match self.intake.call(self.take, body, call) {
            Ok(()) => {}
            Err((call, Unfit::Dead)) => call.served.fail(&self.why_dead(&self.name)),
            Err((call, Unfit::Full)) => {
                let text = format!(
                    "it was not handled: too much waits for the actor {:?}; ask it less at a time, \
                     or later",
                    self.name
                );
                call.served.fail(&RemoteError::new(RemoteErrorKind::Full, text));
            }
        }
    }
}
