//! Workers in processes of their own pull jobs, as many as they can take; one dies in the middle,
//! and no job is lost.
//!
//! `cargo run -p estafette-examples --example work_queue`

mod office;
mod worker;

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::Context;
use estafette::{Node, RemoteMessage, TrustedPeer};
use estafette_actors::standard;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// The request of a worker: room for one more job, and what has become of one it had.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "work.Pull", reply = u64)]
struct Pull {
    done: Option<(u64, u32)>,
}

const JOBS: u64 = 2000;

/// The job: how many steps lead from this number to 1.
fn steps(mut number: u64) -> u32 {
    let mut steps = 0;
    while number > 1 {
        number = if number.is_multiple_of(2) { number / 2 } else { 3 * number + 1 };
        steps += 1;
    }
    steps
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(jobs) = std::env::args().nth(1) {
        return worker::run(jobs.parse()?).await;
    }
    let (office, mut reports) = office::Office::open(1..=JOBS);
    let node =
        Node::builder().name("office").listen("127.0.0.1:0").stages(standard()).start().await?;
    let jobs = office.clone();
    node.host("jobs", move || jobs.clone()).takes_calls::<Pull>().start().await?;

    // The first dies with jobs in its hands, one of them half done.
    let status = hire(&node, "short-lived", 50).await?.wait().await?;
    assert_eq!(status.code(), Some(worker::DIED));
    let mut workers = [hire(&node, "ada", u64::MAX).await?, hire(&node, "grace", u64::MAX).await?];
    let mut results = BTreeMap::new();
    while results.len() < JOBS as usize {
        let (job, result) = reports.recv().await.context("the office is open")?;
        assert!(results.insert(job, result).is_none(), "job {job} was reported twice");
    }
    office.close();
    for worker in &mut workers {
        anyhow::ensure!(worker.wait().await?.success(), "a worker failed");
    }
    assert!(
        results.iter().all(|(&job, &result)| result == steps(job)) && reports.try_recv().is_err()
    );
    println!("{JOBS} jobs were done; {} came back from a worker that died", office.came_back());
    assert!(office.came_back() > 0);
    node.shutdown().await;
    Ok(())
}

/// Starts this program as a worker that lives for so many jobs, lets it send to `jobs` and to
/// nothing else, and tells it where that is.
async fn hire(office: &Node, name: &str, lives_for: u64) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    let command = command
        .arg(lives_for.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut worker = command.spawn().context("a worker could not be started")?;
    let id = BufReader::new(worker.stdout.take().context("its output")?)
        .lines()
        .next_line()
        .await?
        .context("it ended at once")?;
    office
        .trust()
        .add(id.parse()?, TrustedPeer { inboxes: vec!["jobs".into()], ..TrustedPeer::new(name) })?;
    let here = format!("{} {}\n", office.peer(), office.addresses()[0]);
    worker.stdin.take().context("its input")?.write_all(here.as_bytes()).await?;
    Ok(worker)
}
