//! A tap of a route: samples of what passes one of its stages, and how much passes.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use estafette::TransferId;
use estafette::pipeline::{Passing, TAPPED_SOURCE, Tap, Tapping};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{RouteTaps, TapError};
use crate::model::Shows;

/// Samples that wait for whoever looks; further ones are dropped.
const WAITING: usize = 256;
/// The time between two reports of how much passed.
const RATE: Duration = Duration::from_secs(1);
/// Deliveries of which it is remembered whether they are the route's.
const REMEMBERED: usize = 4096;

/// The choice of what a tap is to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapOptions {
    /// The stage behind which it looks; none: the content, as it goes into the first stage.
    pub stage: Option<String>,
    /// Samples in a second, from 1 to [`TapOptions::SAMPLES_MOST`].
    pub samples: u32,
    /// Bytes of each sample that are shown where the topology lets content be seen, at most
    /// [`TapOptions::BYTES_MOST`].
    pub bytes: usize,
}

impl TapOptions {
    /// The most samples in a second.
    pub const SAMPLES_MOST: u32 = 1000;
    /// The most bytes of a sample.
    pub const BYTES_MOST: usize = 4096;
}

impl Default for TapOptions {
    fn default() -> Self {
        Self { stage: None, samples: 10, bytes: 256 }
    }
}

/// News of a tap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TapNews {
    /// A piece that has passed.
    Piece(TapPiece),
    /// The amount that passed since the last such news, if something did.
    Rate(TapRate),
}

/// A piece of a delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TapPiece {
    /// The id of the delivery.
    pub transfer: String,
    /// The name of its content, printable, where names may be seen.
    pub name: Option<String>,
    /// Bytes of its content, where its source knows them.
    pub total: Option<u64>,
    /// The index of the piece.
    pub index: u64,
    /// Bytes of the piece.
    pub bytes: u64,
    /// Its first bytes, where content may be seen.
    pub content: Option<TapContent>,
}

/// The first bytes of a piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TapContent {
    /// They are UTF-8.
    Text(String),
    /// They are not: in hexadecimal digits.
    Hex(String),
}

/// The amount that has passed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TapRate {
    /// In so many milliseconds.
    pub milliseconds: u64,
    /// Pieces.
    pub pieces: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Pieces of them that were told one by one.
    pub shown: u64,
    /// Samples that were dropped, as whoever looks had not taken those before.
    pub dropped: u64,
}

/// A tap of a route, until it is dropped.
#[derive(Debug)]
pub struct RouteTap {
    watch: Arc<Watch>,
    pieces: mpsc::Receiver<TapPiece>,
    tick: Interval,
    told: (Instant, [u64; 4]),
    _tapping: Tapping,
}

/// The tap that sees the pieces.
struct Watch {
    taps: RouteTaps,
    route: String,
    stage: String,
    bytes: usize,
    /// Nanoseconds from one sample to the next.
    every: u64,
    began: Instant,
    /// The time from which the next sample may be taken, in nanoseconds since then.
    next: AtomicU64,
    ours: RwLock<HashMap<TransferId, bool>>,
    pieces: mpsc::Sender<TapPiece>,
    /// Pieces, bytes, shown and dropped.
    counted: [AtomicU64; 4],
}

impl RouteTaps {
    /// Taps a route. It shows what the topology lets be seen of it, also after a reload.
    pub fn tap(&self, route: &str, options: &TapOptions) -> Result<RouteTap, TapError> {
        let found = self.find(route)?;
        if found.spec.tap.shows == Shows::Nothing {
            return Err(TapError::Nothing(route.to_owned()));
        }
        let stage = options.stage.as_deref().unwrap_or(TAPPED_SOURCE);
        let stages = self.stages(&found)?;
        if !stages.iter().any(|known| known == stage) {
            let (route, stage) = (route.to_owned(), stage.to_owned());
            return Err(TapError::Stage { route, stage, known: stages.join(", ") });
        }
        let (sender, pieces) = mpsc::channel(WAITING);
        let samples = options.samples.clamp(1, TapOptions::SAMPLES_MOST);
        let watch = Arc::new(Watch {
            taps: self.clone(),
            route: route.to_owned(),
            stage: stage.to_owned(),
            bytes: options.bytes.min(TapOptions::BYTES_MOST),
            every: 1_000_000_000 / u64::from(samples),
            began: Instant::now(),
            next: AtomicU64::new(0),
            ours: RwLock::default(),
            pieces: sender,
            counted: Default::default(),
        });
        let mut tick = interval(RATE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let tapping = self.node.tap(Arc::clone(&watch) as Arc<dyn Tap>);
        Ok(RouteTap { watch, pieces, tick, told: (Instant::now(), [0; 4]), _tapping: tapping })
    }
}

impl RouteTap {
    /// Returns the next news, of what may be seen at this moment; an error when a reload of the topology lets nothing be seen any
    /// more. Nothing is lost if it is dropped while it waits.
    pub async fn next(&mut self) -> Result<TapNews, TapError> {
        loop {
            tokio::select! {
                biased;
                _ = self.tick.tick() => {
                    let Watch { taps, route, .. } = &*self.watch;
                    if taps.shows(route) == Shows::Nothing {
                        return Err(TapError::Nothing(route.clone()));
                    }
                    if let Some(rate) = self.rate() {
                        return Ok(TapNews::Rate(rate));
                    }
                }
                Some(mut piece) = self.pieces.recv() => {
                    let Watch { taps, route, .. } = &*self.watch;
                    // A reload may have come while it waited.
                    let shows = taps.shows(route);
                    if shows == Shows::Nothing {
                        return Err(TapError::Nothing(route.clone()));
                    }
                    piece.name = piece.name.filter(|_| shows >= Shows::Names);
                    piece.content = piece.content.filter(|_| shows >= Shows::Content);
                    return Ok(TapNews::Piece(piece));
                }
            }
        }
    }

