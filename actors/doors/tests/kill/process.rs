//! Two nodes that are processes of their own, and are killed: `lyon` has the doors, `paris` the
//! actors. What an actor handles it notes in a file that outlives it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use actix::{Actor, Context, Handler, ResponseFuture};
use estafette::node::Store;
use estafette::remote::{Asked, Called};
use estafette::{Identity, Node, SendOptions, TrustedPeer};
use estafette_actors::sink::FileSink;
use estafette_actors::source::BytesSource;
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use estafette_doors::grpc::{Method, Methods, Way, grpc};
use estafette_doors::{Access, Tokens};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Semaphore, mpsc};

use crate::support::shop::{Count, Order, Wait};
use crate::support::within;

const FOLDER: &str = "ESTAFETTE_TEST_FOLDER";
const WHO: &str = "ESTAFETTE_TEST_WHO";
const PARIS: &str = "ESTAFETTE_TEST_PARIS";
const ANY: &str = "127.0.0.1:0";

/// A process, which says what it does and takes a word.
pub(crate) struct Process {
    child: Child,
    words: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Events that came before one that was waited for.
    before: Vec<Value>,
}

impl Process {
    /// Starts `who`; what it says of itself when it is ready.
    pub(crate) async fn start(folder: &Path, who: &str, paris: &str) -> (Self, Value) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::a_node", "--ignored", "--nocapture"])
            .env_clear()
            .envs([(FOLDER, folder.to_str().unwrap()), (WHO, who), (PARIS, paris)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let words = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { child, words, lines, before: Vec::new() };
        let ready = process.hear("ready").await;
        (process, ready)
    }

    /// The next event of this kind.
    pub(crate) async fn hear(&mut self, event: &str) -> Value {
        if let Some(at) = self.before.iter().position(|said| said["event"] == event) {
            return self.before.remove(at);
        }
        loop {
            let line = within(self.lines.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("no {event} came, but {:?}", self.before));
            match serde_json::from_str::<Value>(&line) {
                Ok(said) if said["event"] == event => return said,
                Ok(said) if said.is_object() => self.before.push(said),
                // What a process says that is a test.
                _ => {}
            }
        }
    }

    pub(crate) async fn say(&mut self, word: &str) {
        self.words.write_all(format!("{word}\n").as_bytes()).await.unwrap();
    }

    /// SIGKILL; its status was taken when this returns.
    pub(crate) async fn kill(mut self) {
        self.child.start_kill().unwrap();
        within(self.child.wait()).await.unwrap();
    }
}

/// Notes of what was handled, by which life of the process.
#[derive(Clone)]
struct Diary(PathBuf);

impl Diary {
    fn note(&self, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
        file.write_all(format!("{} {text}\n", std::process::id()).as_bytes()).unwrap();
    }
}

/// A line of its own, whatever the process has said before.
fn tell(event: &Value) {
    println!("\n{event}");
}

/// Takes orders, slow ones when its till is open; waits and counts, until nobody asks any more.
struct Shop(Diary, Arc<Semaphore>);

impl Actor for Shop {
    type Context = Context<Self>;
}

impl Handler<Order> for Shop {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, order: Order, _: &mut Context<Self>) -> Self::Result {
        self.0.note(&order.article);
        tell(&json!({ "event": "ordered", "article": order.article }));
        let till = Arc::clone(&self.1);
        Box::pin(async move {
            if order.article.starts_with("slow") {
                let _open = till.acquire().await.unwrap();
            }
            Ok(1)
        })
    }
}

impl Handler<Asked<Wait>> for Shop {
    type Result = ();

    fn handle(&mut self, asked: Asked<Wait>, _: &mut Context<Self>) {
        tell(&json!({ "event": "waits" }));
        actix::spawn(async move {
            asked.reply.closed().await;
            tell(&json!({ "event": "given-up" }));
        });
    }
}

impl Handler<Called<Count>> for Shop {
    type Result = ();

    fn handle(&mut self, called: Called<Count>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let Called { mut requests, mut replies, .. } = called;
            while let Some(Ok(Count { to })) = requests.next().await {
                tell(&json!({ "event": "counts" }));
                for number in 1..=to.unwrap_or(u64::MAX) {
                    if replies.send(&number).await.is_err() {
                        return tell(&json!({ "event": "given-up" }));
                    }
                }
            }
            // Nobody ends a stream here.
            tell(&json!({ "event": "given-up" }));
        });
    }
}

fn key(who: &str) -> Identity {
    Identity::from_secret([if who == "lyon" { 41 } else { 42 }; 32])
}

