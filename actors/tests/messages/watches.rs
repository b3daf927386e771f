//! Tests of watches on nodes and actors.

use estafette::RemoteErrorKind;
use estafette::remote::Presence;

use crate::actors::{Add, Panic};
use crate::harness::{meet, soon};

#[tokio::test]
async fn a_node_and_an_actor_come_and_go() {
    let meeting = meet(41).await;
    let (lyon, paris) = (&meeting.pair.lyon, &meeting.pair.paris);
    let (mut node, mut sum, mut later) = (
        lyon.watch("paris").unwrap(),
        lyon.watch("paris/sum").unwrap(),
        lyon.watch("paris/later").unwrap(),
    );
    assert_eq!(*node.now(), Presence::Down { kind: RemoteErrorKind::Unreachable });
    soon(node.up()).await;
    soon(sum.up()).await;
    assert_eq!(soon(later.changed()).await, Presence::Down { kind: RemoteErrorKind::NoSuchName });
    paris.host("later", crate::actors::Sum::default).takes::<Add>().start().await.unwrap();
    soon(later.up()).await;
    assert!(paris.directory().unregister("later"));
    assert_eq!(soon(later.down()).await, RemoteErrorKind::NoSuchName);
    let _ = soon(lyon.remote::<Panic>("paris/sum").unwrap().ask(Panic)).await.unwrap_err();
    meeting.pair.network.cut();
    assert_eq!(soon(node.down()).await, RemoteErrorKind::LinkLost);
    soon(node.up()).await;
    // Both ends have the link when an answer comes by it.
    assert!(soon(lyon.remote::<Add>("paris/sum").unwrap().ask(Add(1))).await.is_ok());
    paris.shutdown().await;
    assert_eq!(soon(node.down()).await, RemoteErrorKind::ShuttingDown);
    // It has come and gone since it was last looked at, and every change is told.
    let mut changes = vec![];
    while changes.last() != Some(&Presence::Down { kind: RemoteErrorKind::ShuttingDown }) {
        changes.push(soon(sum.changed()).await);
    }
    assert!(changes.contains(&Presence::Down { kind: RemoteErrorKind::LinkLost }), "{changes:?}");
}
