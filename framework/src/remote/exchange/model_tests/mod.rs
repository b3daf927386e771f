//! Messages on one link, in the very types that run, through every order of what may befall them:
//! [`Outbound`](super::outbound::Outbound) with its queue and its row at their sender, and the
//! credit that their receiver gives back ([`Tells`](super::super::inbound::Tells) and
//! [`Owed`](super::super::inbound::Owed)).
//!
//! In the world around them are two threads that send, the pump of the link, batches, and an actor
//! for each target, which may die. Windows, rows and batches are so short that a few messages fill
//! them. Not in it: streams within calls and how calls
//! end (in [`ends`]), traces, letters, watches.

mod ends;
mod world;

use stateright::{Model, Property};

use self::world::{Budget, Step, World};
use crate::testing::exhaust::{Ends, is_noticed, look_at_all};

/// A thing done wrong on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Break {
    /// An item that another thread puts in does not close the row.
    Undisturbed,
    /// Room that a row has not used is not given back.
    RoomKept,
    /// A row is as long as it likes.
    RowWithoutEnd,
    /// The messages that an actor had when it died are never settled.
    NothingSettled,
    /// Credit is given back by the batch, without those before it that wait.
    LastAlone,
    /// A batch comes twice.
    Twice,
    /// The tells on a link that is over are told of to nobody.
    Unheard,
}

#[derive(Clone)]
struct Talk {
    budget: Budget,
    broken: Option<Break>,
}

impl Ends for World {
    fn has_ended(&self) -> bool {
        self.has_ended()
    }
}

impl Model for Talk {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.budget, self.broken)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        steps.extend(world.steps());
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        Some(world.after(step))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = Property::<Self>::always;
        vec![
            always("each message comes once, and in its turn", |_, world| world.fault.is_none()),
            always("what is counted as on its way is on its way", |_, world| world.counts_right()),
            always("no more is on its way than there is room for", |_, world| world.fits()),
            Property::sometimes("a row was open, and all was handled", |_, world: &World| {
                world.has_ended() && world.rows > 0 && world.lost == 0
            }),
        ]
    }
}

const NONE: Budget = Budget { tells: 0, long: 0, elsewhere: 0, asks: 0, cuts: 0, deaths: 0 };

fn talk(budgets: &[(&'static str, Budget)]) -> Vec<(&'static str, Talk)> {
    budgets.iter().map(|&(name, budget)| (name, Talk { budget, broken: None })).collect()
}

#[test]
fn messages_come_once_and_in_order_and_their_credit_comes_back() {
    look_at_all(talk(&[
        ("four tells of one thread", Budget { tells: 4, ..NONE }),
        ("three tells, and one by another thread", Budget { tells: 3, elsewhere: 1, ..NONE }),
        ("three tells, and a long one", Budget { tells: 3, long: 1, ..NONE }),
        (
            "two tells, a long one, and one by another thread",
            Budget { tells: 2, long: 1, elsewhere: 1, ..NONE },
        ),
        ("two tells, and two asks", Budget { tells: 2, asks: 2, ..NONE }),
        (
            "two tells, and an ask by another thread",
            Budget { tells: 2, elsewhere: 1, asks: 1, ..NONE },
        ),
        ("three tells, a cut, and a death", Budget { tells: 3, cuts: 1, deaths: 1, ..NONE }),
        ("two tells, an ask, and a cut", Budget { tells: 2, asks: 1, cuts: 1, ..NONE }),
    ]));
}

/// Takes minutes.
#[test]
fn messages_come_once_whatever_comes_together() {
    if std::env::var_os("ESTAFETTE_MODEL").is_none() {
        return println!("left out: set ESTAFETTE_MODEL=1 to look at the larger budgets");
    }
    look_at_all(talk(&[
        ("six tells of one thread", Budget { tells: 6, ..NONE }),
        (
            "three tells, and an ask by another thread",
            Budget { tells: 3, elsewhere: 1, asks: 1, ..NONE },
        ),
        (
            "three tells, a long one, and two by another thread",
            Budget { tells: 3, long: 1, elsewhere: 2, ..NONE },
        ),
        (
            "four tells, an ask, a cut and a death",
            Budget { tells: 4, asks: 1, cuts: 1, deaths: 1, ..NONE },
        ),
    ]));
}

#[test]
fn what_is_done_wrong_with_messages_is_noticed() {
    let tells = Budget { tells: 4, ..NONE };
    let breaks = [
        (Break::Undisturbed, Budget { tells: 3, elsewhere: 1, ..NONE }),
        (Break::RoomKept, tells),
        (Break::RowWithoutEnd, tells),
        (Break::NothingSettled, Budget { tells: 2, deaths: 1, ..NONE }),
        (Break::LastAlone, tells),
        (Break::Twice, Budget { tells: 2, ..NONE }),
        (Break::Unheard, Budget { tells: 2, cuts: 1, ..NONE }),
    ];
    for (broken, budget) in breaks {
        is_noticed(&format!("{broken:?}"), Talk { budget, broken: Some(broken) });
    }
}
