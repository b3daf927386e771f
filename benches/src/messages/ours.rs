//! estafette: typed messages to an actor, over the link of two nodes.

use std::time::Instant;

use actix::{Actor, Context, Handler};
use anyhow::{Context as _, Result, ensure};
use estafette::pipeline::Compression;
use estafette::remote::{Asked, Remote, RemoteMessage};
use estafette::{Identity, Node, PeerId, SendOptions};
use estafette_actors::sink::NullSink;
use estafette_actors::source::ReaderSource;
use estafette_actors::standard;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::{Clock, Measured, Messenger, Task, announce, wait_for_the_end};

const fn messenger(
    name: &'static str,
    about: &'static str,
    drive: fn(&str, Task) -> Result<Measured>,
) -> Messenger {
    Messenger { name, about, serve, drive, takes_bulk: true }
}

pub(crate) const ACTOR: Messenger = messenger(
    "estafette",
    "plain actors at both ends, on the threads of their nodes; XSalsa20-Poly1305",
    |server, task| inside(server, "plain", task),
);
pub(crate) const DIRECT: Messenger = messenger(
    "estafette-direct",
    "the same, to an actor that answers by itself",
    |server, task| inside(server, "direct", task),
);
pub(crate) const APART: Messenger = messenger(
    "estafette-apart",
    "the caller on a runtime of its own, on another thread than its node",
    |server, task| apart(server, "plain", task),
);

/// A message of 64 bytes: a number, whether it is a question, and filling.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "bench.Ping", reply = Ping)]
pub struct Ping(ByteArray<64>);

impl Ping {
    /// One that wants no answer.
    #[must_use]
    pub fn note(number: u64) -> Self {
        let mut bytes = [0xa5; 64];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[8] = 0;
        Self(ByteArray::new(bytes))
    }

    /// One that wants an answer.
    #[must_use]
    pub fn question(number: u64) -> Self {
        let mut ping = Self::note(number);
        ping.0[8] = 1;
        ping
    }

    /// The answer: how many have been seen.
    #[must_use]
    pub fn answer(&self, seen: u64) -> Self {
        let mut bytes = self.0.into_array();
        bytes[..8].copy_from_slice(&seen.to_le_bytes());
        bytes[8] = 0;
        Self(ByteArray::new(bytes))
    }

    /// Marks a question, so that its answer can be told from others.
    #[must_use]
    pub fn marked(mut self, mark: u64) -> Self {
        self.0[16..24].copy_from_slice(&mark.to_le_bytes());
        self
    }

