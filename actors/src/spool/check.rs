//! Looking through a spool that may be damaged, and saving from it what can be read.
//!
//! Invariant: looking changes nothing; saving deletes nothing.

use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use redb::{ReadTransaction, ReadableTable};

use super::Spool;
use super::database::{DAMAGED, Opened, RECORDS, Trial, apply, damaged_keys, unreadable, verify};
use super::failure::guarded;
use super::layout::{Folder, medium};
use super::medium::Act;
use super::queue::Step;
use super::record;
use super::salvage::{Found, walk};

/// The findings of a check of a spool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Records that are as they were written.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Records that are damaged, and were not yet set aside.
    pub damaged: Vec<Damaged>,
    /// Records that were found damaged before, and set aside.
    pub set_aside: Vec<Damaged>,
    /// The damage to the database itself, if there is any. Then some records may be missing. Where
    /// its index points to an old page, some may be older than they were.
    pub database: Option<String>,
    /// The place to which a repair has moved the damaged database.
    pub moved: Option<PathBuf>,
}

/// A record that is another one than was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damaged {
    /// Its table and key, as far as they are to be believed.
    pub record: String,
    /// The damage, for a person.
    pub reason: String,
}

impl Damaged {
    pub(super) fn new(full: &[u8], reason: &str) -> Self {
        Self { record: record::name_of(full), reason: reason.to_owned() }
    }
}

impl Report {
    /// Returns whether nothing is damaged, apart from records that were set aside before.
    pub fn is_well(&self) -> bool {
        self.damaged.is_empty() && self.database.is_none()
    }

    fn count(&mut self, found: &Found<'_>) {
        match found.value {
            Ok(value) => {
                self.records += 1;
                self.bytes += (found.key.len() + value.len()) as u64;
            }
            Err(reason) => self.damaged.push(Damaged::new(found.key, reason)),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} records ({} bytes) are well", self.records, self.bytes)?;
        for damaged in &self.damaged {
            write!(f, "\n{} is damaged: {}", damaged.record, damaged.reason)?;
        }
        for damaged in &self.set_aside {
            write!(f, "\n{} was set aside: {}", damaged.record, damaged.reason)?;
        }
        if let Some(text) = &self.database {
            write!(
                f,
                "\nthe database is damaged ({text}): records may be missing, or older than they \
                 were"
            )?;
        }
        self.moved
            .as_ref()
            .map_or(Ok(()), |moved| write!(f, "\nthe damaged database is now {}", moved.display()))
    }
}

impl Spool {
    /// Looks through the spool in `dir` without changing it: whether redb finds its pages as it
    /// wrote them, and whether each record is what was written.
    ///
    /// # Errors
    /// When there is no spool, another process has it, a newer version of estafette wrote it, or it
    /// can't be read at all. Damage is no error.
    pub fn check(dir: impl AsRef<Path>) -> io::Result<Report> {
        let folder = Folder::existing(dir.as_ref())?;
        let medium = folder.medium();
        let mut report = Report {
            database: verify(&medium).err().map(|trial| trial.text().to_owned()),
            ..Report::default()
        };
        let records = walk(&medium, RECORDS, |found| {
            report.count(&found);
            true
        });
        let aside = walk(&medium, DAMAGED, |found| {
            report.set_aside.push(Damaged::new(
                found.key,
                found.value.err().unwrap_or("it was damaged when it was found"),
            ));
            true
        });
        report.note(records.and(aside).err());
        Ok(report)
    }

    /// Repairs the spool in `dir`. Damaged records are set aside within it. A database that is
    /// damaged elsewhere is moved aside, and a new one has every record that could be read.
    /// What was damaged is in the report; nothing is deleted.
    ///
    /// # Errors
    /// As [`Spool::check`], and when there is no room for a new database or it can't be written:
    /// the old one is in its place then.
    pub fn repair(dir: impl AsRef<Path>) -> io::Result<Report> {
        let folder = Folder::existing(dir.as_ref())?;
        folder.complete()?;
        let medium = folder.medium();
        match Opened::open(&medium) {
            Ok((opened, healed)) => {
                clean(&opened, &healed).map_err(|trial| unreadable(&medium, &trial))
            }
            Err(Trial::Damage(text)) => rebuild(&folder, text),
            // Not there or empty, which is damage; or it can't be read in places, and elsewhere it
            // can.
            Err(Trial::Medium(trouble))
                if trouble.act == Act::Read && trouble.kind != ErrorKind::PermissionDenied =>
            {
                rebuild(&folder, trouble.text)
            }
            Err(trial) => Err(unreadable(&medium, &trial)),
        }
    }
}

