//! This build and an older one: they deliver to each other, and this one goes on with what the older
//! one has stored. `ESTAFETTE_OLD` names the program of the older one, as
//! `git worktree add ../old COMMIT && cargo build -p estafette-command` makes it there; without it
//! nothing of this is looked at, and a line says so.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use estafette::{Node, PeerId, RemoteMessage, TrustedPeer};
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use support::process::Process;
use support::proxy::Proxy;
use support::{Ran, World, text};

/// Several chunks, and more than what is on the way at once.
const LENGTH: usize = 5_000_000;

/// One of the two, and the other.
type Pair = (PathBuf, PathBuf);

/// Both orders of this build and the older one; none, said loudly, where there is no older one.
fn both_orders() -> Vec<Pair> {
    let Some(old) = std::env::var_os("ESTAFETTE_OLD").map(PathBuf::from) else {
        eprintln!("SKIPPED: two builds, since ESTAFETTE_OLD names no program of an older one");
        return Vec::new();
    };
    assert!(old.is_file(), "ESTAFETTE_OLD names {}, which is no program", old.display());
    let new = PathBuf::from(env!("CARGO_BIN_EXE_estafette"));
    vec![(old.clone(), new.clone()), (new, old)]
}

/// The older build, and this one, which goes on with what that has left. What this one leaves is not
/// promised to the older one: records have more fields than that knows.
fn upgrade() -> Option<Pair> {
    both_orders().into_iter().next()
}

/// A node that takes deliveries by a proxy, whatever build it is in this life.
struct Receiver {
    world: World,
    proxy: Proxy,
}

impl Receiver {
    fn new() -> Self {
        Self { world: World::new(), proxy: Proxy::new() }
    }

    fn run(&self, program: &Path, who: &str, arguments: &[&str]) -> Ran {
        let mut command = self.world.command_of(program, who);
        let ran = Ran::from(command.args(arguments).output().unwrap());
        assert_eq!(ran.code, 0, "{who}: {arguments:?}: {:?}", ran.events);
        ran
    }

    fn id(&self, program: &Path, who: &str) -> String {
        text(self.run(program, who, &["id"]).event("id"), "peer")
    }

    /// `who` trusts `whom`, under that name.
    fn trust(&self, program: &Path, (who, whom): (&str, &str), more: &[&str]) {
        let id = self.id(program, whom);
        let known = ["trust", "add", &id, "--name", whom];
        self.run(program, who, &[&known, more].concat()).event("trusted");
    }

    fn paris_with(&self, program: &Path, arguments: &[&str]) -> Process {
        let mut command = self.world.command_of(program, "paris");
        command.args(["node", "--name", "paris", "--listen", "127.0.0.1:0", "--into"]);
        Process::start(command.arg(self.world.path("in")).args(arguments))
    }

    fn paris(&self, program: &Path) -> Process {
        let paris = self.paris_with(program, &[]);
        self.proxy.lead_to(&text(&paris.wait_for("ticket"), "addr"));
        paris
    }

    fn dijon(&self, program: &Path) -> Process {
        let mut command = self.world.command_of(program, "dijon");
        command.args(["node", "--name", "dijon", "--relay", "--listen", "127.0.0.1:0"]);
        let dijon = Process::start(&mut command);
        self.proxy.lead_to(dijon.wait_for("ready")["addrs"][0].as_str().unwrap());
        dijon
    }

    fn lyon(&self, program: &Path, arguments: &[&str]) -> Process {
        let mut command = self.world.command_of(program, "lyon");
        let lyon = Process::start(command.args(["node", "--name", "lyon"]).args(arguments));
        lyon.wait_for("ready");
        lyon
    }

    /// The states of lyon's deliveries, as this build reads them.
    fn states(&self, program: &Path) -> Vec<String> {
        let ran = self.run(program, "lyon", &["outbox", "list"]);
        ran.events.iter().map(|entry| text(entry, "state")).collect()
    }
}

