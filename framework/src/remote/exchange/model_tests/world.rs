//! The world around messages on one link: who sends them, what brings them, and who handles them.

mod receiver;

use std::collections::{BTreeMap, VecDeque};

use self::receiver::Receiver;
use super::Break;
use crate::remote::exchange::cost;
use crate::remote::exchange::outbound::{Outbound, Row, Windows};
use crate::remote::queue::{Key, Lengths, Queue};
use crate::wire::message::{Item, Shape};

/// Names of actors that are sent to.
pub(super) const TARGETS: u32 = 2;
const SHORT: usize = 1;
/// Is cut into two.
const LONG: usize = 150;
/// Two short messages fit into a row, three into a target's window, four on the link.
const WINDOWS: Windows = Windows { target: 3 * 65, link: 4 * 65, row: 2 * 65 };
const LENGTHS: Lengths = Lengths { whole: 100, batch: 160 };

/// The times that each thing may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// Short tells by the thread of the link.
    pub(super) tells: u8,
    /// Long ones.
    pub(super) long: u8,
    /// Tells and calls of another thread.
    pub(super) elsewhere: u8,
    pub(super) asks: u8,
    pub(super) cuts: u8,
    pub(super) deaths: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    out: Outbound,
    /// The row of the thread of the link, if it is open.
    row: Option<Row>,
    /// Another thread waits for that row: it takes no more.
    disturbed: bool,
    /// Whom the thread of the link told something last.
    last: Option<u32>,
    /// The numbers of targets that have one on this link.
    numbers: BTreeMap<u32, u32>,
    link: bool,
    /// Calls from here: target and cost.
    calls: BTreeMap<u64, (u32, u64)>,
    next_call: u64,
    batches: VecDeque<Vec<u8>>,
    receiver: Receiver,
    /// The cost of what each target was sent on this link and has not given back, with the row.
    spent: BTreeMap<u32, u64>,
    /// Tells of which nothing was heard yet.
    unheard: BTreeMap<u32, u64>,
    /// The number of the next message to each target.
    next: BTreeMap<u32, u8>,
    left: Budget,
    broken: Option<Break>,
    /// Rows that were opened, and messages that were lost with links.
    pub(super) rows: u8,
    pub(super) lost: u64,
    pub(super) fault: Option<&'static str>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Tell { target: u32, long: bool },
    TellElsewhere { target: u32 },
    Ask { target: u32, elsewhere: bool },
    Pump,
    Batch,
    Handle(u32),
    Die(u32),
    Answer(u64),
    Hear,
    Cut,
    Link,
}

impl World {
    pub(super) fn new(left: Budget, broken: Option<Break>) -> Self {
        Self {
            out: Outbound::new(WINDOWS, Queue::new(LENGTHS)),
            row: None,
            disturbed: false,
            last: None,
            numbers: BTreeMap::new(),
            link: true,
            calls: BTreeMap::new(),
            next_call: 0,
            batches: VecDeque::new(),
            receiver: Receiver::default(),
            spent: BTreeMap::new(),
            unheard: BTreeMap::new(),
            next: BTreeMap::new(),
            left,
            broken,
            rows: 0,
            lost: 0,
            fault: None,
        }
    }

    /// All was said and handled, and nothing is on its way.
    pub(super) fn has_ended(&self) -> bool {
        let Budget { tells, long, .. } = self.left;
        let in_flight = self.out.in_flight();
        self.link
            && tells + long == 0
            && self.batches.is_empty()
            && self.out.queue.is_empty()
            && self.receiver.is_idle()
            && self.calls.is_empty()
            && self.row.is_none()
            && in_flight.0 == 0
            && in_flight.1.iter().all(|&target| target == (0, 0))
    }

    /// Returns `true` if it counts what was sent and not given back, and what a row has left.
    pub(super) fn counts_right(&self) -> bool {
        let (link, targets) = self.out.in_flight();
        let left =
            |number| self.row.as_ref().filter(|row| row.number == number).map_or(0, |row| row.room);
        let is_right = |(&target, &number): (&u32, &u32)| {
            let spent = self.spent.get(&target).copied().unwrap_or(0);
            targets.get(number as usize).is_some_and(|counted| counted.0 == spent + left(number))
        };
        let left = self.row.as_ref().map_or(0, |row| row.room);
        self.numbers.iter().all(is_right) && link == self.spent.values().sum::<u64>() + left
    }

