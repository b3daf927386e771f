//! The webhooks of a node.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use estafette_doors::Network;

use super::switch::Switch;

/// Options of what `estafette node` posts to somebody else.
#[derive(Debug, Args)]
pub(crate) struct Posting {
    /// Post each message that is delivered to NAME here, as JSON and signed, to that URL, again and
    /// again until it is answered well; may be repeated
    #[arg(
        long,
        value_name = "NAME=URL",
        requires = "webhook_secret",
        env = "ESTAFETTE_WEBHOOK",
        hide_env = true
    )]
    pub(crate) webhook: Vec<String>,
    /// The file of the secret that signs, whsec_…, which nobody but its owner may be able to read;
    /// while it is changed, the new one first, and the one before it
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        requires = "webhook",
        env = "ESTAFETTE_WEBHOOK_SECRET",
        hide_env = true
    )]
    pub(crate) webhook_secret: Vec<PathBuf>,
    /// Post one after the other, as they came: one that fails keeps those behind it waiting
    #[arg(long, requires = "webhook", env = "ESTAFETTE_WEBHOOK_ORDERED", hide_env = true, value_parser = Switch)]
    pub(crate) webhook_ordered: bool,
    /// A network that may be posted to though it is not of the public internet, such as 10.1.0.0/16;
    /// may be repeated
    #[arg(
        long,
        value_name = "NETWORK",
        value_delimiter = ',',
        requires = "webhook",
        env = "ESTAFETTE_WEBHOOK_ALLOW",
        hide_env = true
    )]
    pub(crate) webhook_allow: Vec<Network>,
    /// Post by http, too, which anybody on the way can read and change
    #[arg(long, requires = "webhook", env = "ESTAFETTE_WEBHOOK_ALLOW_HTTP", hide_env = true, value_parser = Switch)]
    pub(crate) webhook_allow_http: bool,
    /// A file with the authorities of servers, instead of those of this machine
    #[arg(
        long,
        value_name = "FILE",
        requires = "webhook",
        env = "ESTAFETTE_WEBHOOK_CA",
        hide_env = true
    )]
    pub(crate) webhook_ca: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// Print the messages that wait or are dead, of all webhooks of this node, or of one
    List {
        /// The name of the webhook
        name: Option<String>,
    },
    /// Print a message, and what came of its last try
    Show {
        /// Its id, as `webhook list` prints it
        id: String,
    },
    /// Post a message now, and all tries anew; a dead one, too; a rest that was asked for ends
    Retry {
        /// Its id
        #[arg(required_unless_present = "dead")]
        id: Option<String>,
        /// All dead ones of the webhook of that name
        #[arg(
            long,
            value_name = "NAME",
            conflicts_with = "id",
            env = "ESTAFETTE_DEAD",
            hide_env = true
        )]
        dead: Option<String>,
    },
    /// Forget a message
    Drop {
        /// Its id
        id: String,
    },
    /// Have a webhook post again that was told that nobody wants it any more (410), or that rests
    Enable {
        /// The name of the webhook
        name: String,
    },
}
