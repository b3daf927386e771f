//! News of a transfer, told by this process or by the one that has the spool.

use estafette::delivery::{Failure, Receipt};
use estafette::node::Trust;
use estafette::{PeerId, TransferNews};
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::left_out::LeftOut;
use crate::output::Output;
use crate::units;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum News {
    /// There is no room at the receiver yet.
    Waiting {
        /// Deliveries of this node that take it.
        running: u32,
    },
    Started {
        /// Printable.
        name: String,
        total: Option<u64>,
        #[serde(default)]
        inbox: String,
        #[serde(default)]
        suite: String,
        #[serde(default)]
        codec: Option<String>,
    },
    /// The receiver has it: nothing is sent.
    AlreadyThere {
        /// Printable.
        name: String,
        inbox: String,
    },
    Progress {
        bytes: u64,
        total: Option<u64>,
    },
    Interrupted {
        reason: String,
    },
    Restarted {
        #[serde(default)]
        why: String,
    },
    /// A relay has it: of an incoming one, this node.
    Relayed {
        relay: PeerId,
    },
    /// This node has taken it back.
    Recalled,
    /// There will be another try.
    Deferred(Failure),
    /// Remarks on what is not as it was sent.
    Remarks(Vec<String>),
    /// A list of what was left behind of a tree, before it is delivered.
    LeftOut(LeftOut),
    Delivered(Receipt),
    Failed(Failure),
}

impl News {
    /// The part of it that is shown, if any is.
    pub(crate) fn of(news: TransferNews) -> Option<Self> {
        Some(match news {
            TransferNews::Waiting { running } => Self::Waiting { running },
            TransferNews::Started { content, inbox, suite, codec } => Self::Started {
                name: content.name.to_string(),
                total: content.length,
                inbox,
                suite: suite.to_string(),
                codec,
            },
            TransferNews::AlreadyThere { content, inbox } => {
                Self::AlreadyThere { name: content.name.to_string(), inbox }
            }
            TransferNews::Progress { bytes, total } => Self::Progress { bytes, total },
            TransferNews::Interrupted { reason } => Self::Interrupted { reason },
            TransferNews::Restarted { why, .. } => Self::Restarted { why },
            TransferNews::Relayed { relay } => Self::Relayed { relay },
            TransferNews::Recalled => Self::Recalled,
            TransferNews::Deferred { failure } => Self::Deferred(failure),
            TransferNews::Remarks { lines } => Self::Remarks(lines),
            TransferNews::LeftBehind { report } => Self::LeftOut(report.into()),
            TransferNews::Delivered { receipt } => Self::Delivered(receipt),
            TransferNews::Failed { failure } => Self::Failed(failure),
            _ => return None,
        })
    }
}

impl From<Result<Receipt, Failure>> for News {
    fn from(outcome: Result<Receipt, Failure>) -> Self {
        outcome.map_or_else(Self::Failed, Self::Delivered)
    }
}

/// Says that two programs have one key.
pub(crate) fn tell_shared(
    output: &Output,
    trust: &Trust,
    (own, key, link): (PeerId, PeerId, PeerId),
) {
    output.event(&Event::KeyShared { peer: key.to_string(), own: key == own });
    let whose = if key == own {
        "this node's key".into()
    } else {
        format!("the key of {}", units::printable(&trust.label(&key)))
    };
    let with = if key == own { units::printable(&trust.label(&link)) } else { "this node".into() };
    output.remark(&format!(
        "Two programs run with {whose}, here or on another machine, and take the link with {with} \
         from each other: stop one of them, or give it a key of its own with --key. A key that \
         was copied makes both the same node."
    ));
}
