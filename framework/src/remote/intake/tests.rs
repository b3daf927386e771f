//! One actor, and what is put in for it.

use std::time::Duration;

use actix::{ActorContext, AtomicResponse, Handler, Message, WrapFuture};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::*;
use crate::remote::Exchange;
use crate::remote::RemoteMessage;
use crate::remote::error::RemoteErrorKind;
use crate::remote::form::Native;
use crate::wire::codec::encode_message;
use crate::wire::message::{Item, Items, Shape};
use crate::wire::{Identity, PeerId};

/// An order for the actor, with a number.
#[derive(Debug, Serialize, Deserialize)]
enum Do {
    Note(u32),
    /// Later, and nothing else before.
    NoteSlowly(u32),
    Stop,
    Panic,
}

impl Message for Do {
    type Result = u32;
}

impl RemoteMessage for Do {
    const NAME: &'static str = "Do";
    const VERSION: u32 = 1;
}

/// Looks until it is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    let looked = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(180), looked).await.expect("it hangs");
}

#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<u32>>>);

impl Noted {
    fn all(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }
}

impl Actor for Noted {
    type Context = Context<Self>;
}

impl Handler<Do> for Noted {
    type Result = AtomicResponse<Self, u32>;

    fn handle(&mut self, message: Do, ctx: &mut Context<Self>) -> Self::Result {
        let noted = self.clone();
        let (number, slowly) = match message {
            Do::Note(number) => (number, false),
            Do::NoteSlowly(number) => (number, true),
            Do::Stop => {
                ctx.stop();
                (0, false)
            }
            Do::Panic => panic!("as it was told"),
        };
        AtomicResponse::new(Box::pin(
            async move {
                if slowly {
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                }
                noted.0.lock().unwrap().push(number);
                number
            }
            .into_actor(self),
        ))
    }
}

struct Stand {
    intake: Arc<Intake<Noted>>,
    noted: Noted,
    teller: Teller,
    address: actix::Addr<Noted>,
}

impl Stand {
    fn new() -> Self {
        let exchange = Arc::new(Exchange::new(
            peer(),
            "peer".into(),
            crate::store::ledger::Account::unbounded(),
            || {},
            Arc::new(|_| {}),
        ));
        exchange.up(1);
        let (noted, intake) = (Noted::default(), Intake::new());
        let address = Self::live(&noted, &intake);
        Self { intake, noted, teller: Teller { exchange, epoch: 1, target: 0 }, address }
    }

    fn live(noted: &Noted, intake: &Arc<Intake<Noted>>) -> actix::Addr<Noted> {
        Noted::create(|ctx| {
            ctx.spawn(intake.begin());
            noted.clone()
        })
    }

    fn tell(&self, message: &Do) -> bool {
        self.intake.tell(plain::<Noted, Do, Native>, &[&bytes(message)], &self.teller, None)
    }

    /// Asks whether all that was told has been handled.
    fn confirm(&self) -> oneshot::Receiver<bool> {
        let (done, is_done) = oneshot::channel();
        let done = Done::new(move |handled| done.send(handled).unwrap());
        self.intake.confirm(plain::<Noted, Do, Native>, &self.teller, done);
        is_done
    }

    fn call(&self, call: u64, message: &Do) {
        assert!(self.put_call(call, &bytes(message)).is_ok());
    }

    fn put_call(&self, call: u64, body: &[u8]) -> Result<(), Unfit> {
        let exchange = Arc::clone(&self.teller.exchange);
        exchange.serve(1, call, 8, None, false).unwrap();
        let given_up_before = exchange.given_up_calls();
        let (name, caller) = ("noted".into(), peer());
        let served = crate::remote::serving::Served {
            exchange,
            epoch: 1,
            call,
            name,
            caller,
            along: None,
            over: false,
            given_up_before,
            _charge: None,
        };
        let call = CallIn { shape: Shape::Ask, served, room: None, coming: None };
        self.intake.call(plain::<Noted, Do, Native>, body, call).map_err(|(_, unfit)| unfit)
    }

    /// The same, when so many things have been said.
    async fn said_so_many(&self, count: usize) -> Vec<(u64, Result<u32, u8>)> {
        let mut said = Vec::new();
        until(|| {
            said.extend(self.said());
            said.len() >= count
        })
        .await;
        said
    }

    /// Returns what has been said to the peer: of each call its answer or error, of what was not
    /// delivered how many.
    fn said(&self) -> Vec<(u64, Result<u32, u8>)> {
        let mut said = Vec::new();
        while let Some(()) = self.teller.exchange.take_batch(1, |batch| {
            let mut items = Items::new(batch);
            while let Some((item, _)) = items.next_item().unwrap() {
                match item {
                    Item::Reply { call, body } => {
                        said.push((call, Ok(crate::wire::codec::decode_message(body).unwrap())))
                    }
                    Item::Failed { call, code, .. } => said.push((call, Err(code))),
                    Item::Undelivered { count, code, .. } => said.push((count, Err(code))),
                    other => panic!("{other:?}"),
                }
            }
        }) {}
        said
    }
}