    pub(super) fn fits(&self) -> bool {
        let long = cost(LONG);
        let fits = |spent: u64, window: u64| spent <= (window + WINDOWS.row).max(long);
        self.spent.values().all(|&spent| fits(spent, WINDOWS.target))
            && fits(self.spent.values().sum(), WINDOWS.link)
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        let (left, mut steps) = (&self.left, Vec::new());
        let mut may = |happens: bool, step| {
            if happens {
                steps.push(step);
            }
        };
        for target in 0..TARGETS {
            may(self.link && left.tells > 0, Step::Tell { target, long: false });
            may(self.link && left.long > 0, Step::Tell { target, long: true });
            let elsewhere = self.link && left.elsewhere > 0;
            may(elsewhere, Step::TellElsewhere { target });
            may(self.link && left.asks > 0, Step::Ask { target, elsewhere: false });
            may(elsewhere && left.asks > 0, Step::Ask { target, elsewhere: true });
            may(self.receiver.has(target), Step::Handle(target));
            may(self.receiver.has(target) && left.deaths > 0, Step::Die(target));
        }
        may(self.link && (self.row.is_some() || !self.out.queue.is_empty()), Step::Pump);
        may(!self.batches.is_empty(), Step::Batch);
        self.receiver.served.iter().for_each(|&call| may(true, Step::Answer(call)));
        may(!self.receiver.said.is_empty(), Step::Hear);
        may(self.link && left.cuts > 0, Step::Cut);
        may(!self.link, Step::Link);
        steps
    }

    pub(super) fn after(&self, step: Step) -> Self {
        let mut world = self.clone();
        match step {
            Step::Tell { target, long } => world.tell(target, long),
            Step::TellElsewhere { target } => {
                world.left.elsewhere -= 1;
                world.tell_unlocked(target, SHORT);
            }
            Step::Ask { target, elsewhere } => world.ask(target, elsewhere),
            Step::Pump => world.pump(),
            Step::Batch => world.batch(),
            Step::Handle(target) => world.receiver.handle(target),
            Step::Die(target) => {
                world.left.deaths -= 1;
                world.receiver.die(target, world.broken == Some(Break::NothingSettled));
            }
            Step::Answer(call) => world.receiver.answer(call),
            Step::Hear => world.hear(),
            Step::Cut => world.cut(),
            Step::Link => world.link = true,
        }
        world.fault = world.fault.or(world.receiver.fault);
        world
    }

    /// The body of the next message to a target says which one it is.
    fn body(&self, target: u32, length: usize) -> Vec<u8> {
        vec![self.next.get(&target).copied().unwrap_or(0); length]
    }

    fn sent(&mut self, target: u32, cost: u64) {
        *self.next.entry(target).or_default() += 1;
        *self.spent.entry(target).or_default() += cost;
    }

    fn tell(&mut self, target: u32, long: bool) {
        let length = if long { LONG } else { SHORT };
        let body = self.body(target, length);
        let number = self.numbers.get(&target).copied();
        if let Some(row) = self.row.as_mut().filter(|row| Some(row.number) == number) {
            if self.broken == Some(Break::RowWithoutEnd) {
                row.room = row.room.max(cost(length));
            }
            if !self.disturbed && row.put(&body) {
                self.left.tells -= u8::from(!long);
                self.left.long -= u8::from(long);
                *self.unheard.entry(target).or_default() += 1;
                return self.sent(target, cost(length));
            }
        }
        self.close_row();
        if let Some(number) = self.tell_unlocked(target, length) {
            self.left.tells -= u8::from(!long);
            self.left.long -= u8::from(long);
            let follows = self.last.replace(target) == Some(target);
            if follows && let Some(room) = self.out.open_row(number) {
                self.row = Some(Row { number, room, ..Row::default() });
                self.rows += 1;
            }
        }
    }

