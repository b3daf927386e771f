//! Failures of routes.

use std::io;

use estafette::node::SendError;

/// A failure of a route: told, and tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("{0}")]
    Source(String),
    /// A version is not sent, as it would empty what is there.
    #[error("{0}")]
    Held(String),
    /// A source is written to without end.
    #[error("{0}")]
    Waits(String),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("what was sent can't be noted: {0}")]
    Memory(#[from] io::Error),
}

impl RouteError {
    /// Returns `true` if all there is to it is that an earlier delivery is still being stored.
    pub(super) fn is_storing(&self) -> bool {
        matches!(self, Self::Memory(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The one to be told of two: the end of the node, then what is wrong, and then the first.
    fn worse(self, other: Self) -> Self {
        let rank = |error: &Self| match error {
            Self::Send(SendError::Stopped) => 0,
            error if error.is_storing() => 2,
            _ => 1,
        };
        if rank(&other) < rank(&self) { other } else { self }
    }
}

/// The outcome of sending to all targets what they were not sent yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Set if one of them was sent something.
    pub(super) some: bool,
    /// Set if one of them has another version under way, behind which it is sent this one.
    pub(super) waits: bool,
}

/// Returns the outcome of two targets, of which neither keeps the other back.
pub(super) fn both(
    one: Result<Sent, RouteError>,
    other: Result<Sent, RouteError>,
) -> Result<Sent, RouteError> {
    match (one, other) {
        (Err(one), Err(other)) => Err(one.worse(other)),
        (Ok(one), Ok(other)) => {
            Ok(Sent { some: one.some || other.some, waits: one.waits || other.waits })
        }
        (one, other) => one.and(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn what_is_wrong_with_one_target_is_told_though_another_one_is_being_stored() {
        let storing = || Err(RouteError::Memory(io::ErrorKind::WouldBlock.into()));
        let wrong = || Err(RouteError::Source("it is missing".into()));
        let stopped = || Err(RouteError::Send(SendError::Stopped));
        let text = |outcome: Result<Sent, RouteError>| outcome.unwrap_err().to_string();
        assert_eq!(text(both(storing(), wrong())), "it is missing");
        assert_eq!(text(both(wrong(), storing())), "it is missing");
        assert_eq!(text(both(wrong(), stopped())), text(stopped()));
        assert!(both(storing(), Ok(Sent::default())).unwrap_err().is_storing());
        assert!(both(Ok(Sent::default()), storing()).unwrap_err().is_storing());
        assert!(both(Ok(Sent::default()), Ok(Sent::default())).is_ok());
    }
}
