use crate::pipeline::Codec;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Any configuration, whether a node can work with it or not.
fn any_config() -> impl Strategy<Value = NodeConfig> {
    let times = proptest::collection::vec(any_time(), 8);
    let counts = proptest::collection::vec(0..1_usize << 62, 10);
    let sizes = proptest::collection::vec(0..1_u64 << 62, 7);
    let link = (1..1_000_000_u64, 2..1000_u32);
    (times, counts, sizes, link, any::<(u32, u8, bool, bool)>()).prop_map(
        |(times, counts, sizes, (heartbeat, factor), (chunk_size, bulk_niceness, off, relay))| {
            let heartbeat = Duration::from_micros(heartbeat) + Duration::from_millis(1);
            let dead_after = heartbeat * factor;
            NodeConfig {
                chunk_size,
                window: counts[0],
                pool: counts[1],
                transfers_per_peer: counts[2],
                running_transfers: counts[3],
                compression: match (off, counts[5] % 3) {
                    (true, _) => Compression::Off,
                    (false, 0) => Compression::Snappy,
                    (false, 1) => Compression::Lz4,
                    (false, _) => Compression::Other(Codec(16 + (counts[6] % 200) as u8)),
                },
                hosting: match counts[4] % 3 {
                    0 => Hosting::Inline,
                    workers => Hosting::Parallel(workers),
                },
                bulk_niceness,
                restart: RestartPolicy {
                    intensity: counts[5],
                    within: times[0],
                    ..RestartPolicy::default()
                },
                link: LinkConfig::new(heartbeat, dead_after, dead_after * 2).unwrap(),
                checkpoint: sizes[0],
                handshake_timeout: times[1],
                half_open: counts[6],
                dial_for: times[2],
                reconnect_for: times[3],
                backoff: times[4],
                expiry: times[5],
                drain_for: times[6],
                outbox: counts[7],
                outbox_bytes: sizes[1],
                letters: counts[8],
                letters_bytes: sizes[2],
                relay: relay.then_some(RelayQuota { packages: counts[9], bytes: sizes[3] }),
                packages_in: RelayQuota { packages: counts[0], bytes: sizes[4] },
                package_patience: times[7],
                spool_free: sizes[5],
                partials: counts[1],
                partials_bytes: sizes[6],
                stall: times[0],
                remembered: counts[2],
                remembered_share: counts[3],
            }
        },
    )
}

fn any_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..100_000_u64).prop_map(Duration::from_secs),
        (0..3_000_000_000_u64, 0..1_000_000_000_u32)
            .prop_map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds)),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(config in any_config()) {
        let text = toml::to_string(&config).unwrap();
        prop_assert_eq!(toml::from_str::<NodeConfig>(&text).unwrap(), config.clone());
        let text = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(serde_json::from_str::<NodeConfig>(&text).unwrap(), config);
    }
}

#[test]
fn what_is_left_out_has_its_default_and_what_is_no_key_is_refused() {
    assert_eq!(toml::from_str::<NodeConfig>("").unwrap(), NodeConfig::default());
    let read = toml::from_str::<NodeConfig>(
        "window = '16MiB'\nstall = 90\ncheckpoint = 4096\nhosting = 0\nlink.heartbeat = '1s'\n\
         relay = { packages = 3 }",
    );
    let link = LinkConfig::default();
    let link = LinkConfig::new(Duration::from_secs(1), link.dead_after(), link.renew_after());
    assert_eq!(
        read.unwrap(),
        NodeConfig {
            window: 16 << 20,
            stall: Duration::from_secs(90),
            checkpoint: 4096,
            hosting: Hosting::Inline,
            link: link.unwrap(),
            relay: Some(RelayQuota { packages: 3, ..RelayQuota::default() }),
            ..NodeConfig::default()
        }
    );
    for (wrong, said) in [
        ("windw = 1", "unknown field `windw`"),
        ("link.heart = '1s'", "unknown field `heart`"),
        ("packages_in.size = 1", "unknown field `size`"),
        ("window = 'wide'", "a size is a number and a unit"),
        ("window = -1", "a size is a number and a unit"),
        ("chunk_size = '4GiB'", "4294967296 bytes are too many here: 4294967295 is the most"),
        ("window = '99999999999999T'", "the size is too large: 16777215TiB is the most"),
        ("stall = 'long'", "a time is a number and a unit"),
        (
            "compression = 'zip'",
            "\"zip\" is no compression: snappy, lz4, off, or a program's own codec as codec:NUMBER",
        ),
        ("link.heartbeat = '10s'", "at least twice the heartbeat"),
    ] {
        let error = toml::from_str::<NodeConfig>(wrong).unwrap_err().to_string();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

#[test]
fn all_faults_are_said_and_a_node_starts_with_none_of_them() {
    let wrong = NodeConfig {
        chunk_size: 1000,
        window: 100,
        pool: 10,
        expiry: Duration::ZERO,
        bulk_niceness: 20,
        running_transfers: 0,
        transfers_per_peer: 0,
        half_open: 0,
        ..NodeConfig::default()
    };
    let keys: Vec<_> = wrong.faults().iter().map(|fault| fault.key).collect();
    assert_eq!(
        keys,
        [
            "chunk_size",
            "window",
            "pool",
            "expiry",
            "bulk_niceness",
            "running_transfers",
            "transfers_per_peer",
            "half_open"
        ]
    );
    assert_eq!(wrong.check().unwrap_err().key, "chunk_size");
    // What is more than a semaphore can count is said as well, not met at the start.
    let most = usize::MAX / 2;
    let wrong = NodeConfig {
        pool: most,
        running_transfers: most,
        transfers_per_peer: 10_001,
        half_open: most,
        ..NodeConfig::default()
    };
    let keys: Vec<_> = wrong.faults().iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["pool", "running_transfers", "transfers_per_peer", "half_open"]);
    assert_eq!(NodeConfig::default().faults(), []);
}

#[test]
fn the_page_has_every_limit_with_its_default_and_no_other() {
    const PAGE: &str = include_str!("../../../docs/config.md");
    let (_, limits) = PAGE.split_once("\n## Limits\n").unwrap();
    let told: BTreeMap<_, _> = limits
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.strip_prefix("| `")?.split(" | ").collect();
            let &[key, default, meaning, consequence] = &cells[..] else { panic!("{line}") };
            assert!(!meaning.is_empty() && consequence.len() > 2, "{line}");
            Some((key.trim_end_matches('`').to_owned(), value(default)))
        })
        .collect();
    let config = NodeConfig { relay: Some(RelayQuota::default()), ..NodeConfig::default() };
    let config = toml::Table::try_from(config).unwrap().into_iter();
    // The command has flags for these.
    let limits = config.filter(|(key, _)| !["relay", "drain_for"].contains(&&**key));
    // That of the machine.
    let there: BTreeMap<_, _> =
        limits.map(|(key, value)| (key.clone(), (key != "hosting").then_some(value))).collect();
    assert_eq!(told, there);
}

/// The default of a row, where it is one that can be written.
fn value(cell: &str) -> Option<toml::Value> {
    let text = cell.strip_prefix('`')?.strip_suffix('`')?;
    let table: toml::Table = toml::from_str(&format!("it = {text}")).unwrap();
    table.get("it").cloned()
}
