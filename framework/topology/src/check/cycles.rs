//! Routes that would feed themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::Checking;
use crate::fault::{Fault, quoted};
use crate::model::{RouteSpec, Schedule, SourceSpec, Target};

/// The most routes of a circle that are named.
const NAMED: usize = 6;

/// The steps from each inbox that sends on, of its own accord, whatever comes to it.
type Onward<'t> = BTreeMap<&'t Target, Vec<Step<'t>>>;

/// A route, and one of the inboxes that it ends at.
type Step<'t> = (&'t str, &'t Target);

impl Checking<'_> {
    /// Each circle of routes by which a delivery would come back to where it was, once.
    pub(super) fn cycles(&mut self) {
        let topology = self.topology;
        let folders = self.folders();
        let mut targets = BTreeSet::new();
        for route in topology.routes.values() {
            targets.extend(&route.to);
        }
        let mut onward = Onward::new();
        let mut inboxes = BTreeMap::<Target, Vec<(&str, &RouteSpec)>>::new();
        for (name, route) in &topology.routes {
            if let SourceSpec::Inbox(inbox) = &route.source {
                let from = Target::new(&route.from, inbox);
                inboxes.entry(from).or_default().push((name, route));
            }
        }
        for target in targets {
            let mut readers = inboxes.get(target).cloned().unwrap_or_default();
            readers.extend(self.readers(target, &folders));
            let steps = readers
                .into_iter()
                .flat_map(|(name, route)| route.to.iter().map(move |to| (name, to)));
            onward.insert(target, steps.collect());
        }
        let (mut done, mut found) = (BTreeSet::new(), Vec::new());
        for start in onward.keys() {
            circles(start, &onward, &mut done, &mut found);
        }
        self.faults.extend(found);
    }

    /// The folders of this machine that routes look into again and again, and those routes.
    fn folders(&self) -> BTreeMap<PathBuf, Vec<(&str, &RouteSpec)>> {
        let mut folders = BTreeMap::<_, Vec<_>>::new();
        for (name, route) in &self.topology.routes {
            let paths: Vec<&Path> = match &route.source {
                SourceSpec::Each(each) => vec![&each.folder],
                SourceSpec::Kind(kind) if route.schedule != Schedule::Once => {
                    kind.sent_paths().into_iter().map(Path::new).collect()
                }
                _ => Vec::new(),
            };
            if self.is_of_this_machine(&route.from) {
                for path in paths.into_iter().filter(|path| *path != Path::new("")) {
                    let place = plain(&self.topology.at(path));
                    folders.entry(place).or_default().push((name.as_str(), route));
                }
            }
        }
        folders
    }

    /// The routes that look into the folder of an inbox, or one around it.
    fn readers<'f>(
        &self,
        target: &Target,
        folders: &'f BTreeMap<PathBuf, Vec<(&'f str, &'f RouteSpec)>>,
    ) -> Vec<(&'f str, &'f RouteSpec)> {
        let inbox = self.topology.inboxes.get(&target.inbox);
        let Some(folder) = inbox.and_then(|inbox| inbox.sink.folder_at(&target.node)) else {
            return Vec::new();
        };
        if folders.is_empty() || !self.is_of_this_machine(&target.node) {
            return Vec::new();
        }
        let folder = plain(&self.topology.at(folder.as_ref()));
        folder.ancestors().filter_map(|around| folders.get(around)).flatten().copied().collect()
    }

    /// Returns `true` if a node has no id, so is of this machine: the disk of others may be any.
    fn is_of_this_machine(&self, node: &str) -> bool {
        self.topology.nodes.get(node).is_some_and(|node| node.id.is_none())
    }
}

/// Follows all ways from one inbox. By a stack of one's own: a chain may have as many links as
/// there are routes.
fn circles<'t>(
    start: &'t Target,
    onward: &Onward<'t>,
    done: &mut BTreeSet<&'t Target>,
    faults: &mut Vec<Fault>,
) {
    if done.contains(start) {
        return;
    }
    let mut way = vec![(start, "", 0)];
    let mut passed = BTreeMap::from([(start, 0)]);
    while let Some((at, by, next)) = way.pop() {
        let Some((name, to)) = onward.get(at).and_then(|steps| steps.get(next)) else {
            done.insert(at);
            passed.remove(at);
            continue;
        };
        way.push((at, by, next + 1));
        if let Some(first) = passed.get(to) {
            let circle = way[first + 1..].iter().map(|(_, by, _)| *by).chain([*name]);
            faults.push(cycle(to, name, circle, way.len() - first));
        } else if !done.contains(to) {
            passed.insert(to, way.len());
            way.push((to, name, 0));
        }
    }
}

fn cycle<'t>(
    at: &Target,
    last: &str,
    routes: impl Iterator<Item = &'t str>,
    count: usize,
) -> Fault {
    let message = format!("what arrives at {at} comes back there, again and again");
    let fault = Fault::new("cycle", format!("route.{}.to", quoted(last)), message);
    let named = routes.take(NAMED).collect::<Vec<_>>().join(", then ");
    let more = count.saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    fault
        .label(format!("by {named}{more}"))
        .help("let one of these routes end at another inbox, or begin at another folder")
}

/// A path without `.` and `..`, as far as it can be told from its words.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some_and(|name| name != "..") => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
