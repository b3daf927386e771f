//! The dry path of a delivery: all that one of this name, from this node, would pass, step by step.
//! Nothing is sent, opened or dialled.

use std::collections::BTreeSet;
use std::path::Path;

use estafette::node::StageRegistry;
use estafette::node::units::{size_text, time_text};
use serde::Serialize;
use toml::Value;

use crate::graph::relay_words;
use crate::model::{Deliver, Kind, RouteSpec, SourceSpec, Target, Then, Topology};
use crate::run::is_left_alone;

/// A step of a delivery on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// Steps with a larger number follow from the last one with a smaller one.
    pub depth: usize,
    /// The node where it is done.
    pub node: String,
    /// The route that it is a step of.
    pub route: String,
    /// The kind of step.
    pub step: StepKind,
    /// The step, for a person.
    pub does: String,
    /// The reason why the delivery would end here.
    pub fails: Option<String>,
}

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepKind {
    /// The source gives it.
    Source,
    /// A filter changes it.
    Filter,
    /// It is stored until it is delivered.
    Store,
    /// It is cut into chunks.
    Chunk,
    /// A coder changes each chunk.
    Coder,
    /// Chunks are compressed.
    Codec,
    /// Chunks are sealed.
    Seal,
    /// It goes to another node.
    Link,
    /// A relay keeps it.
    Relay,
    /// The receiver looks whether its sender may.
    Trust,
    /// Chunks are opened, verified and made what they were.
    Open,
    /// Its inbox takes it.
    Inbox,
}

impl Topology {
    /// Returns the steps of a delivery of this name from this node, by each route that would send
    /// it; none, where no route would.
    pub fn trace(&self, registry: &StageRegistry, node: &str, name: &str) -> Vec<Step> {
        let mut tracing =
            Tracing { topology: self, registry, name, steps: Vec::new(), walked: BTreeSet::new() };
        for (route, spec) in &self.routes {
            if spec.from == node && may_send(&spec.source, name) {
                tracing.route(0, route, spec);
            }
        }
        tracing.steps
    }
}

/// Returns `true` if a source could give this delivery. What an inbox gives begins elsewhere.
fn may_send(source: &SourceSpec, name: &str) -> bool {
    match source {
        SourceSpec::Each(_) => true,
        SourceSpec::Inbox(_) => false,
        SourceSpec::Kind(kind) => {
            let said = kind.settings.as_table().and_then(|settings| settings.get("name"));
            let paths = kind.sent_paths();
            match (said.and_then(Value::as_str), &paths[..]) {
                (Some(said), _) => said == name,
                (None, [path]) => {
                    Path::new(path).file_name().is_some_and(|file| file.to_str() == Some(name))
                }
                // Several paths have a name that is made of them; a program's kinds, any.
                (None, _) => true,
            }
        }
    }
}

struct Tracing<'t> {
    topology: &'t Topology,
    registry: &'t StageRegistry,
    name: &'t str,
    steps: Vec<Step>,
    /// Routes and targets that it has come by: a way that leads back is not walked again.
    walked: BTreeSet<(&'t str, &'t Target)>,
}

impl<'t> Tracing<'t> {
    fn step(&mut self, at: (usize, &str, &str), step: StepKind, does: impl Into<String>) {
        self.fails(at, step, does, None);
    }

    fn fails(
        &mut self,
        (depth, route, node): (usize, &str, &str),
        step: StepKind,
        does: impl Into<String>,
        fails: Option<String>,
    ) {
        let (node, route) = (node.to_owned(), route.to_owned());
        self.steps.push(Step { depth, node, route, step, does: does.into(), fails });
    }

    fn route(&mut self, depth: usize, name: &'t str, spec: &'t RouteSpec) {
        let at = (depth, name, spec.from.as_str());
        if !self.source(at, spec) {
            return;
        }
        self.stages(at, spec);
        if spec.deliver == Deliver::One && spec.to.len() > 1 {
            let does = "goes to one of them: that which has least to do";
            self.step(at, StepKind::Store, does);
        }
        for to in &spec.to {
            if self.walked.insert((name, to)) {
                self.way(depth + 1, name, spec, to);
            }
        }
    }

    /// Returns `true` if it is sent at all.
    fn source(&mut self, at: (usize, &str, &str), spec: &RouteSpec) -> bool {
        let mut fails = None;
        let does = match &spec.source {
            SourceSpec::Each(each) => {
                if is_left_alone(self.name) {
                    fails = Some(format!(
                        "names that begin with a dot, or end as those of unfinished files do, are \
                         left alone: {:?}",
                        self.name
                    ));
                }
                let then = match each.then {
                    Then::Remove => ", and removed when all have it",
                    Then::Keep => "",
                };
                format!("taken from {}{then}", each.folder.display())
            }
            SourceSpec::Inbox(inbox) => format!("goes on from the inbox {inbox}"),
            SourceSpec::Kind(kind) => format!("given by the source {}", kind.name),
        };
        let goes = fails.is_none();
        self.fails(at, StepKind::Source, does, fails);
        goes
    }

