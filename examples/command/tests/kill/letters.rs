//! Two processes of their own that send each other letters while they are killed, stopped, and
//! their road is damaged: each letter that was stored is handled, in order, and no process handles
//! one twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use estafette::{Identity, Node, NodeConfig, RemoteMessage};
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use serde::{Deserialize, Serialize};

const FOLDER: &str = "ESTAFETTE_TEST_FOLDER";
const ROAD: &str = "ESTAFETTE_TEST_ROAD";
const LIFE: &str = "ESTAFETTE_TEST_LIFE";
/// In a life, more letters than it can store.
const LIFE_MOST: u64 = 1_000_000;
/// Between two letters: they are to be under way whatever happens, not to fill the machine.
const PACE: Duration = Duration::from_millis(5);
/// After so many it is waited until the last one is processed, so that it takes no more than the
/// node allows.
const AT_ONCE: u64 = 200;

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "campaign.Letter")]
struct Letter(u64, Vec<u8>);

/// A file to which a process says what it does, before it is killed.
#[derive(Clone)]
struct Diary(Arc<Mutex<File>>);

impl Diary {
    fn open(path: &Path) -> Self {
        Self(Arc::new(Mutex::new(OpenOptions::new().create(true).append(true).open(path).unwrap())))
    }

    fn say(&self, text: impl std::fmt::Display) {
        self.0.lock().unwrap().write_all(format!("{text}\n").as_bytes()).unwrap();
    }
}

struct Reader(Diary);

impl Actor for Reader {
    type Context = Context<Self>;
}

impl Handler<Letter> for Reader {
    type Result = ();

    fn handle(&mut self, Letter(number, bytes): Letter, _: &mut Context<Self>) {
        assert!(
            bytes.iter().all(|byte| u64::from(*byte) == number % 251),
            "letter {number} is another one"
        );
        self.0.say(number);
    }
}

/// The process of one end: `nancy` writes letters, `brest` handles them.
pub(crate) fn command(folder: &Path, who: &str, road: &str, life: u64) -> Command {
    fs::create_dir_all(folder).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "letters::a_process_of_letters", "--ignored", "--nocapture"])
        .stdin(Stdio::null())
        .env_clear();
    command
        .env("HOME", folder)
        .env(FOLDER, folder)
        .env(ROAD, road)
        .env(LIFE, format!("{who}.{life}"));
    command
}

#[tokio::test]
#[ignore = "a process that is killed by the test here"]
async fn a_process_of_letters() {
    let variable = |name: &str| std::env::var(name).expect("started by another test");
    let (folder, road, life) = (PathBuf::from(variable(FOLDER)), variable(ROAD), variable(LIFE));
    let (who, number) = life.split_once('.').unwrap();
    let [nancy, brest] = [91, 92].map(|secret| Identity::from_secret([secret; 32]));
    let own = if who == "nancy" { &nancy } else { &brest };
    let spool = Arc::new(Spool::open(folder.join(format!("{who}.spool"))).unwrap());
    let config = NodeConfig { expiry: NodeConfig::EXPIRY_MOST, ..NodeConfig::default() };
    let node = Node::builder()
        .name(who)
        .identity(own.clone())
        .stages(standard())
        .config(config)
        .spool(spool);
    let diary = Diary::open(&folder.join(&life));
    if who == "brest" {
        let node =
            node.listen("127.0.0.1:0").peer("nancy", nancy.peer(), [""; 0]).start().await.unwrap();
        node.host("reader", move || Reader(diary.clone())).takes::<Letter>().start().await.unwrap();
        println!("\n{}", serde_json::json!({ "event": "ready", "addrs": node.addresses() }));
        return std::future::pending().await;
    }
    let refused = Diary::open(&folder.join("undelivered"));
    let node = node
        .peer("brest", brest.peer(), [road])
        .on_undelivered(move |letter| refused.say(format!("{letter:?}")));
    write(&node.start().await.unwrap(), &folder, &diary, number.parse().unwrap()).await;
}

/// Stores letters until it is enough, and waits until all are handled.
async fn write(node: &Node, folder: &Path, diary: &Diary, life: u64) {
    let reader = node.remote::<Letter>("brest/reader").unwrap();
    let mut pace = tokio::time::interval(PACE);
    let mut numbers = life * LIFE_MOST..;
    while !folder.join("enough").exists() {
        pace.tick().await;
        let number = numbers.next().unwrap();
        let stored = reader
            .deliver(Letter(number, vec![(number % 251) as u8; length(number)]))
            .await
            .unwrap();
        diary.say(number);
        if number % AT_ONCE == AT_ONCE - 1 {
            stored.processed().await.unwrap();
        }
    }
    // Those of earlier lives, too.
    while !node.letters().list().is_empty() {
        pace.tick().await;
    }
    println!("\n{}", serde_json::json!({ "event": "handled" }));
    std::future::pending().await
}

/// Mostly short, and now and then more than a batch.
fn length(number: u64) -> usize {
    if number % 40 == 39 { 200_000 } else { (number % 300) as usize }
}

/// No more are to be written.
pub(crate) fn enough(folder: &Path) {
    fs::write(folder.join("enough"), "").unwrap();
}

/// The number of letters stored, and of those of them that a later process handled once more.
pub(crate) fn verdict(folder: &Path) -> (usize, usize) {
    let lives = |who: &str| -> BTreeMap<String, Vec<u64>> {
        let files = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let lives = files
            .filter(|name| name.strip_prefix(who).is_some_and(|rest| rest.parse::<u64>().is_ok()));
        lives.map(|name| (name.clone(), numbers(&folder.join(name)))).collect()
    };
    let undelivered = fs::read_to_string(folder.join("undelivered")).unwrap();
    assert!(undelivered.is_empty(), "letters were given up: {undelivered}");
    let (stored, handled) = (lives("nancy."), lives("brest."));
    for (life, handled) in &handled {
        assert!(
            handled.is_sorted_by(|one, next| one < next),
            "twice, or out of order, in one life, {life}: {handled:?}"
        );
    }
    let all: BTreeSet<u64> = handled.values().flatten().copied().collect();
    let lost: Vec<_> = stored.values().flatten().filter(|number| !all.contains(number)).collect();
    assert!(lost.is_empty(), "letters {lost:?} were stored and never handled");
    (stored.values().map(Vec::len).sum(), handled.values().map(Vec::len).sum::<usize>() - all.len())
}

/// Whole lines of a diary.
fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| line.parse().unwrap()).collect()
}
