//! Moves content from a source to an inbox, the way a transfer would.

use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use estafette::delivery::{Content, ContentKind, ContentName, TransferId};
use estafette::pipeline::{
    Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Source, SourceError,
    SourceReport, Summary,
};
use estafette::wire::PeerId;

/// The reason why a delivery came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    Source(SourceError),
    Sink(SinkError),
}

impl Failure {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.to_string(),
            Self::Source(error) => error.to_string(),
            Self::Sink(error) => error.to_string(),
        }
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Does it as a user who may do no more than others.
pub(crate) fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        let none = rustix::thread::CapabilitySet::empty();
        let sets =
            rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets).unwrap();
        work()
    };
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub(crate) fn offer(content: Content) -> Offer {
    Offer::new(PeerId::from_bytes([7; 32]), TransferId::from_bytes([0x5a; 24]), content)
}

pub(crate) fn content(kind: ContentKind, name: &str, length: Option<u64>) -> Content {
    Content::new(kind, ContentName::new(name).unwrap(), length)
}

/// Reads all of `source` in pieces of `size` bytes.
pub(crate) async fn read_all(source: &mut dyn Source, size: usize) -> Result<Vec<u8>, SourceError> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; size]);
    loop {
        match source.read(&mut buffer).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Writes `pieces` and commits; a sink that takes them in any order gets them from both ends.
pub(crate) async fn write_all(
    sink: &mut dyn Sink,
    pieces: Vec<Bytes>,
) -> Result<Committed, SinkError> {
    let mut hasher = blake3::Hasher::new();
    let mut queue = VecDeque::new();
    let mut length = 0;
    for piece in pieces {
        hasher.update(&piece);
        queue.push_back((length, piece.clone()));
        length += piece.len() as u64;
    }
    let mut front = true;
    while let Some((offset, piece)) = if front { queue.pop_front() } else { queue.pop_back() } {
        sink.write(offset, &piece).await?;
        front = sink.placement() == Placement::InOrder || !front;
    }
    sink.commit(&Summary { length, digest: *hasher.finalize().as_bytes() }).await
}

/// One delivery, in pieces of `size` bytes.
pub(crate) fn deliver_in(
    source: &mut dyn Source,
    inbox: &dyn Inbox,
    size: usize,
) -> Result<(Committed, SourceReport), Failure> {
    block_on(async {
        let mut sink = inbox.open(&offer(source.content())).map_err(Failure::Refused)?;
        let all = read_all(source, size).await.and_then(|all| Ok((all, source.finish()?)));
        let (all, report) = all.map_err(|error| {
            sink.abort("the source failed");
            Failure::Source(error)
        })?;
        let pieces = all.chunks(size).map(Bytes::copy_from_slice).collect();
        let committed = write_all(&mut *sink, pieces).await.map_err(|error| {
            sink.abort("the sink failed");
            Failure::Sink(error)
        })?;
        Ok((committed, report))
    })
}

pub(crate) fn deliver(
    source: &mut dyn Source,
    inbox: &dyn Inbox,
) -> Result<(Committed, SourceReport), Failure> {
    deliver_in(source, inbox, 1000)
}

/// Names of all that is in `folder`.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let began = Instant::now();
    loop {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        // What is removed while it is open has such a name until FUSE has heard that it is closed,
        // which it is told some time later.
        if !names.iter().any(|name| name.starts_with(".fuse_hidden")) {
            names.sort();
            return names;
        }
        assert!(began.elapsed() < PATIENCE, "somebody holds what was removed: {names:?}");
        std::thread::yield_now();
    }
}

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(180);
