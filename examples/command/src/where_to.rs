//! The last argument of `send`, where `--to` says where to: a path, a destination, or not there.

use std::path::Path;

use estafette::Ticket;

use crate::arguments::Send;
use crate::error::CommandError;

/// Stands for a last argument that is not there, since `--to` says where to: no argument of a
/// process has such a byte.
pub(crate) const AS_SAID: &str = "\0";

impl Send {
    /// With `--to`, the last argument may be a path, as those before it.
    pub(crate) fn settle(&mut self) -> Result<(), CommandError> {
        let is_path = |text: &str| Path::new(text).symlink_metadata().is_ok();
        let last = self.to.as_str();
        let is_said = last == AS_SAID;
        if self.also.is_empty() || !is_said && (is_elsewhere(last) || !is_path(last)) {
            return Ok(());
        }
        if !is_said && may_be_peer(last) {
            return Err(CommandError::usage(
                format!("{last} is a path here, and may be an inbox of a peer"),
                format!("write ./{last} for the path, or --to {last} for the peer"),
            ));
        }
        let first = self.also.remove(0);
        let last = std::mem::replace(&mut self.to, first);
        self.paths.extend((!is_said).then(|| last.into()));
        Ok(())
    }
}

/// Returns `true` if it is where a ticket is, or one.
fn is_elsewhere(text: &str) -> bool {
    text == "-" || text.starts_with('@') || text.parse::<Ticket>().is_ok()
}

/// `PEER/INBOX`: no peer is called `.`, `..` or nothing.
fn may_be_peer(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(peer, inbox)| !["", ".", ".."].contains(&peer) && !inbox.is_empty())
}
