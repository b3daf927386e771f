//! Causes of there being no link.

use std::time::Duration;

use crate::delivery::FailureKind;
use crate::remote::RemoteErrorKind;
use crate::wire::RefuseReason;

/// The reason that there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkFailure {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection ended where an answer belongs: another program, another key, or an accident.
    #[error("{0}")]
    Unanswered(String),
    #[error("{0}")]
    Protocol(String),
    #[error("{0}")]
    Refused(RefuseReason),
}

/// The kind of error of messages to a peer that refuses the link so.
pub(crate) fn refusal_of_messages(reason: &RefuseReason) -> RemoteErrorKind {
    match refusal_kind(reason) {
        FailureKind::Untrusted | FailureKind::Expired => RemoteErrorKind::Forbidden,
        _ => RemoteErrorKind::Unreachable,
    }
}

/// The kind of failure of deliveries to a peer that refuses the link so.
pub(crate) fn refusal_kind(reason: &RefuseReason) -> FailureKind {
    match reason {
        // The last one is said where the peer's own store of trust fails: nothing was decided.
        RefuseReason::Busy | RefuseReason::Other(_) => FailureKind::Busy,
        // By the peer's clock.
        RefuseReason::TicketExpired => FailureKind::Expired,
        RefuseReason::ShuttingDown => FailureKind::Shutdown,
        _ => FailureKind::Untrusted,
    }
}
