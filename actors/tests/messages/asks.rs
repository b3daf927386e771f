//! Questions and answers.

use std::sync::atomic::Ordering;

use estafette::RemoteErrorKind;

use crate::actors::{Add, Direct, Hang};
use crate::harness::{meet, soon};

#[tokio::test]
async fn an_ask_is_answered_over_the_link() {
    let meeting = meet(1).await;
    let sum = meeting.pair.lyon.remote::<Add>("paris/sum").unwrap();
    assert_eq!(soon(sum.ask(Add(3))).await, Ok(3));
    assert_eq!(soon(sum.ask(Add(4))).await, Ok(7));
}

#[tokio::test]
async fn many_asks_are_under_way_at_once() {
    let meeting = meet(2).await;
    let sum = meeting.pair.lyon.remote::<Add>("paris/sum").unwrap();
    let asks = (0..1000).map(|_| sum.ask(Add(1)));
    let mut answers: Vec<u64> =
        soon(futures_util::future::join_all(asks)).await.into_iter().map(Result::unwrap).collect();
    answers.sort_unstable();
    assert_eq!(answers, (1..=1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_actor_answers_by_itself_fails_or_forgets() {
    let meeting = meet(3).await;
    meeting.pair.paris.host("direct", || Direct).takes_asked::<Add>().start().await.unwrap();
    let direct = meeting.pair.lyon.remote::<Add>("paris/direct").unwrap();
    assert_eq!(soon(direct.ask(Add(21))).await, Ok(42));
    let error = soon(direct.ask(Add(0))).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (RemoteErrorKind::Other, "nothing to double"));
    assert_eq!(soon(direct.ask(Add(1))).await.unwrap_err().kind, RemoteErrorKind::Died);
}

#[tokio::test]
async fn who_no_longer_waits_cancels() {
    let meeting = meet(4).await;
    let hang = meeting.pair.lyon.remote::<Hang>("paris/sum").unwrap();
    let add = meeting.pair.lyon.remote::<Add>("paris/sum").unwrap();
    {
        let asked = hang.ask(Hang);
        tokio::pin!(asked);
        // What was asked before is being handled when what was asked after is answered.
        tokio::select! {
            _ = &mut asked => panic!("it was not let go"),
            answer = add.ask(Add(1)) => assert_eq!(answer, Ok(1)),
        }
        assert_eq!(meeting.hanging.load(Ordering::SeqCst), 1);
    }
    // The actor itself goes on with what it has begun; let go, its answer finds nobody, and harms
    // nobody.
    meeting.let_go.notify_one();
    assert_eq!(soon(add.ask(Add(1))).await, Ok(2));
}
