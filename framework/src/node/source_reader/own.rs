//! The source of a delivery, by itself and with others who send the same.

use std::sync::Arc;
use std::time::Instant;

use super::{Run, fill, look_again};
use crate::delivery::Content;
use crate::node::reading::{Made, Maker, Next, Seat, Turn};
use crate::node::registry::StageRegistry;
use crate::node::shared::NodeShared;
use crate::pipeline::{
    Buffer, Credit, Prefix, Slot, Source, SourceError, SourceReference, SourceReport,
};

/// A source, and where it stands.
#[derive(Debug)]
pub(crate) struct Own {
    /// None while it is lent to those who send the same.
    source: Option<Box<dyn Source>>,
    /// Chunks that were read of it.
    at: u64,
    /// The means of finding it again when it was lent.
    again: Option<(StageRegistry, SourceReference)>,
}

/// Others who send the same.
#[derive(Debug)]
pub(crate) struct With {
    pub(crate) seat: Seat,
    /// The mark that tells this version of the content from others.
    pub(crate) version: [u8; 32],
    pub(crate) shared: Arc<NodeShared>,
}

/// Reading with others.
pub(super) struct Together {
    pub(super) with: With,
    maker: Maker,
}

impl Own {
    pub(crate) fn new(
        source: Box<dyn Source>,
        again: Option<(StageRegistry, SourceReference)>,
    ) -> Self {
        Self { source: Some(source), at: 0, again }
    }

    fn source(&mut self) -> Result<&mut dyn Source, SourceError> {
        let source = match self.source.take() {
            Some(source) => source,
            None => {
                let (registry, reference) =
                    self.again.as_ref().ok_or_else(|| SourceError::Unsuitable {
                        what: "the content".into(),
                        why: "it was read together with other deliveries, and can't be found again"
                            .into(),
                    })?;
                self.at = 0;
                registry.reopen(reference)?
            }
        };
        Ok(self.source.insert(source).as_mut())
    }

    /// Goes back to the start; says what it is now.
    pub(super) fn back_to_start(&mut self) -> Result<(Content, Option<[u8; 32]>), SourceError> {
        let was_lent = self.source.is_none();
        let source = self.source()?;
        if was_lent || source.rewind()? {
            // What it is may have changed with it: its length, its time.
            let about = (source.content(), source.version());
            self.at = 0;
            return Ok(about);
        }
        let why = "it would have to be sent again from the start, and this source can't be read \
                   twice"
            .into();
        Err(SourceError::Unsuitable { what: source.content().name.to_string(), why })
    }

    /// Stands at a chunk of the version that the others read: what is before it is read, and dropped.
    pub(super) async fn stand_at(
        &mut self,
        index: u64,
        run: &Run,
        version: [u8; 32],
    ) -> Result<(), SourceError> {
        if self.source.is_none() {
            let source = self.source()?;
            let what = source.content().name.to_string();
            if source.version() != Some(version) {
                let how = "it is not what was begun with".into();
                return Err(SourceError::Changed { what, how });
            }
        }
        let size = run.transfer.scope.chunk_size as usize;
        let mut passed = run.transfer.buffers.take(if self.at < index { size } else { 0 });
        while self.at < index {
            let length = fill(self.source()?, &mut passed).await?;
            self.at += 1;
            run.transfer.read_again(length);
            // Whoever waits may think better of it.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The next chunk, behind the room of a prefix, to be made ready by the stages.
    pub(super) async fn cut(
        &mut self,
        index: u64,
        run: &Run,
        place: &mut Option<(Credit, Slot)>,
    ) -> Result<(Buffer, Made), SourceError> {
        let (buffer, length, report) = cut(self.source()?, index, run, place, None).await?;
        self.at += 1;
        let bytes = &buffer[Prefix::LENGTH..Prefix::LENGTH + length];
        run.transfer.pass_at_source(index, bytes, report.is_some());
        Ok((buffer, Made { ready: None, length, report }))
    }
}

impl Together {
    /// None where chunks can't be made on this thread.
    pub(super) fn new(with: With, run: &Run) -> Option<Self> {
        let maker = Maker::new(&run.transfer, &with.shared.registry, &with.shared.metrics)?;
        Some(Self { with, maker })
    }

    /// The next chunk, made by another one or for them, too. None where this delivery reads for
    /// itself from here on.
    pub(super) async fn chunk(
        &mut self,
        own: &mut Own,
        index: u64,
        run: &Run,
    ) -> Result<Option<Made>, SourceError> {
        // A tap sees all that each delivery passes.
        if self.with.shared.taps.are_any() {
            return Ok(None);
        }
        let (turn, lent) = match self.with.seat.next(index, self.with.shared.config.window).await {
            Next::Made(made) => return Ok(Some(made)),
            Next::Alone(None) => return Ok(None),
            Next::Alone(Some(source)) => {
                (own.source, own.at) = (Some(source), index);
                return Ok(None);
            }
            Next::Read(turn, lent) => (turn, lent),
        };
        let mut source = match lent {
            Some(source) => source,
            // Nobody has read yet, or who did is gone with it.
            None => {
                if own.source.is_none() || own.at < index {
                    turn.takes_long();
                }
                own.stand_at(index, run, self.with.version).await?;
                match own.source.take() {
                    Some(source) => source,
                    None => return Ok(None),
                }
            }
        };
        let (buffer, length, report) =
            cut(source.as_mut(), index, run, &mut None, Some(&turn)).await?;
        turn.was_read(source);
        let ready = match length {
            0 => None,
            _ => match self.maker.make(index, buffer, length) {
                Some(ready) => Some(ready),
                // A stage failed: it does so again in the delivery's own chain, and is named.
                None => return Ok(None),
            },
        };
        let made = Made { ready, length, report };
        turn.was_made(made.clone());
        Ok(Some(made))
    }
}

/// Reads a chunk behind the room of a prefix; behind the last one the source has its last word, so
/// that what changed while it was read is never committed.
async fn cut(
    source: &mut dyn Source,
    index: u64,
    run: &Run,
    place: &mut Option<(Credit, Slot)>,
    turn: Option<&Turn>,
) -> Result<(Buffer, usize, Option<SourceReport>), SourceError> {
    let (start, size) = (Instant::now(), run.transfer.scope.chunk_size as usize);
    let mut buffer = run.transfer.buffers.take(Prefix::LENGTH + size);
    let length = fill(source, &mut buffer[Prefix::LENGTH..]).await?;
    let mut ended = (length < size).then(|| source.finish());
    if let Some(Err(SourceError::Doubtful { what, how })) = ended {
        // Nobody waits for what this has, while much is read.
        if let Some(turn) = turn {
            turn.takes_long();
        }
        let had_one = place.take().is_some();
        let tail = &buffer[Prefix::LENGTH..][..length];
        ended = Some(look_again(source, &run.transfer, index, tail, (what, how)).await);
        if had_one {
            *place = Some(run.place().await);
        }
    }
    let report = ended.transpose()?;
    run.metrics.done(length, length, start.elapsed());
    Ok((buffer, length, report))
}
