//! The failures that pass: those that another try may mend, and those that no try will.
//!
//! One table for everybody: sinks and inboxes say by it what they tell a sender, sessions what they
//! tell a peer, and the outbox decides by it whether a delivery is tried again or becomes a dead
//! letter. What is not listed as being for good passes: a delivery that is tried once too often
//! costs a little, one that is given up wrongly is lost.

use std::fmt::Display;
use std::io::{self, ErrorKind};

use super::sink::{Refusal, SinkError};
use super::source::SourceError;
use crate::delivery::Failure;
use crate::wire::FailureKind;

/// Returns whether a delivery that failed in this way may succeed later, although nobody changes
/// the delivery itself.
///
/// What was said to have expired passes, too: by whose clock it has is for its sender to say, by
/// its own.
pub const fn passes(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Unreachable
        | FailureKind::Shutdown
        | FailureKind::Busy
        | FailureKind::Io
        | FailureKind::Integrity
        | FailureKind::Stage
        | FailureKind::Expired => true,
        FailureKind::Refused
        | FailureKind::Untrusted
        | FailureKind::Cancelled
        | FailureKind::Protocol
        | FailureKind::Changed
        | FailureKind::Unknown => false,
    }
}

/// Returns whether an error of the operating system depends on this machine and this moment: a full
/// disk, no descriptors, a folder that can't be written or does not exist yet. Other errors come
/// from the content that was to be written, which stays as it is.
pub(crate) fn io_passes(error: &io::Error) -> bool {
    if error.raw_os_error().is_some_and(|code| FOR_GOOD.contains(&code)) {
        return false;
    }
    !matches!(
        error.kind(),
        ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::FileTooLarge
            | ErrorKind::Unsupported
            | ErrorKind::AlreadyExists
            | ErrorKind::IsADirectory
            | ErrorKind::DirectoryNotEmpty
            | ErrorKind::TooManyLinks
            | ErrorKind::ArgumentListTooLong
    )
}

/// Errors without a kind of their own: a name that the file system can't write, and a number that
/// it can't count to.
const FOR_GOOD: [i32; 2] =
    [rustix::io::Errno::ILSEQ.raw_os_error(), rustix::io::Errno::OVERFLOW.raw_os_error()];

impl Refusal {
    /// A refusal because of an error of the operating system, for as long as that lasts: `what`
    /// could not be done.
    pub fn because(what: impl Display, error: &io::Error) -> Self {
        Self { reason: format!("{what}: {error}"), passing: io_passes(error) }
    }

    /// A refusal since there is no such inbox; for now, if it `had_begun` with the delivery: its
    /// host may not have said it yet since the last start.
    pub(crate) fn no_inbox(inbox: &str, had_begun: bool) -> Self {
        let when = if had_begun { " yet, which had begun with it; try again later" } else { "" };
        Self { reason: format!("the receiver has no inbox {inbox:?}{when}"), passing: had_begun }
    }
}

impl SinkError {
    /// The kind of failure it is for the sender.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Refused(refusal) => refusal.kind(),
            Self::Write { error, .. } if !io_passes(error) => FailureKind::Refused,
            Self::Write { .. } | Self::Gone(_) => FailureKind::Io,
        }
    }

    /// The same as a refusal before the first byte.
    pub fn into_refusal(self) -> Refusal {
        let passing = passes(self.kind());
        match self {
            Self::Refused(refusal) => refusal,
            error => Refusal { reason: error.to_string(), passing },
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind(), refusal.reason)
    }
}

