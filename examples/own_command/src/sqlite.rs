//! A sink: each row of a CSV file becomes a row of a table, and each delivery does so once.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use estafette::delivery::ContentKind;
use estafette::node::units::SizeText;
use estafette::pipeline::{Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Summary};
use futures_util::future::{BoxFuture, ready};
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params, params_from_iter};
use schemars::JsonSchema;
use serde::Deserialize;

/// The table of the deliveries whose rows are there. No other one is called so.
const DONE: &str = "estafette deliveries";
/// The longest that another program may be writing.
const PATIENCE: Duration = Duration::from_secs(30);

/// The inbox, and its settings: a table of a database, whose columns are those of the first file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sqlite {
    /// The file of the database. It is made if it is not there.
    #[serde(with = "estafette::node::units::path")]
    #[schemars(with = "PathBuf")]
    pub file: PathBuf,
    /// The table.
    pub table: String,
    /// The longest file that is taken, which is kept in memory until all of it is there: `16MiB`,
    /// unless it is said.
    #[serde(default = "most", deserialize_with = "estafette::node::units::size::deserialize")]
    #[schemars(with = "Option<SizeText>")]
    pub most: u64,
}

fn most() -> u64 {
    16 << 20
}

impl Inbox for Sqlite {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        if offer.content.kind == ContentKind::Tree {
            return Err(Refusal::new("files of CSV are taken here, and no folders"));
        }
        if self.table.eq_ignore_ascii_case(DONE) {
            return Err(Refusal::new(format!(
                "the table {DONE:?} is for what is done: name another"
            )));
        }
        self.fits(offer.content.length.unwrap_or(0))?;
        let delivery = format!("{}/{}", offer.peer, offer.transfer);
        Ok(Box::new(Rows { inbox: self.clone(), delivery, text: Vec::new() }))
    }
}

impl Sqlite {
    fn fits(&self, length: u64) -> Result<(), Refusal> {
        match length <= self.most {
            true => Ok(()),
            false => Err(Refusal::new(format!(
                "{length} bytes or more are too many for this table, which takes {} at most",
                self.most
            ))),
        }
    }

    /// Puts the rows into the table, unless those of this delivery are there; says how many.
    fn insert(&self, delivery: &str, text: &[u8]) -> Result<usize, SinkError> {
        let mut database = Connection::open(&self.file).map_err(|error| self.failed(error))?;
        database.busy_timeout(PATIENCE).map_err(|error| self.failed(error))?;
        // Begun as one that writes: one that only became so would not wait for others.
        let transaction = database
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| self.failed(error))?;
        let done = quoted(DONE);
        transaction
            .execute_batch(&format!("CREATE TABLE IF NOT EXISTS {done} (id TEXT PRIMARY KEY)"))
            .map_err(|error| self.failed(error))?;
        // A process that died after this was committed, and before its sender knew, gets it again.
        let is_new = transaction
            .execute(&format!("INSERT OR IGNORE INTO {done} VALUES (?1)"), params![delivery])
            .map_err(|error| self.failed(error))?;
        let rows = if is_new == 0 { 0 } else { self.rows(&transaction, text)? };
        transaction.commit().map_err(|error| self.failed(error))?;
        Ok(rows)
    }

    fn rows(&self, database: &Connection, text: &[u8]) -> Result<usize, SinkError> {
        let mut reader = csv::Reader::from_reader(text);
        let unread = |error| refused(format!("this is no CSV: {error}"));
        let names = reader.headers().map_err(unread)?.clone();
        if names.is_empty() {
            return Err(refused("it has no first line with the names of columns".into()));
        }
        let table = quoted(&self.table);
        let columns = names.iter().map(quoted).collect::<Vec<_>>().join(", ");
        let made = format!("CREATE TABLE IF NOT EXISTS {table} ({columns})");
        database.execute_batch(&made).map_err(|error| match error.sqlite_error_code() {
            // Two columns of one name, or too many: no other try makes it right.
            Some(ErrorCode::Unknown) => refused(format!("its columns can't be a table: {error}")),
            _ => self.failed(error),
        })?;
        let places = vec!["?"; names.len()].join(", ");
        let insert = format!("INSERT INTO {table} ({columns}) VALUES ({places})");
        let mut insert = database.prepare(&insert).map_err(|error| {
            refused(format!("its columns are not those of the table {:?}: {error}", self.table))
        })?;
        let mut rows = 0;
        for row in reader.records() {
            let row = row.map_err(unread)?;
            rows += insert.execute(params_from_iter(&row)).map_err(|error| self.failed(error))?;
        }
        Ok(rows)
    }

    fn failed(&self, error: rusqlite::Error) -> SinkError {
        SinkError::Write { what: shown(&self.file), error: io::Error::other(error) }
    }
}

/// One delivery, until all of it is there.
#[derive(Debug)]
struct Rows {
    inbox: Sqlite,
    delivery: String,
    text: Vec<u8>,
}

impl Sink for Rows {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(&'a mut self, _: u64, bytes: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        let length = (self.text.len() + bytes.len()) as u64;
        let fits = self.inbox.fits(length).map_err(SinkError::Refused);
        if fits.is_ok() {
            self.text.extend_from_slice(bytes);
        }
        Box::pin(ready(fits))
    }

    fn commit<'a>(&'a mut self, _: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        let rows = self.inbox.insert(&self.delivery, &self.text);
        let place = |rows| format!("{rows} rows of {}", shown(&self.inbox.file));
        Box::pin(ready(rows.map(|rows| Committed { place: place(rows), ..Committed::default() })))
    }

    fn abort(&mut self, _reason: &str) {
        self.text = Vec::new();
    }
}

fn refused(why: String) -> SinkError {
    SinkError::Refused(Refusal::new(why))
}

/// A name as SQL has it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
