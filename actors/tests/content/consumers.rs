//! Inboxes that consume content as it comes.

use std::sync::mpsc;

use actix::{Actor, ActorContext, Context, Handler};
use bytes::Bytes;
use estafette::delivery::ContentKind;
use estafette::pipeline::{Inbox, Refusal, SinkError, Source};
use estafette_actors::sink::{ActorSink, ContentAborted, ContentEnd, ContentPart, WriterSink};
use estafette_actors::source::BytesSource;
use tokio::io::AsyncReadExt;

use crate::harness::{block_on, content, deliver, offer, read_all, write_all};

/// Tells what it gets; refuses parts with `!` in them, and deliveries named "unwanted" at their
/// end.
struct Reader {
    told: mpsc::Sender<String>,
}

impl Actor for Reader {
    type Context = Context<Self>;
}

impl Reader {
    fn tell(&self, what: String) {
        self.told.send(what).unwrap();
    }
}

impl Handler<ContentPart> for Reader {
    type Result = Result<(), Refusal>;
    fn handle(&mut self, part: ContentPart, context: &mut Context<Self>) -> Self::Result {
        self.tell(format!(
            "{}@{} {}",
            part.offer.content.name,
            part.offset,
            String::from_utf8_lossy(&part.bytes)
        ));
        match &part.bytes[..] {
            b"stop" => {
                context.stop();
                Ok(())
            }
            bytes if bytes.contains(&b'!') => Err(Refusal::new("no shouting")),
            _ => Ok(()),
        }
    }
}

impl Handler<ContentEnd> for Reader {
    type Result = Result<(), Refusal>;
    fn handle(&mut self, end: ContentEnd, _: &mut Context<Self>) -> Self::Result {
        self.tell(format!("end of {}", end.summary.length));
        if end.offer.content.name.as_bytes() == b"unwanted" {
            Err(Refusal::new("not wanted"))
        } else {
            Ok(())
        }
    }
}

impl Handler<ContentAborted> for Reader {
    type Result = ();
    fn handle(&mut self, aborted: ContentAborted, _: &mut Context<Self>) {
        self.tell(format!("aborted: {}", aborted.reason));
    }
}

/// Runs one delivery of these pieces to a [`Reader`], aborts it when it fails, and tells what the
/// actor was told.
fn read_by_actor(name: &str, pieces: &[&'static str]) -> (Result<(), SinkError>, Vec<String>) {
    let (told, heard) = mpsc::channel();
    let result = actix::System::new().block_on(async move {
        let reader = Reader { told }.start();
        let inbox = ActorSink::inbox(reader.clone());
        let mut sink = inbox.open(&offer(content(ContentKind::Bytes, name, None))).unwrap();
        let result =
            write_all(&mut *sink, pieces.iter().map(|piece| Bytes::from(*piece)).collect()).await;
        if let Err(error) = &result {
            sink.abort(&error.to_string());
        }
        drop(sink);
        // The mailbox is in order: once this is answered, or refused by an actor that stopped, all
        // before it was handled.
        let last = ContentAborted {
            offer: offer(content(ContentKind::Bytes, name, None)).into(),
            reason: "last".into(),
        };
        let _ = reader.send(last).await;
        result.map(drop)
    });
    (result, heard.try_iter().filter(|what| what != "aborted: last").collect())
}

#[test]
fn an_actor_gets_content_in_order_and_then_its_end() {
    let (result, heard) = read_by_actor("poem", &["one", "two"]);
    result.unwrap();
    assert_eq!(heard, ["poem@0 one", "poem@3 two", "end of 6"]);
}

#[test]
fn an_actor_may_refuse_and_is_told_of_the_abort_once() {
    let (result, heard) = read_by_actor("poem", &["one", "two!", "three"]);
    assert!(matches!(result, Err(SinkError::Refused(_))), "{result:?}");
    assert_eq!(heard, ["poem@0 one", "poem@3 two!", "aborted: no shouting"]);
    let (result, heard) = read_by_actor("unwanted", &["x"]);
    assert!(result.is_err());
    assert_eq!(heard, ["unwanted@0 x", "end of 1", "aborted: not wanted"]);
}

#[test]
fn an_actor_that_is_gone_fails_its_delivery() {
    let (result, heard) = read_by_actor("poem", &["stop", "more"]);
    assert!(matches!(result, Err(SinkError::Gone(_))), "{result:?}");
    assert_eq!(heard, ["poem@0 stop"]);
}

#[test]
fn a_writer_gets_content_in_order_and_is_shut_down() {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let near = std::sync::Mutex::new(Some(near));
    let inbox = WriterSink::inbox(move |_| {
        near.lock().unwrap().take().ok_or_else(|| Refusal::new("one only"))
    });
    deliver(&mut BytesSource::new("blob", vec![5; 10_000]).unwrap(), &inbox).unwrap();
    let mut arrived = Vec::new();
    block_on(far.read_to_end(&mut arrived)).unwrap();
    assert_eq!(arrived, vec![5; 10_000]);
    let refused = deliver(&mut BytesSource::new("blob", "x").unwrap(), &inbox).unwrap_err();
    assert!(refused.text().contains("one only"));
}

#[test]
fn a_writer_that_fails_fails_its_delivery() {
    let inbox = WriterSink::inbox(|_| {
        let (near, far) = tokio::io::duplex(10);
        drop(far);
        Ok(near)
    });
    let mut source = BytesSource::new("blob", "x").unwrap();
    let mut sink = inbox.open(&offer(source.content())).unwrap();
    let pieces = vec![Bytes::from(block_on(read_all(&mut source, 10)).unwrap())];
    let error = block_on(write_all(&mut *sink, pieces)).unwrap_err();
    assert!(matches!(&error, SinkError::Write { what, .. } if what == "blob"), "{error}");
    assert!(matches!(block_on(sink.write(9, &Bytes::new())), Err(SinkError::Refused(_))));
    sink.abort("it failed");
    assert!(matches!(block_on(sink.write(0, &Bytes::from("x"))), Err(SinkError::Gone(_))));
}
