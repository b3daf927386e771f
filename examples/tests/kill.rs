//! Both nodes are killed at random moments and started again, over and over: in the end every delivery has arrived exactly once,
//! byte for byte, and nothing else lies anywhere.
//!
//! `ESTAFETTE_KILLS` says how often (default 60), `ESTAFETTE_SEED` which moments; the seed is printed.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde_json::Value;

use support::process::{PATIENCE, Process};
use support::proxy::Proxy;
use support::random::Random;
use support::{World, text};

/// What one kill may cost: what was on the way, and what was not yet written down by the receiver.
const PER_KILL: u64 = (6 << 20) + (16 << 20);
/// Handshakes, offers, heads of frames.
const PER_CONNECTION: u64 = 64 << 10;
const LARGEST: u64 = 200 << 20;
/// After so long without a word it is looked what the outbox says: who was killed may have been about to say it.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Lyon,
    Paris,
}

enum News {
    Said(Who, Value),
    Crossed(u64),
}

struct Campaign {
    world: World,
    proxy: Proxy,
    random: Random,
    to: Sender<News>,
    news: Receiver<News>,
    lyon: Option<Process>,
    paris: Option<Process>,
    ticket: String,
    /// What was stored: names, and bytes of content.
    stored: BTreeMap<String, u64>,
    /// Deliveries that somebody has said are made.
    made: BTreeSet<String>,
    ids: Vec<String>,
}

impl Campaign {
    fn new(seed: u64) -> Self {
        let (world, proxy, (to, news)) = (World::new(), Proxy::new(), channel());
        let crossed = channel();
        proxy.tell(crossed.0);
        let forward = to.clone();
        std::thread::spawn(move || crossed.1.into_iter().all(|bytes| forward.send(News::Crossed(bytes)).is_ok()));
        let (paris, ticket) = world.paris_with(&["--advertise", &proxy.address()]);
        assert_eq!(paris.terminate(), 0);
        fs::create_dir(world.path("out")).unwrap();
        let (random, ticket) = (Random::new(seed), text(&ticket, "ticket"));
        let (stored, made, ids) = Default::default();
        Self { world, proxy, random, to, news, lyon: None, paris: None, ticket, stored, made, ids }
    }

    fn start(&mut self, who: Who) {
        let mut command = self.world.command(if who == Who::Lyon { "lyon" } else { "paris" });
        command.args(["node", "--patience", "20s"]);
        if who == Who::Paris {
            command.args(["--listen", "127.0.0.1:0", "--on-conflict", "rename", "--into"]).arg(self.world.path("in"));
        }
        let process = Process::start_into(&mut command, self.to.clone(), move |event| News::Said(who, event));
        match who {
            Who::Lyon => self.lyon = Some(process),
            Who::Paris => self.paris = Some(process),
        }
    }

    fn kill(&mut self, who: Who) {
        let process = if who == Who::Lyon { self.lyon.take() } else { self.paris.take() };
        process.unwrap().kill();
        self.start(who);
    }

    /// What is said next; `None` after a while of silence.
    fn hear(&mut self) -> Option<News> {
        let news = match self.news.recv_timeout(QUIET) {
            Ok(news) => news,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => panic!("the campaign holds a sender itself"),
        };
        if let News::Said(who, event) = &news {
            match event["event"].as_str().unwrap() {
                "ticket" if *who == Who::Paris => self.proxy.lead_to(&text(event, "addr")),
                "delivered" => drop(self.made.insert(text(event, "transfer"))),
                "error" if event["transfer"].is_string() && *who == Who::Lyon => panic!("a delivery was given up: {event}"),
                _ => {}
            }
        }
        Some(news)
    }

    /// Files, mostly small, and folders of them.
    fn store_something(&mut self) {
        let path = self.next_path();
        if self.random.below(6) == 0 {
            self.tree(&path);
        } else {
            let length = self.random.mostly_small(4 << 20);
            fs::write(&path, self.random.bytes(length as usize)).unwrap();
        }
        self.store(&path);
    }

    fn store_something_large(&mut self) {
        let (path, length) = (self.next_path(), LARGEST / 4 + self.random.below(LARGEST * 3 / 4));
        fs::write(&path, self.random.bytes(length as usize)).unwrap();
        self.store(&path);
    }

    fn next_path(&self) -> PathBuf {
        self.world.path("out").join(format!("{:04}", self.ids.len()))
    }

