//! Messages that are delivered: once, in order, whatever dies meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use estafette::node::MemoryStore;
use estafette::remote::{Delivery, LETTER_LIMIT, LetterState, Remote, RemoteMessage};
use estafette::testing::Pair;
use estafette::{NodeConfig, RemoteErrorKind, TrustedPeer};
use estafette_actors::{spool::Spool, standard};
use serde::{Deserialize, Serialize};

use crate::actors::{Add, Note, Stop};
use crate::harness::{config, meet, soon};
use crate::post::{Fickle, Fragile, Post};

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Note", version = 2)]
struct NewerNote(u64);

/// The same name and version, and bytes that are no `Note`.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Note")]
struct OtherNote(bool);

async fn deliver<M: RemoteMessage>(to: &Remote<M>, message: M) -> Delivery {
    soon(to.deliver(message)).await.unwrap()
}

async fn processed(delivery: &Delivery) {
    soon(delivery.processed()).await.unwrap();
}

async fn death(delivery: &Delivery) -> RemoteErrorKind {
    soon(delivery.processed()).await.unwrap_err().kind
}

/// Has the first message of its life, and never lets go of it.
struct Stuck(Arc<tokio::sync::Notify>);

impl actix::Actor for Stuck {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Note> for Stuck {
    type Result = actix::ResponseFuture<()>;

