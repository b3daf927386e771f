//! Tests of messages that can't be sent as they are, or that would cost their reader too much: each
//! is an error, at whichever end sees it, and nothing else.

use actix::{Actor, Context, Handler, MessageResult};
use estafette::RemoteErrorKind;
use estafette::remote::{Called, RemoteMessage};
use futures_util::StreamExt;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::actors::Add;
use crate::harness::{config, meet, soon};
use crate::post::Post;

/// As for a web service, where names tell the fields apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(default)]
    amount: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Pay", reply = Result<Limits, String>)]
enum Pay {
    Now { limits: Vec<Limits>, account: u32 },
    Never,
}

fn pay(limit: Option<u32>) -> Pay {
    Pay::Now { limits: vec![Limits { limit, amount: 1 }], account: 500 }
}

struct Cashier;

impl Actor for Cashier {
    type Context = Context<Self>;
}

impl Handler<Pay> for Cashier {
    type Result = MessageResult<Pay>;

    fn handle(&mut self, pay: Pay, _: &mut Context<Self>) -> Self::Result {
        MessageResult(match pay {
            Pay::Now { limits, .. } => limits.into_iter().next().ok_or_else(|| "no limits".into()),
            // What can't be said.
            Pay::Never => Ok(Limits { limit: None, amount: 7 }),
        })
    }
}

impl Handler<Called<Pay>> for Cashier {
    type Result = ();

    fn handle(&mut self, Called { mut replies, .. }: Called<Pay>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let good = replies.send(&Ok(Limits { limit: Some(1), amount: 7 })).await;
            let bad = replies.send(&Ok(Limits { limit: None, amount: 7 })).await;
            if let (Ok(()), Err(error)) = (good, bad) {
                replies.fail(error.to_string());
            }
        });
    }
}

#[tokio::test]
async fn a_field_that_is_left_out_is_an_error_wherever_it_is() {
    let meeting = meet(91).await;
    let (lyon, paris) = (&meeting.pair.lyon, &meeting.pair.paris);
    paris.host("cashier", || Cashier).takes::<Pay>().start().await.unwrap();
    paris.host("stream", || Cashier).takes_calls::<Pay>().start().await.unwrap();
    let cashier = lyon.remote::<Pay>("paris/cashier").unwrap();
    assert_eq!(soon(cashier.ask(pay(Some(7)))).await, Ok(Ok(Limits { limit: Some(7), amount: 1 })));
    let stream = lyon.remote::<Pay>("paris/stream").unwrap();
    let mut upload = soon(stream.upload()).await.unwrap();
    // Each says whether it is the message that can't be sent, or the answer.
    for (error, which) in [
        (soon(cashier.ask(pay(None))).await.unwrap_err(), "a test.Pay can't be sent"),
        (soon(cashier.tell(pay(None))).await.unwrap_err(), "a test.Pay can't be sent"),
        (cashier.try_tell(&pay(None)).unwrap_err(), "a test.Pay can't be sent"),
        (soon(stream.download(pay(None))).await.map(drop).unwrap_err(), "a test.Pay can't be sent"),
        (soon(upload.send(pay(None))).await.unwrap_err(), "a request of the stream can't be sent"),
        (soon(cashier.ask(Pay::Never)).await.unwrap_err(), "has handled it, but its answer"),
    ] {
        assert!(error.message.contains(which), "{error}");
        assert_eq!(error.kind, RemoteErrorKind::Unencodable, "{error}");
        assert!(error.message.contains("Limits") && error.message.contains("`limit`"), "{error}");
    }
    let replies: Vec<_> = soon(soon(stream.download(pay(Some(1)))).await.unwrap().collect()).await;
    let [Ok(Ok(first)), Err(second)] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(first, &Limits { limit: Some(1), amount: 7 });
    assert!(second.message.contains("`limit`"), "{second}");
    assert!(second.message.contains("a reply of the stream can't be sent"), "{second}");
    assert_eq!(
        soon(cashier.ask(pay(Some(8)))).await,
        Ok(Ok(Limits { limit: Some(8), amount: 1 })),
        "nothing else has suffered"
    );
}