    fn store(&mut self, path: &Path) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // Read where it lies, or kept as a copy that is on its way already while it is made.
        let options: &[&str] = if self.random.below(2) == 0 { &["--copy"] } else { &[] };
        let stored = self.world.store(path, &self.ticket, options);
        self.stored.insert(name, stored["bytes"].as_u64().unwrap());
        self.ids.push(text(&stored, "transfer"));
    }

    fn tree(&mut self, path: &Path) {
        fs::create_dir_all(path.join("deep/empty")).unwrap();
        for number in 0..self.random.below(40) {
            let folder = if number % 3 == 0 { path.join("deep") } else { path.to_path_buf() };
            let length = self.random.mostly_small(256 << 10);
            fs::write(folder.join(format!("file {number}")), self.random.bytes(length as usize)).unwrap();
        }
    }

    /// Lets a random number of bytes cross, or of events be told, or all be delivered that there is, or it be quiet.
    fn run_for_a_while(&mut self) {
        let bytes = self.random.mostly_small(32 << 20);
        let (until, mut events) = (self.proxy.crossed() + bytes, 1 + self.random.below(12));
        while self.made.len() < self.ids.len() && events > 0 {
            match self.hear() {
                Some(News::Crossed(bytes)) if bytes < until => {}
                Some(News::Said(..)) => events -= 1,
                Some(News::Crossed(_)) | None => return,
            }
        }
    }

    fn open(&self) -> usize {
        let outbox = self.world.outbox();
        let dead = outbox.iter().find(|entry| entry["state"] == "dead");
        assert_eq!(dead, None, "a delivery was given up");
        outbox.iter().filter(|entry| entry["state"] != "delivered").count()
    }

    fn finish(&mut self) {
        let start = std::time::Instant::now();
        while self.open() > 0 {
            assert!(start.elapsed() < 4 * PATIENCE, "{} deliveries are still open: {:?}", self.open(), self.world.outbox());
            // Until somebody says something worth looking for, or nobody does for a while.
            while let Some(news) = self.hear() {
                if matches!(&news, News::Said(Who::Lyon, event) if event["event"] == "delivered") {
                    break;
                }
            }
        }
        assert_eq!(self.lyon.take().unwrap().terminate(), 0);
        assert_eq!(self.paris.take().unwrap().terminate(), 0);
    }

    fn verdict(&self, kills: u64, seed: u64) {
        let arrived = self.world.arrived();
        let lost: Vec<_> = self.stored.keys().filter(|name| !arrived.contains(name)).collect();
        let strange: Vec<_> = arrived.iter().filter(|name| !self.stored.contains_key(*name)).collect();
        let differs =
            |name: &&String| arrived.contains(name) && !same(&self.world.path("out").join(name), &self.world.path("in").join(name));
        let corrupted: Vec<_> = self.stored.keys().filter(differs).collect();
        let content: u64 = self.stored.values().sum();
        let (crossed, connections) = (self.proxy.crossed(), self.proxy.connections());
        let most = content + kills * PER_KILL + content / 50 + connections * PER_CONNECTION;
        println!(
            "seed {seed}: {kills} kills, {} deliveries with {content} bytes; {} lost, {} duplicated or left over, {} corrupted; \
             {crossed} bytes crossed on {connections} connections, at most {most}",
            self.stored.len(),
            lost.len(),
            strange.len(),
            corrupted.len()
        );
        assert!(
            lost.is_empty() && strange.is_empty() && corrupted.is_empty(),
            "lost {lost:?}, strange {strange:?}, corrupted {corrupted:?}"
        );
        let arrivals = self.world.run("paris", ["inbox", "list"]).events;
        assert_eq!(arrivals.len(), self.stored.len(), "each is remembered once");
        for who in ["lyon", "paris"] {
            let found = self.world.run(who, ["doctor"]);
            assert!(found.code == 0 && found.events.is_empty(), "{who}: {:?}", found.events);
        }
        assert!(crossed <= most, "{crossed} bytes crossed, and {most} were enough");
    }
}

/// Whether two files or folders are the same, names, kinds and bytes.
fn same(a: &Path, b: &Path) -> bool {
    let names = |path: &Path| -> Vec<PathBuf> {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
        names.sort();
        names
    };
    match (a.is_dir(), b.is_dir()) {
        (true, true) => names(a) == names(b) && names(a).iter().all(|name| same(&a.join(name), &b.join(name))),
        (false, false) => fs::read(a).unwrap() == fs::read(b).unwrap(),
        _ => false,
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} = {text:?} is no number")))
}

#[test]
fn nothing_is_lost_doubled_or_damaged_whenever_either_node_is_killed() {
    let kills = number("ESTAFETTE_KILLS").unwrap_or(60);
    let seed = number("ESTAFETTE_SEED").unwrap_or_else(|| u64::from(std::process::id()) ^ 0x5eed);
    println!("ESTAFETTE_SEED={seed} ESTAFETTE_KILLS={kills}");
    let mut campaign = Campaign::new(seed);
    campaign.start(Who::Paris);
    campaign.start(Who::Lyon);
    for kill in 0..kills {
        if kill % 100 == 30 {
            campaign.store_something_large();
        }
        for _ in 0..1 + campaign.random.below(3) {
            campaign.store_something();
        }
        campaign.run_for_a_while();
        match campaign.random.below(5) {
            0 | 1 => campaign.kill(Who::Lyon),
            2 | 3 => campaign.kill(Who::Paris),
            _ => {
                campaign.kill(Who::Lyon);
                campaign.kill(Who::Paris);
            }
        }
    }
    campaign.finish();
    campaign.verdict(kills, seed);
}
