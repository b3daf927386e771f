use futures_util::future::BoxFuture;
use futures_util::{FutureExt, poll};
use std::time::Duration;

use super::*;
use crate::delivery::{Content, ContentKind, ContentName, Subtree};
use crate::pipeline::SourceError;

const CUT: Cut = Cut { version: [1; 32], chunk_size: 10, codec: Codec::RAW };
const WINDOW: usize = 30;

/// Nobody reads from it here.
#[derive(Debug)]
struct Book;

impl Source for Book {
    fn content(&self) -> Content {
        let name = ContentName::new("book").unwrap();
        Content::new(ContentKind::Bytes, name, None)
    }

    fn read<'a>(&'a mut self, _: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }
}

fn reference() -> SourceReference {
    SourceReference { kind: "book".into(), data: b"shelf 7".to_vec() }
}

/// A chunk of ten bytes.
fn made() -> Made {
    let ready = Ready { content: vec![0; 10].into(), subtree: Subtree::of(0, 1024, &[0]) };
    Made { ready: Some(ready), length: 10, report: None }
}

/// A gate that is open for ever.
fn gate() -> watch::Receiver<Gate> {
    watch::channel(Gate::default()).1
}

/// Two who have begun.
fn two() -> (Readings, Seat, Seat) {
    let readings = Readings::new(WINDOW);
    let (one, other) = (readings.enter(&reference()), readings.enter(&reference()));
    assert!(one.begin(CUT, gate()) && other.begin(CUT, gate()));
    (readings, one, other)
}

/// Returns what is to be done so many seconds after `began`.
fn look_at(seat: &Seat, index: u64, began: Instant, seconds: f64) -> Look {
    let now = began + Duration::from_secs_f64(seconds);
    seat.reading.lock().look(seat.number, index, WINDOW, now)
}

/// Reads and makes a chunk at this time; a second if it is to wait for so long.
fn read_at(seat: &Seat, index: u64, began: Instant, seconds: f64) {
    let Look::Read { source, round } = look_at(seat, index, began, seconds) else {
        panic!("not its turn at {index}")
    };
    let mut state = seat.reading.lock();
    state.was_read(round, index, source.unwrap_or_else(|| Box::new(Book)));
    state.was_made(round, index, made());
}

/// Reads and makes a chunk, as its turn has come.
async fn read(seat: &Seat, index: u64) {
    let Next::Read(turn, lent) = seat.next(index, WINDOW).await else { panic!("not its turn") };
    assert_eq!(lent.is_some(), index > 0);
    turn.was_read(lent.unwrap_or_else(|| Box::new(Book)));
    turn.was_made(made());
}

#[tokio::test]
async fn who_comes_first_reads_and_the_other_one_takes_what_was_made() {
    let (_readings, one, other) = two();
    read(&one, 0).await;
    assert!(matches!(other.next(0, WINDOW).await, Next::Made(_)));
    // The other one is first now.
    read(&other, 1).await;
    assert!(matches!(one.next(1, WINDOW).await, Next::Made(_)));
}

#[tokio::test]
async fn while_a_chunk_is_made_the_next_one_is_read() {
    let (readings, one, other) = two();
    let Next::Read(turn, _) = one.next(0, WINDOW).await else { panic!("not its turn") };
    let waits = other.next(0, WINDOW);
    tokio::pin!(waits);
    assert!(poll!(&mut waits).is_pending());
    turn.was_read(Box::new(Book));
    assert!(poll!(&mut waits).is_pending(), "it is not made yet");
    let third = readings.enter(&reference());
    assert!(third.begin(CUT, gate()));
    assert!(matches!(third.next(1, WINDOW).now_or_never(), Some(Next::Read(..))));
    turn.was_made(made());
    assert!(matches!(waits.await, Next::Made(_)));
}

#[tokio::test]
async fn who_falls_behind_a_window_is_waited_for() {
    let (_readings, one, other) = two();
    let began = Instant::now();
    for index in 0..3 {
        read_at(&one, index, began, 0.0);
    }
    assert!(matches!(look_at(&one, 3, began, 0.0), Look::WaitFor(_)));
    assert!(matches!(look_at(&other, 0, began, 0.1), Look::Made(_)));
    // It may need it again until it asks for the next.
    assert!(matches!(look_at(&one, 3, began, 0.1), Look::WaitFor(_)));
    assert!(matches!(look_at(&other, 1, began, 0.2), Look::Made(_)));
    assert!(matches!(look_at(&one, 3, began, 0.2), Look::Read { .. }));
    assert_eq!(one.reading.lock().bytes(), 20);
}