    fn rate(&mut self) -> Option<TapRate> {
        let now = Instant::now();
        let counted = self.watch.counted.each_ref().map(|count| count.load(Ordering::Relaxed));
        let (since, before) = self.told;
        self.told = (now, counted);
        let [pieces, bytes, shown, dropped] =
            std::array::from_fn(|at| counted[at].saturating_sub(before[at]));
        let milliseconds = now.duration_since(since).as_millis().try_into().unwrap_or(u64::MAX);
        (pieces > 0).then_some(TapRate { milliseconds, pieces, bytes, shown, dropped })
    }
}

impl Watch {
    fn count(&self, at: usize, by: u64) {
        self.counted[at].fetch_add(by, Ordering::Relaxed);
    }

    /// Returns `true` if a delivery is one of the route's; found once.
    fn is_ours(&self, id: TransferId) -> bool {
        if let Some(ours) = self.ours.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return *ours;
        }
        let is_ours = self.taps.memory.is_of(id, &self.route);
        let mut ours = self.ours.write().unwrap_or_else(PoisonError::into_inner);
        if ours.len() >= REMEMBERED {
            ours.clear();
        }
        ours.insert(id, is_ours);
        is_ours
    }

    /// Returns `true` if it is time for a sample; true for one of those who ask at a time.
    fn is_time(&self) -> bool {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let next = self.next.load(Ordering::Relaxed);
        let (after, order) = (now.saturating_add(self.every), Ordering::Relaxed);
        now >= next && self.next.compare_exchange(next, after, order, order).is_ok()
    }
}

impl Tap for Watch {
    fn pass(&self, passing: &Passing<'_>) {
        // What is at the end of a source may be empty: it is no piece.
        if passing.stage != self.stage
            || passing.bytes.is_empty()
            || !self.is_ours(passing.transfer)
        {
            return;
        }
        let bytes = passing.bytes.len() as u64;
        self.count(0, 1);
        self.count(1, bytes);
        if !self.is_time() {
            return;
        }
        let shows = self.taps.shows(&self.route);
        if shows == Shows::Nothing {
            return;
        }
        let content = (shows == Shows::Content).then(|| shown(passing.bytes, self.bytes));
        let piece = TapPiece {
            transfer: passing.transfer.to_string(),
            name: (shows >= Shows::Names).then(|| passing.content.name.to_string()),
            total: passing.content.length,
            index: passing.index,
            bytes,
            content,
        };
        let at = if self.pieces.try_send(piece).is_ok() { 2 } else { 3 };
        self.count(at, 1);
    }
}

/// The first so many bytes, as text if they are.
fn shown(bytes: &[u8], most: usize) -> TapContent {
    let front = bytes.get(..most.min(bytes.len())).unwrap_or_default();
    let text = match std::str::from_utf8(front) {
        Ok(text) => Some(text),
        // A character may have been cut in two.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            front.get(..error.valid_up_to()).and_then(|front| std::str::from_utf8(front).ok())
        }
        Err(_) => None,
    };
    match text {
        Some(text) => TapContent::Text(text.to_owned()),
        None => TapContent::Hex(crate::run::route::hex(front)),
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, stage, .. } = self;
        f.debug_struct("Watch").field("route", route).field("stage", stage).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_in_the_middle_of_a_character_is_text_and_what_is_none_is_digits() {
        assert_eq!(shown("Zürich".as_bytes(), 2), TapContent::Text("Z".into()));
        assert_eq!(shown("Zürich".as_bytes(), 100), TapContent::Text("Zürich".into()));
        assert_eq!(shown(b"\xff\x00abc", 2), TapContent::Hex("ff00".into()));
    }
}
