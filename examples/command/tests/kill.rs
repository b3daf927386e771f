//! Two nodes, and a relay between them, are killed at random moments and started again, over and over: in the end every delivery has
//! arrived exactly once, byte for byte, and nothing else lies anywhere. A part of what is sent goes by the relay.
//!
//! `ESTAFETTE_KILLS` says how often (default 60), `ESTAFETTE_SEED` which moments; the seed is printed. With `ESTAFETTE_SHORT=1`, one end
//! is short of descriptors at every third start: not by default, since a receiver that is leaves a temporary folder of a tree behind.

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
/// Descriptors of an end that is short of them: enough for its links, and for a few deliveries at once.
const SHORT: u64 = 64;
/// After so long without a word it is looked what the outbox says: who was killed may have been about to say it.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Lyon,
    Paris,
    /// The relay.
    Dijon,
}

impl Who {
    const ALL: [Self; 3] = [Self::Lyon, Self::Paris, Self::Dijon];

    fn name(self) -> &'static str {
        match self {
            Self::Lyon => "lyon",
            Self::Paris => "paris",
            Self::Dijon => "dijon",
        }
    }
}

enum News {
    Said(Who, Value),
    Crossed(u64),
}

struct Campaign {
    world: World,
    /// The road to paris.
    proxy: Proxy,
    /// The road to dijon, for both others.
    to_dijon: Proxy,
    random: Random,
    to: Sender<News>,
    news: Receiver<News>,
    running: BTreeMap<Who, Process>,
    /// The end that is short of descriptors at every third start.
    short: Option<Who>,
    ticket: String,
    /// Where what goes by the relay goes.
    by_dijon: String,
    /// What was stored: names, and bytes of content.
    stored: BTreeMap<String, u64>,
    /// Deliveries that somebody has said are made.
    made: BTreeSet<String>,
    ids: Vec<String>,
}

impl Campaign {
    fn new(seed: u64) -> Self {
        let (world, proxy, to_dijon, (to, news)) = (World::new(), Proxy::new(), Proxy::new(), channel());
        let crossed = channel();
        proxy.tell(crossed.0);
        let forward = to.clone();
        std::thread::spawn(move || crossed.1.into_iter().all(|bytes| forward.send(News::Crossed(bytes)).is_ok()));
        let (paris, ticket) = world.paris_with(&["--advertise", &proxy.address()]);
        assert_eq!(paris.terminate(), 0);
        fs::create_dir(world.path("out")).unwrap();
        let (mut random, ticket, by_dijon) = (Random::new(seed), text(&ticket, "ticket"), introduce(&world, &to_dijon));
        let short = if random.below(2) == 0 { Who::Lyon } else { Who::Paris };
        let short = number("ESTAFETTE_SHORT").map(|_| short);
        let (running, stored, made, ids) = Default::default();
        Self { world, proxy, to_dijon, random, to, news, running, short, ticket, by_dijon, stored, made, ids }
    }

    fn start(&mut self, who: Who) {
        let mut command = self.world.command(who.name());
        command.args(["node", "--patience", "20s"]);
        match who {
            Who::Lyon => {}
            Who::Paris => {
                command.args(["--listen", "127.0.0.1:0", "--connect", "dijon", "--on-conflict", "rename", "--into"]);
                command.arg(self.world.path("in"));
            }
            Who::Dijon => drop(command.args(["--listen", "127.0.0.1:0", "--relay"])),
        }
        if Some(who) == self.short && self.random.below(3) == 0 {
            command = self.world.within(SHORT, &command);
        }
        let process = Process::start_into(&mut command, self.to.clone(), move |event| News::Said(who, event));
        self.running.insert(who, process);
    }

    fn kill(&mut self, who: Who) {
        self.running.remove(&who).unwrap().kill();
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
                "ready" if *who == Who::Dijon => self.to_dijon.lead_to(event["addrs"][0].as_str().unwrap()),
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
        let by_dijon = self.random.below(3) == 0;
        self.store(&path, by_dijon);
    }

    fn store_something_large(&mut self) {
        let (path, length) = (self.next_path(), LARGEST / 4 + self.random.below(LARGEST * 3 / 4));
        fs::write(&path, self.random.bytes(length as usize)).unwrap();
        self.store(&path, false);
    }

