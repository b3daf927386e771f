//! The difference between two topologies, for each node: pure, and what a reload does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use estafette::PeerId;

use crate::model::{Kind, NodeSpec, RouteSpec, Target, Topology};
use crate::neighbour::Neighbour;

/// The effect of a reload on one node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NodeChange {
    /// It starts: it was not there before.
    Starts,
    /// It ends: it is there no longer.
    Ends,
    /// It is stopped and started again, as these keys take effect at a start only.
    Restarts {
        /// The keys.
        keys: Vec<&'static str>,
    },
    /// It runs on, with these changes; what is not named is not touched.
    Reloads(Reload),
}

/// The changes of a node that runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// Nodes that it knows and trusts otherwise, newly or no longer.
    pub peers: BTreeMap<String, Change>,
    /// Its inboxes.
    pub inboxes: BTreeMap<String, Change>,
    /// The routes that begin there.
    pub routes: BTreeMap<String, Change>,
    /// Its doors.
    pub doors: BTreeMap<String, Change>,
}

/// The change of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is another one.
    Changed,
    /// It is gone.
    Removed,
}

/// All that a node is told by a topology.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    own: NodeSpec,
    key: PathBuf,
    spool: PathBuf,
    peers: BTreeMap<String, PeerView>,
    inboxes: BTreeMap<String, Kind>,
    routes: BTreeMap<String, RouteView>,
    /// The kind of each, and its targets.
    doors: BTreeMap<String, (Kind, Vec<Target>)>,
}

/// A route, as the node where it begins sees it: what is said of it, whether it goes on at each of
/// its targets, and the ids and keys of those on its way.
type RouteView = (RouteSpec, Vec<bool>, Vec<(Option<PeerId>, PathBuf)>);

/// A peer, as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerView {
    pub(crate) neighbour: Neighbour,
    id: Option<PeerId>,
    key: PathBuf,
    addresses: Vec<String>,
    /// The ids and keys of those for whom it is the next relay.
    reaches: Vec<(Option<PeerId>, PathBuf)>,
}

impl Topology {
    /// The changes that a reload from this topology to another one makes, by node; nodes to which
    /// nothing happens are left out.
    pub fn changes(&self, new: &Self) -> BTreeMap<String, NodeChange> {
        let names: BTreeSet<_> = self.nodes.keys().chain(new.nodes.keys()).collect();
        let change = |name: &String| Some((name.clone(), self.change_of(name, new)?));
        names.into_iter().filter_map(change).collect()
    }

    /// The change that a reload from this topology to another one makes of a node; `None` where
    /// nothing happens to it.
    pub fn change_of(&self, name: &str, new: &Self) -> Option<NodeChange> {
        match (self.view(name), new.view(name)) {
            (None, Some(_)) => Some(NodeChange::Starts),
            (Some(_), None) => Some(NodeChange::Ends),
            (Some(old), Some(new)) => old.change(&new),
            (None, None) => None,
        }
    }

    pub(crate) fn view(&self, name: &str) -> Option<View> {
        let own = self.nodes.get(name)?;
        let peers = self.neighbours(name).into_iter().filter_map(|(peer, neighbour)| {
            let spec = self.nodes.get(&peer)?;
            let (id, key, addresses) = (spec.id, self.key_of(&peer), spec.dialled_at());
            let reaches = neighbour.reaches.iter();
            let reaches = reaches.map(|node| self.identity_of(node)).collect();
            Some((peer, PeerView { neighbour, id, key, addresses, reaches }))
        });
        let inboxes =
            self.inboxes.iter().filter(|(_, inbox)| inbox.nodes.iter().any(|at| at == name));
        let routes = self.routes.iter().filter(|(_, route)| route.from == name);
        let onwards = self.onwards();
        Some(View {
            key: self.key_of(name),
            spool: self.spool_of(name),
            peers: peers.collect(),
            inboxes: inboxes
                .map(|(inbox, spec)| {
                    let settings = spec.sink.settings_at(name);
                    (inbox.clone(), Kind { name: spec.sink.name.clone(), settings })
                })
                .collect(),
            routes: routes
                .map(|(route, spec)| {
                    let goes_on = spec.to.iter().map(|target| onwards.has(target)).collect();
                    let way = spec.to.iter().map(|target| &target.node).chain(&spec.via);
                    let way = way.chain(&spec.tap.record);
                    let way = way.map(|node| self.identity_of(node));
                    // What is expected changes nothing of what is done.
                    let spec = RouteSpec { expected: None, ..spec.clone() };
                    (route.clone(), (spec, goes_on, way.collect()))
                })
                .collect(),
            doors: self
                .doors_of(name)
                .map(|(door, spec)| {
                    let settings = spec.door.settings_at(name);
                    let kind = Kind { name: spec.door.name.clone(), settings };
                    (door.clone(), (kind, spec.to.clone()))
                })
                .collect(),
            own: own.clone(),
        })
    }
}

