//! Recordings: each delivery of a route that passes goes into a package as well, sealed in the
//! node for the one who may open it.
//!
//! Invariant: what is in a file is whole. A delivery of which a piece could not be taken at once,
//! as disk or processor were slower than the route, is given up, and told.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use estafette::node::{NodeConfig, PackOrder, blocking};
use estafette::pipeline::{Compression, Passing, TAPPED_SOURCE, Tap, Tapping};
use estafette::wire::Suite;
use estafette::{PeerId, TransferId};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::pipe::{Feed, PipeSource, Refused, pipe};
use super::{RouteTaps, TapError};
use crate::model::Shows;
use crate::run::memory::now;

/// Bytes of all deliveries that are recorded which wait to be sealed.
const ROOM: usize = 64 << 20;
/// Deliveries that are recorded at a time, until each is told.
const AT_A_TIME: usize = 64;
/// The time after which one of which nothing comes makes room for another.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// Deliveries of which it is remembered that they are recorded: what is tried again is not twice.
const REMEMBERED: usize = 1024;
/// The time between two looks whether it still may be recorded, if nothing passes.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a chunk of a recording.
const CHUNK: u32 = 256 << 10;
/// Bytes that the inbox of a package may have.
const LABEL: usize = 128;
/// Characters of a delivery's name in the name of its file.
const NAME: usize = 64;

/// The outcome of recording a delivery that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The id of the delivery.
    pub transfer: String,
    /// Its name, printable, where names may be seen.
    pub name: Option<String>,
    /// The target: `NODE/INBOX`.
    pub to: String,
    /// The package and the bytes of its content; or why there is none.
    pub outcome: Result<(PathBuf, u64), String>,
    /// Deliveries since the one told before that are not recorded, and told by this number alone.
    pub dropped: u64,
}

/// Records what passes a route, until it is dropped; what it has not done by then leaves nothing.
pub struct Recording {
    recorder: Arc<Recorder>,
    folder: PathBuf,
    begun: mpsc::Receiver<Begun>,
    packing: FuturesUnordered<BoxFuture<'static, (Recorded, OwnedSemaphorePermit)>>,
    tick: Interval,
    _tapping: Tapping,
}

/// A delivery that has begun to pass, or can't be recorded.
struct Begun {
    id: TransferId,
    name: String,
    to: String,
    source: Result<(PipeSource, OwnedSemaphorePermit), &'static str>,
}

/// The tap of a recording.
struct Recorder {
    taps: RouteTaps,
    receiver: PeerId,
    route: String,
    room: Arc<Semaphore>,
    /// One for each delivery, until what became of it is told.
    places: Arc<Semaphore>,
    begun: mpsc::Sender<Begun>,
    dropped: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    running: HashMap<TransferId, Running>,
    /// The last ones that have passed.
    passed: VecDeque<TransferId>,
}

/// A delivery that passes.
struct Running {
    attempt: u32,
    next: u64,
    seen: Instant,
    feed: Feed,
}

impl RouteTaps {
    /// Records what passes a route from now on into a folder, one package for each delivery, which
    /// the node `receiver` alone can open: the first one that the topology names, unless another
    /// is wanted. A delivery that is under way already is recorded with its next attempt.
    pub async fn record(
        &self,
        route: &str,
        receiver: Option<&str>,
        folder: &Path,
    ) -> Result<Recording, TapError> {
        let found = self.find(route)?;
        let receiver = self.recorder(&found, receiver)?;
        self.registry.packages_in_use()?;
        let path = folder.to_owned();
        let made = blocking(move || std::fs::create_dir_all(path)).await;
        made.map_err(std::io::Error::other)
            .and_then(|made| made)
            .map_err(|error| TapError::Folder { path: folder.to_owned(), error })?;
        let (sender, begun) = mpsc::channel(AT_A_TIME);
        let recorder = Arc::new(Recorder {
            taps: self.clone(),
            receiver,
            route: route.to_owned(),
            room: Arc::new(Semaphore::new(ROOM)),
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            begun: sender,
            dropped: AtomicU64::new(0),
            seen: Mutex::default(),
        });
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Recording {
            _tapping: self.node.tap(Arc::clone(&recorder) as Arc<dyn Tap>),
            recorder,
            folder: folder.to_owned(),
            begun,
            packing: FuturesUnordered::new(),
            tick,
        })
    }
}

