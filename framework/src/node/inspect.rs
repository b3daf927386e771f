//! Inspection of a spool for records that a node can't use, for a program that looks after it.

use std::fmt;
use std::io;

use super::memory;
use super::memos;
use super::outbox::{self, OutboxEntry};
use crate::delivery::TransferId;
use crate::remote::LETTER_TABLES;
use crate::store::{Change, Store};

/// A record that is as it was written, and means nothing to this release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    table: &'static str,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// The table of records that were set aside. Keys: the name of a record's table, a slash, its key.
const ASIDE: &str = "aside";

/// A table, and what tells whether its record can be read.
type Table = (&'static str, fn(&[u8], &[u8]) -> bool);

impl Unreadable {
    /// All of them.
    pub fn all(spool: &dyn Store) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        let own: [Table; 3] = [
            (outbox::TABLE, outbox::is_readable),
            (memory::TABLE, memory::is_readable),
            (memos::TABLE, memos::is_readable),
        ];
        for (table, is_readable) in own.into_iter().chain(LETTER_TABLES) {
            let records =
                spool.load(table)?.into_iter().filter(|(key, value)| !is_readable(key, value));
            found.extend(records.map(|(key, value)| Self { table, key, value }));
        }
        Ok(found)
    }

    /// Returns `true` if it may be about the delivery whose content is in this file of the spool's
    /// folder. A node leaves that file, too, as it is.
    pub fn names(&self, file: &str) -> bool {
        outbox::may_name(&self.value, file)
    }

    /// Keeps it in another table, where no node looks.
    pub fn set_aside(self, spool: &dyn Store) -> io::Result<()> {
        let Self { table, key, value } = self;
        let aside = [table.as_bytes(), b"/", &key].concat();
        spool.write(vec![
            Change::Put { table: ASIDE, key: aside, value },
            Change::Remove { table, key },
        ])
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table, data_encoding::HEXLOWER.encode(&self.key))
    }
}

impl OutboxEntry {
    /// The deliveries in the outbox of a spool that no node has.
    pub fn all(spool: &dyn Store) -> io::Result<Vec<(TransferId, Self)>> {
        Ok(spool
            .load(outbox::TABLE)?
            .iter()
            .filter_map(|(key, value)| Self::decode(key, value))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::MemoryStore;

    #[test]
    fn what_can_t_be_read_is_set_aside_and_lost_to_nobody() {
        let spool = MemoryStore::default();
        let entry = outbox::entry_for_tests();
        spool.put(outbox::TABLE, &[7; 24], &entry.encode().unwrap()).unwrap();
        spool.put(outbox::TABLE, &[8; 24], b"garbage").unwrap();
        spool.put(memory::TABLE, b"short", b"").unwrap();
        let found = Unreadable::all(&spool).unwrap();
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [format!("outbox/{}", "08".repeat(24)), "delivered/73686f7274".into()]
        );
        for record in found {
            record.set_aside(&spool).unwrap();
        }
        assert_eq!(Unreadable::all(&spool).unwrap(), []);
        assert_eq!(OutboxEntry::all(&spool).unwrap(), [(TransferId::from_bytes([7; 24]), entry)]);
        let aside = [&b"outbox/"[..], &[8; 24]].concat();
        assert_eq!(spool.find(ASIDE, &aside).unwrap(), Some(b"garbage".to_vec()));
    }
}
