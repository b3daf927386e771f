//! All that may happen in a model, gone through: what always holds, and that all comes to an end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// A world that comes to an end, if all goes well.
pub(crate) trait Ends {
    /// Returns `true` if nothing is under way any more.
    fn has_ended(&self) -> bool;
}

/// A model whose states can be kept and compared.
pub(crate) trait Exhaustible:
    Model<
        State: Ends + Clone + Debug + Eq + Hash + Send + Sync + 'static,
        Action: Copy + Debug + PartialEq + Send + Sync + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<M> Exhaustible for M where
    M: Model<
            State: Ends + Clone + Debug + Eq + Hash + Send + Sync + 'static,
            Action: Copy + Debug + PartialEq + Send + Sync + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// Looks at all that may happen in each of these models, and says of how many states.
pub(crate) fn look_at_all<M: Exhaustible>(models: Vec<(&str, M)>) {
    let mut broken = Vec::new();
    for (name, model) in models {
        let (states, found) = check(model.clone());
        println!("{name}: {states} states");
        let found = found.into_iter().chain(always_ends(&model).err()).collect::<Vec<_>>();
        if !found.is_empty() {
            println!("{name}: {}", found.join("\n"));
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

/// Says by which fault it is noticed that this model is broken.
pub(crate) fn is_noticed<M: Exhaustible>(name: &str, model: M) {
    let (states, found) = check(model.clone());
    let found = found.into_iter().next().or_else(|| always_ends(&model).err());
    let found = found.unwrap_or_else(|| panic!("{name} is not noticed"));
    println!("{name} is noticed in {states} states: {found}");
}

/// From every state, one in which all has ended can be reached: nothing waits for ever. stateright
/// can't say that. Returns how many states there are.
fn always_ends<M: Exhaustible>(model: &M) -> Result<usize, String> {
    let mut worlds = model.init_states();
    let mut known: HashMap<M::State, usize> =
        worlds.iter().cloned().enumerate().map(|(at, world)| (world, at)).collect();
    let (mut before, mut way) = (vec![Vec::new(); worlds.len()], vec![(0, None); worlds.len()]);
    let (mut good, mut at, mut actions) = (Vec::new(), 0, Vec::new());
    while at < worlds.len() {
        let world = worlds[at].clone();
        // Beyond the bounds, it goes on as before.
        let is_within = model.within_boundary(&world);
        good.push(world.has_ended() || !is_within);
        if is_within {
            model.actions(&world, &mut actions);
        }
        for action in actions.drain(..) {
            let Some(next) = model.next_state(&world, action) else { continue };
            let id = match known.entry(next) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    worlds.push(new.key().clone());
                    before.push(Vec::new());
                    way.push((at, Some(action)));
                    *new.insert(worlds.len() - 1)
                }
            };
            before[id].push(at);
        }
        at += 1;
    }
    let mut ends: Vec<_> = (0..worlds.len()).filter(|&at| good[at]).collect();
    while let Some(at) = ends.pop() {
        for &earlier in &before[at] {
            if !std::mem::replace(&mut good[earlier], true) {
                ends.push(earlier);
            }
        }
    }
    let Some(mut at) = good.iter().position(|good| !good) else { return Ok(worlds.len()) };
    let mut steps = Vec::new();
    while let (earlier, Some(step)) = way[at] {
        steps.push(step);
        at = earlier;
    }
    steps.reverse();
    Err(format!("it never ends after {steps:?}"))
}

/// Returns what is broken, and by which steps; with how many states were looked at.
fn check<M: Exhaustible>(model: M) -> (usize, Vec<String>) {
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut found = Vec::new();
    for property in checker.model().properties() {
        let path = checker.discovery(property.name);
        match (&property.expectation, path) {
            (Expectation::Always, Some(path)) => found.push(format!(
                "{:?} does not hold after {:?}",
                property.name,
                path.into_actions()
            )),
            (Expectation::Sometimes, None) if found.is_empty() => {
                found.push(format!("{:?} never happens", property.name))
            }
            _ => {}
        }
    }
    (checker.unique_state_count(), found)
}
