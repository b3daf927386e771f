//! The states of content that was sent, one after the other.

use estafette::node::{OutboxEntry, OutboxError, OutboxState};
use estafette::{Failure, FailureKind, Node, RemoteError, RemoteErrorKind, TransferId};
use futures_util::stream::{Stream, unfold};

/// A state of content: a later one has a greater number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Stored = 1,
    Relayed = 2,
    Delivered = 3,
    Processed = 4,
    /// It is no end for ever: whoever sent it may try it again, and a relay may prove that it
    /// arrived.
    Dead = 5,
}

impl Step {
    pub(crate) const fn of(state: &OutboxState) -> Self {
        match state {
            OutboxState::Relayed { .. } => Self::Relayed,
            OutboxState::Delivered { .. } => Self::Delivered,
            OutboxState::Processed { .. } => Self::Processed,
            OutboxState::Dead { .. } => Self::Dead,
            _ => Self::Stored,
        }
    }

    #[cfg(feature = "http")]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Relayed => "relayed",
            Self::Delivered => "delivered",
            Self::Processed => "processed",
            Self::Dead => "dead",
        }
    }
}

/// Returns `true` if whoever has heard the state of this number has heard the last one.
#[cfg(feature = "http")]
pub(crate) fn is_over(entry: &OutboxEntry, heard: u64) -> bool {
    let is_dead = matches!(entry.state, OutboxState::Dead { .. });
    let may_go_on = heard == Step::Dead as u64 && !is_dead;
    heard > Step::Delivered as u64 && !may_go_on && Step::of(&entry.state) as u64 <= heard
}

/// Each state that comes behind the one of this number, up to the last one; `delivered` is never
/// left out. What was dead may go on after all: who heard of that hears all but `stored`. Where no
/// last one will be told, the reason is.
pub(crate) fn states(
    node: Node,
    id: TransferId,
    after: u64,
) -> impl Stream<Item = Result<(Step, OutboxEntry), RemoteError>> {
    unfold(Some((node, after)), move |open| async move {
        let (node, after) = open?;
        Some(match behind(&node, id, after).await.transpose()? {
            Ok((step, entry)) => (Ok((step, entry)), Some((node, step as u64))),
            Err(error) => (Err(error), None),
        })
    })
}

/// The next state behind the one of this number; `None` behind the last one.
async fn behind(
    node: &Node,
    id: TransferId,
    after: u64,
) -> Result<Option<(Step, OutboxEntry)>, RemoteError> {
    const DELIVERED: u64 = Step::Delivered as u64;
    let mut entry = entry(node, id).await?;
    let was_dead = after == Step::Dead as u64;
    let is_dead = matches!(entry.state, OutboxState::Dead { .. });
    let after = if was_dead && !is_dead { 1 } else { after };
    let is_heard = |entry: &OutboxEntry| after > 0 && Step::of(&entry.state) as u64 <= after;
    while is_heard(&entry) {
        let ended = match (node.outbox().transfer(id).await, after) {
            (_, above) if above > DELIVERED => return Ok(None),
            (Ok(handle), DELIVERED) => handle.processed().await,
            (Ok(handle), _) => handle.delivered().await,
            // It was taken out this very moment.
            (Err(_), _) => Err(Failure::new(FailureKind::Cancelled, "")),
        };
        entry = self::entry(node, id).await?;
        match ended {
            // What else is wrong is in its state; what is no further then is tried again.
            Err(failure) if is_heard(&entry) => match failure.kind {
                FailureKind::Shutdown => return Err(stopped(&failure.message)),
                FailureKind::Expired => {
                    return Err(RemoteError::new(RemoteErrorKind::Expired, failure.message));
                }
                _ => {}
            },
            _ => {}
        }
    }
    Ok(Some(match (after, Step::of(&entry.state)) {
        (0, Step::Dead) => (Step::Dead, entry),
        (0, _) => (Step::Stored, entry),
        (before, Step::Processed) if before < DELIVERED => (Step::Delivered, entry),
        (_, step) => (step, entry),
    }))
}

/// Content that was sent, as it is, or was when somebody took it out.
pub(crate) async fn entry(node: &Node, id: TransferId) -> Result<OutboxEntry, RemoteError> {
    let unknown = match node.outbox().entry(id).await {
        Ok(entry) => return Ok(entry),
        Err(error @ OutboxError::Unknown(_)) => error,
        Err(OutboxError::None) => {
            return Err(stopped(
                "this node has stopped: what is stored goes on when it is started",
            ));
        }
        Err(error) => return Err(RemoteError::new(RemoteErrorKind::Storage, error.to_string())),
    };
    let withdrawn = node.outbox().withdrawn(id).await.ok().flatten();
    withdrawn.ok_or_else(|| RemoteError::new(RemoteErrorKind::Expired, unknown.to_string()))
}

fn stopped(text: &str) -> RemoteError {
    RemoteError::new(RemoteErrorKind::ShuttingDown, text)
}

/// The reason why content is dead, or why a try of it has failed, for a client.
pub(crate) fn why(entry: &OutboxEntry) -> Option<String> {
    let failure = match &entry.state {
        OutboxState::Dead { failure, .. } => Some(failure),
        _ => entry.last_failure.as_ref(),
    };
    failure.map(|failure| unplaced(&failure.to_string()))
}

/// A text without the folders that are named in it: where content lies at its receiver is as little
/// told to a client as a receipt's place. A path may have blanks in it, so all between the first
/// root and the last slash is left out.
pub(crate) fn unplaced(text: &str) -> String {
    let is_root = |(at, _): &(usize, &str)| {
        !text[..*at].chars().next_back().is_some_and(char::is_alphanumeric)
    };
    match (text.match_indices('/').find(is_root), text.rfind('/')) {
        (Some((root, _)), Some(last)) => format!("{}…{}", &text[..root], &text[last..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_left_out_of_a_text_and_nothing_else() {
        for (text, told) in [
            ("refused: /srv/a b/in/f exists already", "refused: …/f exists already"),
            ("can't write \"/srv/a/f\": no room", "can't write \"…/f\": no room"),
            ("/srv/a/f is not at /home/b c/g", "…/g"),
            ("../a/f and ~/g", "..…/g"),
            ("lyon may not write to paris/files", "lyon may not write to paris/files"),
            ("Input/output error (os error 5)", "Input/output error (os error 5)"),
            ("", ""),
        ] {
            assert_eq!(unplaced(text), told);
        }
    }
}
