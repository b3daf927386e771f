//! Links come and go: dialling, replacing, losing, closing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{ActorContext, AsyncContext, Context, Handler, MessageResult, ResponseFuture};
use tokio::sync::oneshot;

use super::Session;
use super::lanes::LanePhase;
use super::signals::{Close, Drain, LinkUp, Retire, SessionIdle, StayConnected};
use crate::delivery::{Failure, FailureKind, receiving, sending};
use crate::node::dialling::{self, DialFailed, Hope, Tried};
use crate::node::door::at_the_door;
use crate::node::events::NodeEvent;
use crate::node::lane::Detach;
use crate::node::link::{LinkLost, LiveLink, NewLink};
use crate::node::link_failure::{refusal_kind, refusal_of_messages};
use crate::node::sessions::DialHints;
use crate::node::trust::Standing;
use crate::remote::RemoteErrorKind;
use crate::wire::{Control, RefuseReason, printable};

/// Two nodes may dial each other at the same moment; links closer together than this are such a
/// pair.
const SIMULTANEOUS: Duration = Duration::from_secs(3);
/// The time that links stay while the list of trusted peers can't be read; nobody new is let in.
const UNREADABLE_MOST: Duration = Duration::from_secs(10);
const BACKOFF_MOST: Duration = Duration::from_secs(5);
/// The last word to the other end of a link when a newer one of the same peer is there.
const REPLACED: &str = "a newer link of this peer took its place";
/// The same, where it is known that the newer one is of another process with the same key.
const TAKEN: &str = "another program with the key of this node has linked: stop one of the two, \
                     or give it a key of its own";
/// The longest wait for sinks that are about to commit when a session ends.
const LAST_COMMITS: Duration = Duration::from_secs(2);
/// So many dials in a row that were not answered are no accident: the node there is another one, or
/// another program.
const HOPELESS: u32 = 3;

impl Session {
    /// Dials the peer unless that is under way. `patience` ends in [`Session::look_at_the_clock`].
    pub(super) fn ensure_link(&mut self, ctx: &mut Context<Self>) {
        if self.link.is_some() || self.dialing || self.closing {
            return;
        }
        self.look_up_addresses();
        if self.addresses.is_empty() {
            return;
        }
        self.dialing = true;
        let (shared, peer, addresses, token) = (
            Arc::clone(&self.shared),
            self.peer,
            self.addresses.all().to_vec(),
            self.token.clone(),
        );
        let wait = self.backoff();
        self.attempts += 1;
        self.tried = Tried::default();
        let (session, tried) = (ctx.address(), self.tried.clone());
        actix::spawn(async move {
            tokio::time::sleep(wait).await;
            let at = Arc::clone(&shared);
            match at_the_door(&shared, move || async move {
                dialling::dial_any(&at, peer, &addresses, token.as_ref(), tried).await
            })
            .await
            {
                Some(Ok(link)) => session.do_send(LinkUp(Box::new(link))),
                Some(Err(failure)) => session.do_send(failure),
                None => {}
            }
        });
    }

    /// Takes over what was said since the last look of where the peer is: the session may have begun
    /// before anybody knew.
    fn look_up_addresses(&mut self) {
        let trusted = self.shared.trust.peer(&self.peer);
        self.addresses.say(trusted.map(|peer| peer.addresses).unwrap_or_default());
    }

    /// Exponential, with jitter so that nodes that lost the same peer do not come back in step.
    fn backoff(&self) -> Duration {
        let attempts = self.attempts.max(self.displaced);
        if attempts == 0 {
            return Duration::ZERO;
        }
        let whole = self
            .shared
            .config
            .backoff
            .saturating_mul(1 << (attempts - 1).min(10))
            .min(BACKOFF_MOST);
        let jitter = f64::from(crate::store::random32()[0]) / 255.0;
        whole.mul_f64(0.5 + jitter / 2.0)
    }

    pub(super) fn link_down(&mut self, why: &str) {
        let Some(link) = self.link.take() else { return };
        self.messages_down(why);
        drop((link, self.traffic.link_down()));
        tracing::info!(peer = %self.name, why, "link down");
        self.down_since = Instant::now();
        self.attempts = 0;
        self.lane_phases.fill(LanePhase::Down);
        self.withdraw_invitations();
        self.lanes.iter().for_each(|lane| lane.address.do_send(Detach));
        self.send(sending::Event::LinkDown);
        self.receive(receiving::Event::LinkDown);
        self.shared.emit(NodeEvent::LinkDown { peer: self.peer, reason: why.to_owned() });
        self.interrupt_all(why);
        if !self.draining.is_empty() && self.addresses.is_empty() {
            self.give_up_broken_off();
        }
    }

