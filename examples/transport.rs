//! A transport of one's own: nodes of one process that meet in memory, at addresses such as
//! `memory:paris`. Real ones differ in where their streams come from, and in little else.
//!
//! `cargo run -p estafette-examples --example transport`

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use estafette::node::{Connection, Listener, Streamed, Transport};
use estafette::{Node, TrustedPeer};
use estafette_actors::{sink::FileSink, source::FileSource, standard};
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc};

/// Takes connections to who listens.
type Callers = mpsc::Sender<Box<dyn Connection>>;

/// The listeners, by name.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<HashMap<String, Callers>>>);

impl Transport for Memory {
    fn dial<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let listener = self.0.lock().await.get(name).cloned();
            let (here, there) = tokio::io::duplex(64 << 10);
            let there = Box::new(Streamed::new(there, "memory"));
            match listener {
                Some(listener) if listener.send(there).await.is_ok() => {
                    Ok(Box::new(Streamed::new(here, format!("memory:{name}")))
                        as Box<dyn Connection>)
                }
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }

    fn listen<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (sender, connections) = mpsc::channel(16);
            self.0.lock().await.insert(name.to_owned(), sender);
            Ok(Box::new(Named { name: name.to_owned(), connections }) as Box<dyn Listener>)
        })
    }
}

#[derive(Debug)]
struct Named {
    name: String,
    connections: mpsc::Receiver<Box<dyn Connection>>,
}

impl Listener for Named {
    fn address(&self) -> String {
        self.name.clone()
    }

    fn accept<'a>(&'a mut self) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async { self.connections.recv().await.ok_or(io::ErrorKind::NotConnected.into()) })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (folder, memory) = (tempfile::tempdir()?, Memory::default());
    let stages = standard().transport_for("memory", memory);
    let paris = Node::builder().listen("memory:paris").stages(stages.clone()).start().await?;
    paris.receive("files", FileSink::into_dir(folder.path()))?;
    let lyon = Node::builder().stages(stages);
    let lyon = lyon.peer("paris", paris.peer(), paris.addresses().to_vec()).start().await?;
    let inboxes = vec!["files".into()];
    paris.trust().add(lyon.peer(), TrustedPeer { inboxes, ..TrustedPeer::new("lyon") })?;

    let transfer = lyon.send("paris/files", FileSource::open("Cargo.toml")?).await?;
    let receipt = transfer.delivered().await?;
    println!("{} bytes went by {}", receipt.length, paris.addresses()[0]);
    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(())
}
