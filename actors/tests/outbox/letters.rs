//! Dead letters, and what somebody may do about a delivery.

use std::time::Duration;

use estafette::TransferNews;
use estafette::delivery::FailureKind;
use estafette::node::{OutboxError, OutboxState};

use super::harness::{World, copy_of, entry, send, send_for, within};

#[tokio::test]
async fn a_refused_delivery_becomes_a_dead_letter_and_comes_to_life_again() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        std::fs::write(world.path("in/letter"), "taken").unwrap();
        let transfer = send(&lyon, "paris/files", &world.file("letter", 5000)).await;
        assert_eq!(transfer.delivered().await.unwrap_err().kind, FailureKind::Refused);
        assert!(matches!(
            lyon.outbox().withdraw(transfer.id()).await,
            Err(OutboxError::Unfit { .. })
        ));
        lyon.abort().await;
        let lyon = world.lyon().await;
        let OutboxState::Dead { failure, .. } = entry(&lyon, transfer.id()).await.unwrap().state
        else {
            panic!("it is not dead")
        };
        assert!(failure.message.contains("letter"), "{failure}");
        std::fs::remove_file(world.path("in/letter")).unwrap();
        lyon.outbox().retry(transfer.id()).await.unwrap();
        lyon.outbox().transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        assert!(world.has_arrived("letter"));
        assert!(matches!(lyon.outbox().retry(transfer.id()).await, Err(OutboxError::Unfit { .. })));
        lyon.outbox().forget(transfer.id()).await.unwrap();
        assert!(matches!(
            lyon.outbox().transfer(transfer.id()).await,
            Err(OutboxError::Unknown(_))
        ));
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_taken_out_is_not_delivered_by_any_later_process() {
    within(async {
        let world = World::new();
        let lyon = world.lyon().await;
        let transfer = send(&lyon, "paris/files", &world.file("letter", 5000)).await;
        let other = send(&lyon, "paris/files", &world.file("other", 5000)).await;
        lyon.outbox().withdraw(transfer.id()).await.unwrap();
        assert_eq!(transfer.delivered().await.unwrap_err().kind, FailureKind::Cancelled);
        lyon.abort().await;
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        lyon.outbox().transfer(other.id()).await.unwrap().delivered().await.unwrap();
        assert_eq!(lyon.outbox().list().await.unwrap().len(), 1);
        assert_eq!(world.arrived(), 1);
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn an_order_is_durable_when_it_is_answered() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        std::fs::write(world.path("in/letter"), "taken").unwrap();
        let transfer = send(&lyon, "paris/files", &world.file("letter", 5000)).await;
        transfer.delivered().await.unwrap_err();
        lyon.shutdown().await;
        paris.shutdown().await;
        std::fs::remove_file(world.path("in/letter")).unwrap();
        // Nobody tries anything here, so that only what was written when the answer came can reach
        // the next process.
        let dormant = world.dormant_lyon().await;
        dormant.outbox().retry(transfer.id()).await.unwrap();
        let records = copy_of(&world.lyon_spool, &["outbox"]);
        dormant.outbox().withdraw(transfer.id()).await.unwrap();
        assert_eq!(world.lyon_spool.load("outbox").unwrap(), []);
        dormant.shutdown().await;
        let (lyon, paris) = (world.lyon_with(records).await, world.paris().await);
        lyon.outbox().transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        assert!(world.has_arrived("letter"));
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_dormant_node_stores_another_one_delivers() {
    within(async {
        let world = World::new();
        let (paris, dormant) = (world.paris().await, world.dormant_lyon().await);
        let transfer = send(&dormant, "paris/files", &world.file("letter", 5000)).await;
        assert_eq!(entry(&dormant, transfer.id()).await.unwrap().tries, 0);
        dormant.shutdown().await;
        assert_eq!(world.arrived(), 0);
        let lyon = world.lyon().await;
        lyon.outbox().transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        assert_eq!(entry(&lyon, transfer.id()).await.unwrap().tries, 1);
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_delivery_under_way_that_is_taken_out_is_gone_when_that_is_answered() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        let transfer = send(&lyon, "paris/files", &world.file("letter", 40_000_000)).await;
        let mut events = transfer.events();
        while !matches!(events.next_news().await.unwrap(), TransferNews::Progress { .. }) {}
        match lyon.outbox().withdraw(transfer.id()).await {
            Ok(_) => assert!(entry(&lyon, transfer.id()).await.is_none()),
            Err(OutboxError::Unfit { .. }) => assert!(world.has_arrived("letter")),
            Err(error) => panic!("{error}"),
        }
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_expires_becomes_a_dead_letter_that_names_the_last_failure() {
    within(async {
        let world = World::new();
        let lyon = world.lyon().await;
        let mut events = lyon.events();
        let transfer =
            send_for(&lyon, "paris/files", &world.file("letter", 10), Duration::from_secs(3)).await;
        let failure = transfer.delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Expired);
        assert!(failure.message.contains("reached"), "{failure}");
        loop {
            if matches!(events.next_news().await.unwrap(), TransferNews::Failed { .. }) {
                break;
            }
        }
        lyon.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_gone_makes_a_dead_letter_that_names_it() {
    within(async {
        let world = World::new();
        let lyon = world.lyon().await;
        let file = world.file("letter", 10);
        let id = send(&lyon, "paris/files", &file).await.id();
        lyon.abort().await;
        std::fs::remove_file(&file).unwrap();
        let lyon = world.lyon().await;
        let failure = lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap_err();
        assert!(
            failure.kind == FailureKind::Changed && failure.message.contains("letter"),
            "{failure}"
        );
        lyon.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_that_has_become_a_pipe_makes_a_dead_letter_that_says_so() {
    within(async {
        let world = World::new();
        let lyon = world.lyon().await;
        let file = world.file("letter", 10);
        let id = send(&lyon, "paris/files", &file).await.id();
        lyon.abort().await;
        std::fs::remove_file(&file).unwrap();
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode).unwrap();
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        let failure = lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap_err();
        let says = ["letter", "it is a pipe"].iter().all(|said| failure.message.contains(said));
        assert!(failure.kind == FailureKind::Changed && says, "{failure:?}");
        assert_eq!(paris.arrivals().len(), 0);
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn the_application_at_the_other_end_says_that_it_is_done_even_while_the_sender_is_away() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        let transfer = send(&lyon, "paris/files", &world.file("letter", 5000)).await;
        transfer.delivered().await.unwrap();
        assert!(!transfer.status().processed);
        lyon.shutdown().await;
        paris.shutdown().await;
        let paris = world.paris().await;
        let (sender, id, _) = paris.arrivals().remove(0);
        assert!(paris.processed(sender, id).await.unwrap());
        assert!(!paris.processed(paris.peer(), id).await.unwrap(), "nobody has sent that");
        let lyon = world.lyon().await;
        let transfer = lyon.outbox().transfer(id).await.unwrap();
        // Nobody dials lyon, which has nothing to send: that somebody waits brings a link up.
        transfer.processed().await.unwrap();
        assert!(matches!(entry(&lyon, id).await.unwrap().state, OutboxState::Processed { .. }));
        lyon.shutdown().await;
        let lyon = world.lyon().await;
        lyon.outbox().transfer(id).await.unwrap().processed().await.unwrap();
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}