    /// Gives up on what has waited too long.
    pub(super) fn look_at_the_clock(&mut self, ctx: &mut Context<Self>) {
        self.look_at_the_trust(ctx);
        if self.closing {
            return;
        }
        let now = Instant::now();
        self.expire_outgoing(now);
        self.receive(receiving::Event::Time(now));
        self.look_for_dead_ends(ctx);
        self.suspend_stalled();
        self.put_off_stalled();
        if self.link.is_some() {
            self.drop_orphans();
            if !self.is_idle() {
                self.ensure_lanes();
            }
            return;
        }
        if self.stays && self.is_idle() {
            let patience = if self.ever_up {
                self.shared.config.reconnect_for
            } else {
                self.shared.config.dial_for
            };
            if self.down_since.elapsed() > patience {
                let text = self.unreachable_for(patience);
                self.messages_given_up(RemoteErrorKind::Unreachable, &text);
            }
            return self.ensure_link(ctx);
        }
        if self.is_idle() {
            // Nothing to do and nobody there: the next send or link makes a new session.
            if self.down_since.elapsed() > self.shared.config.reconnect_for && !self.dialing {
                self.owner.idle.do_send(SessionIdle {
                    peer: self.peer,
                    session: ctx.address(),
                    heard: self.heard,
                });
            }
            return;
        }
        let config = &self.shared.config;
        let patience = if self.ever_up { config.reconnect_for } else { config.dial_for };
        if self.down_since.elapsed() > patience {
            let text = self.unreachable_for(patience);
            self.messages_given_up(RemoteErrorKind::Unreachable, &text);
            self.fail_all(&Failure::new(FailureKind::Unreachable, text));
        } else {
            self.ensure_link(ctx);
        }
    }

    /// Ends all there is with a peer whose trust is over, or can't be known any more.
    fn look_at_the_trust(&mut self, ctx: &mut Context<Self>) {
        let (why, refuse) = match self.shared.trust.standing(&self.peer) {
            Standing::Unchanged => {
                self.was_trusted |= self.shared.trust.peer(&self.peer).is_some();
                return;
            }
            Standing::Expired => ("the trust in it has expired", RefuseReason::TrustExpired),
            Standing::Unreadable(time) if time > UNREADABLE_MOST => {
                let why = "the trust of this node can't be read, so nobody is trusted";
                (why, RefuseReason::Other(format!("{why} at the other end: try again later")))
            }
            Standing::Unreadable(_) => return,
        };
        // Who was never trusted in this session was dialled by a ticket.
        if self.was_trusted && !self.closing {
            let label = self.shared.trust.label(&self.peer);
            ctx.notify(Close { reason: format!("{label}: {why}"), refuse: Some(refuse) });
        }
    }

    pub(super) fn on_goodbye(&mut self, reason: &str) {
        let text = format!("{} closed the link: {}", self.name, printable(reason));
        if reason == REPLACED || reason == TAKEN {
            // By this node, which has made another one; or by a second one with its key, and then
            // each takes it from the other.
            let lasted = self.link.as_ref().is_some_and(|link| link.since.elapsed() > BACKOFF_MOST);
            self.displaced = if lasted { 0 } else { self.displaced.saturating_add(1) };
            if self.displaced >= HOPELESS || reason == TAKEN {
                self.shared.emit(NodeEvent::KeyShared { key: self.shared.peer(), link: self.peer });
                tracing::warn!(
                    peer = %self.name, times = self.displaced,
                    "another program with this node's key takes its link again and again: stop one \
                     of the two"
                );
            }
            return self.link_down(&text);
        }
        self.exchange.down(RemoteErrorKind::ShuttingDown, &text);
        self.link_down(&text);
    }

    pub(super) fn on_refuse(&mut self, reason: &RefuseReason) {
        let text = format!("{} refused the link: {reason}", self.name);
        self.messages_given_up(refusal_of_messages(reason), &text);
        self.link_down(&text);
        self.fail_all(&Failure::new(refusal_kind(reason), text));
    }

