//! Calls with streams.

use std::time::Duration;

use actix::{Actor, Context, Handler};
use estafette::RemoteErrorKind;
use estafette::remote::Called;
use estafette_actors::standard;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::actors::{Add, Countdown, Sums, Total};
use crate::harness::{Lost, Meeting, meet, soon};

async fn hosts(seed: u64) -> Meeting {
    let meeting = meet(seed).await;
    let paris = &meeting.pair.paris;
    paris.host("sums", || Sums).takes_calls::<Add>().start().await.unwrap();
    paris.host("countdown", || Countdown).takes_calls::<Add>().start().await.unwrap();
    paris.host("total", || Total).takes_calls::<Add>().start().await.unwrap();
    meeting
}

#[tokio::test]
async fn a_stream_of_replies_comes_in_order_and_ends() {
    let meeting = hosts(31).await;
    let countdown = meeting.pair.lyon.remote::<Add>("paris/countdown").unwrap();
    let replies: Vec<_> =
        soon(soon(countdown.download(Add(50_000))).await.unwrap().collect()).await;
    assert_eq!(replies.len(), 50_000);
    assert!(replies.into_iter().zip((0..50_000).rev()).all(|(reply, number)| reply == Ok(number)));
}

#[tokio::test]
async fn a_stream_of_requests_has_one_reply() {
    let meeting = hosts(32).await;
    let mut upload =
        soon(meeting.pair.lyon.remote::<Add>("paris/total").unwrap().upload()).await.unwrap();
    for _ in 0..50_000 {
        soon(upload.send(Add(2))).await.unwrap();
    }
    assert_eq!(soon(upload.finish()).await, Ok(Some(100_000)));
}

#[tokio::test]
async fn streams_go_both_ways_until_either_side_has_enough() {
    let meeting = hosts(33).await;
    let sums = meeting.pair.lyon.remote::<Add>("paris/sums").unwrap();
    let (mut requests, mut replies) = soon(sums.open()).await.unwrap();
    for number in 1..100 {
        soon(requests.send(Add(number))).await.unwrap();
        assert_eq!(soon(replies.next()).await, Some(Ok((1..=number).sum())));
    }
    soon(requests.send(Add(0))).await.unwrap();
    let error = soon(replies.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (RemoteErrorKind::Other, "had enough"));
    assert!(soon(replies.next()).await.is_none());
    let (requests, replies) = soon(sums.open()).await.unwrap();
    soon(requests.finish()).await.unwrap();
    assert_eq!(soon(replies.count()).await, 0);
}

#[tokio::test]
async fn a_reader_that_is_slow_holds_only_its_own_stream_up() {
    let meeting = hosts(34).await;
    let countdown = meeting.pair.lyon.remote::<Add>("paris/countdown").unwrap();
    let mut slow = soon(countdown.download(Add(1_000_000))).await.unwrap();
    assert_eq!(soon(slow.next()).await, Some(Ok(999_999)));
    let fast: Vec<_> = soon(soon(countdown.download(Add(20_000))).await.unwrap().collect()).await;
    assert_eq!(fast.len(), 20_000);
    // Dropped in the middle, it cancels: the node has nothing under way for it any more, and others
    // go on.
    drop(slow);
    assert_eq!(
        soon(meeting.pair.lyon.remote::<Add>("paris/sum").unwrap().ask(Add(1))).await,
        Ok(1)
    );
}

#[tokio::test]
async fn the_wrong_way_to_call_is_named() {
    let meeting = hosts(35).await;
    let error = soon(meeting.pair.lyon.remote::<Add>("paris/sum").unwrap().download(Add(1)))
        .await
        .unwrap()
        .next()
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::NoSuchMessage);
    assert_eq!(
        soon(meeting.pair.lyon.remote::<Add>("paris/total").unwrap().ask(Add(1))).await,
        Ok(1),
        "one request, one reply"
    );
}

#[tokio::test]
async fn a_cut_ends_streams_with_an_error() {
    let meeting = hosts(36).await;
    let mut replies =
        soon(meeting.pair.lyon.remote::<Add>("paris/countdown").unwrap().download(Add(10_000_000)))
            .await
            .unwrap();
    assert!(soon(replies.next()).await.unwrap().is_ok());
    meeting.pair.network.cut();
    let end = soon(async {
        while let Some(Ok(_)) = replies.next().await {}
        replies.next().await
    })
    .await;
    assert!(end.is_none());
}

