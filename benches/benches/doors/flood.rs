//! An application's own asks, while the door of its node is flooded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use crate::http::Client;
use crate::{Bench, World, print};

/// Connections that ask without a pause.
const CONNECTIONS: usize = 64;
const ASKS: u64 = 5_000;

/// The ways of a flood: by nobody, by who may come in, and by who may not.
const WAYS: [(&str, Option<bool>); 3] =
    [("quiet", None), ("asked by HTTP", Some(true)), ("refused by HTTP", Some(false))];

pub(crate) fn flood(bench: &Bench<'_>, world: &mut World) -> Result<()> {
    let (address, token) = world.door()?;
    let (address, token) = (address.to_owned(), token.to_owned());
    let door = tokio::sync::Mutex::new(&mut world.door);
    let names = ["p50_us", "p99_us", "flood_per_second"];
    let measured = bench.measure("flood", names, &WAYS, async |flood| {
        let mut tasks = JoinSet::new();
        let count = Arc::new(AtomicU64::new(0));
        if let Some(may) = flood {
            let token = if may { &*token } else { "none" };
            for _ in 0..CONNECTIONS {
                tasks.spawn(ask_for_ever(Client::connect(&address, token).await?, count.clone()));
            }
        }
        let start = Instant::now();
        let mut door = door.lock().await;
        let said = tokio::task::block_in_place(|| {
            door.order(&format!("asks {ASKS}"))?;
            door.line()
        })?;
        let (p50, p99) = said.split_once(' ').context("two figures")?;
        let asked = count.load(Relaxed) as f64;
        Ok([p50.parse()?, p99.parse()?, asked / start.elapsed().as_secs_f64()])
    })?;
    let quiet = measured[0];
    let rows = WAYS.iter().zip(&measured).map(|((name, _), &[p50, p99, rate])| {
        (*name, vec![(p50, 0), (p99, 0), (p99 / quiet[1], 2), (rate, 0)])
    });
    print(
        "asks of the node itself, one at a time, beside 64 connections that ask its door",
        &["the door is", "p50 µs", "p99 µs", "× quiet", "asks/s at the door"],
        rows.collect(),
        "p99 ≤ 3 × quiet",
    );
    Ok(())
}

async fn ask_for_ever(mut client: Client, count: Arc<AtomicU64>) {
    // Who is refused may be hung up on, too: then that one has ended.
    while client.ask().await.is_ok() {
        count.fetch_add(1, Relaxed);
    }
}
