//! Two nodes, actors on one of them, and a door on the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use estafette::node::Store;
use estafette::remote::{Asked, Called, Raw, RawReply};
use estafette::{Identity, Node, RemoteMessage};
use estafette_actors::sink::FileSink;
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Longer than anything here may take: what hangs fails.
const LIMIT: Duration = Duration::from_secs(180);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it takes too long")
}

/// The events of a call that an actor hears.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Request(String),
    End,
    Broke(estafette::RemoteErrorKind),
    Closed,
}

/// Greets, line by line; `for ever` for ever, and counts what it sends then; hears of `quiet` that
/// it is gone; fails `nobody`; tells `for whom` it is called.
struct Greeter(mpsc::UnboundedSender<Heard>, Arc<AtomicUsize>);

impl Actor for Greeter {
    type Context = Context<Self>;
}

impl Handler<Called<Raw>> for Greeter {
    type Result = ();

    fn handle(&mut self, mut called: Called<Raw>, _: &mut Context<Self>) {
        let (hearing, sent) = (self.0.clone(), Arc::clone(&self.1));
        actix::spawn(async move {
            let replies = &mut called.replies;
            while let Some(request) = called.requests.next().await {
                let name = match request {
                    Ok(Raw { body, .. }) => String::from_utf8(body).unwrap(),
                    Err(error) => return drop(hearing.send(Heard::Broke(error.kind))),
                };
                hearing.send(Heard::Request(name.clone())).unwrap();
                let times = match name.as_str() {
                    "nobody" => return called.replies.fail("whom? that is nobody"),
                    "quiet" => {
                        replies.closed().await;
                        return drop(hearing.send(Heard::Closed));
                    }
                    "for whom" => {
                        let who = replies.on_behalf().unwrap_or_default().as_bytes().to_vec();
                        replies.send(&RawReply(who)).await.unwrap();
                        continue;
                    }
                    "for ever" | "for ever and ever" => u64::MAX,
                    _ => 3,
                };
                for time in 1..=times {
                    let line = format!("Bonjour {name}, for the {time}. time");
                    if name == "for ever" {
                        sent.fetch_add(line.len(), Ordering::Relaxed);
                    }
                    if replies.send(&RawReply(line.into_bytes())).await.is_err() {
                        return drop(hearing.send(Heard::Closed));
                    }
                }
            }
            hearing.send(Heard::End).unwrap();
            called.replies.finish();
        });
    }
}

/// Collects what it is sent, and answers with all of it once that has an end.
struct Collector(mpsc::UnboundedSender<Heard>);

impl Actor for Collector {
    type Context = Context<Self>;
}

impl Handler<Called<Raw>> for Collector {
    type Result = ();

    fn handle(&mut self, mut called: Called<Raw>, _: &mut Context<Self>) {
        let hearing = self.0.clone();
        actix::spawn(async move {
            let mut all = Vec::new();
            while let Some(request) = called.requests.next().await {
                match request {
                    Ok(Raw { body, .. }) if body == b"enough" => break,
                    Ok(Raw { body, .. }) => {
                        let text = String::from_utf8_lossy(&body[..body.len().min(20)]);
                        hearing.send(Heard::Request(text.into_owned())).unwrap();
                        all.extend(body);
                    }
                    Err(error) => return drop(hearing.send(Heard::Broke(error.kind))),
                }
            }
            hearing.send(Heard::End).unwrap();
            let _ = called.replies.send(&RawReply(all)).await;
        });
    }
}

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Order", reply = Result<u64, String>, json)]
struct Order {
    article: String,
    #[serde(default)]
    pieces: u64,
}

struct Shop;

impl Actor for Shop {
    type Context = Context<Self>;
}

impl Handler<Order> for Shop {
    type Result = Result<u64, String>;

    fn handle(&mut self, order: Order, _: &mut Context<Self>) -> Self::Result {
        match order.article.as_str() {
            "" => Err("of nothing?".into()),
            "bomb" => panic!("as it was asked to"),
            article => Ok(article.len() as u64 * order.pieces.max(1)),
        }
    }
}

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "greeter.SayHello", reply = Line, json)]
struct SayHello {
    name: String,
    times: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    text: String,
}

/// Greets as the example does: it knows no proto.
struct Typed;

impl Actor for Typed {
    type Context = Context<Self>;
}

impl Handler<Called<SayHello>> for Typed {
    type Result = ();

