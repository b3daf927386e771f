//! The machines of a delivery, [`Sending`](super::sending::Sending) and
//! [`Receiving`](super::receiving::Receiving), through every order of what may befall them: the
//! very types that run.
//!
//! In the world around them are the parts that carry out what they say, as far as deliveries depend
//! on it: the outbox with its record, lanes, a sink that makes its file durable in three steps, the
//! memory of what was delivered. Not in it: loss of power, relays, credit, two deliveries at once,
//! sinks that outlive their session.

mod world;

use self::world::{Budget, State, Step, World};
use super::FailureKind;
use crate::testing::exhaust::{Exhaustible, Promise, are_noticed, look_at_all};

/// A thing done wrong on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Break {
    /// A file becomes visible without a note before.
    NoIntent,
    /// It is said to be delivered before it is remembered.
    SaidBeforeRemembered,
    /// It is said to have failed before its sink has stopped.
    FailBeforeStop,
    /// A trailer that was acknowledged is never sent again.
    TrailerOnce,
    /// The chunks that the receiver has lost are not sent anew.
    NeverAnew,
    /// The next try begins with the number of the first.
    AttemptForgotten,
    /// A cancel does not wait for the receiver's word.
    CancelAtOnce,
    /// A failure that another try may get over is not tried again.
    PassingIsFinal,
    /// A delivery that may have been made is told as one that was not.
    SureOfAll,
    /// A refusal before anything was looked up counts as the word that it is not there.
    RejectionsDeny,
}

/// Tries that are looked at.
const TRIES: u32 = 3;

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

    fn is_within(&self) -> bool {
        self.record.tries <= TRIES
    }

    fn promises() -> Vec<Promise<Self>> {
        vec![
            Promise::<Self>::always("it becomes visible once at most", |_, world| {
                world.commits <= 1
            }),
            Promise::<Self>::always("it is delivered only if it became visible", |_, world| {
                world.record.state != State::Delivered || world.commits > 0
            }),
            Promise::<Self>::always("it is remembered when its sender forgets it", |_, world| {
                world.record.state != State::Delivered || world.disk.remembered
            }),
            Promise::<Self>::always(
                "what the receiver says has failed for good is not there",
                |_, world| {
                    !matches!(world.record.state, State::Dead(_, true)) || world.commits == 0
                },
            ),
            Promise::<Self>::always("what is said to be taken out is not there", |_, world| {
                world.record.state != (State::Removed { unsure: false }) || world.commits == 0
            }),
            Promise::<Self>::always("what is told as not delivered is not there", |_, world| {
                match world.record.state {
                    State::Dead(kind, _) => kind == FailureKind::Unknown || world.commits == 0,
                    State::Stored | State::Delivered | State::Removed { .. } => true,
                }
            }),
            Promise::<Self>::always("only who is at fault ends it", |_, world| {
                match world.record.state {
                    State::Dead(kind, _) => {
                        matches!(
                            kind,
                            FailureKind::Expired
                                | FailureKind::Cancelled
                                | FailureKind::Refused
                                | FailureKind::Changed
                                | FailureKind::Unknown
                        )
                    }
                    State::Stored | State::Delivered | State::Removed { .. } => true,
                }
            }),
            Promise::<Self>::always("nothing is left over of what was given up", |_, world| {
                !world.has_ended() || world.kept || world.disk.is_clean()
            }),
            Promise::<Self>::sometimes("delivered", |_, world| {
                world.record.state == State::Delivered
            }),
        ]
    }
}

const NONE: Budget = Budget {
    cuts: 0,
    suites: 0,
    sender_crashes: 0,
    receiver_crashes: 0,
    stops: 0,
    sender_cancels: 0,
    receiver_cancels: 0,
    patience: 0,
    expiries: 0,
    changes: 0,
    refusals: 0,
    full_disks: 0,
    failed_notes: 0,
    pauses: 0,
    bars: 0,
};

#[test]
fn a_delivery_ends_once_at_both_ends_whatever_breaks() {
    look_at_all::<World>(&[
        ("a cut, and a crash of the receiver", Budget { cuts: 1, receiver_crashes: 1, ..NONE }),
        ("a cut, and a crash of the sender", Budget { cuts: 1, sender_crashes: 1, ..NONE }),
        ("a cut, and another suite", Budget { cuts: 1, suites: 1, ..NONE }),
        (
            "another suite, and a crash of the receiver",
            Budget { suites: 1, receiver_crashes: 1, ..NONE },
        ),
        ("a cut, and impatience", Budget { cuts: 1, patience: 1, ..NONE }),
        ("stopped, and a crash of the receiver", Budget { stops: 1, receiver_crashes: 1, ..NONE }),
        (
            "the receiver's disk is full, and it crashes",
            Budget { full_disks: 1, receiver_crashes: 1, ..NONE },
        ),
        (
            "the memory can't be written, and a crash",
            Budget { failed_notes: 1, receiver_crashes: 1, ..NONE },
        ),
    ]);
}