#[tokio::test]
async fn one_wait_is_a_second_however_long_it_was_read_before() {
    let (_readings, one, other) = two();
    let began = Instant::now();
    // Both are equally fast, for an hour.
    for index in 0..3600 {
        read_at(&one, index, began, index as f64);
        assert!(matches!(look_at(&other, index, began, index as f64), Look::Made(_)));
    }
    // Then the other one takes nothing more.
    for index in 3600..3602 {
        read_at(&one, index, began, 3600.0);
    }
    let Look::WaitFor(most) = look_at(&one, 3602, began, 3600.0) else { panic!("it waits") };
    assert_eq!(most, Duration::from_secs(1));
    let Look::Alone(Some(_)) = look_at(&one, 3602, began, 3601.0) else { panic!("it goes on") };
    assert!(matches!(look_at(&other, 3600, began, 3601.0), Look::Alone(None)));
}

#[tokio::test]
async fn time_in_which_no_chunk_moves_earns_no_patience() {
    let (_readings, one, other) = two();
    let began = Instant::now();
    read_at(&one, 0, began, 0.0);
    assert!(matches!(look_at(&other, 0, began, 0.0), Look::Made(_)));
    let day = 86_400.0;
    for index in 1..3 {
        read_at(&one, index, began, day);
    }
    // Late, again and again: for a second in all, and an eighth of one second that counts.
    let mut at = day;
    for (index, waits) in [(3, 0.9), (4, 0.2)] {
        assert!(matches!(look_at(&one, index, began, at), Look::WaitFor(_)));
        at += waits;
        assert!(matches!(look_at(&other, index - 2, began, at), Look::Made(_)));
        read_at(&one, index, began, at);
    }
    let Look::WaitFor(most) = look_at(&one, 5, began, at) else { panic!("it waits") };
    assert!(most < Duration::from_millis(30), "{most:?}");
}

#[tokio::test]
async fn who_goes_away_while_it_waits_leaves_no_waiting_behind() {
    let (readings, one, other) = two();
    let third = readings.enter(&reference());
    assert!(third.begin(CUT, gate()));
    let began = Instant::now();
    for index in 0..3 {
        read_at(&one, index, began, 0.0);
        look_at(&third, index, began, 0.0);
    }
    assert!(matches!(look_at(&one, 3, began, 0.0), Look::WaitFor(_)));
    drop(one);
    let Look::WaitFor(most) = look_at(&third, 3, began, 3600.0) else { panic!("it waits") };
    assert_eq!(most, Duration::from_secs(1));
    assert!(matches!(look_at(&other, 0, began, 3600.0), Look::Made(_)));
}

#[tokio::test]
async fn who_is_paused_is_not_waited_for() {
    let readings = Readings::new(WINDOW);
    let (one, other) = (readings.enter(&reference()), readings.enter(&reference()));
    let paused = watch::channel(Gate { paused: true, ..Gate::default() }).1;
    assert!(one.begin(CUT, gate()) && other.begin(CUT, paused));
    for index in 0..3 {
        read_at(&one, index, Instant::now(), 0.0);
    }
    assert!(matches!(one.next(3, WINDOW).await, Next::Alone(Some(_))));
    assert!(matches!(other.next(0, WINDOW).await, Next::Alone(None)));
}

#[tokio::test]
async fn who_has_not_begun_holds_up_nobody_and_pins_nothing() {
    let readings = Readings::new(WINDOW);
    let (one, waits) = (readings.enter(&reference()), readings.enter(&reference()));
    assert!(one.begin(CUT, gate()));
    for index in 0..3 {
        read(&one, index).await;
    }
    // From a window on it reads for itself, with all its lanes.
    assert!(matches!(one.next(3, WINDOW).await, Next::Alone(Some(_))));
    assert_eq!(one.reading.lock().bytes(), 0);
    // Those who come now share again, from the start.
    let last = readings.enter(&reference());
    assert!(waits.begin(CUT, gate()) && last.begin(CUT, gate()));
    read(&last, 0).await;
    assert!(matches!(waits.next(0, WINDOW).await, Next::Made(_)));
}

#[tokio::test]
async fn who_was_left_behind_reads_for_itself_and_the_others_go_on_together() {
    let (readings, one, other) = two();
    let third = readings.enter(&reference());
    assert!(third.begin(CUT, gate()));
    let began = Instant::now();
    for index in 0..3 {
        read_at(&one, index, began, 0.0);
        assert!(matches!(look_at(&third, index, began, 0.0), Look::Made(_)));
    }
    assert!(matches!(look_at(&one, 3, began, 0.0), Look::WaitFor(_)));
    // Nobody waits for it again.
    for index in 3..9 {
        read_at(&one, index, began, 1.0);
        assert!(matches!(look_at(&third, index, began, 1.0), Look::Made(_)));
    }
    assert!(matches!(look_at(&other, 0, began, 1.0), Look::Alone(None)));
}

