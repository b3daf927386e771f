//! The actors that are sent to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{Actor, ActorContext, Context, Handler, ResponseFuture};
use estafette::RemoteMessage;
use estafette::remote::{Asked, Called};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

#[derive(Debug, PartialEq, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Add", reply = u64)]
pub(crate) struct Add(pub(crate) u64);

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Note")]
pub(crate) struct Note(pub(crate) u64, #[serde(with = "serde_bytes")] pub(crate) Vec<u8>);

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Panic", reply = u64)]
pub(crate) struct Panic;

/// Waits until it is let go.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Hang", reply = u64)]
pub(crate) struct Hang;

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Stop")]
pub(crate) struct Stop;

/// An actor that adds up what it is told.
#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) sum: u64,
    pub(crate) noted: Option<mpsc::UnboundedSender<(u64, usize)>>,
    pub(crate) let_go: Arc<Notify>,
    /// Hangs that have begun and were not dropped.
    pub(crate) hanging: Arc<AtomicU64>,
}

impl Actor for Sum {
    type Context = Context<Self>;
}

impl Handler<Add> for Sum {
    type Result = u64;

    fn handle(&mut self, Add(more): Add, _: &mut Context<Self>) -> u64 {
        self.sum += more;
        self.sum
    }
}

impl Handler<Note> for Sum {
    type Result = ();

    fn handle(&mut self, Note(number, bytes): Note, _: &mut Context<Self>) {
        if let Some(noted) = &self.noted {
            noted.send((number, bytes.len())).unwrap();
        }
    }
}

impl Handler<Panic> for Sum {
    type Result = u64;

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) -> u64 {
        panic!("as it was asked to");
    }
}

impl Handler<Stop> for Sum {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

struct Hanging(Arc<AtomicU64>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler<Hang> for Sum {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: Hang, _: &mut Context<Self>) -> Self::Result {
        self.hanging.fetch_add(1, Ordering::SeqCst);
        let (hanging, let_go) = (Hanging(Arc::clone(&self.hanging)), Arc::clone(&self.let_go));
        Box::pin(async move {
            let_go.notified().await;
            drop(hanging);
            7
        })
    }
}

/// Answers twice the number, by itself.
pub(crate) struct Direct;

impl Actor for Direct {
    type Context = Context<Self>;
}

impl Handler<Asked<Add>> for Direct {
    type Result = ();

    fn handle(&mut self, Asked { message, reply }: Asked<Add>, _: &mut Context<Self>) {
        match message.0 {
            0 => reply.fail("nothing to double"),
            1 => drop(reply),
            number => reply.send(&(2 * number)),
        }
    }
}

/// Replies with the sums so far, until a request is 0; then says that it has had enough.
pub(crate) struct Sums;

impl Actor for Sums {
    type Context = Context<Self>;
}

impl Handler<Called<Add>> for Sums {
    type Result = ();

    fn handle(&mut self, Called { mut requests, mut replies }: Called<Add>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let mut sum = 0;
            while let Some(request) = requests.next().await {
                let Ok(Add(more)) = request else { return };
                if more == 0 {
                    return replies.fail("had enough");
                }
                sum += more;
                if replies.send(&sum).await.is_err() {
                    return;
                }
            }
            replies.finish();
        });
    }
}

/// Counts down from what it is given.
pub(crate) struct Countdown;

impl Actor for Countdown {
    type Context = Context<Self>;
}

impl Handler<Called<Add>> for Countdown {
    type Result = ();

    fn handle(&mut self, Called { mut requests, mut replies }: Called<Add>, _: &mut Context<Self>) {
        actix::spawn(async move {
            if let Some(Ok(Add(from))) = requests.next().await {
                for number in (0..from).rev() {
                    if replies.send(&number).await.is_err() {
                        return;
                    }
                }
            }
            replies.finish();
        });
    }
}

/// Adds up all requests, then answers once.
pub(crate) struct Total;

impl Actor for Total {
    type Context = Context<Self>;
}

impl Handler<Called<Add>> for Total {
    type Result = ();

    fn handle(&mut self, Called { mut requests, mut replies }: Called<Add>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let mut sum = 0;
            while let Some(request) = requests.next().await {
                let Ok(Add(more)) = request else { return };
                sum += more;
            }
            let _ = replies.send(&sum).await;
        });
    }
}
