//! The trace a message belongs to, from one node to the other.

use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler};
use estafette::remote::{Asked, Called, TraceContext};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};

use crate::actors::Add;
use crate::harness::{config, meet, soon};
use crate::post::Post;
use crate::spans::Spans;

/// Tells for whom each message is sent.
struct Behalf(mpsc::UnboundedSender<Option<String>>);

impl Actor for Behalf {
    type Context = Context<Self>;
}

impl Handler<Asked<Add>> for Behalf {
    type Result = ();

    fn handle(&mut self, Asked { message, reply }: Asked<Add>, _: &mut Context<Self>) {
        self.0.send(reply.on_behalf().map(ToOwned::to_owned)).unwrap();
        reply.send(&message.0);
    }
}

impl Handler<Called<Add>> for Behalf {
    type Result = ();

    fn handle(&mut self, Called { replies, .. }: Called<Add>, _: &mut Context<Self>) {
        self.0.send(replies.on_behalf().map(ToOwned::to_owned)).unwrap();
        replies.finish();
    }
}

#[tokio::test]
async fn an_actor_is_told_for_whom_it_is_asked_and_who_says_so() {
    let post = Post::open(63, config()).await;
    let (lyon, paris) = (&post.pair.lyon, &post.pair.paris);
    let (seen, mut heard) = mpsc::unbounded_channel();
    let called = seen.clone();
    let asked = paris.host("asked", move || Behalf(seen.clone()));
    asked.takes_asked::<Add>().start().await.unwrap();
    let calls = paris.host("called", move || Behalf(called.clone()));
    calls.takes_calls::<Add>().start().await.unwrap();
    let long = "é".repeat(200);
    for (who, told) in [("till", Some("till")), ("", None), (&*long, None)] {
        let expected = Some(told.map(ToOwned::to_owned));
        let asked = lyon.remote::<Add>("paris/asked").unwrap().on_behalf_of(who);
        assert_eq!(soon(asked.ask(Add(1))).await, Ok(1));
        assert_eq!(soon(heard.recv()).await, expected);
        // Between others, which are for nobody.
        let plain = lyon.remote::<Add>("paris/asked").unwrap();
        soon(plain.tell(Add(2))).await.unwrap();
        soon(asked.tell(Add(2))).await.unwrap();
        soon(plain.tell(Add(2))).await.unwrap();
        for expected in [Some(None), expected.clone(), Some(None)] {
            assert_eq!(soon(heard.recv()).await, expected);
        }
        let letter = soon(asked.deliver(Add(3))).await.unwrap();
        soon(letter.processed()).await.unwrap();
        assert_eq!(soon(heard.recv()).await, expected);
        let called = lyon.remote::<Add>("paris/called").unwrap().on_behalf_of(who);
        assert!(soon(soon(called.download(Add(3))).await.unwrap().next()).await.is_none());
        assert_eq!(soon(heard.recv()).await, expected);
    }
}

/// Tells which trace each call belonged to.
struct Traced(mpsc::UnboundedSender<Option<TraceContext>>);

impl Actor for Traced {
    type Context = Context<Self>;
}

impl Handler<Asked<Add>> for Traced {
    type Result = ();

    fn handle(&mut self, Asked { message, reply }: Asked<Add>, _: &mut Context<Self>) {
        self.0.send(reply.trace().cloned()).unwrap();
        reply.send(&message.0);
    }
}

/// The same, for streams.
struct Streaming(mpsc::UnboundedSender<Option<TraceContext>>);

impl Actor for Streaming {
    type Context = Context<Self>;
}

impl Handler<Called<Add>> for Streaming {
    type Result = ();

    fn handle(&mut self, Called { replies, .. }: Called<Add>, _: &mut Context<Self>) {
        self.0.send(replies.trace().cloned()).unwrap();
        replies.finish();
    }
}

#[tokio::test]
async fn a_trace_reaches_whoever_is_called_and_spans_carry_it() {
    let spans = Spans(Arc::<Mutex<_>>::default());
    tracing::subscriber::set_global_default(spans.clone()).unwrap();
    let meeting = meet(61).await;
    let (lyon, paris) = (&meeting.pair.lyon, &meeting.pair.paris);
    let (seen, mut traces) = mpsc::unbounded_channel();
    let (asked, registered, lettered) = (seen.clone(), seen.clone(), seen.clone());
    // It runs until its thread is told that the test is over.
    let (over, is_over) = oneshot::channel::<()>();
    let (give, given) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        actix::System::new().block_on(async move {
            give.send(Traced(registered).start().recipient()).unwrap();
            let _ = is_over.await;
        });
    });
    paris.register_asked::<Add>("registered", soon(given).await.unwrap()).unwrap();
    paris.host("asked", move || Traced(asked.clone())).takes_asked::<Add>().start().await.unwrap();
    paris
        .host("called", move || Streaming(seen.clone()))
        .takes_calls::<Add>()
        .start()
        .await
        .unwrap();
    let mut trace: TraceContext =
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    trace.state = "vendor=1".into();

    let plain = lyon.remote::<Add>("paris/asked").unwrap();
    assert_eq!(soon(plain.ask(Add(1))).await, Ok(1));
    assert_eq!(soon(traces.recv()).await, Some(None));
    soon(plain.tell(Add(1))).await.unwrap();
    assert_eq!(soon(traces.recv()).await, Some(None));
    let plain = plain.traced(trace.clone());
    assert_eq!(soon(plain.ask(Add(2))).await, Ok(2));
    assert_eq!(soon(traces.recv()).await, Some(Some(trace.clone())));
    // Between others that have none; and to an actor of which only its mailbox is known.
    for (number, name) in [(3, "paris/asked"), (4, "paris/registered")] {
        let remote = lyon.remote::<Add>(name).unwrap();
        let traced = remote.clone().traced(trace.clone());
        soon(remote.tell(Add(number))).await.unwrap();
        soon(traced.tell(Add(number))).await.unwrap();
        soon(remote.tell(Add(number))).await.unwrap();
        for expected in [None, Some(trace.clone()), None] {
            assert_eq!(soon(traces.recv()).await, Some(expected));
        }
    }
    let called = lyon.remote::<Add>("paris/called").unwrap().traced(trace.clone());
    assert!(soon(soon(called.download(Add(3))).await.unwrap().next()).await.is_none());
    assert_eq!(soon(traces.recv()).await, Some(Some(trace.clone())));

    let post = Post::open(62, config()).await;
    post.pair
        .paris
        .host("asked", move || Traced(lettered.clone()))
        .takes_asked::<Add>()
        .start()
        .await
        .unwrap();
    let letter = post.pair.lyon.remote::<Add>("paris/asked").unwrap();
    for expected in [None, Some(trace.clone())] {
        let letter =
            expected.iter().fold(letter.clone(), |letter, trace| letter.traced(trace.clone()));
        soon(soon(letter.deliver(Add(5))).await.unwrap().processed()).await.unwrap();
        assert_eq!(soon(traces.recv()).await, Some(expected));
    }

    // Here and there: all of both traced calls, and neither of the other.
    let spans = spans.0.lock().unwrap();
    let with_it = |name: &str| {
        spans
            .iter()
            .filter(|(span, fields)| span == name && fields.contains(&trace.to_string()))
            .count()
    };
    assert_eq!((with_it("ask"), with_it("call")), (1, 2), "{spans:?}");
    assert_eq!((with_it("tell"), with_it("told")), (2, 2), "{spans:?}");
    assert_eq!((with_it("deliver"), with_it("letter")), (1, 1), "{spans:?}");
    drop(over);
    thread.join().unwrap();
}
