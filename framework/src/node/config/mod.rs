//! Every limit of a node, with its default and what it does.

mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units;
use crate::pipeline::{Compression, Hosting};
use crate::supervise::RestartPolicy;
use crate::wire::LinkConfig;

/// The default of [`NodeConfig::spool_free`].
pub(crate) const SPOOL_FREE: u64 = 64 << 20;

/// The limits of a node.
///
/// In files, sizes are text such as `6MiB`, times such as `10s`
/// ([`units`]); what is left out has its default, and what is no key is
/// refused. `docs/config.md` has them in a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Bytes per chunk, a power of two from 1 KiB to 4 MiB. Larger: fewer calls; smaller: less
    /// memory. Default 256 KiB.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "units::SizeText"))]
    pub chunk_size: u32,
    /// Bytes of one transfer that may be between its source and the receiver's memory, and between
    /// the sender and the sink. On a road of latency L a transfer is no faster than `window /
    /// L`. Default 6 MiB.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "units::SizeText"))]
    pub window: usize,
    /// Bytes all transfers together may hold, for each direction. Transfers without room wait
    /// their turn. Default 24 MiB.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "units::SizeText"))]
    pub pool: usize,
    /// Transfers that may be waiting or running for one peer, for each direction. Default 256.
    pub transfers_per_peer: usize,
    /// Transfers that run at once, for each direction, the others wait: each has a thread for its
    /// disk. Default 16.
    pub running_transfers: usize,
    /// The codec for chunks, where a delivery names none. Default snappy, which every
    /// node has, and which is used where the other end does not have this one, or eight stages of
    /// a delivery leave no room for its name.
    #[serde(with = "text::compression")]
    #[cfg_attr(feature = "schema", schemars(with = "text::compression::Text"))]
    pub compression: Compression,
    /// The place where the stages of bulk transfers run. Default: as many workers as the machine
    /// has cores, 8 at most.
    #[serde(with = "text::hosting")]
    #[cfg_attr(feature = "schema", schemars(with = "usize"))]
    pub hosting: Hosting,
    /// The niceness of the threads of bulk transfers, on Linux: 0 to 19. At 10, a message beside a
    /// transfer that takes all cores is hardly later than without the transfer. But where other
    /// programs want all cores, too, transfers get a tenth of what each of these programs gets. At
    /// 0, the threads compete with these programs. Default 10.
    pub bulk_niceness: u8,
    /// The policy by which dead actors are started anew.
    #[serde(with = "text::restart")]
    #[cfg_attr(feature = "schema", schemars(with = "text::restart::Text"))]
    pub restart: RestartPolicy,
    /// Heartbeat, and when a silent peer is given up.
    #[serde(with = "text::link")]
    #[cfg_attr(feature = "schema", schemars(with = "text::link::Text"))]
    pub link: LinkConfig,
    /// Bytes of a delivery between two checkpoints, where there is a spool: what a receiver that
    /// dies has to be sent again, besides a window. Each costs a sync of the file and of the
    /// spool. Default 16 MiB.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "units::SizeText"))]
    pub checkpoint: u64,
    /// The time that connecting and the handshake may take. Default 10 s.
    #[serde(with = "units::time")]
    #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
    pub handshake_timeout: Duration,
    /// Connections that may be in their handshake at once, a quarter of them from one IPv4 address
    /// or IPv6 network of 64 bits; when one more comes, one of the source that has the most
    /// goes. Default 256.
    pub half_open: usize,
    /// The time for which a peer that was never reached is dialled before sends to it fail.
    /// Default 5 s.
    #[serde(with = "units::time")]
    #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
    pub dial_for: Duration,
    /// The time for which a broken link is dialled again, and what it carried is kept. Default
    /// 60 s.
    #[serde(with = "units::time")]
    #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
    pub reconnect_for: Duration,
    /// The wait before the second dial; doubled each time, with jitter, up to 5 s. Default 100 ms.
    #[serde(with = "units::time")]
    #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
    pub backoff: Duration,
    /// The time for which a delivery is worth delivering. At most 30 days. Default 1 day.
    #[serde(with = "units::time")]
    #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
    pub expiry: Duration,
    /// The time for which `shutdown` waits for transfers. Default 30 s.
    #[serde(with = "units::time")]
    #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
    pub drain_for: Duration,
    /// The most deliveries that the outbox may hold while they are still to be delivered. Further
    /// ones are refused. Default 100,000.
    pub outbox: usize,
    /// Bytes that packages and copies in the outbox may take, those kept for others included;
    /// further ones are refused. Default 16 GiB.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "units::SizeText"))]
    pub outbox_bytes: u64,
    /// The most letters that may be under way to one peer, and nine times as many as are free for
    /// one name; in the last tenth a twentieth of these. Further ones are refused. Beyond 10,240
    /// they wait for those before them. Default 10,000.
    pub letters: usize,
    /// Bytes of letters that may be under way to one peer, each counted with 64 more; they are
    /// held in memory, too. Default 64 MiB.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "units::SizeText"))]
    pub letters_bytes: u64,
    /// The quota of packages that this node keeps for others who are away. Default: none, and the
    /// node keeps no packages for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayQuota>,
    /// Packages for this node itself that one peer may have here at once until they are opened,
    /// and their bytes; further ones are refused for now. Default 64 and 8 GiB.
    pub packages_in: RelayQuota,
    /// The time for which a partial package is kept when no more of it comes. Newer packages of
    /// the same sender take its room before that. Default 1 hour.
    #[serde(with = "units::time")]
    #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
    pub package_patience: Duration,
    /// Bytes of the spool's disk that packages of others leave free; looked at before each comes,
    /// and again with each MiB. Default 64 MiB; with it, a twentieth of a disk that is smaller than
    /// 1.25 GiB.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "units::SizeText"))]
    pub spool_free: u64,
    /// Partial deliveries of one peer that are kept for a later attempt while none works on them;
    /// the oldest go first. Default 64.
    pub partials: usize,
    /// Their bytes, as far as this process has seen them come; the newest may always stay. Default
    /// 16 GiB.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "units::SizeText"))]
    pub partials_bytes: u64,
    /// The time for which a transfer may make no progress, by the fault of its other end, while
    /// others wait for room. Then it ends for now, and what is durable of it is kept for the next
    /// attempt. Default 60 s.
    #[serde(with = "units::time")]
    #[cfg_attr(feature = "schema", schemars(with = "units::TimeText"))]
    pub stall: Duration,
    /// The most ended deliveries that are remembered, so that a replay is answered and not
    /// delivered again. When there are so many, further deliveries are refused until some expire.
    /// Default 100,000.
    pub remembered: usize,
    /// The most of these that one peer may have, together with its deliveries under way. Further
    /// ones of this peer are refused until some expire. Default a quarter of them: 25,000.
    pub remembered_share: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8));
        Self {
            chunk_size: 256 << 10,
            window: 6 << 20,
            pool: 24 << 20,
            transfers_per_peer: 256,
            running_transfers: 16,
            compression: Compression::Snappy,
            hosting: Hosting::Parallel(cores),
            bulk_niceness: 10,
            restart: RestartPolicy::default(),
            link: LinkConfig::default(),
            checkpoint: 16 << 20,
            handshake_timeout: Duration::from_secs(10),
            half_open: 256,
            dial_for: Duration::from_secs(5),
            reconnect_for: Duration::from_secs(60),
            backoff: Duration::from_millis(100),
            expiry: Duration::from_secs(24 * 3600),
            drain_for: Duration::from_secs(30),
            outbox: 100_000,
            outbox_bytes: 16 << 30,
            letters: 10_000,
            letters_bytes: 64 << 20,
            relay: None,
            packages_in: RelayQuota { packages: 64, bytes: 8 << 30 },
            package_patience: Duration::from_secs(3600),
            spool_free: SPOOL_FREE,
            partials: 64,
            partials_bytes: 16 << 30,
            stall: Duration::from_secs(60),
            remembered: 100_000,
            remembered_share: 25_000,
        }
    }
}

