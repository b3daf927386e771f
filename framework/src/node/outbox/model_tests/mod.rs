//! One package by a relay, in the very type that decides about it in both outboxes, through every
//! order of what may befall it: [`Stored`](super::stored::Stored) of who packed it, and of the
//! relay. In a chain, the first of the two is a relay itself, in the middle: it keeps the package
//! for an origin, which is told of what becomes of it.
//!
//! In the world around them are a spool and a folder on each side, the way of a package into the
//! relay's outbox, what the relay remembers, the links, a receiver that takes it once, and its
//! application. Not in it: transfers, which are gone through in `delivery/model_tests`, and count
//! here as offered, taken, refused or over; several packages, ways that change, quotas, loss of
//! power.

mod desk;
mod world;

use std::hash::{Hash, Hasher};

use self::world::{Budget, End, Step, World};
use super::OutboxEntry;
use crate::testing::exhaust::{Exhaustible, Promise, are_noticed, look_at_all};

/// A thing done wrong on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Break {
    /// A relay writes the record of a package before that is where it belongs.
    NoPackage,
    /// The fate of a delivery is said before it is durable.
    SaidEarly,
    /// The file goes before the record.
    FileFirst,
    /// Tries are not counted.
    CountForgotten,
    /// A try goes on whose delivery somebody wants out.
    NotStopped,
    /// A cancel does not wait for the word of whoever has it.
    AnswerIgnored,
    /// The relay does not note what was heard.
    HeardIgnored,
    /// The relay says what has become of a package once.
    SaidOnce,
    /// A relay forgets what another one has.
    ForgottenWhenRelayed,
    /// A relay forgets how what it passed on has ended, when it has said so.
    ForgottenWhenSaid,
    /// A delivery that may have been made is told as one that was not.
    SureOfAll,
    /// A relay says of what is over by its clock only that nobody knows how it ended.
    LapsedIsUnknown,
    /// Whoever says that it does not have it speaks for all who were offered it.
    OneForAll,
    /// A relay says that it does not have it, and has not looked.
    DeniedUnlooked,
}

/// Hashes all that ever changes in a record.
impl Hash for OutboxEntry {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.state.hash(hasher);
        (self.created, self.expires, self.tries, self.heard).hash(hasher);
        (&self.last_failure, self.via, &self.elsewhere).hash(hasher);
    }
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

    fn is_within(&self) -> bool {
        self.tries() <= TRIES
    }

    fn promises() -> Vec<Promise<Self>> {
        let always = Promise::<Self>::always;
        vec![
            always("each step has its cause and its turn", |_, world| world.fault.is_none()),
            always("what is stored is never lost", |_, world| world.is_kept()),
            always("what is still to be delivered has its package", |_, world| world.has_files()),
            always("what a relay has taken is there, or how it ended", |_, world| {
                world.is_with_relay()
            }),
            always(
                "what a relay in the middle has taken is there, or its origin knows",
                |_, world| world.is_in_the_middle(),
            ),
            always("what was called back is not delivered", |_, world| {
                !(world.fate.recalled || world.fate.recalling) || !world.committed
            }),
            always("what is said to be taken out is not delivered", |_, world| {
                !world.fate.taken_out || !world.committed
            }),
            always("what is told as not delivered is not", |_, world| {
                !world.is_denied() || !world.committed
            }),
            always("it is delivered at its sender, too, and not if it was refused", |_, world| {
                world.has_the_right_end()
            }),
            always("nothing is left over", |_, world| !world.has_ended() || world.is_clean()),
            Promise::<Self>::sometimes("it is delivered", |_, world| {
                world.has_ended() && world.fate.end == Some(End::Delivered)
            }),
        ]
    }
}

/// Tries of either outbox that are looked at.
const TRIES: u32 = 3;

const NONE: Budget = Budget {
    chain: false,
    asks: 0,
    cuts: 0,
    sender_crashes: 0,
    relay_crashes: 0,
    patience: 0,
    failed_writes: 0,
    refusals: 0,
    processed: 0,
    sender_expires: 0,
    relay_expires: 0,
    cancels: 0,
    recalls: 0,
    retries: 0,
    relay_cancels: 0,
    revokes: 0,
    turns: 0,
    lost: 0,
};

const CHAIN: Budget = Budget { chain: true, ..NONE };

