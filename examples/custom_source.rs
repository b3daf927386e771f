//! A source of your own: numbers, made while they are sent, of a kind that settings describe.
//!
//! `cargo run -p estafette-examples --example custom_source`

use std::ops::RangeInclusive;

use estafette::delivery::{Content, ContentKind, ContentName};
use estafette::pipeline::{SourceError, SourceReport};
use estafette::prelude::*;
use estafette_actors::{sink::MemorySink, standard};
use futures_util::future::{BoxFuture, ready};
use serde::Deserialize;
use serde_json::json;

/// Its settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    from: u64,
    to: u64,
}

/// A line for each number.
#[derive(Debug)]
struct Numbers {
    name: ContentName,
    all: RangeInclusive<u64>,
    left: RangeInclusive<u64>,
    /// The bytes that did not fit into the last buffer.
    rest: Vec<u8>,
}

impl Numbers {
    fn new(Settings { from, to }: Settings) -> anyhow::Result<Self> {
        anyhow::ensure!(from <= to, "{from} is more than {to}");
        let name = ContentName::new("numbers.txt")?;
        Ok(Self { name, all: from..=to, left: from..=to, rest: Vec::new() })
    }
}

impl Source for Numbers {
    fn content(&self) -> Content {
        Content::new(ContentKind::Bytes, self.name.clone(), None)
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        while self.rest.len() < buffer.len() {
            let Some(number) = self.left.next() else { break };
            self.rest.extend_from_slice(format!("{number}\n").as_bytes());
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Box::pin(ready(Ok(count)))
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        (self.left, self.rest) = (self.all.clone(), Vec::new());
        Ok(true)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (inbox, mut deliveries) = MemorySink::channel(1 << 20, 1);
    let paris = Node::builder().listen("127.0.0.1:0").stages(standard()).receive("in", inbox);
    let (paris, lyon) = (paris.start().await?, Node::builder().stages(standard()).start().await?);

    let registry = standard().source_kind("numbers", Numbers::new);
    let numbers = registry.source_of("numbers", json!({ "from": 1, "to": 100_000 }))?.make()?;
    lyon.send(paris.ticket("in")?, numbers).await?.delivered().await?;
    let bytes = deliveries.recv().await.expect("it was delivered").bytes;
    println!("Paris has {} bytes of numbers", bytes.len());
    assert!(bytes.ends_with(b"99999\n100000\n"));
    Ok(())
}