#[tokio::test]
#[ignore = "a process that is killed by the tests here"]
async fn a_node() {
    let variable = |name: &str| std::env::var(name).expect("started by another test");
    let (folder, who) = (PathBuf::from(variable(FOLDER)), variable(WHO));
    let spool = Arc::new(Spool::open(folder.join(format!("{who}.spool"))).unwrap());
    let inbox = folder.join(format!("{who}.in"));
    fs::create_dir_all(&inbox).unwrap();
    let store: Arc<dyn Store> = Arc::clone(&spool) as _;
    let node = Node::builder()
        .name(&who)
        .identity(key(&who))
        .listen(ANY)
        .spool(spool)
        .stages(standard())
        .receive("files", FileSink::into_dir(inbox));
    if who == "lyon" {
        let node = node.peer("paris", key("paris").peer(), [variable(PARIS)]);
        lyon(&node.start().await.unwrap(), &folder, store).await;
    } else {
        let node = node.peer("lyon", key("lyon").peer(), [""; 0]);
        paris(&node.start().await.unwrap(), &folder).await;
    }
}

/// The doors, on one port.
async fn lyon(node: &Node, folder: &Path, store: Arc<dyn Store>) {
    let tokens = Tokens::load(store).unwrap();
    let kept = folder.join("token");
    if !kept.exists() {
        let rights = ["paris/*", "read:files"].map(|right| right.parse().unwrap());
        let token = tokens.add("till", &rights, None, None).unwrap();
        fs::write(&kept, token.text()).unwrap();
    }
    let mut methods = Methods::new();
    for (path, to, message, way) in [
        ("/shop.Shop/Wait", "paris/shop", "shop.Wait", Way::Ask),
        ("/shop.Shop/Download", "paris/counter", "shop.Count", Way::Download),
        ("/shop.Shop/Upload", "paris/counter", "shop.Count", Way::Upload),
        ("/shop.Shop/Open", "paris/counter", "shop.Count", Way::Open),
    ] {
        methods = methods.method(path, &Method::json(to, message, way)).unwrap();
    }
    let access = Access::of(node, &tokens);
    let router = estafette_doors::http(&access).merge(grpc(&access, methods));
    let serving = estafette_doors::serve(router, ANY).await.unwrap();
    tell(&json!({
        "event": "ready",
        "door": serving.address().to_string(),
        "address": node.addresses()[0],
        "token": fs::read_to_string(&kept).unwrap(),
    }));
    let (mut words, mut watch) = (words(), node.watch("paris").unwrap());
    watch.up().await;
    tell(&json!({ "event": "up" }));
    while let Some(word) = words.recv().await {
        if word == "down" {
            watch.down().await;
            tell(&json!({ "event": "is-down" }));
            continue;
        }
        node.trust().add(key("paris").peer(), at("paris", &word)).unwrap();
    }
}

/// The words that the test says to this process.
fn words() -> mpsc::UnboundedReceiver<String> {
    let (words, said) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().try_for_each(|word| words.send(word.unwrap()))
    });
    said
}

fn at(name: &str, address: &str) -> TrustedPeer {
    let mut peer = TrustedPeer::new(name);
    peer.addresses = vec![address.parse().unwrap()];
    peer
}

/// The actors.
async fn paris(node: &Node, folder: &Path) {
    let (diary, till) = (Diary(folder.join("diary")), Arc::new(Semaphore::new(0)));
    let of = (diary.clone(), Arc::clone(&till));
    let shop = node.host("shop", move || Shop(of.0.clone(), Arc::clone(&of.1)));
    shop.takes::<Order>().takes_asked::<Wait>().start().await.unwrap();
    let of = (diary, Arc::clone(&till));
    let counter = node.host("counter", move || Shop(of.0.clone(), Arc::clone(&of.1)));
    counter.takes_calls::<Count>().start().await.unwrap();
    tell(&json!({ "event": "ready", "address": node.addresses()[0] }));
    let mut words = words();
    while let Some(word) = words.recv().await {
        if word == "open" {
            till.add_permits(100);
            continue;
        }
        // The address of lyon, which gets all of a file.
        node.trust().add(key("lyon").peer(), at("lyon", &word)).unwrap();
        let content = fs::read(folder.join("large")).unwrap();
        let source = BytesSource::new("large", content).unwrap();
        let options = SendOptions { copy: true, ..SendOptions::default() };
        let sent = node.send_with("lyon/files", source, options).await.unwrap();
        sent.delivered().await.unwrap();
        tell(&json!({ "event": "sent", "id": sent.id().to_string() }));
    }
}
