//! The share of the thread of links that a flood of handshakes takes: `cargo bench -p
//! estafette-benches --bench handshakes`.
//!
//! A node, a peer that asks it as fast as it can, and 2,000 connections a second that come, say
//! something, and go. The CPU of each thread is the kernel's count; a share is of one core.
//! Questions a second are compared with those of the same run without a flood: they fall with all
//! that the flood takes of the machine, the flooder's own part included.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::{Actor, Context as Ctx, Handler};
use anyhow::{Context as _, Result};
use estafette::remote::RemoteMessage;
use estafette::wire::{
    KnockKey, LinkInitiator, Offer, PREAMBLE_LENGTH, PeerId, Preamble, PreambleReply, Purpose,
    REPLY_LENGTH, Suite, frame_handshake, handshake_length, prologue,
};
use estafette::{Identity, Node};
use estafette_actors::standard;
use estafette_benches::report::{Table, number};
use serde::{Deserialize, Serialize};

/// Connections a second.
const RATE: u64 = 2000;
/// The time for which each flood is watched.
const WATCHED: Duration = Duration::from_secs(5);
/// Threads of the flooder.
const FLOODERS: u64 = 8;

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "bench.Hello", reply = u32)]
struct Hello(u32);

struct Greeter;

impl Actor for Greeter {
    type Context = Ctx<Self>;
}

impl Handler<Hello> for Greeter {
    type Result = u32;

    fn handle(&mut self, Hello(number): Hello, _: &mut Ctx<Self>) -> u32 {
        number
    }
}

/// The words of a flood's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    None,
    Stranger,
    Copy,
    MadeUp,
    Whole,
}

const FLOODS: [(Flood, &str); 5] = [
    (Flood::None, "none"),
    (Flood::Stranger, "strangers, who do not know the node's key"),
    (Flood::Copy, "copies of a recorded handshake"),
    (Flood::MadeUp, "first messages made up by who knows the key"),
    (Flood::Whole, "whole handshakes of peers nobody trusts"),
];

/// The node that the flooder attacks, and what it has recorded.
struct Target {
    peer: PeerId,
    address: String,
    recorded: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
}

fn main() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(run())
}

