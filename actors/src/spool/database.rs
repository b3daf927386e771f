//! redb, as the spool uses it: three tables, every commit in two phases.
//!
//! ```text
//! records    key → checksum and value, as in `record`
//! damaged    the same, of records that were found damaged and set aside
//! commits    nothing → number of the last commit, 8 bytes: tells, after a commit that failed, whether it was made all the same
//! ```
//!
//! Two phases, since a commit in one phase that is found torn after a crash and one that has rotted
//! look alike: redb would go back behind both, and an acknowledged record would be gone without a
//! word.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use redb::{
    Builder, ConcurrencyMode, Database, ReadOnlyDatabase, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageBackend, TableDefinition, WriteTransaction,
};

use super::failure::{guarded, is_full};
use super::medium::{Act, Medium, Trouble, Watch, Watched};
use super::overlay::Overlay;
use super::queue::Step;
use super::record;

pub(super) type Table<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;
pub(super) const RECORDS: Table<'static> = TableDefinition::new("records");
pub(super) const DAMAGED: Table<'static> = TableDefinition::new("damaged");
const COMMITS: TableDefinition<'static, (), u64> = TableDefinition::new("commits");

/// A database that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) watch: Arc<Watch>,
    /// Set if what is written to it goes nowhere.
    pub(super) overlay: bool,
}

/// The reason why a database could not be used.
#[derive(Clone, Debug)]
pub(super) enum Trial {
    /// The medium failed.
    Medium(Trouble),
    /// The medium did not, so that what lies on it makes no sense.
    Damage(String),
}

impl Trial {
    /// Returns what `text`, which came from redb, means after what the medium has gone through.
    pub(super) fn new(watch: &Watch, text: String) -> Self {
        watch.trouble().map_or(Self::Damage(text), Self::Medium)
    }

    /// Returns `true` if nothing more must be written.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Medium(trouble) => {
                trouble.act == Act::Sync || (trouble.act == Act::Write && !is_full(trouble.kind))
            }
            Self::Damage(_) => true,
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Medium(trouble) => &trouble.text,
            Self::Damage(text) => text,
        }
    }
}

impl Opened {
    /// Opens the database with everything in it verified, or makes it. A damaged record does not
    /// keep it from opening: it is set aside, and told of.
    pub(super) fn open(medium: &Medium) -> Result<(Self, Vec<Vec<u8>>), Trial> {
        let (backend, watch) = watched(medium)?;
        match begin(backend, true) {
            Ok(database) => Ok((Self { database, watch, overlay: false }, Vec::new())),
            Err(text) => match Trial::new(&watch, text) {
                Trial::Damage(text) => Self::heal(medium, text),
                trial => Err(trial),
            },
        }
    }

    /// Opens a view of the database that can be written and is forgotten.
    pub(super) fn overlay(medium: &Medium) -> Result<Self, Trial> {
        let (backend, watch) = overlaid(medium)?;
        let database = begin(backend, false).map_err(|text| Trial::new(&watch, text))?;
        Ok(Self { database, watch, overlay: true })
    }

    /// If nothing but values is damaged, rewriting their pages without them makes the database
    /// whole. Tried in a view first, since a database that is damaged elsewhere might do
    /// anything when it is written.
    fn heal(medium: &Medium, text: String) -> Result<(Self, Vec<Vec<u8>>), Trial> {
        let (backend, _) = overlaid(medium)?;
        if without_damaged(backend).is_err() {
            return Err(Trial::Damage(text));
        }
        let (backend, watch) = watched(medium)?;
        let (database, damaged) =
            without_damaged(backend).map_err(|text| Trial::new(&watch, text))?;
        Ok((Self { database, watch, overlay: false }, damaged))
    }
}

/// A backend that must be made to read a database which only a salvage reads.
pub(super) fn salvage(medium: &Medium) -> Result<ReadOnlyDatabase, Trial> {
    let (backend, watch) = overlaid(medium)?;
    // In this mode, redb reads the trees and needs nothing else to be whole.
    let open = || {
        Ok(builder()
            .set_concurrency_mode(ConcurrencyMode::SingleWriter)
            .open_read_only_with_backend(backend)?)
    };
    guarded(open).map_err(|text| Trial::new(&watch, text))
}

/// Checks that redb finds everything as it wrote it; nothing is changed.
pub(super) fn verify(medium: &Medium) -> Result<(), Trial> {
    let (backend, watch) = overlaid(medium)?;
    begin(backend, true).map(drop).map_err(|text| Trial::new(&watch, text))
}

