//! Three nodes chat: each hears the others in the order they spoke in, and notices when somebody
//! leaves.
//!
//! `cargo run -p estafette-examples --example chat`

use actix::{Actor, Context, Handler};
use estafette::{Identity, Node, RemoteErrorKind, RemoteMessage, TrustedPeer};
use estafette_actors::standard;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A line that somebody says. Nobody answers it.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "chat.Say")]
struct Say {
    who: String,
    words: String,
}

struct Ear(UnboundedSender<Say>);
impl Actor for Ear {
    type Context = Context<Self>;
}
impl Handler<Say> for Ear {
    type Result = ();
    fn handle(&mut self, say: Say, _: &mut Context<Self>) {
        self.0.send(say).expect("somebody listens");
    }
}

struct Guest {
    name: &'static str,
    node: Node,
    heard: UnboundedReceiver<Say>,
}

impl Guest {
    async fn arrive(name: &'static str) -> anyhow::Result<Self> {
        let node = Node::builder()
            .name(name)
            .identity(Identity::generate())
            .listen("127.0.0.1:0")
            .stages(standard())
            .start()
            .await?;
        let (ear, heard) = unbounded_channel();
        node.host("ear", move || Ear(ear.clone())).takes::<Say>().start().await?;
        Ok(Self { name, node, heard })
    }

    async fn say(&self, to: &str, words: impl ToString) -> anyhow::Result<()> {
        let say = Say { who: self.name.into(), words: words.to_string() };
        Ok(self.node.remote::<Say>(&format!("{to}/ear"))?.tell(say).await?)
    }

    /// Waits until it has heard so much of each of these, and all in order.
    async fn hear(&mut self, from: [&str; 2], each: usize) {
        let mut counts = [0, 0];
        while counts != [each; 2] {
            let say = self.heard.recv().await.expect("the ear is there");
            let count = &mut counts[usize::from(say.who != from[0])];
            assert!(
                from.contains(&&*say.who) && say.words == count.to_string(),
                "{} heard {say:?} out of turn",
                self.name
            );
            *count += 1;
        }
        println!("{} has heard {from:?} in order", self.name);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [mut ada, mut grace, alan] =
        [Guest::arrive("ada").await?, Guest::arrive("grace").await?, Guest::arrive("alan").await?];
    for (one, other) in [
        (&ada, &grace),
        (&ada, &alan),
        (&grace, &ada),
        (&grace, &alan),
        (&alan, &ada),
        (&alan, &grace),
    ] {
        let peer = TrustedPeer {
            addresses: other.node.addresses().to_vec(),
            ..TrustedPeer::new(other.name)
        };
        one.node.trust().add(other.node.peer(), peer)?;
    }
    let (mut ada_sees, mut grace_sees) = (ada.node.watch("alan")?, grace.node.watch("alan/ear")?);
    tokio::join!(ada_sees.up(), grace_sees.up());

    // All talk at once, and nobody overtakes himself.
    for number in 0..100 {
        for (guest, other) in [(&ada, "grace"), (&grace, "ada"), (&alan, "ada"), (&alan, "grace")] {
            guest.say(other, number).await?;
        }
    }
    ada.hear(["grace", "alan"], 100).await;
    grace.hear(["ada", "alan"], 100).await;

    // Alan leaves in order: his node says so, and what becomes of his ear is known with it.
    alan.node.shutdown().await;
    let (why, ear) = tokio::join!(ada_sees.down(), grace_sees.down());
    println!("alan has left: {why:?}");
    assert_eq!([why, ear], [RemoteErrorKind::ShuttingDown; 2]);
    ada.node.shutdown().await;
    grace.node.shutdown().await;
    Ok(())
}
