//! The trust and the dialling between nodes that routes ask for.

use std::collections::{BTreeMap, HashSet};

use super::OBSERVE;
use crate::model::{ReceiptWanted, SourceSpec, Target, Topology};
use crate::neighbour::Neighbour;

impl Topology {
    /// The nodes that the node `name` has to do with.
    pub(crate) fn neighbours(&self, name: &str) -> BTreeMap<String, Neighbour> {
        let mut neighbours = BTreeMap::new();
        self.meet_by_links(name, &mut neighbours);
        self.meet_by_routes(name, &mut neighbours);
        self.meet_by_doors(name, &mut neighbours);
        self.meet_by_trust(name, &mut neighbours);
        neighbours.remove(name);
        neighbours
    }

    /// Adds the nodes with which `name` has a link, and whether that is kept up.
    fn meet_by_links(&self, name: &str, neighbours: &mut BTreeMap<String, Neighbour>) {
        let mut meet = |dials: &str, dialled: &str, stays: bool| {
            // The one that is dialled stays linked with who can't reach it.
            let turned = !self.is_dialled(dialled);
            if dials == name {
                neighbours.entry(dialled.to_owned()).or_default().connect |= stays && !turned;
            }
            if dialled == name {
                neighbours.entry(dials.to_owned()).or_default().connect |= turned;
            }
        };
        for (observed, node) in &self.nodes {
            for observer in node.observe.iter().filter(|observer| *observer != observed) {
                meet(observer, observed, false);
            }
        }
        let onwards = self.onwards();
        for route in self.routes.values() {
            for target in &route.to {
                match (route.via.first(), route.via.last()) {
                    // Who keeps it has something to bring, to one end, and to tell, to the other.
                    (Some(first), Some(last)) => {
                        meet(&route.from, first, true);
                        meet(&target.node, last, true);
                    }
                    // That it has gone on is told when it has: perhaps long after it arrived.
                    _ => {
                        let later = route.receipt == ReceiptWanted::Processed;
                        meet(&route.from, &target.node, later || onwards.has(target));
                    }
                }
            }
            route.via.windows(2).for_each(|relays| {
                if let [one, next] = relays {
                    meet(one, next, true);
                }
            });
        }
    }

    /// Adds the nodes that `name` has to do with as an end, or as a relay, of a route.
    fn meet_by_routes(&self, name: &str, neighbours: &mut BTreeMap<String, Neighbour>) {
        for route in self.routes.values() {
            let at = route.via.iter().position(|relay| relay == name);
            let next = at.and_then(|at| route.via.get(at + 1));
            let before = at.and_then(|at| route.via.get(at.checked_sub(1)?));
            if let Some(next) = next {
                let reaches = route.to.iter().map(|target| target.node.clone());
                neighbours.entry(next.clone()).or_default().reaches.extend(reaches);
            }
            if let Some(before) = before {
                neighbours.entry(before.clone()).or_default().brings = true;
            }
            for target in route.to.iter().filter(|target| target.node == name) {
                let sender = neighbours.entry(route.from.clone()).or_default();
                sender.inboxes.insert(target.inbox.clone());
            }
            // Both ends know each other, whoever carries it.
            if route.from == name {
                route.to.iter().for_each(|target| {
                    neighbours.entry(target.node.clone()).or_default();
                });
            }
        }
    }

    /// Adds the nodes that `name` trusts, or lets look, and those that let it.
    fn meet_by_trust(&self, name: &str, neighbours: &mut BTreeMap<String, Neighbour>) {
        if let Some(node) = self.nodes.get(name) {
            for trusted in &node.trust {
                let trusted = neighbours.entry(trusted.clone()).or_default();
                trusted.inboxes.insert("*".into());
            }
            for observer in &node.observe {
                let observer = neighbours.entry(observer.clone()).or_default();
                observer.inboxes.insert(OBSERVE.into());
            }
        }
        // Who trusts this node may be sent to, and must be known for that.
        for (other, node) in &self.nodes {
            let known = node.trust.iter().chain(&node.observe);
            if known.into_iter().any(|known| known == name) {
                neighbours.entry(other.clone()).or_default();
            }
        }
    }

    /// Adds the nodes that have to do with `name` by doors.
    fn meet_by_doors(&self, name: &str, neighbours: &mut BTreeMap<String, Neighbour>) {
        for (door, spec) in &self.doors {
            let turned = !self.is_dialled(&spec.node);
            for from in &spec.from {
                if spec.node == name {
                    let from = neighbours.entry(from.clone()).or_default();
                    from.inboxes.insert(door.clone());
                    from.connect |= turned;
                }
                if from == name {
                    // Letters dial by themselves.
                    neighbours.entry(spec.node.clone()).or_default();
                }
            }
        }
        for (door, target) in
            self.doors.values().flat_map(|door| door.to.iter().map(move |target| (door, target)))
        {
            let turned = !self.is_dialled(&target.node);
            if target.node == name {
                let through = neighbours.entry(door.node.clone()).or_default();
                through.inboxes.insert(target.inbox.clone());
                through.connect |= turned;
            }
            if door.node == name {
                // An actor is asked at any time: it should not have to be dialled first.
                neighbours.entry(target.node.clone()).or_default().connect |= !turned;
            }
        }
    }

