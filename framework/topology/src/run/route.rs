//! A route that runs: looks at its source when it is time to, and sends what is new.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use estafette::delivery::ContentKind;
use estafette::node::{Destination, Pace, SendError, SendOptions, StageRegistry, blocking};
use estafette::pipeline::{Compression, Source};
use estafette::{Node, PeerId, TransferId};
use futures_util::future::join_all;
use tokio::sync::broadcast;

use super::memory::{Memory, Note, now};
use super::watch::{Watch, Watches};
use super::{RouteEvent, RouteNews};
use crate::model::{Kind, Places, RouteSpec, Schedule, SourceSpec, StageSpec, Target};

/// The time without looks after one that found nothing to do.
pub(super) const QUIET: Duration = Duration::from_secs(2);
/// The same in a folder that is watched: what happens there is told, or nearly all of it.
pub(super) const CALM: Duration = Duration::from_secs(60);
/// The least time without looks after one that did.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// So much longer than a look took is waited until the next one.
const IDLE_SHARE: u32 = 20;
/// Targets that are sent to at one time.
const AT_ONCE: usize = 32;
/// After a failure, doubled each time.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A route at the node that sends.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) name: Arc<str>,
    pub(super) spec: Arc<RouteSpec>,
    /// The ids of its targets, in their order.
    pub(super) targets: Arc<Vec<(Target, PeerId)>>,
    /// `true` for each of them at which another route begins.
    pub(super) goes_on: Arc<Vec<bool>>,
    pub(super) via: Option<PeerId>,
    /// Those for whom what passes may be recorded.
    pub(super) recorders: Arc<Vec<(String, PeerId)>>,
    /// The folder in which paths of its settings begin.
    pub(super) places: Places,
    pub(super) node: Node,
    pub(super) registry: StageRegistry,
    pub(super) memory: Memory,
    pub(super) events: broadcast::Sender<RouteEvent>,
    /// Entries that have gone, and since when.
    pub(super) gone: Arc<Mutex<BTreeMap<String, Instant>>>,
}

/// A failure of a route: told, and tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("{0}")]
    Source(String),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("what was sent can't be noted: {0}")]
    Memory(#[from] io::Error),
}

