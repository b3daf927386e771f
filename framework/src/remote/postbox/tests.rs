//! Batches, good and bad.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::any::Any;
use std::sync::atomic::AtomicBool;

use futures_util::{FutureExt as _, StreamExt as _};

use super::super::calls::{Call, Download};
use super::super::exchange::Opening;
use super::super::mailbox::{Done, Mailbox};
use super::*;
use crate::remote::serving::Traced;
use crate::wire::message::Shape;
use crate::wire::{Identity, TraceContext};

/// Confirms afterwards, as the mailbox of a hosted actor does.
struct Desk;

impl Mailbox for Desk {
    fn message(&self) -> &'static str {
        "Note"
    }
    fn version(&self) -> u32 {
        1
    }
    fn streams(&self) -> bool {
        false
    }
    fn is_alive(&self) -> bool {
        true
    }
    fn why_dead(&self, _: &str) -> RemoteError {
        unreachable!("it lives")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn tell(&self, _: &[u8], _: &Teller, _: Option<&Traced>) -> Result<(), RemoteError> {
        Ok(())
    }
    fn tell_confirmed(&self, _: &[u8], done: Done, _: Option<&Traced>) -> Result<(), RemoteError> {
        done.say(true);
        Ok(())
    }
    fn confirms(&self) -> bool {
        true
    }
    fn call(&self, _: &[u8], _: CallIn) {}
}

/// Trust that grows when it has been asked once.
struct Grows(AtomicBool);

impl Admission for Grows {
    fn admits(&self, _: &str) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }
    fn names(&self) -> Option<Arc<[Arc<str>]>> {
        None
    }
    fn version(&self) -> u64 {
        self.0.load(Ordering::Relaxed).into()
    }
}

fn exchange() -> (PeerId, Arc<Exchange>) {
    let peer = Identity::from_secret([7; 32]).peer();
    let account = crate::store::ledger::Account::unbounded();
    let exchange = Exchange::new(peer, "peer".into(), account, || {}, Arc::new(|_| {}));
    exchange.up(1);
    (peer, Arc::new(exchange))
}

#[actix::test]
async fn replies_that_stand_side_by_side_go_to_their_calls_in_their_order() {
    let (peer, exchange) = exchange();
    let target = exchange.target("desk", "Note", 1).unwrap();
    let opening = |shape| Opening { shape, body: &[], along: None, deadline: None };
    let (mut calls, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (begun, replies, _) = exchange.open(&target, &opening(Shape::Replies)).ok().unwrap();
        calls.push(begun.call);
        let call = Arc::new(Call::new(Arc::clone(&exchange), begun));
        streams.push(Download::<u8>::new(call, replies));
    }
    let (asked, answer) = exchange.ask(&target, &opening(Shape::Ask)).ok().unwrap();
    calls.push(asked.call);
    let mut batch = Vec::new();
    // The last of them is of a call that nobody has made.
    for (number, call) in [0, 0, 1, 0, 0, 0, 2, 2, 1, 1, 9].into_iter().enumerate() {
        let call = calls.get(call).copied().unwrap_or(99);
        Item::Reply { call, body: &[number as u8] }.encode(None, &mut batch);
    }
    Item::RepliesEnd { call: calls[0] }.encode(None, &mut batch);
    let admission = Arc::new(Grows(AtomicBool::new(true)));
    let (directory, end) = (Directory::default(), |why| panic!("{why}"));
    let mut postbox =
        Postbox::new((Arc::clone(&exchange), 1), peer, directory, admission, None, end);
    let _postbox = Postbox::create(|ctx| {
        postbox.batch(&Bytes::from(batch), ctx).unwrap();
        postbox
    });
    let read = |stream: &mut Download<u8>| -> Vec<u8> {
        std::iter::from_fn(|| stream.next().now_or_never().flatten()).map(Result::unwrap).collect()
    };
    assert_eq!(read(&mut streams[0]), [0, 1, 3, 4, 5]);
    assert_eq!(read(&mut streams[1]), [2, 8, 9]);
    assert_eq!(streams[0].next().now_or_never(), Some(None), "it has come to its end");
    assert_eq!(streams[1].next().now_or_never(), None);
    assert_eq!(answer.now_or_never().unwrap().unwrap().unwrap(), [6][..]);
}

#[actix::test]
async fn all_credit_is_given_back_where_an_actor_comes_within_reach_in_the_middle_of_a_batch() {
    let (peer, exchange) = exchange();
    let directory = Directory::default();
    directory.offer("desk", Arc::new(Desk)).unwrap();
    let mut batch = Vec::new();
    (0..2).for_each(|target| {
        Item::Bind { target, name: "desk", message: "Note", version: 1 }.encode(None, &mut batch)
    });
    // By turns, so that no two stand side by side; some with a trace, which costs more.
    let trace = TraceContext { trace: [1; 16], span: [1; 8], flags: 0, state: "a=b".into() };
    let along = Along { trace: Some(trace), ..Along::default() }.on_behalf_of("till");
    let mut tell = |number: u32| {
        Item::Tell { target: number % 2, body: &[1] }
            .encode((number > 2).then_some(&along), &mut batch)
    };
    (0..6).for_each(&mut tell);
    let admission = Arc::new(Grows(AtomicBool::new(false)));
    let mut postbox =
        Postbox::new((Arc::clone(&exchange), 1), peer, directory, admission, None, |_| {});
    let _postbox = Postbox::create(|ctx| {
        postbox.batch(&Bytes::from(batch), ctx).unwrap();
        postbox
    });
    let mut given_back = (0, 0);
    while let Some(()) = exchange.take_batch(1, |batch| {
        let mut items = Items::new(batch);
        while let Some((item, _)) = items.next_item().unwrap() {
            if let Item::Consumed { tells, cost, .. } = item {
                given_back = (given_back.0 + tells, given_back.1 + cost);
            }
        }
    }) {}
    assert_eq!(given_back, (6, 6 * cost(1) + 3 * cost_along(Some(&along))));
}
