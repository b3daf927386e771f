//! Things that were left out of a delivery: their list, and how the command tells of it and ends.

use std::process::ExitCode;

use estafette::PeerId;
use estafette::delivery::TransferId;
use estafette::pipeline::SourceReport;
use serde::{Deserialize, Serialize};

use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
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

/// The end of all that was not left out.
pub(crate) const DELIVERED: &str = "was delivered";

impl LeftOut {
    /// Tells of it, of a delivery of which all else `is_there`.
    pub(crate) fn tell(
        &self,
        (transfer, peer): (TransferId, PeerId),
        is_there: &str,
        output: &Output,
    ) {
        for (number, line) in self.lines.iter().enumerate() {
            if number < self.failures {
                let hint = format!(
                    "all else {is_there}; what can't be read is sent again when it can, --exclude \
                     leaves it out without a word"
                );
                let error = CommandError::io(line, hint);
                output.error(&error.about(transfer, peer));
            } else {
                output.event(&Event::Remark { transfer: transfer.short(), message: line });
                output.remark(&units::printable(line));
            }
        }
    }
}

/// The code of a command that leaves a delivery to others, of which so much was left out.
pub(crate) fn kept_code(left_out: &LeftOut) -> ExitCode {
    match left_out.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(ErrorKind::Io.exit_code()),
    }
}
