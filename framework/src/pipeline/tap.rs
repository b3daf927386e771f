//! Taps: they see what deliveries pass on their way out of a node, and change nothing of it.
//!
//! Invariant: where nobody taps, a chunk costs one look at a flag.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::BoxFuture;

use super::source::{Known, Source, SourceError, SourceReference, SourceReport};
use crate::delivery::{Content, TransferId};

/// The name of the place before all stages: the content as its source gives it, behind filters.
pub const TAPPED_SOURCE: &str = "source";

/// Sees what passes.
pub trait Tap: Send + Sync + 'static {
    /// Sees a piece of a delivery, on the thread of its stage: whoever waits here slows the
    /// delivery. One that panics sees nothing more.
    fn pass(&self, passing: &Passing<'_>);
}

/// A piece of a delivery that passes.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// The delivery.
    pub transfer: TransferId,
    /// The number of the attempt: each begins at the front of the content.
    pub attempt: u32,
    /// The description of the content.
    pub content: &'a Content,
    /// The stage that it has just passed, or [`TAPPED_SOURCE`].
    pub stage: &'a str,
    /// The index of the piece in its attempt. At the source, each follows the one before; behind a
    /// stage they come as they come.
    pub index: u64,
    /// The bytes, as they are there.
    pub bytes: &'a [u8],
    /// True for the last piece at the source, which may be empty.
    pub last: bool,
}

/// The taps of one node.
#[derive(Clone, Default)]
pub(crate) struct Taps(Arc<Inner>);

#[derive(Default)]
struct Inner {
    are_any: AtomicBool,
    taps: RwLock<Vec<Arc<dyn Tap>>>,
}

/// A tap that sees what passes until this is dropped.
#[must_use = "it sees nothing more when this is dropped"]
pub struct Tapping {
    taps: Taps,
    tap: Arc<dyn Tap>,
}

/// The taps that see the chunks of a transfer.
#[derive(Debug)]
pub(crate) struct Tapped {
    taps: Taps,
    content: Content,
}

impl Taps {
    pub(crate) fn add(&self, tap: Arc<dyn Tap>) -> Tapping {
        let mut taps = self.0.taps.write().unwrap_or_else(PoisonError::into_inner);
        taps.push(Arc::clone(&tap));
        self.0.are_any.store(true, Ordering::Relaxed);
        drop(taps);
        Tapping { taps: self.clone(), tap }
    }

    fn remove(&self, tap: &Arc<dyn Tap>) {
        let mut taps = self.0.taps.write().unwrap_or_else(PoisonError::into_inner);
        taps.retain(|other| !Arc::ptr_eq(other, tap));
        self.0.are_any.store(!taps.is_empty(), Ordering::Relaxed);
    }

    pub(crate) fn are_any(&self) -> bool {
        self.0.are_any.load(Ordering::Relaxed)
    }

    fn pass(&self, passing: &Passing<'_>) {
        let taps = self.0.taps.read().unwrap_or_else(PoisonError::into_inner).clone();
        for tap in taps {
            if catch_unwind(AssertUnwindSafe(|| tap.pass(passing))).is_err() {
                let stage = passing.stage;
                tracing::error!(stage, "a tap panicked; it sees nothing more");
                self.remove(&tap);
            }
        }
    }

    /// Returns these taps for one content, to show its chunks by.
    pub(crate) fn on(&self, content: &Content) -> Tapped {
        Tapped { taps: self.clone(), content: content.clone() }
    }

    /// A source that shows what it gives, for content that no transfer passes as it is.
    pub(crate) fn around(
        &self,
        source: Box<dyn Source>,
        content: &Content,
        transfer: TransferId,
    ) -> Box<dyn Source> {
        let (tapped, attempt, index) = (self.on(content), 0, 0);
        Box::new(TappedSource { source, tapped, transfer, attempt, index })
    }
}

impl Tapped {
    pub(crate) fn pass(
        &self,
        transfer: (TransferId, u32),
        at: (&str, u64),
        bytes: &[u8],
        last: bool,
    ) {
        if !self.taps.are_any() {
            return;
        }
        let ((transfer, attempt), (stage, index)) = (transfer, at);
        let content = &self.content;
        self.taps.pass(&Passing { transfer, attempt, content, stage, index, bytes, last });
    }

    /// Returns `true` if its content is sealed already: it is no content at the source.
    pub(crate) fn is_package(&self) -> bool {
        self.content.kind == crate::delivery::ContentKind::Package
    }
}

/// A source that shows what it gives.
#[derive(Debug)]
struct TappedSource {
    source: Box<dyn Source>,
    tapped: Tapped,
    transfer: TransferId,
    attempt: u32,
    index: u64,
}

impl TappedSource {
    fn show(&mut self, bytes: &[u8], last: bool) {
        let at = (TAPPED_SOURCE, self.index);
        self.tapped.pass((self.transfer, self.attempt), at, bytes, last);
        self.index += 1;
    }
}

impl Source for TappedSource {
    fn content(&self) -> Content {
        self.source.content()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move {
            let count = self.source.read(buffer).await?;
            if count > 0 {
                self.show(buffer.get(..count).unwrap_or_default(), false);
            }
            Ok(count)
        })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        let report = self.source.finish()?;
        self.show(&[], true);
        Ok(report)
    }

    fn version(&self) -> Option<[u8; 32]> {
        self.source.version()
    }

    fn known(&self) -> Option<Known> {
        self.source.known()
    }

    fn reference(&self) -> Option<SourceReference> {
        self.source.reference()
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        (self.attempt, self.index) = (self.attempt + 1, 0);
        self.source.rewind()
    }
}

impl Drop for Tapping {
    fn drop(&mut self) {
        self.taps.remove(&self.tap);
    }
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taps").field("are_any", &self.are_any()).finish()
    }
}

impl fmt::Debug for Tapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tapping").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::delivery::{ContentKind, ContentName};

    #[derive(Default)]
    struct Counts(AtomicUsize);

    impl Tap for Counts {
        fn pass(&self, passing: &Passing<'_>) {
            let seen = self.0.fetch_add(1, Ordering::Relaxed);
            assert!(passing.bytes != b"panic" || seen == usize::MAX, "as it is told to");
        }
    }

    #[test]
    fn a_tap_sees_what_passes_until_it_is_dropped_or_has_panicked() {
        let (taps, counts) = (Taps::default(), Arc::new(Counts::default()));
        let name = ContentName::new("letter").unwrap();
        let content = Content::new(ContentKind::Bytes, name, None);
        let tapped = taps.on(&content);
        let pass = |bytes: &[u8]| {
            let id = TransferId::from_bytes([7; 24]);
            tapped.pass((id, 0), ("seal", 3), bytes, false);
            counts.0.load(Ordering::Relaxed)
        };
        assert_eq!(pass(b"nobody looks"), 0);
        let tapping = taps.add(Arc::clone(&counts) as Arc<dyn Tap>);
        assert_eq!(pass(b"seen"), 1);
        drop(tapping);
        assert_eq!((pass(b"not seen"), taps.are_any()), (1, false));
        let _tapping = taps.add(Arc::clone(&counts) as Arc<dyn Tap>);
        assert_eq!((pass(b"panic"), pass(b"not seen")), (2, 2));
    }
}
