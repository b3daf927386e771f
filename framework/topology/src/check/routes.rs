//! Faults of routes.

use estafette::node::NodeConfig;
use estafette::node::units::time_text;

use super::nodes::one_of;
use super::settings::Use;
use super::{Checking, doubles};
use crate::fault::{Fault, HINTED, quoted};
use crate::model::{Deliver, RouteSpec, Schedule, SourceSpec, Target};

impl Checking<'_> {
    pub(super) fn routes(&mut self) {
        for (name, route) in &self.topology.routes {
            let at = format!("route.{}", quoted(name));
            self.name(&at, name);
            let from_known = self.knows(&format!("{at}.from"), &route.from);
            self.source(&at, route);
            if route.to.is_empty() {
                let fault = Fault::new("missing-key", format!("{at}.to"), "the route goes nowhere");
                self.faults.push(fault.label("no inbox is named").help("name one: \"NODE/INBOX\""));
            }
            for (index, target) in route.to.iter().enumerate() {
                let place = one_of(&format!("{at}.to"), index, route.to.len());
                self.target(&place, name, route, target, from_known);
            }
            let targets: Vec<_> = route.to.iter().map(ToString::to_string).collect();
            for target in doubles(targets.iter().map(String::as_str)) {
                let message = format!("`{target}` is named twice");
                let fault = Fault::new("twice", format!("{at}.to"), message);
                self.faults.push(fault.label("each delivery goes there once"));
            }
            if route.deliver == Deliver::One && !matches!(route.source, SourceSpec::Each(_)) {
                let message = "only what comes one by one can go to one of several";
                let fault = Fault::new("no-queue", format!("{at}.deliver"), message);
                let fault = fault.label("this source is one delivery for all");
                let fault = fault.about(format!("{at}.source"));
                self.faults.push(fault.help("use source = { each = \"jobs/\" }"));
            }
            for (index, node) in route.tap.record.iter().enumerate() {
                let place = one_of(&format!("{at}.tap.record"), index, route.tap.record.len());
                self.knows(&place, node);
            }
            self.relays(&at, route);
            self.stages(&at, route);
            self.coding(&at, route);
            self.figures(&at, route);
        }
        self.ways();
    }

    fn source(&mut self, at: &str, route: &RouteSpec) {
        let place = format!("{at}.source");
        match &route.source {
            SourceSpec::Kind(kind) => return self.kind(&place, kind, Use::Source),
            SourceSpec::Each(each) => self.path(&format!("{place}.each"), &each.folder),
            SourceSpec::Inbox(inbox) => self.arrivals(&format!("{place}.inbox"), route, inbox),
        }
        if route.schedule != Schedule::Once {
            let fault = Fault::new(
                "no-schedule",
                format!("{at}.schedule"),
                "this route sends whatever comes, at once",
            );
            self.faults.push(fault.label("no schedule is needed").help("leave it out"));
        }
    }

    /// An inbox of the sender, from which deliveries go on.
    fn arrivals(&mut self, place: &str, route: &RouteSpec, inbox: &str) {
        let Some(spec) = self.topology.inboxes.get(inbox) else {
            let fault = Fault::new("unknown-inbox", place, format!("there is no inbox `{inbox}`"));
            let fault = fault.about(format!("inbox.{}", quoted(inbox)));
            let fault = fault.label("not an inbox of this topology");
            let known = self.topology.inboxes.keys().map(String::as_str);
            let before = self.faults.len();
            self.faults.push(fault.nearest(before, inbox, known));
            return;
        };
        if !self.has(&route.from, inbox) {
            let message = format!("`{}` has no inbox `{inbox}`", route.from);
            let fault = Fault::new("unknown-inbox", place, message);
            let fault = fault.label(format!("it is of {}", some(&spec.nodes)));
            self.faults.push(fault.related(format!("inbox.{}.node", quoted(inbox)), "said here"));
        } else if spec.sink.folder_at(&route.from).is_none() {
            let message = format!("nothing can go on from the inbox `{inbox}`");
            let fault = Fault::new("no-folder", place, message);
            let fault = fault.label(format!("its sink `{}` keeps no files", spec.sink.name));
            let fault = fault.related(format!("inbox.{}.sink", quoted(inbox)), "said here");
            self.faults.push(fault.help("use a folder: sink = { folder = \"in/\" }"));
        }
    }

    fn target(
        &mut self,
        place: &str,
        name: &str,
        route: &RouteSpec,
        target: &Target,
        from_known: bool,
    ) {
        if !self.knows(place, &target.node) {
            return;
        }
        if target.node == route.from {
            let message = format!("`{}` would deliver to itself", route.from);
            let fault = Fault::new("itself", place, message).label("a route ends at another node");
            self.faults.push(fault.related(format!("route.{}.from", quoted(name)), "the sender"));
            return;
        }
        let inbox = self.topology.inboxes.get(&target.inbox);
        // One of no node has that fault already.
        let is_nobodys = inbox.is_some_and(|inbox| inbox.nodes.is_empty());
        if !self.has(&target.node, &target.inbox) && !is_nobodys {
            let message = format!("`{}` has no inbox `{}`", target.node, target.inbox);
            let fault = Fault::new("unknown-inbox", place, message);
            let fault = fault.about(format!("inbox.{}", quoted(&target.inbox)));
            let fault = fault.label("a route to nowhere").help(match inbox {
                Some(_) => format!("add {:?} to its nodes, or name another one", target.node),
                None => {
                    let name = quoted(&target.inbox);
                    format!("add one: [inbox.{name}] with node = {:?}", target.node)
                }
            });
            let before = self.faults.len();
            let fault = if before < HINTED {
                let names = self.topology.inboxes.keys();
                let known: Vec<_> = names.filter(|name| self.has(&target.node, name)).collect();
                fault.nearest(before, &target.inbox, known.into_iter().map(String::as_str))
            } else {
                fault
            };
            self.faults.push(fault);
        }
        if from_known && route.via.is_empty() && !self.can_meet(&route.from, &target.node) {
            let message = format!("`{}` and `{}` can't reach each other", route.from, target.node);
            let fault = Fault::new("unreachable", place, message);
            let fault = fault
                .label("neither listens at an address that could be dialled")
                .related(format!("node.{}", quoted(&target.node)), "the receiver")
                .related(format!("node.{}", quoted(&route.from)), "the sender");
            let help =
                format!("let one listen: [node.{}] listen = \"HOST:PORT\"", quoted(&target.node));
            self.faults.push(fault.help(help));
        }
    }

    /// Returns `true` if one of two nodes can be dialled by the other.
    pub(super) fn can_meet(&self, one: &str, other: &str) -> bool {
        let dialled = |name: &str| {
            self.topology.nodes.get(name).is_none_or(|node| !node.dialled_at().is_empty())
        };
        dialled(one) || dialled(other)
    }

    /// Its codec.
    fn coding(&mut self, at: &str, route: &RouteSpec) {
        let Some(codec) = route.codec.as_deref().filter(|codec| *codec != "off") else { return };
        let known: Vec<_> = self.registry.stages().codecs().map(|codec| codec.name()).collect();
        if !known.contains(&codec) {
            let fault = Fault::new(
                "unknown-codec",
                format!("{at}.codec"),
                format!("there is no codec `{codec}`"),
            );
            let fault = fault.label("this program does not have it");
            let before = self.faults.len();
            self.faults.push(fault.nearest(before, codec, known.into_iter().chain(["off"])));
        }
    }

    /// Checks what the node that sends must be able to do.
    fn figures(&mut self, at: &str, route: &RouteSpec) {
        let default = NodeConfig::default();
        // Of the sizes alone: the node's own window and pool are as they are.
        let most = usize::try_from(NodeConfig::POOL_MOST).unwrap_or(usize::MAX);
        let config = NodeConfig {
            window: most,
            pool: most,
            chunk_size: route.chunk_size.unwrap_or(default.chunk_size),
            expiry: route.expiry.unwrap_or(default.expiry),
            ..default
        };
        for fault in config.faults() {
            let key = if fault.key == "expiry" { "expires" } else { fault.key };
            let message = format!("`{key}` can't be {}", fault.given);
            let fault = Fault::new("bad-limit", format!("{at}.{key}"), message).label(fault.wanted);
            self.faults.push(fault);
        }
        if route.rate == Some(0) {
            let fault = Fault::new("bad-limit", format!("{at}.rate"), "`rate` can't be 0");
            self.faults.push(fault.label("must be one byte in a second at least"));
        }
        if let Some(expected) = &route.expected {
            let (every, ratio) = (expected.every, expected.ratio);
            let wrong = [
                (expected.bytes == 0, "bytes", "0".into(), "must be one byte at least"),
                (every.is_zero(), "every", "0s".into(), "must be more than 0 s"),
                (
                    !(ratio > 0.0 && ratio <= 2.0),
                    "ratio",
                    ratio.to_string(),
                    "is what is left of each byte: more than 0, 2 at most",
                ),
            ];
            for (_, key, given, wanted) in wrong.into_iter().filter(|(is_wrong, ..)| *is_wrong) {
                let message = format!("`{key}` can't be {given}");
                let place = format!("{at}.expected.{key}");
                self.faults.push(Fault::new("bad-limit", place, message).label(wanted));
            }
        }
        if let Schedule::Every(every) = route.schedule
            && every < Schedule::SHORTEST
        {
            let message = format!("`every` can't be {}", time_text(every));
            let fault = Fault::new("bad-limit", format!("{at}.schedule.every"), message);
            self.faults.push(fault.label("must be 1 s at least"));
        }
    }
}

/// The first of some names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 { format!("{shown}, and {more} more") } else { shown }
}