#[test]
fn a_file_and_a_folder_come_whole_from_either() {
    for (sender, receiver) in both_orders() {
        let nodes = Receiver::new();
        let paris = nodes.paris_with(&receiver, &[]);
        let ticket = text(&paris.wait_for("ticket"), "ticket");
        let file = nodes.world.file("file", LENGTH);
        nodes.run(&sender, "lyon", &["send", file.to_str().unwrap(), &ticket]).event("delivered");
        assert!(nodes.world.has_arrived("file"));
        let folder = nodes.world.path("folder");
        fs::create_dir_all(folder.join("deep/er")).unwrap();
        for (name, text) in [("plain", "a"), ("deep/one", "b"), ("deep/er/two", "")] {
            fs::write(folder.join(name), text).unwrap();
        }
        nodes.run(&sender, "lyon", &["send", folder.to_str().unwrap(), &ticket]).event("delivered");
        for (name, text) in [("plain", "a"), ("deep/one", "b"), ("deep/er/two", "")] {
            let there = nodes.world.path("in/folder").join(name);
            assert_eq!(fs::read_to_string(there).unwrap(), text);
        }
        assert_eq!(paris.terminate(), 0);
    }
}

#[test]
fn what_the_older_has_stored_the_newer_sends_and_what_it_has_taken_the_newer_knows() {
    if let Some((first, second)) = upgrade() {
        let nodes = Receiver::new();
        nodes.trust(&first, ("paris", "lyon"), &[]);
        nodes.trust(&first, ("lyon", "paris"), &["--addr", &nodes.proxy.address()]);
        let mut sent = Vec::new();
        for (name, how) in [("by-path", &[][..]), ("copied", &["--copy"])] {
            let file = nodes.world.file(name, LENGTH).display().to_string();
            let send = [&["send", "--detach"], how, &[file.as_str(), "paris/files"]].concat();
            sent.push(text(nodes.run(&first, "lyon", &send).event("stored"), "transfer"));
        }
        assert_eq!(nodes.states(&second), ["stored", "stored"]);
        let (paris, lyon) = (nodes.paris(&first), nodes.lyon(&second, &[]));
        let mut delivered = [(); 2].map(|()| text(&lyon.wait_for("delivered"), "transfer"));
        delivered.sort();
        sent.sort();
        assert_eq!(delivered, *sent);
        assert!(["by-path", "copied"].iter().all(|name| nodes.world.has_arrived(name)));
        assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
        assert_eq!(nodes.states(&second), ["delivered", "delivered"]);
        let arrivals = nodes.run(&second, "paris", &["inbox", "list"]);
        assert_eq!(arrivals.events.len(), 2, "{:?}", arrivals.events);
    }
}

#[test]
fn what_the_older_keeps_as_a_relay_the_newer_brings() {
    if let Some((first, second)) = upgrade() {
        let nodes = Receiver::new();
        let at = nodes.proxy.address();
        nodes.trust(&first, ("dijon", "lyon"), &[]);
        nodes.trust(&first, ("dijon", "paris"), &[]);
        nodes.trust(&first, ("lyon", "dijon"), &["--addr", &at]);
        nodes.trust(&second, ("paris", "dijon"), &["--addr", &at, "--relay-only"]);
        nodes.trust(&second, ("paris", "lyon"), &[]);
        let dijon = nodes.dijon(&first);
        let file = nodes.world.file("letter", LENGTH).display().to_string();
        let to = format!("{}/files", nodes.id(&second, "paris"));
        let sent = nodes.run(&first, "lyon", &["send", "--via", "dijon", &file, &to]);
        let id = text(sent.event("relayed"), "transfer");
        dijon.kill();
        let dijon = nodes.dijon(&second);
        let paris = nodes.paris_with(&first, &["--connect", "dijon"]);
        assert_eq!(text(&paris.wait_for("delivered"), "transfer"), id);
        assert!(nodes.world.has_arrived("letter"));
        dijon.wait_for("delivered");
        assert_eq!(paris.terminate(), 0);
        let lyon = nodes.lyon(&second, &["--connect", "dijon"]);
        assert_eq!(text(&lyon.wait_for("delivered"), "transfer"), id);
        assert_eq!((lyon.terminate(), dijon.terminate()), (0, 0));
        assert_eq!(nodes.states(&second), ["delivered"]);
    }
}

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Order", json)]
struct Order {
    article: String,
}

