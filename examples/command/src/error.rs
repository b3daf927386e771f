//! The errors of a command: a kind that programs act on, what happened, and what to do.

use std::fmt;

use estafette::delivery::{Failure, FailureKind, TransferId};
use estafette::node::{
    KeyFileError, OutboxError, RegistryError, SendError, StartError, TrustError,
};
use estafette::pipeline::{Refusal, SourceError};
use estafette::wire::RefuseReason;
use estafette::{PeerId, RemoteError, RemoteErrorKind};
use serde::{Deserialize, Serialize};

/// The kind of an error: each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ErrorKind {
    Usage,
    Refused,
    Untrusted,
    Unreachable,
    Integrity,
    Io,
    Cancelled,
}

impl ErrorKind {
    /// The kind that an event names.
    pub(crate) fn named(name: &str) -> Self {
        let kinds = [
            Self::Usage,
            Self::Refused,
            Self::Untrusted,
            Self::Unreachable,
            Self::Integrity,
            Self::Cancelled,
        ];
        let is_named = |kind: &Self| serde_json::to_value(kind).is_ok_and(|value| value == name);
        kinds.into_iter().find(is_named).unwrap_or(Self::Io)
    }

    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Refused | Self::Untrusted => 3,
            Self::Unreachable => 4,
            Self::Integrity => 5,
            Self::Io => 6,
            Self::Cancelled => 130,
        }
    }
}

/// An error for a person.
#[derive(Clone, Debug)]
pub(crate) struct CommandError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) hint: String,
    /// The delivery that it is about, and its other end.
    pub(crate) about: Option<Box<(TransferId, PeerId)>>,
    /// The kind of error of the message that it is about.
    pub(crate) remote: Option<RemoteErrorKind>,
}

impl CommandError {
    /// The same, of this delivery.
    pub(crate) fn about(self, transfer: TransferId, peer: PeerId) -> Self {
        Self { about: Some(Box::new((transfer, peer))), ..self }
    }

    pub(crate) fn new(
        kind: ErrorKind,
        message: impl fmt::Display,
        hint: impl Into<String>,
    ) -> Self {
        Self { kind, message: message.to_string(), hint: hint.into(), about: None, remote: None }
    }

    pub(crate) fn usage(message: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message, hint)
    }

    pub(crate) fn io(message: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self::new(ErrorKind::Io, message, hint)
    }

    /// The same, with what is to be done where this machine, or this process, lacks something.
    pub(crate) fn of_machine(&self) -> Self {
        let lacks = |errno: &str| self.kind == ErrorKind::Io && self.message.contains(errno);
        let hint = if lacks("(os error 24)") {
            "let it have more files open: `ulimit -n 1024` before it is started, or \
             `LimitNOFILE=1024` in its unit"
        } else if lacks("(os error 23)") {
            "end what has many files open on this machine, or raise `fs.file-max` there"
        } else {
            return self.clone();
        };
        Self { hint: hint.into(), ..self.clone() }
    }

    pub(crate) fn cancelled(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Cancelled, message, "send again when you want it delivered")
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        use ErrorKind::*;
        let (kind, hint) = match failure.kind {
            FailureKind::Refused => (
                Refused,
                "the receiver decides this: change what is in its way there, or what you send",
            ),
            FailureKind::Busy => (Refused, "send again later, when there is room at the receiver"),
            FailureKind::Expired
                if failure.message.contains(&RefuseReason::TicketExpired.to_string()) =>
            {
                (
                    Refused,
                    "if it should be good still, check that the clocks of both machines agree",
                )
            }
            FailureKind::Expired => {
                (Refused, "send again; check that the clocks of both machines agree")
            }
            FailureKind::Untrusted => (
                Untrusted,
                "ask whoever runs the receiver for a new ticket, or for `estafette trust add` \
                 with `estafette id`",
            ),
            FailureKind::Unreachable => (
                Unreachable,
                "check that the receiver runs and that its address can be reached from here; \
                 --addr dials another one",
            ),
            FailureKind::Shutdown => (
                Unreachable,
                "one of the two nodes was stopped, as is named: start it again, or wait until it \
                 has ended, and send again",
            ),
            FailureKind::Integrity => (
                Integrity,
                "nothing was kept at the receiver: send again, and have memory and network looked \
                 at if it happens twice",
            ),
            FailureKind::Protocol => {
                (Integrity, "check that both ends run the same release of estafette")
            }
            FailureKind::Changed => (
                Io,
                "look whether it is there, and whether something writes to it; then send it again",
            ),
            FailureKind::Io => (Io, "put right what is named, then send again"),
            FailureKind::Stage => (
                Io,
                "the programs at both ends must have the stages of --stage; else this is a fault \
                 in one of them: its log (-v) says more",
            ),
            FailureKind::Cancelled => (Cancelled, "send again when you want it delivered"),
            FailureKind::Unknown => (
                Refused,
                "look at the receiver whether it is there, and send it again if it is not",
            ),
            _ => (Io, "put right what is named, then send again"),
        };
        Self::new(kind, failure, hint)
    }
}

impl CommandError {
    /// A delivery from somebody else that failed: whoever reads this receives.
    pub(crate) fn of_arrival(peer: &str, failure: &Failure) -> Self {
        let Self { kind, message, hint, .. } = Self::from(failure.clone());
        let hint = match failure.kind {
            FailureKind::Refused => {
                "the sender was told; --into, --on-conflict and --max-bytes decide what is taken, \
                 --relay and whom this node trusts what is passed on to others"
            }
            FailureKind::Busy => "the sender was told, and can send again when there is room",
            FailureKind::Expired => {
                "it was sent too late, or the clocks of both machines do not agree"
            }
            FailureKind::Untrusted => {
                "give its owner a ticket, or add it with `estafette trust add`"
            }
            FailureKind::Unreachable | FailureKind::Shutdown => {
                "it goes on when the sender comes back and sends it again"
            }
            FailureKind::Cancelled => "nothing of it was kept",
            FailureKind::Integrity => {
                "nothing was kept: have memory and network looked at if it happens twice"
            }
            FailureKind::Changed => "the sender was told, and sends it again if it can",
            FailureKind::Io => "put right what is named; the sender can send it again then",
            _ => &hint,
        };
        Self::new(kind, format!("a delivery from {peer} has failed: {message}"), hint)
    }
}

