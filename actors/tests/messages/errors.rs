//! Tests that each thing that can go wrong has an error of its own, at the caller.

use std::time::Duration;

use estafette::remote::RemoteMessage;
use estafette::testing::Network;
use estafette::{Identity, Node, RemoteErrorKind, TrustedPeer};
use estafette_actors::standard;
use serde::{Deserialize, Serialize};

use crate::actors::{Add, Hang, Note};
use crate::harness::{Lost, config, meet, soon};

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Add", version = 2, reply = u64)]
struct NewerAdd(u64);

/// The same name and version, and bytes that are no `Add`.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Note")]
struct OtherNote(bool);

/// The same name and version, and another answer.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Add", reply = String)]
struct TextAdd(u64);

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Unheard", reply = u64)]
struct Unheard;

async fn kind_of<M: RemoteMessage>(node: &Node, to: &str, message: M) -> (RemoteErrorKind, String)
where
    M::Result: std::fmt::Debug,
{
    let error = soon(node.remote::<M>(to).unwrap().ask(message)).await.unwrap_err();
    (error.kind, error.message)
}

#[tokio::test]
async fn each_mistake_has_its_own_error() {
    let meeting = meet(21).await;
    let lyon = &meeting.pair.lyon;
    for (got, wanted, names) in [
        (kind_of(lyon, "paris/nobody", Add(1)).await, RemoteErrorKind::NoSuchName, "nobody"),
        (kind_of(lyon, "paris/sum", Unheard).await, RemoteErrorKind::NoSuchMessage, "test.Add"),
        (
            kind_of(lyon, "paris/sum", NewerAdd(1)).await,
            RemoteErrorKind::VersionMismatch,
            "version 1",
        ),
        (
            kind_of(lyon, "paris/sum", TextAdd(u64::MAX)).await,
            RemoteErrorKind::BadReply,
            "test.Add",
        ),
    ] {
        assert_eq!(got.0, wanted, "{}", got.1);
        assert!(got.1.contains(names), "{}", got.1);
    }
    let unknown = lyon.remote::<Add>("nantes/sum").unwrap_err();
    assert_eq!(unknown.kind, RemoteErrorKind::UnknownPeer);
    assert!(unknown.message.contains("paris"), "{unknown}");
    let hang = lyon.remote::<Hang>("paris/sum").unwrap().within(Duration::from_millis(50));
    assert_eq!(soon(hang.ask(Hang)).await.unwrap_err().kind, RemoteErrorKind::Deadline);
}

#[tokio::test]
async fn tells_that_reach_nobody_are_told_of() {
    let network = Network::seeded(22);
    let [one, two] = [Identity::generate(), Identity::generate()];
    let lost = Lost::default();
    let lyon = Node::builder()
        .name("lyon")
        .identity(one.clone())
        .stages(standard().transport(network.transport("lyon")));
    let lyon = lyon
        .peer("paris", two.peer(), ["paris"])
        .on_undelivered(lost.hook())
        .config(config())
        .start()
        .await
        .unwrap();
    let paris = Node::builder()
        .name("paris")
        .identity(two)
        .listen("paris")
        .stages(standard().transport(network.transport("paris")));
    let paris = paris.config(config()).start().await.unwrap();
    paris
        .trust()
        .add(
            one.peer(),
            TrustedPeer { inboxes: vec!["allowed".into()], ..TrustedPeer::new("lyon") },
        )
        .unwrap();
    for name in ["allowed", "other"] {
        let hosted = paris.host(name, crate::actors::Sum::default);
        hosted.takes::<Note>().takes::<Add>().start().await.unwrap();
    }
    assert_eq!(soon(lyon.remote::<Add>("paris/allowed").unwrap().ask(Add(2))).await, Ok(2));
    assert_eq!(kind_of(&lyon, "paris/other", Add(2)).await.0, RemoteErrorKind::Forbidden);
    soon(lyon.remote::<Note>("paris/other").unwrap().tell(Note(1, vec![]))).await.unwrap();
    assert_eq!(soon(lost.count(1)).await.kind, RemoteErrorKind::Forbidden);
    soon(lyon.remote::<OtherNote>("paris/allowed").unwrap().tell(OtherNote(true))).await.unwrap();
    assert_eq!(soon(lost.count(2)).await.kind, RemoteErrorKind::Undecodable);
    // Trust can grow while the link is up.
    paris.trust().add(one.peer(), TrustedPeer::new("lyon")).unwrap();
    assert_eq!(soon(lyon.remote::<Add>("paris/other").unwrap().ask(Add(2))).await, Ok(2));
    soon(lyon.remote::<Note>("paris/nobody").unwrap().tell(Note(1, vec![]))).await.unwrap();
    assert_eq!(soon(lost.count(3)).await.kind, RemoteErrorKind::NoSuchName);
}