    /// A tell that goes by no row. `None`: there is no room.
    fn tell_unlocked(&mut self, target: u32, length: usize) -> Option<u32> {
        let (body, cost) = (self.body(target, length), cost(length));
        let number = self.number(target);
        if !self.out.has_room(number, cost) {
            return None;
        }
        self.out.tells(number, cost);
        let item = Item::Tell { target: number, body: &body };
        self.put([Some(Key::Target(number)), None], &item, length);
        *self.unheard.entry(target).or_default() += 1;
        self.sent(target, cost);
        Some(number)
    }

    fn ask(&mut self, target: u32, elsewhere: bool) {
        if !elsewhere {
            self.close_row();
        }
        let (body, cost) = (self.body(target, SHORT), cost(SHORT));
        let number = self.number(target);
        if !self.out.has_room(number, cost) {
            return;
        }
        self.left.asks -= 1;
        self.left.elsewhere -= u8::from(elsewhere);
        self.out.begins(number, cost);
        let call = self.next_call;
        self.next_call += 1;
        self.calls.insert(call, (target, cost));
        let item = Item::Call { call, target: number, shape: Shape::Ask, body: &body };
        self.put([Some(Key::Target(number)), Some(Key::Call(call))], &item, SHORT);
        self.sent(target, cost);
    }

    fn put(&mut self, keys: [Option<Key>; 2], item: &Item<'_>, body: usize) {
        let waits = self.out.put(keys, item, None, body);
        self.disturbed |= waits && self.broken != Some(Break::Undisturbed);
    }

    fn number(&mut self, target: u32) -> u32 {
        if let Some(&number) = self.numbers.get(&target) {
            return number;
        }
        let number = self.out.name(&target.to_string(), "m", 1);
        self.numbers.insert(target, number);
        number
    }

    fn close_row(&mut self) {
        let Some(mut row) = self.row.take() else { return };
        self.disturbed = false;
        if self.broken == Some(Break::RoomKept) {
            row.room = 0;
        }
        self.out.close_row(&mut row);
    }

    fn pump(&mut self) {
        self.close_row();
        if let Some(batch) = self.out.queue.take(<[u8]>::to_vec) {
            if self.broken == Some(Break::Twice) {
                self.batches.push_back(batch.clone());
            }
            self.batches.push_back(batch);
        }
    }

    fn batch(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.receiver.read(&batch, self.broken == Some(Break::LastAlone));
        }
    }

    /// A word of the receiver has come.
    fn hear(&mut self) {
        // Whoever looks into what goes out has the row put in first.
        self.close_row();
        match self.receiver.said.pop_front() {
            Some(receiver::Said::Consumed { number, tells, cost }) => {
                if !self.out.gives_back(number, tells, cost) {
                    self.fault = Some("credit is given back for a target that has no number");
                }
                let found = self.numbers.iter().find(|(_, known)| **known == number);
                let Some((&target, _)) = found else { return };
                let spent = self.spent.entry(target).or_default();
                let unheard = self.unheard.entry(target).or_default();
                match (spent.checked_sub(cost), unheard.checked_sub(tells)) {
                    (Some(less), Some(fewer)) => (*spent, *unheard) = (less, fewer),
                    _ => self.fault = Some("more credit is given back than was given"),
                }
            }
            Some(receiver::Said::Reply(call)) => match self.calls.remove(&call) {
                Some((target, cost)) => {
                    let number = self.number(target);
                    self.out.ends(number, cost);
                    *self.spent.entry(target).or_default() -= cost;
                }
                None => self.fault = Some("a call is answered twice, or was never made"),
            },
            None => {}
        }
    }

    /// The link breaks: of each tell that was not confirmed it is told.
    fn cut(&mut self) {
        self.left.cuts -= 1;
        self.close_row();
        let mut told = self.out.down();
        if self.broken == Some(Break::Unheard) {
            told.iter_mut().for_each(|told| *told = 0);
        }
        for (target, number) in std::mem::take(&mut self.numbers) {
            let told = told.get(number as usize).copied().unwrap_or(0);
            if told != self.unheard.remove(&target).unwrap_or(0) {
                self.fault = Some("of a tell that was lost with its link nobody hears");
            }
            self.lost += told;
        }
        self.link = false;
        self.last = None;
        self.batches.clear();
        self.calls.clear();
        self.spent.clear();
        self.next.clear();
        self.receiver = Receiver::default();
    }
}