impl RouteError {
    /// Returns `true` if all there is to it is that an earlier delivery is still being stored.
    fn is_storing(&self) -> bool {
        matches!(self, Self::Memory(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The one to be told of two: the end of the node, then what is wrong, and then the first.
    fn worse(self, other: Self) -> Self {
        let rank = |error: &Self| match error {
            Self::Send(SendError::Stopped) => 0,
            error if error.is_storing() => 2,
            _ => 1,
        };
        if rank(&other) < rank(&self) { other } else { self }
    }
}

/// Returns the outcome of two targets, of which neither keeps the other back.
fn both(one: Result<(), RouteError>, other: Result<(), RouteError>) -> Result<(), RouteError> {
    match (one, other) {
        (Err(one), Err(other)) => Err(one.worse(other)),
        (one, other) => one.and(other),
    }
}

impl Route {
    /// Runs until the node stops.
    pub(super) async fn run(self, watches: Watches) {
        let (mut pause, mut watch) = (RETRY.0, None);
        loop {
            // Before it is looked: what happens from here on is seen, or told.
            if let SourceSpec::Each(each) = &self.spec.source {
                watch = watches.watch(&self.places.at(&each.folder), watch.take());
            }
            let (began, mut least) = (Instant::now(), LOOK_AGAIN);
            let mut failed = false;
            let again = match self.look(watch.is_some()).await {
                Ok(again) => {
                    pause = RETRY.0;
                    least = least.max(began.elapsed() * IDLE_SHARE);
                    again.map(|again| again.max(least))
                }
                Err(RouteError::Send(SendError::Stopped)) => return,
                Err(error) if error.is_storing() => Some(LOOK_AGAIN),
                Err(error) => {
                    self.tell(RouteNews::Failed { why: error.to_string(), again: pause });
                    let again = pause;
                    pause = (pause * 2).min(RETRY.1);
                    // What it did itself until it failed has happened there, too.
                    failed = true;
                    Some(again)
                }
            };
            match again {
                Some(again) => rest(least, again, watch.as_mut().filter(|_| !failed)).await,
                None => return,
            }
        }
    }

    pub(super) fn tell(&self, news: RouteNews) {
        let event = RouteEvent { route: self.name.to_string(), news };
        tracing::debug!(?event);
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// Sends what is new, and says when to look again: never, if it has sent what it was to send.
    async fn look(&self, is_watched: bool) -> Result<Option<Duration>, RouteError> {
        match (&self.spec.source, self.spec.schedule) {
            (SourceSpec::Each(each), _) => self.look_at_each(each, is_watched).await,
            // Its inbox looks after it.
            (SourceSpec::Inbox(_), _) => Ok(None),
            (SourceSpec::Kind(kind), Schedule::Once) => {
                // What the file says is what is sent once: other settings are another delivery.
                let mut mark = format!("{} {}", kind.name, kind.settings);
                // What a filter made of it before is not what it makes with other settings.
                for filter in self.spec.stages.iter().filter(|stage| stage.settings.is_some()) {
                    mark.push_str(&format!(" {} {}", filter.name, filter.filter_settings()));
                }
                self.send_to_all("", &mark, || self.content(kind)).await?;
                Ok(None)
            }
            (SourceSpec::Kind(kind), Schedule::Change) => {
                let source = self.source(kind).await?;
                let (source, version) = on_a_thread(move || {
                    let _ = source.content();
                    let version = source.version();
                    (source, version)
                })
                .await?;
                // One that is being written has none yet.
                let Some(version) = version else { return Ok(Some(LOOK_AGAIN)) };
                drop(source);
                let sent = self.send_to_all("", &hex(&version), || self.content(kind)).await?;
                Ok(Some(if sent { LOOK_AGAIN } else { QUIET }))
            }
            (SourceSpec::Kind(kind), Schedule::Every(every)) => {
                self.look_at_time(kind, every).await.map(Some)
            }
        }
    }

    /// Sends if it is time to, and says how long it is until the next time.
    async fn look_at_time(&self, kind: &Kind, every: Duration) -> Result<Duration, RouteError> {
        let now = now();
        let mut newest = None::<Note>;
        for (target, _) in &*self.targets {
            let note = self.memory.last(&self.node, &self.key(target, "")).await?;
            newest = newest.into_iter().chain(note).max_by_key(|note| note.at);
        }
        if let Some(Note { mark, at, .. }) = newest {
            // Those that it did not come to, as something failed or the process died.
            self.send_to_all("", &mark, || self.content(kind)).await?;
            // A clock that was put back begins anew.
            let due = at.min(now) + every.as_secs();
            if due > now {
                return Ok(Duration::from_secs(due - now));
            }
        }
        let mark = format!("at {now}");
        self.send_to_all("", &mark, || self.content(kind)).await?;
        Ok(every)
    }

    /// Sends to each target what it was not sent yet, and says whether there was one; `mark` tells
    /// one content from another.
    pub(super) async fn send_to_all<S, F>(
        &self,
        entry: &str,
        mark: &str,
        source: F,
    ) -> Result<bool, RouteError>
    where
        F: Fn() -> S,
        S: Future<Output = Result<Box<dyn Source>, RouteError>>,
    {
        let (mut left, mut outcome) = (Vec::new(), Ok(()));
        for target in &*self.targets {
            match self.memory.last(&self.node, &self.key(&target.0, entry)).await {
                Ok(last) if last.as_ref().is_some_and(|last| last.mark == mark) => {}
                Ok(_) => left.push(target),
                // One that fails keeps no other back.
                Err(error) => outcome = both(outcome, Err(error.into())),
            }
        }
        for some in left.chunks(AT_ONCE) {
            let each = some.iter().map(|target| self.send_to_one(target, entry, mark, &source));
            outcome = join_all(each).await.into_iter().fold(outcome, both);
        }
        outcome.map(|()| !left.is_empty())
    }

    /// Sends to a target what it was not sent yet.
    async fn send_to_one<S, F>(
        &self,
        (target, peer): &(Target, PeerId),
        entry: &str,
        mark: &str,
        source: &F,
    ) -> Result<(), RouteError>
    where
        F: Fn() -> S,
        S: Future<Output = Result<Box<dyn Source>, RouteError>>,
    {
        let _turn = self.memory.turn(self.spec.priority).await;
        let (key, source) = (self.key(target, entry), source().await?);
        let id = TransferId::random();
        let (mark, to) = (mark.to_owned(), String::new());
        let mut note = Note { key, id, mark, to, at: now(), stored: false, delivered: false };
        self.memory.put(&note).await?;
        let to = Destination::Peer(*peer, target.inbox.clone());
        let name = source.content().name.to_string();
        let sent = self.node.send_with(to, source, self.options(id)).await?;
        note.stored = true;
        self.memory.put(&note).await?;
        self.tell(RouteNews::Sent { id: sent.id(), name, to: target.to_string() });
        Ok(())
    }

    pub(super) fn options(&self, id: TransferId) -> SendOptions {
        let spec = &self.spec;
        let codec = spec.codec.as_deref().and_then(|name| {
            let found = self.registry.stages().codecs().find(|codec| codec.name() == name);
            if name == "off" {
                Some(Compression::Off)
            } else {
                found.map(|codec| codec.id().into())
            }
        });
        let is_coder = |stage: &&StageSpec| !stage.is_filter(&self.registry);
        SendOptions {
            chunk_size: spec.chunk_size,
            compression: codec,
            stages: spec.stages.iter().filter(is_coder).map(|stage| stage.name.clone()).collect(),
            via: self.via,
            expiry: spec.expiry,
            id: Some(id),
            priority: spec.priority,
            pace: spec.rate.map(|rate| Pace { group: self.name.to_string(), rate }),
            ..SendOptions::default()
        }
    }

    /// The key of the note of what was sent to a target.
    pub(super) fn key(&self, target: &Target, entry: &str) -> String {
        format!("{}\n{target}\n{entry}", self.name)
    }

    /// Forgets what was sent under this name.
    pub(super) async fn forget(&self, entry: &str) {
        let keys = self.targets.iter().map(|(target, _)| self.key(target, entry));
        for key in keys.chain([self.key_of_one(entry)]) {
            if let Err(error) = self.memory.forget(&key).await {
                tracing::warn!(%error, route = &*self.name, "a note could not be removed");
            }
        }
    }

    /// The content of a delivery: a source of a kind, in the filters of the route.
    pub(super) async fn content(&self, kind: &Kind) -> Result<Box<dyn Source>, RouteError> {
        let source = self.source(kind).await?;
        let filters = self.spec.stages.iter().filter(|stage| stage.is_filter(&self.registry));
        let filters: Vec<_> = filters.cloned().collect();
        if filters.is_empty() {
            return Ok(source);
        }
        let (registry, places) = (self.registry.clone(), self.places.clone());
        let made = on_a_thread(move || {
            let content = source.content();
            if content.kind == ContentKind::Tree {
                return Err(format!(
                    "the filter {:?} takes files and texts, and {} is a folder: send its files \
                     one by one with each",
                    filters.first().map(|filter| filter.name.as_str()).unwrap_or_default(),
                    content.name
                ));
            }
            let prepared = filters.iter().map(|filter| {
                places.read(|| registry.filter_of(&filter.name, filter.filter_settings()))
            });
            let prepared = prepared.collect::<Result<Vec<_>, _>>();
            let made = prepared.and_then(|filters| {
                filters.into_iter().try_fold(source, |source, filter| filter.around(source))
            });
            made.map_err(|error| error.to_string())
        });
        made.await?.map_err(RouteError::Source)
    }

    /// A source of a kind, made on a thread where it may block.
    pub(super) async fn source(&self, kind: &Kind) -> Result<Box<dyn Source>, RouteError> {
        let (registry, places, kind) = (self.registry.clone(), self.places.clone(), kind.clone());
        on_a_thread(move || {
            let prepared = places.read(|| registry.source_of(&kind.name, kind.settings.clone()));
            prepared.and_then(|prepared| prepared.make())
        })
        .await?
        .map_err(|error| RouteError::Source(error.to_string()))
    }
}

/// Waits until it is time to look again, or something happens in a folder that is watched: that is
/// no earlier than after `least`.
async fn rest(least: Duration, again: Duration, watch: Option<&mut Watch>) {
    let Some(watch) = watch else { return tokio::time::sleep(again).await };
    tokio::time::sleep(least.min(again)).await;
    // In time or not, it is looked at again.
    let _ = tokio::time::timeout(again.saturating_sub(least), watch.happens()).await;
}

/// Does what may block.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RouteError> {
    blocking(work).await.map_err(|error| RouteError::Source(error.to_string()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    /// Returns how often a route looks in an hour in which nothing happens.
    async fn looks(watch: &mut Option<Watch>, again: Duration) -> u32 {
        let (began, mut looks) = (tokio::time::Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(3600) {
            rest(LOOK_AGAIN, again, watch.as_mut()).await;
            looks += 1;
        }
        looks
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_is_watched_is_looked_into_once_a_minute_or_when_something_happens() {
        let Some((folder, watches)) = super::super::watch::folder_that_tells() else { return };
        let mut watch = watches.watch(folder.path(), None);
        assert_eq!(looks(&mut None, QUIET).await, 1800);
        assert_eq!(looks(&mut watch, CALM).await, 60);
        std::fs::write(folder.path().join("a"), "text").unwrap();
        watches.tell().unwrap();
        let began = tokio::time::Instant::now();
        rest(LOOK_AGAIN, CALM, watch.as_mut()).await;
        assert_eq!(began.elapsed(), LOOK_AGAIN, "by a clock that is put forward");
    }

    #[test]
    fn what_is_wrong_with_one_target_is_told_though_another_one_is_being_stored() {
        let storing = || Err(RouteError::Memory(io::ErrorKind::WouldBlock.into()));
        let wrong = || Err(RouteError::Source("it is missing".into()));
        let stopped = || Err(RouteError::Send(SendError::Stopped));
        let text = |outcome: Result<(), RouteError>| outcome.unwrap_err().to_string();
        assert_eq!(text(both(storing(), wrong())), "it is missing");
        assert_eq!(text(both(wrong(), storing())), "it is missing");
        assert_eq!(text(both(wrong(), stopped())), text(stopped()));
        assert!(both(storing(), Ok(())).unwrap_err().is_storing());
        assert!(both(Ok(()), storing()).unwrap_err().is_storing());
        assert!(both(Ok(()), Ok(())).is_ok());
    }
}
