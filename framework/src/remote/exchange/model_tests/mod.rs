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

use self::world::{Budget, Step, World};
use crate::testing::exhaust::{Exhaustible, Promise, are_noticed, look_at_all};

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

impl Exhaustible for World {
    type Budget = Budget;
    type Break = Break;
    type Step = Step;

    fn begin(budget: Budget, broken: Option<Break>) -> Self {
        Self::new(budget, broken)
    }

    fn steps(&self) -> Vec<Step> {
        self.steps()
    }

    fn after(&self, step: Step) -> Self {
        self.after(step)
    }

    fn has_ended(&self) -> bool {
        self.has_ended()
    }

    fn promises() -> Vec<Promise<Self>> {
        let always = Promise::<Self>::always;
        vec![
            always("each message comes once, and in its turn", |_, world| world.fault.is_none()),
            always("what is counted as on its way is on its way", |_, world| world.counts_right()),
            always("no more is on its way than there is room for", |_, world| world.fits()),
            Promise::<Self>::sometimes("a row was open, and all was handled", |_, world| {
                world.has_ended() && world.rows > 0 && world.lost == 0
            }),
        ]
    }
}

const NONE: Budget = Budget { tells: 0, long: 0, elsewhere: 0, asks: 0, cuts: 0, deaths: 0 };

#[test]
fn messages_come_once_and_in_order_and_their_credit_comes_back() {
    look_at_all::<World>(&[
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
    ]);
}

/// Takes minutes.
#[test]
fn messages_come_once_whatever_comes_together() {
    if std::env::var_os("ESTAFETTE_MODEL").is_none() {
        return println!("left out: set ESTAFETTE_MODEL=1 to look at the larger budgets");
    }
    look_at_all::<World>(&[
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
    ]);
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
    are_noticed::<World>(&breaks);
}
