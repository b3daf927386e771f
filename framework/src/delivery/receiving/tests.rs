use std::time::{Duration, Instant};

use super::*;
use crate::delivery::TransferId;

/// A memory of the delivery that was cancelled, if one was.
#[derive(Default)]
struct Known(Option<Failure>);

impl Memory for Known {
    fn is_delivered(&mut self, _: TransferId) -> bool {
        false
    }

    fn given_up(&mut self, _: TransferId, _: u32) -> Option<Failure> {
        self.0.clone()
    }
}

struct Receiver(Receiving<()>, Known);

impl Receiver {
    /// Something happens; what is to be done, carried out as far as decisions depend on it.
    fn on(&mut self, event: Event<()>) -> Vec<Action<()>> {
        let Self(receiving, known) = self;
        receiving.handle(event, known);
        let mut done = Vec::new();
        loop {
            while let Some(action) = receiving.poll_action() {
                if let Action::NoteCancelled { failure, .. } = &action {
                    known.0 = Some(failure.clone());
                }
                done.push(action);
            }
            if !receiving.take_up(known) {
                return done;
            }
        }
    }
}

fn offer(stream: u64, attempt: u32) -> Offer<()> {
    let deadline = Instant::now() + Duration::from_secs(3600);
    Offer {
        stream,
        transfer: TransferId::from_bytes([1; 24]),
        attempt,
        commit: [0; 32],
        deadline,
        rest: (),
    }
}

/// One whose sink runs.
fn running() -> Receiver {
    let mut receiver = Receiver(Receiving::new(true), Known::default());
    receiver.on(Event::LinkUp(1));
    assert_eq!(receiver.on(Event::Offered(offer(1, 0))).len(), 1);
    receiver.on(Event::Taken(offer(1, 0)));
    receiver.on(Event::Room(1));
    receiver.on(Event::Opened(1, Ok(Sink::Runs)));
    receiver.on(Event::Admitted(1, Ok(())));
    receiver
}

#[test]
fn a_cancel_counts_for_the_attempt_that_waits_behind_the_one_that_it_ends() {
    let mut receiver = running();
    receiver.on(Event::Offered(offer(3, 1)));
    let cancelled = Failure::new(FailureKind::Cancelled, "cancelled by the receiver");
    assert_eq!(receiver.on(Event::GiveUp(1, cancelled.clone())), []);
    assert_eq!(
        receiver.on(Event::Stopped(1)),
        [Action::Discard(1)],
        "it was told to keep what came"
    );
    let done = receiver.on(Event::Stopped(1));
    assert!(
        done.contains(&Action::SayRejected { stream: 3, failure: cancelled, looked: true }),
        "{done:?}"
    );
}

#[test]
fn who_waits_for_room_is_told_of_other_deliveries_and_never_of_an_earlier_attempt() {
    let mut receiver = running();
    // It waits for the end of the attempt before it.
    let done = receiver.on(Event::Offered(offer(3, 1)));
    assert!(done.contains(&Action::SayWaiting(3, 0)), "{done:?}");
    let another = Offer { transfer: TransferId::from_bytes([2; 24]), ..offer(5, 0) };
    receiver.on(Event::Offered(another.clone()));
    receiver.on(Event::Taken(another));
    // The one that ends may be an earlier attempt of the one that waits.
    assert_eq!(receiver.on(Event::NoRoom(5)), [Action::SayWaiting(5, 0)]);
    let mut receiver = running();
    let another = Offer { transfer: TransferId::from_bytes([2; 24]), ..offer(5, 0) };
    receiver.on(Event::Offered(another.clone()));
    receiver.on(Event::Taken(another));
    assert_eq!(receiver.on(Event::NoRoom(5)), [Action::SayWaiting(5, 1)]);
}

#[test]
fn what_is_thrown_away_ends_when_it_is_and_not_before() {
    let mut receiver = running();
    receiver.on(Event::GiveUp(1, Failure::new(FailureKind::Unreachable, "gone")));
    receiver.on(Event::GiveUp(1, Failure::new(FailureKind::Expired, "expired")));
    assert_eq!(receiver.on(Event::Stopped(1)), [Action::Discard(1)]);
    assert_eq!(
        receiver.on(Event::Failed(1, Failure::new(FailureKind::Stage, "the assembler is gone"))),
        []
    );
    let done = receiver.on(Event::Stopped(1));
    assert!(
        matches!(&done[..], [Action::NoteCancelled { said: true, .. }, Action::SayFailed(1, failure), Action::Fail(..)] if failure.kind == FailureKind::Expired),
        "{done:?}"
    );
}

#[test]
fn a_session_that_ends_says_nothing_that_would_be_for_good() {
    let mut receiver = running();
    receiver
        .on(Event::GiveUp(1, Failure::new(FailureKind::Cancelled, "cancelled by the receiver")));
    let done = receiver.on(Event::Leave);
    assert!(
        matches!(&done[..], [Action::SayFailed(1, failure), Action::Fail(..)] if failure.kind == FailureKind::Shutdown),
        "{done:?}"
    );
}
