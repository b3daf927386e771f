//! Messages that are posted to somebody else's server: `lyon ═letter═▶ paris: orders ─POST─▶`.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod basics;
mod guard;
mod order;
mod python;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod tries;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use estafette::remote::Delivery;
use estafette_doors::{Kept, OpenWebhook, Webhook};
use support::hook::Posted;
use support::shop::Order;
use support::{World, within};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Two nodes, and a folder for the webhook of paris.
struct Hooked {
    world: World,
    folder: tempfile::TempDir,
}

impl Hooked {
    async fn new() -> Self {
        let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
        let hooked = Self { world, folder };
        hooked.write("secret", SECRET);
        hooked
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        file
    }

    /// To this server, which is of this machine.
    fn to(&self, url: &str) -> Webhook {
        let webhook = Webhook::to(url, [self.folder.path().join("secret")]).allow_http();
        webhook.allow("127.0.0.0/8".parse().unwrap())
    }

    /// Opens it at paris.
    async fn open(&self, webhook: Webhook) -> OpenWebhook {
        let paris = self.world.paris.as_ref().unwrap();
        webhook.open(paris, "orders", self.queue()).await.unwrap()
    }

    fn queue(&self) -> PathBuf {
        self.folder.path().join("orders")
    }

    fn kept(&self) -> Kept {
        Kept::open(self.queue()).unwrap()
    }

    /// Delivers an order as JSON.
    async fn order(&self, article: &str) -> Delivery {
        let orders = self.world.lyon.remote_json("paris/orders", "shop.Order", 1).unwrap();
        orders.deliver(&format!(r#"{{"article":"{article}"}}"#)).await.unwrap()
    }

    /// Delivers orders, and waits until all are in the queue.
    async fn orders(&self, articles: &[&str]) -> Vec<String> {
        let mut ids = Vec::new();
        for article in articles {
            let delivery = self.order(article).await;
            within(delivery.processed()).await.unwrap();
            ids.push(delivery.id().to_string());
        }
        ids
    }

    /// Waits until what is kept is so.
    async fn until(&self, is_so: impl Fn(&Kept) -> bool) {
        let kept = self.kept();
        within(async {
            while !is_so(&kept) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Waits until nothing is kept.
    async fn until_empty(&self) {
        self.until(|kept| kept.messages().unwrap().is_empty()).await;
    }
}

/// The articles that were posted.
fn articles(posted: &[Posted]) -> Vec<String> {
    let article = |posted: &Posted| serde_json::from_slice::<Order>(&posted.body).unwrap().article;
    posted.iter().map(article).collect()
}
