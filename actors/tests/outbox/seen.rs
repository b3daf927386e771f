//! Sights of an outbox, and of what a relay keeps.

use estafette::node::{HappeningKind, OutboxSnapshot, RelayQuota, Snapshot};

use super::harness::{World, send, within};
use super::three::{self, content, relayed};

fn of(snapshot: &Snapshot) -> OutboxSnapshot {
    snapshot.outbox.expect("it has a spool")
}

#[tokio::test]
async fn deliveries_are_counted_by_their_states() {
    within(async {
        let world = World::new();
        let lyon = world.lyon().await;
        let seen = lyon.snapshot().await;
        assert_eq!((of(&seen).stored.count, of(&seen).oldest), (0, None));
        assert_eq!(seen.spool.unwrap().failure, None);
        let transfer = send(&lyon, "paris/files", &world.file("letter", 5000)).await;
        assert_eq!(transfer.status().total, Some(5000), "known before anybody has taken it");
        let seen = of(&lyon.snapshot().await);
        assert_eq!((seen.stored.count, seen.stored.bytes, seen.delivered.count), (1, 5000, 0));
        assert!(seen.oldest.is_some_and(|oldest| oldest > 1_600_000_000_000), "{seen:?}");
        let paris = world.paris().await;
        transfer.delivered().await.unwrap();
        let seen = of(&lyon.snapshot().await);
        assert_eq!((seen.stored.count, seen.delivered.count), (0, 1));
        assert_eq!((seen.delivered.bytes, seen.oldest), (5000, None));
        std::fs::write(world.path("in/refused"), "taken").unwrap();
        let refused = send(&lyon, "paris/files", &world.file("refused", 70)).await;
        refused.delivered().await.unwrap_err();
        let seen = lyon.snapshot().await;
        assert_eq!((of(&seen).dead.count, of(&seen).dead.bytes), (1, 70));
        assert_eq!((seen.totals.delivered_out, seen.totals.failed_out), (1, 1));
        assert!(seen.happenings.iter().any(|told| told.kind == HappeningKind::Failed));
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_relay_keeps_is_counted_there_and_at_its_sender() {
    within(async {
        let world = three::World::new();
        let lyon = world.node(0).await;
        let dijon = world.relay(RelayQuota::default()).await;
        let transfer = world.send_by_relay(&lyon, "in", &content(50_000)).await;
        relayed(&lyon, &transfer).await;
        assert_eq!(of(&lyon.snapshot().await).relayed.count, 1);
        let seen = dijon.snapshot().await;
        let relay = seen.relay.expect("it is one");
        assert_eq!((relay.kept.count, of(&seen).stored.count), (1, 0), "it is not its own");
        assert!(relay.kept.bytes > 0, "{relay:?}");
        assert!(of(&seen).folder_bytes >= relay.kept.bytes, "{seen:?}");
        assert_eq!(relay.packages_most, RelayQuota::default().packages as u64);
        assert_eq!(lyon.snapshot().await.relay, None, "it is none");
        lyon.shutdown().await;
        dijon.shutdown().await;
    })
    .await;
}
