//! Deliveries that go no faster than their sender wants: all of one group together.
//!
//! Invariant: a group that was quiet has saved nothing up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::delivery::Content;
use crate::pipeline::{Known, Source, SourceError, SourceReference, SourceReport};

/// A rate that deliveries of one group keep to together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// The group: deliveries of one node with the same name. The newest rate counts for all.
    pub group: String,
    /// Bytes of content in each second, before they are compressed; of what a relay carries, bytes
    /// of the package. At least one.
    pub rate: u64,
}

/// The groups whose deliveries are under way.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<HashMap<String, Weak<Limiter>>>);

#[derive(Debug)]
struct Limiter(Mutex<Next>);

/// When the next byte may go, at which rate.
#[derive(Clone, Copy, Debug)]
struct Next {
    rate: u64,
    at: Option<Instant>,
}

impl Paces {
    /// The same content, at this pace.
    pub(crate) fn apply(&self, pace: Pace, source: Box<dyn Source>) -> Box<dyn Source> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As many stay as have deliveries under way.
        groups.retain(|_, limiter| limiter.strong_count() > 0);
        let limiter = groups.get(&pace.group).and_then(Weak::upgrade);
        let limiter = limiter.unwrap_or_else(|| {
            let limiter = Arc::new(Limiter(Mutex::new(Next { rate: 1, at: None })));
            groups.insert(pace.group, Arc::downgrade(&limiter));
            limiter
        });
        limiter.next().rate = pace.rate.max(1);
        Box::new(Paced { source, limiter })
    }
}

impl Limiter {
    fn next(&self) -> std::sync::MutexGuard<'_, Next> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Next {
    /// The most bytes of one piece: of an eighth of a second, so that it flows.
    fn piece(&self) -> usize {
        usize::try_from(self.rate / 8).unwrap_or(usize::MAX).max(1)
    }

    /// Takes the turn of so many bytes, and returns when it comes.
    fn turn(&mut self, now: Instant, bytes: usize) -> Instant {
        let turn = self.at.filter(|at| *at > now).unwrap_or(now);
        let takes = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        self.at = Some(turn + takes);
        turn
    }
}

/// A source at a pace.
#[derive(Debug)]
struct Paced {
    source: Box<dyn Source>,
    limiter: Arc<Limiter>,
}

impl Source for Paced {
    fn content(&self) -> Content {
        self.source.content()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move {
            let most = self.limiter.next().piece().min(buffer.len());
            let read = self.source.read(&mut buffer[..most]).await?;
            let turn = self.limiter.next().turn(Instant::now(), read);
            tokio::time::sleep_until(turn.into()).await;
            Ok(read)
        })
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

    fn reference(&self) -> Option<SourceReference> {
        self.source.reference()
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        self.source.rewind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{ContentKind, ContentName};

    #[derive(Debug)]
    struct Nothing;

    impl Source for Nothing {
        fn content(&self) -> Content {
            let name = ContentName::new("nothing").unwrap();
            Content { kind: ContentKind::Bytes, name, length: Some(0) }
        }

        fn read<'a>(&'a mut self, _: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
            Box::pin(std::future::ready(Ok(0)))
        }

        fn finish(&mut self) -> Result<SourceReport, SourceError> {
            Ok(SourceReport::default())
        }
    }

    #[test]
    fn those_of_a_group_take_turns_and_quiet_saves_nothing_up() {
        let start = Instant::now();
        let mut next = Next { rate: 1000, at: None };
        let ms = |turn: Instant| (turn - start).as_millis();
        assert_eq!(ms(next.turn(start, 500)), 0);
        assert_eq!(ms(next.turn(start, 250)), 500);
        assert_eq!(ms(next.turn(start, 250)), 750);
        // A minute later it begins anew.
        let later = start + Duration::from_secs(60);
        assert_eq!(ms(next.turn(later, 1000)), 60_000);
        assert_eq!(ms(next.turn(later, 1)), 61_000);
        assert_eq!(next.piece(), 125);
        assert_eq!(Next { rate: 1, at: None }.piece(), 1);
    }

    #[test]
    fn a_group_is_one_as_long_as_somebody_is_in_it() {
        let paces = Paces::default();
        let pace = |group: &str, rate| Pace { group: group.into(), rate };
        let source = || Box::new(Nothing) as Box<dyn Source>;
        let first = paces.apply(pace("post", 5), source());
        let other = paces.apply(pace("news", 7), source());
        drop(paces.apply(pace("post", 9), source()));
        let groups = || paces.0.lock().unwrap().len();
        assert_eq!(groups(), 2);
        drop((first, other));
        drop(paces.apply(pace("more", 1), source()));
        assert_eq!(groups(), 1);
    }
}
