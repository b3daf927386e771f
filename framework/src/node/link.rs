//! Links over connections: dialling, accepting, and the two tasks that drive one.
//!
//! Driving contract of `wire`: preamble, reply, handshake, then the initiator's `Hello`, and only when that has verified
//! does anything take effect; then frames both ways, `Link` deciding about heartbeats.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Addr;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::config::NodeConfig;
use super::lane_io::write_whole;
use super::session::Session;
use super::session::signals::{ControlIn, DialFailed, LinkLost};
use super::shared::NodeShared;
use super::transport::{Connection, Io};
use crate::wire::{
    CONTROL_BODY_LIMIT, Choice, Control, ControlOpener, ControlSealer, FrameDecoder, FrameHeader, FrameKind, HANDSHAKE_LIMIT,
    HEADER_LENGTH, LaneInitiator, Link, LinkAction, LinkInitiator, Offer, PeerId, Preamble, PreambleReply, Purpose, REPLY_LENGTH,
    RefuseReason, frame_handshake, handshake_length, lane_prologue, prologue,
};

/// Control messages that may wait for the socket. A peer that lets more pile up does not read.
const QUEUE: usize = 4096;
/// How long what is queued may take to be written once the link is given up: a peer that takes it slowly must not keep the
/// queue and the socket of every link it ever had.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Control messages are written together up to about so many bytes.
const BATCH: usize = 64 << 10;

/// A link whose handshake is done.
pub(crate) struct NewLink {
    pub(crate) peer: PeerId,
    pub(crate) name: Option<String>,
    pub(crate) io: Box<dyn Io>,
    pub(crate) sealer: ControlSealer,
    pub(crate) opener: ControlOpener,
    pub(crate) hash: [u8; 32],
    pub(crate) choice: Choice,
    pub(crate) dialed: bool,
    pub(crate) address: String,
}

impl std::fmt::Debug for NewLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewLink").field("peer", &self.peer).field("dialed", &self.dialed).finish_non_exhaustive()
    }
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkFailure {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection ended where an answer belongs: another program, another key, or an accident.
    #[error("{0}")]
    Unanswered(String),
    #[error("{0}")]
    Protocol(String),
    #[error("{0}")]
    Refused(RefuseReason),
}

/// Whether dialling again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hope {
    Some,
    Little,
    None,
}

pub(crate) fn offer(shared: &NodeShared) -> Offer {
    Offer {
        suites: shared.registry.suites(),
        features: 0,
        max_frame: NodeConfig::CHUNK_MOST + crate::pipeline::Transfer::OVERHEAD,
        lanes: u16::try_from(shared.workers.len()).unwrap_or(u16::MAX),
    }
}

pub(crate) fn protocol(error: impl std::fmt::Display) -> LinkFailure {
    LinkFailure::Protocol(error.to_string())
}

/// Tries the addresses in turn.
pub(crate) async fn dial_any(
    shared: &Arc<NodeShared>,
    peer: PeerId,
    addresses: &[String],
    token: Option<[u8; 32]>,
) -> Result<NewLink, DialFailed> {
    let mut tried = Vec::new();
    let (mut refused, mut hope) = (None, Hope::Some);
    for address in addresses {
        let timeout = shared.config.handshake_timeout;
        let dialed = tokio::time::timeout(timeout, dial(shared, peer, address, token)).await;
        match dialed.unwrap_or(Err(LinkFailure::Timeout(timeout))) {
            Ok(link) => return Ok(link),
            Err(LinkFailure::Refused(reason)) => {
                tried.push(format!("{address}: {reason}"));
                refused = Some(reason);
            }
            Err(failure) => {
                hope = hope.max(match failure {
                    LinkFailure::Protocol(_) => Hope::None,
                    LinkFailure::Unanswered(_) => Hope::Little,
                    _ => Hope::Some,
                });
                tried.push(format!("{address}: {failure}"));
            }
        }
    }
    let message = format!("{} could not be reached ({})", peer.short(), tried.join("; "));
    Err(DialFailed { message, refused, hope })
}

