//! A call of `estafette.v1`: its method, and who calls, before its first request says whom.

use std::sync::Arc;

use estafette::remote::TraceContext;

use super::body::Meter;
use super::deadline::Deadline;
use super::method::Way;
use crate::shared::Shared;
use crate::{Access, Pass};

/// The beginning of the paths of its methods.
pub(super) const SERVICE: &str = "/estafette.v1.NodeService/";

/// The work of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Call(Way),
    Tell,
    Deliver,
    Watch,
    Send,
    Follow,
    Outbox,
    Arrivals,
    Receive,
    Processed,
}

impl Does {
    /// The method of a path, if it is one.
    pub(super) fn of(path: &str) -> Option<Self> {
        Some(match path.strip_prefix(SERVICE)? {
            "Ask" => Self::Call(Way::Ask),
            "Tell" => Self::Tell,
            "Deliver" => Self::Deliver,
            "Download" => Self::Call(Way::Download),
            "Upload" => Self::Call(Way::Upload),
            "Open" => Self::Call(Way::Open),
            "Watch" => Self::Watch,
            "Send" => Self::Send,
            "Follow" => Self::Follow,
            "Outbox" => Self::Outbox,
            "Arrivals" => Self::Arrivals,
            "Receive" => Self::Receive,
            "Processed" => Self::Processed,
            _ => return None,
        })
    }

    /// Returns `true` if an actor may have handled requests before the last one has come.
    pub(super) fn is_handled_in_parts(self) -> bool {
        matches!(self, Self::Call(Way::Upload | Way::Open))
    }
}

/// A call whose target comes with its first request.
pub(super) struct Naming {
    pub(super) access: Access,
    pub(super) shared: Arc<Shared>,
    pub(super) pass: Pass,
    pub(super) does: Does,
    pub(super) deadline: Option<Deadline>,
    pub(super) trace: Option<TraceContext>,
    pub(super) meter: Arc<Meter>,
}
