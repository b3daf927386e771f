//! A letter in, a POST out.

use std::time::Duration;

use estafette::RemoteErrorKind;
use estafette::remote::Delivery;
use estafette_doors::KeptState;

use crate::Hooked;
use crate::support::hook::{Answers, Receiver};
use crate::support::shop::Order;
use crate::support::within;

#[tokio::test]
async fn a_letter_is_posted_signed_and_processed_when_the_queue_has_it() {
    let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([]).await);
    let open = hooked.open(hooked.to(&receiver.url())).await;
    let delivery = hooked.order("tea").await;
    within(delivery.processed()).await.unwrap();
    let posted = receiver.next().await;
    assert!(posted.head.starts_with("POST /hook?key=1 HTTP/1.1\r\n"), "{}", posted.head);
    assert_eq!(posted.text(), r#"{"article":"tea"}"#);
    assert_eq!(posted.header("content-type"), "application/json");
    assert_eq!(posted.header("host"), receiver.address.to_string());
    assert_eq!(posted.header("webhook-id"), delivery.id().to_string());
    assert_eq!(posted.header("estafette-type"), "shop.Order");
    assert_eq!(posted.header("estafette-from"), hooked.world.lyon.peer().to_string());
    assert!(posted.header("webhook-signature").starts_with("v1,"));
    hooked.until_empty().await;
    assert_eq!(open.counts(), (0, 0));
    assert_eq!(open.target(), format!("http://{}", receiver.address));
}

#[tokio::test]
async fn a_failure_is_tried_again_under_the_same_id_and_is_dead_after_the_last_try() {
    let hooked = Hooked::new().await;
    let fails = [Answers::Status(500, ""), Answers::Status(404, "")];
    let mut receiver = Receiver::new(fails).await;
    let open = hooked.open(hooked.to(&receiver.url()).retries([Duration::ZERO])).await;
    let ids = hooked.orders(&["tea"]).await;
    for _ in 0..2 {
        assert_eq!(receiver.next().await.header("webhook-id"), ids[0]);
    }
    hooked.until(|kept| kept.message(&ids[0]).unwrap().state == KeptState::Dead).await;
    let dead = hooked.kept().message(&ids[0]).unwrap();
    assert_eq!((dead.tries, dead.status), (2, Some(404)));
    assert!(dead.why.unwrap().contains("404"));
    assert_eq!((dead.bytes, dead.body.as_deref()), (17, Some(r#"{"article":"tea"}"#)));
    assert_eq!(hooked.kept().messages().unwrap()[0].body, None, "a list has no bodies");
    // It is replayed, by another process as well, and goes well.
    hooked.kept().retry(&ids[0]).unwrap();
    assert_eq!(receiver.next().await.header("webhook-id"), ids[0]);
    hooked.until_empty().await;
    assert!(hooked.kept().retry(&ids[0]).unwrap_err().to_string().contains("no message"));
    drop(open);
}

#[tokio::test]
async fn letters_alone_are_taken_and_what_can_t_be_posted_is_refused() {
    let (hooked, mut receiver) = (Hooked::new().await, Receiver::new([]).await);
    let open = hooked.open(hooked.to(&receiver.url()).types(["shop.Order"])).await;
    let lyon = &hooked.world.lyon;
    let orders = lyon.remote_json("paris/orders", "shop.Order", 1).unwrap();
    let why = within(orders.ask("{}")).await.unwrap_err();
    assert_eq!(why.kind, RemoteErrorKind::NoSuchMessage);
    assert!(why.message.contains("deliver it"), "{why}");
    // Who asks what may be sent there is told.
    let there = within(lyon.describe("paris/orders")).await.unwrap().names.remove(0);
    let taken = &there.takes[0];
    assert_eq!((&*there.name, there.takes.len(), &*taken.message), ("orders", 1, "shop.Order"));
    assert_eq!((&*taken.forms, &*taken.ways), (&["json".into()][..], &["deliver".into()][..]));
    let refused =
        |delivery: Delivery| async move { within(delivery.processed()).await.unwrap_err() };
    let other = lyon.remote_json("paris/orders", "shop.Bill", 1).unwrap();
    let why = refused(other.deliver("{}").await.unwrap()).await;
    assert_eq!(why.kind, RemoteErrorKind::NoSuchMessage);
    assert!(why.message.contains("it takes shop.Order"), "{why}");
    let native = lyon.remote::<Order>("paris/orders").unwrap();
    let tea = || Order { article: "tea".into(), pieces: Some(2) };
    let why = refused(native.deliver(tea()).await.unwrap()).await;
    assert!(why.message.contains("as JSON"), "{why}");
    open.close().await;
    // A program that has the type posts it as JSON.
    let open = hooked.open(hooked.to(&receiver.url()).takes::<Order>()).await;
    within(native.deliver(tea()).await.unwrap().processed()).await.unwrap();
    assert_eq!(receiver.next().await.text(), r#"{"article":"tea","pieces":2}"#);
    open.close().await;
    assert!(receiver.rest().is_empty());
}
