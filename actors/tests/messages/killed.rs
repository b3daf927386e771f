//! Letters outlive processes that are killed at any moment: those of both nodes, whose spools are on disk.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use estafette::node::Store;
use estafette_actors::spool::Spool;

use crate::actors::Note;
use crate::harness::{config, soon};
use crate::post::Post;

const DIR: &str = "ESTAFETTE_TEST_LETTERS";
const FROM: &str = "ESTAFETTE_TEST_FROM";
/// What both nodes are made of, in every life.
const SEED: u64 = 81;
/// Lives that are cut short.
const LIVES: u64 = 6;

async fn open(dir: &Path) -> Post {
    let spool = |name| -> Arc<dyn Store> {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Arc::new(Spool::open(dir).unwrap())
    };
    Post::with(SEED, config(), [spool("lyon"), spool("paris")]).await
}

/// Says what it handles before it has handled it.
struct Printer;

impl Actor for Printer {
    type Context = Context<Self>;
}

impl Handler<Note> for Printer {
    type Result = ();

    fn handle(&mut self, Note(number, _): Note, _: &mut Context<Self>) {
        println!("\nhandled {number}");
    }
}

#[tokio::test]
#[ignore = "the process that is killed by the test here"]
async fn another_process() {
    let dir = std::env::var_os(DIR).expect("started by another test");
    let from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    let post = open(Path::new(&dir)).await;
    post.pair.paris.host("printer", || Printer).takes::<Note>().start().await.unwrap();
    let note = post.pair.lyon.remote::<Note>("paris/printer").unwrap();
    for number in from.. {
        note.deliver(Note(number, vec![3; 200])).await.unwrap();
        println!("\nstored {number}");
    }
}

/// A life of both nodes that is cut short: what they said that they have stored, and handled.
fn life(dir: &Path, from: u64, lines: u64) -> (Vec<u64>, Vec<u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::another_process", "--ignored", "--nocapture"])
        .envs([(DIR, dir.as_os_str()), (FROM, from.to_string().as_ref())])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stored, mut handled, mut read) = (Vec::new(), Vec::new(), 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let of = |word| line.strip_prefix(word).and_then(|rest| rest.trim().parse::<u64>().ok());
        stored.extend(of("stored"));
        handled.extend(of("handled"));
        read += u64::from(line.starts_with("stored") || line.starts_with("handled"));
        if read == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    (stored, handled)
}

#[tokio::test]
async fn what_was_said_to_be_stored_is_handled_in_order_whenever_the_processes_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut stored, mut lives) = (Vec::new(), Vec::new());
    for number in 0..LIVES {
        let life = life(folder.path(), number * 1_000_000, 1 + number * 37);
        assert!(!life.0.is_empty() || !life.1.is_empty());
        stored.extend(life.0);
        lives.push(life.1);
    }
    let mut post = open(folder.path()).await;
    let desk = post.desk.clone();
    post.pair.paris.host("printer", move || desk.clone()).takes::<Note>().start().await.unwrap();
    let last = post.pair.lyon.remote::<Note>("paris/printer").unwrap();
    let last = soon(last.deliver(Note(LIVES * 1_000_000, vec![]))).await.unwrap();
    soon(last.processed()).await.unwrap();
    let mut rest = Vec::new();
    while let Ok(number) = post.noted.try_recv() {
        rest.push(number);
    }
    lives.push(rest);
    assert_eq!((post.pair.lyon.letters(), post.kept()), (vec![], [0, 0]));
    for life in &lives {
        assert!(life.is_sorted_by(|one, next| one < next), "twice in one life, or out of order: {life:?}");
    }
    let handled: BTreeSet<u64> = lives.iter().flatten().copied().collect();
    let lost: Vec<_> = stored.iter().filter(|number| !handled.contains(number)).collect();
    assert!(lost.is_empty(), "{lost:?} were stored and never handled");
}
