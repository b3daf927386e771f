//! A shop at another node, and a command that knows its messages by name alone.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use estafette::remote::Called;
use estafette::{Node, PeerId, RemoteMessage, TrustedPeer};
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use futures_util::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::support::World;
use crate::support::process::Process;

#[derive(Debug, Serialize, Deserialize, JsonSchema, RemoteMessage)]
#[remote(name = "shop.Order", reply = Result<u64, String>, schema)]
pub(crate) struct Order {
    article: String,
    count: u64,
}

/// A second version of it.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Order", version = 2, reply = Echo, json)]
pub(crate) struct NewerOrder(Echo);

/// Bytes and numbers as they came.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Echo {
    text: String,
    number: u64,
    wide: u128,
}

/// For programs that have it.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Native")]
pub(crate) struct Native;

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Count", reply = u64, json)]
pub(crate) struct Count(u64);

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Panic", json)]
pub(crate) struct Panic;

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Hang", reply = (), json)]
pub(crate) struct Hang;

/// Added up: a stream of sums, or the last one.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Add", reply = u64, json)]
pub(crate) struct Add(u64);

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Total", reply = u64, json)]
pub(crate) struct Total(u64);

#[derive(Clone)]
pub(crate) struct Shop {
    /// The orders, and the calls that have begun and ended.
    noted: mpsc::UnboundedSender<String>,
}

impl Actor for Shop {
    type Context = Context<Self>;
}

impl Handler<Order> for Shop {
    type Result = Result<u64, String>;

    fn handle(&mut self, order: Order, _: &mut Context<Self>) -> Self::Result {
        self.noted.send(order.article.clone()).unwrap();
        if order.count == 0 { Err("of nothing?".into()) } else { Ok(order.count * 3) }
    }
}

impl Handler<NewerOrder> for Shop {
    type Result = actix::MessageResult<NewerOrder>;

    fn handle(&mut self, NewerOrder(echo): NewerOrder, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(echo)
    }
}

impl Handler<Native> for Shop {
    type Result = ();

    fn handle(&mut self, _: Native, _: &mut Context<Self>) {}
}

/// Dies of any message.
pub(crate) struct Bomb;

impl Actor for Bomb {
    type Context = Context<Self>;
}

impl Handler<Panic> for Bomb {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        panic!("as it was asked to");
    }
}

impl Handler<Hang> for Shop {
    type Result = actix::ResponseFuture<()>;

    fn handle(&mut self, _: Hang, _: &mut Context<Self>) -> Self::Result {
        self.noted.send("hangs".into()).unwrap();
        Box::pin(std::future::pending())
    }
}

impl Handler<Called<Count>> for Shop {
    type Result = ();

    fn handle(&mut self, called: Called<Count>, _: &mut Context<Self>) {
        let (noted, Called { mut requests, mut replies }) = (self.noted.clone(), called);
        actix::spawn(async move {
            let Some(Ok(Count(to))) = requests.next().await else { return };
            for number in 0..to {
                if replies.send(&number).await.is_err() {
                    return noted.send("cancelled".into()).unwrap();
                }
            }
            if to == 7 { replies.fail("seven is enough") } else { replies.finish() }
        });
    }
}

impl Handler<Called<Add>> for Shop {
    type Result = ();

    fn handle(&mut self, Called { mut requests, mut replies }: Called<Add>, _: &mut Context<Self>) {
        let noted = self.noted.clone();
        actix::spawn(async move {
            let mut sum = 0;
            while let Some(request) = requests.next().await {
                let Ok(Add(more)) = request else {
                    noted.send("broke off".into()).unwrap();
                    return replies.fail("that is no number");
                };
                sum += more;
                replies.send(&sum).await.unwrap();
            }
            replies.finish();
        });
    }
}

impl Handler<Called<Total>> for Shop {
    type Result = ();

    fn handle(
        &mut self,
        Called { mut requests, mut replies }: Called<Total>,
        _: &mut Context<Self>,
    ) {
        let noted = self.noted.clone();
        actix::spawn(async move {
            let mut sum = 0;
            while let Some(request) = requests.next().await {
                let Ok(Total(more)) = request else {
                    return noted.send(format!("broke off at {sum}")).unwrap();
                };
                sum += more;
                noted.send(format!("so far {sum}")).unwrap();
            }
            replies.send(&sum).await.unwrap();
            replies.finish();
        });
    }
}

/// `paris` in this process, with a shop, and `lyon`, which it trusts.
pub(crate) struct Town {
    pub(crate) world: World,
    pub(crate) runtime: Runtime,
    pub(crate) node: Node,
    pub(crate) noted: mpsc::UnboundedReceiver<String>,
}

impl Town {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let runtime = Runtime::new().unwrap();
        let (noted, told) = mpsc::unbounded_channel();
        let node = runtime.block_on(async {
            let node = Node::builder().name("paris").listen("127.0.0.1:0").stages(standard());
            let spool = Arc::new(Spool::open(world.path("paris.spool")).unwrap());
            let node = node.spool(spool).start().await.unwrap();
            let shop = Shop { noted };
            let hosted = node.host("shop", move || shop.clone());
            let hosted = hosted.takes::<Order>().takes::<NewerOrder>().takes::<Native>();
            let hosted = hosted.takes::<Hang>().takes_calls::<Count>();
            let hosted = hosted.takes_calls::<Add>().takes_calls::<Total>();
            hosted.start().await.unwrap();
            node.host("bomb", || Bomb).takes::<Panic>().start().await.unwrap();
            node
        });
        let town = Self { world, runtime, node, noted: told };
        let lyon = town.run(&["id"]);
        let lyon: PeerId = lyon[0]["peer"].as_str().unwrap().parse().unwrap();
        town.node.trust().add(lyon, TrustedPeer::new("lyon")).unwrap();
        let (paris, address) = (town.node.peer().to_string(), &town.node.addresses()[0]);
        town.run(&["trust", "add", &paris, "--name", "paris", "--addr", address]);
        town
    }

    /// The events of a command that ends well.
    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.world.command("lyon").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        events(&output)
    }

    /// The error of one that doesn't, with its exit code.
    pub(crate) fn fails(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.world.command("lyon").args(arguments).output().unwrap();
        let code = output.status.code().unwrap();
        (code, events(&output).pop().unwrap_or_else(|| panic!("{arguments:?}: {output:?}")))
    }

    /// As it is run in a script, without `--json`.
    pub(crate) fn plain(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
        command.env_clear().env("HOME", self.world.path("lyon"));
        let key = self.world.path("lyon").with_extension("key");
        command.stdin(Stdio::null()).arg("--key").arg(key);
        command
    }

    pub(crate) fn next(&mut self) -> String {
        self.runtime.block_on(self.noted.recv()).unwrap()
    }

    /// `lyon` runs, and makes the calls of its commands.
    pub(crate) fn lyon(&self) -> Process {
        self.world.lyon()
    }
}

pub(crate) fn events(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Alone, and by a node that runs.
pub(crate) fn both_ways(test: impl Fn(&mut Town)) {
    let mut town = Town::new();
    test(&mut town);
    let _node = town.lyon();
    test(&mut town);
}