#[test]
fn a_delivery_ends_once_at_both_ends_whatever_is_decided_about_it() {
    look_at_all::<World>(&[
        (
            "cancelled by either side, and a cut",
            Budget { sender_cancels: 1, receiver_cancels: 1, cuts: 1, ..NONE },
        ),
        (
            "cancelled by the sender, a crash of the receiver, and impatience",
            Budget { sender_cancels: 1, receiver_crashes: 1, patience: 1, ..NONE },
        ),
        (
            "cancelled by the sender, which crashes",
            Budget { sender_cancels: 1, sender_crashes: 1, ..NONE },
        ),
        ("cancelled by the sender, and changed", Budget { sender_cancels: 1, changes: 1, ..NONE }),
        (
            "cancelled by the sender, and the receiver's disk is full",
            Budget { sender_cancels: 1, full_disks: 1, ..NONE },
        ),
        (
            "cancelled by the sender, and the memory can't be written",
            Budget { sender_cancels: 1, failed_notes: 1, ..NONE },
        ),
        (
            "cancelled by the receiver, which crashes",
            Budget { receiver_cancels: 1, receiver_crashes: 1, ..NONE },
        ),
        (
            "cancelled by the receiver, and changed",
            Budget { receiver_cancels: 1, changes: 1, ..NONE },
        ),
        (
            "refused by the receiver, which crashes",
            Budget { refusals: 1, receiver_crashes: 1, ..NONE },
        ),
        ("expired, and a cut", Budget { expiries: 1, cuts: 1, ..NONE }),
        (
            "expired, and a crash of the receiver",
            Budget { expiries: 1, receiver_crashes: 1, ..NONE },
        ),
        ("changed while it is sent, and a cut", Budget { changes: 1, cuts: 1, ..NONE }),
        ("refused, and a cut", Budget { refusals: 1, cuts: 1, ..NONE }),
        (
            "refused before it is looked for, and a crash of the receiver",
            Budget { bars: 1, receiver_crashes: 1, ..NONE },
        ),
        (
            "refused before it is looked for, and a crash of the sender",
            Budget { bars: 1, sender_crashes: 1, ..NONE },
        ),
        ("paused and not, and a cut", Budget { pauses: 2, cuts: 1, ..NONE }),
    ]);
}

/// Takes minutes and gigabytes.
#[test]
fn a_delivery_ends_once_at_both_ends_whatever_comes_together() {
    if std::env::var_os("ESTAFETTE_MODEL").is_none() {
        return println!("left out: set ESTAFETTE_MODEL=1 to look at the larger budgets");
    }
    let both = Budget { cuts: 1, sender_crashes: 1, receiver_crashes: 1, patience: 1, ..NONE };
    look_at_all::<World>(&[
        (
            "cancelled by the receiver, which crashes and can't look",
            Budget { receiver_cancels: 1, receiver_crashes: 1, full_disks: 1, ..NONE },
        ),
        ("a cut and a crash of either side, and impatience", both),
        (
            "cancelled, expired, a cut and a crash",
            Budget { receiver_cancels: 1, expiries: 1, cuts: 1, receiver_crashes: 1, ..NONE },
        ),
        ("stopped, a cut and a crash", Budget { stops: 1, receiver_crashes: 1, cuts: 1, ..NONE }),
    ]);
}

#[test]
fn what_is_broken_on_purpose_is_noticed() {
    let crash = Budget { receiver_crashes: 1, ..NONE };
    let breaks = [
        (Break::NoIntent, crash),
        (Break::SaidBeforeRemembered, crash),
        (Break::FailBeforeStop, Budget { receiver_cancels: 1, ..NONE }),
        (Break::TrailerOnce, crash),
        (Break::NeverAnew, crash),
        (Break::AttemptForgotten, Budget { cuts: 1, patience: 1, ..NONE }),
        (Break::CancelAtOnce, Budget { sender_cancels: 1, ..NONE }),
        (Break::PassingIsFinal, Budget { full_disks: 1, ..NONE }),
        (Break::SureOfAll, Budget { expiries: 1, cuts: 1, ..NONE }),
        (Break::RejectionsDeny, Budget { bars: 1, ..crash }),
    ];
    are_noticed::<World>(&breaks);
}
