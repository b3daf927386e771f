//! The rate of durable messages, to one name and to a hundred: `cargo bench -p estafette-benches
//! --bench deliver`.
//!
//! Two nodes in one process, over loopback, each with a spool on disk. The clock runs from the first
//! message that is stored to the last that its actor has handled, and that its sender knows of.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, Context, Handler};
use anyhow::{Context as _, Result};
use estafette::remote::{Delivery, Remote, RemoteMessage};
use estafette::{Identity, Node};
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use estafette_benches::report::{Table, number};
use estafette_benches::{Settings, machine};
use futures_util::future::FutureExt;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

/// A message of 64 bytes.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "bench.Order")]
struct Order(ByteArray<64>);

/// Handles what comes.
struct Desk;

impl Actor for Desk {
    type Context = Context<Self>;
}

impl Handler<Order> for Desk {
    type Result = ();

    fn handle(&mut self, _: Order, _: &mut Context<Self>) {}
}

/// The cost of one case.
#[derive(Clone, Copy, Debug, Serialize)]
struct Measured {
    messages_per_s: f64,
    cpu_us_per_message: f64,
}

/// Names that are sent to in turn, and the messages that are under way at any time.
const CASES: [(usize, usize); 4] = [(1, 1), (1, 1024), (100, 100), (100, 1024)];
/// Messages of a case with one under way: each waits for four commits.
const FEW: usize = 500;
const MANY: usize = 50_000;

fn main() -> Result<()> {
    let settings = Settings::read();
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("deliver-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = actix::System::new().block_on(run(&folder, &settings));
    fs::remove_dir_all(&folder)?;
    outcome
}

async fn run(folder: &Path, settings: &Settings) -> Result<()> {
    let (lyon, paris) = nodes(folder).await?;
    let mut table = Table::new(&["names", "under way", "messages/s", "CPU µs/message"]);
    for (names, under_way) in CASES {
        let desks = (0..names).map(|name| lyon.remote::<Order>(&format!("paris/desk{name}")));
        let desks = desks.collect::<Result<Vec<_>, _>>()?;
        let count = if under_way == 1 { FEW } else { MANY };
        let mut rounds = Vec::new();
        for round in 0..settings.rounds {
            let busy = machine::wait_for_quiet(settings.patience()).await?;
            let measured = deliver(&desks, count, under_way).await?;
            println!(
                "{}",
                serde_json::json!({ "bench": "deliver", "names": names, "under_way": under_way, "round": round, "measured": measured, "others_busy": busy })
            );
            rounds.push(measured);
        }
        rounds.sort_by(|a, b| a.messages_per_s.total_cmp(&b.messages_per_s));
        let median = *rounds.get(rounds.len() / 2).context("no rounds")?;
        table.row(vec![
            names.to_string(),
            under_way.to_string(),
            number(Some(median.messages_per_s), 0),
            number(Some(median.cpu_us_per_message), 1),
        ]);
    }
    println!(
        "\ndurable messages of 64 bytes between two nodes in one process, medians of {} rounds, {} \
         cores, spools in {}",
        settings.rounds,
        machine::cores(),
        folder.display()
    );
    println!("{table}");
    for node in [lyon, paris] {
        node.shutdown().await;
    }
    Ok(())
}

/// Lyon, which sends, and paris, which has all the names.
async fn nodes(folder: &Path) -> Result<(Node, Node)> {
    let (of_lyon, of_paris) = (Identity::generate(), Identity::generate());
    let spool = |name: &str| Spool::open(folder.join(name)).map(Arc::new);
    let paris = Node::builder().identity(of_paris.clone()).listen("127.0.0.1:0");
    let paris = paris.spool(spool("paris")?).peer("lyon", of_lyon.peer(), [""; 0]);
    let paris = paris.stages(standard()).start().await?;
    let most = CASES.iter().map(|(names, _)| *names).max().unwrap_or(0);
    for name in 0..most {
        paris.host(&format!("desk{name}"), || Desk).takes::<Order>().start().await?;
    }
    let lyon = Node::builder().identity(of_lyon).spool(spool("lyon")?);
    let lyon = lyon.peer("paris", of_paris.peer(), [paris.addresses()[0].clone()]);
    let lyon = lyon.stages(standard()).start().await?;
    lyon.watch("paris")?.up().await;
    Ok((lyon, paris))
}

/// Delivers so many in turn to these names, with so many under way at any time.
async fn deliver(desks: &[Remote<Order>], count: usize, under_way: usize) -> Result<Measured> {
    let (start, cpu) = (Instant::now(), machine::process_cpu_seconds());
    let mut waiting = VecDeque::with_capacity(under_way);
    for at in 0..count {
        if waiting.len() == under_way {
            over(&mut waiting).await?;
        }
        let desk = desks[at % desks.len()].clone();
        let order = Order(ByteArray::new([at as u8; 64]));
        waiting.push_back(Box::pin(async move {
            let delivery: Delivery = desk.deliver(order).await?;
            anyhow::Ok(delivery.processed().await?)
        }));
        // It is stored with those beside it, not when its turn comes.
        if let Some(last) = waiting.back_mut() {
            let _ = last.now_or_never().transpose()?;
        }
    }
    while !waiting.is_empty() {
        over(&mut waiting).await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Measured {
        messages_per_s: count as f64 / seconds,
        cpu_us_per_message: (machine::process_cpu_seconds() - cpu) * 1e6 / count as f64,
    })
}

/// Waits for the first one.
async fn over(waiting: &mut VecDeque<impl Future<Output = Result<()>> + Unpin>) -> Result<()> {
    match waiting.pop_front() {
        Some(first) => first.await,
        None => Ok(()),
    }
}