impl Recording {
    /// Returns what became of the next delivery; an error when a reload of the topology lets
    /// nothing be recorded for that node any more, also of what is under way. Nothing is lost if
    /// it is dropped while it waits.
    pub async fn next(&mut self) -> Result<Recorded, TapError> {
        let mut recorded = loop {
            tokio::select! {
                biased;
                _ = self.tick.tick() => self.recorder.is_let()?,
                Some((recorded, _place)) = self.packing.next(), if !self.packing.is_empty() => {
                    break recorded;
                }
                Some(begun) = self.begun.recv() => {
                    self.recorder.is_let()?;
                    if let Some(recorded) = self.pack(begun) {
                        break recorded;
                    }
                }
            }
        };
        self.recorder.is_let()?;
        if !self.recorder.shows_names() {
            recorded.name = None;
        }
        recorded.dropped = self.recorder.dropped.swap(0, Ordering::Relaxed);
        Ok(recorded)
    }

    /// Begins with a delivery, or says why it is not recorded.
    fn pack(&mut self, Begun { id, name, to, source }: Begun) -> Option<Recorded> {
        let recorder = Arc::clone(&self.recorder);
        let name = recorder.shows_names().then_some(name);
        let recorded = move |name, to, outcome| {
            let transfer = id.to_string();
            Recorded { transfer, name, to, outcome, dropped: 0 }
        };
        let (source, place) = match source {
            Ok(source) => source,
            Err(why) => return Some(recorded(name, to, Err(why.to_owned()))),
        };
        // Its own id: the same delivery may be recorded for others, too.
        let package = TransferId::random();
        let file = self.folder.join(match &name {
            Some(name) => format!("{}.{}.package", file_name(name), package.short()),
            None => format!("{package}.package"),
        });
        let order = recorder.order(source, package, &to, &file);
        self.packing.push(Box::pin(async move {
            let packed = recorder.taps.node.pack(order).await.map_err(|error| error.to_string());
            let mut outcome = packed.map(|packed| (file.clone(), packed.length));
            if outcome.is_ok() && recorder.is_let().is_err() {
                // What can't be removed is sealed, and told to nobody.
                let _ = blocking(move || std::fs::remove_file(file)).await;
                outcome = Err(NO_MORE.to_owned());
            }
            if outcome.is_err() {
                // If it is tried again, so is this.
                recorder.seen().passed.retain(|passed| *passed != id);
            }
            (recorded(name, to, outcome), place)
        }));
        None
    }
}

impl Tap for Recorder {
    fn pass(&self, passing: &Passing<'_>) {
        let id = passing.transfer;
        if passing.stage != TAPPED_SOURCE || !self.taps.memory.is_of(id, &self.route) {
            return;
        }
        let mut seen = self.seen();
        if !self.taps.may_record(&self.route, self.receiver) {
            if let Some(running) = seen.running.remove(&id) {
                running.feed.fail(NO_MORE);
            }
            return;
        }
        if passing.index == 0 {
            // An earlier attempt has ended with that, and broke off where it was read.
            seen.running.remove(&id);
            if seen.passed.contains(&id) {
                return;
            }
            if let Some(running) = self.begin(passing, &mut seen) {
                seen.running.insert(id, running);
            }
        }
        let Some(running) = seen.running.get_mut(&id) else { return };
        if (running.attempt, running.next) != (passing.attempt, passing.index) {
            return;
        }
        (running.next, running.seen) = (running.next + 1, Instant::now());
        let pushed = match passing.bytes {
            [] => Ok(()),
            bytes => running.feed.try_push(bytes),
        };
        match pushed {
            Ok(()) if !passing.last => return,
            Ok(()) => {
                running.feed.end();
                if seen.passed.len() >= REMEMBERED {
                    seen.passed.pop_front();
                }
                seen.passed.push_back(id);
            }
            Err(Refused::Full) => running.feed.fail(SLOWER),
            Err(Refused::Gone) => {}
        }
        seen.running.remove(&id);
    }
}

