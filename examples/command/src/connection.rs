//! Links that are kept up: with relays, most often.

use std::time::Duration;

use estafette::node::{NodeEvent, Trust};
use estafette::{Node, PeerId};

use crate::error::CommandError;
use crate::output::Output;
use crate::{destination, units};

/// The interval at which a link is asked for: whoever was taken out of the trust and is back in it
/// is dialled again, and at a new address.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Finds the peers of these names that the node `own` can dial; or the faults of all of them.
pub(crate) fn find(
    trust: &Trust,
    own: Option<PeerId>,
    names: &[String],
) -> Result<Vec<PeerId>, Vec<CommandError>> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for name in names {
        match find_one(trust, own, name) {
            Ok(peer) => found.push(peer),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

fn find_one(trust: &Trust, own: Option<PeerId>, name: &str) -> Result<PeerId, CommandError> {
    let peer = destination::trusted(trust, name)?;
    if own == Some(peer) {
        let hint = "name another node; if another machine was meant, it has a copy of this node's \
                    key, and needs one of its own";
        return Err(CommandError::usage(format!("{name:?} is this node itself"), hint));
    }
    if trust.peer(&peer).is_none_or(|peer| peer.addresses.is_empty()) {
        let hint = format!("say where: estafette trust add {peer} --name NAME --addr HOST:PORT");
        return Err(CommandError::usage(
            format!("it is not known where {name:?} can be dialled, or it is trusted no longer"),
            hint,
        ));
    }
    Ok(peer)
}

/// Keeps links up as long as the node runs.
pub(crate) fn keep(node: &Node, peers: Vec<PeerId>, output: &Output) {
    if peers.is_empty() {
        return;
    }
    let (mut events, node, output) = (node.events(), node.clone(), output.clone());
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(ASK_AGAIN);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(NodeEvent::LinkUp { peer, name }) if peers.contains(&peer) => {
                        output.remark(&format!("linked with {}", units::printable(&name)));
                    }
                    Some(NodeEvent::LinkDown { peer, reason }) if peers.contains(&peer) => {
                        output.remark(&format!("the link is gone ({}); dialling again", units::printable(&reason)));
                    }
                    Some(_) => {}
                    None => return,
                },
                _ = tick.tick() => peers.iter().for_each(|peer| node.stay_connected(*peer)),
            }
        }
    });
}
