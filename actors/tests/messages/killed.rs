//! Letters outlive processes that are killed at any moment: those of both nodes, whose spools are
//! on disk.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};

use actix::{Actor, Context, Handler};
use estafette::node::Store;
use estafette::{Identity, Node};
use estafette_actors::spool::Spool;
use estafette_actors::standard;

use crate::actors::Note;
use crate::harness::{config, soon};
use crate::post::Post;

const DIR: &str = "ESTAFETTE_TEST_LETTERS";
const FROM: &str = "ESTAFETTE_TEST_FROM";
const ADDRESS: &str = "ESTAFETTE_TEST_ADDRESS";
/// The seed of both nodes' keys, in every life.
const SEED: u64 = 81;
/// Lives that are cut short.
const LIVES: u64 = 6;

pub(crate) fn spool(dir: &Path, name: &str) -> Arc<dyn Store> {
    let dir = dir.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    Arc::new(Spool::open(dir).unwrap())
}

async fn open(dir: &Path) -> Post {
    Post::with(SEED, config(), [spool(dir, "lyon"), spool(dir, "paris")]).await
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
    assert_eq!((post.pair.lyon.letters().list(), post.kept()), (vec![], [0, 0]));
    for life in &lives {
        assert!(
            life.is_sorted_by(|one, next| one < next),
            "twice in one life, or out of order: {life:?}"
        );
    }
    let handled: BTreeSet<u64> = lives.iter().flatten().copied().collect();
    let lost: Vec<_> = stored.iter().filter(|number| !handled.contains(number)).collect();
    assert!(lost.is_empty(), "{lost:?} were stored and never handled");
}

/// One of two nodes that meet over TCP: `lyon` sends, `paris` takes.
#[tokio::test]
#[ignore = "a process that is killed by the test here"]
async fn one_of_two_processes() {
    let variable = |name: &str| std::env::var(name).expect("started by another test");
    let (dir, from, address) = (variable(DIR), variable(FROM), variable(ADDRESS));
    let identities = [Identity::from_secret([81; 32]), Identity::from_secret([82; 32])];
    let node = |name: &str, identity: &Identity| {
        let node = Node::builder()
            .name(name)
            .identity(identity.clone())
            .stages(standard())
            .config(config());
        node.spool(spool(Path::new(&dir), name))
    };
    let [lyon, paris] = &identities;
    let Ok(from) = from.parse::<u64>() else {
        let node = node("paris", paris)
            .listen(&*address)
            .peer("lyon", lyon.peer(), [""; 0])
            .start()
            .await
            .unwrap();
        node.host("printer", || Printer).takes::<Note>().start().await.unwrap();
        return std::future::pending().await;
    };
    let node = node("lyon", lyon).peer("paris", paris.peer(), [&*address]).start().await.unwrap();
    let note = node.remote::<Note>("paris/printer").unwrap();
    for number in from.. {
        let stored = note.deliver(Note(number, vec![3; 200])).await.unwrap();
        println!("\nstored {number}");
        // Not so many that the last could not be waited for.
        if number % 200 == 199 {
            stored.processed().await.unwrap();
        }
    }
}

/// A process of one of the two, and what it says.
struct Life {
    process: Child,
    name: &'static str,
}

impl Life {
    fn begin(
        name: &'static str,
        (dir, from, address): (&Path, &str, &str),
        said: &mpsc::Sender<(&'static str, u64)>,
    ) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::one_of_two_processes", "--ignored", "--nocapture"])
            .envs([(DIR, dir.as_os_str()), (FROM, from.as_ref()), (ADDRESS, address.as_ref())])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, said) = (BufReader::new(process.stdout.take().unwrap()).lines(), said.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let number = line
                    .split_once(' ')
                    .and_then(|(word, number)| Some((word, number.parse().ok()?)));
                let Some((word, number)) = number else { continue };
                let word = ["stored", "handled"].into_iter().find(|known| *known == word);
                // The test may have ended.
                let _ = word.map(|word| said.send((word, number)));
            }
            let _ = said.send((name, 0));
        });
        Self { process, name }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn what_was_said_to_be_stored_is_handled_in_order_whichever_of_two_processes_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    // An address of this test's own, so that no connection of others has taken it when a life
    // begins.
    let host = format!("127.81.{}.{}:0", std::process::id() >> 8 & 0xff, std::process::id() & 0xff);
    let address = TcpListener::bind(host).unwrap().local_addr().unwrap().to_string();
    let (said, hear) = mpsc::channel();
    let begin = |name, from: &str| Life::begin(name, (folder.path(), from, &address), &said);
    let mut alive = [begin("lyon", "0"), begin("paris", "")];
    let (mut stored, mut lives) = (BTreeSet::new(), vec![Vec::new()]);
    let mut note = |(word, number): (&'static str, u64)| {
        match word {
            "stored" => _ = stored.insert(number),
            "handled" => lives.last_mut().unwrap().push(number),
            "paris" => lives.push(Vec::new()),
            _ => {}
        }
        word
    };
    let next = || hear.recv_timeout(crate::harness::LIMIT).expect("nothing happens any more");
    // Each is killed as often as the other, after more and more has happened; never both at once.
    for round in 1..=2 * LIVES {
        let mut left = 1 + round * 29;
        while left > 0 {
            left -= u64::from(matches!(note(next()), "stored" | "handled"));
        }
        let which = (round % 2) as usize;
        let name = alive[which].name;
        alive[which].process.kill().unwrap();
        // All that it has said was heard, before another life begins.
        while note(next()) != name {}
        alive[which] = begin(
            name,
            if which == 0 { format!("{}", round * 1_000_000) } else { String::new() }.as_str(),
        );
    }
    // What comes after all that was stored says that it was handled.
    let mark = (2 * LIVES + 1) * 1_000_000;
    alive[0].process.kill().unwrap();
    while note(next()) != "lyon" {}
    alive[0] = begin("lyon", &mark.to_string());
    loop {
        let heard = next();
        note(heard);
        if heard == ("handled", mark) {
            break;
        }
    }
    drop(alive);
    for life in &lives {
        assert!(
            life.is_sorted_by(|one, next| one < next),
            "twice in one life, or out of order: {life:?}"
        );
    }
    let handled: BTreeSet<u64> = lives.iter().flatten().copied().collect();
    let lost: Vec<_> = stored.range(..=mark).filter(|number| !handled.contains(number)).collect();
    assert!(lost.is_empty(), "{lost:?} were stored and never handled");
}
