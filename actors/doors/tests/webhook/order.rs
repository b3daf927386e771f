//! Order, over failures and restarts.

use std::time::Duration;

use estafette_doors::KeptState;

use crate::support::hook::{Answers, Receiver};
use crate::support::within;
use crate::{Hooked, articles};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn in_order_a_failure_keeps_those_behind_it_waiting_over_restarts_of_the_node() {
    let (mut hooked, mut receiver) = (Hooked::new().await, Receiver::new([]).await);
    let url = receiver.url();
    receiver.then(Answers::Status(500, ""));
    let open = hooked.open(hooked.to(&url).ordered().retries([HOUR; 3])).await;
    let ids = hooked.orders(&["one", "two", "three"]).await;
    assert_eq!(receiver.next().await.header("webhook-id"), ids[0]);
    hooked.until(|kept| kept.message(&ids[0]).unwrap().tries == 1).await;
    assert_eq!(hooked.kept().first().unwrap().as_ref(), Some(&ids[0]));
    open.close().await;
    assert_eq!(hooked.kept().first().unwrap(), None, "nobody posts");
    // Out of order, none waits for another one.
    let open = hooked.open(hooked.to(&url).retries([HOUR; 3])).await;
    assert_eq!(hooked.kept().first().unwrap(), None);
    open.close().await;
    assert!(receiver.rest().is_empty());
    hooked.world.paris_goes().await;
    hooked.world.paris_comes().await;
    receiver.then(Answers::Raw(Vec::new()));
    let open = hooked.open(hooked.to(&url).ordered().retries([Duration::ZERO; 3])).await;
    hooked.orders(&["four"]).await;
    let kept: Vec<_> = hooked.kept().messages().unwrap();
    assert_eq!(kept.len(), 4);
    assert_eq!((kept[0].tries, kept[1].tries), (1, 0));
    assert!(receiver.rest().is_empty(), "the first one waits for its hour");
    hooked.kept().retry(&ids[0]).unwrap();
    let mut posted = Vec::new();
    for _ in 0..5 {
        posted.push(receiver.next().await);
    }
    assert_eq!(articles(&posted), ["one", "one", "two", "three", "four"]);
    hooked.until_empty().await;
    open.close().await;
    assert!(receiver.rest().is_empty());
}

#[tokio::test]
async fn in_order_a_dead_one_lets_the_others_go_and_is_replayed_before_them() {
    let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([]).await);
    receiver.then(Answers::Status(500, ""));
    receiver.then(Answers::Status(500, ""));
    let open = hooked.open(hooked.to(&receiver.url()).ordered().retries([])).await;
    let ids = hooked.orders(&["one", "two"]).await;
    let is_dead =
        |kept: &estafette_doors::Kept, id: &str| kept.message(id).unwrap().state == KeptState::Dead;
    hooked.until(|kept| is_dead(kept, &ids[0]) && is_dead(kept, &ids[1])).await;
    hooked.orders(&["three"]).await;
    hooked.until(|kept| kept.messages().unwrap().len() == 2).await;
    for id in [&ids[1], &ids[0]] {
        hooked.kept().retry(id).unwrap();
        hooked.until(|kept| kept.message(id).is_err()).await;
    }
    drop(open);
    assert_eq!(articles(&receiver.rest()), ["one", "two", "three", "two", "one"]);
}

#[tokio::test]
async fn without_order_a_message_that_hangs_or_fails_holds_nothing_up() {
    let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([]).await);
    receiver.then(Answers::Hangs(Vec::new()));
    receiver.then(Answers::Status(500, ""));
    let open = hooked.open(hooked.to(&receiver.url()).at_once(2).retries([HOUR])).await;
    hooked.orders(&["one"]).await;
    let hangs = receiver.next().await;
    hooked.orders(&["two", "three", "four"]).await;
    let mut posted = Vec::new();
    for _ in 0..3 {
        posted.push(receiver.next().await);
    }
    assert_eq!(articles(&[hangs]), ["one"]);
    assert_eq!(articles(&posted), ["two", "three", "four"]);
    hooked.until(|kept| kept.messages().unwrap().len() == 2).await;
    drop(open);
}

#[tokio::test]
async fn a_folder_is_of_one_webhook_at_a_time_and_a_name_as_well() {
    let (hooked, receiver) = (Hooked::new().await, Receiver::new([]).await);
    let open = hooked.open(hooked.to(&receiver.url())).await;
    let paris = hooked.world.paris.as_ref().unwrap();
    let webhook = || hooked.to(&receiver.url());
    let why = within(webhook().open(paris, "bills", hooked.queue())).await.unwrap_err();
    assert!(why.to_string().contains("another process posts"), "{why}");
    let folder = hooked.folder.path().join("else");
    let why = within(webhook().open(paris, "orders", &folder)).await.unwrap_err();
    assert!(why.to_string().contains("taken"), "{why}");
    // The one that has it goes on having it.
    hooked.orders(&["tea"]).await;
    open.close().await;
    within(webhook().open(paris, "orders", &folder)).await.unwrap();
}

#[tokio::test]
async fn what_another_process_wants_is_done_while_messages_come_and_go() {
    let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([]).await);
    receiver.then(Answers::Status(500, ""));
    let open = hooked.open(hooked.to(&receiver.url()).retries([])).await;
    let dead = &hooked.orders(&["one"]).await[0];
    receiver.next().await;
    hooked.until(|kept| kept.message(dead).unwrap().state == KeptState::Dead).await;
    hooked.kept().retry(dead).unwrap();
    let is_posted = async {
        let posts = async { while receiver.next().await.header("webhook-id") != dead {} };
        let mut posts = std::pin::pin!(posts);
        loop {
            tokio::select! {
                () = &mut posts => return,
                _ = hooked.order("more") => {}
            }
        }
    };
    within(is_posted).await;
    drop(open);
}
