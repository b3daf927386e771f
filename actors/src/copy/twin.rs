//! The first try of a delivery whose content is being copied.
//!
//! Reading what was given twice costs less than opening what was just sealed, as long as it stays
//! what it was. Invariant: the end is given out only when the copy has it, too, so nothing arrives
//! that later tries could not bring.

use estafette::delivery::Content;
use estafette::pipeline::{Source, SourceError, SourceReport};
use futures_util::future::BoxFuture;

use super::CopySource;

/// Reads the twin once, and after that the copy.
#[derive(Debug)]
pub(super) struct TwinSource {
    twin: Option<Box<dyn Source>>,
    copy: CopySource,
}

impl TwinSource {
    pub(super) fn new(twin: Box<dyn Source>, copy: CopySource) -> Self {
        Self { twin: Some(twin), copy }
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let Some(twin) = &mut self.twin else { return self.copy.read(buffer).await };
        let read = twin.read(buffer).await?;
        if read == 0 {
            self.copy.whole().await?;
        }
        Ok(read)
    }
}

impl Source for TwinSource {
    fn content(&self) -> Content {
        self.copy.content()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(self.fill(buffer))
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        match &mut self.twin {
            Some(twin) => twin.finish(),
            None => self.copy.finish(),
        }
    }

    fn version(&self) -> Option<[u8; 32]> {
        self.copy.version()
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        // What was given may be something else by now, and need not be there any more.
        self.twin = None;
        self.copy.rewind()
    }
}
