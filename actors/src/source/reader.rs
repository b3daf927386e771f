//! Any `AsyncRead` as content.

use estafette::delivery::{Content, ContentKind, ContentName};
use estafette::pipeline::{Source, SourceError, SourceReport};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::content_name;
use crate::tree::printable;

/// Reads a pipe, a socket, the output of a program. It can be read once only: there is no second
/// attempt.
pub struct ReaderSource<R> {
    name: ContentName,
    length: Option<u64>,
    reader: R,
}

impl<R: AsyncRead + Send + Unpin + 'static> ReaderSource<R> {
    /// Content of this name, read from `reader` until it ends. Fails when `name` is no single file
    /// name.
    pub fn new(name: impl AsRef<[u8]>, reader: R) -> Result<Self, SourceError> {
        Ok(Self { name: content_name(name.as_ref())?, length: None, reader })
    }

    /// Tells the receiver a length beforehand: a hint for its progress, quotas and free space.
    #[must_use]
    pub fn expect_length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }
}

impl<R: AsyncRead + Send + Unpin + 'static> Source for ReaderSource<R> {
    fn content(&self) -> Content {
        Content::new(ContentKind::Bytes, self.name.clone(), self.length)
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move {
            let read = self.reader.read(buffer).await;
            read.map_err(|error| SourceError::Read { what: printable(self.name.as_bytes()), error })
        })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }
}

impl<R> std::fmt::Debug for ReaderSource<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReaderSource")
            .field("name", &self.name)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