struct Shop(mpsc::UnboundedSender<String>);

impl Actor for Shop {
    type Context = Context<Self>;
}

impl Handler<Order> for Shop {
    type Result = ();

    fn handle(&mut self, order: Order, _: &mut Context<Self>) {
        self.0.send(order.article).unwrap();
    }
}

async fn host(node: &Node, name: &str, noted: mpsc::UnboundedSender<String>) {
    node.host(name, move || Shop(noted.clone())).takes::<Order>().start().await.unwrap();
}

/// The receiver is of this build: programs of the command have no actors of their own.
#[test]
fn messages_that_one_has_stored_the_other_delivers() {
    for (first, second) in both_orders() {
        let (nodes, runtime) = (Receiver::new(), Runtime::new().unwrap());
        let (noted, mut told) = mpsc::unbounded_channel();
        let node = runtime.block_on(async {
            let noted = noted.clone();
            let spool = Arc::new(Spool::open(nodes.world.path("paris.spool")).unwrap());
            let node = Node::builder().name("paris").listen("127.0.0.1:0").stages(standard());
            let node = node.spool(spool).start().await.unwrap();
            host(&node, "shop", noted).await;
            node
        });
        let lyon: PeerId = nodes.id(&first, "lyon").parse().unwrap();
        node.trust().add(lyon, TrustedPeer::new("lyon")).unwrap();
        let (paris, address) = (node.peer().to_string(), &node.addresses()[0]);
        let known = ["trust", "add", &paris, "--name", "paris", "--addr", address];
        nodes.run(&first, "lyon", &known).event("trusted");
        // Nobody has the name of the first one.
        for (to, article) in [("slip", "salt"), ("shop", "tea"), ("shop", "milk")] {
            let (to, order) = (format!("paris/{to}"), format!(r#"{{"article":"{article}"}}"#));
            let letter = ["deliver", &to, "shop.Order", &order];
            let letter = nodes.run(&first, "lyon", &letter);
            assert_eq!(letter.event("letter")["state"], "stored");
        }
        let stored = nodes.run(&second, "lyon", &["outbox", "messages"]);
        assert_eq!(stored.events.len(), 3, "{:?}", stored.events);
        let lyon = nodes.lyon(&second, &[]);
        // One that waits does not hold up those of other names where both ends know of it.
        if second.as_os_str() != env!("CARGO_BIN_EXE_estafette") {
            runtime.block_on(host(&node, "slip", noted.clone()));
        }
        let mut articles: Vec<_> = [(); 2].map(|()| runtime.block_on(told.recv()).unwrap()).into();
        if node.directory().names().iter().all(|name| name != "slip") {
            assert_eq!(articles, ["tea", "milk"]);
            runtime.block_on(host(&node, "slip", noted));
        }
        articles.push(runtime.block_on(told.recv()).unwrap());
        articles.retain(|article| article != "salt");
        assert_eq!(articles, ["tea", "milk"]);
        // Each is over when the sender has noted that it was handled.
        while !nodes.run(&second, "lyon", &["outbox", "messages"]).events.is_empty() {}
        assert_eq!(lyon.terminate(), 0);
        let left = nodes.run(&first, "lyon", &["outbox", "messages"]);
        assert!(left.events.is_empty(), "{:?}", left.events);
        runtime.block_on(node.shutdown());
    }
}
