//! Where a delivery goes: what a person may write, and what it means.

use std::fmt;
use std::io::Read;

use estafette::node::Trust;
use estafette::{Destination, PeerId, Ticket};

use crate::error::CommandError;

/// What was given as a destination.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    Ticket(Ticket),
    /// A trusted peer, and an inbox there.
    Peer {
        peer: String,
        inbox: String,
    },
}

/// As [`read`] reads it.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ticket(ticket) => ticket.fmt(f),
            Self::Peer { peer, inbox } => write!(f, "{peer}/{inbox}"),
        }
    }
}

/// What `-` stands for: the text on stdin.
pub(crate) fn piped(text: &str) -> Result<String, CommandError> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut piped = String::new();
    let read = std::io::stdin().take(64 << 10).read_to_string(&mut piped);
    read.map_err(|error| CommandError::io(format!("the ticket could not be read from stdin: {error}"), "pipe it in"))?;
    Ok(piped)
}

pub(crate) fn read(text: &str) -> Result<Given, CommandError> {
    match (text.parse::<Ticket>(), text.trim().split_once('/')) {
        (Ok(ticket), _) => Ok(Given::Ticket(ticket)),
        (Err(_), Some((peer, inbox))) => Ok(Given::Peer { peer: peer.to_owned(), inbox: inbox.to_owned() }),
        (Err(error), None) => {
            let hint = "the last argument is the line that `estafette receive` printed, or PEER/INBOX with the name of a trusted peer";
            Err(CommandError::usage(error, hint))
        }
    }
}

/// The same, to be dialled elsewhere.
pub(crate) fn redirect(given: Given, addresses: &[String]) -> Result<Given, CommandError> {
    match given {
        given if addresses.is_empty() => Ok(given),
        Given::Ticket(ticket) => {
            let redirected = Ticket::new(ticket.peer(), addresses.to_vec(), ticket.inbox().to_owned(), *ticket.token().expose());
            Ok(Given::Ticket(redirected.map_err(|error| CommandError::usage(error, "give fewer or shorter addresses with --addr"))?))
        }
        Given::Peer { .. } => {
            let hint = "`estafette trust add` says where a trusted peer is dialled";
            Err(CommandError::usage("--addr goes with a ticket, and this is the name of a peer", hint))
        }
    }
}

/// Whom names mean: the receiver, and the relay on the way to it.
pub(crate) fn find(trust: &Trust, given: Given, via: Option<&str>) -> Result<(Destination, Option<PeerId>), CommandError> {
    let relay = via.map(|via| trusted(trust, via)).transpose()?;
    let to = receiver(trust, given, relay.is_some())?;
    let itself = match &to {
        Destination::Ticket(ticket) => relay == Some(ticket.peer()),
        Destination::Peer(peer, _) => relay == Some(*peer),
        _ => false,
    };
    if itself {
        return Err(CommandError::usage("the relay is the receiver itself", "leave --via out"));
    }
    Ok((to, relay))
}

/// What goes by a relay is sealed for a key, and needs neither an address nor trust in it.
fn receiver(trust: &Trust, given: Given, relayed: bool) -> Result<Destination, CommandError> {
    match given {
        Given::Ticket(ticket) => Ok(Destination::Ticket(ticket)),
        Given::Peer { peer, inbox } if !inbox.is_empty() => match peer.parse::<PeerId>() {
            Ok(id) if relayed => Ok(Destination::Peer(id, inbox)),
            _ => Ok(Destination::Peer(trusted(trust, &peer)?, inbox)),
        },
        Given::Peer { peer, .. } => {
            Err(CommandError::usage(format!("{peer}/ names no inbox"), format!("that of `estafette receive` is {peer}/files")))
        }
    }
}

/// By id, or by a name that only one peer has.
pub(crate) fn trusted(trust: &Trust, given: &str) -> Result<PeerId, CommandError> {
    let known = trust.list();
    let named: Vec<PeerId> = known.iter().filter(|(_, peer)| peer.name == given).map(|(id, _)| *id).collect();
    let id = given.parse::<PeerId>().ok().filter(|id| known.iter().any(|(known, _)| known == id));
    match (id, &named[..]) {
        (Some(id), _) | (None, &[id]) => Ok(id),
        (None, []) => Err(CommandError::usage(format!("{given:?} is not trusted"), "give an id or a name out of `estafette trust list`")),
        (None, many) => {
            Err(CommandError::usage(format!("{} peers are called {given:?}", many.len()), "give the id out of `estafette trust list`"))
        }
    }
}
