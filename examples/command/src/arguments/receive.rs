//! `estafette receive` and `estafette node`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use estafette::node::RelayQuota;

#[cfg(feature = "grpc")]
use super::grpc::Grpc;
use super::page::Paging;
#[cfg(feature = "doors")]
use super::secured::Secured;
use super::switch::Switch;
#[cfg(feature = "webhooks")]
use super::webhook::Posting;
use crate::units::{parse_bytes, parse_duration, parse_lasting, parse_name};

#[derive(Debug, Args)]
pub(crate) struct Receive {
    /// The folder that deliveries go to; it is made if only its last part is missing. `-` writes
    /// one file or stream to stdout, if that is no terminal, and ends; {peer} in its last part
    /// stands for the sender, its name here and the start of its id: 'in/{peer}'
    #[arg(long, value_name = "DIR", env = "ESTAFETTE_INTO", hide_env = true)]
    pub(crate) into: PathBuf,
    /// An address to listen at: host:port, where port 0 is any free one, or unix:/path for programs
    /// of this machine; may be repeated [default: port 0 of all addresses of this machine]
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        env = "ESTAFETTE_LISTEN",
        hide_env = true
    )]
    pub(crate) listen: Vec<String>,
    /// The name that this node gives itself [default: the host's name]
    #[arg(long, value_parser = parse_name, env = "ESTAFETTE_NAME", hide_env = true)]
    pub(crate) name: Option<String>,
    /// Stop after one delivery; the exit code tells how it went
    #[arg(long, env = "ESTAFETTE_ONCE", hide_env = true, value_parser = Switch)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) taking: Taking,
    /// The longest wait for a sender whose link broke in the middle [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "ESTAFETTE_PATIENCE", hide_env = true)]
    pub(crate) patience: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct NodeOptions {
    /// Only look whether flags, variables and --config are right, say all that is wrong, and end
    #[arg(long, env = "ESTAFETTE_CHECK", hide_env = true, value_parser = Switch)]
    pub(crate) check: bool,
    /// Take deliveries into this folder, and print a ticket; it is made if only its last part is
    /// missing; {peer} in that stands for the sender, its name here and the start of its id:
    /// 'in/{peer}'
    #[arg(long, value_name = "DIR", env = "ESTAFETTE_INTO", hide_env = true)]
    pub(crate) into: Option<PathBuf>,
    /// An address to listen at: host:port, where port 0 is any free one, or unix:/path for programs
    /// of this machine; may be repeated [default: port 0 of all addresses of this machine with
    /// --into or --relay, else nowhere]
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        env = "ESTAFETTE_LISTEN",
        hide_env = true
    )]
    pub(crate) listen: Vec<String>,
    /// The name that this node gives itself [default: the host's name]
    #[arg(long, value_parser = parse_name, env = "ESTAFETTE_NAME", hide_env = true)]
    pub(crate) name: Option<String>,
    /// Keep a link with this trusted peer up, by its name or id: with a relay, so that what it
    /// keeps for this node comes, and word of what was sent by it; may be repeated
    #[arg(
        long,
        value_name = "PEER",
        value_delimiter = ',',
        env = "ESTAFETTE_CONNECT",
        hide_env = true
    )]
    pub(crate) connect: Vec<String>,
    #[command(flatten)]
    pub(crate) taking: Taking,
    /// Run this with /bin/sh for each delivery, one after the other, and tell its sender that it
    /// is processed when it succeeds; it finds DELIVERY_PLACE, DELIVERY_NAME, DELIVERY_PEER,
    /// DELIVERY_PEER_NAME, DELIVERY_INBOX, DELIVERY_ID and DELIVERY_BLAKE3 in its environment
    #[arg(
        long,
        value_name = "COMMAND",
        requires = "into",
        env = "ESTAFETTE_EXEC",
        hide_env = true
    )]
    pub(crate) exec: Option<String>,
    /// The longest that the command of --exec may take; one that takes longer is killed, with all
    /// that it has begun, and has failed
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_lasting, env = "ESTAFETTE_EXEC_TIMEOUT", hide_env = true)]
    pub(crate) exec_timeout: Duration,
    #[command(flatten)]
    pub(crate) relaying: Relaying,
    #[command(flatten)]
    pub(crate) page: Paging,
    #[cfg(feature = "doors")]
    #[command(flatten)]
    pub(crate) secured: Secured,
    #[cfg(feature = "grpc")]
    #[command(flatten)]
    pub(crate) grpc: Grpc,
    #[cfg(feature = "webhooks")]
    #[command(flatten)]
    pub(crate) posting: Posting,
    /// The longest that a try goes on dialling, and the longest wait for a peer whose link broke
    /// [default: 5s, and 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "ESTAFETTE_PATIENCE", hide_env = true)]
    pub(crate) patience: Option<Duration>,
}