async fn dial(shared: &Arc<NodeShared>, peer: PeerId, address: &str, token: Option<[u8; 32]>) -> Result<NewLink, LinkFailure> {
    let mut io = shared.transport.dial(address).await?.attach()?;
    let prologue = exchange_preambles(&mut io, Purpose::Link).await?;
    let initiator = LinkInitiator::new(&shared.identity, peer, &prologue).map_err(protocol)?;
    let (message, waiting) = initiator.start(&offer(shared)).map_err(protocol)?;
    send_handshake(&mut io, &message).await?;
    let answer = receive_handshake(&mut io).await.map_err(|error| {
        LinkFailure::Unanswered(format!(
            "the node there did not answer the handshake ({error}); is it the one whose key or ticket was given?"
        ))
    })?;
    let (choice, established) = waiting.finish(&answer).map_err(protocol)?;
    let (mut sealer, mut opener, hash) = (established.sealer, established.opener, established.hash);
    let hello = Control::Hello { name: shared.name.clone(), token: token.map(Into::into), inbox: None };
    io.write_all(&sealer.seal_control(&hello).map_err(protocol)?).await?;
    let name = match receive_control(&mut io, &mut opener).await? {
        Control::Welcome { name } => Some(name),
        Control::Refuse { reason } => return Err(LinkFailure::Refused(reason)),
        other => return Err(protocol(format!("{} instead of a welcome", other.name()))),
    };
    Ok(NewLink { peer, name, io, sealer, opener, hash, choice, dialed: true, address: address.to_owned() })
}

async fn exchange_preambles(io: &mut Box<dyn Io>, purpose: Purpose) -> Result<Vec<u8>, LinkFailure> {
    let preamble = Preamble::new(purpose);
    io.write_all(&preamble.encode()).await?;
    let mut reply = [0; REPLY_LENGTH];
    io.read_exact(&mut reply)
        .await
        .map_err(|error| LinkFailure::Unanswered(format!("the peer closed the connection at once ({error})")))?;
    let reply = PreambleReply::decode(&reply).map_err(protocol)?;
    reply.accept(&preamble).map_err(protocol)?;
    Ok(prologue(&preamble, &reply).to_vec())
}

pub(crate) async fn send_handshake(io: &mut Box<dyn Io>, message: &[u8]) -> Result<(), LinkFailure> {
    io.write_all(&frame_handshake(message).map_err(protocol)?).await?;
    Ok(())
}

pub(crate) async fn receive_handshake(io: &mut Box<dyn Io>) -> Result<Vec<u8>, LinkFailure> {
    let mut length = [0; 2];
    io.read_exact(&mut length).await?;
    let mut message = vec![0; handshake_length(length).map_err(protocol)?.min(HANDSHAKE_LIMIT)];
    io.read_exact(&mut message).await?;
    Ok(message)
}

pub(crate) async fn receive_control(io: &mut Box<dyn Io>, opener: &mut ControlOpener) -> Result<Control, LinkFailure> {
    let mut header = [0; HEADER_LENGTH];
    io.read_exact(&mut header).await?;
    let header = FrameHeader::decode(&header, CONTROL_BODY_LIMIT).map_err(protocol)?;
    if header.kind != FrameKind::Control {
        return Err(protocol("a chunk where a control message belongs"));
    }
    let mut body = vec![0; header.len as usize];
    io.read_exact(&mut body).await?;
    opener.open_control(&body).map_err(protocol)
}

/// Dials a bulk lane that the peer has invited this node to.
pub(crate) async fn dial_lane(
    shared: &Arc<NodeShared>,
    address: &str,
    lane: u16,
    id: [u8; 16],
    secret: &[u8; 32],
    link_hash: &[u8; 32],
) -> Result<(Box<dyn Connection>, ControlSealer, ControlOpener), String> {
    let timeout = shared.config.handshake_timeout;
    let dialed = async {
        let mut io = shared.transport.dial(address).await?.attach()?;
        let preambles = exchange_preambles(&mut io, Purpose::Lane(id)).await?;
        let prologue = lane_prologue(&preambles, link_hash, lane);
        let (message, waiting) = LaneInitiator::new(secret, &prologue).and_then(LaneInitiator::start).map_err(protocol)?;
        send_handshake(&mut io, &message).await?;
        let established = waiting.finish(&receive_handshake(&mut io).await?).map_err(protocol)?;
        Ok::<_, LinkFailure>((io.detach()?, established.sealer, established.opener))
    };
    let dialed = tokio::time::timeout(timeout, dialed).await.unwrap_or(Err(LinkFailure::Timeout(timeout)));
    dialed.map_err(|failure| failure.to_string())
}

/// A link that is up: dropping it closes it.
pub(crate) struct LiveLink {
    pub(crate) epoch: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) dialed: bool,
    pub(crate) address: String,
    pub(crate) lanes: u16,
    pub(crate) max_frame: u32,
    pub(crate) since: Instant,
    queue: Option<mpsc::Sender<Control>>,
    reading: JoinHandle<()>,
    writing: Option<JoinHandle<()>>,
    /// Dropped with the link: its last words have little time from then on.
    _up: oneshot::Sender<()>,
}

