//! The two tasks of a bulk connection.
//!
//! Invariant: the reader never waits for a sink, and never takes a chunk that had no credit.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::Addr;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc;

use super::{AcknowledgeAgain, AcknowledgeCopy, Acknowledged, Lane, Streams};
use crate::delivery::Claim;
use crate::metrics::StageMetrics;
use crate::node::snapshot::Traffic;
use crate::node::write_whole::{Unwritten, write_whole};
use crate::pipeline::{Buffer, BufferPool, Custody, Parcel, Sealed, Transfer};
use crate::wire::{
    CONTROL_BODY_LIMIT, Control, ControlOpener, FLAG_LAST, FrameHeader, FrameKind, HEADER_LENGTH,
    SpeakError,
};

/// A frame that waits to be written: bounded by the slots and the credit of the chunks, and by one
/// acknowledgement per chunk read.
pub(super) enum Outbound {
    Chunk { frame: Bytes, custody: Custody },
    Control { frame: Vec<u8>, waiting: Waiting },
}

/// Counts a control message until it is written.
pub(super) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    pub(super) fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The reason that a task of a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaneEnd {
    #[error("the peer closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// Headers of chunks are not authenticated: it may be the network. The lane closes, its frames
    /// are sent again.
    #[error("what came is damaged: {0}")]
    Damaged(String),
    /// The peer itself said what it must not.
    #[error("the peer broke the protocol: {0}")]
    Violation(String),
}

impl LaneEnd {
    pub(super) fn is_violation(&self) -> bool {
        matches!(self, Self::Violation(_))
    }
}

/// The seat of a lane's reader: all that it needs.
pub(super) struct ReaderSeat {
    pub(super) lane: Addr<Lane>,
    pub(super) index: u16,
    pub(super) streams: Streams,
    pub(super) buffers: BufferPool,
    pub(super) opener: ControlOpener,
    pub(super) max_frame: u32,
    pub(super) traffic: Arc<Traffic>,
}

/// Writes what is queued until the queue or the connection closes.
pub(super) async fn write(
    mut socket: impl AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Outbound>,
    stalled_after: Duration,
    (metrics, traffic): (&StageMetrics, &Traffic),
) -> LaneEnd {
    while let Some(outbound) = queue.recv().await {
        let (written, bytes) = match outbound {
            Outbound::Chunk { frame, custody } => {
                custody.leave_stages();
                drop(custody);
                let start = Instant::now();
                let written = write_whole(&mut socket, &frame, stalled_after).await;
                metrics.done(frame.len(), frame.len(), start.elapsed());
                (written, frame.len())
            }
            Outbound::Control { frame, waiting } => {
                let written = write_whole(&mut socket, &frame, stalled_after).await;
                drop(waiting);
                (written, frame.len())
            }
        };
        if let Err(end) = written {
            return end.into();
        }
        traffic.sent(bytes);
    }
    LaneEnd::Closed
}

/// Reads frames until the connection ends.
pub(super) async fn read(socket: impl AsyncRead + Unpin, mut seat: ReaderSeat) -> LaneEnd {
    let mut frames = FrameReader { socket, ahead: [0; HEADER_LENGTH], have: 0 };
    loop {
        let header = frames.header(seat.max_frame).await.inspect(|header| {
            seat.traffic.received(HEADER_LENGTH + header.len as usize);
        });
        let outcome = match header {
            Ok(header) if header.kind == FrameKind::Chunk => {
                chunk(&mut frames, &seat, header).await
            }
            Ok(header) => control(&mut frames, &mut seat, header).await,
            Err(end) => Err(end),
        };
        if let Err(end) = outcome {
            return end;
        }
    }
}

