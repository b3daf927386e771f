//! Letters for one name hold up none for another, whatever keeps them waiting, and are in order.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use estafette::remote::{Delivery, LetterState, Remote};
use estafette::{NodeConfig, RemoteErrorKind, TrustedPeer};
use estafette_actors::{spool::Spool, standard};
use futures_util::future::try_join_all;
use tokio::sync::{Notify, Semaphore};

use crate::actors::Note;
use crate::harness::{config, soon};
use crate::post::{Desk, Post};

/// More than a window, twice.
const MANY: u64 = 2_500;

/// Delivers notes with these numbers, in their order: many are stored in one write.
async fn deliver(to: &Remote<Note>, numbers: std::ops::Range<u64>) -> Vec<Delivery> {
    let note = |number| to.deliver(Note(number, vec![0; number as usize % 300]));
    soon(try_join_all(numbers.map(note))).await.unwrap()
}

async fn processed(deliveries: &[Delivery]) {
    for delivery in deliveries {
        soon(delivery.processed()).await.unwrap();
    }
}

fn are(deliveries: &[Delivery], state: LetterState) -> bool {
    deliveries.iter().all(|delivery| delivery.state() == state)
}

/// The numbers that came, without those that came again in a later life.
fn once(noted: &mut tokio::sync::mpsc::UnboundedReceiver<u64>) -> Vec<u64> {
    let mut first: Vec<u64> = Vec::new();
    while let Ok(number) = noted.try_recv() {
        if first.last().is_none_or(|last| *last < number) {
            first.push(number);
        }
    }
    first
}

#[tokio::test]
async fn a_name_that_nobody_has_holds_up_no_other_over_restarts_of_either_side() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let spool = |at: usize| Arc::new(Spool::open(folders[at].path()).unwrap());
    let mut post = Post::with(81, config(), [spool(0), spool(1)]).await;
    let names = |post: &Post| {
        ["paris/later", "paris/desk"].map(|name| post.pair.lyon.remote::<Note>(name).unwrap())
    };
    let [later, desk] = names(&post);
    let waiting = deliver(&later, 0..3).await;
    processed(&deliver(&desk, 0..MANY).await).await;
    assert!(are(&waiting, LetterState::Delivered), "they are stored at paris, and wait");
    post.restart_paris().await;
    let waiting = [waiting, deliver(&later, 3..5).await].concat();
    processed(&deliver(&desk, MANY..MANY + 100).await).await;
    let ids: Vec<_> = waiting.iter().map(Delivery::id).collect();
    post.pair.restart_lyon(standard()).await.unwrap();
    let [later, desk] = names(&post);
    let mut waiting: Vec<_> =
        ids.iter().map(|&id| post.pair.lyon.letters().find(id).unwrap()).collect();
    waiting.extend(deliver(&later, 5..6).await);
    processed(&deliver(&desk, MANY + 100..2 * MANY).await).await;
    for delivery in &waiting {
        soon(delivery.delivered()).await.unwrap();
    }
    assert!(are(&waiting, LetterState::Delivered));
    assert_eq!((once(&mut post.noted).len() as u64, post.kept()), (2 * MANY, [6, 6]));
    // Its letters come when somebody has the name: in order, and once.
    let (clerk, mut noted) = Desk::new();
    post.pair.paris.host("later", move || clerk.clone()).takes::<Note>().start().await.unwrap();
    processed(&waiting).await;
    let all: Vec<_> = std::iter::from_fn(|| noted.try_recv().ok()).collect();
    assert_eq!((all, post.kept()), ((0..6).collect(), [0, 0]));
}

/// Has each note until it is let go.
struct Slow(Arc<Semaphore>, Arc<Notify>);

impl Actor for Slow {
    type Context = Context<Self>;
}

impl Handler<Note> for Slow {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Note, _: &mut Context<Self>) -> ResponseFuture<()> {
        let may = Arc::clone(&self.0);
        self.1.notify_one();
        Box::pin(async move { may.acquire_owned().await.unwrap().forget() })
    }
}

#[tokio::test]
async fn an_actor_that_does_not_answer_holds_up_no_other_however_many_wait_for_it() {
    let mut post = Post::open(82, config()).await;
    let (may, begun) = (Arc::new(Semaphore::new(0)), Arc::<Notify>::default());
    let made = (Arc::clone(&may), Arc::clone(&begun));
    let slow = move || Slow(Arc::clone(&made.0), Arc::clone(&made.1));
    post.pair.paris.host("slow", slow).takes::<Note>().start().await.unwrap();
    let lyon = post.pair.lyon.clone();
    let waiting = deliver(&lyon.remote("paris/slow").unwrap(), 0..MANY).await;
    soon(begun.notified()).await;
    processed(&deliver(&lyon.remote("paris/desk").unwrap(), 0..MANY).await).await;
    assert_eq!(once(&mut post.noted), (0..MANY).collect::<Vec<_>>());
    assert!(waiting.iter().all(|delivery| delivery.state() != LetterState::Processed));
    may.add_permits(MANY as usize);
    processed(&waiting).await;
    assert_eq!(post.kept(), [0, 0]);
}

