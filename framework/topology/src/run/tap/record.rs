//! Recordings: each delivery of a route that passes goes into a package as well, sealed in the
//! node for the one who may open it.
//!
//! Invariant: what is in a file is whole. A delivery of which a piece could not be taken at once,
//! as disk or processor were slower than the route, is given up, and told.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use estafette::node::{NodeConfig, PackOrder, blocking};
use estafette::pipeline::{Compression, Passing, TAPPED_SOURCE, Tap, Tapping};
use estafette::wire::Suite;
use estafette::{PeerId, TransferId};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use super::pipe::{Feed, PipeSource, Refused, pipe};
use super::{RouteTaps, TapError};
use crate::run::memory::now;

/// Bytes of all deliveries that are recorded which wait to be sealed.
const ROOM: usize = 64 << 20;
/// Deliveries that are recorded at a time.
const AT_A_TIME: usize = 64;
/// The time after which one of which nothing comes makes room for another.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// Bytes of a chunk of a recording.
const CHUNK: u32 = 256 << 10;
/// Characters of a delivery's name in the name of its file.
const NAME: usize = 64;

/// What became of a delivery that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The id of the delivery.
    pub transfer: String,
    /// Its name, printable.
    pub name: String,
    /// The package and the bytes of its content; or why there is none.
    pub outcome: Result<(PathBuf, u64), String>,
}

/// Records what passes a route, until it is dropped; what it has not done by then leaves nothing.
pub struct Recording {
    taps: RouteTaps,
    receiver: PeerId,
    route: String,
    folder: PathBuf,
    begun: mpsc::Receiver<Begun>,
    packing: FuturesUnordered<BoxFuture<'static, Recorded>>,
    _tapping: Tapping,
}

/// A delivery that has begun to pass, or can't be recorded.
struct Begun {
    id: TransferId,
    name: String,
    source: Result<PipeSource, &'static str>,
}

/// What sees the pieces.
struct Recorder {
    taps: RouteTaps,
    route: String,
    room: Arc<Semaphore>,
    begun: mpsc::Sender<Begun>,
    running: Mutex<HashMap<TransferId, Running>>,
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
        let recorder = Recorder {
            taps: self.clone(),
            route: route.to_owned(),
            room: Arc::new(Semaphore::new(ROOM)),
            begun: sender,
            running: Mutex::default(),
        };
        let tapping = self.node.tap(Arc::new(recorder));
        Ok(Recording {
            taps: self.clone(),
            receiver,
            route: route.to_owned(),
            folder: folder.to_owned(),
            begun,
            packing: FuturesUnordered::new(),
            _tapping: tapping,
        })
    }
}

impl Recording {
    /// Returns what became of the next delivery; an error when a reload of the topology lets
    /// nothing be recorded for that node any more. Nothing is lost if it is dropped while it waits.
    pub async fn next(&mut self) -> Result<Recorded, TapError> {
        loop {
            tokio::select! {
                biased;
                Some(recorded) = self.packing.next(), if !self.packing.is_empty() => {
                    return Ok(recorded);
                }
                Some(begun) = self.begun.recv() => {
                    let route = self.taps.find(&self.route)?;
                    if route.recorders.iter().all(|(_, id)| *id != self.receiver) {
                        let receiver = "that node any more".to_owned();
                        return Err(TapError::Recorder { route: self.route.clone(), receiver });
                    }
                    self.pack(begun);
                }
            }
        }
    }

    fn pack(&mut self, Begun { id, name, source }: Begun) {
        let transfer = id.to_string();
        let source = match source {
            Ok(source) => source,
            Err(why) => {
                let recorded = Recorded { transfer, name, outcome: Err(why.to_owned()) };
                return self.packing.push(Box::pin(std::future::ready(recorded)));
            }
        };
        // Its own id: the same delivery may be recorded for others, too.
        let package = TransferId::random();
        let file = self.folder.join(format!("{}.{}.package", file_name(&name), package.short()));
        let content = estafette::pipeline::Source::content(&source);
        let order = PackOrder {
            source: Box::new(source),
            content,
            identity: self.taps.identity.clone(),
            receiver: self.receiver,
            transfer: package,
            chunk_size: CHUNK,
            suite: Suite::XSALSA20_POLY1305,
            compression: Compression::Snappy,
            // It is recorded before the coders.
            stages: Vec::new(),
            inbox: self.route.clone(),
            created: now(),
            expires: now() + NodeConfig::EXPIRY_MOST.as_secs(),
            token: None,
            file: file.clone(),
            registry: self.taps.registry.clone(),
        };
        let node = self.taps.node.clone();
        self.packing.push(Box::pin(async move {
            let packed = node.pack(order).await.map_err(|error| error.to_string());
            Recorded { transfer, name, outcome: packed.map(|packed| (file, packed.length)) }
        }));
    }
}

impl Tap for Recorder {
    fn pass(&self, passing: &Passing<'_>) {
        let id = passing.transfer;
        if passing.stage != TAPPED_SOURCE || !self.taps.memory.is_of(id, &self.route) {
            return;
        }
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if passing.index == 0 {
            // An earlier attempt has ended with that, and broke off where it was read.
            all.remove(&id);
            // Of one that was given up, nothing comes any more.
            if all.len() >= AT_A_TIME {
                all.retain(|_, running| running.seen.elapsed() < GIVEN_UP);
            }
            if let Some(running) = self.begin(passing, all.len()) {
                all.insert(id, running);
            }
        }
        let Some(running) = all.get_mut(&id) else { return };
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
            Ok(()) => running.feed.end(),
            Err(Refused::Full) => running.feed.fail(SLOWER),
            Err(Refused::Gone) => {}
        }
        all.remove(&id);
    }
}

/// Why a delivery is not recorded.
const SLOWER: &str = "it is not recorded: sealing and writing it is slower than its route";
const TOO_MANY: &str = "it is not recorded: too many others are at this moment";

impl Recorder {
    fn begin(&self, passing: &Passing<'_>, running: usize) -> Option<Running> {
        let (id, name) = (passing.transfer, passing.content.name.to_string());
        let (feed, source) = pipe(passing.content.clone(), Arc::clone(&self.room));
        let is_room = running < AT_A_TIME;
        let source = if is_room { Ok(source) } else { Err(TOO_MANY) };
        let told = self.begun.try_send(Begun { id, name, source }).is_ok();
        let Passing { attempt, .. } = *passing;
        (is_room && told).then_some(Running { attempt, next: 0, seen: Instant::now(), feed })
    }
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
        f.debug_struct("Recording").field("route", &self.route).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_is_plain_whatever_the_delivery_is_called() {
        assert_eq!(file_name("../é \u{1b}.txt"), "____.txt");
        assert_eq!(file_name(&"x".repeat(300)).len(), NAME);
    }
}
