//! Makes a snapshot: asks the hub, each session and the outbox, and reads the rest where it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Addr, Context, Handler, Message, ResponseFuture};
use tokio::sync::oneshot;

use super::snapshot::{
    ActorSnapshot, DoorSnapshot, LettersSnapshot, LinkSnapshot, LinkState, NodeSnapshot,
    ObserveOutbox, ObserveSession, OutboxSeen, OutboxSnapshot, RelaySnapshot, RoomSnapshot,
    SessionSeen, Snapshot, SpoolSnapshot, StageSnapshot, Totals, WaySnapshot,
};
use crate::metrics::StageReport;
use crate::node::door_counts::DoorSeen;
use crate::node::hub::Hub;
use crate::node::ledger::Kind;
use crate::node::rooms::{Rooms, Way};
use crate::node::shared::NodeShared;
use crate::remote::LettersSeen;
use crate::wire::{PeerId, printable};

/// The longest wait for an answer of the node's thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tell what there is to see of the node.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Seen")]
struct Observe {
    /// Whose sessions are asked in any case.
    wanted: Vec<PeerId>,
}

/// Answer.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Ping;

/// The answers of the sessions and the outbox.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    sessions: Vec<SessionSeen>,
    /// Sessions that were not asked.
    more: usize,
    outbox: Option<OutboxSeen>,
}

impl Handler<Observe> for Hub {
    type Result = ResponseFuture<Seen>;

    fn handle(&mut self, Observe { wanted }: Observe, _: &mut Context<Self>) -> Self::Result {
        let (sessions, outbox) = self.ears(&wanted, Snapshot::MOST);
        let more = self.peers().saturating_sub(sessions.len());
        // Many sessions that each tell of all would tell of much more than is shown.
        let most = (4 * Snapshot::MOST / sessions.len().max(1)).clamp(16, Snapshot::MOST);
        Box::pin(async move {
            let asked = sessions.iter().map(|session| session.send(ObserveSession { most }));
            // One that has ended meanwhile has nothing to tell.
            let sessions = futures_util::future::join_all(asked).await;
            let outbox = match outbox {
                Some(outbox) => outbox.send(ObserveOutbox).await.ok(),
                None => None,
            };
            Seen { sessions: sessions.into_iter().flatten().collect(), more, outbox }
        })
    }
}

impl Handler<Ping> for Hub {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

/// Puts together what there is to see; of the links, those with `wanted` in any case.
pub(crate) async fn look(
    (shared, hub): (&Arc<NodeShared>, &Addr<Hub>),
    addresses: Vec<String>,
    wanted: &[PeerId],
) -> Snapshot {
    let seen = ask(shared, hub, Observe { wanted: wanted.to_vec() }).await;
    put_together(shared, addresses, seen)
}

/// Returns `true` if the node's thread answers in time.
pub(crate) async fn answers(shared: &NodeShared, hub: &Addr<Hub>) -> bool {
    ask(shared, hub, Ping).await.is_some()
}

/// Returns the hub's answer, if it comes in time.
async fn ask<M>(shared: &NodeShared, hub: &Addr<Hub>, message: M) -> Option<M::Result>
where
    M: Message<Result: Send> + Send + 'static,
    Hub: Handler<M>,
{
    let (tell, told) = oneshot::channel();
    // The node's thread may be blocked: the door's has a clock of its own.
    let hub = hub.clone();
    shared.door.spawn(async move {
        if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, hub.send(message)).await {
            // Whoever asked may be gone.
            let _ = tell.send(answer);
        }
    });
    told.await.ok()
}

