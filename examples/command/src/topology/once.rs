//! A run that ends when all that its routes find is sent (`--once`).

use std::time::Duration;

use crate::error::{CommandError, ErrorKind};
use crate::units;

/// The questions of the process that started this one: what is open, and to reload its file.
pub(super) const PENDING: &str = "pending";
pub(super) const RELOAD: &str = "reload";
/// The wait between two looks at whether all is done.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(200);

/// An error: a signal came before all that was to be sent once was delivered.
pub(super) fn stopped() -> CommandError {
    CommandError::new(
        ErrorKind::Cancelled,
        "stopped by a signal before all was delivered",
        "start it again to go on",
    )
}

/// An error: something could not be read, and is not in what was delivered.
pub(super) fn left_out(entries: u64) -> CommandError {
    let what = units::count(entries, "entry");
    let were = if entries == 1 { "was" } else { "were" };
    CommandError::io(
        format!("{what} {were} left out, as is said above: all else was delivered"),
        "let this user read what is named; a folder of which more can be read is sent again by \
         `each` and by `schedule = \"change\"`",
    )
}

/// An error: nothing was sent of what has become empty all at once.
pub(super) fn held_back(held: u64) -> CommandError {
    let what = units::count(held, "route");
    let holds = if held == 1 { "holds its" } else { "hold their" };
    CommandError::io(
        format!("{what} {holds} source back, as is said above: it has become empty all at once"),
        "mount its disk, or put something there; if it is meant, say `empties = true` in the route",
    )
}

/// An error: not all that was to be sent once was delivered.
pub(super) fn given_up(dead: u64) -> CommandError {
    let what = units::count(dead, "delivery");
    let were = if dead == 1 { "was" } else { "were" };
    CommandError::new(
        ErrorKind::Refused,
        format!("{what} {were} given up, in this run or an earlier one"),
        "`estafette --key KEY outbox list`, with the key of each node that sends, says which and \
         why; mend that, then `outbox retry` or `drop` it",
    )
}
