//! The end of a delivery that somebody watches: what was left out, and how the command ends.

use std::process::ExitCode;

use estafette::pipeline::SourceReport;
use serde::{Deserialize, Serialize};

use crate::arguments::Global;
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::monitor::{About, Ended};
use crate::output::Output;
use crate::units;

/// The list of what was left behind of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    /// A line for each kind.
    lines: Vec<String>,
    /// The number of these, from the first on, that tell of what could not be read.
    #[serde(default)]
    failures: usize,
    /// The number of entries that could not be read.
    pub(crate) failed: u64,
}

impl From<SourceReport> for LeftOut {
    fn from(report: SourceReport) -> Self {
        Self {
            lines: report.remarks,
            failures: report.failures,
            failed: report.skipped_total - report.skipped_by_choice.min(report.skipped_total),
        }
    }
}

impl LeftOut {
    pub(crate) fn tell(&self, about: About, output: &Output) {
        for (number, line) in self.lines.iter().enumerate() {
            if number < self.failures {
                let error = CommandError::io(
                    line,
                    "all else was delivered; what can't be read is sent again when it can, \
                     --exclude leaves it out without a word",
                );
                output.error(&error.about(about.transfer, about.peer));
            } else {
                output.event(&Event::Remark { transfer: about.transfer.short(), message: line });
                output.remark(&units::printable(line));
            }
        }
    }
}

/// The end of the command; `signalled` says that it was asked to.
pub(crate) fn exit_code(
    ended: &Ended,
    concluded: Result<(), CommandError>,
    left_out: &LeftOut,
    signalled: bool,
) -> Result<ExitCode, CommandError> {
    match concluded {
        Err(_) if signalled && !matches!(&ended.outcome, Err(failure) if is_final(failure)) => {
            Err(stopped().about(ended.about.transfer, ended.about.peer))
        }
        Err(error) => Err(error),
        Ok(()) if left_out.failed > 0 => Ok(ExitCode::from(ErrorKind::Io.exit_code())),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

pub(crate) fn finishing(global: &Global) -> String {
    format!("finishing, for {} at most; once more to stop at once", units::span(global.drain))
}

pub(crate) fn stopped() -> CommandError {
    CommandError::cancelled("stopped by a signal before it was delivered")
}

/// Tells of a transfer that would have failed in this way without a signal, too.
fn is_final(failure: &estafette::delivery::Failure) -> bool {
    use estafette::delivery::FailureKind::*;
    !matches!(failure.kind, Shutdown | Cancelled | Unreachable)
}
