//! The nodes, what lies between them, and what is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::letters;
use crate::number;
use crate::support::clock::Clock;
use crate::support::disk::Disk;
use crate::support::process::{PATIENCE, Process};
use crate::support::proxy::Proxy;
use crate::support::random::Random;
use crate::support::{World, text};

const LARGEST: u64 = 200 << 20;
/// Descriptors of an end that is short of them: enough for its links, and for a few deliveries at
/// once.
pub(crate) const SHORT: u64 = 64;
/// After so long without a word it is looked what the outbox says: who was killed may have been
/// about to say it.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Lyon,
    Paris,
    /// The relay.
    Dijon,
    /// Writes letters.
    Nancy,
    /// Handles them.
    Brest,
}

impl Who {
    pub(crate) const ALL: [Self; 5] =
        [Self::Nancy, Self::Brest, Self::Lyon, Self::Paris, Self::Dijon];
    /// Those that are the command.
    pub(crate) const COMMANDS: [Self; 3] = [Self::Lyon, Self::Paris, Self::Dijon];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lyon => "lyon",
            Self::Paris => "paris",
            Self::Dijon => "dijon",
            Self::Nancy => "nancy",
            Self::Brest => "brest",
        }
    }
}

enum News {
    Said(Who, Value),
    Crossed(u64),
}

/// The proxies that lead to each node.
pub(crate) struct Roads {
    pub(crate) to_paris: Proxy,
    /// For both others.
    pub(crate) to_dijon: Proxy,
    /// For nancy's letters.
    pub(crate) to_brest: Proxy,
}

pub(crate) struct Campaign {
    /// Those of lyon's spool, of paris' spool, and of what paris takes. Unmounted before their
    /// folders go.
    pub(crate) disks: [Option<Disk>; 3],
    pub(crate) world: World,
    pub(crate) roads: Roads,
    pub(crate) clocks: BTreeMap<Who, Clock>,
    pub(crate) random: Random,
    to: Sender<News>,
    news: Receiver<News>,
    pub(crate) running: BTreeMap<Who, Process>,
    /// The end that is short of descriptors at every third start.
    short: Option<Who>,
    /// The ends that are short of them now.
    short_now: BTreeSet<Who>,
    ticket: String,
    /// The address of what goes by the relay.
    by_dijon: String,
    /// The deliveries that were stored: names, and bytes of content, 0 where nobody could count.
    pub(crate) stored: BTreeMap<String, u64>,
    /// Deliveries that somebody has said are made.
    made: BTreeSet<String>,
    ids: Vec<String>,
    /// The number of starts of each.
    lives: BTreeMap<Who, u64>,
    /// The number of times that each fault came.
    pub(crate) suffered: BTreeMap<&'static str, u64>,
}

impl Campaign {
    pub(crate) fn new(seed: u64) -> Self {
        let (world, (to, news)) = (World::new(), channel());
        let disk = |folder: PathBuf| {
            fs::create_dir_all(&folder).unwrap();
            Disk::mount(&folder)
        };
        let disks = [disk(world.spool("lyon")), disk(world.spool("paris")), disk(world.path("in"))];
        let roads =
            Roads { to_paris: Proxy::new(), to_dijon: Proxy::new(), to_brest: Proxy::new() };
        let crossed = channel();
        roads.to_paris.tell(crossed.0);
        let forward = to.clone();
        std::thread::spawn(move || {
            crossed.1.into_iter().all(|bytes| forward.send(News::Crossed(bytes)).is_ok())
        });
        let (paris, ticket) = world.paris_with(&["--advertise", &roads.to_paris.address()]);
        assert_eq!(paris.terminate(), 0);
        fs::create_dir(world.path("out")).unwrap();
        let (mut random, ticket, by_dijon) =
            (Random::new(seed), text(&ticket, "ticket"), introduce(&world, &roads.to_dijon));
        let short = if random.below(2) == 0 { Who::Lyon } else { Who::Paris };
        let short = number("ESTAFETTE_SHORT").map(|_| short);
        let clock =
            |who: Who| Some((who, Clock::new(&world.path(&format!("{}.clock", who.name())))?));
        let clocks = Who::ALL.into_iter().filter_map(clock).collect();
        let (running, short_now, stored, made, ids, lives, suffered) = Default::default();
        Self {
            disks,
            world,
            roads,
            clocks,
            random,
            to,
            news,
            running,
            short,
            short_now,
            ticket,
            by_dijon,
            stored,
            made,
            ids,
            lives,
            suffered,
        }
    }

