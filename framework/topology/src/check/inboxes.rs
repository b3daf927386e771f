//! Faults of inboxes.

use std::collections::{BTreeMap, BTreeSet};

use super::nodes::one_of;
use super::settings::Use;
use super::{Checking, bad_name, doubles, inbox_name};
use crate::fault::{Fault, quoted};
use crate::model::InboxSpec;

impl Checking<'_> {
    pub(super) fn inboxes(&mut self) {
        let topology = self.topology;
        let mut folders = BTreeMap::new();
        for (name, inbox) in &topology.inboxes {
            let at = format!("inbox.{}", quoted(name));
            if let Err(why) = inbox_name(name) {
                self.faults.push(bad_name(&at, name, &why));
            }
            self.homes(&at, inbox);
            self.kind(&format!("{at}.sink"), &inbox.sink, Use::Sink);
            for node in inbox.nodes.iter().collect::<BTreeSet<_>>() {
                let Some(folder) = inbox.sink.folder_at(node) else { continue };
                let place = format!("{at}.sink.folder");
                // Nodes with an id may be of several machines.
                let has_id = topology.nodes.get(node).is_some_and(|node| node.id.is_some());
                let machine = has_id.then_some(node);
                let at = (machine, topology.at(folder.as_ref()));
                let taken = folders.insert(at, (place.clone(), name, node));
                let Some((first, other, neighbour)) = taken else { continue };
                let message = format!("`{folder}` is the folder of two inboxes");
                let fault = Fault::new("same-folder", place.clone(), message);
                let fault = fault.label(format!("of {node}/{name} and of {neighbour}/{other}"));
                self.faults.push(if first == place {
                    fault.help("put {node} in it: each node has its own, then")
                } else {
                    fault.related(first, "first said here").help("choose another folder")
                });
            }
        }
    }

    /// The nodes that have it.
    fn homes(&mut self, at: &str, inbox: &InboxSpec) {
        let place = format!("{at}.node");
        if inbox.nodes.is_empty() {
            let fault = Fault::new("missing-key", place.clone(), "the inbox is of no node");
            self.faults.push(fault.label("no node has it"));
        }
        for (index, node) in inbox.nodes.iter().enumerate() {
            self.knows(&one_of(&place, index, inbox.nodes.len()), node);
        }
        for node in doubles(inbox.nodes.iter().map(String::as_str)) {
            let fault = Fault::new("twice", place.clone(), format!("`{node}` is named twice"));
            self.faults.push(fault.label("once is enough"));
        }
    }
}