async fn run() -> Result<()> {
    let [here, there] = [Identity::generate(), Identity::generate()];
    let node = Node::builder()
        .identity(here.clone())
        .listen("127.0.0.1:0")
        .peer("peer", there.peer(), [""; 0])
        .stages(standard());
    let before = threads();
    let node = node.start().await?;
    // The peer's threads have the same names; these are the node's.
    let own: Vec<u64> = threads()
        .into_iter()
        .map(|(id, ..)| id)
        .filter(|id| before.iter().all(|(other, ..)| id != other))
        .collect();
    node.host("greeter", || Greeter).takes::<Hello>().start().await?;
    let target = Arc::new(Target {
        peer: here.peer(),
        address: node.addresses()[0].clone(),
        recorded: Mutex::default(),
    });
    let peer = Node::builder()
        .identity(there)
        .peer("node", here.peer(), [target.address.clone()])
        .stages(standard())
        .start()
        .await?;
    let greeter = peer.remote::<Hello>("node/greeter")?;
    greeter.ask(Hello(0)).await?;
    let mut table = Table::new(&[
        "flood",
        "connections/s",
        "link's thread %",
        "door's thread %",
        "door's µs each",
        "questions/s",
        "of those without",
    ]);
    let mut calm = None;
    for (flood, about) in FLOODS {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let flooders: Vec<_> = (0..if flood == Flood::None { 0 } else { FLOODERS })
            .map(|_| {
                let (target, stop, count) =
                    (Arc::clone(&target), Arc::clone(&stop), Arc::clone(&count));
                std::thread::spawn(move || flooding(flood, &target, &stop, &count))
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (start, from, begun) = (Instant::now(), threads(), count.load(Ordering::Relaxed));
        let mut asked = 0_u32;
        while start.elapsed() < WATCHED {
            greeter.ask(Hello(asked)).await?;
            asked += 1;
        }
        let (seconds, to, made) =
            (start.elapsed().as_secs_f64(), threads(), count.load(Ordering::Relaxed) - begun);
        stop.store(true, Ordering::Relaxed);
        for flooder in flooders {
            flooder.join().map_err(|_| anyhow::anyhow!("a flooder panicked"))?;
        }
        let used = |name: &str| {
            let of = |threads: &[(u64, String, u64)]| -> u64 {
                threads
                    .iter()
                    .filter(|(id, of, _)| own.contains(id) && of == name)
                    .map(|(.., used)| used)
                    .sum()
            };
            (of(&to) - of(&from)) as f64 / 1e9
        };
        let (link, door, questions) =
            (used("estafette"), used("estafette-door"), f64::from(asked) / seconds);
        let calm = *calm.get_or_insert(questions);
        println!(
            "{}",
            serde_json::json!({ "bench": "handshakes", "flood": about, "connections": made as f64 / seconds, "link": link / seconds,
                "door": door / seconds, "questions": questions })
        );
        table.row(vec![
            about.into(),
            number(Some(made as f64 / seconds), 0),
            number(Some(100.0 * link / seconds), 1),
            number(Some(100.0 * door / seconds), 1),
            number((made > 0).then(|| 1e6 * door / made as f64), 0),
            number(Some(questions), 0),
            number(Some(questions / calm), 2),
        ]);
    }
    println!("\n{table}");
    peer.shutdown().await;
    node.shutdown().await;
    Ok(())
}

/// The threads of this process: number, name, nanoseconds of CPU.
fn threads() -> Vec<(u64, String, u64)> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let threads = tasks.filter_map(|task| {
        let path = task.ok()?.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?.trim().to_owned();
        let used = std::fs::read_to_string(path.join("schedstat"))
            .ok()?
            .split(' ')
            .next()?
            .parse()
            .ok()?;
        Some((path.file_name()?.to_str()?.parse().ok()?, name, used))
    });
    threads.collect()
}

/// Its share of the rate, until it is told to stop.
fn flooding(flood: Flood, target: &Target, stop: &AtomicBool, count: &AtomicU64) {
    let identity = Identity::generate();
    let (start, mut made) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let due = start + Duration::from_micros(made * 1_000_000 * FLOODERS / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        made += 1;
        // One that was thrown out is one all the same.
        let _ = one(flood, target, &identity);
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// One connection, until the node closes it or has answered.
fn one(flood: Flood, target: &Target, identity: &Identity) -> Result<()> {
    let mut io = TcpStream::connect(&target.address)?;
    io.set_nodelay(true)?;
    let recorded = target.recorded.lock().ok().and_then(|recorded| recorded.clone());
    match (flood, recorded) {
        (Flood::Stranger, _) => io.write_all(&[7; PREAMBLE_LENGTH])?,
        (Flood::Copy, Some((preamble, first))) => {
            io.write_all(&preamble)?;
            io.read_exact(&mut [0; REPLY_LENGTH])?;
            io.write_all(&first)?;
        }
        _ => {
            let key = KnockKey::of(target.peer);
            let preamble = Preamble::new(Purpose::Link);
            let said = preamble.encode(&key);
            io.write_all(&said)?;
            let mut reply = [0; REPLY_LENGTH];
            io.read_exact(&mut reply)?;
            let prologue = prologue(&preamble, &PreambleReply::decode(&reply)?);
            let message = if flood == Flood::MadeUp {
                vec![7; 130]
            } else {
                let offer = Offer {
                    suites: vec![Suite::XSALSA20_POLY1305],
                    features: 0,
                    max_frame: 1 << 20,
                    lanes: 2,
                };
                LinkInitiator::new(identity, target.peer, &prologue)?.start(&offer)?.0
            };
            let first = frame_handshake(&key.seal(&prologue, message))?;
            io.write_all(&first)?;
            if flood != Flood::MadeUp {
                *target.recorded.lock().ok().context("no flooder panics")? =
                    Some((said.to_vec(), first));
            }
        }
    }
    let mut length = [0; 2];
    io.read_exact(&mut length)?;
    io.read_exact(&mut vec![0; handshake_length(length)?])?;
    Ok(())
}
