//! The numbers of the letters to one peer: which of them are to be said on its link, how many may
//! be under way, and which are over.
//!
//! Invariant: a number that may be said in another life is not passed over.
//!
//! It decides, and does nothing; `letters/model_tests` goes through every order of what may befall
//! it. What a letter is besides its number is a type parameter.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{WINDOW, WINDOW_BYTES};

/// The letters that are not over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) struct Offers<L> {
    /// The last number that was given.
    last: u64,
    open: BTreeMap<u64, Offer<L>>,
    /// Over, but not durably: after a restart they would be sent again.
    closing: BTreeSet<u64>,
    /// The cost of the open ones.
    bytes: u64,
    link: Option<u64>,
    /// The last number said on this link.
    sent: u64,
    /// The cost of open ones that were said on this link.
    in_flight: u64,
    /// No open one expires earlier.
    soonest: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Offer<L> {
    letter: L,
    cost: u64,
    expires: u64,
    durable: bool,
}

/// A letter that is to be said.
#[derive(Debug)]
pub(in crate::remote::letters) struct Next<'a, L> {
    pub(in crate::remote::letters) epoch: u64,
    pub(in crate::remote::letters) number: u64,
    /// The one that was said before it on this link, or 0.
    pub(in crate::remote::letters) before: u64,
    pub(in crate::remote::letters) letter: &'a L,
}

impl<L> Offers<L> {
    pub(in crate::remote::letters) fn new(last: u64) -> Self {
        Self {
            last,
            open: BTreeMap::new(),
            closing: BTreeSet::new(),
            bytes: 0,
            link: None,
            sent: 0,
            in_flight: 0,
            soonest: u64::MAX,
        }
    }

    /// The last number that was given.
    pub(in crate::remote::letters) fn last(&self) -> u64 {
        self.last
    }

    /// The number of a letter that is to be sent when it [is stored](Self::stored).
    pub(in crate::remote::letters) fn post(&mut self, letter: L, cost: u64, expires: u64) -> u64 {
        self.last += 1;
        self.insert(self.last, letter, (cost, expires), false);
        self.last
    }

    /// A letter that an earlier life has stored.
    pub(in crate::remote::letters) fn restore(
        &mut self,
        number: u64,
        letter: L,
        cost: u64,
        expires: u64,
    ) {
        self.insert(number, letter, (cost, expires), true);
    }

    fn insert(&mut self, number: u64, letter: L, (cost, expires): (u64, u64), durable: bool) {
        self.bytes += cost;
        self.soonest = self.soonest.min(expires);
        self.open.insert(number, Offer { letter, cost, expires, durable });
    }

    /// A letter is durable.
    pub(in crate::remote::letters) fn stored(&mut self, number: u64) -> Option<&L> {
        let offer = self.open.get_mut(&number)?;
        offer.durable = true;
        Some(&offer.letter)
    }

    /// A letter could not be stored.
    pub(in crate::remote::letters) fn not_stored(&mut self, number: u64) {
        self.remove(number);
    }

    fn remove(&mut self, number: u64) -> Option<L> {
        let Offer { letter, cost, .. } = self.open.remove(&number)?;
        self.bytes -= cost;
        if number <= self.sent {
            self.in_flight -= cost;
        }
        Some(letter)
    }

    /// A link is up: what is not over is said again.
    pub(in crate::remote::letters) fn up(&mut self, epoch: u64) {
        (self.link, self.sent, self.in_flight) = (Some(epoch), 0, 0);
    }

    pub(in crate::remote::letters) fn down(&mut self) {
        (self.link, self.sent, self.in_flight) = (None, 0, 0);
    }

    pub(in crate::remote::letters) fn has_link(&self) -> bool {
        self.link.is_some()
    }

