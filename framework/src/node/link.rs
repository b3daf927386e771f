//! Links over connections: what both ends do before there is one, and the two tasks that drive it.
//!
//! Driving contract of `wire`: preamble, reply, handshake, then the initiator's `Hello`, and only
//! when that has verified does anything take effect; then frames both ways, `Link` deciding about
//! heartbeats.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Message, Recipient};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::config::NodeConfig;
use super::link_failure::LinkFailure;
use super::shared::NodeShared;
use super::snapshot::Traffic;
use super::transport::{Connection, Io};
use super::write_whole::write_whole;
use crate::pipeline::{Chunk, Custody, Outlet, Parcel, Sealed, Slots, Through, Transfer};
use crate::wire::message::MESSAGE_STREAM;
use crate::wire::{
    CONTROL_BODY_LIMIT, Choice, Control, ControlOpener, ControlSealer, FEATURE_DESCRIPTIONS,
    FEATURE_LAPSED, FEATURE_LETTERS, FEATURE_MESSAGES, FEATURE_ON_BEHALF, FEATURE_REMARKS, Frame,
    FrameDecoder, FrameHeader, FrameKind, HANDSHAKE_LIMIT, HEADER_LENGTH, Link, LinkAction, Offer,
    PeerId, Suite, frame_handshake, handshake_length,
};

/// A message that waits for the socket.
pub(crate) enum Outbound {
    Control(Control),
    /// A sealed batch of messages: few at a time, each in a slot.
    Batch(Sealed),
}

/// The inlet for batches of messages, open once the peer has said that it sends some.
#[derive(Clone, Default)]
pub(crate) struct BatchInlet(Rc<RefCell<Option<Batches>>>);

struct Batches {
    transfer: Arc<Transfer>,
    unseal: Unseal,
    slots: Slots,
    next: u64,
}

/// The road of batches from the socket to whoever reads them.
pub(crate) enum Unseal {
    /// At once, where all stages are plain steps.
    Here(Through<Sealed, Chunk>, Outlet<Chunk>),
    /// By the actors of the stages.
    Actors(Outlet<Sealed>),
}

impl Unseal {
    /// Hands a batch on. `Err`: it does not open, and nothing behind it may be looked at. What
    /// actors do with theirs, the postbox notices at the next one.
    fn send(&mut self, batch: Sealed) -> Result<(), String> {
        match self {
            Self::Here(through, outlet) => {
                let custody = batch.custody().clone();
                match through(batch) {
                    Some(opened) => outlet.send(opened),
                    None => {
                        return Err(custody
                            .failure()
                            .unwrap_or_else(|| "it was thrown away on its way".into()));
                    }
                }
            }
            Self::Actors(inlet) => inlet.send(batch),
        }
        Ok(())
    }
}

impl BatchInlet {
    /// Opens it; `false` if it was open.
    pub(crate) fn open(&self, transfer: Arc<Transfer>, unseal: Unseal) -> bool {
        let batches = Batches { transfer, unseal, slots: Slots::new(BATCHES), next: 0 };
        self.0.borrow_mut().replace(batches).is_none()
    }

    /// Takes a frame; waits while the stages have as many as they may.
    async fn take(&self, frame: Frame) -> Result<(), String> {
        let slots = self.0.borrow().as_ref().map(|batches| batches.slots.clone());
        let Some(slots) =
            slots.filter(|_| frame.header.stream == MESSAGE_STREAM && !frame.header.is_last())
        else {
            return Err("the peer broke the protocol: a chunk on the express lane".into());
        };
        let slot = slots.take().await;
        let mut batches = self.0.borrow_mut();
        let Some(batches) = &mut *batches else { return Ok(()) };
        if frame.header.index != batches.next {
            return Err(format!(
                "the peer broke the protocol: batch {} instead of {}",
                frame.header.index, batches.next
            ));
        }
        batches.next += 1;
        let custody = Custody::incoming(&batches.transfer, frame.header.index, false, None);
        custody.hold_slot(slot);
        let sent = batches.unseal.send(Sealed::from_parts(custody, frame.into_bytes()));
        sent.map_err(|why| format!("a batch of messages is damaged: {why}"))
    }
}

/// Batches of messages that may be between the socket and the actors.
const BATCHES: usize = 4;
/// Control messages that may wait for the socket. A peer that lets more pile up does not read.
const QUEUE: usize = 4096;
/// The longest time for writing what is queued once the link is given up: a peer that takes it
/// slowly must not keep the queue and the socket of every link it ever had.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Control messages are written together up to about so many bytes.
const BATCH: usize = 64 << 10;

/// A link whose handshake is done.
pub(crate) struct NewLink {
    pub(crate) peer: PeerId,
    pub(crate) name: Option<String>,
    /// Of no thread yet: its handshake was on that of the door.
    pub(crate) connection: Box<dyn Connection>,
    pub(crate) sealer: ControlSealer,
    pub(crate) opener: ControlOpener,
    pub(crate) hash: [u8; 32],
    pub(crate) choice: Choice,
    pub(crate) dialed: bool,
    pub(crate) address: String,
}

