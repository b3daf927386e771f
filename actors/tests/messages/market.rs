//! A shop with a bit of everything, for callers with and without its types.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use estafette::node::MemoryStore;
use estafette::remote::{Asked, Called};
use estafette::testing::Pair;
use estafette::{Node, RemoteErrorKind, RemoteMessage};
use estafette_actors::standard;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::harness::{config, soon};

/// A bit of everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Order", reply = Result<Order, String>, json)]
pub(crate) struct Order {
    pub(crate) article: String,
    pub(crate) count: u64,
    pub(crate) cents: i64,
    pub(crate) wide: u128,
    pub(crate) weight: Option<f64>,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    pub(crate) items: Vec<Item>,
    pub(crate) shelves: BTreeMap<u32, String>,
    #[serde(with = "serde_bytes")]
    pub(crate) label: Vec<u8>,
    pub(crate) from: Option<IpAddr>,
    pub(crate) letter: char,
    pub(crate) nothing: (),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Plain,
    Wrapped(u8),
    Sent { to: String, express: bool },
    Pair(i8, f32),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) price: u64,
    pub(crate) deeper: Vec<Item>,
}

/// Answered with as many numbers.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Count", reply = u64, json)]
pub(crate) struct Count {
    pub(crate) to: u64,
}

/// Answered by itself.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Half", reply = u64)]
pub(crate) struct Half(pub(crate) u64);

/// As deep as anybody likes.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Tree", reply = usize)]
pub(crate) struct Tree(pub(crate) Vec<Tree>);

/// Answered with something that JSON can't hold.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Odd", reply = BTreeMap<(u8, u8), u8>)]
pub(crate) struct Odd;

/// Answered with something that is nested so deep.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Dig", reply = Item)]
pub(crate) struct Dig(pub(crate) usize);

pub(crate) struct Shop(pub(crate) mpsc::UnboundedSender<Order>);

impl Actor for Shop {
    type Context = Context<Self>;
}

impl Handler<Order> for Shop {
    type Result = Result<Order, String>;

    fn handle(&mut self, order: Order, _: &mut Context<Self>) -> Self::Result {
        self.0.send(order.clone()).unwrap();
        if order.count == 0 { Err("of nothing?".into()) } else { Ok(order) }
    }
}

impl Handler<Called<Count>> for Shop {
    type Result = ();

    fn handle(
        &mut self,
        Called { mut requests, mut replies }: Called<Count>,
        _: &mut Self::Context,
    ) {
        actix::spawn(async move {
            while let Some(Ok(Count { to })) = requests.next().await {
                for number in 0..to {
                    if replies.send(&number).await.is_err() {
                        return;
                    }
                }
            }
            replies.finish();
        });
    }
}

impl Handler<Asked<Half>> for Shop {
    type Result = ();

    fn handle(&mut self, Asked { message, reply }: Asked<Half>, _: &mut Context<Self>) {
        match message.0 {
            odd if odd % 2 == 1 => reply.fail("it is odd"),
            even => reply.send(&(even / 2)),
        }
    }
}

impl Handler<Odd> for Shop {
    type Result = actix::MessageResult<Odd>;

    fn handle(&mut self, _: Odd, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult([((1, 2), 3)].into())
    }
}

impl Handler<Tree> for Shop {
    type Result = usize;

    fn handle(&mut self, mut tree: Tree, _: &mut Context<Self>) -> usize {
        let mut depth = 1;
        while let Some(within) = tree.0.pop() {
            (tree, depth) = (within, depth + 1);
        }
        depth
    }
}

impl Handler<Dig> for Shop {
    type Result = actix::MessageResult<Dig>;

    fn handle(&mut self, Dig(depth): Dig, _: &mut Context<Self>) -> Self::Result {
        let item = |_, deeper| Item { price: 0, deeper };
        let bottom = Item { price: 0, deeper: vec![] };
        actix::MessageResult((0..depth).fold(bottom, |within, n| item(n, vec![within])))
    }
}

pub(crate) struct Market {
    pub(crate) pair: Pair,
    pub(crate) arrived: mpsc::UnboundedReceiver<Order>,
}

impl Market {
    /// `lyon`, and `paris` with a shop.
    pub(crate) async fn open(seed: u64) -> Self {
        let spools = [(); 2].map(|()| Arc::new(MemoryStore::default()));
        let [lyon, paris] = spools;
        let pair = Pair::start_both_spooled(seed, config(), standard(), standard(), [lyon, paris])
            .await
            .unwrap();
        let (noting, arrived) = mpsc::unbounded_channel();
        let hosted = pair.paris.host("shop", move || Shop(noting.clone()));
        let hosted = hosted.takes::<Order>().takes_calls::<Count>();
        let hosted = hosted.takes_asked_json::<Half>().takes_json::<Odd>().takes_json::<Dig>();
        hosted.takes_json::<Tree>().start().await.unwrap();
        Self { pair, arrived }
    }

    pub(crate) fn lyon(&self) -> &Node {
        &self.pair.lyon
    }

    pub(crate) async fn ask(
        &self,
        message: &str,
        json: &str,
    ) -> Result<String, (RemoteErrorKind, String)> {
        let shop = self.lyon().remote_json("paris/shop", message, 1).unwrap();
        soon(shop.ask(json)).await.map_err(|error| (error.kind, error.message))
    }
}

pub(crate) fn order() -> Order {
    Order {
        article: "tea \"à la\n\u{9b}menthe\"".into(),
        count: u64::MAX,
        cents: i64::MIN,
        wide: u128::MAX,
        weight: Some(0.1),
        kind: Kind::Sent { to: "lyon".into(), express: true },
        items: vec![Item { price: (1 << 53) + 1, deeper: vec![] }],
        shelves: [(7, "top".into())].into(),
        label: vec![0, 127, 255],
        from: Some("::1".parse().unwrap()),
        letter: 'é',
        nothing: (),
    }
}

pub(crate) fn json(order: &Order) -> String {
    serde_json::to_string(order).unwrap()
}
