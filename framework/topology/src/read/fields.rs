//! The keys of a table, taken out one by one: what is left over at the end is no key.

use std::path::PathBuf;
use std::time::Duration;

use estafette::node::units;
use toml::{Table, Value};

use crate::fault::{Fault, nearest, quoted};

/// A table that is being read.
pub(super) struct Fields<'f> {
    /// Its key, such as `route.letters`.
    pub(super) at: String,
    table: Table,
    known: Vec<&'static str>,
    missing: Vec<&'static str>,
    pub(super) faults: &'f mut Vec<Fault>,
}

impl<'f> Fields<'f> {
    /// The table that a key must be; `None`, and a fault, if it is something else.
    pub(super) fn of(at: String, value: Value, faults: &'f mut Vec<Fault>) -> Option<Self> {
        match value {
            Value::Table(table) => {
                Some(Self { at, table, known: Vec::new(), missing: Vec::new(), faults })
            }
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
            let fault = Fault::new("missing-key", self.key(key), message);
            let fault = fault.label(format!("`{key}` is missing"));
            self.faults.push(fault.help(format!("add one: {key} = {example}")));
            self.missing.push(key);
        }
        value
    }

    pub(super) fn wrong<T>(&mut self, key: &str, value: &Value, wanted: &str) -> Option<T> {
        let fault = wrong_type(&self.key(key), value, wanted);
        self.faults.push(fault);
        None
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        self.as_text(key, value)
    }

    /// A value that must be one text.
    pub(super) fn as_text(&mut self, key: &str, value: Value) -> Option<String> {
        match value {
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
        // What is no text keeps the places of the others.
        self.as_list(key, value).into_iter().map(Option::unwrap_or_default).collect()
    }

    /// One text, or a list of them; `None` for each that is something else.
    pub(super) fn as_list(&mut self, key: &'static str, value: Value) -> Vec<Option<String>> {
        let list = match value {
            Value::String(text) => return vec![Some(text)],
            Value::Array(list) => list,
            other => {
                self.wrong::<()>(key, &other, "a text or a list of texts");
                return vec![None];
            }
        };
        let several = list.len() > 1;
        let mut texts = Vec::new();
        for (index, value) in list.into_iter().enumerate() {
            let at = if several { format!("{key}[{index}]") } else { key.to_owned() };
            texts.push(self.as_text(&at, value));
        }
        texts
    }

    /// `true` or `false`, and that where it is not said.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        match self.value(key) {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            Some(other) => self.wrong(key, &other, "true or false").unwrap_or_default(),
        }
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
        let value = self.value(key)?;
        self.as_size(key, &value)
    }

    pub(super) fn as_size(&mut self, key: &str, value: &Value) -> Option<u64> {
        let read = match value {
            Value::String(text) => units::parse_size(text),
            Value::Integer(bytes) => units::parse_size(&bytes.to_string()),
            other => return self.wrong(key, other, "a size, such as \"6MiB\""),
        };
        self.parsed(key, read)
    }

    /// Returns what could be read; else notes a fault, with the reason why not.
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
        let Self { at, table, known, missing, faults } = self;
        let within = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
        for key in table.keys() {
            let key = quoted(key);
            let of = if at.is_empty() { "a topology" } else { at.as_str() };
            let fault = Fault::new("unknown-key", within(&key), format!("{of} has no key `{key}`"));
            let fault = fault.label("there is no such key");
            let mut fault = fault.nearest(faults.len(), &key, known.iter().copied());
            // One key with a slip of the pen is not another one that is missing, too.
            if let Some(meant) = nearest(&key, missing.iter().copied()).map(within) {
                faults.retain(|fault| !(fault.code == "missing-key" && fault.at == meant));
                fault = fault.about(meant);
            }
            faults.push(fault);
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
