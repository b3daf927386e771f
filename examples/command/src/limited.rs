//! `send --limit`: a source that is read no faster than somebody wants.

use std::time::Duration;

use estafette::delivery::Content;
use estafette::pipeline::{Known, Source, SourceError, SourceReport};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

/// Content at a limited rate. It can't be found again by another process at that rate, so it has no
/// reference.
#[derive(Debug)]
pub(crate) struct Limited {
    source: Box<dyn Source>,
    /// Bytes each second.
    rate: u64,
    /// The time when the next byte may be read.
    next: Option<Instant>,
}

impl Limited {
    pub(crate) fn new(source: Box<dyn Source>, rate: u64) -> Self {
        Self { source, rate, next: None }
    }

    async fn read_slowly(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        // What was not used does not add up.
        let now = Instant::now();
        let next = self.next.filter(|next| *next > now).unwrap_or(now);
        sleep_until(next).await;
        // Pieces of an eighth of a second, so that it flows.
        let most = usize::try_from(self.rate / 8).unwrap_or(usize::MAX).clamp(1, buffer.len());
        let read = self.source.read(&mut buffer[..most]).await?;
        self.next = Some(next + Duration::from_secs_f64(read as f64 / self.rate as f64));
        Ok(read)
    }
}

impl Source for Limited {
    fn content(&self) -> Content {
        self.source.content()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(self.read_slowly(buffer))
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        self.source.finish()
    }

    fn version(&self) -> Option<[u8; 32]> {
        self.source.version()
    }

    fn known(&self) -> Option<Known> {
        self.source.known()
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        self.source.rewind()
    }
}

#[cfg(test)]
mod tests {
    use estafette_actors::source::BytesSource;

    use super::*;

    #[test]
    fn it_takes_as_long_as_the_rate_says_and_is_the_same_content() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut source =
                Limited::new(Box::new(BytesSource::new("x", vec![7; 100_000]).unwrap()), 500_000);
            let (start, mut all, mut buffer) = (Instant::now(), Vec::new(), vec![0; 30_000]);
            loop {
                match source.read(&mut buffer).await.unwrap() {
                    0 => break,
                    read => all.extend_from_slice(&buffer[..read]),
                }
            }
            assert!(all == vec![7; 100_000]);
            assert!(start.elapsed() >= Duration::from_millis(199), "{:?}", start.elapsed());
        });
    }
}
