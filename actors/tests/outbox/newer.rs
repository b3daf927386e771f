//! Records of a newer build: this one can't read them, says so, and loses nothing of theirs.

use std::sync::Arc;

use estafette::node::{OutboxEntry, Store, Unreadable};
use estafette::{SendOptions, TransferId};
use estafette_actors::source::FileSource;
use estafette_actors::spool::Spool;

use super::harness::{World, within};

/// A field that this build does not know, where what a record says ends. It is no zero: that one
/// would be a field that says nothing.
const NEWER: &[u8] = &[1, 7];

fn spool(world: &World) -> Arc<dyn Store> {
    Arc::new(Spool::open(world.path("spool")).unwrap())
}

/// The bytes of a record, as this build writes them with all its fields.
fn record(spool: &dyn Store, id: TransferId) -> Vec<u8> {
    spool.find("outbox", id.as_bytes()).unwrap().unwrap()
}

#[tokio::test]
async fn a_delivery_of_a_newer_build_keeps_its_copy_until_that_one_is_back() {
    within(async {
        let world = World::new();
        let lyon = world.lyon_with(spool(&world)).await;
        let file = world.file("letter", 300_000);
        let options = SendOptions { copy: true, ..SendOptions::default() };
        let source = FileSource::open(&file).unwrap();
        let id = lyon.send_with("paris/files", source, options).await.unwrap().id();
        lyon.shutdown().await;
        drop(lyon);
        std::fs::remove_file(&file).unwrap();

        let closed = spool(&world);
        let known = record(closed.as_ref(), id);
        // All three fields at the end, and one more.
        let newer = [&known[..], &[0, 0, 0], NEWER].concat();
        closed.put("outbox", id.as_bytes(), &newer).unwrap();
        let copy = world.path("spool/bulk").join(format!("{id}.copy"));
        let content = std::fs::read(&copy).unwrap();
        drop(closed);

        // A node that does not know it sends nothing, and touches neither record nor copy.
        let lyon = world.lyon_with(spool(&world)).await;
        assert!(lyon.outbox().list().await.unwrap().is_empty());
        lyon.shutdown().await;
        drop(lyon);
        let closed = spool(&world);
        assert_eq!(record(closed.as_ref(), id), newer);
        assert_eq!(std::fs::read(&copy).unwrap(), content);
        let unreadable = Unreadable::all(closed.as_ref()).unwrap();
        assert_eq!(unreadable.len(), 1, "{unreadable:?}");
        assert!(unreadable[0].names(&format!("{id}.copy")));
        assert!(!unreadable[0].names(&format!("{}.copy", TransferId::from_bytes([7; 24]))));

        // The newer build is back: this one, which reads what it has written itself.
        closed.put("outbox", id.as_bytes(), &known).unwrap();
        assert_eq!(OutboxEntry::all(closed.as_ref()).unwrap().len(), 1);
        drop(closed);
        let _paris = world.paris().await;
        let lyon = world.lyon_with(spool(&world)).await;
        let receipt = lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        assert_eq!(receipt.length, 300_000);
        assert_eq!(world.arrived(), 1);
    })
    .await;
}
