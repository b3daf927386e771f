//! The actor that others write to, and keeps a book of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler};
use estafette::RemoteErrorKind;
use estafette::remote::{Called, RemoteMessage};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "sim.Ask", reply = u64)]
pub(super) struct Ask(pub(super) u64);

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "sim.Tell")]
pub(super) struct Tell(pub(super) u64, #[serde(with = "serde_bytes")] pub(super) Vec<u8>);

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "sim.Letter")]
pub(super) struct Letter(pub(super) u64, #[serde(with = "serde_bytes")] pub(super) Vec<u8>);

/// Counts up to that number, or is counted.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "sim.Count", reply = u64)]
pub(super) struct Count(pub(super) u64);

/// The record of what the actor has seen, in all its lives.
#[derive(Default)]
pub(super) struct Book {
    pub(super) asked: HashMap<u64, u64>,
    pub(super) told: Vec<u64>,
    /// For each life of the receiver.
    pub(super) letters: Vec<Vec<u64>>,
    /// Tells that are said to be lost, or may be.
    pub(super) lost: u64,
    pub(super) why: Vec<RemoteErrorKind>,
}

#[derive(Clone, Default)]
pub(super) struct Clerk(pub(super) Arc<Mutex<Book>>, pub(super) Arc<Notify>);

impl Clerk {
    pub(super) fn note<T>(&self, note: impl FnOnce(&mut Book) -> T) -> T {
        let noted = note(&mut self.0.lock().unwrap());
        self.1.notify_one();
        noted
    }
}

impl Actor for Clerk {
    type Context = Context<Self>;
}

impl Handler<Ask> for Clerk {
    type Result = u64;

    fn handle(&mut self, Ask(id): Ask, _: &mut Context<Self>) -> u64 {
        self.note(|book| *book.asked.entry(id).or_default() += 1);
        id + 1
    }
}

impl Handler<Tell> for Clerk {
    type Result = ();

    fn handle(&mut self, Tell(number, _): Tell, _: &mut Context<Self>) {
        self.note(|book| book.told.push(number));
    }
}

impl Handler<Letter> for Clerk {
    type Result = ();

    fn handle(&mut self, Letter(number, _): Letter, _: &mut Context<Self>) {
        self.note(|book| book.letters.last_mut().unwrap().push(number));
    }
}

impl Handler<Called<Count>> for Clerk {
    type Result = ();

    fn handle(
        &mut self,
        Called { mut requests, mut replies }: Called<Count>,
        _: &mut Context<Self>,
    ) {
        actix::spawn(async move {
            let Some(Ok(Count(first))) = requests.next().await else { return };
            // A download begins with how many it wants, an upload with 0.
            for number in 0..first {
                if replies.send(&number).await.is_err() {
                    return;
                }
            }
            let mut next = 1;
            while let Some(Ok(Count(number))) = requests.next().await {
                next = if number == next { next + 1 } else { u64::MAX / 2 };
            }
            if first == 0 {
                let _ = replies.send(&next).await;
            }
            replies.finish();
        });
    }
}
