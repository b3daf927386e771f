//! A route that runs: looks at its source when it is time to, and sends what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use estafette::delivery::ContentKind;
use estafette::node::{Destination, Pace, SendError, SendOptions, StageRegistry, blocking};
use estafette::pipeline::{Compression, Source};
use estafette::{Node, PeerId, TransferId};
use futures_util::future::join_all;
use tokio::sync::broadcast;

use super::failure::{RouteError, Sent, both};
use super::memory::{Memory, Note, now};
use super::rest::{LOOK_AGAIN, Looked, QUIET, RETRY, Trouble, rest};
use super::standing::Mirror;
use super::wakes::Wakes;
use super::watch::Watches;
use super::{RouteEvent, RouteNews};
use crate::model::{
    Deliver, Kind, Places, RouteSpec, Schedule, SourceSpec, StageSpec, Target, Then,
};

/// Targets that are sent to at one time.
const AT_ONCE: usize = 32;
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
    /// Entries that can't be sent, as it was told.
    pub(super) left: Arc<Mutex<BTreeSet<String>>>,
    /// The standing of a source whose versions take each other's places.
    pub(super) mirror: Arc<Mirror>,
}

impl Route {
    /// Runs until the node stops.
    pub(super) async fn run(self, watches: Watches, wakes: Wakes) {
        let (mut trouble, mut watch) = (Trouble::default(), None);
        // Of others nothing is to be done when a delivery has ended.
        let ended = match &self.spec.source {
            SourceSpec::Each(each)
                if each.then == Then::Remove || self.spec.deliver == Deliver::One =>
            {
                wakes.of(&self.name)
            }
            _ => Arc::default(),
        };
        loop {
            // Before it is looked: what happens from here on is seen, or told.
            if let SourceSpec::Each(each) = &self.spec.source {
                watch = watches.watch(&self.places.at(&each.folder), watch.take());
            }
            let began = Instant::now();
            let mut is_storing = false;
            let looked = match self.look(watch.is_some()).await {
                Ok(looked) => looked,
                Err(RouteError::Send(SendError::Stopped)) => return,
                // It is being done.
                Err(error) if error.is_storing() => {
                    is_storing = true;
                    Looked { acted: true, ..Looked::again(LOOK_AGAIN) }
                }
                Err(error) => Looked { failed: Some(error), ..Looked::again(RETRY.1) },
            };
            let Some(mut wait) = looked.rest(began.elapsed()) else { return };
            let failed = looked.failed.is_some();
            match looked.failed {
                Some(error) => {
                    if let Some(again) = trouble.tells(Instant::now()) {
                        self.tell(RouteNews::Failed { why: error.to_string(), again });
                    }
                    wait.again = wait.again.min(trouble.left(Instant::now()));
                }
                None if is_storing => {}
                None => trouble = Trouble::default(),
            }
            // What it did itself until it failed has happened there, too.
            rest(wait, watch.as_mut().filter(|_| !failed), &ended).await;
        }
    }

