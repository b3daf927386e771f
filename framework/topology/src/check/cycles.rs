//! Routes that would feed themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::Checking;
use crate::fault::Fault;
use crate::model::{SourceSpec, Target};

impl Checking<'_> {
    /// Each circle of routes by which a delivery would come back to where it was, once.
    pub(super) fn cycles(&mut self) {
        // From an inbox, by a route, to others.
        let mut onward = BTreeMap::<Target, Vec<(&String, &Vec<Target>)>>::new();
        for (name, route) in &self.topology.routes {
            if let SourceSpec::Inbox(inbox) = &route.source {
                let from = Target::new(&route.from, inbox);
                onward.entry(from).or_default().push((name, &route.to));
            }
        }
        let mut done = BTreeSet::new();
        for start in onward.keys() {
            // By a stack of one's own: a chain may have as many links as there are routes.
            let mut way = vec![(start, None::<&String>, 0)];
            while let Some((at, by, next)) = way.pop() {
                let steps: Vec<_> = onward
                    .get(at)
                    .into_iter()
                    .flatten()
                    .flat_map(|(name, to)| to.iter().map(move |to| (*name, to)))
                    .collect();
                let Some((name, to)) = steps.get(next) else {
                    done.insert(at);
                    continue;
                };
                way.push((at, by, next + 1));
                if let Some(first) = way.iter().position(|(passed, ..)| passed == to) {
                    let names = way[first + 1..].iter().filter_map(|(_, by, _)| *by);
                    let names: Vec<_> = names.chain([*name]).map(String::as_str).collect();
                    self.faults.push(cycle(to, &names));
                } else if !done.contains(to) {
                    way.push((to, Some(name), 0));
                }
            }
        }
    }
}

fn cycle(at: &Target, routes: &[&str]) -> Fault {
    let last = routes.last().copied().unwrap_or_default();
    let message = format!("what arrives at {at} comes back there, again and again");
    let fault = Fault::new("cycle", format!("route.{last}.to"), message);
    let fault = fault.label(format!("by {}", routes.join(", then ")));
    fault.help("let one of these routes end at another inbox")
}
