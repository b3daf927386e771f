//! Tests that a peer reads what was put in.

use std::collections::{HashMap, HashSet};

use futures_util::{FutureExt as _, StreamExt as _};

use super::super::calls::{Call, Download};
use super::*;
use crate::store::ledger::Kind;
use crate::wire::message::Items;

/// The targets of tells, as a peer reads them: each must have been named before.
#[derive(Default)]
struct Reader {
    named: HashSet<u32>,
    told: Vec<u32>,
    long: Vec<u8>,
    total: usize,
}

impl Reader {
    fn read(&mut self, batch: &[u8]) {
        let mut items = Items::new(batch);
        while let Some((item, _)) = items.next_item().unwrap() {
            match item {
                Item::Bind { target, .. } => assert!(self.named.insert(target)),
                Item::Tell { target, .. } => {
                    assert!(
                        self.named.contains(&target),
                        "a message to a target that was never named"
                    );
                    self.told.push(target);
                }
                Item::Begin { total } => self.total = total as usize,
                Item::Part { bytes } => {
                    self.long.extend_from_slice(bytes);
                    if self.long.len() == self.total {
                        let whole = std::mem::take(&mut self.long);
                        self.read(&whole);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

pub(super) fn exchange(undelivered: impl Fn(Undelivered) + Send + Sync + 'static) -> Arc<Exchange> {
    Arc::new(Exchange::new(
        PeerId::from_bytes([1; 32]),
        "peer".into(),
        crate::store::ledger::Account::unbounded(),
        || {},
        Arc::new(undelivered),
    ))
}

/// A call with a stream of requests has come.
fn upload(exchange: &Exchange, epoch: u64, call: u64) -> mpsc::UnboundedReceiver<Requested> {
    let (requests, coming) = mpsc::unbounded_channel();
    exchange.serve(epoch, call, 64, Some(requests), false).unwrap();
    coming
}

#[test]
fn requests_that_nobody_reads_count_over_all_links_and_one_too_many_ends_its_call() {
    let account = Account::with_share(3 * cost(100));
    let exchange = Exchange::new(
        PeerId::from_bytes([1; 32]),
        "peer".into(),
        account.clone(),
        || {},
        Arc::new(|_| {}),
    );
    let mut unread = Vec::new();
    for epoch in 1..=3 {
        exchange.up(epoch);
        unread.push(upload(&exchange, epoch, 7));
        exchange.on_request(epoch, 7, Some(Bytes::from(vec![0; 100]))).unwrap();
        assert_eq!(account.held(Kind::Requests), epoch * cost(100));
        exchange.down(RemoteErrorKind::LinkLost, "it is another one's turn");
    }
    exchange.up(4);
    let mut coming = upload(&exchange, 4, 7);
    exchange.on_request(4, 7, Some(Bytes::from(vec![0; 100]))).unwrap();
    assert_eq!(
        coming.try_recv().unwrap().unwrap_err().kind,
        RemoteErrorKind::Full,
        "its reader hears why there are no more"
    );
    assert!(!exchange.is_served(4, 7));
    exchange.on_request(4, 7, Some(Bytes::from(vec![0; 100]))).unwrap();
    assert!(
        matches!(coming.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)),
        "nothing behind it is kept"
    );
    assert_eq!(account.held(Kind::Requests), 3 * cost(100));
    // Read, or given up by their reader, they count no more.
    drop(unread[0].try_recv().unwrap().unwrap());
    assert_eq!(account.held(Kind::Requests), 2 * cost(100));
    drop(unread);
    assert_eq!(account.held(Kind::Requests), 0);
    upload(&exchange, 4, 8);
    exchange.on_request(3, 8, Some(Bytes::from(vec![0; 100]))).unwrap();
    assert_eq!(
        account.held(Kind::Requests),
        0,
        "what an earlier link brings is for no call of this one"
    );
}

#[test]
fn requests_that_break_off_do_not_pass_for_all() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let mut coming = upload(&exchange, 1, 7);
    exchange.on_request(1, 7, Some(Bytes::from_static(b"one"))).unwrap();
    exchange.on_cancel(1, 7);
    assert_eq!(coming.try_recv().unwrap().unwrap().0, "one");
    assert_eq!(coming.try_recv().unwrap().unwrap_err().kind, RemoteErrorKind::Cancelled);
}

#[test]
fn a_short_request_or_reply_that_waits_keeps_no_batch_in_memory() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let mut coming = upload(&exchange, 1, 7);
    let target = exchange.target("one", "test", 1).unwrap();
    let opening = Opening { shape: Shape::Replies, body: &[], along: None, deadline: None };
    let (begun, _replies, _) = exchange.open(&target, &opening).ok().unwrap();
    for (length, is_free) in [(1, true), (SHORT, false)] {
        let batch = Bytes::from(vec![0; BATCH_LIMIT]);
        exchange.on_request(1, 7, Some(batch.slice(..length))).unwrap();
        assert_eq!(batch.is_unique(), is_free);
        drop(coming.try_recv().unwrap());
        assert!(batch.is_unique());
        exchange.on_reply(begun.call, batch.slice(..length)).unwrap();
        assert_eq!(batch.is_unique(), is_free);
    }
}

/// The bodies of tells in the order in which a peer reads them, and its answers to them.
fn numbers(exchange: &Arc<Exchange>, epoch: u64) -> Vec<u64> {
    let (mut numbers, mut cost) = (Vec::new(), HashMap::<u32, (u64, u64)>::new());
    let (mut long, mut total) = (Vec::new(), 0);
    let mut read = |batch: &[u8]| {
        let mut waiting = vec![batch.to_vec()];
        while let Some(batch) = waiting.pop() {
            let mut items = Items::new(&batch);
            while let Some((item, along)) = items.next_item().unwrap() {
                let (target, body) = match item {
                    Item::Tell { target, body } => (target, body),
                    Item::Call { target, body, .. } => (target, body),
                    Item::Begin { total: claimed } => {
                        total = claimed as usize;
                        continue;
                    }
                    Item::Part { bytes } => {
                        long.extend_from_slice(bytes);
                        if long.len() == total {
                            waiting.push(std::mem::take(&mut long));
                        }
                        continue;
                    }
                    _ => continue,
                };
                numbers.push(u64::from_le_bytes(*body.first_chunk().unwrap()));
                if matches!(item, Item::Tell { .. }) {
                    let told = cost.entry(target).or_default();
                    let cost = super::cost(body.len()) + cost_along(along.as_ref());
                    *told = (told.0 + 1, told.1 + cost);
                }
            }
        }
    };
    while exchange.take_batch(epoch, &mut read).is_some() {}
    for (target, (tells, cost)) in cost {
        exchange.on_consumed(target, tells, cost).unwrap();
    }
    numbers
}

/// Some are long enough to be cut.
fn body(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(if number % 997 == 500 { 8000 } else { 1 + number as usize % 20 })
}

#[test]
fn what_is_told_in_a_row_keeps_its_order_with_all_else_and_its_credit_comes_back() {
    let exchange = exchange(|_| {});
    exchange.says_on_behalf(true);
    exchange.up(1);
    let targets = ["one", "two"].map(|name| exchange.target(name, "test", 1).unwrap());
    let mut asked = Vec::new();
    // Long rows, short ones, and none at all, and all that can end one: another target, a call, a
    // message with something along, the link's own look.
    let (mut sent, mut seen, mut random) = (0, Vec::new(), 7_u64);
    for _ in 0..3000 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (what, target) = (random >> 60, &targets[random as usize >> 40 & 1]);
        let along = Along::default().on_behalf_of("till");
        match what {
            0 => seen.extend(numbers(&exchange, 1)),
            1 => {
                let opening =
                    Opening { shape: Shape::Ask, body: &body(sent), along: None, deadline: None };
                asked.push(exchange.ask(target, &opening).ok().unwrap());
                sent += 1;
            }
            2 => {
                exchange.tell(target, &body(sent), Some(&along)).unwrap();
                sent += 1;
            }
            _ => {
                for _ in 0..=random as u8 {
                    exchange.tell(target, &body(sent), None).unwrap();
                    sent += 1;
                }
                seen.extend(numbers(&exchange, 1));
            }
        }
    }
    seen.extend(numbers(&exchange, 1));
    assert_eq!(seen.iter().zip(0..).find(|(seen, sent)| *seen != sent), None, "out of order");
    assert_eq!(seen.len() as u64, sent);
    asked.iter().for_each(|(begun, _)| exchange.on_reply(begun.call, Bytes::new()).unwrap());
    let state = exchange.state();
    assert_eq!(state.out.in_flight(), (0, vec![(0, 0); 2]));
}

#[test]
fn a_row_takes_no_more_than_there_is_credit_for() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let target = exchange.target("one", "test", 1).unwrap();
    let each = cost(100);
    let told = (0..).take_while(|_| exchange.tell(&target, &[0; 100], None).is_ok()).count() as u64;
    assert_eq!(told, TARGET_WINDOW / each, "all of the credit can be used");
    assert_eq!(exchange.state().out.in_flight().0, told * each);
    exchange.on_consumed(0, 3, 3 * each).unwrap();
    assert_eq!((0..).take_while(|_| exchange.tell(&target, &[0; 100], None).is_ok()).count(), 3);
}

#[test]
fn all_that_was_told_and_not_confirmed_is_counted_when_the_link_breaks_and_whoever_hears_it_may_send()
 {
    let (told, tell_again) =
        (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None::<(Arc<Exchange>, Arc<Target>)>)));
    let (counted, again) = (Arc::clone(&told), Arc::clone(&tell_again));
    let exchange = exchange(move |undelivered| {
        counted.fetch_add(undelivered.count, Ordering::Relaxed);
        let again = again.lock().unwrap();
        let (exchange, target) = again.as_ref().unwrap();
        assert!(matches!(exchange.tell(target, &[], None), Err(Blocked::NoLink)));
    });
    let target = exchange.target("one", "test", 1).unwrap();
    *tell_again.lock().unwrap() = Some((Arc::clone(&exchange), Arc::clone(&target)));
    for (epoch, count) in [(1, 1), (2, 2), (3, 3), (4, 500)] {
        exchange.up(epoch);
        (0..count).for_each(|_| exchange.tell(&target, &[0; 64], None).unwrap());
        exchange.down(RemoteErrorKind::LinkLost, "cut");
        assert_eq!(told.swap(0, Ordering::Relaxed), count);
        assert_eq!(exchange.state().out.in_flight().0, 0);
    }
    // By another thread than its own.
    exchange.up(5);
    (0..3).for_each(|_| exchange.tell(&target, &[0; 64], None).unwrap());
    let elsewhere = Arc::clone(&exchange);
    std::thread::spawn(move || elsewhere.down(RemoteErrorKind::LinkLost, "cut")).join().unwrap();
    exchange.up(6);
    assert_eq!(told.load(Ordering::Relaxed), 3);
    assert_eq!(exchange.unread(), 0);
    assert_eq!(exchange.state().out.in_flight().0, 0);
    tell_again.lock().unwrap().take();
}

