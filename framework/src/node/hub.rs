//! The actor that knows all peers: it takes connections in, and gives every peer its session.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, StreamHandler};
use tokio::task::{AbortHandle, JoinHandle};

use super::accept;
use super::link::NewLink;
use super::outbox::{Halt, Outbox};
use super::session::Session;
use super::session::signals::{Close, Command, Drain, Know, LinkUp, Retire, Start, StayConnected};
use super::shared::NodeShared;
use super::transport::{Connection, Listener};
use crate::delivery::TransferId;
use crate::supervise::StopSupervisor;
use crate::wire::{PeerId, RefuseReason, Word, WordKind};

/// The wait after a failed `accept`: most often the process has run out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

pub(crate) struct Hub {
    shared: Arc<NodeShared>,
    /// Each with the number of messages it was given that must not be lost.
    sessions: HashMap<PeerId, (Addr<Session>, u64)>,
    listening: Vec<JoinHandle<()>>,
    /// Handshakes under way, the oldest first, each with the host it comes from.
    half_open: VecDeque<(String, AbortHandle)>,
    outbox: Option<Addr<Outbox>>,
    stopping: bool,
}

/// Begin to accept connections; answers with the address others can dial.
#[derive(Debug, Message)]
#[rtype(result = "io::Result<String>")]
pub(crate) struct Listen(pub(crate) String);

/// A connection has come in.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Incoming(Box<dyn Connection>);

/// A peer has proved who it is and may come in.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LinkAccepted(pub(crate) Box<NewLink>);

/// A session has stopped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SessionEnded {
    pub(crate) peer: PeerId,
    pub(crate) session: Addr<Session>,
}

/// A session has nothing to do and may go, unless there is something for it on the way.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SessionIdle {
    pub(crate) peer: PeerId,
    pub(crate) session: Addr<Session>,
    pub(crate) heard: u64,
}

/// Send this to that peer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SendTo {
    pub(crate) peer: PeerId,
    pub(crate) know: Know,
    pub(crate) start: Start,
}

/// This is the outbox, to be told when the node stops.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Keep(pub(crate) Addr<Outbox>);

impl Handler<Keep> for Hub {
    type Result = ();

    fn handle(&mut self, Keep(outbox): Keep, _: &mut Context<Self>) {
        self.outbox = Some(outbox);
    }
}

/// A peer says that its application is done with a delivery from here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ProcessedWord {
    pub(crate) peer: PeerId,
    pub(crate) transfer: TransferId,
    pub(crate) mac: [u8; 32],
}

/// A relay tells what has become of a package.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct PassedWord {
    pub(crate) peer: PeerId,
    pub(crate) transfer: TransferId,
    pub(crate) word: Word,
}

/// A peer has noted a word.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct HeardWord {
    pub(crate) peer: PeerId,
    pub(crate) transfer: TransferId,
    pub(crate) what: WordKind,
}

/// Keep a link with this peer up.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Connect(pub(crate) PeerId);

impl Handler<Connect> for Hub {
    type Result = ();

    fn handle(&mut self, Connect(peer): Connect, ctx: &mut Context<Self>) {
        if !self.stopping {
            // Its session may have begun before somebody said where the peer is now.
            let addresses = self.shared.trust.peer(&peer).map(|peer| peer.addresses).unwrap_or_default();
            let session = self.session(peer, ctx);
            session.do_send(Know { addresses, token: None });
            session.do_send(StayConnected);
        }
    }
}

impl Handler<PassedWord> for Hub {
    type Result = ();

    fn handle(&mut self, word: PassedWord, _: &mut Context<Self>) {
        if let Some(outbox) = &self.outbox {
            outbox.do_send(word);
        }
    }
}

impl Handler<HeardWord> for Hub {
    type Result = ();

    fn handle(&mut self, word: HeardWord, _: &mut Context<Self>) {
        if let Some(outbox) = &self.outbox {
            outbox.do_send(word);
        }
    }
}

/// Give this to the session with that peer, if there is one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ToSession<M: Message<Result = ()> + Send>(pub(crate) PeerId, pub(crate) M);