async fn chunk(
    frames: &mut FrameReader<impl AsyncRead + Unpin>,
    seat: &ReaderSeat,
    header: FrameHeader,
) -> Result<(), LaneEnd> {
    let last = header.flags & FLAG_LAST != 0;
    let admitted = {
        let streams = seat.streams.borrow();
        streams
            .get(&header.stream)
            .map(|admitted| (admitted.transfer.clone(), admitted.inlet.clone()))
    };
    // A stream that is over here may still have frames on the road.
    let Some((transfer, inlet)) = admitted else { return frames.skip(header.len).await };
    let most = transfer.frame_body_limit();
    if header.len > most || (header.len as usize) < Sealed::TAG_LENGTH {
        return Err(LaneEnd::Damaged(format!(
            "a chunk of {} bytes in a transfer of at most {most}",
            header.len
        )));
    }
    let claim = if last {
        transfer.incoming().claim_trailer(header.index)
    } else {
        transfer.incoming().claim(header.index)
    };
    match claim {
        Claim::New => {}
        Claim::InProgress => {
            seat.lane.do_send(AcknowledgeCopy {
                stream: header.stream,
                index: header.index,
                trailer: last,
            });
            return frames.skip(header.len).await;
        }
        Claim::Received => {
            seat.lane.do_send(AcknowledgeAgain { stream: header.stream, index: header.index });
            return frames.skip(header.len).await;
        }
        Claim::Beyond { limit } => {
            return Err(LaneEnd::Damaged(format!(
                "chunk {} was sent, but credit was given up to {limit}",
                header.index
            )));
        }
        Claim::OtherEnd { end } => {
            return Err(LaneEnd::Damaged(format!(
                "a second end came, at chunk {}, behind the one at {end}",
                header.index
            )));
        }
    }
    let mut claimed = Claimed { transfer: &transfer, index: header.index, last, whole: false };
    let length = HEADER_LENGTH + header.len as usize;
    let buffer = frames.body(seat.buffers.take(length + HEADER_LENGTH), &header).await?;
    claimed.whole = true;
    let custody = Custody::incoming(&transfer, header.index, last, Some(seat.index));
    inlet.send(Sealed::from_parts(custody, buffer.freeze(0..length)));
    // The stages get their turn before the next chunk is read: one at a time stays in cache.
    tokio::task::yield_now().await;
    Ok(())
}

/// Gives the claim back when the connection ends in the middle of the chunk.
struct Claimed<'a> {
    transfer: &'a Transfer,
    index: u64,
    last: bool,
    whole: bool,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        if !self.whole {
            self.transfer.incoming().unclaim(self.index, self.last);
        }
    }
}

async fn control(
    frames: &mut FrameReader<impl AsyncRead + Unpin>,
    seat: &mut ReaderSeat,
    header: FrameHeader,
) -> Result<(), LaneEnd> {
    if header.len > CONTROL_BODY_LIMIT {
        return Err(LaneEnd::Damaged(format!("a control message of {} bytes", header.len)));
    }
    let body = frames.small_body(header.len as usize).await?;
    let opened = seat.opener.open_control(&body).map_err(|error| match error {
        SpeakError::Link(error) => LaneEnd::Damaged(error.to_string()),
        error => LaneEnd::Violation(error.to_string()),
    });
    match opened? {
        // Awaited, so that a flood waits in the socket.
        Control::Received { stream, indices } => {
            let heard = seat.lane.send(Acknowledged { stream, indices }).await;
            heard.map_err(|_| LaneEnd::Closed)
        }
        other => {
            Err(LaneEnd::Violation(format!("{} does not belong on a bulk lane", other.name())))
        }
    }
}

/// Reads a body together with the header behind it: one call for both in most cases.
struct FrameReader<R> {
    socket: R,
    ahead: [u8; HEADER_LENGTH],
    have: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    async fn header(&mut self, max_frame: u32) -> Result<FrameHeader, LaneEnd> {
        while self.have < HEADER_LENGTH {
            let read = self.socket.read(&mut self.ahead[self.have..]).await?;
            if read == 0 {
                return Err(LaneEnd::Closed);
            }
            self.have += read;
        }
        self.have = 0;
        FrameHeader::decode(&self.ahead, max_frame)
            .map_err(|error| LaneEnd::Damaged(error.to_string()))
    }

    /// Fills `buffer` with header and body; what comes behind them is the beginning of the next
    /// header.
    async fn body(&mut self, mut buffer: Buffer, header: &FrameHeader) -> Result<Buffer, LaneEnd> {
        let end = HEADER_LENGTH + header.len as usize;
        buffer[..HEADER_LENGTH].copy_from_slice(&header.encode());
        let mut filled = HEADER_LENGTH;
        while filled < end {
            let read = self.socket.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Err(LaneEnd::Closed);
            }
            filled += read;
        }
        self.have = filled - end;
        self.ahead[..self.have].copy_from_slice(&buffer[end..filled]);
        Ok(buffer)
    }

    async fn small_body(&mut self, length: usize) -> Result<Vec<u8>, LaneEnd> {
        let mut body = vec![0; length];
        match self.socket.read_exact(&mut body).await {
            Ok(_) => Ok(body),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(LaneEnd::Closed),
            Err(error) => Err(error.into()),
        }
    }

    async fn skip(&mut self, length: u32) -> Result<(), LaneEnd> {
        let skipped = tokio::io::copy(
            &mut (&mut self.socket).take(u64::from(length)),
            &mut tokio::io::sink(),
        )
        .await?;
        if skipped < u64::from(length) { Err(LaneEnd::Closed) } else { Ok(()) }
    }
}