#[test]
fn what_another_thread_puts_in_overtakes_no_row_and_is_overtaken_by_none() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let target = exchange.target("one", "test", 1).unwrap();
    let tell = |number: u64, length: usize| {
        let mut body = number.to_le_bytes().to_vec();
        body.resize(length, 0);
        exchange.tell(&target, &body, None).unwrap();
    };
    (0..4).for_each(|number| tell(number, 8));
    // A caller that goes on in another thread, and comes back.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            tell(4, 30_000);
            tell(5, 8);
            let opening = Opening {
                shape: Shape::Ask,
                body: &6_u64.to_le_bytes(),
                along: None,
                deadline: None,
            };
            let (begun, _) = exchange.ask(&target, &opening).ok().unwrap();
            exchange.cancel(&begun);
        });
    });
    (7..10).for_each(|number| tell(number, 8));
    assert_eq!(numbers(&exchange, 1), (0..10).collect::<Vec<_>>());
    (10..20).for_each(|number| tell(number, 8));
    assert_eq!(numbers(&exchange, 1), (10..20).collect::<Vec<_>>(), "another row is as good");
}

#[test]
fn what_a_row_has_taken_beforehand_is_there_for_others_and_can_be_given_back_by_nobody_else() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let target = exchange.target("one", "test", 1).unwrap();
    (0..2).for_each(|_| exchange.tell(&target, &[0; 36], None).unwrap());
    let fits = vec![0; (TARGET_WINDOW - 200 - 64) as usize];
    std::thread::scope(|scope| {
        scope.spawn(|| exchange.tell(&target, &fits, None).unwrap()).join().unwrap()
    });
    // A peer that says it has handled more than it was told.
    exchange.on_consumed(0, 100, u64::MAX).unwrap();
    (0..3).for_each(|_| exchange.tell(&target, &[0; 36], None).unwrap());
    exchange.on_consumed(0, 100, u64::MAX).unwrap();
    assert!(exchange.state().out.in_flight().0 <= LINK_WINDOW);
}

