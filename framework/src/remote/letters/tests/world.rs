//! Two ends of a link, and what is said between them.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::super::super::letter_id::LogId;
use super::super::keyed::Posted;
use super::super::sending::Posting;
use super::super::*;
use super::PEER;
use crate::remote::error::RemoteErrorKind;
use crate::store::MemoryStore;
use crate::store::clock::Hands;
use crate::wire::message::{Item, Items};

/// Numbers of letters, and what is said of them.
pub(super) type Words = Vec<(u64, u8)>;

pub(super) struct World {
    pub(super) letters: Arc<Letters>,
    pub(super) exchange: Arc<Exchange>,
    pub(super) spool: Arc<MemoryStore>,
    /// The names that its peer may not send to.
    pub(super) forbidden: Arc<Mutex<BTreeSet<String>>>,
    pub(super) epoch: u64,
    /// Its peer hands over by name.
    pub(super) by_name: bool,
    /// The last letter that was taken on this link.
    pub(super) last: Cell<u64>,
}

pub(super) const LIMITS: Limits =
    Limits { letters: 4, bytes: (2 << 20) - 8192, expiry: Duration::from_secs(60), dormant: false };

impl World {
    /// A node with a link to `PEER`, which may send to all names but `secret`; of `who knows`,
    /// nobody knows now.
    pub(super) fn new(spool: &Arc<MemoryStore>) -> Self {
        Self::with(spool, LIMITS)
    }

    pub(super) fn with(spool: &Arc<MemoryStore>, limits: Limits) -> Self {
        let mut world = Self::unlinked_with(spool, limits);
        world.link();
        world
    }

    /// The same, without a link.
    pub(super) fn unlinked(spool: &Arc<MemoryStore>) -> Self {
        Self::unlinked_with(spool, LIMITS)
    }

    fn unlinked_with(spool: &Arc<MemoryStore>, limits: Limits) -> Self {
        Self::by(&Hands::default(), spool, limits)
    }

    /// The same, by a clock with these hands.
    pub(super) fn by(hands: &Hands, spool: &Arc<MemoryStore>, limits: Limits) -> Self {
        let exchange = Arc::new(Exchange::new(
            PEER,
            "peer".into(),
            crate::store::ledger::Account::unbounded(),
            || {},
            Arc::new(|_| {}),
        ));
        let (spool, known) = (Arc::clone(spool), Arc::clone(&exchange));
        let forbidden = Arc::new(Mutex::new(BTreeSet::from(["secret".to_owned()])));
        let denied = Arc::clone(&forbidden);
        let store: Arc<dyn Store> = Arc::clone(&spool) as _;
        let letters = Letters::load(
            (store, hands.clock(Some(Arc::clone(&spool) as _))),
            Directory::default(),
            move |_, name| (name != "who knows").then(|| !denied.lock().unwrap().contains(name)),
            |_, _, _, _| {},
            limits,
            move |_| Arc::clone(&known),
        )
        .unwrap();
        letters.start();
        Self { letters, exchange, spool, forbidden, epoch: 0, by_name: true, last: Cell::new(0) }
    }

    /// Another link takes the place of the one there is.
    pub(super) fn link(&mut self) {
        self.exchange.down(RemoteErrorKind::LinkLost, "another one comes");
        self.letters.down(PEER);
        self.epoch += 1;
        self.exchange.up(self.epoch);
        self.letters.up(PEER, self.epoch, self.by_name, &self.exchange);
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
        self.come(before, 60, (log, number), name, body)
    }

    /// It is asked what has become of a letter.
    pub(super) fn ask(&self, log: LogId, number: u64) -> Result<(), String> {
        self.come(self.last.get(), 0, (log, number), "nobody", b"")
    }

    fn come(
        &self,
        before: u64,
        expires: u64,
        (log, number): (LogId, u64),
        name: &str,
        body: &[u8],
    ) -> Result<(), String> {
        let coming = Coming {
            log,
            number,
            before,
            expires,
            name,
            message: "test.Note",
            version: 1,
            body,
            along: None,
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

    /// Returns the short letters that are sent: number, length, and whether it is only asked what
    /// has become of it.
    pub(super) fn said_with_bodies(&self) -> Vec<(u64, usize, bool)> {
        let mut sent = Vec::new();
        while let Some(batch) = self.exchange.take_batch(self.epoch, <[u8]>::to_vec) {
            let mut items = Items::new(&batch);
            while let Some((item, _)) = items.next_item().unwrap() {
                if let Item::Deliver { number, body, expires, .. } = item {
                    sent.push((number, body.len(), expires == 0));
                }
            }
        }
        sent
    }

    pub(super) fn post(&self, length: usize) -> Result<Posted, RemoteErrorKind> {
        self.post_under(None, length)
    }

    pub(super) fn post_under(
        &self,
        key: Option<LetterKey>,
        length: usize,
    ) -> Result<Posted, RemoteErrorKind> {
        self.post_to("sum", key, length)
    }

    pub(super) fn post_to(
        &self,
        name: &str,
        key: Option<LetterKey>,
        length: usize,
    ) -> Result<Posted, RemoteErrorKind> {
        let (exchange, target) =
            (Arc::clone(&self.exchange), self.exchange.target(name, "test.Note", 1).unwrap());
        self.letters
            .post(Posting { exchange, target, body: vec![7; length], along: None, key })
            .map_err(|error| error.kind)
    }

    pub(super) fn count(&self, table: &str) -> usize {
        self.spool.load(table).unwrap().len()
    }
}
