//! The destination of a delivery: what a person may write, and what it means.

use std::fmt;
use std::io::{BufRead, IsTerminal, Read};

use estafette::node::{NoSuchPeer, Trust};
use estafette::{Destination, PeerId, Ticket};

use crate::error::CommandError;
use crate::output;

/// A destination as it was given.
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

/// The longest text that is read for a ticket.
const PIPED_MOST: u64 = 64 << 10;

/// Returns what `-` stands for, the text on stdin, and `@FILE`, the text in a file: a ticket that
/// is an argument can be seen in process lists.
pub(crate) fn piped(text: &str) -> Result<String, CommandError> {
    let mut piped = String::new();
    if let Some(file) = text.strip_prefix('@') {
        let failed = |error| {
            CommandError::io(
                format!("the ticket could not be read from {file:?}: {error}"),
                "name the file that has it: @FILE",
            )
        };
        std::fs::File::open(file)
            .and_then(|file| file.take(PIPED_MOST).read_to_string(&mut piped))
            .map_err(failed)?;
    } else if text == "-" {
        let stdin = std::io::stdin();
        let read = if stdin.is_terminal() {
            output::prompt("The ticket, then Enter:");
            stdin.lock().take(PIPED_MOST).read_line(&mut piped)
        } else {
            stdin.take(PIPED_MOST).read_to_string(&mut piped)
        };
        read.map_err(|error| {
            CommandError::io(
                format!("the ticket could not be read from stdin: {error}"),
                "pipe it in",
            )
        })?;
    } else {
        return Ok(text.to_owned());
    }
    Ok(piped)
}

pub(crate) fn read(text: &str) -> Result<Given, CommandError> {
    match (text.parse::<Ticket>(), text.trim().split_once('/')) {
        (Ok(ticket), _) => Ok(Given::Ticket(ticket)),
        (Err(_), Some((peer, inbox))) => {
            Ok(Given::Peer { peer: peer.to_owned(), inbox: inbox.to_owned() })
        }
        (Err(error), None) => {
            let hint = "the last argument is the line that `estafette receive` printed, or \
                        PEER/INBOX with the name of a trusted peer";
            Err(CommandError::usage(error, hint))
        }
    }
}

/// The same, to be dialled elsewhere.
pub(crate) fn redirect(given: Given, addresses: &[String]) -> Result<Given, CommandError> {
    match given {
        given if addresses.is_empty() => Ok(given),
        Given::Ticket(ticket) => {
            let redirected = Ticket::new(
                ticket.peer(),
                addresses.to_vec(),
                ticket.inbox().to_owned(),
                *ticket.token().expose(),
            );
            Ok(Given::Ticket(redirected.map_err(|error| {
                CommandError::usage(error, "give fewer or shorter addresses with --addr")
            })?))
        }
        Given::Peer { .. } => {
            let hint = "`estafette trust add` says where a trusted peer is dialled";
            Err(CommandError::usage(
                "--addr goes with a ticket, and this is the name of a peer",
                hint,
            ))
        }
    }
}

/// Finds whom names mean: the receiver, and the relay on the way to it.
pub(crate) fn find(
    trust: &Trust,
    given: Given,
    via: Option<&str>,
) -> Result<(Destination, Option<PeerId>), CommandError> {
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

/// The id of the node that it is about.
pub(crate) fn peer(trust: &Trust, given: &Given) -> Result<PeerId, CommandError> {
    match given {
        Given::Ticket(ticket) => Ok(ticket.peer()),
        Given::Peer { peer, .. } => trusted(trust, peer),
    }
}

/// The receiver: what goes by a relay is sealed for a key, and needs no address or trust in it.
fn receiver(trust: &Trust, given: Given, relayed: bool) -> Result<Destination, CommandError> {
    match given {
        Given::Ticket(ticket) => Ok(Destination::Ticket(ticket)),
        Given::Peer { peer, inbox } if !inbox.is_empty() => match peer.parse::<PeerId>() {
            Ok(id) if relayed => Ok(Destination::Peer(id, inbox)),
            _ => Ok(Destination::Peer(trusted(trust, &peer)?, inbox)),
        },
        Given::Peer { peer, .. } => Err(CommandError::usage(
            format!("{peer}/ names no inbox"),
            format!("that of `estafette receive` is {peer}/files"),
        )),
    }
}

/// By id, by a name that only one peer has, or by the beginning of an id. An id means that node,
/// never one that is called so.
pub(crate) fn trusted(trust: &Trust, given: &str) -> Result<PeerId, CommandError> {
    let found = trust.find_known(given);
    found.map(|(id, _)| id).map_err(|error| {
        let hint = match error {
            NoSuchPeer::Itself => "name another node, or make one on this machine with --key FILE",
            _ => "give an id or a name out of `estafette trust list`",
        };
        CommandError::usage(error, hint)
    })
}