/// Makes the changes of all of these, or none.
pub(super) fn apply<'a>(
    database: &Database,
    steps: impl Iterator<Item = &'a Step>,
) -> Result<(), redb::Error> {
    // By their keys, so that a page is looked for once; those of one key stay in their order.
    let mut steps: Vec<_> = steps.collect();
    steps.sort_by_key(|step| step.key());
    let transaction = transaction(database)?;
    {
        let mut records = transaction.open_table(RECORDS)?;
        for step in steps {
            match step {
                Step::Put { key, value } => drop(records.insert(&key[..], &value[..])?),
                Step::Remove { key } => drop(records.remove(&key[..])?),
                Step::SetAside { key } => {
                    let stored = records.get(&key[..])?.map(|stored| stored.value().to_vec());
                    let Some(stored) =
                        stored.filter(|stored| record::decode_value(key, stored).is_err())
                    else {
                        continue;
                    };
                    records.remove(&key[..])?;
                    transaction.open_table(DAMAGED)?.insert(&key[..], &stored[..])?;
                }
            }
        }
    }
    let number = last_commit(&transaction.open_table(COMMITS)?)? + 1;
    transaction.open_table(COMMITS)?.insert((), number)?;
    Ok(transaction.commit()?)
}

/// The number of the last commit that was made.
pub(super) fn commits(database: &Database) -> Result<u64, redb::Error> {
    last_commit(&database.begin_read()?.open_table(COMMITS)?)
}

fn last_commit(table: &impl ReadableTable<(), u64>) -> Result<u64, redb::Error> {
    Ok(table.get(())?.map_or(0, |number| number.value()))
}

fn transaction(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

fn begin(backend: impl StorageBackend, verified: bool) -> Result<Database, String> {
    guarded(|| {
        let database =
            builder().set_check_integrity_on_open(verified).create_with_backend(backend)?;
        let tables = database.begin_read()?.list_tables()?.count();
        if tables == 0 {
            let transaction = transaction(&database)?;
            transaction.open_table(RECORDS)?;
            transaction.open_table(DAMAGED)?;
            transaction.open_table(COMMITS)?;
            transaction.commit()?;
        }
        Ok(database)
    })
}

/// Opens a database without verifying it, sets aside the records that are damaged, and then
/// verifies it.
fn without_damaged(backend: impl StorageBackend) -> Result<(Database, Vec<Vec<u8>>), String> {
    guarded(|| {
        let mut database = builder().create_with_backend(backend)?;
        let (records, aside) = (count(&database, RECORDS)?, count(&database, DAMAGED)?);
        let damaged = damaged_keys(&database)?;
        let steps: Vec<_> = damaged.iter().map(|key| Step::SetAside { key: key.clone() }).collect();
        apply(&database, steps.iter())?;
        let moved = damaged.len() as u64;
        // Damage that reaches beyond values makes records come and go, or hide behind one another.
        let whole = count(&database, RECORDS)? == records - moved
            && count(&database, DAMAGED)? <= aside + moved;
        if !whole || !damaged_keys(&database)?.is_empty() || !database.check_integrity()? {
            return Err(redb::Error::Corrupted("more than values is damaged".to_owned()));
        }
        Ok((database, damaged))
    })
}

/// The keys of the records that are damaged; an error if not only records are.
pub(super) fn damaged_keys(database: &Database) -> Result<Vec<Vec<u8>>, redb::Error> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    let (mut damaged, mut found, mut last) = (Vec::new(), 0, Vec::new());
    for entry in records.iter()? {
        let (key, stored) = entry?;
        if found > 0 && key.value() <= &last[..] {
            return Err(redb::Error::Corrupted("its keys are not in order".to_owned()));
        }
        found += 1;
        key.value().clone_into(&mut last);
        if record::decode_value(key.value(), stored.value()).is_err() {
            damaged.push(key.value().to_vec());
        }
    }
    if found != records.len()? {
        return Err(redb::Error::Corrupted(format!(
            "{found} records were found, and not {}",
            records.len()?
        )));
    }
    Ok(damaged)
}

fn count(database: &Database, table: Table<'_>) -> Result<u64, redb::Error> {
    Ok(database.begin_read()?.open_table(table)?.len()?)
}

fn watched(medium: &Medium) -> Result<(Watched, Arc<Watch>), Trial> {
    let backend = medium.open().map_err(|error| medium_trial(&error))?;
    let watch = backend.watch.clone();
    Ok((backend, watch))
}

fn overlaid(medium: &Medium) -> Result<(Overlay, Arc<Watch>), Trial> {
    let (backend, watch) = watched(medium)?;
    Ok((Overlay::new(backend).map_err(|error| medium_trial(&error))?, watch))
}

fn medium_trial(error: &std::io::Error) -> Trial {
    Trial::Medium(Trouble { act: Act::Read, kind: error.kind(), text: error.to_string() })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

/// The memory of redb, in bytes: for pages that were read or are to be written.
const CACHE: usize = 32 << 20;

/// The error for those who wanted to read.
pub(super) fn unreadable(medium: &Medium, trial: &Trial) -> io::Error {
    let name = &medium.name;
    match trial {
        Trial::Medium(trouble) if is_full(trouble.kind) => io::Error::new(
            ErrorKind::StorageFull,
            format!("{name}: the disk is full ({}); free some space there", trouble.text),
        ),
        Trial::Medium(trouble) => io::Error::new(trouble.kind, format!("{name}: {}", trouble.text)),
        Trial::Damage(text) => {
            let then = "`estafette doctor` can set this file aside and keep what is readable";
            io::Error::new(ErrorKind::InvalidData, format!("{name} is damaged: {text}; {then}"))
        }
    }
}
