//! The actor that knows all peers: it gives every peer its session.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, StreamHandler};
use futures_util::future::join_all;
use tokio::task::AbortHandle;

use super::accept::LinkAccepted;
use super::blocking::surely;
use super::door::{Door, Listen, Shut};
use super::outbox::{Halt, Outbox, PeerWord, Seal, Settle};
use super::session::Session;
use super::session::signals::{
    Close, DialOnce, Drain, LinkUp, Owner, Retire, SessionEnded, SessionIdle, StayConnected,
};
use super::sessions::{Command, Dial, SendTo, ToSession};
use super::shared::{Connect, NodeShared};
use super::snapshot::Traffic;
use super::trust::Trust;
use crate::supervise::StopSupervisor;
use crate::wire::{PeerId, RefuseReason};

/// The time between looks at what another process has changed in the node's trust.
const LOOK_AT_TRUST: Duration = Duration::from_secs(1);

/// The longest wait for storing that has begun when a node stops.
const LAST_STORED: Duration = Duration::from_secs(2);

/// The longest time for noting then how tries ended.
const LAST_NOTED: Duration = Duration::from_secs(5);

pub(crate) struct Hub {
    shared: Arc<NodeShared>,
    /// Each with the number of messages it was given that must not be lost, and what its links
    /// carry.
    sessions: HashMap<PeerId, (Addr<Session>, u64, Arc<Traffic>)>,
    /// Open from the start on.
    door: Option<Addr<Door>>,
    outbox: Option<Addr<Outbox>>,
    /// Looks what other processes have changed in the trust.
    watching: Option<AbortHandle>,
    stopping: bool,
}

/// This is the outbox, to be told when the node stops.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Keep(pub(crate) Addr<Outbox>);

impl Handler<Keep> for Hub {
    type Result = ();

    fn handle(&mut self, Keep(outbox): Keep, _: &mut Context<Self>) {
        self.outbox = Some(outbox);
        // A revocation may have been cut off by the end of the process.
        self.shared.forget_untrusted(self.outbox.as_ref());
    }
}

impl Handler<Connect> for Hub {
    type Result = ();

    fn handle(&mut self, Connect(peer): Connect, ctx: &mut Context<Self>) {
        if !self.stopping {
            self.session(peer, ctx).do_send(StayConnected);
        }
    }
}

impl<M: Message<Result = ()> + Send + 'static> Handler<ToSession<M>> for Hub
where
    Session: Handler<M>,
{
    type Result = ();

    fn handle(&mut self, ToSession(peer, message): ToSession<M>, _: &mut Context<Self>) {
        if let Some((session, ..)) = self.sessions.get(&peer) {
            session.do_send(message);
        }
    }
}

impl Handler<PeerWord> for Hub {
    type Result = ();

    fn handle(&mut self, word: PeerWord, _: &mut Context<Self>) {
        if let Some(outbox) = &self.outbox {
            outbox.do_send(word);
        }
    }
}

/// Finish what runs, for so long at most, then close everything.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Shutdown {
    pub(crate) limit: Duration,
}

impl Hub {
    pub(crate) fn new(shared: Arc<NodeShared>) -> Self {
        Self {
            shared,
            sessions: HashMap::new(),
            door: None,
            outbox: None,
            watching: None,
            stopping: false,
        }
    }

    /// The session with this peer, for one message that must not be lost.
    fn session(&mut self, peer: PeerId, ctx: &mut Context<Self>) -> Addr<Session> {
        let (shared, hub) = (Arc::clone(&self.shared), ctx.address());
        let owner = Owner {
            ended: hub.clone().recipient(),
            idle: hub.clone().recipient(),
            words: hub.recipient(),
            outbox: self.outbox.clone(),
        };
        self.sessions.retain(|id, (session, ..)| *id != peer || session.connected());
        let (session, given, _) = self.sessions.entry(peer).or_insert_with(|| {
            let traffic = Traffic::of_peer(&shared.traffic);
            let counted = Arc::clone(&traffic);
            let made =
                Session::create(|ctx| Session::new(shared, ctx.address(), owner, peer, counted));
            (made, 0, traffic)
        });
        *given += 1;
        session.clone()
    }

