//! Typed messages between actors of different nodes: as easily as to a local `Recipient`, with
//! honest guarantees.
//!
//! ```text
//!  Remote<M> ─▶ exchange ─▶ queue ─▶ (pump) batch ─▶ Compressor ─▶ Sealer ─▶ link
//!  (any thread) calls, credit        Chunk                                     ║
//!  actor ◀─ mailbox or intake ◀─ directory ◀─ postbox ◀─ Decompressor ◀─ Opener ◀─ link
//! ```
//! A batch passes the same stages as a chunk of content does, on the arbiter of the link; in one
//! call, unless one of them is an actor of its own. An actor that the node runs has an intake: it
//! takes up many messages in one turn. What an actor may have waiting is bounded by credit that the
//! sender holds and the receiver gives back, not by the capacity of mailboxes.
#![cfg_attr(not(doctest), doc = include_str!("../../docs/remote-example.md"))]

mod actor_error;
mod admission;
mod berth;
mod calls;
mod describe;
mod directory;
mod error;
mod exchange;
mod form;
mod handle;
mod inbound;
mod intake;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "json")]
mod json_remote;
mod letter_id;
mod letterbox;
mod letters;
mod mailbox;
mod message;
mod packed;
mod postbox;
mod presence;
mod queue;
mod raw;
mod scratch;
mod serving;
mod teller;

pub use actor_error::{ActorError, ErrorDetail};
pub use calls::{Download, Upload};
pub use describe::{Describe, Described, Description, NODE, Taken};
pub use directory::{Directory, DirectoryError};
pub use error::{Handled, RemoteError, RemoteErrorKind};
pub use estafette_derive::RemoteMessage;
pub use exchange::{Undelivered, Watch};
pub use handle::{ANSWER_WITHIN, Remote};
#[cfg(feature = "json")]
pub use json_remote::{JsonDownload, JsonRemote, JsonUpload};
pub use letter_id::{LetterId, LetterIdError};
pub use letterbox::{ArrivedLetter, Letterbox};
pub use letters::{Delivery, LETTER_LIMIT, LetterInfo, LetterKey, LetterState};
pub use message::{RemoteMessage, RemoteResult, Schemas};
pub use packed::PROTO_LIMIT;
#[doc(hidden)]
pub use packed::{pack, unpack};
pub use presence::Presence;
pub use raw::{Raw, RawReply};
pub use serving::{Asked, Called, Replies, Reply, Requests};

pub use crate::wire::{TraceContext, TraceError};

pub(crate) use admission::Admission;
pub(crate) use berth::Berth;
pub(crate) use describe::Gathered;
pub(crate) use exchange::{Exchange, MESSAGES_OF_ONE, REQUESTS_OF_ONE};
pub(crate) use form::{Form, Native};
pub(crate) use intake::{Intake, IntakeSeen, Take, asked, called, plain};
#[cfg(feature = "json")]
pub(crate) use json::Json;
pub(crate) use letters::{Letters, LettersSeen, Limits as LetterLimits, TABLES as LETTER_TABLES};
pub(crate) use mailbox::{ByItself, Door, Fate, Mailbox, Plain, Streams};
pub(crate) use postbox::{ClosePostbox, Postbox};