    fn stages(&mut self, at: (usize, &str, &str), spec: &RouteSpec) {
        let limits = self.topology.nodes.get(&spec.from).map(|node| node.limits.clone());
        let limits = limits.unwrap_or_default();
        let (filters, coders): (Vec<_>, Vec<_>) =
            spec.stages.iter().partition(|stage| stage.is_filter(self.registry));
        for filter in &filters {
            self.step(at, StepKind::Filter, format!("passes the filter {}", filter.name));
        }
        let expiry = time_text(spec.expiry.unwrap_or(limits.expiry));
        let what = match (spec.via.is_empty(), filters.is_empty()) {
            (false, _) => "a package that its receiver alone opens",
            (true, false) => "a copy",
            (true, true) => "a reference to it, or a copy of what can be read once",
        };
        let does = format!("stored in the spool as {what}, for {expiry} at most");
        self.step(at, StepKind::Store, does);
        let size = size_text(spec.chunk_size.unwrap_or(limits.chunk_size).into());
        self.step(at, StepKind::Chunk, format!("cut into chunks of {size}"));
        for coder in &coders {
            self.step(at, StepKind::Coder, format!("each chunk passes the coder {}", coder.name));
        }
        let codec = spec.codec.clone().or_else(|| {
            let chosen = self.registry.stages().chosen_codec(limits.compression).ok()?;
            Some(chosen.map_or_else(|| "off".to_owned(), |codec| codec.name().to_owned()))
        });
        let codec = codec.unwrap_or_default();
        if codec != "off" {
            self.step(at, StepKind::Codec, format!("compressed with {codec}"));
        }
        let suites: Vec<_> =
            self.registry.stages().suites().iter().map(ToString::to_string).collect();
        let does = format!("sealed for the receiver, with {}", suites.join(", or else "));
        self.step(at, StepKind::Seal, does);
    }

    fn way(&mut self, depth: usize, name: &'t str, spec: &'t RouteSpec, to: &'t Target) {
        let mut here = (depth, name, spec.from.as_str());
        for via in &spec.via {
            self.link(here, via);
            let quota = self.topology.nodes.get(via).and_then(|node| node.relay);
            let kept = quota.map(relay_words).unwrap_or_default();
            here = (depth, name, via.as_str());
            let does = format!("kept for {}, and not opened: {kept}", to.node);
            self.step(here, StepKind::Relay, does);
        }
        self.link(here, &to.node);
        let there = (depth, name, to.node.as_str());
        let does = format!("{} may deliver to {}, as this route does", spec.from, to.inbox);
        self.step(there, StepKind::Trust, does);
        self.step(there, StepKind::Open, "opened, and what each chunk passed is undone; verified");
        let Some(inbox) = self.topology.inboxes.get(&to.inbox) else { return };
        let (does, fails) = taken(&inbox.sink, to, self.name);
        let ends = fails.is_some();
        self.fails(there, StepKind::Inbox, does, fails);
        if ends {
            return;
        }
        for (next, on) in &self.topology.routes {
            let begins = matches!(&on.source, SourceSpec::Inbox(inbox) if *inbox == to.inbox);
            if begins && on.from == to.node {
                self.route(depth + 1, next, on);
            }
        }
    }

    fn link(&mut self, at: (usize, &str, &str), to: &str) {
        let addresses = self.topology.nodes.get(to).map(|node| node.dialled_at());
        let addresses = addresses.unwrap_or_default();
        let does = match addresses.is_empty() {
            true => format!("goes to {to} by the link that {to} keeps up"),
            false => format!("goes to {to}, which is dialled at {}", addresses.join(", ")),
        };
        self.step(at, StepKind::Link, does);
    }
}

/// Returns what an inbox makes of a delivery, and the reason that it refuses it.
fn taken(sink: &Kind, to: &Target, name: &str) -> (String, Option<String>) {
    let Some(folder) = sink.folder_at(&to.node) else {
        return (format!("taken by the inbox {}: {}", to.inbox, sink.name), None);
    };
    let settings = sink.settings_at(&to.node);
    let says = |key: &str| settings.as_table().and_then(|settings| settings.get(key)).cloned();
    let is_hidden = name.starts_with('.') && says("dotfiles") != Some(Value::Boolean(true));
    let fails = is_hidden.then(|| {
        "names that begin with a dot are refused there: dotfiles = true takes them".to_owned()
    });
    let conflict = says("on_conflict").and_then(|policy| Some(policy.as_str()?.to_owned()));
    let conflict = match conflict.as_deref() {
        Some("replace") => "in place of what has its name",
        Some("merge") => "in place of what has its name, and what a folder has besides stays",
        Some("rename") => "under another name, if its own is taken",
        _ => "refused, if its name is taken",
    };
    let place = Path::new(&folder).join(name);
    (format!("published in the inbox {} as {}; {conflict}", to.inbox, place.display()), fails)
}