    /// So many sessions, and the outbox: the sessions with those who are wanted in any case, then
    /// those with a link.
    pub(super) fn ears(
        &self,
        wanted: &[PeerId],
        most: usize,
    ) -> (Vec<Addr<Session>>, Option<Addr<Outbox>>) {
        let (wanted, others): (Vec<_>, Vec<_>) =
            self.sessions.iter().partition(|(peer, _)| wanted.contains(peer));
        let (linked, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|(_, (.., traffic))| traffic.is_linked());
        let most = most.max(wanted.len());
        let chosen = wanted.into_iter().chain(linked).chain(rest).take(most);
        (chosen.map(|(_, (session, ..))| session.clone()).collect(), self.outbox.clone())
    }

    /// Peers with a session.
    pub(super) fn peers(&self) -> usize {
        self.sessions.len()
    }

    /// Peers with a session, and who knows the connections in their handshake.
    #[cfg(feature = "test-util")]
    pub(super) fn census(&self) -> (usize, Option<Addr<Door>>) {
        (self.sessions.len(), self.door.clone())
    }
}

impl Actor for Hub {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.door = Some(Door::open(Arc::clone(&self.shared), ctx.address().recipient()));
        self.watching = Some(actix::spawn(watch_trust(self.shared.trust.clone())).abort_handle());
        let revocations = self.shared.trust.revocations();
        ctx.add_stream(futures_util::stream::unfold(revocations, |mut revocations| async move {
            use tokio::sync::broadcast::error::RecvError;
            match revocations.recv().await {
                Ok(peer) => Some((Revoked(Some(peer)), revocations)),
                // More at once than are kept: all sessions are looked at.
                Err(RecvError::Lagged(_)) => Some((Revoked(None), revocations)),
                Err(RecvError::Closed) => None,
            }
        }));
    }
}

/// Takes over what other processes change in the trust: the links of those they revoke are closed.
/// New links look for themselves.
async fn watch_trust(trust: Trust) {
    let mut tick = tokio::time::interval(LOOK_AT_TRUST);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let trust = trust.clone();
        // An error was logged when it came up, and nobody is trusted until it is gone. Not left
        // out: somebody may be revoked.
        let _ = surely(move || trust.refresh()).await;
    }
}

/// A peer, or some peers, were revoked.
struct Revoked(Option<PeerId>);

impl StreamHandler<Revoked> for Hub {
    fn handle(&mut self, Revoked(peer): Revoked, _: &mut Context<Self>) {
        let close =
            Close { reason: "the peer was revoked".into(), refuse: Some(RefuseReason::Revoked) };
        let trust = &self.shared.trust;
        let hit = |id: &PeerId| peer.map_or_else(|| trust.peer(id).is_none(), |peer| peer == *id);
        // Whoever sends from now on gets a new session.
        self.sessions.retain(|id, (session, ..)| {
            let hit = hit(id);
            if hit {
                session.do_send(close.clone());
            }
            !hit
        });
        match peer {
            Some(peer) => self.shared.forget_peer(peer, self.outbox.as_ref()),
            None => self.shared.forget_revoked(self.outbox.as_ref()),
        }
    }

    fn finished(&mut self, _: &mut Context<Self>) {
        // The default would stop the hub.
    }
}

impl Handler<Listen> for Hub {
    type Result = ResponseFuture<io::Result<String>>;

    fn handle(&mut self, Listen(address): Listen, _: &mut Context<Self>) -> Self::Result {
        let door = self.door.clone();
        Box::pin(async move {
            let Some(door) = door else { return Err(io::ErrorKind::NotConnected.into()) };
            // It ends with the node only.
            door.send(Listen(address))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
        })
    }
}

impl Handler<LinkAccepted> for Hub {
    type Result = ();