    pub(super) fn tell(&self, news: RouteNews) {
        let event = RouteEvent { route: self.name.to_string(), news };
        tracing::debug!(?event);
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// Sends what is new, and says when to look again: never, if it has sent what it was to send.
    async fn look(&self, is_watched: bool) -> Result<Looked, RouteError> {
        match (&self.spec.source, self.spec.schedule) {
            (SourceSpec::Each(each), _) => self.look_at_each(each, is_watched).await,
            // Its inbox looks after it.
            (SourceSpec::Inbox(_), _) => Ok(Looked { again: None, ..Looked::again(QUIET) }),
            (SourceSpec::Kind(kind), Schedule::Once) => {
                let mark = self.mark_of_once(kind);
                let sent = self.send_to_all("", &mark, || self.content(kind)).await?;
                Ok(Looked { again: sent.waits.then_some(QUIET), ..Looked::again(QUIET) })
            }
            (SourceSpec::Kind(kind), Schedule::Change) => self.look_at_change(kind).await,
            (SourceSpec::Kind(kind), Schedule::Every(every)) => {
                self.look_at_time(kind, every).await
            }
        }
    }

    /// The mark of what is sent once: other settings in the file are another delivery.
    pub(super) fn mark_of_once(&self, kind: &Kind) -> String {
        let mut mark = format!("{} {}", kind.name, kind.settings);
        // What a filter made of it before is not what it makes with other settings.
        for filter in self.spec.stages.iter().filter(|stage| stage.settings.is_some()) {
            mark.push_str(&format!(" {} {}", filter.name, filter.filter_settings()));
        }
        mark
    }

    /// The version of what a source has now: none while it is being written.
    pub(super) async fn version(&self, kind: &Kind) -> Result<Option<String>, RouteError> {
        Ok(self.state_of(kind).await?.0.map(|version| hex(&version)))
    }

    /// Sends if it is time to, and says how long it is until the next time.
    async fn look_at_time(&self, kind: &Kind, every: Duration) -> Result<Looked, RouteError> {
        let now = now();
        let mut newest = None::<Note>;
        for (target, _) in &*self.targets {
            let note = self.memory.last(&self.node, &self.key(target, "")).await?;
            newest = newest.into_iter().chain(note).max_by_key(|note| note.at);
        }
        if let Some(newest) = newest {
            // Those that it did not come to, as something failed or the process died.
            let sent = self.send_to_all("", &newest.mark, || self.mirrored(kind, false)).await?;
            let acted = sent.some;
            let due = newest.due(every);
            if due > now {
                return Ok(Looked { acted, ..Looked::again(Duration::from_secs(due - now)) });
            }
        }
        let mark = format!("at {now}");
        let acted = self.send_to_all("", &mark, || self.mirrored(kind, false)).await?.some;
        self.is_as_it_was_wanted(false).await;
        Ok(Looked { acted, ..Looked::again(every) })
    }

    /// Sends to each target what it was not sent yet; `mark` tells one content from another.
    pub(super) async fn send_to_all<S, F>(
        &self,
        entry: &str,
        mark: &str,
        source: F,
    ) -> Result<Sent, RouteError>
    where
        F: Fn() -> S,
        S: Future<Output = Result<Box<dyn Source>, RouteError>>,
    {
        let (mut left, mut outcome) = (Vec::new(), Ok(Sent::default()));
        for target in &*self.targets {
            match self.memory.last(&self.node, &self.key(&target.0, entry)).await {
                Ok(Some(last)) if last.mark == mark && !self.goes_again(&last).await => {}
                Ok(last) => left.push((target, last)),
                // One that fails keeps no other back.
                Err(error) => outcome = both(outcome, Err(error.into())),
            }
        }
        for some in left.chunks(AT_ONCE) {
            let each = some.iter().map(|(target, last)| async {
                self.send_to_one(target, last.as_ref(), entry, mark, &source).await
            });
            outcome = join_all(each).await.into_iter().fold(outcome, both);
        }
        outcome
    }

    /// Sends to a target what it was not sent yet, unless another version is under way.
    async fn send_to_one<S, F>(
        &self,
        (target, peer): &(Target, PeerId),
        last: Option<&Note>,
        entry: &str,
        mark: &str,
        source: &F,
    ) -> Result<Sent, RouteError>
    where
        F: Fn() -> S,
        S: Future<Output = Result<Box<dyn Source>, RouteError>>,
    {
        let _turn = self.memory.turn(self.spec.priority).await;
        let (key, source) = (self.key(target, entry), source().await?);
        let grounds = self.grounds(last, &*source).await?;
        if !self.may_follow(last, &*source).await {
            return Ok(Sent { waits: true, ..Sent::default() });
        }
        let mut note = Note { grounds, ..Note::new(key, mark, String::new()) };
        self.memory.put(&note).await?;
        let to = Destination::Peer(*peer, target.inbox.clone());
        let name = source.content().name.to_string();
        let sent = self.node.send_with(to, source, self.options(note.id)).await?;
        note.stored = true;
        self.memory.put(&note).await?;
        if let Some(last) = last.filter(|last| last.mark == mark) {
            self.forget_dead(last).await;
        }
        self.tell(RouteNews::Sent { id: sent.id(), name, to: target.to_string() });
        Ok(Sent { some: true, ..Sent::default() })
    }

    /// Returns `true` if another version may go: the one before it is over, or is taken back, since
    /// nobody can have it yet. Of two at once, by a relay or not, the older one could come last.
    pub(super) async fn may_follow(&self, last: Option<&Note>, source: &dyn Source) -> bool {
        match last {
            // Who sends by time sends each.
            Some(last) if !matches!(self.spec.schedule, Schedule::Every(_)) => {
                self.may_replace(last.id, source).await
            }
            _ => true,
        }
    }

    /// Returns `true` if this source may be sent though that was a delivery of the same place.
    pub(super) async fn may_replace(&self, id: TransferId, source: &dyn Source) -> bool {
        let Ok(entry) = self.node.outbox().entry(id).await else { return true };
        if !entry.is_open() {
            return true;
        }
        // It would be read where this one lies: what it was is nowhere any more. What was copied or
        // packed, or lies elsewhere, is another matter.
        let reference = entry.reference();
        let is_gone = reference.is_some() && reference == source.reference();
        let recalled = is_gone && self.node.outbox().recall(id).await.is_ok();
        if recalled {
            tracing::info!(route = &*self.name, %id, "a newer version goes in its place");
        }
        recalled
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

    /// The deliveries that were sent under this name.
    pub(super) fn sent(&self, entry: &str) -> Vec<TransferId> {
        let keys = self.targets.iter().map(|(target, _)| self.key(target, entry));
        keys.filter_map(|key| self.memory.id(&key)).collect()
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

/// Does what may block.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RouteError> {
    blocking(work).await.map_err(|error| RouteError::Source(error.to_string()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