impl LiveLink {
    pub(crate) fn start(new: NewLink, epoch: u64, session: Addr<Session>, config: &NodeConfig) -> Self {
        let NewLink { io, sealer, opener, hash, choice, dialed, address, .. } = new;
        let (reader, writer) = tokio::io::split(io);
        let (queue, queued) = mpsc::channel(QUEUE);
        let link = Link::new(config.link, Instant::now());
        let (answers, stalled_after, writer_session) = (queue.clone(), config.link.dead_after(), session.clone());
        let reading = actix::spawn(async move {
            let why = read(reader, opener, link, answers, epoch, &session).await;
            session.do_send(LinkLost { epoch, why });
        });
        let (up, is_up) = oneshot::channel();
        let writing = actix::spawn(async move {
            let overdue = async {
                let _ = is_up.await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            tokio::select! {
                written = write(writer, sealer, queued, stalled_after) => {
                    if let Err(why) = written {
                        writer_session.do_send(LinkLost { epoch, why });
                    }
                }
                () = overdue => {}
            }
        });
        let (lanes, max_frame) = (choice.lanes, choice.max_frame);
        let since = Instant::now();
        Self { epoch, hash, dialed, address, lanes, max_frame, since, queue: Some(queue), reading, writing: Some(writing), _up: up }
    }

    pub(crate) fn say(&self, control: Control) -> Result<(), String> {
        let Some(queue) = &self.queue else { return Ok(()) };
        queue.try_send(control).map_err(|_| format!("the peer does not read: {QUEUE} control messages wait for it"))
    }

    /// Writes what is queued, then closes.
    pub(crate) fn flush(mut self) -> impl Future<Output = ()> {
        self.queue = None;
        // The reader holds a sender, too, for its answers.
        self.reading.abort();
        let writing = self.writing.take();
        async move {
            if let Some(writing) = writing {
                // The peer may be gone or not read: its end is not waited for long.
                let _ = tokio::time::timeout(LAST_WORDS, writing).await;
            }
        }
    }
}

impl Drop for LiveLink {
    fn drop(&mut self) {
        self.reading.abort();
        // The writer ends by itself when the queue is written, or its time is up.
    }
}

async fn write(
    mut socket: WriteHalf<Box<dyn Io>>,
    mut sealer: ControlSealer,
    mut queue: mpsc::Receiver<Control>,
    stalled_after: Duration,
) -> Result<(), String> {
    while let Some(first) = queue.recv().await {
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(control) = next {
            batch.extend(sealer.seal_control(&control).map_err(|error| error.to_string())?);
            next = if batch.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        write_whole(&mut socket, &batch, stalled_after).await.map_err(|end| end.to_string())?;
    }
    // Closing is a courtesy; the peer notices anyway.
    let _ = socket.shutdown().await;
    Ok(())
}

async fn read(
    mut socket: ReadHalf<Box<dyn Io>>,
    mut opener: ControlOpener,
    mut link: Link,
    answers: mpsc::Sender<Control>,
    epoch: u64,
    session: &Addr<Session>,
) -> String {
    let mut decoder = FrameDecoder::new(CONTROL_BODY_LIMIT);
    let mut bytes = BytesMut::new();
    loop {
        loop {
            let control = match decoder.decode(&mut bytes) {
                Ok(None) => break,
                Ok(Some(frame)) if frame.header.kind == FrameKind::Control => opener.open_control(&frame.body),
                Ok(Some(_)) => return "the peer broke the protocol: a chunk on the express lane".into(),
                Err(error) => return format!("the peer broke the protocol: {error}"),
            };
            link.heard(Instant::now());
            match control {
                Ok(Control::Ping { nonce }) => drop(answers.try_send(Control::Pong { nonce })),
                Ok(Control::Pong { .. }) => {}
                // Awaited, so that a flood of messages waits in the socket and not in a mailbox.
                Ok(control) => {
                    if session.send(ControlIn { epoch, control }).await.is_err() {
                        return "the session has ended".into();
                    }
                }
                Err(error) => return format!("the link is damaged: {error}"),
            }
        }
        bytes.reserve(8 << 10);
        let deadline = tokio::time::Instant::from_std(link.poll_timeout());
        tokio::select! {
            biased;
            read = socket.read_buf(&mut bytes) => match read {
                Ok(0) => return "the peer closed the connection".into(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            },
            () = tokio::time::sleep_until(deadline) => match link.handle_timeout(Instant::now()) {
                LinkAction::None => {}
                LinkAction::Ping(nonce) => drop(answers.try_send(Control::Ping { nonce })),
                LinkAction::Dead => return "nothing was heard from the peer for too long".into(),
                LinkAction::Renew => return "the link is old enough to be renewed".into(),
            },
        }
    }
}
