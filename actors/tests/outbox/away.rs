//! One of the two is not there.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use estafette::node::{LinkSnapshot, LinkState, OutboxState, SendError, blocking};
use estafette::{Node, SendOptions, TransferNews, TrustedPeer};
use estafette_actors::source::FileSource;
use estafette_actors::spool::Spool;

use super::harness::{World, copy_of, entry, file_spool, send, within};
use super::held::HeldSpool;

#[tokio::test]
async fn a_delivery_waits_for_a_receiver_who_comes_after_the_sender_has_died_and_come_back() {
    within(async {
        let mut world = World::new();
        world.lyon_spool = file_spool(&world);
        let file = world.file("letter", 300_000);
        let lyon = world.lyon().await;
        let id = send(&lyon, "paris/files", &file).await.id();
        lyon.abort().await;
        let lyon = world.lyon().await;
        let transfer = lyon.outbox().transfer(id).await.unwrap();
        assert!(transfer.status().outcome.is_none());
        let paris = world.paris().await;
        let receipt = transfer.delivered().await.unwrap();
        assert_eq!(receipt.length, 300_000);
        assert!(world.has_arrived("letter"));
        lyon.shutdown().await;
        // Asked for by its id, by a third process.
        let lyon = world.lyon().await;
        assert_eq!(lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap(), receipt);
        assert!(matches!(entry(&lyon, id).await.unwrap().state, OutboxState::Delivered { .. }));
        lyon.shutdown().await;
        paris.shutdown().await;
        assert_eq!(world.arrived(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_is_away_does_not_hold_up_who_is_there() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        let file = world.file("for nobody", 10);
        for _ in 0..40 {
            send(&lyon, "nobody/files", &file).await;
        }
        let transfer = send(&lyon, "paris/files", &world.file("letter", 100_000)).await;
        transfer.delivered().await.unwrap();
        assert!(world.has_arrived("letter"));
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn where_a_receiver_is_may_be_said_after_its_delivery_was_begun() {
    within(async {
        let world = World::new();
        // Its tries last for an hour.
        let (lyon, paris) = (world.patient_lyon().await, world.paris().await);
        let to = |addresses: &[&str]| {
            let mut peer = TrustedPeer::new("paris");
            peer.addresses = addresses.iter().map(ToString::to_string).collect();
            lyon.trust().add(world.paris_peer(), peer).unwrap();
        };
        to(&[]);
        let transfer = send(&lyon, "paris/files", &world.file("letter", 100)).await;
        let is_awaited = |link: &LinkSnapshot| link.state == LinkState::Awaited;
        while !lyon.snapshot().await.links.iter().any(is_awaited) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        to(&["paris"]);
        transfer.delivered().await.unwrap();
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_receiver_is_dialled_at_the_addresses_of_all_that_is_stored_for_it() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        // Nothing is known of where paris is but what tickets say.
        lyon.trust().add(paris.peer(), TrustedPeer::new("paris")).unwrap();
        let send = async |name: &str, address: &str| {
            let (addresses, hour) = (vec![address.to_owned()], Duration::from_secs(3600));
            let ticket = paris.trust().issue(paris.peer(), addresses, "files", 9, hour).unwrap();
            let source = FileSource::open(world.file(name, 500)).unwrap();
            lyon.send(ticket, source).await.unwrap()
        };
        let mut stored = Vec::new();
        for number in 0..6 {
            stored.push(send(&format!("old{number}"), "moved").await);
        }
        stored.push(send("new", "paris").await);
        for transfer in stored {
            transfer.delivered().await.unwrap();
        }
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_offered_again_after_both_have_died_is_delivered_no_second_time() {
    within(async {
        let world = World::new();
        let file = world.file("letter", 100_000);
        let lyon = world.lyon().await;
        let id = send(&lyon, "paris/files", &file).await.id();
        // The sender's disk as it was before it heard that the delivery was made.
        let before = copy_of(&world.lyon_spool, &["outbox"]);
        let paris = world.paris().await;
        let receipt = lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        lyon.abort().await;
        paris.abort().await;
        std::fs::remove_file(world.path("in/letter")).unwrap();
        let (lyon, paris) = (world.lyon_with(before).await, world.paris().await);
        let again = lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        assert_eq!((again.digest, &again.place), (receipt.digest, &receipt.place));
        assert_eq!(world.arrived(), 0, "it was delivered a second time");
        assert_eq!(paris.arrivals().len(), 1);
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_node_that_stops_keeps_what_it_could_not_deliver_and_says_so() {
    within(async {
        let world = World::new();
        let lyon = world.lyon().await;
        let transfer = send(&lyon, "paris/files", &world.file("letter", 1000)).await;
        lyon.shutdown().await;
        let failure = transfer.delivered().await.unwrap_err();
        assert!(failure.message.contains("goes on when the node is started again"), "{failure}");
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        lyon.outbox().transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn many_deliveries_to_one_who_comes_late_arrive_all() {
    within(async {
        let world = World::new();
        let lyon = world.lyon().await;
        let names: Vec<_> = (0..100).map(|i| format!("letter {i}")).collect();
        let mut transfers = Vec::new();
        for name in &names {
            transfers.push(send(&lyon, "paris/files", &world.file(name, 5000)).await);
        }
        let paris = world.paris().await;
        for transfer in transfers {
            transfer.delivered().await.unwrap();
        }
        assert!(names.iter().all(|name| world.has_arrived(name)));
        assert_eq!(world.arrived(), 100);
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_node_that_has_stopped_gives_its_spool_back_whoever_still_has_its_handle() {
    within(async {
        let world = World::new();
        let folder = world.path("spool");
        let open = || Arc::new(Spool::open(&folder).unwrap());
        let lyon = world.lyon_with(open()).await;
        assert_eq!(
            Spool::open(&folder).unwrap_err().kind(),
            ErrorKind::ResourceBusy,
            "it has it as long as it runs"
        );
        let transfer = send(&lyon, "paris/files", &world.file("letter", 1000)).await;
        lyon.shutdown().await;
        let next = world.lyon_with(open()).await;
        assert!(
            next.outbox().transfer(transfer.id()).await.is_ok(),
            "the next node knows what the first one stored"
        );
        assert!(
            lyon.outbox().list().await.is_err()
                && lyon
                    .send("paris/files", FileSource::open(world.path("letter")).unwrap())
                    .await
                    .is_err()
        );
        // One that ends as if it had died gives it back, too.
        next.abort().await;
        drop(open());
        drop((lyon, next));
    })
    .await;
}

#[tokio::test]
async fn a_copy_is_kept_where_a_spool_has_a_folder_and_refused_elsewhere() {
    within(async {
        let world = World::new();
        let file = world.file("letter", 50_000);
        let options = SendOptions { copy: true, ..SendOptions::default() };
        let send = async |node: &Node, options| {
            node.send_with("paris/files", FileSource::open(&file).unwrap(), options).await
        };
        let lyon = world.lyon().await;
        assert!(
            matches!(send(&lyon, options.clone()).await, Err(SendError::NoCopies)),
            "its spool is in memory"
        );
        lyon.shutdown().await;
        let lyon = world.lyon_with(Arc::new(Spool::open(world.path("spool")).unwrap())).await;
        assert!(matches!(
            send(&lyon, SendOptions { transient: true, ..options.clone() }).await,
            Err(SendError::NoCopies)
        ));
        let by_relay = SendOptions {
            transient: true,
            via: Some(estafette::Identity::generate().peer()),
            ..SendOptions::default()
        };
        assert!(
            matches!(send(&lyon, by_relay).await, Err(SendError::NoPackages)),
            "it would not go by the relay"
        );
        let transfer = send(&lyon, options).await.unwrap();
        assert!(entry(&lyon, transfer.id()).await.unwrap().file().is_some());
        lyon.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_offered_again_while_it_is_being_remembered_is_not_delivered_again() {
    for dies in [true, false] {
        offered_while_it_is_being_remembered(dies).await;
    }
}

async fn offered_while_it_is_being_remembered(dies: bool) {
    within(async {
        let mut world = World::new();
        let spool = HeldSpool::that_remembers_slowly(&world.path("spool"));
        world.paris_spool = Arc::clone(&spool) as _;
        let (paris, lyon) = (world.paris().await, world.lyon().await);
        let id = send(&lyon, "paris/files", &world.file("letter", 100_000)).await.id();
        // Its journal is forgotten by then, and nobody has been told that it is delivered.
        spool.reached().await;
        // One that stops says that it gives the delivery up for now.
        if dies {
            lyon.abort().await
        } else {
            lyon.stop().await
        };
        // It waits until that is over.
        let lyon = world.lyon().await;
        let mut events = lyon.events_since_start().unwrap();
        while !matches!(events.next_news().await.unwrap(), TransferNews::Waiting { .. }) {}
        assert_eq!(entry(&lyon, id).await.unwrap().state, OutboxState::Stored);
        spool.answer(Ok(()));
        assert_eq!(
            lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap().length,
            100_000
        );
        lyon.shutdown().await;
        paris.shutdown().await;
        assert!(world.has_arrived("letter"));
        assert_eq!(world.arrived(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_node_that_stops_notes_first_what_it_has_told_to_be_delivered() {
    /// More than there are threads for what blocks.
    const ALL: usize = 160;
    within(async {
        let mut world = World::new();
        world.lyon_spool = file_spool(&world);
        let spool = HeldSpool::that_remembers_slowly(&world.path("paris-spool"));
        world.paris_spool = Arc::clone(&spool) as _;
        let (paris, lyon) = (world.paris().await, world.lyon().await);
        let mut events = lyon.events();
        let id = send(&lyon, "paris/files", &world.file("letter", 5000)).await.id();
        spool.reached().await;
        // What is to be written from now on waits for its turn.
        let (closed, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..ALL {
            let gate = Arc::clone(&gate);
            tokio::spawn(blocking(move || gate.lock().unwrap().recv().unwrap_err()));
        }
        tokio::task::yield_now().await;
        spool.answer(Ok(()));
        while !matches!(events.next_news().await.unwrap(), TransferNews::Delivered { .. }) {}
        let stopping = tokio::spawn({
            let lyon = lyon.clone();
            async move { lyon.shutdown().await }
        });
        // One that does not wait for its record is gone by then, or not; one that does is not.
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(closed);
        stopping.await.unwrap();
        drop(lyon);
        let state = entry(&world.dormant_lyon().await, id).await.unwrap().state;
        assert!(matches!(state, OutboxState::Delivered { .. }), "{state:?}");
        paris.shutdown().await;
    })
    .await;
}
