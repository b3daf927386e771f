//! Answers that are none, and what becomes of a message then.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use estafette::RemoteError;
use estafette::remote::{ArrivedLetter, Letterbox};
use estafette_doors::{Kept, KeptMessage, KeptState, unopened_webhooks, webhook_folder};

use futures_util::future::BoxFuture;

use crate::Hooked;
use crate::support::hook::{Answers, Receiver};
use crate::support::within;

const HOUR: Duration = Duration::from_secs(3600);

/// Returns what is kept of a message that failed once.
async fn failed(hooked: &Hooked, id: &str) -> KeptMessage {
    hooked.until(|kept| kept.message(id).unwrap().tries == 1).await;
    hooked.kept().message(id).unwrap()
}

#[tokio::test]
async fn each_kind_of_failure_is_told_by_its_own_words_and_nothing_is_lost() {
    let huge = |status| {
        let head = format!("HTTP/1.1 {status} So\r\ncontent-length: 10000000\r\n\r\n");
        [head.into_bytes(), vec![b'x'; 1 << 20]].concat()
    };
    for (answers, status, said) in [
        (Answers::Status(500, ""), Some(500), "500"),
        (Answers::Status(301, "location: http://127.0.0.1:1/\r\n"), Some(301), "not followed"),
        (Answers::Status(302, "location: /else\r\n"), Some(302), "leads to /else"),
        (Answers::Status(304, ""), Some(304), "304"),
        // The status counts, whatever becomes of the body behind it.
        (Answers::Hangs(huge(400)), Some(400), "xxx"),
        (
            Answers::Raw(b"HTTP/1.1 401 So\r\ncontent-length: 9\r\n\r\nwho".to_vec()),
            Some(401),
            "who",
        ),
        (Answers::Raw(Vec::new()), None, "broke off"),
        (Answers::Raw(b"HTTP/1.1 20".to_vec()), None, "broke off"),
        (Answers::Raw(b"nonsense\r\n\r\n".to_vec()), None, "broke off"),
        (
            Answers::Raw([b"HTTP/1.1 200 So\r\n".to_vec(), vec![b'a'; 1 << 20]].concat()),
            None,
            "broke off",
        ),
        (
            Answers::Raw([&b"HTTP/1.1 200 So\r\n"[..], &b"a: b\r\n".repeat(100)].concat()),
            None,
            "broke off",
        ),
    ] {
        let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([answers]).await);
        let open = hooked.open(hooked.to(&receiver.url()).retries([HOUR])).await;
        let id = &hooked.orders(&["tea"]).await[0];
        assert_eq!(receiver.next().await.header("webhook-id"), id);
        let failed = failed(&hooked, id).await;
        assert_eq!((failed.state, failed.status), (KeptState::Waiting, status), "{failed:?}");
        let why = failed.why.unwrap();
        assert!(why.contains(said) && why.chars().count() <= 300, "{said}: {why}");
        assert!(failed.next >= failed.last.unwrap() + 3600, "{:?} {}", failed.last, failed.next);
        // It waits, and goes when it is told to.
        hooked.kept().retry(id).unwrap();
        assert_eq!(receiver.next().await.header("webhook-id"), id);
        hooked.until_empty().await;
        open.close().await;
        assert!(receiver.rest().is_empty());
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_a_try_and_no_more() {
    // A head that is whole says all that counts.
    let head = &b"HTTP/1.1 500 So\r\ncontent-length: 5\r\n\r\n"[..];
    for (said, told) in [
        (&b""[..], ["within 300ms"; 2]),
        (b"HTTP/1.1 204 So\r\n", ["within 300ms"; 2]),
        (head, ["it answered 500", "within 300ms"]),
    ] {
        let receiver = Receiver::new([Answers::Hangs(said.to_vec())]).await;
        let hooked = Hooked::new().await;
        let soon = Duration::from_millis(300);
        let webhook = hooked.to(&receiver.url()).retries([HOUR]).within(soon, soon);
        let open = hooked.open(webhook).await;
        let id = &hooked.orders(&["tea"]).await[0];
        // On a machine that is busy it may be late for the connection already.
        let why = failed(&hooked, id).await.why.unwrap();
        assert!(told.iter().any(|told| why.contains(told)), "{why}");
        drop(open);
    }
}

#[tokio::test]
async fn nobody_there_and_no_such_name_are_failures_that_say_so() {
    // Nobody else gets that port, and nobody listens there.
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = bound.local_addr().unwrap();
    for (url, said) in [
        (format!("http://{closed}/"), "can't be reached at 127.0.0.1"),
        ("http://nobody.invalid/".into(), "can't be resolved"),
    ] {
        let hooked = Hooked::new().await;
        let open = hooked.open(hooked.to(&url).retries([HOUR])).await;
        let id = &hooked.orders(&["tea"]).await[0];
        let why = failed(&hooked, id).await.why.unwrap();
        assert!(why.contains(said), "{why}");
        drop(open);
    }
}

#[tokio::test]
async fn a_rest_that_is_asked_for_is_given_by_all_of_the_webhook() {
    for status in [429, 503] {
        let rest = Answers::Status(status, "retry-after: 7200\r\n");
        let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([rest]).await);
        let open = hooked.open(hooked.to(&receiver.url()).retries([Duration::ZERO])).await;
        let id = &hooked.orders(&["tea"]).await[0];
        receiver.next().await;
        let failed = failed(&hooked, id).await;
        assert_eq!(failed.status, Some(status));
        assert!(failed.next >= failed.last.unwrap() + 7200, "{failed:?}");
        assert!(failed.next <= failed.last.unwrap() + 7202, "{failed:?}");
        // Others wait for it, too, and are taken.
        hooked.orders(&["coffee"]).await;
        open.close().await;
        assert!(receiver.rest().is_empty());
        // Another life keeps it, and who looks is told of it, for each message.
        let open = hooked.open(hooked.to(&receiver.url())).await;
        let third = hooked.orders(&["milk"]).await;
        let rests = hooked.kept().rests().unwrap().unwrap();
        assert_eq!(&rests.id, id);
        assert!(rests.why.contains(&status.to_string()), "{rests:?}");
        assert!((7200..=7202).contains(&(rests.until - rests.at)), "{rests:?}");
        let kept = hooked.kept().messages().unwrap();
        assert_eq!(kept.len(), 3);
        assert!(kept.iter().all(|message| message.next >= rests.until), "{kept:?}");
        assert!(receiver.rest().is_empty());
        // Who has one of them posted again ends it, for those that wait for nothing else, too.
        hooked.kept().retry(&third[0]).unwrap();
        let mut posted = [receiver.next().await, receiver.next().await];
        posted.sort_by_key(|posted| posted.text().to_owned());
        assert_eq!(crate::articles(&posted), ["coffee", "milk"]);
        hooked.until(|kept| kept.messages().unwrap().len() == 1).await;
        assert_eq!(hooked.kept().rests().unwrap(), None);
        assert!(hooked.kept().message(id).unwrap().next >= failed.last.unwrap() + 7200);
        hooked.kept().retry(id).unwrap();
        assert_eq!(receiver.next().await.header("webhook-id"), id);
        hooked.until_empty().await;
        open.close().await;
        assert!(receiver.rest().is_empty());
    }
    // Of another status it is not looked at.
    let rest = Answers::Status(500, "retry-after: 7200\r\n");
    let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([rest]).await);
    let open = hooked.open(hooked.to(&receiver.url()).retries([Duration::ZERO])).await;
    hooked.orders(&["tea"]).await;
    receiver.next().await;
    receiver.next().await;
    hooked.until_empty().await;
    drop(open);
}

