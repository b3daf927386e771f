//! Letters of one sender, in the very types that run, through every order of what may befall them:
//! [`Offers`](super::sending::offers::Offers) and [`Keys`](super::keyed::Keys) at their sender, and
//! [`Logs`](super::receiving::logs::Logs) at their receiver.
//!
//! In the world around them are a link, a spool and a task that writes on each side, and an actor.
//! Not in it: what an earlier life's end counts against a letter, actors that die, spools that are
//! full, two senders, loss of power.

mod world;

use self::world::{Budget, End, Step, World};
use crate::testing::exhaust::{Exhaustible, Promise, are_noticed, look_at_all};

/// A thing done wrong on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Break {
    /// A letter is said to be stored before it is.
    SaidBeforeStored,
    /// A letter is said to be handled before that is noted.
    HandledBeforeNoted,
    /// The number up to which a log was taken is not noted.
    HighestForgotten,
    /// A refusal is not noted.
    RefusalForgotten,
    /// It is not looked which letter was sent before.
    NoPredecessor,
    /// A word about a letter holds for those before it, too.
    AllBefore,
    /// The window moves on before the end of its first letter is noted.
    WindowMovesEarly,
    /// Numbers are given again in the next life.
    NumbersAgain,
    /// Whoever hears of a letter hands over.
    ManyHands,
    /// All names have one order.
    OneOrder,
    /// The window is a span of numbers that begins with the first one that is not over.
    SpanOfNumbers,
    /// A letter that was said is asked for, though nobody said that it is stored.
    AskedEarly,
    /// Refusals are forgotten too early.
    RefusalsOverEarly,
    /// As many are remembered as letters may be under way.
    RefusalsOfFar,
    /// A letter that has expired is ended though it may be with its actor.
    SweptFromActor,
    /// A key does not become durable with its letter.
    KeyNotStored,
    /// A key goes when its letter was handled.
    KeyGoesWithLetter,
    /// That the letter of a key was handled is not noted with its end.
    ProcessedNotNoted,
    /// It is told before that is durable.
    ProcessedToldEarly,
    /// Keys are forgotten too early.
    KeysOverEarly,
    /// Keys are never forgotten.
    KeysForEver,
    /// Whoever posts again is answered before the letter is durable.
    AnsweredEarly,
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
            always("each step has its cause and its turn", |_, world| world.fault.is_none()),
            always("it is handled once, unless the receiver died with it", |_, world| {
                world.fates.iter().all(|fate| fate.handled <= 1 + fate.died_with)
            }),
            always("it is processed only if it was handled", |_, world| {
                world.fates.iter().all(|fate| fate.end != Some(End::Processed) || fate.handled > 0)
            }),
            always("what is refused was not handled", |_, world| {
                let is_right =
                    |end, handled, died_with| end != Some(End::Refused) || handled <= died_with;
                world.fates.iter().all(|fate| is_right(fate.end, fate.handled, fate.died_with))
            }),
            always("what is stored is never lost", |_, world| world.has_all()),
            always("a key has one letter in its time", |_, world| {
                !world.fates.iter().any(|fate| fate.second)
            }),
            always("nothing is left over", |_, world| !world.has_ended() || world.is_clean()),
            Promise::<Self>::sometimes("all are processed", |_, world| {
                world.has_ended() && world.are_processed()
            }),
        ]
    }
}

const NONE: Budget = Budget {
    letters: 0,
    absent: false,
    registers: 0,
    far: 0,
    keys: false,
    repeats: 0,
    days: 0,
    forgets: 0,
    cuts: 0,
    holes: 0,
    duplicates: 0,
    sender_crashes: 0,
    receiver_crashes: 0,
    lost_spools: 0,
    lost_mail: 0,
    failed_writes: 0,
    refusals: 0,
    expiries: 0,
    sender_revokes: 0,
    receiver_revokes: 0,
};
const TWO: Budget = Budget { letters: 2, ..NONE };
const THREE: Budget = Budget { letters: 3, ..NONE };
/// The first and the last are for a name that nobody has.
const NAMED: Budget = Budget { letters: 3, absent: true, far: 3, ..NONE };
const KEYED: Budget = Budget { letters: 1, keys: true, repeats: 2, ..NONE };