#[test]
fn a_cancelled_call_is_cancelled_behind_itself_however_long_it_is() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let target = exchange.target("one", "test", 1).unwrap();
    let opening =
        Opening { shape: Shape::Ask, body: &vec![0; 100_000], along: None, deadline: None };
    let (begun, _) = exchange.ask(&target, &opening).ok().unwrap();
    exchange.cancel(&begun);
    let mut kinds = Vec::new();
    let mut read = |batch: &[u8]| {
        let mut items = Items::new(batch);
        while let Some((item, _)) = items.next_item().unwrap() {
            kinds.push(match item {
                Item::Part { .. } => "part",
                Item::Cancel { .. } => "cancel",
                _ => "other",
            });
        }
    };
    while exchange.take_batch(1, &mut read).is_some() {}
    assert_eq!(kinds.iter().position(|kind| *kind == "cancel"), Some(kinds.len() - 1), "{kinds:?}");
}

#[test]
fn what_another_thread_tells_is_put_in_at_once() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let target = exchange.target("one", "test", 1).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..5).for_each(|number| exchange.tell(&target, &body(number), None).unwrap())
        });
    });
    assert_eq!(numbers(&exchange, 1), [0, 1, 2, 3, 4]);
}

#[test]
fn a_target_is_named_before_its_first_message_however_long_that_is_and_whatever_waits() {
    // Lengths on both sides of where items are cut.
    for length in [10, 24_400, 24_520, 24_560, 25_000, 60_000] {
        for waiting in [0, 1, 600, 3000] {
            for taken in 0..2 {
                let exchange = exchange(|_| {});
                exchange.up(1);
                let (one, two) = (
                    exchange.target("one", "test", 1).unwrap(),
                    exchange.target("two", "test", 1).unwrap(),
                );
                let mut reader = Reader::default();
                for _ in 0..waiting {
                    assert!(exchange.tell(&one, &[0; 100], None).is_ok());
                }
                for _ in 0..taken {
                    exchange.take_batch(1, |batch| reader.read(batch));
                }
                assert!(exchange.tell(&two, &vec![0; length], None).is_ok());
                while exchange.take_batch(1, |batch| reader.read(batch)).is_some() {}
                assert_eq!(reader.told.len(), waiting + 1, "{length} {waiting} {taken}");
            }
        }
    }
}

