//! What a peer reads of what is put in.

use std::collections::HashSet;

use super::*;
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
                    assert!(self.named.contains(&target), "a message to a target that was never named");
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

#[test]
fn a_target_is_named_before_its_first_message_however_long_that_is_and_whatever_waits() {
    // Lengths on both sides of where items are cut.
    for length in [10, 24_400, 24_520, 24_560, 25_000, 60_000] {
        for waiting in [0, 1, 600, 3000] {
            for taken in 0..2 {
                let exchange = Exchange::new(PeerId::from_bytes([1; 32]), "peer".into(), || {}, Arc::new(|_| {}));
                exchange.up(1);
                let (one, two) = (exchange.target("one", "test", 1).unwrap(), exchange.target("two", "test", 1).unwrap());
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
