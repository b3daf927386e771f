//! Sights of transfers while they run, wait and end.

use std::time::Duration;

use estafette::node::{Direction, HappeningKind, LinkSnapshot, LinkState, Severity, TransferPhase};
use estafette::testing::Pair;
use estafette::wire::LinkConfig;
use estafette::{NodeConfig, TransferNews};

use super::fragile::sound;
use super::gate::Gate;
use super::harness::{RUNNING, World, config, content, source, within};

#[tokio::test]
async fn a_snapshot_shows_what_runs_what_waits_for_room_and_how_it_ended() {
    let world = World::new(sound(), sound()).await;
    let (lyon, paris) = (&world.lyon, &world.paris);
    let before = paris.snapshot().await;
    assert!(before.answers && before.version == 1);
    assert_eq!((before.transfers.len(), before.node.id), (0, paris.peer().to_string()));
    let gate = Gate::closed();
    paris.receive("gate", gate.clone()).unwrap();
    let mut running = Vec::new();
    for _ in 0..=RUNNING {
        let bytes = content(4, &[]);
        running.push(lyon.send("paris/gate", source(&bytes)).await.unwrap());
    }
    // One peer may run all but one of them.
    let ready = |phase: TransferPhase| phase == TransferPhase::Running;
    let seen = within(async {
        loop {
            gate.reached().await;
            let seen = lyon.snapshot().await;
            if seen.transfers.iter().filter(|transfer| ready(transfer.phase)).count() == RUNNING - 1
            {
                return seen;
            }
        }
    })
    .await;
    let phases: Vec<_> = seen.transfers.iter().map(|transfer| transfer.phase).collect();
    assert_eq!(phases[RUNNING - 1..], [TransferPhase::WaitsForRoom; 2], "behind those that run");
    assert_eq!((seen.room.outgoing.running, seen.room.outgoing.waiting), (RUNNING as u64 - 1, 2));
    // Two of these have not even been offered.
    assert!(running.iter().all(|transfer| transfer.status().total == Some(4 * 4096)));
    let one = &seen.transfers[0];
    assert_eq!(
        (one.direction, &*one.peer_name, &*one.name),
        (Direction::Outgoing, "paris", "content")
    );
    assert_eq!((one.total, &*one.inbox), (Some(4 * 4096), "gate"));
    let [link] = &seen.links[..] else { panic!("{:?}", seen.links) };
    assert_eq!((link.state, &*link.name, link.transfers), (LinkState::Up, "paris", 5));
    // They are read one after the other.
    assert!(link.sent_bytes > 0 && seen.totals.sent_bytes >= link.sent_bytes);
    let there = paris.snapshot().await;
    assert_eq!(there.transfers.len(), RUNNING - 1);
    assert!(there.transfers.iter().all(|transfer| transfer.direction == Direction::Incoming));
    gate.open();
    for transfer in running {
        within(transfer.delivered()).await.unwrap();
    }
    let after = lyon.snapshot().await;
    assert_eq!((after.totals.delivered_out, after.transfers.len()), (5, 0));
    assert_eq!(after.totals.delivered_out_bytes, 5 * 4 * 4096);
    let delivered = |kind| kind == HappeningKind::Delivered;
    let told: Vec<_> = after.happenings.iter().filter(|told| delivered(told.kind)).collect();
    assert_eq!(told.len(), 5);
    assert!(told.iter().all(|told| told.text.starts_with("content: ")), "{told:?}");
    assert!(after.differs_from(&seen) && !after.differs_from(&after));
}

#[tokio::test]
async fn a_failure_is_among_the_faults_and_a_pause_is_seen() {
    let world = World::new(sound(), sound()).await;
    let (lyon, paris) = (&world.lyon, &world.paris);
    let gate = Gate::closed();
    paris.receive("gate", gate.clone()).unwrap();
    let sent = lyon.send("paris/gate", source(&content(40, &[]))).await.unwrap();
    let mut news = sent.events();
    gate.reached().await;
    sent.pause();
    within(async { while !matches!(news.next_news().await, Some(TransferNews::Paused)) {} }).await;
    assert_eq!(lyon.snapshot().await.transfers[0].phase, TransferPhase::Paused);
    sent.cancel();
    within(sent.delivered()).await.unwrap_err();
    let seen = lyon.snapshot().await;
    let last = seen.happenings.last().unwrap();
    assert_eq!((last.kind, last.severity), (HappeningKind::Failed, Severity::Fault));
    assert_eq!(last.transfer.as_deref(), Some(&*sent.id().to_string()));
    assert!(last.text.contains("cancelled by the sender"), "{last:?}");
    assert_eq!((seen.totals.failed_out, seen.totals.delivered_out), (1, 0));
}

#[tokio::test]
async fn a_link_is_seen_with_its_round_trip_and_one_that_is_gone_with_the_reason() {
    let second = Duration::from_secs(1);
    let link = LinkConfig::new(Duration::from_millis(10), 60 * second, 3600 * second).unwrap();
    let config = NodeConfig { link, backoff: Duration::from_millis(1), ..config() };
    let pair = Pair::start(9, config, sound(), sound()).await.unwrap();
    let of_paris = async |state: LinkState, has: fn(&LinkSnapshot) -> bool| {
        within(async {
            loop {
                let mut links = pair.lyon.snapshot().await.links;
                assert_eq!(links.len(), 1, "{links:?}");
                if links[0].state == state && has(&links[0]) {
                    return links.remove(0);
                }
            }
        })
        .await
    };
    let idle = of_paris(LinkState::Idle, |_| true).await;
    assert_eq!((&*idle.name, idle.since, idle.rtt_us), ("paris", None, None));
    pair.lyon.stay_connected(pair.paris.peer());
    let up = of_paris(LinkState::Up, |link| link.rtt_us.is_some()).await;
    assert!(up.dialed && up.address.is_some() && up.suite.is_some() && up.since.is_some());
    pair.paris.abort().await;
    let gone = of_paris(LinkState::Dialing, |link| link.why.is_some()).await;
    assert_eq!((gone.rtt_us, gone.address, gone.lanes), (None, None, 0));
    assert!(gone.since > up.since && gone.sent_bytes >= up.sent_bytes);
}
