//! Causes of there being no link.

use std::time::Duration;

use crate::wire::RefuseReason;

/// Why there is no link.
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
