//! Stored deliveries while either process comes and goes, links break, bits change, and somebody
//! gives one up, at moments drawn from a seed: none is lost, each is made once at most, both ends
//! hear of its end, and nothing is left over.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use estafette::node::{MemoryStore, OutboxError, OutboxState, Store, TakenOut};
use estafette::testing::{Connecting, Faults, Pair, Random};
use estafette::wire::LinkConfig;
use estafette::{Failure, FailureKind, Node, NodeConfig, Receipt, TransferHandle, TransferId};
use estafette_actors::sink::{FileSink, OnConflict};
use estafette_actors::source::FileSource;
use estafette_actors::standard;
use futures_util::future::join_all;
use tempfile::TempDir;

use super::harness::{CHUNK, config, each_seed, seeds};

const SEEDS: u64 = 30;
/// Deliveries of each simulation.
const DELIVERIES: u64 = 3;
/// Connections that bits change on, or that break by themselves: the ones behind them are good.
const BAD: u64 = 40;
/// Longer than anything that is under way is quiet: after many tries, the next one is minutes away.
const QUIET: Duration = Duration::from_secs(5);

/// Soon notices what was damaged so that it is waited for in vain, and notes often how far a
/// delivery is.
fn impatient() -> NodeConfig {
    let link = LinkConfig::new(
        Duration::from_millis(200),
        Duration::from_millis(800),
        Duration::from_secs(3600),
    )
    .unwrap();
    NodeConfig {
        link,
        handshake_timeout: Duration::from_secs(1),
        checkpoint: 4 * CHUNK as u64,
        ..config()
    }
}

/// The faults of the road, besides that somebody cuts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    Good,
    Breaks,
    Flips,
}

impl Road {
    fn faults(self, connecting: &Connecting, random: &mut Random) -> Faults {
        let mut somewhere = |most: u64| {
            let most = most >> random.below(8);
            random.below(most)
        };
        match self {
            _ if connecting.number >= BAD => Faults::default(),
            Self::Good => Faults::default(),
            Self::Breaks => Faults {
                cut_there: Some(somewhere(1 << 18)),
                cut_back: Some(somewhere(1 << 16)),
                ..Faults::default()
            },
            Self::Flips => {
                let (there, back) = (somewhere(1 << 18), somewhere(1 << 16));
                let mut flip = |at| vec![(at, 1 << random.below(8))];
                Faults { flips_there: flip(there), flips_back: flip(back), ..Faults::default() }
            }
        }
    }
}

/// Those who have given a delivery up.
#[derive(Clone, Copy, Debug, Default)]
struct GivenUp {
    /// The sender was told that it is out.
    out: bool,
    /// The sender, who may have died over it.
    perhaps_out: bool,
    by_receiver: bool,
}

struct Stored {
    pair: Pair,
    spools: [Arc<dyn Store>; 2],
    from: TempDir,
    into: TempDir,
    random: Random,
    sent: BTreeMap<TransferId, (String, Vec<u8>)>,
    given_up: BTreeMap<TransferId, GivenUp>,
}

impl Stored {
    async fn start(seed: u64) -> Self {
        let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let spools: [Arc<dyn Store>; 2] =
            [Arc::<MemoryStore>::default(), Arc::<MemoryStore>::default()];
        let pair =
            Pair::start_both_spooled(seed, impatient(), standard(), standard(), spools.clone())
                .await
                .unwrap();
        let road = [Road::Good, Road::Breaks, Road::Flips][(seed % 3) as usize];
        pair.network.plan(move |connecting, random| road.faults(connecting, random));
        let mut stored = Self {
            pair,
            spools,
            from,
            into,
            random: Random::seeded(seed ^ 0x5709),
            sent: BTreeMap::new(),
            given_up: BTreeMap::new(),
        };
        stored.pair.paris.receive("in", stored.inbox()).unwrap();
        for number in 0..DELIVERIES {
            let name = format!("letter-{number}");
            let most = 1 << (9 + stored.random.below(11));
            let length = stored.random.below(most) as usize;
            let (bytes, path) = (stored.random.bytes(length), stored.from.path().join(&name));
            fs::write(&path, &bytes).unwrap();
            let transfer =
                stored.pair.lyon.send("paris/in", FileSource::open(path).unwrap()).await.unwrap();
            stored.sent.insert(transfer.id(), (name, bytes));
        }
        stored
    }