#[tokio::test]
async fn gone_disables_it_durably_and_nothing_is_lost() {
    let long = format!("moved\n\u{1b}[2J{}", "x".repeat(990));
    let gone = format!("HTTP/1.1 410 Gone\r\ncontent-length: {}\r\n\r\n{long}", long.len());
    let gone = Answers::Raw(gone.into_bytes());
    let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([gone]).await);
    let webhook = || hooked.to(&receiver.url()).ordered();
    let open = hooked.open(webhook()).await;
    let ids = hooked.orders(&["tea"]).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    hooked.until(|kept| kept.message(&ids[0]).unwrap().tries == 1).await;
    let disabled = hooked.kept().disabled().unwrap().unwrap();
    assert_eq!(disabled.id, ids[0]);
    assert!(disabled.why.contains("410") && disabled.why.contains("moved"), "{disabled:?}");
    assert!(disabled.why.chars().count() <= 300 && !disabled.why.contains(char::is_control));
    assert!(disabled.at + 3600 > now);
    open.close().await;
    let open = hooked.open(webhook()).await;
    hooked.orders(&["coffee"]).await;
    open.close().await;
    let url = receiver.url();
    assert_eq!(receiver.next().await.header("webhook-id"), ids[0]);
    assert!(receiver.rest().is_empty(), "nothing is posted while it is disabled");
    // By another process, while it runs.
    let open = hooked.open(hooked.to(&url).ordered()).await;
    assert!(hooked.kept().enable().unwrap());
    assert_eq!(receiver.next().await.header("webhook-id"), ids[0]);
    assert_eq!(receiver.next().await.text(), r#"{"article":"coffee"}"#);
    hooked.until_empty().await;
    assert!(!hooked.kept().enable().unwrap());
    drop(open);
}

