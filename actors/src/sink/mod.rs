//! Sinks for content: a folder, memory, a writer, an actor, nowhere.
//!
//! Each inbox implements [`estafette::pipeline::Inbox`] and gives every delivery a
//! [`Sink`](estafette::pipeline::Sink) of its own.
//!
//! ```
//! use estafette::delivery::{Content, ContentKind, ContentName, TransferId};
//! use estafette::pipeline::{Inbox, Offer, Summary};
//! use estafette::Identity;
//! use estafette_actors::sink::{FileSink, OnConflict};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! let inbox = FileSink::into_dir(path).on_conflict(OnConflict::Rename).max_bytes(1 << 30).keep_free(0);
//!
//! // What a node does with it:
//! let content = Content::new(ContentKind::Bytes, ContentName::new("letter")?, Some(10));
//! let mut sink = inbox.open(&Offer::new(Identity::generate().peer(), TransferId::random(), content))?;
//! sink.write(0, &"Dear Paris".into()).await?;
//! let digest = *blake3::hash(b"Dear Paris").as_bytes();
//! let committed = sink.commit(&Summary { length: 10, digest }).await?;
//! assert_eq!(std::fs::read_to_string(committed.place)?, "Dear Paris");
//! # Ok(()) }
//! ```

mod actor;
mod aside;
mod attributes;
mod errors;
mod file;
mod folder;
mod hard_link;
mod home;
mod leftovers;
mod limits;
mod memory;
mod merge;
mod merging;
mod name;
mod note;
mod null;
mod on_conflict;
mod partial;
mod policy;
mod publish;
mod remarks;
mod resumable_tree;
mod resume;
mod seen;
mod sparse;
mod staging;
mod sweep;
mod there;
mod tree;
mod unpacking;
mod unread;
mod verify;
mod writer;

pub use actor::{ActorInbox, ActorSink, ContentAborted, ContentEnd, ContentPart};
pub use attributes::umask;
pub use file::FileSink;
pub use folder::Folder;
pub use memory::{Delivered, MemoryInbox, MemorySink};
pub use null::NullSink;
pub use on_conflict::OnConflict;
pub use writer::{WriterInbox, WriterSink};
