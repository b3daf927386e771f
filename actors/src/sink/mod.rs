//! Where content goes to: a folder, memory, a writer, an actor, nowhere.
//!
//! Each inbox implements [`estafette::pipeline::Inbox`] and gives every delivery a [`Sink`](estafette::pipeline::Sink) of its own.

mod actor;
mod file;
mod folder;
mod hard_link;
mod home;
mod kept_tree;
mod limits;
mod memory;
mod note;
mod null;
mod partial;
mod policy;
mod publish;
mod remarks;
mod resume;
mod seen;
mod sparse;
mod staging;
mod sweep;
mod there;
mod tree;
mod unpacking;
mod verify;
mod writer;

pub use actor::{ActorInbox, ActorSink, ContentAborted, ContentEnd, ContentPart};
pub use file::{FileSink, umask};
pub use folder::{Folder, OnConflict};
pub use memory::{Delivered, MemoryInbox, MemorySink};
pub use null::NullSink;
pub use writer::{WriterInbox, WriterSink};
