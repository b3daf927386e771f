//! `estafette send`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use estafette::NodeConfig;

use super::Reading;
use super::switch::Switch;
use crate::units::{parse_bytes, parse_duration, parse_name};

#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("stored").args(["detach", "via"]).multiple(true)))]
pub(crate) struct Send {
    /// Files and folders: one is sent as what it is, several together as one folder; `-`, or
    /// <(COMMAND), is a stream, and sent alone
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The ticket that the receiver printed: `-` reads it from stdin, `@FILE` from a file, which
    /// keeps it out of process lists and the shell's history; or PEER/INBOX, a trusted peer's
    /// name or id and an inbox there (that of `estafette receive` is called files). What is an
    /// id means that node, never one that is called so
    #[arg(required = true, value_name = "TICKET|PEER/INBOX")]
    pub(crate) to: String,
    /// Send it there, too, one after the other; may be repeated. With it, the last argument may be
    /// one more path
    #[arg(long = "to", value_name = "TICKET|PEER/INBOX", env = "ESTAFETTE_TO", hide_env = true)]
    pub(crate) also: Vec<String>,
    /// Only store it, and return; whichever `estafette node` or `receive` runs with the same spool
    /// delivers it. Files are read when they are sent: leave them where they are, as they are,
    /// until then, or say --copy
    #[arg(long, env = "ESTAFETTE_DETACH", hide_env = true, value_parser = Switch)]
    pub(crate) detach: bool,
    /// With --detach, copy what is sent into the spool, encrypted, so that it may change or go as
    /// soon as it is stored; with --via that is done anyway
    #[arg(long, requires = "stored", env = "ESTAFETTE_COPY", hide_env = true, value_parser = Switch)]
    pub(crate) copy: bool,
    /// Send it by a relay, a trusted peer's name or id, which keeps it until the receiver comes;
    /// done when the relay has it. The relay must trust both ends. The receiver need never
    /// have been linked with: PEER may be the id that `estafette id` prints there, if it
    /// trusts this node (`estafette trust add`), or a ticket says so
    #[arg(
        long,
        value_name = "RELAY",
        conflicts_with = "addr",
        env = "ESTAFETTE_VIA",
        hide_env = true
    )]
    pub(crate) via: Option<String>,
    /// The time for which it is worth delivering, from 1s to 30d [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = parse_expiry, env = "ESTAFETTE_EXPIRES", hide_env = true)]
    pub(crate) expires: Option<Duration>,
    /// Dial this instead of the ticket's addresses (port forwarding); may be repeated
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        env = "ESTAFETTE_ADDR",
        hide_env = true
    )]
    pub(crate) addr: Vec<String>,
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// The name that this node gives itself [default: the host's name]; with a stream, the name of
    /// that [default: stream]
    #[arg(long, value_parser = parse_name, env = "ESTAFETTE_NAME", hide_env = true)]
    pub(crate) name: Option<String>,
    /// Bytes per chunk, a power of two from 1K to 2M: larger ones cost fewer calls, smaller ones
    /// less memory [default: 256K]
    #[arg(long, value_name = "SIZE", value_parser = parse_chunk_size, env = "ESTAFETTE_CHUNK_SIZE", hide_env = true)]
    pub(crate) chunk_size: Option<u32>,
    /// The codec that chunks are compressed with, by its name, which the receiver must have, too;
    /// or off, where lengths must tell nothing about the content [default: `compression` of the
    /// configuration file's limits, else snappy]
    #[arg(long, value_name = "HOW", env = "ESTAFETTE_COMPRESS", hide_env = true)]
    pub(crate) compress: Option<String>,
    /// Have each chunk pass this stage of the program's, by its name; the receiver's program must
    /// have it, too; may be repeated, and they are passed in this order
    #[arg(
        long = "stage",
        value_name = "NAME",
        value_delimiter = ',',
        env = "ESTAFETTE_STAGE",
        hide_env = true
    )]
    pub(crate) stages: Vec<String>,
    /// Send at most so many bytes of content each second, such as 500K or 2MB
    #[arg(long, value_name = "RATE", value_parser = parse_rate, conflicts_with = "stored", env = "ESTAFETTE_LIMIT", hide_env = true)]
    pub(crate) limit: Option<u64>,
    /// The longest that a receiver that can't be reached is dialled [default: 5s at first, 60s when
    /// a link broke]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "ESTAFETTE_PATIENCE", hide_env = true)]
    pub(crate) patience: Option<Duration>,
}

/// Reads a size that any receiver with default settings takes.
fn parse_chunk_size(text: &str) -> Result<u32, String> {
    let size = u32::try_from(parse_bytes(text)?)
        .ok()
        .filter(|size| size.is_power_of_two() && (1 << 10..=2 << 20).contains(size));
    size.ok_or_else(|| "a chunk has a power of two of bytes, from 1K to 2M: 64K, 256K, 1M".into())
}

fn parse_rate(text: &str) -> Result<u64, String> {
    let rate = parse_bytes(text.trim_end_matches("/s"))?;
    if rate > 0 { Ok(rate) } else { Err("a rate is 1 byte each second or more".into()) }
}

fn parse_expiry(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    let possible = Duration::from_secs(1)..=NodeConfig::EXPIRY_MOST;
    if possible.contains(&time) {
        Ok(time)
    } else {
        Err("a delivery is worth delivering for 1s at least and 30d at most".into())
    }
}
