//! Settings of kinds: each key by itself, then all together.

use std::collections::BTreeSet;

use estafette::node::{KindError, StageRegistry};
use estafette::pipeline::{Inbox, Offer, Refusal, Sink};
use toml::{Table, Value};

use super::Checking;
use crate::fault::{Fault, quoted};
use crate::model::Kind;
use crate::read::of_setting;

/// The use of a kind.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Sink,
    Source,
    Filter,
    Door,
}

impl Checking<'_> {
    /// A kind with its settings, which stand at the key `at`.
    pub(super) fn kind(&mut self, at: &str, kind: &Kind, of: Use) {
        let what = match of {
            Use::Sink => "sink",
            Use::Source => "source",
            Use::Filter => "filter",
            Use::Door => "door",
        };
        let known: Vec<_> = match of {
            Use::Sink => self.registry.inbox_kinds().collect(),
            // These two are of topologies themselves.
            Use::Source => self.registry.source_kinds().chain(["each", "inbox"]).collect(),
            Use::Filter => self.registry.filter_kinds().collect(),
            Use::Door => self.registry.door_kinds().collect(),
        };
        let choice = at;
        let at = format!("{choice}.{}", quoted(&kind.name));
        if !known.contains(&kind.name.as_str()) {
            let message = format!("there is no kind of {what} `{}`", kind.name);
            let fault = Fault::new("unknown-kind", at, message);
            let fault = fault.label("this program does not have it").about(choice);
            self.faults.push(fault.nearest(self.faults.len(), &kind.name, known));
            return;
        }
        let places = self.topology.places();
        let read = |settings: Value| {
            let read = places.read(|| read(self.registry, &kind.name, settings, of));
            read.map_err(|why| why.lines().next().unwrap_or_default().to_owned())
        };
        let mut told = BTreeSet::new();
        let mut faults = Vec::new();
        for (key, value) in kind.settings.as_table().into_iter().flatten() {
            // Alone it lacks what the others say.
            let one = Table::from_iter([(key.clone(), value.clone())]);
            if let Err(why) = read(one.into())
                && !why.starts_with("missing field")
            {
                let before = self.faults.len() + faults.len();
                faults.push(of_setting(&format!("{at}.{}", quoted(key)), key, &why, before));
                told.insert(why);
            }
        }
        if told.is_empty()
            && let Err(why) = read(kind.settings.clone())
        {
            let message = format!("the settings of the {what} `{}` can't be read", kind.name);
            faults.push(Fault::new("wrong-value", at, message).label(why));
        }
        self.faults.extend(faults);
    }
}

/// Reads settings as their kind does; nothing is made.
fn read(registry: &StageRegistry, kind: &str, settings: Value, of: Use) -> Result<(), String> {
    let read = match of {
        Use::Sink => registry.inbox_of(kind, settings).map(drop),
        Use::Source => registry.source_of(kind, settings).map(drop),
        Use::Filter => registry.filter_of(kind, settings).map(drop),
        Use::Door => registry.door_of(kind, settings).map(drop),
    };
    match read {
        Err(KindError::Settings { why, .. }) => Err(why),
        _ => Ok(()),
    }
}

/// An inbox that only has a name.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Inbox for Nowhere {
    fn open(&self, _: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        Err(Refusal::new("this inbox is not open yet"))
    }
}