    /// Ends the link for a newer one, and tells whoever is at its other end.
    fn replace_link(&mut self) {
        if let Some(old) = &self.link {
            // What can't be said is lost with the link.
            let reason = if self.key_shared { TAKEN } else { REPLACED };
            let _ = old.say(Control::Goodbye { reason: reason.into() });
        }
        self.link_down(REPLACED);
    }

    /// Ends what comes from a sender that is not there, where this node stops: nobody waits for it
    /// in vain, and it was not this node that has cut it off.
    fn give_up_broken_off(&mut self) {
        if self.link.is_none() {
            let text = "its sender is not there, and this node stops; what has come of it is kept \
                        as far as it can be, for when both are back";
            let failure = Failure::new(FailureKind::Unreachable, text);
            for stream in self.incoming.keys().copied().collect::<Vec<_>>() {
                self.fail(stream, failure.clone());
            }
        }
    }

    fn fail_all(&mut self, failure: &Failure) {
        for stream in self.outgoing.keys().copied().collect::<Vec<_>>() {
            self.fail(stream, failure.clone());
        }
        for stream in self.incoming.keys().copied().collect::<Vec<_>>() {
            self.fail(stream, failure.clone());
        }
    }

    /// Says the last words on the link, if there is one.
    fn say_goodbye(&mut self, reason: &str) {
        self.say(Control::Goodbye { reason: reason.to_owned() });
        if let Some(link) = self.link.take() {
            self.send(sending::Event::LinkDown);
            self.receive(receiving::Event::LinkDown);
            self.flushing = Some(actix::spawn(link.flush()));
        }
    }

    /// Returns `true` if a new link takes the place of the one there is.
    fn replaces(&self, new: &NewLink) -> bool {
        let Some(old) = &self.link else { return true };
        if old.dialed == new.dialed || old.since.elapsed() > SIMULTANEOUS {
            return true;
        }
        // Both sides dialled at once: both keep the link that the lower id dialled.
        let lower_is_self = self.shared.peer() < self.peer;
        new.dialed == lower_is_self
    }
}

impl Handler<DialHints> for Session {
    type Result = ();

    fn handle(&mut self, DialHints { addresses, token }: DialHints, _: &mut Context<Self>) {
        if !addresses.is_empty() {
            self.addresses.hint(addresses);
        }
        self.token = token.or_else(|| self.token.take());
    }
}

impl Handler<StayConnected> for Session {
    type Result = ();

    fn handle(&mut self, _: StayConnected, ctx: &mut Context<Self>) {
        self.heard += 1;
        self.stays = true;
        self.ensure_link(ctx);
    }
}

impl Handler<LinkUp> for Session {
    type Result = ();

    fn handle(&mut self, LinkUp(new): LinkUp, ctx: &mut Context<Self>) {
        if new.dialed {
            self.dialing = false;
        } else {
            self.heard += 1;
        }
        if self.closing || !self.replaces(&new) {
            return;
        }
        self.replace_link();
        self.epoch = self.exchange.next_epoch();
        let (dialed, name) = (new.dialed, new.name.clone());
        let live = match LiveLink::start(*new, self.link_seat(), &self.shared.config) {
            Ok(live) => live,
            Err(error) => {
                // The peer sees the connection close. Who dialled has another try; who was dialled
                // is dialled again.
                tracing::warn!(peer = %self.name, %error, "a new link could not be taken up");
                let message = format!(
                    "{} was reached, but its connection could not be taken up: {error}",
                    self.name
                );
                return if dialed {
                    ctx.notify(DialFailed { message, refused: None, hope: Hope::Some })
                };
            }
        };
        self.attempts = 0;
        self.unanswered_dials = 0;
        self.unreached = None;
        self.ever_up = true;
        // What an unknown node calls itself is no name here.
        self.name =
            self.shared.trust.peer(&self.peer).map_or_else(|| self.peer.short(), |peer| peer.name);
        let calls_itself = name.map(|name| printable(&name).to_string());
        tracing::info!(peer = %self.name, calls_itself, dialed, "link up");
        self.link = Some(live);
        self.traffic.link_up();
        self.say(Control::Process { incarnation: self.shared.incarnation });
        self.messages_up(ctx);
        self.shared.emit(NodeEvent::LinkUp { peer: self.peer, name: self.name.clone() });
        self.receive(receiving::Event::LinkUp(self.epoch));
        self.renew_outdated();
        self.send(sending::Event::LinkUp);
        self.say_words();
    }
}