/// Options of what is taken, and from whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct Taking {
    /// An address for the ticket instead of this machine's own (port forwarding); may be repeated
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        env = "ESTAFETTE_ADVERTISE",
        hide_env = true
    )]
    pub(crate) advertise: Vec<String>,
    /// The rule for a delivery whose name is taken
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "refuse",
        env = "ESTAFETTE_ON_CONFLICT",
        hide_env = true
    )]
    pub(crate) on_conflict: OnConflict,
    /// Let deliveries go into a home folder, a folder of the system, or one with this node's key,
    /// trust or spool in it
    #[arg(long, env = "ESTAFETTE_INTO_HOME", hide_env = true, value_parser = Switch)]
    pub(crate) into_home: bool,
    /// Take deliveries whose name begins with a dot, too
    #[arg(long, env = "ESTAFETTE_DOTFILES", hide_env = true, value_parser = Switch)]
    pub(crate) dotfiles: bool,
    /// The rule for symbolic links in a folder that lead out of it, absolute ones among them
    #[arg(
        long,
        value_name = "HOW",
        default_value = "keep",
        env = "ESTAFETTE_LINKS",
        hide_env = true
    )]
    pub(crate) links: OutwardLinks,
    /// Take ACLs, where the sender sends them: they name users by number, who may be others here
    #[arg(long, env = "ESTAFETTE_ACLS", hide_env = true, value_parser = Switch)]
    pub(crate) acls: bool,
    /// The longest delivery that is taken, such as 500M or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, env = "ESTAFETTE_MAX_BYTES", hide_env = true)]
    pub(crate) max_bytes: Option<u64>,
    /// The room of the folder's disk that is left free, such as 500M or 0 [default: 64 MiB, or a
    /// twentieth of a small disk]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, env = "ESTAFETTE_KEEP_FREE", hide_env = true)]
    pub(crate) keep_free: Option<u64>,
    /// The number of different senders that may use the ticket
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), env = "ESTAFETTE_REDEEMERS", hide_env = true)]
    pub(crate) redeemers: u16,
    /// The time for which the ticket may be used; who has used it stays trusted until `estafette
    /// trust remove`
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_lasting, env = "ESTAFETTE_VALID", hide_env = true)]
    pub(crate) valid: Duration,
}

/// Options of what is kept for others.
#[derive(Debug, Args)]
pub(crate) struct Relaying {
    /// Be a relay: keep what one trusted peer sends to another who is away, until that one comes;
    /// it is sealed for the receiver, and can't be read here
    #[arg(long, env = "ESTAFETTE_RELAY", hide_env = true, value_parser = Switch)]
    pub(crate) relay: bool,
    /// The most deliveries of one sender that are kept; further ones wait at the sender
    #[arg(long, value_name = "N", default_value_t = RelayQuota::default().packages, value_parser = parse_count, requires = "relay", env = "ESTAFETTE_RELAY_PACKAGES", hide_env = true)]
    pub(crate) relay_packages: usize,
    /// The most bytes of one sender that are kept
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_bytes, requires = "relay", env = "ESTAFETTE_RELAY_BYTES", hide_env = true)]
    pub(crate) relay_bytes: u64,
    /// The most bytes of all senders together that are kept, with what this node has packed itself
    #[arg(long, value_name = "SIZE", default_value = "16GiB", value_parser = parse_bytes, requires = "relay", env = "ESTAFETTE_RELAY_TOTAL", hide_env = true)]
    pub(crate) relay_total: u64,
}

impl Relaying {
    /// `None` where this node is no relay.
    pub(crate) fn quota(&self) -> Option<RelayQuota> {
        self.relay.then_some(RelayQuota { packages: self.relay_packages, bytes: self.relay_bytes })
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| "a number from 1 on is wanted".into())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutwardLinks {
    /// Make them as they were sent; nothing that is delivered goes through them, but other programs
    /// follow them
    Keep,
    /// Leave them out, and say so
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnConflict {
    /// Refuse the delivery
    Refuse,
    /// Give it a number: photo.jpg becomes photo (1).jpg
    Rename,
    /// Replace what is there, a file by a file or a folder by a folder
    Replace,
    /// The same, but what a folder has and the new one has not stays in it
    Merge,
}