#[tokio::test]
async fn while_the_queue_is_full_letters_wait_in_their_spool() {
    let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([]).await);
    // The first is answered at last.
    receiver.then(Answers::Status(500, ""));
    let webhook = hooked.to(&receiver.url()).ordered().retries([HOUR]).keeps(2, 1 << 20);
    let open = hooked.open(webhook).await;
    let ids = hooked.orders(&["one", "two"]).await;
    failed(&hooked, &ids[0]).await;
    let third = hooked.order("three").await;
    within(third.delivered()).await.unwrap();
    assert_eq!(open.counts(), (2, 0));
    assert_eq!(third.state(), estafette::remote::LetterState::Delivered);
    hooked.kept().retry(&ids[0]).unwrap();
    within(third.processed()).await.unwrap();
    hooked.until_empty().await;
    assert_eq!(crate::articles(&receiver.rest()), ["one", "one", "two", "three"]);
}

#[tokio::test]
async fn who_looks_is_told_whether_somebody_posts_and_keeps_nobody_from_it() {
    let (hooked, receiver) = (Hooked::new().await, Receiver::new([]).await);
    receiver.then(Answers::Status(500, ""));
    let open = hooked.open(hooked.to(&receiver.url()).retries([HOUR])).await;
    let ids = hooked.orders(&["tea"]).await;
    failed(&hooked, &ids[0]).await;
    let kept = hooked.kept();
    assert!(kept.is_open().unwrap());
    open.close().await;
    assert!(!kept.is_open().unwrap());
    assert_eq!(kept.waiting().unwrap(), 1);
    // One who looks just then is waited for.
    let looking = std::fs::File::open(hooked.queue().join("running")).unwrap();
    looking.lock_shared().unwrap();
    assert!(!kept.is_open().unwrap(), "others look, too");
    let opening = hooked.open(hooked.to(&receiver.url()));
    let looks = async {
        tokio::task::yield_now().await;
        drop(looking);
    };
    let (open, ()) = tokio::join!(opening, looks);
    assert!(kept.is_open().unwrap());
    drop(open);
}

#[tokio::test]
async fn webhooks_that_have_messages_and_are_not_open_are_found_by_the_key() {
    let (hooked, receiver) = (Hooked::new().await, Receiver::new([]).await);
    receiver.then(Answers::Status(500, ""));
    let key = hooked.folder.path().join("key");
    let paris = hooked.world.paris.as_ref().unwrap();
    let webhook = hooked.to(&receiver.url()).retries([HOUR]);
    let open = webhook.open(paris, "orders", webhook_folder(&key, "orders")).await.unwrap();
    let empty = hooked.to(&receiver.url());
    let empty = empty.open(paris, "bills", webhook_folder(&key, "bills")).await.unwrap();
    hooked.orders(&["tea", "coffee"]).await;
    assert!(unopened_webhooks(&key).unwrap().is_empty());
    // The second was answered well, or is just posted.
    within(async {
        while open.counts() != (1, 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    open.close().await;
    empty.close().await;
    assert_eq!(unopened_webhooks(&key).unwrap(), [("orders".to_owned(), 1)]);
    let kept = Kept::open(webhook_folder(&key, "orders")).unwrap();
    for message in kept.messages().unwrap() {
        kept.drop_message(&message.id).unwrap();
    }
    assert!(unopened_webhooks(&key).unwrap().is_empty());
}

/// A letterbox that has no room until it was asked three times.
#[derive(Default)]
struct Narrow {
    asked: AtomicUsize,
    given: AtomicUsize,
}

impl Letterbox for Narrow {
    fn has_room(&self, bytes: usize) -> bool {
        bytes > 0 && self.asked.fetch_add(1, Relaxed) >= 3
    }

    fn take(&self, _: ArrivedLetter) -> BoxFuture<'static, Result<(), RemoteError>> {
        self.given.fetch_add(1, Relaxed);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn what_there_is_no_room_for_is_not_given() {
    let hooked = Hooked::new().await;
    let narrow = Arc::new(Narrow::default());
    let paris = hooked.world.paris.as_ref().unwrap();
    paris.register_letterbox("orders", narrow.clone()).unwrap();
    within(hooked.order("tea").await.processed()).await.unwrap();
    assert_eq!((narrow.asked.load(Relaxed), narrow.given.load(Relaxed)), (4, 1));
}

#[tokio::test]
async fn what_is_dropped_is_not_posted_and_dead_ones_are_bounded_by_hand() {
    let (hooked, receiver) = (Hooked::new().await, Receiver::new([]).await);
    receiver.then(Answers::Status(500, ""));
    let open = hooked.open(hooked.to(&receiver.url()).retries([])).await;
    let ids = hooked.orders(&["tea"]).await;
    hooked.until(|kept| kept.message(&ids[0]).unwrap().state == KeptState::Dead).await;
    hooked.kept().drop_message(&ids[0]).unwrap();
    assert!(hooked.kept().messages().unwrap().is_empty());
    within(async {
        while open.counts() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