impl Handler<DialFailed> for Session {
    type Result = ();

    fn handle(
        &mut self,
        DialFailed { message, refused, hope }: DialFailed,
        ctx: &mut Context<Self>,
    ) {
        self.dialing = false;
        // It passes: the peer is dialled on, ever more rarely.
        let refused = refused.filter(|reason| *reason != RefuseReason::TooManyLinks);
        if self.link.is_some() {
            return;
        }
        self.unanswered_dials = match hope {
            Hope::Some => 0,
            // Where it has been before, it is expected back: what forwards a port takes a
            // connection, and ends it, while nobody is behind it.
            Hope::Little if self.ever_up => 0,
            Hope::Little => self.unanswered_dials + 1,
            Hope::None => HOPELESS,
        };
        tracing::debug!(peer = %self.name, message, "dialling failed");
        if let Some(reason) = &refused {
            self.messages_given_up(
                refusal_of_messages(reason),
                &format!("{} refused the link: {reason}", self.name),
            );
        } else if self.unanswered_dials >= HOPELESS
            || !self.ever_up && self.down_since.elapsed() > self.shared.config.dial_for
        {
            self.messages_given_up(RemoteErrorKind::Unreachable, &message);
        }
        self.unreached = Some(message.clone());
        match refused {
            Some(reason) => self.fail_all(&Failure::new(
                refusal_kind(&reason),
                format!("{} refused the link: {reason}", self.name),
            )),
            None if self.unanswered_dials >= HOPELESS => {
                self.unanswered_dials = 0;
                self.fail_all(&Failure::new(FailureKind::Unreachable, message));
            }
            None if !self.ever_up && self.down_since.elapsed() > self.shared.config.dial_for => {
                self.fail_all(&Failure::new(FailureKind::Unreachable, message));
            }
            None if self.is_idle() => {}
            None => self.ensure_link(ctx),
        }
    }
}

impl Handler<LinkLost> for Session {
    type Result = ();

    fn handle(&mut self, LinkLost { epoch, why }: LinkLost, ctx: &mut Context<Self>) {
        if self.link.as_ref().is_some_and(|link| link.epoch == epoch) {
            self.link_down(&why);
            if !self.is_idle() {
                self.ensure_link(ctx);
            }
        }
    }
}

impl Handler<Drain> for Session {
    type Result = MessageResult<Drain>;

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) -> MessageResult<Drain> {
        let (done, is_done) = oneshot::channel();
        self.draining.push(done);
        self.put_off_stored();
        if self.addresses.is_empty() {
            self.give_up_broken_off();
        }
        self.settle();
        MessageResult(is_done)
    }
}

impl Handler<Retire> for Session {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<Close> for Session {
    type Result = ResponseFuture<()>;

    fn handle(
        &mut self,
        Close { reason, refuse }: Close,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<()> {
        self.closing = true;
        self.give_up_broken_off();
        let kind = if refuse.is_some() { FailureKind::Untrusted } else { FailureKind::Shutdown };
        self.fail_all(&Failure::new(kind, reason.clone()));
        self.messages_down(&reason);
        self.messages_given_up(RemoteErrorKind::ShuttingDown, &reason);
        self.lanes.iter().for_each(|lane| lane.address.do_send(Detach));
        if let Some(refuse) = refuse {
            // Nothing more is heard of whom this node does not trust any more.
            self.say(Control::Refuse { reason: refuse });
            self.say_goodbye(&reason);
        }
        // A sink that is about to commit is waited for, so that both ends hear how it ended.
        let (done, is_done) = oneshot::channel();
        self.draining.push(done);
        self.settle();
        let session = ctx.address();
        Box::pin(async move {
            // Without a word the session is gone.
            let _ = tokio::time::timeout(LAST_COMMITS, is_done).await;
            let _ = session.send(Leave { reason }).await;
        })
    }
}

/// Says goodbye, and ends the session.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
struct Leave {
    reason: String,
}

impl Handler<Leave> for Session {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Leave { reason }: Leave, ctx: &mut Context<Self>) -> ResponseFuture<()> {
        self.receive(receiving::Event::Leave);
        self.say_goodbye(&reason);
        let flushing = self.flushing.take();
        self.stop(ctx);
        Box::pin(async move {
            if let Some(flushing) = flushing {
                // An error means that it was broken off, with the node.
                let _ = flushing.await;
            }
        })
    }
}