impl<M: Message<Result = ()> + Send + 'static> Handler<ToSession<M>> for Hub
where
    Session: Handler<M>,
{
    type Result = ();

    fn handle(&mut self, ToSession(peer, message): ToSession<M>, _: &mut Context<Self>) {
        if let Some((session, _)) = self.sessions.get(&peer) {
            session.do_send(message);
        }
    }
}

impl Handler<ProcessedWord> for Hub {
    type Result = ();

    fn handle(&mut self, word: ProcessedWord, _: &mut Context<Self>) {
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
        Self { shared, sessions: HashMap::new(), listening: Vec::new(), half_open: VecDeque::new(), outbox: None, stopping: false }
    }

    /// The session with this peer, for one message that must not be lost.
    fn session(&mut self, peer: PeerId, ctx: &mut Context<Self>) -> Addr<Session> {
        let (shared, hub) = (Arc::clone(&self.shared), ctx.address());
        self.sessions.retain(|id, (session, _)| *id != peer || session.connected());
        let (session, given) = self.sessions.entry(peer).or_insert_with(|| (Session::new(shared, hub, peer).start(), 0));
        *given += 1;
        session.clone()
    }

    /// Peers with a session, and connections in their handshake.
    #[cfg(feature = "test-util")]
    pub(super) fn census(&mut self) -> (usize, usize) {
        self.half_open.retain(|(_, handshake)| !handshake.is_finished());
        (self.sessions.len(), self.half_open.len())
    }

    /// Makes room for one more handshake. An honest peer is through in a few round trips, a flood waits for its time-out; so
    /// the oldest one goes, of the host that has the most.
    fn thin_out(&mut self) {
        self.half_open.retain(|(_, handshake)| !handshake.is_finished());
        while self.half_open.len() >= self.shared.config.half_open {
            let mut hosts: HashMap<&str, usize> = HashMap::new();
            self.half_open.iter().for_each(|(host, _)| *hosts.entry(host).or_default() += 1);
            let most = hosts.values().copied().max().unwrap_or(0);
            let oldest = self.half_open.iter().position(|(host, _)| hosts.get(host.as_str()) == Some(&most));
            if let Some((_, handshake)) = oldest.and_then(|oldest| self.half_open.remove(oldest)) {
                handshake.abort();
            }
        }
    }
}

impl Actor for Hub {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
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

/// A peer, or some peers, were revoked.
struct Revoked(Option<PeerId>);

impl StreamHandler<Revoked> for Hub {
    fn handle(&mut self, Revoked(peer): Revoked, _: &mut Context<Self>) {
        let close = Close { reason: "the peer was revoked".into(), refuse: Some(RefuseReason::Revoked) };
        let trust = &self.shared.trust;
        let hit = |id: &PeerId| peer.map_or_else(|| trust.peer(id).is_none(), |peer| peer == *id);
        // Whoever sends from now on gets a new session.
        self.sessions.retain(|id, (session, _)| {
            let hit = hit(id);
            if hit {
                session.do_send(close.clone());
            }
            !hit
        });
        match peer {
            Some(peer) => self.shared.forget_peer(peer),
            None => self.shared.forget_untrusted(),
        }
    }

    fn finished(&mut self, _: &mut Context<Self>) {
        // The default would stop the hub.
    }
}

impl Handler<Listen> for Hub {
    type Result = ResponseFuture<io::Result<String>>;

