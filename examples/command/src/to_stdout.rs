//! `--into -`: one delivery, to stdout.

use std::sync::atomic::{AtomicBool, Ordering};

use estafette::delivery::ContentKind;
use estafette::pipeline::Refusal;
use estafette_actors::sink::{WriterInbox, WriterSink};

use crate::apart::StdoutApart;
use crate::error::CommandError;
use crate::streams::was_closed;

/// Gives stdout to the first delivery that is no folder: what was written can't be taken back for a
/// second one.
pub(crate) fn inbox() -> Result<WriterInbox, CommandError> {
    if was_closed(std::io::stdout()) {
        return Err(CommandError::usage(
            "stdout is closed, so that what is delivered would be lost",
            "say where it goes: `> FILE`, `| COMMAND`, or --into DIR; nowhere is `> /dev/null`",
        ));
    }
    let given = AtomicBool::new(false);
    Ok(WriterSink::inbox(move |offer| {
        if offer.content.kind == ContentKind::Tree {
            return Err(Refusal::new(
                "the receiver takes one file or stream, to its stdout, and no folder: send a \
                 file, or have it say --into DIR",
            ));
        }
        if given.swap(true, Ordering::Relaxed) {
            return Err(Refusal::new(
                "the receiver takes one delivery, to its stdout, and has begun with it",
            ));
        }
        Ok(StdoutApart::default())
    }))
}