    /// The mark of a question, or of the answer to it.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.0[16..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Returns `true` if it wants an answer.
    #[must_use]
    pub fn is_question(&self) -> bool {
        self.0[8] == 1
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// A message without an answer: the same bytes.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "bench.Note")]
struct Note(ByteArray<64>);

/// Counts in its own state, as the reference does.
#[derive(Default)]
struct Counter(u64);

impl Counter {
    fn count(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Note> for Counter {
    type Result = ();

    fn handle(&mut self, _: Note, _: &mut Context<Self>) {
        self.count();
    }
}

impl Handler<Ping> for Counter {
    type Result = actix::MessageResult<Ping>;

    fn handle(&mut self, ping: Ping, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(ping.answer(self.count()))
    }
}

impl Handler<Asked<Ping>> for Counter {
    type Result = ();

    fn handle(&mut self, Asked { message, reply }: Asked<Ping>, _: &mut Context<Self>) {
        reply.send(&message.answer(self.count()));
    }
}

fn identities() -> [Identity; 2] {
    // Both ends are this program, and nobody else is to trust them.
    [Identity::from_secret([1; 32]), Identity::from_secret([2; 32])]
}

fn serve() -> Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let [client, server] = identities();
        let node = Node::builder()
            .name("server")
            .identity(server)
            .listen("127.0.0.1:0")
            .stages(standard());
        let node = node.peer("client", client.peer(), [""; 0]).start().await?;
        node.host("plain", Counter::default).takes::<Note>().takes::<Ping>().start().await?;
        node.host("direct", Counter::default).takes::<Note>().takes_asked::<Ping>().start().await?;
        node.receive("bulk", NullSink::new())?;
        announce(&node.addresses()[0])?;
        tokio::task::spawn_blocking(wait_for_the_end).await?;
        node.stop().await;
        Ok(())
    })
}

async fn connect(server_address: &str) -> Result<Node> {
    let [client, server] = identities();
    let server: PeerId = server.peer();
    let node = Node::builder()
        .name("client")
        .identity(client)
        .stages(standard())
        .peer("server", server, [server_address])
        .start()
        .await?;
    Ok(node)
}

/// The load, as a local task of whatever thread it runs on.
async fn load(node: Node, name: &'static str, task: Task) -> Result<Measured> {
    let ping = node.remote::<Ping>(&format!("server/{name}"))?;
    let note = node.remote::<Note>(&format!("server/{name}"))?;
    // The link is up when an answer has come.
    let before = ping.ask(Ping::question(0)).await?.number();
    match task {
        Task::Tell(count) => {
            let clock = Clock::start();
            for number in 0..count {
                note.tell(Note(Ping::note(number).0)).await?;
            }
            let seen = ping.ask(Ping::question(count)).await?.number();
            ensure!(
                seen == before + count + 1,
                "{} of {count} messages arrived",
                seen - before - 1
            );
            Ok(clock.stop(count))
        }
        Task::Ask(count, 1) => ask(&ping, count).await,
        Task::Ask(count, in_flight) => {
            let clock = Clock::start();
            let share = count / in_flight as u64;
            let askers = (0..in_flight).map(|_| {
                let ping = ping.clone();
                tokio::task::spawn_local(async move {
                    for number in 0..share {
                        ping.ask(Ping::question(number)).await?;
                    }
                    anyhow::Ok(())
                })
            });
            for asker in futures_util::future::join_all(askers).await {
                asker??;
            }
            Ok(clock.stop(share * in_flight as u64))
        }
        Task::AskBesideBulk(count) => {
            let endless = ReaderSource::new("bulk", tokio::io::repeat(7))?;
            // Compressed, it would be next to nothing.
            let options =
                SendOptions { compression: Some(Compression::Off), ..SendOptions::default() };
            let transfer = node.send_with("server/bulk", endless, options).await?;
            let measured = ask(&ping, count).await?;
            ensure!(transfer.status().bytes > 0, "nothing of the bulk was on its way");
            Ok(measured)
        }
    }
}

async fn ask(ping: &Remote<Ping>, count: u64) -> Result<Measured> {
    let mut clock = Clock::start();
    for number in 0..count {
        let since = Instant::now();
        ping.ask(Ping::question(number)).await?;
        clock.answered(since);
    }
    Ok(clock.stop(count))
}

/// The caller on a thread of its own.
fn apart(server: &str, name: &'static str, task: Task) -> Result<Measured> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let node = connect(server).await?;
        let measured = load(node.clone(), name, task).await;
        node.stop().await;
        measured
    })
}

/// A caller that is an actor of the node.
struct Caller(Node, &'static str, Task, Option<oneshot::Sender<Result<Measured>>>);

impl Actor for Caller {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        let (load, done) = (load(self.0.clone(), self.1, self.2), self.3.take());
        actix::spawn(async move {
            let measured = load.await;
            if let Some(done) = done {
                // Whoever waits for it may be gone.
                let _ = done.send(measured);
            }
        });
    }
}

fn inside(server: &str, name: &'static str, task: Task) -> Result<Measured> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let node = connect(server).await?;
        let (done, is_done) = oneshot::channel();
        let (done, caller) = (std::sync::Mutex::new(Some(done)), node.clone());
        let make = move || {
            Caller(caller.clone(), name, task, done.lock().ok().and_then(|mut done| done.take()))
        };
        node.host("caller", make).start().await?;
        let measured = is_done.await.context("the caller died")?;
        node.stop().await;
        measured
    })
}
