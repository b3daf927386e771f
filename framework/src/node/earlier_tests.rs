//! Records that an earlier build has written: this one reads all of them, and what it knows no more
//! of than that build did it writes as that build does.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::HEXLOWER;

use super::arrival::{Arrival, Processed};
use super::inspect::Unreadable;
use super::outbox::{OutboxEntry, OutboxState};
use super::{MemoryStore, Store, memory, outbox, trust};

const RECORDS: &str = include_str!("earlier_tests/records.txt");

/// The spools, by whose they are, and when: `before` lyon's delivery and letter to paris went on,
/// which its relay dijon had a package of, too, and `after`.
fn spools() -> BTreeMap<(&'static str, &'static str), Arc<MemoryStore>> {
    let mut spools = BTreeMap::<_, Arc<MemoryStore>>::new();
    for line in RECORDS.lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<_> = line.split(' ').collect();
        let [when, whose, table, key, value] = parts[..] else { panic!("{line}") };
        let bytes = |digits: &str| HEXLOWER.decode(digits.as_bytes()).unwrap();
        let spool = spools.entry((when, whose)).or_default();
        spool.put(table, &bytes(key), &bytes(value)).unwrap();
    }
    spools
}

#[test]
fn all_that_an_earlier_build_has_written_is_read() {
    let spools = spools();
    assert_eq!(spools.len(), 5);
    for (of, spool) in &spools {
        assert_eq!(Unreadable::all(spool.as_ref()).unwrap(), [], "{of:?}");
        let trust = trust::Trust::load(Arc::clone(spool) as Arc<dyn Store>).unwrap();
        assert_eq!(trust.list().len(), 2, "{of:?}");
        assert_eq!(trust.tickets().len(), usize::from(of.1 == "paris"));
    }
    let states = |when| {
        let spool = &spools[&(when, "lyon")];
        let entries = OutboxEntry::all(spool.as_ref()).unwrap();
        let states = entries.into_iter().map(|(_, entry)| (entry.via.is_some(), entry.state));
        states.collect::<BTreeMap<_, _>>()
    };
    let before = states("before");
    assert_eq!(before[&false], OutboxState::Stored);
    assert!(matches!(before[&true], OutboxState::Relayed { .. }), "{before:?}");
    let after = states("after");
    assert!(matches!(after[&false], OutboxState::Processed { .. }), "{after:?}");
    assert!(matches!(after[&true], OutboxState::Delivered { .. }), "{after:?}");
}

#[test]
fn what_an_earlier_build_knows_is_written_as_it_writes_it() {
    let (mut entries, mut arrivals) = (0, Vec::new());
    for spool in spools().values() {
        for (key, value) in spool.load(outbox::TABLE).unwrap() {
            let (_, entry) = OutboxEntry::decode(&key, &value).unwrap();
            assert_eq!(HEXLOWER.encode(&entry.encode().unwrap()), HEXLOWER.encode(&value));
            entries += 1;
        }
        for (_, value) in spool.load(memory::TABLE).unwrap() {
            let arrival = Arrival::decode(&value).unwrap();
            assert_eq!(HEXLOWER.encode(&arrival.encode().unwrap()), HEXLOWER.encode(&value));
            arrivals.push(arrival);
        }
    }
    assert_eq!((entries, arrivals.len()), (6, 5));
    assert!(arrivals.iter().any(|arrival| arrival.processed == Processed::Heard));
}
