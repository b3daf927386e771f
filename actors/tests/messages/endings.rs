//! Calls that break off, in every way they can: the handler hears that they did, and how.

use actix::{Actor, Context, Handler};
use estafette::RemoteErrorKind;
use estafette::remote::{Asked, Called};
use estafette_actors::standard;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::actors::Add;
use crate::harness::{Meeting, meet, soon};

/// The events that a handler hears.
#[derive(Debug, PartialEq)]
enum Heard {
    Request(u64),
    End,
    Broke(RemoteErrorKind),
    /// The caller is gone.
    Closed,
}

type Hearing = mpsc::UnboundedSender<Heard>;

/// Tells what it reads of its calls, and that they are closed; replies to nothing.
struct Listens(Hearing);

impl Actor for Listens {
    type Context = Context<Self>;
}

impl Handler<Called<Add>> for Listens {
    type Result = ();

    fn handle(&mut self, Called { mut requests, replies }: Called<Add>, _: &mut Context<Self>) {
        let hearing = self.0.clone();
        actix::spawn(async move {
            loop {
                let heard = match requests.next().await {
                    Some(Ok(Add(number))) => Heard::Request(number),
                    Some(Err(error)) => Heard::Broke(error.kind),
                    None => Heard::End,
                };
                let is_over = !matches!(heard, Heard::Request(_));
                hearing.send(heard).unwrap();
                if is_over {
                    break;
                }
            }
            replies.closed().await;
            hearing.send(Heard::Closed).unwrap();
        });
    }
}

/// Never answers, and tells when nobody waits any more.
struct Waits(Hearing);

impl Actor for Waits {
    type Context = Context<Self>;
}

impl Handler<Asked<Add>> for Waits {
    type Result = ();

    fn handle(&mut self, Asked { message, reply }: Asked<Add>, _: &mut Context<Self>) {
        let hearing = self.0.clone();
        hearing.send(Heard::Request(message.0)).unwrap();
        actix::spawn(async move {
            reply.closed().await;
            hearing.send(Heard::Closed).unwrap();
        });
    }
}

async fn listening(seed: u64) -> (Meeting, mpsc::UnboundedReceiver<Heard>) {
    let meeting = meet(seed).await;
    let (hearing, heard) = mpsc::unbounded_channel();
    let (to_listens, to_waits) = (hearing.clone(), hearing);
    let paris = &meeting.pair.paris;
    let listens = paris.host("listens", move || Listens(to_listens.clone()));
    listens.takes_calls::<Add>().takes_calls_json::<Add>().start().await.unwrap();
    let waits = paris.host("waits", move || Waits(to_waits.clone()));
    waits.takes_asked::<Add>().start().await.unwrap();
    (meeting, heard)
}

async fn hears(heard: &mut mpsc::UnboundedReceiver<Heard>, expected: &[Heard]) {
    for expected in expected {
        assert_eq!(soon(heard.recv()).await.as_ref(), Some(expected));
    }
}

const CANCELLED: [Heard; 3] =
    [Heard::Request(5), Heard::Broke(RemoteErrorKind::Cancelled), Heard::Closed];
const LOST: [Heard; 3] =
    [Heard::Request(5), Heard::Broke(RemoteErrorKind::LinkLost), Heard::Closed];

#[tokio::test]
async fn what_is_dropped_before_its_end_is_cancelled_whichever_part_of_it_was_dropped() {
    let (meeting, mut heard) = listening(71).await;
    let listens = meeting.pair.lyon.remote::<Add>("paris/listens").unwrap();
    let mut upload = soon(listens.upload()).await.unwrap();
    soon(upload.send(Add(5))).await.unwrap();
    drop(upload);
    hears(&mut heard, &CANCELLED).await;

    // The requests alone, while the replies are kept; then the other way round.
    let (mut requests, mut replies) = soon(listens.open()).await.unwrap();
    soon(requests.send(Add(5))).await.unwrap();
    drop(requests);
    hears(&mut heard, &CANCELLED).await;
    assert_eq!(soon(replies.next()).await.unwrap().unwrap_err().kind, RemoteErrorKind::Cancelled);
    let (mut requests, replies) = soon(listens.open()).await.unwrap();
    soon(requests.send(Add(5))).await.unwrap();
    drop(replies);
    hears(&mut heard, &CANCELLED).await;
    assert_eq!(soon(requests.send(Add(6))).await.unwrap_err().kind, RemoteErrorKind::Cancelled);

    let json = meeting.pair.lyon.remote_json("paris/listens", "test.Add", 1).unwrap();
    let (mut requests, _replies) = soon(json.open()).await.unwrap();
    soon(requests.send("5")).await.unwrap();
    drop(requests);
    hears(&mut heard, &CANCELLED).await;
}

#[tokio::test]
async fn what_has_an_end_is_whole_although_nobody_waits_for_the_reply() {
    let (meeting, mut heard) = listening(72).await;
    let listens = meeting.pair.lyon.remote::<Add>("paris/listens").unwrap();
    let mut upload = soon(listens.upload()).await.unwrap();
    soon(upload.send(Add(5))).await.unwrap();
    let mut finishing = Box::pin(upload.finish());
    assert!(futures_util::poll!(&mut finishing).is_pending());
    hears(&mut heard, &[Heard::Request(5), Heard::End]).await;
    drop(finishing);
    hears(&mut heard, &[Heard::Closed]).await;
}

#[tokio::test]
async fn a_link_that_is_cut_and_a_caller_that_stops_end_requests_in_link_lost() {
    let (mut meeting, mut heard) = listening(73).await;
    let open = async |meeting: &Meeting| {
        let listens = meeting.pair.lyon.remote::<Add>("paris/listens").unwrap();
        let mut upload = soon(listens.upload()).await.unwrap();
        soon(upload.send(Add(5))).await.unwrap();
        upload
    };
    let upload = open(&meeting).await;
    assert_eq!(soon(heard.recv()).await, Some(Heard::Request(5)));
    meeting.pair.network.cut();
    hears(&mut heard, &LOST[1..]).await;
    assert_eq!(soon(upload.finish()).await.unwrap_err().kind, RemoteErrorKind::LinkLost);

    // Its handles outlive it.
    let _upload = open(&meeting).await;
    assert_eq!(soon(heard.recv()).await, Some(Heard::Request(5)));
    meeting.pair.restart_lyon(standard()).await.unwrap();
    hears(&mut heard, &LOST[1..]).await;
    let upload = open(&meeting).await;
    drop(upload);
    hears(&mut heard, &CANCELLED).await;
}

#[tokio::test]
async fn who_was_asked_hears_that_nobody_waits_for_the_answer() {
    let (meeting, mut heard) = listening(74).await;
    let waits = meeting.pair.lyon.remote::<Add>("paris/waits").unwrap();
    for cut in [false, true] {
        let mut asking = Box::pin(waits.ask(Add(1)));
        tokio::select! {
            answer = &mut asking => panic!("{answer:?}"),
            first = soon(heard.recv()) => assert_eq!(first, Some(Heard::Request(1))),
        }
        if cut {
            meeting.pair.network.cut();
        } else {
            drop(asking);
        }
        hears(&mut heard, &[Heard::Closed]).await;
    }
}
