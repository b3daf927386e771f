//! Several ways to the same node, tried side by side, a little apart.
//!
//! Invariant: no way hides another one. What says nothing is overtaken after [`AHEAD`], what fails
//! makes way at once, and what has answered is overtaken, too, but later: the node there is most
//! likely the one, and each connection costs it work.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::link_failure::LinkFailure;

/// The lead of an attempt over the next one (RFC 8305, section 5).
const AHEAD: Duration = Duration::from_millis(250);
/// Its lead once the node there has answered. A door has few places for one source: who takes them
/// all in a hurry throws out its own best attempt.
const AHEAD_WITH_ANSWER: Duration = Duration::from_secs(2);
/// The most ways that are tried in one race.
const MOST: usize = 32;

/// An address as it was given, and what is dialled for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// First ways of each address come before second ones.
    order: (usize, usize),
    given: String,
    pub(super) at: String,
}

impl Way {
    pub(super) fn order(&self) -> (usize, usize) {
        self.order
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)?;
        if self.at != self.given { write!(f, " at {}", self.at) } else { Ok(()) }
    }
}

/// The progress of an attempt: that it has been answered; the race is told.
#[derive(Debug)]
pub(super) struct Progress {
    answered: Cell<bool>,
    all: Rc<Answers>,
}

#[derive(Debug)]
struct Answers {
    /// Attempts that were answered and have not ended.
    hopeful: Cell<usize>,
    last: Cell<Instant>,
}

impl Progress {
    /// The node there has said something.
    pub(super) fn answered(&self) {
        if !self.answered.replace(true) {
            self.all.hopeful.set(self.all.hopeful.get() + 1);
        }
        self.all.last.set(Instant::now());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.answered.get() {
            self.all.hopeful.set(self.all.hopeful.get() - 1);
        }
    }
}

type Attempt<'a, T> = LocalBoxFuture<'a, Result<T, LinkFailure>>;
type Begin<'a, T> = dyn Fn(&Way, Progress) -> Attempt<'a, T> + 'a;
/// The result of looking an address up: the way as it was given, and all that it stands for.
type Found = (Way, Result<Vec<String>, LinkFailure>);
/// The end of a way.
pub(super) type Ended<T> = (Way, Result<T, LinkFailure>);

/// A race. What is dropped with it is given up.
pub(super) struct Race<'a, T> {
    looking_up: FuturesUnordered<LocalBoxFuture<'a, Found>>,
    waiting: Vec<Way>,
    under_way: FuturesUnordered<LocalBoxFuture<'a, Ended<T>>>,
    /// Ended while something else was awaited.
    ended: VecDeque<Ended<T>>,
    attempt: Box<Begin<'a, T>>,
    begun: usize,
    next_at: Instant,
    answers: Rc<Answers>,
}