#[test]
fn letters_are_handled_once_and_in_order_whatever_breaks() {
    look_at_all::<World>(&[
        ("three letters, and two cuts", Budget { letters: 3, cuts: 2, ..NONE }),
        (
            "something is lost on a link, and the receiver crashes",
            Budget { letters: 3, holes: 1, receiver_crashes: 1, ..NONE },
        ),
        (
            "something comes twice, and the receiver crashes",
            Budget { duplicates: 1, receiver_crashes: 1, ..TWO },
        ),
        ("a crash of the receiver, and a cut", Budget { receiver_crashes: 1, cuts: 1, ..THREE }),
        ("a crash of the sender, and a cut", Budget { sender_crashes: 1, cuts: 1, ..THREE }),
        ("a crash of either side", Budget { sender_crashes: 1, receiver_crashes: 1, ..TWO }),
        (
            "the sender's spool is lost, and a letter is refused",
            Budget { sender_crashes: 1, lost_spools: 1, refusals: 1, ..TWO },
        ),
        (
            "the sender's spool is lost, and the receiver crashes",
            Budget { sender_crashes: 1, lost_spools: 1, receiver_crashes: 1, ..TWO },
        ),
        ("a letter can't be stored, and a cut", Budget { failed_writes: 1, cuts: 1, ..THREE }),
    ]);
}

#[test]
fn letters_end_at_both_ends_whatever_is_decided_about_them() {
    look_at_all::<World>(&[
        ("two are refused, and a cut", Budget { refusals: 2, cuts: 1, ..THREE }),
        (
            "refused, and a crash of the receiver",
            Budget { refusals: 1, receiver_crashes: 1, ..TWO },
        ),
        ("refused, and a crash of the sender", Budget { refusals: 1, sender_crashes: 1, ..TWO }),
        ("expired, and a crash of the sender", Budget { expiries: 1, sender_crashes: 1, ..TWO }),
        ("expired, and a cut", Budget { expiries: 1, cuts: 1, ..THREE }),
        (
            "expired, and a crash of the receiver",
            Budget { expiries: 1, receiver_crashes: 1, ..TWO },
        ),
        (
            "revoked by both, and a crash of the sender",
            Budget { sender_revokes: 1, receiver_revokes: 1, sender_crashes: 1, ..TWO },
        ),
        (
            "revoked by the receiver, which crashes",
            Budget { receiver_revokes: 1, receiver_crashes: 1, ..THREE },
        ),
    ]);
}

#[test]
fn a_name_that_nobody_has_holds_up_its_own_letters_alone() {
    look_at_all::<World>(&[
        ("nobody takes it, and a cut", Budget { cuts: 1, ..NAMED }),
        ("nobody takes it, and a crash of the receiver", Budget { receiver_crashes: 1, ..NAMED }),
        ("nobody takes it, and a crash of the sender", Budget { sender_crashes: 1, ..NAMED }),
        ("nobody takes it, and it expires", Budget { expiries: 1, cuts: 1, ..NAMED }),
        ("somebody takes it, and a cut", Budget { registers: 1, cuts: 1, ..NAMED }),
        (
            "somebody takes it, and a crash of the receiver",
            Budget { registers: 1, receiver_crashes: 1, ..NAMED },
        ),
        (
            "somebody takes it, and a crash of the sender",
            Budget { registers: 1, sender_crashes: 1, ..NAMED },
        ),
        (
            "somebody takes it, refused, and a cut",
            Budget { registers: 1, refusals: 1, cuts: 1, ..NAMED },
        ),
        (
            "nobody takes it, and it is revoked by the receiver",
            Budget { receiver_revokes: 1, cuts: 1, ..NAMED },
        ),
    ]);
}

#[test]
fn what_is_known_to_be_there_is_asked_for_and_sent_again_if_it_was_lost() {
    let lost = Budget { receiver_crashes: 1, lost_mail: 1, ..TWO };
    look_at_all::<World>(&[
        ("the receiver's spool is lost", lost),
        ("the receiver's spool is lost, and a cut", Budget { cuts: 1, ..lost }),
        (
            "the receiver's spool is lost, and nobody has a name",
            Budget { absent: true, far: 2, ..lost },
        ),
    ]);
}

#[test]
fn as_many_refusals_are_remembered_as_letters_may_be_said_and_not_over() {
    let few = Budget { refusals: 3, far: 2, ..THREE };
    look_at_all::<World>(&[
        ("three are refused, and a cut", Budget { cuts: 1, ..few }),
        ("three are refused, and a crash of the receiver", Budget { receiver_crashes: 1, ..few }),
        ("three are refused, and a crash of the sender", Budget { sender_crashes: 1, ..few }),
        ("three are refused, one by one, and two cuts", Budget { far: 1, cuts: 2, ..few }),
        (
            "two are refused, expired, and a cut",
            Budget { refusals: 2, expiries: 1, cuts: 1, ..few },
        ),
        (
            "refused while another is given up and held, and a cut",
            Budget { letters: 2, refusals: 1, expiries: 1, cuts: 1, far: 1, ..few },
        ),
        (
            "three are refused, and nobody has a name at first",
            Budget { absent: true, registers: 1, cuts: 1, ..few },
        ),
    ]);
}

