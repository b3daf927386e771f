//! `[[test]]`: what is given, and what is expected.

use std::collections::BTreeMap;
use std::path::PathBuf;

use estafette::node::units::parse_size;
use toml::Value;

use super::Fields;
use crate::fault::{Fault, quoted};
use crate::model::{TestFile, TestSpec};

pub(super) fn read(at: String, value: Value, faults: &mut Vec<Fault>) -> Option<TestSpec> {
    let mut fields = Fields::of(at, value, faults)?;
    let test = TestSpec {
        name: fields.text("name").unwrap_or_else(|| fields.at.clone()),
        given: files(&mut fields, "given"),
        expect: files(&mut fields, "expect"),
        absent: fields.texts("absent").into_iter().map(PathBuf::from).collect(),
        within: fields.time("within"),
    };
    fields.finish();
    Some(test)
}

/// Paths and contents: a text, `{ file = "input/letter" }` or `{ bytes = "1MiB" }`.
fn files(fields: &mut Fields<'_>, key: &'static str) -> BTreeMap<PathBuf, TestFile> {
    let mut files = BTreeMap::new();
    for (path, value) in fields.tables(key) {
        let at = format!("{key}.{}", quoted(&path));
        let file = match value {
            Value::String(text) => Some(TestFile::Text(text)),
            Value::Table(table) => of_table(&table).or_else(|| wrong(fields, &at)),
            _ => wrong(fields, &at),
        };
        // What is none is expected, too.
        files.insert(PathBuf::from(path), file.unwrap_or(TestFile::Bytes(0)));
    }
    files
}

fn of_table(table: &toml::Table) -> Option<TestFile> {
    let (key, value) = table.iter().next().filter(|_| table.len() == 1)?;
    match (key.as_str(), value) {
        ("file", Value::String(path)) => Some(TestFile::Of(path.into())),
        ("bytes", Value::Integer(count)) => Some(TestFile::Bytes(u64::try_from(*count).ok()?)),
        ("bytes", Value::String(size)) => Some(TestFile::Bytes(parse_size(size).ok()?)),
        _ => None,
    }
}

fn wrong(fields: &mut Fields<'_>, at: &str) -> Option<TestFile> {
    let wanted = "a text, { file = \"input/letter\" } or { bytes = \"1MiB\" } is wanted";
    fields.parsed(at, Err(wanted))
}
