//! A run that ends when all that its routes find is sent (`--once`).

use std::time::Duration;

use crate::error::{CommandError, ErrorKind};
use crate::units;

/// The question of the process that started this one.
pub(super) const PENDING: &str = "pending";
/// The wait between two looks at whether all is done.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(200);

/// An error: not all that was to be sent once was delivered.
pub(super) fn given_up(dead: u64) -> CommandError {
    let what = units::count(dead, "delivery");
    let were = if dead == 1 { "was" } else { "were" };
    CommandError::new(
        ErrorKind::Refused,
        format!("{what} {were} given up, as is said above"),
        "mend what is named; `estafette --key KEY outbox retry` tries one again, with the key of \
         its node",
    )
}
