//! Messages without an answer.

use estafette::RemoteErrorKind;

use crate::actors::{Add, Note, Panic, Stop};
use crate::harness::{meet, soon};

#[tokio::test]
async fn tells_arrive_once_and_in_order_whatever_their_size() {
    let mut meeting = meet(11).await;
    let note = meeting.pair.lyon.remote::<Note>("paris/sum").unwrap();
    let size = |number: u64| match number % 100 {
        7 => 1_000_000,
        3 => 60_000,
        _ => number as usize % 50,
    };
    let telling = async {
        for number in 0..2000 {
            note.tell(Note(number, vec![1; size(number)])).await.unwrap();
        }
    };
    soon(telling).await;
    for number in 0..2000 {
        assert_eq!(soon(meeting.noted.recv()).await, Some((number, size(number))));
    }
}

#[tokio::test]
async fn the_largest_message_passes_and_a_larger_one_is_refused_at_once() {
    let mut meeting = meet(12).await;
    let note = meeting.pair.lyon.remote::<Note>("paris/sum").unwrap();
    let most = (16 << 20) - 10;
    soon(note.tell(Note(1, vec![2; most]))).await.unwrap();
    assert_eq!(soon(meeting.noted.recv()).await, Some((1, most)));
    let error = soon(note.tell(Note(2, vec![2; most + 100]))).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Unencodable);
    assert!(error.message.contains("16777216"), "{error}");
}

#[tokio::test]
async fn a_recipient_stands_for_a_remote_actor() {
    let mut meeting = meet(13).await;
    let note = meeting.pair.lyon.remote::<Note>("paris/sum").unwrap();
    let (sender, done) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        actix::System::new().block_on(async move {
            let recipient = note.recipient();
            for number in 0..500 {
                recipient.do_send(Note(number, vec![0; 10_000]));
            }
            // Handled means passed on: the mailbox is a queue.
            recipient.send(Note(500, vec![])).await.unwrap();
            let _ = done.await;
        });
    });
    for number in 0..500 {
        assert_eq!(soon(meeting.noted.recv()).await, Some((number, 10_000)));
    }
    assert_eq!(soon(meeting.noted.recv()).await, Some((500, 0)));
    sender.send(()).unwrap();
}

#[tokio::test]
async fn an_actor_that_dies_with_messages_is_started_anew() {
    let mut meeting = meet(14).await;
    let lyon = &meeting.pair.lyon;
    let (add, panic) =
        (lyon.remote::<Add>("paris/sum").unwrap(), lyon.remote::<Panic>("paris/sum").unwrap());
    assert_eq!(soon(add.ask(Add(5))).await, Ok(5));
    let error = soon(panic.ask(Panic)).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Died);
    assert!(error.message.contains("sum"), "{error}");
    let restarted = async {
        loop {
            match add.ask(Add(1)).await {
                Ok(sum) => return sum,
                Err(error) => assert!(
                    matches!(error.kind, RemoteErrorKind::Restarting | RemoteErrorKind::Died),
                    "{error}"
                ),
            }
        }
    };
    assert_eq!(soon(restarted).await, 1, "a new actor knows nothing of the old one's sum");
    soon(lyon.remote::<Stop>("paris/sum").unwrap().tell(Stop)).await.unwrap();
    let note = lyon.remote::<Note>("paris/sum").unwrap();
    let arrived = async {
        for number in 0.. {
            note.tell(Note(number, vec![])).await.unwrap();
            tokio::task::yield_now().await;
            if meeting.noted.try_recv().is_ok() {
                return;
            }
        }
    };
    soon(arrived).await;
}