#[test]
fn requests_end_in_an_error_unless_their_caller_has_said_that_there_are_no_more() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let kind = |coming: &mut mpsc::UnboundedReceiver<Requested>| {
        coming.try_recv().map(|request| request.unwrap_err().kind)
    };
    // The link is another one since, and the call comes from the one before.
    let mut late = upload(&exchange, 0, 7);
    assert_eq!(kind(&mut late), Ok(RemoteErrorKind::LinkLost));
    // Answered before its last request came.
    let mut answered = upload(&exchange, 1, 8);
    exchange.answer(1, 8, Ok(b"enough"));
    assert_eq!(kind(&mut answered), Ok(RemoteErrorKind::Cancelled));
    // Said to be all, and answered then.
    let mut whole = upload(&exchange, 1, 9);
    exchange.on_request(1, 9, None).unwrap();
    exchange.answer(1, 9, Ok(b"all"));
    assert_eq!(kind(&mut whole), Err(mpsc::error::TryRecvError::Disconnected));
    let mut cut = upload(&exchange, 1, 10);
    exchange.down(RemoteErrorKind::LinkLost, "it is cut");
    assert_eq!(kind(&mut cut), Ok(RemoteErrorKind::LinkLost));
}

/// The credit of a stream that goes back while so many short items are read, which came in batches
/// of so many.
fn credits(items: usize, at_once: usize) -> Vec<u64> {
    let mut owed = Owed::default();
    (1..=items).filter_map(|item| owed.read(36, item % at_once == 0 || item == items)).collect()
}