/// The most packages, and bytes of packages, that one sender may have at this node. It limits what
/// a relay keeps for the sender, or what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RelayQuota {
    /// Packages. Default 1,000.
    pub packages: usize,
    /// Bytes. Default 1 GiB.
    #[serde(with = "units::size")]
    #[cfg_attr(feature = "schema", schemars(with = "units::SizeText"))]
    pub bytes: u64,
}

impl Default for RelayQuota {
    fn default() -> Self {
        Self { packages: 1000, bytes: 1 << 30 }
    }
}

/// A configuration that can't work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {given}: {wanted}")]
pub struct ConfigError {
    /// The name of the setting.
    pub key: &'static str,
    /// The value that was given.
    pub given: String,
    /// The condition that the value must meet.
    pub wanted: &'static str,
}

impl NodeConfig {
    /// The smallest chunk, in bytes.
    pub const CHUNK_LEAST: u32 = 1 << 10;
    /// The largest chunk, in bytes.
    pub const CHUNK_MOST: u32 = 4 << 20;
    /// The largest pool, in bytes.
    pub const POOL_MOST: u64 = 1 << 40;
    /// The most of what runs or waits at once: `running_transfers`, `transfers_per_peer` and
    /// `half_open`.
    pub const COUNT_MOST: usize = 10_000;
    /// The longest expiry.
    pub const EXPIRY_MOST: Duration = crate::delivery::EXPIRY_MOST;