impl std::fmt::Debug for NewLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewLink")
            .field("peer", &self.peer)
            .field("dialed", &self.dialed)
            .finish_non_exhaustive()
    }
}

pub(crate) fn offer(shared: &NodeShared) -> Offer {
    Offer {
        suites: shared.registry.stages().suites(),
        features: FEATURE_MESSAGES
            | FEATURE_DESCRIPTIONS
            | FEATURE_REMARKS
            | FEATURE_LETTERS
            | FEATURE_ON_BEHALF
            | FEATURE_LAPSED
            | shared.registry.stages().codec_features(),
        max_frame: NodeConfig::CHUNK_MOST
            + crate::wire::growth_limit(NodeConfig::CHUNK_MOST)
            + crate::pipeline::Transfer::OVERHEAD,
        lanes: u16::try_from(shared.workers.len()).unwrap_or(u16::MAX),
    }
}

pub(crate) fn protocol(error: impl std::fmt::Display) -> LinkFailure {
    LinkFailure::Protocol(error.to_string())
}

pub(crate) async fn send_handshake(
    io: &mut Box<dyn Io>,
    message: &[u8],
) -> Result<(), LinkFailure> {
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

pub(crate) async fn receive_control(
    io: &mut Box<dyn Io>,
    opener: &mut ControlOpener,
) -> Result<Control, LinkFailure> {
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

/// The link's tasks ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LinkLost {
    pub(crate) epoch: u64,
    pub(crate) why: String,
}

/// A control message came in by the link.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ControlIn {
    pub(crate) epoch: u64,
    pub(crate) control: Control,
}

/// Whose link it is.
pub(crate) struct LinkSeat {
    pub(crate) epoch: u64,
    pub(crate) control: Recipient<ControlIn>,
    pub(crate) lost: Recipient<LinkLost>,
    pub(crate) traffic: Arc<Traffic>,
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
    pub(crate) features: u64,
    pub(crate) suite: Suite,
    pub(crate) batches: BatchInlet,
    queue: Option<mpsc::Sender<Outbound>>,
    reading: Option<JoinHandle<()>>,
    /// Has the reader take nothing in any more.
    hush: Option<oneshot::Sender<()>>,
    writing: Option<JoinHandle<()>>,
    /// Dropped with the link: its last words have little time from then on.
    _up: oneshot::Sender<()>,
}

