//! Changes that belong together: all of them or none, whatever happens to the process.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::PoisonError;

use super::{FileStore, checksum, named, private, sync_folder};
use crate::store::{Change, Store};

const MAGIC: &[u8] = b"estafette changes 1\n";
/// The longest file of changes that is read: more than any that is written.
const LIMIT: u64 = 64 << 20;

/// A change as the file has it; the value is `None` where the record is removed.
#[derive(Debug)]
pub(super) struct Pending {
    table: String,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl FileStore {
    fn journal(&self) -> PathBuf {
        self.folder.join("changes")
    }

    pub(super) fn write_together(&self, mut changes: Vec<Change>) -> io::Result<()> {
        for change in &changes {
            match change {
                Change::Put { table, key, value } => {
                    self.place(table, key).and_then(|_| Self::check_value(value))?
                }
                Change::Remove { table, key } => self.place(table, key).map(drop)?,
            }
        }
        match (changes.pop(), changes.is_empty()) {
            (None, _) => return Ok(()),
            (Some(Change::Put { table, key, value }), true) => {
                return self.put(table, &key, &value);
            }
            (Some(Change::Remove { table, key }), true) => return self.remove(table, &key),
            (Some(last), false) => changes.push(last),
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.end_pending()?;
        self.changing()?;
        self.commit(&changes).map_err(|error| named(&self.journal(), &error))?;
        // They are made: who reads finds them there, and who writes next tries again.
        if let Err(error) = self.end_pending() {
            tracing::warn!(
                %error,
                "changes are noted, and come into their records with the next change"
            );
        }
        Ok(())
    }

    fn commit(&self, changes: &[Change]) -> io::Result<()> {
        let (journal, mut bytes) = (self.journal(), MAGIC.to_vec());
        for change in changes {
            let (table, key, value) = match change {
                Change::Put { table, key, value } => (table, key, Some(value)),
                Change::Remove { table, key } => (table, key, None),
            };
            bytes.push(u8::from(value.is_some()));
            for part in [Some(table.as_bytes()), Some(key.as_slice()), value.map(Vec::as_slice)]
                .into_iter()
                .flatten()
            {
                bytes.extend((part.len() as u32).to_le_bytes());
                bytes.extend(part);
            }
        }
        bytes.extend(checksum("changes", &[], &bytes));
        let new = self.folder.join("changes.new");
        self.step()?;
        let mut file = private(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        self.step()?;
        fs::rename(&new, &journal)?;
        let synced = self.step().and_then(|()| sync_folder(&self.folder));
        // Not durable is not made: where it can't be taken back, whoever reads the store sees what
        // holds.
        synced.inspect_err(|_| drop(self.step().and_then(|()| fs::remove_file(&journal))))
    }

    /// The changes that are not in all records yet.
    pub(super) fn pending(&self) -> io::Result<Vec<Pending>> {
        let path = self.journal();
        let mut bytes = Vec::new();
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file
                .and_then(|file| file.take(LIMIT).read_to_end(&mut bytes))
                .map_err(|error| named(&path, &error))?,
        };
        let whole = bytes
            .split_last_chunk::<32>()
            .filter(|(said, sum)| checksum("changes", &[], said) == **sum);
        whole.and_then(|(said, _)| parse(said.strip_prefix(MAGIC)?)).ok_or_else(|| {
            let text = "it is damaged, so that it is not known what was changed: restore the \
                        folder from a copy, or remove this file and look who is trusted";
            named(&path, &io::Error::new(ErrorKind::InvalidData, text))
        })
    }

    /// Brings them into their records.
    pub(super) fn end_pending(&self) -> io::Result<()> {
        let pending = self.pending()?;
        if pending.is_empty() {
            return Ok(());
        }
        for Pending { table, key, value } in &pending {
            let place = self.place(table, key)?;
            match value {
                Some(value) => self
                    .write_record(&place, table, key, value)
                    .map_err(|error| named(&place, &error))?,
                None => self.remove_record(&place)?,
            }
        }
        self.step()?;
        fs::remove_file(self.journal()).map_err(|error| named(&self.journal(), &error))?;
        sync_folder(&self.folder)
    }
}

/// The records of a table with what is pending.
pub(super) fn overlaid(
    mut records: Vec<(Vec<u8>, Vec<u8>)>,
    pending: Vec<Pending>,
    table: &str,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    for Pending { key, value, .. } in pending.into_iter().filter(|pending| pending.table == table) {
        records.retain(|(known, _)| *known != key);
        records.extend(value.map(|value| (key, value)));
    }
    records
}

fn parse(mut bytes: &[u8]) -> Option<Vec<Pending>> {
    let mut changes = Vec::new();
    while let Some((kind, mut rest)) = bytes.split_first() {
        let (table, key) = (String::from_utf8(part(&mut rest)?).ok()?, part(&mut rest)?);
        let value = if *kind == 1 { Some(part(&mut rest)?) } else { None };
        changes.push(Pending { table, key, value });
        bytes = rest;
    }
    Some(changes)
}

fn part(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some(part.to_vec())
}