impl Topology {
    /// The id of a node, where it is said, and its key.
    fn identity_of(&self, node: &str) -> (Option<PeerId>, PathBuf) {
        (self.nodes.get(node).and_then(|node| node.id), self.key_of(node))
    }
}

impl View {
    /// Returns what has to be done to make the other one of it; `None`: nothing.
    pub(crate) fn change(&self, new: &Self) -> Option<NodeChange> {
        let keys: Vec<_> = [
            ("id", self.own.id != new.own.id),
            ("key", self.key != new.key),
            ("spool", self.spool != new.spool),
            ("listen", self.own.listen != new.own.listen),
            ("relay", self.own.relay != new.own.relay),
            ("limits", self.own.limits != new.own.limits),
            ("http", self.own.http != new.own.http),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect();
        if !keys.is_empty() {
            return Some(NodeChange::Restarts { keys });
        }
        let reload = Reload {
            peers: compare(&self.peers, &new.peers),
            inboxes: compare(&self.inboxes, &new.inboxes),
            routes: compare(&self.routes, &new.routes),
            doors: compare(&self.doors, &new.doors),
        };
        (!reload.is_empty()).then_some(NodeChange::Reloads(reload))
    }
}

impl Reload {
    /// True if nothing changes.
    pub fn is_empty(&self) -> bool {
        [&self.peers, &self.inboxes, &self.routes, &self.doors].iter().all(|part| part.is_empty())
    }
}

fn compare<T: PartialEq>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
) -> BTreeMap<String, Change> {
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let change = |name: &String| match (old.get(name), new.get(name)) {
        (None, Some(_)) => Some(Change::Added),
        (Some(_), None) => Some(Change::Removed),
        (Some(old), Some(new)) if old != new => Some(Change::Changed),
        _ => None,
    };
    names.into_iter().filter_map(|name| Some((name.clone(), change(name)?))).collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "is new",
            Self::Changed => "changes",
            Self::Removed => "is gone",
        })
    }
}