    /// Checks that a node can work with the configuration, and returns the first fault if it can't.
    /// The builder calls this.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.faults().into_iter().next().map_or(Ok(()), Err)
    }

    /// All that is wrong with it.
    pub fn faults(&self) -> Vec<ConfigError> {
        let number = |number: usize| number.to_string();
        // Each of them has threads, connections or records of its own.
        let count = |key, count: usize| {
            let is_well = (1..=Self::COUNT_MOST).contains(&count);
            (is_well, key, count.to_string(), "must be from 1 to 10,000")
        };
        [
            (
                Self::chunk_size_is_valid(self.chunk_size),
                "chunk_size",
                self.chunk_size.to_string(),
                "must be a power of two from 1 KiB to 4 MiB",
            ),
            (
                self.window / 2 >= self.chunk_size as usize,
                "window",
                number(self.window),
                "must hold two chunks at least",
            ),
            (self.pool >= self.window, "pool", number(self.pool), "must hold one window at least"),
            (
                self.pool as u64 <= Self::POOL_MOST,
                "pool",
                number(self.pool),
                "must be 1 TiB at most",
            ),
            (
                self.expiry <= Self::EXPIRY_MOST && !self.expiry.is_zero(),
                "expiry",
                format!("{:?}", self.expiry),
                "must be from 1 s to 30 days",
            ),
            (
                self.bulk_niceness <= 19,
                "bulk_niceness",
                self.bulk_niceness.to_string(),
                "must be from 0 to 19",
            ),
            count("running_transfers", self.running_transfers),
            count("transfers_per_peer", self.transfers_per_peer),
            count("half_open", self.half_open),
        ]
        .into_iter()
        .filter(|(is_well, ..)| !is_well)
        .map(|(_, key, given, wanted)| ConfigError { key, given, wanted })
        .collect()
    }

    pub(crate) fn chunk_size_is_valid(size: u32) -> bool {
        size.is_power_of_two() && (Self::CHUNK_LEAST..=Self::CHUNK_MOST).contains(&size)
    }

    pub(crate) fn workers(&self) -> usize {
        match self.hosting {
            Hosting::Inline => 1,
            Hosting::Parallel(count) => count.clamp(1, 64),
        }
    }
}

#[cfg(test)]
mod tests;
