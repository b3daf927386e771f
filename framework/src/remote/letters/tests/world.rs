//! Two ends of a link, and what is said between them.

use std::cell::Cell;

use super::super::super::letter_id::LogId;
use super::super::keyed::Posted;
use super::super::sending::Posting;
use super::super::*;
use super::PEER;
use crate::remote::error::RemoteErrorKind;
use crate::store::MemoryStore;
use crate::wire::message::{Item, Items};

/// Numbers of letters, and what is said of them.
pub(super) type Words = Vec<(u64, u8)>;

pub(super) struct World {
    pub(super) letters: Arc<Letters>,
    pub(super) exchange: Arc<Exchange>,
    pub(super) spool: Arc<MemoryStore>,
    pub(super) epoch: u64,
    /// The last letter that was taken on this link.
    pub(super) last: Cell<u64>,
}

impl World {
    /// A node with a link to `PEER`, which may send to all names but `secret`; of `who knows`,
    /// nobody knows now.
    pub(super) fn new(spool: &Arc<MemoryStore>) -> Self {
        let mut world = Self::unlinked(spool);
        world.link();
        world
    }

    /// The same, without a link.
    pub(super) fn unlinked(spool: &Arc<MemoryStore>) -> Self {
        let exchange = Arc::new(Exchange::new(
            PEER,
            "peer".into(),
            crate::store::ledger::Account::unbounded(),
            || {},
            Arc::new(|_| {}),
        ));
        let limits = Limits {
            letters: 4,
            bytes: (2 << 20) - 8192,
            expiry: Duration::from_secs(60),
            dormant: false,
        };
        let (spool, known) = (Arc::clone(spool), Arc::clone(&exchange));
        let store: Arc<dyn Store> = Arc::clone(&spool) as _;
        let letters = Letters::load(
            store,
            Directory::default(),
            |_, name| (name != "who knows").then_some(name != "secret"),
            |_, _, _, _| {},
            limits,
            move |_| Arc::clone(&known),
        )
        .unwrap();
        letters.start();
        Self { letters, exchange, spool, epoch: 0, last: Cell::new(0) }
    }

    /// Another link takes the place of the one there is.
    pub(super) fn link(&mut self) {
        self.exchange.down(RemoteErrorKind::LinkLost, "another one comes");
        self.letters.down(PEER);
        self.epoch += 1;
        self.exchange.up(self.epoch);
        self.letters.up(PEER, self.epoch, &self.exchange);
        self.last.set(0);
    }

    /// The next letter that an honest peer sends.
    pub(super) fn take(
        &self,
        log: LogId,
        number: u64,
        name: &str,
        body: &[u8],
    ) -> Result<(), String> {
        self.take_behind(self.last.get(), log, number, name, body)
    }

    pub(super) fn take_behind(
        &self,
        before: u64,
        log: LogId,
        number: u64,
        name: &str,
        body: &[u8],
    ) -> Result<(), String> {
        let coming = Coming {
            log,
            number,
            before,
            expires: 60,
            name,
            message: "test.Note",
            version: 1,
            body,
            trace: None,
        };
        self.letters.take(PEER, self.epoch, &coming)?;
        self.last.set(number);
        Ok(())
    }

    /// All that is waiting to be written is written.
    pub(super) async fn settle(&self) {
        self.letters.until(|letters| letters.waiting().is_idle()).await;
    }

    /// Returns what is said of letters, number and code; and the numbers of letters that are sent.
    pub(super) fn said(&self) -> (Words, Vec<u64>) {
        let (taken, sent) = self.said_in_order();
        (taken, sent.into_iter().map(|(_, number)| number).collect())
    }

    /// [`said`](Self::said), with the letter that each says was sent before it.
    pub(super) fn said_in_order(&self) -> (Words, Vec<(u64, u64)>) {
        let (mut taken, mut sent, mut parts, mut total) = (Vec::new(), Vec::new(), Vec::new(), 0);
        while let Some(batch) = self.exchange.take_batch(self.epoch, <[u8]>::to_vec) {
            let mut items = Items::new(&batch);
            while let Some((item, _)) = items.next_item().unwrap() {
                match item {
                    Item::Taken { number, code, .. } => taken.push((number, code)),
                    Item::Deliver { before, number, .. } => sent.push((before, number)),
                    Item::Begin { total: claimed } => total = claimed as usize,
                    Item::Part { bytes } => {
                        parts.extend_from_slice(bytes);
                        if parts.len() == total {
                            let whole = std::mem::take(&mut parts);
                            let Some((Item::Deliver { before, number, .. }, _)) =
                                Items::new(&whole).next_item().unwrap()
                            else {
                                panic!()
                            };
                            sent.push((before, number));
                        }
                    }
                    _ => {}
                }
            }
        }
        (taken, sent)
    }

    pub(super) fn post(&self, length: usize) -> Result<Posted, RemoteErrorKind> {
        self.post_under(None, length)
    }

    pub(super) fn post_under(
        &self,
        key: Option<LetterKey>,
        length: usize,
    ) -> Result<Posted, RemoteErrorKind> {
        let (exchange, target) =
            (Arc::clone(&self.exchange), self.exchange.target("sum", "test.Note", 1).unwrap());
        self.letters
            .post(Posting { exchange, target, body: vec![7; length], trace: None, key })
            .map_err(|error| error.kind)
    }

    pub(super) fn count(&self, table: &str) -> usize {
        self.spool.load(table).unwrap().len()
    }
}