#[test]
fn a_package_is_kept_until_it_is_delivered_whatever_breaks() {
    look_at_all::<World>(&[
        ("nothing", NONE),
        ("a cut, and a crash of the relay", Budget { cuts: 1, relay_crashes: 1, ..NONE }),
        ("a cut, and a crash of the sender", Budget { cuts: 1, sender_crashes: 1, ..NONE }),
        ("a crash of either", Budget { sender_crashes: 1, relay_crashes: 1, ..NONE }),
        ("impatience, and a crash of the relay", Budget { patience: 1, relay_crashes: 1, ..NONE }),
        (
            "a change can't be written, and a crash of the relay",
            Budget { failed_writes: 1, relay_crashes: 1, ..NONE },
        ),
        (
            "a change can't be written, and a crash of the sender",
            Budget { failed_writes: 1, sender_crashes: 1, ..NONE },
        ),
        (
            "processed, a cut, and a crash of the relay",
            Budget { processed: 1, cuts: 1, relay_crashes: 1, ..NONE },
        ),
    ]);
}

#[test]
fn a_package_ends_at_all_ends_whatever_is_decided_about_it() {
    look_at_all::<World>(&[
        ("refused, tried again, and a cut", Budget { refusals: 1, retries: 1, cuts: 1, ..NONE }),
        (
            "refused, tried again, and a crash of the sender",
            Budget { refusals: 1, retries: 1, sender_crashes: 1, ..NONE },
        ),
        (
            "refused, tried again, and a crash of the relay",
            Budget { refusals: 1, retries: 1, relay_crashes: 1, ..NONE },
        ),
        (
            "refused, tried again, and a change can't be written",
            Budget { refusals: 1, retries: 1, failed_writes: 1, ..NONE },
        ),
        ("cancelled, and a cut", Budget { cancels: 1, cuts: 1, ..NONE }),
        ("cancelled, and a crash of the sender", Budget { cancels: 1, sender_crashes: 1, ..NONE }),
        (
            "called back, and a crash of the sender",
            Budget { recalls: 1, sender_crashes: 1, ..NONE },
        ),
        ("called back, and a cut", Budget { recalls: 1, cuts: 1, ..NONE }),
        (
            "taken out at the relay, which crashes",
            Budget { relay_cancels: 1, relay_crashes: 1, ..NONE },
        ),
        (
            "taken out at the relay, and tried again",
            Budget { relay_cancels: 1, retries: 1, ..NONE },
        ),
        ("expired at the relay, and a cut", Budget { relay_expires: 1, cuts: 1, ..NONE }),
        ("expired at the relay, and impatience", Budget { relay_expires: 1, patience: 1, ..NONE }),
        (
            "expired at the sender, and a crash of the relay",
            Budget { sender_expires: 1, relay_crashes: 1, ..NONE },
        ),
        ("revoked, and expired", Budget { revokes: 1, sender_expires: 1, ..NONE }),
        (
            "expired at both, and impatience",
            Budget { sender_expires: 1, relay_expires: 1, patience: 1, ..NONE },
        ),
    ]);
}

#[test]
fn a_package_in_a_chain_is_kept_and_its_origin_hears_how_it_ends() {
    look_at_all::<World>(&[
        (
            "a chain, two crashes of the middle, and a cut",
            Budget { sender_crashes: 2, cuts: 1, ..CHAIN },
        ),
        (
            "a chain, a crash of either relay, and a cut",
            Budget { sender_crashes: 1, relay_crashes: 1, cuts: 1, ..CHAIN },
        ),
        (
            "a chain, processed, a crash of the middle, and asked again",
            Budget { processed: 1, sender_crashes: 1, asks: 1, ..CHAIN },
        ),
        (
            "a chain, impatience, and a crash of the middle",
            Budget { patience: 1, sender_crashes: 1, ..CHAIN },
        ),
        (
            "a chain, a change can't be written, and a crash of the middle",
            Budget { failed_writes: 1, sender_crashes: 1, ..CHAIN },
        ),
        (
            "a chain, refused, a crash of the middle, and a cut",
            Budget { refusals: 1, sender_crashes: 1, cuts: 1, ..CHAIN },
        ),
        (
            "a chain, taken out in the middle, which crashes, and a cut",
            Budget { cancels: 1, sender_crashes: 1, cuts: 1, ..CHAIN },
        ),
        (
            "a chain, taken out at the last relay, and a crash of the middle",
            Budget { relay_cancels: 1, sender_crashes: 1, ..CHAIN },
        ),
        (
            "a chain, expired at the last relay, and a crash of the middle",
            Budget { relay_expires: 1, sender_crashes: 1, ..CHAIN },
        ),
        (
            "a chain, expired at the last relay, and impatience",
            Budget { relay_expires: 1, patience: 1, ..CHAIN },
        ),
        (
            "a chain, expired in the middle, and a cut",
            Budget { sender_expires: 1, cuts: 1, ..CHAIN },
        ),
    ]);
}

