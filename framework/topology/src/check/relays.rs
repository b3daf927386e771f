//! Faults of the relays on the way of a route.

use std::collections::HashMap;

use super::nodes::one_of;
use super::{Checking, doubles};
use crate::fault::{Fault, quoted};
use crate::model::RouteSpec;

impl Checking<'_> {
    pub(super) fn relays(&mut self, at: &str, route: &RouteSpec) {
        let via = format!("{at}.via");
        for relay in doubles(route.via.iter().map(String::as_str)) {
            let fault = Fault::new("itself", via.clone(), format!("`{relay}` is on the way twice"));
            self.faults.push(fault.label("what comes back to a relay goes no further"));
        }
        for (index, relay) in route.via.iter().enumerate() {
            let place = one_of(&via, index, route.via.len());
            if self.knows(&place, relay) {
                self.relay(&place, route, relay);
            }
        }
        let stops: Vec<&str> = [&route.from].into_iter().chain(&route.via).map(|s| &**s).collect();
        for (index, pair) in stops.windows(2).enumerate() {
            if let [before, relay] = *pair {
                self.meets(&one_of(&via, index, route.via.len()), before, relay);
            }
        }
        if let Some(last) = route.via.last() {
            let place = one_of(&via, route.via.len() - 1, route.via.len());
            for target in &route.to {
                self.meets(&place, &target.node, last);
            }
        }
    }

    fn relay(&mut self, place: &str, route: &RouteSpec, relay: &str) {
        if *relay == route.from || route.to.iter().any(|target| target.node == *relay) {
            let message = format!("`{relay}` is an end of this route");
            let fault = Fault::new("itself", place, message);
            return self.faults.push(fault.label("a relay is a third node"));
        }
        let is_relay = self.topology.nodes.get(relay).is_some_and(|node| node.relay.is_some());
        if !is_relay {
            let fault = Fault::new("no-relay", place, format!("`{relay}` is no relay"));
            let fault = fault.label("it keeps nothing for others");
            let fault = fault.related(format!("node.{}", quoted(relay)), "this node");
            let help = format!("let it be one: [node.{}] relay = true", quoted(relay));
            self.faults.push(fault.help(help));
        }
    }

    /// Two that are next to each other on a way.
    fn meets(&mut self, place: &str, one: &str, relay: &str) {
        let known = |name: &str| self.topology.nodes.contains_key(name);
        if one == relay || !known(one) || !known(relay) || self.can_meet(relay, one) {
            return;
        }
        let message = format!("`{one}` and the relay `{relay}` can't reach each other");
        let fault = Fault::new("unreachable", place, message);
        let fault = fault.label("neither listens at an address that could be dialled");
        self.faults.push(fault.related(format!("node.{}", quoted(relay)), "the relay"));
    }

    /// A relay knows one way to each receiver.
    pub(super) fn ways(&mut self) {
        let mut ways = HashMap::<(&str, &str), (&str, &str)>::new();
        for (name, route) in &self.topology.routes {
            for (index, relay) in route.via.iter().enumerate() {
                // One that is there twice has that fault.
                let is_first = !route.via[..index].contains(relay);
                for target in route.to.iter().filter(|_| is_first) {
                    let next = route.via.get(index + 1).unwrap_or(&target.node);
                    let way = ways.entry((relay, &target.node)).or_insert((next, name));
                    if way.0 == next {
                        continue;
                    }
                    let place = format!("route.{}.via", quoted(name));
                    let (node, other) = (&target.node, way.0);
                    let message = format!("`{relay}` would have two ways to `{node}`");
                    let fault =
                        Fault::new("two-ways", one_of(&place, index, route.via.len()), message);
                    let fault = fault.label(format!("here it goes to `{next}` next"));
                    let before = format!("route.{}.via", quoted(way.1));
                    let fault = fault.related(before, format!("and to `{other}` here"));
                    self.faults.push(fault.help("a relay hands on by whom it is for: choose one"));
                }
            }
        }
    }
}