#[test]
fn credit_of_a_stream_goes_back_together_and_none_is_left_when_all_is_read() {
    assert_eq!(credits(10, 1), [100; 10], "each by itself, where each comes by itself");
    assert_eq!(credits(1000, 100), [10_000; 10]);
    // What is there is not read to its end: the window never gets smaller than by an eighth.
    let of_many = credits(10_000, 10_000);
    assert_eq!(of_many.iter().sum::<u64>(), 1_000_000);
    assert!(of_many.iter().all(|&cost| cost < STREAM_OWED + 100) && of_many.len() == 31);
    assert_eq!(Owed::default().read(STREAM_ITEM, false), Some(cost(STREAM_ITEM)));
}

#[test]
fn replies_that_came_together_are_credited_together() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let target = exchange.target("one", "test", 1).unwrap();
    let opening = Opening { shape: Shape::Replies, body: &[], along: None, deadline: None };
    let (begun, replied, _) = exchange.open(&target, &opening).ok().unwrap();
    let call = begun.call;
    let call_of = Arc::new(Call::new(Arc::clone(&exchange), begun));
    let mut replies = Download::<u8>::new(call_of, replied);
    while exchange.take_batch(1, |_| ()).is_some() {}
    let all: Vec<_> = (0..100).map(|number| [number]).collect();
    let all: Vec<_> = all.iter().map(|one| &one[..]).collect();
    all.chunks(9).for_each(|some| exchange.on_replies(call, some, Bytes::copy_from_slice).unwrap());
    for number in 0..100 {
        assert_eq!(replies.next().now_or_never(), Some(Some(Ok(number))));
    }
    let mut credits = Vec::new();
    let mut read = |batch: &[u8]| {
        let mut items = Items::new(batch);
        while let Some((item, _)) = items.next_item().unwrap() {
            let Item::Credit { of_requests: false, cost, .. } = item else { panic!("{item:?}") };
            credits.push(cost);
        }
    };
    while exchange.take_batch(1, &mut read).is_some() {}
    assert_eq!(credits, [100 * cost(1)]);
}

#[tokio::test]
async fn the_end_of_a_call_is_heard_whatever_ends_it() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let call = |call| {
        exchange.serve(1, call, 64, None, true).unwrap();
        let exchange = Arc::clone(&exchange);
        tokio::spawn(async move { exchange.served_to_the_end(1, call).await })
    };
    let calls: Vec<_> = (1..=4).map(call).collect();
    tokio::task::yield_now().await;
    assert!(calls.iter().all(|waiting| !waiting.is_finished()));
    exchange.on_cancel(1, 1);
    exchange.answer(1, 2, Ok(b"an answer"));
    exchange.end_replies(1, 3);
    exchange.down(RemoteErrorKind::LinkLost, "it is cut");
    for waiting in calls {
        waiting.await.unwrap();
    }
    // What is over already keeps nobody waiting.
    exchange.served_to_the_end(1, 4).await;
}

#[test]
fn a_call_that_was_given_up_counts_until_the_peer_has_said_that_it_is_over() {
    let exchange = exchange(|_| {});
    exchange.up(1);
    let target = exchange.target("one", "test", 1).unwrap();
    let opening = Opening { shape: Shape::Replies, body: &[], along: None, deadline: None };
    let mut calls: Vec<_> =
        (0..STREAMS).map(|_| exchange.open(&target, &opening).ok().unwrap().0).collect();
    let is_full = || matches!(exchange.open(&target, &opening), Err(Blocked::Full));
    let begun = calls.remove(7);
    exchange.cancel(&begun);
    (0..2).for_each(|_| exchange.on_reply(begun.call, Bytes::new()).unwrap());
    assert!(is_full(), "one more would be one too many at the peer");
    exchange.heard(&Item::RepliesEnd { call: begun.call }, Bytes::copy_from_slice).unwrap();
    assert!(!is_full());
}