#[tokio::test]
async fn a_name_that_may_not_be_sent_to_any_more_and_one_that_came_too_late_are_refused() {
    let mut post = Post::open(83, NodeConfig { expiry: Duration::from_secs(1), ..config() }).await;
    let lyon = post.pair.lyon.clone();
    let late = deliver(&lyon.remote("paris/late").unwrap(), 0..3).await;
    for delivery in &late {
        assert_eq!(soon(delivery.processed()).await.unwrap_err().kind, RemoteErrorKind::Expired);
    }
    soon(async {
        while post.kept()[1] > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(once(&mut post.noted).is_empty());
    let post = Post::open(84, config()).await;
    let lyon = post.pair.lyon.clone();
    let waiting = deliver(&lyon.remote("paris/later").unwrap(), 0..3).await;
    for delivery in &waiting {
        soon(delivery.delivered()).await.unwrap();
    }
    let only_desk = TrustedPeer { inboxes: vec!["desk".into()], ..TrustedPeer::new("lyon") };
    post.pair.paris.trust().add(lyon.peer(), only_desk).unwrap();
    for delivery in &waiting {
        assert_eq!(soon(delivery.processed()).await.unwrap_err().kind, RemoteErrorKind::Forbidden);
    }
    assert_eq!(post.kept()[1], 0);
}

#[tokio::test]
async fn a_revoked_peer_s_letters_for_names_that_nobody_has_go_with_it() {
    let post = Post::open(85, config()).await;
    let (lyon, paris) = (&post.pair.lyon, &post.pair.paris);
    let mut waiting = Vec::new();
    for name in ["one", "two"] {
        waiting.extend(deliver(&lyon.remote(&format!("paris/{name}")).unwrap(), 0..3).await);
    }
    for delivery in &waiting {
        soon(delivery.delivered()).await.unwrap();
    }
    assert!(paris.trust().revoke(lyon.peer()).unwrap());
    soon(async {
        while post.kept()[1] > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(post.spools[1].load("mailrefused").unwrap().len(), 6);
}

#[tokio::test]
async fn letters_come_again_to_a_receiver_that_has_lost_its_spool() {
    let mut post = Post::open(86, config()).await;
    let lyon = post.pair.lyon.clone();
    let waiting = deliver(&lyon.remote("paris/later").unwrap(), 0..400).await;
    for delivery in &waiting {
        soon(delivery.delivered()).await.unwrap();
    }
    soon(post.pair.paris.stop()).await;
    for table in ["mail", "maillogs"] {
        for (key, _) in post.spools[1].load(table).unwrap() {
            post.spools[1].remove(table, &key).unwrap();
        }
    }
    post.restart_paris().await;
    let (clerk, mut noted) = Desk::new();
    post.pair.paris.host("later", move || clerk.clone()).takes::<Note>().start().await.unwrap();
    processed(&waiting).await;
    let all: Vec<_> = std::iter::from_fn(|| noted.try_recv().ok()).collect();
    assert_eq!((all, post.kept()), ((0..400).collect(), [0, 0]));
}

#[tokio::test]
async fn many_names_that_nobody_has_hold_up_no_other_over_a_restart_of_their_receiver() {
    let mut post = Post::open(87, config()).await;
    let lyon = post.pair.lyon.clone();
    let mut waiting = Vec::new();
    for name in 0..1_500 {
        waiting
            .extend(deliver(&lyon.remote(&format!("paris/{name}")).unwrap(), name..name + 1).await);
    }
    for round in 0..2 {
        let desk = lyon.remote("paris/desk").unwrap();
        processed(&deliver(&desk, round * MANY..(round + 1) * MANY).await).await;
        assert!(are(&waiting, LetterState::Delivered));
        if round == 0 {
            post.restart_paris().await;
        }
    }
    let (clerk, mut noted) = Desk::new();
    post.pair.paris.host("1234", move || clerk.clone()).takes::<Note>().start().await.unwrap();
    soon(waiting[1234].processed()).await.unwrap();
    assert_eq!((noted.try_recv(), post.kept()), (Ok(1234), [1_499, 1_499]));
}