#[tokio::test]
async fn a_letter_that_would_be_read_as_another_is_not_stored() {
    let post = Post::open(92, config()).await;
    let error = soon(post.pair.lyon.remote::<Pay>("paris/desk").unwrap().deliver(pay(None)))
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Unencodable);
    assert!(error.message.contains("`limit`"), "{error}");
    assert!(post.pair.lyon.letters().list().is_empty());
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    next: Option<Box<List>>,
}

// Neither is it dropped level by level.
impl Drop for List {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut list) = next {
            next = list.next.take();
        }
    }
}

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Take", reply = u64)]
struct Take(List);

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Units", reply = u64)]
struct Units(Vec<()>);

/// Bytes as they are, under any name.
macro_rules! forged {
    ($name:ident, $wire:literal) => {
        #[derive(RemoteMessage)]
        #[remote(name = $wire, reply = u64)]
        struct $name(Vec<u8>);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut bytes = serializer.serialize_tuple(self.0.len())?;
                self.0.iter().try_for_each(|byte| bytes.serialize_element(byte))?;
                bytes.end()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                Err(serde::de::Error::custom("it is only sent"))
            }
        }
    };
}

forged!(ForgedTake, "test.Take");
forged!(ForgedUnits, "test.Units");

struct Counter;

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Take> for Counter {
    type Result = u64;

    fn handle(&mut self, Take(list): Take, _: &mut Context<Self>) -> u64 {
        std::iter::successors(list.next.as_deref(), |list| list.next.as_deref()).count() as u64
    }
}

impl Handler<Units> for Counter {
    type Result = u64;

    fn handle(&mut self, Units(units): Units, _: &mut Context<Self>) -> u64 {
        units.len() as u64
    }
}

fn list(length: usize) -> Take {
    Take((0..length).fold(List { next: None }, |next, _| List { next: Some(Box::new(next)) }))
}

#[tokio::test]
async fn what_is_nested_or_counted_without_end_is_refused_by_both_ends() {
    let meeting = meet(93).await;
    let (lyon, paris) = (&meeting.pair.lyon, &meeting.pair.paris);
    paris.host("counter", || Counter).takes::<Take>().takes::<Units>().start().await.unwrap();
    let (take, units) = (
        lyon.remote::<Take>("paris/counter").unwrap(),
        lyon.remote::<Units>("paris/counter").unwrap(),
    );
    assert_eq!(soon(take.ask(list(60))).await, Ok(60));
    assert_eq!(soon(units.ask(Units(vec![(); 60_000]))).await, Ok(60_000));
    for error in
        [soon(take.ask(list(100_000))).await, soon(units.ask(Units(vec![(); 1 << 40]))).await]
    {
        assert_eq!(error.unwrap_err().kind, RemoteErrorKind::Unencodable);
    }
    let deep = lyon.remote::<ForgedTake>("paris/counter").unwrap();
    for depth in [200, 20_000, 500_000] {
        let error =
            soon(deep.ask(ForgedTake([vec![1; depth], vec![0]].concat()))).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Undecodable);
        assert!(
            error.message.contains("nested") && error.message.contains("travel::Take"),
            "{error}"
        );
    }
    let many = lyon.remote::<ForgedUnits>("paris/counter").unwrap();
    let error = soon(many.ask(ForgedUnits([&[253][..], &(1_u64 << 40).to_le_bytes()].concat())))
        .await
        .unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Undecodable);
    assert!(
        error.message.contains("elements") && error.message.contains("travel::Units"),
        "{error}"
    );
    assert_eq!(soon(take.ask(list(3))).await, Ok(3), "the node lives");
    assert!(soon(lyon.remote::<Add>("paris/sum").unwrap().ask(Add(1))).await.is_ok());
}
