//! A row of writes, and what a spool has in it after some of them.

use std::collections::BTreeMap;
use std::io;

use estafette::node::{Change, Store};
use estafette::testing::Random;
use estafette_actors::spool::Spool;

use crate::disk::Disk;

pub(crate) type Records = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;
pub(crate) const TABLES: [&str; 3] = ["parts", "peers", "sent"];

pub(crate) fn open(disk: &Disk) -> io::Result<Spool> {
    let disk = disk.clone();
    Spool::with_backend("the disk", move || Ok(disk.clone()))
}

pub(crate) fn put(table: &'static str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Change {
    Change::Put { table, key: key.as_ref().to_vec(), value: value.as_ref().to_vec() }
}

/// The writes of a seed: each touches several tables, some are large, some take away what others
/// put.
pub(crate) fn writes(seed: u64, count: u64) -> Vec<Vec<Change>> {
    let mut random = Random::seeded(seed);
    let write = |number: u64| {
        let size = if number % 7 == 6 { 30_000 } else { 10 + random.below(400) as usize };
        let old = random.below(number + 1);
        vec![
            put("peers", "last", number.to_le_bytes()),
            put("parts", number.to_le_bytes(), random.bytes(size)),
            Change::Remove { table: "parts", key: old.to_le_bytes().to_vec() },
            put("sent", [random.below(8) as u8], random.bytes(50)),
        ]
    };
    (0..count).map(write).collect()
}

/// The records after the first `count` of these writes.
pub(crate) fn after(writes: &[Vec<Change>], count: u64) -> Records {
    let mut records = Records::new();
    for change in writes[..count as usize].iter().flatten() {
        match change {
            Change::Put { table, key, value } => {
                records.insert((table, key.clone()), value.clone())
            }
            Change::Remove { table, key } => records.remove(&(*table, key.clone())),
        };
    }
    records
}

pub(crate) fn contents(spool: &Spool) -> io::Result<Records> {
    let mut records = Records::new();
    for table in TABLES {
        records.extend(spool.load(table)?.into_iter().map(|(key, value)| ((table, key), value)));
    }
    Ok(records)
}
