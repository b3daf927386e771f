//! Faults of nodes.

use std::collections::BTreeMap;

use super::Checking;
use crate::fault::Fault;
use crate::model::NodeSpec;

impl Checking<'_> {
    pub(super) fn nodes(&mut self) {
        let topology = self.topology;
        if topology.nodes.is_empty() {
            let fault = Fault::new("no-nodes", "", "the topology has no nodes");
            self.faults.push(fault.help("add one: [node.paris]"));
        }
        for (name, node) in &topology.nodes {
            let at = format!("node.{name}");
            self.name(&at, name);
            self.node(&at, name, node);
        }
        self.shared_addresses();
        self.shared_keys();
    }

    fn node(&mut self, at: &str, name: &str, node: &NodeSpec) {
        for (index, other) in node.trust.iter().enumerate() {
            let place = one_of(&format!("{at}.trust"), index, node.trust.len());
            if other == name {
                let fault = Fault::new("itself", place, format!("`{name}` trusts itself"));
                self.faults.push(fault.label("a node does not deliver to itself"));
            } else {
                self.knows(&place, other);
            }
        }
        for (index, address) in node.addresses.iter().enumerate() {
            if let Err(why) = self.registry.check_address(address) {
                let place = one_of(&format!("{at}.addresses"), index, node.addresses.len());
                let message = format!("nobody can dial {address:?}");
                self.faults.push(Fault::new("bad-address", place, message).label(why));
            }
        }
        for fault in node.limits.faults() {
            let place = format!("{at}.limits.{}", fault.key);
            let message = format!("`{}` of {name} can't be {}", fault.key, fault.given);
            self.faults.push(Fault::new("bad-limit", place, message).label(fault.wanted));
        }
    }

    /// Two nodes of this machine can't listen at one address.
    fn shared_addresses(&mut self) {
        let mut taken = BTreeMap::<&str, String>::new();
        for (name, node) in &self.topology.nodes {
            for (index, address) in node.listen.iter().enumerate() {
                let at = one_of(&format!("node.{name}.listen"), index, node.listen.len());
                // Nodes with an id may be of several machines.
                if address.ends_with(":0") || (node.id.is_some() && is_for_all(address)) {
                    continue;
                }
                if let Some(first) = taken.get(address.as_str()) {
                    let message = format!("two listeners have the address {address}");
                    let fault = Fault::new("same-address", at, message).label("taken already");
                    let fault = fault.related(first.clone(), "first said here");
                    self.faults.push(fault.help("choose another port"));
                } else {
                    taken.insert(address, at);
                }
            }
        }
    }

    fn shared_keys(&mut self) {
        let (mut ids, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for (name, node) in &self.topology.nodes {
            if let Some(first) = node.id.and_then(|id| ids.insert(id, name)) {
                let message = format!("`{first}` and `{name}` have the same id");
                let fault = Fault::new("same-id", format!("node.{name}.id"), message);
                let fault = fault.label("one id is one node");
                self.faults.push(fault.related(format!("node.{first}.id"), "first said here"));
            }
            let key = self.topology.key_of(name);
            if let Some(first) = keys.insert(key, name) {
                let message = format!("`{first}` and `{name}` have the same key file");
                let fault = Fault::new("same-id", format!("node.{name}.key"), message);
                let fault = fault.label("one key is one node");
                self.faults.push(fault.related(format!("node.{first}.key"), "first said here"));
            }
        }
    }
}

/// True for `0.0.0.0:7400` and `[::]:7400`, at which each machine has a node of its own.
fn is_for_all(address: &str) -> bool {
    address.starts_with("0.0.0.0:") || address.starts_with("[::]:")
}

/// The key of one value of a list, which may have been written as that value alone.
pub(super) fn one_of(at: &str, index: usize, count: usize) -> String {
    if count > 1 { format!("{at}[{index}]") } else { at.to_owned() }
}