    fn handle(&mut self, LinkAccepted(link): LinkAccepted, ctx: &mut Context<Self>) {
        // It may have been revoked since its handshake: its sessions are closed already, and it
        // gets no new one.
        if !self.stopping && self.shared.trust.peer(&link.peer).is_some() {
            self.session(link.peer, ctx).do_send(LinkUp(link));
        }
    }
}

impl Handler<SessionEnded> for Hub {
    type Result = ();

    fn handle(&mut self, SessionEnded { peer, session }: SessionEnded, _: &mut Context<Self>) {
        self.sessions.retain(|id, (known, ..)| *id != peer || *known != session);
        self.shared.ledger.tidy(peer, std::time::Instant::now());
    }
}

impl Handler<SessionIdle> for Hub {
    type Result = ();

    fn handle(&mut self, SessionIdle { peer, session, heard }: SessionIdle, _: &mut Context<Self>) {
        if self
            .sessions
            .get(&peer)
            .is_some_and(|(known, given, _)| *known == session && *given == heard)
        {
            self.sessions.remove(&peer);
            session.do_send(Retire);
        }
    }
}

impl Handler<SendTo> for Hub {
    type Result = ();

    fn handle(&mut self, SendTo { peer, hints, start }: SendTo, ctx: &mut Context<Self>) {
        if self.stopping {
            // Dropped, it says that it failed.
            return;
        }
        let session = self.session(peer, ctx);
        session.do_send(hints);
        session.do_send(start);
    }
}

impl Handler<Dial> for Hub {
    type Result = ();

    fn handle(&mut self, Dial { peer, hints }: Dial, ctx: &mut Context<Self>) {
        if !self.stopping {
            let session = self.session(peer, ctx);
            session.do_send(hints);
            session.do_send(DialOnce);
        }
    }
}

impl Handler<Command> for Hub {
    type Result = ();

    fn handle(&mut self, command: Command, _: &mut Context<Self>) {
        self.sessions.values().for_each(|(session, ..)| session.do_send(command));
    }
}

impl Handler<Shutdown> for Hub {
    type Result = ResponseFuture<()>;

    fn handle(
        &mut self,
        Shutdown { limit }: Shutdown,
        _: &mut Context<Self>,
    ) -> ResponseFuture<()> {
        self.stopping = true;
        if let Some(watching) = self.watching.take() {
            watching.abort();
        }
        if let Some(door) = &self.door {
            door.do_send(Shut);
        }
        let outbox = self.outbox.take();
        let sessions: Vec<_> =
            self.sessions.values().map(|(session, ..)| session.clone()).collect();
        let (supervisor, letters) =
            (self.shared.supervisor.clone(), self.shared.letters.get().cloned());
        Box::pin(async move {
            if let Some(outbox) = &outbox {
                // An error means that it has stopped already.
                let _ = outbox.send(Halt).await;
            }
            let began = Instant::now();
            // An error means that the session ended: nothing of it is left either way.
            let running = join_all(sessions.iter().map(|session| session.send(Drain))).await;
            let drained = join_all(running.into_iter().flatten());
            if tokio::time::timeout(limit, drained).await.is_err() {
                tracing::warn!(?limit, "transfers still ran at the end of the drain: they fail");
            }
            if let Some(letters) = letters {
                letters.halt(limit.saturating_sub(began.elapsed())).await;
            }
            if let Some(outbox) = &outbox {
                // What was given to it until now is stored, as long as that does not take long; an
                // error means that it has stopped already.
                let _ = tokio::time::timeout(LAST_STORED, outbox.send(Seal)).await;
            }
            let close = Close { reason: "the node is shutting down".into(), refuse: None };
            join_all(sessions.iter().map(|session| session.send(close.clone()))).await;
            if let Some(outbox) = &outbox {
                let _ = tokio::time::timeout(LAST_NOTED, outbox.send(Settle)).await;
            }
            // An error means that it has stopped already.
            let _ = supervisor.send(StopSupervisor).await;
        })
    }
}