impl LiveLink {
    /// Brings its connection to this thread.
    pub(crate) fn start(
        new: NewLink,
        seat: LinkSeat,
        config: &NodeConfig,
    ) -> std::io::Result<Self> {
        let NewLink { connection, sealer, opener, hash, choice, dialed, address, .. } = new;
        let (reader, writer) = tokio::io::split(connection.attach()?);
        let (queue, queued) = mpsc::channel(QUEUE);
        let link = Link::new(config.link, Instant::now());
        let (answers, stalled_after) = (queue.clone(), config.link.dead_after());
        let (epoch, lost, written) = (seat.epoch, seat.lost.clone(), Arc::clone(&seat.traffic));
        let batches = BatchInlet::default();
        let batches_in = batches.clone();
        let (hush, hushed) = oneshot::channel();
        let reading = actix::spawn(async move {
            let mut reader = reader;
            let why = tokio::select! {
                why = read(&mut reader, (opener, batches_in), link, answers, &seat) => why,
                Ok(()) = hushed => {
                    // A connection that is closed with something unread is reset, and the peer loses the last words.
                    let _ = tokio::time::timeout(LAST_WORDS, tokio::io::copy(&mut reader, &mut tokio::io::sink())).await;
                    return;
                }
            };
            seat.lost.do_send(LinkLost { epoch, why });
        });
        let (up, is_up) = oneshot::channel();
        let writing = actix::spawn(async move {
            let overdue = async {
                let _ = is_up.await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            tokio::select! {
                ended = write(writer, sealer, queued, (stalled_after, &written)) => {
                    if let Err(why) = ended {
                        lost.do_send(LinkLost { epoch, why });
                    }
                }
                () = overdue => {}
            }
        });
        let Choice { lanes, max_frame, features, suite } = choice;
        let (since, queue, writing) = (Instant::now(), Some(queue), Some(writing));
        Ok(Self {
            epoch,
            hash,
            dialed,
            address,
            lanes,
            max_frame,
            since,
            features,
            suite,
            batches,
            queue,
            reading: Some(reading),
            hush: Some(hush),
            writing,
            _up: up,
        })
    }

    pub(crate) fn say(&self, control: Control) -> Result<(), String> {
        let Some(queue) = &self.queue else { return Ok(()) };
        queue
            .try_send(Outbound::Control(control))
            .map_err(|_| format!("the peer does not read: {QUEUE} control messages wait for it"))
    }

    /// Returns the queue by which batches are written.
    pub(crate) fn queue(&self) -> Option<mpsc::Sender<Outbound>> {
        self.queue.clone()
    }

    /// Writes what is queued, then closes.
    pub(crate) fn flush(mut self) -> impl Future<Output = ()> {
        self.queue = None;
        // The reader holds a sender, too, for its answers. It may have ended.
        self.hush.take().map(|hush| hush.send(()));
        let tasks = [self.writing.take(), self.reading.take()];
        async move {
            // The peer may be gone or not read: its end is not waited for long.
            let ended = futures_util::future::join_all(tasks.into_iter().flatten());
            let _ = tokio::time::timeout(LAST_WORDS, ended).await;
        }
    }
}

impl Drop for LiveLink {
    fn drop(&mut self) {
        if let Some(reading) = &self.reading {
            reading.abort();
        }
        // The writer ends by itself when the queue is written, or its time is up.
    }
}

async fn write(
    mut socket: WriteHalf<Box<dyn Io>>,
    mut sealer: ControlSealer,
    mut queue: mpsc::Receiver<Outbound>,
    (stalled_after, traffic): (Duration, &Traffic),
) -> Result<(), String> {
    while let Some(first) = queue.recv().await {
        let (mut batch, mut messages) = (Vec::new(), None);
        let mut next = Some(first);
        while let Some(outbound) = next.take() {
            match outbound {
                Outbound::Control(control) => {
                    batch.extend(sealer.seal_control(&control).map_err(|error| error.to_string())?);
                    next = if batch.len() < BATCH { queue.try_recv().ok() } else { None };
                }
                Outbound::Batch(sealed) => messages = Some(sealed),
            }
        }
        write_whole(&mut socket, &batch, stalled_after).await.map_err(|end| end.to_string())?;
        traffic.sent(batch.len());
        if let Some(sealed) = messages {
            write_whole(&mut socket, sealed.content(), stalled_after)
                .await
                .map_err(|end| end.to_string())?;
            traffic.sent(sealed.content().len());
            sealed.custody().finish(0);
        }
    }
    // Closing is a courtesy; the peer notices anyway.
    let _ = socket.shutdown().await;
    Ok(())
}

/// Answers what the link itself is asked, and gives the session the rest.
async fn take_control(
    control: Control,
    answers: &mpsc::Sender<Outbound>,
    asked: &mut Option<(u64, Instant)>,
    LinkSeat { epoch, control: session, traffic, .. }: &LinkSeat,
) -> Result<(), String> {
    match control {
        Control::Ping { nonce } => {
            drop(answers.try_send(Outbound::Control(Control::Pong { nonce })));
        }
        Control::Pong { nonce } => {
            if let Some((_, at)) = asked.take_if(|(last, _)| *last == nonce) {
                traffic.answered(at.elapsed());
            }
        }
        // Awaited, so that a flood of messages waits in the socket and not in a mailbox.
        control => {
            let taken = session.send(ControlIn { epoch: *epoch, control }).await;
            return taken.map_err(|_| "the session has ended".into());
        }
    }
    Ok(())
}

async fn read(
    socket: &mut ReadHalf<Box<dyn Io>>,
    (mut opener, batches): (ControlOpener, BatchInlet),
    mut link: Link,
    answers: mpsc::Sender<Outbound>,
    seat: &LinkSeat,
) -> String {
    let mut decoder = FrameDecoder::new(CONTROL_BODY_LIMIT);
    let mut bytes = BytesMut::new();
    let mut asked = None;
    // Set again only when it has gone off: each message puts the deadline off.
    let mut alarm = pin!(tokio::time::sleep_until(link.poll_timeout().into()));
    loop {
        loop {
            let control = match decoder.decode(&mut bytes) {
                Ok(None) => break,
                Ok(Some(frame)) if frame.header.kind == FrameKind::Control => {
                    opener.open_control(frame.body())
                }
                Ok(Some(frame)) => {
                    // No sign of life: it is the stages that find out whether it is the peer's.
                    if let Err(why) = batches.take(frame).await {
                        return why;
                    }
                    continue;
                }
                Err(error) => return format!("the peer broke the protocol: {error}"),
            };
            link.heard(Instant::now());
            let taken = match control {
                Ok(control) => take_control(control, &answers, &mut asked, seat).await,
                Err(error) => Err(format!("the link is damaged: {error}")),
            };
            if let Err(why) = taken {
                return why;
            }
        }
        bytes.reserve(8 << 10);
        tokio::select! {
            biased;
            read = socket.read_buf(&mut bytes) => match read {
                Ok(0) => return "the peer closed the connection".into(),
                Ok(read) => seat.traffic.received(read),
                Err(error) => return error.to_string(),
            },
            () = &mut alarm => {
                match link.handle_timeout(Instant::now()) {
                    LinkAction::None => {}
                    LinkAction::Ping(nonce) => {
                        asked = Some((nonce, Instant::now()));
                        drop(answers.try_send(Outbound::Control(Control::Ping { nonce })));
                    }
                    LinkAction::Dead => return "nothing was heard from the peer for too long".into(),
                    LinkAction::Renew => return "the link is old enough to be renewed".into(),
                }
                alarm.as_mut().reset(link.poll_timeout().into());
            }
        }
    }
}
