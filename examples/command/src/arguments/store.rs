//! `estafette outbox`, `inbox`, `ticket` and `doctor`.

use clap::{Args, Subcommand};

use super::switch::Switch;

#[derive(Debug, Subcommand)]
pub(crate) enum Outbox {
    /// Print the deliveries: those still to be delivered, and how others ended
    List,
    /// Print the messages that `deliver` has stored: those under way, and dead ones
    Messages,
    /// Print all that is known of one
    Show {
        /// Its id as `outbox list` prints it, or the beginning of it
        id: String,
    },
    /// Try one now; one that was given up begins anew
    Retry {
        /// Its id as `outbox list` prints it, or the beginning of it
        id: String,
    },
    /// Take one out that is still to be delivered
    Cancel {
        /// Its id as `outbox list` prints it, or the beginning of it
        id: String,
    },
    /// Forget one that is over, or a dead message
    Drop {
        /// Its id as `outbox list` prints it, or the beginning of it; of a message, all of it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ticket {
    /// Print the tickets that were given out here and are not over: which inbox, until when, used
    /// by whom; never the ticket itself
    List,
    /// Make a ticket worthless; who has used it stays trusted until `estafette trust remove`
    Revoke {
        /// Its id as `ticket list` prints it, or the beginning of it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Inbox {
    /// Print the deliveries that are remembered, the newest first
    List,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Set aside what is damaged, so that the rest can be used; nothing is deleted
    #[arg(long, env = "ESTAFETTE_REPAIR", hide_env = true, value_parser = Switch)]
    pub(crate) repair: bool,
}
