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
        Action::Add { id, name, addr, valid, no_end, relay_only, all_inboxes } => {
            let end = match valid {
                Some(valid) => Some(Some(now().saturating_add(valid.as_secs()))),
                None => no_end.then_some(None),
            };
            let inboxes = match (relay_only, all_inboxes) {
                (true, _) => Some(Vec::new()),
                (false, true) => Some(vec!["*".into()]),
                (false, false) => None,
            };
            let name = name.as_deref();
            add(&trust, *id, &Said { name, addresses: addr, end, inboxes }, output)?;
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

/// The changes of a peer that were said; all else stays as it is.
struct Said<'a> {
    name: Option<&'a str>,
    addresses: &'a [String],
    /// The end of the trust, or that there is none.
    end: Option<Option<u64>>,
    inboxes: Option<Vec<String>>,
}

impl Said<'_> {
    fn of(&self, known: Option<TrustedPeer>) -> TrustedPeer {
        let mut peer = known.unwrap_or_else(|| TrustedPeer::new(""));
        if let Some(name) = self.name {
            name.clone_into(&mut peer.name);
        }
        if !self.addresses.is_empty() {
            peer.addresses = self.addresses.to_vec();
        }
        if let Some(end) = self.end {
            peer.expires = end;
        }
        if let Some(inboxes) = &self.inboxes {
            peer.inboxes.clone_from(inboxes);
        }
        peer
    }
}

/// Trusts a peer as was said. Nothing widens what a known one may do without a word for it.
fn add(trust: &Trust, id: PeerId, said: &Said<'_>, output: &Output) -> Result<(), CommandError> {
    let known = trust.list().into_iter().find(|(peer, _)| *peer == id).map(|(_, peer)| peer);
    if known.is_none() && said.name.is_none() {
        let message = format!("{} is not known yet, and needs a name", id.short());
        return Err(CommandError::usage(message, "say one with --name"));
    }
    if let (Some(TrustedPeer { name, expires: Some(end), .. }), None) = (known, said.end)
        && end <= now()
    {
        let name = units::printable(&name);
        let message = format!("the trust in {name} ({}) has ended", id.short());
        return Err(CommandError::usage(message, "say --valid TIME, or --no-end"));
    }
    let TrustedPeer { name, addresses, inboxes, expires } =
        trust.alter(id, |known| said.of(known))?;
    output.event(&Event::Trusted {
        peer: id.to_string(),
        name: &name,
        addrs: &addresses,
        inboxes: &inboxes,
        expires,
    });
    let may = match &*inboxes {
        [] => "it may only relay".to_owned(),
        inboxes if inboxes.iter().any(|inbox| inbox == "*") => "for all inboxes".into(),
        inboxes => format!("for {}", inboxes.join(", ")),
    };
    let until = match expires {
        None => "until it is removed".to_owned(),
        Some(end) => format!("for {}", units::seconds(end.saturating_sub(now()) as f64)),
    };
    let at = match &*addresses {
        [] => "no address".to_owned(),
        addresses => format!("at {}", addresses.join(", ")),
    };
    output.result(&format!(
        "{} ({}) is trusted: {}, {until}, {}",
        units::printable(&name),
        id.short(),
        units::printable(&may),
        units::printable(&at)
    ));
    Ok(())
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