#[tokio::test]
async fn what_those_leave_who_are_gone_has_a_window_in_all() {
    let readings = Readings::new(WINDOW);
    let of = |shelf: u8| SourceReference { kind: "book".into(), data: vec![shelf] };
    let mut waiting = Vec::new();
    for shelf in 0..9 {
        let one = readings.enter(&of(shelf));
        waiting.push(readings.enter(&of(shelf)));
        assert!(one.begin(CUT, gate()));
        for index in 0..2 {
            read(&one, index).await;
        }
    }
    let bytes = |seat: &Seat| seat.reading.lock().bytes();
    assert_eq!(waiting.iter().map(bytes).sum::<usize>(), 20);
    // The newest is kept, without its source.
    let last = waiting.pop().unwrap();
    assert!(last.begin(CUT, gate()));
    let other = readings.enter(&of(8));
    assert!(other.begin(CUT, gate()));
    assert!(matches!(last.next(0, WINDOW).await, Next::Made(_)));
    assert!(matches!(last.next(2, WINDOW).await, Next::Read(_, None)));
}

#[tokio::test]
async fn a_turn_that_takes_long_is_waited_for_for_a_second() {
    let (_readings, one, other) = two();
    let Next::Read(turn, _) = one.next(0, WINDOW).await else { panic!("not its turn") };
    let began = Instant::now();
    // However long a source takes for a chunk: it is the same for all.
    assert!(matches!(look_at(&other, 0, began, 3600.0), Look::Wait));
    turn.takes_long();
    assert!(matches!(look_at(&other, 0, began, 0.0), Look::WaitFor(_)));
    assert!(matches!(look_at(&other, 0, began, 3600.0), Look::Alone(None)));
}

#[tokio::test]
async fn what_was_begun_anew_has_nothing_of_an_earlier_turn() {
    let (readings, one, other) = two();
    let Next::Read(turn, _) = one.next(0, WINDOW).await else { panic!("not its turn") };
    let waits = readings.enter(&reference());
    let _too = readings.enter(&reference());
    drop((one, other));
    let version = Cut { version: [2; 32], ..CUT };
    assert!(waits.begin(version, gate()));
    turn.was_read(Box::new(Book));
    turn.was_made(made());
    assert_eq!(waits.reading.lock().bytes(), 0);
}

#[tokio::test]
async fn the_last_one_has_the_source_for_itself_where_it_stands() {
    let (readings, one, other) = two();
    read(&one, 0).await;
    drop(one);
    assert!(matches!(other.next(0, WINDOW).await, Next::Made(_)));
    assert!(matches!(other.next(1, WINDOW).await, Next::Alone(Some(_))));
    // Whoever comes now begins anew, by itself.
    assert!(!readings.enter(&reference()).begin(CUT, gate()));
}

#[tokio::test]
async fn a_turn_that_ends_before_it_has_read_is_another_ones() {
    let (_readings, one, other) = two();
    read(&one, 0).await;
    let Next::Read(turn, Some(_)) = one.next(1, WINDOW).await else { panic!("not its turn") };
    let waits = other.next(1, WINDOW);
    tokio::pin!(waits);
    assert!(poll!(&mut waits).is_pending());
    drop(turn);
    // The source is gone with it: this one has its own.
    assert!(matches!(waits.await, Next::Read(_, None)));
}

#[tokio::test]
async fn a_chunk_that_can_not_be_made_leaves_each_to_itself() {
    let (readings, one, other) = two();
    let Next::Read(turn, _) = one.next(0, WINDOW).await else { panic!("not its turn") };
    turn.was_read(Box::new(Book));
    let waits = other.next(0, WINDOW);
    tokio::pin!(waits);
    assert!(poll!(&mut waits).is_pending());
    drop(turn);
    assert!(matches!(waits.await, Next::Alone(None)));
    assert!(matches!(one.next(0, WINDOW).await, Next::Alone(None)));
    assert!(!readings.enter(&reference()).begin(CUT, gate()), "whoever comes now begins anew");
}

#[test]
fn one_alone_and_other_chunks_are_not_read_together() {
    let readings = Readings::new(WINDOW);
    let one = readings.enter(&reference());
    assert!(!one.begin(CUT, gate()), "nobody else is there");
    let other = readings.enter(&reference());
    assert!(one.begin(CUT, gate()));
    assert!(!other.begin(Cut { version: [2; 32], ..CUT }, gate()), "another version");
    let elsewhere = SourceReference { data: b"shelf 8".to_vec(), ..reference() };
    assert!(!readings.enter(&elsewhere).begin(CUT, gate()));
}
