//! Calls on one link and how they end, in the very types that run, through every order of what may
//! befall them: both [`Exchange`](super::super::Exchange)s, each with its queue, its calls from
//! here and to here, and the credit of their streams.
//!
//! In the world around them are the pumps of the link, who calls, and who handles. Windows and
//! lengths are so short that two items fill them, and one call with streams is all that there may
//! be at a time. Not in it: tells (in the model beside this one), waking who waits for room, the
//! account of a peer, traces.

mod side;
mod world;

use std::time::Duration;

use self::world::{Budget, Step, World};
use crate::remote::exchange::Deadline;
use crate::testing::exhaust::{Exhaustible, Promise, are_noticed, look_at_all};
use crate::wire::message::Shape;

/// The time of a call, where it has one: it is over when somebody looks.
const AT_ONCE: Deadline = Deadline { after: Duration::ZERO, until: None };

/// A fault that is made on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Break {
    /// Any reply ends a call that was given up, one of a stream, too.
    AnyReplyEnds,
    /// Requests of a call that is given up end as if they were all.
    CancelEndsRequests,
    /// Requests end with their link as if they were all.
    CutPassesForAll,
    /// The end of replies comes before those in its batch.
    EndOvertakes,
    /// Replies that are read give no credit back.
    CreditKept,
    /// The last word about a call that has failed is not heard.
    EndUnheard,
    /// A handler that dies says nothing.
    DeathUnsaid,
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
            always("each item comes once and in its turn, each call ends once", |_, world| {
                world.fault.is_none()
            }),
            always("what is counted of calls is there", |_, world| world.counts_right()),
            always("nothing is left over", |_, world| !world.has_ended() || world.is_clean()),
            Promise::<Self>::sometimes("all are answered", |_, world| {
                world.has_ended() && world.is_all_whole()
            }),
        ]
    }
}

const ONE: Budget = Budget {
    shape: Shape::Both,
    calls: 1,
    requests: 2,
    replies: 2,
    long: false,
    cancels: 0,
    late: 0,
    early: 0,
    deaths: 0,
    cuts: 0,
};
const ASKS: Budget = Budget { shape: Shape::Ask, calls: 2, ..ONE };
const REPLIES: Budget = Budget { shape: Shape::Replies, calls: 2, ..ONE };
const REQUESTS: Budget = Budget { shape: Shape::Requests, calls: 2, ..ONE };

#[test]
fn calls_end_once_at_both_ends_however_they_end() {
    look_at_all::<World>(&[
        (
            "two asks, given up, a death, and a cut",
            Budget { cancels: 1, deaths: 1, cuts: 1, ..ASKS },
        ),
        ("two asks, late, and a cut", Budget { late: 1, cuts: 1, ..ASKS }),
        ("streams of replies, given up", Budget { cancels: 1, ..REPLIES }),
        ("streams of replies, late, and a death", Budget { late: 1, deaths: 1, ..REPLIES }),
        ("a stream of replies, and a cut", Budget { cuts: 1, cancels: 1, calls: 1, ..REPLIES }),
        ("three replies, one of them long", Budget { replies: 3, long: true, calls: 1, ..REPLIES }),
        ("streams of requests, given up", Budget { cancels: 1, ..REQUESTS }),
        (
            "streams of long requests, given up, and answered early",
            Budget { cancels: 1, early: 1, long: true, ..REQUESTS },
        ),
        ("a stream of requests, and a cut", Budget { cuts: 1, early: 1, calls: 1, ..REQUESTS }),
        (
            "both streams, one request long, given up",
            Budget { requests: 1, replies: 1, long: true, cancels: 1, calls: 2, ..ONE },
        ),
        ("both streams, late, and a death", Budget { late: 1, deaths: 1, replies: 1, ..ONE }),
        ("both streams, ended early, and a cut", Budget { early: 1, cuts: 1, requests: 1, ..ONE }),
    ]);
}

/// Takes minutes.
#[test]
fn calls_end_once_whatever_comes_together() {
    if std::env::var_os("ESTAFETTE_MODEL").is_none() {
        return println!("left out: set ESTAFETTE_MODEL=1 to look at the larger budgets");
    }
    look_at_all::<World>(&[
        ("both streams, twice, given up", Budget { calls: 2, cancels: 1, ..ONE }),
        ("both streams, given up, and a death", Budget { cancels: 1, deaths: 1, ..ONE }),
        (
            "both streams with long items, given up, late, and a cut",
            Budget { long: true, cancels: 1, late: 1, cuts: 1, ..ONE },
        ),
    ]);
}

#[test]
fn what_is_done_wrong_with_calls_is_noticed() {
    let breaks = [
        (
            Break::AnyReplyEnds,
            Budget { requests: 1, replies: 1, long: true, cancels: 1, calls: 2, ..ONE },
        ),
        (Break::CancelEndsRequests, Budget { cancels: 1, ..REQUESTS }),
        (Break::CutPassesForAll, Budget { cuts: 1, ..REQUESTS }),
        (Break::EndOvertakes, REPLIES),
        (Break::CreditKept, Budget { replies: 3, ..REPLIES }),
        (Break::EndUnheard, Budget { cancels: 1, ..REPLIES }),
        (Break::DeathUnsaid, Budget { deaths: 1, ..ASKS }),
    ];
    are_noticed::<World>(&breaks);
}
