//! Two nodes with a door between a client and an actor: `client ─HTTP─▶ lyon ═link═▶ paris: shop`.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

pub(crate) mod held;
pub(crate) mod hook;
pub(crate) mod http;
pub(crate) mod shop;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use estafette::node::{MemoryStore, NodeBuilder, Store};
use estafette::{Identity, Node, TrustedPeer};
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use estafette_doors::{Access, Rate, Serving, Tokens};

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

/// The node with the door, the node with the actor, and a token for it.
pub(crate) struct World {
    pub(crate) lyon: Node,
    pub(crate) paris: Option<Node>,
    pub(crate) shop: shop::Seen,
    pub(crate) access: Access,
    pub(crate) serving: Serving,
    pub(crate) token: String,
    keys: [Identity; 2],
    folder: tempfile::TempDir,
}

const ANY: &str = "127.0.0.1:0";

/// A node with a spool in a folder.
async fn node(name: &str, key: &Identity, folder: &Path, listen: &str) -> Node {
    let spool = Arc::new(Spool::open(folder.join(name)).unwrap());
    node_with(spool, name, key, folder, listen).await
}

async fn node_with(
    spool: Arc<dyn Store>,
    name: &str,
    key: &Identity,
    folder: &Path,
    listen: &str,
) -> Node {
    builder(spool, name, key, folder, listen).start().await.unwrap()
}

fn builder(
    spool: Arc<dyn Store>,
    name: &str,
    key: &Identity,
    folder: &Path,
    listen: &str,
) -> NodeBuilder {
    Node::builder()
        .name(name)
        .identity(key.clone())
        .listen(listen)
        .spool(spool)
        .stages(standard())
        .receive("files", estafette_actors::sink::FileSink::into_dir(folder.join("in")))
}

/// Makes the two known to each other; lyon knows where paris is.
fn introduce(lyon: &Node, paris: &Node) {
    let mut trusted = TrustedPeer::new("paris");
    trusted.addresses = paris.addresses().to_vec();
    lyon.trust().add(paris.peer(), trusted).unwrap();
    paris.trust().add(lyon.peer(), TrustedPeer::new("lyon")).unwrap();
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let keys = [Identity::generate(), Identity::generate()];
        let lyon = node("lyon", &keys[0], folder.path(), ANY).await;
        let paris = node("paris", &keys[1], folder.path(), ANY).await;
        introduce(&lyon, &paris);
        let shop = shop::Seen::default();
        shop::open(&paris, &shop).await;
        let tokens = Tokens::load(Arc::new(MemoryStore::default())).unwrap();
        let token = tokens.add("till", &["paris/*".parse().unwrap()], None, None).unwrap();
        let access = Access::of(&lyon, &tokens);
        let router = estafette_doors::http(&access);
        let serving = estafette_doors::serve(router, "127.0.0.1:0").await.unwrap();
        let token = token.text().to_owned();
        Self { lyon, paris: Some(paris), shop, access, serving, token, keys, folder }
    }

    /// Paris goes away.
    pub(crate) async fn paris_goes(&mut self) {
        self.paris.take().unwrap().stop().await;
    }

    /// It comes back, with its key and its spool.
    pub(crate) async fn paris_comes(&mut self) {
        // Where it was, if nobody has that port now.
        let (_, known) = self.lyon.trust().named("paris").unwrap();
        let free = std::net::TcpListener::bind(&*known.addresses[0]).is_ok();
        let listen = if free { &known.addresses[0] } else { ANY };
        let spool = Arc::new(Spool::open(self.folder.path().join("paris")).unwrap());
        // It knows lyon before it listens: who is refused does not come again.
        let paris = builder(spool, "paris", &self.keys[1], self.folder.path(), listen)
            .peer("lyon", self.lyon.peer(), [""; 0])
            .start()
            .await
            .unwrap();
        shop::open(&paris, &self.shop).await;
        introduce(&self.lyon, &paris);
        self.paris = Some(paris);
    }

    /// Lyon dies with its door, and starts anew.
    pub(crate) async fn lyon_restarts(&mut self) {
        self.lyon_restarts_with(|spool| Arc::new(spool)).await;
    }

    /// It starts anew with what is made of its spool.
    pub(crate) async fn lyon_restarts_with(&mut self, made: impl Fn(Spool) -> Arc<dyn Store>) {
        let paris = self.lyon.trust().named("paris").unwrap();
        self.lyon.stop().await;
        let folder = self.folder.path();
        let spool = made(Spool::open(folder.join("lyon")).unwrap());
        self.lyon = node_with(spool, "lyon", &self.keys[0], folder, ANY).await;
        self.lyon.trust().add(paris.0, paris.1).unwrap();
        self.access = Access::of(&self.lyon, self.access.tokens());
        let router = estafette_doors::http(&self.access);
        self.serving = estafette_doors::serve(router, "127.0.0.1:0").await.unwrap();
    }

    /// The folder of the inbox `files`, of either node.
    pub(crate) fn inbox(&self) -> std::path::PathBuf {
        self.folder.path().join("in")
    }

    /// A file that has arrived.
    pub(crate) fn arrived(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.inbox().join(name)).ok()
    }

    /// A token that leads there.
    pub(crate) fn token(&self, name: &str, to: &str, rate: Option<&str>) -> String {
        let rate = rate.map(|rate| rate.parse::<Rate>().unwrap());
        let issued = self.access.tokens().add(name, &[to.parse().unwrap()], rate, None).unwrap();
        issued.text().to_owned()
    }

    pub(crate) fn client(&self) -> http::Client {
        http::Client { address: self.serving.address(), token: Some(self.token.clone()) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.serving.address())
    }
}
