//! Reading what can be read of a table in a damaged database.
//!
//! Forward as far as it goes, then backward as far as that goes: one damaged place costs no more
//! than what is in it. Keys must be in order, so a damaged index can't lead in circles.

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::database::{Table, salvage};
use super::failure::guarded;
use super::medium::Medium;
use super::record;

/// A record, well or not.
pub(super) struct Found<'a> {
    pub(super) key: &'a [u8],
    pub(super) stored: &'a [u8],
    /// The value, or what is wrong with it.
    pub(super) value: Result<&'a [u8], &'static str>,
}

impl<'a> Found<'a> {
    pub(super) fn new(key: &'a [u8], stored: &'a [u8]) -> Self {
        Self { key, stored, value: record::decode_value(key, stored) }
    }
}

/// Calls `visit` with each record of a table that can be read, until it says that there is no
/// point; tells what kept it from reading all of them.
pub(super) fn walk(
    medium: &Medium,
    table: Table<'_>,
    mut visit: impl FnMut(Found<'_>) -> bool,
) -> Result<(), String> {
    let mut last = None;
    let forward = walk_forward(medium, table, &mut last, &mut visit);
    if forward.is_err() {
        // What the way back meets is the same damage from behind.
        let _ = walk_backward(medium, table, last.as_deref(), &mut visit);
    }
    forward
}

fn walk_forward(
    medium: &Medium,
    table: Table<'_>,
    last: &mut Option<Vec<u8>>,
    visit: &mut impl FnMut(Found<'_>) -> bool,
) -> Result<(), String> {
    let database = salvage(medium).map_err(|trial| trial.text().to_owned())?;
    guarded(|| {
        let records = database.begin_read()?.open_table(table)?;
        let mut count = 0;
        for entry in records.iter()? {
            let (key, stored) = entry?;
            if last.as_deref().is_some_and(|last| last >= key.value()) {
                return Err(out_of_order());
            }
            *last = Some(key.value().to_vec());
            count += 1;
            if !visit(Found::new(key.value(), stored.value())) {
                return Ok(());
            }
        }
        let expected = records.len()?;
        if count == expected {
            Ok(())
        } else {
            Err(redb::Error::Corrupted(format!("{count} records were found, and not {expected}")))
        }
    })
}

fn walk_backward(
    medium: &Medium,
    table: Table<'_>,
    until: Option<&[u8]>,
    visit: &mut impl FnMut(Found<'_>) -> bool,
) -> Result<(), String> {
    let database = salvage(medium).map_err(|trial| trial.text().to_owned())?;
    guarded(|| {
        let records = database.begin_read()?.open_table(table)?;
        let mut before: Option<Vec<u8>> = None;
        for entry in records.iter()?.rev() {
            let (key, stored) = entry?;
            if until.is_some_and(|until| key.value() <= until) {
                return Ok(());
            }
            if before.as_deref().is_some_and(|before| before <= key.value()) {
                return Err(out_of_order());
            }
            before = Some(key.value().to_vec());
            if !visit(Found::new(key.value(), stored.value())) {
                return Ok(());
            }
        }
        Ok(())
    })
}

fn out_of_order() -> redb::Error {
    redb::Error::Corrupted("its keys are not in order".to_owned())
}