    /// The letter that may be said now; [`said`](Self::said) follows.
    pub(in crate::remote::letters) fn next(&self) -> Option<Next<'_, L>> {
        let epoch = self.link?;
        let (&number, offer) = self.open.range(self.sent + 1..).next()?;
        let first = self.open.keys().next().into_iter().chain(self.closing.first()).min()?;
        let is_too_much = self.in_flight > 0 && self.in_flight + offer.cost > WINDOW_BYTES;
        // A receiver takes what has a lower number than another that it took for handled. Should
        // this process end now, those would be said again.
        let passes_over = self.closing.range(self.sent + 1..number).next().is_some();
        if !offer.durable || passes_over || number - first >= WINDOW || is_too_much {
            return None;
        }
        Some(Next { epoch, number, before: self.sent, letter: &offer.letter })
    }

    /// It was said on the link there is.
    pub(in crate::remote::letters) fn said(&mut self, number: u64) {
        self.sent = number;
        self.in_flight += self.open.get(&number).map_or(0, |offer| offer.cost);
    }

    /// Returns `true` if a word about a letter counts: not if it came by another link than there
    /// is. `Err`: the letter was not sent on this link.
    pub(in crate::remote::letters) fn hears(&self, epoch: u64, number: u64) -> Result<bool, ()> {
        if self.link != Some(epoch) {
            return Ok(false);
        }
        if number > self.sent { Err(()) } else { Ok(true) }
    }

    /// A letter is over, and [`ended`](Self::ended) follows when that is durable. `None`: it was so
    /// before.
    pub(in crate::remote::letters) fn end(&mut self, number: u64) -> Option<L> {
        let letter = self.remove(number)?;
        self.closing.insert(number);
        Some(letter)
    }

    /// The end of a letter is durable.
    pub(in crate::remote::letters) fn ended(&mut self, number: u64) {
        self.closing.remove(&number);
    }

    /// Returns `true` if some may have expired.
    pub(in crate::remote::letters) fn is_due(&self, now: u64) -> bool {
        self.soonest <= now
    }

    /// Those that are not worth delivering any more.
    pub(in crate::remote::letters) fn expired(&self, now: u64) -> Vec<u64> {
        let expired = |offer: &Offer<L>| offer.durable && offer.expires <= now;
        self.open.iter().filter(|(_, offer)| expired(offer)).map(|(&number, _)| number).collect()
    }

    /// Those that had expired are over.
    pub(in crate::remote::letters) fn look_later(&mut self) {
        self.soonest = self.open.values().map(|offer| offer.expires).min().unwrap_or(u64::MAX);
    }

    /// Those that are not over and durable, in their order.
    pub(in crate::remote::letters) fn durable(&self) -> impl Iterator<Item = (u64, &L)> {
        self.open
            .iter()
            .filter(|(_, offer)| offer.durable)
            .map(|(&number, offer)| (number, &offer.letter))
    }

    /// One that is not over and durable.
    pub(in crate::remote::letters) fn find(&self, number: u64) -> Option<&L> {
        self.open.get(&number).filter(|offer| offer.durable).map(|offer| &offer.letter)
    }

    /// One that is not over.
    pub(in crate::remote::letters) fn get(&self, number: u64) -> Option<&L> {
        self.open.get(&number).map(|offer| &offer.letter)
    }

    /// Returns how many are not over, and what they cost.
    pub(in crate::remote::letters) fn counts(&self) -> (usize, u64) {
        (self.open.len(), self.bytes)
    }

    /// Returns `true` if none is open.
    pub(in crate::remote::letters) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(offers: &Offers<()>) -> Option<(u64, u64)> {
        offers.next().map(|next| (next.before, next.number))
    }

    #[test]
    fn a_letter_that_is_over_is_passed_over_when_that_is_durable_and_not_before() {
        let mut offers = Offers::new(3);
        (1..=3).for_each(|number| offers.restore(number, (), 64, 9));
        offers.up(1);
        assert_eq!(next(&offers), Some((0, 1)));
        offers.said(1);
        offers.end(1);
        assert_eq!(next(&offers), Some((1, 2)), "the receiver has it, or nothing behind it");
        offers.end(2);
        assert_eq!(next(&offers), None, "another life would say 2 after 3");
        offers.up(2);
        offers.ended(2);
        assert_eq!(next(&offers), None, "the same, of 1");
        offers.ended(1);
        assert_eq!(next(&offers), Some((0, 3)));
    }
}
