//! A user's filter between a source and the chunker.
//!
//! What changes the content stands here, and the receiver gets what the filter made of it: digest,
//! length and resumption are those of its output.

use std::fmt::Debug;

use estafette::delivery::Content;
use estafette::pipeline::{Source, SourceError, SourceReport};
use futures_util::future::BoxFuture;

/// Changes a stream as it passes: a redaction, a conversion.
///
/// The same input, cut anywhere, has to give the same output: it can't be known in what pieces the
/// input comes.
pub trait Filter: Debug + Send + 'static {
    /// Takes the next piece and appends what it becomes, perhaps nothing yet, to `output`.
    fn push(&mut self, input: &[u8], output: &mut Vec<u8>);

    /// The input has ended: appends what was held back.
    fn finish(&mut self, output: &mut Vec<u8>);

    /// Forgets what it was given, for a new attempt from the start.
    fn reset(&mut self);
}

/// A source with a filter before it.
#[derive(Debug)]
pub struct Filtered<S, F> {
    source: S,
    filter: F,
    input: Box<[u8]>,
    output: Vec<u8>,
    taken: usize,
    ended: bool,
}

/// The bytes that are read before the filter gets them.
const INPUT: usize = 64 * 1024;

impl<S: Source, F: Filter> Filtered<S, F> {
    /// Makes a source whose content is that of `source`, passed through `filter`. Its length is not
    /// known beforehand.
    pub fn new(source: S, filter: F) -> Self {
        Self {
            source,
            filter,
            input: vec![0; INPUT].into_boxed_slice(),
            output: Vec::new(),
            taken: 0,
            ended: false,
        }
    }

    async fn refill(&mut self) -> Result<(), SourceError> {
        self.output.clear();
        self.taken = 0;
        while self.output.is_empty() && !self.ended {
            match self.source.read(&mut self.input).await? {
                0 => {
                    self.ended = true;
                    self.filter.finish(&mut self.output);
                }
                count => self.filter.push(&self.input[..count], &mut self.output),
            }
        }
        Ok(())
    }
}

impl<S: Source, F: Filter> Source for Filtered<S, F> {
    fn content(&self) -> Content {
        self.source.content().with_length(None)
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move {
            if self.taken == self.output.len() {
                self.refill().await?;
            }
            let rest = &self.output[self.taken..];
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.taken += count;
            Ok(count)
        })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        self.source.finish()
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        self.filter.reset();
        self.output.clear();
        (self.taken, self.ended) = (0, false);
        self.source.rewind()
    }
}
