//! A worker, which does the jobs.

use anyhow::Context;
use estafette::Node;
use estafette_actors::standard;
use futures_util::StreamExt;

use crate::{Pull, steps};

/// The number of jobs that a worker has at a time: one it does, and those on their way.
const ROOM: usize = 16;
/// The exit code of one that dies.
pub(crate) const DIED: i32 = 9;

/// Works until there are no more jobs, or until it has done so many.
pub(crate) async fn run(lives_for: u64) -> anyhow::Result<()> {
    let node = Node::builder().name("worker");
    let identity = estafette::Identity::generate();
    println!("{}", identity.peer());
    let mut office = String::new();
    std::io::stdin().read_line(&mut office)?;
    let (id, address) = office.trim().split_once(' ').context("nobody said where the jobs are")?;
    let node = node
        .identity(identity)
        .peer("office", id.parse()?, [address])
        .stages(standard())
        .start()
        .await?;

    let (mut pulls, mut jobs) = node.remote::<Pull>("office/jobs")?.open().await?;
    for _ in 0..ROOM {
        pulls.send(Pull { done: None }).await?;
    }
    let mut done = 0;
    while let Some(job) = jobs.next().await.transpose()? {
        if done == lives_for {
            // As if the power failed: nobody is told anything.
            std::process::exit(DIED);
        }
        pulls.send(Pull { done: Some((job, steps(job))) }).await?;
        done += 1;
    }
    eprintln!("a worker did {done} jobs");
    node.shutdown().await;
    Ok(())
}