#[test]
fn a_key_has_one_letter_in_its_time_whatever_breaks() {
    look_at_all::<World>(&[
        ("posted three times, a day, and a cut", Budget { days: 1, cuts: 1, ..KEYED }),
        (
            "posted three times, and two crashes of the sender",
            Budget { sender_crashes: 2, ..KEYED },
        ),
        (
            "posted three times, and a crash of either side",
            Budget { sender_crashes: 1, receiver_crashes: 1, ..KEYED },
        ),
        (
            "posted three times, a day, and a crash of the sender",
            Budget { days: 1, sender_crashes: 1, ..KEYED },
        ),
        (
            "posted three times, can't be stored, and a crash of the sender",
            Budget { failed_writes: 1, sender_crashes: 1, ..KEYED },
        ),
        (
            "posted three times, refused, forgotten, and a crash of the sender",
            Budget { refusals: 1, forgets: 1, sender_crashes: 1, ..KEYED },
        ),
        (
            "posted three times, expired, forgotten, and a day",
            Budget { expiries: 1, forgets: 1, days: 1, ..KEYED },
        ),
        (
            "posted twice, the sender's spool is lost, and the receiver crashes",
            Budget { repeats: 1, sender_crashes: 1, lost_spools: 1, receiver_crashes: 1, ..KEYED },
        ),
        (
            "two, and one of them twice, and a crash of the sender",
            Budget { letters: 2, repeats: 1, sender_crashes: 1, ..KEYED },
        ),
    ]);
}

/// Takes minutes and gigabytes.
#[test]
fn letters_are_handled_once_whatever_comes_together() {
    if std::env::var_os("ESTAFETTE_MODEL").is_none() {
        return println!("left out: set ESTAFETTE_MODEL=1 to look at the larger budgets");
    }
    look_at_all::<World>(&[
        (
            "three letters, a cut and a crash of either side",
            Budget { cuts: 1, sender_crashes: 1, receiver_crashes: 1, ..THREE },
        ),
        (
            "two crashes of the sender, one of the receiver, and a refusal",
            Budget { sender_crashes: 2, receiver_crashes: 1, refusals: 1, ..TWO },
        ),
        (
            "revoked by both, expired, and a crash of the receiver",
            Budget {
                sender_revokes: 1,
                receiver_revokes: 1,
                expiries: 1,
                receiver_crashes: 1,
                ..TWO
            },
        ),
        (
            "something is lost, something comes twice, and a crash of the receiver",
            Budget { holes: 1, duplicates: 1, receiver_crashes: 1, ..TWO },
        ),
        (
            "somebody takes a name that nobody had, a cut, and a crash of either side",
            Budget { registers: 1, cuts: 1, sender_crashes: 1, receiver_crashes: 1, ..NAMED },
        ),
        (
            "nobody has a name, the receiver's spool is lost, and a cut",
            Budget { cuts: 1, receiver_crashes: 1, lost_mail: 1, ..NAMED },
        ),
        (
            "two under keys, one posted again, refused, forgotten, and a crash of the sender",
            Budget { letters: 2, repeats: 1, refusals: 1, forgets: 1, sender_crashes: 1, ..KEYED },
        ),
    ]);
}

#[test]
fn what_is_done_wrong_with_letters_is_noticed() {
    let crash = Budget { receiver_crashes: 1, ..TWO };
    let hole = Budget { holes: 1, ..TWO };
    let crashes = Budget { cuts: 1, sender_crashes: 1, refusals: 1, ..TWO };
    let breaks = [
        (Break::SaidBeforeStored, crash),
        (Break::HandledBeforeNoted, crash),
        (Break::HighestForgotten, crash),
        (Break::RefusalForgotten, Budget { refusals: 1, receiver_crashes: 1, ..TWO }),
        (Break::NoPredecessor, hole),
        (Break::AllBefore, Budget { refusals: 1, holes: 1, ..TWO }),
        (Break::WindowMovesEarly, crashes),
        (Break::NumbersAgain, Budget { sender_crashes: 1, ..TWO }),
        (Break::ManyHands, TWO),
        (Break::OneOrder, NAMED),
        (Break::SpanOfNumbers, NAMED),
        (Break::AskedEarly, Budget { cuts: 1, ..TWO }),
        (Break::RefusalsOverEarly, Budget { refusals: 1, cuts: 1, ..TWO }),
        (Break::RefusalsOfFar, Budget { refusals: 1, expiries: 1, cuts: 1, far: 1, ..TWO }),
        (Break::SweptFromActor, Budget { expiries: 1, ..TWO }),
        (Break::KeyNotStored, Budget { sender_crashes: 1, ..KEYED }),
        (Break::KeyGoesWithLetter, KEYED),
        (Break::ProcessedNotNoted, Budget { sender_crashes: 1, ..KEYED }),
        (Break::ProcessedToldEarly, KEYED),
        (Break::KeysOverEarly, Budget { expiries: 1, ..KEYED }),
        (Break::KeysForEver, Budget { days: 1, ..KEYED }),
        (Break::AnsweredEarly, KEYED),
    ];
    are_noticed::<World>(&breaks);
}
