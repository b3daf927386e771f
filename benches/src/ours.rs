//! estafette itself: two nodes with the defaults a user has, content from memory to memory; and the
//! same with the suite that every node has.
//!
//! A small delivery goes first, so that the link and its lanes are up when the clock starts, as
//! every peer's connection is.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use estafette::delivery::{Content, ContentKind, ContentName};
use estafette::node::StageRegistry;
use estafette::pipeline::{
    Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Source, SourceError,
    SourceReport, Summary,
};
use estafette::wire::Suite;
use estafette::{Node, Ticket};
use estafette_actors::source::BytesSource;
use estafette_actors::standard;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::mpsc;

use crate::check::Check;
use crate::contender::Contender;
use crate::corpus::Corpus;
use crate::side::{Clock, Side, Usage};

pub(crate) const OURS: Contender = Contender {
    name: "estafette",
    about: "snappy, AES-256-GCM if the processor has it, BLAKE3; sealed end to end",
    check: Check::Digest,
    receive: |side| receive(side, standard()),
    send: |side, ticket| send(side, ticket, standard()),
};

pub(crate) const SALSA: Contender = Contender {
    name: "estafette-xsalsa20",
    about: "snappy, XSalsa20-Poly1305, BLAKE3; sealed end to end",
    check: Check::Digest,
    receive: |side| receive(side, standard().without_sealer(Suite::AES_256_GCM)),
    send: |side, ticket| send(side, ticket, standard().without_sealer(Suite::AES_256_GCM)),
};

/// Like the limit's last step: what arrives is placed in a window of this length.
const WINDOW: usize = 4 << 20;

fn receive(side: Side, stages: StageRegistry) -> Result<Usage> {
    runtime()?.block_on(async {
        let expected = *side.corpus.digest(side.job.bytes).as_bytes();
        let (committed, mut commits) = mpsc::channel(2);
        let node = Node::builder().listen("127.0.0.1:0").stages(stages).start().await?;
        node.receive("bench", Place { window: Arc::new(Mutex::new(vec![0; WINDOW])), committed })?;
        side.announce(&node.ticket("bench")?.to_string());
        commits.recv().await.context("the node ended before the first delivery")?;
        let clock = side.start();
        let summary: Summary =
            commits.recv().await.context("the node ended before the delivery")?;
        ensure!(
            summary.digest == expected && summary.length == side.job.bytes,
            "what was committed is not what was sent"
        );
        let usage = clock.stop();
        // The receipt leaves before the node stops.
        node.shutdown().await;
        usage
    })
}

fn send(side: Side, ticket: &str, stages: StageRegistry) -> Result<Usage> {
    runtime()?.block_on(async {
        let ticket: Ticket = ticket.parse()?;
        let node = Node::builder().stages(stages).start().await?;
        node.send(ticket.clone(), BytesSource::new("first", "first")?).await?.delivered().await?;
        let clock: Clock = side.start();
        let source =
            CorpusSource { corpus: side.corpus.clone(), total: side.job.bytes, position: 0 };
        node.send(ticket, source).await?.delivered().await?;
        let usage = clock.stop();
        node.shutdown().await;
        usage
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[derive(Debug)]
struct CorpusSource {
    corpus: Corpus,
    total: u64,
    position: u64,
}

impl Source for CorpusSource {
    fn content(&self) -> Content {
        let name = ContentName::new("bench").expect("a plain name");
        Content::new(ContentKind::Bytes, name, Some(self.total))
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        let left = usize::try_from(self.total - self.position).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let read = self.corpus.copy(self.position, &mut buffer[..length]);
        self.position += read as u64;
        Box::pin(ready(Ok(read)))
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }
}

#[derive(Debug)]
struct Place {
    window: Arc<Mutex<Vec<u8>>>,
    committed: mpsc::Sender<Summary>,
}

impl Inbox for Place {
    fn open(&self, _: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        Ok(Box::new(Self { window: Arc::clone(&self.window), committed: self.committed.clone() }))
    }
}

impl Sink for Place {
    fn placement(&self) -> Placement {
        Placement::Anywhere
    }

    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (offset % WINDOW as u64) as usize;
        let length = bytes.len().min(WINDOW - at);
        window[at..at + length].copy_from_slice(&bytes[..length]);
        Box::pin(ready(Ok(())))
    }

    fn commit<'a>(
        &'a mut self,
        summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        let said =
            self.committed.try_send(*summary).map_err(|error| SinkError::Gone(error.to_string()));
        Box::pin(ready(said.map(|()| Committed::default())))
    }

    fn abort(&mut self, reason: &str) {
        eprintln!("the delivery was aborted: {reason}");
    }
}