fn peer() -> PeerId {
    Identity::from_secret([7; 32]).peer()
}

fn bytes(message: &Do) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_message(message, &mut bytes).unwrap();
    bytes
}

#[actix::test]
async fn messages_are_handled_in_order_and_none_while_the_actor_waits() {
    let stand = Stand::new();
    for number in 0..200 {
        assert!(stand.tell(&if number % 50 == 3 {
            Do::NoteSlowly(number)
        } else {
            Do::Note(number)
        }));
        if number % 70 == 0 {
            stand.call(u64::from(number), &Do::Note(1000 + number));
        }
    }
    assert_eq!(stand.confirm().await, Ok(true));
    let mut expected: Vec<_> = (0..200).collect();
    [(1, 1000), (72, 1070), (143, 1140)]
        .into_iter()
        .for_each(|(place, number)| expected.insert(place, number));
    assert_eq!(stand.noted.all(), expected);
    // An answer to what was handled later comes by a task of its own.
    let said = stand.said_so_many(3).await;
    assert_eq!(said, [(0, Ok(1000)), (70, Ok(1070)), (140, Ok(1140))]);
}

#[actix::test]
async fn an_actor_that_resumes_loses_the_message_it_panics_at_and_nothing_else() {
    let stand = Stand::new();
    stand.intake.resume();
    [Do::Note(1), Do::Panic, Do::Note(2)].iter().for_each(|message| assert!(stand.tell(message)));
    stand.call(8, &Do::Panic);
    stand.call(9, &Do::Note(3));
    assert_eq!(stand.confirm().await, Ok(true));
    assert_eq!(stand.noted.all(), [1, 2, 3]);
    let mut said = stand.said_so_many(2).await;
    said.sort_by_key(|(call, _)| *call);
    assert_eq!(said, [(8, Err(RemoteErrorKind::Died.code())), (9, Ok(3))]);
    assert!(stand.intake.is_open());
}

#[actix::test]
async fn what_waits_when_the_actor_dies_is_told_of_and_the_next_life_takes_up_what_comes_then() {
    for last in [Do::Stop, Do::Panic] {
        let mut stand = Stand::new();
        [Do::Note(1), last, Do::Note(2)].iter().for_each(|message| assert!(stand.tell(message)));
        stand.call(9, &Do::Note(3));
        assert_eq!(stand.confirm().await, Ok(false));
        until(|| !stand.intake.is_open()).await;
        assert_eq!(stand.said(), [(9, Err(RemoteErrorKind::Died.code()))]);
        assert!(!stand.intake.is_open() && !stand.tell(&Do::Note(4)));
        assert_eq!(stand.confirm().await, Ok(false), "nobody is there to handle it");
        stand.address = Stand::live(&stand.noted, &stand.intake);
        assert!(stand.tell(&Do::Note(5)));
        assert_eq!(stand.confirm().await, Ok(true));
        assert_eq!(
            stand.noted.all().iter().filter(|&&number| number > 0).collect::<Vec<_>>(),
            [&1, &5]
        );
    }
}

#[actix::test]
async fn a_call_that_nobody_waits_for_is_passed_by_and_one_that_is_begun_ends() {
    let stand = Stand::new();
    stand.call(1, &Do::NoteSlowly(1));
    stand.call(2, &Do::Note(2));
    stand.call(3, &Do::Note(3));
    stand.teller.exchange.on_cancel(1, 2);
    assert_eq!(stand.confirm().await, Ok(true));
    assert_eq!(stand.noted.all(), [1, 3]);
    let said = stand.said_so_many(3).await;
    assert_eq!(said, [(2, Err(RemoteErrorKind::Cancelled.code())), (1, Ok(1)), (3, Ok(3))]);
}

/// Goes on by itself until it is let go, or ends at once.
struct Lasting(Arc<tokio::sync::Notify>);

#[derive(Debug, Serialize, Deserialize)]
struct Last(bool);

impl Message for Last {
    type Result = u32;
}

impl RemoteMessage for Last {
    const NAME: &'static str = "Last";
    const VERSION: u32 = 1;
}

impl Actor for Lasting {
    type Context = Context<Self>;
}

impl Handler<Last> for Lasting {
    type Result = actix::ResponseFuture<u32>;

    fn handle(&mut self, Last(lasts): Last, _: &mut Context<Self>) -> Self::Result {
        let let_go = Arc::clone(&self.0);
        Box::pin(async move {
            if lasts {
                let_go.notified().await;
            }
            1
        })
    }
}