    fn handle(&mut self, mut called: Called<SayHello>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let Some(Ok(SayHello { name, times })) = called.requests.next().await else { return };
            for time in 1..=times {
                let text = format!("Bonjour {name}, for the {time}. time");
                if called.replies.send(&Line { text }).await.is_err() {
                    return;
                }
            }
            called.replies.finish();
        });
    }
}

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Add", reply = u64, json)]
struct Add {
    number: u64,
}

/// Tells the sum so far at each number, if it may; else that of all.
struct Counter;

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Called<Add>> for Counter {
    type Result = ();

    fn handle(&mut self, mut called: Called<Add>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let mut sum = 0_u64;
            while let Some(Ok(Add { number })) = called.requests.next().await {
                sum = sum.saturating_add(number);
                // Of a call with one reply, the first would be the last.
                if number < 1000 && sum < 1000 && called.replies.send(&sum).await.is_err() {
                    return;
                }
            }
            if sum >= 1000 {
                let _ = called.replies.send(&sum).await;
            }
            called.replies.finish();
        });
    }
}

/// Gives back what it is asked; tells `for whom` that is; of `never`, it hears that nobody waits any more.
struct Echo(mpsc::UnboundedSender<Heard>);

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Asked<Raw>> for Echo {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, asked: Asked<Raw>, _: &mut Context<Self>) -> Self::Result {
        let hearing = self.0.clone();
        Box::pin(async move {
            if asked.message.body == b"for whom" {
                let who = asked.reply.on_behalf().unwrap_or_default().as_bytes().to_vec();
                asked.reply.send(&RawReply(who));
            } else if asked.message.body == b"never" {
                hearing.send(Heard::Request("never".into())).unwrap();
                actix::spawn(async move {
                    asked.reply.closed().await;
                    hearing.send(Heard::Closed).unwrap();
                });
            } else {
                asked.reply.send(&RawReply(asked.message.body));
            }
        })
    }
}

/// A node that hosts the actors, and one that has a door.
pub(crate) struct World {
    pub(crate) paris: Node,
    pub(crate) lyon: Node,
    pub(crate) heard: mpsc::UnboundedReceiver<Heard>,
    /// Bytes that were sent to who is greeted for ever.
    pub(crate) greeted: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

pub(crate) async fn world() -> World {
    world_with(Arc::new).await
}

/// The same, where the node with the door has what is made of its spool.
pub(crate) async fn world_with<S: Store>(made: impl FnOnce(Spool) -> Arc<S>) -> World {
    let folder = tempfile::tempdir().unwrap();
    let inbox = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let (ours, theirs) = (Identity::generate(), Identity::generate());
    let paris = Node::builder()
        .name("paris")
        .identity(theirs.clone())
        .listen("127.0.0.1:0")
        .peer("lyon", ours.peer(), [""; 0])
        .spool(Arc::new(Spool::open(folder.path().join("paris")).unwrap()))
        .receive("files", FileSink::into_dir(inbox("paris.in")))
        .stages(standard());
    let paris = paris.start().await.unwrap();
    let lyon = Node::builder()
        .name("lyon")
        .identity(ours)
        .peer("paris", theirs.peer(), [paris.addresses()[0].clone()])
        .peer("away", Identity::generate().peer(), ["127.0.0.1:1"])
        .spool(made(Spool::open(folder.path().join("lyon")).unwrap()))
        .receive("files", FileSink::into_dir(inbox("lyon.in")))
        .stages(standard());
    let lyon = lyon.start().await.unwrap();
    let (hearing, heard) = mpsc::unbounded_channel();
    let (to, greeted) = (hearing.clone(), Arc::<AtomicUsize>::default());
    let sent = Arc::clone(&greeted);
    let greeter = paris.host("greeter", move || Greeter(to.clone(), Arc::clone(&sent)));
    greeter.takes_calls::<Raw>().start().await.unwrap();
    let to = hearing.clone();
    let collector = paris.host("collector", move || Collector(to.clone()));
    collector.takes_calls::<Raw>().start().await.unwrap();
    paris.host("echo", move || Echo(hearing.clone())).takes_asked::<Raw>().start().await.unwrap();
    paris.host("shop", || Shop).takes::<Order>().start().await.unwrap();
    paris.host("typed", || Typed).takes_calls::<SayHello>().start().await.unwrap();
    paris.host("counter", || Counter).takes_calls::<Add>().start().await.unwrap();
    // What health tells of links must not depend on who calls first.
    lyon.watch("paris").unwrap().up().await;
    World { paris, lyon, heard, greeted, _folder: folder }
}