    /// A second copy would get a number.
    fn inbox(&self) -> impl estafette::pipeline::Inbox + use<> {
        FileSink::into_dir(self.into.path()).on_conflict(OnConflict::Rename)
    }

    /// The deliveries that the sender knows, as long as it has not forgotten them.
    async fn handles(&self) -> Vec<TransferHandle> {
        let mut handles = Vec::new();
        for &id in self.sent.keys() {
            match self.pair.lyon.outbox().transfer(id).await {
                Ok(handle) => {
                    assert!(
                        !self.given_up.get(&id).is_some_and(|how| how.out),
                        "what was taken out is there again"
                    );
                    handles.push(handle);
                }
                Err(error) => {
                    assert!(
                        self.given_up.get(&id).is_some_and(|how| how.out || how.perhaps_out),
                        "a stored delivery is gone: {error}"
                    );
                }
            }
        }
        handles
    }

    /// Waits until so many bytes more went over the network, or it is quiet, or all deliveries are
    /// over; whether they are.
    async fn a_while(&mut self) -> bool {
        let most = 1 << (8 + self.random.below(11));
        let bytes = self.random.below(most);
        let handles = self.handles().await;
        tokio::select! {
            () = self.pair.network.carries(bytes) => false,
            () = tokio::time::sleep(QUIET) => false,
            _ = join_all(handles.iter().map(TransferHandle::delivered)) => true,
        }
    }

    async fn something_happens(&mut self) {
        match self.random.below(8) {
            0 => self.pair.restart_lyon(standard()).await.unwrap(),
            1 => {
                self.pair.lyon.stop().await;
                self.pair.restart_lyon(standard()).await.unwrap();
            }
            2 => self.restart_paris().await,
            3 => {
                self.pair.paris.stop().await;
                self.restart_paris().await;
            }
            4 => _ = self.pair.network.cut(),
            5 => _ = self.pair.network.cut_one_lane(&mut self.random),
            6 => {
                // Both at once, as when the power goes.
                self.pair.paris.abort().await;
                self.pair.restart_lyon(standard()).await.unwrap();
                self.restart_paris().await;
            }
            _ => self.give_up().await,
        }
    }

    async fn restart_paris(&mut self) {
        let inbox = self.inbox();
        self.pair.restart_paris_with(standard(), |paris| paris.receive("in", inbox)).await.unwrap();
    }

    /// One of the ends gives one up; a sender sometimes dies over it.
    async fn give_up(&mut self) {
        let which = self.random.below(DELIVERIES) as usize;
        let id = *self.sent.keys().nth(which).unwrap();
        match self.random.below(3) {
            0 => {
                self.pair.paris.cancel(id);
                self.given_up.entry(id).or_default().by_receiver = true;
            }
            1 => match self.pair.lyon.outbox().withdraw(id).await {
                Ok(TakenOut::Undelivered) => self.given_up.entry(id).or_default().out = true,
                // The receiver may have it.
                Ok(_) => self.given_up.entry(id).or_default().perhaps_out = true,
                // It is over, or was out before.
                Err(OutboxError::Unfit { .. } | OutboxError::Unknown(_)) => {}
                Err(error) => panic!("{error}"),
            },
            _ => {
                self.given_up.entry(id).or_default().perhaps_out = true;
                let lyon = self.pair.lyon.clone();
                let withdrawn = tokio::spawn(async move { lyon.outbox().withdraw(id).await });
                self.pair.restart_lyon(standard()).await.unwrap();
                let _ = withdrawn.await.unwrap();
            }
        }
    }

    /// The end of a delivery, whose next try somebody asks for who does not wait for minutes.
    async fn end_of(&self, handle: &TransferHandle) -> Result<Receipt, Failure> {
        loop {
            tokio::select! {
                outcome = handle.delivered() => return outcome,
                () = tokio::time::sleep(QUIET) => {}
            }
            // It is under way, or over by now.
            let _ = self.pair.lyon.outbox().retry(handle.id()).await;
        }
    }

