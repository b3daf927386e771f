//! The actor that is reached.

use std::sync::{Arc, Mutex};

use actix::prelude::*;
use estafette::remote::{Asked, Called};
use estafette::{Node, RemoteMessage};
use futures_util::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};

/// An order, answered with its number; an article "nothing" is refused.
#[derive(Debug, Serialize, Deserialize, JsonSchema, RemoteMessage)]
#[remote(name = "shop.Order", reply = Result<u64, String>, json, schema)]
pub(crate) struct Order {
    pub(crate) article: String,
    #[serde(default)]
    pub(crate) pieces: Option<u64>,
}

/// Waits until somebody opens the till, or nobody asks any more.
#[derive(Debug, Serialize, Deserialize, JsonSchema, RemoteMessage)]
#[remote(name = "shop.Wait", reply = String, json, schema)]
pub(crate) struct Wait {}

/// Panics.
#[derive(Debug, Serialize, Deserialize, JsonSchema, RemoteMessage)]
#[remote(name = "shop.Fire", reply = (), json, schema)]
pub(crate) struct Fire {}

/// Counts up to a number; without end for none. Each request that follows is said again.
#[derive(Debug, Serialize, Deserialize, JsonSchema, RemoteMessage)]
#[remote(name = "shop.Count", reply = u64, json, schema)]
pub(crate) struct Count {
    pub(crate) to: Option<u64>,
}

/// The deeds of the actor, and its till.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) orders: Arc<Mutex<Vec<String>>>,
    pub(crate) changed: Arc<Notify>,
    /// Places in the till.
    pub(crate) till: Arc<Semaphore>,
    /// One for each wait that has begun, and one for each that was given up.
    pub(crate) waits: Arc<Semaphore>,
    pub(crate) given_up: Arc<Semaphore>,
    /// Items that were given to calls with streams.
    pub(crate) counted: Arc<std::sync::atomic::AtomicU64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            orders: Arc::default(),
            changed: Arc::default(),
            till: Arc::new(Semaphore::new(0)),
            waits: Arc::new(Semaphore::new(0)),
            given_up: Arc::new(Semaphore::new(0)),
            counted: Arc::default(),
        }
    }
}

impl Seen {
    pub(crate) fn orders(&self) -> Vec<String> {
        self.orders.lock().unwrap().clone()
    }

    /// Waits until so many orders were taken.
    pub(crate) async fn has(&self, count: usize) -> Vec<String> {
        super::within(async {
            loop {
                let changed = self.changed.notified();
                let orders = self.orders();
                if orders.len() >= count {
                    return orders;
                }
                changed.await;
            }
        })
        .await
    }
}

struct Shop(Seen);

impl Actor for Shop {
    type Context = Context<Self>;
}

impl Handler<Order> for Shop {
    type Result = Result<u64, String>;

    fn handle(&mut self, order: Order, _: &mut Context<Self>) -> Self::Result {
        if order.article == "nothing" {
            return Err("there is no nothing".into());
        }
        let mut orders = self.0.orders.lock().unwrap();
        orders.push(order.article);
        self.0.changed.notify_waiters();
        Ok(orders.len() as u64)
    }
}

impl Handler<Asked<Wait>> for Shop {
    type Result = ();

    fn handle(&mut self, asked: Asked<Wait>, _: &mut Context<Self>) {
        let seen = self.0.clone();
        let reply = asked.reply;
        actix::spawn(async move {
            seen.waits.add_permits(1);
            let gone = reply.closed();
            tokio::select! {
                _ = seen.till.acquire() => reply.send(&"open".to_owned()),
                () = gone => seen.given_up.add_permits(1),
            }
        });
    }
}

impl Handler<Fire> for Shop {
    type Result = ();

    fn handle(&mut self, _: Fire, _: &mut Context<Self>) {
        panic!("it burns");
    }
}

impl Handler<Called<Count>> for Shop {
    type Result = ();

    fn handle(&mut self, called: Called<Count>, _: &mut Context<Self>) {
        let seen = self.0.clone();
        actix::spawn(async move {
            let Called { mut requests, mut replies, .. } = called;
            while let Some(request) = requests.next().await {
                let to = match request {
                    Ok(Count { to }) => to,
                    Err(error) => {
                        seen.given_up.add_permits(1);
                        return replies.fail(error.to_string());
                    }
                };
                let mut number = 0;
                while to.is_none_or(|to| number < to) {
                    number += 1;
                    if replies.send(&number).await.is_err() {
                        return seen.given_up.add_permits(1);
                    }
                    seen.counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
            replies.finish();
        });
    }
}

/// Has the actor `shop` run, and `counter` for calls with streams.
pub(crate) async fn open(node: &Node, seen: &Seen) {
    let shop = seen.clone();
    let hosted = node.host("shop", move || Shop(shop.clone()));
    hosted.takes::<Order>().takes_asked::<Wait>().takes::<Fire>().start().await.unwrap();
    let shop = seen.clone();
    node.host("counter", move || Shop(shop.clone())).takes_calls::<Count>().start().await.unwrap();
}
