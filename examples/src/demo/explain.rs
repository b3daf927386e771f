//! The report in the terms users reason in: content, ratio, what sealing added, the road, and what bound the transfer.

use super::table::threads;
use super::{Measured, Stage};
use crate::units;

pub(super) fn text(measured: &Measured) -> String {
    let find = |stages: &[Stage], name: &str| stages.iter().find(|stage| stage.stage == name).cloned();
    let sent = |name| find(&measured.sender, name);
    let (Some(digest), Some(compress), Some(seal)) = (sent("digest"), sent("compress"), sent("seal")) else {
        return "the sender's stages were not counted".into();
    };
    let ratio = compress.bytes_in as f64 / compress.bytes_out.max(1) as f64;
    let added = seal.bytes_out.saturating_sub(seal.bytes_in) + 16 * seal.chunks;
    let road = sent("road").map_or(0.0, |road| units::per_second(road.bytes_in, road.busy_seconds / threads(&road, measured)));
    let (slowest, predicted) = slowest(measured);
    let speed = units::rate(units::per_second(measured.bytes, measured.seconds));
    format!(
        "Content    D = {} in {} and {}\n\
         Ratio      R = {ratio:.2}: {} were left to seal\n\
         Sealing    added {}, {:.2} % (frame header, tag, prefix)\n\
         Road       S = {} while it was written to\n\
         Predicted  T = {}, if the slowest stage were all there is: {}\n\
         Measured       {}, {speed}, from the receiver's word to go until it had committed\n\
         Bound by   {}\n",
        units::bytes(measured.bytes),
        units::count(measured.files, "file"),
        units::count(digest.chunks, "chunk"),
        units::bytes(compress.bytes_out),
        units::bytes(added),
        100.0 * added as f64 / seal.bytes_in.max(1) as f64,
        units::rate(road),
        units::seconds(predicted),
        slowest.0,
        units::seconds(measured.seconds),
        bound_by(slowest, predicted, measured),
    )
}

/// A part of the way: what it is called, and what it means to be bound by it.
#[derive(Clone, Copy)]
struct Part(&'static str, &'static str);

const DISK: Part = Part("reading the source", "the disk: the source can't be read faster");
const COMPRESSOR: Part = Part("digest and compress", "the compressor: --compress off helps where the road is fast");
const SEALER: Part = Part("seal", "the sealer");
const ROAD: Part = Part("the road", "the road: nothing but a faster one helps");
const RECEIVER: Part = Part("the receiver", "the receiver: opening, decompressing or writing there");

/// The part that takes longest by itself, and how long.
fn slowest(measured: &Measured) -> (Part, f64) {
    let time = |stages: &[Stage], names: &[&str]| -> f64 {
        let own = stages.iter().filter(|stage| names.contains(&stage.stage.as_str()));
        own.map(|stage| stage.busy_seconds / threads(stage, measured)).sum()
    };
    let receiver = time(&measured.receiver, &["open", "decompress", "digest"]).max(time(&measured.receiver, &["sink"]));
    let road = time(&measured.sender, &["road"]);
    let parts = [
        (DISK, time(&measured.sender, &["source"])),
        (COMPRESSOR, time(&measured.sender, &["digest", "compress"])),
        (SEALER, time(&measured.sender, &["seal"])),
        (RECEIVER, receiver),
        // Writing waits for a receiver that is slow to read, too: the road is to blame only for what the receiver is not.
        (ROAD, road - receiver.min(road)),
    ];
    parts.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((ROAD, 0.0))
}

fn bound_by(part: Part, predicted: f64, measured: &Measured) -> String {
    let share = predicted / measured.seconds.max(f64::EPSILON);
    if share >= 0.6 {
        return part.1.to_owned();
    }
    let all = measured.sender.iter().chain(&measured.receiver).filter(|stage| stage.stage != "road");
    let busy: f64 = all.map(|stage| stage.busy_seconds).sum();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
    if busy / cores / measured.seconds.max(f64::EPSILON) >= 0.6 {
        format!("the processor: both nodes share its {cores} cores here; most of it goes to {}", part.0)
    } else {
        format!("opening and committing: the content is too short for any stage to matter; the most goes to {}", part.0)
    }
}
