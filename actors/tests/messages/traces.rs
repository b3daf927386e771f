//! The trace a message belongs to, from one node to the other.

use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler};
use estafette::remote::{Asked, Called, TraceContext};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::actors::Add;
use crate::harness::{meet, soon};
use crate::spans::Spans;

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
    let asked = seen.clone();
    paris.host("asked", move || Traced(asked.clone())).takes_asked::<Add>().start().await.unwrap();
    paris.host("called", move || Streaming(seen.clone())).takes_calls::<Add>().start().await.unwrap();
    let mut trace: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    trace.state = "vendor=1".into();

    let plain = lyon.remote::<Add>("paris/asked").unwrap();
    assert_eq!(soon(plain.ask(Add(1))).await, Ok(1));
    assert_eq!(soon(traces.recv()).await, Some(None));
    assert_eq!(soon(plain.traced(trace.clone()).ask(Add(2))).await, Ok(2));
    assert_eq!(soon(traces.recv()).await, Some(Some(trace.clone())));
    let called = lyon.remote::<Add>("paris/called").unwrap().traced(trace.clone());
    assert!(soon(soon(called.download(Add(3))).await.unwrap().next()).await.is_none());
    assert_eq!(soon(traces.recv()).await, Some(Some(trace.clone())));

    // Here and there: all of both traced calls, and neither of the other.
    let spans = spans.0.lock().unwrap();
    let with_it = |name: &str| spans.iter().filter(|(span, fields)| span == name && fields.contains(&trace.to_string())).count();
    assert_eq!((with_it("ask"), with_it("call")), (1, 2), "{spans:?}");
}