impl Report {
    fn note(&mut self, text: Option<String>) {
        self.database = self.database.take().or(text);
    }
}

/// Sets aside what is damaged in a database that is well otherwise.
fn clean(opened: &Opened, healed: &[Vec<u8>]) -> Result<Report, Trial> {
    let mut report = Report::default();
    let outcome = guarded(|| {
        let database = &opened.database;
        let damaged = damaged_keys(database)?;
        let steps: Vec<_> = damaged.iter().map(|key| Step::SetAside { key: key.clone() }).collect();
        apply(database, steps.iter())?;
        let transaction = redb::ReadableDatabase::begin_read(database)?;
        for entry in transaction.open_table(RECORDS)?.iter()? {
            let (key, stored) = entry?;
            report.count(&Found::new(key.value(), stored.value()));
        }
        let new = |record: &Damaged| {
            healed.iter().chain(&damaged).any(|key| record::name_of(key) == record.record)
        };
        (report.damaged, report.set_aside) = set_aside(&transaction)?.into_iter().partition(new);
        Ok(())
    });
    outcome.map_err(|text| Trial::new(&opened.watch, text))?;
    Ok(report)
}

/// Makes a new database of all that can be read, and puts it in the place of the damaged one.
fn rebuild(folder: &Folder, text: String) -> io::Result<Report> {
    let mut report = Report { database: Some(text), ..Report::default() };
    let from = folder.medium();
    folder.begin_database()?;
    let to = medium(folder.new_database());
    let (opened, _) = Opened::open(&to).map_err(|trial| unreadable(&to, &trial))?;
    let mut copy = Copy { to: &opened, steps: Vec::new(), bytes: 0, failed: None };
    // Set aside first what was set aside before: there may be a newer one under the same name.
    let aside = walk(&from, DAMAGED, |found| {
        report.set_aside.push(Damaged::new(
            found.key,
            found.value.err().unwrap_or("it was damaged when it was found"),
        ));
        copy.add(&found)
    });
    let records = walk(&from, RECORDS, |found| {
        report.count(&found);
        copy.add(&found)
    });
    report.note(aside.and(records).err());
    copy.finish().map_err(|text| unreadable(&to, &Trial::new(&opened.watch, text)))?;
    opened.database.close().map_err(|error| io::Error::other(format!("{}: {error}", to.name)))?;
    if folder.database().exists() {
        report.moved = Some(folder.set_aside()?);
    }
    folder.complete()?;
    Ok(report)
}

/// Records on their way to a new database.
struct Copy<'a> {
    to: &'a Opened,
    steps: Vec<Step>,
    bytes: usize,
    failed: Option<String>,
}

impl Copy<'_> {
    /// Adds a record; returns `true` if there is a point in adding more.
    fn add(&mut self, found: &Found<'_>) -> bool {
        let key = found.key.to_vec();
        if found.value.is_err() {
            self.steps.extend([
                Step::Put { key: key.clone(), value: found.stored.to_vec() },
                Step::SetAside { key },
            ]);
        } else {
            self.steps.push(Step::Put { key, value: found.stored.to_vec() });
        }
        self.bytes += found.stored.len();
        if self.bytes > BATCH || self.steps.len() > BATCH / 256 {
            self.flush();
        }
        self.failed.is_none()
    }

    fn flush(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        self.bytes = 0;
        self.failed =
            self.failed.take().or(guarded(|| apply(&self.to.database, steps.iter())).err());
    }

    fn finish(mut self) -> Result<(), String> {
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }
}

/// The records that were set aside.
pub(super) fn set_aside(transaction: &ReadTransaction) -> Result<Vec<Damaged>, redb::Error> {
    let records = transaction.open_table(DAMAGED)?;
    let damaged = records.iter()?.map(|entry| {
        let (key, stored) = entry?;
        let found = Found::new(key.value(), stored.value());
        Ok(Damaged::new(found.key, found.value.err().unwrap_or("it was damaged when it was found")))
    });
    damaged.collect()
}

const BATCH: usize = 4 << 20;
