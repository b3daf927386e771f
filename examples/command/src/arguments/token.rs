//! The tokens of a node's doors.

use std::time::Duration;

use clap::Subcommand;
use estafette_doors::{Rate, Right};

use crate::units::parse_duration;

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Print what there is of tokens, but for the tokens themselves
    List,
    /// Make a token, and print it, once: it is kept nowhere
    Add {
        /// The name of the token in lists and logs
        name: String,
        /// A place that it leads to: PEER/NAME, PEER/* for all of a peer, * for everything,
        /// read:INBOX for what arrived here, done:INBOX to say that it is processed, too; may be
        /// repeated
        #[arg(
            long,
            value_name = "PEER/NAME",
            value_delimiter = ',',
            required = true,
            env = "ESTAFETTE_TO",
            hide_env = true
        )]
        to: Vec<Right>,
        /// The rate at which it may be used: 10/s, 600/m, 1000/h [default: as often as one likes]
        #[arg(long, value_name = "RATE", env = "ESTAFETTE_RATE", hide_env = true)]
        rate: Option<Rate>,
        /// The time for which it is valid [default: until it is removed]
        #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "ESTAFETTE_EXPIRES", hide_env = true)]
        expires: Option<Duration>,
    },
    /// Remove a token: whoever has it is refused, by a node that runs within a second or two
    Remove {
        /// The name of the token
        name: String,
    },
}
