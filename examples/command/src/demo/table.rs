//! The table of stages.

use std::fmt::Write;

use super::{Measured, Stage};
use crate::units;

/// One line per stage, in data-path order, and one for the whole.
pub(super) fn stages(measured: &Measured) -> String {
    let mut text = String::from(
        "stage                  in         out   ratio       speed    busy  waiting\n",
    );
    let sender = ["source", "digest", "compress", "seal", "road"];
    let receiver = ["open", "decompress", "digest", "sink"];
    for (node, names, stages) in
        [("lyon", &sender[..], &measured.sender), ("paris", &receiver[..], &measured.receiver)]
    {
        for name in names {
            if let Some(stage) = stages.iter().find(|stage| stage.stage == *name) {
                line(&mut text, node, stage, measured);
            }
        }
    }
    let (size, speed) = (
        units::bytes(measured.bytes),
        units::rate(units::per_second(measured.bytes, measured.seconds)),
    );
    // A formatting error can't happen: the target is a string.
    let _ = writeln!(text, "{:16} {size:>10}  {size:>10}  {:>6.2}  {speed:>10}", "end to end", 1.0);
    text.push_str("speed: of one thread while it is busy · busy: share of its threads' time\n");
    text.push_str("waiting: the most chunks that lay in its mailboxes at once\n");
    text
}

fn line(text: &mut String, node: &str, stage: &Stage, measured: &Measured) {
    let ratio =
        if stage.bytes_out == 0 { 1.0 } else { stage.bytes_in as f64 / stage.bytes_out as f64 };
    let speed = units::rate(units::per_second(stage.bytes_in, stage.busy_seconds));
    let busy =
        100.0 * stage.busy_seconds / threads(stage, measured) / measured.seconds.max(f64::EPSILON);
    let name = format!("{node:5} {}", stage.stage);
    let _ = writeln!(
        text,
        "{name:16} {:>10}  {:>10}  {ratio:>6.2}  {speed:>10}  {busy:>5.0}%  {:>7}",
        units::bytes(stage.bytes_in),
        units::bytes(stage.bytes_out),
        stage.mailbox_high_water
    );
}

/// On how many threads a stage runs: the source and the sink have one, the others run on every
/// worker.
pub(super) fn threads(stage: &Stage, measured: &Measured) -> f64 {
    if matches!(stage.stage.as_str(), "source" | "sink") { 1.0 } else { measured.workers as f64 }
}