/// The reasons that a delivery is not recorded.
const SLOWER: &str = "it is not recorded: sealing and writing it is slower than its route";
const TOO_MANY: &str = "it is not recorded: too many others are at this moment";
const NO_MORE: &str = "it is not recorded: the topology does not let it be any more";

impl Recorder {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shows_names(&self) -> bool {
        self.taps.shows(&self.route) >= Shows::Names
    }

    /// Fails once the topology lets nothing be recorded for that node.
    fn is_let(&self) -> Result<(), TapError> {
        if self.taps.may_record(&self.route, self.receiver) {
            return Ok(());
        }
        Err(TapError::NoMore(self.route.clone()))
    }

    fn begin(&self, passing: &Passing<'_>, seen: &mut Seen) -> Option<Running> {
        let (id, name) = (passing.transfer, passing.content.name.to_string());
        let (_, to) = self.taps.memory.way_of(id)?;
        if self.places.available_permits() == 0 || seen.running.len() >= AT_A_TIME {
            // Of one that was given up, nothing comes any more.
            let is_used = |running: &Running| running.seen.elapsed() < GIVEN_UP;
            seen.running.retain(|_, running| is_used(running) && !running.feed.is_gone());
        }
        let (feed, source) = pipe(passing.content.clone(), Arc::clone(&self.room));
        let place = Arc::clone(&self.places).try_acquire_owned();
        let source = place.map(|place| (source, place)).map_err(|_| TOO_MANY);
        let has_place = source.is_ok();
        if self.begun.try_send(Begun { id, name, to, source }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let Passing { attempt, .. } = *passing;
        has_place.then_some(Running { attempt, next: 0, seen: Instant::now(), feed })
    }

    fn order(&self, source: PipeSource, package: TransferId, to: &str, file: &Path) -> PackOrder {
        let content = estafette::pipeline::Source::content(&source);
        PackOrder {
            source: Box::new(source),
            content,
            identity: self.taps.identity.clone(),
            receiver: self.receiver,
            transfer: package,
            chunk_size: CHUNK,
            suite: Suite::XSALSA20_POLY1305,
            compression: Compression::Snappy,
            // It is recorded before the coders.
            coders: Vec::new(),
            inbox: label(to),
            created: now(),
            expires: now() + NodeConfig::EXPIRY_MOST.as_secs(),
            token: None,
            file: file.to_owned(),
            stages: self.taps.registry.stages().clone(),
        }
    }
}

/// A target as it stands in a package, sealed, in the place of the inbox: by its digest, if it is
/// longer than that may be.
pub(super) fn label(target: &str) -> String {
    if target.len() <= LABEL {
        return target.to_owned();
    }
    blake3::hash(target.as_bytes()).to_hex().to_string()
}

/// A name that any file system takes.
fn file_name(name: &str) -> String {
    let plain = |letter: char| match letter {
        '.' | '-' | '_' => letter,
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '_',
    };
    let name: String = name.chars().map(plain).take(NAME).collect();
    name.trim_start_matches('.').to_owned()
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("route", &self.recorder.route).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use estafette::delivery::{Content, ContentKind, ContentName};
    use estafette_actors::standard;

    use super::*;
    use crate::Topology;

    #[test]
    fn the_name_of_a_file_is_plain_whatever_the_delivery_is_called() {
        assert_eq!(file_name("../é \u{1b}.txt"), "____.txt");
        assert_eq!(file_name(&"x".repeat(300)).len(), NAME);
    }

    const NODE: &str = r#"
        [node.lyon]
        [node.paris]
        listen = "127.0.0.1:9"
        [inbox.letters]
        node = "paris"
        sink = { folder = "in" }
        [route.post]
        from = "lyon"
        source = { each = "out" }
        to = "paris/letters"
        tap = { record = "lyon" }
    "#;

    /// A node whose route may be recorded for itself.
    async fn lyon() -> (tempfile::TempDir, crate::RunningNode) {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("topology.toml");
        std::fs::create_dir(place.path().join("out")).unwrap();
        std::fs::write(&file, NODE).unwrap();
        let topology = Topology::load(&file, &standard()).unwrap();
        topology.make_keys().unwrap();
        let lyon = topology.start("lyon", standard()).await.unwrap();
        (place, lyon)
    }

    /// Passes one byte of a delivery.
    fn pass(recording: &Recording, id: TransferId, (attempt, index): (u32, u64), last: bool) {
        recording.recorder.taps.memory.know(id, "post", "paris/letters");
        let (kind, name) = (ContentKind::Bytes, ContentName::new("a").unwrap());
        let content = &Content::new(kind, name, None);
        let (transfer, stage, bytes) = (id, TAPPED_SOURCE, &b"x"[..]);
        let passing = Passing { transfer, attempt, content, stage, index, bytes, last };
        recording.recorder.pass(&passing);
    }

    #[tokio::test]
    async fn what_is_under_way_when_the_right_to_record_it_ends_leaves_nothing() {
        for is_whole in [false, true] {
            let (place, lyon) = lyon().await;
            let (taps, tapes) = (lyon.taps(), place.path().join("t"));
            let mut recording = taps.record("post", None, &tapes).await.unwrap();
            let id = TransferId::random();
            pass(&recording, id, (0, 0), is_whole);
            let begun = recording.begun.recv().await.unwrap();
            assert!(recording.pack(begun).is_none(), "it is being sealed");
            taps.narrow(&[]);
            if !is_whole {
                pass(&recording, id, (0, 1), true);
            }
            let (recorded, _place) = recording.packing.next().await.unwrap();
            assert!(recorded.outcome.unwrap_err().contains(NO_MORE), "whole: {is_whole}");
            assert_eq!(std::fs::read_dir(&tapes).unwrap().count(), 0, "whole: {is_whole}");
            assert!(matches!(recording.next().await, Err(TapError::NoMore(_))));
            drop(recording);
            lyon.shutdown().await;
        }
    }

    #[tokio::test]
    async fn what_may_be_seen_and_recorded_narrows_and_never_widens_before_a_reload() {
        let (_place, lyon) = lyon().await;
        let taps = lyon.taps();
        let route = taps.find("post").unwrap();
        let (_, id) = route.recorders[0];
        let with = |shows, recorders: &[_]| {
            let mut route = route.clone();
            Arc::make_mut(&mut route.spec).tap.shows = shows;
            route.recorders = Arc::new(recorders.to_vec());
            [route]
        };
        assert_eq!(taps.shows("post"), Shows::Names);
        taps.narrow(&with(Shows::Content, &route.recorders));
        assert_eq!((taps.shows("post"), taps.may_record("post", id)), (Shows::Names, true));
        taps.narrow(&with(Shows::Sizes, &[]));
        assert_eq!((taps.shows("post"), taps.may_record("post", id)), (Shows::Sizes, false));
        taps.narrow(&with(Shows::Content, &route.recorders));
        assert_eq!((taps.shows("post"), taps.may_record("post", id)), (Shows::Sizes, false));
        taps.narrow(&[]);
        assert_eq!(taps.shows("post"), Shows::Nothing);
        lyon.shutdown().await;
    }

    #[tokio::test]
    async fn what_is_tried_again_is_recorded_once_and_what_finds_no_place_is_counted() {
        let (place, lyon) = lyon().await;
        let taps = lyon.taps();
        let mut recording = taps.record("post", None, &place.path().join("t")).await.unwrap();
        let ids: Vec<_> = (0..AT_A_TIME + 3).map(|_| TransferId::random()).collect();
        for id in &ids {
            pass(&recording, *id, (0, 0), true);
            pass(&recording, *id, (1, 0), true);
        }
        let mut told = Vec::new();
        for at in 0..AT_A_TIME {
            let recorded = recording.next().await.unwrap();
            assert_eq!(recorded.outcome.unwrap().1, 1);
            assert_eq!(recorded.dropped, if at == 0 { 6 } else { 0 });
            told.push(recorded.transfer);
        }
        pass(&recording, ids[0], (2, 0), true);
        pass(&recording, ids[AT_A_TIME], (2, 0), true);
        assert_eq!(recording.next().await.unwrap().transfer, ids[AT_A_TIME].to_string());
        told.sort();
        told.dedup();
        assert_eq!(told.len(), AT_A_TIME);
        drop(recording);
        lyon.shutdown().await;
    }
}
