//! A letter whose handling ends the process is handed over a few times, and then it is dead; those
//! around it are handled, and are not.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use estafette::node::NodeEvent;
use estafette::testing::Network;
use estafette::{Identity, Node, NodeConfig, RemoteErrorKind};
use estafette_actors::standard;
use tokio::sync::Notify;

use crate::actors::Note;
use crate::harness::{config, soon};
use crate::killed::spool;
use crate::post::Post;

const DIR: &str = "ESTAFETTE_TEST_POISON";
const LIFE: &str = "ESTAFETTE_TEST_LIFE";
/// The letter that ends the process.
const POISON: u64 = 10;
/// One of another sender that is with the actor when it does so for the first time.
const MET: u64 = 105;
/// Lives that it may end: the first, and those that are counted.
const LIVES: u64 = 1 + 5;

/// Handles all letters but one.
#[derive(Clone)]
struct Victim {
    first_life: bool,
    met: Arc<Notify>,
}

impl Actor for Victim {
    type Context = Context<Self>;
}

impl Handler<Note> for Victim {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Note(number, _): Note, _: &mut Context<Self>) -> ResponseFuture<()> {
        println!("\nhandled {number}");
        let Self { first_life, met } = self.clone();
        Box::pin(async move {
            match number {
                POISON if first_life => {
                    met.notified().await;
                    std::process::abort();
                }
                POISON => std::process::abort(),
                MET if first_life => {
                    met.notify_one();
                    std::future::pending().await
                }
                _ => {}
            }
        })
    }
}

#[tokio::test]
#[ignore = "the process that a letter ends"]
async fn another_process() {
    let dir = PathBuf::from(std::env::var_os(DIR).expect("started by another test"));
    let first_life = std::env::var(LIFE).unwrap() == "0";
    let network = Network::seeded(91);
    let identities = [1, 2, 3].map(|number| Identity::from_secret([number; 32]));
    let [lyon, nice, paris] = &identities;
    let node = |name: &str, identity: &Identity| {
        let node =
            Node::builder().name(name).identity(identity.clone()).listen(name).config(config());
        node.stages(standard().transport(network.transport(name))).spool(spool(&dir, name))
    };
    let at_paris = node("paris", paris)
        .peer("lyon", lyon.peer(), [""; 0])
        .peer("nice", nice.peer(), [""; 0])
        .start()
        .await
        .unwrap();
    let mut senders = Vec::new();
    for (name, identity, from) in [("lyon", lyon, 1), ("nice", nice, 101)] {
        let sender =
            node(name, identity).peer("paris", paris.peer(), ["paris"]).start().await.unwrap();
        let note = sender.remote::<Note>("paris/victim").unwrap();
        for number in (from..from + 20).take_while(|_| first_life) {
            note.deliver(Note(number, vec![])).await.unwrap();
        }
        senders.push(sender);
    }
    let (mut events, victim) = (at_paris.events(), Victim { first_life, met: Arc::default() });
    at_paris.host("victim", move || victim.clone()).takes::<Note>().start().await.unwrap();
    for sender in &senders {
        for info in sender.letters().list() {
            let Some(letter) = sender.letters().find(info.id) else { continue };
            if let Err(why) = letter.processed().await {
                println!("\ndead {} {:?} {}", info.id.number, why.kind, why.message);
            }
        }
    }
    loop {
        if let Some(NodeEvent::LetterRefused { peer, name, message, why, .. }) = events.next().await
        {
            println!("\nrefused {} {name} {message} {:?}", peer == lyon.peer(), why.kind);
            return;
        }
    }
}

/// A life: what it said, and whether it came to its end.
fn life(dir: &Path, number: u64) -> (Vec<String>, bool) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "poison::another_process", "--ignored", "--nocapture"])
        .envs([(DIR, dir.as_os_str()), (LIFE, number.to_string().as_ref())])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (
        said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect(),
        output.status.success(),
    )
}

#[test]
fn a_letter_that_ends_its_process_is_dead_after_a_few_times_and_no_other_is() {
    let folder = tempfile::tempdir().unwrap();
    let (mut handled, mut last) = (HashMap::<u64, u64>::new(), Vec::new());
    let mut lives = 0;
    loop {
        let (said, ended) = life(folder.path(), lives);
        let numbers = said.iter().filter_map(|line| line.strip_prefix("handled ")?.parse().ok());
        numbers.for_each(|number| *handled.entry(number).or_default() += 1);
        lives += 1;
        if ended {
            last = said;
        }
        assert!(lives <= LIVES + 1, "it is handed over for ever");
        if ended {
            break;
        }
    }
    assert_eq!((lives, handled.remove(&POISON)), (LIVES + 1, Some(LIVES)));
    for number in (1..=20).chain(101..=120).filter(|&number| number != POISON) {
        // What was handled last before a process ended may not be on record.
        assert!(
            matches!(handled.get(&number), Some(1 | 2)),
            "{number}: {:?}",
            handled.get(&number)
        );
    }
    let dead: Vec<_> = last.iter().filter(|line| line.starts_with("dead ")).collect();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(
        dead[0].starts_with("dead 10 Died ")
            && dead[0].contains("the process ended with this test.Note"),
        "{dead:?}"
    );
    assert!(last.contains(&"refused true victim test.Note Died".to_owned()), "{last:?}");
}

/// Holds each letter until it dies with it.
#[derive(Clone, Default)]
struct Holder(Arc<AtomicU64>, Arc<Notify>);

impl Actor for Holder {
    type Context = Context<Self>;
}

impl Handler<Note> for Holder {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Note, _: &mut Context<Self>) -> ResponseFuture<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.notify_one();
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn an_orderly_stop_is_not_counted_against_the_letter_that_is_with_its_actor() {
    let mut post = Post::open(92, NodeConfig { drain_for: Duration::ZERO, ..config() }).await;
    let holder = Holder::default();
    let delivery =
        soon(post.pair.lyon.remote::<Note>("paris/holder").unwrap().deliver(Note(1, vec![])))
            .await
            .unwrap();
    let weight =
        |post: &Post| post.spools[1].load("mailtried").unwrap().first().map(|(_, value)| value[0]);
    for (round, (in_order, wanted)) in
        [(false, None), (true, Some(0)), (false, Some(5)), (true, Some(5)), (false, Some(10))]
            .into_iter()
            .enumerate()
    {
        let held = holder.clone();
        post.pair.paris.host("holder", move || held.clone()).takes::<Note>().start().await.unwrap();
        soon(holder.1.notified()).await;
        if in_order {
            soon(post.pair.paris.stop()).await;
        }
        post.restart_paris().await;
        assert_eq!(weight(&post), wanted, "round {round}");
    }
    for _ in 0..3 {
        let held = holder.clone();
        post.pair.paris.host("holder", move || held.clone()).takes::<Note>().start().await.unwrap();
        soon(holder.1.notified()).await;
        post.restart_paris().await;
    }
    let held = holder.clone();
    post.pair.paris.host("holder", move || held.clone()).takes::<Note>().start().await.unwrap();
    assert_eq!(soon(delivery.processed()).await.unwrap_err().kind, RemoteErrorKind::Died);
    assert_eq!(
        (holder.0.load(Ordering::SeqCst), post.spools[1].load("mailtried").unwrap().len()),
        (8, 0)
    );
}
