//! The report in the terms users reason in: content, ratio, what sealing added, the road, and what
//! bound the transfer.

use super::table::threads;
use super::{Measured, Stage};
use crate::units;

/// The explanation of where the time went.
#[derive(Debug)]
pub(super) struct Explained {
    /// Seconds the slowest part would take, were it alone.
    pub(super) predicted: f64,
    slowest: Part,
    bound: Bound,
}

/// A part of the way that can bound a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Disk,
    Compressor,
    Sealer,
    Road,
    Receiver,
}

/// The bound of the transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// One part was busy for most of the time.
    Part,
    /// No part was, and the cores that all of them share were.
    Cores,
    /// Neither.
    Start,
}

/// Busy for so much of the time means bound by it.
const MOST: f64 = 0.6;

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Compressor => "compressor",
            Self::Sealer => "sealer",
            Self::Road => "road",
            Self::Receiver => "receiver",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::Disk => "the disk: the source can't be read faster",
            Self::Compressor => "the compressor: --compress off helps where the road is fast",
            Self::Sealer => "the sealer: more cores help",
            Self::Road => "the road: a faster one helps, or content that compresses better",
            Self::Receiver => "the receiver: writing and syncing, or the processor there",
        }
    }
}

impl Explained {
    pub(super) fn of(measured: &Measured) -> Self {
        let (slowest, predicted) = slowest(measured);
        let of_measured = |seconds: f64| seconds / measured.seconds.max(f64::EPSILON);
        // A thread that waits for the road or for a disk's sync needs no core.
        let working = measured
            .sender
            .iter()
            .chain(&measured.receiver)
            .filter(|stage| !matches!(stage.stage.as_str(), "road" | "sink"));
        let busy: f64 = working.map(|stage| stage.busy_seconds).sum();
        let bound = if of_measured(predicted) >= MOST {
            Bound::Part
        } else if of_measured(busy / cores()) >= MOST {
            Bound::Cores
        } else {
            Bound::Start
        };
        Self { predicted, slowest, bound }
    }

    /// One word for programs.
    pub(super) fn bound_by(&self) -> &'static str {
        match self.bound {
            Bound::Part => self.slowest.name(),
            Bound::Cores => "cores",
            Bound::Start => "start",
        }
    }

    pub(super) fn text(&self, measured: &Measured) -> String {
        let find = |name: &str| measured.sender.iter().find(|stage| stage.stage == name);
        let (Some(digest), Some(compress), Some(seal)) =
            (find("digest"), find("compress"), find("seal"))
        else {
            return "the sender's stages were not counted\n".into();
        };
        let ratio = compress.bytes_in as f64 / compress.bytes_out.max(1) as f64;
        let added = seal.bytes_out.saturating_sub(seal.bytes_in) + PREFIX * seal.chunks;
        let road = find("road").map_or(0.0, |road| {
            units::per_second(road.bytes_in, road.busy_seconds / threads(road, measured))
        });
        format!(
            "Content    D = {} in {} and {}\nRatio      R = {ratio:.2}: {} were left to \
             seal\nSealing    added {}, {:.2} % (frame header, tag, prefix)\nRoad       S = {} \
             while it was written to\nPredicted  T = {}, if the slowest part were all there is: \
             the {}\nMeasured       {}, {}, until the receiver had it on disk\nBound by   {}\n",
            units::bytes(measured.bytes),
            units::count(measured.files, "file"),
            units::count(digest.chunks, "chunk"),
            units::bytes(compress.bytes_out),
            units::bytes(added),
            100.0 * added as f64 / seal.bytes_in.max(1) as f64,
            units::rate(road),
            units::seconds(self.predicted),
            self.slowest.name(),
            units::seconds(measured.seconds),
            units::rate(units::per_second(measured.bytes, measured.seconds)),
            self.reason(),
        )
    }

    fn reason(&self) -> String {
        let most = self.slowest.name();
        match self.bound {
            Bound::Part => self.slowest.explanation().to_owned(),
            Bound::Cores => format!(
                "the {} cores that both nodes share here; the {most} needs the most",
                cores()
            ),
            Bound::Start => format!("getting started: little content; the {most} was busiest"),
        }
    }
}

/// The sealed bytes before every body.
const PREFIX: u64 = 16;

fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64
}

/// The part that takes longest by itself, and how long.
fn slowest(measured: &Measured) -> (Part, f64) {
    let time = |stages: &[Stage], names: &[&str]| -> f64 {
        let own = stages.iter().filter(|stage| names.contains(&stage.stage.as_str()));
        own.map(|stage| stage.busy_seconds / threads(stage, measured)).sum()
    };
    let receiver = time(&measured.receiver, &["open", "decompress", "digest"])
        .max(time(&measured.receiver, &["sink"]));
    let road = time(&measured.sender, &["road"]);
    let parts = [
        (Part::Disk, time(&measured.sender, &["source"])),
        (Part::Compressor, time(&measured.sender, &["digest", "compress"])),
        (Part::Sealer, time(&measured.sender, &["seal"])),
        (Part::Receiver, receiver),
        // Writing waits for a receiver that is slow to read, too: the road is to blame only for
        // what the receiver is not.
        (Part::Road, road - receiver.min(road)),
    ];
    parts.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((Part::Road, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, busy_seconds: f64) -> Stage {
        Stage {
            stage: name.into(),
            chunks: 4,
            bytes_in: 1000,
            bytes_out: 500,
            busy_seconds,
            mailbox_high_water: 1,
        }
    }

    fn measured(seconds: f64, compress: f64, sink: f64) -> Measured {
        Measured {
            files: 1,
            bytes: 1000,
            seconds,
            blake3: String::new(),
            sender: vec![
                stage("source", 0.1),
                stage("digest", 0.1),
                stage("compress", compress),
                stage("seal", 0.1),
                stage("road", 0.2),
            ],
            receiver: vec![stage("open", 0.1), stage("sink", sink)],
            left_out: Vec::new(),
            workers: 2,
        }
    }

    #[test]
    fn the_busiest_part_bounds_what_it_was_busy_for_most_of() {
        assert_eq!(Explained::of(&measured(1.0, 1.8, 0.1)).bound_by(), "compressor");
        assert_eq!(Explained::of(&measured(1.0, 0.1, 0.9)).bound_by(), "receiver");
        assert_eq!(Explained::of(&measured(10.0, 0.1, 0.9)).bound_by(), "start");
    }

    #[test]
    fn the_text_has_the_figures() {
        let text = Explained::of(&measured(1.0, 1.8, 0.1)).text(&measured(1.0, 1.8, 0.1));
        for wanted in ["R = 2.00", "T = 950 ms", "the compressor", "1 file and 4 chunks"] {
            assert!(text.contains(wanted), "{wanted} is missing in {text}");
        }
    }
}
