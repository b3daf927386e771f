//! The keys of a table, taken out one by one: what is left over at the end is no key.

use std::path::PathBuf;
use std::time::Duration;

use estafette::node::units;
use toml::{Table, Value};

use crate::fault::Fault;

/// A table that is being read.
pub(super) struct Fields<'f> {
    /// Its key, such as `route.letters`.
    pub(super) at: String,
    table: Table,
    known: Vec<&'static str>,
    pub(super) faults: &'f mut Vec<Fault>,
}

impl<'f> Fields<'f> {
    /// The table that a key must be; `None`, and a fault, if it is something else.
    pub(super) fn of(at: String, value: Value, faults: &'f mut Vec<Fault>) -> Option<Self> {
        match value {
            Value::Table(table) => Some(Self { at, table, known: Vec::new(), faults }),
            other => {
                faults.push(wrong_type(&at, &other, "a table"));
                None
            }
        }
    }

    pub(super) fn key(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    pub(super) fn value(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// The value of a key that can't be left out.
    pub(super) fn needed(&mut self, key: &'static str, example: &str) -> Option<Value> {
        let value = self.value(key);
        if value.is_none() {
            let message = format!("`{}` says no `{key}`", self.at);
            let fault = Fault::new("missing-key", self.at.clone(), message);
            let fault = fault.label(format!("`{key}` is missing"));
            self.faults.push(fault.help(format!("add one: {key} = {example}")));
        }
        value
    }

    fn wrong<T>(&mut self, key: &str, value: &Value, wanted: &str) -> Option<T> {
        let fault = wrong_type(&self.key(key), value, wanted);
        self.faults.push(fault);
        None
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(key, &other, "a text"),
        }
    }

    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// One text, or a list of them.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        match self.value(key) {
            Some(value) => self.as_texts(key, value),
            None => Vec::new(),
        }
    }

    pub(super) fn as_texts(&mut self, key: &'static str, value: Value) -> Vec<String> {
        let list = match value {
            Value::String(text) => return vec![text],
            Value::Array(list) => list,
            other => {
                return self.wrong(key, &other, "a text or a list of texts").unwrap_or_default();
            }
        };
        let mut texts = Vec::new();
        for (index, value) in list.into_iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text),
                other => {
                    self.wrong::<()>(&format!("{key}[{index}]"), &other, "a text");
                }
            }
        }
        texts
    }

    pub(super) fn time(&mut self, key: &'static str) -> Option<Duration> {
        let value = self.value(key)?;
        self.as_time(key, &value)
    }

    pub(super) fn as_time(&mut self, key: &str, value: &Value) -> Option<Duration> {
        let read = match value {
            Value::String(text) => units::parse_time(text),
            Value::Integer(seconds) => units::parse_time(&seconds.to_string()),
            other => return self.wrong(key, other, "a time, such as \"10s\""),
        };
        self.parsed(key, read)
    }

    pub(super) fn size(&mut self, key: &'static str) -> Option<u64> {
        let read = match self.value(key)? {
            Value::String(text) => units::parse_size(&text),
            Value::Integer(bytes) => units::parse_size(&bytes.to_string()),
            other => return self.wrong(key, &other, "a size, such as \"6MiB\""),
        };
        self.parsed(key, read)
    }

    /// What could be read, or a fault with the reason why not.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        read: Result<T, impl std::fmt::Display>,
    ) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                let at = self.key(key);
                let fault = Fault::new("wrong-value", at.clone(), format!("`{at}` can't be read"));
                self.faults.push(fault.label(error.to_string()));
                None
            }
        }
    }

    /// The tables of a key, by their names.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<(String, Value)> {
        match self.value(key) {
            Some(Value::Table(tables)) => tables.into_iter().collect(),
            Some(other) => {
                self.wrong(key, &other, &format!("tables: [{key}.NAME]")).unwrap_or_default()
            }
            None => Vec::new(),
        }
    }

    /// The tables of a list: `[[key]]`.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<Value> {
        match self.value(key) {
            Some(Value::Array(list)) => list,
            Some(other) => {
                self.wrong(key, &other, &format!("a list of tables: [[{key}]]")).unwrap_or_default()
            }
            None => Vec::new(),
        }
    }

    /// The only key of the table, and its value: a choice.
    pub(super) fn only(mut self, what: &str, example: &str) -> Option<(String, Value)> {
        let mut entries = std::mem::take(&mut self.table).into_iter();
        match (entries.next(), entries.next()) {
            (Some(entry), None) => Some(entry),
            (first, _) => {
                let found = if first.is_some() { "more than one" } else { "none" };
                let message = format!("`{}` names {found}, and one {what} is wanted", self.at);
                let fault = Fault::new("wrong-value", self.at.clone(), message);
                self.faults.push(fault.help(format!("write {example}")));
                None
            }
        }
    }

    /// Names the keys that are left: there are no such ones.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let at = if self.at.is_empty() { key.clone() } else { format!("{}.{key}", self.at) };
            let of = if self.at.is_empty() { "a topology" } else { self.at.as_str() };
            let fault = Fault::new("unknown-key", at, format!("{of} has no key `{key}`"));
            let fault = fault.label("there is no such key");
            self.faults.push(fault.nearest(key, self.known.iter().copied()));
        }
    }
}

fn wrong_type(at: &str, value: &Value, wanted: &str) -> Fault {
    let found = match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    };
    let message = format!("`{at}` is {wanted}, not {found}");
    Fault::new("wrong-type", at, message).label(format!("this is {found}"))
}
