//! Bytes in memory as content.

use std::sync::OnceLock;

use bytes::Bytes;
use estafette::delivery::{Content, ContentKind, ContentName};
use estafette::pipeline::{Source, SourceError, SourceReport};
use futures_util::future::BoxFuture;

use super::content_name;

/// Reads bytes that are in memory already.
#[derive(Clone)]
pub struct BytesSource {
    name: ContentName,
    bytes: Bytes,
    position: usize,
    version: OnceLock<[u8; 32]>,
}

impl BytesSource {
    /// Content of this name and these bytes. Fails when `name` is no single file name.
    pub fn new(name: impl AsRef<[u8]>, bytes: impl Into<Bytes>) -> Result<Self, SourceError> {
        Ok(Self {
            name: content_name(name.as_ref())?,
            bytes: bytes.into(),
            position: 0,
            version: OnceLock::new(),
        })
    }
}

impl Source for BytesSource {
    /// The bytes are hashed here, where that may take a while.
    fn content(&self) -> Content {
        self.version();
        Content::new(ContentKind::Bytes, self.name.clone(), Some(self.bytes.len() as u64))
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        let rest = &self.bytes[self.position..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        Box::pin(std::future::ready(Ok(count)))
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }

    /// Whoever has the same bytes can go on with them.
    fn version(&self) -> Option<[u8; 32]> {
        Some(*self.version.get_or_init(|| {
            let mut hasher = blake3::Hasher::new_derive_key("estafette 2026 bytes version");
            *hasher.update(&self.bytes).finalize().as_bytes()
        }))
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        self.position = 0;
        Ok(true)
    }
}

impl std::fmt::Debug for BytesSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BytesSource")
            .field("name", &self.name)
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