#[tokio::test]
async fn a_peer_has_so_many_streams_at_a_time_and_the_next_begins_when_one_ends() {
    let meeting = hosts(37).await;
    let countdown = meeting.pair.lyon.remote::<Add>("paris/countdown").unwrap();
    let mut open = Vec::new();
    for _ in 0..128 {
        open.push(soon(countdown.download(Add(1_000_000))).await.unwrap());
    }
    let next = countdown.download(Add(3));
    tokio::pin!(next);
    let sum = meeting.pair.lyon.remote::<Add>("paris/sum").unwrap();
    tokio::select! {
        _ = &mut next => panic!("there is no room for it"),
        answer = sum.ask(Add(1)) => assert_eq!(answer, Ok(1), "others are not held up"),
    }
    drop(open.pop());
    let replies: Vec<_> = soon(soon(next).await.unwrap().collect()).await;
    assert_eq!(replies, [Ok(2), Ok(1), Ok(0)]);
}

/// Tells what it reads of its calls, and never replies.
struct Reads(mpsc::UnboundedSender<Option<Result<u64, RemoteErrorKind>>>);

impl Actor for Reads {
    type Context = Context<Self>;
}

impl Handler<Called<Add>> for Reads {
    type Result = ();

    fn handle(&mut self, Called { mut requests, replies }: Called<Add>, _: &mut Context<Self>) {
        let reading = self.0.clone();
        actix::spawn(async move {
            loop {
                let next = requests
                    .next()
                    .await
                    .map(|request| request.map(|Add(number)| number).map_err(|error| error.kind));
                let is_over = next.is_none();
                reading.send(next).unwrap();
                if is_over {
                    break drop(replies);
                }
            }
        });
    }
}

#[tokio::test]
async fn an_upload_that_is_dropped_ends_in_cancelled_and_does_not_pass_for_whole() {
    let meeting = hosts(38).await;
    let (reading, mut read) = mpsc::unbounded_channel();
    meeting
        .pair
        .paris
        .host("reads", move || Reads(reading.clone()))
        .takes_calls::<Add>()
        .start()
        .await
        .unwrap();
    let reads = meeting.pair.lyon.remote::<Add>("paris/reads").unwrap();
    let mut upload = soon(reads.upload()).await.unwrap();
    soon(upload.send(Add(5))).await.unwrap();
    drop(upload);
    for expected in [Some(Ok(5)), Some(Err(RemoteErrorKind::Cancelled)), None] {
        assert_eq!(soon(read.recv()).await, Some(expected));
    }
    // One that is finished has an end, and no error.
    let upload = soon(reads.upload()).await.unwrap();
    let finished = soon(upload.finish()).await;
    assert_eq!(
        (finished.unwrap_err().kind, soon(read.recv()).await),
        (RemoteErrorKind::Died, Some(None))
    );
}

#[tokio::test]
async fn a_stream_that_takes_too_long_ends_in_deadline_at_both_ends() {
    let meeting = hosts(39).await;
    let (reading, mut read) = mpsc::unbounded_channel();
    meeting
        .pair
        .paris
        .host("reads", move || Reads(reading.clone()))
        .takes_calls::<Add>()
        .start()
        .await
        .unwrap();
    // There is a link: what waits for one has as long. And what is to reach the other end in its
    // time has enough of it.
    soon(meeting.pair.lyon.remote::<Add>("paris/sum").unwrap().ask(Add(1))).await.unwrap();
    let reads =
        meeting.pair.lyon.remote::<Add>("paris/reads").unwrap().within(Duration::from_millis(500));
    let (_requests, mut replies) = soon(reads.open()).await.unwrap();
    assert_eq!(soon(replies.next()).await.unwrap().unwrap_err().kind, RemoteErrorKind::Deadline);
    assert!(soon(replies.next()).await.is_none());
    assert_eq!(soon(read.recv()).await, Some(Some(Err(RemoteErrorKind::Cancelled))));
}

#[tokio::test]
async fn who_takes_streams_is_not_told_and_the_sender_hears_so() {
    let mut meeting = hosts(40).await;
    let lost = Lost::default();
    meeting
        .pair
        .restart_lyon_with(standard(), |builder| builder.on_undelivered(lost.hook()))
        .await
        .unwrap();
    let total = meeting.pair.lyon.remote::<Add>("paris/total").unwrap();
    for told in 1..=2 {
        soon(total.tell(Add(1))).await.unwrap();
        let error = soon(lost.count(told)).await;
        assert!(
            error.kind == RemoteErrorKind::NoSuchMessage && error.message.contains("open a stream"),
            "{error}"
        );
    }
    assert_eq!(soon(total.ask(Add(1))).await, Ok(1));
}