    /// All have an end, and it is a good one unless somebody gave it up.
    async fn check_ends(&mut self) {
        for handle in self.handles().await {
            let (id, outcome) = (handle.id(), self.end_of(&handle).await);
            let state = self
                .pair
                .lyon
                .outbox()
                .list()
                .await
                .unwrap()
                .into_iter()
                .find(|(known, _)| *known == id)
                .map(|(_, entry)| entry.state);
            let (name, bytes) = &self.sent[&id];
            match (outcome, state) {
                (Ok(receipt), Some(OutboxState::Delivered { .. })) => {
                    assert_eq!(receipt.digest, *blake3::hash(bytes).as_bytes());
                    assert!(
                        fs::read(self.into.path().join(name)).unwrap() == *bytes,
                        "other bytes arrived than were sent"
                    );
                }
                (Err(failure), state @ (None | Some(OutboxState::Dead { .. }))) => {
                    let given_up = self
                        .given_up
                        .get(&id)
                        .unwrap_or_else(|| panic!("{name} is lost: {failure}"));
                    let is_unsure = failure.kind == FailureKind::Unknown && given_up.perhaps_out;
                    assert!(
                        failure.kind == FailureKind::Cancelled || is_unsure,
                        "{failure}, {given_up:?}"
                    );
                    if state.is_some() {
                        assert!(given_up.by_receiver, "{failure}, {given_up:?}");
                        assert!(
                            !self.into.path().join(name).exists(),
                            "{name} is delivered and dead"
                        );
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Nothing is there twice, nothing in part, and nobody works on anything any more.
    async fn check_rest(&self) {
        // What its sender took out at the last moment may still be about to be remembered.
        idle(&self.pair.lyon).await;
        idle(&self.pair.paris).await;
        let there = names(self.into.path());
        let known: Vec<_> = self.sent.values().map(|(name, _)| name.clone()).collect();
        assert!(
            there.iter().filter(|name| !name.starts_with('.')).all(|name| known.contains(name)),
            "{there:?}"
        );
        let (parts, whole): (Vec<_>, Vec<_>) = there.iter().partition(|name| name.starts_with('.'));
        // Of what its sender took out while nobody could be told, a part may stay until it expires,
        // with a note that tells of it; or the whole, if its receiver died before it was
        // remembered.
        let not_remembered = whole
            .len()
            .checked_sub(self.pair.paris.arrivals().len())
            .expect("what is remembered is there");
        let out = self.given_up.values().filter(|how| how.out || how.perhaps_out).count();
        let notes = self.spools[1].load("partial").unwrap().len();
        assert!(notes <= out, "{notes} notes are left over, and {out} were taken out");
        assert!(
            parts.len() + not_remembered <= notes,
            "{there:?} with {notes} notes, and {not_remembered} not remembered"
        );
    }
}

/// Waits until a node holds nothing for transfers.
async fn idle(node: &Node) {
    loop {
        let held = node.held().await;
        if (held.running, held.bytes) == (0, 0) {
            break;
        }
        tokio::task::yield_now().await;
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Returns how often something happened while a delivery was under way.
async fn live_through(seed: u64) -> u64 {
    let (mut stored, mut happened) = (Stored::start(seed).await, 0);
    for _ in 0..4 + stored.random.below(9) {
        if stored.a_while().await {
            break;
        }
        stored.something_happens().await;
        happened += 1;
    }
    stored.pair.network.calm();
    stored.check_ends().await;
    stored.check_rest().await;
    stored.pair.lyon.stop().await;
    stored.pair.paris.stop().await;
    happened
}

#[tokio::test]
async fn a_stored_delivery_is_made_once_or_given_up_whoever_dies_meanwhile() {
    let happened = AtomicU64::new(0);
    each_seed(SEEDS, async |seed| {
        _ = happened.fetch_add(live_through(seed).await, Ordering::SeqCst)
    })
    .await;
    assert!(
        seeds(SEEDS).len() == 1 || happened.into_inner() >= 3 * SEEDS,
        "so little happened that it says nothing"
    );
}
