//! The one model of errors that all doors have: what an error of a message is in HTTP and in gRPC,
//! whether the message was handled, and whether it may simply be sent again.
//!
//! Invariant: only what was surely not handled becomes a status that stock clients retry by
//! themselves, so that no retry has an effect twice.

use std::time::Duration;

use estafette::RemoteErrorKind;
use estafette::remote::Handled;

/// The header, and the trailer, that says whether a message was handled: `no`, `yes` or `unknown`.
pub const HANDLED: &str = "estafette-handled";

/// The wait that is told to a client before it tries again.
const SOON: Duration = Duration::from_secs(1);

/// An error of a message, in the words of other protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The status code of HTTP.
    pub http: u16,
    /// The number of the status code of gRPC.
    pub grpc: u8,
    /// Tells whether the message was handled.
    pub handled: Handled,
    /// The wait after which it may be sent again, with no effect twice. `None`: nobody should by
    /// itself.
    pub retry: Option<Duration>,
}

impl Status {
    /// The status of an error of this kind.
    pub const fn of(kind: RemoteErrorKind) -> Self {
        use RemoteErrorKind as K;
        let (http, grpc) = match kind {
            K::UnknownPeer | K::NoSuchName => (404, NOT_FOUND),
            K::NoSuchMessage => (404, UNIMPLEMENTED),
            K::Unsupported => (501, UNIMPLEMENTED),
            K::VersionMismatch => (409, FAILED_PRECONDITION),
            K::Forbidden => (403, PERMISSION_DENIED),
            K::Undecodable => (400, INVALID_ARGUMENT),
            K::Unencodable => (413, INVALID_ARGUMENT),
            K::Full => (429, RESOURCE_EXHAUSTED),
            K::Unreachable | K::Restarting => (503, UNAVAILABLE),
            K::Storage => (507, UNAVAILABLE),
            K::LinkLost | K::ShuttingDown => (502, UNKNOWN),
            K::Died => (500, ABORTED),
            K::Deadline => (504, DEADLINE_EXCEEDED),
            K::Expired => (410, DEADLINE_EXCEEDED),
            K::BadReply => (502, INTERNAL),
            K::Cancelled => (499, CANCELLED),
            K::Conflict => (422, ALREADY_EXISTS),
            // One of a later version, too.
            _ => (422, UNKNOWN),
        };
        let retry = match kind {
            K::Unreachable | K::Restarting => Some(SOON),
            _ => None,
        };
        Self { http, grpc, handled: kind.handled(), retry }
    }

    /// The status of HTTP of a delivery that is dead: none that stock clients repeat by themselves,
    /// since each without a key would be another delivery.
    #[cfg(feature = "http")]
    pub(crate) const fn dead(kind: RemoteErrorKind) -> u16 {
        match Self::of(kind).http {
            status @ (400 | 403 | 404 | 409 | 410) => status,
            _ => DEAD,
        }
    }

    /// The status of an error of a message that was to be stored: what is too much or too large was
    /// not stored, and so not handled.
    pub(crate) const fn of_storing(kind: RemoteErrorKind) -> Self {
        let status = Self::of(kind);
        match kind {
            RemoteErrorKind::Full | RemoteErrorKind::Unencodable => {
                Self { handled: Handled::No, ..status }
            }
            _ => status,
        }
    }
}

/// The status of HTTP of what is dead for another reason than one that has a status of its own.
#[cfg(feature = "http")]
pub(crate) const DEAD: u16 = 422;

/// The name of a kind in addresses and logs: `no-such-name`.
pub(crate) const fn name(kind: RemoteErrorKind) -> &'static str {
    use RemoteErrorKind as K;
    match kind {
        K::UnknownPeer => "unknown-peer",
        K::Unreachable => "unreachable",
        K::LinkLost => "link-lost",
        K::Unsupported => "unsupported",
        K::NoSuchName => "no-such-name",
        K::NoSuchMessage => "no-such-message",
        K::VersionMismatch => "version-mismatch",
        K::Forbidden => "forbidden",
        K::Full => "full",
        K::Died => "died",
        K::Restarting => "restarting",
        K::Undecodable => "undecodable",
        K::BadReply => "bad-reply",
        K::Unencodable => "unencodable",
        K::Deadline => "deadline",
        K::Cancelled => "cancelled",
        K::ShuttingDown => "shutting-down",
        K::Storage => "storage",
        K::Expired => "expired",
        K::Conflict => "conflict",
        _ => "other",
    }
}

const CANCELLED: u8 = 1;
const UNKNOWN: u8 = 2;
const INVALID_ARGUMENT: u8 = 3;
const DEADLINE_EXCEEDED: u8 = 4;
const NOT_FOUND: u8 = 5;
const ALREADY_EXISTS: u8 = 6;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const FAILED_PRECONDITION: u8 = 9;
const ABORTED: u8 = 10;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// All kinds, as the documentation of messages lists them.
    const KINDS: [RemoteErrorKind; 21] = {
        use RemoteErrorKind as K;
        [
            K::UnknownPeer,
            K::Unreachable,
            K::LinkLost,
            K::Unsupported,
            K::NoSuchName,
            K::NoSuchMessage,
            K::VersionMismatch,
            K::Forbidden,
            K::Full,
            K::Died,
            K::Restarting,
            K::Undecodable,
            K::BadReply,
            K::Unencodable,
            K::Deadline,
            K::Cancelled,
            K::ShuttingDown,
            K::Storage,
            K::Expired,
            K::Conflict,
            K::Other,
        ]
    };

    #[test]
    fn only_what_was_surely_not_handled_is_retried() {
        for kind in KINDS {
            let status = Status::of(kind);
            let is_retried = [408, 425, 503].contains(&status.http) || status.grpc == UNAVAILABLE;
            assert!(!is_retried || status.handled == Handled::No, "{kind:?}");
            assert!(status.retry.is_none() || status.handled == Handled::No, "{kind:?}");
            assert!(status.retry.is_none() || is_retried, "{kind:?}");
        }
    }

    #[cfg(feature = "http")]
    #[test]
    fn no_delivery_that_is_dead_is_sent_again_by_a_client_that_was_told_so() {
        for kind in KINDS {
            let status = Status::dead(kind);
            // curl repeats 408, 429 and some of 5xx, others 413 and 425 as well.
            assert!((400..500).contains(&status), "{kind:?}");
            assert!(![408, 413, 425, 429].contains(&status), "{kind:?}");
        }
    }

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let names: HashSet<_> = KINDS.into_iter().map(name).collect();
        assert_eq!(names.len(), KINDS.len());
    }
}
