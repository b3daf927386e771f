//! The user's own at the two ends of a route: sources, inboxes, sinks that panic.

use bytes::Bytes;
use estafette::delivery::{Content, FailureKind};
use estafette::node::SendError;
use estafette::pipeline::{
    Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Source, SourceError,
    SourceReport, Summary,
};
use estafette_actors::source::BytesSource;
use futures_util::future::BoxFuture;

use super::fragile::sound;
use super::harness::{CHUNK, World, content, names, source};

/// The place at which a source or a sink panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Content,
    Read,
    Finish,
    Rewind,
    ContentAgain,
    Open,
    Placement,
    Write,
    Commit,
    Abort,
}

impl At {
    fn panics(self, here: Self) {
        assert!(self != here, "on purpose");
    }
}

/// Content that panics.
#[derive(Debug)]
pub(crate) struct BadSource {
    at: At,
    inner: BytesSource,
    read: usize,
    rewound: bool,
}

impl BadSource {
    pub(crate) fn at(at: At) -> Self {
        Self { at, inner: source(&content(100, &[])), read: 0, rewound: false }
    }
}

impl Source for BadSource {
    fn content(&self) -> Content {
        self.at.panics(At::Content);
        if self.rewound {
            self.at.panics(At::ContentAgain);
        }
        self.inner.content()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move {
            self.read += 1;
            if self.read == 50 {
                self.at.panics(At::Read);
                if matches!(self.at, At::Rewind | At::ContentAgain) {
                    return Err(SourceError::Changed {
                        what: "content".into(),
                        how: "on purpose".into(),
                    });
                }
            }
            self.inner.read(buffer).await
        })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        self.at.panics(At::Finish);
        self.inner.finish()
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        self.at.panics(At::Rewind);
        self.rewound = true;
        self.inner.rewind()
    }
}

/// An inbox, and its sinks, that panic.
#[derive(Clone, Debug)]
pub(crate) struct BadInbox(pub(crate) At);

impl Inbox for BadInbox {
    fn open(&self, _: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        self.0.panics(At::Open);
        Ok(Box::new(self.clone()))
    }
}

impl Sink for BadInbox {
    fn placement(&self) -> Placement {
        self.0.panics(At::Placement);
        Placement::InOrder
    }

    fn write<'a>(&'a mut self, _: u64, _: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        self.0.panics(At::Write);
        Box::pin(async {
            if self.0 == At::Abort { Err(SinkError::Gone("on purpose".into())) } else { Ok(()) }
        })
    }

    fn commit<'a>(&'a mut self, _: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        self.0.panics(At::Commit);
        Box::pin(async { Ok(Committed::default()) })
    }

    fn abort(&mut self, _: &str) {
        self.0.panics(At::Abort);
    }
}

#[tokio::test]
async fn a_source_that_panics_fails_its_transfer_at_both_ends_and_no_other() {
    for at in [At::Read, At::Finish] {
        let mut world = World::new(sound(), sound()).await;
        let (_, failure) = world.fail_beside("in", BadSource::at(at)).await;
        assert!(failure.message.contains("its source panicked"), "{at:?}: {failure}");
        world.nothing_more_arrives();
        world.check_whole().await;
    }
}

#[tokio::test]
async fn a_source_that_panics_when_it_is_to_be_read_again_fails_its_transfer_at_both_ends() {
    for at in [At::Rewind, At::ContentAgain] {
        let mut world = World::new(sound(), sound()).await;
        let (_, [failure, told]) = world.fail_somehow("in", BadSource::at(at)).await;
        assert!(failure.message.contains("its source panicked"), "{at:?}: {failure}");
        // The receiver has not seen more than the first attempt.
        assert_eq!(told.kind, FailureKind::Changed, "{at:?}: {told}");
        world.nothing_more_arrives();
        world.check_whole().await;
    }
}

#[tokio::test]
async fn a_source_that_panics_when_asked_what_it_is_is_not_sent() {
    let world = World::new(sound(), sound()).await;
    let refused = world.lyon.send("paris/in", BadSource::at(At::Content)).await;
    assert!(matches!(refused, Err(SendError::SourcePanicked)), "{refused:?}");
    world.check_whole().await;
}

#[tokio::test]
async fn an_inbox_that_panics_refuses_the_delivery_and_no_other() {
    let world = World::new(sound(), sound()).await;
    world.paris.receive("bad", BadInbox(At::Open)).unwrap();
    let (_, failure) = world.fail_beside("bad", source(&content(40, &[]))).await;
    assert!(failure.message.contains("inbox panicked"), "{failure}");
    world.check_whole().await;
}

#[tokio::test]
async fn a_sink_that_panics_fails_its_transfer_at_both_ends_and_no_other() {
    for at in [At::Placement, At::Write, At::Commit, At::Abort] {
        let world = World::new(sound(), sound()).await;
        world.paris.receive("bad", BadInbox(at)).unwrap();
        let (_, failure) = world.fail_beside("bad", source(&content(40, &[]))).await;
        names(&failure, "sink", None);
        world.check_whole().await;
    }
}

/// A sink whose disk is full, while many chunks wait for it.
#[derive(Clone, Debug)]
struct Full;

impl Inbox for Full {
    fn open(&self, _: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Full {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(&'a mut self, offset: u64, _: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        let full = || SinkError::Write {
            what: "the file".into(),
            error: std::io::ErrorKind::StorageFull.into(),
        };
        Box::pin(std::future::ready(if offset < 10 * CHUNK as u64 { Ok(()) } else { Err(full()) }))
    }

    fn commit<'a>(&'a mut self, _: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async { Ok(Committed::default()) })
    }

    fn abort(&mut self, _: &str) {}
}

#[tokio::test]
async fn what_a_sink_says_is_what_both_ends_are_told_whatever_waited_for_it() {
    let world = World::new(sound(), sound()).await;
    world.paris.receive("full", Full).unwrap();
    for _ in 0..30 {
        let (_, failure) = world.fail("full", source(&content(40, &[]))).await;
        assert_eq!(failure.kind, FailureKind::Io, "{failure}");
        assert!(failure.message.contains("could not write the file"), "{failure}");
    }
    world.check_whole().await;
}
