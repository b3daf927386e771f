//! The riders' frame: what flows, what it flows through, and what bounds it.
//!
//! [`Chunk`] → [`Compressed`] → [`Sealed`] are the states of a piece of content; a [`Transform`]
//! takes one to the next; a [`Stage`] hosts a transform as an actor; an [`Outlet`] is the edge to
//! the next one; a [`Pipeline`] wires them.
//!
//! A step of your own:
//! ```
//! use estafette::pipeline::{Chunk, Parcel, Transform, TransformError};
//!
//! /// Turns each bit of the content.
//! struct Turned;
//!
//! impl Transform for Turned {
//!     type In = Chunk;
//!     type Out = Chunk;
//!
//!     fn apply(&mut self, input: &Chunk) -> Result<Chunk, TransformError> {
//!         let turned: Vec<u8> = input.bytes().iter().map(|byte| !byte).collect();
//!         Ok(Chunk::new(input.custody().clone(), &turned))
//!     }
//! }
//! # let _ = Turned;
//! ```

mod bare;
mod budget;
mod buffer;
mod builder;
mod codec;
mod journal;
mod outlet;
mod parcel;
mod passing;
mod prefix;
mod queue;
mod seats;
mod sink;
mod source;
mod stage;
mod tap;
mod transfer;
mod transform;
mod wiring;

pub use bare::ArrivalError;
pub use budget::{Budget, Credit, Slot, Slots};
pub use buffer::{Buffer, BufferPool};
pub(crate) use builder::Through;
pub use builder::{Hosting, Pipeline, RunningPipeline};
pub use codec::{
    CODEC_NAME_LIMIT, ChunkCodec, CodecFault, Compression, SharedCodec, UnknownCompression,
};
pub use journal::Journal;
pub use outlet::Outlet;
pub use parcel::{Chunk, Compressed, Parcel, Sealed};
pub(crate) use passing::io_passes;
pub use passing::passes;
pub use prefix::{Codec, Prefix, PrefixError};
pub use queue::Priority;
pub(crate) use queue::{Fair, Queue};
pub use seats::{
    Assembled, AssemblerSeat, Assembly, Balanced, BalancedReplica, ChunkerSeat, Piece, Ready, Stop,
};
pub use sink::{
    Committed, Enclosed, Inbox, Offer, Placement, Progress, Refusal, Resumed, Sink, SinkError,
    Summary,
};
pub use source::{
    Ground, Known, Mirroring, Skipped, Source, SourceError, SourceReference, SourceReport,
    SourceState,
};
pub use stage::Stage;
pub use tap::{Passing, TAPPED_SOURCE, Tap, Tapping};
pub(crate) use tap::{Tapped, Taps};
pub use transfer::{Custody, Fault, Lost, Signal, Transfer};
pub use transform::{Transform, TransformError};
pub use wiring::{Child, Wiring};
