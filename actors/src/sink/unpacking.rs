//! Reads a tree stream within the limits of its folder.

use estafette::pipeline::{Refusal, SinkError};

use super::limits::Limits;
use crate::tree::{Counts, Event, TreeError, TreeReader};

/// A tree stream that is being read, and the entries it had so far.
#[derive(Debug)]
pub(super) struct Unpacking {
    reader: TreeReader,
    entries: u64,
    limits: Limits,
}

impl Unpacking {
    pub(super) fn new(limits: Limits) -> Self {
        Self { reader: TreeReader::new(), entries: 0, limits }
    }

    /// Gives `each` what the next bytes of the stream hold.
    pub(super) fn feed(
        &mut self,
        mut input: &[u8],
        mut each: impl FnMut(Event<'_>) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        while let Some(event) = self.reader.next(&mut input).map_err(refused)? {
            if matches!(event, Event::Entry(_)) {
                self.entries += 1;
                self.limits.check_files(self.entries).map_err(SinkError::Refused)?;
            }
            each(event)?;
        }
        Ok(())
    }

    /// The stream is over.
    pub(super) fn finish(&self) -> Result<Counts, SinkError> {
        self.reader.finish().map_err(refused)
    }
}

fn refused(error: TreeError) -> SinkError {
    SinkError::Refused(Refusal::new(error))
}
