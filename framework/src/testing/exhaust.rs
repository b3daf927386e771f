//! All that may happen in a model, gone through: what always holds, and that all comes to an end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

/// The world of a model: all there is, what may happen in it, what it promises, and its end, which it
/// comes to if all goes well.
pub(crate) trait Exhaustible: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// The times that each thing may happen.
    type Budget: Copy + Send + Sync + 'static;
    /// A thing done wrong on purpose, to see that it is noticed.
    type Break: Copy + Debug + Send + Sync + 'static;
    /// One thing that happens.
    type Step: Copy + Debug + PartialEq + Send + Sync + 'static;

    /// Returns the world as it begins.
    fn begin(budget: Self::Budget, broken: Option<Self::Break>) -> Self;

    /// Returns all that may happen now.
    fn steps(&self) -> Vec<Self::Step>;

    /// Returns the world after a step.
    fn after(&self, step: Self::Step) -> Self;

    /// Returns `true` if nothing is under way any more.
    fn has_ended(&self) -> bool;

    /// Returns `true` if what comes after it is looked at.
    fn is_within(&self) -> bool {
        true
    }

    /// Returns what always holds, and what may happen.
    fn promises() -> Vec<Promise<Self>>;
}

/// A promise of a world.
pub(crate) type Promise<W> = Property<Bounded<W>>;

/// The model of a world, within a budget.
#[derive(Clone)]
pub(crate) struct Bounded<W: Exhaustible> {
    budget: W::Budget,
    broken: Option<W::Break>,
}

impl<W: Exhaustible> Model for Bounded<W> {
    type State = W;
    type Action = W::Step;

    fn init_states(&self) -> Vec<W> {
        vec![W::begin(self.budget, self.broken)]
    }

    fn actions(&self, world: &W, steps: &mut Vec<W::Step>) {
        steps.extend(world.steps());
    }

    fn next_state(&self, world: &W, step: W::Step) -> Option<W> {
        Some(world.after(step))
    }

    fn within_boundary(&self, world: &W) -> bool {
        world.is_within()
    }

    fn properties(&self) -> Vec<Promise<W>> {
        W::promises()
    }
}

/// Looks at all that may happen within each of these budgets, and says of how many states.
pub(crate) fn look_at_all<W: Exhaustible>(budgets: &[(&str, W::Budget)]) {
    let mut broken = Vec::new();
    for &(name, budget) in budgets {
        let model = Bounded::<W> { budget, broken: None };
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

/// Says by which fault it is noticed that a world is broken in each of these ways.
pub(crate) fn are_noticed<W: Exhaustible>(breaks: &[(W::Break, W::Budget)]) {
    for &(broken, budget) in breaks {
        let model = Bounded::<W> { budget, broken: Some(broken) };
        let (states, found) = check(model.clone());
        let found = found.into_iter().next().or_else(|| always_ends(&model).err());
        let found = found.unwrap_or_else(|| panic!("{broken:?} is not noticed"));
        println!("{broken:?} is noticed in {states} states: {found}");
    }
}

/// From every state, one in which all has ended can be reached: nothing waits for ever. stateright
/// can't say that. Returns how many states there are.
fn always_ends<W: Exhaustible>(model: &Bounded<W>) -> Result<usize, String> {
    let mut worlds = model.init_states();
    let mut known: HashMap<W, usize> =
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
fn check<W: Exhaustible>(model: Bounded<W>) -> (usize, Vec<String>) {
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
