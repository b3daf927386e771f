//! The riders' frame: what flows, what it flows through, and what bounds it.

mod sink;
mod source;

pub use sink::{Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Summary};
pub use source::{Skipped, Source, SourceError, SourceReport};
