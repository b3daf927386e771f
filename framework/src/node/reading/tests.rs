use futures_util::future::BoxFuture;
use futures_util::{FutureExt, poll};

use super::*;
use crate::delivery::{Content, ContentKind, ContentName, Subtree};
use crate::pipeline::SourceError;

const CUT: Cut = Cut { version: [1; 32], chunk_size: 1024, codec: Codec::RAW };
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

/// Two who have begun.
fn two() -> (Readings, Seat, Seat) {
    let readings = Readings::default();
    let (one, other) = (readings.enter(&reference()), readings.enter(&reference()));
    assert!(one.begin(CUT) && other.begin(CUT));
    (readings, one, other)
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
    let (_readings, one, other) = two();
    let Next::Read(turn, _) = one.next(0, WINDOW).await else { panic!("not its turn") };
    let waits = other.next(0, WINDOW);
    tokio::pin!(waits);
    assert!(poll!(&mut waits).is_pending());
    turn.was_read(Box::new(Book));
    assert!(poll!(&mut waits).is_pending(), "it is not made yet");
    let third = _readings.enter(&reference());
    assert!(matches!(third.next(1, WINDOW).now_or_never(), Some(Next::Read(..))));
    turn.was_made(made());
    assert!(matches!(waits.await, Next::Made(_)));
}

#[tokio::test]
async fn who_falls_behind_a_window_is_waited_for() {
    let (_readings, one, other) = two();
    // However long this takes, it is a small share of that.
    one.reading.lock().began = Instant::now().checked_sub(Duration::from_secs(1 << 20));
    for index in 0..3 {
        read(&one, index).await;
    }
    {
        let waits = one.next(3, WINDOW);
        tokio::pin!(waits);
        assert!(poll!(&mut waits).is_pending());
        assert!(matches!(other.next(0, WINDOW).await, Next::Made(_)));
        assert!(poll!(&mut waits).is_pending(), "it may need it again until it asks for the next");
        assert!(matches!(other.next(1, WINDOW).await, Next::Made(_)));
        assert!(matches!(waits.await, Next::Read(..)));
    }
    assert_eq!(one.reading.lock().bytes, 20);
}

#[tokio::test]
async fn who_falls_behind_a_window_is_not_waited_for_when_that_took_too_long() {
    let (_readings, one, other) = two();
    // As if the others had waited for it before.
    one.reading.lock().seats.values_mut().for_each(|at| at.waited = Duration::from_secs(1 << 30));
    for index in 0..4 {
        read(&one, index).await;
    }
    // It is left behind: from here on it costs nobody anything, however patient they are.
    one.reading.lock().seats.values_mut().for_each(|at| at.waited = Duration::ZERO);
    one.reading.lock().began = Instant::now().checked_sub(Duration::from_secs(1 << 20));
    for index in 4..20 {
        read(&one, index).now_or_never().expect("nobody is waited for");
        assert!(one.reading.lock().bytes <= WINDOW);
    }
    assert!(matches!(other.next(0, WINDOW).await, Next::Alone(None)));
}

#[tokio::test]
async fn who_has_not_begun_holds_up_nobody() {
    let readings = Readings::default();
    let (one, _waits) = (readings.enter(&reference()), readings.enter(&reference()));
    assert!(one.begin(CUT));
    for index in 0..20 {
        read(&one, index).await;
    }
}

#[tokio::test]
async fn the_last_one_has_the_source_for_itself_where_it_stands() {
    let (readings, one, other) = two();
    read(&one, 0).await;
    drop(one);
    assert!(matches!(other.next(0, WINDOW).await, Next::Made(_)));
    assert!(matches!(other.next(1, WINDOW).await, Next::Alone(Some(_))));
    // Whoever comes now begins anew, by itself.
    assert!(!readings.enter(&reference()).begin(CUT));
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
    assert!(!readings.enter(&reference()).begin(CUT), "whoever comes now begins anew");
}

#[test]
fn one_alone_and_other_chunks_are_not_read_together() {
    let readings = Readings::default();
    let one = readings.enter(&reference());
    assert!(!one.begin(CUT), "nobody else is there");
    let other = readings.enter(&reference());
    assert!(one.begin(CUT));
    assert!(!other.begin(Cut { version: [2; 32], ..CUT }), "another version");
    let elsewhere = SourceReference { data: b"shelf 8".to_vec(), ..reference() };
    assert!(!readings.enter(&elsewhere).begin(CUT));
}
