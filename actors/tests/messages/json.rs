//! Messages as JSON, from programs that don't have their types.

use std::net::IpAddr;

use actix::{Actor, Context, Handler};
use estafette::remote::Handled;
use estafette::{RemoteErrorKind, RemoteMessage};
use futures_util::{StreamExt, TryStreamExt};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::actors::Add;
use crate::harness::soon;
use crate::market::{Count, Half, Item, Kind, Market, Order, Shop, json, order};

#[tokio::test]
async fn all_ways_lead_to_an_actor_without_its_types() {
    let mut market = Market::open(901).await;
    let order = order();
    let shop = market.lyon().remote_json("paris/shop", "test.Order", 1).unwrap();
    // What it is asked, told, and delivered.
    let answer = soon(shop.ask(&json(&order))).await.unwrap();
    assert_eq!(answer, format!("{{\"Ok\":{}}}", json(&order)));
    soon(shop.tell(&json(&order))).await.unwrap();
    let delivery = soon(shop.deliver(&json(&order))).await.unwrap();
    soon(delivery.processed()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(soon(market.arrived.recv()).await, Some(order.clone()));
    }
    let none = Order { count: 0, ..order.clone() };
    assert_eq!(market.ask("test.Order", &json(&none)).await.unwrap(), r#"{"Err":"of nothing?"}"#);
    // One that answers by itself, and says why not.
    assert_eq!(market.ask("test.Half", "8").await.unwrap(), "4");
    let why = market.ask("test.Half", "7").await.unwrap_err();
    assert_eq!(why, (RemoteErrorKind::Other, "it is odd".into()));
    // Streams.
    let count = market.lyon().remote_json("paris/shop", "test.Count", 1).unwrap();
    let counted = soon(count.download(r#"{"to":300}"#)).await.unwrap();
    let counted: Vec<String> = soon(counted.try_collect()).await.unwrap();
    assert_eq!(counted, (0..300).map(|number: u64| number.to_string()).collect::<Vec<_>>());
    let (mut upload, mut replies) = soon(count.open()).await.unwrap();
    for _ in 0..2 {
        soon(upload.send(r#"{"to":1}"#)).await.unwrap();
        assert_eq!(soon(replies.next()).await.unwrap().unwrap(), "0");
    }
    soon(upload.send("{}")).await.unwrap();
    assert!(soon(replies.next()).await.is_none(), "the actor ends it at what it can't read");
    // Natively it is the same actor.
    let native = market.lyon().remote::<Order>("paris/shop").unwrap();
    assert_eq!(soon(native.ask(order.clone())).await.unwrap(), Ok(order));
}

#[tokio::test]
async fn an_actor_that_runs_elsewhere_takes_what_its_types_say() {
    let market = Market::open(907).await;
    let (noting, mut arrived) = mpsc::unbounded_channel();
    let (give, given) = oneshot::channel();
    let (over, is_over) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        actix::System::new().block_on(async move {
            let shop = Shop(noting).start();
            give.send((shop.clone().recipient(), shop.recipient())).unwrap();
            let _ = is_over.await;
        });
    });
    let (orders, counts) = soon(given).await.unwrap();
    let paris = &market.pair.paris;
    paris.register::<Order>("registered", orders).unwrap();
    paris.register_calls::<Count>("registered", counts).unwrap();
    let shop = market.lyon().remote_json("paris/registered", "test.Order", 1).unwrap();
    soon(shop.ask(&json(&order()))).await.unwrap();
    assert_eq!(soon(arrived.recv()).await, Some(order()));
    let count = market.lyon().remote_json("paris/registered", "test.Count", 1).unwrap();
    let counted = soon(count.download(r#"{"to":3}"#)).await.unwrap();
    assert_eq!(soon(counted.try_collect::<Vec<_>>()).await.unwrap(), ["0", "1", "2"]);
    // To say it twice is no mistake; a type under one name twice is.
    let hosted = paris.host("twice", || Shop(mpsc::unbounded_channel().0));
    hosted.takes::<Order>().takes_json::<Order>().start().await.unwrap();
    let hosted = paris.host("thrice", || Shop(mpsc::unbounded_channel().0));
    assert!(hosted.takes::<Order>().takes::<Order>().start().await.is_err());
    drop(over);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_type_that_is_not_taken_as_json_is_no_such_message() {
    let market = Market::open(902).await;
    let hosted = market.pair.paris.host("sum", crate::actors::Sum::default).takes::<Add>();
    hosted.start().await.unwrap();
    let sum = market.lyon().remote_json("paris/sum", "test.Add", 1).unwrap();
    let error = soon(sum.ask("1")).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::NoSuchMessage);
    assert!(error.message.contains("test.Add+json"), "{error}");
    // And the other way round: only as JSON.
    let half = market.lyon().remote::<Half>("paris/shop").unwrap();
    let error = soon(half.ask(Half(2))).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::NoSuchMessage);
    for wrong in ["", &"x".repeat(124), "a\nb"] {
        let error = market.lyon().remote_json("paris/shop", wrong, 1).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::NoSuchMessage);
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_says_which_field() {
    let mut market = Market::open(903).await;
    let whole = json(&order());
    let max = u64::MAX.to_string();
    let with = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from} in {whole}");
        whole.replacen(from, to, 1)
    };
    let count = |number: &str| with(&format!("\"count\":{max}"), &format!("\"count\":{number}"));
    let many = "\"x\"".repeat(1 << 16);
    for (text, says) in [
        (count("\"7\""), ["count", "expected u64"]),
        (count("-1"), ["count", "expected u64"]),
        (count("18446744073709551616"), ["count", "expected u64"]),
        (count("1.5"), ["count", "expected u64"]),
        (count("1e400"), ["count", "out of range"]),
        (count("null"), ["count", "expected u64"]),
        (with("\"price\":9007199254740993", "\"price\":{}"), ["items[0].price", "expected u64"]),
        (with("\"express\":true", "\"express\":1"), ["type.Sent.express", "expected a boolean"]),
        (with("\"Sent\"", "\"Lost\""), ["type", "unknown variant `Lost`"]),
        (with("\"article\":", "\"count\":1,\"article\":"), ["", "duplicate field `count`"]),
        (with("\"article\":", "\"artikel\":"), ["", "missing field `article`"]),
        (with("\"7\":", "\"seven\":"), ["shelves", "expected"]),
        (with("[0,127,255]", "[0,127,256]"), ["label", "expected u8"]),
        (with("\"é\"", "\"és\""), ["letter", "expected a character"]),
        (with("\"::1\"", &format!("\"{}\"", "x".repeat(100_000))), ["from", "invalid IP"]),
        (format!("[{many}]"), ["", ""]),
        ("[]".into(), ["", "expected"]),
        ("null".into(), ["", "expected struct Order"]),
    ] {
        let refused = market.ask("test.Order", &text).await;
        let (kind, message) = refused.unwrap_err();
        if text.len() > 190_000 {
            // It is no JSON, and not sent.
            assert_eq!(kind, RemoteErrorKind::Unencodable);
            continue;
        }
        assert_eq!(kind, RemoteErrorKind::Undecodable, "{message}");
        assert!(message.contains("test.Order"), "{message}");
        assert!(says.iter().all(|part| message.contains(part)), "{says:?} in {message}");
        assert!(message.len() <= 512, "{message}");
    }
    // What is no JSON at all is not even sent.
    for text in ["", "{", "NaN", "{} {}", "{\"a\":Infinity}", "\u{feff}{}", "'a'"] {
        let (kind, message) = market.ask("test.Order", text).await.unwrap_err();
        assert_eq!(kind, RemoteErrorKind::Unencodable, "{message}");
    }
    assert!(market.arrived.try_recv().is_err(), "nothing of that came to the actor");
    assert!(market.ask("test.Order", &whole).await.is_ok(), "and the link is none the worse");
}

#[tokio::test]
async fn an_answer_that_json_cannot_hold_is_said_to_be_unencodable() {
    let market = Market::open(904).await;
    let (kind, message) = market.ask("test.Odd", "null").await.unwrap_err();
    assert_eq!(kind, RemoteErrorKind::Unencodable);
    assert!(message.contains("key must be a string"), "{message}");
    let (kind, message) = market.ask("test.Dig", "1000").await.unwrap_err();
    assert_eq!(kind, RemoteErrorKind::Unencodable);
    assert!(message.contains("nested more than 128 deep"), "{message}");
    assert!(market.ask("test.Dig", "60").await.is_ok());
}

/// Native bytes in the name of a JSON type: another program sends whatever it likes.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Order+json")]
struct RawOrder(String);

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Tree+json")]
struct RawTree([String; 16]);

#[tokio::test]
async fn bytes_that_are_no_text_and_what_goes_deep_are_refused_by_who_reads_them() {
    let market = Market::open(905).await;
    // The length of a text comes before it, as one byte up to 250: here a bracket or a quote.
    let raw = market.lyon().remote::<RawOrder>("paris/shop").unwrap();
    let refused = soon(raw.ask(RawOrder("\u{a0}".repeat(usize::from(b'"') / 2)))).await;
    assert_eq!(refused.unwrap_err().kind, RemoteErrorKind::Undecodable);
    let raw = market.lyon().remote::<RawTree>("paris/shop").unwrap();
    let row = "[".repeat(usize::from(b'['));
    let refused = soon(raw.ask(RawTree([(); 16].map(|()| row.clone())))).await.unwrap_err();
    assert_eq!(refused.kind, RemoteErrorKind::Undecodable, "{refused}");
    assert!(refused.message.contains("more than 128 deep"), "{refused}");
    // As deep as may be, each level a newtype and a list, and one more; so many lists that it can
    // be no type's are not even sent.
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(market.ask("test.Tree", &deep(64)).await.unwrap(), "64");
    let too_deep = market.ask("test.Tree", &deep(65)).await.unwrap_err();
    assert_eq!(too_deep.0, RemoteErrorKind::Undecodable);
    let too_deep = market.ask("test.Tree", &deep(129)).await.unwrap_err();
    assert_eq!(too_deep.0, RemoteErrorKind::Unencodable);
    assert!(market.ask("test.Order", &json(&order())).await.is_ok());
}

/// Bytes of its own in place of JSON; it reads one byte.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Fake+json", reply = [String; 10])]
struct Fake(u8);

struct Faker;

impl Actor for Faker {
    type Context = Context<Self>;
}

impl Handler<Fake> for Faker {
    type Result = actix::MessageResult<Fake>;

    fn handle(&mut self, Fake(what): Fake, _: &mut Context<Self>) -> Self::Result {
        // The length of each is one byte more: a bracket, or a space.
        let opening = "[".repeat(usize::from(b'['));
        let closing = |length: u8| "]".repeat(length.into());
        let spaces = || " ".repeat(usize::from(b' '));
        let last = "]".to_owned() + &" ".repeat(9);
        let closed = [93, 93, 32, 32, 13, 10].map(closing);
        let [one, two, three, four, five, six] = closed;
        actix::MessageResult(match what {
            b'1' => [(); 10].map(|()| spaces()),
            b'2' => [(); 10].map(|()| "\u{9b}".repeat(40)),
            _ => {
                let [a, b, c] = [(); 3].map(|()| opening.clone());
                [a, b, c, one, two, three, four, five, six, last]
            }
        })
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_or_goes_too_deep_is_a_bad_reply() {
    let market = Market::open(908).await;
    market.pair.paris.host("faker", || Faker).takes::<Fake>().start().await.unwrap();
    let fake = market.lyon().remote_json("paris/faker", "test.Fake", 1).unwrap();
    for (what, says) in [("1", "no JSON"), ("2", "no JSON"), ("3", "nested more than 128 deep")] {
        let error = soon(fake.ask(what)).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::BadReply, "{error}");
        assert!(error.message.contains(says), "{says} in {error}");
        assert_eq!(error.kind.handled(), Handled::Yes);
    }
    assert!(market.ask("test.Order", &json(&order())).await.is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A caller with the type and one without it.
    #[test]
    fn what_a_native_and_a_json_caller_send_arrives_as_the_same_value(orders in prop::collection::vec(any_order(), 1..8)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut market = Market::open(906).await;
            let native = market.lyon().remote::<Order>("paris/shop").unwrap();
            for order in orders {
                let answered = soon(native.ask(order.clone())).await.unwrap();
                let answer = market.ask("test.Order", &json(&order)).await.unwrap();
                prop_assert_eq!(serde_json::from_str::<Result<Order, String>>(&answer).unwrap(), answered);
                for _ in 0..2 {
                    prop_assert_eq!(soon(market.arrived.recv()).await.unwrap(), order.clone());
                }
            }
            Ok(())
        })?;
    }
}

fn any_order() -> impl Strategy<Value = Order> {
    let finite = any::<f64>().prop_filter("JSON has no other", |number| number.is_finite());
    let kind = prop_oneof![
        Just(Kind::Plain),
        any::<u8>().prop_map(Kind::Wrapped),
        (".*", any::<bool>()).prop_map(|(to, express)| Kind::Sent { to, express }),
        (any::<i8>(), -1e30_f32..1e30).prop_map(|(one, two)| Kind::Pair(one, two)),
    ];
    let item = any::<u64>().prop_map(|price| Item { price, deeper: vec![] });
    let item = item.prop_recursive(6, 24, 4, |within| {
        (any::<u64>(), prop::collection::vec(within, 0..4))
            .prop_map(|(price, deeper)| Item { price, deeper })
    });
    let numbers = (any::<u64>(), any::<i64>(), any::<u128>(), prop::option::of(finite));
    let rest = (
        prop::collection::btree_map(any::<u32>(), ".*", 0..4),
        prop::collection::vec(any::<u8>(), 0..64),
        any::<Option<IpAddr>>(),
        any::<char>(),
    );
    (".*", numbers, kind, prop::collection::vec(item, 0..4), rest).prop_map(
        |(article, (count, cents, wide, weight), kind, items, rest)| {
            let (shelves, label, from, letter) = rest;
            let nothing = ();
            Order {
                article,
                count,
                cents,
                wide,
                weight,
                kind,
                items,
                shelves,
                label,
                from,
                letter,
                nothing,
            }
        },
    )
}