#[tokio::test]
async fn an_actor_that_does_not_keep_up_is_full_and_others_are_not() {
    let meeting = meet(23).await;
    let (hang, add) = (
        meeting.pair.lyon.remote::<Hang>("paris/sum").unwrap(),
        meeting.pair.lyon.remote::<Add>("paris/sum").unwrap(),
    );
    let asks: Vec<_> = (0..20_000).map(|_| Box::pin(hang.ask(Hang))).collect();
    let mut asks = futures_util::future::select_all(asks);
    let full = soon(async {
        loop {
            let (answer, _, rest) = asks.await;
            if let Err(error) = answer {
                return error;
            }
            asks = futures_util::future::select_all(rest);
        }
    })
    .await;
    assert_eq!(full.kind, RemoteErrorKind::Full);
    assert_eq!(soon(add.ask(Add(1))).await, Ok(1));
}

#[tokio::test]
async fn a_link_that_breaks_ends_what_is_under_way_and_the_next_one_serves() {
    let meeting = meet(24).await;
    let (hang, add) = (
        meeting.pair.lyon.remote::<Hang>("paris/sum").unwrap(),
        meeting.pair.lyon.remote::<Add>("paris/sum").unwrap(),
    );
    let asked = hang.ask(Hang);
    tokio::pin!(asked);
    tokio::select! {
        _ = &mut asked => panic!("it was not let go"),
        answer = add.ask(Add(1)) => assert_eq!(answer, Ok(1)),
    }
    meeting.pair.network.cut();
    assert_eq!(soon(asked).await.unwrap_err().kind, RemoteErrorKind::LinkLost);
    let again = async {
        loop {
            match add.ask(Add(1)).await {
                Ok(sum) => return sum,
                Err(error) => assert_eq!(error.kind, RemoteErrorKind::LinkLost),
            }
        }
    };
    assert_eq!(soon(again).await, 2);
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_unreachable_soon() {
    let network = Network::seeded(25);
    let config = estafette::NodeConfig { dial_for: Duration::from_millis(200), ..config() };
    let lyon = Node::builder()
        .name("lyon")
        .stages(standard().transport(network.transport("lyon")))
        .config(config);
    let lyon = lyon.peer("paris", Identity::generate().peer(), ["paris"]).start().await.unwrap();
    assert_eq!(kind_of(&lyon, "paris/sum", Add(1)).await.0, RemoteErrorKind::Unreachable);
    let error =
        soon(lyon.remote::<Note>("paris/sum").unwrap().tell(Note(1, vec![]))).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Unreachable);
}

#[tokio::test]
async fn a_deadline_that_passes_before_there_is_a_link_says_that_nothing_was_sent() {
    let network = Network::seeded(26);
    let lyon = Node::builder()
        .name("lyon")
        .stages(standard().transport(network.transport("lyon")))
        .config(config());
    let lyon = lyon.peer("paris", Identity::generate().peer(), ["paris"]).start().await.unwrap();
    let sum = lyon.remote::<Add>("paris/sum").unwrap().within(Duration::from_millis(50));
    let error = soon(sum.ask(Add(1))).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Unreachable);
    assert!(error.message.contains("was sent nothing"), "{error}");
}

#[tokio::test]
async fn a_peer_that_was_revoked_and_is_trusted_again_gets_each_message_where_it_belongs() {
    let mut meeting = meet(27).await;
    let lyon = &meeting.pair.lyon;
    let (add, note) =
        (lyon.remote::<Add>("paris/sum").unwrap(), lyon.remote::<Note>("paris/sum").unwrap());
    assert_eq!(soon(add.ask(Add(1))).await, Ok(1));
    let paris = lyon.trust().named("paris").unwrap().0;
    let known = lyon.trust().peer(&paris).unwrap();
    assert!(lyon.trust().revoke(paris).unwrap());
    let refused = async { while add.ask(Add(0)).await.is_ok() {} };
    soon(refused).await;
    lyon.trust().add(paris, known).unwrap();
    // The other one comes first now: numbers of an earlier link mean something else on this one.
    let told = async { while note.tell(Note(7, vec![])).await.is_err() {} };
    soon(told).await;
    assert_eq!(soon(meeting.noted.recv()).await, Some((7, 0)));
    assert_eq!(soon(add.ask(Add(1))).await, Ok(2));
}