    fn handle(&mut self, Listen(address): Listen, ctx: &mut Context<Self>) -> Self::Result {
        let (transport, hub) = (Arc::clone(&self.shared.transport), ctx.address());
        Box::pin(async move {
            let listener = transport.listen(&address).await?;
            let address = listener.address();
            let accepting = actix::spawn(accept_all(listener, hub.clone()));
            hub.do_send(Listening(accepting));
            Ok(address)
        })
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Listening(JoinHandle<()>);

impl Handler<Listening> for Hub {
    type Result = ();

    fn handle(&mut self, Listening(accepting): Listening, _: &mut Context<Self>) {
        if self.stopping {
            accepting.abort();
        }
        self.listening.push(accepting);
    }
}

async fn accept_all(mut listener: Box<dyn Listener>, hub: Addr<Hub>) {
    loop {
        match listener.accept().await {
            // Awaited: connections come in no faster than they are looked at.
            Ok(connection) => {
                if hub.send(Incoming(connection)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, address = listener.address(), "accepting a connection failed; trying again");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

impl Handler<Incoming> for Hub {
    type Result = ();

    fn handle(&mut self, Incoming(connection): Incoming, ctx: &mut Context<Self>) {
        self.thin_out();
        let remote = connection.remote();
        let host = remote.rsplit_once(':').map_or(remote.as_str(), |(host, _)| host).to_owned();
        let serving = actix::spawn(accept::serve(Arc::clone(&self.shared), ctx.address(), connection));
        self.half_open.push_back((host, serving.abort_handle()));
    }
}

impl Handler<LinkAccepted> for Hub {
    type Result = ();

    fn handle(&mut self, LinkAccepted(link): LinkAccepted, ctx: &mut Context<Self>) {
        // It may have been revoked since its handshake: its sessions are closed already, and it gets no new one.
        if !self.stopping && self.shared.trust.peer(&link.peer).is_some() {
            self.session(link.peer, ctx).do_send(LinkUp(link));
        }
    }
}

impl Handler<SessionEnded> for Hub {
    type Result = ();

    fn handle(&mut self, SessionEnded { peer, session }: SessionEnded, _: &mut Context<Self>) {
        self.sessions.retain(|id, (known, _)| *id != peer || *known != session);
        self.shared.ledger.tidy(peer, std::time::Instant::now());
    }
}

impl Handler<SessionIdle> for Hub {
    type Result = ();

    fn handle(&mut self, SessionIdle { peer, session, heard }: SessionIdle, _: &mut Context<Self>) {
        if self.sessions.get(&peer).is_some_and(|(known, given)| *known == session && *given == heard) {
            self.sessions.remove(&peer);
            session.do_send(Retire);
        }
    }
}

impl Handler<SendTo> for Hub {
    type Result = ();

    fn handle(&mut self, SendTo { peer, know, start }: SendTo, ctx: &mut Context<Self>) {
        if self.stopping {
            // Dropped, it says that it failed.
            return;
        }
        let session = self.session(peer, ctx);
        session.do_send(know);
        session.do_send(start);
    }
}

impl Handler<Command> for Hub {
    type Result = ();

    fn handle(&mut self, command: Command, _: &mut Context<Self>) {
        self.sessions.values().for_each(|(session, _)| session.do_send(command));
    }
}

impl Handler<Shutdown> for Hub {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Shutdown { limit }: Shutdown, _: &mut Context<Self>) -> ResponseFuture<()> {
        self.stopping = true;
        self.listening.iter().for_each(JoinHandle::abort);
        self.half_open.iter().for_each(|(_, handshake)| handshake.abort());
        let outbox = self.outbox.take();
        let sessions: Vec<_> = self.sessions.values().map(|(session, _)| session.clone()).collect();
        let (supervisor, letters) = (self.shared.supervisor.clone(), self.shared.letters.get().cloned());
        Box::pin(async move {
            if let Some(outbox) = &outbox {
                // An error means that it has stopped already.
                let _ = outbox.send(Halt).await;
            }
            let drained = futures_util::future::join_all(sessions.iter().map(|session| session.send(Drain)));
            if tokio::time::timeout(limit, drained).await.is_err() {
                tracing::warn!(?limit, "transfers still ran at the end of the drain: they fail");
            }
            if let Some(letters) = letters {
                letters.halt(limit).await;
            }
            let close = Close { reason: "the node is shutting down".into(), refuse: None };
            futures_util::future::join_all(sessions.iter().map(|session| session.send(close.clone()))).await;
            // An error means that it has stopped already.
            let _ = supervisor.send(StopSupervisor).await;
        })
    }
}