#[test]
fn a_package_that_goes_more_than_one_way_is_not_told_as_undelivered_by_who_does_not_have_it() {
    look_at_all::<World>(&[
        ("a chain, and a turn", Budget { turns: 1, ..CHAIN }),
        (
            "a chain, expired at the last relay, impatience, and a turn",
            Budget { relay_expires: 1, patience: 1, turns: 1, ..CHAIN },
        ),
        (
            "a chain, a turn with the relay's answer lost, and refused by the receiver",
            Budget { turns: 1, refusals: 1, cuts: 1, patience: 1, ..CHAIN },
        ),
        (
            "a chain, committed without a word, a turn, and a crash of the middle",
            Budget { turns: 1, lost: 1, sender_crashes: 1, sender_expires: 1, ..CHAIN },
        ),
        (
            "a chain, committed without a word, and a turn there and back, refused",
            Budget { turns: 2, lost: 1, refusals: 1, ..CHAIN },
        ),
    ]);
}

/// Takes minutes.
#[test]
fn a_package_is_kept_and_ends_whatever_comes_together() {
    if std::env::var_os("ESTAFETTE_MODEL").is_none() {
        return println!("left out: set ESTAFETTE_MODEL=1 to look at the larger budgets");
    }
    let crashes = Budget { sender_crashes: 1, relay_crashes: 1, ..NONE };
    look_at_all::<World>(&[
        (
            "a crash of either, a cut, impatience, and processed",
            Budget { cuts: 1, patience: 1, processed: 1, ..crashes },
        ),
        (
            "a crash of either, refused, tried again, and a cut",
            Budget { refusals: 1, retries: 1, cuts: 1, ..crashes },
        ),
        (
            "a crash of either, two changes can't be written, and a refusal",
            Budget { failed_writes: 2, refusals: 1, ..crashes },
        ),
        (
            "cancelled, taken out at the relay, a cut, and a crash of either",
            Budget { cancels: 1, relay_cancels: 1, cuts: 1, ..crashes },
        ),
        (
            "called back, impatience, and a crash of either",
            Budget { recalls: 1, patience: 1, ..crashes },
        ),
        (
            "a chain, two crashes of the middle, one behind it, a cut, and processed",
            Budget { sender_crashes: 2, relay_crashes: 1, cuts: 1, processed: 1, ..CHAIN },
        ),
        // Not expired at both with a crash of either: a word that comes during a try which who
        // packed it gives up can be taken for an older one, and is said again on the next link only,
        // of which this world has no more (ADR 32).
    ]);
}

#[test]
fn what_is_done_wrong_with_packages_is_noticed() {
    let crash = Budget { relay_crashes: 1, ..NONE };
    let breaks = [
        (Break::NoPackage, crash),
        (Break::SaidEarly, crash),
        (Break::FileFirst, Budget { relay_cancels: 1, ..crash }),
        (Break::CountForgotten, Budget { recalls: 1, sender_crashes: 1, ..NONE }),
        (Break::NotStopped, Budget { recalls: 1, ..NONE }),
        (Break::AnswerIgnored, Budget { cancels: 1, ..NONE }),
        (Break::HeardIgnored, NONE),
        (Break::SaidOnce, Budget { cuts: 1, ..NONE }),
        (Break::SaidEarly, Budget { sender_crashes: 1, ..CHAIN }),
        (Break::HeardIgnored, CHAIN),
        (Break::SaidOnce, Budget { cuts: 1, ..CHAIN }),
        (Break::ForgottenWhenRelayed, CHAIN),
        (Break::ForgottenWhenSaid, Budget { cuts: 1, ..CHAIN }),
        (Break::SureOfAll, Budget { sender_expires: 1, cuts: 1, ..NONE }),
        (Break::SureOfAll, Budget { sender_expires: 1, relay_expires: 1, patience: 1, ..NONE }),
        (Break::SureOfAll, Budget { sender_expires: 1, cuts: 1, ..CHAIN }),
        (Break::LapsedIsUnknown, Budget { relay_expires: 1, patience: 1, ..NONE }),
        (Break::DeniedUnlooked, Budget { refusals: 1, ..crash }),
        (Break::OneForAll, Budget { turns: 2, lost: 1, refusals: 1, ..CHAIN }),
    ];
    are_noticed::<World>(&breaks);
}