    pub(crate) fn start(&mut self, who: Who) {
        let is_short = Some(who) == self.short && self.random.below(3) == 0;
        self.start_with(who, is_short);
    }

    pub(crate) fn start_with(&mut self, who: Who, is_short: bool) {
        let life = self.lives.entry(who).or_default();
        *life += 1;
        let mut command = match who {
            Who::Nancy | Who::Brest => letters::command(
                &self.world.path("letters"),
                who.name(),
                &self.roads.to_brest.address(),
                *life,
            ),
            _ => self.world.command(who.name()),
        };
        match who {
            Who::Lyon => drop(command.args(["node", "--patience", "20s"])),
            Who::Paris => {
                command.args(["node", "--patience", "20s", "--listen", "127.0.0.1:0"]);
                command
                    .args(["--connect", "dijon", "--on-conflict", "rename", "--into"])
                    .arg(self.world.path("in"));
            }
            Who::Dijon => drop(command.args([
                "node",
                "--patience",
                "20s",
                "--listen",
                "127.0.0.1:0",
                "--relay",
            ])),
            Who::Nancy | Who::Brest => {}
        }
        if let Some(clock) = self.clocks.get(&who) {
            clock.give_to(&mut command);
        }
        self.short_now.remove(&who);
        if is_short {
            command = self.world.within(SHORT, &command);
            self.short_now.insert(who);
        }
        let process =
            Process::start_into(&mut command, self.to.clone(), move |event| News::Said(who, event));
        self.running.insert(who, process);
    }

    pub(crate) fn kill(&mut self, who: Who) {
        self.end(who);
        self.start(who);
    }

    /// Kills it, unless it has ended: as one that can't go on does.
    pub(crate) fn end(&mut self, who: Who) {
        let mut process = self.running.remove(&who).unwrap();
        if let Some(status) = process.ended() {
            assert_eq!(status.code(), Some(6), "{who:?} has ended by itself: {status}");
        }
        process.kill();
    }

    /// Returns what is said next; `None` after a while of silence.
    fn hear(&mut self, quiet: Duration) -> Option<News> {
        let news = match self.news.recv_timeout(quiet) {
            Ok(news) => news,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => panic!("the campaign holds a sender itself"),
        };
        if let News::Said(who, event) = &news {
            match (*who, event["event"].as_str().unwrap()) {
                (Who::Paris, "ticket") => self.roads.to_paris.lead_to(&text(event, "addr")),
                (Who::Dijon, "ready") => {
                    self.roads.to_dijon.lead_to(event["addrs"][0].as_str().unwrap())
                }
                (Who::Brest, "ready") => {
                    self.roads.to_brest.lead_to(event["addrs"][0].as_str().unwrap())
                }
                (_, "delivered") => drop(self.made.insert(text(event, "transfer"))),
                (Who::Lyon, "error") if event["transfer"].is_string() => {
                    panic!("a delivery was given up: {event}")
                }
                _ => {}
            }
        }
        Some(news)
    }

    /// Files, mostly small, and folders of them.
    pub(crate) fn store_something(&mut self) {
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

    pub(crate) fn store_something_large(&mut self) {
        let (path, length) = (self.next_path(), LARGEST / 4 + self.random.below(LARGEST * 3 / 4));
        fs::write(&path, self.random.bytes(length as usize)).unwrap();
        self.store(&path, false);
    }

    fn next_path(&self) -> PathBuf {
        self.world.path("out").join(format!("{:04}", self.ids.len()))
    }

    fn store(&mut self, path: &Path, by_dijon: bool) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // Sealed for a relay; or read where it lies, or kept as a copy that is on its way already
        // while it is made.
        let (options, to): (&[&str], _) = match self.random.below(2) {
            _ if by_dijon => (&["--via", "dijon"], self.by_dijon.clone()),
            0 => (&["--copy"], self.ticket.clone()),
            _ => (&[], self.ticket.clone()),
        };
        // For longer than any sender's clock is wrong: what is packed is dated by it.
        let options: Vec<_> = ["--expires", "14d"].iter().chain(options).copied().collect();
        let mut ran = self.world.try_to_store(path, &to, &options);
        if ran.code != 0 && self.short_now.contains(&Who::Lyon) {
            // A node without descriptors stores nothing, and says why: nothing of it may arrive.
            let error = text(ran.event("error"), "message");
            assert!(error.contains("Too many open files"), "{error}");
            self.end(Who::Lyon);
            self.start_with(Who::Lyon, false);
            ran = self.world.try_to_store(path, &to, &options);
        }
        assert_eq!(ran.code, 0, "{:?}", ran.events);
        let stored = ran.event("stored");
        let bytes = stored["bytes"].as_u64().unwrap_or_else(|| {
            // A node without descriptors may not come to count a folder; it stores and sends it.
            assert!(path.is_dir() && self.short_now.contains(&Who::Lyon), "{stored}");
            0
        });
        self.stored.insert(name, bytes);
        self.ids.push(text(stored, "transfer"));
    }

