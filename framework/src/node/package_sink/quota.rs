//! The room that one sender may have here for packages.

use crate::node::config::RelayQuota;
use crate::node::shared::NodeShared;
use crate::node::trust::Barred;
use crate::pipeline::Refusal;
use crate::wire::PeerId;

/// Returns the room of one sender for packages for `addressee`; a refusal where they have no
/// business here.
pub(super) fn quota_for(shared: &NodeShared, addressee: PeerId) -> Result<RelayQuota, Refusal> {
    if addressee == shared.peer() {
        return Ok(shared.config.packages_in);
    }
    let none =
        || Refusal::new(format!("this node is no relay, and the package is for {addressee}"));
    let quota = shared.config.relay.ok_or_else(none)?;
    if shared.ways.next(addressee).is_some() {
        // The last relay on the way has to know it.
        return Ok(quota);
    }
    let unknown = || {
        format!(
            "the relay does not know the receiver {addressee}, so could not deliver to it: trust \
             it there first"
        )
    };
    shared.trust.admission(&addressee, None).map(|()| quota).map_err(|barred| match barred {
        Barred::Untrusted => shared.ways.refusal(unknown()),
        Barred::ForNow => {
            Refusal::for_now("the relay can't read now whom it trusts; try again later")
        }
    })
}

/// The same, as long as it is not known whom they are for.
pub(super) fn quota_unknown(shared: &NodeShared) -> RelayQuota {
    let (own, relay) =
        (shared.config.packages_in, shared.config.relay.unwrap_or(shared.config.packages_in));
    RelayQuota { packages: own.packages.min(relay.packages), bytes: own.bytes.min(relay.bytes) }
}