    /// The places of deliveries at which routes begin.
    pub(crate) fn onwards(&self) -> Onwards<'_> {
        let inboxes = self.routes.values().filter_map(|route| match &route.source {
            SourceSpec::Inbox(inbox) => Some((&*route.from, &**inbox)),
            _ => None,
        });
        Onwards(inboxes.collect())
    }

    fn is_dialled(&self, name: &str) -> bool {
        self.nodes.get(name).is_some_and(|node| !node.dialled_at().is_empty())
    }
}

/// Nodes, and those of their inboxes at which routes begin: looked at for each of many routes.
#[derive(Debug)]
pub(crate) struct Onwards<'t>(HashSet<(&'t str, &'t str)>);

impl Onwards<'_> {
    /// Returns `true` if a route begins where a delivery ends.
    pub(crate) fn has(&self, target: &Target) -> bool {
        self.0.contains(&(&*target.node, &*target.inbox))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{Kind, NodeSpec, RouteSpec};

    fn inboxes(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn neighbour(names: &[&str], connect: bool) -> Neighbour {
        Neighbour { inboxes: inboxes(names), connect, ..Neighbour::default() }
    }

    fn topology(route: RouteSpec) -> Topology {
        Topology::new(".")
            .node("lyon", NodeSpec::default())
            .node("paris", NodeSpec::listening("paris:7400"))
            .node("brest", NodeSpec::default())
            .node("dijon", NodeSpec::listening("dijon:7400"))
            .route("post", route)
    }

    #[test]
    fn a_receiver_lets_the_sender_in_and_the_sender_only_knows_it() {
        let post = RouteSpec::new("lyon", Kind::path("out"), Target::new("paris", "letters"));
        let topology = topology(post);
        let paris = topology.neighbours("paris");
        assert_eq!(paris["lyon"], neighbour(&["letters"], false));
        assert_eq!(topology.neighbours("lyon")["paris"], Neighbour::default());
        assert_eq!(topology.neighbours("dijon").len(), 0);
    }

    #[test]
    fn who_can_not_be_dialled_keeps_a_link_up() {
        let post = RouteSpec::new("paris", Kind::path("out"), Target::new("lyon", "letters"));
        let topology = topology(post);
        let lyon = topology.neighbours("lyon");
        assert_eq!(lyon["paris"], neighbour(&["letters"], true));
        assert!(!topology.neighbours("paris")["lyon"].connect);
    }

    #[test]
    fn by_a_relay_the_ends_know_each_other_and_stay_linked_with_it() {
        let post = RouteSpec::new("lyon", Kind::path("out"), Target::new("brest", "letters"));
        let topology = topology(RouteSpec { via: vec!["dijon".into()], ..post });
        let brest = topology.neighbours("brest");
        assert_eq!(brest["dijon"], neighbour(&[], true));
        assert_eq!(brest["lyon"], neighbour(&["letters"], false));
        let lyon = topology.neighbours("lyon");
        assert_eq!(lyon.keys().collect::<Vec<_>>(), ["brest", "dijon"]);
        assert_eq!(lyon["dijon"], neighbour(&[], true));
        assert_eq!(lyon["brest"], Neighbour::default());
        assert_eq!(topology.neighbours("dijon").keys().collect::<Vec<_>>(), ["brest", "lyon"]);
    }

    #[test]
    fn relays_of_a_chain_know_those_beside_them_and_no_others() {
        let post = RouteSpec::new("lyon", Kind::path("out"), Target::new("brest", "letters"));
        let via = ["dijon", "paris"].map(str::to_owned).to_vec();
        let topology = topology(RouteSpec { via, ..post });
        let dijon = topology.neighbours("dijon");
        assert_eq!(dijon.keys().collect::<Vec<_>>(), ["lyon", "paris"]);
        let on = Neighbour { reaches: inboxes(&["brest"]), ..neighbour(&[], true) };
        assert_eq!((&dijon["lyon"], &dijon["paris"]), (&Neighbour::default(), &on));
        let paris = topology.neighbours("paris");
        assert_eq!(paris.keys().collect::<Vec<_>>(), ["brest", "dijon"]);
        assert_eq!(paris["dijon"], Neighbour { brings: true, ..Neighbour::default() });
        assert_eq!(topology.neighbours("lyon").keys().collect::<Vec<_>>(), ["brest", "dijon"]);
        assert_eq!(topology.neighbours("brest").keys().collect::<Vec<_>>(), ["lyon", "paris"]);
    }

    #[test]
    fn who_is_trusted_may_deliver_to_all_inboxes() {
        let mut topology = Topology::new(".")
            .node("lyon", NodeSpec::default())
            .node("paris", NodeSpec::listening("paris:7400"));
        topology.nodes.get_mut("paris").unwrap().trust.push("lyon".into());
        assert_eq!(topology.neighbours("paris")["lyon"].inboxes, inboxes(&["*"]));
        assert_eq!(topology.neighbours("lyon")["paris"], Neighbour::default());
    }
}