    fn handle(&mut self, _: Note, _: &mut actix::Context<Self>) -> Self::Result {
        self.0.notify_one();
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn letters_of_a_revoked_peer_are_refused_and_those_to_it_are_dead() {
    let post = Post::open(68, config()).await;
    let (lyon, paris) = (&post.pair.lyon, &post.pair.paris);
    let has_one = Arc::<tokio::sync::Notify>::default();
    let begun = Arc::clone(&has_one);
    paris.host("stuck", move || Stuck(Arc::clone(&begun))).takes::<Note>().start().await.unwrap();
    let note = lyon.remote::<Note>("paris/stuck").unwrap();
    let mut deliveries = Vec::new();
    for number in 0..5 {
        deliveries.push(deliver(&note, Note(number, vec![])).await);
        soon(deliveries[number as usize].delivered()).await.unwrap();
    }
    soon(has_one.notified()).await;
    assert_eq!(post.kept(), [5, 5]);
    assert!(paris.trust().revoke(lyon.peer()).unwrap());
    soon(async {
        while post.spools[1].load("mailrefused").unwrap().len() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(post.kept()[1], 1, "only the one that its actor has is left");
    assert!(lyon.trust().revoke(paris.peer()).unwrap());
    for (number, delivery) in deliveries.iter().enumerate() {
        let why = soon(delivery.processed()).await.unwrap_err();
        // What its actor has may be handled yet; of the others, paris may have had time to say no.
        let refused = number > 0 && why.kind == RemoteErrorKind::Forbidden;
        assert!(refused || why.kind == RemoteErrorKind::Cancelled, "{number} {why:?}");
        assert!(why.message.contains("paris"), "{why:?}");
    }
    let listed: Vec<_> = lyon
        .letters()
        .list()
        .into_iter()
        .map(|letter| matches!(letter.state, LetterState::Dead(_)))
        .collect();
    assert_eq!(listed, [true; 5], "they are dead, and named");
}

#[tokio::test]
async fn letters_are_handled_once_in_order_whatever_their_size_and_whatever_breaks() {
    let mut post = Post::open(61, config()).await;
    let note = post.pair.lyon.remote::<Note>("paris/desk").unwrap();
    let mut deliveries = Vec::new();
    for number in 0..400 {
        let size = if number % 50 == 7 { LETTER_LIMIT - 10 } else { number as usize % 300 };
        deliveries.push(deliver(&note, Note(number, vec![1; size])).await);
        if number % 20 == 9 {
            post.pair.network.cut();
        }
    }
    for (number, delivery) in deliveries.iter().enumerate() {
        assert_eq!(soon(post.noted.recv()).await, Some(number as u64));
        soon(delivery.delivered()).await.unwrap();
        processed(delivery).await;
    }
    assert!(post.noted.try_recv().is_err());
    assert_eq!(
        (post.pair.lyon.letters().list(), post.kept()),
        (vec![], [0, 0]),
        "nothing is left of them"
    );
}

#[tokio::test]
async fn letters_outlive_their_sender_s_process() {
    let mut post = Post::open(62, config()).await;
    post.pair.network.refuse("paris", true);
    let note = post.pair.lyon.remote::<Note>("paris/desk").unwrap();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(deliver(&note, Note(number, vec![])).await.id());
    }
    let waits = deliver(&note, Note(20, vec![])).await;
    post.pair.restart_lyon(standard()).await.unwrap();
    assert_eq!(death(&waits).await, RemoteErrorKind::ShuttingDown, "its process has ended");
    assert_eq!(
        soon(note.deliver(Note(99, vec![]))).await.unwrap_err().kind,
        RemoteErrorKind::ShuttingDown
    );
    let known: Vec<_> = post
        .pair
        .lyon
        .letters()
        .list()
        .into_iter()
        .map(|letter| (letter.id, letter.state))
        .collect();
    assert_eq!(
        known,
        ids.iter().chain([&waits.id()]).map(|&id| (id, LetterState::Stored)).collect::<Vec<_>>()
    );
    let last = post.pair.lyon.letters().find(waits.id()).unwrap();
    let note = post.pair.lyon.remote::<Note>("paris/desk").unwrap();
    let next = deliver(&note, Note(21, vec![])).await;
    assert!(next.id().log == last.id().log && next.id().number > last.id().number);
    post.pair.network.refuse("paris", false);
    processed(&last).await;
    processed(&next).await;
    for number in 0..22 {
        assert_eq!(post.noted.try_recv(), Ok(number));
    }
    assert!(post.pair.lyon.letters().find(last.id()).is_none());
}

#[tokio::test]
async fn letters_are_handed_over_without_their_sender_once_they_are_stored() {
    let mut post = Post::open(63, config()).await;
    assert!(post.pair.paris.directory().unregister("desk"));
    let note = post.pair.lyon.remote::<Note>("paris/desk").unwrap();
    let mut deliveries = Vec::new();
    for number in 0..20 {
        deliveries.push(deliver(&note, Note(number, vec![])).await);
    }
    for delivery in &deliveries {
        soon(delivery.delivered()).await.unwrap();
        assert_eq!(delivery.state(), LetterState::Delivered);
    }
    post.pair.lyon.abort().await;
    post.restart_paris().await;
    for number in 0..20 {
        assert_eq!(soon(post.noted.recv()).await, Some(number));
    }
    // Their sender hears of it when it is back, and hands nothing over again.
    post.pair.restart_lyon(standard()).await.unwrap();
    for delivery in &deliveries {
        // What was heard of already is forgotten.
        if let Some(again) = post.pair.lyon.letters().find(delivery.id()) {
            processed(&again).await;
        }
    }
    assert!(post.noted.try_recv().is_err());
    assert_eq!(post.kept(), [0, 0]);
}

#[tokio::test]
async fn a_node_that_is_stopped_in_order_hands_nothing_over_twice() {
    let mut post = Post::open(64, config()).await;
    let note = post.pair.lyon.remote::<Note>("paris/desk").unwrap();
    let mut deliveries = Vec::new();
    for number in 0..200 {
        deliveries.push(deliver(&note, Note(number, vec![])).await);
    }
    let mut next = 0;
    while next < 200 {
        assert_eq!(soon(post.noted.recv()).await, Some(next));
        next += 1;
        if next.is_multiple_of(40) {
            soon(post.pair.paris.stop()).await;
            post.restart_paris().await;
        }
    }
    processed(&deliveries[199]).await;
    assert!(post.noted.try_recv().is_err());
}

#[tokio::test]
async fn the_spool_on_disk_keeps_letters_of_any_size() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let spool = |at: usize| Arc::new(Spool::open(folders[at].path()).unwrap());
    let mut post = Post::with(65, config(), [spool(0), spool(1)]).await;
    let note = post.pair.lyon.remote::<Note>("paris/desk").unwrap();
    let mut last = None;
    for number in 0..30 {
        let size = if number % 10 == 3 { LETTER_LIMIT - 10 } else { 100 };
        last = Some(deliver(&note, Note(number, vec![1; size])).await);
        if number == 15 {
            post.restart_paris().await;
        }
    }
    processed(&last.unwrap()).await;
    let mut seen = Vec::new();
    while let Ok(number) = post.noted.try_recv() {
        seen.push(number);
    }
    // What was handled and not noted when the process died is handed over once more.
    seen.dedup();
    let mut first = Vec::new();
    seen.iter().for_each(|number| {
        if !first.contains(number) {
            first.push(*number)
        }
    });
    assert_eq!(first, (0..30).collect::<Vec<_>>());
    assert_eq!(post.kept(), [0, 0]);
}

#[tokio::test]
async fn what_can_not_be_handled_is_refused_with_its_reason_and_the_next_goes_on() {
    let mut post = Post::open(66, config()).await;
    let lyon = post.pair.lyon.clone();
    let only_desk = TrustedPeer { inboxes: vec!["desk".into()], ..TrustedPeer::new("lyon") };
    post.pair.paris.trust().add(lyon.peer(), only_desk).unwrap();
    let dead = [
        (
            deliver(&lyon.remote::<Note>("paris/secret").unwrap(), Note(1, vec![])).await,
            RemoteErrorKind::Forbidden,
            "secret",
        ),
        (
            deliver(&lyon.remote::<NewerNote>("paris/desk").unwrap(), NewerNote(1)).await,
            RemoteErrorKind::VersionMismatch,
            "version 1",
        ),
        (
            deliver(&lyon.remote::<OtherNote>("paris/desk").unwrap(), OtherNote(true)).await,
            RemoteErrorKind::Undecodable,
            "test.Note",
        ),
        (
            deliver(&lyon.remote::<Stop>("paris/desk").unwrap(), Stop).await,
            RemoteErrorKind::NoSuchMessage,
            "test.Stop",
        ),
    ];
    let good = deliver(&lyon.remote::<Note>("paris/desk").unwrap(), Note(5, vec![])).await;
    processed(&good).await;
    assert_eq!(post.noted.try_recv(), Ok(5));
    for (delivery, kind, text) in &dead {
        let error = soon(delivery.processed()).await.unwrap_err();
        assert_eq!(error.kind, *kind, "{error}");
        assert!(error.message.contains(text) && error.message.contains("paris"), "{error}");
        assert_eq!(soon(delivery.delivered()).await.unwrap_err().kind, *kind);
    }
    // They can be looked at, in another life, too, until they are forgotten.
    post.pair.restart_lyon(standard()).await.unwrap();
    let kept = post.pair.lyon.letters().list();
    assert_eq!(kept.len(), 4);
    for (letter, (delivery, kind, _)) in kept.iter().zip(&dead) {
        assert_eq!(letter.id, delivery.id());
        assert!(matches!(&letter.state, LetterState::Dead(why) if why.kind == *kind), "{letter:?}");
        assert_eq!(soon(post.pair.lyon.letters().forget(letter.id)).await, Ok(true));
        assert_eq!(soon(post.pair.lyon.letters().forget(letter.id)).await, Ok(false));
    }
    assert_eq!((post.pair.lyon.letters().list(), post.kept()), (vec![], [0, 0]));
}

#[tokio::test]
async fn an_actor_that_dies_with_a_letter_gets_it_again_and_not_for_ever() {
    let mut post = Post::open(67, config()).await;
    let fragile = post.pair.lyon.remote::<Fragile>("paris/desk").unwrap();
    post.desk.panics.store(2, Ordering::SeqCst);
    processed(&deliver(&fragile, Fragile(1)).await).await;
    assert_eq!(post.noted.try_recv(), Ok(1));
    post.desk.panics.store(5, Ordering::SeqCst);
    let (deadly, next) = (deliver(&fragile, Fragile(2)).await, deliver(&fragile, Fragile(3)).await);
    let error = soon(deadly.processed()).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Died);
    assert!(error.message.contains("desk") && error.message.contains("5 times"), "{error}");
    processed(&next).await;
    assert_eq!(post.noted.try_recv(), Ok(3));
}

#[tokio::test]
async fn a_letter_waits_for_its_actor_and_holds_up_those_for_its_name_alone() {
    let mut post = Post::open(68, config()).await;
    let lyon = &post.pair.lyon;
    let first = deliver(&lyon.remote::<Note>("paris/later").unwrap(), Note(1, vec![])).await;
    let third = deliver(&lyon.remote::<Note>("paris/later").unwrap(), Note(3, vec![])).await;
    let second = deliver(&lyon.remote::<Note>("paris/desk").unwrap(), Note(2, vec![])).await;
    processed(&second).await;
    soon(third.delivered()).await.unwrap();
    assert_eq!((first.state(), third.state()), (LetterState::Delivered, LetterState::Delivered));
    let desk = post.desk.clone();
    post.pair.paris.host("later", move || desk.clone()).takes::<Note>().start().await.unwrap();
    processed(&third).await;
    processed(&first).await;
    let noted: Vec<_> = std::iter::from_fn(|| post.noted.try_recv().ok()).collect();
    assert_eq!(noted, [2, 1, 3]);
}

#[tokio::test]
async fn what_is_not_worth_delivering_any_more_expires_on_either_side() {
    let mut post = Post::open(69, NodeConfig { expiry: Duration::from_secs(1), ..config() }).await;
    post.pair.network.refuse("paris", true);
    let note = post.pair.lyon.remote::<Note>("paris/desk").unwrap();
    let away = deliver(&note, Note(1, vec![])).await;
    assert_eq!(death(&away).await, RemoteErrorKind::Unreachable, "it was never sent");
    post.pair.network.refuse("paris", false);
    // It waits at its receiver for a name that comes too late.
    let later = post.pair.lyon.remote::<Note>("paris/later").unwrap();
    let late = deliver(&later, Note(2, vec![])).await;
    assert_eq!(death(&late).await, RemoteErrorKind::Expired);
    soon(async {
        while post.kept()[1] > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let desk = post.desk.clone();
    post.pair.paris.host("later", move || desk.clone()).takes::<Note>().start().await.unwrap();
    // On a busy machine the first one may expire as well.
    for number in 3.. {
        match soon(deliver(&later, Note(number, vec![])).await.processed()).await {
            Ok(()) => break,
            Err(error) => assert!(error.message.contains("expired"), "{error}"),
        }
    }
    let noted: Vec<_> = std::iter::from_fn(|| post.noted.try_recv().ok()).collect();
    assert!(!noted.is_empty() && !noted.contains(&1) && !noted.contains(&2), "{noted:?}");
}

#[tokio::test]
async fn a_node_without_a_spool_says_that_it_keeps_no_letters() {
    let meeting = meet(70).await;
    let error = soon(meeting.pair.lyon.remote::<Add>("paris/sum").unwrap().deliver(Add(1)))
        .await
        .unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Storage);
    assert!(
        error.message.contains("spool") && meeting.pair.lyon.letters().list().is_empty(),
        "{error}"
    );
    let pair =
        Pair::start_spooled(71, config(), standard(), standard(), Arc::<MemoryStore>::default())
            .await
            .unwrap();
    let refused = deliver(&pair.paris.remote::<Add>("lyon/sum").unwrap(), Add(1)).await;
    assert_eq!(death(&refused).await, RemoteErrorKind::Storage);
}

#[tokio::test]
async fn more_letters_than_may_be_under_way_are_refused() {
    let mut post = Post::open(72, NodeConfig { letters: 3, ..config() }).await;
    post.pair.network.refuse("paris", true);
    let note = post.pair.lyon.remote::<Note>("paris/desk").unwrap();
    for number in 0..3 {
        deliver(&note, Note(number, vec![])).await;
    }
    let full = soon(note.deliver(Note(3, vec![]))).await.unwrap_err();
    assert_eq!(full.kind, RemoteErrorKind::Full);
    assert!(full.message.contains('3') && full.message.contains("paris"), "{full}");
    let large = soon(note.deliver(Note(4, vec![0; LETTER_LIMIT]))).await.unwrap_err();
    assert_eq!(large.kind, RemoteErrorKind::Unencodable, "{large}");
    post.pair.network.refuse("paris", false);
    for number in 0..3 {
        assert_eq!(soon(post.noted.recv()).await, Some(number));
    }
    let room = async {
        loop {
            match note.deliver(Note(5, vec![])).await {
                Ok(delivery) => return delivery,
                Err(error) => assert_eq!(error.kind, RemoteErrorKind::Full),
            }
            tokio::task::yield_now().await;
        }
    };
    processed(&soon(room).await).await;
}

#[tokio::test]
async fn a_spool_that_fails_is_told_of_by_the_sender_and_waited_for_by_the_receiver() {
    let fickle = [Arc::<Fickle>::default(), Arc::<Fickle>::default()];
    let mut post =
        Post::with(73, config(), [Arc::clone(&fickle[0]) as _, Arc::clone(&fickle[1]) as _]).await;
    let note = post.pair.lyon.remote::<Note>("paris/desk").unwrap();
    fickle[0].fails.store(true, Ordering::SeqCst);
    let error = soon(note.deliver(Note(1, vec![]))).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Storage);
    assert!(error.message.contains("disk is full"), "{error}");
    fickle[0].fails.store(false, Ordering::SeqCst);
    fickle[1].fails.store(true, Ordering::SeqCst);
    let (second, third) =
        (deliver(&note, Note(2, vec![])).await, deliver(&note, Note(3, vec![])).await);
    soon(async {
        while fickle[1].failed.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(second.state(), LetterState::Stored, "it is not said to be stored before it is");
    fickle[1].fails.store(false, Ordering::SeqCst);
    processed(&second).await;
    processed(&third).await;
    assert_eq!((post.noted.try_recv(), post.noted.try_recv()), (Ok(2), Ok(3)));
}
