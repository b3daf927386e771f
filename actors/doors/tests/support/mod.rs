//! Two nodes with a door between a client and an actor: `client ─HTTP─▶ lyon ═link═▶ paris: shop`.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

pub(crate) mod http;
pub(crate) mod shop;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use estafette::node::MemoryStore;
use estafette::{Node, TrustedPeer};
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
    pub(crate) paris: Node,
    pub(crate) shop: shop::Seen,
    pub(crate) access: Access,
    pub(crate) serving: Serving,
    pub(crate) token: String,
    folder: tempfile::TempDir,
}

/// A node with a spool in a folder.
async fn node(name: &str, folder: &Path) -> Node {
    Node::builder()
        .name(name)
        .listen("127.0.0.1:0")
        .spool(Arc::new(Spool::open(folder.join(name)).unwrap()))
        .stages(standard())
        .start()
        .await
        .unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (lyon, paris) = (node("lyon", folder.path()).await, node("paris", folder.path()).await);
        let mut trusted = TrustedPeer::new("paris");
        trusted.addresses = paris.addresses().to_vec();
        lyon.trust().add(paris.peer(), trusted).unwrap();
        paris.trust().add(lyon.peer(), TrustedPeer::new("lyon")).unwrap();
        let shop = shop::open(&paris).await;
        let tokens = Tokens::load(Arc::new(MemoryStore::default())).unwrap();
        let token = tokens.add("till", &["paris/*".parse().unwrap()], None, None).unwrap();
        let access = Access::of(&lyon, &tokens);
        let serving =
            estafette_doors::serve(estafette_doors::http(&access), "127.0.0.1:0").await.unwrap();
        let token = token.text().to_owned();
        Self { lyon, paris, shop, access, serving, token, folder }
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