#[actix::test]
async fn what_goes_on_behind_the_last_one_that_was_told_still_counts() {
    use crate::store::ledger::{Account, Kind};
    let (account, let_go, intake) =
        (Account::unbounded(), Arc::<tokio::sync::Notify>::default(), Intake::new());
    let exchange =
        Arc::new(Exchange::new(peer(), "peer".into(), account.clone(), || {}, Arc::new(|_| {})));
    exchange.up(1);
    let teller = Teller { exchange, epoch: 1, target: 0 };
    let _address = Lasting::create(|ctx| {
        ctx.spawn(intake.begin());
        Lasting(Arc::clone(&let_go))
    });
    let told = [Last(true), Last(true), Last(false)].map(|last| {
        let mut bytes = Vec::new();
        encode_message(&last, &mut bytes).unwrap();
        bytes
    });
    assert!(intake.tell(
        plain::<Lasting, Last, Native>,
        &told.each_ref().map(Vec::as_slice),
        &teller,
        None
    ));
    let (done, is_done) = oneshot::channel();
    intake.confirm(
        plain::<Lasting, Last, Native>,
        &teller,
        Done::new(move |handled| done.send(handled).unwrap()),
    );
    assert_eq!(is_done.await, Ok(true), "the last one is through");
    assert_eq!(account.held(Kind::Messages), 2 * crate::remote::exchange::cost(told[0].len()));
    let_go.notify_waiters();
    until(|| account.held(Kind::Messages) == 0).await;
}

#[actix::test]
async fn what_can_not_be_read_is_told_of_and_the_next_is_handled() {
    let stand = Stand::new();
    assert!(stand.intake.tell(plain::<Noted, Do, Native>, &[&[9, 9]], &stand.teller, None));
    assert!(stand.tell(&Do::Note(1)));
    assert!(stand.intake.tell(plain::<Noted, Do, Native>, &[&[7]], &stand.teller, None));
    let confirmed = tokio::time::timeout(Duration::from_secs(60), stand.confirm()).await.unwrap();
    assert_eq!(confirmed, Ok(true));
    let undecodable = RemoteErrorKind::Undecodable.code();
    assert_eq!(
        (stand.noted.all(), stand.said()),
        (vec![1], vec![(1, Err(undecodable)), (1, Err(undecodable))])
    );
}

#[actix::test]
async fn calls_that_are_given_up_as_soon_as_they_are_made_fill_no_memory() {
    let stand = Stand::new();
    let (body, mut refused) = (vec![0; 1 << 20], 0);
    // The actor does not get its turn meanwhile.
    for call in 0..100 {
        refused += u32::from(stand.put_call(call, &body) == Err(Unfit::Full));
        stand.teller.exchange.on_cancel(1, call);
    }
    assert!(stand.intake.state().waiting.size() <= WAITING_LIMIT + body.len() + 4096);
    assert_eq!(refused, 36);
    assert!(stand.tell(&Do::Note(1)), "what is told has its own bounds");
    assert_eq!(stand.confirm().await, Ok(true));
    stand.call(100, &Do::Note(2));
    assert_eq!(stand.confirm().await, Ok(true));
    assert_eq!(stand.noted.all(), [1, 2]);
}

#[actix::test]
async fn what_the_actor_has_taken_over_and_is_not_through_with_counts_too() {
    let stand = Stand::new();
    let body = vec![0; 1 << 20];
    stand.call(0, &Do::NoteSlowly(0));
    (1..=40).for_each(|call| assert!(stand.put_call(call, &body).is_ok()));
    until(|| stand.intake.state().taken_over > 0).await;
    let refused = (41..=80).filter(|&call| stand.put_call(call, &body) == Err(Unfit::Full)).count();
    assert_eq!(refused, 16);
    assert_eq!(stand.confirm().await, Ok(true));
    assert_eq!(stand.intake.state().taken_over, 0);
}

#[actix::test]
async fn large_buffers_go_when_they_are_no_longer_needed() {
    let mut load = Load::<Noted> { bytes: vec![0; 1 << 20], ..Load::default() };
    for _ in 0..PATIENCE {
        load.empty();
        assert!(load.bytes.capacity() >= 1 << 20, "it may be needed again soon");
    }
    load.empty();
    assert!(load.bytes.capacity() <= KEPT);
}

#[actix::test]
async fn tellers_without_number_take_no_time_and_each_is_confirmed() {
    let stand = Stand::new();
    let tellers: Vec<_> =
        (0..20_000).map(|target| Teller { target, ..stand.teller.clone() }).collect();
    for teller in &tellers {
        assert!(stand.intake.tell(
            plain::<Noted, Do, Native>,
            &[&bytes(&Do::Note(teller.target))],
            teller,
            None
        ));
    }
    let confirmed: Vec<_> = tellers
        .iter()
        .map(|teller| {
            let (done, is_done) = oneshot::channel();
            stand.intake.confirm(
                plain::<Noted, Do, Native>,
                teller,
                Done::new(move |handled| done.send(handled).unwrap()),
            );
            is_done
        })
        .collect();
    for is_done in confirmed {
        assert_eq!(is_done.await, Ok(true));
    }
    assert_eq!(stand.noted.all(), (0..20_000).collect::<Vec<_>>());
}
