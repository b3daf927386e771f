//! The end of a delivery that somebody watches, and of its command.

use std::process::ExitCode;

use estafette::delivery::FailureKind;

use crate::arguments::Global;
use crate::error::{CommandError, ErrorKind};
use crate::left_out::{LeftOut, kept_code};
use crate::monitor::Ended;
use crate::units;

/// The end of the command; `signalled` says that it was asked to.
pub(crate) fn exit_code(
    ended: &Ended,
    concluded: Result<(), CommandError>,
    left_out: &LeftOut,
    signalled: bool,
) -> Result<ExitCode, CommandError> {
    if let (true, Err(failure)) = (signalled, &ended.outcome)
        && failure.kind == FailureKind::Unknown
    {
        return Err(unsure().about(ended.about.transfer, ended.about.peer));
    }
    match concluded {
        Err(_) if signalled && !matches!(&ended.outcome, Err(failure) if is_final(failure)) => {
            Err(stopped().about(ended.about.transfer, ended.about.peer))
        }
        Err(error) => Err(error),
        Ok(()) => Ok(kept_code(left_out)),
    }
}

pub(crate) fn finishing(global: &Global) -> String {
    format!("finishing, for {} at most; once more to stop at once", units::span(global.drain))
}

/// Returns the error of one that may have been sent whole.
pub(crate) fn unsure() -> CommandError {
    CommandError::new(
        ErrorKind::Cancelled,
        "stopped by a signal before the receiver had said whether it has it: it may have been \
         delivered",
        "look at the receiver before you send it again",
    )
}

pub(crate) fn stopped() -> CommandError {
    CommandError::cancelled("stopped by a signal before it was delivered")
}

/// Tells of a transfer that would have failed in this way without a signal, too.
fn is_final(failure: &estafette::delivery::Failure) -> bool {
    use FailureKind::*;
    !matches!(failure.kind, Shutdown | Cancelled | Unreachable)
}
