//! Batches, good and bad.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::any::Any;
use std::sync::atomic::AtomicBool;

use super::super::mailbox::{Done, Mailbox};
use super::*;
use crate::remote::serving::Traced;
use crate::wire::Identity;

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

#[actix::test]
async fn all_credit_is_given_back_where_an_actor_comes_within_reach_in_the_middle_of_a_batch() {
    let peer = Identity::from_secret([7; 32]).peer();
    let exchange = Arc::new(Exchange::new(
        peer,
        "peer".into(),
        crate::store::ledger::Account::unbounded(),
        || {},
        Arc::new(|_| {}),
    ));
    exchange.up(1);
    let directory = Directory::default();
    directory.offer("desk", Arc::new(Desk)).unwrap();
    let mut batch = Vec::new();
    (0..2).for_each(|target| {
        Item::Bind { target, name: "desk", message: "Note", version: 1 }.encode(None, &mut batch)
    });
    // By turns, so that no two stand side by side; some with a trace, which costs more.
    let trace = TraceContext { trace: [1; 16], span: [1; 8], flags: 0, state: "a=b".into() };
    let mut tell = |number: u32| {
        Item::Tell { target: number % 2, body: &[1] }
            .encode((number > 2).then_some(&trace), &mut batch)
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
    assert_eq!(given_back, (6, 6 * cost(1) + 3 * TRACE));
}
