//! Addresses that go from one node to another in one reload: who takes one waits until whoever had
//! it has ended.

use super::child::{Children, Next, Node};

impl Children<'_> {
    /// Starts a node for a reload, or lets it wait for those that are ending and still listen where
    /// it is to listen.
    pub(super) fn start_now(&mut self, name: &str) {
        if self.is_held(name) {
            // Those who end don't wait for it, so nobody waits for ever.
            let node = self.nodes.entry(name.to_owned()).or_default();
            (node.next, node.wait, node.looks) = (Next::Now, None, None);
        } else {
            self.start_again(name);
        }
    }

    /// A process has ended: whoever has waited for its addresses is started.
    pub(super) fn start_those_who_waited(&mut self) {
        let waits = |(name, node): (&String, &Node)| {
            (node.process.is_none() && node.next == Next::Now).then(|| name.clone())
        };
        for name in self.nodes.iter().filter_map(waits).collect::<Vec<_>>() {
            if !self.is_held(&name) {
                self.start_again(&name);
            }
        }
    }

    fn is_held(&self, name: &str) -> bool {
        let mut others =
            self.nodes.iter().filter(|(other, node)| *other != name && node.is_ending());
        others.any(|(other, node)| self.topology.listens_where(name, &node.applied, other))
    }
}

impl Node {
    /// Returns `true` if its process is told to end, and has not.
    fn is_ending(&self) -> bool {
        let runs = self.process.as_ref().is_some_and(|process| !process.has_ended);
        runs && self.next != Next::Restart
    }
}