fn put_together(shared: &NodeShared, addresses: Vec<String>, seen: Option<Seen>) -> Snapshot {
    let at = shared.happenings.at(Instant::now());
    let answers = seen.is_some();
    let Seen { sessions, more, outbox } = seen.unwrap_or_default();
    let (mut links, mut transfers) = (Vec::new(), Vec::new());
    for session in sessions {
        links.push(session.link);
        transfers.extend(session.transfers);
    }
    let under_way: u64 = links.iter().map(|link: &LinkSnapshot| link.transfers).sum();
    let trusted = if answers { add_trusted(shared, &mut links) } else { 0 };
    links.sort_by(|a, b| (a.state, &a.name, &a.peer).cmp(&(b.state, &b.name, &b.peer)));
    transfers.sort_by(|a, b| (a.phase, a.since, &a.id).cmp(&(b.phase, b.since, &b.id)));
    transfers.truncate(Snapshot::MOST);
    let (happenings, totals) = shared.happenings.seen(at);
    let (sent_bytes, received_bytes) = shared.traffic.bytes();
    let (actors, more_actors) =
        shared.hosted.seen(Snapshot::MOST, |moment| shared.happenings.at(moment));
    Snapshot {
        version: 1,
        at,
        answers,
        node: NodeSnapshot {
            id: shared.peer().to_string(),
            name: printable(&shared.name).to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            since: shared.happenings.started_at(),
            addresses,
            workers: shared.workers.len() as u64,
        },
        totals: Totals { sent_bytes, received_bytes, ..totals },
        links,
        // Most of the sessions that were not asked are among those who are trusted.
        more_links: more.max(trusted) as u64,
        more_transfers: under_way.saturating_sub(transfers.len() as u64),
        transfers,
        stages: stages(shared, &actors),
        actors,
        more_actors,
        doors: shared.doors.seen(Snapshot::MOST).into_iter().map(Into::into).collect(),
        letters: shared.letters.get().map(|letters| letters.seen().into()),
        outbox: outbox.as_ref().map(|seen| OutboxSnapshot {
            folder_bytes: shared.ledger.total(Kind::PackageBytes),
            folder_most: shared.config.outbox_bytes,
            ..seen.own
        }),
        relay: outbox.as_ref().zip(shared.config.relay).map(|(seen, quota)| RelaySnapshot {
            packages_most: quota.packages as u64,
            bytes_most: quota.bytes,
            ..seen.relay
        }),
        spool: shared.spool.as_ref().map(|spool| SpoolSnapshot {
            failure: spool.failure().map(|why| printable(&why).to_string()),
        }),
        room: room(&shared.rooms),
        happenings,
    }
}

/// Adds the peers that are trusted and have no session; how many were left out.
fn add_trusted(shared: &NodeShared, links: &mut Vec<LinkSnapshot>) -> usize {
    let (some, all) = shared.trust.some(2 * Snapshot::MOST);
    for (peer, trusted) in some {
        let id = peer.to_string();
        if links.iter().any(|link| link.peer == id) {
            continue;
        }
        if links.len() >= Snapshot::MOST {
            break;
        }
        links.push(LinkSnapshot {
            peer: id,
            name: printable(&trusted.name).to_string(),
            state: LinkState::Idle,
            since: None,
            address: None,
            dialed: false,
            suite: None,
            rtt_us: None,
            lanes: 0,
            sent_bytes: 0,
            received_bytes: 0,
            transfers: 0,
            why: None,
        });
    }
    let is_trusted =
        |id: &str| id.parse::<PeerId>().is_ok_and(|peer| shared.trust.peer(&peer).is_some());
    let shown = links.iter().filter(|link| is_trusted(&link.peer)).count();
    all.saturating_sub(shown)
}

/// The counters of stages; the restarts of hosted actors are told with these.
fn stages(shared: &NodeShared, actors: &[ActorSnapshot]) -> Vec<StageSnapshot> {
    let is_stage = |report: &StageReport| actors.iter().all(|actor| actor.name != report.stage);
    let reports = shared.metrics.report().into_iter().filter(is_stage);
    reports.take(Snapshot::MOST).map(Into::into).collect()
}

fn room(rooms: &Rooms) -> RoomSnapshot {
    let way = |way: &Way| WaySnapshot {
        running: way.running().0 as u64,
        waiting: way.waiting() as u64,
        bytes: way.bytes().0 as u64,
    };
    RoomSnapshot {
        outgoing: way(&rooms.outgoing),
        incoming: way(&rooms.incoming),
        running_most: rooms.outgoing.running().1 as u64,
        bytes_most: rooms.outgoing.bytes().1 as u64,
    }
}

impl From<LettersSeen> for LettersSnapshot {
    fn from(seen: LettersSeen) -> Self {
        let LettersSeen { outgoing, outgoing_cost, dead, incoming, handed } = seen;
        Self { outgoing, outgoing_cost, dead, incoming, handed }
    }
}

impl From<StageReport> for StageSnapshot {
    fn from(report: StageReport) -> Self {
        Self {
            name: report.stage,
            chunks: report.chunks,
            bytes_in: report.bytes_in,
            bytes_out: report.bytes_out,
            busy_us: u64::try_from(report.busy.as_micros()).unwrap_or(u64::MAX),
            high_water: report.mailbox_high_water,
            panics: report.panics,
            restarts: report.restarts,
        }
    }
}

impl From<DoorSeen> for DoorSnapshot {
    fn from(seen: DoorSeen) -> Self {
        let DoorSeen { name, kind, calls, open, refused, received, sent } = seen;
        Self { name, kind, calls, open, refused, received_bytes: received, sent_bytes: sent }
    }
}