impl fmt::Display for NodeChange {
    /// A line for a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starts => f.write_str("starts"),
            Self::Ends => f.write_str("ends"),
            Self::Restarts { keys } => {
                write!(f, "starts again, for its {} to take effect", keys.join(", "))
            }
            Self::Reloads(reload) => {
                let parts = [
                    ("peer", &reload.peers),
                    ("inbox", &reload.inboxes),
                    ("route", &reload.routes),
                    ("door", &reload.doors),
                ];
                let mut separator = "";
                for (what, changes) in parts {
                    for (name, change) in changes {
                        write!(f, "{separator}{what} `{name}` {change}")?;
                        separator = ", ";
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use estafette::testing::Random;

    use super::*;
    use crate::model::{DoorSpec, InboxSpec, SourceSpec, Target};

    /// A topology of up to four nodes, three inboxes and four routes, of few kinds: so that two of
    /// them have much in common.
    fn any(random: &mut Random) -> Topology {
        const NODES: [&str; 4] = ["brest", "dijon", "lyon", "paris"];
        let mut topology = Topology::new("/somewhere");
        for name in NODES {
            if random.below(4) == 0 {
                continue;
            }
            let mut node = NodeSpec::default();
            if random.below(2) == 0 {
                node = NodeSpec::listening(format!("{name}:{}", 7400 + random.below(2)));
            }
            if random.below(4) == 0 {
                node.trust.push(NODES[random.below(4) as usize].into());
            }
            topology = topology.node(name, node);
        }
        for name in ["letters", "files", "archive"] {
            let at = NODES[random.below(4) as usize];
            let folder = format!("in-{}", random.below(2));
            topology = topology.inbox(name, InboxSpec::at(at, Kind::folder(folder)));
        }
        if random.below(2) == 0 {
            let [node, to] = [(); 2].map(|()| NODES[random.below(4) as usize]);
            let listen = format!("127.0.0.1:{}", 7480 + random.below(2));
            let (node, to) = (node.to_owned(), vec![Target::new(to, "letters")]);
            topology = topology.door(
                "web",
                DoorSpec { node, door: Kind::new("http", listen), to, from: Vec::new() },
            );
        }
        for name in ["one", "two", "three", "four"] {
            if random.below(3) == 0 {
                continue;
            }
            let [from, to] = [(); 2].map(|()| NODES[random.below(4) as usize]);
            let mut route = RouteSpec::new(
                from,
                Kind::path(format!("out-{}", random.below(2))),
                Target::new(to, "letters"),
            );
            if random.below(3) == 0 {
                route.source = SourceSpec::Inbox("files".into());
            }
            if random.below(3) == 0 {
                route.via = vec!["dijon".into()];
                if random.below(2) == 0 {
                    route.via.push(NODES[random.below(4) as usize].into());
                }
            }
            topology = topology.route(name, route);
        }
        topology
    }

    /// Does to a node what it has been told, part by part: as a reload does.
    fn apply(old: &mut View, change: &Reload, new: &View) {
        fn parts<T: Clone>(
            old: &mut BTreeMap<String, T>,
            changes: &BTreeMap<String, Change>,
            new: &BTreeMap<String, T>,
        ) {
            for (name, change) in changes {
                match change {
                    Change::Removed => drop(old.remove(name).expect("what is removed was there")),
                    Change::Added => {
                        assert!(old.insert(name.clone(), new[name].clone()).is_none(), "{name}");
                    }
                    Change::Changed => {
                        assert!(old.insert(name.clone(), new[name].clone()).is_some(), "{name}");
                    }
                }
            }
        }
        parts(&mut old.peers, &change.peers, &new.peers);
        parts(&mut old.inboxes, &change.inboxes, &new.inboxes);
        parts(&mut old.routes, &change.routes, &new.routes);
        parts(&mut old.doors, &change.doors, &new.doors);
    }

    #[test]
    fn what_is_changed_by_a_difference_is_the_other_one_and_nothing_else_is_in_it() {
        let mut random = Random::seeded(15);
        let mut reloads = 0;
        for _ in 0..3000 {
            let (old, new) = (any(&mut random), any(&mut random));
            let changes = old.changes(&new);
            for name in old.nodes.keys().chain(new.nodes.keys()) {
                match (old.view(name), new.view(name), changes.get(name)) {
                    (Some(mut view), Some(wanted), Some(NodeChange::Reloads(reload))) => {
                        apply(&mut view, reload, &wanted);
                        // Who trusts whom is told by the peers, and addresses are for others.
                        view.own = wanted.own.clone();
                        assert_eq!(view, wanted);
                        reloads += 1;
                    }
                    (Some(view), Some(wanted), None) => assert_eq!(view.change(&wanted), None),
                    (None, Some(_), change) => assert_eq!(change, Some(&NodeChange::Starts)),
                    (Some(_), None, change) => assert_eq!(change, Some(&NodeChange::Ends)),
                    (Some(view), Some(wanted), Some(NodeChange::Restarts { .. })) => {
                        assert!(view.own != wanted.own);
                    }
                    (view, wanted, change) => panic!("{view:?} {wanted:?} {change:?}"),
                }
            }
            assert!(new.changes(&new).is_empty());
        }
        assert!(reloads > 1000, "{reloads}");
    }

    #[test]
    fn a_change_of_one_route_touches_no_other_part() {
        let mut random = Random::seeded(3);
        let old = (0..).map(|_| any(&mut random)).find(|old| old.routes.len() == 4).unwrap();
        let mut new = old.clone();
        let (name, route) = new.routes.iter_mut().next().unwrap();
        route.codec = Some("lz4".into());
        let (name, from) = (name.clone(), route.from.clone());
        let changes = old.changes(&new);
        let routes = BTreeMap::from([(name, Change::Changed)]);
        let expected = NodeChange::Reloads(Reload { routes, ..Reload::default() });
        let there = new.nodes.contains_key(&from);
        assert_eq!(changes.get(&from), there.then_some(&expected));
        assert_eq!(changes.len(), usize::from(there));
    }
}
