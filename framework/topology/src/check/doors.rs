//! Faults of doors.

use super::nodes::one_of;
use super::settings::Use;
use super::{Checking, bad_name, doubles, inbox_name};
use crate::fault::{Fault, quoted};
use crate::model::{DoorSpec, Topology};

impl Checking<'_> {
    pub(super) fn doors(&mut self) {
        let topology = self.topology;
        for (name, door) in &topology.doors {
            let at = format!("door.{}", quoted(name));
            self.name(&at, name);
            self.knows(&format!("{at}.node"), &door.node);
            self.kind(&format!("{at}.door"), &door.door, Use::Door);
            if let Some(why) = self.unmade(door) {
                let place = format!("{at}.door.{}", quoted(&door.door.name));
                let message = format!("the door `{name}` can't be made");
                self.faults.push(Fault::new("bad-address", place, message).label(why));
            }
            // Where nothing is made of its settings, which is a fault already, by what it says.
            let says_out = door.to.is_empty() && !door.from.is_empty();
            if self.leads_out(door).unwrap_or(says_out) {
                self.fed(&at, name, door);
            } else {
                self.reached(&at, door);
            }
        }
    }

    /// Returns the reason that its settings, which can be read, make no door.
    fn unmade(&self, door: &DoorSpec) -> Option<String> {
        let settings = door.door.settings_at(&door.node);
        let read = || self.registry.door_of(&door.door.name, settings);
        let prepared = self.topology.places().read(read).ok()?;
        match prepared.make() {
            Err(estafette::node::KindError::Make { why, .. }) => Some(why),
            _ => None,
        }
    }

    /// Returns `true` if it leads out; `None` where nothing is made of its settings.
    fn leads_out(&self, door: &DoorSpec) -> Option<bool> {
        let settings = door.door.settings_at(&door.node);
        let read = || self.registry.door_of(&door.door.name, settings);
        Some(self.topology.places().read(read).ok()?.make().ok()?.leads_out())
    }

    /// One that leads out takes what nodes deliver to it.
    fn fed(&mut self, at: &str, name: &str, door: &DoorSpec) {
        if !door.to.is_empty() {
            let message = format!("the door `{name}` leads out, and to nothing here");
            let fault = Fault::new("wrong-value", format!("{at}.to"), message);
            let help = "say which nodes deliver to it: from = \"NODE\"";
            self.faults.push(fault.label("it is of doors that lead in").help(help));
        }
        let has_inbox = self.topology.inboxes.get(name);
        if has_inbox.is_some_and(|inbox| inbox.nodes.contains(&door.node)) {
            let message = format!("`{}/{name}` is an inbox, too", door.node);
            let fault = Fault::new("twice", at.to_owned(), message);
            let fault = fault.label("what is delivered to its name goes out by this door");
            self.faults.push(fault.related(format!("inbox.{}", quoted(name)), "the inbox"));
        }
        let place = format!("{at}.from");
        if door.from.is_empty() {
            let fault = Fault::new("missing-key", place.clone(), "nobody delivers to the door");
            self.faults.push(fault.label("no node is named").help("name one: from = \"NODE\""));
        }
        for (index, from) in door.from.iter().enumerate() {
            let place = one_of(&place, index, door.from.len());
            if !self.knows(&place, from) {
                continue;
            }
            if *from == door.node {
                let message = format!("`{from}` would deliver to itself");
                let fault = Fault::new("itself", place, message);
                let fault = fault.label("other nodes deliver to a door");
                self.faults.push(fault.related(format!("{at}.node"), "the node of the door"));
            } else if !self.can_meet(&door.node, from) {
                self.apart(place, &door.node, from);
            }
        }
        for from in doubles(door.from.iter().map(String::as_str)) {
            let message = format!("`{from}` is named twice");
            self.faults.push(Fault::new("twice", place.clone(), message).label("once is enough"));
        }
    }

    /// Two nodes that can't be linked.
    fn apart(&mut self, place: String, one: &str, other: &str) {
        let message = format!("`{one}` and `{other}` can't reach each other");
        let fault = Fault::new("unreachable", place, message);
        let fault = fault.label("neither listens at an address that could be dialled");
        let fault = fault.related(format!("node.{}", quoted(other)), "this node");
        let help = format!("let one listen: [node.{}] listen = \"HOST:PORT\"", quoted(other));
        self.faults.push(fault.help(help));
    }

    fn reached(&mut self, at: &str, door: &DoorSpec) {
        if !door.from.is_empty() {
            let message = "the door leads in: who comes in by it has a token";
            let fault = Fault::new("wrong-value", format!("{at}.from"), message);
            self.faults.push(fault.label("it is of doors that lead out").help("take it out"));
        }
        let place = format!("{at}.to");
        if door.to.is_empty() {
            let fault = Fault::new("missing-key", place.clone(), "the door leads nowhere");
            self.faults.push(fault.label("nothing is named").help("name one: \"NODE/NAME\""));
        }
        for (index, target) in door.to.iter().enumerate() {
            let place = one_of(&place, index, door.to.len());
            // What could not be read has a fault already.
            if target.node.is_empty() || !self.knows(&place, &target.node) {
                continue;
            }
            if target.node == door.node {
                let message = format!("`{}` would be reached through itself", door.node);
                let fault = Fault::new("itself", place, message);
                let fault = fault.label("a door leads to other nodes");
                self.faults.push(fault.related(format!("{at}.node"), "the node of the door"));
            } else if target.inbox != "*"
                && let Err(why) = inbox_name(&target.inbox)
            {
                // An inbox of the topology, or an actor that a program has.
                self.faults.push(bad_name(&place, &target.inbox, &why));
            } else if !self.can_meet(&door.node, &target.node) {
                self.apart(place, &door.node, &target.node);
            }
        }
        let targets: Vec<_> = door.to.iter().map(ToString::to_string).collect();
        for target in doubles(targets.iter().map(String::as_str)) {
            let message = format!("`{target}` is named twice");
            let fault = Fault::new("twice", place.clone(), message);
            self.faults.push(fault.label("once is enough"));
        }
    }

    /// The addresses that doors listen at, and where each is said.
    pub(super) fn door_addresses<'t>(
        &self,
        topology: &'t Topology,
    ) -> Vec<(&'t str, String, String)> {
        let address = |(name, door): (&'t String, &'t DoorSpec)| {
            let settings = door.door.settings_at(&door.node);
            let read = || self.registry.door_of(&door.door.name, settings);
            let made = topology.places().read(read).ok()?.make().ok()?;
            if made.leads_out() {
                return None;
            }
            let at = format!("door.{}.door.{}", quoted(name), quoted(&door.door.name));
            Some((door.node.as_str(), made.address().to_owned(), at))
        };
        topology.doors.iter().filter_map(address).collect()
    }
}
