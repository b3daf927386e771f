//! The numbers of the letters to one peer: which of them are to be said on its link, how many may
//! be under way, and which are over.
//!
//! Invariant: a number that may be said in another life is not passed over.
//!
//! It decides, and does nothing; `letters/model_tests` goes through every order of what may befall
//! it. What a letter is besides its number is a type parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::windows::{Sum, Windows};

/// The cost of a letter that is only asked for.
const ASK: u64 = 64;

/// The letters that are not over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) struct Offers<L> {
    /// The last number that was given.
    last: u64,
    open: BTreeMap<u64, Offer<L>>,
    /// Over, but not durably: after a restart they would be sent again.
    closing: BTreeSet<u64>,
    /// The open ones.
    all: Sum,
    of_names: BTreeMap<Arc<str>, Sum>,
    windows: Windows,
    link: Option<Link>,
    /// No open one expires earlier.
    soonest: u64,
}

/// The link there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Link {
    epoch: u64,
    /// Its peer hands over by name, and takes as many as may be [far](Windows::far).
    by_name: bool,
    /// The last number said on it.
    sent: u64,
    /// Open ones that were said on it, and are not answered; not over, where its peer does not hand
    /// over by name.
    road: Sum,
    /// Open ones that were said on it.
    far: Sum,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Offer<L> {
    letter: L,
    name: Arc<str>,
    cost: u64,
    expires: u64,
    durable: bool,
    /// The receiver has said that it has it, durably.
    is_there: bool,
    /// The cost on the link's road; 0 while it is not there.
    on_road: u64,
}

/// A letter that is to be said.
#[derive(Debug)]
pub(in crate::remote::letters) struct Next<'a, L> {
    pub(in crate::remote::letters) epoch: u64,
    pub(in crate::remote::letters) number: u64,
    /// The one that was said before it on this link, or 0.
    pub(in crate::remote::letters) before: u64,
    pub(in crate::remote::letters) letter: &'a L,
    /// Its receiver has it: it is only asked what has become of it.
    pub(in crate::remote::letters) is_asked: bool,
}

impl<L> Offers<L> {
    pub(in crate::remote::letters) fn new(last: u64) -> Self {
        Self {
            last,
            open: BTreeMap::new(),
            closing: BTreeSet::new(),
            all: Sum::default(),
            of_names: BTreeMap::new(),
            windows: Windows::default(),
            link: None,
            soonest: u64::MAX,
        }
    }

    /// The same, where less may be under way.
    #[cfg(test)]
    pub(in crate::remote::letters) fn within(self, windows: Windows) -> Self {
        Self { windows, ..self }
    }

    /// The last number that was given.
    pub(in crate::remote::letters) fn last(&self) -> u64 {
        self.last
    }

    /// The number of a letter that is to be sent when it [is stored](Self::stored).
    pub(in crate::remote::letters) fn post(
        &mut self,
        letter: L,
        name: Arc<str>,
        cost: u64,
        expires: u64,
    ) -> u64 {
        self.last += 1;
        self.insert(self.last, letter, name, (cost, expires), false);
        self.last
    }

    /// A letter that an earlier life has stored.
    pub(in crate::remote::letters) fn restore(
        &mut self,
        number: u64,
        letter: L,
        name: Arc<str>,
        (cost, expires): (u64, u64),
    ) {
        self.insert(number, letter, name, (cost, expires), true);
    }

    fn insert(
        &mut self,
        number: u64,
        letter: L,
        name: Arc<str>,
        (cost, expires): (u64, u64),
        durable: bool,
    ) {
        self.all.add(cost);
        self.of_names.entry(Arc::clone(&name)).or_default().add(cost);
        self.soonest = self.soonest.min(expires);
        let (is_there, on_road) = (false, 0);
        let offer = Offer { letter, name, cost, expires, durable, is_there, on_road };
        self.open.insert(number, offer);
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
        let Offer { letter, name, cost, on_road, .. } = self.open.remove(&number)?;
        self.all.remove(cost);
        if let Some(of_name) = self.of_names.get_mut(&name) {
            of_name.remove(cost);
            if of_name.letters == 0 {
                self.of_names.remove(&name);
            }
        }
        if let Some(link) = self.link.as_mut().filter(|link| number <= link.sent) {
            link.far.remove(cost);
            if on_road > 0 {
                link.road.remove(on_road);
            }
        }
        Some(letter)
    }