impl From<SourceError> for Failure {
    /// Tells passing errors from final ones: what rotted, or is gone, will not be again what it
    /// was; what can't be read now, or not with this key, may be later.
    fn from(error: SourceError) -> Self {
        let passing = match &error {
            SourceError::Read { error, .. } => {
                error.kind() != ErrorKind::NotFound && io_passes(error)
            }
            SourceError::OtherKey { .. } => true,
            _ => false,
        };
        Self::new(if passing { FailureKind::Io } else { FailureKind::Changed }, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_the_machine_can_get_over_passes_and_what_lies_in_the_delivery_does_not() {
        let machine = [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::IO,
            Errno::ACCESS,
            Errno::PERM,
            Errno::ROFS,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::AGAIN,
            Errno::INTR,
            Errno::BUSY,
            Errno::TXTBSY,
            Errno::STALE,
            Errno::NOENT,
            Errno::NOTDIR,
            Errno::NODEV,
            Errno::NXIO,
            Errno::HOSTDOWN,
            Errno::TIMEDOUT,
            Errno::NOLCK,
            Errno::NOTCONN,
            Errno::LOOP,
        ];
        for errno in machine {
            let error = io::Error::from(errno);
            assert!(io_passes(&error), "{error}");
            assert!(Refusal::because("the folder can't be opened", &error).passing);
            assert_eq!(SinkError::Write { what: "a".into(), error }.kind(), FailureKind::Io);
        }
        for errno in [
            Errno::NAMETOOLONG,
            Errno::INVAL,
            Errno::FBIG,
            Errno::NOSYS,
            Errno::OPNOTSUPP,
            Errno::EXIST,
            Errno::ISDIR,
            Errno::NOTEMPTY,
            Errno::MLINK,
            Errno::ILSEQ,
            Errno::OVERFLOW,
        ] {
            let error = io::Error::from(errno);
            assert!(!io_passes(&error), "{error}");
            assert!(!Refusal::because("the file can't be made", &error).passing);
            assert_eq!(SinkError::Write { what: "a".into(), error }.kind(), FailureKind::Refused);
        }
        // A damaged spool is put right by somebody, or replaced; of what has no name, nothing is
        // known.
        for kind in [ErrorKind::InvalidData, ErrorKind::Other, ErrorKind::UnexpectedEof] {
            assert!(io_passes(&kind.into()), "{kind}");
        }
    }

    #[test]
    fn what_a_sender_can_t_read_now_passes_and_what_is_not_there_any_more_does_not() {
        let read = |errno: Errno| {
            Failure::from(SourceError::Read { what: "a".into(), error: errno.into() }).kind
        };
        for errno in
            [Errno::MFILE, Errno::NFILE, Errno::IO, Errno::ACCESS, Errno::NOMEM, Errno::STALE]
        {
            assert_eq!(read(errno), FailureKind::Io, "{errno}");
        }
        assert_eq!([read(Errno::NOENT), read(Errno::NAMETOOLONG)], [FailureKind::Changed; 2]);
        let damaged = SourceError::Damaged { what: "a".into(), offset: 0, how: "rot".into() };
        assert_eq!(Failure::from(damaged).kind, FailureKind::Changed);
        let us = crate::wire::PeerId::from_bytes([1; 32]);
        let locked = SourceError::OtherKey { what: "a".into(), us };
        assert_eq!(Failure::from(locked).kind, FailureKind::Io, "it opens with its key");
    }

    #[test]
    fn every_kind_of_failure_is_for_good_or_for_now() {
        use FailureKind::*;
        for (kind, passing) in [
            (Refused, false),
            (Untrusted, false),
            (Integrity, true),
            (Io, true),
            (Cancelled, false),
            (Stage, true),
            (Protocol, false),
            (Expired, true),
            (Changed, false),
            (Shutdown, true),
            (Unreachable, true),
            (Busy, true),
        ] {
            assert_eq!(passes(kind), passing, "{kind:?}");
        }
        assert_eq!(
            [Refusal::new("").kind(), Refusal::for_now("").kind()].map(passes),
            [false, true]
        );
        assert!(SinkError::Gone("".into()).into_refusal().passing);
        assert!(!SinkError::Refused(Refusal::new("")).into_refusal().passing);
    }
}