impl<'a, T: 'a> Race<'a, T> {
    /// Looks all `addresses` up, and tries what is found by `attempt`, which keeps its [`Progress`]
    /// while it has hope.
    pub(super) fn new<L>(
        addresses: &'a [String],
        look_up: impl Fn(&Way) -> L,
        attempt: impl Fn(&Way, Progress) -> Attempt<'a, T> + 'a,
    ) -> Self
    where
        L: Future<Output = Result<Vec<String>, LinkFailure>> + 'a,
    {
        let now = Instant::now();
        let looked_up = |(number, given): (usize, &'a String)| {
            let way = Way { order: (0, number), at: given.clone(), given: given.clone() };
            let found = look_up(&way);
            Box::pin(async move { (way, found.await) }) as LocalBoxFuture<'a, _>
        };
        Self {
            looking_up: addresses.iter().enumerate().map(looked_up).collect(),
            waiting: Vec::new(),
            under_way: FuturesUnordered::new(),
            ended: VecDeque::new(),
            attempt: Box::new(attempt),
            begun: 0,
            next_at: now,
            answers: Rc::new(Answers { hopeful: Cell::new(0), last: Cell::new(now) }),
        }
    }

    /// The next way that has come to an end, good or bad; `None` when all have.
    pub(super) async fn next(&mut self) -> Option<Ended<T>> {
        match self.ended.pop_front() {
            Some(ended) => Some(ended),
            None => self.advance().await,
        }
    }

    /// Returns `true` if a way has come to a good end that [`Self::next`] has not told yet.
    pub(super) fn has_reached(&self) -> bool {
        self.ended.iter().any(|(_, ended)| ended.is_ok())
    }

    /// Goes on while something else is awaited; `None` when that has not come after `patience`, and
    /// a way that has come to a good end waits for it.
    pub(super) async fn beside<R>(
        &mut self,
        mut other: impl Future<Output = R> + Unpin,
        patience: Duration,
    ) -> Option<R> {
        let until = Instant::now() + patience;
        loop {
            tokio::select! {
                biased;
                done = &mut other => return Some(done),
                () = tokio::time::sleep_until(until), if self.has_reached() => return None,
                Some(ended) = self.advance() => self.ended.push_back(ended),
            }
        }
    }

    /// May be dropped while it waits.
    async fn advance(&mut self) -> Option<Ended<T>> {
        loop {
            let (may_begin, due) = (!self.waiting.is_empty() && self.begun < MOST, self.due());
            tokio::select! {
                biased;
                Some((way, found)) = self.looking_up.next() => match found {
                    Ok(found) => self.found(&way, found),
                    Err(error) => return Some((way, Err(error))),
                },
                Some(ended) = self.under_way.next() => {
                    if ended.1.is_err() {
                        self.next_at = Instant::now();
                    }
                    return Some(ended);
                }
                () = tokio::time::sleep_until(due), if may_begin => {
                    // Something may have answered meanwhile.
                    if self.due() <= Instant::now() {
                        self.begin();
                    }
                }
                else => return None,
            }
        }
    }

    /// Returns the moment at which the next way is begun.
    fn due(&self) -> Instant {
        match self.answers.hopeful.get() {
            0 => self.next_at,
            _ => self.next_at.max(self.answers.last.get() + AHEAD_WITH_ANSWER),
        }
    }

    fn found(&mut self, looked_up: &Way, found: Vec<String>) {
        let ways = found.into_iter().enumerate().map(|(place, at)| Way {
            order: (place, looked_up.order.1),
            given: looked_up.given.clone(),
            at,
        });
        self.waiting.extend(ways);
        self.waiting.sort_by_key(|way| std::cmp::Reverse(way.order));
    }

    fn begin(&mut self) {
        let Some(way) = self.waiting.pop() else { return };
        let attempt = (self.attempt)(
            &way,
            Progress { answered: Cell::new(false), all: Rc::clone(&self.answers) },
        );
        self.under_way.push(Box::pin(async move { (way, attempt.await) }));
        self.begun += 1;
        self.next_at = Instant::now() + AHEAD;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The steps of all ways, in the order of their beginnings.
    type Log = Rc<RefCell<Vec<String>>>;

    fn addresses(given: &[&str]) -> Vec<String> {
        given.iter().map(|&given| given.to_owned()).collect()
    }

    /// Names stand for what is behind their `=`, the rest for itself.
    async fn look_up(given: String) -> Result<Vec<String>, LinkFailure> {
        match given.split_once('=') {
            Some((_, "")) => Err(LinkFailure::Unanswered("no such name".into())),
            Some((_, found)) => Ok(found.split(',').map(str::to_owned).collect()),
            None => Ok(vec![given]),
        }
    }

    /// Ways that begin with `silent` never end, `mute` ones answer and never end, `bad` ones fail,
    /// others are reached.
    fn race<'a>(given: &'a [String], log: &Log) -> Race<'a, String> {
        let log = Rc::clone(log);
        let look_up = |way: &Way| look_up(way.given.clone());
        Race::new(given, look_up, move |way, progress| {
            let at = way.at.clone();
            log.borrow_mut().push(at.clone());
            Box::pin(async move {
                match at.trim_end_matches(|last: char| last.is_ascii_digit()) {
                    "silent" => std::future::pending().await,
                    "mute" => {
                        progress.answered();
                        std::future::pending().await
                    }
                    "bad" => Err(LinkFailure::Unanswered("it is another one".into())),
                    _ => Ok(at),
                }
            })
        })
    }

    async fn first(race: &mut Race<'_, String>) -> Option<String> {
        while let Some((_, ended)) = race.next().await {
            if let Ok(reached) = ended {
                return Some(reached);
            }
        }
        None
    }

    #[tokio::test]
    async fn an_address_that_says_nothing_hides_no_other() {
        let (given, log) = (addresses(&["silent1", "mute1", "good"]), Log::default());
        let begun = Instant::now();
        assert_eq!(first(&mut race(&given, &log)).await.unwrap(), "good");
        assert!(
            begun.elapsed() >= AHEAD + AHEAD_WITH_ANSWER,
            "one that has answered is given more time: {:?}",
            begun.elapsed()
        );
        assert_eq!(*log.borrow(), ["silent1", "mute1", "good"]);
    }

    #[tokio::test]
    async fn what_fails_makes_way_at_once_and_is_told_by_its_name() {
        let many: Vec<_> = (0..MOST).map(|number| format!("bad{number}")).collect();
        let (log, begun) = (Log::default(), Instant::now());
        let mut race = race(&many, &log);
        for at in &many {
            let (way, ended) = race.next().await.unwrap();
            assert!(ended.is_err() && way.to_string() == *at, "{way}");
        }
        assert!(
            race.next().await.is_none() && begun.elapsed() < AHEAD * 8,
            "{:?}",
            begun.elapsed()
        );
    }

    #[tokio::test]
    async fn names_stand_for_several_and_take_turns_with_the_others() {
        let (given, log) = (addresses(&["name=bad1,bad2,bad3", "none=", "bad4"]), Log::default());
        let mut race = race(&given, &log);
        let mut ended = Vec::new();
        while let Some((way, _)) = race.next().await {
            ended.push(way.to_string());
        }
        assert_eq!(*log.borrow(), ["bad1", "bad4", "bad2", "bad3"]);
        assert!(
            ended.contains(&"none=".to_owned())
                && ended.contains(&"name=bad1,bad2,bad3 at bad2".to_owned()),
            "{ended:?}"
        );
    }

    #[tokio::test]
    async fn no_race_is_longer_than_its_limit() {
        let (given, log) = (vec![format!("name={}", vec!["bad"; 100].join(","))], Log::default());
        assert_eq!(first(&mut race(&given, &log)).await, None);
        assert_eq!(log.borrow().len(), MOST);
    }

    #[tokio::test]
    async fn what_does_not_come_holds_up_no_way_that_has_come_to_a_good_end() {
        let (given, log) = (addresses(&["bad1", "silent", "good"]), Log::default());
        let mut race = race(&given, &log);
        let never = std::future::pending::<()>();
        assert!(race.beside(never, Duration::ZERO).await.is_none() && race.has_reached());
        assert_eq!(first(&mut race).await.unwrap(), "good");
        assert!(!race.has_reached());
    }

    #[tokio::test]
    async fn it_goes_on_beside_something_else() {
        let (given, log) = (addresses(&["silent", "good"]), Log::default());
        let mut race = race(&given, &log);
        let seen = Rc::clone(&log);
        let both_begun = Box::pin(async move {
            while seen.borrow().len() < 2 {
                tokio::task::yield_now().await;
            }
        });
        assert!(race.beside(both_begun, Duration::from_secs(3600)).await.is_some());
        assert_eq!(first(&mut race).await.unwrap(), "good");
    }
}
