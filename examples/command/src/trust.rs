//! `estafette trust`: who may send without a ticket.

use std::process::ExitCode;

use estafette::node::Trust;
use estafette::{PeerId, TrustedPeer};

use crate::arguments::{Global, Trust as Action};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::units::now;
use crate::{destination, settings, units};

pub(crate) fn run(
    global: &Global,
    action: &Action,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let own = settings::existing_identity(global).map(|identity| identity.peer());
    let trust = Trust::load(settings::store(global)?)?;
    let trust = own.into_iter().fold(trust, Trust::owned_by);
    match action {
        Action::List => list(&trust, own, output),
        Action::Add { id, name, addr, valid, relay_only } => {
            let expires = valid.map(|valid| now().saturating_add(valid.as_secs()));
            let mut peer =
                TrustedPeer { addresses: addr.clone(), expires, ..TrustedPeer::new(name) };
            if *relay_only {
                peer.inboxes.clear();
            }
            trust.add(*id, peer)?;
            output.event(&Event::Trusted { peer: id.to_string(), name });
            output.result(&format!("{} ({}) is trusted", units::printable(name), id.short()));
        }
        Action::Remove { peer } => {
            let id = destination::trusted(&trust, peer)?;
            let label = trust.label(&id);
            trust.revoke(id)?;
            output.event(&Event::Removed { peer: id.to_string() });
            output.result(&format!("{} is not trusted any more", units::printable(&label)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(trust: &Trust, own: Option<PeerId>, output: &Output) {
    let (peers, now) = (trust.list(), now());
    if peers.is_empty() {
        output.remark(
            "nobody is trusted yet: `estafette receive` prints a ticket, `estafette trust add` \
             names a node",
        );
    }
    for (id, peer) in peers {
        let TrustedPeer { name, addresses, inboxes, expires } = peer;
        output.event(&Event::Peer {
            peer: id.to_string(),
            name: &name,
            addrs: &addresses,
            inboxes: &inboxes,
            expires,
        });
        let until = match expires {
            None => String::new(),
            Some(end) if end <= now => "  expired".into(),
            Some(end) => format!("  for {} more", units::seconds((end - now) as f64)),
        };
        let itself = if own == Some(id) { "  this node itself: take it out" } else { "" };
        let only = if inboxes.is_empty() { "  relay only" } else { "" };
        let line = format!(
            "{id}  {}  {}{only}{until}{itself}",
            units::printable(&name),
            units::printable(&addresses.join(", "))
        );
        output.result(line.trim_end());
    }
}