    fn tree(&mut self, path: &Path) {
        fs::create_dir_all(path.join("deep/empty")).unwrap();
        for number in 0..self.random.below(40) {
            let folder = if number % 3 == 0 { path.join("deep") } else { path.to_path_buf() };
            let length = self.random.mostly_small(256 << 10);
            fs::write(folder.join(format!("file {number}")), self.random.bytes(length as usize))
                .unwrap();
        }
    }

    /// Lets a random number of bytes cross, or of events be told, or all be delivered that there
    /// is, or it be quiet.
    pub(crate) fn run_for_a_while(&mut self) {
        self.run_until_quiet(QUIET);
    }

    pub(crate) fn run_until_quiet(&mut self, quiet: Duration) {
        let bytes = self.random.mostly_small(32 << 20);
        let (until, mut events) =
            (self.roads.to_paris.crossed() + bytes, 1 + self.random.below(12));
        while self.made.len() < self.ids.len() && events > 0 {
            match self.hear(quiet) {
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

    /// Retries what was put off, as long as a clock was ahead or a disk full: otherwise it is tried
    /// again after minutes.
    fn hurry(&self) {
        for who in ["lyon", "dijon"] {
            let waiting = self.world.run(who, ["outbox", "list"]).events;
            let put_off = waiting
                .iter()
                .filter(|entry| entry["state"] == "stored" && !entry["failure"].is_null());
            for id in put_off.map(|entry| text(entry, "id")) {
                // It may have arrived meanwhile.
                let _ = self.world.run(who, ["outbox", "retry", &id]);
            }
        }
    }

    /// Waits until all has arrived, with clocks that are right: what is dated by a wrong one is put
    /// off.
    pub(crate) fn finish(&mut self) {
        self.clocks.values().for_each(|clock| clock.step(0));
        for who in Who::ALL {
            if self.running.get_mut(&who).unwrap().ended().is_some() {
                self.kill(who);
            }
        }
        letters::enough(&self.world.path("letters"));
        let (start, mut handled) = (Instant::now(), false);
        while self.open() > 0 || !handled {
            let open = self.open();
            assert!(
                start.elapsed() < 4 * PATIENCE,
                "{open} deliveries are open, letters handled: {handled}; {:?}",
                self.world.outbox()
            );
            self.hurry();
            // All that was said meanwhile, or nothing for a while: looking costs more than
            // listening.
            let mut patience = QUIET;
            while let Some(news) = self.hear(patience) {
                handled |=
                    matches!(&news, News::Said(Who::Nancy, event) if event["event"] == "handled");
                if matches!(&news, News::Said(_, event) if event["event"] == "delivered" || event["event"] == "handled")
                {
                    patience = Duration::ZERO;
                }
            }
        }
        for (who, process) in std::mem::take(&mut self.running) {
            match who {
                Who::Nancy | Who::Brest => process.kill(),
                _ => assert_eq!(process.terminate(), 0, "{who:?}"),
            }
        }
    }
}

/// Lyon and paris know each other, and dijon, which keeps what they send each other; where lyon
/// sends what goes by it.
fn introduce(world: &World, to_dijon: &Proxy) -> String {
    let [lyon, paris, dijon] =
        Who::COMMANDS.map(|who| text(world.run(who.name(), ["id"]).event("id"), "peer"));
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
