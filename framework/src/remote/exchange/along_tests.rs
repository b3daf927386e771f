//! The things that go along with messages, to peers of this build and of earlier ones.

use super::tests::exchange;
use super::*;
use crate::wire::TraceContext;
use crate::wire::message::Items;

#[test]
fn a_peer_of_an_earlier_build_is_not_told_for_whom_and_its_credit_comes_back() {
    for reads in [false, true] {
        let exchange = exchange(|_| {});
        exchange.says_on_behalf(reads);
        exchange.up(1);
        let target = exchange.target("one", "test", 1).unwrap();
        let trace = TraceContext { trace: [1; 16], span: [1; 8], flags: 0, state: String::new() };
        let plain = Along::default().on_behalf_of("till");
        let traced = Along { trace: Some(trace), ..plain.clone() };
        for along in [&plain, &traced] {
            exchange.tell(&target, &[1; 9], Some(along)).unwrap();
            let opening =
                Opening { shape: Shape::Ask, body: &[1; 9], along: Some(along), deadline: None };
            exchange.ask(&target, &opening).ok().unwrap();
            assert!(exchange.say_letter(1, &target, ([7; 16], 1, 0), Some((9, b"")), Some(along)));
        }
        let (mut heard, mut told, mut spent) = (Vec::new(), 0, 0);
        let mut read = |batch: &[u8]| {
            let mut items = Items::new(batch);
            while let Some((item, along)) = items.next_item().unwrap() {
                let (count, body) = match item {
                    Item::Tell { body, .. } => (1, Some(body)),
                    Item::Call { body, .. } => (0, Some(body)),
                    Item::Deliver { .. } => (0, None),
                    _ => continue,
                };
                told += count;
                spent += body.map_or(0, |body| cost(body.len()) + cost_along(along.as_ref()));
                heard.push(along);
            }
        };
        while exchange.take_batch(1, &mut read).is_some() {}
        exchange.on_consumed(0, told, spent).unwrap();
        let without = [None, Along { on_behalf: None, ..traced.clone() }.any()];
        let expected = if reads { [Some(plain), Some(traced)] } else { without };
        let each = expected.into_iter().flat_map(|along| vec![along; 3]);
        assert_eq!(heard, each.collect::<Vec<_>>());
        assert!(exchange.state().out.is_paid_back());
    }
}