    fn next_path(&self) -> PathBuf {
        self.world.path("out").join(format!("{:04}", self.ids.len()))
    }

    fn store(&mut self, path: &Path, by_dijon: bool) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // Sealed for a relay; or read where it lies, or kept as a copy that is on its way already while it is made.
        let (options, to): (&[&str], _) = match self.random.below(2) {
            _ if by_dijon => (&["--via", "dijon"], &self.by_dijon),
            0 => (&["--copy"], &self.ticket),
            _ => (&[], &self.ticket),
        };
        let stored = self.world.store(path, to, options);
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
        for (who, process) in std::mem::take(&mut self.running) {
            assert_eq!(process.terminate(), 0, "{who:?}");
        }
    }

    fn verdict(&self, kills: u64, seed: u64) {
        let arrived = self.world.arrived();
        let lost: Vec<_> = self.stored.keys().filter(|name| !arrived.contains(name)).collect();
        let strange: Vec<_> = arrived.iter().filter(|name| !self.stored.contains_key(*name)).collect();
        let differs =
            |name: &&String| arrived.contains(name) && !same(&self.world.path("out").join(name), &self.world.path("in").join(name));
        let corrupted: Vec<_> = self.stored.keys().filter(differs).collect();
        let content: u64 = self.stored.values().sum();
        // Counted on the way to paris and to dijon; what dijon passes on goes the other way.
        let (crossed, connections) =
            (self.proxy.crossed() + self.to_dijon.crossed(), self.proxy.connections() + self.to_dijon.connections());
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
        for who in Who::ALL.map(Who::name) {
            let found = self.world.run(who, ["doctor"]);
            assert!(found.code == 0 && found.events.is_empty(), "{who}: {:?}", found.events);
        }
        assert!(crossed <= most, "{crossed} bytes crossed, and {most} were enough");
    }
}

/// Lyon and paris know each other, and dijon, which keeps what they send each other; where lyon sends what goes by it.
fn introduce(world: &World, to_dijon: &Proxy) -> String {
    let [lyon, paris, dijon] = Who::ALL.map(|who| text(world.run(who.name(), ["id"]).event("id"), "peer"));
    let trust = |who: &str, whom: &str, rest: &[&str]| {
        let ran = world.run(who, ["trust", "add", whom].iter().chain(rest));
        assert_eq!(ran.code, 0, "{:?}", ran.events);
    };
    trust("dijon", &lyon, &["--name", "lyon"]);
    trust("dijon", &paris, &["--name", "paris"]);
    trust("lyon", &dijon, &["--name", "dijon", "--addr", &to_dijon.address()]);
    trust("paris", &dijon, &["--name", "dijon", "--addr", &to_dijon.address(), "--relay-only"]);
    trust("paris", &lyon, &["--name", "lyon"]);
    format!("{paris}/files")
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
fn nothing_is_lost_doubled_or_damaged_whenever_a_node_is_killed() {
    let kills = number("ESTAFETTE_KILLS").unwrap_or(60);
    let seed = number("ESTAFETTE_SEED").unwrap_or_else(|| u64::from(std::process::id()) ^ 0x5eed);
    println!("ESTAFETTE_SEED={seed} ESTAFETTE_KILLS={kills}");
    let mut campaign = Campaign::new(seed);
    for who in [Who::Dijon, Who::Paris, Who::Lyon] {
        campaign.start(who);
    }
    for kill in 0..kills {
        if kill % 100 == 30 {
            campaign.store_something_large();
        }
        for _ in 0..1 + campaign.random.below(3) {
            campaign.store_something();
        }
        campaign.run_for_a_while();
        match campaign.random.below(8) {
            0 | 1 => campaign.kill(Who::Lyon),
            2 | 3 => campaign.kill(Who::Paris),
            4 | 5 => campaign.kill(Who::Dijon),
            6 => {
                campaign.kill(Who::Lyon);
                campaign.kill(Who::Paris);
            }
            _ => Who::ALL.into_iter().for_each(|who| campaign.kill(who)),
        }
    }
    campaign.finish();
    campaign.verdict(kills, seed);
}