    /// A link is up: what is not over is said again. `by_name`: its peer hands over by name.
    pub(in crate::remote::letters) fn up(&mut self, epoch: u64, by_name: bool) {
        self.down();
        let (road, far) = (Sum::default(), Sum::default());
        self.link = Some(Link { epoch, by_name, sent: 0, road, far });
    }

    pub(in crate::remote::letters) fn down(&mut self) {
        if self.link.take().is_some() {
            self.open.values_mut().for_each(|offer| offer.on_road = 0);
        }
    }

    pub(in crate::remote::letters) fn has_link(&self) -> bool {
        self.link.is_some()
    }

    /// The letter that may be said now; [`said`](Self::said) follows.
    pub(in crate::remote::letters) fn next(&self) -> Option<Next<'_, L>> {
        let link = self.link.as_ref()?;
        let (&number, offer) = self.open.range(link.sent + 1..).next()?;
        // A receiver takes what has a lower number than another that it took for handled. Should
        // this process end now, those would be said again.
        let passes_over = self.closing.range(link.sent + 1..number).next().is_some();
        if !offer.durable || passes_over || !self.has_room(link, number, offer) {
            return None;
        }
        let (epoch, before, letter) = (link.epoch, link.sent, &offer.letter);
        let is_asked = link.by_name && offer.is_there;
        Some(Next { epoch, number, before, letter, is_asked })
    }

    fn has_room(&self, link: &Link, number: u64, offer: &Offer<L>) -> bool {
        if link.by_name {
            let mut far = link.far;
            far.letters += self.closing.len() as u64;
            return self.windows.have_room((link.road, offer.on_a_road(link)), (far, offer.cost));
        }
        let first = self.open.keys().next().into_iter().chain(self.closing.first()).min();
        let Sum { letters, bytes } = self.windows.road;
        let is_too_much = link.road.bytes > 0 && link.road.bytes + offer.cost > bytes;
        first.is_some_and(|first| number - first < letters) && !is_too_much
    }

    /// It was said on the link there is.
    pub(in crate::remote::letters) fn said(&mut self, number: u64) {
        let Some(link) = &mut self.link else { return };
        link.sent = number;
        if let Some(offer) = self.open.get_mut(&number) {
            offer.on_road = offer.on_a_road(link);
            link.road.add(offer.on_road);
            link.far.add(offer.cost);
        }
    }

    /// Returns `true` if a word about a letter counts: not if it came by another link than there
    /// is. `Err`: the letter was not sent on this link.
    pub(in crate::remote::letters) fn hears(&self, epoch: u64, number: u64) -> Result<bool, ()> {
        match self.link.as_ref().filter(|link| link.epoch == epoch) {
            None => Ok(false),
            Some(link) if number > link.sent => Err(()),
            Some(_) => Ok(true),
        }
    }

    /// The receiver has a letter, durably.
    pub(in crate::remote::letters) fn is_there(&mut self, number: u64) -> Option<&L> {
        let offer = self.open.get_mut(&number)?;
        offer.is_there = true;
        if let Some(link) = self.link.as_mut().filter(|link| link.by_name)
            && offer.on_road > 0
        {
            link.road.remove(std::mem::take(&mut offer.on_road));
        }
        Some(&offer.letter)
    }

    /// Returns `true` if the link's peer may be asked for letters.
    pub(in crate::remote::letters) fn may_ask(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.by_name)
    }

    /// The receiver has not what it had: all is sent again, on another link than this.
    pub(in crate::remote::letters) fn are_gone(&mut self) {
        self.open.values_mut().for_each(|offer| offer.is_there = false);
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

    /// Returns the sums of those that are not over: of all, and of those for a name.
    pub(in crate::remote::letters) fn sums(&self, name: &str) -> (Sum, Sum) {
        (self.all, self.of_names.get(name).copied().unwrap_or_default())
    }

    /// Returns the sum of those that are not over.
    pub(in crate::remote::letters) fn sum(&self) -> Sum {
        self.all
    }

    /// Returns `true` if none is open.
    pub(in crate::remote::letters) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl<L> Offer<L> {
    /// The cost of it on the road of a link.
    fn on_a_road(&self, link: &Link) -> u64 {
        if link.by_name && self.is_there { ASK } else { self.cost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(offers: &Offers<()>) -> Option<(u64, u64)> {
        offers.next().map(|next| (next.before, next.number))
    }

    fn restored(numbers: std::ops::RangeInclusive<u64>) -> Offers<()> {
        let mut offers = Offers::new(*numbers.end());
        numbers.for_each(|number| offers.restore(number, (), "a".into(), (64, 9)));
        offers
    }

    /// Says all that may be said; the last number.
    fn say(offers: &mut Offers<()>) -> u64 {
        while let Some(Next { number, .. }) = offers.next() {
            offers.said(number);
        }
        offers.link.as_ref().unwrap().sent
    }

    #[test]
    fn a_letter_that_is_over_is_passed_over_when_that_is_durable_and_not_before() {
        for by_name in [false, true] {
            let mut offers = restored(1..=3);
            offers.up(1, by_name);
            assert_eq!(next(&offers), Some((0, 1)));
            offers.said(1);
            offers.end(1);
            assert_eq!(next(&offers), Some((1, 2)), "the receiver has it, or nothing behind it");
            offers.end(2);
            assert_eq!(next(&offers), None, "another life would say 2 after 3");
            offers.up(2, by_name);
            offers.ended(2);
            assert_eq!(next(&offers), None, "the same, of 1");
            offers.ended(1);
            assert_eq!(next(&offers), Some((0, 3)));
        }
    }

    #[test]
    fn what_waits_at_its_receiver_takes_no_room_on_the_road_of_who_hands_over_by_name() {
        let mut offers = restored(1..=20_000);
        offers.up(1, false);
        assert_eq!(say(&mut offers), 1024);
        (1..=1024).for_each(|number| _ = offers.is_there(number));
        offers.end(7);
        offers.ended(7);
        assert_eq!(say(&mut offers), 1024, "the first one is not over");
        offers.up(2, true);
        let mut said = 0;
        for round in 1.. {
            let last = say(&mut offers);
            if last == said {
                break;
            }
            let on_road = (said + 1..=last).filter(|&number| number != 7).count();
            assert!(on_road <= 1024, "{round}: {on_road}");
            (said + 1..=last).for_each(|number| _ = offers.is_there(number));
            said = last;
        }
        assert_eq!(said, 10_241, "all but one of them are not over");
        offers.end(1);
        assert_eq!(say(&mut offers), 10_241, "another life would say it again");
        offers.ended(1);
        assert_eq!(say(&mut offers), 10_242);
    }

    #[test]
    fn what_is_there_is_asked_for_unless_its_receiver_has_lost_it_or_knows_no_such_question() {
        let mut offers = restored(1..=2);
        let asked = |offers: &Offers<()>| offers.next().map(|next| next.is_asked);
        offers.up(1, true);
        say(&mut offers);
        offers.is_there(1);
        for (epoch, by_name) in [(2, true), (3, false)] {
            offers.up(epoch, by_name);
            assert_eq!(asked(&offers), Some(by_name));
            offers.said(1);
            assert_eq!(asked(&offers), Some(false));
        }
        offers.are_gone();
        offers.up(4, true);
        assert_eq!(asked(&offers), Some(false));
    }

    #[test]
    fn sums_are_those_of_what_is_not_over() {
        let mut offers = restored(1..=3);
        offers.post((), "b".into(), 100, 9);
        offers.up(1, true);
        say(&mut offers);
        offers.is_there(2);
        [1, 2].into_iter().for_each(|number| _ = offers.end(number));
        let sum = |letters, bytes| Sum { letters, bytes };
        assert_eq!(offers.sums("a"), (sum(2, 164), sum(1, 64)));
        assert_eq!(offers.sums("b").1, sum(1, 100));
        offers.not_stored(4);
        assert_eq!(offers.sums("b"), (sum(1, 64), Sum::default()));
        offers.end(3);
        assert_eq!((offers.sum(), offers.of_names.len()), (Sum::default(), 0));
        let link = offers.link.as_ref().unwrap();
        assert_eq!((link.road, link.far), (Sum::default(), Sum::default()));
    }
}