impl From<RemoteError> for CommandError {
    fn from(error: RemoteError) -> Self {
        use RemoteErrorKind::*;
        let twice = "whether it was handled is not known: ask again only what may be done twice";
        let (kind, hint) = match error.kind {
            UnknownPeer => (ErrorKind::Usage, "`estafette trust list` prints the peers"),
            Unreachable => (
                ErrorKind::Unreachable,
                "check that the other node runs and can be reached from here, and that it trusts \
                 this one: `estafette trust add` there, with `estafette id`",
            ),
            LinkLost | ShuttingDown | Deadline => (ErrorKind::Unreachable, twice),
            Forbidden => (
                ErrorKind::Untrusted,
                "it was not handled; whoever runs the other node says who may send there: \
                 `estafette trust add` there, with `estafette id`",
            ),
            Full | Restarting => (ErrorKind::Refused, "try it again later"),
            Undecodable => (ErrorKind::Refused, "it was not handled: put right what is named"),
            Unencodable => (ErrorKind::Refused, twice),
            BadReply => (ErrorKind::Integrity, "it was handled: what it answered is no JSON"),
            Storage => (ErrorKind::Io, "put right what is named"),
            Died | Cancelled => (ErrorKind::Refused, twice),
            Other => (ErrorKind::Refused, "it was handled, and that is what the actor says"),
            _ => (
                ErrorKind::Refused,
                "it was not handled; `estafette describe PEER` lists what is there",
            ),
        };
        Self { remote: Some(error.kind), ..Self::new(kind, &error, hint) }
    }
}

impl From<SourceError> for CommandError {
    fn from(error: SourceError) -> Self {
        let hint = match &error {
            SourceError::Read { .. } => "check the path, and that you may read it",
            SourceError::OtherKey { .. } => "give --key and --spool of one node",
            SourceError::Changed { .. } | SourceError::Doubtful { .. } => {
                "send again when nothing writes to it any more"
            }
            SourceError::Unsuitable { why, .. } if why.starts_with("the name of the content") => {
                "say another name with --as: one file name, of 255 bytes at most"
            }
            SourceError::Unsuitable { why, .. } if !why.starts_with("it is ") => {
                "do as it says, then send it again"
            }
            _ => "name a file or a folder",
        };
        Self::io(error, hint)
    }
}

impl From<StartError> for CommandError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Listen { ref address, ref error }
                if error.kind() == std::io::ErrorKind::InvalidInput =>
            {
                Self::usage(
                    format!("can't listen at {address:?}: {error}"),
                    "an address is host:port, such as 0.0.0.0:7400 or [::1]:0, or unix:/path",
                )
            }
            StartError::Listen { .. } => Self::io(error, "say another address with --listen"),
            StartError::Config(_) => Self::usage(error, "change that setting"),
            StartError::Trust(error) => error.into(),
            StartError::Name(_) => Self::usage(error, "say another one with --name"),
            other => Self::io(other, "the log (-v) says more"),
        }
    }
}

impl From<SendError> for CommandError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::ThisNode(_) => Self::usage(
                error,
                "send from another machine, or on this one as another node, with --key FILE; a \
                 key that was copied to another machine makes both the same node",
            ),
            SendError::Unknown { .. } | SendError::Peer(_) => Self::usage(
                error,
                "give a ticket, or the name of a peer out of `estafette trust list`",
            ),
            SendError::Outbox(error) => error.into(),
            SendError::Options(_) => Self::usage(error, "change that option"),
            SendError::Stages(RegistryError::UnknownStage { .. }) => Self::usage(
                error,
                "say one of these with --stage, or send with the program that has it; where a \
                 node runs with this key, it is that one which sends",
            ),
            SendError::Stages(_) => Self::usage(error, "change --stage or --chunk-size"),
            other => Self::io(other, "the log (-v) says more"),
        }
    }
}

impl From<OutboxError> for CommandError {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::Unknown(_) | OutboxError::Unfit { .. } => {
                Self::usage(error, "`estafette outbox list` tells how they are")
            }
            OutboxError::Store(_) => Self::io(
                error,
                "make room on the spool's disk; `estafette doctor` looks at the spool",
            ),
            _ => Self::io(error, "`estafette outbox list` tells what is in it"),
        }
    }
}

impl From<TrustError> for CommandError {
    fn from(error: TrustError) -> Self {
        if let TrustError::Name(error) = error {
            return Self::usage(
                error,
                "say another one with --name: it is what you call the node, whatever it calls \
                 itself",
            );
        }
        if let TrustError::Itself(_) = error {
            return Self::usage(
                error,
                "give the other node's id: `estafette id` prints it there; if it is the same as \
                 here, its key was copied, and it needs one of its own",
            );
        }
        Self::io(error, "check that the trust folder beside the key can be read and written")
    }
}

impl From<KeyFileError> for CommandError {
    fn from(error: KeyFileError) -> Self {
        Self::io(error, "name another file with --key if this is not the one")
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::io(
            refusal,
            "name a folder you may write to with --into; only the last part of its path is made \
             for you",
        )
    }
}
