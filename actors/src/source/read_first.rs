//! Content that is read once before it is sent, so that its digest is known.

use estafette::delivery::Content;
use estafette::pipeline::{Known, Source, SourceError, SourceReference, SourceReport};
use futures_util::future::BoxFuture;

/// A source whose digest is known: a receiver that has the same from an earlier delivery answers
/// that it is there already, and nothing of it is sent again ([`Source::known`]). Costs that all is
/// read twice, where it is sent after all.
#[derive(Debug)]
pub struct ReadFirst<S> {
    source: S,
    /// As long as it has not begun anew.
    known: Option<Known>,
}

/// Bytes that are read at once: between these, whoever waits may think better of it.
const PIECE: usize = 1 << 20;

impl<S: Source> ReadFirst<S> {
    /// Reads the source to its end and goes back to its start. Blocks as the source does; may be
    /// dropped while it reads.
    ///
    /// Fails where the source does, and for one that can't be read twice.
    pub async fn new(mut source: S) -> Result<Self, SourceError> {
        let name = source.content().name;
        let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; PIECE]);
        loop {
            match source.read(&mut buffer).await? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            };
            tokio::task::yield_now().await;
        }
        let report = source.finish()?;
        if !source.rewind()? {
            let why = "it can't be read twice, and what the receiver has is known by reading it \
                       once before"
                .into();
            return Err(SourceError::Unsuitable { what: name.to_string(), why });
        }
        Ok(Self { source, known: Some(Known { digest: *hasher.finalize().as_bytes(), report }) })
    }
}

impl<S: Source> Source for ReadFirst<S> {
    fn content(&self) -> Content {
        self.source.content()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        self.source.read(buffer)
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        self.source.finish()
    }

    fn version(&self) -> Option<[u8; 32]> {
        self.source.version()
    }

    fn known(&self) -> Option<Known> {
        self.known.clone()
    }

    fn reference(&self) -> Option<SourceReference> {
        self.source.reference()
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        // It may be another content by now.
        self.known = None;
        self.source.rewind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{BytesSource, ReaderSource, fill};

    #[tokio::test]
    async fn the_digest_is_known_until_it_begins_anew_and_all_is_there_to_be_read() {
        let bytes = vec![7; 3 * PIECE + 1];
        let mut source =
            ReadFirst::new(BytesSource::new("a", bytes.clone()).unwrap()).await.unwrap();
        assert_eq!(source.known().unwrap().digest, *blake3::hash(&bytes).as_bytes());
        let mut read = vec![0; bytes.len() + 1];
        assert_eq!(fill(&mut source, &mut read).await.unwrap(), bytes.len());
        assert!(read[..bytes.len()] == bytes && source.finish().is_ok());
        assert!(source.rewind().unwrap() && source.known().is_none());
    }

    #[tokio::test]
    async fn what_can_t_be_read_twice_is_named() {
        let error =
            ReadFirst::new(ReaderSource::new("a", &b"once"[..]).unwrap()).await.unwrap_err();
        assert!(matches!(&error, SourceError::Unsuitable { what, .. } if what == "a"), "{error}");
    }
}
