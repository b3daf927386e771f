//! The parts for a host that uses the actors bare: in an actix `System` of its own, without a node
//! between.
//!
//! A node makes the two ends of a transfer in two processes and carries frames between them with
//! acknowledgements, windows and repairs. Bare, the host does the carrying: it makes both ends with
//! [`Transfer::bare`] from one scope and one key, takes whole frames from the sender's pipeline,
//! and lets them [arrive](Sealed::arrived) at the receiver's.

use std::any::Any;
use std::sync::Arc;

use actix::Recipient;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::codec::SharedCodec;
use super::parcel::{Parcel, Sealed};
use super::seats::{Assembled, AssemblerSeat, Piece, Stop};
use super::transfer::{Custody, Signal, Transfer};
use super::{BufferPool, Credit, Prefix, Sink};
use crate::delivery::{Claim, Incoming, KeyScope, TransferKey};
use crate::metrics::Metrics;
use crate::wire::{FrameError, FrameHeader, FrameKind, HEADER_LENGTH};

/// An error of taking in a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArrivalError {
    /// Its header is wrong.
    #[error(transparent)]
    Header(#[from] FrameError),
    /// It is no single whole frame.
    #[error("{given} bytes are no whole frame: its header and body have {wanted}")]
    NotWhole {
        /// Bytes given.
        given: usize,
        /// Bytes of the whole frame, as far as can be told.
        wanted: usize,
    },
    /// It is not a chunk of this transfer.
    #[error("the frame is no chunk of stream {expected}")]
    OtherStream {
        /// The stream of the transfer.
        expected: u64,
    },
    /// The sender had no credit for it.
    #[error("chunk {index} came, but credit was given up to {limit}")]
    Beyond {
        /// Its index.
        index: u64,
        /// The limit that was granted.
        limit: u64,
    },
    /// A second trailer, which stands elsewhere.
    #[error("an end came at chunk {index}, behind the one at {end}")]
    OtherEnd {
        /// Its index.
        index: u64,
        /// The index of the first trailer.
        end: u64,
    },
}

impl Transfer {
    /// One end of a transfer outside of a node. `scope`, `key` and `codec` have to be the same at
    /// both ends.
    ///
    /// What goes wrong with its chunks comes out of the channel; a host that drops the channel does
    /// not hear of it. The window is open: what bounds a bare transfer is the
    /// [`Budget`](super::Budget) its pieces take their credit from.
    pub fn bare(
        scope: KeyScope,
        key: TransferKey,
        codec: Option<SharedCodec>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Signal>) {
        let (signals, heard) = mpsc::unbounded_channel();
        let mut incoming = Incoming::new(u64::MAX / 4);
        incoming.open();
        (
            Self::new(
                scope,
                key,
                Self::BARE_STREAM,
                codec,
                BufferPool::default(),
                incoming,
                signals,
            ),
            heard,
        )
    }

    /// The stream that frames of bare transfers name.
    pub const BARE_STREAM: u64 = 1;
}

impl Sealed {
    /// A frame that came for `transfer` by whatever way; `None` for a copy of one that came before.
    pub fn arrived(transfer: &Arc<Transfer>, frame: Bytes) -> Result<Option<Self>, ArrivalError> {
        let given = frame.len();
        let not_whole = |wanted| ArrivalError::NotWhole { given, wanted };
        let header =
            frame.first_chunk::<HEADER_LENGTH>().ok_or_else(|| not_whole(HEADER_LENGTH))?;
        let header = FrameHeader::decode(header, transfer.frame_body_limit())?;
        let wanted = HEADER_LENGTH + header.len as usize;
        if given != wanted {
            return Err(not_whole(wanted));
        }
        if header.kind != FrameKind::Chunk || header.stream != transfer.stream {
            return Err(ArrivalError::OtherStream { expected: transfer.stream });
        }
        let (index, last) = (header.index, header.is_last());
        let claim = if last {
            transfer.incoming().claim_trailer(index)
        } else {
            transfer.incoming().claim(index)
        };
        match claim {
            Claim::New => {
                Ok(Some(Self::from_parts(Custody::incoming(transfer, index, last, None), frame)))
            }
            Claim::InProgress | Claim::Received => Ok(None),
            Claim::Beyond { limit } => Err(ArrivalError::Beyond { index, limit }),
            Claim::OtherEnd { end } => Err(ArrivalError::OtherEnd { index, end }),
        }
    }
}

impl Piece {
    /// A piece with a copy of `bytes`, which count against nothing until it is given
    /// [credit](Self::with_credit).
    pub fn copied(transfer: &Transfer, bytes: &[u8], last: bool) -> Self {
        let mut buffer = transfer.buffers.take(Prefix::LENGTH + bytes.len());
        buffer[Prefix::LENGTH..].copy_from_slice(bytes);
        Self { buffer, length: bytes.len(), last, credit: None, slot: None, ready: None }
    }

    /// Lets its chunk travel with `credit`, which is free again when the chunk has arrived or is
    /// gone.
    #[must_use]
    pub fn with_credit(self, credit: Credit) -> Self {
        Self { credit: Some(credit), ..self }
    }
}

impl AssemblerSeat {
    /// A seat on the current thread for `transfer`: its content goes into `sink`, and `owner` hears
    /// how it goes. Sending a reason through the channel, or dropping it, aborts.
    pub fn bare(
        transfer: Arc<Transfer>,
        sink: Box<dyn Sink>,
        owner: Recipient<Assembled>,
    ) -> (Self, oneshot::Sender<Stop>) {
        let (abort, aborted) = oneshot::channel();
        let (metrics, thread) =
            (Metrics::default().stage("sink"), Box::new(()) as Box<dyn Any + Send>);
        (
            Self {
                transfer,
                sink,
                resumed: None,
                checkpoint: u64::MAX,
                owner,
                aborted,
                metrics,
                thread,
            },
            abort,
        )
    }
}
